//! An authority of the lab's own, and good and bad certificates.

use sami_proxy::diag::llm::PROVIDERS;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYetValid,
    WrongName,
    UnknownAuthority,
}

/// Those of every origin and of the proxy.
fn names() -> Vec<String> {
    let plain = ["www.google.com", "neutral.example.com", "proxy.example.net"];
    let services = PROVIDERS.iter().filter_map(|it| it.url.split('/').nth(2));
    plain.into_iter().chain(services).map(str::to_owned).collect()
}

/// Issues what the origins show.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    /// Writes `authority.pem`, and `proxy.pem` and `proxy.key` of `proxy.example.net`.
    pub fn new(folder: &Path) -> Self {
        let (issuer, root, pem) = authority("Laboratory");
        std::fs::write(folder.join("authority.pem"), pem).unwrap();
        let authority = Self { issuer, root };
        let (certificate, key) = authority.issue(Flaw::None);
        std::fs::write(folder.join("proxy.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("proxy.key"), key.serialize_pem()).unwrap();
        authority
    }

    fn issue(&self, flaw: Flaw) -> (rcgen::Certificate, KeyPair) {
        let wrong = flaw == Flaw::WrongName;
        let names = if wrong { vec!["another.example.org".to_owned()] } else { names() };
        let mut wanted = CertificateParams::new(names).unwrap();
        let (from, until) = match flaw {
            Flaw::Expired => (2000, 2001),
            Flaw::NotYetValid => (2090, 2095),
            Flaw::None | Flaw::WrongName | Flaw::UnknownAuthority => (2000, 2099),
        };
        wanted.not_before = date_time_ymd(from, 1, 1);
        wanted.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = if flaw == Flaw::UnknownAuthority {
            wanted.signed_by(&key, &authority("Nobody").0).unwrap()
        } else {
            wanted.signed_by(&key, &self.issuer).unwrap()
        };
        (signed, key)
    }

    /// Shows a certificate with this flaw.
    pub fn server(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(flaw);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    /// Trusts this authority and no other.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>, String) {
    let mut wanted = CertificateParams::new(Vec::new()).unwrap();
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let root = wanted.self_signed(&key).unwrap();
    (Issuer::new(wanted, key), root.der().clone(), root.pem())
}
