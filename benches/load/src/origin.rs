//! What the proxies lead to: echo, source, sink, HTTP, and a token stream.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create, sendfile};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use crate::clock::now;

/// Ports stay below the ephemeral range of the namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    Echo = 7001,
    Source = 7002,
    Sink = 7003,
    Http = 7004,
    Stream = 7005,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::Echo, Self::Source, Self::Sink, Self::Http, Self::Stream];

    pub fn address(self) -> SocketAddr {
        ([127, 0, 1, 1], self as u16).into()
    }
}

/// One token of a stream: the time it was sent, and padding, as an SSE chunk of an LLM has.
pub const CHUNK: usize = 200;
/// Between two tokens of a stream.
pub const PACE: Duration = Duration::from_millis(20);
/// The body of an HTTP answer.
pub const BODY: usize = 1024;

/// Bytes that arrived at a sink, at either end.
pub static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Starts every service: bulk in threads of its own at the lowest priority, so that the clock of a
/// stream is not late for it; the rest as tasks.
pub async fn start() -> io::Result<()> {
    for service in [Service::Source, Service::Sink] {
        let listener = std::net::TcpListener::bind(service.address())?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let _lowest = rustix::process::nice(19);
                    match service {
                        Service::Source => pour(&stream),
                        _ => swallow(&stream),
                    }
                });
            }
        });
    }
    for service in [Service::Echo, Service::Http, Service::Stream] {
        let listener = listen(service.address())?;
        tokio::spawn(async move {
            let mut count = 0;
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                count += 1;
                match service {
                    Service::Echo => drop(tokio::spawn(echo(stream))),
                    Service::Http => drop(tokio::spawn(answer(stream))),
                    _ => drop(tokio::spawn(tokens(stream, count))),
                }
            }
        });
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

/// Sends the same MiB for ever; `sendfile` so that the load costs little beside the proxy.
pub fn pour(stream: &std::net::TcpStream) {
    let size = 1 << 20;
    let Ok(file) = memfd_create("bulk", MemfdFlags::CLOEXEC) else { return };
    if ftruncate(&file, size).is_err() {
        return;
    }
    loop {
        let mut offset = 0;
        while offset < size {
            let left = (size - offset) as usize;
            match sendfile(stream, &file, Some(&mut offset), left) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// Reads to the end and counts.
pub fn swallow(stream: &std::net::TcpStream) {
    while let Some(bytes @ 1..) = gulp(stream) {
        ARRIVED.fetch_add(bytes as u64, Relaxed);
    }
}

/// One read without looking: `MSG_TRUNC` of TCP copies nothing.
pub fn gulp(stream: &std::net::TcpStream) -> Option<usize> {
    // With MSG_TRUNC the buffer is not written to; its length is how much may go at once.
    thread_local! {
        static ROOM: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 1 << 20]);
    }
    ROOM.with_borrow_mut(|room| {
        let (_, bytes) = rustix::net::recv(stream, room.as_mut_slice(), RecvFlags::TRUNC).ok()?;
        Some(bytes)
    })
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut stream: TcpStream) {
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n\
         Content-Length: {BODY}\r\n\r\n"
    )
    .into_bytes();
    reply.extend_from_slice(&[b'x'; BODY]);
    let mut buffer = [0; 4096];
    let mut held = 0;
    while let Ok(bytes @ 1..) = stream.read(&mut buffer[held..]).await {
        held += bytes;
        if buffer[..held].ends_with(b"\r\n\r\n") {
            held = 0;
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
        if held == buffer.len() {
            return;
        }
    }
}

/// Open loop: the next token leaves when it is due, whatever became of the last.
async fn tokens(mut stream: TcpStream, number: u32) {
    let phase = PACE * (number % 100) / 100;
    let mut due = Instant::now() + phase;
    let mut chunk = [b'.'; CHUNK];
    loop {
        sleep_until(due).await;
        due += PACE;
        chunk[..8].copy_from_slice(&now().to_le_bytes());
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
