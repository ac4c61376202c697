//! What `probe` needs at the other ends of its way, on loopback: names, web servers with a certificate
//! of an authority of the test's own, and somebody between client and proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::dns::{Say, answer};
use super::process::Serve;

/// Names, an authority, and its files.
pub struct Ends {
    folder: tempfile::TempDir,
    tls: Arc<ServerConfig>,
    dns: String,
}

/// What a web server does when it has heard a request.
#[derive(Clone, Copy)]
pub enum Answer {
    /// `200` and `hi`.
    Well,
    /// Nothing, for ever.
    Nothing,
    /// A head, and less than the body that it promises.
    Half,
}

impl Ends {
    /// Writes `authority.pem`, `proxy.pem` and `proxy.key`; the certificate is for `localhost` and
    /// `127.0.0.1`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut wanted = CertificateParams::new(Vec::new()).unwrap();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.distinguished_name.push(rcgen::DnType::CommonName, "Authority of the test");
        let key = KeyPair::generate().unwrap();
        let root = wanted.self_signed(&key).unwrap();
        let issuer = Issuer::new(wanted, key);
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        for (name, text) in [
            ("authority.pem", root.pem()),
            ("proxy.pem", leaf.pem()),
            ("proxy.key", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        Self { folder, tls: Arc::new(tls), dns: names_of_this_machine().to_string() }
    }

    /// A file of it, or one that is to be.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A proxy that reaches loopback, with more `flags`.
    pub fn serve(&self, flags: &[&str]) -> Serve {
        Serve::start(&[&["--allow-private", "--dns", &self.dns], flags].concat())
    }

    /// The URL of a web server in TLS.
    pub fn https(&self, answer: Answer) -> String {
        let tls = Arc::clone(&self.tls);
        let address = listen(move |stream| {
            let session = ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            if web(&mut stream, answer).is_ok() {
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        format!("https://localhost:{}/", address.port())
    }
}

/// The URL of a web server in the clear.
pub fn plain(answer: Answer) -> String {
    let address = listen(move |mut stream| drop(web(&mut stream, answer)));
    format!("http://{address}/")
}

/// A server on a free port of loopback that hands every connection to `serve`, each on a thread of its
/// own.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A name server that finds everything here.
fn names_of_this_machine() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let here = |_: &str, kind: RecordType, _: usize| {
            let four = kind == RecordType::A;
            Say::Addresses(four.then(|| Ipv4Addr::LOCALHOST.into()).into_iter().collect(), 60)
        };
        let seen = Mutex::default();
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length], &here, &seen) {
                // Who asked may have gone.
                drop(socket.send_to(&answer, peer));
            }
        }
    });
    address
}

/// Everything up to the first empty line; less when there is no more.
pub fn head(stream: &mut impl Read) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        heard.push(byte[0]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Hears everything and says nothing.
pub fn swallow(stream: &mut impl Read) {
    drop(std::io::copy(stream, &mut std::io::sink()));
}

fn web(stream: &mut (impl Read + Write), answer: Answer) -> std::io::Result<()> {
    if head(stream).is_empty() {
        return Ok(());
    }
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let head = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nConnection: close\r\nContent-Length: ");
    match answer {
        Answer::Well => stream.write_all(format!("{head}2\r\n\r\nhi").as_bytes()),
        Answer::Nothing => {
            swallow(stream);
            Ok(())
        }
        Answer::Half => {
            stream.write_all(format!("{head}2000\r\n\r\nhi").as_bytes())?;
            stream.flush()?;
            swallow(stream);
            Ok(())
        }
    }
}

/// What somebody between client and proxy does with a connection.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Passes everything on.
    Pass,
    /// Hears everything, passes nothing on.
    Swallow,
    /// Does not even hear.
    Ignore,
    /// Passes everything on and closes after so long.
    CutAfter(Duration),
}

/// Somebody between a client and `proxy`, who decides by the first request of a connection.
pub fn between(
    proxy: SocketAddr,
    decide: impl Fn(&str) -> Deed + Send + Sync + 'static,
) -> SocketAddr {
    listen(move |mut client| {
        let first = head(&mut client);
        let cut = match decide(&first) {
            Deed::Pass => None,
            Deed::Swallow => return swallow(&mut client),
            Deed::Ignore => return std::thread::park_timeout(super::LIMIT),
            Deed::CutAfter(time) => Some(time),
        };
        let Ok(mut proxy) = TcpStream::connect(proxy) else { return };
        drop(proxy.write_all(first.as_bytes()));
        if let Some(time) = cut {
            let both = (client.try_clone().unwrap(), proxy.try_clone().unwrap());
            std::thread::spawn(move || {
                std::thread::park_timeout(time);
                for stream in [both.0, both.1] {
                    drop(stream.shutdown(std::net::Shutdown::Both));
                }
            });
        }
        let (up, down) = (client.try_clone().unwrap(), proxy.try_clone().unwrap());
        let back = std::thread::spawn(move || pass(down, client));
        pass(up, proxy);
        drop(back.join());
    })
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(std::net::Shutdown::Write));
}

/// An HTTP proxy that is none of ours: tunnels, and no more.
pub fn foreign_proxy() -> SocketAddr {
    listen(|mut client| {
        let request = head(&mut client);
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let refuse = |client: &mut TcpStream, status| {
            let head = format!("HTTP/1.1 {status}\r\nServer: other/1.0\r\n");
            drop(write!(client, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n"));
        };
        if method != "CONNECT" {
            return refuse(&mut client, "403 Filtered");
        }
        let Ok(mut origin) = TcpStream::connect(target) else {
            return refuse(&mut client, "502 Bad Gateway");
        };
        drop(client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n"));
        let (mut up, down) = (client.try_clone().unwrap(), origin.try_clone().unwrap());
        let back = std::thread::spawn(move || pass(down, client));
        drop(std::io::copy(&mut up, &mut origin));
        drop(origin.shutdown(std::net::Shutdown::Write));
        drop(back.join());
    })
}

/// A port whose queue is full: a connection to it is neither accepted nor refused. What fills it is
/// kept with it.
pub fn full() -> (SocketAddr, impl Drop) {
    struct Held {
        _listener: socket2::Socket,
        _waiting: Vec<TcpStream>,
    }
    impl Drop for Held {
        fn drop(&mut self) {}
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    (address, Held { _listener: socket, _waiting: waiting })
}
