//! One line of the access log, written by hand onto a buffer: as text or as JSON.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::Level;

use super::access_log::Format;
use crate::net::meter::Lapse;
use crate::target::{Host, Target};
use crate::wire::decimal;

/// The name of a value with everything that stands around it.
pub(super) struct Key {
    pub(super) text: &'static str,
    pub(super) json: &'static str,
}

/// The [`Key`] of a name.
macro_rules! key {
    ($name:literal) => {
        crate::proxy::log_line::Key {
            text: concat!(" ", $name, "="),
            json: concat!(",\"", $name, "\":"),
        }
    };
}
pub(super) use key;

/// A usual line, so that the buffer grows once for it.
const USUAL: usize = 512;

/// A line under way.
pub(super) struct Line<'o> {
    out: &'o mut Vec<u8>,
    format: Format,
}

impl<'o> Line<'o> {
    /// Time, level, and what it is about.
    pub(super) fn begin(out: &'o mut Vec<u8>, format: Format, level: Level) -> Self {
        out.reserve(USUAL);
        let mut line = Self { out, format };
        let level = level.as_str();
        match format {
            Format::Text => {
                line.time();
                line.put(if level.len() < 5 { "  " } else { " " });
                line.put(level);
                line.put(" request");
            }
            Format::Json => {
                line.put("{\"time\":\"");
                line.time();
                line.put("\",\"level\":\"");
                line.put(level);
                line.put("\",\"message\":\"request\"");
            }
        }
        line
    }

    /// The line end.
    pub(super) fn end(mut self) {
        self.put(match self.format {
            Format::Text => "\n",
            Format::Json => "}\n",
        });
    }

    pub(super) fn number(&mut self, key: &Key, number: Option<u64>) {
        self.key(key);
        match number {
            Some(number) => decimal::digits(self.out, number),
            None => self.nothing(),
        }
    }

    /// In milliseconds.
    pub(super) fn lapse(&mut self, key: &Key, lapse: Option<Lapse>) {
        self.key(key);
        let Some(lapse) = lapse else { return self.nothing() };
        let tenths = u64::from(lapse.tenths());
        decimal::digits(self.out, tenths / 10);
        self.put(".");
        decimal::digits(self.out, tenths % 10);
    }

    pub(super) fn address(&mut self, key: &Key, address: Option<SocketAddr>) {
        self.key(key);
        let Some(address) = address else { return self.nothing() };
        self.quoted(|out| {
            decimal::host(out, &Host::Ip(address.ip()));
            out.push(b':');
            decimal::digits(out, address.port().into());
        });
    }

    pub(super) fn ip(&mut self, key: &Key, ip: Option<IpAddr>) {
        self.key(key);
        let Some(ip) = ip else { return self.nothing() };
        self.quoted(|out| decimal::ip(out, ip));
    }

    /// A target has no byte that could break out of its field.
    pub(super) fn target(&mut self, key: &Key, target: Option<&Target>) {
        self.key(key);
        let Some(target) = target else { return self.nothing() };
        self.quoted(|out| decimal::target(out, target));
    }

    /// A value that can't break out of its field: white space, quotes and controls are escaped.
    pub(super) fn text(&mut self, key: &Key, text: Option<&str>) {
        self.key(key);
        let Some(text) = text else { return self.nothing() };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte);
        if !text.is_empty() && text.bytes().all(plain) {
            return self.quoted(|out| out.extend_from_slice(text.as_bytes()));
        }
        // Writing to memory cannot fail.
        let _infallible = match self.format {
            Format::Text => write!(self.out, "{text:?}"),
            Format::Json => write!(self.out, "{}", serde_json::Value::from(text)),
        };
    }

    fn key(&mut self, key: &Key) {
        self.put(match self.format {
            Format::Text => key.text,
            Format::Json => key.json,
        });
    }

    fn nothing(&mut self) {
        self.put(match self.format {
            Format::Text => "-",
            Format::Json => "null",
        });
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.format == Format::Text {
            return write(self.out);
        }
        self.put("\"");
        write(self.out);
        self.put("\"");
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The time to the millisecond. All but that is the same for a second and kept by the thread.
    fn time(&mut self) {
        thread_local! {
            static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut second, mut text) = SECOND.get();
        if second != now.as_secs() {
            second = now.as_secs();
            let whole = UNIX_EPOCH + Duration::from_secs(second);
            let shown = humantime::format_rfc3339_seconds(whole).to_string();
            for (to, from) in text.iter_mut().zip(shown.bytes()) {
                *to = from;
            }
            SECOND.set((second, text));
        }
        self.out.extend_from_slice(&text);
        let millis = now.subsec_millis();
        let digit = |value: u32| b'0' + (value % 10) as u8;
        let point = [b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z'];
        self.out.extend_from_slice(&point);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tracing::Level;

    use super::{Format, Line};

    #[test]
    fn the_time_is_now_to_the_millisecond() {
        for _ in 0..50 {
            let before = SystemTime::now() - Duration::from_millis(1);
            let mut out = Vec::new();
            Line::begin(&mut out, Format::Text, Level::WARN).end();
            let text = String::from_utf8(out).unwrap();
            let (time, rest) = text.split_at(24);
            assert_eq!(rest, "  WARN request\n");
            let time = humantime::parse_rfc3339(time).unwrap();
            assert!(before <= time && time <= SystemTime::now(), "{text}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}
