//! The name, asked for as applications of the operating system do.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::{Context, Measured, micros};
use crate::diag::fact::{Addresses, Data, NameFailure, Skip, Status};
use crate::net::system_names::{NameError, lookup};

/// A stub resolver with one dead server gives up after 10 s or more; nobody waits that long.
const LIMIT: Duration = Duration::from_secs(6);

/// Asks once.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let begun = Instant::now();
    let name = &context.evidence.subject.host;
    let found = tokio::select! {
        found = timeout(context.capped(LIMIT), lookup(name)) => found,
        () = context.stop.cancelled() => return (Status::Skipped(Skip::Interrupted), None),
    };
    let (addresses, failure, os_error) = match found {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            (addresses, Some(NameFailure::NoAddress), None)
        }
        Ok(Ok(addresses)) => (addresses, None, None),
        Ok(Err((error, number))) => (Vec::new(), Some(failure(error)), number),
        Err(_) => (Vec::new(), Some(NameFailure::Silent), None),
    };
    let family = context.evidence.subject.family;
    let usable = addresses.iter().any(|ip| family.has(*ip));
    let failure = failure.or((!usable).then_some(NameFailure::NoAddress));
    let status = if failure.is_none() { Status::Worked } else { Status::Failed };
    let elapsed_us = micros(begun.elapsed());
    (status, Some(Data::Addresses(Addresses { addresses, failure, os_error, elapsed_us })))
}

const fn failure(error: NameError) -> NameFailure {
    match error {
        NameError::NoSuchName => NameFailure::NoSuchName,
        NameError::NoAddress => NameFailure::NoAddress,
        NameError::TryAgain => NameFailure::TryAgain,
        NameError::Failed => NameFailure::Failed,
        NameError::Other => NameFailure::Other,
    }
}
