//! What the client is answered: HTTP/1.1 in, HTTP/2 frames out.

use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::head::Kind;
use super::reset;
use crate::wire::http1::body::{BodyScan, Piece};
use crate::wire::http1::fields::Fields;
use crate::wire::http1::framing::{Body, response_body};
use crate::wire::http1::head::{HeadScan, ResponseHead, parse_response, parse_trailers};

/// At most so much of one write is taken: h2 holds it until the connection takes it.
const LONGEST: usize = 64 * 1024;

/// What is of no meaning in HTTP/2 (RFC 9113 §8.2.2).
const CONNECTION_SPECIFIC: [&str; 6] =
    ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te"];

/// Lengths of a tunnel mean nothing (RFC 9110 §9.3.6), and nobody has asked for the proof that the
/// origin speaks WebSocket (RFC 8441 §5).
const NOT_OF_A_TUNNEL: [&str; 2] = ["content-length", "sec-websocket-accept"];

/// The answer, as far as it was written.
#[derive(Debug)]
pub(super) struct Answer {
    sender: Sender,
    state: State,
    /// An incomplete head or trailer section.
    held: BytesMut,
    kind: Kind,
}

/// Before the head of the final response, and then.
#[derive(Debug)]
enum Sender {
    Respond(SendResponse<Bytes>),
    Stream(SendStream<Bytes>),
}

#[derive(Debug)]
enum State {
    /// An interim head, or the final one.
    Head(HeadScan),
    /// `owed` bytes of payload come next; then ask `scan`, which knows of them.
    Body { scan: BodyScan, owed: usize },
    /// A tunnel, and whether we have ended it.
    Raw { ended: bool },
    /// `END_STREAM` is on its way.
    Complete,
    /// Shut down or broken before its end.
    Cut,
}

impl Answer {
    pub(super) fn new(respond: SendResponse<Bytes>, kind: Kind) -> Self {
        Self {
            sender: Sender::Respond(respond),
            state: State::Head(HeadScan::default()),
            held: BytesMut::new(),
            kind,
        }
    }

