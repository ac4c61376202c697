//! Names → addresses, cached by TTL; concurrent identical look-ups are one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use rustls::ClientConfig;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

use super::at_hand::AtHand;
pub use super::lookups::Lookup;
use super::lookups::Lookups;
use super::name_server::reach;
pub use super::name_server::{NameServer, Transport};
use crate::target::Host;

/// The longest life of a positive answer; longer TTLs are cut to it.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// The longest life of "there is no such name". A failure to ask is not kept at all.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// One question, all servers and repetitions together.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// One datagram. Three fit into [`QUESTION_LIMIT`]: a lost one costs a second and a half.
const DATAGRAM_LIMIT: Duration = Duration::from_millis(1500);
/// RFC 8305 §3: when one family has answered, the other gets this much longer.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Names kept; then those that have run out are dropped, and if none has, all.
const CACHE_SIZE: usize = 10_000;

/// Which addresses are asked for, and which come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both, IPv6 first (RFC 8305 §4).
    #[default]
    Auto,
    /// Both, IPv4 first.
    Ipv4,
    /// Both, IPv6 first.
    Ipv6,
    /// Only IPv4.
    Ipv4Only,
    /// Only IPv6.
    Ipv6Only,
}

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist or has no address of a wanted family.
    #[error("the name does not exist or has no address")]
    NotFound,
    /// No name server answered in time.
    #[error("no name server answered in time")]
    Timeout,
    /// A name server answered with an error.
    #[error("the name servers failed: {0}")]
    Failed(Box<str>),
}

/// Why the resolver can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no usable `/etc/resolv.conf`, or its like elsewhere.
    #[error("the system's name server configuration is unusable: {0}")]
    System(NetError),
    /// A name server was given by name, and that is unknown.
    #[error("the name server {0} can't be found: {1}")]
    ServerName(Box<str>, ResolveError),
}

type Answer = Result<Arc<[IpAddr]>, ResolveError>;

/// An answer and when it runs out.
type Dated = (Answer, Instant);

/// Filled by whoever asks first.
type Slot = Arc<OnceCell<Dated>>;

type Slots = HashMap<(Box<str>, RecordType), Slot>;

