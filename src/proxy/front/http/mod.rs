//! HTTP/1.0 and HTTP/1.1 clients: requests one after the other on a connection, each judged anew.

mod answer;
mod own;

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::proxy::access_log::Record;
use crate::proxy::authorize::{Identity, Offer};
use crate::proxy::connection::Client;
use crate::proxy::egress::{self, Terms, Way};
use crate::proxy::forward::{self, Afterwards, Answered};
use crate::proxy::front::inside;
use crate::proxy::internal::{self, ServiceError};
use crate::proxy::origins::Origin;
use crate::proxy::policy::Trust;
use crate::proxy::reply::{self, Persist, Show};
use crate::proxy::rewrite::{self, Onward};
use crate::proxy::server::Shared;
use crate::proxy::stop::Stop;
use crate::proxy::tunnel;
use crate::target::Target;
use crate::wire::http1::form::{Form, form_of};
use crate::wire::http1::framing::{Body, request_body};
use crate::wire::http1::head::{HeadScan, RequestHead, Version, leading_blank, parse_request};

pub use answer::turn_away;
use answer::{Refused, refuse, refuse_for_good};
use own::{last_hop, own};

/// A connection without a request under way is closed after this long. Clients that pool
/// connections give up earlier themselves (browsers after 5 minutes, SDKs after 5 to 60 s).
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves `client` until it leaves, is refused for good, or became a tunnel.
pub async fn serve(client: Client, shared: &Shared) {
    requests(client, None, shared).await;
}

/// Serves a `client` that has come through a tunnel to `sami-proxy.internal`, where `who` it is has
/// been said.
pub(super) async fn serve_inside(client: Client, who: &Identity, shared: &Shared) {
    requests(client, Some(who), shared).await;
}

async fn requests(mut client: Client, inside: Option<&Identity>, shared: &Shared) {
    let mut patience = shared.settings.times.header;
    loop {
        let next = next_head(&mut client, shared, patience).await;
        let record = || client.record(shared);
        match next {
            Next::Quiet => return client.close().await,
            Next::Stop(stop) => {
                let record = record();
                return refuse_for_good(client, stop, record, Show::Body).await;
            }
            Next::Head(head) => {
                let record = record();
                let served = match inside {
                    None => request(client, &head, shared, record).await,
                    Some(who) => Box::pin(inside_request(client, &head, who, shared, record)).await,
                };
                match served {
                    Some(same) => client = same,
                    None => return,
                }
            }
        }
        patience = KEEP_ALIVE;
    }
}

enum Next {
    /// A complete head.
    Head(Vec<u8>),
    /// Nothing was said, or the client has left.
    Quiet,
    /// Something was said, but it is no head.
    Stop(Stop),
}

/// Waits for the next request head; `patience` is for its first byte.
async fn next_head(client: &mut Client, shared: &Shared, patience: Duration) -> Next {
    let mut scan = HeadScan::default();
    let mut deadline = Instant::now() + patience;
    let mut begun = false;
    if client.buffer.is_empty() {
        // What the last request needed is too much for a client that may be silent for long.
        client.buffer = BytesMut::new();
    }
    loop {
        let blank = if begun { 0 } else { leading_blank(&client.buffer) };
        client.buffer.advance(blank);
        if !begun && client.buffer.first().is_some_and(|byte| *byte != b'\r') {
            begun = true;
            deadline = Instant::now() + shared.settings.times.header;
        }
        match scan.take(&mut client.buffer) {
            Ok(Some(head)) => return Next::Head(head),
            Ok(None) => {}
            Err(error) => return Next::Stop(Stop::Head(error)),
        }
        match timeout_at(deadline, client.hear((!begun).then_some(&shared.drain))).await {
            Ok(0) => return Next::Quiet,
            Ok(_) => {}
            Err(_) if begun => return Next::Stop(Stop::HeadTimeout),
            Err(_) => return Next::Quiet,
        }
    }
}

/// Serves one request. Gives the client back when it may send another.
async fn request(
    client: Client,
    head: &[u8],
    shared: &Shared,
    mut record: Record,
) -> Option<Client> {
    let parsed = match understand(head, &mut record) {
        Ok(parsed) => parsed,
        Err((stop, show)) => {
            refuse_for_good(client, stop, record, show).await;
            return None;
        }
    };
    let Request { head, form, body } = parsed;
    let refused = Refused::new(&head, body);
    let (target, origin_form) = match form {
        Form::Own(path) => {
            return Box::pin(own(client, (&head, path), refused, shared, record)).await;
        }
        Form::Connect(target) => (target, None),
        Form::Absolute { target, origin_form } => (target, Some(origin_form)),
    };
    let identity = match shared.gate.identify(Offer::Fields(&head.fields), client.judged).await {
        Ok(identity) => identity,
        Err(stop) => return refuse(client, stop, refused, record).await,
    };
    record.user = identity.user().map(Into::into);
    if internal::is_named(&target) {
        let request = (&head, origin_form);
        let here = here(client, (request, &target), (&identity, refused), shared, record);
        return Box::pin(here).await;
    }
    if rewrite::has_passed(&head.fields, &shared.via) {
        return refuse(client, Stop::Loop, refused, record).await;
    }
    let via = rewrite::way_so_far(&head.fields, &shared.via);
    let onward =
        origin_form.map(|origin_form| Onward { head, target: target.clone(), origin_form, body });
    if let Some(onward) = &onward
        && onward.max_forwards() == Some(0)
    {
        return last_hop(client, &onward.head, refused, record).await;
    }
    let trust = identity.trust();
    let repeatable = onward.as_ref().is_some_and(Onward::is_repeatable);
    let way = if repeatable { Way::Kept } else { Way::Fresh };
    match egress::open(shared, &target, Terms { trust, way, via: &via }, &mut record).await {
        Err(stop) => refuse(client, stop, refused, record).await,
        Ok(origin) => match onward {
            None => establish(client, origin, shared, record).await,
            Some(onward) => forward(client, origin, (&onward, trust), shared, record).await,
        },
    }
}

