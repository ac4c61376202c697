//! What a client and its server have seen, put together: recorded evidence of each end, joined.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::schema;
use sami_proxy::diag::evidence::Evidence;
use sami_proxy::diag::report::Report;
use sami_proxy::diag::server::{By, Heard, Server};
use sami_proxy::render::human::{self, Detail};
use sami_proxy::render::json;
use sami_proxy::render::look::Look;
use sami_proxy::render::words::{Lang, Words};

fn case(name: &str) -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let text = fs::read_to_string(folder.join(name).join("evidence.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The client's case with what the server of the other case has seen.
fn joined(client: &str, by: By, server: &str) -> Evidence {
    let mut all = case(client);
    all.server = Some(Box::new(Server::new(by, Heard::Evidence(Box::new(case(server))))));
    all
}

#[test]
fn both_ends_are_told_and_saved() {
    let evidence = joined("port-refused", By::Ssh, "container-stopped");
    let report = Report::new(evidence.clone());
    for lang in Lang::ALL {
        let words = Words::new(lang);
        let document = json::document(&report, "doctor", &words);
        schema::check(&schema::of_reports(), &document).unwrap();
        assert_eq!(json::evidence(&document).unwrap(), [evidence.clone()]);
        let checks = document["checks"].as_array().unwrap();
        let references: BTreeSet<&str> =
            checks.iter().map(|check| check["ref"].as_str().unwrap()).collect();
        assert_eq!(references.len(), checks.len(), "each has a name of its own");
        assert!(references.contains("c1") && references.contains("s1"));
        let text = human::text(&report, Detail::Full, &words, Look::PLAIN);
        for reference in references {
            assert!(text.contains(&format!("  {reference} ")), "{reference}: {text}");
        }
    }
}
