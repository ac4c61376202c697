//! Every reason not to serve a request.

use crate::failure::Failure;
use crate::wire::basic_auth::BasicError;
use crate::wire::http1::form::FormError;
use crate::wire::http1::framing::FramingError;
use crate::wire::http1::head::HeadError;

use super::policy::Refusal;

/// Why a request is not served; `reply` makes an answer of it, `access_log` a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The client's bytes are no request head.
    Head(HeadError),
    /// The request-target is unusable.
    Form(FormError),
    /// The end of the request body is ambiguous.
    Framing(FramingError),
    /// `Host` is missing or there is more than one (RFC 9112 §3.2).
    Host,
    /// A `CONNECT` request with a body (RFC 9110 §9.3.6).
    ConnectBody,
    /// A chunk or a trailer of the request body is malformed.
    Chunk,
    /// The head did not arrive in time.
    HeadTimeout,
    /// No credentials; the normal first step of many clients.
    CredentialsMissing,
    /// Credentials that are not ours.
    CredentialsWrong,
    /// `Proxy-Authorization` that can't be read.
    CredentialsUnreadable(BasicError),
    /// Policy says no.
    Refused(Refusal),
    /// The way to the target failed.
    Egress(Failure),
    /// The target's answer is unusable.
    Answer(Failure),
    /// Too many connections altogether.
    Full,
    /// Too many connections from this address.
    ClientFull,
    /// The request has passed here before.
    Loop,
    /// A request to the proxy itself that it has no answer for.
    NotFound,
}

impl Stop {
    /// The word of RFC 9209 for this.
    pub const fn failure(self) -> Failure {
        match self {
            Self::Head(_)
            | Self::Form(_)
            | Self::Framing(_)
            | Self::Host
            | Self::ConnectBody
            | Self::Chunk
            | Self::HeadTimeout => Failure::HttpRequestError,
            Self::CredentialsMissing
            | Self::CredentialsWrong
            | Self::CredentialsUnreadable(_)
            | Self::Refused(
                Refusal::Stranger | Refusal::Denied | Refusal::NotAllowed | Refusal::MailPort(_),
            ) => Failure::HttpRequestDenied,
            Self::Refused(Refusal::Special(_)) => Failure::DestinationIpProhibited,
            Self::Refused(Refusal::Own) | Self::Loop => Failure::ProxyLoopDetected,
            Self::Egress(failure) | Self::Answer(failure) => failure,
            Self::Full | Self::ClientFull => Failure::ConnectionLimitReached,
            Self::NotFound => Failure::ProxyInternalResponse,
        }
    }

    /// What the log calls it when it belongs to normal operation and is no error.
    pub fn normal(self) -> Option<&'static str> {
        let normal =
            [(Self::CredentialsMissing, "credentials_wanted"), (Self::NotFound, "own_answer")];
        normal.into_iter().find(|(stop, _)| *stop == self).map(|(_, word)| word)
    }
}
