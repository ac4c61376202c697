//! TLS on our own port.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::leg::Stream;
use super::pin::Pin;

/// Certificate and key that we made ourselves, in one file: they can't be torn apart.
const SELF_SIGNED: &str = "self-signed.pem";

/// RFC 7301 names of what may be spoken under TLS. Clients that name nothing are listened to.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("{path} can't be written: {source}", path = .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate or key in PEM form in the file, or one that is cut off.
    #[error("{path}: no {what} in PEM form, or one that is cut off", path = .path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
    /// No certificate could be made.
    #[error("a self-signed certificate: {0}")]
    Make(rcgen::Error),
}

/// What a certificate is used with, and what it is known by.
#[derive(Debug)]
pub struct Ready {
    /// For the handshakes.
    pub config: Arc<ServerConfig>,
    /// Of its public key.
    pub pin: Pin,
}

/// The certificate that is in use; it may be replaced at any time.
#[derive(Debug)]
pub struct Secured(RwLock<Option<Arc<ServerConfig>>>);

impl Secured {
    /// With `config`, or without TLS.
    pub const fn new(config: Option<Arc<ServerConfig>>) -> Self {
        Self(RwLock::new(config))
    }

    /// What the next handshake uses; `None` without TLS.
    pub fn current(&self) -> Option<Arc<ServerConfig>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another certificate in place; connections that are open keep theirs.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }
}

/// Reads a certificate chain and its key, both PEM, into the configuration of a
/// server of TLS 1.2 and 1.3.
///
/// # Errors
///
/// [`CertificateError`], naming the file.
pub fn from_files(certificate: &Path, key: &Path) -> Result<Ready, CertificateError> {
    let pem = read(certificate)?;
    let missing = || CertificateError::Pem { path: certificate.into(), what: "certificate" };
    // One that is cut off is an error too: a chain that somebody is still writing must not be used.
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|_| missing())?;
    let pin = Pin::of(chain.first().ok_or_else(missing)?).map_err(|_| missing())?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| CertificateError::Pem { path: key.into(), what: "private key" })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(CertificateError::Pair)?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    Ok(Ready { config: Arc::new(config), pin })
}

/// The self-signed certificate that `folder` keeps; it is made if there is none yet.
///
/// It never expires and names nobody: whoever connects knows it by its pin.
///
/// # Errors
///
/// [`CertificateError`], naming the file.
pub fn self_signed(folder: &Path) -> Result<Ready, CertificateError> {
    let path = folder.join(SELF_SIGNED);
    if !path.exists() {
        let pem = make().map_err(CertificateError::Make)?;
        keep(folder, &path, &pem)
            .map_err(|source| CertificateError::Write { path: path.clone(), source })?;
    }
    from_files(&path, &path)
}

fn make() -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["sami-proxy".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sami-proxy");
    params.not_before = date_time_ymd(2020, 1, 1);
    // RFC 5280 §4.1.2.5: no well-defined end.
    params.not_after = date_time_ymd(9999, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Writes a file that only we may read, whole or not at all.
fn keep(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("new");
    // Of a run that was cut short.
    drop(fs::remove_file(&fresh));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.into(), source })
}

/// What a handshake has agreed on (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// HTTP/2.
    Http2,
    /// HTTP/1.1, or nothing was said.
    Unsaid,
}

/// Ends TLS on `stream`, of which `received` has been read already.
///
/// # Errors
///
/// The handshake failed, or `limit` has passed.
pub async fn accept(
    stream: TcpStream,
    mut received: BytesMut,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> io::Result<(Stream, Application)> {
    let feed = |connection: &mut ServerConnection| {
        while received.has_remaining() {
            let mut bytes = &received[..];
            let before = bytes.len();
            let taken = connection.read_tls(&mut bytes).map_or(0, |_| before - bytes.len());
            received.advance(taken);
            // What is wrong with them is said again, and to the client, by the handshake.
            if connection.process_new_packets().is_err() || taken == 0 {
                break;
            }
        }
    };
    let handshake = TlsAcceptor::from(config).accept_with(stream, feed);
    let stream = timeout(limit, handshake).await??;
    let agreed = stream.get_ref().1.alpn_protocol();
    let application = if agreed == Some(b"h2") { Application::Http2 } else { Application::Unsaid };
    Ok((Stream::Tls(Box::new(stream.into())), application))
}
