//! The name, asked of a name server of the user's choice. What two of them say differently, one of
//! them says falsely.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Context, Measured, micros};
use crate::diag::fact::{Addresses, Data, NameFailure, Skip, Status};
use crate::net::resolve::{NameServer, ResolveError, Resolver};

/// A question, TLS with the server included.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks `server`, as the user has written it.
pub(in super::super) async fn run(server: &str, context: &Context) -> Measured {
    let Some((_, server)) = context.ask.name_servers.iter().find(|(text, _)| text == server) else {
        return (Status::Skipped(Skip::OnlineOnly), None);
    };
    let begun = Instant::now();
    let asked = tokio::select! {
        asked = ask(server, context) => asked,
        () = context.stop.cancelled() => return (Status::Skipped(Skip::Interrupted), None),
    };
    let (addresses, failure) = match asked {
        Ok(addresses) => (addresses, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let status = if failure.is_none() { Status::Worked } else { Status::Failed };
    let elapsed_us = micros(begun.elapsed());
    (status, Some(Data::Addresses(Addresses { addresses, failure, os_error: None, elapsed_us })))
}

async fn ask(server: &NameServer, context: &Context) -> Result<Vec<std::net::IpAddr>, NameFailure> {
    let resolver = Resolver::without_hosts(server).await.map_err(|_| NameFailure::Failed)?;
    let deadline = Instant::now() + context.capped(LIMIT);
    let found = resolver.resolve(&context.evidence.subject.host, deadline).await;
    found.map(|it| it.to_vec()).map_err(|error| match error {
        ResolveError::NotFound => NameFailure::NoSuchName,
        ResolveError::Timeout => NameFailure::Silent,
        ResolveError::Failed(_) => NameFailure::Failed,
    })
}
