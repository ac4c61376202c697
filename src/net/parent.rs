//! A parent proxy: on a connection to it, asking it for a tunnel.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::leg::{Stream, receive};
pub use super::parent_error::ParentError;
use super::pin::Pin;
use crate::secret::Secret;
use crate::target::{Host, Target};
use crate::wire::parent::{Answer, AnswerScan, authorization, connect_request};
use crate::wire::socks_client::{
    MAX_LOGIN, MalformedSocks, Method, Offer, Reply, SHORT_ANSWER, Verdict, greeting, login,
    read_method, read_reply, read_verdict, request,
};

/// What a parent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (`CONNECT`).
    Http,
    /// The same under TLS.
    Https,
    /// RFC 1928.
    Socks5,
}

/// User name and password for a parent.
pub type Credentials = (Box<str>, Secret);

/// A parent proxy, ready to be asked. `Debug` shows neither user name nor password.
#[derive(Clone)]
pub struct Parent {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is.
    pub address: Target,
    credentials: Option<Credentials>,
    authorization: Option<Secret>,
    tls: Option<Tls>,
}

/// TLS to a parent: the configuration, and the name that its certificate must have.
#[derive(Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why a parent can't be used as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// `Basic` parts user name and password at the first colon (RFC 7617 §2).
    #[error("the user name for an HTTP proxy must not contain a colon")]
    Colon,
    /// `Basic` forbids them (RFC 7617 §2).
    #[error("user name and password for an HTTP proxy must not contain control characters")]
    ControlCharacter,
    /// [`MAX_LOGIN`].
    #[error("user name and password for a SOCKS5 proxy have at most {MAX_LOGIN} bytes each")]
    TooLong,
    /// Only certificates have pins.
    #[error("a pin needs an https:// proxy")]
    PinWithoutTls,
    /// No certificate can have this name: a label begins or ends with a hyphen.
    #[error("the proxy's name can't be in a certificate")]
    Name,
    /// rustls refuses its configuration.
    #[error("TLS can't be set up: {0}")]
    Tls(Box<str>),
}

impl Parent {
    /// The parent at `address`, which is told `credentials`.
    ///
    /// The certificate of a [`Protocol::Https`] parent must have `pin`; when there is none, it must
    /// have the parent's name and be signed by an authority that Mozilla trusts.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(
        protocol: Protocol,
        address: Target,
        credentials: Option<Credentials>,
        pin: Option<Pin>,
    ) -> Result<Self, SetupError> {
        if let Some(credentials) = &credentials {
            check(protocol, credentials)?;
        }
        let (authorization, tls) = match protocol {
            Protocol::Http | Protocol::Socks5 if pin.is_some() => {
                return Err(SetupError::PinWithoutTls);
            }
            Protocol::Socks5 => (None, None),
            Protocol::Http => (basic(credentials.as_ref()), None),
            Protocol::Https => (basic(credentials.as_ref()), Some(Tls::new(&address.host, pin)?)),
        };
        Ok(Self { protocol, address, credentials, authorization, tls })
    }

    /// The value of `Proxy-Authorization` for an HTTP parent; as secret as the password.
    fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref().map(Secret::reveal)
    }

    /// Asks for a tunnel to `target` on `stream`, a fresh connection to this parent. Returns the
    /// tunnel and what the target has said already. A name is passed on unresolved. An HTTP parent
    /// is told `via`, the proxies on the way so far (RFC 9110 §7.6.3); SOCKS has no place for it.
    ///
    /// Nothing of the client's may be sent before this returns, though it has arrived: a parent that
    /// answers with anything but 2xx would take it for another request (CVE-2025-64763). That is
    /// why the client's bytes are no argument here.
    ///
    /// There is no deadline; the caller has one.
    ///
    /// # Errors
    ///
    /// [`ParentError`]; the connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn ask(
        &self,
        stream: TcpStream,
        target: &Target,
        via: &str,
    ) -> Result<(Stream, Vec<u8>), ParentError> {
        let mut talk = Talk { stream: self.secure(stream).await?, heard: BytesMut::new() };
        match self.protocol {
            Protocol::Http | Protocol::Https => {
                let request = connect_request(target, self.authorization(), via);
                talk.connect(&request).await?;
            }
            Protocol::Socks5 => talk.socks(self.credentials.as_ref(), target).await?,
        }
        Ok((talk.stream, talk.heard.to_vec()))
    }

    /// TLS, for a [`Protocol::Https`] parent.
    async fn secure(&self, stream: TcpStream) -> Result<Stream, ParentError> {
        let Some(tls) = &self.tls else { return Ok(Stream::Tcp(stream)) };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let secured = connector.connect(tls.name.clone(), stream).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(secured))))
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent")
            .field("protocol", &self.protocol)
            .field("address", &self.address)
            .field("credentials", &self.credentials.as_ref().map(|(_, password)| password))
            .finish_non_exhaustive()
    }
}

