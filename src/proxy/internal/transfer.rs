//! Bytes for their own sake: down, up, in time, and back.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::ServiceError;
use crate::net::leg::receive;
use crate::net::relay::{Ended, Side};
use crate::proxy::access_log::Record;
use crate::proxy::connection::Client;
use crate::proxy::pump::{Thrown, Unread, discard};
use crate::proxy::reply;
use crate::proxy::stop::Stop;
use crate::wire::http1::framing::Body;

/// For a whole transfer: 64 MiB at 5 Mbit/s.
const LIMIT: Duration = Duration::from_secs(120);

/// Written at once.
const BLOCK: usize = 16 * 1024;

/// Bytes that nothing on the way can compress, the same in each block.
fn block() -> &'static [u8; BLOCK] {
    static BYTES: OnceLock<[u8; BLOCK]> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = [0x55; BLOCK];
        // Without random numbers they are merely compressible.
        let _filled = SystemRandom::new().fill(&mut bytes);
        bytes
    })
}

/// Sends `head` and `count` bytes.
///
/// # Errors
///
/// The client is gone, or took too long.
pub async fn bytes(client: &mut Client, head: &[u8], count: u64) -> io::Result<()> {
    let sending = async {
        client.leg.write_all(head).await?;
        let mut left = count;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            client.leg.write_all(block().get(..part).unwrap_or_default()).await?;
            left -= part as u64;
        }
        client.leg.flush().await
    };
    timeout(LIMIT, sending).await?
}

/// Reads a body of at most `most` bytes and throws it away; tells in JSON how many there were and
/// how long they took.
///
/// # Errors
///
/// [`Stop`]; then nobody knows where the next request begins.
pub async fn sink(client: &mut Client, body: Body, most: u64) -> Result<String, Stop> {
    if matches!(body, Body::Length(length) if length > most) {
        return Err(Stop::Service(ServiceError::TooLarge));
    }
    let start = Instant::now();
    let mut received = 0;
    let within = |piece: Thrown| {
        received += piece.payload;
        received <= most
    };
    match timeout(LIMIT, discard(client, body, within)).await {
        Ok(Ok(())) => {}
        Ok(Err(Unread::TooLong)) => return Err(Stop::Service(ServiceError::TooLarge)),
        Ok(Err(Unread::Malformed)) => return Err(Stop::Chunk),
        Ok(Err(Unread::Truncated)) | Err(_) => return Err(Stop::HeadTimeout),
    }
    Ok(json!({ "received": received, "ms": start.elapsed().as_millis() }).to_string())
}

/// Sends `head` and then `count` events, one each `interval`, each at once. They say when they
/// were sent: whoever gets them in one piece knows that something on the way holds them back.
///
/// # Errors
///
/// The client is gone.
pub async fn stream(
    client: &mut Client,
    head: &[u8],
    (count, interval): (u32, Duration),
    coding: reply::Coding,
) -> io::Result<()> {
    client.send(head).await?;
    let start = Instant::now();
    for number in 1..=count {
        if number > 1 {
            sleep(interval).await;
        }
        let at = start.elapsed().as_millis();
        let event = format!("data: {{\"event\":{number},\"of\":{count},\"at_ms\":{at}}}\n\n");
        let out = match coding {
            reply::Coding::Chunked => format!("{:x}\r\n{event}\r\n", event.len()),
            reply::Coding::UntilClose => event,
        };
        timeout(LIMIT, client.send(out.as_bytes())).await??;
    }
    match coding {
        reply::Coding::Chunked => client.send(b"0\r\n\r\n").await,
        reply::Coding::UntilClose => Ok(()),
    }
}

/// Sends back what comes (RFC 862), until `most` bytes or the client's end.
pub async fn echo(mut client: Client, most: u64, mut record: Record) {
    record.opened();
    let mut count = 0;
    let ended = loop {
        if !client.buffer.is_empty() {
            let left = usize::try_from(most - count).unwrap_or(usize::MAX);
            let length = client.buffer.len().min(left);
            count += length as u64;
            record.meter.add_up(length);
            let bytes = client.buffer.split_to(length);
            if !matches!(timeout(LIMIT, client.send(&bytes)).await, Ok(Ok(()))) {
                break Ended::Reset(Side::Client);
            }
            record.meter.add_down(length);
        }
        if count == most {
            break Ended::Fin(Side::Target);
        }
        match receive(&mut client.leg, &mut client.buffer).await {
            Ok(0) => break Ended::Fin(Side::Client),
            Ok(_) => {}
            Err(_) => break Ended::Reset(Side::Client),
        }
    };
    record.ended(ended);
    drop(record);
    client.close().await;
}
