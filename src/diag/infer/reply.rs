//! What a proxy's "no" means.

use super::seen::{Seen, is_ours, through};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{How, ProxyReply, Stage};

/// Why a proxy did not connect us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It wants to know who we are.
    Login,
    /// It does not allow that: us, or the target.
    Forbidden,
    /// It has no room.
    Full,
    /// Its parent proxy can't be used.
    ParentDown,
    /// Its parent proxy did not connect it.
    ParentRefused,
    /// The name has no address, or its servers fail.
    Name,
    /// Nobody told it the address in time.
    NameSilent,
    /// It has no route.
    Unroutable,
    /// The target refused.
    Refused,
    /// The target was silent.
    Silent,
    /// The target hung up before it had answered.
    Terminated,
    /// The target's answer was no HTTP.
    BadAnswer,
    /// It has our request and has said nothing so far.
    Waiting,
    /// It says no and not why.
    Untold,
}

/// Where a [`Why`] is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A status alone.
    Status,
    /// A text for people.
    Text,
    /// A word that a standard defines.
    Word,
    /// The same, of sami-proxy: we know what its words mean.
    Ours,
}

/// A "no".
#[derive(Debug, Clone, Copy)]
pub(super) struct No<'e> {
    pub(super) seen: Seen<'e>,
    pub(super) why: Why,
    pub(super) source: Source,
}

/// Every request that the proxy did not fulfil.
pub(super) fn noes(evidence: &Evidence) -> Vec<No<'_>> {
    let word = if is_ours(evidence) { Source::Ours } else { Source::Word };
    let all = through(evidence).into_iter();
    all.filter_map(|seen| {
        let failure = seen.failed_at(Stage::Proxy)?;
        let (why, source) = match (&seen.trip.proxy, failure.how) {
            (Some(reply), How::Denied) if reply.socks => of_socks(reply.status, word),
            (Some(reply), How::Denied) => of_http(reply),
            // Only a kernel's word that it has our bytes tells this from a filter.
            (_, How::Silent) if failure.acknowledged == Some(true) => {
                (Why::Waiting, Source::Status)
            }
            (
                _,
                How::NoAddress
                | How::Refused
                | How::Unreachable
                | How::Silent
                | How::Reset
                | How::Closed
                | How::Denied
                | How::Certificate
                | How::Alert
                | How::Malformed
                | How::Unfinished,
            ) => return None,
        };
        Some(No { seen, why, source })
    })
    .collect()
}

/// Those for one of `reasons`.
pub(super) fn of_why<'e>(evidence: &'e Evidence, reasons: &[Why]) -> Vec<No<'e>> {
    noes(evidence).into_iter().filter(|it| reasons.contains(&it.why)).collect()
}

/// RFC 1928 §6; what sami-proxy means by a code is in `proxy::front::socks::reply_of`.
const fn of_socks(code: u16, source: Source) -> (Why, Source) {
    let why = match code {
        254 | 255 => Why::Login,
        2 => Why::Forbidden,
        3 => Why::Unroutable,
        // Others say that also of a host that is silent.
        4 if matches!(source, Source::Ours) => Why::Name,
        4 | 6 => Why::Silent,
        5 => Why::Refused,
        _ => return (Why::Untold, Source::Status),
    };
    (why, source)
}

/// The beginning of what sami-proxy says when its parent is the reason.
const PARENT: &str = "The parent proxy";

fn of_http(reply: &ProxyReply) -> (Why, Source) {
    if reply.status == 407 {
        return (Why::Login, if reply.ours { Source::Ours } else { Source::Word });
    }
    let told = reply.error.as_deref().and_then(|word| of_word(word, reply));
    if let Some(why) = told {
        return (why, if reply.ours { Source::Ours } else { Source::Word });
    }
    if let Some(why) = of_text(&reply.body) {
        return (why, Source::Text);
    }
    let why = match reply.status {
        403 => Why::Forbidden,
        429 => Why::Full,
        503 if reply.retry_after_s.is_some() => Why::Full,
        504 => Why::Silent,
        _ => Why::Untold,
    };
    (why, Source::Status)
}

