//! A request to a target, phase by phase, once or several times.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::super::{Context, Measured};
use super::body::body;
use super::direct::reach;
use super::entry::{Duplex, Entry, enter};
use super::goal::Goal;
use super::message::{Head, head_into};
use super::reply::{clock, is_refusal, proxy_reply, retry_after};
use super::secure::{Party, secure};
use super::tunnel::{credentials, tunnel};
use super::walk::{Trouble, Walk};
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Answer, Data, Failure, How, Journey, Lap, Stage, Status, Trip};

/// Before the end of the whole run, so that it is we who say that nothing came.
const MARGIN: Duration = Duration::from_millis(300);

/// Without a proxy, all in all: where a proxy is needed nothing comes, which need not be waited
/// for.
const DIRECT: Duration = Duration::from_secs(3);

/// One trip after another; without a proxy one only.
pub(in super::super) async fn run(
    target: &str,
    proxy: Option<SocketAddr>,
    context: &Context,
) -> Measured {
    let until = latest(context);
    let Some(goal) = Goal::parse(target) else {
        let trouble = Trouble::with(How::Malformed, "not an http or https URL".to_owned());
        let failure = Some(Walk::new(until, context).failed(Stage::Resolve, trouble));
        let trips = vec![Trip { failure, ..Trip::default() }];
        // Who wrote it may have written a password into it.
        return (Status::Failed, Some(Data::Journey(Journey { target: String::new(), trips })));
    };
    let asked = &context.ask.asked;
    let (until, repeats) = match proxy {
        None => (until.min(Instant::now() + DIRECT), 1),
        Some(_) if asked.targets.iter().any(|it| it == target) => (until, asked.repeats.max(1)),
        Some(_) => (until, 1),
    };
    let mut trips: Vec<Trip> = Vec::new();
    for _ in 0..repeats {
        let trip = trip(&goal, proxy, until, context).await;
        let hopeless = trip.answer.is_none() && trips.last().is_some_and(|it| it.answer.is_none());
        trips.push(trip);
        if hopeless || Instant::now() >= until || context.stop.is_cancelled() {
            break;
        }
    }
    let answered = trips.last().is_some_and(|it| it.answer.is_some());
    let status = if answered { Status::Worked } else { Status::Failed };
    (status, Some(Data::Journey(Journey { target: goal.shown, trips })))
}

/// When the last phase of a request has to be over.
pub(super) fn latest(context: &Context) -> Instant {
    context.deadline.checked_sub(MARGIN).unwrap_or(context.deadline)
}

async fn trip(goal: &Goal, proxy: Option<SocketAddr>, until: Instant, context: &Context) -> Trip {
    let mut trip = Trip::default();
    let mut walk = Walk::new(until, context);
    trip.failure = travel(&mut trip, (goal, proxy), (&mut walk, until), context).await.err();
    trip.laps = walk.laps;
    trip.peer = walk.ends.map(|(_, peer)| peer);
    trip
}

