//! Something that listens and is not a healthy HTTP proxy.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Flaw};
use super::place::Site;

/// What it does with a connection.
#[derive(Debug, Clone, Copy)]
pub enum Habit {
    /// Accepts and closes.
    Closes,
    /// Accepts and resets as soon as it hears something.
    Resets,
    /// Accepts, hears everything, says nothing.
    Silent,
    /// Says this at once.
    Says(&'static str),
    /// Answers a head with this status and these fields, then closes.
    Http(&'static str, &'static str),
    /// Wants TLS, and answers in it like a proxy that has connected.
    TlsOnly,
    /// SOCKS5 without credentials; anything else is closed.
    SocksOnly,
}

/// Ends when dropped.
pub struct Stub {
    task: AbortHandle,
    heard: Arc<AtomicUsize>,
    forgotten: bool,
}

impl Stub {
    pub fn start(site: &Site, port: u16, habit: Habit, authority: &Authority) -> Self {
        let listener = site.run(|| {
            let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            TcpListener::from_std(listener).unwrap()
        });
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let tls = TlsAcceptor::from(authority.server(Flaw::None));
        let task = site.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(act(stream, habit, tls.clone()));
            }
        });
        Self { task, heard, forgotten: false }
    }

    /// Connections so far.
    pub fn visits(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    /// Goes on until its place ends.
    pub fn forget(mut self) -> Self {
        self.forgotten = true;
        self
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if !self.forgotten {
            self.task.abort();
            // The port is free when this returns.
            while !self.task.is_finished() {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        }
    }
}

async fn act(stream: TcpStream, habit: Habit, tls: TlsAcceptor) {
    // The client may break off whenever it likes.
    drop(try_act(stream, habit, tls).await);
}

async fn try_act(mut stream: TcpStream, habit: Habit, tls: TlsAcceptor) -> std::io::Result<()> {
    match habit {
        Habit::Closes => Ok(()),
        Habit::Resets => {
            stream.read_u8().await?;
            socket2::SockRef::from(&stream).set_linger(Some(<_>::default()))
        }
        Habit::Silent => tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop),
        Habit::Says(text) => {
            stream.write_all(text.as_bytes()).await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
        }
        Habit::Http(status, fields) => {
            head(&mut stream).await?;
            let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nhi");
            stream.write_all(answer.as_bytes()).await
        }
        Habit::TlsOnly => {
            let mut stream = tls.accept(stream).await?;
            head(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await?;
            stream.shutdown().await
        }
        Habit::SocksOnly => socks(stream).await,
    }
}

async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    let mut heard = Vec::new();
    while crate::common::find(&heard, b"\r\n\r\n").is_none() {
        if stream.read_buf(&mut heard).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// RFC 1928: no authentication, CONNECT.
async fn socks(mut stream: TcpStream) -> std::io::Result<()> {
    if stream.read_u8().await? != 5 {
        return Ok(());
    }
    let mut methods = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = if request[3] == 3 {
        let mut name = vec![0; stream.read_u8().await?.into()];
        stream.read_exact(&mut name).await?;
        // Every name is the origin here.
        "81.85.80.2".to_owned()
    } else {
        let mut address = [0; 4];
        stream.read_exact(&mut address).await?;
        std::net::Ipv4Addr::from(address).to_string()
    };
    let port = stream.read_u16().await?;
    let mut origin = TcpStream::connect((host, port)).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let ((mut from, mut to), (mut up, mut down)) = (stream.split(), origin.split());
    tokio::try_join!(tokio::io::copy(&mut from, &mut down), tokio::io::copy(&mut up, &mut to))
        .map(drop)
}
