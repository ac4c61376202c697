//! Requests that differ in one thing.
//!
//! A name that somebody on the way minds is not asked for more often than it takes to know: who
//! minds it may stop answering at all for some minutes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::super::path::exchange::client_hello;
use super::super::path::hello::nonce;
use super::super::through::entry::{Entry, how_of};
use super::super::through::message::head;
use super::super::{Context, Measured, micros};
use super::ask::{ECHO, connect, end_of, entered, limited, say};
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Data, End, Hello, How, Skip, Stage, Status, Trial, Trials, Trick};
use crate::net::unacked::unacknowledged;
use crate::target::{Host, Target};

/// For each, its connection included.
const LIMIT: Duration = Duration::from_secs(4);

/// A tunnel that stands within this needs no trick.
const PROMPT: Duration = Duration::from_secs(1);

/// Between the two halves of a request line, when the first is not acknowledged before.
const BREATH: Duration = Duration::from_millis(50);

/// Of names that nobody minds, one that is in every resolver's cache (RFC 2606 §3).
const OTHER: &str = "example.com";

/// Three to five connections.
pub(in super::super) async fn run(proxy: SocketAddr, context: &Context) -> Measured {
    if context.ask.asked.scheme == Scheme::Socks5 {
        return (Status::Skipped(Skip::NoProxy), None);
    }
    let way = (proxy, context);
    let wanted = context.ask.asked.targets.first().and_then(|url| Wanted::of(url));
    let neutral = connect(&neutral_name(context), context);
    let (origin, neutral, wanted) = tokio::join!(
        trial(Trick::OriginForm, Words::whole(origin_form(proxy)), way),
        trial(Trick::NeutralName, Words::whole(neutral), way),
        of_wanted(wanted, way),
    );
    let mut trials = vec![origin, neutral];
    trials.extend(wanted);
    let well = trials.iter().all(|trial| trial.end == End::Answered);
    let status = if well { Status::Worked } else { Status::Failed };
    (status, Some(Data::Trials(Trials { trials })))
}

/// Nothing in it that a proxy would be asked, not even who we are.
fn origin_form(proxy: SocketAddr) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n").into_bytes()
}

fn neutral_name(context: &Context) -> String {
    let ours = |(_, hello): (_, &Hello)| hello.nonce_returned == Some(true);
    if context.evidence.hello().is_some_and(ours) {
        ECHO.to_owned()
    } else {
        // RFC 6761 §6.4: this name never exists.
        format!("{}.invalid:443", nonce())
    }
}

/// A target.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    authority: String,
    /// Of the host in it.
    length: usize,
    /// What a `ClientHello` for it would name.
    name: Option<String>,
}

impl Wanted {
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let secure = scheme.eq_ignore_ascii_case("https");
        let target = if secure {
            Target::from_https_authority(authority)
        } else {
            Target::from_http_authority(authority)
        };
        let authority = target.as_ref().ok()?.to_string();
        let length = authority.rfind(':')?;
        let name = match target.ok()?.host {
            Host::Name(name) if secure => Some(name.into()),
            Host::Name(_) | Host::Ip(_) => None,
        };
        Some(Self { authority, length, name })
    }
}

/// The trials that name the target, as far as they tell something.
async fn of_wanted(wanted: Option<Wanted>, way: Way<'_>) -> Vec<Trial> {
    let Some(wanted) = wanted else { return Vec::new() };
    let words = connect(&wanted.authority, way.1);
    let split = trial(Trick::SplitLine, Words::split(&words, wanted.length), way);
    let whole = trial(Trick::WantedName, Words::whole(words), way);
    tokio::pin!(whole, split);
    let prompt = tokio::select! {
        first = &mut whole => Some(first),
        () = sleep(PROMPT) => None,
    };
    let mut trials = match prompt {
        Some(first) if is_minded(&first) => vec![first, split.await],
        Some(first) => vec![first],
        None => tokio::select! {
            first = &mut whole => {
                if is_minded(&first) { vec![first, split.await] } else { vec![first] }
            }
            split = &mut split => vec![whole.await, split],
        },
    };
    let stands = trials.first().and_then(|it| it.status).is_some_and(|it| (200..300).contains(&it));
    if let Some(name) = wanted.name.filter(|_| stands) {
        let hello = |name| Words {
            pieces: vec![connect(&wanted.authority, way.1)],
            hello: client_hello(name),
        };
        let (ours, other) = tokio::join!(
            trial(Trick::WantedSni, hello(&name), way),
            trial(Trick::OtherSni, hello(OTHER), way),
        );
        trials.extend([ours, other]);
    }
    trials
}

/// Whether somebody may mind the name: it was not answered, and it might have been.
fn is_minded(trial: &Trial) -> bool {
    match trial.end {
        End::Answered => trial.status.is_none(),
        End::Closed | End::Reset | End::Silent => true,
        End::NoConnection | End::Unfinished => false,
    }
}

/// What is said on one connection.
#[derive(Debug)]
struct Words {
    /// One after the other.
    pieces: Vec<Vec<u8>>,
    /// And then through the tunnel.
    hello: Option<Vec<u8>>,
}

