//! Bytes to and from the proxy itself: how fast, and where they stop.

use std::net::SocketAddr;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::super::through::entry::{Duplex, Entry};
use super::super::through::message::head;
use super::super::{Context, Measured, micros};
use super::ask::{Content, NAME, end_of, entered, get, over, request, say};
use crate::diag::fact::{CheckId, Data, Direction, End, How, Status, Transfer};
use crate::net::unacked::unacknowledged;

/// What freezes does so after 12 to 34 KB; the rest is for the rate.
const WANTED: u64 = 256 * 1024;

/// Upward, where the kernel does not tell how much has arrived: less is sooner through.
const WANTED_UNSEEN: u64 = 64 * 1024;

/// Who says nothing for so long, or for four round trips, has stopped.
const PATIENCE: Duration = Duration::from_millis(2500);

/// After a download that was slow, what acknowledges an upload may stand behind the rest of it.
const PATIENCE_BEHIND: Duration = Duration::from_secs(4);

/// Upward, where the kernel does not tell how much has arrived.
const PATIENCE_UNSEEN: Duration = Duration::from_secs(6);

/// What flows for so long tells its rate.
const ENOUGH: Duration = Duration::from_secs(3);

/// For the connection and everything else.
const LIMIT: Duration = Duration::from_secs(8);

/// Written at once.
const PIECE: usize = 16 * 1024;

/// How often the kernel is asked. Of a connection that is reset the last answer counts.
const GLANCE: Duration = Duration::from_millis(50);

/// What the proxy says of an upload is short.
const LONGEST_ANSWER: usize = 4096;

/// On a connection of its own.
pub(in super::super) async fn run(
    proxy: SocketAddr,
    direction: Direction,
    context: &Context,
) -> Measured {
    let patience = patience(proxy, direction, context);
    let mut course = Course::new(direction, patience);
    let end = tokio::select! {
        biased;
        () = over(context) => End::Unfinished,
        () = sleep(context.capped(LIMIT)) => End::Unfinished,
        end = course.run(proxy, context) => end,
    };
    let status = if end == End::Answered { Status::Worked } else { Status::Failed };
    (status, Some(Data::Transfer(course.transfer(end))))
}

fn patience(proxy: SocketAddr, direction: Direction, context: &Context) -> Duration {
    let down = context.evidence.one::<Transfer>(CheckId::LinkDown);
    let slow = down.is_some_and(|(_, down)| down.end == End::Unfinished);
    let least = match direction {
        Direction::Up if slow => PATIENCE_BEHIND,
        Direction::Up | Direction::Down => PATIENCE,
    };
    least.max(context.round_trip(proxy) * 4)
}

/// A transfer as far as it has come.
#[derive(Debug)]
struct Course {
    direction: Direction,
    wanted: u64,
    moved: Option<u64>,
    status: Option<u16>,
    unacknowledged: Option<u64>,
    first: Option<Duration>,
    begun: Instant,
    last: Instant,
    longest: Duration,
    patience: Duration,
}

impl Course {
    fn new(direction: Direction, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            direction,
            wanted: WANTED,
            moved: Some(0),
            status: None,
            unacknowledged: None,
            first: None,
            begun: now,
            last: now,
            longest: Duration::ZERO,
            patience,
        }
    }

    async fn run(&mut self, proxy: SocketAddr, context: &Context) -> End {
        let Entry { mut stream, ends: (local, peer), .. } = match entered(proxy, context).await {
            Ok(entry) => entry,
            Err(end) => return end,
        };
        let done = match self.direction {
            Direction::Down => self.down(&mut *stream, context).await,
            Direction::Up => self.up(stream, || unacknowledged(local, peer), context).await,
        };
        done.unwrap_or_else(end_of)
    }

    /// Something was said for the first time, or something has moved.
    fn moves(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }

    /// Whether so much has moved, or so much time has passed, that the rate is known.
    fn suffices(&self) -> bool {
        self.last - self.begun >= ENOUGH
    }

    fn begin(&mut self) {
        self.begun = Instant::now();
        self.last = self.begun;
    }

    async fn stalls(last: Instant, patience: Duration) -> How {
        sleep_until(last + patience).await;
        How::Silent
    }

    async fn down(
        &mut self,
        stream: &mut (dyn Duplex + '_),
        context: &Context,
    ) -> Result<End, How> {
        let words = get(&format!("/bytes?n={WANTED}"), context);
        self.begin();
        say(stream, &words).await;
        let mut head = tokio::select! {
            head = head(stream) => head?,
            how = Self::stalls(self.last, self.patience) => return Err(how),
        };
        self.first = Some(head.first - self.begun);
        self.moves();
        if head.status != 200 {
            self.status = Some(head.status);
            return Ok(End::Closed);
        }
        let mut body = Content::of(&mut head);
        let mut moved = 0;
        while moved < self.wanted {
            let piece = tokio::select! {
                piece = body.next(stream) => piece?,
                how = Self::stalls(self.last, self.patience) => return Err(how),
            };
            let Some(piece) = piece else { return Ok(End::Closed) };
            moved += piece.len() as u64;
            self.moved = Some(moved.min(self.wanted));
            self.moves();
            if moved < self.wanted && self.suffices() {
                return Ok(End::Unfinished);
            }
        }
        Ok(End::Answered)
    }

    async fn up(
        &mut self,
        stream: Box<dyn Duplex>,
        outstanding: impl Fn() -> Option<u64>,
        context: &Context,
    ) -> Result<End, How> {
        if outstanding().is_none() {
            self.wanted = WANTED_UNSEEN;
            self.patience = self.patience.max(PATIENCE_UNSEEN);
        }
        let mut upload = Upload::new(self.wanted, context);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let answer = answer(&mut reader);
        tokio::pin!(answer);
        let mut glance = interval(GLANCE);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin();
        let told = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                () = upload.push(&mut writer), if !upload.is_out() => {}
                _ = glance.tick() => {
                    if upload.look(outstanding()) {
                        self.moves();
                    }
                }
                how = Self::stalls(self.last, self.patience) => break Err(how),
            }
            if self.suffices() {
                break Err(How::Unfinished);
            }
            (self.moved, self.unacknowledged) = (upload.arrived(), upload.outstanding);
        };
        if let Ok(Told { received: Some(received), .. }) = told {
            (self.moved, self.unacknowledged) = (Some(received), None);
        } else {
            upload.look(outstanding());
            (self.moved, self.unacknowledged) = (upload.arrived(), upload.outstanding);
        }
        let told = told?;
        self.moves();
        self.first = Some(told.first - self.begun);
        self.status = (told.status != 200).then_some(told.status);
        let all = told.received == Some(self.wanted);
        Ok(if all { End::Answered } else { End::Closed })
    }

    fn transfer(self, end: End) -> Transfer {
        let now = Instant::now();
        Transfer {
            direction: self.direction,
            wanted: self.wanted,
            moved: self.moved,
            end,
            elapsed_us: micros(now - self.begun),
            first_us: self.first.map(micros),
            longest_gap_us: micros(self.longest.max(now - self.last)),
            unacknowledged: self.unacknowledged,
            status: self.status,
        }
    }
}

