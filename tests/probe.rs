//! `probe`: the real program through a real proxy to web servers of the test, all on loopback.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::process::Output;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::ends::{Answer, Ends, foreign_proxy, plain};
use common::process::{Serve, command, run};
use common::schema;
use serde_json::Value;

/// What a run of `probe --json` came to.
struct Seen {
    exit: i32,
    took: Duration,
    document: Value,
}

fn probe(arguments: &[&str]) -> Seen {
    let begun = SystemTime::now();
    let output = run(&[&["probe", "--json"], arguments].concat());
    let took = begun.elapsed().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{arguments:?}: {said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    schema::check(&schema::of_reports(), &document).unwrap();
    Seen { exit: output.status.code().unwrap(), took, document }
}

impl Seen {
    fn is(&self, code: &str, exit: i32) -> &Self {
        let verdict = &self.document["verdict"];
        assert_eq!((&verdict["code"], self.exit), (&code.into(), exit), "{:#}", self.document);
        self
    }

    /// All is well, and nothing is to be warned of.
    fn is_well(&self) -> &Self {
        self.is("ok", 0);
        assert_eq!(self.document["verdict"]["status"], "ok", "{:#}", self.document);
        assert!(self.warnings().is_empty(), "{:#}", self.document);
        self
    }

    fn warnings(&self) -> Vec<&str> {
        let all = self.document["warnings"].as_array().unwrap();
        all.iter().map(|it| it["code"].as_str().unwrap()).collect()
    }

    fn checks(&self, id: &str) -> Vec<&Value> {
        let all = self.document["checks"].as_array().unwrap();
        all.iter().filter(|it| it["id"] == id).collect()
    }

    fn through(&self) -> &Value {
        self.checks("through-proxy")[0]
    }
}

/// What a person reads.
fn told(arguments: &[&str]) -> String {
    let output = run(&[&["probe"], arguments].concat());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_healthy_proxy_is_measured_whole_in_3_s() {
    let ends = Ends::new();
    let proxy = ends.serve(&[]);
    let (by_name, target) =
        (format!("localhost:{}", proxy.address.port()), ends.https(Answer::Well));
    let ca = ends.file("authority.pem");
    let seen = probe(&[&by_name, "-4", "--target", &target, "--ca", &ca]);
    seen.is_well();
    assert_eq!(seen.document["verdict"]["confidence"], "certain", "{:#}", seen.document);
    assert!(seen.took < Duration::from_secs(3), "{:?}", seen.took);
    for phase in ["dns_ms", "connect_ms", "proxy_ms", "tls_ms", "first_byte_ms", "total_ms"] {
        assert!(seen.document["timings"][phase].is_u64(), "{phase}: {:#}", seen.document);
    }
    // Each check that has a sense here has measured something.
    for id in [
        "resolve",
        "route",
        "tcp-connect",
        "hello",
        "link-down",
        "link-up",
        "stream",
        "trials",
        "proxy-health",
        "through-proxy",
        "direct",
        "ordinary-client",
    ] {
        let checks = seen.checks(id);
        assert_eq!(checks.len(), 1, "{id}: {:#}", seen.document);
        let check = checks[0];
        // Nothing listens where the proxy tries its own way out.
        let status = if id == "proxy-health" { "fail" } else { "ok" };
        assert!(check["status"] == status && check["evidence"].is_object(), "{check:#}");
    }
    for id in ["sibling-ports", "ttl-ladder", "control-address"] {
        assert_eq!(seen.checks(id)[0]["status"], "skipped", "{:#}", seen.document);
    }
    let trip = &seen.through()["evidence"]["trips"][0];
    let stages: Vec<_> = trip["laps"].as_array().unwrap().iter().map(|it| &it["stage"]).collect();
    assert_eq!(stages, ["connect", "proxy", "target-tls", "first-byte", "body"], "{trip:#}");
    assert_eq!(trip["certificate"]["given"], "trusted", "{trip:#}");
    assert!(proxy.is_well());
}

#[test]
fn the_time_of_each_phase_is_drawn() {
    let ends = Ends::new();
    let (serve, target) = (ends.serve(&[]), ends.https(Answer::Well));
    let (proxy, ca) = (serve.address.to_string(), ends.file("authority.pem"));
    let common = [proxy.as_str(), "--target", &target, "--ca", &ca];
    for (lang, phases, spread) in [
        (
            "en",
            ["connection", "proxy", "TLS", "first byte", "the rest"],
            ["median", "95 %", "jitter"],
        ),
        (
            "ru",
            ["соединение", "прокси", "TLS", "первый байт", "остальное"],
            ["обычно", "95 %", "разброс"],
        ),
    ] {
        let text = told(&[&common[..], &["--lang", lang]].concat());
        let (_, drawn) = text.split_once("\n\n").unwrap();
        let lines: Vec<_> = drawn.lines().collect();
        assert!(lines[0].contains(&target) && lines[0].contains("200"), "{text}");
        assert_eq!(lines.len(), 6, "{text}");
        for (line, phase) in lines[1..].iter().zip(phases) {
            assert!(line.contains(phase) && line.contains('#'), "{phase}: {text}");
            assert!(!line.contains(spread[0]), "{text}");
        }
        let text = told(&[&common[..], &["--lang", lang, "-n", "5"]].concat());
        let (_, drawn) = text.split_once("\n\n").unwrap();
        for line in drawn.lines().skip(1) {
            assert!(spread.iter().all(|it| line.contains(it)), "{line}: {text}");
        }
    }
    let seen = probe(&[&common[..], &["-n", "5"]].concat());
    seen.is_well();
    assert_eq!(seen.through()["evidence"]["trips"].as_array().unwrap().len(), 5);
}

#[test]
fn several_targets_are_reached_at_once() {
    let ends = Ends::new();
    let proxy = ends.serve(&[]);
    let (address, ca) = (proxy.address.to_string(), ends.file("authority.pem"));
    let (secure, clear) = (ends.https(Answer::Well), plain(Answer::Well));
    let deep = format!("{clear}a/b?c=%20d");
    let targets = ["--target", &secure, "--target", &clear, "--target", &deep, "--target", &clear];
    let seen = probe(&[&[address.as_str(), "--ca", &ca][..], &targets].concat());
    seen.is_well();
    let reached: Vec<_> = seen.checks("through-proxy");
    let named: Vec<_> = reached.iter().map(|it| &it["evidence"]["target"]).collect();
    assert_eq!(named, [&secure, &clear, &deep]);
    let text = told(&[&[address.as_str(), "--ca", &ca][..], &targets].concat());
    assert!(
        [&secure, &clear, &deep].iter().all(|it| text.contains(&format!("  {it}   200"))),
        "{text}"
    );
    // One that is not there makes it no success.
    let gone = ["--target", &clear, "--target", "http://127.0.0.1:1/"];
    let seen = probe(&[&[address.as_str()][..], &gone].concat());
    seen.is("target-refused", 1);
}

const PASSWORD: &str = "p@ss:w/rd#1%";
const ENCODED: &str = "p%40ss%3Aw%2Frd%231%25";

/// No run may show the password in any spelling.
fn is_secret(output: &Output, password: &str, arguments: &[&str]) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8(text).unwrap();
    let encoded = BASE64_STANDARD.encode(format!("sami:{password}"));
    let alone = BASE64_STANDARD.encode(password);
    for spelling in [password, ENCODED, &encoded, alone.trim_end_matches('=')] {
        assert!(!text.contains(spelling), "{arguments:?}: {text}");
    }
}

#[test]
fn passwords_with_any_characters_are_told_to_the_proxy_and_to_nobody_else() {
    let ends = Ends::new();
    let proxy = ends.serve(&["--auth", &format!("sami:{PASSWORD}")]);
    let (address, target) = (proxy.address, plain(Answer::Well));
    let (wrong, twice) = ("wr%40ngwr0ng", "p%2540ss%253Aw%2Frd%231%25");
    for (url, user, code, exit) in [
        (format!("http://sami:{ENCODED}@{address}"), None, "ok", 0),
        (format!("sami:{ENCODED}@{address}"), None, "ok", 0),
        (format!("socks5://sami:{ENCODED}@{address}"), None, "ok", 0),
        (format!("{address}"), Some(format!("sami:{PASSWORD}")), "ok", 0),
        (format!("socks5://{address}"), Some(format!("sami:{PASSWORD}")), "ok", 0),
        // As it is: we understand it, so there is nothing to be warned of.
        (format!("http://sami:{PASSWORD}@{address}"), None, "ok", 0),
        (format!("http://sami:{twice}@{address}"), None, "proxy-auth-rejected", 1),
        (format!("socks5://sami:{twice}@{address}"), None, "proxy-auth-rejected", 1),
        (format!("http://sami:{wrong}@{address}"), None, "proxy-auth-rejected", 1),
        (format!("socks5://sami:{wrong}@{address}"), None, "proxy-auth-rejected", 1),
        (format!("http://{address}"), None, "proxy-auth-required", 1),
        (format!("socks5://{address}"), None, "proxy-auth-required", 1),
        (format!("{address}"), Some(format!("sami:{ENCODED}")), "proxy-auth-rejected", 1),
    ] {
        let mut arguments = vec![url.as_str(), "--target", &target];
        arguments.extend(user.iter().flat_map(|it| ["--user", it.as_str()]));
        let seen = probe(&arguments);
        seen.is(code, exit);
        let odd = if url.contains(twice) { &["credentials-misencoded"][..] } else { &[] };
        assert_eq!(seen.warnings(), odd, "{url}: {:#}", seen.document);
        for more in [&["--json"][..], &["--verbose"], &["--lang", "ru"]] {
            let all = [&["probe"], &arguments[..], more].concat();
            let output = run(&all);
            is_secret(&output, PASSWORD, &all);
            is_secret(&output, "wr@ngwr0ng", &all);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(![wrong, twice].iter().any(|it| text.contains(it)), "{all:?}: {text}");
        }
    }
}

/// A proxy in TLS, and the pin that it prints.
fn self_signed(ends: &Ends) -> (Serve, String) {
    let state = ends.file("state");
    let flags = ["--tls-self-signed", "--state-dir", &state];
    // It prints the pin before it listens: the second start has the same key.
    let first = ends.serve(&flags);
    first.signal("TERM");
    drop(first.finish());
    let pin = std::fs::read_dir(&state).unwrap().find_map(|entry| {
        let text = std::fs::read_to_string(entry.unwrap().path()).ok()?;
        let pem = rustls_pem(&text)?;
        Some(sami_proxy::net::pin::Pin::of(&pem).unwrap().to_string())
    });
    (ends.serve(&flags), pin.unwrap())
}

fn rustls_pem(text: &str) -> Option<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).ok()
}

