//! Where somebody wants to go: a host and a TCP port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

/// A destination named by a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where.
    pub host: Host,
    /// TCP port; zero is no destination.
    pub port: NonZeroU16,
}

/// A host exactly as it will be resolved.
///
/// Invariant: a `Name` is lower-case ASCII, 1..=253 bytes, without a trailing dot, and is no IP
/// address in any spelling that a resolver would take for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address literal.
    Ip(IpAddr),
    /// A name for the resolver.
    Name(Box<str>),
}

/// Why a text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing there.
    #[error("the host is empty")]
    EmptyHost,
    /// `CONNECT` without a port (RFC 9112 §3.2.3 wants one).
    #[error("the port is missing")]
    MissingPort,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Credentials before the host (RFC 9110 §4.2.4).
    #[error("user information before the host is not allowed")]
    Userinfo,
    /// `[` without `]`, or not an IPv6 address between them.
    #[error("the IPv6 address is malformed")]
    Ipv6,
    /// `%eth0`: a zone has meaning on the client's machine only (RFC 6874).
    #[error("an IPv6 zone is not allowed")]
    Zone,
    /// `127.1`, `0x7f.1`, `2130706433`: spellings that resolvers take for an IPv4 address.
    #[error("an IPv4 address must be written as four decimal numbers")]
    Ipv4Spelling,
    /// A label that is empty or too long, or a byte that no host name has.
    #[error("the host name is malformed")]
    Name,
}

impl Target {
    /// Reads the authority-form of a `CONNECT` request (RFC 9112 §3.2.3): host and port, both
    /// required.
    ///
    /// # Errors
    ///
    /// [`TargetError`], the first rule that is broken.
    pub fn from_authority(text: &str) -> Result<Self, TargetError> {
        Self::parse(text, None)
    }

    /// Reads the authority of an `http` URI; an absent or empty port is 80 (RFC 9110 §4.2.1).
    ///
    /// # Errors
    ///
    /// [`TargetError`], the first rule that is broken.
    pub fn from_http_authority(text: &str) -> Result<Self, TargetError> {
        Self::parse(text, NonZeroU16::new(80))
    }

    /// Reads the authority of an `https` URI; an absent or empty port is 443 (RFC 9110 §4.2.2).
    ///
    /// # Errors
    ///
    /// [`TargetError`], the first rule that is broken.
    pub fn from_https_authority(text: &str) -> Result<Self, TargetError> {
        Self::parse(text, NonZeroU16::new(443))
    }

    fn parse(text: &str, default: Option<NonZeroU16>) -> Result<Self, TargetError> {
        if text.contains('@') {
            return Err(TargetError::Userinfo);
        }
        let (host, port) = split_port(text)?;
        let port = match port {
            None | Some("") => default.ok_or(TargetError::MissingPort)?,
            Some(digits) => port_number(digits)?,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

/// Splits at the colon before the port: the last one, or the one after `]`.
fn split_port(text: &str) -> Result<(&str, Option<&str>), TargetError> {
    let Some(inside) = text.strip_prefix('[') else {
        return Ok(match text.split_once(':') {
            None => (text, None),
            // A second colon means an IPv6 address without brackets: nobody can tell its port.
            Some((_, rest)) if rest.contains(':') => return Err(TargetError::Ipv6),
            Some((host, port)) => (host, Some(port)),
        });
    };
    let (_, after) = inside.split_once(']').ok_or(TargetError::Ipv6)?;
    let host = text.strip_suffix(after).ok_or(TargetError::Ipv6)?;
    match after.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(TargetError::Ipv6),
    }
}

fn port_number(digits: &str) -> Result<NonZeroU16, TargetError> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    digits.parse().map_err(|_| TargetError::Port)
}

impl Host {
    /// Reads a host as it stands in a URI: `[v6]`, a dotted quad, or a name.
    ///
    /// Names are made lower-case, one trailing dot is dropped, other scripts become their ASCII
    /// form (UTS 46).
    ///
    /// # Errors
    ///
    /// [`TargetError`], the first rule that is broken.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(inside) = text.strip_prefix('[') {
            let inside = inside.strip_suffix(']').ok_or(TargetError::Ipv6)?;
            if inside.contains('%') {
                return Err(TargetError::Zone);
            }
            let address: Ipv6Addr = inside.parse().map_err(|_| TargetError::Ipv6)?;
            return Ok(Self::Ip(IpAddr::V6(address)));
        }
        if text.is_empty() {
            return Err(TargetError::EmptyHost);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        let name = ascii_name(text)?;
        // UTS 46 maps full-width digits and dots to ASCII: look again at what came out.
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        if ends_in_a_number(&name) {
            return Err(TargetError::Ipv4Spelling);
        }
        Ok(Self::Name(name.into()))
    }
}