/// Asks name servers and remembers.
#[derive(Clone)]
pub struct Resolver {
    servers: TokioResolver,
    family: Family,
    slots: Arc<Mutex<Slots>>,
    at_hand: Arc<AtHand>,
    counts: Arc<Lookups>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that asks `servers`, or the system's when there are none.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub async fn new(servers: &[NameServer], family: Family) -> Result<Self, SetupError> {
        Self::with_tls(servers, family, None).await
    }

    /// A resolver that asks `server` alone: not the hosts file of this machine either.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub async fn without_hosts(server: &NameServer) -> Result<Self, SetupError> {
        let mut builder = Self::of(std::slice::from_ref(server)).await?;
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Self::build(builder, Family::Auto)
    }

    /// The same, with other trusted certificates than the public ones where `tls` is given.
    async fn with_tls(
        servers: &[NameServer],
        family: Family,
        tls: Option<ClientConfig>,
    ) -> Result<Self, SetupError> {
        if servers.is_empty() {
            return Self::build(system()?, family);
        }
        let mut builder = Self::of(servers).await?;
        if let Some(tls) = tls {
            builder = builder.with_tls_config(tls);
        }
        Self::build(builder, family)
    }

    async fn of(
        servers: &[NameServer],
    ) -> Result<ResolverBuilder<TokioRuntimeProvider>, SetupError> {
        let mut found = Vec::new();
        for server in servers {
            let ips = match &server.host {
                Host::Ip(ip) => Arc::new([*ip]),
                Host::Name(name) => Self::build(system()?, Family::Auto)?
                    .resolve(name, Instant::now() + QUESTION_LIMIT)
                    .await
                    .map_err(|error| SetupError::ServerName(name.clone(), error))?,
            };
            found.extend(ips.iter().map(|ip| reach(server, *ip)));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), found);
        Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(
        mut builder: ResolverBuilder<TokioRuntimeProvider>,
        family: Family,
    ) -> Result<Self, SetupError> {
        tune(builder.options_mut());
        let servers = builder.build().map_err(SetupError::System)?;
        Ok(Self {
            servers,
            family,
            slots: Arc::default(),
            at_hand: Arc::default(),
            counts: Arc::default(),
        })
    }

    /// The addresses of `name`, the preferred family first, the families taking turns
    /// (RFC 8305 §4).
    ///
    /// # Errors
    ///
    /// [`ResolveError`]; [`ResolveError::Timeout`] at `deadline` at the latest.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not end a question that others wait for; its answer is kept.
    pub async fn resolve(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Arc<[IpAddr]>, ResolveError> {
        if let Some(addresses) = self.at_hand.get(name) {
            return Ok(addresses);
        }
        let (answer, until) = timeout_at(deadline, self.both(name))
            .await
            .unwrap_or((Err(ResolveError::Timeout), deadline));
        if let Ok(addresses) = &answer {
            self.at_hand.put(name, addresses, until);
        }
        answer
    }

    /// What the two families say together, and when the first of their answers runs out: at once
    /// when one could not be had.
    async fn both(&self, name: &str) -> Dated {
        match self.family {
            Family::Ipv4Only => return self.ask(name, RecordType::A).await,
            Family::Ipv6Only => return self.ask(name, RecordType::AAAA).await,
            Family::Auto | Family::Ipv4 | Family::Ipv6 => {}
        }
        let (v4, v6) = self.race(name).await;
        let (first, second) = if self.family == Family::Ipv4 { (v4, v6) } else { (v6, v4) };
        let until = first.1.min(second.1);
        let answer = match (first.0, second.0) {
            (Ok(first), Ok(second)) => Ok(take_turns(&first, &second).into()),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
            // "There is no such name" is certain, whatever happened to the other question.
            (Err(ResolveError::NotFound), Err(_)) | (Err(_), Err(ResolveError::NotFound)) => {
                Err(ResolveError::NotFound)
            }
            (Err(error), Err(_)) => Err(error),
        };
        (answer, until)
    }

    /// Both families at once; once one has addresses the other has [`RESOLUTION_DELAY`] left.
    async fn race(&self, name: &str) -> (Dated, Dated) {
        let (mut v4, mut v6) = (
            std::pin::pin!(self.ask(name, RecordType::A)),
            std::pin::pin!(self.ask(name, RecordType::AAAA)),
        );
        tokio::select! {
            found = &mut v4 => {
                let other = second_answer(&found, v6).await;
                (found, other)
            }
            found = &mut v6 => {
                let other = second_answer(&found, v4).await;
                (other, found)
            }
        }
    }

    /// One family of one name: from the cache, from the question under way, or asked now.
    async fn ask(&self, name: &str, family: RecordType) -> Dated {
        let slot = self.slot(name, family);
        if let Some(dated) = slot.get() {
            self.counts.add(Lookup::Cached);
            return dated.clone();
        }
        // A task of its own: the answer is worth keeping even when this client has gone.
        let (servers, question) = (self.servers.clone(), name.to_owned());
        let asked = tokio::spawn(async move {
            slot.get_or_init(|| question_of(servers, question, family)).await.clone()
        });
        let lost = || (Err(ResolveError::Failed("the question was lost".into())), Instant::now());
        let dated = asked.await.unwrap_or_else(|_| lost());
        self.counts.add(match &dated.0 {
            Ok(_) | Err(ResolveError::NotFound) => Lookup::Answered,
            Err(ResolveError::Timeout | ResolveError::Failed(_)) => Lookup::Failed,
        });
        dated
    }

    /// How often `lookup` was the case.
    pub fn count_of(&self, lookup: Lookup) -> u64 {
        match lookup {
            Lookup::AtHand => self.at_hand.hits(),
            Lookup::Cached | Lookup::Answered | Lookup::Failed => self.counts.of(lookup),
        }
    }

    fn slot(&self, name: &str, family: RecordType) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let alive = |slot: &Slot| slot.get().is_none_or(|(_, until)| *until > now);
        if let Some(slot) = slots.get(&(Box::from(name), family)).filter(|slot| alive(slot)) {
            return Arc::clone(slot);
        }
        if slots.len() >= CACHE_SIZE {
            slots.retain(|_, slot| alive(slot));
            if slots.len() >= CACHE_SIZE {
                slots.clear();
            }
        }
        let slot = Slot::default();
        slots.insert((name.into(), family), Arc::clone(&slot));
        slot
    }
}

/// The answer of the other family, for which there is not much time left when one has addresses.
async fn second_answer(first: &Dated, second: impl Future<Output = Dated>) -> Dated {
    if first.0.is_err() {
        return second.await;
    }
    let late = |_| (Err(ResolveError::Timeout), Instant::now());
    timeout(RESOLUTION_DELAY, second).await.unwrap_or_else(late)
}

