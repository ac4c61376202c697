//! TLS as a client that wants to know what it is shown: the handshake goes on whatever the
//! certificate is, and trust stores judge the chain afterwards.
//!
//! Who goes on without having asked for the verdict trusts everybody.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::Verifier as SystemVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::Shown;
use super::pin::Pin;
use super::tap::Tap;
use super::verifier::{Decide, Presented, Verifier};
use crate::target::Host;

/// What a trust store says of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is good.
    Trusted,
    /// Nobody known has signed it.
    UnknownIssuer,
    /// It is too old.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for another name.
    WrongName,
    /// Anything else: revoked, malformed, not for servers.
    Other,
}

/// The certificates of a server, in its order, and the name that we wanted.
#[derive(Debug, Clone)]
pub struct Chain {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    ocsp: Vec<u8>,
    name: ServerName<'static>,
}

/// What a handshake came to.
#[derive(Debug)]
pub struct Handshake<S> {
    /// The connection; what was shown on it has not been judged.
    pub stream: Result<TlsStream<Tap<S>>, HandshakeError>,
    /// What the server showed, also when the handshake failed after that.
    pub chain: Option<Chain>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed or was closed.
    #[error(transparent)]
    Io(io::Error),
    /// What came is no TLS: its first bytes, 200 at most.
    #[error("what came is no TLS")]
    NotTls(Vec<u8>),
    /// TLS says no: an alert of the server, nothing in common, or its certificate is so malformed
    /// that its signature can't be verified.
    #[error(transparent)]
    Tls(Error),
    /// No certificate can have this name.
    #[error("no certificate can have this name")]
    Name,
}

/// What is trusted besides the stores of Mozilla and of the system.
#[derive(Debug, Clone, Copy)]
pub enum Given<'r> {
    /// One key; nothing else of the certificate matters.
    Pin(Pin),
    /// These roots. A server whose own certificate is one of them is trusted, too, as OpenSSL does.
    Roots(&'r [CertificateDer<'static>]),
}

/// A chain with what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What stands in it.
    pub shown: Shown,
    /// Our clock, seconds since 1970.
    pub now: i64,
    /// By the roots of Mozilla.
    pub mozilla: Trust,
    /// By the operating system; on Linux it honours `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub system: Trust,
    /// By [`Given`].
    pub given: Option<Trust>,
}

/// Speaks TLS 1.2 or 1.3 with `host` on `stream`, offering `http/1.1` (RFC 7301). A name goes into
/// SNI, an address does not (RFC 6066 §3).
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn handshake<S>(stream: S, host: &Host) -> Handshake<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = match host {
        Host::Ip(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.to_string()),
    };
    let Ok(name) = name else {
        return Handshake { stream: Err(HandshakeError::Name), chain: None };
    };
    let provider = ring();
    let recorder = Recorder { name: name.clone(), seen: OnceLock::new() };
    let recorder = Arc::new(Verifier::new(recorder));
    let verifier = Arc::clone(&recorder);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.dangerous().with_custom_certificate_verifier(verifier));
    let mut config = match config {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => return Handshake { stream: Err(HandshakeError::Tls(error)), chain: None },
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tap = Tap::new(stream);
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tap).into_fallible().await;
    let stream = match connected {
        Ok(mut stream) => {
            drop(stream.get_mut().0.close());
            Ok(stream)
        }
        Err((error, mut tap)) => Err(why(error, tap.close())),
    };
    Handshake { stream, chain: recorder.by.seen.get().cloned() }
}

fn why(error: io::Error, first: Vec<u8>) -> HandshakeError {
    match error.get_ref().and_then(|inside| inside.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => HandshakeError::NotTls(first),
        Some(tls) => HandshakeError::Tls(tls.clone()),
        None => HandshakeError::Io(error),
    }
}

fn ring() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

impl Chain {
    /// What the stores say of it now. The system's is loaded once, which takes milliseconds; on
    /// Windows and macOS the system may ask the network. Not for a thread that others wait for.
    pub fn judge(&self, given: Option<Given<'_>>) -> Judged {
        self.judge_at(SystemTime::now(), given)
    }

    fn judge_at(&self, now: SystemTime, given: Option<Given<'_>>) -> Judged {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(now);
        let given = given.map(|given| match given {
            Given::Pin(pin) => self.by(Some(&*pin.verifier()), time),
            Given::Roots(roots) if roots.contains(&self.leaf) => self.by_itself(time),
            Given::Roots(roots) => self.by(store(roots).as_deref(), time),
        });
        Judged {
            shown: Shown::of(&self.leaf, self.others.last().unwrap_or(&self.leaf)),
            now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            mozilla: self.by(mozilla(), time),
            system: self.by(system(), time),
            given,
        }
    }

