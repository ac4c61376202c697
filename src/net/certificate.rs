//! What stands in a certificate, as far as a person wants to read it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The longest text that is kept, in characters.
const LONGEST: usize = 100;
/// The most names that are kept.
const MOST_NAMES: usize = 10;

/// All texts are printable. Everything is empty or zero when the certificate can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The common name or organization of who signed it.
    pub issuer: String,
    /// The same of the last certificate of the chain.
    pub root: String,
    /// For whom: DNS names and addresses, the first few.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl Shown {
    /// Of a chain from `leaf` to `last`, which may be the same.
    pub fn of(leaf: &CertificateDer<'_>, last: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return Self::default() };
        let root = X509Certificate::from_der(last).map(|(_, it)| name(it.issuer()));
        Self {
            issuer: name(parsed.issuer()),
            root: root.unwrap_or_default(),
            names: names(&parsed),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        }
    }

    /// Whether `certificate` says that it has signed itself.
    pub fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
        X509Certificate::from_der(certificate).is_ok_and(|(_, it)| it.issuer() == it.subject())
    }
}

fn name(of: &X509Name<'_>) -> String {
    let mut texts = of.iter_common_name().chain(of.iter_organization());
    texts.find_map(|it| it.as_str().ok()).map(printable).unwrap_or_default()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum; servers have two kinds")]
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
        _ => None,
    });
    names.take(MOST_NAMES).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Letters and digits of any script, and what ASCII prints: nothing that a terminal obeys, nothing
/// that changes the direction of writing.
fn printable(text: &str) -> String {
    let harmless = |it: &char| it.is_alphanumeric() || matches!(it, ' '..='~');
    text.chars().filter(harmless).take(LONGEST).collect()
}
