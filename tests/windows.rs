//! `sami-proxy.exe` under Wine, against real ports of this machine.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod common;
mod wine;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;

use common::LIMIT;
use common::ends::{Answer, Ends, plain};
use common::process::{Serve, blocking_exchange};
use common::schema;
use sami_proxy::diag::report::Report;
use sami_proxy::diag::saved;
use sami_proxy::render::json;
use sami_proxy::render::words::{Lang, Words};
use serde_json::Value;
use wine::{Wine, windows_path};

/// The exit code, standard output and standard error; both are UTF-8.
fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs `check-port --json`.
fn check(wine: &Wine, arguments: &[&str]) -> (i32, Value) {
    told(wine, "check-port", arguments)
}

/// Runs `command --json`.
fn told(wine: &Wine, command: &str, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = parts(wine.run(&[&[command, "--json"], arguments].concat()));
    assert_eq!(err, "", "{arguments:?}");
    let document = serde_json::from_str(&out).unwrap();
    schema::check(&schema::of_reports(), &document).unwrap();
    (code, document)
}

fn evidence<'d>(document: &'d Value, id: &str) -> &'d Value {
    let checks = document["checks"].as_array().unwrap();
    &checks.iter().find(|check| check["id"] == id).unwrap()["evidence"]
}

/// As PowerShell 5.1 and Notepad ("Unicode") save it.
fn utf16(text: &str) -> Vec<u8> {
    let text = format!("\u{feff}{text}").replace('\n', "\r\n");
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A port on which nobody listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that answers every connection with `answer`, after it has heard something.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut heard = [0; 2000];
            if stream.read(&mut heard).is_ok() {
                // Who has gone does not want it.
                drop(stream.write_all(answer.as_bytes()));
            }
        }
    });
    address
}