#[test]
fn a_proxy_in_tls_is_known_by_its_authority_or_by_its_pin() {
    let ends = Ends::new();
    let (ca, target) = (ends.file("authority.pem"), ends.https(Answer::Well));
    let (certificate, key) = (ends.file("proxy.pem"), ends.file("proxy.key"));
    let good = ends.serve(&["--tls-cert", &certificate, "--tls-key", &key]);
    let signed = format!("https://{}", good.address);
    let (serve, pin) = self_signed(&ends);
    let own = format!("https://{}", serve.address);
    let other = format!("sha256:{}", "0".repeat(64));
    let reach = ["--target", target.as_str(), "--ca", &ca];
    probe(&[&[signed.as_str()][..], &reach].concat()).is_well();
    let seen = probe(&[&[own.as_str(), "--pin", &pin][..], &reach].concat());
    seen.is_well();
    assert_eq!(seen.through()["evidence"]["trips"][0]["laps"][1]["stage"], "proxy-tls");
    for arguments in [
        [&[own.as_str()][..], &reach].concat(),
        [&[own.as_str(), "--pin", &other][..], &reach].concat(),
        [&[signed.as_str(), "--pin", &pin][..], &reach].concat(),
        vec![signed.as_str(), "--target", &target],
    ] {
        probe(&arguments).is("proxy-cert-untrusted", 1);
    }
    // The clear form of such a proxy is spoken as well.
    let clear = serve.address.to_string();
    probe(&[&[clear.as_str()][..], &reach].concat()).is_well();
}