    /// A store that could not be loaded knows nobody.
    fn by(&self, verifier: Option<&dyn ServerCertVerifier>, now: UnixTime) -> Trust {
        let Some(verifier) = verifier else { return Trust::UnknownIssuer };
        match verifier.verify_server_cert(&self.leaf, &self.others, &self.name, &self.ocsp, now) {
            Ok(_) => Trust::Trusted,
            Err(Error::InvalidCertificate(error)) => self.verdict(&error),
            Err(_) => Trust::Other,
        }
    }

    /// It is a root itself: only its dates and names are left to look at.
    fn by_itself(&self, now: UnixTime) -> Trust {
        let shown = Shown::of(&self.leaf, &self.leaf);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < shown.not_before {
            return Trust::NotYetValid;
        }
        if now > shown.not_after {
            return Trust::Expired;
        }
        let parsed = ParsedCertificate::try_from(&self.leaf);
        match parsed.and_then(|parsed| verify_server_name(&parsed, &self.name)) {
            Ok(()) => Trust::Trusted,
            Err(Error::InvalidCertificate(error)) => self.verdict(&error),
            Err(_) => Trust::Other,
        }
    }

    fn verdict(&self, error: &CertificateError) -> Trust {
        #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows")]
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trust::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Trust::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Trust::WrongName
            }
            // A bad signature: it only has the name of somebody known.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Trust::UnknownIssuer
            }
            // What `openssl req -x509` makes is an authority, which webpki refuses as a server's
            // before it looks who has signed it: nobody else has.
            CertificateError::Other(_) if self.others.is_empty() && self.is_self_issued() => {
                Trust::UnknownIssuer
            }
            _ => Trust::Other,
        }
    }

    fn is_self_issued(&self) -> bool {
        Shown::is_self_issued(&self.leaf)
    }
}

/// By the roots of Mozilla that this program has with it.
fn mozilla() -> Option<&'static dyn ServerCertVerifier> {
    static MOZILLA: OnceLock<Option<Arc<WebPkiServerVerifier>>> = OnceLock::new();
    let made = MOZILLA.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), ring()).build().ok()
    });
    made.as_deref().map(|it| it as _)
}

/// By the operating system.
fn system() -> Option<&'static dyn ServerCertVerifier> {
    static SYSTEM: OnceLock<Option<SystemVerifier>> = OnceLock::new();
    SYSTEM.get_or_init(|| SystemVerifier::new(ring()).ok()).as_ref().map(|it| it as _)
}

fn store(given: &[CertificateDer<'static>]) -> Option<Arc<dyn ServerCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(given.iter().cloned());
    let made = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), ring()).build().ok()?;
    Some(made)
}

/// What an ordinary client uses: the system's trust, `roots` besides, and besides that whoever has
/// `pin`; HTTP/2 is offered.
///
/// # Errors
///
/// The system trusts nobody, and nobody else is given.
pub fn ordinary(
    roots: &[CertificateDer<'static>],
    pin: Option<Pin>,
) -> Result<ClientConfig, Error> {
    let pinned = pin.map(|pin| -> Arc<dyn ServerCertVerifier> { pin.verifier() });
    // Beside the system's and not in it: the Windows of Wine can't extend its own.
    let given = store(roots).filter(|_| !roots.is_empty());
    let mut all: Vec<_> = pinned.into_iter().chain(given).collect();
    match SystemVerifier::new(ring()) {
        Ok(system) => all.push(Arc::new(system)),
        Err(error) if all.is_empty() => return Err(error),
        Err(_) => {}
    }
    let builder = ClientConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(AnyOf(all))));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts whom one of them trusts; else the last one says why not.
#[derive(Debug)]
struct AnyOf(Vec<Arc<dyn ServerCertVerifier>>);

impl Decide for AnyOf {
    fn decide(&self, shown: Presented<'_>) -> Result<(), Error> {
        let Presented { end_entity, intermediates, name, ocsp, now } = shown;
        let mut verdict = Err(CertificateError::UnknownIssuer.into());
        for one in &self.0 {
            verdict = one.verify_server_cert(end_entity, intermediates, name, ocsp, now);
            if verdict.is_ok() {
                break;
            }
        }
        verdict.map(|_| ())
    }
}

/// Accepts every chain and keeps it.
#[derive(Debug)]
struct Recorder {
    name: ServerName<'static>,
    seen: OnceLock<Chain>,
}

