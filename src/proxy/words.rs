//! What a refusal says: what happened, and what to do.

use super::policy::Refusal;
use super::stop::Stop;
use crate::failure::Failure;
use crate::net::parent::ParentError;

/// What happened, and what to do.
pub(super) fn words(stop: &Stop) -> (String, &'static str) {
    let (happened, advice) = match stop {
        Stop::Head(error) => {
            return (format!("This is not a valid HTTP request: {error}."), FIX_CLIENT);
        }
        Stop::Form(error) => {
            return (format!("This request has no usable target: {error}."), FIX_TARGET);
        }
        Stop::Framing(error) => {
            return (format!("The end of the request body is ambiguous: {error}."), FIX_CLIENT);
        }
        Stop::CredentialsUnreadable(error) => {
            return (format!("The proxy credentials can't be read: {error}."), SEND_BASIC);
        }
        Stop::Http2(refusal) => {
            return (format!("This is not a valid HTTP/2 request: {refusal}."), FIX_CLIENT);
        }
        Stop::Socks(error) => {
            return (format!("This is not a valid SOCKS request: {error}."), FIX_CLIENT);
        }
        Stop::Service(error) => {
            return (error.to_string(), "See the README, \"sami-proxy.internal\".");
        }
        Stop::ParentDown(failure) => {
            return (format!("The parent proxy can't be reached: {failure}."), FIX_PARENT);
        }
        Stop::Parent(error) => return (parent_words(error), FIX_PARENT),
        Stop::Command => ("This proxy opens connections and nothing else.", FIX_CLIENT),
        Stop::RateLimited => (
            "You have asked this proxy's own service for too much in a short time.",
            "Try again in a minute; trusted clients may ask for more.",
        ),
        Stop::Host => ("The request has no Host field, or more than one.", FIX_CLIENT),
        Stop::ConnectBody => ("A CONNECT request must not have a body.", FIX_CLIENT),
        Stop::Chunk => ("The chunked request body is malformed.", FIX_CLIENT),
        Stop::HeadTimeout => {
            ("The request did not arrive in time.", "Send the whole request at once, or try again.")
        }
        Stop::CredentialsMissing => ("This proxy wants a user name and a password.", SEND_BASIC),
        Stop::CredentialsWrong => ("User name or password is wrong.", SEND_BASIC),
        Stop::Refused(refusal) => refusal_words(*refusal),
        Stop::Egress(failure) | Stop::Answer(failure) => failure_words(*failure),
        Stop::Full => (
            "This proxy has reached its limit of connections.",
            "Try again in a few seconds; the operator can raise --max-connections.",
        ),
        Stop::ClientFull => (
            "There are too many connections from your address.",
            "Close some; the operator can raise --max-per-client.",
        ),
        Stop::Loop => (
            "The request has passed this proxy before.",
            "Take this proxy out of its own proxy settings.",
        ),
        Stop::NotFound => (
            "This is an HTTP proxy, not a web site.",
            "Enter its host and port as the HTTP proxy of your application.",
        ),
    };
    (happened.to_owned(), advice)
}

/// What the parent has said, in its own words as far as there are any.
fn parent_words(error: &ParentError) -> String {
    let details = match error {
        ParentError::Refused { details: Some(details), .. } => format!(": {details}"),
        ParentError::Refused { details: None, .. }
        | ParentError::Closed
        | ParentError::Silent
        | ParentError::Socks(_)
        | ParentError::SocksMethod
        | ParentError::SocksLogin
        | ParentError::Malformed
        | ParentError::Certificate(_)
        | ParentError::Tls(_) => String::new(),
    };
    sentence(&format!("{error}{details}"))
}

const FIX_CLIENT: &str = "Update or report the application that sent it; the proxy refuses what two servers could read differently.";
const FIX_PARENT: &str =
    "The operator of this proxy has to look at --upstream and at the proxy that it names.";
const FIX_TARGET: &str = "Use CONNECT host:port, or an http:// address without a user name in it.";
const SEND_BASIC: &str =
    "Enter the proxy's user name and password in your application (Basic authentication).";

const fn refusal_words(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::Stranger => (
            "Clients without credentials reach only the built-in LLM hosts on ports 443 and 80.",
            "Set credentials with --auth USER:PASSWORD (SAMI_PROXY_AUTH) and use them, or let your address in with --trust-client.",
        ),
        Refusal::MailPort(_) => (
            "Mail ports 25, 465 and 587 are not reached through this proxy.",
            "Send mail without the proxy.",
        ),
        Refusal::Denied => {
            ("The operator of this proxy has denied this target.", "Ask the operator (--deny-to).")
        }
        Refusal::NotAllowed => (
            "The operator of this proxy has not allowed this target.",
            "Ask the operator (--allow-to).",
        ),
        Refusal::Special(_) => (
            "The target is not a public address.",
            "If it is meant to be reached, the operator can set --allow-private.",
        ),
        Refusal::Own => {
            ("The target is this proxy itself.", "Take this proxy out of its own proxy settings.")
        }
    }
}

const fn failure_words(failure: Failure) -> (&'static str, &'static str) {
    match failure {
        Failure::DnsTimeout => (
            "No name server answered in time.",
            "Check the server's DNS, or choose one with --dns.",
        ),
        Failure::DnsError => (
            "The name of the target could not be resolved.",
            "Check the spelling; if it is right, check the server's DNS.",
        ),
        Failure::DestinationIpUnroutable => (
            "There is no route from the proxy to the target.",
            "Check the server's network; without IPv6 set --prefer-family ipv4-only.",
        ),
        Failure::ConnectionRefused => (
            "The target refused the connection.",
            "Check the port; if it is right, the target is down.",
        ),
        Failure::ConnectionTimeout => (
            "The target did not accept the connection in time.",
            "Try again; if it stays, the target or a firewall on the way is silent.",
        ),
        Failure::ConnectionTerminated => (
            "The target closed the connection before it had answered.",
            "Try again; if it stays, the target or something on the way cuts it.",
        ),
        Failure::ConnectionLimitReached => {
            ("The proxy has run out of connections or ports.", "Try again in a few seconds.")
        }
        Failure::HttpResponseIncomplete
        | Failure::HttpProtocolError
        | Failure::HttpUpgradeFailed => {
            ("The target's answer is not valid HTTP.", "Report it to the operator of the target.")
        }
        Failure::DestinationIpProhibited
        | Failure::DestinationUnavailable
        | Failure::TlsCertificateError
        | Failure::TlsProtocolError
        | Failure::HttpRequestError
        | Failure::HttpRequestDenied
        | Failure::ProxyLoopDetected
        | Failure::ProxyInternalResponse
        | Failure::ProxyInternalError => {
            ("The proxy has failed.", "Look into its log, and report it.")
        }
    }
}

/// With a capital at the beginning and one full stop at the end.
fn sentence(text: &str) -> String {
    let mut rest = text.trim_end_matches('.').chars();
    let first = rest.next().map_or(' ', |first| first.to_ascii_uppercase());
    format!("{first}{}.", rest.as_str())
}