/// What is to be said, and how far it has come.
#[derive(Debug)]
struct Upload {
    words: Vec<u8>,
    head: u64,
    written: usize,
    /// Something may still be held back on our side.
    flushing: bool,
    gone: bool,
    acknowledged: u64,
    outstanding: Option<u64>,
}

impl Upload {
    fn new(wanted: u64, context: &Context) -> Self {
        let line = format!("POST http://{NAME}/sink");
        let more = format!("Content-Length: {wanted}\r\nConnection: close\r\n");
        let mut words = request((&line, NAME), &more, context);
        let head = words.len();
        words.resize(head + usize::try_from(wanted).unwrap_or_default(), 0x55);
        // Without random numbers the bytes are merely compressible.
        let _filled = SystemRandom::new().fill(words.get_mut(head..).unwrap_or_default());
        Self {
            words,
            head: head as u64,
            written: 0,
            flushing: false,
            gone: false,
            acknowledged: 0,
            outstanding: None,
        }
    }

    /// Nothing more can be written.
    fn is_out(&self) -> bool {
        self.gone || (self.written == self.words.len() && !self.flushing)
    }

    /// Writes one more piece, or sees the last one off. Cancel safe.
    async fn push(&mut self, writer: &mut (impl AsyncWrite + Unpin)) {
        let rest = self.words.get(self.written..).unwrap_or_default();
        let done = if self.flushing {
            writer.flush().await.map(|()| 0)
        } else {
            writer.write(rest.get(..PIECE).unwrap_or(rest)).await
        };
        match done {
            Ok(count) => {
                self.flushing = !self.flushing;
                self.written += count;
            }
            // Whoever reads hears why.
            Err(_) => self.gone = true,
        }
    }

    /// Notes what the kernel says; whether more has arrived than before.
    fn look(&mut self, outstanding: Option<u64>) -> bool {
        let written = self.written as u64;
        let acknowledged = match outstanding {
            Some(outstanding) => written.saturating_sub(outstanding),
            // A connection that has ended is not known any more.
            None if self.outstanding.is_some() => return false,
            None => written,
        };
        self.outstanding = outstanding.or(self.outstanding);
        let more = acknowledged > self.acknowledged;
        self.acknowledged = self.acknowledged.max(acknowledged);
        more
    }

    /// Bytes of the body, as far as that can be known.
    fn arrived(&self) -> Option<u64> {
        self.outstanding.map(|_| self.acknowledged.saturating_sub(self.head))
    }
}

/// What the proxy says of an upload.
#[derive(Debug)]
struct Told {
    first: Instant,
    status: u16,
    received: Option<u64>,
}

#[derive(Deserialize)]
struct Received {
    received: u64,
}

async fn answer(reader: &mut (impl AsyncRead + Unpin)) -> Result<Told, How> {
    let mut head = head(reader).await?;
    let (first, status) = (head.first, head.status);
    if status != 200 {
        return Ok(Told { first, status, received: None });
    }
    let text = Content::of(&mut head).whole(reader, LONGEST_ANSWER).await?;
    let received: Option<Received> = serde_json::from_slice(&text).ok();
    Ok(Told { first, status, received: received.map(|it| it.received) })
}