/// RFC 9209 §2.3; what sami-proxy means by a word is in `proxy::stop`.
fn of_word(word: &str, reply: &ProxyReply) -> Option<Why> {
    let details = reply.details.as_deref().unwrap_or_default();
    if details.starts_with(PARENT) {
        // "can't be reached", wrong certificate, no login: it is of no use to anybody.
        let answered = details.contains(" answered ") || details.contains(" refused: ");
        return Some(if answered { Why::ParentRefused } else { Why::ParentDown });
    }
    Some(match word {
        "dns_error" => Why::Name,
        "dns_timeout" => Why::NameSilent,
        "destination_ip_prohibited" | "http_request_denied" | "proxy_loop_detected" => {
            Why::Forbidden
        }
        "destination_ip_unroutable" => Why::Unroutable,
        "connection_refused" => Why::Refused,
        "connection_timeout" => Why::Silent,
        "connection_terminated" => Why::Terminated,
        "connection_limit_reached" => Why::Full,
        // Only with a parent does sami-proxy speak TLS itself.
        "destination_unavailable" | "tls_certificate_error" | "tls_protocol_error" => {
            Why::ParentRefused
        }
        "http_response_incomplete" | "http_protocol_error" | "http_upgrade_failed" => {
            Why::BadAnswer
        }
        _ => return None,
    })
}

/// What squid, tinyproxy, Privoxy, 3proxy and Apache write in their pages.
const TEXTS: &[(&str, Why)] = &[
    ("unable to determine ip address", Why::Name),
    ("err_dns_fail", Why::Name),
    ("host not found", Why::Name),
    ("no such domain", Why::Name),
    ("dns lookup failure", Why::Name),
    ("name or service not known", Why::Name),
    ("could not resolve", Why::Name),
    ("connection refused", Why::Refused),
    ("connection timed out", Why::Silent),
    ("operation timed out", Why::Silent),
    ("no route to host", Why::Unroutable),
    ("network is unreachable", Why::Unroutable),
    ("maximum number of", Why::Full),
    ("too many connections", Why::Full),
    ("access denied", Why::Forbidden),
];

fn of_text(body: &str) -> Option<Why> {
    let body = body.to_ascii_lowercase();
    TEXTS.iter().find(|(text, _)| body.contains(text)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::{Source, Why, of_http, of_socks};
    use crate::diag::fact::ProxyReply;

    fn reply(status: u16, error: Option<&str>, text: &str) -> ProxyReply {
        ProxyReply {
            status,
            ours: error.is_some(),
            error: error.map(str::to_owned),
            details: error.map(|_| text.to_owned()),
            body: text.to_owned(),
            ..ProxyReply::default()
        }
    }

    #[test]
    fn every_word_of_ours_means_what_the_proxy_means_by_it() {
        for (status, word, details, why) in [
            (502, "dns_error", "The name of the target could not be resolved.", Why::Name),
            (504, "dns_timeout", "No name server answered in time.", Why::NameSilent),
            (
                403,
                "destination_ip_prohibited",
                "The target is not a public address.",
                Why::Forbidden,
            ),
            (403, "http_request_denied", "Clients without credentials reach only", Why::Forbidden),
            (502, "connection_refused", "The target refused the connection.", Why::Refused),
            (502, "connection_refused", "The parent proxy can't be reached", Why::ParentDown),
            (502, "destination_unavailable", "The parent proxy answered 403", Why::ParentRefused),
            (
                504,
                "connection_timeout",
                "The parent proxy did not answer in time.",
                Why::ParentDown,
            ),
            (504, "connection_timeout", "The target did not accept", Why::Silent),
            (503, "connection_limit_reached", "This proxy has reached its limit", Why::Full),
            (407, "http_request_denied", "User name or password is wrong.", Why::Login),
        ] {
            let found = of_http(&reply(status, Some(word), details));
            assert_eq!(found, (why, Source::Ours), "{word} {details}");
        }
    }

    #[test]
    fn what_others_say_is_believed_less() {
        for (status, body, why, source) in [
            (
                503,
                "<h1>Unable to determine IP address from host name</h1>",
                Why::Name,
                Source::Text,
            ),
            (503, "The system returned: (111) Connection refused", Why::Refused, Source::Text),
            (502, "Bad Gateway", Why::Untold, Source::Status),
            (504, "", Why::Silent, Source::Status),
            (403, "", Why::Forbidden, Source::Status),
            (503, "", Why::Untold, Source::Status),
        ] {
            assert_eq!(of_http(&reply(status, None, body)), (why, source), "{status} {body}");
        }
        assert_eq!(of_socks(4, Source::Ours), (Why::Name, Source::Ours));
        assert_eq!(of_socks(4, Source::Word), (Why::Silent, Source::Word));
        assert_eq!(of_socks(1, Source::Ours), (Why::Untold, Source::Status));
    }
}
