//! Start, signals, limits, and what hostile clients leave behind; with the real program.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use common::LIMIT;
use common::process::{Serve, blocking_exchange, command, until};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Both ends of a tunnel.
fn tunnel(serve: &Serve) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(serve.address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    write!(client, "CONNECT {address} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 39];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, common::ESTABLISHED.as_bytes());
    (client, listener.accept().unwrap().0)
}

#[test]
fn sigterm_lets_tunnels_finish_and_ends_with_0() {
    let serve = Serve::start(&["--allow-private"]);
    let (mut client, mut origin) = tunnel(&serve);
    let mut idle = TcpStream::connect(serve.address).unwrap();
    // Connections are accepted in their order: with this one that one has been. What the kernel
    // still holds when the listener closes is reset.
    let healthy = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(blocking_exchange(serve.address, healthy).starts_with("HTTP/1.1 200 "));
    serve.signal("TERM");
    serve.line_with("stopping: ");
    until(|| TcpStream::connect(serve.address).is_err());
    let mut byte = [0];
    idle.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(idle.read(&mut byte).unwrap(), 0, "a connection without a request is closed");
    origin.write_all(b"last words").unwrap();
    let mut words = [0; 10];
    client.read_exact(&mut words).unwrap();
    drop((client, origin));
    let (status, rest) = serve.finish();
    assert!(status.success() && rest.contains("every connection had finished"), "{rest}");
    let sums = "tunnels: 1, plain requests: 0, refused: 0, bytes up: 0, bytes down: 10, log lines dropped: 0";
    assert!(rest.contains(sums), "{rest}");
}

#[test]
fn after_the_drain_time_tunnels_are_reset_and_the_log_says_so() {
    let serve = Serve::start(&["--allow-private", "--drain-timeout", "200ms"]);
    let (mut client, _origin) = tunnel(&serve);
    serve.signal("TERM");
    let mut byte = [0];
    assert!(client.read(&mut byte).is_err(), "cut, not ended");
    let (status, rest) = serve.finish();
    assert!(status.success() && rest.contains("ended=proxy/drain outcome=cut"), "{rest}");
    assert!(rest.contains("stopped: 1 connection cut"), "{rest}");
    let last = rest.lines().last().unwrap();
    assert!(last.contains("since the start: connections: 1, tunnels: 1,"), "{rest}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let serve = Serve::start(&["--allow-private", "--drain-timeout", "1h"]);
    let (_client, _origin) = tunnel(&serve);
    serve.signal("INT");
    serve.line_with("stopping: ");
    serve.signal("TERM");
    let (status, rest) = serve.finish();
    assert!(status.success() && rest.contains("stopped at once"), "{rest}");
}

#[test]
fn users_are_read_again_on_sighup_and_on_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let write = |user: &str| {
        std::fs::write(&path, format!("{user}:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    };
    write("anna");
    let serve = Serve::start(&["--auth-file", path.to_str().unwrap()]);
    let is_known = |user: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
        let request = format!(
            "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Basic {pair}\r\n\r\n"
        );
        // Known: refused because of the target; unknown: because of the user.
        blocking_exchange(serve.address, request.as_bytes()).starts_with("HTTP/1.1 403 ")
    };
    assert!(is_known("anna") && is_known("anna") && !is_known("bert"));
    write("bert");
    serve.signal("HUP");
    until(|| is_known("bert") && !is_known("anna"));
    write("carla with a longer name");
    until(|| is_known("carla with a longer name"));
    std::fs::write(&path, "nonsense\n").unwrap();
    serve.line_with("the users stay as they were");
    assert!(is_known("carla with a longer name"));
}

#[test]
fn a_client_that_says_nothing_or_half_a_head_is_closed_in_time() {
    // [59]
    let serve = Serve::start(&["--header-timeout", "300ms"]);
    assert_eq!(blocking_exchange(serve.address, b""), "");
    let answer = blocking_exchange(serve.address, b"GET http://x/ HTTP/1.1\r\nHost: x\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("Proxy-Status: sami-proxy; error=http_request_error"), "{answer}");
}

#[test]
fn over_the_limit_it_is_503_and_places_are_given_back() {
    // [61]
    let serve = Serve::start(&["--max-connections", "2", "--allow-private"]);
    let held = (tunnel(&serve), TcpStream::connect(serve.address).unwrap());
    let answer = || blocking_exchange(serve.address, HEALTHZ);
    until(|| answer().starts_with("HTTP/1.1 503 "));
    let full = answer();
    assert!(
        full.contains("Retry-After: ") && full.contains("error=connection_limit_reached"),
        "{full}"
    );
    drop(held);
    until(|| answer().starts_with("HTTP/1.1 200 "));
}

#[test]
fn running_out_of_descriptors_is_survived() {
    // [60]
    let mut limited = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_sami-proxy");
    limited.env_clear().stdout(std::process::Stdio::piped()).args([
        "-c",
        &format!("ulimit -n 40; exec {program} serve --listen 127.0.0.1:0 --max-connections 1000 --workers 1"),
    ]);
    let serve = Serve::spawn(limited);
    let mut held: Vec<_> = (0..100).map(|_| TcpStream::connect(serve.address).unwrap()).collect();
    serve.line_with("accept failed");
    held.clear();
    until(|| blocking_exchange(serve.address, HEALTHZ).starts_with("HTTP/1.1 200 "));
}

#[test]
fn ten_thousand_random_strings_and_two_thousand_half_open_clients_leave_nothing_behind() {
    let serve = Serve::start(&["--header-timeout", "2s"]);
    let descriptors = serve.descriptors();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut attack = |count: usize| {
        for _ in 0..count {
            let mut stream = TcpStream::connect(serve.address).unwrap();
            let length = next() % 200;
            let seeds = [
                &b"GET "[..],
                b"CONNECT ",
                b"POST http://",
                b"\x16\x03\x01",
                b"\x05\x01\x00",
                b"PRI * HTTP/2.0",
                b"",
            ];
            let mut bytes = seeds[usize::try_from(next() % 7).unwrap()].to_vec();
            bytes.extend((0..length).map(|_| next().to_le_bytes()[0]));
            drop(stream.write_all(&bytes));
        }
    };
    attack(500);
    let half_open = |count: usize| -> Vec<TcpStream> {
        (0..count)
            .map(|at| {
                let mut stream = TcpStream::connect(serve.address).unwrap();
                stream.write_all(&b"GET http://x/ HTTP/1.1\r\n"[..at % 20]).unwrap();
                stream
            })
            .collect()
    };
    drop(half_open(200));
    assert!(serve.is_well());
    let settled = || until(|| serve.descriptors() == descriptors);
    settled();
    let memory = serve.resident();
    attack(10_000);
    let held = half_open(2000);
    assert!(serve.is_well(), "others are served meanwhile");
    drop(held);
    settled();
    assert!(serve.is_well());
    let grown = serve.resident().saturating_sub(memory);
    println!("memory {memory} KiB before, {grown} KiB more after; {descriptors} descriptors");
    assert!(grown < 16 * 1024, "{grown} KiB stay");
}

#[test]
fn idle_tunnels_cost_two_descriptors_each_and_give_them_back() {
    let serve = Serve::start(&["--allow-private"]);
    let before = serve.descriptors();
    let tunnels: Vec<_> = (0..500).map(|_| tunnel(&serve)).collect();
    until(|| serve.descriptors() == before + 1000);
    drop(tunnels);
    until(|| serve.descriptors() == before);
}

#[test]
fn half_closed_connections_cost_no_processor_time() {
    // [18]
    let serve = Serve::start(&["--allow-private"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    for side in 0..2 {
        let (client, origin) = tunnel(&serve);
        [&client, &origin][side].shutdown(std::net::Shutdown::Write).unwrap();
        held.push((client, origin));
        // An answer that is not complete, to a client that has ended its half.
        let mut client = TcpStream::connect(serve.address).unwrap();
        write!(client, "GET http://{address}/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut origin = listener.accept().unwrap().0;
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        held.push((client, origin));
    }
    let before = serve.processor_ticks();
    std::thread::park_timeout(std::time::Duration::from_secs(1));
    let spent = serve.processor_ticks() - before;
    assert!(spent <= 10, "{spent} of 100 ticks");
}

#[test]
fn a_closed_standard_output_does_not_stop_it() {
    let mut child = command(&["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    }
    let address = line.trim().split("listening on ").nth(1).unwrap().parse().unwrap();
    drop(output);
    for _ in 0..5 {
        let answer =
            blocking_exchange(address, b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