/// The ASCII form of a host name, checked label by label (RFC 1035 §2.3.4; the underscore is
/// allowed because the world uses it).
fn ascii_name(text: &str) -> Result<String, TargetError> {
    let ascii = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).map_err(|_| TargetError::Name)?
    };
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    if name.is_empty() {
        return Err(TargetError::EmptyHost);
    }
    let good = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        });
    if good { Ok(name.to_owned()) } else { Err(TargetError::Name) }
}

/// Whether resolvers would take `name` for an IPv4 address: its last label is all digits or
/// starts with `0x` (the "ends in a number" rule of the WHATWG URL standard).
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::{Target, TargetError};

    #[test]
    fn an_authority_is_read_into_host_and_port() {
        let cases = [
            ("api.openai.com:443", "api.openai.com:443"),
            ("API.OpenAI.com.:443", "api.openai.com:443"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:65535", "[::1]:65535"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("пример.рф:443", "xn--e1afmkfd.xn--p1ai:443"),
            ("under_score.example:80", "under_score.example:80"),
            ("１２７.0.0.1:80", "127.0.0.1:80"),
            // The same address; the policy judges it like any other.
            ("127.0.0.1.:80", "127.0.0.1:80"),
        ];
        for (text, shown) in cases {
            assert_eq!(Target::from_authority(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_malformed_authority_is_refused_with_its_reason() {
        let long = format!("{}.example:1", "a".repeat(64));
        let cases = [
            ("", TargetError::MissingPort),
            (":443", TargetError::EmptyHost),
            (".:443", TargetError::EmptyHost),
            ("example.com", TargetError::MissingPort),
            ("example.com:", TargetError::MissingPort),
            ("example.com:0", TargetError::Port),
            ("example.com:65536", TargetError::Port),
            ("example.com:+80", TargetError::Port),
            ("example.com: 80", TargetError::Port),
            ("example.com:443/path", TargetError::Port),
            ("user:pass@example.com:443", TargetError::Userinfo),
            ("::1:443", TargetError::Ipv6),
            ("[::1:443", TargetError::Ipv6),
            ("[::1]443", TargetError::Ipv6),
            ("[127.0.0.1]:443", TargetError::Ipv6),
            ("[fe80::1%25eth0]:443", TargetError::Zone),
            ("[::1%25.example.com]:443", TargetError::Zone),
            ("2130706433:80", TargetError::Ipv4Spelling),
            ("0x7f000001:80", TargetError::Ipv4Spelling),
            ("0177.0.0.1:80", TargetError::Ipv4Spelling),
            ("127.1:80", TargetError::Ipv4Spelling),
            ("127.0.0.0x1:80", TargetError::Ipv4Spelling),
            ("1.2.3.4.5:80", TargetError::Ipv4Spelling),
            ("256.1.1.1:80", TargetError::Ipv4Spelling),
            ("a..b:80", TargetError::Name),
            ("exa mple:80", TargetError::Name),
            ("a%2eb:80", TargetError::Name),
            ("exa\u{0}mple:80", TargetError::Name),
            (long.as_str(), TargetError::Name),
        ];
        for (text, reason) in cases {
            assert_eq!(Target::from_authority(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn the_port_of_an_http_uri_defaults_to_80() {
        for text in ["example.com", "example.com:", "example.com:80"] {
            let target = Target::from_http_authority(text).unwrap();
            assert_eq!(target.to_string(), "example.com:80");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_accepted_reads_back_as_itself(text in "\\PC{0,40}") {
            if let Ok(target) = Target::from_authority(&text) {
                let shown = target.to_string();
                assert_eq!(Target::from_authority(&shown), Ok(target));
                assert!(shown.is_ascii());
            }
        }
    }
}
