//! Events one by one: whether something on the way holds them back.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use serde::Deserialize;

use super::super::through::entry::Duplex;
use super::super::{Context, Measured};
use super::ask::{Content, asked, end_of, entered, get, limited};
use crate::diag::fact::{Data, End, Event, How, Status, Streaming};

/// Enough to tell a rhythm; together half a second.
const EVENTS: u32 = 6;
const INTERVAL_MS: u64 = 100;

/// From the connection to the last event.
const LIMIT: Duration = Duration::from_secs(3);

/// Of an event, which is short.
const LONGEST_LINE: usize = 1024;

/// On a connection of its own.
pub(in super::super) async fn run(proxy: SocketAddr, context: &Context) -> Measured {
    let mut streaming = Streaming {
        interval_ms: INTERVAL_MS,
        wanted: EVENTS,
        events: Vec::new(),
        end: End::Unfinished,
        status: None,
    };
    let listening = async {
        let mut entry = entered(proxy, context).await?;
        listen(&mut *entry.stream, &mut streaming, context).await.map_err(end_of)
    };
    let end = limited(LIMIT, context, listening).await.unwrap_or_else(|end| end);
    streaming.end = end;
    let status = if end == End::Answered { Status::Worked } else { Status::Failed };
    (status, Some(Data::Streaming(streaming)))
}

async fn listen(
    stream: &mut (dyn Duplex + '_),
    streaming: &mut Streaming,
    context: &Context,
) -> Result<End, How> {
    let path = format!("/stream?events={EVENTS}&interval_ms={INTERVAL_MS}");
    let mut head = asked(stream, &get(&path, context)).await?;
    if head.status != 200 {
        streaming.status = Some(head.status);
        return Ok(End::Closed);
    }
    let mut body = Content::of(&mut head);
    let mut lines = Lines::default();
    while let Some(piece) = body.next(stream).await? {
        let came_ms = millis(head.first.elapsed());
        lines.received.extend_from_slice(&piece);
        while let Some(sent_ms) = lines.event() {
            streaming.events.push(Event { sent_ms, came_ms });
            if streaming.events.len() == EVENTS as usize {
                return Ok(End::Answered);
            }
        }
    }
    Ok(End::Closed)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A stream of events as it comes (WHATWG HTML §9.2.5).
#[derive(Debug, Default)]
struct Lines {
    received: BytesMut,
}

#[derive(Deserialize)]
struct Sent {
    at_ms: u64,
}

impl Lines {
    /// When the next event was sent, by what it says. Lines that are no event of ours are passed
    /// over.
    fn event(&mut self) -> Option<u64> {
        while let Some(end) = memchr(b'\n', &self.received) {
            let line = self.received.split_to(end);
            self.received.advance(1);
            let data = line.strip_prefix(b"data:");
            let sent = data.and_then(|data| serde_json::from_slice::<Sent>(data).ok());
            if let Some(Sent { at_ms }) = sent {
                return Some(at_ms);
            }
        }
        if self.received.len() > LONGEST_LINE {
            self.received.clear();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{LONGEST_LINE, Lines};

    fn all(bytes: &[u8], piece: usize) -> Vec<u64> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            lines.received.extend_from_slice(piece);
            found.extend(std::iter::from_fn(|| lines.event()));
        }
        found
    }

    #[test]
    fn only_our_events_count() {
        let text = b": hi\r\nid: 1\ndata: {\"at_ms\":1}\r\n\n\ndata:{\"event\":2,\"at_ms\":2}\n\n\
            data: {\"at_ms\":-3}\ndata: [[[\ndata: \xff\nDATA: {\"at_ms\":4}\ndata: {\"at_ms\":5}";
        assert_eq!(all(text, text.len()), [1, 2]);
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(times in proptest::collection::vec(any::<u64>(), 0..9), piece in 1_usize..99) {
            let text = times.iter().map(|at| format!("data: {{\"at_ms\":{at}}}\n\n"));
            let text = text.collect::<Vec<_>>().concat();
            prop_assert_eq!(all(text.as_bytes(), piece), times);
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut lines = Lines::default();
            lines.received.extend_from_slice(&bytes);
            while lines.event().is_some() {}
            prop_assert!(lines.received.len() <= LONGEST_LINE);
        }
    }
}
