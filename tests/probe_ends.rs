//! How a run of `probe` ends: in time whatever is silent, with what is known when it is interrupted,
//! and in one line when it makes no sense.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use common::LIMIT;
use common::ends::{Answer, Deed, Ends, between, full, listen, plain, swallow};
use common::process::{Serve, command, run};
use common::schema;
use serde_json::Value;

/// Where nothing comes back, how that is arranged, and what the run is to come to, if that can be known.
type Hole<'a> = (&'a str, String, Vec<&'a str>, Option<&'a str>);

/// Besides the time that was given.
const LATE: Duration = Duration::from_secs(1);

#[test]
fn no_silence_takes_longer_than_the_time_that_was_given() {
    let ends = Ends::new();
    let proxy = ends.serve(&[]);
    let silent = listen(|mut stream| swallow(&mut stream)).to_string();
    let (filled, _held) = full();
    let (ca, good) = (ends.file("authority.pem"), plain(Answer::Well));
    let mute = |wanted: &'static str, deed| {
        let decide = move |head: &str| if head.starts_with(wanted) { deed } else { Deed::Pass };
        between(proxy.address, decide).to_string()
    };
    let silent_site = format!("https://{silent}/");
    let (silent_http, silent_https) = (plain(Answer::Nothing), ends.https(Answer::Nothing));
    let (half_http, half_https) = (plain(Answer::Half), ends.https(Answer::Half));
    let ours = proxy.address.to_string();
    let to = |target| vec!["--target", target, "--ca", &ca];
    let holes: Vec<Hole<'_>> = vec![
        ("connect", filled.to_string(), to(&good), None),
        ("TLS with the proxy", format!("https://{silent}"), to(&good), None),
        ("the proxy says nothing", silent.clone(), to(&good), Some("silent-peer")),
        ("SOCKS says nothing", format!("socks5://{silent}"), to(&good), Some("silent-peer")),
        ("the tunnel", mute("CONNECT 127", Deed::Swallow), to(&silent_site), None),
        ("the plain request", mute("GET http://127", Deed::Swallow), to(&good), None),
        ("TLS with the target", ours.clone(), to(&silent_site), Some("target-tls-stalled")),
        ("first byte", ours.clone(), to(&silent_http), None),
        ("first byte in TLS", ours.clone(), to(&silent_https), None),
        ("body", ours.clone(), to(&half_http), None),
        ("body in TLS", ours.clone(), to(&half_https), None),
        ("repeats", ours.clone(), [to(&silent_http), vec!["-n", "50"]].concat(), None),
        ("hello", mute("GET http://sami-proxy.internal/whoami", Deed::Swallow), to(&good), None),
        ("download", mute("GET http://sami-proxy.internal/bytes", Deed::Swallow), to(&good), None),
        ("upload", mute("POST ", Deed::Swallow), to(&good), None),
        ("upload unread", mute("POST ", Deed::Ignore), to(&good), None),
        ("stream", mute("GET http://sami-proxy.internal/stream", Deed::Swallow), to(&good), None),
        ("health", mute("GET http://sami-proxy.internal/health", Deed::Swallow), to(&good), None),
        ("echo", mute("CONNECT sami-proxy.internal:7", Deed::Swallow), to(&good), None),
        ("page", mute("GET /healthz", Deed::Swallow), to(&good), None),
        ("everything", mute("", Deed::Ignore), to(&good), None),
    ];
    // The silence that is asked for wants its time.
    let idle = [to(&good), vec!["--idle", "1"]].concat();
    let mut runs: Vec<(&Hole<'_>, u64)> = Vec::new();
    let idle = [Deed::Swallow, Deed::Ignore]
        .map(|deed| ("idle", mute("CONNECT sami-proxy.internal:7", deed), idle.clone(), None));
    runs.extend(idle.iter().map(|hole| (hole, 6)));
    runs.extend(holes.iter().flat_map(|hole| [(hole, 4), (hole, 2)]));
    runs.reverse();
    let (runs, late) = (Mutex::new(runs), Mutex::new(Vec::new()));
    let next = || runs.lock().unwrap().pop();
    let work = || {
        while let Some((hole, seconds)) = next() {
            if is_late(hole, seconds) {
                late.lock().unwrap().push((hole, seconds));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    // Alone on the machine nothing excuses it.
    for (hole, seconds) in late.into_inner().unwrap() {
        assert!(!is_late(hole, seconds), "{} {seconds}", hole.0);
    }
}

/// How many runs share the machine.
const AT_ONCE: usize = 6;

fn is_late((name, proxy, more, code): &Hole<'_>, seconds: u64) -> bool {
    let time = seconds.to_string();
    let arguments = [&["probe", proxy, "--json", "--timeout", &time], &more[..]].concat();
    let begun = SystemTime::now();
    let output = run(&arguments);
    let took = begun.elapsed().unwrap();
    let document = document(&output.stdout);
    let verdict = &document["verdict"];
    println!("{name} {seconds}: {took:?} {} {}", verdict["code"], verdict["confidence"]);
    if let Some(code) = code {
        assert_eq!(verdict["code"], *code, "{name}: {document:#}");
    }
    assert_eq!(output.status.code(), Some(exit_of(&document)), "{name}: {document:#}");
    took >= Duration::from_secs(seconds) + LATE
}

/// The exit code that says the same as the report.
fn exit_of(document: &Value) -> i32 {
    match document["verdict"]["status"].as_str().unwrap() {
        "ok" | "degraded" => 0,
        "broken" => 1,
        _ => 3,
    }
}

/// Standard output as a report.
fn document(bytes: &[u8]) -> Value {
    let document = serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)));
    schema::check(&schema::of_reports(), &document).unwrap();
    document
}

