//! What answers on the port.
//!
//! Our own question first (for a SOCKS proxy: the one of SOCKS): sami-proxy answers it with our nonce, SSH and the like begin by
//! themselves, other proxies and web servers give themselves away. Only when that does not tell
//! are the other questions asked, all at once.

use std::net::SocketAddr;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::through::reply::clock_at;
use super::super::{Context, Measured};
use super::exchange::{Heard, Question, exchange};
use super::speaks::{Known, aside, known};
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Data, Hello, Said, Speaks, Status};

/// For one exchange. A proxy answers our question without asking anybody else.
const LIMIT: Duration = Duration::from_secs(3);

/// A healthy proxy answers within this and two round trips; after that the others are asked too.
const GRACE: Duration = Duration::from_millis(500);

/// What is asked first, and what else when that does not tell.
const fn questions(scheme: Scheme) -> (Said, &'static [Said]) {
    match scheme {
        Scheme::Http => (
            Said::AbsoluteForm,
            &[Said::Connect, Said::ClientHello, Said::Socks5, Said::OriginForm],
        ),
        // The last one in the clear: who answers that speaks no TLS.
        Scheme::Https => (Said::AbsoluteForm, &[Said::Connect, Said::OriginForm]),
        Scheme::Socks5 => (
            Said::Socks5,
            &[Said::AbsoluteForm, Said::Connect, Said::ClientHello, Said::OriginForm],
        ),
    }
}

/// Up to five connections.
pub(in super::super) async fn run(address: SocketAddr, context: &Context) -> Measured {
    let nonce = nonce();
    let limit = context.capped(LIMIT);
    let mut asked = JoinSet::new();
    let ask = |asked: &mut JoinSet<Heard>, said| {
        let question = Question { said, limit, nonce: nonce.clone() };
        let context = context.clone();
        asked.spawn(async move { exchange(address, &question, &context).await });
    };
    let mut heard = Vec::new();
    let (begin, others) = questions(context.ask.asked.scheme);
    ask(&mut asked, begin);
    let grace = GRACE + context.round_trip(address) * 2;
    if let Ok(Some(Ok(first))) = timeout(grace, asked.join_next()).await {
        heard.push(first);
    }
    if begin == Said::Socks5 && known(&heard, &nonce).settled {
        // Whether it is ours is only told in HTTP; other servers may say nothing to that.
        ask(&mut asked, Said::AbsoluteForm);
        if let Ok(Some(Ok(next))) = timeout(grace, asked.join_next()).await {
            heard.push(next);
        }
        asked.abort_all();
    }
    if !known(&heard, &nonce).settled {
        for said in others {
            ask(&mut asked, *said);
        }
        while let Some(Ok(next)) = asked.join_next().await {
            heard.push(next);
            if known(&heard, &nonce).settled {
                break;
            }
        }
    }
    fact(known(&heard, &nonce), heard)
}

fn fact(known: Known, heard: Vec<Heard>) -> Measured {
    let status = match known.speaks {
        Some(Speaks::Nothing | Speaks::Closes) | None => Status::Failed,
        Some(
            Speaks::SamiProxy
            | Speaks::HttpProxy
            | Speaks::WebServer
            | Speaks::Ssh
            | Speaks::Tls
            | Speaks::Socks
            | Speaks::Unknown,
        ) => Status::Worked,
    };
    let (answered, date) = aside(&heard);
    let hello = Hello {
        speaks: known.speaks,
        name: known.name,
        version: known.version,
        client: known.client,
        trusted: known.trusted,
        nonce_returned: known.nonce_returned.then_some(true),
        clock: date.and_then(|(date, age)| clock_at(date.as_bytes(), age)),
        status: answered,
        exchanges: heard.into_iter().map(|it| it.exchange).collect(),
    };
    (status, Some(Data::Hello(hello)))
}

/// 64 random bits in hexadecimal: an answer that has them is one to our question.
pub(in super::super) fn nonce() -> String {
    let mut bytes = [0; 8];
    // Without random numbers the answer is still an answer, only a guessable one.
    let _guessable = SystemRandom::new().fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