struct Request<'b> {
    head: RequestHead<'b>,
    form: Form<'b>,
    body: Body,
}

/// Reads and checks a head; an error comes with whether the answer may have a body.
fn understand<'b>(head: &'b [u8], record: &mut Record) -> Result<Request<'b>, (Stop, Show)> {
    let head = parse_request(head).map_err(|error| (Stop::Head(error), Show::Body))?;
    let show = Show::to(head.method);
    record.set_method(head.method);
    let checked = || {
        let form = form_of(&head).map_err(Stop::Form)?;
        let body = request_body(head.version, &head.fields).map_err(Stop::Framing)?;
        let hosts = head.fields.all("host").count();
        // RFC 9112 §3.2. A tunnel needs no Host, and some clients of tunnels send none.
        let enough = hosts == 1
            || (hosts == 0
                && (head.version == Version::Http10 || matches!(form, Form::Connect(_))));
        if !enough {
            return Err(Stop::Host);
        }
        if matches!(form, Form::Connect(_)) && body != Body::Empty {
            return Err(Stop::ConnectBody);
        }
        Ok((form, body))
    };
    let (form, body) = checked().map_err(|stop| (stop, show))?;
    record.target = match &form {
        Form::Connect(target) | Form::Absolute { target, .. } => Some(target.clone()),
        Form::Own(_) => None,
    };
    Ok(Request { head, form, body })
}

/// Serves a request to `sami-proxy.internal`.
async fn here(
    mut client: Client,
    ((head, path), target): ((&RequestHead<'_>, Option<&str>), &Target),
    (who, refused): (&Identity, Refused),
    shared: &Shared,
    mut record: Record,
) -> Option<Client> {
    match path {
        Some(path) if internal::is_service(target) => {
            own::service(client, (head, path), (who, refused), shared, record).await
        }
        Some(_) => refuse(client, Stop::Service(ServiceError::Unknown), refused, record).await,
        None => {
            let inside = match inside::admit(&client, (who, target), shared) {
                Ok(inside) => inside,
                Err(stop) => return refuse(client, stop, refused, record).await,
            };
            record.status = Some(200);
            if client.send(reply::ESTABLISHED).await.is_err() {
                record.client_gone();
            } else {
                inside::serve(inside, client, who, shared, record).await;
            }
            None
        }
    }
}

/// Serves one request inside a tunnel to `sami-proxy.internal`.
async fn inside_request(
    client: Client,
    head: &[u8],
    who: &Identity,
    shared: &Shared,
    mut record: Record,
) -> Option<Client> {
    let Request { head, form, body } = match understand(head, &mut record) {
        Ok(request) => request,
        Err((stop, show)) => {
            refuse_for_good(client, stop, record, show).await;
            return None;
        }
    };
    record.user = who.user().map(Into::into);
    let refused = Refused::new(&head, body);
    match form {
        Form::Own(path) => {
            own::service(client, (&head, path), (who, refused), shared, record).await
        }
        Form::Connect(_) | Form::Absolute { .. } => {
            refuse(client, Stop::Service(ServiceError::Unknown), refused, record).await
        }
    }
}

/// Answers `CONNECT` and lets the bytes flow.
async fn establish(
    mut client: Client,
    origin: Origin,
    shared: &Shared,
    mut record: Record,
) -> Option<Client> {
    record.status = Some(200);
    if client.send(reply::ESTABLISHED).await.is_err() {
        record.client_gone();
        return None;
    }
    tunnel::start(shared, client, origin.stream, &origin.early, record);
    None
}

/// Passes a request on and its answer back.
async fn forward(
    mut client: Client,
    mut origin: Origin,
    (onward, trust): (&Onward<'_>, Trust),
    shared: &Shared,
    mut record: Record,
) -> Option<Client> {
    let mut answered =
        forward::exchange(&mut client, &mut origin, onward, shared, &mut record).await;
    if matches!(answered, Answered::Stale) {
        record.meter.take_back_up(0);
        let via = rewrite::way_so_far(&onward.head.fields, &shared.via);
        let fresh = Terms { trust, way: Way::Fresh, via: &via };
        answered = match egress::open(shared, &onward.target, fresh, &mut record).await {
            Err(stop) => Answered::Refused(stop),
            Ok(fresh) => {
                origin = fresh;
                forward::exchange(&mut client, &mut origin, onward, shared, &mut record).await
            }
        };
    }
    match answered {
        Answered::Complete(persist, afterwards) => {
            // Not held while a client takes its time to leave.
            match afterwards {
                Afterwards::Reusable => shared.origins.put(origin),
                Afterwards::Spent => drop(origin),
            }
            record.complete();
            drop(record);
            if persist == Persist::Keep {
                return Some(client);
            }
            client.close().await;
        }
        Answered::Switch(early) => tunnel::start(shared, client, origin.stream, &early, record),
        Answered::Refused(stop) => {
            drop(origin);
            refuse_for_good(client, stop, record, Show::to(onward.head.method)).await;
        }
        // A fresh connection is never stale.
        Answered::Stale | Answered::Broken => {}
    }
    None
}
