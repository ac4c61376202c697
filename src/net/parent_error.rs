//! Why a parent proxy gives no tunnel, in words.

use std::io;

use rustls::{CertificateError, Error as TlsError};

use super::pin::WrongPin;
use crate::wire::parent::{MalformedAnswer, Refusal, words};
use crate::wire::socks_client::MalformedSocks;

/// Why a parent gives no tunnel. No text has credentials of ours in it, unless the parent itself
/// repeats them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// It closed or reset the connection before its answer was complete.
    #[error("the parent proxy closed the connection")]
    Closed,
    /// It did not answer in time, whatever it waited for.
    #[error("the parent proxy did not answer in time")]
    Silent,
    /// HTTP: it answered with another status than 2xx. `Display` leaves the details to the caller.
    #[error("the parent proxy answered {status}{gap}{reason}", gap = if .reason.is_empty() { "" } else { " " })]
    Refused {
        /// 300..=999.
        status: u16,
        /// The reason phrase: printable ASCII, at most 200 characters, may be empty.
        reason: Box<str>,
        /// What it said in `Proxy-Status` (RFC 9209 §2.1.4): printable ASCII, at most 200
        /// characters.
        details: Option<Box<str>>,
    },
    /// SOCKS5: it refused the request with this reply code (RFC 1928 §6).
    #[error("the parent proxy refused: {}", reply_words(*.0))]
    Socks(u8),
    /// SOCKS5: it wants a login that we do not have, or accepts nothing that we offer.
    #[error("the parent proxy accepts no login method that we offer")]
    SocksMethod,
    /// SOCKS5: user name or password is wrong.
    #[error("the parent proxy refused the login")]
    SocksLogin,
    /// Its answer is not of the protocol.
    #[error("the parent proxy's answer is malformed")]
    Malformed,
    /// TLS: its certificate is not trusted, is for another name, or has another pin.
    #[error("the parent proxy's certificate is not trusted: {0}")]
    Certificate(Box<str>),
    /// TLS: it does not speak it, or not as we do.
    #[error("the parent proxy's TLS failed: {0}")]
    Tls(Box<str>),
}

impl From<Refusal> for ParentError {
    fn from(Refusal { status, reason, details }: Refusal) -> Self {
        Self::Refused { status, reason, details }
    }
}

impl From<MalformedAnswer> for ParentError {
    fn from(_: MalformedAnswer) -> Self {
        Self::Malformed
    }
}

impl From<MalformedSocks> for ParentError {
    fn from(_: MalformedSocks) -> Self {
        Self::Malformed
    }
}

/// Of a connection: rustls puts its errors into those of the socket.
impl From<io::Error> for ParentError {
    fn from(error: io::Error) -> Self {
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<TlsError>());
        inside.map_or(Self::Closed, of_tls)
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow")]
fn of_tls(error: &TlsError) -> ParentError {
    let text = match error {
        TlsError::InvalidCertificate(error) => {
            return ParentError::Certificate(certificate_words(error));
        }
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => {
            "its answer is not TLS".to_owned()
        }
        TlsError::AlertReceived(alert) => format!("it sent the alert {alert:?}"),
        TlsError::PeerIncompatible(what) => format!("it is too old or too new: {what:?}"),
        other => other.to_string(),
    };
    ParentError::Tls(words(text.chars()))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow")]
fn certificate_words(error: &CertificateError) -> Box<str> {
    if let Some(wrong) = WrongPin::of(error) {
        return wrong.to_string().into();
    }
    match error {
        CertificateError::UnknownIssuer => "no known authority has signed it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".into()
        }
        CertificateError::BadEncoding => "it is malformed".into(),
        CertificateError::BadSignature => "a signature is wrong".into(),
        CertificateError::Revoked => "it has been revoked".into(),
        // What `openssl req -x509` makes by default.
        CertificateError::Other(inside) if inside.to_string() == "CaUsedAsEndEntity" => {
            "it is an authority's own, not a server's".into()
        }
        other => words(other.to_string().chars()),
    }
}

/// RFC 1928 §6.
fn reply_words(code: u8) -> String {
    let meaning = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("SOCKS5 reply {code}"),
    };
    format!("{meaning} (SOCKS5 reply {code})")
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

    use super::ParentError;

    fn text(error: impl Into<ParentError>) -> String {
        let text = error.into().to_string();
        text.strip_prefix("the parent proxy").unwrap_or_else(|| panic!("{text}")).to_owned()
    }

    fn certificate(error: CertificateError) -> String {
        text(io::Error::new(io::ErrorKind::InvalidData, TlsError::InvalidCertificate(error)))
    }

    #[test]
    fn every_error_is_a_sentence_about_the_parent() {
        let refused = |status, reason: &str| ParentError::Refused {
            status,
            reason: reason.into(),
            details: Some("x".into()),
        };
        let cases = [
            (ParentError::Closed, " closed the connection"),
            (
                refused(407, "Proxy Authentication Required"),
                " answered 407 Proxy Authentication Required",
            ),
            (refused(599, ""), " answered 599"),
            (ParentError::Socks(5), " refused: connection refused (SOCKS5 reply 5)"),
            (ParentError::Socks(91), " refused: SOCKS5 reply 91"),
            (ParentError::SocksMethod, " accepts no login method that we offer"),
            (ParentError::SocksLogin, " refused the login"),
            (ParentError::Malformed, "'s answer is malformed"),
        ];
        for (error, expected) in cases {
            assert_eq!(text(error), expected);
        }
    }

    #[test]
    fn what_tls_says_is_put_into_words() {
        let tls = |error| text(io::Error::new(io::ErrorKind::InvalidData, error));
        let alert = TlsError::AlertReceived(AlertDescription::HandshakeFailure);
        assert_eq!(tls(alert), "'s TLS failed: it sent the alert HandshakeFailure");
        let message = TlsError::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(tls(message), "'s TLS failed: its answer is not TLS");
        let general = TlsError::General("a\r\nb".to_owned());
        assert_eq!(tls(general), "'s TLS failed: unexpected error: ab");
        for (error, expected) in [
            (CertificateError::UnknownIssuer, "no known authority has signed it"),
            (CertificateError::Expired, "it has expired"),
            (CertificateError::NotValidYet, "it is not valid yet"),
            (CertificateError::NotValidForName, "it is for another name"),
            (CertificateError::BadEncoding, "it is malformed"),
            (CertificateError::Revoked, "it has been revoked"),
            (CertificateError::InvalidPurpose, "InvalidPurpose"),
        ] {
            assert_eq!(certificate(error), format!("'s certificate is not trusted: {expected}"));
        }
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert_eq!(text(io::Error::from(kind)), " closed the connection");
        }
    }
}
