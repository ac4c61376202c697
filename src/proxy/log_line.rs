//! One line of the access log, written by hand onto a buffer: as text or as JSON.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use tracing::Level;

use super::access_log::Format;
use crate::net::meter::Lapse;
use crate::target::{Host, Target};

/// A line under way.
pub(super) struct Line<'o> {
    out: &'o mut Vec<u8>,
    format: Format,
}

impl<'o> Line<'o> {
    /// Time, level, and what it is about.
    pub(super) fn begin(out: &'o mut Vec<u8>, format: Format, level: Level) -> Self {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let level = level.as_str();
        // Writing to memory cannot fail; here and below.
        let _infallible = match format {
            Format::Text => write!(out, "{now} {level:>5} request"),
            Format::Json => {
                write!(out, "{{\"time\":\"{now}\",\"level\":\"{level}\",\"message\":\"request\"")
            }
        };
        Self { out, format }
    }

    /// The line end.
    pub(super) fn end(self) {
        self.out.extend_from_slice(match self.format {
            Format::Text => b"\n",
            Format::Json => b"}\n",
        });
    }

    pub(super) fn number(&mut self, key: &str, number: Option<u64>) {
        self.key(key);
        match number {
            Some(number) => digits(self.out, number),
            None => self.nothing(),
        }
    }

    /// In milliseconds.
    pub(super) fn lapse(&mut self, key: &str, lapse: Option<Lapse>) {
        self.key(key);
        let Some(lapse) = lapse else { return self.nothing() };
        let tenths = u64::from(lapse.tenths());
        digits(self.out, tenths / 10);
        self.out.push(b'.');
        digits(self.out, tenths % 10);
    }

    pub(super) fn address(&mut self, key: &str, address: Option<SocketAddr>) {
        self.key(key);
        let Some(address) = address else { return self.nothing() };
        self.quote();
        if let IpAddr::V6(ip) = address.ip() {
            let _infallible = write!(self.out, "[{ip}]");
        } else {
            ip_text(self.out, address.ip());
        }
        self.port(address.port());
        self.quote();
    }

    pub(super) fn ip(&mut self, key: &str, ip: Option<IpAddr>) {
        self.key(key);
        let Some(ip) = ip else { return self.nothing() };
        self.quote();
        ip_text(self.out, ip);
        self.quote();
    }

    /// A target has no byte that could break out of its field.
    pub(super) fn target(&mut self, key: &str, target: Option<&Target>) {
        match target.map(|target| (&target.host, target.port.get())) {
            None => self.text(key, None),
            Some((Host::Ip(ip), port)) => self.address(key, Some(SocketAddr::new(*ip, port))),
            Some((Host::Name(name), port)) => {
                self.key(key);
                self.quote();
                self.out.extend_from_slice(name.as_bytes());
                self.port(port);
                self.quote();
            }
        }
    }

    /// A value that can't break out of its field: white space, quotes and controls are escaped.
    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        self.key(key);
        let Some(text) = text else { return self.nothing() };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte);
        if !text.is_empty() && text.bytes().all(plain) {
            self.quote();
            self.out.extend_from_slice(text.as_bytes());
            self.quote();
            return;
        }
        let _infallible = match self.format {
            Format::Text => write!(self.out, "{text:?}"),
            Format::Json => write!(self.out, "{}", serde_json::Value::from(text)),
        };
    }

    fn key(&mut self, key: &str) {
        let (before, after): (&[u8], &[u8]) = match self.format {
            Format::Text => (b" ", b"="),
            Format::Json => (b",\"", b"\":"),
        };
        for part in [before, key.as_bytes(), after] {
            self.out.extend_from_slice(part);
        }
    }

    fn nothing(&mut self) {
        self.out.extend_from_slice(match self.format {
            Format::Text => b"-",
            Format::Json => b"null",
        });
    }

    fn quote(&mut self) {
        if self.format == Format::Json {
            self.out.push(b'"');
        }
    }

    fn port(&mut self, port: u16) {
        self.out.push(b':');
        digits(self.out, port.into());
    }
}

fn ip_text(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                digits(out, octet.into());
            }
        }
        IpAddr::V6(ip) => {
            let _infallible = write!(out, "{ip}");
        }
    }
}

/// A number in decimal.
fn digits(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{digits, ip_text};

    proptest! {
        #[test]
        fn numbers_and_addresses_look_as_everywhere(number: u64, v4: [u8; 4], v6: [u8; 16]) {
            let mut out = Vec::new();
            digits(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
            for ip in [std::net::IpAddr::from(v4), v6.into()] {
                let mut out = Vec::new();
                ip_text(&mut out, ip);
                prop_assert_eq!(out, ip.to_string().into_bytes());
            }
        }
    }
}
