//! `check-port`: the real program against ports that behave in every way, on loopback and behind a
//! router in network namespaces.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use common::process::{Serve, command, run, until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

const SERVER: &str = "81.85.76.160";
const PORT: &str = "81.85.76.160:8080";

/// What a run of `check-port --json` came to.
struct Seen {
    code: String,
    confidence: String,
    exit: i32,
    took: Duration,
    document: Value,
}

fn check(arguments: &[&str]) -> Seen {
    let begun = SystemTime::now();
    let output = run(&[&["check-port", "--json"], arguments].concat());
    let took = begun.elapsed().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{arguments:?}: {said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key| document["verdict"][key].as_str().unwrap_or_default().to_owned();
    let (code, confidence) = (text("code"), text("confidence"));
    record(&code, &document);
    Seen { code, confidence, exit: output.status.code().unwrap(), took, document }
}

/// With `RECORD_CASES` set, keeps what was measured for `tests/cases`.
fn record(code: &str, document: &Value) {
    let folder = format!("{}/tests/cases/{code}", env!("CARGO_MANIFEST_DIR"));
    let wanted = std::env::var_os("RECORD_CASES").is_some() && !code.is_empty();
    if wanted && !std::path::Path::new(&folder).exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{:#}\n", document["evidence"]);
        std::fs::write(format!("{folder}/evidence.json"), text).unwrap();
    }
}

impl Seen {
    fn is(&self, code: &str, confidence: &str, exit: i32) {
        assert_eq!(
            (self.code.as_str(), self.confidence.as_str(), self.exit),
            (code, confidence, exit),
            "{:#}",
            self.document
        );
    }

    fn hello(&self) -> &Value {
        let checks = self.document["checks"].as_array().unwrap();
        &checks.iter().find(|check| check["id"] == "hello").unwrap()["evidence"]
    }
}

/// A server that hands every connection to `serve`, each on a thread of its own.
fn server(address: &str, serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// What comes first.
fn first(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let length = stream.read(&mut buffer).unwrap_or_default();
    buffer[..length].to_vec()
}

fn hold(mut stream: TcpStream) {
    while !first(&mut stream).is_empty() {}
}

fn web(mut stream: TcpStream) {
    let answer = match &first(&mut stream)[..] {
        request if request.starts_with(b"CONNECT") => "405 Method Not Allowed",
        request if request.starts_with(b"GET") => "404 Not Found",
        _ => "400 Bad Request",
    };
    let head = format!("HTTP/1.1 {answer}\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n");
    drop(stream.write_all(head.as_bytes()));
}

fn ssh(mut stream: TcpStream) {
    drop(stream.write_all(b"SSH-2.0-OpenSSH_9.6\x1b[31m\xff\r\n"));
    hold(stream);
}

fn tls(mut stream: TcpStream) {
    let answer: &[u8] = if first(&mut stream).starts_with(&[0x16]) {
        &[0x16, 3, 3, 0, 4, 2, 0, 0, 0]
    } else {
        &[0x15, 3, 1, 0, 2, 2, 10]
    };
    drop(stream.write_all(answer));
}

fn socks(mut stream: TcpStream) {
    if first(&mut stream).starts_with(&[5]) {
        drop(stream.write_all(&[5, 0]));
        hold(stream);
    }
}

/// Without the connects, which are 100 ms apart.
const QUICK: Duration = Duration::from_millis(1200);

#[test]
fn our_proxy_is_known_by_its_answer() {
    let proxy = Serve::start(&[]);
    let seen = check(&[&proxy.address.to_string()]);
    seen.is("ok", "certain", 0);
    assert!(seen.took < QUICK, "{:?}", seen.took);
    let hello = seen.hello();
    assert_eq!((&hello["speaks"], &hello["nonce_returned"]), (&"sami-proxy".into(), &true.into()));
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    // One that wants credentials is one as well.
    let proxy = Serve::start(&["--auth", "sami:secret"]);
    check(&[&proxy.address.to_string()]).is("ok", "likely", 0);
}

#[test]
fn whatever_else_answers_is_named() {
    let cases: &[(fn(TcpStream), &str, &str, &str)] = &[
        (web, "not-a-proxy", "certain", "web-server"),
        (ssh, "not-a-proxy", "certain", "ssh"),
        (tls, "tls-required", "likely", "tls"),
        (hold, "silent-peer", "likely", "nothing"),
        (drop, "accepted-then-closed", "likely", "closes"),
    ];
    for (serve, code, confidence, speaks) in cases {
        let serve = *serve;
        let address = server("127.0.0.1:0", serve).to_string();
        let seen = check(&[&address]);
        seen.is(code, confidence, 1);
        assert_eq!(seen.hello()["speaks"], *speaks, "{:#}", seen.document);
        let patient = *code == "silent-peer";
        assert!(patient || seen.took < QUICK, "{code}: {:?}", seen.took);
    }
}

#[test]
fn a_socks_proxy_is_a_proxy() {
    let address = server("127.0.0.1:0", socks).to_string();
    let seen = check(&[&address]);
    seen.is("ok", "likely", 0);
    assert_eq!(seen.hello()["speaks"], "socks", "{:#}", seen.document);
}

#[test]
fn bytes_from_the_network_are_harmless_when_printed() {
    let address = server("127.0.0.1:0", ssh).to_string();
    for flags in [&[][..], &["--verbose"], &["--json"]] {
        let output = run(&[&["check-port", &address], flags].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("OpenSSH_9.6"), "{text}");
        let tame = |c: char| c == '\n' || !c.is_control();
        assert!(text.chars().all(tame), "{text:?}");
    }
}

#[test]
fn nobody_there_is_refused() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    let seen = check(&[&address]);
    seen.is("port-refused", "certain", 1);
    assert!(seen.took < QUICK, "{:?}", seen.took);
}

#[test]
fn a_name_stands_for_all_its_addresses() {
    let proxy = Serve::start(&[]);
    let name = format!("localhost:{}", proxy.address.port());
    check(&[&name, "-4"]).is("ok", "certain", 0);
    let seen = check(&[&name]);
    seen.is("ok", "certain", 0);
    // Where ::1 is one of them too, nothing listens there.
    let asked = seen.document["evidence"]["facts"][0]["data"]["addresses"].as_array().unwrap();
    let both = asked.iter().any(|it| it == "::1");
    let status = if both { "degraded" } else { "ok" };
    assert_eq!(seen.document["verdict"]["status"], status, "{:#}", seen.document);
}

#[test]
fn a_name_that_can_not_exist_is_not_found() {
    let seen = check(&["no-such-name.invalid:8080"]);
    // RFC 6761 §6.4; where no name server can be reached at all, that is what is said.
    let codes =
        ["proxy-name-not-found", "dns-server-unreachable", "dns-server-failing", "no-network"];
    assert!(codes.contains(&seen.code.as_str()) && seen.exit == 1, "{:#}", seen.document);
}

#[test]
fn several_ports_are_a_table_and_one_document() {
    let proxy = Serve::start(&[]);
    let good = proxy.address.to_string();
    let bad = server("127.0.0.1:0", web).to_string();
    let output = run(&["check-port", &good, &bad]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("+ OK ") && lines[0].contains(&good), "{text}");
    assert!(lines[1].starts_with("x PROBLEM ") && lines[1].contains(&bad), "{text}");
    assert_eq!(output.status.code(), Some(1));
    let seen = check(&[&good, &bad]);
    seen.is("not-a-proxy", "certain", 1);
    assert_eq!(seen.document["targets"].as_array().unwrap().len(), 2);
    check(&[&good, &good]).is("ok", "certain", 0);
}

#[test]
fn a_saved_report_comes_to_the_same_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let bad = server("127.0.0.1:0", web).to_string();
    for targets in [&[bad.as_str()][..], &[bad.as_str(), "127.0.0.1:1"]] {
        let live = check(targets);
        let file = folder.path().join("report.json");
        std::fs::write(&file, live.document.to_string()).unwrap();
        let again = check(&["--from", file.to_str().unwrap()]);
        assert_eq!((again.document, again.exit), (live.document, live.exit));
    }
}

