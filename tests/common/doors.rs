//! What clients say first, protocol by protocol, and ways to say it.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sami_proxy::net::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ESTABLISHED, LIMIT, Peer, Proxy};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Connect,
    Plain,
    Socks5Name,
    Socks5Ip,
    Socks4,
    Socks4a,
    ConnectTls,
    Socks5Tls,
}

/// The credentials that a client gives. SOCKS4 has room for a user name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Nothing,
    Right,
    Wrong,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Tunnel,
    /// SOCKS only.
    Command(u8),
    /// SOCKS5 only.
    AddressType(u8),
}

pub const USER: &str = "sami:secret";

impl Login {
    fn pair(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nothing => None,
            Self::Right => USER.split_once(':'),
            Self::Wrong => Some(("sami", "guessed")),
        }
    }

    /// The value of `Proxy-Authorization`.
    pub fn basic(self) -> Option<String> {
        let (user, password) = self.pair()?;
        let engine = base64::engine::general_purpose::STANDARD;
        Some(format!("Basic {}", engine.encode(format!("{user}:{password}"))))
    }
}

impl Door {
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Plain,
        Self::Socks5Name,
        Self::Socks5Ip,
        Self::Socks4,
        Self::Socks4a,
        Self::ConnectTls,
        Self::Socks5Tls,
    ];

    /// Those that end in a tunnel.
    pub fn tunnels() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|door| *door != Self::Plain)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::ConnectTls | Self::Socks5Tls)
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Connect | Self::Plain | Self::ConnectTls)
    }

    pub fn is_socks4(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }

    /// What the log calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect | Self::Plain => "http",
            Self::ConnectTls => "https",
            Self::Socks5Name | Self::Socks5Ip => "socks5",
            Self::Socks5Tls => "socks5+tls",
            Self::Socks4 | Self::Socks4a => "socks4",
        }
    }

    /// All that a client says to get to `target`, without waiting for an answer; `None` when the
    /// protocol has no words for it.
    pub fn greeting(self, target: &str, login: Login, ask: Ask) -> Option<Vec<u8>> {
        let (host, port) = target.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        match self {
            Self::Connect | Self::Plain | Self::ConnectTls => {
                if ask != Ask::Tunnel {
                    return None;
                }
                let line = if self == Self::Plain {
                    format!("GET http://{target}/")
                } else {
                    format!("CONNECT {target}")
                };
                let login = login.basic().map_or_else(String::new, |credentials| {
                    format!("Proxy-Authorization: {credentials}\r\n")
                });
                let rest = format!("Host: {target}\r\nConnection: close\r\n{login}\r\n");
                Some(format!("{line} HTTP/1.1\r\n{rest}").into_bytes())
            }
            Self::Socks5Name | Self::Socks5Tls => {
                let length = u8::try_from(host.len()).unwrap();
                let address = [&[3, length], host.as_bytes()].concat();
                Some(socks5(&address, port, (login, ask)))
            }
            Self::Socks5Ip => {
                let ip: Ipv4Addr = host.parse().ok()?;
                Some(socks5(&[&[1], &ip.octets()[..]].concat(), port, (login, ask)))
            }
            Self::Socks4 => {
                let ip: Ipv4Addr = host.parse().ok()?;
                socks4(ip, port, b"", (login, ask))
            }
            Self::Socks4a => {
                let name = [host.as_bytes(), b"\0"].concat();
                socks4(Ipv4Addr::new(0, 0, 0, 7), port, &name, (login, ask))
            }
        }
    }

    /// The answer to the greeting when the tunnel stands.
    pub fn granted(self, login: Login) -> Vec<u8> {
        let method: &[u8] = if login == Login::Nothing { b"\x05\x00" } else { b"\x05\x02\x01\x00" };
        match self {
            Self::Connect | Self::Plain | Self::ConnectTls => ESTABLISHED.as_bytes().to_vec(),
            Self::Socks4 | Self::Socks4a => vec![0, 90, 0, 0, 0, 0, 0, 0],
            Self::Socks5Name | Self::Socks5Ip | Self::Socks5Tls => {
                [method, &[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]].concat()
            }
        }
    }
}

fn socks5(address: &[u8], port: u16, (login, ask): (Login, Ask)) -> Vec<u8> {
    let mut out = vec![5, 1, if login == Login::Nothing { 0 } else { 2 }];
    if let Some((user, password)) = login.pair() {
        out.push(1);
        for text in [user, password] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    let command = if let Ask::Command(command) = ask { command } else { 1 };
    out.extend_from_slice(&[5, command, 0]);
    out.extend_from_slice(address);
    if let Ask::AddressType(kind) = ask {
        let at = out.len() - address.len();
        out[at] = kind;
    }
    out.extend_from_slice(&port.to_be_bytes());
    out
}

fn socks4(ip: Ipv4Addr, port: u16, name: &[u8], (login, ask): (Login, Ask)) -> Option<Vec<u8>> {
    let command = match ask {
        Ask::Tunnel => 1,
        Ask::Command(command) => command,
        Ask::AddressType(_) => return None,
    };
    let [high, low] = port.to_be_bytes();
    let user = login.pair().map_or("", |(user, _)| user);
    let head = [&[4, command, high, low], &ip.octets()[..], user.as_bytes(), b"\0"].concat();
    Some([&head, name].concat())
}

/// A client that knows the proxy by its pin.
pub fn connector(pin: Pin) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pin.verifier())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// TLS on `stream`, with the certificate that `proxy` began with.
pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &Proxy,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from("sami-proxy").unwrap();
    let pin = proxy.control.pin().expect("the proxy speaks no TLS");
    timeout(LIMIT, connector(pin).connect(name, stream)).await.expect("silence")
}

/// Both sorts of connection.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// A connection to `proxy` on which `door` can be spoken.
pub async fn arrive(proxy: &Proxy, door: Door) -> io::Result<Peer<Box<dyn Wire>>> {
    let stream = TcpStream::connect(proxy.address).await?;
    let stream: Box<dyn Wire> =
        if door.is_tls() { Box::new(secure(proxy, stream).await?) } else { Box::new(stream) };
    Ok(Peer::new(stream))
}

/// Writes one byte at a time, and lets everybody else have a turn after each.
pub struct Drip {
    stream: TcpStream,
    turn: Option<Pinned<Box<dyn Future<Output = ()> + Send>>>,
}

impl Drip {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, turn: None }
    }
}

impl AsyncRead for Drip {
    fn poll_read(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Drip {
    fn poll_write(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(turn) = &mut this.turn {
            ready!(turn.as_mut().poll(cx));
            this.turn = None;
        }
        let written = ready!(Pinned::new(&mut this.stream).poll_write(cx, &bytes[..1]));
        this.turn = Some(Box::pin(tokio::task::yield_now()));
        Poll::Ready(written)
    }

    fn poll_flush(self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