#[test]
fn socks_is_spoken_with_and_without_a_login() {
    let ends = Ends::new();
    let (ca, target) = (ends.file("authority.pem"), ends.https(Answer::Well));
    let (open, closed) = (ends.serve(&[]), ends.serve(&["--auth", "sami:s3cretw0rd"]));
    let open = format!("socks5://{}", open.address);
    let login = format!("socks5h://sami:s3cretw0rd@{}", closed.address);
    for url in [&open, &login] {
        let seen = probe(&[url, "--target", &target, "--ca", &ca]);
        seen.is_well();
        assert!(seen.took < Duration::from_secs(3), "{:?}", seen.took);
    }
}

#[test]
fn a_foreign_proxy_is_as_good() {
    let ends = Ends::new();
    let (ca, target) = (ends.file("authority.pem"), ends.https(Answer::Well));
    let target = target.replace("localhost", "127.0.0.1");
    let seen = probe(&[&foreign_proxy().to_string(), "--target", &target, "--ca", &ca]);
    seen.is_well();
    for id in ["link-down", "link-up", "stream", "proxy-health"] {
        assert_eq!(seen.checks(id)[0]["status"], "skipped", "{:#}", seen.document);
    }
}

#[test]
fn a_saved_report_comes_to_the_same_without_a_network() {
    let ends = Ends::new();
    let proxy = ends.serve(&["--auth", "sami:s3cretw0rd"]);
    let (address, ca) = (proxy.address.to_string(), ends.file("authority.pem"));
    let odd = format!("http://sami:s3cret%w0rd@{address}");
    let right = format!("http://sami:s3cretw0rd@{address}");
    let (secure, clear) = (ends.https(Answer::Well), plain(Answer::Well));
    let file = ends.file("report.json");
    for arguments in [
        vec![right.as_str(), "--target", &secure, "--ca", &ca, "-n", "3"],
        vec![odd.as_str(), "--target", &clear],
        vec![address.as_str(), "--target", &clear],
        vec!["127.0.0.1:1"],
    ] {
        let live = probe(&arguments);
        std::fs::write(&file, live.document.to_string()).unwrap();
        let again = probe(&["--from", &file]);
        assert_eq!((again.exit, &again.document), (live.exit, &live.document));
        // Another command's report is what it is, whoever reads it.
        let output = run(&["check-port", "--json", "--from", &file]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["verdict"], live.document["verdict"]);
        assert_eq!(output.status.code(), Some(live.exit));
        // What a person reads is as good as it was.
        let text = told(&["--from", &file, "--lang", "ru"]);
        assert!(text.contains(arguments[0].rsplit('@').next().unwrap()), "{text}");
    }
    let port = run(&["check-port", "--json", &address]);
    std::fs::write(&file, &port.stdout).unwrap();
    let again = probe(&["--from", &file]);
    let before: Value = serde_json::from_slice(&port.stdout).unwrap();
    assert_eq!(again.document["verdict"], before["verdict"]);
}

#[test]
fn the_variables_of_the_system_do_not_lead_elsewhere() {
    let ends = Ends::new();
    let proxy = ends.serve(&[]);
    let (address, target) = (proxy.address.to_string(), plain(Answer::Well));
    let mut command = command(&["probe", &address, "--target", &target, "--json"]);
    for name in ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let output = command.env("NO_PROXY", "127.0.0.1").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["verdict"]["status"], "ok", "{document:#}");
}
