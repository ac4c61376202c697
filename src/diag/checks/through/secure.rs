//! TLS with the proxy or with the target, and what the trust stores say of the certificate.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::super::Context;
use super::entry::Duplex;
use super::message::shown;
use super::walk::{Trouble, Walk};
use crate::diag::ask::Ask;
use crate::diag::fact::{Certificate, Failure, How, Stage, Trust};
use crate::net::judge::{self, Chain, Given, HandshakeError, Judged, handshake};
use crate::target::Host;

/// Of an answer that is no TLS, or of an alert.
const LONGEST: usize = 200;

/// With whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Proxy,
    Target,
}

impl Party {
    const fn stage(self) -> Stage {
        match self {
            Self::Proxy => Stage::ProxyTls,
            Self::Target => Stage::TargetTls,
        }
    }

    /// What the user gave for it.
    fn given(self, ask: &Ask) -> Option<Given<'_>> {
        let pin = ask.pin.filter(|_| self == Self::Proxy).map(Given::Pin);
        pin.or_else(|| (!ask.roots.is_empty()).then_some(Given::Roots(&ask.roots)))
    }

    /// Whether an application of this user would go on. A pin is the only thing that counts where
    /// there is one; roots count besides those of the system.
    fn trusts(self, certificate: &Certificate, ask: &Ask) -> bool {
        let given = certificate.given == Some(Trust::Trusted);
        let pinned = self == Self::Proxy && ask.pin.is_some();
        given || (!pinned && certificate.system == Trust::Trusted)
    }
}

/// TLS with `host` on `stream`; what `walk` has by then is kept whatever comes of it.
pub(super) async fn secure(
    stream: Box<dyn Duplex>,
    (party, host): (Party, &Host),
    (walk, context): (&mut Walk<'_>, &Context),
) -> (Result<Box<dyn Duplex>, Failure>, Option<Certificate>) {
    let stage = party.stage();
    let mut chain = None;
    let shaken = walk.lap(stage, async {
        let shaken = handshake(stream, host).await;
        chain = shaken.chain;
        shaken.stream.map_err(Trouble::from)
    });
    let shaken = shaken.await;
    let certificate = match chain {
        Some(chain) => walk.in_time(judged(chain, party, context)).await,
        None => Ok(None),
    };
    let certificate = match certificate {
        Ok(certificate) => certificate,
        Err(trouble) => return (Err(walk.failed(stage, trouble)), None),
    };
    let stream = match shaken {
        Err(failure) => Err(failure),
        Ok(_) if !certificate.as_ref().is_some_and(|it| party.trusts(it, &context.ask)) => {
            Err(walk.failed(stage, How::Certificate.into()))
        }
        Ok(stream) => Ok(Box::new(stream) as Box<dyn Duplex>),
    };
    (stream, certificate)
}

/// Judging may read files, and on some systems ask the network.
async fn judged(
    chain: Chain,
    party: Party,
    context: &Context,
) -> Result<Option<Certificate>, Trouble> {
    let ask = Arc::clone(&context.ask);
    let judged = spawn_blocking(move || chain.judge(party.given(&ask))).await;
    Ok(judged.ok().map(Certificate::from))
}

impl From<HandshakeError> for Trouble {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Io(error) => error.into(),
            HandshakeError::NotTls(first) => Self::with(How::Malformed, shown(&first, LONGEST)),
            HandshakeError::Tls(error) => {
                let malformed = matches!(error, rustls::Error::InvalidCertificate(_));
                let how = if malformed { How::Certificate } else { How::Alert };
                Self::with(how, shown(error.to_string().as_bytes(), LONGEST))
            }
            HandshakeError::Name => {
                Self::with(How::Malformed, "no certificate can have this name".to_owned())
            }
        }
    }
}

impl From<Judged> for Certificate {
    fn from(judged: Judged) -> Self {
        let Judged { shown, now, mozilla, system, given } = judged;
        Self {
            issuer: shown.issuer,
            root: shown.root,
            names: shown.names,
            not_before: shown.not_before,
            not_after: shown.not_after,
            now,
            mozilla: mozilla.into(),
            system: system.into(),
            given: given.map(Trust::from),
        }
    }
}

impl From<judge::Trust> for Trust {
    fn from(trust: judge::Trust) -> Self {
        match trust {
            judge::Trust::Trusted => Self::Trusted,
            judge::Trust::UnknownIssuer => Self::UnknownIssuer,
            judge::Trust::Expired => Self::Expired,
            judge::Trust::NotYetValid => Self::NotYetValid,
            judge::Trust::WrongName => Self::WrongName,
            judge::Trust::Other => Self::Other,
        }
    }
}
