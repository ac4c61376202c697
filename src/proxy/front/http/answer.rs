//! Answers of our own, and whether the client may stay after them.

use crate::proxy::access_log::Record;
use crate::proxy::connection::Client;
use crate::proxy::pump::drain;
use crate::proxy::reply::{self, Persist, Show};
use crate::proxy::stop::Stop;
use crate::wire::http1::framing::Body;
use crate::wire::http1::head::{RequestHead, Version};

/// What has to be known of a request to refuse it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) body: Body,
    pub(super) show: Show,
    /// It was a `CONNECT`.
    tunnel: bool,
    /// The client may stay if its body is out of the way.
    pub(super) may_stay: bool,
}

impl Refused {
    pub(super) fn new(head: &RequestHead<'_>, body: Body) -> Self {
        let wants_close =
            head.version == Version::Http10 || head.fields.lists("connection", "close");
        // Who waits for 100 may or may not send the body after a refusal: nobody can tell where
        // its next request begins (RFC 9110 §10.1.1).
        let unsure = body != Body::Empty && head.fields.has("expect");
        Self {
            body,
            show: Show::to(head.method),
            tunnel: head.method == "CONNECT",
            may_stay: !wants_close && !unsure,
        }
    }

    /// The same once the body of `head` has been read.
    pub(super) fn after_body(self, head: &RequestHead<'_>) -> Self {
        let may_stay = Self::new(head, Body::Empty).may_stay;
        Self { body: Body::Empty, may_stay, ..self }
    }
}

/// Says no; the connection is kept when the rest of the request can be put out of the way.
pub(super) async fn refuse(
    mut client: Client,
    stop: Stop,
    refused: Refused,
    mut record: Record,
) -> Option<Client> {
    let stays = refused.may_stay && may_follow(&stop, &refused, &client);
    if !(stays && drain(&mut client, refused.body).await) {
        refuse_for_good(client, stop, record, refused.show).await;
        return None;
    }
    record.stopped(&stop, Persist::Keep);
    client.send(&reply::answer(&stop, Persist::Keep, refused.show)).await.ok()?;
    Some(client)
}

/// Whether what comes after a refused request is surely a request. After `CONNECT` it may be bytes
/// for the tunnel that was refused: only who is asked for credentials, and has sent nothing ahead,
/// is expected to ask again.
fn may_follow(stop: &Stop, refused: &Refused, client: &Client) -> bool {
    let asked = reply::status_of(stop).0 == 407;
    !refused.tunnel || (asked && client.buffer.is_empty())
}

/// Says that the house is full.
pub async fn turn_away(client: Client, stop: Stop, record: Record) {
    refuse_for_good(client, stop, record, Show::Body).await;
}

pub(super) async fn refuse_for_good(
    mut client: Client,
    stop: Stop,
    mut record: Record,
    show: Show,
) {
    record.stopped(&stop, Persist::Close);
    drop(record);
    if client.send(&reply::answer(&stop, Persist::Close, show)).await.is_ok() {
        client.close().await;
    }
}

pub(super) async fn answer(
    mut client: Client,
    text: impl FnOnce(Persist) -> Vec<u8>,
    refused: Refused,
    mut record: Record,
) -> Option<Client> {
    let stays = refused.may_stay && drain(&mut client, refused.body).await;
    record.own();
    let persist = if stays { Persist::Keep } else { Persist::Close };
    client.send(&text(persist)).await.ok()?;
    if stays {
        return Some(client);
    }
    client.close().await;
    None
}
