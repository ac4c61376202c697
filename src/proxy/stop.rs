//! Every reason not to serve a request.

use crate::failure::Failure;
use crate::net::h2;
use crate::net::parent::ParentError;
use crate::wire::basic_auth::BasicError;
use crate::wire::http1::form::FormError;
use crate::wire::http1::framing::FramingError;
use crate::wire::http1::head::HeadError;
use crate::wire::socks::SocksError;

use super::internal::ServiceError;
use super::policy::Refusal;
use super::tally::Word;

/// Why a request is not served; `reply` makes an answer of it, `access_log` a word.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Bytes that break SOCKS.
    Socks(SocksError),
    /// A SOCKS command other than CONNECT.
    Command,
    /// Too much was asked of `sami-proxy.internal`.
    RateLimited,
    /// `sami-proxy.internal` has no answer.
    Service(ServiceError),
    /// An HTTP/2 request that can't be said in HTTP/1.1.
    Http2(h2::Refusal),
    /// The way to the parent proxy failed.
    ParentDown(Failure),
    /// The parent proxy refused, or is not what it should be.
    Parent(Box<ParentError>),
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// Why a request was refused before anything was asked of its target, for counting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// What metrics call it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

reasons! {
    /// The bytes are no valid request.
    Malformed = "malformed",
    /// The request did not arrive in time.
    Late = "late",
    /// No credentials, or credentials that can't be read.
    CredentialsMissing = "credentials_missing",
    /// Credentials that are not ours.
    CredentialsWrong = "credentials_wrong",
    /// A client without credentials asked for something else than the built-in list.
    Stranger = "stranger",
    /// A mail port.
    MailPort = "mail_port",
    /// `--deny-to`.
    Denied = "denied",
    /// Not in `--allow-to`.
    NotAllowed = "not_allowed",
    /// Not a public address.
    SpecialAddress = "special_address",
    /// The proxy itself.
    OwnAddress = "own_address",
    /// The request has been here before.
    Loop = "loop",
    /// Too many connections altogether.
    Full = "full",
    /// Too many connections from one address.
    ClientFull = "client_full",
    /// A SOCKS command other than CONNECT.
    Command = "command",
    /// Too much asked of `sami-proxy.internal`.
    RateLimited = "rate_limited",
}

impl Stop {
    /// A refusal of ours, or a failure.
    const fn why(&self) -> Result<Reason, Failure> {
        Ok(match self {
            Self::Head(_)
            | Self::Form(_)
            | Self::Framing(_)
            | Self::Host
            | Self::ConnectBody
            | Self::Chunk
            | Self::Socks(_)
            | Self::Http2(_) => Reason::Malformed,
            Self::HeadTimeout => Reason::Late,
            Self::CredentialsMissing | Self::CredentialsUnreadable(_) => Reason::CredentialsMissing,
            Self::CredentialsWrong => Reason::CredentialsWrong,
            Self::Refused(refusal) => match refusal {
                Refusal::Stranger => Reason::Stranger,
                Refusal::MailPort(_) => Reason::MailPort,
                Refusal::Denied => Reason::Denied,
                Refusal::NotAllowed => Reason::NotAllowed,
                Refusal::Special(_) => Reason::SpecialAddress,
                Refusal::Own => Reason::OwnAddress,
            },
            Self::Full => Reason::Full,
            Self::ClientFull => Reason::ClientFull,
            Self::Loop => Reason::Loop,
            Self::Command => Reason::Command,
            Self::RateLimited => Reason::RateLimited,
            Self::Service(ServiceError::Untrusted) => Reason::Stranger,
            Self::NotFound | Self::Service(_) => return Err(Failure::ProxyInternalResponse),
            Self::Egress(failure) | Self::Answer(failure) | Self::ParentDown(failure) => {
                return Err(*failure);
            }
            Self::Parent(error) => return Err(of_parent(error)),
        })
    }

    /// The word of RFC 9209 for this.
    pub const fn failure(&self) -> Failure {
        match self.why() {
            Ok(reason) => reason.failure(),
            Err(failure) => failure,
        }
    }

    /// The reason it is counted under; `None` when it was no refusal of ours.
    pub fn reason(&self) -> Option<Reason> {
        self.why().ok()
    }

    /// What the log calls it; some belong to normal operation and are no error.
    pub fn word(&self) -> Word {
        let failure = self.failure();
        if *self == Self::CredentialsMissing {
            Word::CredentialsWanted
        } else if failure == Failure::ProxyInternalResponse {
            Word::OwnAnswer
        } else {
            Word::Failed(failure)
        }
    }
}

impl Reason {
    /// The word of RFC 9209 for a refusal of this reason.
    const fn failure(self) -> Failure {
        match self {
            Self::Malformed | Self::Late | Self::Command => Failure::HttpRequestError,
            Self::CredentialsMissing
            | Self::CredentialsWrong
            | Self::Stranger
            | Self::MailPort
            | Self::Denied
            | Self::NotAllowed => Failure::HttpRequestDenied,
            Self::SpecialAddress => Failure::DestinationIpProhibited,
            Self::OwnAddress | Self::Loop => Failure::ProxyLoopDetected,
            Self::Full | Self::ClientFull | Self::RateLimited => Failure::ConnectionLimitReached,
        }
    }
}

const fn of_parent(error: &ParentError) -> Failure {
    match error {
        ParentError::Closed => Failure::ConnectionTerminated,
        ParentError::Silent => Failure::ConnectionTimeout,
        ParentError::Refused { .. }
        | ParentError::Socks(_)
        | ParentError::SocksMethod
        | ParentError::SocksLogin => Failure::DestinationUnavailable,
        ParentError::Malformed => Failure::HttpProtocolError,
        ParentError::Certificate(_) => Failure::TlsCertificateError,
        ParentError::Tls(_) => Failure::TlsProtocolError,
    }
}
