//! The one vocabulary of failure: the proxy error types of RFC 9209 §2.3.
//!
//! The same word stands in the `Proxy-Status` field, in the access log and in a doctor's evidence,
//! so that whatever a user pastes can be looked up. A word never changes its meaning.

use std::fmt;

macro_rules! failures {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// What went wrong, as RFC 9209 §2.3 names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Failure { $($(#[$doc])* $variant,)+ }

        impl Failure {
            /// Every failure there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word of RFC 9209.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

failures! {
    /// No answer from the name servers in time.
    DnsTimeout = "dns_timeout",
    /// The name servers answered with an error, or the name does not exist.
    DnsError = "dns_error",
    /// Policy forbids the address or the port.
    DestinationIpProhibited = "destination_ip_prohibited",
    /// No route to any address of the target.
    DestinationIpUnroutable = "destination_ip_unroutable",
    /// The target refused the connection.
    ConnectionRefused = "connection_refused",
    /// The target closed or reset before it had answered.
    ConnectionTerminated = "connection_terminated",
    /// The target did not accept in time.
    ConnectionTimeout = "connection_timeout",
    /// A limit of this proxy is reached.
    ConnectionLimitReached = "connection_limit_reached",
    /// The client's request is malformed.
    HttpRequestError = "http_request_error",
    /// Policy forbids the request: credentials, or a name that is not allowed.
    HttpRequestDenied = "http_request_denied",
    /// The target's answer ended before its declared end.
    HttpResponseIncomplete = "http_response_incomplete",
    /// The target's answer breaks HTTP.
    HttpProtocolError = "http_protocol_error",
    /// The target switched protocols without being asked.
    HttpUpgradeFailed = "http_upgrade_failed",
    /// The next hop refuses to go on.
    DestinationUnavailable = "destination_unavailable",
    /// The next hop's certificate is not the right one.
    TlsCertificateError = "tls_certificate_error",
    /// The TLS handshake with the next hop failed.
    TlsProtocolError = "tls_protocol_error",
    /// The request has passed this proxy before.
    ProxyLoopDetected = "proxy_loop_detected",
    /// This proxy answers by itself; nothing failed on the way.
    ProxyInternalResponse = "proxy_internal_response",
    /// A fault of this proxy.
    ProxyInternalError = "proxy_internal_error",
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn every_word_is_unique_and_an_sf_token() {
        for (at, failure) in Failure::ALL.iter().enumerate() {
            let word = failure.word();
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
            assert!(!Failure::ALL[..at].iter().any(|other| other.word() == word), "{word} twice");
        }
    }
}