fn check(protocol: Protocol, (user, password): &Credentials) -> Result<(), SetupError> {
    let password = password.reveal();
    match protocol {
        Protocol::Socks5 if user.len().max(password.len()) > MAX_LOGIN => Err(SetupError::TooLong),
        Protocol::Socks5 => Ok(()),
        Protocol::Http | Protocol::Https if user.contains(':') => Err(SetupError::Colon),
        Protocol::Http | Protocol::Https => {
            let control = user.chars().chain(password.chars()).any(char::is_control);
            if control { Err(SetupError::ControlCharacter) } else { Ok(()) }
        }
    }
}

fn basic(credentials: Option<&Credentials>) -> Option<Secret> {
    credentials.map(|(user, password)| Secret::new(authorization(user, password)))
}

impl Tls {
    /// HTTP/1.1 on TLS 1.2 and 1.3. The name goes into SNI, an address does not (RFC 6066 §3).
    fn new(host: &Host, pin: Option<Pin>) -> Result<Self, SetupError> {
        let name = match host {
            Host::Ip(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.to_string()).map_err(|_| SetupError::Name)?
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Tls(error.to_string().into()))?;
        let builder = match pin {
            Some(pin) => builder.dangerous().with_custom_certificate_verifier(pin.verifier()),
            None => builder.with_root_certificates(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name })
    }
}

/// A conversation with a parent.
struct Talk {
    stream: Stream,
    /// What it has said and nobody has read.
    heard: BytesMut,
}

