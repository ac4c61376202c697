//! Tunnels that end in the proxy itself: `sami-proxy.internal` by `CONNECT` or SOCKS.

use super::http;
use crate::proxy::access_log::Record;
use crate::proxy::authorize::Identity;
use crate::proxy::connection::Client;
use crate::proxy::internal::{self, ServiceError};
use crate::proxy::server::Shared;
use crate::proxy::stop::Stop;
use crate::target::Target;

/// What such a tunnel leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// What comes goes back.
    Echo,
    /// The service, as a web server.
    Service,
}

/// What `target` is; it is this proxy by name.
///
/// # Errors
///
/// [`Stop`]: there is nothing, or not for this client now.
pub(super) fn admit(
    client: &Client,
    (who, target): (&Identity, &Target),
    shared: &Shared,
) -> Result<Inside, Stop> {
    if internal::is_service(target) {
        return Ok(Inside::Service);
    }
    if !internal::is_echo(target) {
        return Err(Stop::Service(ServiceError::Unknown));
    }
    shared.service.admit_echo(client, who).map(|()| Inside::Echo)
}

/// Serves a tunnel that the client knows to stand.
pub(super) async fn serve(
    inside: Inside,
    client: Client,
    who: &Identity,
    shared: &Shared,
    mut record: Record,
) {
    match inside {
        Inside::Echo => internal::echo(client, internal::most_bytes(who.trust()), record).await,
        Inside::Service => {
            record.own();
            drop(record);
            http::serve_inside(client, who, shared).await;
        }
    }
}