#[test]
fn it_starts() {
    let Some(wine) = Wine::new() else { return };
    let version = format!("sami-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(parts(wine.run(&["--version"])), (0, version, String::new()));
    let (code, out, err) = parts(wine.run(&["--help"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Usage: sami-proxy.exe [COMMAND]") && out.contains("check-port"), "{out}");
}

#[test]
fn it_says_to_windows_what_it_is() {
    let Some(wine) = Wine::new() else { return };
    let bytes = std::fs::read(wine.exe()).unwrap();
    // The manifest is there as it is, and once: two of them do not load.
    let manifest = include_str!("../src/bin/sami-proxy.manifest");
    let begins = manifest.get(..manifest.find("<!--").unwrap()).unwrap();
    let found = bytes.windows(begins.len()).filter(|it| *it == begins.as_bytes()).count();
    assert_eq!(found, 1);
    for setting in ["asInvoker", ">UTF-8<", "longPathAware", "8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a"]
    {
        assert!(bytes.windows(setting.len()).any(|it| it == setting.as_bytes()), "{setting}");
    }
    // What the file's properties show: a key, a NUL, padding to four bytes, the value.
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for key in ["FileVersion", "ProductVersion"] {
        let key = utf16(key);
        let at = bytes.windows(key.len()).position(|it| it == key).unwrap() + key.len();
        let near = &bytes[at..at + 32];
        let version = utf16(env!("CARGO_PKG_VERSION"));
        assert!(near.windows(version.len()).any(|it| it == version), "{}", near.escape_ascii());
    }
}

#[test]
fn what_is_wrong_is_one_line() {
    let Some(wine) = Wine::new() else { return };
    for (arguments, expected) in [
        (&["tea"][..], "error: unrecognized subcommand 'tea'"),
        (&["explain", "tea"], "error: there is no code \"tea\""),
        (&["explain", "--lang", "tea"], "error: invalid value 'tea'"),
        (&["check-port"], "error: check-port needs HOST:PORT"),
        (&["check-port", "1:2:3"], "error: 1:2:3: "),
        (&["check-port", "--from", r"C:\no such file"], r"error: --from C:\no such file: "),
        (&["serve", "--listen", "tea"], "error: --listen"),
        (&["serve", "--config", r"C:\no such file"], "error: --config"),
    ] {
        let (code, out, err) = parts(wine.run(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.starts_with(expected) && err.lines().count() == 1, "{arguments:?}: {err}");
    }
    let (code, out, err) = parts(wine.run(&[]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage: sami-proxy") && !err.contains("panicked"), "{err}");
}

#[test]
fn texts_are_utf8_in_the_language_of_the_flag() {
    let Some(wine) = Wine::new() else { return };
    for (lang, expected) in
        [("ru", "port-filtered (проблема)\n"), ("en", "port-filtered (problem)\n")]
    {
        let (code, out, err) = parts(wine.run(&["explain", "port-filtered", "--lang", lang]));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.starts_with(expected) && !out.contains('\u{1b}'), "{out}");
        // As on Linux, to the byte.
        let here = common::process::run(&["explain", "port-filtered", "--lang", lang]);
        assert_eq!(out.as_bytes(), here.stdout);
    }
}

#[test]
fn a_russian_windows_speaks_russian() {
    let Some(wine) = Wine::new() else { return };
    for (locale, expected) in [
        ("ru_RU.UTF-8", "ok (всё хорошо)"),
        ("uk_UA.UTF-8", "ok (всё хорошо)"),
        ("de_DE.UTF-8", "ok (all is well)"),
    ] {
        // Wine makes its language of the variable; the program must ask Windows, for here it is gone.
        let commands = "set\n@%SAMI% explain ok";
        let (code, out, err) = parts(wine.batch(&format!("{locale}.bat"), locale, commands));
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let gone = ["LC_ALL=", "LC_MESSAGES=", "LANG=", "SAMI_PROXY_LANG="];
        assert!(!out.lines().any(|line| gone.iter().any(|it| line.starts_with(it))), "{out}");
        assert!(out.contains("SystemRoot=") && out.contains(expected), "{locale}: {out}");
    }
}

#[test]
fn a_healthy_proxy_is_found_healthy() {
    let Some(wine) = Wine::new() else { return };
    let proxy = Serve::start(&[]);
    let address = proxy.address.to_string();
    let (code, document) = check(wine, &[&address]);
    assert_eq!((code, &document["verdict"]["code"]), (0, &"ok".into()), "{document:#}");
    assert_eq!(evidence(&document, "hello")["nonce_returned"], true);
    // Linux makes the same document of what Windows has measured: one form, the schema's.
    let saved = saved::all(&document).unwrap().remove(0);
    assert_eq!(json::document(&Report::new(saved), "check-port", &Words::new(Lang::En)), document);
    let (code, out, _) = parts(wine.run(&["check-port", &address]));
    assert!(code == 0 && out.starts_with("✓ OK "), "{out}");
    let (code, ..) = parts(wine.run(&["healthcheck", "--listen", &address]));
    assert_eq!(code, 0);
}

#[test]
fn a_proxy_is_probed_from_end_to_end() {
    let Some(wine) = Wine::new() else { return };
    let ends = Ends::new();
    let proxy = ends.serve(&[]);
    let (address, target) = (proxy.address.to_string(), ends.https(Answer::Well));
    let ca = windows_path(ends.file("authority.pem").as_ref());
    let common = [address.as_str(), "--target", &target, "--ca", &ca];
    let (code, document) = told(wine, "probe", &common);
    assert_eq!((code, &document["verdict"]["code"]), (0, &"ok".into()), "{document:#}");
    assert_eq!(document["warnings"], Value::Array(Vec::new()), "{document:#}");
    for id in ["link-down", "link-up", "stream", "trials", "through-proxy", "ordinary-client"] {
        let checks = document["checks"].as_array().unwrap();
        let check = checks.iter().find(|it| it["id"] == id).unwrap();
        assert_eq!(check["status"], "ok", "{check:#}");
    }
    // Linux makes the same document of what Windows has measured.
    let saved = saved::all(&document).unwrap().remove(0);
    assert_eq!(json::document(&Report::new(saved), "probe", &Words::new(Lang::En)), document);
    // And Windows of what it has saved in the encoding of PowerShell.
    let file = wine.folder().join("probe.json");
    std::fs::write(&file, utf16(&format!("{document:#}\n"))).unwrap();
    assert_eq!(told(wine, "probe", &["--from", &windows_path(&file)]), (0, document));
    let (code, out, err) =
        parts(wine.run(&[&["probe"], &common[..], &["--lang", "ru", "--idle", "1"]].concat()));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for words in ["✓ ВСЁ В ПОРЯДКЕ", "первый байт", "███", &target] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn what_is_wrong_with_a_proxy_is_the_same_as_on_linux() {
    let Some(wine) = Wine::new() else { return };
    let ends = Ends::new();
    let target = plain(Answer::Well);
    let locked = ends.serve(&["--auth", "sami:p@ss:w/rd"]);
    let web = answering(
        "HTTP/1.1 405 No\r\nServer: nginx\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let locked_at = locked.address;
    for (proxy, code, exit) in [
        (closed().to_string(), "port-refused", 1),
        (web.to_string(), "not-a-proxy", 1),
        (locked_at.to_string(), "proxy-auth-required", 1),
        (format!("http://sami:wr0ngw0rd@{locked_at}"), "proxy-auth-rejected", 1),
        (format!("socks5://sami:wr0ngw0rd@{locked_at}"), "proxy-auth-rejected", 1),
        (format!("http://sami:p%40ss%3Aw%2Frd@{locked_at}"), "ok", 0),
        (format!("socks5://sami:p%40ss%3Aw%2Frd@{locked_at}"), "ok", 0),
    ] {
        let arguments = [proxy.as_str(), "--target", &target];
        let (found, document) = told(wine, "probe", &arguments);
        assert_eq!((found, &document["verdict"]["code"]), (exit, &code.into()), "{document:#}");
        let text = document.to_string();
        assert!(!text.contains("wr0ngw0rd") && !text.contains("p@ss"), "{text}");
        let here = common::process::run(&[&["probe", "--json"], &arguments[..]].concat());
        assert_eq!(here.status.code(), Some(exit));
        let here: Value = serde_json::from_slice(&here.stdout).unwrap();
        assert_eq!(here["verdict"]["code"], code, "{here:#}");
    }
    let (code, out, err) = parts(wine.run(&["probe", "http://u:geheim@h:1", "http://h:2"]));
    assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
    assert!(!err.contains("geheim"), "{err}");
}

#[test]
fn a_refusal_keeps_the_number_of_windows() {
    let Some(wine) = Wine::new() else { return };
    let (code, document) = check(wine, &[&closed().to_string()]);
    assert_eq!((code, &document["verdict"]["code"]), (1, &"port-refused".into()), "{document:#}");
    for attempt in evidence(&document, "tcp-connect")["attempts"].as_array().unwrap() {
        // WSAECONNREFUSED
        assert_eq!((&attempt["outcome"], &attempt["os_error"]), (&"refused".into(), &10061.into()));
    }
}

#[test]
fn a_web_server_is_no_proxy() {
    let Some(wine) = Wine::new() else { return };
    let web = answering(
        "HTTP/1.1 405 No\r\nServer: nginx\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let (code, document) = check(wine, &[&web.to_string()]);
    assert_eq!((code, &document["verdict"]["code"]), (1, &"not-a-proxy".into()), "{document:#}");
    assert_eq!(evidence(&document, "hello")["name"], "nginx");
}

#[test]
fn a_name_that_does_not_exist_is_told_from_silence() {
    let Some(wine) = Wine::new() else { return };
    let (code, document) = check(wine, &["no-such-name.invalid:8080"]);
    let resolve = evidence(&document, "resolve");
    match resolve["failure"].as_str().unwrap() {
        "no-such-name" => {
            // WSAHOST_NOT_FOUND
            assert_eq!(resolve["os_error"], 11001, "{document:#}");
            let verdict = (&document["verdict"]["code"], code);
            assert_eq!(verdict, (&"proxy-name-not-found".into(), 1), "{document:#}");
        }
        // This machine has no name server: WSATRY_AGAIN.
        "try-again" => assert_eq!(resolve["os_error"], 11002, "{document:#}"),
        other => panic!("{other}: {document:#}"),
    }
}

#[test]
fn a_report_that_powershell_has_saved_is_read_again() {
    let Some(wine) = Wine::new() else { return };
    let (_, document) = check(wine, &[&closed().to_string()]);
    let file = wine.folder().join("отчёт.json");
    std::fs::write(&file, utf16(&format!("{document:#}\n"))).unwrap();
    let (code, again) = check(wine, &["--from", &windows_path(&file)]);
    assert_eq!((code, again), (1, document));
}

#[test]
fn what_was_not_measured_can_not_be_told() {
    let Some(wine) = Wine::new() else { return };
    let file = wine.folder().join("empty.json");
    let subject = r#"{"host":"proxy.example","port":8080,"family":"any"}"#;
    let text = format!(r#"{{"schema":1,"evidence":{{"subject":{subject},"facts":[]}}}}"#);
    std::fs::write(&file, text).unwrap();
    let (code, document) = check(wine, &["--from", &windows_path(&file)]);
    assert_eq!((code, &document["verdict"]["status"]), (3, &"inconclusive".into()));
}

#[test]
fn settings_that_notepad_has_saved_are_read() {
    let Some(wine) = Wine::new() else { return };
    let file = wine.folder().join("settings.toml");
    std::fs::write(&file, utf16("connect-timeout = \"7s\"\n")).unwrap();
    let flags = ["serve", "--check-config", "--config", &windows_path(&file)];
    let (code, out, err) = parts(wine.run(&flags));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let line = out.lines().find(|line| line.starts_with("connect-timeout ")).unwrap();
    assert!(line.contains("7s") && line.contains("settings.toml"), "{line}");
}

/// A tunnel to `origin`.
fn tunnel(proxy: SocketAddr, origin: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(proxy).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    write!(client, "CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
    client
}

#[test]
fn the_proxy_relays_and_stops_in_order() {
    let Some(wine) = Wine::new() else { return };
    let origin = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    let proxy = wine.serve(&["--allow-private", "--tls-self-signed"]);
    let mut client = tunnel(proxy.address, origin);
    write!(client, "GET / HTTP/1.1\r\nHost: {origin}\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi"), "{answer}");
    drop(client);
    assert!(proxy.line_with("method=CONNECT").contains("outcome=ok"));
    // A plain request, and one that fails.
    let get = |target: SocketAddr| {
        let request =
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
        blocking_exchange(proxy.address, request.as_bytes())
    };
    assert!(get(origin).ends_with("hi"));
    let refused = get(closed());
    assert!(refused.contains("error=connection_refused"), "{refused}");
    // The Linux program is as content with it as with its own kind.
    let address = proxy.address.to_string();
    let seen = common::process::run(&["check-port", &address]);
    assert!(seen.status.success(), "{seen:?}");
    // Wine makes Ctrl-C of it.
    proxy.signal("INT");
    let (status, rest) = proxy.finish();
    assert!(status.success() && rest.contains("since the start: "), "{status}: {rest}");
}

const INTERNET: &str = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings";

/// Writes into the registry: key, name, type and value of each.
fn seed(wine: &Wine, values: &[(&str, &str, &str, &str)]) {
    let lines: Vec<String> = values
        .iter()
        .map(|(key, name, kind, value)| {
            format!("reg add \"{key}\" /v {name} /t {kind} /d \"{value}\" /f")
        })
        .collect();
    let (code, out, err) = parts(wine.batch("seed.bat", "C.UTF-8", &lines.join("\n@")));
    assert_eq!(code, 0, "{out}{err}");
}

/// Runs `doctor --json` about a port of this machine where nobody is.
fn doctor(wine: &Wine, arguments: &[&str]) -> Value {
    let proxy = closed().to_string();
    let all = ["doctor", "--json", "--target", "http://127.0.0.1:1/", &proxy];
    let (code, out, err) = parts(wine.run(&[&all, arguments].concat()));
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

/// The setting `of` in what `doctor` has found.
fn setting<'d>(document: &'d Value, of: &str) -> &'d Value {
    let all = evidence(document, "system-proxy")["settings"].as_array().unwrap();
    all.iter().find(|it| it["of"] == of).unwrap_or_else(|| panic!("no {of}: {document:#}"))
}

/// `name=host:port` of each proxy.
fn proxies(setting: &Value) -> Vec<String> {
    let all = setting["proxies"].as_array().into_iter().flatten();
    all.map(|it| {
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        format!("{}={}:{}", text("name"), text("host"), it["port"])
    })
    .collect()
}

#[test]
fn proxy_settings_of_windows_are_read_in_all_their_forms() {
    let Some(wine) = Wine::new() else { return };
    // One registry: one after the other.
    as_it_comes(wine);
    proxy_server(wine);
    scripts_and_binary_values(wine);
    one_for_the_whole_machine(wine);
}

fn as_it_comes(wine: &Wine) {
    // As it comes.
    let fresh = doctor(wine, &[]);
    assert_eq!(setting(&fresh, "windows")["machine_wide"], false);
    assert_eq!(setting(&fresh, "windows-services")["enabled"], false);
    assert!(proxies(setting(&fresh, "windows")).is_empty());
}

fn proxy_server(wine: &Wine) {
    let user = format!(r"HKCU\{INTERNET}");
    let dead = closed();
    let one = dead.to_string();
    let several = "http=10.0.0.1:3128;https=proxy.corp:8443;socks=[::1]:1080";
    for (enable, server, bypass, expected) in [
        ("1", one.as_str(), "", vec![format!("all={one}")]),
        (
            "1",
            several,
            "*.corp;<local>",
            vec![
                "http=10.0.0.1:3128".into(),
                "https=proxy.corp:8443".into(),
                "socks=::1:1080".into(),
            ],
        ),
        ("0", "proxy.corp:8080", "", vec!["all=proxy.corp:8080".into()]),
        ("1", "http://user:geheim@proxy.corp:8080", "", vec!["all=proxy.corp:8080".into()]),
    ] {
        seed(
            wine,
            &[
                (&user, "ProxyEnable", "REG_DWORD", enable),
                (&user, "ProxyServer", "REG_SZ", server),
                (&user, "ProxyOverride", "REG_SZ", bypass),
            ],
        );
        let found = doctor(wine, &[]);
        let read = setting(&found, "windows");
        assert_eq!((read["enabled"] == true, proxies(read)), (enable == "1", expected));
        let entries = read["bypass"].as_array().map_or(0, Vec::len);
        assert_eq!(entries, bypass.split(';').filter(|it| !it.is_empty()).count());
        assert!(!found.to_string().contains("geheim"));
        if server == one {
            assert_eq!(read["proxies"][0]["knock"], "refused");
            let warned = found["warnings"].as_array().unwrap().iter();
            let codes: Vec<_> = warned.map(|it| it["code"].as_str().unwrap()).collect();
            assert!(codes.contains(&"system-proxy-differs"), "{codes:?}");
        }
    }
}

fn scripts_and_binary_values(wine: &Wine) {
    let user = format!(r"HKCU\{INTERNET}");
    let machine = format!(r"HKLM\{INTERNET}");
    let connections = format!(r"{user}\Connections");
    let services = format!(r"{machine}\Connections");
    // 10.0.0.1:3128 and *.corp, as netsh leaves it.
    let blob = "2800000000000000030000000d00000031302e302e302e313a33313238060000002a2e636f7270";
    seed(
        wine,
        &[
            (&user, "AutoConfigURL", "REG_SZ", "http://u:geheim@wpad.corp/proxy.pac?t=geheim"),
            (&connections, "DefaultConnectionSettings", "REG_BINARY", "460000000100000009000000"),
            (&services, "WinHttpSettings", "REG_BINARY", blob),
            (r"HKCU\Environment", "HTTPS_PROXY", "REG_SZ", "http://u:geheim@10.9.9.9:1"),
        ],
    );
    let found = doctor(wine, &[]);
    let windows = setting(&found, "windows");
    assert_eq!(
        (&windows["script"], &windows["detect"]),
        (&"http://wpad.corp/proxy.pac".into(), &true.into())
    );
    assert_eq!(proxies(setting(&found, "windows-services")), ["all=10.0.0.1:3128"]);
    assert_eq!(setting(&found, "windows-services")["bypass"][0], "*.corp");
    assert_eq!(proxies(setting(&found, "user-environment")), ["HTTPS_PROXY=10.9.9.9:1"]);
    assert!(!found.to_string().contains("geheim"));
    // A program begun from now on has it; one that was there before, and its children, have not.
    assert_eq!(proxies(setting(&found, "environment")), ["HTTPS_PROXY=10.9.9.9:1"]);
    let commands = format!(
        "set HTTPS_PROXY=\n@%SAMI% doctor --json --target http://127.0.0.1:1/ {}",
        closed()
    );
    let (_, out, err) = parts(wine.batch("before.bat", "C.UTF-8", &commands));
    let late: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert!(proxies(setting(&late, "environment")).is_empty());
    assert_eq!(proxies(setting(&late, "user-environment")), ["HTTPS_PROXY=10.9.9.9:1"]);
}

fn one_for_the_whole_machine(wine: &Wine) {
    let machine = format!(r"HKLM\{INTERNET}");
    // A policy makes it the machine's.
    let policy = r"HKLM\Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings";
    seed(
        wine,
        &[
            (policy, "ProxySettingsPerUser", "REG_DWORD", "0"),
            (&machine, "ProxyEnable", "REG_DWORD", "1"),
            (&machine, "ProxyServer", "REG_SZ", "machine.corp:8080"),
        ],
    );
    let found = doctor(wine, &[]);
    let windows = setting(&found, "windows");
    assert_eq!(proxies(windows), ["all=machine.corp:8080"]);
    assert_eq!(windows["machine_wide"], true);
}

#[test]
fn adapters_and_routes_of_windows_are_listed() {
    let Some(wine) = Wine::new() else { return };
    let document = doctor(wine, &[]);
    let found = evidence(&document, "adapters");
    let all = found["adapters"].as_array().unwrap();
    let has = |address: &str| {
        all.iter().find(|it| it["addresses"].to_string().contains(&format!("\"{address}")))
    };
    let here = has("127.0.0.1/").unwrap();
    assert_eq!((&here["kind"], &here["up"]), (&"loopback".into(), &true.into()));
    assert_eq!(found["source"], "127.0.0.1");
    // Whatever this machine has for the Internet, Windows sees it too, with its gateway.
    for real in netdev::get_interfaces().iter().filter(|it| it.default) {
        for net in &real.ipv4 {
            let seen = has(&format!("{net}")).unwrap_or_else(|| panic!("{net}: {document:#}"));
            assert_eq!((&seen["up"], &seen["mtu"]), (&true.into(), &real.mtu.into()));
            assert_eq!(found["usual_source"], net.addr().to_string());
            if let Some(gateway) = real.gateway.as_ref().and_then(|it| it.ipv4.first()) {
                assert_eq!(seen["gateways"][0], gateway.to_string());
            }
        }
    }
    assert_eq!(evidence(&document, "route")["source"], "127.0.0.1");
}

#[test]
fn the_hosts_file_of_windows_is_read() {
    let Some(wine) = Wine::new() else { return };
    let folder = wine.folder().join("prefix/drive_c/windows/system32/drivers/etc");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("hosts"), "127.0.0.1 localhost\r\n10.0.0.9 llm.invalid # x\r\n")
        .unwrap();
    let document = doctor(wine, &["--target", "http://llm.invalid/"]);
    let found = evidence(&document, "hosts-file");
    assert_eq!(
        (&found["read"], &found["lines"][0]["number"]),
        (&true.into(), &2.into()),
        "{found:#}"
    );
    assert!(found["path"].as_str().unwrap().to_lowercase().ends_with(r"\drivers\etc\hosts"));
}

/// `service` with these arguments: exit code, and what it says on either output.
fn service(wine: &Wine, arguments: &[&str]) -> (i32, String) {
    let (code, out, err) = parts(wine.run(&[&["service"], arguments].concat()));
    (code, out + &err)
}

const NOT_INSTALLED: &str = "error: the service is not installed: sami-proxy service install\n";

/// What `service` does without a service, and what is not installed.
fn nothing_is_installed(wine: &Wine) {
    for deed in ["status", "start", "stop", "remove"] {
        assert_eq!(service(wine, &[deed]), (1, NOT_INSTALLED.to_owned()), "{deed}");
    }
    let own = format!(r"{}\list", wine.profile());
    for (flags, expected) in [
        (&["--auth", "sami:secret"][..], "error: --auth: everybody on this computer can read"),
        (&["--upstream", "http://sami:secret@h:1"], "error: --upstream: everybody"),
        (&["--tea"], "error: unexpected argument '--tea' found"),
        (&["--listen", "tea"], "error: --listen"),
        (&["--auth-file", &own], &format!("error: --auth-file {own}: a service can't")),
    ] {
        let (code, said) = service(wine, &[&["install", "--"], flags].concat());
        assert!(code == 2 && said.starts_with(expected) && said.lines().count() == 1, "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let (code, said) = service(wine, &["run", "--", "--listen", "127.0.0.1:0"]);
    assert!(code == 2 && said.contains("service start"), "{said}");
}

/// A stop is a drain: the tunnel that is open finishes, and a new one finds nobody.
fn a_stop_is_a_drain(wine: &Wine, logged: &(impl Fn() -> String + Sync)) {
    let address =
        logged().split("listening on ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let address: SocketAddr = address.parse().unwrap();
    let origin = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    let mut client = tunnel(address, origin);
    let stop = std::thread::scope(|scope| {
        let stop = scope.spawn(|| service(wine, &["stop"]));
        common::process::until(|| logged().contains("stopping: 1 connection "));
        assert_eq!(service(wine, &["status"]), (1, "the service is stopping\n".to_owned()));
        assert!(TcpStream::connect(address).is_err());
        write!(client, "GET / HTTP/1.1\r\nHost: {origin}\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hi"), "{answer}");
        drop(client);
        stop.join().unwrap()
    });
    assert_eq!(stop, (0, "the service is stopped\n".to_owned()));
    assert!(logged().contains("stopped: every connection had finished"), "{}", logged());
}

/// There is one service manager for all tests here, so this is one test.
#[test]
fn it_is_a_service_from_its_installation_to_its_removal() {
    let Some(wine) = Wine::new() else { return };
    nothing_is_installed(wine);
    // Its settings are in a file with a blank in its name; the port is where the log says.
    let file = wine.folder().join("our settings.toml");
    let text = "listen = '127.0.0.1:0'\nallow-private = true\ndrain-timeout = '60s'\n";
    std::fs::write(&file, text).unwrap();
    let (code, said) = service(wine, &["install", "--", "--config", "our settings.toml"]);
    // What Wine 8 does not know is said, and is no failure.
    let notes = said.lines().filter(|line| line.starts_with("note: this Windows does not know "));
    assert!(said.starts_with("the service is installed") && notes.count() <= 2, "{said}");
    assert_eq!(code, 0, "{said}");
    let (code, said) = service(wine, &["install"]);
    assert!(code == 1 && said.contains("installed already"), "{said}");
    assert_eq!(service(wine, &["status"]), (1, "the service is stopped\n".to_owned()));

    for deed in ["start", "start", "status"] {
        let (code, said) = service(wine, &[deed]);
        assert!(code == 0 && said.starts_with("the service is running, process "), "{said}");
    }
    let log = wine.program_data().join("sami-proxy/sami-proxy.log");
    let logged = || std::fs::read_to_string(&log).unwrap();
    common::process::until(|| logged().contains("listening on "));
    a_stop_is_a_drain(wine, &logged);
    assert_eq!(service(wine, &["stop"]).0, 0, "it is stopped already");

    // What is wrong with it by then is at the end of its log.
    std::fs::write(&file, "tea = 1").unwrap();
    let (code, said) = service(wine, &["start"]);
    let failed = "the service has failed; why stands at the end of ";
    assert!(code == 1 && said.starts_with(failed), "{said}");
    let last = logged().lines().last().unwrap().to_owned();
    assert!(last.contains(" ERROR ") && last.contains("there is no setting \"tea\""), "{last}");

    // Removing stops it, too.
    std::fs::write(&file, text).unwrap();
    assert_eq!(service(wine, &["start"]).0, 0);
    assert_eq!(service(wine, &["remove"]).0, 0);
    assert_eq!(service(wine, &["status"]), (1, NOT_INSTALLED.to_owned()));
}

#[test]
fn the_doctor_says_in_russian_what_is_wrong_with_a_proxy() {
    let Some(wine) = Wine::new() else { return };
    let serve = Serve::start(&["--auth", "sami:secret"]);
    let proxy = serve.address.to_string();
    let wrong = format!("http://sami:geheim@{proxy}");
    let web = answering("HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n")
        .to_string();
    for (proxy, code, says) in [
        (closed().to_string(), "port-refused", "отказывает в соединении"),
        (proxy, "proxy-auth-required", "просит имя пользователя и пароль"),
        (wrong, "proxy-auth-rejected", "не принимает эти имя и пароль"),
        (web, "not-a-proxy", "это не прокси"),
    ] {
        let target = ["--target", "http://127.0.0.1:1/", "--lang", "ru"];
        let (exit, out, err) = parts(wine.run(&[&["doctor", &proxy], &target[..]].concat()));
        assert_eq!(exit, 1, "{out}{err}");
        let headline = out.lines().next().unwrap();
        assert!(headline.starts_with("✗ ПРОБЛЕМА  ") && headline.contains(says), "{out}");
        assert!(out.contains(&format!("sami-proxy explain {code}")), "{out}");
        assert!(!out.contains("geheim") && !err.contains("geheim"), "{out}{err}");
    }
}

#[test]
fn a_double_click_asks_examines_and_waits() {
    let Some(wine) = Wine::new() else { return };
    let port = closed();
    let typed = format!("tea\r\n{port}\r\n\r\n");
    let (code, out, err) = parts(wine.answer(&["window"], &[("SAMI_PROXY_LANG", "en")], &typed));
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("port-refused"), "{out}");
    let lines: Vec<&str> = err.lines().filter(|line| !line.is_empty()).collect();
    let begins = [
        "Sami Proxy: ",
        "Type the address",
        "This is not an address",
        "Type the address",
        "Press Enter to close",
    ];
    assert_eq!(lines.len(), begins.len(), "{err}");
    assert!(lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{err}");
    // Enter alone takes what is known; its password is not shown.
    let known = format!("http://sami:secret@{port}");
    let variables = [("SAMI_PROXY_LANG", "ru"), ("SAMI_PROXY_TARGET", known.as_str())];
    let (code, out, err) = parts(wine.answer(&["window"], &variables, "\r\n\r\n"));
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("port-refused") && err.contains(&format!("проверить {port}")), "{err}");
    assert!(!err.contains("secret") && !out.contains("secret"), "{out}{err}");
    // Nobody answers.
    let (code, out, _) = parts(wine.answer(&["window"], &[], ""));
    assert_eq!((code, out.as_str()), (3, ""));
}
