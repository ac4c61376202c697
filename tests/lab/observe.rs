//! What somebody sees who has nothing but sockets: the independent oracle of the lab.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::SILENCE;

/// Something to do.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Connect(&'static str),
    /// The same, but with time for a router to ask for the machine.
    ConnectPatiently(&'static str),
    /// Connect and wait for the first word.
    Listen(&'static str),
    /// Connect, say this, wait for an answer.
    Say(&'static str, &'static str),
    /// Ask the place's name server for an IPv4 address.
    Resolve(&'static str),
    /// `https://NAME/` through the HTTP proxy.
    Https(&'static str, &'static str),
    /// The same through a proxy to which TLS is spoken; its certificate is `proxy.example.net`'s.
    HttpsOverTls(&'static str, &'static str),
    /// The same through SOCKS5.
    HttpsOverSocks(&'static str, &'static str),
    /// TLS with the proxy itself, nothing more.
    TlsToProxy(&'static str),
    /// So many bytes from the proxy's own test service.
    Down(&'static str, usize),
    /// So many bytes to it.
    Up(&'static str, usize),
}

/// What is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    Open,
    /// The connect fails with this number at once.
    Errno(i32),
    /// It fails with this number when a router has given up asking for the machine (ARP).
    SlowErrno(i32),
    /// Nobody answers the connect.
    Silence,
    /// The connection ends without a byte.
    Closed,
    Reset,
    /// Connected, and nothing is said.
    Mute,
    /// An answer with all these texts in it.
    Answer(&'static [&'static str]),
    /// The transfer stops, for good, after so many bytes (at least, below).
    StopsAfter(usize, usize),
    /// The transfer goes on all the time, but is not done after 1.5 s.
    Trickles,
    /// The transfer is done.
    Flows,
    /// TLS fails; a word of the reason.
    BadTls(&'static str),
    /// The name server says so.
    NameNotFound,
    NameFailure,
    /// It succeeds but takes so many milliseconds.
    Slow(u64),
}

/// What was seen, when, and the words of it.
#[derive(Debug)]
pub struct Seen {
    pub what: Shows,
    pub after: Duration,
    pub text: String,
    /// Bytes of a transfer.
    pub amount: usize,
}

pub const REFUSED: i32 = 111;
pub const HOST_UNREACHABLE: i32 = 113;
pub const NET_UNREACHABLE: i32 = 101;
pub const NO_PROTOCOL: i32 = 92;

/// An answer on this side of it came at once; the cores may be busy.
const AT_ONCE: Duration = Duration::from_millis(900);

impl Seen {
    pub fn is(&self, expected: &Shows) -> bool {
        match (*expected, self.what) {
            (Shows::Errno(a), Shows::Errno(b)) => a == b && self.after < AT_ONCE,
            (Shows::SlowErrno(a), Shows::Errno(b)) => a == b && self.after > AT_ONCE,
            (Shows::Answer(texts), Shows::Answer(_) | Shows::Reset | Shows::Closed) => {
                !self.text.is_empty() && texts.iter().all(|text| self.text.contains(text))
            }
            (Shows::BadTls(word), Shows::BadTls(_)) => self.text.contains(word),
            (Shows::StopsAfter(least, below), Shows::StopsAfter(..)) => {
                (least..below).contains(&self.amount)
            }
            (Shows::Slow(least), Shows::Open | Shows::Answer(_)) => {
                self.after >= Duration::from_millis(least)
            }
            (Shows::Open | Shows::Closed | Shows::Reset, seen) => {
                seen == *expected && self.text.is_empty() && self.after < AT_ONCE
            }
            (expected, seen) => expected == seen,
        }
    }
}

/// Does it.
pub fn take(step: &Step, roots: &Arc<ClientConfig>) -> Seen {
    let begun = SystemTime::now();
    let mut text = String::new();
    let mut amount = 0;
    let what = match act(step, roots, &mut text, &mut amount) {
        Ok(what) | Err(what) => what,
    };
    Seen { what, after: begun.elapsed().unwrap(), text, amount }
}

type Outcome<T = Shows> = Result<T, Shows>;

fn act(step: &Step, roots: &Arc<ClientConfig>, text: &mut String, amount: &mut usize) -> Outcome {
    match *step {
        Step::Connect(address) => connect(address).map(|_| Shows::Open),
        Step::ConnectPatiently(address) => {
            connect_within(address, Duration::from_secs(6)).map(|_| Shows::Open)
        }
        Step::Listen(address) => answer(&mut connect(address)?, text),
        Step::Say(address, words) => {
            let mut stream = connect(address)?;
            // A peer that has closed already shows in the reading.
            drop(stream.write_all(words.as_bytes()));
            answer(&mut stream, text)
        }
        Step::Resolve(name) => resolve(name, text),
        Step::Https(proxy, name) => {
            let mut stream = connect(proxy)?;
            tunnel(&mut stream, &format!("{name}:443"), text)?;
            get(stream, name, roots, text)
        }
        Step::HttpsOverTls(proxy, name) => {
            let mut stream = secured(connect(proxy)?, "proxy.example.net", roots, text)?;
            tunnel(&mut stream, &format!("{name}:443"), text)?;
            get(stream, name, roots, text)
        }
        Step::HttpsOverSocks(proxy, name) => {
            let mut stream = connect(proxy)?;
            socks(&mut stream, name, text)?;
            get(stream, name, roots, text)
        }
        Step::TlsToProxy(address) => {
            secured(connect(address)?, "proxy.example.net", roots, text).map(|_| Shows::Open)
        }
        Step::Down(proxy, bytes) => down(connect(proxy)?, bytes, text, amount),
        Step::Up(proxy, bytes) => up(connect(proxy)?, bytes, text),
    }
}

fn connect(address: &str) -> Outcome<TcpStream> {
    connect_within(address, SILENCE)
}

fn connect_within(address: &str, limit: Duration) -> Outcome<TcpStream> {
    let address: SocketAddr = address.parse().unwrap();
    let stream =
        TcpStream::connect_timeout(&address, limit).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Shows::Silence,
            _ => Shows::Errno(error.raw_os_error().unwrap()),
        })?;
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream.set_write_timeout(Some(SILENCE)).unwrap();
    Ok(stream)
}

/// Reads once.
fn answer(stream: &mut (impl Read + Write), text: &mut String) -> Outcome {
    let mut bytes = [0; 4096];
    let heard = stream.read(&mut bytes);
    if let Ok(length) = &heard {
        text.push_str(&String::from_utf8_lossy(&bytes[..*length]));
    }
    match heard {
        Ok(0) => Err(Shows::Closed),
        Ok(_) => Ok(Shows::Answer(&[])),
        Err(error) => Err(broken(&error, text)),
    }
}

fn broken(error: &std::io::Error, text: &mut String) -> Shows {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Shows::Mute,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Shows::Reset,
        ErrorKind::UnexpectedEof => Shows::Closed,
        _ => {
            text.push_str(&error.to_string());
            Shows::BadTls("")
        }
    }
}

/// Asks for a tunnel; `Err` when the answer is not 200.
fn tunnel(stream: &mut (impl Read + Write), target: &str, text: &mut String) -> Outcome<()> {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(|error| broken(&error, text))?;
    stream.flush().map_err(|error| broken(&error, text))?;
    while !text.contains("\r\n\r\n") {
        answer(stream, text)?;
    }
    let ok = text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.0 200");
    if ok {
        text.clear();
        return Ok(());
    }
    Err(Shows::Answer(&[]))
}

fn socks(stream: &mut TcpStream, name: &str, text: &mut String) -> Outcome<()> {
    let mut fail = |error: std::io::Error| broken(&error, text);
    stream.write_all(&[5, 1, 0]).map_err(&mut fail)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).map_err(&mut fail)?;
    let mut request = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(&443_u16.to_be_bytes());
    stream.write_all(&request).map_err(&mut fail)?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).map_err(&mut fail)?;
    if reply[1] == 0 { Ok(()) } else { Err(Shows::Closed) }
}