async fn travel(
    trip: &mut Trip,
    (goal, proxy): (&Goal, Option<SocketAddr>),
    (walk, until): (&mut Walk<'_>, Instant),
    context: &Context,
) -> Result<(), Failure> {
    let tunnelled = goal.secure || context.ask.asked.scheme == Scheme::Socks5;
    let stream = match proxy {
        None => reach(&goal.target, walk, context).await?,
        Some(proxy) => {
            let entry = at_proxy(trip, proxy, (walk, until), context).await?;
            if tunnelled {
                dig(trip, entry, goal, (walk, until), context).await?
            } else {
                entry.stream
            }
        }
    };
    let stream = if goal.secure {
        let party = (Party::Target, &goal.target.host);
        let (stream, certificate) = secure(stream, party, (walk, context)).await;
        trip.certificate = certificate;
        stream?
    } else {
        stream
    };
    let asks_proxy = proxy.is_some() && !tunnelled;
    let request = if asks_proxy {
        let credentials = credentials(&context.ask);
        let extra = credentials.map(|it| format!("Proxy-Authorization: {it}\r\n"));
        goal.request(&goal.shown, extra.as_deref().unwrap_or_default())
    } else {
        goal.request(&goal.path, "")
    };
    if asks_proxy {
        ask_proxy(trip, stream, &request, walk).await
    } else {
        ask(trip, stream, &request, walk).await
    }
}

async fn at_proxy(
    trip: &mut Trip,
    proxy: SocketAddr,
    (walk, until): (&mut Walk<'_>, Instant),
    context: &Context,
) -> Result<Entry, Failure> {
    match enter(proxy, until, context).await {
        Ok(mut entry) => {
            walk.laps.append(&mut entry.laps);
            walk.ends = Some(entry.ends);
            trip.proxy_certificate = entry.certificate.take();
            Ok(entry)
        }
        Err(no) => {
            walk.ends = (no.failure.stage != Stage::Connect).then_some((proxy, proxy));
            walk.laps = no.laps;
            trip.proxy_certificate = no.certificate;
            Err(no.failure)
        }
    }
}

async fn dig(
    trip: &mut Trip,
    entry: Entry,
    goal: &Goal,
    (walk, until): (&mut Walk<'_>, Instant),
    context: &Context,
) -> Result<Box<dyn Duplex>, Failure> {
    let dug = tunnel(entry, &goal.target, until, context).await;
    let (mut laps, stream) = match dug {
        Ok(tunnel) => {
            trip.proxy = tunnel.reply;
            (tunnel.entry.laps, Ok(tunnel.entry.stream))
        }
        Err(no) => {
            trip.proxy = no.reply;
            (no.laps, Err(no.failure))
        }
    };
    walk.laps.append(&mut laps);
    stream
}

/// To the target, through whatever.
async fn ask(
    trip: &mut Trip,
    mut stream: Box<dyn Duplex>,
    request: &[u8],
    walk: &mut Walk<'_>,
) -> Result<(), Failure> {
    let mut head = walk.lap(Stage::FirstByte, exchange(&mut stream, request)).await?;
    finish(trip, &mut stream, &mut head, walk).await
}

/// To the proxy, which asks the target or refuses.
async fn ask_proxy(
    trip: &mut Trip,
    mut stream: Box<dyn Duplex>,
    request: &[u8],
    walk: &mut Walk<'_>,
) -> Result<(), Failure> {
    let mut head = walk.lap(Stage::FirstByte, exchange(&mut stream, request)).await?;
    if !is_refusal(&head) {
        return finish(trip, &mut stream, &mut head, walk).await;
    }
    // What took so long was the proxy.
    if let Some(Lap { stage, .. }) = walk.laps.last_mut() {
        *stage = Stage::Proxy;
    }
    let mut reply = proxy_reply(&head);
    let read = walk.in_time(async { Ok(body(&mut stream, &mut head).await) }).await;
    reply.body = read.map(|(body, _)| body.beginning).unwrap_or_default();
    trip.proxy = Some(reply);
    Err(walk.failed(Stage::Proxy, How::Denied.into()))
}

async fn exchange(stream: &mut Box<dyn Duplex>, request: &[u8]) -> Result<Head, Trouble> {
    // Who takes no more may have said why.
    if stream.write_all(request).await.is_ok() {
        let _heard_soon = stream.flush().await.is_ok();
    }
    head_into(stream, &mut BytesMut::with_capacity(4096)).await
}

async fn finish(
    trip: &mut Trip,
    stream: &mut Box<dyn Duplex>,
    head: &mut Head,
    walk: &mut Walk<'_>,
) -> Result<(), Failure> {
    let mut answer = answer(head);
    let read = walk.lap(Stage::Body, async { Ok(body(stream, head).await) }).await;
    let trouble = match read {
        Ok((body, trouble)) => {
            answer.bytes = body.bytes;
            answer.body = body.beginning;
            trouble.map(|trouble| walk.failed(Stage::Body, trouble))
        }
        // That the time is over with a body on the way is no failure.
        Err(failure) => Some(failure).filter(|it| it.how != How::Silent),
    };
    trip.answer = Some(answer);
    trouble.map_or(Ok(()), Err)
}

fn answer(head: &Head) -> Answer {
    Answer {
        status: head.status,
        server: head.text("server"),
        location: head.text("location"),
        mitigated: head.text("cf-mitigated"),
        retry_after_s: retry_after(head),
        clock: clock(head),
        bytes: 0,
        body: String::new(),
    }
}