impl Words {
    fn whole(words: Vec<u8>) -> Self {
        Self { pieces: vec![words], hello: None }
    }

    /// A `CONNECT` to a host of `length` bytes, which are in no piece together: neither where the
    /// request line has them nor in `Host`.
    fn split(words: &[u8], length: usize) -> Self {
        let mut pieces = Vec::new();
        let mut rest = words;
        for before in [&b"CONNECT "[..], b"Host: "] {
            let start = rest.windows(before.len()).position(|it| it == before);
            let cut = start.map_or(0, |start| start + before.len() + length / 2);
            let (piece, after) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces.push(rest.to_vec());
        Self { pieces, hello: None }
    }
}

/// To whom, and what else is known.
type Way<'c> = (SocketAddr, &'c Context);

/// Several are on their way at once: each is a block of its own.
fn trial(trick: Trick, words: Words, way: Way<'_>) -> impl Future<Output = Trial> + Send {
    Box::pin(one(trick, words, way))
}

async fn one(trick: Trick, words: Words, (proxy, context): Way<'_>) -> Trial {
    let begun = Instant::now();
    let stage = words.hello.is_some().then_some(Stage::Proxy);
    let mut trial = Trial {
        trick,
        end: End::Unfinished,
        stage,
        status: None,
        acknowledged: None,
        elapsed_us: 0,
    };
    let entered = limited(LIMIT, context, entered(proxy, context)).await;
    trial.end = match entered {
        Err(end) => end,
        Ok(mut entry) => {
            let left = LIMIT.saturating_sub(begun.elapsed());
            let done = limited(left, context, talk(&mut entry, &words, &mut trial)).await;
            let end = done.err().unwrap_or(End::Answered);
            if end == End::Silent {
                trial.acknowledged = is_acknowledged(entry.ends);
            }
            end
        }
    };
    trial.elapsed_us = micros(begun.elapsed());
    trial
}

fn is_acknowledged((local, peer): (SocketAddr, SocketAddr)) -> Option<bool> {
    unacknowledged(local, peer).map(|bytes| bytes == 0)
}

async fn talk(entry: &mut Entry, words: &Words, trial: &mut Trial) -> Result<(), End> {
    for (number, piece) in words.pieces.iter().enumerate() {
        if number > 0 {
            breathe(entry.ends).await;
        }
        say(&mut *entry.stream, piece).await;
    }
    let head = match head(&mut *entry.stream).await {
        Ok(head) => head,
        // Bytes came, whatever they are.
        Err(How::Malformed) => return Ok(()),
        Err(how) => return Err(end_of(how)),
    };
    trial.status = Some(head.status);
    let Some(hello) = words.hello.as_ref().filter(|_| (200..300).contains(&head.status)) else {
        return Ok(());
    };
    trial.stage = Some(Stage::TargetTls);
    if !head.rest.is_empty() {
        return Ok(());
    }
    say(&mut *entry.stream, hello).await;
    match entry.stream.read(&mut [0]).await {
        Ok(0) => Err(End::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(end_of(how_of(&error))),
    }
}

/// Until what was said has arrived, so that the next piece is a packet of its own.
async fn breathe(ends: (SocketAddr, SocketAddr)) {
    let until = Instant::now() + BREATH;
    while Instant::now() < until && is_acknowledged(ends) != Some(true) {
        sleep(BREATH / 10).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, Words};

    #[test]
    fn a_name_is_whole_in_no_piece() {
        for host in ["www.example.org", "a", "198.51.100.7", "[2001:db8::7]", "CONNECT"] {
            let words = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nX: y\r\n\r\n");
            let split = Words::split(words.as_bytes(), host.len());
            assert_eq!(split.pieces.concat(), words.as_bytes());
            assert_eq!(split.pieces.len(), 3);
            if host.len() > 1 && host != "CONNECT" {
                for piece in &split.pieces {
                    assert!(!String::from_utf8_lossy(piece).contains(host), "{split:?}");
                }
            }
        }
        assert_eq!(Words::split(b"x", 5).pieces.concat(), b"x");
        assert_eq!(Words::split(b"CONNECT x", 500).pieces.concat(), b"CONNECT x");
    }

    #[test]
    fn a_target_is_what_its_url_names() {
        let cases = [
            ("https://A.example/x?y#z", "a.example:443", Some("a.example")),
            ("HTTPS://a.example:8443", "a.example:8443", Some("a.example")),
            ("http://a.example?x", "a.example:80", None),
            ("https://198.51.100.7/", "198.51.100.7:443", None),
            ("https://[2001:db8::7]:99/", "[2001:db8::7]:99", None),
        ];
        for (url, authority, name) in cases {
            let wanted = Wanted::of(url).unwrap();
            assert_eq!((&*wanted.authority, wanted.name.as_deref()), (authority, name));
            let host = authority.rsplit_once(':').unwrap().0;
            assert_eq!(wanted.length, host.len());
        }
        for url in ["", "a.example", "https://", "https:///x", "https://u@a.example/"] {
            assert_eq!(Wanted::of(url), None, "{url}");
        }
    }
}
