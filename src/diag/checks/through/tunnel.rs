//! A tunnel through the proxy: `CONNECT` (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928).

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::super::Context;
use super::body::body;
use super::entry::{Duplex, Entry};
use super::message::{Head, head_into, shown};
use super::reply::proxy_reply;
use super::walk::{Trouble, Walk};
use crate::diag::ask::Ask;
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Failure, How, Lap, ProxyReply, Stage};
use crate::net::replay::Replay;
use crate::target::Target;
use crate::wire::parent::authorization;
use crate::wire::socks_client::{
    MalformedSocks, Method, Offer, Reply, SHORT_ANSWER, Verdict, greeting, login, read_method,
    read_reply, read_verdict, request,
};

/// Of an answer that nobody understands.
const LONGEST: usize = 200;
/// [`ProxyReply::status`]: no acceptable method.
const NO_METHOD: u16 = 255;
/// [`ProxyReply::status`]: user or password rejected.
const NO_LOGIN: u16 = 254;

/// A tunnel.
pub(in super::super) struct Tunnel {
    /// To the target; with what came after the proxy's agreement.
    pub(in super::super) entry: Entry,
    /// What the proxy said; nothing when it speaks SOCKS.
    pub(in super::super) reply: Option<ProxyReply>,
}

/// Why there is none, and what it took to know.
#[derive(Debug)]
pub(in super::super) struct NoTunnel {
    pub(in super::super) laps: Vec<Lap>,
    pub(in super::super) failure: Failure,
    /// What it said.
    pub(in super::super) reply: Option<ProxyReply>,
}

/// Asks the proxy for a tunnel to `target`; until `until`.
pub(in super::super) async fn tunnel(
    entry: Entry,
    target: &Target,
    until: Instant,
    context: &Context,
) -> Result<Tunnel, NoTunnel> {
    let Entry { stream, ends, laps, certificate } = entry;
    let mut walk = Walk::new(until, context);
    (walk.laps, walk.ends) = (laps, Some(ends));
    let mut talk = Talk { stream, heard: BytesMut::new() };
    let answer = walk.lap(Stage::Proxy, async {
        match context.ask.asked.scheme {
            Scheme::Http | Scheme::Https => talk.connect(target, &context.ask).await,
            Scheme::Socks5 => talk.socks(target, &context.ask).await,
        }
    });
    let (agreed, reply) = match answer.await {
        Err(failure) => {
            return Err(NoTunnel { laps: walk.laps, failure, reply: None });
        }
        Ok(Answer::Agreed) => (true, None),
        Ok(Answer::Denied(code)) => {
            let reply = ProxyReply { status: code, socks: true, ..ProxyReply::default() };
            (false, Some(reply))
        }
        Ok(Answer::Http(mut head)) => {
            let mut reply = proxy_reply(&head);
            let agreed = (200..300).contains(&head.status);
            if agreed {
                talk.heard = head.rest.split();
            } else {
                reply.body = refusal(&mut talk, &mut head, &walk).await;
            }
            (agreed, Some(reply))
        }
    };
    if agreed {
        let stream = Box::new(Replay::new(talk.heard, talk.stream));
        let entry = Entry { stream, ends, laps: walk.laps, certificate };
        return Ok(Tunnel { entry, reply });
    }
    let failure = walk.failed(Stage::Proxy, How::Denied.into());
    Err(NoTunnel { laps: walk.laps, failure, reply })
}

/// The beginning of what a refusal says in words.
async fn refusal(talk: &mut Talk, head: &mut Head, walk: &Walk<'_>) -> String {
    let read = walk.in_time(async { Ok(body(&mut talk.stream, head).await) }).await;
    read.map(|(body, _)| body.beginning).unwrap_or_default()
}

/// The value of `Proxy-Authorization`, when there is something to tell.
pub(in super::super) fn credentials(ask: &Ask) -> Option<String> {
    ask.login.as_ref().map(|(user, password)| authorization(user, password))
}

enum Answer {
    Http(Head),
    Agreed,
    Denied(u16),
}

/// A conversation with the proxy.
struct Talk {
    stream: Box<dyn Duplex>,
    /// What it has said and nobody has read.
    heard: BytesMut,
}

impl Talk {
    async fn connect(&mut self, target: &Target, ask: &Ask) -> Result<Answer, Trouble> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(value) = credentials(ask) {
            request.extend(["Proxy-Authorization: ", &value, "\r\n"]);
        }
        request.push_str("\r\n");
        self.say(request.as_bytes()).await;
        head_into(&mut self.stream, &mut self.heard).await.map(Answer::Http)
    }

    async fn socks(&mut self, target: &Target, ask: &Ask) -> Result<Answer, Trouble> {
        let offer = if ask.login.is_some() { Offer::Login } else { Offer::Open };
        self.say(greeting(offer)).await;
        let method = self.hear(read_method).await?;
        self.heard.advance(SHORT_ANSWER);
        match (method, &ask.login) {
            (Method::Open, _) => {}
            (Method::Login, Some((user, password))) => {
                let Some(login) = login(user, password) else {
                    return Ok(Answer::Denied(NO_LOGIN));
                };
                self.say(&login).await;
                if self.hear(read_verdict).await? == Verdict::Refused {
                    return Ok(Answer::Denied(NO_LOGIN));
                }
                self.heard.advance(SHORT_ANSWER);
            }
            (Method::Login | Method::Unacceptable, _) => return Ok(Answer::Denied(NO_METHOD)),
        }
        self.say(&request(target)).await;
        match self.hear(read_reply).await? {
            Reply::Established { length } => {
                self.heard.advance(length);
                Ok(Answer::Agreed)
            }
            Reply::Refused(code) => Ok(Answer::Denied(code.into())),
        }
    }

    /// That the proxy takes no more is no trouble yet: it may have said why before it closed.
    async fn say(&mut self, message: &[u8]) {
        if self.stream.write_all(message).await.is_ok() {
            let _heard_soon = self.stream.flush().await.is_ok();
        }
    }

    async fn hear<A>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Option<A>, MalformedSocks>,
    ) -> Result<A, Trouble> {
        loop {
            match read(&self.heard) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(MalformedSocks) => {
                    let came = shown(&self.heard, LONGEST);
                    return Err(Trouble::with(How::Malformed, came));
                }
            }
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(How::Closed.into());
            }
        }
    }
}
