//! One line per request or tunnel, written when it ends, however it ends.
//!
//! The word "error" stands only in lines that are about one. A line never has a password, a header
//! field, a path or a query.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::Level;

use super::door::Door;
use super::log_line::{Line, key};
use super::reply::{Persist, status_of};
use super::stop::Stop;
use super::tally::{Count, Stage, Tally, Word};
use crate::failure::Failure;
use crate::journal::Journal;
use crate::net::meter::{Lapse, Meter};
use crate::net::relay::{Ended, Side};
use crate::target::Target;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where lines go, and how they look.
#[derive(Debug)]
pub struct AccessLog {
    /// The writer.
    pub journal: Journal,
    /// The look.
    pub format: Format,
    /// Which lines are written: those about an error always, requests from info on, health checks
    /// from debug on.
    pub level: Level,
    /// The sums of what they say.
    pub tally: Tally,
}

/// What a request came to. Fill it in on the way; dropping it writes the line.
///
/// Every open tunnel has one, so it is small: times are [`Lapse`]s, the usual methods are not on
/// the heap.
#[derive(Debug)]
pub struct Record {
    log: Arc<AccessLog>,
    /// Unique in this process.
    pub id: u64,
    /// Where the client is, as this proxy sees it.
    pub client: SocketAddr,
    /// How it came in.
    pub door: Door,
    /// Who it says it is, once that is proved.
    pub user: Option<Box<str>>,
    method: Cow<'static, str>,
    /// Where it wants to go.
    pub target: Option<Target>,
    /// The address that was dialed.
    pub dialed: Option<SocketAddr>,
    /// The address of ours that it was dialed from.
    pub egress: Option<IpAddr>,
    /// Time for the name.
    pub dns: Option<Lapse>,
    /// Time for the connection.
    pub connect: Option<Lapse>,
    /// Bytes, and the first of the target.
    pub meter: Meter,
    /// The status that the client got, where there is one.
    pub status: Option<u16>,
    is_tunnel: bool,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Nobody has said how it ended: the task was dropped in mid-air.
    Cut,
    Stopped(Word, Persist),
    Ended(Ended),
    /// The exchange is complete.
    Complete,
    /// Answered by the proxy itself.
    Own,
    /// The client broke off.
    ClientGone,
    /// The response was cut short.
    Failed(Failure),
}

impl Record {
    /// A record of a request that begins now.
    pub fn new(log: &Arc<AccessLog>, id: u64, (client, door): (SocketAddr, Door)) -> Self {
        Self {
            log: Arc::clone(log),
            id,
            client,
            door,
            user: None,
            method: "-".into(),
            target: None,
            dialed: None,
            egress: None,
            dns: None,
            connect: None,
            meter: Meter::new(Instant::now()),
            status: None,
            is_tunnel: false,
            outcome: Outcome::Cut,
        }
    }

    /// Notes the request method.
    pub fn set_method(&mut self, method: &str) {
        const USUAL: [&str; 7] = ["CONNECT", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"];
        let usual = USUAL.into_iter().find(|known| *known == method);
        self.method = usual.map_or_else(|| method.to_owned().into(), Cow::Borrowed);
    }

    /// A tunnel begins.
    pub fn opened(&mut self) {
        self.is_tunnel = true;
        self.log.tally.add(Count::Tunnels, 1);
    }

    /// Counts bytes that the meter has, or will have: up and down.
    pub fn passed(&self, up: u64, down: u64) {
        for (what, bytes) in [(Count::Up, up), (Count::Down, down)] {
            if bytes > 0 {
                self.log.tally.add(what, bytes);
            }
        }
    }

    /// The request was not served; the client was told, and may stay or not.
    pub fn stopped(&mut self, stop: &Stop, persist: Persist) {
        self.status = Some(status_of(stop).0);
        self.outcome = Outcome::Stopped(stop.word(), persist);
        if let Some(reason) = stop.reason() {
            self.log.tally.refused(reason);
        }
    }

    /// The tunnel ended.
    pub const fn ended(&mut self, ended: Ended) {
        self.outcome = Outcome::Ended(ended);
    }

    /// Request and response are complete.
    pub const fn complete(&mut self) {
        self.outcome = Outcome::Complete;
    }

    /// The proxy answered by itself and well. Written only when lines of level debug are: health
    /// checks come every few seconds.
    pub const fn own(&mut self) {
        self.status = Some(200);
        self.outcome = Outcome::Own;
    }

    /// The client broke off.
    pub const fn client_gone(&mut self) {
        self.outcome = Outcome::ClientGone;
    }

    /// The response broke off after its head had been passed on.
    pub const fn failed(&mut self, failure: Failure) {
        self.outcome = Outcome::Failed(failure);
    }

    fn verdict(&self) -> Verdict {
        match self.outcome {
            Outcome::Complete => Verdict::new(Word::Ok, "-"),
            Outcome::Own => Verdict::new(Word::OwnAnswer, "-"),
            Outcome::Ended(Ended::Fin(Side::Client)) => Verdict::new(Word::Ok, "client/fin"),
            Outcome::Ended(Ended::Fin(Side::Target)) => Verdict::new(Word::Ok, "target/fin"),
            Outcome::Ended(Ended::Reset(Side::Client)) | Outcome::ClientGone => {
                Verdict::new(Word::ClientGone, "client/rst")
            }
            Outcome::Ended(Ended::Reset(Side::Target)) => {
                Verdict::new(Word::Failed(Failure::ConnectionTerminated), "target/rst")
            }
            Outcome::Ended(Ended::TimedOut) => Verdict::new(Word::Idle, "proxy/timeout"),
            Outcome::Stopped(word, persist) => {
                let ended = if persist == Persist::Close { "proxy/fin" } else { "-" };
                Verdict::new(word, ended)
            }
            Outcome::Failed(failure) => Verdict::new(Word::Failed(failure), "target/fin"),
            Outcome::Cut if std::thread::panicking() => {
                Verdict::new(Word::Failed(Failure::ProxyInternalError), "proxy/rst")
            }
            Outcome::Cut => Verdict::new(Word::Cut, "proxy/drain"),
        }
    }

    fn count(&self, word: Word) {
        let tally = &self.log.tally;
        match self.outcome {
            Outcome::Complete => tally.add(Count::Requests, 1),
            Outcome::Stopped(..) => tally.add(Count::Refusals, 1),
            Outcome::Cut
            | Outcome::Own
            | Outcome::Ended(_)
            | Outcome::ClientGone
            | Outcome::Failed(_) => {}
        }
        if self.is_tunnel {
            tally.add(Count::TunnelsEnded, 1);
        }
        tally.outcome(self.door, word);
        let times = [
            (Stage::Dns, self.dns),
            (Stage::Connect, self.connect),
            (Stage::FirstByte, self.meter.first_byte()),
            (Stage::Total, Some(self.meter.age())),
        ];
        for (stage, time) in times {
            if let Some(time) = time {
                tally.took(stage, time);
            }
        }
    }

    fn write(&self, line: &mut Line<'_>, verdict: &Verdict) {
        line.number(&key!("id"), Some(self.id));
        line.address(&key!("client"), Some(self.client));
        line.text(&key!("door"), Some(self.door.word()));
        line.text(&key!("user"), self.user.as_deref());
        line.text(&key!("method"), Some(&self.method));
        line.target(&key!("target"), self.target.as_ref());
        line.address(&key!("dialed"), self.dialed);
        line.ip(&key!("egress"), self.egress);
        line.number(&key!("status"), self.status.map(u64::from));
        line.lapse(&key!("dns_ms"), self.dns);
        line.lapse(&key!("connect_ms"), self.connect);
        line.lapse(&key!("first_byte_ms"), self.meter.first_byte());
        line.lapse(&key!("total_ms"), Some(self.meter.age()));
        line.number(&key!("up"), Some(self.meter.up()));
        line.number(&key!("down"), Some(self.meter.down()));
        line.text(&key!("ended"), Some(verdict.ended));
        let key = if verdict.is_error() { &key!("error") } else { &key!("outcome") };
        line.text(key, Some(verdict.word.text()));
    }
}

struct Verdict {
    word: Word,
    /// By whom and how.
    ended: &'static str,
}

impl Verdict {
    const fn new(word: Word, ended: &'static str) -> Self {
        Self { word, ended }
    }