    /// Whether no final answer has begun.
    pub(super) const fn is_owed(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Whether it was answered to its end and is no tunnel.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Whether nothing follows any more: for the reader an HTTP/1.1 connection would be closed now.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Complete | State::Cut)
    }

    /// Whether it is a tunnel; and if so, whether we have ended it.
    pub(super) const fn tunnel(&self) -> Option<bool> {
        match self.state {
            State::Raw { ended } => Some(ended),
            State::Head(_) | State::Body { .. } | State::Complete | State::Cut => None,
        }
    }

    /// Resets the stream; nothing happens if it was reset already.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.sender {
            Sender::Respond(respond) => respond.send_reset(reason),
            Sender::Stream(stream) => stream.send_reset(reason),
        }
    }

    /// Ready with an error when the client has reset the stream or is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let outcome = match &mut self.sender {
            Sender::Respond(respond) => respond.poll_reset(cx),
            Sender::Stream(stream) => stream.poll_reset(cx),
        };
        outcome.map(|outcome| reset(outcome.map_or_else(|error| error, h2::Error::from)))
    }

    /// Takes what it can of `bytes`.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut rest = bytes.get(..LONGEST).unwrap_or(bytes);
        let all = rest.len();
        while !rest.is_empty() {
            match self.step(cx, rest) {
                Poll::Ready(Ok(used)) => rest = rest.get(used..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if rest.len() < all => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(all - rest.len()))
    }

    /// Ends a tunnel's half, or a body that ends with the connection.
    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Raw { ended: true } | State::Complete | State::Cut => return Ok(()),
            State::Raw { ended } => *ended = true,
            State::Body { scan, .. } if scan.ends_with_connection() => self.state = State::Complete,
            State::Head(_) | State::Body { .. } => {
                self.state = State::Cut;
                return Ok(());
            }
        }
        self.stream()?.send_data(Bytes::new(), true).map_err(reset)
    }

    /// One thing after the other; tells how many bytes it was made of.
    fn step(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Head(_) => Poll::Ready(self.head(cx, input)),
            State::Body { owed: 0, .. } => Poll::Ready(self.body(input)),
            State::Body { owed, .. } => {
                let wanted = input.get(..*owed).unwrap_or(input);
                let sent = ready!(self.send(cx, wanted))?;
                Poll::Ready(Ok(sent))
            }
            State::Raw { ended: false } => self.send(cx, input),
            // Nobody has asked for it.
            State::Complete => Poll::Ready(Ok(input.len())),
            State::Raw { ended: true } | State::Cut => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }

    /// Waits for window, and sends as much as there is.
    fn send(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.stream()?;
        stream.reserve_capacity(payload.len());
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(reset(error))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        let payload = payload.get(..stream.capacity()).unwrap_or(payload);
        let mut last = false;
        if let State::Body { scan, owed } = &mut self.state {
            *owed -= payload.len();
            last = *owed == 0 && scan.is_done();
        }
        self.stream()?.send_data(Bytes::copy_from_slice(payload), last).map_err(reset)?;
        if last {
            self.state = State::Complete;
        }
        Poll::Ready(Ok(payload.len()))
    }

    /// Framing, a trailer section, or the length of the payload to come.
    fn body(&mut self, input: &[u8]) -> io::Result<usize> {
        let State::Body { scan, owed } = &mut self.state else { return Ok(0) };
        let before = self.held.len();
        let advanced = if before == 0 {
            scan.advance(input)
        } else {
            self.held.extend_from_slice(input);
            scan.advance(&self.held)
        };
        match advanced {
            Ok(Piece::Bytes { consumed, payload }) => {
                *owed = payload.len();
                Ok(if payload.is_empty() { consumed } else { payload.start })
            }
            Ok(Piece::More) => {
                if before == 0 {
                    self.held.extend_from_slice(input);
                }
                Ok(input.len())
            }
            Ok(Piece::Trailers(length)) => {
                let held = mem::take(&mut self.held);
                let section = if before == 0 { input } else { &held };
                self.trailers(section.get(..length).unwrap_or_default())?;
                Ok(length - before)
            }
            Ok(Piece::End) => {
                self.state = State::Complete;
                Ok(input.len())
            }
            Err(_) => Err(self.malformed()),
        }
    }

    /// The end of a chunked body.
    fn trailers(&mut self, section: &[u8]) -> io::Result<()> {
        let fields = parse_trailers(section).map_err(|_| self.malformed())?;
        let fields = map(&fields, &[]).ok_or_else(|| self.malformed())?;
        let stream = self.stream()?;
        if fields.is_empty() {
            stream.send_data(Bytes::new(), true).map_err(reset)?;
        } else {
            stream.send_trailers(fields).map_err(reset)?;
        }
        self.state = State::Complete;
        Ok(())
    }

    /// Collects a head; tells how many bytes of `input` belong to it.
    fn head(&mut self, cx: &mut Context<'_>, input: &[u8]) -> io::Result<usize> {
        let State::Head(scan) = &mut self.state else { return Ok(0) };
        let before = self.held.len();
        self.held.extend_from_slice(input);
        match scan.advance(&self.held) {
            Ok(None) => Ok(input.len()),
            Ok(Some(length)) => {
                // Unless it is the final head, another follows.
                *scan = HeadScan::default();
                let bytes = mem::take(&mut self.held);
                let head = parse_response(bytes.get(..length).unwrap_or_default())
                    .map_err(|_| self.malformed())?;
                self.answer(cx, &head)?;
                Ok(length - before)
            }
            Err(_) => Err(self.malformed()),
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>, head: &ResponseHead<'_>) -> io::Result<()> {
        match (self.kind, head.status) {
            (Kind::WebSocket, 101) | (Kind::Connect, 200..=299) => {
                let fields = map(&head.fields, &NOT_OF_A_TUNNEL).ok_or_else(|| self.malformed())?;
                self.respond(200, fields, Body::UntilClose)?;
                self.state = State::Raw { ended: false };
                Ok(())
            }
            (_, 101) => Err(self.malformed()),
            (_, 100..=199) => self.interim(cx, head),
            _ => self.respond_finally(head),
        }
    }

    fn interim(&mut self, cx: &mut Context<'_>, head: &ResponseHead<'_>) -> io::Result<()> {
        // h2 would send it on a stream that is closed.
        if let Poll::Ready(error) = self.poll_reset(cx) {
            return Err(error);
        }
        let fields = map(&head.fields, &[]).ok_or_else(|| self.malformed())?;
        let response = response(head.status, fields).ok_or_else(|| self.malformed())?;
        match &mut self.sender {
            Sender::Respond(respond) => respond.send_informational(response).map_err(reset),
            Sender::Stream(_) => Err(self.malformed()),
        }
    }

    fn respond_finally(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
        let method = if self.kind == Kind::Head { "HEAD" } else { "GET" };
        let body = response_body(method, head.status, head.version, &head.fields)
            .map_err(|_| self.malformed())?;
        let fields = map(&head.fields, &[]).ok_or_else(|| self.malformed())?;
        // An origin that has not switched protocols; in HTTP/2 success says that it has
        // (RFC 8441 §4).
        let not_switched = self.kind == Kind::WebSocket && matches!(head.status, 200..=299);
        let status = if not_switched { 502 } else { head.status };
        self.respond(status, fields, body)?;
        self.state = if body == Body::Empty {
            State::Complete
        } else {
            State::Body { scan: BodyScan::new(body), owed: 0 }
        };
        Ok(())
    }

    fn respond(&mut self, status: u16, fields: HeaderMap, body: Body) -> io::Result<()> {
        let response = response(status, fields).ok_or_else(|| self.malformed())?;
        let Sender::Respond(respond) = &mut self.sender else { return Err(self.malformed()) };
        let sent = respond.send_response(response, body == Body::Empty).map_err(reset)?;
        self.sender = Sender::Stream(sent);
        Ok(())
    }

    fn stream(&mut self) -> io::Result<&mut SendStream<Bytes>> {
        match &mut self.sender {
            Sender::Stream(stream) => Ok(stream),
            Sender::Respond(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// What was written is no HTTP/1.1 answer.
    fn malformed(&mut self) -> io::Error {
        self.reset(Reason::INTERNAL_ERROR);
        self.state = State::Cut;
        io::ErrorKind::InvalidData.into()
    }
}

/// Answers a request in one piece: an HTTP/1.1 answer without chunks.
pub(super) fn answer_at_once(respond: &mut SendResponse<Bytes>, answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let length = HeadScan::default().advance(answer).ok().flatten().ok_or_else(malformed)?;
    let (head, body) = answer.split_at_checked(length).ok_or_else(malformed)?;
    let head = parse_response(head).map_err(|_| malformed())?;
    let fields = map(&head.fields, &[]).ok_or_else(malformed)?;
    let response = response(head.status, fields).ok_or_else(malformed)?;
    let mut stream = respond.send_response(response, false).map_err(reset)?;
    stream.send_data(Bytes::copy_from_slice(body), true).map_err(reset)
}

fn response(status: u16, fields: HeaderMap) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = fields;
    Some(response)
}

/// `fields` for HTTP/2: names in lower case, without those of the connection and without `dropped`.
fn map(fields: &Fields<'_>, dropped: &[&str]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for field in fields {
        let is = |name: &&str| field.name.eq_ignore_ascii_case(name);
        if !CONNECTION_SPECIFIC.iter().any(is) && !dropped.iter().any(is) {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            map.try_append(name, HeaderValue::from_bytes(field.value).ok()?).ok()?;
        }
    }
    Some(map)
}
