//! `--admin`: metrics and health for machines, on a port of their own.
//!
//! It asks for no credentials: who reaches the port may read it. One request a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::accept::BACK_OFF;
use super::metrics;
use super::reply::{self, Document, Persist, Show};
use super::server::Shared;
use super::stop::Stop;
use crate::net::leg::receive;
use crate::wire::http1::head::{HeadScan, parse_request};

/// Connections at once; more wait in the kernel.
const MOST: usize = 16;
/// For one connection.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers until it is dropped; while the proxy drains too.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BACK_OFF).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Late, gone or malformed: nothing to tell anybody.
            drop(timeout(LIMIT, serve(stream, &shared)).await);
            drop(place);
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut scan = HeadScan::default();
    let answer = loop {
        match scan.take(&mut buffer) {
            Ok(Some(head)) => break answer(&head, shared),
            Err(error) => break reply::answer(&Stop::Head(error), Persist::Close, Show::Body),
            Ok(None) if receive(&mut stream, &mut buffer).await? == 0 => return Ok(()),
            Ok(None) => {}
        }
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // Until the client has taken it: a close with bytes unread is a reset.
    while receive(&mut stream, &mut buffer).await? > 0 {
        buffer.clear();
    }
    Ok(())
}

fn answer(head: &[u8], shared: &Arc<Shared>) -> Vec<u8> {
    let head = match parse_request(head) {
        Ok(head) => head,
        Err(error) => return reply::answer(&Stop::Head(error), Persist::Close, Show::Body),
    };
    let show = Show::to(head.method);
    let manner = (Persist::Close, show);
    let path = head.target.split_once('?').map_or(head.target, |(path, _)| path);
    match path {
        _ if !matches!(head.method, "GET" | "HEAD") => {
            reply::answer(&Stop::NotFound, Persist::Close, show)
        }
        "/metrics" => {
            let document = Document::new(metrics::MEDIA_TYPE, metrics::text(shared));
            reply::document(&document, manner)
        }
        "/readyz" if shared.drain.is_cancelled() => reply::draining(manner),
        "/healthz" | "/readyz" => reply::healthy(Persist::Close, show),
        _ => reply::answer(&Stop::NotFound, Persist::Close, show),
    }
}
