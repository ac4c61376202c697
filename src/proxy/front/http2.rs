//! HTTP/2 clients (RFC 9113).

use crate::proxy::connection::Client;
use crate::proxy::server::Shared;

/// Serves `client`.
pub async fn serve(client: Client, _shared: &Shared) {
    client.close().await;
}
