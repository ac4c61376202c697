//! The token: printed by `doctor --token` on a server, taken by `doctor --with` on the client.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use common::schema;
use sami_proxy::diag::token::{self, LONGEST};
use serde_json::Value;

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sami-proxy"));
    command.arg("doctor").args(arguments).args(["--lang", "en"]).env_clear().output().unwrap()
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    schema::check(&schema::of_reports(), &document).unwrap();
    document
}

/// What the server prints, as a person sees it: the token is the last line.
fn printed(port: &str) -> String {
    let output = doctor(&["--role", "host", "--port", port, "--token", "--timeout", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--with TOKEN"), "{text}");
    text.lines().last().unwrap().to_owned()
}

#[test]
fn what_the_server_prints_the_client_takes() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = nobody.port().to_string();
    let token = printed(&port);
    assert!(token.len() <= LONGEST && token.bytes().all(|it| it.is_ascii_alphanumeric()));
    let document = report(&doctor(&[&nobody.to_string(), "--with", &token, "--json"]));
    let server = &document["evidence"]["server"];
    assert_eq!(
        (&server["by"], &server["heard"]["digest"]["role"]),
        (&"token".into(), &"host".into())
    );
    assert!(server["age_s"].as_u64().unwrap() < 60);
    // Nothing more than what the server's own report says; the same in JSON.
    let flags = ["--role", "host", "--port", &port, "--token", "--json", "--timeout", "3"];
    let far = report(&doctor(&flags));
    let digest = token::read(far["token"].as_str().unwrap()).unwrap();
    let verdict = far["verdict"]["code"].as_str();
    assert_eq!(digest.findings.first().map(|it| it.code.as_str()), verdict);
    assert!(
        report(&doctor(&flags[..4].iter().chain(&flags[5..]).copied().collect::<Vec<_>>()))
            .get("token")
            .is_none()
    );
}

#[test]
fn a_slip_is_one_line_and_bad_usage() {
    let token = printed("8080");
    let (first, rest) = token.split_at(1);
    let wrong = format!("{}{rest}", if first == "B" { "C" } else { "B" });
    let (cut, _) = token.split_at(token.len() - 1);
    let (few, _) = token.split_at(5);
    for (token, says) in [
        (wrong.as_str(), "check sum"),
        (cut, "check sum"),
        (few, ""),
        ("10", "'1'"),
        ("AE", "short"),
    ] {
        let output = doctor(&["127.0.0.1:8080", "--with", token]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.starts_with("error: --with: ") && text.contains(says), "{text}");
        assert!(output.stdout.is_empty());
    }
    // A token about another port, and flags that do not go together.
    let output = doctor(&["127.0.0.1:8081", "--with", &token]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("port 8080"));
    for flags in [
        &["127.0.0.1:8080", "--token"][..],
        &["127.0.0.1:8080", "--with", &token, "--ssh", "a@b"],
        &["--role", "host", "--with", &token],
        &["--role", "host", "--ssh", "a@b"],
    ] {
        assert_eq!(doctor(flags).status.code(), Some(2), "{flags:?}");
    }
}
