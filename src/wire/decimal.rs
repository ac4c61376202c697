//! Numbers and addresses as text, appended by hand: they are in every head and every line of the
//! log, and the formatting machinery costs ten times as much.

use std::io::Write as _;
use std::net::IpAddr;

use crate::target::{Host, Target};

/// Appends `number`.
pub fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(start..).unwrap_or_default());
}

/// Appends `ip`.
pub fn ip(out: &mut Vec<u8>, ip: IpAddr) {
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
            // Writing to memory cannot fail.
            let _infallible = write!(out, "{ip}");
        }
    }
}

/// Appends the host of a URI authority: an IPv6 address stands in brackets (RFC 3986 §3.2.2).
pub fn host(out: &mut Vec<u8>, host: &Host) {
    match host {
        Host::Name(name) => out.extend_from_slice(name.as_bytes()),
        Host::Ip(address @ IpAddr::V4(_)) => ip(out, *address),
        Host::Ip(address @ IpAddr::V6(_)) => {
            out.push(b'[');
            ip(out, *address);
            out.push(b']');
        }
    }
}

/// Appends `host:port`.
pub fn target(out: &mut Vec<u8>, target: &Target) {
    host(out, &target.host);
    out.push(b':');
    digits(out, target.port.get().into());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{digits, target};
    use crate::target::{Host, Target};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn everything_looks_as_display_shows_it(
            number in any::<u64>(),
            ip in any::<std::net::IpAddr>(),
            port in any::<std::num::NonZeroU16>(),
        ) {
            prop_assert_eq!(written(|out| digits(out, number)), number.to_string());
            for host in [Host::Ip(ip), Host::Name("a.example".into())] {
                let where_to = Target { host, port };
                prop_assert_eq!(written(|out| target(out, &where_to)), where_to.to_string());
            }
        }
    }

    #[test]
    fn the_largest_and_the_smallest_number() {
        assert_eq!(written(|out| digits(out, 0)), "0");
        assert_eq!(written(|out| digits(out, u64::MAX)), u64::MAX.to_string());
    }
}