/// A proxy behind somebody who swallows what begins with `wanted`, and says when.
fn swallowing(proxy: &Serve, wanted: &'static str) -> (String, Receiver<()>) {
    let (sender, swallowed) = channel();
    let address = between(proxy.address, move |head| {
        if head.starts_with(wanted) {
            let _nobody_waits = sender.send(());
            Deed::Swallow
        } else {
            Deed::Pass
        }
    });
    (address.to_string(), swallowed)
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_interrupted_run_tells_what_it_knows() {
    let ends = Ends::new();
    let (proxy, good) = (ends.serve(&[]), plain(Answer::Well));
    let silent = plain(Answer::Nothing);
    for (wanted, target, known) in [
        ("GET http://sami-proxy.internal/bytes", &good, "hello"),
        // The upload goes on at the same time.
        ("GET http://sami-proxy.internal/stream", &good, "link-down"),
        ("GET http://sami-proxy.internal/health", &good, "stream"),
        ("CONNECT sami-proxy.internal:7", &good, "stream"),
        ("GET http://127", &silent, "stream"),
    ] {
        for form in [&["--json"][..], &[], &["--verbose", "--lang", "ru"]] {
            let (between, swallowed) = swallowing(&proxy, wanted);
            let flags = ["probe", &between, "--target", target, "--timeout", "60"];
            let child = command(&[&flags, form].concat()).spawn().unwrap();
            swallowed.recv_timeout(LIMIT).unwrap();
            let begun = SystemTime::now();
            interrupt(&child);
            let output = child.wait_with_output().unwrap();
            let took = begun.elapsed().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(took < Duration::from_secs(1), "{wanted}: {took:?}");
            assert!(output.stderr.is_empty(), "{:?}", output.stderr);
            let code = output.status.code();
            if form != ["--json"] {
                assert!(text.contains(&between), "{wanted}: {text}");
                assert!([Some(0), Some(1), Some(3)].contains(&code), "{text}");
                continue;
            }
            let document = document(text.as_bytes());
            println!("{wanted}: {} {code:?}", document["verdict"]["code"]);
            assert_eq!(code, Some(exit_of(&document)), "{document:#}");
            let checks = document["checks"].as_array().unwrap();
            let known = checks.iter().find(|it| it["id"] == known).unwrap();
            assert!(["ok", "warn"].iter().any(|it| known["status"] == **it), "{known:#}");
            let whys = document["not_checked"].as_array().unwrap();
            assert!(whys.iter().any(|it| it["why"] == "interrupted"), "{document:#}");
        }
    }
}

#[test]
fn a_tunnel_is_silent_as_long_as_is_asked() {
    let ends = Ends::new();
    let (proxy, good) = (ends.serve(&[]), plain(Answer::Well));
    let probe = |address: &str| {
        let output = run(&["probe", address, "--target", &good, "--idle", "2", "--json"]);
        (output.status.code(), document(&output.stdout))
    };
    let (exit, document) = probe(&proxy.address.to_string());
    assert_eq!((exit, &document["verdict"]["status"]), (Some(0), &"ok".into()), "{document:#}");
    let checks = document["checks"].as_array().unwrap();
    let idle = checks.iter().find(|it| it["id"] == "idle-tunnel").unwrap();
    assert_eq!((&idle["status"], &idle["evidence"]["seconds"]), (&"ok".into(), &2.into()));
    assert!(idle["duration_ms"].as_u64().unwrap() >= 2000, "{idle:#}");
    // Somebody cuts what is silent for a second.
    let cut = Deed::CutAfter(Duration::from_secs(1));
    let echo = |head: &str| head.starts_with("CONNECT sami-proxy.internal:7");
    let between = between(proxy.address, move |head| if echo(head) { cut } else { Deed::Pass });
    let (exit, document) = probe(&between.to_string());
    let codes = |of: &str| -> Vec<String> {
        let all = document[of].as_array().into_iter().flatten();
        all.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
    };
    let named = document["verdict"]["code"] == "tunnel-cut-idle"
        || codes("warnings").contains(&"tunnel-cut-idle".to_owned());
    assert!(named, "{exit:?} {document:#}");
}

#[test]
fn what_makes_no_sense_is_one_line_and_exit_2() {
    const P: &str = "127.0.0.1:1";
    const S: &str = "https://127.0.0.1:1";
    let ends = Ends::new();
    let file = |name: &str, text: &[u8]| {
        let file = ends.file(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let (empty, words) = (file("empty", b""), file("words", b"hello\n"));
    let bytes = file("bytes", b"\x30\x82\x01\x02\xff");
    let hollow = file("hollow", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let open = file("open", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
    let folder = ends.file("");
    let many: Vec<String> = (0..17).map(|number| format!("--target=h{number}")).collect();
    let many: Vec<&str> = [P].into_iter().chain(many.iter().map(String::as_str)).collect();
    let pin = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let cases: &[(&[&str], &str)] = &[
        (&[], "needs a proxy"),
        (&["--user", "u:geheim"], "needs a proxy"),
        (&[P, P], "one proxy"),
        (&[P, "http://u:geheim@127.0.0.1:2"], "one proxy"),
        (&[""], "the proxy"),
        (&["host"], "port is missing"),
        (&["host:0"], "port"),
        (&["host:99999"], "port"),
        (&["ftp://host:1"], "http://"),
        (&["socks4://host:1"], "socks5://"),
        (&["0.0.0.0:80"], "nobody can connect"),
        (&["224.0.0.1:80"], "nobody can connect"),
        (&["http://u@host:1"], "USER:PASSWORD"),
        (&["http://:geheim@host:1"], "USER:PASSWORD"),
        (&["http://u:geheim@host"], "port is missing"),
        (&["http://u:geheim@host:port"], "port"),
        (&["http://u:geheim@host:1/path"], "port"),
        (&["\u{1b}[31m:80"], "malformed"),
        (&[P, "-4", "-6"], "exclude"),
        (&["[::1]:1", "-4"], "not of the family"),
        (&[P, "-6"], "not of the family"),
        (&[P, "--json", "-v"], "leave out --verbose"),
        (&[P, "--json=1"], "--json"),
        (&[P, "--user", "geheim"], "USER:PASSWORD"),
        (&[P, "--user", ":geheim"], "USER:PASSWORD"),
        (&[P, "--user", "geheim:"], "USER:PASSWORD"),
        (&["http://u:geheim@127.0.0.1:1", "--user", "u:geheim"], "one of them"),
        (&[P, "--user", "u:geheim", "--user", "u:geheim"], "multiple"),
        (&[P, "--usr", "u:geheim"], "--user"),
        (&[P, "--password=geheim"], "--password"),
        (&[P, "--pin", pin], "https://"),
        (&["socks5://127.0.0.1:1", "--pin", pin], "https://"),
        (&[S, "--pin", "nonsense"], "sha256:"),
        (&[S, "--pin", "sha256:00"], "--pin"),
        (&[S, "--pin", ""], "--pin"),
        (&[S, "--pin"], "--pin"),
        (&[P, "--ca", "/does/not/exist"], "No such file"),
        (&[P, "--ca", "/does/not\n/ex\u{1b}[31mist"], "No such file"),
        (&[P, "--ca", &empty], "no certificate"),
        (&[P, "--ca", &words], "no certificate"),
        (&[P, "--ca", &bytes], "UTF-8"),
        (&[P, "--ca", &hollow], "malformed"),
        (&[P, "--ca", &open], "no PEM"),
        (&[P, "--ca", &folder], "--ca"),
        (&[P, "-n", "0"], "1 to 50"),
        (&[P, "-n", "51"], "1 to 50"),
        (&[P, "-n", "x"], "1 to 50"),
        (&[P, "-n", "-1"], "1 to 50"),
        (&[P, "--idle", "0"], "seconds"),
        (&[P, "--idle", "x"], "seconds"),
        (&[P, "--idle", "501"], "seconds"),
        (&[P, "--idle", "10", "--timeout", "12"], "at least 15"),
        (&[P, "--timeout", "x"], "seconds"),
        (&[P, "--timeout", "0"], "seconds"),
        (&[P, "--timeout", "-1"], "seconds"),
        (&[P, "--timeout", "1e9"], "seconds"),
        (&[P, "--timeout", "nan"], "seconds"),
        (&[P, "--target", "ftp://host/"], "http://"),
        (&[P, "--target", "http://u:geheim@host/"], "no user"),
        (&[P, "--target", "u:geheim@host"], "no user"),
        (&[P, "--target", ""], "empty"),
        (&[P, "--target", "http://"], "empty"),
        (&[P, "--target", "http://a b/"], "malformed"),
        (&[P, "--target", "http://[::1/"], "malformed"),
        (&[P, "--target", "http://host:0/"], "port"),
        (&[P, "--target", "http://host/a b"], "%XX"),
        (&[P, "--target", "https:/host"], "://"),
        (&[P, "--target", "http://\u{1b}[31m/"], "malformed"),
        (&many, "more than 16"),
        (&[P, "--nonsense"], "--nonsense"),
        (&[P, "--nonsense\u{1b}[31m\n"], "--nonsense"),
        (&[P, "-x"], "-x"),
        (&[P, "--lang", "de"], "ru, en"),
        (&[P, "--lang"], "ru, en"),
        (&[P, "--color", "yes"], "auto, always, never"),
        (&["--from", "/does/not/exist"], "No such file"),
        (&["--from", &words], "--from"),
        (&["--from", &words, P], "leave out the proxy"),
        (&["--from", &words, "--timeout", "1"], "leave out --timeout"),
        (&["--from", &words, "--target", "host"], "leave out --target"),
        (&["--from", &words, "--llm"], "leave out --llm"),
        (&["--from", &words, "--ca", &words], "leave out --ca"),
        (&["--from", &words, "--pin", pin], "leave out --pin"),
        (&["--from", &words, "--user", "u:geheim"], "leave out --user"),
        (&["--from", &words, "--idle", "1"], "leave out --idle"),
        (&["--from", &words, "-n", "2"], "leave out -n"),
        (&["--from", &words, "-4"], "leave out -4"),
    ];
    for (arguments, expected) in cases {
        let output = run(&[&["probe"], *arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(said.ends_with('\n') && said.lines().count() == 1, "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("geheim") && !said.contains('\u{1b}'), "{arguments:?}: {said}");
    }
    // The other command says no password either.
    let output = run(&["check-port", "http://u:geheim@host:80"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && !said.contains("geheim"), "{said}");
}