impl Decide for Recorder {
    fn decide(&self, shown: Presented<'_>) -> Result<(), Error> {
        let _a_handshake_has_one = self.seen.set(Chain {
            leaf: shown.end_entity.clone().into_owned(),
            others: shown.intermediates.iter().map(|it| it.clone().into_owned()).collect(),
            ocsp: shown.ocsp.to_vec(),
            name: self.name.clone(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
    };
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::{Chain, Given, HandshakeError, Judged, Trust, handshake};
    use crate::net::pin::Pin;
    use crate::target::Host;

    const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn named(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2126, 1, 1);
        params
    }

    /// What a client that wants `host` is shown by a server with `chain`, over real TLS.
    async fn shown(host: &str, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Chain {
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(super::ring())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret.into())
            .unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let host = Host::parse(host).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (shaken, accepted) = tokio::join!(handshake(ours, &host), acceptor.accept(theirs));
        let server_name = accepted.unwrap().get_ref().1.server_name().map(str::to_owned);
        assert_eq!(server_name.is_some(), matches!(host, Host::Name(_)), "RFC 6066 §3");
        assert!(shaken.stream.is_ok());
        shaken.chain.unwrap()
    }

    #[tokio::test]
    async fn every_verdict_is_exact_and_the_handshake_never_minds() {
        let (good, same_name) = (authority("good"), authority("good"));
        let (good_root, same_root) = (good.der().clone(), same_name.der().clone());
        let other_root = authority("other").der().clone();
        let key = KeyPair::generate().unwrap();
        let leaf = named("a.test").signed_by(&key, &good).unwrap();
        let chain = vec![leaf.der().clone(), good_root.clone()];
        let now = SystemTime::UNIX_EPOCH + YEAR * 57;
        let a = shown("a.test", chain.clone(), &key).await;
        let b = shown("b.test", chain, &key).await;
        let roots = [good_root];
        let cases: &[(&Chain, SystemTime, &[CertificateDer<'static>], Trust)] = &[
            (&a, now, &roots, Trust::Trusted),
            (&a, now, &[other_root], Trust::UnknownIssuer),
            (&a, now, &[same_root], Trust::UnknownIssuer),
            (&a, now, &[CertificateDer::from(&b"x"[..])], Trust::UnknownIssuer),
            (&a, now - YEAR * 5, &roots, Trust::NotYetValid),
            (&a, now + YEAR * 110, &roots, Trust::Expired),
            (&b, now, &roots, Trust::WrongName),
            // The server's own certificate as a root.
            (&a, now, &[leaf.der().clone()], Trust::Trusted),
            (&b, now, &[leaf.der().clone()], Trust::WrongName),
            (&a, now - YEAR * 5, &[leaf.der().clone()], Trust::NotYetValid),
            (&a, now + YEAR * 110, &[leaf.der().clone()], Trust::Expired),
        ];
        for (number, (chain, now, roots, expected)) in cases.iter().enumerate() {
            let judged = chain.judge_at(*now, Some(Given::Roots(roots)));
            assert_eq!(judged.given, Some(*expected), "{number}");
            assert_ne!(judged.mozilla, Trust::Trusted);
            assert_ne!(judged.system, Trust::Trusted);
        }
        let right = Pin::of(leaf.der()).unwrap();
        let wrong = Pin::parse(&format!("sha256:{}", "00".repeat(32))).unwrap();
        // A pin minds neither names nor dates.
        let pinned = |pin| b.judge_at(now + YEAR * 110, Some(Given::Pin(pin))).given;
        assert_eq!(pinned(right), Some(Trust::Trusted));
        assert_eq!(pinned(wrong), Some(Trust::Other));
        let Judged { shown, given, .. } = a.judge(None);
        assert_eq!((&*shown.issuer, &*shown.root, given), ("good", "good", None));
        assert_eq!((shown.names, shown.not_before), (vec!["a.test".to_owned()], 1_767_225_600));
    }

    #[tokio::test]
    async fn who_signed_for_himself_is_unknown_also_as_an_authority() {
        let key = KeyPair::generate().unwrap();
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let mut params = named("127.0.0.1");
            params.is_ca = is_ca;
            let leaf = params.self_signed(&key).unwrap().der().clone();
            let chain = shown("127.0.0.1", vec![leaf.clone()], &key).await;
            let roots = [leaf];
            let judged = chain.judge(Some(Given::Roots(&roots)));
            let verdicts = (judged.mozilla, judged.system, judged.given);
            let unknown = Trust::UnknownIssuer;
            assert_eq!(verdicts, (unknown, unknown, Some(Trust::Trusted)));
            assert_eq!(judged.shown.names, ["127.0.0.1"]);
        }
    }

    #[tokio::test]
    async fn no_certificate_has_such_a_name() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let shaken = handshake(ours, &Host::Name("-a.test".into())).await;
        assert!(matches!(shaken.stream, Err(HandshakeError::Name)) && shaken.chain.is_none());
    }
}
