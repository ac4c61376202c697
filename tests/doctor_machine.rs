//! What `doctor` finds out about this machine, by running it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::Value;

fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sami-proxy"));
    command.args(["doctor", "--json", "--lang", "en"]).args(arguments).env_clear();
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn found<'d>(document: &'d Value, id: &str) -> &'d Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|it| it["id"] == id).unwrap()
}

fn warned(document: &Value, code: &str) -> bool {
    document["warnings"].as_array().unwrap().iter().any(|it| it["code"] == code)
}

fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn variables_are_read_without_their_passwords_and_a_dead_proxy_is_seen() {
    let (proxy, dead) = (closed().to_string(), closed().to_string());
    let target = ["--target", "http://llm.invalid/", &proxy];
    let url = format!("http://user:geheim@{dead}");
    let other = doctor(&target, &[("HTTPS_PROXY", &url), ("no_proxy", ".invalid")]);
    let set = &found(&other, "system-proxy")["evidence"]["settings"][0];
    assert_eq!(
        (&set["of"], &set["proxies"][0]["name"]),
        (&"environment".into(), &"HTTPS_PROXY".into())
    );
    assert_eq!(set["proxies"][0]["knock"], "refused");
    assert!(!other.to_string().contains("geheim") && !other.to_string().contains("user:"));
    assert!(warned(&other, "system-proxy-differs") && warned(&other, "app-bypasses-proxy"));
    let same = doctor(&target, &[("HTTPS_PROXY", &format!("http://{proxy}"))]);
    assert!(!warned(&same, "system-proxy-differs") && !warned(&same, "app-bypasses-proxy"));
    let none = doctor(&target, &[]);
    assert!(!warned(&none, "system-proxy-differs"), "{none:#}");
}

#[test]
fn nobody_else_is_asked_without_online() {
    let document = doctor(&["--target", "http://127.0.0.1:1/", &closed().to_string()], &[]);
    assert_eq!(found(&document, "portal")["status"], "skipped");
    assert_eq!(document["evidence"]["asked"].get("online"), None);
    // This machine has at least its loopback interface, and a proxy here is reached by it.
    let adapters = &found(&document, "adapters")["evidence"];
    assert_eq!(adapters["source"], "127.0.0.1");
    let loopback = adapters["adapters"].as_array().unwrap().iter();
    assert!(loopback.into_iter().any(|it| it["kind"] == "loopback" && it["up"] == true));
    assert_eq!(found(&document, "hosts-file")["evidence"]["read"], true);
}
