//! A certificate known by its key: the pin of RFC 7469 §2.4.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::digest;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, OtherError};

use super::verifier::{Decide, Presented, Verifier};

/// The SHA-256 of a certificate's `SubjectPublicKeyInfo` (RFC 7469 §2.4). A renewed certificate
/// with the same key has the same pin.
///
/// `Display` writes `sha256:BASE64`, and so does `Debug`: rustls shows its errors that way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

/// Why a text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It does not begin with `sha256:` or `sha256//`.
    #[error("a pin begins with sha256:")]
    Prefix,
    /// What follows is not 32 bytes in base64, or in hexadecimal after `sha256:`.
    #[error("a pin is the base64 form of 32 bytes, or 64 hexadecimal digits")]
    Digest,
}

/// Bytes that are no X.509 certificate of version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is malformed")]
pub struct MalformedCertificate;

/// The server has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its pin is {found}, not the expected {expected}")]
pub struct WrongPin {
    /// What was asked for.
    pub expected: Pin,
    /// What the server has.
    pub found: Pin,
}

impl Pin {
    /// Reads `sha256:BASE64`, `sha256//BASE64` (what curl's `--proxy-pinnedpubkey` takes) or
    /// `sha256:` and 64 hexadecimal digits; padding may be missing.
    ///
    /// # Errors
    ///
    /// [`PinError`].
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let (encoded, hexadecimal) = match (text.strip_prefix("sha256:"), text) {
            // 64 characters of base64 would be 48 bytes: nothing is ambiguous.
            (Some(digits), _) if digits.len() == 64 => (digits, true),
            (Some(encoded), _) => (encoded, false),
            (None, _) => (text.strip_prefix("sha256//").ok_or(PinError::Prefix)?, false),
        };
        let decoded = if hexadecimal {
            from_hexadecimal(encoded.as_bytes())
        } else {
            STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()
        };
        decoded.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(PinError::Digest)
    }

    /// The pin of `certificate`.
    ///
    /// # Errors
    ///
    /// [`MalformedCertificate`].
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, MalformedCertificate> {
        let parsed = ParsedCertificate::try_from(certificate).map_err(|_| MalformedCertificate)?;
        let key = parsed.subject_public_key_info();
        let digest = digest::digest(&digest::SHA256, &key);
        digest.as_ref().try_into().map(Self).map_err(|_| MalformedCertificate)
    }

    /// A verifier that accepts the server whose certificate has this pin, and no other. Names,
    /// dates and issuers do not matter; that the server has the key is verified as always.
    ///
    /// [`WrongPin::of`] finds the pins in its error.
    pub fn verifier(self) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Verifier::new(self))
    }
}

impl WrongPin {
    /// The pins, when `error` is about them: inside it is [`CertificateError::Other`].
    pub fn of(error: &CertificateError) -> Option<&Self> {
        if let CertificateError::Other(OtherError(inside)) = error {
            inside.downcast_ref()
        } else {
            None
        }
    }
}

