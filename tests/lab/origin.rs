//! The web servers of the net: plain on 80, TLS on 443, for every name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Flaw};
use super::place::Site;

/// How the origins behave.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Answers `hi`; `/generate_204` with 204.
    Well,
    /// Shows a bad certificate.
    Flawed(Flaw),
    /// Resets when it has heard the first bytes of TLS.
    ResetsTls,
    /// Says nothing on port 443.
    SilentTls,
    /// Answers everything with this status line's rest, these fields, this body.
    Answers(&'static str, &'static str, &'static str),
}

#[derive(Clone)]
pub struct Origin {
    manner: Arc<Mutex<Manner>>,
    visits: Arc<AtomicUsize>,
    authority: Arc<Authority>,
    sound: TlsAcceptor,
}

impl Origin {
    pub fn new(authority: Arc<Authority>) -> Self {
        let sound = TlsAcceptor::from(authority.server(Flaw::None));
        let (manner, visits) = (Arc::new(Mutex::new(Manner::Well)), Arc::default());
        Self { manner, visits, authority, sound }
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Connections so far.
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }

    pub fn listen(&self, site: &Site) {
        for (address, port) in
            [("81.85.80.2", 80), ("81.85.80.2", 443), ("2a01:80::2", 80), ("2a01:80::2", 443)]
        {
            let listener = site.run(|| {
                let listener = std::net::TcpListener::bind((address, port)).unwrap();
                listener.set_nonblocking(true).unwrap();
                TcpListener::from_std(listener).unwrap()
            });
            site.spawn(self.clone().accept(listener, port));
        }
    }

    async fn accept(self, listener: TcpListener, port: u16) {
        while let Ok((stream, _)) = listener.accept().await {
            self.visits.fetch_add(1, Ordering::SeqCst);
            let origin = self.clone();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                if port == 443 { origin.secure(stream).await } else { origin.talk(stream).await }
            });
        }
    }

    async fn secure(self, mut stream: TcpStream) {
        let manner = *self.manner.lock().unwrap();
        let acceptor = match manner {
            Manner::Well | Manner::Answers(..) => self.sound.clone(),
            Manner::Flawed(flaw) => TlsAcceptor::from(self.authority.server(flaw)),
            Manner::ResetsTls => {
                drop(stream.read_u8().await);
                return drop(socket2::SockRef::from(&stream).set_linger(Some(<_>::default())));
            }
            Manner::SilentTls => {
                return drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
            }
        };
        // A client that does not like the certificate goes away.
        if let Ok(stream) = acceptor.accept(stream).await {
            self.talk(stream).await;
        }
    }

    async fn talk(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut heard = Vec::new();
        while matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
            let Some(end) = crate::common::find(&heard, b"\r\n\r\n") else { continue };
            let asked = String::from_utf8_lossy(&heard[..end]).into_owned();
            heard.drain(..end + 4);
            let manner = *self.manner.lock().unwrap();
            let (status, fields, body) = match manner {
                Manner::Answers(status, fields, body) => (status, fields, body),
                _ if asked.contains(" /generate_204") => ("204 No Content", "", ""),
                _ => ("200 OK", "", "hi"),
            };
            let length = body.len();
            let length = if status.starts_with("204") {
                String::new()
            } else {
                format!("Content-Length: {length}\r\n")
            };
            let date = httpdate::fmt_http_date(std::time::SystemTime::now());
            let answer = format!("HTTP/1.1 {status}\r\nDate: {date}\r\n{fields}{length}\r\n{body}");
            if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
