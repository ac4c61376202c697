//! The harness: a proxy on port 0 in this process, scripted origins, raw bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    reason = "test code; each test file uses a part of it"
)]

pub mod dns;
pub mod doors;
pub mod ends;
pub mod process;
pub mod schema;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sami_proxy::config::{Layers, Machine, convert};
use sami_proxy::journal::Journal;
use sami_proxy::proxy::access_log::{AccessLog, Format};
use sami_proxy::proxy::server::Control;
use sami_proxy::proxy::tally::Tally;
use sami_proxy::proxy::{Reporter, Server, Settings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::Level;

/// No answer of a test takes longer; reaching it is a failure.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A running proxy.
pub struct Proxy {
    pub address: SocketAddr,
    pub control: Control,
    log: Arc<AccessLog>,
    text: Sink,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The settings that `flags` make, on a free port of loopback.
pub fn settings(flags: &[(&str, &str)]) -> Settings {
    settings_on("127.0.0.1:0", flags)
}

/// The settings that `flags` make, on `address`.
pub fn settings_on(address: &str, flags: &[(&str, &str)]) -> Settings {
    let mut layers = Layers::defaults();
    layers.add_flag("listen", &[address.to_owned()]);
    for (key, value) in flags {
        layers.add_flag(key, &[(*value).to_owned()]);
    }
    convert(&layers, &Machine { descriptors: Some(4096), ..Machine::default() }).unwrap().settings
}

impl Proxy {
    /// Starts a proxy that reaches loopback, with more `flags`.
    pub async fn start(flags: &[(&str, &str)]) -> Self {
        let mut all = vec![("allow-private", "true")];
        all.extend_from_slice(flags);
        Self::run(settings(&all)).await
    }

    /// Starts a proxy with exactly these settings.
    pub async fn run(settings: Settings) -> Self {
        Self::reporting(settings, None).await
    }

    /// The same, with what looks at the machine.
    pub async fn reporting(settings: Settings, reporter: Option<Reporter>) -> Self {
        let text = Sink::default();
        let journal = Journal::start(text.clone(), |lost| format!("lost {lost}\n"));
        let log = Arc::new(AccessLog {
            journal,
            format: Format::Json,
            level: Level::DEBUG,
            tally: Tally::default(),
        });
        let server = Server::bind(settings, Arc::clone(&log), Vec::new(), Vec::new(), reporter)
            .await
            .unwrap();
        let (address, control) = (server.addresses()[0], server.control());
        tokio::spawn(server.run());
        Self { address, control, log, text }
    }

    /// A raw connection to it.
    pub async fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends `bytes` on a connection of its own and reads until the proxy closes.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut peer = self.connect().await;
        peer.send(bytes).await;
        peer.rest().await
    }

    /// A tunnel to `target`.
    pub async fn tunnel(&self, target: SocketAddr) -> Peer {
        let mut peer = self.connect().await;
        peer.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert_eq!(peer.head().await, ESTABLISHED);
        peer
    }

    /// The access log so far, a line each.
    pub fn log(&self) -> Vec<serde_json::Value> {
        self.log.journal.written(LIMIT);
        let text = self.text.0.lock().unwrap().clone();
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The access log once it has `count` lines.
    pub async fn log_lines(&self, count: usize) -> Vec<serde_json::Value> {
        until(|| self.log().len() >= count).await;
        self.log()
    }
}

pub const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// Polls until `done`; a bound, not a schedule.
pub async fn until(done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, poll).await.expect("it never happened");
}

/// One end of a connection, in raw bytes.
pub struct Peer<S = TcpStream> {
    pub stream: S,
    pub buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let write = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        timeout(LIMIT, write).await.expect("stuck").unwrap();
    }

    /// Ends our half.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Everything up to the first empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return String::from_utf8(self.buffer.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.more().await > 0, "closed after {:?}", self.shown());
        }
    }

    /// A head and a body of its `Content-Length`.
    pub async fn message(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
        (head, String::from_utf8(self.exactly(length).await).unwrap())
    }

    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.more().await > 0, "closed after {:?}", self.shown());
        }
        self.buffer.drain(..length).collect()
    }

    /// Everything until the other side ends its half in order.
    pub async fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.remains().await).into_owned()
    }

    /// The same, as bytes.
    pub async fn remains(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads until the connection breaks; panics when it ends in order.
    pub async fn until_reset(&mut self) -> Vec<u8> {
        loop {
            match timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await.expect("silence") {
                Ok(0) => panic!("an orderly end after {:?}", self.shown()),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    return std::mem::take(&mut self.buffer);
                }
            }
        }
    }

    /// Everything until the connection ends in whatever way.
    pub async fn whatever_comes(&mut self) -> Vec<u8> {
        let read =
            async { while matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {} };
        timeout(LIMIT, read).await.expect("it stays open");
        std::mem::take(&mut self.buffer)
    }

    async fn more(&mut self) -> usize {
        let read = timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or_else(|_| panic!("silence after {:?}", self.shown())).unwrap()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

impl Peer {
    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The value of field `name` of a head.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A scripted origin: whoever wants a connection takes it from here.
pub struct Origin {
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Origin {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub async fn accept(&self) -> Peer {
        let accepted = timeout(LIMIT, self.listener.accept()).await.expect("nobody came");
        Peer::new(accepted.unwrap().0)
    }

    /// Whether nobody has come so far.
    pub fn is_untouched(&self) -> bool {
        use std::task::{Context, Poll, Waker};
        let mut context = Context::from_waker(Waker::noop());
        matches!(self.listener.poll_accept(&mut context), Poll::Pending)
    }
}

/// An address on which nothing listens.
pub async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads everything, counting; for bulk.
pub async fn count(mut reader: impl AsyncRead + Unpin) -> u64 {
    tokio::io::copy(&mut reader, &mut tokio::io::sink()).await.unwrap()
}