fn from_hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: &u8| {
        let value = char::from(*digit).to_digit(16)?;
        u8::try_from(value).ok()
    };
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Decide for Pin {
    fn decide(&self, shown: Presented<'_>) -> Result<(), Error> {
        let expected = *self;
        let found = Self::of(shown.end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if found == expected {
            return Ok(());
        }
        let wrong = WrongPin { expected, found };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, Error};

    use super::{MalformedCertificate, Pin, PinError, WrongPin};

    /// Made once with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256`.
    const CERTIFICATE: &[u8] = br"-----BEGIN CERTIFICATE-----
MIIBgDCCASagAwIBAgIUT7LkA/Uvfq20gRVabJxkwjH5XlgwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLcGluLmV4YW1wbGUwIBcNMjYxMTIxMDkyMjQ3WhgPMjEyNjEw
MjgwOTIyNDdaMBYxFDASBgNVBAMMC3Bpbi5leGFtcGxlMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEjxEMnULHTvgkDSrM72sARnX4ix29Jcqtto49PGzWwiOGQhuQ
Ao1CG/lNxDFFe/EUZjCo7+tXZXJHgJuEwZrr3qNQME4wHQYDVR0OBBYEFAZW7par
pOA+s/kUWugcOa3+2krLMB8GA1UdIwQYMBaAFAZW7parpOA+s/kUWugcOa3+2krL
MAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0EAwIDSAAwRQIhAJFsyKWyou0F/OUD4Cn0
rSEtm4nnHskDsn3WnThfcEq2AiBy4/YbcJWa+FmoUjMXD4V1ugN+qSXOuYokDB5o
0Nr+Sg==
-----END CERTIFICATE-----";
    /// `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary |
    /// base64`.
    const PIN: &str = "DbkH4pspKrFl/6AgPYr5LsDusWzxL40oW7jBdKiiV9k=";
    /// The same with `openssl dgst -sha256`.
    const HEXADECIMAL: &str = "0db907e29b292ab165ffa0203d8af92ec0eeb16cf12f8d285bb8c174a8a257d9";

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
    }

    #[test]
    fn the_pin_is_what_openssl_computes() {
        let pin = Pin::of(&certificate()).unwrap();
        assert_eq!(pin.to_string(), format!("sha256:{PIN}"));
        let bare = PIN.trim_end_matches('=');
        for text in [
            format!("sha256:{PIN}"),
            format!("sha256:{bare}"),
            format!("sha256//{PIN}"),
            format!("sha256//{bare}"),
            format!("sha256:{HEXADECIMAL}"),
            format!("sha256:{}", HEXADECIMAL.to_uppercase()),
        ] {
            assert_eq!(Pin::parse(&text), Ok(pin), "{text}");
        }
        assert_eq!(Pin::of(&CertificateDer::from(&b"0\x82"[..])), Err(MalformedCertificate));
    }

    #[test]
    fn anything_else_is_no_pin() {
        for text in ["", PIN, "sha1:x", "SHA256:x", "sha256", "sha256/x", " sha256:x"] {
            assert_eq!(Pin::parse(text), Err(PinError::Prefix), "{text}");
        }
        for digest in [
            "",
            "=",
            "AAAA",
            PIN.trim_start_matches('D'),
            &format!(" {PIN}"),
            &format!("{PIN}="),
            &PIN.replace(['+', '/'], "-"),
            HEXADECIMAL.trim_start_matches("0d"),
            &format!("{HEXADECIMAL}00"),
            &HEXADECIMAL.replace('a', "g"),
            &"я".repeat(32),
        ] {
            assert_eq!(Pin::parse(&format!("sha256:{digest}")), Err(PinError::Digest), "{digest}");
        }
        let hexadecimal = format!("sha256//{HEXADECIMAL}");
        assert_eq!(Pin::parse(&hexadecimal), Err(PinError::Digest));
    }

    #[test]
    fn only_the_key_matters_and_the_error_says_both_pins() {
        let judge = |pin: Pin, certificate: &CertificateDer<'_>| {
            let name = ServerName::try_from("another.example").unwrap();
            let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
            pin.verifier().verify_server_cert(certificate, &[], &name, &[], now)
        };
        let (found, expected) = (Pin::of(&certificate()).unwrap(), Pin([7; 32]));
        judge(found, &certificate()).unwrap();
        let Err(Error::InvalidCertificate(error)) = judge(expected, &certificate()) else {
            panic!("another key is accepted")
        };
        let wrong = WrongPin::of(&error).unwrap();
        let both = format!("its pin is {found}, not the expected {expected}");
        assert_eq!(wrong.to_string(), both);
        let error = judge(found, &CertificateDer::from(&b"x"[..])).unwrap_err();
        assert_eq!(error, CertificateError::BadEncoding.into());
        assert_eq!(WrongPin::of(&CertificateError::BadEncoding), None);
    }

    proptest! {
        #[test]
        fn a_pin_shown_is_read_as_itself(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(Pin::parse(&Pin(bytes).to_string()), Ok(Pin(bytes)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(sha256(:|//))?\\PC{0,70}") {
            let _either = Pin::parse(&text);
        }
    }
}
