//! `serve` under a service manager: `sd_notify(3)`, the watchdog, and sockets that are handed over.
//! The manager is played here; with the real one: `scripts/test-deb.sh`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "test code"
)]

mod common;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use common::LIMIT;
use common::process::{Serve, blocking_exchange, command, until};
use tempfile::TempDir;

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The end of the service manager.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { folder, socket }
    }

    /// `serve` on `address`, told where to notify; `pairs` are more variables.
    fn serve(&self, address: &str, pairs: &[(&str, &str)]) -> Command {
        let mut command = command(&["serve", "--workers", "2", "--listen", address]);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.envs(pairs.iter().copied());
        command
    }

    /// The next message.
    fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next message that has `line`.
    fn message_with(&self, line: &str) -> String {
        loop {
            let message = self.message();
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }
}

/// `serve` started by a shell in which `listeners` are the descriptors from 3 on. `count` is what
/// `LISTEN_FDS` says; `LISTEN_PID` is that of the shell, which becomes the program.
fn activated(listeners: Vec<OwnedFd>, count: &str, flags: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_sami-proxy");
    let mut shell = Command::new("sh");
    // A child gets 0, 1 and 2 only; so the socket comes as standard input.
    let moved = if listeners.is_empty() { "" } else { "3<&0 " };
    shell.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).args([
        "-c",
        &format!("export LISTEN_PID=$$ LISTEN_FDS={count}; exec {program} serve --workers 2 {flags} {moved}"),
    ]);
    for listener in listeners {
        shell.stdin(listener);
    }
    shell
}

/// What a start that fails says.
fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(text.starts_with("error: LISTEN_FDS: "), "{text}");
    text
}

#[test]
fn it_is_ready_when_its_port_accepts_and_not_before() {
    let manager = Manager::new();
    // A port that is free now: the address has to be known before anything is printed.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = manager.serve(&address.to_string(), &[]).spawn().unwrap();
    assert_eq!(manager.message(), "READY=1\n");
    assert!(TcpStream::connect(address).is_ok(), "ready, and the port is closed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_is_never_ready_when_it_can_not_listen() {
    let manager = Manager::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = manager.serve(&taken.local_addr().unwrap().to_string(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "ready without a port");
}

#[test]
fn the_watchdog_is_fed_while_it_serves_and_not_when_it_is_stopped() {
    let manager = Manager::new();
    let serve = Serve::spawn(manager.serve("127.0.0.1:0", &[("WATCHDOG_USEC", "200000")]));
    manager.message_with("READY=1");
    let begun = std::time::SystemTime::now();
    for _ in 0..5 {
        assert_eq!(manager.message(), "WATCHDOG=1\n");
    }
    // Five of them are four spans of a tenth of a second.
    assert!(begun.elapsed().unwrap().as_millis() >= 300, "twice in each span, not more");
    serve.signal("STOP");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", serve.pid())).unwrap();
    until(|| state().contains(") T "));
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "who is stopped says nothing");
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let manager = Manager::new();
    let pairs = [("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let serve = Serve::spawn(manager.serve("127.0.0.1:0", &pairs));
    manager.message_with("READY=1");
    // The first would come at once.
    assert!(blocking_exchange(serve.address, HEALTHZ).starts_with("HTTP/1.1 200 "));
    serve.signal("TERM");
    let mut seen = String::new();
    while !seen.contains("STOPPING=1") {
        seen.push_str(&manager.message());
    }
    assert!(!seen.contains("WATCHDOG"), "{seen}");
}

#[test]
fn sighup_is_a_reload_and_sigterm_a_stop_that_may_take_the_drain_time() {
    let manager = Manager::new();
    let mut command = manager.serve("127.0.0.1:0", &[]);
    command.args(["--drain-timeout", "40s"]);
    let serve = Serve::spawn(command);
    assert_eq!(manager.message(), "READY=1\n");
    serve.signal("HUP");
    let reloading = manager.message();
    let (first, second) = reloading.trim_end().split_once('\n').unwrap();
    assert_eq!(first, "RELOADING=1");
    let time: u64 = second.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(time > 0);
    assert_eq!(manager.message(), "READY=1\n");
    serve.signal("TERM");
    assert_eq!(manager.message(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000\n");
    assert!(serve.finish().0.success());
}

#[test]
fn a_socket_that_is_handed_over_takes_the_place_of_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A client that was there before the program.
    let early = TcpStream::connect(address).unwrap();
    // An address of nobody: it would fail if it were used.
    let flags = "--listen 192.0.2.1:8080";
    let serve = Serve::spawn(activated(vec![listener.into()], "1", flags));
    assert_eq!(serve.address, address);
    assert!(blocking_exchange(address, HEALTHZ).starts_with("HTTP/1.1 200 "));
    serve.signal("TERM");
    let (status, rest) = serve.finish();
    assert!(status.success(), "{rest}");
    drop(early);
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0"]);
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    let serve = Serve::spawn(command);
    assert!(serve.is_well());
}

#[test]
fn sockets_of_the_wrong_number_or_kind_are_one_line() {
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let missing = refusal(activated(vec![tcp()], "2", ""));
    assert!(missing.contains("can't be taken"), "{missing}");
    let word = refusal(activated(vec![tcp()], "many", ""));
    assert!(word.contains("can't be taken"), "{word}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = refusal(activated(vec![udp.into()], "1", ""));
    assert!(udp.contains("socket 1 of 1 is not a listening TCP socket"), "{udp}");
    let file = std::fs::File::open("/dev/null").unwrap();
    let file = refusal(activated(vec![file.into()], "1", ""));
    assert!(file.contains("socket 1 of 1 is not a listening TCP socket"), "{file}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connected = refusal(activated(vec![connected.into()], "1", ""));
    assert!(connected.contains("does not listen (Accept=no is needed)"), "{connected}");
}

#[test]
fn the_configuration_of_the_package_names_every_setting_with_its_default() {
    use sami_proxy::config::Layers;
    use sami_proxy::config::table::TABLE;

    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/debian/sami-proxy.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut plain = Layers::defaults();
    plain.add_file(&path, &text).unwrap();
    assert!(TABLE.iter().all(|row| plain.get(row.key) == Layers::defaults().get(row.key)));
    for row in TABLE {
        let start = format!("#{} = ", row.key);
        let line = text.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("{} is not there", row.key));
        let mut layers = Layers::default();
        layers.add_file(&path, &line[1..]).unwrap();
        let values = &layers.get(row.key).unwrap().values;
        assert!(row.default.is_empty() || *values == [row.default], "{line}: not the default");
    }
}
