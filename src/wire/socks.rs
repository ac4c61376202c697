//! SOCKS5 (RFC 1928) and its login (RFC 1929), SOCKS4 and SOCKS4a: the server's side.
//!
//! Every reader takes what has come of **one** message, from its first byte on. It gives `Ok(None)`
//! while bytes are missing, else the value and how many bytes it took. Whatever follows changes
//! neither a value nor an error.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use super::basic_auth::Credentials;
use crate::target::{Host, Target, TargetError};

/// The longest user id and host name of SOCKS4, which have no length of their own: what a SOCKS5
/// length can say.
const MAX_TEXT: usize = 255;

/// Why bytes are no SOCKS message that we serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// What the first byte is instead of the version that is read: 5 or 4.
    #[error("{0} is not the SOCKS version of this message")]
    Version(u8),
    /// RFC 1929 §2 knows version 1 only.
    #[error("the version of the login is {0}, not 1")]
    LoginVersion(u8),
    /// Neither IPv4 (1), nor a name (3), nor IPv6 (4): RFC 1928 §5. Answer with
    /// [`Reply::AddressTypeNotSupported`].
    #[error("the address type {0} is unknown")]
    AddressType(u8),
    /// A connection to port 0.
    #[error("the port is zero")]
    Port,
    /// The host name is none.
    #[error("the target is malformed: {0}")]
    Host(#[from] TargetError),
    /// A user id or a host name of SOCKS4 beyond 255 bytes.
    #[error("the user id or the host name is longer than {MAX_TEXT} bytes")]
    TooLong,
}

/// What a client offers to do about authentication (RFC 1928 §3). A client that offers nothing, or
/// only methods that we don't have, has neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// 0x00: no authentication.
    pub none: bool,
    /// 0x02: user name and password.
    pub password: bool,
}

/// The server's choice of method (RFC 1928 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// No authentication: the request comes next.
    None = 0x00,
    /// User name and password: the login comes next.
    Password = 0x02,
    /// Nothing that the client offers will do; the connection ends.
    Unacceptable = 0xff,
}

/// How a login ended (RFC 1929 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Login {
    /// The request comes next.
    Right = 0,
    /// The connection ends.
    Wrong = 1,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `CONNECT`: a tunnel.
    Connect(Target),
    /// Anything else. Its address was read past and not judged.
    Other(Command),
}

/// A command other than `CONNECT` (RFC 1928 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// 2: wait for a connection.
    Bind,
    /// 3, SOCKS5 only: pass datagrams on.
    UdpAssociate,
    /// No command of the standard.
    Unknown(u8),
}

/// What a SOCKS5 client hears of its request (RFC 1928 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// The tunnel is open.
    Succeeded = 0,
    /// Nothing of the below.
    GeneralFailure = 1,
    /// The rules of this server say no.
    NotAllowed = 2,
    /// No route to the target's network.
    NetworkUnreachable = 3,
    /// No route to the target.
    HostUnreachable = 4,
    /// The target says no.
    ConnectionRefused = 5,
    /// A packet went around for too long.
    TtlExpired = 6,
    /// For [`Request::Other`].
    CommandNotSupported = 7,
    /// For [`SocksError::AddressType`].
    AddressTypeNotSupported = 8,
}

/// What a SOCKS4 client hears of its request; the numbers are those of the SOCKS4 memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply4 {
    /// The tunnel is open.
    Granted = 90,
    /// Refused or failed.
    Rejected = 91,
    /// The user id is not the one that identd gives.
    IdentdMismatch = 93,
}