/// What a person sees, with these variables.
fn seen_with(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = command(&[&["check-port"], arguments].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_report_is_in_the_language_that_was_asked_for() {
    let address = server("127.0.0.1:0", web).to_string();
    let russian = |variables: &[(&str, &str)], flags: &[&str]| {
        let text = seen_with(variables, &[&[address.as_str()], flags].concat());
        assert!(text.contains("not-a-proxy") && text.contains("nginx"), "{text}");
        text.contains("не прокси")
    };
    assert!(!russian(&[], &[]));
    assert!(russian(&[], &["--lang", "ru"]));
    assert!(russian(&[], &["--lang", "ru", "--verbose"]));
    assert!(russian(&[("LANG", "ru_RU.UTF-8")], &[]));
    assert!(russian(&[("LANG", "ru_RU.UTF-8")], &["--json"]));
    assert!(!russian(&[("LANG", "ru_RU.UTF-8")], &["--lang", "en"]));
    assert!(russian(&[], &["--lang", "ru", "--json"]));
    let text = seen_with(&[], &[&address, "--lang", "ru", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["verdict"]["status"], "broken");
    assert_eq!(document["verdict"]["confidence"], "certain");
}

#[test]
fn colours_are_there_when_they_are_wanted() {
    let address = server("127.0.0.1:0", web).to_string();
    let coloured = |variables: &[(&str, &str)], flags: &[&str]| {
        let text = seen_with(variables, &[&[address.as_str()], flags].concat());
        assert!(text.contains(" PROBLEM"), "{text}");
        text.contains("\u{1b}[")
    };
    // It is no terminal.
    assert!(!coloured(&[("TERM", "xterm-256color")], &[]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--color", "auto"]));
    assert!(!coloured(&[], &["--color", "never"]));
    assert!(coloured(&[], &["--color", "always"]));
    assert!(coloured(&[("TERM", "dumb")], &["--color", "always"]));
    // Who types a flag means it.
    assert!(coloured(&[("NO_COLOR", "1")], &["--color", "always"]));
    let json = seen_with(&[], &[&address, "--json", "--color", "always"]);
    assert!(!json.contains('\u{1b}'), "{json}");
}

#[test]
fn marks_are_what_the_locale_can_show() {
    let address = server("127.0.0.1:0", web).to_string();
    let plain = seen_with(&[], &[&address]);
    assert!(plain.starts_with("x PROBLEM ") && plain.is_ascii(), "{plain}");
    let utf8 = seen_with(&[("LANG", "en_US.UTF-8")], &[&address]);
    assert!(utf8.starts_with("✗ PROBLEM ") && utf8.contains("[✗ proxy: BAD]"), "{utf8}");
}

#[test]
fn bad_input_is_one_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-report.json");
    std::fs::write(&file, "{\"schema\":1}").unwrap();
    let file = file.to_str().unwrap();
    let cases: &[&[&str]] = &[
        &[],
        &["example.org"],
        &["example.org:0"],
        &["example.org:99999"],
        &["example.org:http"],
        &["http://example.org:80"],
        &["user@example.org:80"],
        &["::1:80"],
        &["[::1]"],
        &["0.0.0.0:80"],
        &["exa\u{1b}mple:80"],
        &["127.0.0.1:80", "-6"],
        &["[::1]:80", "-4"],
        &["127.0.0.1:80", "-4", "-6"],
        &["127.0.0.1:80", "--timeout", "soon"],
        &["127.0.0.1:80", "--timeout", "0"],
        &["127.0.0.1:80", "--timeout", "-1"],
        &["127.0.0.1:80", "--timeout", "nan"],
        &["127.0.0.1:80", "--timeout", "1e9"],
        &["127.0.0.1:80", "--json", "--verbose"],
        &["127.0.0.1:80", "--nonsense"],
        &["127.0.0.1:80", "--lang", "de"],
        &["127.0.0.1:80", "--lang"],
        &["127.0.0.1:80", "--color", "yes"],
        &["127.0.0.1:80", "--color"],
        &["127.0.0.1:80", "--from", file],
        &["--from", file],
        &["--from", file, "--timeout", "1"],
        &["--from", "/does/not/exist"],
    ];
    for arguments in cases {
        let output = run(&[&["check-port"], *arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && !said.contains('\u{1b}'), "{arguments:?}: {said}");
    }
}

/// A client, a router and a server; gone when dropped.
struct Net {
    client: String,
    router: String,
    server: String,
}

impl Net {
    /// `None`, with a reason printed, where this machine can't.
    fn lay() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role| format!("sami-cp-{role}-{}-{number}", std::process::id());
        let net = Self { client: name("c"), router: name("r"), server: name("s") };
        if ip(&format!("netns add {}", net.server)).is_err() || sh("iptables", "-V").is_err() {
            let must = std::env::var_os("CI").is_some() && rustix::process::getuid().is_root();
            assert!(!must, "root can install iproute2 and iptables and make network namespaces");
            println!("skipped: no network namespaces (they want root, iproute2 and iptables)");
            return None;
        }
        let (c, r, s) = (&net.client, &net.router, &net.server);
        for words in [
            format!("netns add {c}"),
            format!("netns add {r}"),
            format!("-n {r} link add home type veth peer name eth0 netns {c}"),
            format!("-n {r} link add rack type veth peer name eth0 netns {s}"),
            format!("-n {c} addr add 10.1.0.2/24 dev eth0"),
            format!("-n {r} addr add 10.1.0.1/24 dev home"),
            format!("-n {r} addr add 81.85.76.1/24 dev rack"),
            format!("-n {s} addr add {SERVER}/24 dev eth0"),
            format!("-n {c} link set lo up"),
            format!("-n {s} link set lo up"),
            format!("-n {c} link set eth0 up"),
            format!("-n {r} link set home up"),
            format!("-n {r} link set rack up"),
            format!("-n {s} link set eth0 up"),
            format!("-n {c} route add default via 10.1.0.1"),
            format!("-n {s} route add default via 81.85.76.1"),
            // The rest of the world is silent.
            format!("-n {r} route add blackhole default"),
            format!("netns exec {r} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            ip(&words).unwrap();
        }
        Some(net)
    }

    /// Runs `work` in one of the three.
    fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
        let work = || {
            let namespace = File::open(format!("/run/netns/{name}")).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    fn check(&self, arguments: &[&str]) -> Seen {
        Self::inside(&self.client, || check(arguments))
    }

    fn firewall(&self, rule: &str) {
        ip(&format!("netns exec {} iptables {rule}", self.server)).unwrap();
    }

    /// sshd and our proxy.
    fn serve(&self) -> Serve {
        Self::inside(&self.server, || {
            server("0.0.0.0:22", ssh);
            Serve::spawn(command(&["serve", "--listen", "0.0.0.0:8080"]))
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.client, &self.router, &self.server] {
            // One that was not made can't be taken away.
            drop(ip(&format!("netns del {name}")));
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    sh("ip", words)
}

fn sh(program: &str, words: &str) -> Result<(), String> {
    let output = Command::new(program).args(words.split(' ')).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {words}: {said}")) }
}

/// The whole time and a second.
const MOST: Duration = Duration::from_secs(16);

#[test]
fn a_port_behind_a_router_is_open_and_two_hops_away() {
    let Some(net) = Net::lay() else { return };
    let _proxy = net.serve();
    let seen = net.check(&[PORT]);
    seen.is("ok", "certain", 0);
    assert!(seen.took < Duration::from_secs(2), "{:?}", seen.took);
    let checks = seen.document["checks"].as_array().unwrap();
    let ladder = checks.iter().find(|check| check["id"] == "ttl-ladder").unwrap();
    assert_eq!(ladder["evidence"]["answers_from"], 2, "{ladder:#}");
}

#[test]
fn dropped_is_told_from_rejected_and_from_refused() {
    let Some(net) = Net::lay() else { return };
    let proxy = net.serve();
    net.firewall("-I INPUT -p tcp --dport 8080 -j DROP");
    let seen = net.check(&[PORT]);
    seen.is("port-filtered", "likely", 1);
    assert!(seen.took < MOST, "{:?}", seen.took);
    net.firewall("-R INPUT 1 -p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited");
    let seen = net.check(&[PORT]);
    seen.is("port-rejected", "likely", 1);
    assert!(seen.took < Duration::from_secs(4), "{:?}", seen.took);
    net.firewall("-F INPUT");
    drop(proxy);
    net.check(&[PORT]).is("port-refused", "likely", 1);
    net.firewall("-P INPUT DROP");
    net.check(&[PORT]).is("host-silent", "likely", 1);
}

#[test]
fn a_host_that_is_not_there_is_reported_by_its_router() {
    let Some(net) = Net::lay() else { return };
    let seen = net.check(&["81.85.76.99:8080"]);
    seen.is("host-unreachable", "likely", 1);
    assert!(seen.took < MOST, "{:?}", seen.took);
}

#[test]
fn without_a_route_no_packet_leaves() {
    let Some(net) = Net::lay() else { return };
    ip(&format!("-n {} route del default", net.client)).unwrap();
    let seen = net.check(&[PORT]);
    seen.is("no-route", "certain", 1);
    assert!(seen.took < Duration::from_secs(2), "{:?}", seen.took);
    ip(&format!("-n {} link set eth0 down", net.client)).unwrap();
    net.check(&[PORT]).is("no-network", "certain", 1);
    // Nor can a name be found then.
    net.check(&["proxy.example:8080"]).is("no-network", "certain", 1);
}

#[test]
fn a_box_that_accepts_everything_is_found_out() {
    let Some(net) = Net::lay() else { return };
    Net::inside(&net.router, || server("0.0.0.0:9999", web));
    let redirect = "iptables -t nat -A PREROUTING -i home -p tcp -j REDIRECT --to-ports 9999";
    ip(&format!("netns exec {} {redirect}", net.router)).unwrap();
    net.check(&[PORT]).is("captive-portal", "likely", 1);
}

#[test]
fn what_this_machine_forbids_is_no_fault_of_the_server() {
    let Some(net) = Net::lay() else { return };
    let _proxy = net.serve();
    ip(&format!("-n {} route add prohibit {SERVER}", net.client)).unwrap();
    net.check(&[PORT]).is("local-firewall", "certain", 1);
    // A firewall that sends a reset is as quick as the server here: it is a look-alike.
    ip(&format!("-n {} route del prohibit {SERVER}", net.client)).unwrap();
    let own = "-A OUTPUT -p tcp --dport 8080 -j REJECT --reject-with tcp-reset";
    ip(&format!("netns exec {} iptables {own}", net.client)).unwrap();
    let seen = net.check(&[PORT]);
    seen.is("port-refused", "likely", 1);
    let others = seen.document["alternatives"].as_array().unwrap();
    assert!(others.iter().any(|it| it["code"] == "local-firewall"), "{:#}", seen.document);
}

#[test]
fn the_time_that_was_given_is_kept() {
    let Some(net) = Net::lay() else { return };
    for seconds in [1, 2, 5] {
        let seen = net.check(&["198.51.100.1:8080", "--timeout", &seconds.to_string()]);
        assert!(seen.took < Duration::from_secs(seconds + 1), "{:?}", seen.took);
        assert!([1, 3].contains(&seen.exit), "{:#}", seen.document);
    }
    // Nor do a name server that is silent and a port that says nothing take longer.
    let seen = net.check(&["proxy.example:8080", "--timeout", "2"]);
    assert!(seen.took < Duration::from_secs(3), "{:?}", seen.took);
    assert_eq!(seen.exit, 1, "{:#}", seen.document);
    let silent = server("127.0.0.1:0", hold).to_string();
    let seen = check(&[&silent, "--timeout", "1"]);
    assert!(seen.took < Duration::from_secs(2), "{:?}", seen.took);
}

#[test]
fn an_interrupted_run_tells_what_it_knows() {
    let Some(net) = Net::lay() else { return };
    let arguments = ["check-port", "198.51.100.1:8080", "--json", "--timeout", "60"];
    let child = Net::inside(&net.client, || command(&arguments).spawn().unwrap());
    let status = format!("/proc/{}/status", child.id());
    // It hears SIGINT: bit 2 of the signals that are caught.
    until(|| {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
    });
    let begun = SystemTime::now();
    sh("kill", &format!("-INT {}", child.id())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed().unwrap() < Duration::from_secs(1));
    assert_eq!(output.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["verdict"]["status"], "inconclusive");
    let whys: Vec<_> = document["not_checked"].as_array().unwrap().iter().collect();
    assert!(whys.iter().any(|it| it["why"] == "interrupted"), "{document:#}");
}

#[test]
fn what_is_no_name_server_is_refused() {
    let output = run(&["check-port", "--dns", "nonsense", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--dns nonsense: not IP[:PORT]"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
