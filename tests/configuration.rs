//! What the operator types and reads, with the real program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::net::TcpListener;

use common::process::{Serve, blocking_exchange, command, run};

/// Exit 2 and one line on standard error that has all of `words`.
fn complains(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
    assert!(text.starts_with("error: "), "{text}");
    assert!(
        output.stdout.is_empty() || !String::from_utf8_lossy(&output.stdout).contains("listening")
    );
}

#[test]
fn bad_configuration_is_one_clear_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown = file("unknown.toml", "log-level = 'info'\nlissten = '0.0.0.0:1'\n");
    complains(
        &["serve", "--config", &unknown],
        &["unknown.toml:2: lissten", "there is no setting"],
    );
    let broken = file("broken.toml", "listen = [\n");
    complains(&["serve", "--config", &broken], &["broken.toml", "TOML"]);
    let bad = file("bad.toml", "\ntrust-client = ['10.0.0.0/33']\n");
    complains(&["serve", "--config", &bad], &["bad.toml:2: trust-client", "10.0.0.0/33", "CIDR"]);
    complains(
        &["serve", "--config", "/nowhere/c.toml"],
        &["--config", "/nowhere/c.toml", "No such file"],
    );
    complains(&["serve", "--trust-client", "10.0.0.0/33"], &["--trust-client", "10.0.0.0/33"]);
    complains(&["serve", "--auth", "no-colon"], &["--auth", "USER:PASSWORD"]);
    complains(&["serve", "--auth-file", "/nowhere/users"], &["--auth-file", "/nowhere/users"]);
    let weak = file("weak", "anna:$apr1$x$y\n");
    complains(
        &["serve", "--auth-file", &weak],
        &["--auth-file", "line 1", "anna", "htpasswd -nB anna"],
    );
    complains(
        &["serve", "--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"],
        &["--tls-cert", "/nowhere/c"],
    );
    let empty = file("empty.pem", "nothing\n");
    complains(
        &["serve", "--tls-cert", &empty, "--tls-key", &empty],
        &["empty.pem", "no certificate"],
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    complains(&["serve", "--listen", &address], &["--listen", &address, "taken"]);
    complains(&["serve", "--listen", "192.0.2.1:1"], &["--listen", "192.0.2.1:1", "does not have"]);
}

#[test]
fn an_unreadable_certificate_of_the_right_form_is_told_apart_from_a_wrong_pair() {
    let folder = tempfile::tempdir().unwrap();
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (one, two) = (make(), make());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("c"), one.cert.pem()).unwrap();
    std::fs::write(path("k"), two.signing_key.serialize_pem()).unwrap();
    complains(
        &["serve", "--tls-cert", &path("c"), "--tls-key", &path("k")],
        &["certificate and key"],
    );
    complains(&["serve", "--tls-cert", &path("c"), "--tls-key", &path("c")], &["no private key"]);
}

