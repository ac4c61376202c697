//! Proxies and targets of every kind, on loopback, byte by byte.

mod faults;
mod replies;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::super::Context;
use super::entry::Duplex;
use super::journey;
use crate::diag::ask::Ask;
use crate::diag::evidence::{Family, Scheme, Subject};
use crate::diag::fact::{Data, Journey, Status, Trip};
use crate::secret::Secret;

type Stream = Box<dyn Duplex>;

/// An authority, and a server with a certificate of it for the loopback address and `target.test`.
struct Authority {
    root: CertificateDer<'static>,
    acceptor: TlsAcceptor,
    leaf: CertificateDer<'static>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Test authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = ["target.test".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], secret.into())
        .unwrap();
    Authority {
        root: issuer.der().clone(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
        leaf: leaf.der().clone(),
    }
}

/// Hands every connection to `serve`.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What is said has arrived before the connection is reset, or time moved.
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Answers the first thing that is said on each connection with `bytes`, and closes.
async fn says(bytes: &'static [u8]) -> SocketAddr {
    listen(move |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(bytes).await.unwrap();
    })
    .await
}

/// A message head, or what came until the end.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn ask(proxy: SocketAddr, scheme: Scheme) -> Ask {
    let host = proxy.ip().to_string();
    let mut ask = Ask::port(Subject { host, port: proxy.port(), family: Family::Any });
    ask.asked.scheme = scheme;
    ask
}

fn with_login(mut ask: Ask) -> Ask {
    ask.login = Some(("anna".into(), Secret::new("hunter2@:/")));
    ask
}

fn context(ask: Ask) -> Context {
    let budget = Duration::from_secs(15);
    Context {
        evidence: Arc::new(ask.evidence()),
        ask: Arc::new(ask),
        deadline: Instant::now() + budget,
        budget,
        stop: CancellationToken::new(),
    }
}

async fn journey(target: &str, proxy: Option<SocketAddr>, context: &Context) -> Journey {
    let (status, data) = journey::run(target, proxy, context).await;
    let Some(Data::Journey(journey)) = data else { panic!("{data:?}") };
    let answered = journey.trips.last().unwrap().answer.is_some();
    assert_eq!(status, if answered { Status::Worked } else { Status::Failed });
    journey
}

/// The only trip.
async fn trip(target: &str, proxy: Option<SocketAddr>, context: &Context) -> Trip {
    let mut trips = journey(target, proxy, context).await.trips;
    assert_eq!(trips.len(), 1);
    trips.remove(0)
}