/// Reads the first message of a SOCKS5 client (RFC 1928 §3); at most 257 bytes.
///
/// # Errors
///
/// [`SocksError::Version`].
pub fn greeting(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, SocksError> {
    whole(bytes, |input| {
        input.version(5)?;
        let methods = input.counted()?;
        let offers = |method: Method| methods.contains(&(method as u8));
        Ok(Greeting { none: offers(Method::None), password: offers(Method::Password) })
    })
}

/// The answer to a [`Greeting`] (RFC 1928 §3).
pub const fn choice(method: Method) -> [u8; 2] {
    [5, method as u8]
}

/// Reads a login (RFC 1929 §2); at most 513 bytes.
///
/// Empty names and passwords are let through, though the RFC wants a byte: they are as wrong as
/// others. What is no UTF-8 is read as [`Credentials::from_bytes`] says.
///
/// # Errors
///
/// [`SocksError::LoginVersion`].
pub fn login(bytes: &[u8]) -> Result<Option<(Credentials, usize)>, SocksError> {
    whole(bytes, |input| {
        let version = input.byte()?;
        if version != 1 {
            return Err(SocksError::LoginVersion(version).into());
        }
        let user = input.counted()?;
        let password = input.counted()?;
        Ok(Credentials::from_bytes(user, password))
    })
}

/// The answer to a login (RFC 1929 §2).
pub const fn login_reply(outcome: Login) -> [u8; 2] {
    [1, outcome as u8]
}

/// Reads a SOCKS5 request (RFC 1928 §4); at most 262 bytes.
///
/// A name that is an address literal, with or without brackets, becomes the address: policy must
/// see what will be dialled. The reserved byte is ignored. A request that is no `CONNECT` ends
/// after the address type when that is unknown, for then nobody can tell its length.
///
/// # Errors
///
/// [`SocksError`]; of the target only for `CONNECT`.
pub fn request5(bytes: &[u8]) -> Result<Option<(Request, usize)>, SocksError> {
    whole(bytes, |input| {
        input.version(5)?;
        let [command, _reserved, address_type] = input.array()?;
        let other = match command {
            1 => None,
            2 => Some(Command::Bind),
            3 => Some(Command::UdpAssociate),
            code => Some(Command::Unknown(code)),
        };
        let address = match (address_type, other) {
            (1, _) => Address::Ip(input.array::<4>()?.into()),
            (3, _) => Address::Text(input.counted()?),
            (4, _) => Address::Ip(input.array::<16>()?.into()),
            (_, Some(command)) => return Ok(Request::Other(command)),
            (_, None) => return Err(SocksError::AddressType(address_type).into()),
        };
        let port = u16::from_be_bytes(input.array()?);
        Ok(other.map_or_else(|| connect(address, port), |command| Ok(Request::Other(command)))?)
    })
}

/// Reads a SOCKS4 or SOCKS4a request; at most 520 bytes.
///
/// SOCKS4a is an address 0.0.0.x, x not zero, and a name after the user id. The name is read like
/// that of [`request5`]. The user id proves nothing and is forgotten.
///
/// # Errors
///
/// [`SocksError`]; of the target only for `CONNECT`.
pub fn request4(bytes: &[u8]) -> Result<Option<(Request, usize)>, SocksError> {
    whole(bytes, |input| {
        input.version(4)?;
        let command = input.byte()?;
        let port = u16::from_be_bytes(input.array()?);
        let ip: [u8; 4] = input.array()?;
        let _user = input.terminated()?;
        let address = match ip {
            [0, 0, 0, 1..=255] => Address::Text(input.terminated()?),
            _ => Address::Ip(ip.into()),
        };
        Ok(match command {
            1 => connect(address, port)?,
            2 => Request::Other(Command::Bind),
            code => Request::Other(Command::Unknown(code)),
        })
    })
}

/// The answer to a SOCKS5 request (RFC 1928 §6). `bound` is our end of the connection to the
/// target; when unknown, zeros of IPv4 stand for it.
pub fn reply5(reply: Reply, bound: Option<SocketAddr>) -> Vec<u8> {
    let mut out = vec![5, reply as u8, 0];
    match bound.map(|bound| bound.ip()) {
        None => out.extend_from_slice(&[1, 0, 0, 0, 0]),
        Some(IpAddr::V4(ip)) => {
            out.push(1);
            out.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
    }
    let port = bound.map_or(0, |bound| bound.port());
    out.extend_from_slice(&port.to_be_bytes());
    out
}

/// The answer to a SOCKS4 request. Clients ignore its address and port unless they asked for
/// `BIND`: they are zero.
pub const fn reply4(reply: Reply4) -> [u8; 8] {
    [0, reply as u8, 0, 0, 0, 0, 0, 0]
}

/// A destination as it was sent.
#[derive(Clone, Copy)]
enum Address<'b> {
    Ip(IpAddr),
    Text(&'b [u8]),
}

fn connect(address: Address<'_>, port: u16) -> Result<Request, SocksError> {
    let host = match address {
        Address::Ip(ip) => Host::Ip(ip),
        Address::Text(text) => host(text)?,
    };
    let port = NonZeroU16::new(port).ok_or(SocksError::Port)?;
    Ok(Request::Connect(Target { host, port }))
}

/// Reads a name. No port follows it, so an IPv6 address needs no brackets.
fn host(text: &[u8]) -> Result<Host, TargetError> {
    let text = std::str::from_utf8(text).map_err(|_| TargetError::Name)?;
    text.parse::<Ipv6Addr>().map_or_else(|_| Host::parse(text), |ip| Ok(Host::Ip(ip.into())))
}

/// Why reading stopped.
enum Stop {
    /// The bytes are used up.
    More,
    /// No bytes will help.
    Bad(SocksError),
}

impl From<SocksError> for Stop {
    fn from(error: SocksError) -> Self {
        Self::Bad(error)
    }
}

/// What of a message is not yet read.
struct Input<'b>(&'b [u8]);

/// Reads one message from the beginning of `bytes`.
fn whole<'b, T>(
    bytes: &'b [u8],
    read: impl FnOnce(&mut Input<'b>) -> Result<T, Stop>,
) -> Result<Option<(T, usize)>, SocksError> {
    let mut input = Input(bytes);
    match read(&mut input) {
        Ok(value) => Ok(Some((value, bytes.len() - input.0.len()))),
        Err(Stop::More) => Ok(None),
        Err(Stop::Bad(error)) => Err(error),
    }
}

impl<'b> Input<'b> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Stop::More)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn version(&mut self, expected: u8) -> Result<(), Stop> {
        let version = self.byte()?;
        if version == expected { Ok(()) } else { Err(SocksError::Version(version).into()) }
    }

    /// As many bytes as the byte before them says.
    fn counted(&mut self) -> Result<&'b [u8], Stop> {
        let length = self.byte()?;
        let (text, rest) = self.0.split_at_checked(length.into()).ok_or(Stop::More)?;
        self.0 = rest;
        Ok(text)
    }

    /// Bytes up to a NUL, which is read past.
    fn terminated(&mut self) -> Result<&'b [u8], Stop> {
        let bytes = self.0;
        let Some(length) = bytes.iter().take(MAX_TEXT + 1).position(|byte| *byte == 0) else {
            let too_long = bytes.len() > MAX_TEXT;
            return Err(if too_long { SocksError::TooLong.into() } else { Stop::More });
        };
        let (text, rest) = bytes.split_at_checked(length).ok_or(Stop::More)?;
        self.0 = rest.get(1..).ok_or(Stop::More)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::net::{IpAddr, SocketAddr};
    use std::num::NonZeroU16;

    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::{
        Command, Greeting, Login, Method, Reply, Reply4, Request, SocksError, choice, greeting,
        login, login_reply, reply4, reply5, request4, request5,
    };
    use crate::target::{Host, Target, TargetError};

    type Outcome<T> = Result<Option<(T, usize)>, SocksError>;

    /// What `read` makes of `bytes`, after asking that it doesn't depend on how they arrive.
    fn outcome<T: Debug + PartialEq>(
        bytes: &[u8],
        read: impl Fn(&[u8]) -> Outcome<T>,
    ) -> Outcome<T> {
        let whole = read(bytes);
        let mut prefixes = (0..=bytes.len()).map(|end| (end, read(&bytes[..end])));
        let (end, first) = prefixes.find(|(_, step)| *step != Ok(None)).unwrap_or((0, Ok(None)));
        assert_eq!(first, whole, "decided after {end} bytes");
        if let Ok(Some((_, used))) = whole {
            assert_eq!(used, end, "neither earlier nor later than its last byte");
        }
        whole
    }

    /// The value of a message with nothing missing and something behind it.
    fn value<T: Debug + PartialEq>(
        bytes: &[u8],
        read: impl Fn(&[u8]) -> Outcome<T>,
    ) -> Result<T, SocksError> {
        let more = [bytes, b"\x05more"].concat();
        outcome(&more, read).map(|found| {
            let (value, used) = found.expect("nothing is missing");
            assert_eq!(used, bytes.len(), "{bytes:?}");
            value
        })
    }

    /// Credentials that can be compared.
    fn pair(bytes: &[u8]) -> Outcome<(String, String)> {
        Ok(login(bytes)?
            .map(|(found, used)| ((found.user.into(), found.password.reveal().to_owned()), used)))
    }

    fn connect(authority: &str) -> Request {
        Request::Connect(Target::from_authority(authority).unwrap())
    }

    /// A SOCKS5 request for a name.
    fn by_name(command: u8, name: &[u8], port: u16) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        [&[5, command, 0, 3, length], name, &port.to_be_bytes()].concat()
    }

    /// A SOCKS4a request.
    fn by_name4(command: u8, user: &[u8], name: &[u8], port: u16) -> Vec<u8> {
        let [high, low] = port.to_be_bytes();
        [&[4, command, high, low, 0, 0, 0, 7], user, b"\0", name, b"\0"].concat()
    }

    #[test]
    fn a_greeting_tells_which_methods_are_offered() {
        let cases: &[(&[u8], bool, bool)] = &[
            (&[5, 0], false, false),
            (&[5, 1, 0], true, false),
            (&[5, 1, 2], false, true),
            (&[5, 3, 0, 1, 2], true, true),
            (&[5, 2, 1, 0xff], false, false),
        ];
        for (bytes, none, password) in cases {
            let expected = Greeting { none: *none, password: *password };
            assert_eq!(value(bytes, greeting), Ok(expected), "{bytes:?}");
        }
        for version in [0, 4, b'G'] {
            assert_eq!(outcome(&[version, 1, 0], greeting), Err(SocksError::Version(version)));
        }
    }

    #[test]
    fn a_login_is_read_as_basic_credentials_are() {
        let cases: &[(&[u8], (&str, &str))] = &[
            (b"\x01\x05alice\x06secret", ("alice", "secret")),
            (b"\x01\x01a\x03b:c", ("a", "b:c")),
            (b"\x01\x03a:b\x01c", ("a:b", "c")),
            (b"\x01\x00\x00", ("", "")),
            ("\u{1}\u{2}ü\u{2}ü".as_bytes(), ("ü", "ü")),
            (b"\x01\x01a\x01\xfc", ("a", "ü")),
            (b"\x01\x02\xc3\xbc\x01\xfc", ("Ã¼", "ü")),
        ];
        for (bytes, (user, password)) in cases {
            let expected = (user.to_string(), password.to_string());
            assert_eq!(value(bytes, pair), Ok(expected), "{bytes:?}");
        }
        assert_eq!(outcome(b"\x05\x01a\x01b", pair), Err(SocksError::LoginVersion(5)));
    }

    #[test]
    fn a_socks5_connect_is_read_into_its_target() {
        let cases: &[(Vec<u8>, &str)] = &[
            (vec![5, 1, 0, 1, 127, 0, 0, 1, 1, 187], "127.0.0.1:443"),
            // The reserved byte means nothing.
            (vec![5, 1, 9, 1, 0, 0, 0, 0, 255, 255], "0.0.0.0:65535"),
            (
                vec![5, 1, 0, 4, 0x20, 1, 13, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80],
                "[2001:db8::1]:80",
            ),
            (by_name(1, b"API.OpenAI.com.", 443), "api.openai.com:443"),
            (by_name(1, "пример.рф".as_bytes(), 443), "xn--e1afmkfd.xn--p1ai:443"),
            (by_name(1, b"127.0.0.1", 1), "127.0.0.1:1"),
            (by_name(1, b"::1", 1), "[::1]:1"),
            (by_name(1, b"[::1]", 1), "[::1]:1"),
            (by_name(1, b"::ffff:127.0.0.1", 1), "[::ffff:127.0.0.1]:1"),
        ];
        for (bytes, authority) in cases {
            assert_eq!(value(bytes, request5), Ok(connect(authority)), "{authority}");
        }
    }

    #[test]
    fn a_malformed_socks5_connect_is_refused_with_its_reason() {
        let cases: &[(Vec<u8>, SocksError)] = &[
            (vec![4, 1, 0], SocksError::Version(4)),
            (vec![5, 1, 0, 0], SocksError::AddressType(0)),
            (vec![5, 1, 0, 2], SocksError::AddressType(2)),
            (vec![5, 1, 0, 5, 1, 2, 3, 4], SocksError::AddressType(5)),
            (vec![5, 1, 0, 1, 127, 0, 0, 1, 0, 0], SocksError::Port),
            (by_name(1, b"a.example", 0), SocksError::Port),
            (by_name(1, b"", 1), TargetError::EmptyHost.into()),
            (by_name(1, b"a\0b", 1), TargetError::Name.into()),
            (by_name(1, b"\xff.example", 1), TargetError::Name.into()),
            (by_name(1, b"user@a.example", 1), TargetError::Name.into()),
            (by_name(1, b"a.example:443", 1), TargetError::Name.into()),
            (by_name(1, b"fe80::1%eth0", 1), TargetError::Name.into()),
            (by_name(1, b"[fe80::1%eth0]", 1), TargetError::Zone.into()),
            (by_name(1, b"[127.0.0.1]", 1), TargetError::Ipv6.into()),
            (by_name(1, b"0x7f.1", 1), TargetError::Ipv4Spelling.into()),
            (by_name(1, b"2130706433", 1), TargetError::Ipv4Spelling.into()),
            (by_name(1, &[b'a'; 255], 1), TargetError::Name.into()),
        ];
        for (bytes, reason) in cases {
            assert_eq!(outcome(bytes, request5), Err(*reason), "{bytes:?}");
        }
    }

    #[test]
    fn another_command_is_told_before_its_target_is_looked_at() {
        for (code, command) in
            [(2, Command::Bind), (3, Command::UdpAssociate), (0xf0, Command::Unknown(0xf0))]
        {
            let cases = [
                vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0],
                by_name(code, b"", 0),
                by_name(code, b"\xff", 0),
                [&[5, code, 0, 4][..], &[0; 18]].concat(),
                vec![5, code, 0, 9],
            ];
            for bytes in cases {
                assert_eq!(value(&bytes, request5), Ok(Request::Other(command)), "{bytes:?}");
            }
        }
        for (code, command) in
            [(2, Command::Bind), (3, Command::Unknown(3)), (0, Command::Unknown(0))]
        {
            for bytes in [vec![4, code, 0, 0, 0, 0, 0, 0, 0], by_name4(code, b"", b"\xff", 0)] {
                assert_eq!(value(&bytes, request4), Ok(Request::Other(command)), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_socks4_connect_is_read_into_its_target() {
        let long = [b'u'; 255];
        let cases: &[(Vec<u8>, &str)] = &[
            (vec![4, 1, 1, 187, 127, 0, 0, 1, 0], "127.0.0.1:443"),
            ([b"\x04\x01\x00\x50\x7f\0\0\x01", &long[..], b"\0"].concat(), "127.0.0.1:80"),
            // All zero is an address, not SOCKS4a; so is 0.0.1.0.
            (vec![4, 1, 0, 80, 0, 0, 0, 0, b'u', 0], "0.0.0.0:80"),
            (vec![4, 1, 0, 80, 0, 0, 1, 0, 0], "0.0.1.0:80"),
            (by_name4(1, b"", b"API.OpenAI.com", 443), "api.openai.com:443"),
            (by_name4(1, &long, b"a.example", 443), "a.example:443"),
            (by_name4(1, b"\xff", b"::1", 443), "[::1]:443"),
            (by_name4(1, b"", b"127.0.0.1", 443), "127.0.0.1:443"),
        ];
        for (bytes, authority) in cases {
            assert_eq!(value(bytes, request4), Ok(connect(authority)), "{authority}");
        }
    }

    #[test]
    fn a_malformed_socks4_connect_is_refused_with_its_reason() {
        let long = [b'a'; 256];
        let cases: &[(Vec<u8>, SocksError)] = &[
            (vec![5], SocksError::Version(5)),
            (vec![4, 1, 0, 0, 127, 0, 0, 1, 0], SocksError::Port),
            ([b"\x04\x01\x00\x50\x7f\0\0\x01", &long[..]].concat(), SocksError::TooLong),
            (by_name4(1, &long, b"a.example", 1), SocksError::TooLong),
            (by_name4(1, b"", &long, 1), SocksError::TooLong),
            (by_name4(1, b"", &long[..255], 1), TargetError::Name.into()),
            (by_name4(1, b"", b"a.example", 0), SocksError::Port),
            (by_name4(1, b"", b"", 1), TargetError::EmptyHost.into()),
            (by_name4(1, b"", b"\xff", 1), TargetError::Name.into()),
            (by_name4(1, b"", b"127.1", 1), TargetError::Ipv4Spelling.into()),
        ];
        for (bytes, reason) in cases {
            assert_eq!(outcome(bytes, request4), Err(*reason), "{bytes:?}");
        }
    }

    #[test]
    fn answers_have_the_numbers_of_the_standards() {
        assert_eq!(choice(Method::None), [5, 0]);
        assert_eq!(choice(Method::Password), [5, 2]);
        assert_eq!(choice(Method::Unacceptable), [5, 0xff]);
        assert_eq!(login_reply(Login::Right), [1, 0]);
        assert_eq!(login_reply(Login::Wrong), [1, 1]);
        let replies = [
            Reply::Succeeded,
            Reply::GeneralFailure,
            Reply::NotAllowed,
            Reply::NetworkUnreachable,
            Reply::HostUnreachable,
            Reply::ConnectionRefused,
            Reply::TtlExpired,
            Reply::CommandNotSupported,
            Reply::AddressTypeNotSupported,
        ];
        for (code, reply) in (0..).zip(replies) {
            assert_eq!(reply5(reply, None), [5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let v4 = "192.0.2.7:258".parse().unwrap();
        assert_eq!(reply5(Reply::Succeeded, Some(v4)), [5, 0, 0, 1, 192, 0, 2, 7, 1, 2]);
        let v6 = "[2001:db8::1]:258".parse().unwrap();
        let expected = [5, 0, 0, 4, 0x20, 1, 13, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2];
        assert_eq!(reply5(Reply::Succeeded, Some(v6)), expected);
        for (reply, code) in
            [(Reply4::Granted, 90), (Reply4::Rejected, 91), (Reply4::IdentdMismatch, 93)]
        {
            assert_eq!(reply4(reply), [0, code, 0, 0, 0, 0, 0, 0]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn what_is_encoded_is_decoded(ip in any::<IpAddr>(), port in any::<NonZeroU16>(), name in "[a-z]{1,9}(\\.[a-z]{1,9}){0,5}") {
            // A reply has the layout of a request, and its success has the number before CONNECT.
            let mut bytes = reply5(Reply::Succeeded, Some(SocketAddr::new(ip, port.get())));
            bytes[1] = 1;
            let expected = Request::Connect(Target { host: Host::Ip(ip), port });
            prop_assert_eq!(value(&bytes, request5), Ok(expected));

            let expected = Request::Connect(Target { host: Host::Name(name.as_str().into()), port });
            prop_assert_eq!(value(&by_name(1, name.as_bytes(), port.get()), request5), Ok(expected.clone()));
            prop_assert_eq!(value(&by_name4(1, b"me", name.as_bytes(), port.get()), request4), Ok(expected));
        }

        #[test]
        fn a_login_of_any_text_is_decoded(user in "\\PC{0,60}", password in "\\PC{0,60}") {
            let (lengths, texts) = ([user.len(), password.len()], [&user, &password]);
            let [first, second] = lengths.map(|length| u8::try_from(length).unwrap());
            let bytes = [&[1, first], texts[0].as_bytes(), &[second], texts[1].as_bytes()].concat();
            prop_assert_eq!(value(&bytes, pair), Ok((user, password)));
        }

        #[test]
        fn random_bytes_never_panic_and_pieces_change_nothing(start in vec(0_u8..8, 0..9), rest in vec(0_u8.., 0..300)) {
            let bytes = [start, rest].concat();
            let _any = outcome(&bytes, greeting);
            let _any = outcome(&bytes, pair);
            for version in [4, 5] {
                let bytes = [&[version, 1], bytes.as_slice()].concat();
                let _any = outcome(&bytes, request4);
                let _any = outcome(&bytes, request5);
            }
        }
    }
}
