//! `CONNECT` tunnels: what the client hears and when, and that the bytes are only carried.
//! The names in brackets are the pitfalls of reference/proxy.md §3.1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::time::Duration;

use common::{ESTABLISHED, LIMIT, Origin, Peer, Proxy, header, refusing, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// A tunnel and its other end.
async fn tunnel(proxy: &Proxy) -> (Peer, Peer) {
    let origin = Origin::new().await;
    let client = proxy.tunnel(origin.address).await;
    (client, origin.accept().await)
}

#[tokio::test]
async fn the_client_hears_200_only_after_the_dial() {
    // [1, 4, 5, 6]
    let proxy = Proxy::start(&[]).await;
    let gone = refusing().await;
    let answer = proxy
        .exchange(format!("CONNECT {gone} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let status = header(&answer, "proxy-status").unwrap();
    assert!(status.starts_with("sami-proxy; error=connection_refused; details=\""), "{status}");
    let (mut client, mut origin) = tunnel(&proxy).await;
    origin.send("server speaks first").await;
    assert_eq!(client.exactly(19).await, b"server speaks first");
}

#[tokio::test]
async fn bytes_sent_with_the_head_arrive_first_and_unread() {
    // [2]: they look like HTTP and must not be taken for it.
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    let head = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address);
    client.send(format!("{head}CONNECT evil:1 HTTP/1.1\r\n\r\n")).await;
    let mut origin = origin.accept().await;
    assert_eq!(client.head().await, ESTABLISHED);
    client.send("more").await;
    assert_eq!(origin.exactly(31).await, b"CONNECT evil:1 HTTP/1.1\r\n\r\nmore");
}

#[tokio::test]
async fn a_client_that_ends_its_half_before_the_200_still_gets_its_answer() {
    // [2, 11]
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    client.send(format!("CONNECT {} HTTP/1.0\r\n\r\nabc", origin.address)).await;
    client.finish().await;
    let mut origin = origin.accept().await;
    assert_eq!(origin.rest().await, "abc");
    origin.send("cba").await;
    origin.finish().await;
    assert_eq!(client.rest().await, format!("{ESTABLISHED}cba"));
}

#[tokio::test]
async fn each_half_ends_on_its_own() {
    // [11]
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    origin.send("done").await;
    origin.finish().await;
    assert_eq!(client.rest().await, "done");
    for _ in 0..3 {
        client.send("still here").await;
        assert_eq!(origin.exactly(10).await, b"still here");
    }
    client.finish().await;
    assert_eq!(origin.rest().await, "");
    let line = &proxy.log_lines(1).await[0];
    assert_eq!((&line["ended"], &line["outcome"]), (&"target/fin".into(), &"ok".into()));
    assert_eq!((&line["up"], &line["down"]), (&30.into(), &4.into()));
}

#[tokio::test]
async fn a_reset_is_a_reset_in_both_directions() {
    // [13]
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    origin.send("cut").await;
    assert_eq!(client.exactly(3).await, b"cut");
    origin.reset();
    client.until_reset().await;
    let line = &proxy.log_lines(1).await[0];
    assert_eq!(line["error"], "connection_terminated");
    assert_eq!(line["ended"], "target/rst");

    let (client, mut origin) = tunnel(&proxy).await;
    client.reset();
    origin.until_reset().await;
    assert_eq!(proxy.log_lines(2).await[1]["outcome"], "client_gone");
}

#[tokio::test]
async fn the_last_words_of_a_target_that_has_left_arrive_whole() {
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    // A client that takes little at a time: the rest waits in the proxy's socket.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Peer::new(socket.connect(proxy.address).await.unwrap());
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address)).await;
    let mut target = origin.accept().await;
    assert_eq!(client.head().await, ESTABLISHED);
    let words = vec![b'w'; 100_000];
    target.send(&words).await;
    drop(target);
    // Everything is with the proxy's socket once its half is closed; then the client speaks to
    // somebody who has left, which is answered with a reset, and once more.
    for _ in 0..5 {
        client.send("x").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.exactly(words.len()).await, words);
    client.finish().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_refused_tunnel_whose_bytes_came_along_ends_the_connection() {
    // They could look like a request.
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let ahead = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer =
        proxy.exchange(format!("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n{ahead}")).await;
    assert!(
        answer.starts_with("HTTP/1.1 407 ") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let open = Proxy::start(&[]).await;
    let gone = refusing().await;
    let answer = open.exchange(format!("CONNECT {gone} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn after_the_200_nothing_but_the_targets_bytes_comes() {
    // [7, 16]: not even when the target dies at once or the bytes look like a request.
    let proxy = Proxy::start(&[]).await;
    let (mut client, origin) = tunnel(&proxy).await;
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    origin.stream.peek(&mut [0]).await.unwrap();
    // It has unread bytes: its close is a reset.
    drop(origin);
    assert_eq!(client.until_reset().await, b"");
}

#[tokio::test]
async fn a_half_closed_tunnel_is_cut_after_silence_and_every_byte_restarts_the_grace() {
    // [12]
    let proxy = Proxy::start(&[("half-close-timeout", "400ms")]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    client.finish().await;
    assert_eq!(origin.rest().await, "");
    let begun = std::time::SystemTime::now();
    for _ in 0..6 {
        // Well inside the grace, and together well over it.
        tokio::time::sleep(Duration::from_millis(150)).await;
        origin.send("x").await;
        client.exactly(1).await;
    }
    assert!(begun.elapsed().unwrap() > Duration::from_millis(800));
    client.until_reset().await;
    assert_eq!(proxy.log_lines(1).await[0]["ended"], "proxy/timeout");
}

#[tokio::test]
async fn a_silence_of_ten_minutes_is_nothing() {
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    client.send("question").await;
    origin.exactly(8).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    origin.send("data: answer\n\n").await;
    assert_eq!(client.exactly(14).await, b"data: answer\n\n");
}

#[tokio::test]
async fn an_idle_limit_cuts_only_when_it_is_set() {
    let proxy = Proxy::start(&[("tunnel-idle-timeout", "300ms")]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    client.until_reset().await;
    origin.until_reset().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_megabytes_pass_both_ways_at_once_unchanged() {
    const SIZE: usize = 64 << 20;
    let proxy = Proxy::start(&[]).await;
    let (client, origin) = tunnel(&proxy).await;
    let sums = [client.stream, origin.stream].map(|stream| {
        let (reader, writer) = stream.into_split();
        let write = tokio::spawn(write_pattern(writer, SIZE));
        tokio::spawn(async move {
            let seen = compare_pattern(reader).await;
            write.await.unwrap();
            seen
        })
    });
    for sum in sums {
        assert_eq!(timeout(LIMIT * 3, sum).await.unwrap().unwrap(), SIZE);
    }
    let line = &proxy.log_lines(1).await[0];
    assert_eq!((&line["up"], &line["down"]), (&SIZE.into(), &SIZE.into()));
}

async fn write_pattern(mut writer: OwnedWriteHalf, size: usize) {
    let mut pattern = Pattern::default();
    let mut block = vec![0; 1 << 16];
    for _ in 0..size >> 16 {
        pattern.fill(&mut block);
        writer.write_all(&block).await.unwrap();
    }
    writer.shutdown().await.unwrap();
}

/// How many bytes came, all of them right.
async fn compare_pattern(mut reader: OwnedReadHalf) -> usize {
    let (mut pattern, mut seen) = (Pattern::default(), 0);
    let (mut block, mut expected) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = reader.read(&mut block).await.unwrap();
        if count == 0 {
            return seen;
        }
        pattern.fill(&mut expected[..count]);
        assert!(block[..count] == expected[..count], "changed near byte {seen}");
        seen += count;
    }
}

/// A sequence of bytes that is wrong everywhere once it is shifted, repeated or cut.
#[derive(Default)]
struct Pattern(u64);

impl Pattern {
    fn fill(&mut self, block: &mut [u8]) {
        for byte in block {
            let mixed = (self.0 / 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            *byte = mixed.to_le_bytes()[0] ^ self.0.to_le_bytes()[0];
            self.0 += 1;
        }
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_bulk_is_a_reset_and_a_stream_may_follow_bulk() {
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin) = tunnel(&proxy).await;
    let block = vec![7; 4 << 20];
    for round in 0..3 {
        let (written, read) =
            tokio::join!(origin.stream.write_all(&block), client.exactly(block.len()));
        written.unwrap();
        assert!(read == block, "round {round}");
        origin.send("data: x\n\n").await;
        assert_eq!(client.exactly(9).await, b"data: x\n\n");
        client.send("more").await;
        assert_eq!(origin.exactly(4).await, b"more");
    }
    // The proxy is left with bytes that the client does not read.
    let stuck = timeout(Duration::from_millis(300), async {
        loop {
            origin.stream.write_all(&block).await.unwrap();
        }
    });
    stuck.await.unwrap_err();
    origin.reset();
    client.until_reset().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer_back() {
    let proxy = Proxy::start(&[]).await;
    let (client, mut origin) = tunnel(&proxy).await;
    let block = vec![7; 1 << 20];
    let mut sent = 0;
    // The kernel's buffers take a few megabytes; then the origin must wait for the client.
    while timeout(Duration::from_millis(500), origin.stream.write_all(&block)).await.is_ok() {
        sent += block.len();
        assert!(sent < 256 << 20, "nothing holds the writer back");
    }
    drop(client);
}

#[tokio::test]
async fn malformed_authorities_are_refused_and_never_dialed() {
    // [8, 10]
    let proxy = Proxy::start(&[]).await;
    for target in [
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        ":80",
        "::1:80",
        "a:b:80",
        "user@localhost:80",
        "http://localhost:80",
        "[::1",
        "[fe80::1%25lo]:80",
        "127.1:80",
        "2130706433:80",
        "/",
    ] {
        let answer =
            proxy.exchange(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.lines().count(), 2, "{answer}");
    }
}

#[tokio::test]
async fn a_body_with_connect_is_refused() {
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    let head = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n", origin.address);
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let answer = proxy.exchange(format!("{head}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert!(origin.is_untouched());
    let mut client = proxy.connect().await;
    client.send(format!("{head}Content-Length: 0\r\n\r\n")).await;
    assert_eq!(client.head().await, ESTABLISHED);
}

#[tokio::test]
async fn a_silent_target_is_a_504_in_time() {
    // [17]: a full accept queue answers no SYN.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) =
        timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        fillers.push(stream);
        assert!(fillers.len() < 64);
    }
    let proxy = Proxy::start(&[("connect-timeout", "300ms")]).await;
    let answer = proxy
        .exchange(format!("CONNECT {address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert!(answer.contains("error=connection_timeout"), "{answer}");
}

#[tokio::test]
async fn both_legs_have_nodelay_and_keepalive() {
    // [19] and 4.2: read from the kernel through /proc is not possible; the option is set in one
    // place for both legs, and this asks that place.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    sami_proxy::net::leg::prepare(&stream).unwrap();
    let socket = socket2::SockRef::from(&stream);
    assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(45));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_closed_tunnel_leaves_nothing_open() {
    let proxy = Proxy::start(&[]).await;
    for _ in 0..20 {
        let (mut client, mut origin) = tunnel(&proxy).await;
        client.finish().await;
        origin.rest().await;
        origin.finish().await;
        client.rest().await;
    }
    until(|| proxy.control.open() == 0).await;
}