    const fn is_error(&self) -> bool {
        matches!(self.word, Word::Failed(_))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let verdict = self.verdict();
        self.count(verdict.word);
        let level = match (verdict.is_error(), self.outcome) {
            (true, _) => Level::ERROR,
            (false, Outcome::Own) => Level::DEBUG,
            (false, _) => Level::INFO,
        };
        if level <= self.log.level {
            self.log.journal.line(|out| {
                let mut line = Line::begin(out, self.log.format, level);
                self.write(&mut line, &verdict);
                line.end();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::{AccessLog, Format, Record};
    use crate::failure::Failure;
    use tracing::Level;

    use crate::journal::Journal;
    use crate::net::relay::{Ended, Side};
    use crate::proxy::door::Door;
    use crate::proxy::policy::Refusal;
    use crate::proxy::reply::Persist;
    use crate::proxy::stop::Stop;
    use crate::proxy::tally::Tally;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, fill: impl FnOnce(&mut Record)) -> String {
        let sink = Sink::default();
        let journal = Journal::start(sink.clone(), |_| String::new());
        let log =
            Arc::new(AccessLog { journal, format, level: Level::INFO, tally: Tally::default() });
        let mut record = Record::new(&log, 7, ("192.0.2.1:5".parse().unwrap(), Door::Http));
        fill(&mut record);
        drop(record);
        log.journal.written(std::time::Duration::from_secs(60));
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_word_error_stands_only_in_lines_about_one() {
        let fine: [fn(&mut Record); 6] = [
            |_| {},
            Record::complete,
            Record::client_gone,
            |record| record.ended(Ended::Fin(Side::Target)),
            |record| record.ended(Ended::TimedOut),
            |record| record.stopped(&Stop::CredentialsMissing, Persist::Keep),
        ];
        let bad: [fn(&mut Record); 4] = [
            |record| record.failed(Failure::HttpResponseIncomplete),
            |record| record.ended(Ended::Reset(Side::Target)),
            |record| record.stopped(&Stop::CredentialsWrong, Persist::Keep),
            |record| record.stopped(&Stop::Refused(Refusal::Stranger), Persist::Close),
        ];
        for format in [Format::Text, Format::Json] {
            for fill in fine {
                let line = logged(format, fill);
                assert!(!line.to_lowercase().contains("error"), "{line}");
            }
            for fill in bad {
                let line = logged(format, fill);
                assert!(line.contains("error"), "{line}");
            }
        }
    }

    #[test]
    fn a_value_cannot_forge_a_field_or_a_line() {
        let user = "eve\n2026 INFO \"x\" outcome=ok";
        let line = logged(Format::Text, |record| record.user = Some(user.into()));
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains(r#"user="eve\n2026 INFO \"x\" outcome=ok""#), "{line}");
        let line = logged(Format::Json, |record| record.user = Some(user.into()));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user"], user);
        assert_eq!(value["client"], "192.0.2.1:5");
        assert_eq!(value["dns_ms"], serde_json::Value::Null);
    }
}