#[test]
fn a_variable_is_named_when_it_is_wrong() {
    for (name, value, word) in [
        ("SAMI_PROXY_TRUST_CLIENT", "nonsense", "CIDR"),
        ("SAMI_PROXY_CONNECT_TIMEOUT", "10", "unit"),
        ("SAMI_PROXY_PASSWORD", "x", "there is no setting"),
        ("SAMI_PROXY_AUTH", "", "empty"),
        ("SAMI_PROXY_AUTH", "hunter2", "USER:PASSWORD"),
    ] {
        let output =
            command(&["serve", "--listen", "127.0.0.1:0"]).env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with(&format!("error: {name}")) && text.contains(word), "{text}");
        assert!(text.lines().count() == 1 && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn check_config_shows_what_holds_and_where_it_comes_from_but_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "auth = ['sami:hunter2', 'anna:geheim']\nconnect-timeout = '3s'\n")
        .unwrap();
    let output = command(&[
        "serve",
        "--check-config",
        "--listen",
        "127.0.0.1:3128",
        "--config",
        path.to_str().unwrap(),
    ])
    .env("SAMI_PROXY_LOG_LEVEL", "debug")
    .output()
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let line =
        |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(
        line("listen").contains("127.0.0.1:3128") && line("listen").ends_with("# --listen"),
        "{text}"
    );
    assert!(line("log-level").ends_with("# SAMI_PROXY_LOG_LEVEL"), "{text}");
    assert!(line("connect-timeout").contains("c.toml:2: connect-timeout"), "{text}");
    assert!(
        line("drain-timeout").contains("25s") && line("drain-timeout").contains("(default)"),
        "{text}"
    );
    assert!(line("auth").contains("sami:***") && text.contains("anna:***"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("geheim"), "{text}");
}

#[test]
fn usage_errors_are_exit_2_and_help_and_version_are_0() {
    for arguments in [&[][..], &["nonsense"], &["serve", "--nonsense"], &["serve", "--listen"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["healthcheck", "--help"], &["--version"]]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_service_of_windows_is_for_windows() {
    for arguments in
        [&["service", "status"][..], &["service", "install", "--", "--listen", "127.0.0.1:8080"]]
    {
        complains(arguments, &["for Windows", "systemd", "Docker"]);
    }
}

#[test]
fn a_proxy_says_at_the_start_who_may_reach_what() {
    let bare = Serve::start(&[]);
    let port = bare.address;
    drop(bare);
    let cases: &[(&[&str], &str)] = &[
        (&[], "clients without credentials reach only the "),
        (&["--auth", "a:b"], "1 user configured: everyone gives credentials"),
        (&["--open"], "OPEN PROXY"),
        (
            &["--trust-client", "10.0.0.0/8"],
            "clients from 10.0.0.0/8 and this machine reach every public host",
        ),
        (&["--allow-client", "127.0.0.1"], "only clients from 127.0.0.1/32 may connect"),
    ];
    for (flags, words) in cases {
        let mut command = command(&[&["serve", "--listen", "127.0.0.1:0"], *flags].concat());
        let mut child = command.spawn().unwrap();
        let mut text = String::new();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        for line in std::io::BufRead::lines(output).map_while(Result::ok) {
            text.push_str(&line);
            if line.contains("listening on ") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(text.contains(words), "{flags:?}: {text}");
        assert!(!text.to_lowercase().contains("error"), "{text}");
    }
    assert!(port.port() != 0);
}

#[test]
fn the_json_log_is_one_object_a_line() {
    let serve = Serve::start(&["--log-format", "json", "--log-level", "debug"]);
    blocking_exchange(
        serve.address,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let line = serve.line_with("own_answer");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["message"], &value["method"]), (&"request".into(), &"GET".into()));
    serve.signal("TERM");
    let (status, rest) = serve.finish();
    assert!(status.success());
    for line in rest.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn the_health_check_tells_well_from_ill() {
    let serve = Serve::start(&[]);
    assert!(serve.is_well());
    let address = serve.address.to_string();
    drop(serve);
    let output = run(&["healthcheck", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    let closed = Serve::start(&["--allow-client", "10.0.0.0/8"]);
    let address = closed.address.to_string();
    let output = run(&["healthcheck", "--listen", &address, "--allow-client", "10.0.0.0/8"]);
    assert!(output.status.success(), "closed to us on purpose is well");
}

#[test]
fn a_wrong_parent_is_one_line_without_its_password() {
    for url in [
        "anna:hunter2@h:1",
        "ftp://anna:hunter2@h:1",
        "http://anna:hunter2@h",
        "http://anna:hunter2@h:0",
        "http://anna:hunter2@h:1/path",
        "http://anna:hunter2/h:1",
        "http://:hunter2@h:1",
        "http://hunter2@h:1",
        "https://anna:hunter2@-h:1",
        "http://an%3Ana:hunter2@h:1",
        "http://anna:hunter2%0A@h:1",
    ] {
        let output = run(&["serve", "--listen", "127.0.0.1:0", "--upstream", url]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}: {text}");
        assert!(
            text.starts_with("error: --upstream") && text.lines().count() == 1,
            "{url}: {text}"
        );
        assert!(!text.contains("hunter2") && !text.contains("anna"), "{url}: {text}");
        let output = command(&["serve", "--check-config"]).env("SAMI_PROXY_UPSTREAM", url).output();
        let text = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(text.starts_with("error: SAMI_PROXY_UPSTREAM"), "{url}: {text}");
        assert!(!text.contains("hunter2"), "{url}: {text}");
    }
    let pin = format!("sha256:{}", "00".repeat(32));
    complains(&["serve", "--upstream-pin", &pin], &["--upstream-pin", "--upstream"]);
    complains(
        &["serve", "--upstream", "http://h:1", "--upstream-pin", &pin],
        &["--upstream-pin", "https://"],
    );
    complains(
        &["serve", "--upstream", "https://h:1", "--upstream-pin", "md5:x"],
        &["--upstream-pin", "sha256:"],
    );
    complains(&["serve", "--no-upstream", "a b"], &["--no-upstream", "a b"]);
}

#[test]
fn check_config_shows_a_parent_but_not_who_we_are_there() {
    let shown = |key: &str, value: &str| {
        let output = run(&["serve", "--check-config", &format!("--{key}"), value]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with(key)).unwrap().to_owned()
    };
    for (url, expected) in [
        ("https://anna:hunter2@h.example:8443", " https://***@h.example:8443 "),
        ("socks5://anna:hun@ter2://@[::1]:1080", " socks5://***@[::1]:1080 "),
        ("http://h.example:1", " http://h.example:1 "),
    ] {
        let line = shown("upstream", url);
        assert!(line.contains(expected) && line.ends_with("# --upstream"), "{line}");
        assert!(!line.contains("anna") && !line.contains("hun"), "{line}");
    }
    // A user may have a password that looks like a URL.
    for pair in ["anna://hunter2", "anna://x@hunter2", "anna:x://@hunter2"] {
        let line = shown("auth", pair);
        assert!(line.contains(" anna:*** ") && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn no_log_line_has_what_we_tell_the_parent() {
    let parent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://anna:hunter2@{}", parent.local_addr().unwrap());
    let serve = Serve::start(&["--upstream", &url, "--log-level", "trace"]);
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = parent.accept().unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let text = String::from_utf8(head).unwrap();
        assert!(text.contains("Proxy-Authorization: Basic YW5uYTpodW50ZXIy\r\n"), "{text}");
        stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").unwrap();
    });
    let answer =
        blocking_exchange(serve.address, b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    answering.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    serve.signal("TERM");
    let (_, log) = serve.finish();
    assert!(log.contains("407") && log.contains("a.example:443"), "{log}");
    for secret in ["hunter2", "anna", "YW5u"] {
        assert!(!log.contains(secret) && !answer.contains(secret), "{secret}: {log}");
    }
}