fn secured<S: Read + Write>(
    stream: S,
    name: &str,
    roots: &Arc<ClientConfig>,
    text: &mut String,
) -> Outcome<StreamOwned<ClientConnection, S>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(roots), name).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| broken(&error, text))?;
    }
    Ok(stream)
}

fn get<S: Read + Write>(
    stream: S,
    name: &str,
    roots: &Arc<ClientConfig>,
    text: &mut String,
) -> Outcome {
    let mut stream = secured(stream, name, roots, text)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| broken(&error, text))?;
    answer(&mut stream, text)
}

const SERVICE: &str = "http://sami-proxy.internal";
const LAST: &str = "Host: sami-proxy.internal\r\nConnection: close\r\n";

fn down(mut stream: TcpStream, bytes: usize, text: &mut String, amount: &mut usize) -> Outcome {
    let ask = format!("GET {SERVICE}/bytes?n={bytes} HTTP/1.1\r\n{LAST}\r\n");
    stream.write_all(ask.as_bytes()).map_err(|error| broken(&error, text))?;
    let (mut buffer, begun) = (vec![0; 1 << 16], SystemTime::now());
    loop {
        match stream.read(&mut buffer) {
            Ok(0) if *amount >= bytes => return Ok(Shows::Flows),
            Ok(0) => return Err(Shows::Closed),
            Ok(more) => *amount += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Shows::StopsAfter(0, 0));
            }
            Err(error) => return Err(broken(&error, text)),
        }
        if *amount < bytes && begun.elapsed().unwrap() > SILENCE && *amount < bytes / 2 {
            return Ok(Shows::Trickles);
        }
    }
}

fn up(mut stream: TcpStream, bytes: usize, text: &mut String) -> Outcome {
    let head = format!("POST {SERVICE}/sink HTTP/1.1\r\n{LAST}Content-Length: {bytes}\r\n\r\n");
    let all = [head.as_bytes(), &vec![7; bytes]].concat();
    stream.write_all(&all).map_err(|error| broken(&error, text))?;
    answer(&mut stream, text)
}

fn resolve(name: &str, text: &mut String) -> Outcome {
    let file = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let server = file.split_whitespace().nth(1).unwrap();
    let server: std::net::IpAddr = server.parse().unwrap();
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let errno = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock => Shows::Silence,
        _ => Shows::Errno(error.raw_os_error().unwrap()),
    };
    socket.connect((server, 53)).map_err(errno)?;
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    socket.send(&question.to_vec().unwrap()).map_err(errno)?;
    let mut bytes = [0; 1500];
    let length = socket.recv(&mut bytes).map_err(errno)?;
    let answer = Message::from_vec(&bytes[..length]).unwrap();
    match answer.metadata.response_code {
        ResponseCode::NXDomain => return Ok(Shows::NameNotFound),
        ResponseCode::ServFail => return Ok(Shows::NameFailure),
        _ => {}
    }
    for record in &answer.answers {
        text.push_str(&record.to_string());
    }
    Ok(Shows::Answer(&[]))
}
