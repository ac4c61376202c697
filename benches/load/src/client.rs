//! The way through a proxy.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::origin::Service;

/// How a service is reached.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub connect_to: SocketAddr,
    /// Where the proxy is asked to go; `None` where it leads there anyway.
    pub target: Option<SocketAddr>,
}

impl Route {
    fn request(&self) -> Option<String> {
        let target = self.target?;
        Some(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"))
    }

    /// A tunnel, from one of 250 addresses in turn: a client's ports must not run out.
    pub async fn open(&self, number: u64) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 2, 1 + (number % 250) as u8], 0).into())?;
        let mut stream = socket.connect(self.connect_to).await?;
        stream.set_nodelay(true)?;
        if let Some(request) = self.request() {
            stream.write_all(request.as_bytes()).await?;
            let mut head = [0; 512];
            let mut held = 0;
            while !head[..held].ends_with(b"\r\n\r\n") {
                held += match stream.read(&mut head[held..]).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    bytes => bytes,
                };
            }
            accepted(&head)?;
        }
        Ok(stream)
    }

    /// The same for a thread.
    pub fn open_blocking(&self) -> io::Result<std::net::TcpStream> {
        let mut stream = std::net::TcpStream::connect(self.connect_to)?;
        stream.set_nodelay(true)?;
        if let Some(request) = self.request() {
            stream.write_all(request.as_bytes())?;
            let mut head = Vec::new();
            let mut byte = [0];
            // Byte by byte: what follows is the tunnel's.
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            accepted(&head)?;
        }
        Ok(stream)
    }
}

fn accepted(head: &[u8]) -> io::Result<()> {
    if head.get(8..12) == Some(b" 200") {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(head).into_owned()))
}

/// What a plain HTTP request to the HTTP service looks like.
pub fn request() -> String {
    let address = Service::Http.address();
    format!(
        "GET http://{address}/x HTTP/1.1\r\nHost: {address}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
    )
}
