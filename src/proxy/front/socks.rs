//! SOCKS5 (RFC 1928, RFC 1929), SOCKS4 and SOCKS4a clients: one tunnel a connection.

use std::net::SocketAddr;

use bytes::Buf;
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::net::leg::receive;
use crate::proxy::access_log::Record;
use crate::proxy::authorize::{Identity, Offer};
use crate::proxy::connection::Client;
use crate::proxy::egress::{self, Terms, Way};
use crate::proxy::front::inside;
use crate::proxy::internal;
use crate::proxy::reply::Persist;
use crate::proxy::server::Shared;
use crate::proxy::stop::Stop;
use crate::proxy::tunnel;
use crate::target::Target;
use crate::wire::socks::{self, Login, Method, Reply, Reply4, Request, SocksError};

/// The two versions; they differ in how a request looks and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Socks4,
    Socks5,
}

/// Why a client has not asked for anything.
enum Unasked {
    /// It has left: somebody has looked what is spoken here.
    Left,
    /// It is told why.
    Stop(Stop),
}

impl From<Stop> for Unasked {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Serves a SOCKS5 client.
pub async fn serve5(client: Client, shared: &Shared) {
    serve(client, shared, Version::Socks5).await;
}

/// Serves a SOCKS4 or SOCKS4a client.
pub async fn serve4(client: Client, shared: &Shared) {
    serve(client, shared, Version::Socks4).await;
}

/// Says that the house is full, after as much politeness as the protocol needs before that.
pub async fn turn_away(mut client: Client, shared: &Shared, stop: Stop, record: Record) {
    let deadline = Instant::now() + shared.settings.times.header;
    let version = if client.buffer.starts_with(&[4]) { Version::Socks4 } else { Version::Socks5 };
    let asked = async {
        if version == Version::Socks5 {
            let greeting = read(&mut client, deadline, socks::greeting).await?;
            if greeting.none || !greeting.password {
                send(&mut client, &socks::choice(Method::None)).await?;
            } else {
                // Not offered is not chosen (RFC 1928 §3). The credentials open nothing: whatever
                // they are, the request is refused.
                send(&mut client, &socks::choice(Method::Password)).await?;
                read(&mut client, deadline, socks::login).await?;
                send(&mut client, &socks::login_reply(Login::Right)).await?;
            }
            read(&mut client, deadline, socks::request5).await?;
        }
        Ok(())
    };
    match asked.await {
        Ok(()) => refuse(client, version, stop, record).await,
        Err(unasked) => end(client, version, unasked, record).await,
    }
}

async fn serve(mut client: Client, shared: &Shared, version: Version) {
    let mut record = client.record(shared);
    let deadline = Instant::now() + shared.settings.times.header;
    let asked = match version {
        Version::Socks4 => ask4(&mut client, shared, deadline).await,
        Version::Socks5 => ask5(&mut client, shared, deadline).await,
    };
    let (identity, target) = match asked {
        Ok(asked) => asked,
        Err(unasked) => return end(client, version, unasked, record).await,
    };
    record.set_method("CONNECT");
    record.user = identity.user().map(Into::into);
    record.target = Some(target.clone());
    if internal::is_named(&target) {
        return match inside::admit(&client, (&identity, &target), shared) {
            Err(stop) => refuse(client, version, stop, record).await,
            Ok(inside) if grant(&mut client, version, None, &mut record).await => {
                Box::pin(inside::serve(inside, client, &identity, shared, record)).await;
            }
            Ok(_) => {}
        };
    }
    // SOCKS clients do not say which proxies they have come through.
    let terms = Terms { trust: identity.trust(), way: Way::Fresh, via: &shared.via };
    match egress::open(shared, &target, terms, &mut record).await {
        Err(stop) => refuse(client, version, stop, record).await,
        Ok(origin) => {
            let bound = origin.egress.map(|ip| SocketAddr::new(ip, 0));
            if grant(&mut client, version, bound, &mut record).await {
                tunnel::start(shared, client, origin.stream, &origin.early, record);
            }
        }
    }
}

/// Who the client is and where it wants to go.
async fn ask5(
    client: &mut Client,
    shared: &Shared,
    deadline: Instant,
) -> Result<(Identity, Target), Unasked> {
    let greeting = read(client, deadline, socks::greeting).await?;
    let wanted = shared.gate.wants_credentials();
    // Who offers a password and needs none may give it: an application that has one filled in.
    let method = match (wanted, greeting.none, greeting.password) {
        (false, true, _) => Method::None,
        (_, _, true) => Method::Password,
        (true, _, false) | (false, false, false) => Method::Unacceptable,
    };
    send(client, &socks::choice(method)).await?;
    let peer = client.judged;
    let identity = match method {
        Method::Unacceptable => return Err(Stop::CredentialsMissing.into()),
        Method::None => shared.gate.identify(Offer::Nothing, peer).await?,
        Method::Password => {
            let credentials = read(client, deadline, socks::login).await?;
            let identity = shared.gate.identify(Offer::Credentials(credentials), peer).await;
            let login = if identity.is_ok() { Login::Right } else { Login::Wrong };
            send(client, &socks::login_reply(login)).await?;
            identity?
        }
    };
    let request = read(client, deadline, socks::request5).await?;
    Ok((identity, connect(request)?))
}

async fn ask4(
    client: &mut Client,
    shared: &Shared,
    deadline: Instant,
) -> Result<(Identity, Target), Unasked> {
    let request = read(client, deadline, socks::request4).await?;
    let identity = shared.gate.identify(Offer::Nothing, client.judged).await?;
    Ok((identity, connect(request)?))
}

fn connect(request: Request) -> Result<Target, Stop> {
    match request {
        Request::Connect(target) => Ok(target),
        Request::Other(_) => Err(Stop::Command),
    }
}

/// Tells the client that its tunnel stands.
async fn grant(
    client: &mut Client,
    version: Version,
    bound: Option<SocketAddr>,
    record: &mut Record,
) -> bool {
    let answer = match version {
        Version::Socks4 => socks::reply4(Reply4::Granted).to_vec(),
        Version::Socks5 => socks::reply5(Reply::Succeeded, bound),
    };
    let granted = client.send(&answer).await.is_ok();
    if !granted {
        record.client_gone();
    }
    granted
}

/// Ends a connection on which nothing was asked for.
async fn end(client: Client, version: Version, unasked: Unasked, mut record: Record) {
    match unasked {
        Unasked::Left => record.client_gone(),
        Unasked::Stop(stop) => refuse(client, version, stop, record).await,
    }
}

/// Answers in the version's own words and closes.
async fn refuse(mut client: Client, version: Version, stop: Stop, mut record: Record) {
    record.stopped(&stop, Persist::Close);
    record.status = None;
    drop(record);
    let answer = match version {
        Version::Socks4 => socks::reply4(reply4_of(&stop)).to_vec(),
        // Credentials have answers of their own, which have been given.
        Version::Socks5 if is_about_credentials(&stop) => Vec::new(),
        Version::Socks5 => socks::reply5(reply_of(&stop), None),
    };
    if client.send(&answer).await.is_ok() {
        client.close().await;
    }
}

const fn is_about_credentials(stop: &Stop) -> bool {
    matches!(
        stop,
        Stop::CredentialsMissing | Stop::CredentialsWrong | Stop::CredentialsUnreadable(_)
    )
}

const fn reply4_of(stop: &Stop) -> Reply4 {
    // The nearest that version 4 has to "who are you": it knows no passwords.
    if is_about_credentials(stop) { Reply4::IdentdMismatch } else { Reply4::Rejected }
}

/// RFC 1928 §6.
pub const fn reply_of(stop: &Stop) -> Reply {
    match stop {
        Stop::Refused(_) | Stop::Loop | Stop::Service(_) => Reply::NotAllowed,
        Stop::Command => Reply::CommandNotSupported,
        Stop::Socks(SocksError::AddressType(_)) => Reply::AddressTypeNotSupported,
        Stop::Egress(failure) | Stop::Answer(failure) => {
            match failure {
                Failure::DnsError | Failure::DnsTimeout => Reply::HostUnreachable,
                Failure::DestinationIpUnroutable => Reply::NetworkUnreachable,
                Failure::ConnectionRefused => Reply::ConnectionRefused,
                // A connection attempt's life has run out; "host unreachable" would be a guess.
                Failure::ConnectionTimeout => Reply::TtlExpired,
                Failure::DestinationIpProhibited | Failure::HttpRequestDenied => Reply::NotAllowed,
                Failure::ConnectionTerminated
                | Failure::ConnectionLimitReached
                | Failure::HttpRequestError
                | Failure::HttpResponseIncomplete
                | Failure::HttpProtocolError
                | Failure::HttpUpgradeFailed
                | Failure::DestinationUnavailable
                | Failure::TlsCertificateError
                | Failure::TlsProtocolError
                | Failure::ProxyLoopDetected
                | Failure::ProxyInternalResponse
                | Failure::ProxyInternalError => Reply::GeneralFailure,
            }
        }
        Stop::Head(_)
        | Stop::Form(_)
        | Stop::Framing(_)
        | Stop::Host
        | Stop::ConnectBody
        | Stop::Chunk
        | Stop::HeadTimeout
        | Stop::CredentialsMissing
        | Stop::CredentialsWrong
        | Stop::CredentialsUnreadable(_)
        | Stop::Full
        | Stop::ClientFull
        | Stop::NotFound
        | Stop::RateLimited
        // Not "refused" and the like: that would be said of the target.
        | Stop::ParentDown(_)
        | Stop::Parent(_)
        | Stop::Http2(_)
        | Stop::Socks(_) => Reply::GeneralFailure,
    }
}

/// Reads one message.
async fn read<T>(
    client: &mut Client,
    deadline: Instant,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, SocksError>,
) -> Result<T, Unasked> {
    loop {
        if let Some((message, length)) = parse(&client.buffer).map_err(Stop::Socks)? {
            client.buffer.advance(length);
            return Ok(message);
        }
        match timeout_at(deadline, receive(&mut client.leg, &mut client.buffer)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Unasked::Left),
            Err(_) => return Err(Stop::HeadTimeout.into()),
        }
    }
}

async fn send(client: &mut Client, answer: &[u8]) -> Result<(), Unasked> {
    client.send(answer).await.map_err(|_| Unasked::Left)
}
