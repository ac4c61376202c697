//! Addresses → a connection (RFC 8305, "Happy Eyeballs").

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::leg::prepare;
use crate::failure::Failure;

/// RFC 8305 §5 recommends 250 ms and forbids less than 10 ms.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// No address accepted a connection.
#[derive(Debug, thiserror::Error)]
#[error("none of {tried} addresses accepted: {failure}")]
pub struct DialError {
    /// How many addresses were tried.
    pub tried: usize,
    /// What the attempts have in common, or the most telling of them.
    pub failure: Failure,
}

/// Connects to the first of `addresses` that accepts.
///
/// Starts with the first and adds the next whenever an attempt fails or 250 ms have passed, so
/// that one silent address costs a quarter of a second and not the whole time. Everything that a
/// connection of ours needs is set on the result ([`prepare`]).
///
/// # Errors
///
/// [`DialError`] when every address has failed or `deadline` has passed.
///
/// # Cancel safety
///
/// Dropping the future ends every attempt.
pub async fn dial(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    race(addresses, deadline, |address| async move {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        Ok((stream, address))
    })
    .await
}

/// The schedule of [`dial`], apart from sockets.
async fn race<T, F>(
    addresses: &[SocketAddr],
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, DialError>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter();
    let mut attempts = Vec::with_capacity(1);
    let mut failures = Vec::new();
    let mut next_start = Instant::now();
    loop {
        if attempts.is_empty() || next_start <= Instant::now() {
            match waiting.next() {
                Some(address) => attempts.push(Box::pin(connect(*address))),
                None if attempts.is_empty() => return Err(summary(&failures)),
                None => {}
            }
            next_start = Instant::now() + ATTEMPT_DELAY;
        }
        tokio::select! {
            done = first_done(&mut attempts) => match done {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    failures.push(failure_of(&error));
                    next_start = Instant::now();
                }
            },
            () = sleep_until(next_start), if waiting.len() > 0 => {}
            () = sleep_until(deadline) => {
                failures.push(Failure::ConnectionTimeout);
                return Err(summary(&failures));
            }
        }
    }
}

/// What the first of `attempts` to end came to; it is taken out.
async fn first_done<T, F>(attempts: &mut Vec<Pin<Box<F>>>) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    poll_fn(|cx| {
        let ended = attempts.iter_mut().enumerate().find_map(|(at, attempt)| {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(outcome) => Some((at, outcome)),
                Poll::Pending => None,
            }
        });
        let Some((at, outcome)) = ended else { return Poll::Pending };
        drop(attempts.swap_remove(at));
        Poll::Ready(outcome)
    })
    .await
}

/// What one failed attempt means.
fn failure_of(error: &io::Error) -> Failure {
    // EMFILE, ENFILE and EADDRNOTAVAIL: it is this machine that has run out of something.
    #[cfg(unix)]
    const OWN_LIMITS: [i32; 3] = [
        rustix::io::Errno::MFILE.raw_os_error(),
        rustix::io::Errno::NFILE.raw_os_error(),
        rustix::io::Errno::ADDRNOTAVAIL.raw_os_error(),
    ];
    // The same and WSAENOBUFS: when the dynamic ports are used up, Windows says either.
    #[cfg(not(unix))]
    const OWN_LIMITS: [i32; 3] = [10024, 10049, 10055];
    if error.raw_os_error().is_some_and(|code| OWN_LIMITS.contains(&code)) {
        return Failure::ConnectionLimitReached;
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::ConnectionRefused,
        io::ErrorKind::TimedOut => Failure::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Failure::DestinationIpUnroutable
        }
        _ => Failure::ConnectionTerminated,
    }
}

/// The most telling failure: who refused is surely there, who was silent may be; "no route" is
/// what every second machine says of IPv6 and tells least.
fn summary(failures: &[Failure]) -> DialError {
    const TELLING: [Failure; 4] = [
        Failure::ConnectionLimitReached,
        Failure::ConnectionRefused,
        Failure::ConnectionTerminated,
        Failure::ConnectionTimeout,
    ];
    let failure = TELLING
        .into_iter()
        .find(|known| failures.contains(known))
        .or_else(|| failures.first().copied())
        .unwrap_or(Failure::DestinationIpUnroutable);
    DialError { tried: failures.len(), failure }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{ATTEMPT_DELAY, DialError, race};
    use crate::failure::Failure;

    const LIMIT: Duration = Duration::from_secs(10);

    /// The last byte of the address says how it behaves.
    fn address(behaviour: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, behaviour], 1))
    }
    const SILENT: u8 = 1;
    const OPEN: u8 = 2;
    const SLOW: u8 = 3;
    const REFUSED: u8 = 4;
    const UNROUTABLE: u8 = 5;

    async fn race_on(behaviours: &[u8]) -> (Result<u8, DialError>, Duration) {
        let addresses: Vec<_> = behaviours.iter().map(|which| address(*which)).collect();
        let start = Instant::now();
        let outcome = race(&addresses, start + LIMIT, |address| async move {
            let SocketAddr::V4(address) = address else { panic!("only IPv4 here") };
            let which = address.ip().octets()[3];
            match which {
                OPEN => Ok(which),
                SLOW => {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    Ok(which)
                }
                REFUSED => Err(io::ErrorKind::ConnectionRefused.into()),
                UNROUTABLE => Err(io::ErrorKind::NetworkUnreachable.into()),
                _ => std::future::pending().await,
            }
        })
        .await;
        (outcome, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_a_quarter_of_a_second() {
        let (outcome, took) = race_on(&[SILENT, OPEN]).await;
        assert_eq!((outcome.unwrap(), took), (OPEN, ATTEMPT_DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing() {
        let (outcome, took) = race_on(&[REFUSED, UNROUTABLE, OPEN]).await;
        assert_eq!((outcome.unwrap(), took), (OPEN, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_may_still_win() {
        let (outcome, took) = race_on(&[SLOW, SILENT, SILENT]).await;
        assert_eq!((outcome.unwrap(), took), (SLOW, Duration::from_millis(400)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_way_has_one_deadline() {
        let (outcome, took) = race_on(&[SILENT; 50]).await;
        assert_eq!((outcome.unwrap_err().failure, took), (Failure::ConnectionTimeout, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_telling_failure_is_reported() {
        let cases: &[(&[u8], Failure)] = &[
            (&[UNROUTABLE, REFUSED], Failure::ConnectionRefused),
            (&[UNROUTABLE, SILENT], Failure::ConnectionTimeout),
            (&[UNROUTABLE], Failure::DestinationIpUnroutable),
            (&[], Failure::DestinationIpUnroutable),
        ];
        for (behaviours, failure) in cases {
            assert_eq!(race_on(behaviours).await.0.unwrap_err().failure, *failure);
        }
    }
}
