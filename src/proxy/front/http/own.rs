//! Requests that the proxy answers by itself: browsers, health checks, `sami-proxy.internal`.

use std::net::SocketAddr;

use super::answer::{Refused, answer, refuse, refuse_for_good};
use crate::proxy::access_log::Record;
use crate::proxy::authorize::{Identity, Offer};
use crate::proxy::connection::Client;
use crate::proxy::door::Cover;
use crate::proxy::internal::{self, ServiceError, Task};
use crate::proxy::page::{self, Credentials, Scheme, Visit};
use crate::proxy::policy::Trust;
use crate::proxy::reply::{self, Coding, Persist, Show};
use crate::proxy::rewrite;
use crate::proxy::server::Shared;
use crate::proxy::settings::Page;
use crate::proxy::stop::Stop;
use crate::target::Target;
use crate::wire::http1::framing::Body;
use crate::wire::http1::head::{RequestHead, Version};

/// Answers a request in origin-form: somebody opens the port in a browser, or asks for our health.
pub(super) async fn own(
    client: Client,
    (head, path): (&RequestHead<'_>, &str),
    refused: Refused,
    shared: &Shared,
    record: Record,
) -> Option<Client> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let got = matches!(head.method, "GET" | "HEAD");
    if got && path == "/healthz" {
        let healthy = |persist| reply::healthy(persist, refused.show);
        return answer(client, healthy, refused, record).await;
    }
    let shown = got && shared.settings.page == Page::Shown;
    let document = if shown { document(head, path, &client, shared).await } else { None };
    match document {
        Some(document) => {
            let text = |persist| reply::document(&document, (persist, refused.show));
            answer(client, text, refused, record).await
        }
        None => refuse(client, Stop::NotFound, refused, record).await,
    }
}

/// What a browser sees at `path`.
async fn document(
    head: &RequestHead<'_>,
    path: &str,
    client: &Client,
    shared: &Shared,
) -> Option<reply::Document> {
    if path == "/favicon.ico" {
        return Some(reply::Document::new("image/svg+xml", page::FAVICON.to_owned()));
    }
    // The host and port as the browser used them: we do not know what our port is published as.
    let host = head.fields.only("host").and_then(|host| std::str::from_utf8(host).ok())?;
    let scheme = match client.door.cover() {
        Cover::Plain => Scheme::Http,
        Cover::Tls => Scheme::Https,
    };
    let authority = match scheme {
        Scheme::Http => Target::from_http_authority(host),
        Scheme::Https => Target::from_https_authority(host),
    };
    let authority = &authority.ok()?;
    match path {
        "/" => {
            let wanted = shared.gate.wants_credentials();
            let credentials = if wanted { Credentials::Wanted } else { Credentials::NotWanted };
            // A page asks for no password; who would give the right one is trusted.
            let trust = match shared.gate.identify(Offer::Nothing, client.judged).await {
                Ok(identity) => identity.trust(),
                Err(_) => Trust::Trusted,
            };
            let client = client.peer.ip();
            let visit = Visit { authority, client, scheme, credentials, trust };
            let languages = head.fields.only("accept-language");
            let text = page::page(&visit, page::language(languages));
            let fields = format!("{}Vary: Accept-Language, Host\r\n", page::SECURITY);
            Some(reply::Document::new("text/html; charset=utf-8", text).with(fields))
        }
        "/proxy.pac" => {
            let text = page::pac(authority, scheme);
            Some(reply::Document::new("application/x-ns-proxy-autoconfig", text))
        }
        _ => None,
    }
}

