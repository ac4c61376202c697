//! The picture in `src/lib.rs` as a table: who may import whom, what is pure, how long a file is.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

/// Module → what it may import of this crate.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "cli", "config", "diag", "journal", "net", "proxy", "render", "secret", "tame",
            "target", "wire", "worker",
        ],
    ),
    ("config", &["config", "net", "proxy", "secret", "target"]),
    ("proxy", &["failure", "journal", "net", "proxy", "secret", "target", "wire", "worker"]),
    // proxy and diag never import each other.
    ("diag", &["diag", "failure", "net", "secret", "target", "wire"]),
    ("render", &["diag", "failure", "render", "tame", "target"]),
    ("net", &["failure", "net", "secret", "target", "wire", "worker"]),
    ("wire", &["secret", "target", "wire"]),
    ("journal", &["worker"]),
    ("worker", &[]),
    ("target", &[]),
    ("failure", &[]),
    ("secret", &[]),
    ("tame", &[]),
];

/// Files and folders that only compute: no sockets, files, environment, tasks or clocks.
const PURE: &[&str] = &[
    "target.rs",
    "failure.rs",
    "secret.rs",
    "tame.rs",
    "wire",
    "config/table.rs",
    "config/layer.rs",
    "config/convert.rs",
    "diag/changes",
    "diag/code.rs",
    "diag/fact",
    "diag/evidence.rs",
    "diag/plan.rs",
    "diag/infer",
    "diag/llm.rs",
    "diag/packets",
    "diag/diagnosis.rs",
    "diag/fix",
    "diag/report.rs",
    "diag/server.rs",
    "diag/report_host.rs",
    "diag/plan_host.rs",
    "diag/scrub",
    "diag/saved.rs",
    "diag/settings",
    "diag/times.rs",
    "diag/token.rs",
    "diag/withheld.rs",
    "render",
    "proxy/policy.rs",
    "proxy/destinations.rs",
    "proxy/known_hosts.rs",
    "proxy/page",
    "proxy/stop.rs",
];

const IMPURE_WORDS: &[&str] =
    &["tokio::", "std::fs", "std::env::", "SystemTime", "TcpStream", "UdpSocket", "std::thread"];

/// Word → the only files that may have it.
const ONLY_IN: &[(&str, &[&str])] = &[
    // The way out is one.
    ("net::dial", &["proxy/egress.rs"]),
    ("TcpStream::connect", &["net/dial.rs", "cli/healthcheck.rs"]),
    // Only policy makes an approved address.
    ("Approved(", &["proxy/policy.rs"]),
    (
        "clap::",
        &[
            "cli/args.rs",
            "cli/mod.rs",
            "cli/exit.rs",
            "cli/diagnose/args.rs",
            "cli/diagnose/mod.rs",
            "cli/without_doctor.rs",
        ],
    ),
    ("println!", &["cli/check_config.rs", "cli/exit.rs"]),
    ("unsafe ", &["cli/diagnose/windows_console.rs"]),
];

/// A file without its tests.
const LONGEST: usize = 400;

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            (name, code)
        })
        .filter(|(name, _)| {
            !["lib.rs", "core.rs"].contains(&name.as_str()) && !name.starts_with("bin/")
        })
        .collect()
}

fn module(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn imports_follow_the_picture() {
    for (name, code) in sources() {
        let from = module(&name);
        let Some((_, allowed)) = MAY_USE.iter().find(|(layer, _)| *layer == from) else {
            panic!("{name}: the layer {from} is not in the picture");
        };
        for line in code_lines(&code) {
            for rest in line.split("crate::").skip(1) {
                assert!(!rest.starts_with('{'), "{name}: one line per module, please: {line}");
                let to = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                assert!(allowed.contains(&to), "{name} must not import {to}: {line}");
            }
        }
    }
}

#[test]
fn decisions_are_pure() {
    for (name, code) in sources() {
        let pure = PURE.iter().any(|pure| name == *pure || name.starts_with(&format!("{pure}/")));
        for line in code_lines(&code).filter(|_| pure) {
            for word in IMPURE_WORDS {
                assert!(!line.contains(word), "{name} is pure but has {word}: {line}");
            }
        }
    }
}

#[test]
fn what_has_one_place_has_one_place() {
    for (name, code) in sources() {
        for (word, places) in ONLY_IN {
            let found = code_lines(&code).any(|line| line.contains(word));
            assert!(!found || places.contains(&name.as_str()), "{name} must not have {word:?}");
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for (name, code) in sources() {
        let lines = code.lines().count();
        assert!(lines <= LONGEST, "{name} has {lines} lines without its tests");
    }
}

#[test]
fn every_dependency_has_a_reason() {
    for name in ["Cargo.toml", "core/Cargo.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let manifest = fs::read_to_string(path).unwrap();
        let mut inside = false;
        let mut before = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies]");
            } else if inside && line.contains('=') {
                assert!(before.starts_with('#'), "{name}: no reason given for: {line}");
            }
            before = line;
        }
    }
}
