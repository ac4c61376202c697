//! A tunnel that is silent for a while, as LLM streams are.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep};

use super::super::through::entry::{Duplex, how_of, within};
use super::super::{Context, Measured, micros};
use super::ask::{ECHO, asked, connect, end_of, entered, over, say};
use crate::diag::fact::{Data, End, How, Idle, Status};

/// For the tunnel and the first word.
const BEFORE: Duration = Duration::from_secs(5);

/// For the word after the silence.
const AFTER: Duration = Duration::from_secs(5);

/// One tunnel. The silence and all may take longer than any other check: whoever asks for it gives
/// the run that time.
pub(in super::super) async fn run(proxy: SocketAddr, context: &Context) -> Measured {
    let seconds = context.ask.asked.idle_s.unwrap_or_default();
    let mut idle = Idle {
        seconds,
        before: End::Unfinished,
        after: None,
        echo_us: None,
        ended_after_ms: None,
        status: None,
    };
    tokio::select! {
        biased;
        () = over(context) => {}
        () = examine(proxy, &mut idle, context) => {}
    }
    let well = idle.before == End::Answered && idle.after == Some(End::Answered);
    (if well { Status::Worked } else { Status::Failed }, Some(Data::Idle(idle)))
}

async fn examine(proxy: SocketAddr, idle: &mut Idle, context: &Context) {
    let entry = match entered(proxy, context).await {
        Ok(entry) => entry,
        Err(end) => {
            idle.before = end;
            return;
        }
    };
    let mut stream = entry.stream;
    let opened = within(Instant::now() + BEFORE, open(&mut *stream, context)).await;
    let mut rest = match opened {
        Ok(Opened::Tunnel(rest)) => rest,
        Ok(Opened::Refused(status)) => {
            (idle.before, idle.status) = (End::Closed, Some(status));
            return;
        }
        Err(how) => {
            idle.before = end_of(how);
            return;
        }
    };
    idle.before = End::Answered;
    // What stays when time is over.
    idle.after = Some(End::Unfinished);
    let begun = Instant::now();
    tokio::select! {
        how = ended(&mut *stream) => {
            idle.ended_after_ms = u64::try_from(begun.elapsed().as_millis()).ok();
            idle.after = Some(end_of(how));
            return;
        }
        () = sleep(Duration::from_secs(idle.seconds)) => {}
    }
    let begun = Instant::now();
    match within(begun + AFTER, echo(&mut *stream, &mut rest)).await {
        Ok(()) => {
            idle.echo_us = Some(micros(begun.elapsed()));
            idle.after = Some(End::Answered);
        }
        Err(how) => idle.after = Some(end_of(how)),
    }
}

enum Opened {
    /// With what has come through it.
    Tunnel(BytesMut),
    Refused(u16),
}

/// Asks for the tunnel and says the first word.
async fn open(stream: &mut (dyn Duplex + '_), context: &Context) -> Result<Opened, How> {
    let head = asked(stream, &connect(ECHO, context)).await?;
    if !(200..300).contains(&head.status) {
        return Ok(Opened::Refused(head.status));
    }
    let mut rest = head.rest;
    echo(stream, &mut rest).await?;
    Ok(Opened::Tunnel(rest))
}

/// Says a word that nobody can guess, and hears it.
async fn echo(stream: &mut (dyn Duplex + '_), received: &mut BytesMut) -> Result<(), How> {
    let mut word = [0; 16];
    // Without random numbers an echo is still one.
    let _guessable = SystemRandom::new().fill(&mut word);
    say(stream, &word).await;
    while received.len() < word.len() {
        hear(stream, received).await?;
    }
    if received.split_to(word.len()) == word[..] { Ok(()) } else { Err(How::Malformed) }
}

/// How a tunnel ended in its silence. What comes unasked is no echo.
async fn ended(stream: &mut (dyn Duplex + '_)) -> How {
    let mut unasked = BytesMut::with_capacity(1);
    match hear(stream, &mut unasked).await {
        Ok(()) => How::Malformed,
        Err(how) => how,
    }
}

async fn hear(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    received: &mut BytesMut,
) -> Result<(), How> {
    match stream.read_buf(received).await {
        Ok(0) => Err(How::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(how_of(&error)),
    }
}