impl Talk {
    async fn connect(&mut self, request: &[u8]) -> Result<(), ParentError> {
        self.say(request).await;
        let mut scan = AnswerScan::default();
        match self.hear(|bytes| scan.advance(bytes)).await? {
            Answer::Established { length } => {
                self.heard.advance(length);
                Ok(())
            }
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    async fn socks(
        &mut self,
        credentials: Option<&Credentials>,
        target: &Target,
    ) -> Result<(), ParentError> {
        let offer = if credentials.is_some() { Offer::Login } else { Offer::Open };
        self.say(greeting(offer)).await;
        match (self.hear_short(read_method).await?, credentials) {
            (Method::Open, _) => {}
            (Method::Login, Some((user, password))) => {
                let login = login(user, password).ok_or(ParentError::SocksLogin)?;
                self.say(&login).await;
                if self.hear_short(read_verdict).await? == Verdict::Refused {
                    return Err(ParentError::SocksLogin);
                }
            }
            (Method::Login | Method::Unacceptable, _) => return Err(ParentError::SocksMethod),
        }
        self.say(&request(target)).await;
        match self.hear(read_reply).await? {
            Reply::Established { length } => {
                self.heard.advance(length);
                Ok(())
            }
            Reply::Refused(code) => Err(ParentError::Socks(code)),
        }
    }

    /// One message, one write. That the parent takes no more is no error yet: it may have said why
    /// before it closed, and [`Talk::hear`] notices when it has not.
    async fn say(&mut self, message: &[u8]) {
        if self.stream.write_all(message).await.is_ok() {
            let _heard_soon = self.stream.flush().await.is_ok();
        }
    }

    /// The parent's answer, which stays in `heard`.
    async fn hear<A, E>(
        &mut self,
        mut read: impl FnMut(&[u8]) -> Result<Option<A>, E>,
    ) -> Result<A, ParentError>
    where
        ParentError: From<E>,
    {
        loop {
            if let Some(answer) = read(&self.heard)? {
                return Ok(answer);
            }
            if receive(&mut self.stream, &mut self.heard).await? == 0 {
                return Err(ParentError::Closed);
            }
        }
    }

    /// One of the short answers of SOCKS5. The parent has to wait for our next message: what it has
    /// said beyond is no answer to that.
    async fn hear_short<A>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Option<A>, MalformedSocks>,
    ) -> Result<A, ParentError> {
        let answer = self.hear(read).await?;
        self.heard.advance(SHORT_ANSWER);
        if self.heard.is_empty() { Ok(answer) } else { Err(ParentError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Parent, Protocol, SetupError};
    use crate::net::pin::Pin;
    use crate::secret::Secret;
    use crate::target::Target;

    fn parent(
        protocol: Protocol,
        place: &str,
        credentials: Option<(&str, &str)>,
        pin: Option<Pin>,
    ) -> Result<Parent, SetupError> {
        let credentials: Option<Credentials> =
            credentials.map(|(user, password)| (user.into(), Secret::new(password)));
        Parent::new(protocol, Target::from_authority(place).unwrap(), credentials, pin)
    }

    #[test]
    fn a_description_that_cannot_work_is_refused() {
        use Protocol::{Http, Https, Socks5};
        let pin = Pin::parse(&format!("sha256:{}", "00".repeat(32))).unwrap();
        let long = "x".repeat(256);
        let cases = [
            (Http, "a:1", Some(("a:b", "c")), None, SetupError::Colon),
            (Https, "a:1", Some(("a", "b\n")), None, SetupError::ControlCharacter),
            (Http, "a:1", Some(("a\0", "b")), None, SetupError::ControlCharacter),
            (Socks5, "a:1", Some((&*long, "b")), None, SetupError::TooLong),
            (Socks5, "a:1", Some(("a", &*long)), None, SetupError::TooLong),
            (Socks5, "a:1", None, Some(pin), SetupError::PinWithoutTls),
            (Http, "a:1", None, Some(pin), SetupError::PinWithoutTls),
            (Https, "-a:1", None, Some(pin), SetupError::Name),
        ];
        for (protocol, place, credentials, pin, expected) in cases {
            let made = parent(protocol, place, credentials, pin);
            assert_eq!(made.err(), Some(expected), "{protocol:?} {place} {credentials:?}");
        }
        for place in ["a_b.example:443", "192.0.2.1:443", "[2001:db8::1]:443"] {
            assert!(parent(Https, place, Some(("a", "b:c ü")), Some(pin)).is_ok(), "{place}");
            assert!(parent(Https, place, None, None).is_ok(), "{place}");
        }
        assert!(parent(Socks5, "a:1", Some(("a:b", "c\n")), None).is_ok());
    }

    #[test]
    fn authorization_is_for_http_and_never_shown() {
        for (protocol, expected) in [
            (Protocol::Http, Some("Basic YW5uYTpodW50ZXIy")),
            (Protocol::Https, Some("Basic YW5uYTpodW50ZXIy")),
            (Protocol::Socks5, None),
        ] {
            let parent = parent(protocol, "a.example:1", Some(("anna", "hunter2")), None).unwrap();
            assert_eq!(parent.authorization(), expected);
            let shown = format!("{parent:?}");
            for secret in ["anna", "hunter2", "YW5uYTpodW50ZXIy"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("a.example") && shown.contains("***"), "{shown}");
        }
    }
}