/// Answers a request to `sami-proxy.internal`.
pub(super) async fn service(
    mut client: Client,
    (head, path): (&RequestHead<'_>, &str),
    (who, refused): (&Identity, Refused),
    shared: &Shared,
    record: Record,
) -> Option<Client> {
    let admitted = Task::read(head.method, path, who.trust())
        .map_err(Stop::Service)
        .and_then(|task| shared.service.admit(&task, &client, who).map(|()| task));
    let task = match admitted {
        Ok(task) => task,
        Err(stop) => return refuse(client, stop, refused, record).await,
    };
    match task {
        Task::WhoAmI(nonce) => {
            let text = internal::whoami(&client, who, nonce.as_deref());
            json(client, text, refused, record).await
        }
        Task::Health => {
            let text = Box::pin(shared.service.health.report(shared)).await.to_string();
            json(client, text, refused, record).await
        }
        Task::Report => Box::pin(report(client, refused, shared, record)).await,
        Task::Sink => {
            let most = internal::most_bytes(who.trust());
            let comes = match refused.body {
                Body::Empty => false,
                Body::Length(length) => length <= most,
                Body::Chunked | Body::UntilClose => true,
            };
            if comes && head.version == Version::Http11 && head.fields.has("expect") {
                client.send(reply::CONTINUE).await.ok()?;
            }
            match internal::sink(&mut client, refused.body, most).await {
                Ok(took) => json(client, took, refused.after_body(head), record).await,
                Err(stop) => {
                    refuse_for_good(client, stop, record, refused.show).await;
                    None
                }
            }
        }
        Task::Bytes(_) | Task::Stream(..) => down(client, task, (head, refused), record).await,
    }
}

async fn report(
    client: Client,
    refused: Refused,
    shared: &Shared,
    record: Record,
) -> Option<Client> {
    let Some(reporter) = &shared.service.reporter else {
        return refuse(client, Stop::Service(ServiceError::Unknown), refused, record).await;
    };
    let port = shared.own.first().map_or(0, SocketAddr::port);
    match reporter.report(port).await {
        Some(text) => json(client, text.to_string(), refused, record).await,
        None => refuse(client, Stop::Service(ServiceError::NoReport), refused, record).await,
    }
}

async fn json(client: Client, text: String, refused: Refused, record: Record) -> Option<Client> {
    let document = reply::Document::new("application/json", text);
    let text = |persist| reply::document(&document, (persist, refused.show));
    answer(client, text, refused, record).await
}

/// Sends what is too long, or takes too long, to be one piece.
async fn down(
    mut client: Client,
    task: Task,
    (head, refused): (&RequestHead<'_>, Refused),
    mut record: Record,
) -> Option<Client> {
    let coding = match head.version {
        Version::Http11 => Coding::Chunked,
        Version::Http10 => Coding::UntilClose,
    };
    let stays = refused.may_stay && refused.body == Body::Empty;
    let persist = if stays { Persist::Keep } else { Persist::Close };
    let head_only = refused.show == Show::LengthOnly;
    let sent = match task {
        Task::Bytes(count) => {
            let head = reply::length_head(count, persist);
            let count = if head_only { 0 } else { count };
            internal::bytes(&mut client, &head, count).await
        }
        Task::Stream(..) if head_only => client.send(&reply::event_head(coding, persist)).await,
        Task::Stream(count, interval) => {
            let head = reply::event_head(coding, persist);
            internal::stream(&mut client, &head, (count, interval), coding).await
        }
        Task::WhoAmI(_) | Task::Sink | Task::Health | Task::Report => Ok(()),
    };
    if sent.is_err() {
        record.client_gone();
        client.leg.reset_on_close();
        return None;
    }
    record.own();
    if stays {
        return Some(client);
    }
    drop(record);
    client.close().await;
    None
}

/// The request was to come no further than here (RFC 9110 §7.6.2): we are its final recipient.
pub(super) async fn last_hop(
    client: Client,
    head: &RequestHead<'_>,
    refused: Refused,
    record: Record,
) -> Option<Client> {
    if head.method == "TRACE" {
        let seen = rewrite::trace(head);
        return answer(client, |persist| reply::trace(&seen, persist), refused, record).await;
    }
    answer(client, reply::options, refused, record).await
}