/// Asks the name servers.
async fn question_of(servers: TokioResolver, name: String, family: RecordType) -> Dated {
    // With a dot inside it is complete; a single label may need the system's search list.
    let full = if name.contains('.') { format!("{name}.") } else { name };
    let found = timeout(QUESTION_LIMIT, servers.lookup(full, family)).await;
    let (answer, life) = match found {
        Err(_) => (Err(ResolveError::Timeout), Duration::ZERO),
        Ok(Err(error)) => failure(&error),
        Ok(Ok(lookup)) => {
            let records = lookup.answers();
            let addresses: Arc<[IpAddr]> =
                records.iter().filter_map(|record| address(&record.data)).collect();
            let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
            let life = Duration::from_secs(ttl.into()).min(MAX_TTL);
            if addresses.is_empty() {
                (Err(ResolveError::NotFound), life.min(MAX_NEGATIVE_TTL))
            } else {
                (Ok(addresses), life)
            }
        }
    };
    (answer, Instant::now() + life)
}

const fn address(data: &RData) -> Option<IpAddr> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "dozens of record types that are no address")]
    match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    }
}

fn failure(error: &NetError) -> (Answer, Duration) {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that may grow")]
    match error {
        NetError::Timeout => (Err(ResolveError::Timeout), Duration::ZERO),
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            let ttl =
                none.negative_ttl.map_or(MAX_NEGATIVE_TTL, |ttl| Duration::from_secs(ttl.into()));
            (Err(ResolveError::NotFound), ttl.min(MAX_NEGATIVE_TTL))
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            (Err(ResolveError::Failed(none.response_code.to_string().into())), Duration::ZERO)
        }
        other => (Err(ResolveError::Failed(other.to_string().into())), Duration::ZERO),
    }
}

fn take_turns(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    for at in 0..first.len().max(second.len()) {
        mixed.extend(first.get(at));
        mixed.extend(second.get(at));
    }
    mixed
}

/// As this machine is configured.
fn system() -> Result<ResolverBuilder<TokioRuntimeProvider>, SetupError> {
    TokioResolver::builder_tokio().map_err(SetupError::System)
}

fn tune(options: &mut ResolverOpts) {
    // The cache is ours: it is keyed by what we ask and shared by concurrent questions.
    options.cache_size = 0;
    options.timeout = DATAGRAM_LIMIT;
    options.attempts = 2;
    options.edns0 = true;
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    use super::{Family, NameServer, Resolver, Transport, take_turns};
    use crate::target::Host;

    #[test]
    fn families_take_turns_the_preferred_first() {
        let v6: Vec<IpAddr> = ["::1", "::2"].iter().map(|text| text.parse().unwrap()).collect();
        let v4: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        let shown: Vec<_> = take_turns(&v6, &v4).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["::1", "192.0.2.1", "::2"]);
    }

    /// Every name is 192.0.2.7.
    fn answer(question: &[u8]) -> Vec<u8> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        if query.query_type() == RecordType::A {
            let data = RData::A("192.0.2.7".parse().unwrap());
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        }
        answer.add_query(query);
        answer.to_vec().unwrap()
    }

    /// Serves TLS connections of protocol `alpn` on loopback.
    async fn encrypted<F>(
        alpn: &[u8],
        serve: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static,
    ) -> (u16, ClientConfig)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.alpn_protocols = vec![alpn.to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(serve(stream));
                }
            }
        });
        (port, client)
    }

    async fn resolves(transport: Transport, port: u16, tls: Option<ClientConfig>) -> bool {
        let host = Host::Ip("127.0.0.1".parse().unwrap());
        let server = NameServer { host, port, transport };
        let resolver = Resolver::with_tls(&[server], Family::Auto, tls).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let found = resolver.resolve("any.example", deadline).await;
        found == Ok(Arc::from(vec!["192.0.2.7".parse().unwrap()]))
    }

    #[tokio::test]
    async fn names_are_resolved_over_tls_and_only_with_a_trusted_certificate() {
        let (port, tls) = encrypted(b"dot", |mut stream| async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer(&question);
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        })
        .await;
        assert!(resolves(Transport::Tls, port, Some(tls)).await);
        assert!(!resolves(Transport::Tls, port, None).await);
    }

    #[tokio::test]
    async fn names_are_resolved_over_https() {
        let (port, tls) = encrypted(b"h2", |stream| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer_over_https(request, respond));
            }
        })
        .await;
        assert!(resolves(Transport::Https("/q".into()), port, Some(tls)).await);
    }

    async fn answer_over_https(
        mut request: http::Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) {
        assert_eq!(request.uri().path(), "/q");
        let mut question = Vec::new();
        while let Some(Ok(part)) = request.body_mut().data().await {
            question.extend_from_slice(&part);
        }
        let answer = Bytes::from(answer(&question));
        let head = http::Response::builder()
            .header("content-type", "application/dns-message")
            .header("content-length", answer.len())
            .body(())
            .unwrap();
        respond.send_response(head, false).unwrap().send_data(answer, true).unwrap();
    }
}
