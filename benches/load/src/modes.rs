//! What is measured: each mode loads one running peer and returns its figures.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Route, request};
use crate::clock::{now, seconds_since};
use crate::origin::{ARRIVED, BODY, CHUNK, Service, pour, swallow};
use crate::peer::{Peer, Running, core_busy};

/// Name and value; names with `p50`, `p99`, `us`, `ms`, `bytes` or `cpu` are better when smaller.
pub type Figures = Vec<(&'static str, f64)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Rate,
    BulkDown,
    BulkDown8,
    BulkUp,
    BulkUp8,
    PingPong,
    Stream,
    Http,
    Mixed,
    /// The same beside 1,000 streams; for the choice of the runtime.
    Mixed1000,
    Idle,
    Start,
}

impl Mode {
    pub const ALL: [Self; 12] = [
        Self::Rate,
        Self::BulkDown,
        Self::BulkDown8,
        Self::BulkUp,
        Self::BulkUp8,
        Self::PingPong,
        Self::Stream,
        Self::Http,
        Self::Mixed,
        Self::Mixed1000,
        Self::Idle,
        Self::Start,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "tunnel-rate",
            Self::BulkDown => "bulk-down",
            Self::BulkDown8 => "bulk-down-8",
            Self::BulkUp => "bulk-up",
            Self::BulkUp8 => "bulk-up-8",
            Self::PingPong => "ping-pong",
            Self::Stream => "sse",
            Self::Http => "http-forward",
            Self::Mixed => "mixed",
            Self::Mixed1000 => "mixed-1000",
            Self::Idle => "idle",
            Self::Start => "start",
        }
    }

    /// Rounds out of `rounds`: what hardly varies need not be repeated as often.
    pub fn rounds(self, rounds: usize) -> usize {
        if self == Self::Idle { rounds.min(2) } else { rounds }
    }

    /// Whether the mode means anything for `peer`.
    pub fn fits(self, peer: Peer) -> bool {
        match peer {
            Peer::Direct => !matches!(self, Self::Idle | Self::Start),
            Peer::Privoxy => matches!(self, Self::Rate | Self::BulkDown | Self::Http),
            Peer::Sami | Peer::Other | Peer::Haproxy | Peer::Tinyproxy | Peer::Squid => true,
        }
    }

    pub async fn run(self, peer: Peer, running: &Running, length: Duration) -> io::Result<Figures> {
        match self {
            Self::Rate => rate(peer, running, length).await,
            Self::BulkDown => bulk(peer.route(Service::Source), 1, running, length).await,
            Self::BulkDown8 => bulk(peer.route(Service::Source), 8, running, length).await,
            Self::BulkUp => bulk(peer.route(Service::Sink), 1, running, length).await,
            Self::BulkUp8 => bulk(peer.route(Service::Sink), 8, running, length).await,
            Self::PingPong => ping_pong(peer, running, length).await,
            Self::Stream => stream(peer, running, length, 100).await,
            Self::Http => http(peer, running, length).await,
            Self::Mixed => mixed(peer, running, length, 100).await,
            Self::Mixed1000 => mixed(peer, running, length, 1000).await,
            Self::Idle => idle(peer, running).await,
            Self::Start => start(running).await,
        }
    }
}

/// Before a measurement: caches, pools and the congestion window settle.
const WARM_UP: Duration = Duration::from_millis(500);

/// What happened between two looks.
struct Window {
    seconds: f64,
    cpu: f64,
    count: f64,
}

/// Waits for the warm-up, then measures for `length`; `count` is what grows meanwhile.
async fn window(running: &Running, length: Duration, count: impl Fn() -> u64) -> Window {
    sleep(WARM_UP).await;
    let (cpu, busy, before, start) = (running.cpu(), core_busy(), count(), now());
    sleep(length).await;
    let (cpu, count) = (running.cpu() - cpu, (count() - before) as f64);
    let window = Window { seconds: seconds_since(start), cpu, count };
    FOREIGN.with(|foreign| {
        let others = (core_busy() - busy - cpu).max(0.0) / window.seconds;
        foreign.set(foreign.get().max(others));
    });
    window
}

thread_local! {
    /// The largest share of the proxy's core that somebody else had in a window.
    pub static FOREIGN: Cell<f64> = const { Cell::new(0.0) };
}

const IN_FLIGHT: usize = 32;

/// New tunnels: connect, CONNECT, 64 bytes there and back, close.
async fn rate(peer: Peer, running: &Running, length: Duration) -> io::Result<Figures> {
    let done = Rc::new(Cell::new(0_u64));
    let failed = Rc::new(RefCell::new(None));
    let local = tokio::task::LocalSet::new();
    let next = Rc::new(Cell::new(0_u64));
    for _ in 0..IN_FLIGHT {
        let (done, failed, next) = (Rc::clone(&done), Rc::clone(&failed), Rc::clone(&next));
        local.spawn_local(async move {
            loop {
                next.set(next.get() + 1);
                match one_tunnel(peer.route(Service::Echo), next.get()).await {
                    Ok(()) => done.set(done.get() + 1),
                    Err(error) => {
                        *failed.borrow_mut() = Some(error);
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
    }
    let seen = local.run_until(window(running, length, || done.get())).await;
    if let Some(error) = failed.take() {
        return Err(error);
    }
    Ok(vec![
        ("cpu us/tunnel", seen.cpu * 1e6 / seen.count),
        ("tunnels/s", seen.count / seen.seconds),
    ])
}

/// One life of a tunnel.
pub async fn one_tunnel(route: Route, number: u64) -> io::Result<()> {
    let mut stream = route.open(number).await?;
    stream.write_all(&[7; 64]).await?;
    let mut back = [0; 64];
    stream.read_exact(&mut back).await?;
    Ok(())
}

/// `tunnels` of bulk in one direction, by threads of the lowest priority.
async fn bulk(
    route: Route,
    tunnels: usize,
    running: &Running,
    length: Duration,
) -> io::Result<Figures> {
    let streams = saturate(route, tunnels)?;
    let seen = window(running, length, || ARRIVED.load(Relaxed)).await;
    for stream in streams {
        let _gone = stream.shutdown(std::net::Shutdown::Both);
    }
    Ok(vec![("cpu s/GB", seen.cpu / (seen.count / 1e9)), ("GB/s", seen.count / 1e9 / seen.seconds)])
}

fn saturate(route: Route, tunnels: usize) -> io::Result<Vec<Arc<std::net::TcpStream>>> {
    let down =
        route.target.unwrap_or(route.connect_to).port() % 1000 == Service::Source as u16 % 1000;
    (0..tunnels)
        .map(|_| {
            let stream = Arc::new(route.open_blocking()?);
            let theirs = Arc::clone(&stream);
            std::thread::spawn(move || {
                let _lowest = rustix::process::nice(19);
                if down {
                    swallow(&theirs);
                } else {
                    pour(&theirs);
                }
            });
            Ok(stream)
        })
        .collect()
}

/// 200 bytes there and back, one tunnel.
async fn ping_pong(peer: Peer, running: &Running, length: Duration) -> io::Result<Figures> {
    let delays = Rc::new(RefCell::new(Vec::new()));
    let mut stream = peer.route(Service::Echo).open(1).await?;
    let local = tokio::task::LocalSet::new();
    let seen = Rc::clone(&delays);
    local.spawn_local(async move {
        let mut bytes = [7; 200];
        loop {
            let sent = now();
            if stream.write_all(&bytes).await.is_err()
                || stream.read_exact(&mut bytes).await.is_err()
            {
                return;
            }
            seen.borrow_mut().push(now() - sent);
        }
    });
    let count = || delays.borrow().len() as u64;
    let seen = local.run_until(window(running, length, count)).await;
    let mut delays = delays.take();
    Ok(vec![
        ("p50 us", quantile(&mut delays, 0.5)),
        ("cpu us/round trip", seen.cpu * 1e6 / seen.count),
    ])
}

/// Token streams: how late a token arrives, and what it costs.
async fn stream(
    peer: Peer,
    running: &Running,
    length: Duration,
    streams: usize,
) -> io::Result<Figures> {
    let (mut delays, seen) = tokens(peer, running, length, streams).await?;
    Ok(vec![
        ("p50 us", quantile(&mut delays, 0.5)),
        ("p99 us", quantile(&mut delays, 0.99)),
        ("cpu us/chunk", seen.cpu * 1e6 / seen.count),
    ])
}

async fn tokens(
    peer: Peer,
    running: &Running,
    length: Duration,
    streams: usize,
) -> io::Result<(Vec<u64>, Window)> {
    let delays = Rc::new(RefCell::new(Vec::new()));
    let local = tokio::task::LocalSet::new();
    for number in 0..streams as u64 {
        let mut stream = peer.route(Service::Stream).open(number).await?;
        let delays = Rc::clone(&delays);
        local.spawn_local(async move {
            let mut chunk = [0; CHUNK];
            while stream.read_exact(&mut chunk).await.is_ok() {
                let mut stamp = [0; 8];
                stamp.copy_from_slice(&chunk[..8]);
                delays.borrow_mut().push(now() - u64::from_le_bytes(stamp));
            }
        });
    }
    let warm = Rc::clone(&delays);
    local
        .run_until(async move {
            sleep(WARM_UP).await;
            warm.borrow_mut().clear();
        })
        .await;
    let count = || delays.borrow().len() as u64;
    let seen = local.run_until(window(running, length, count)).await;
    Ok((delays.take(), seen))
}

/// Token streams beside one tunnel that takes what it can get.
async fn mixed(
    peer: Peer,
    running: &Running,
    length: Duration,
    streams: usize,
) -> io::Result<Figures> {
    let bulk = saturate(peer.route(Service::Source), 1)?;
    let (start, before) = (now(), ARRIVED.load(Relaxed));
    let (mut delays, seen) = tokens(peer, running, length, streams).await?;
    let moved = (ARRIVED.load(Relaxed) - before) as f64 / 1e9 / seconds_since(start);
    for stream in bulk {
        let _gone = stream.shutdown(std::net::Shutdown::Both);
    }
    Ok(vec![
        ("p50 us", quantile(&mut delays, 0.5)),
        ("p99 us", quantile(&mut delays, 0.99)),
        ("cpu cores", seen.cpu / seen.seconds),
        ("GB/s", moved),
    ])
}

const HTTP_CLIENTS: usize = 16;

/// Plain requests on connections that are kept, as far as the proxy lets them.
async fn http(peer: Peer, running: &Running, length: Duration) -> io::Result<Figures> {
    let done = Rc::new(Cell::new(0_u64));
    let local = tokio::task::LocalSet::new();
    for _ in 0..HTTP_CLIENTS {
        let done = Rc::clone(&done);
        local.spawn_local(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(peer.http()).await else { continue };
                let _ = stream.set_nodelay(true);
                while one_request(&mut stream).await.is_ok() {
                    done.set(done.get() + 1);
                }
            }
        });
    }
    let seen = local.run_until(window(running, length, || done.get())).await;
    Ok(vec![
        ("cpu us/request", seen.cpu * 1e6 / seen.count),
        ("requests/s", seen.count / seen.seconds),
    ])
}

/// One request and its whole answer.
pub async fn one_request(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(request().as_bytes()).await?;
    let mut buffer = [0; 4096];
    let mut held = 0;
    loop {
        held += match stream.read(&mut buffer[held..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => bytes,
        };
        let head = buffer[..held].windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|at| held >= at + 4 + BODY) {
            return Ok(());
        }
    }
}

/// Idle tunnels: memory of each, never used and after 100 kB both ways; and what the rest costs.
async fn idle(peer: Peer, running: &Running) -> io::Result<Figures> {
    let count = peer.idle_tunnels();
    sleep(WARM_UP).await;
    let rest = running.pss();
    let mut tunnels = Vec::with_capacity(count);
    for number in 0..count as u64 {
        tunnels.push(peer.route(Service::Echo).open(number).await?);
    }
    sleep(WARM_UP).await;
    let fresh = running.pss();
    let mut used = Vec::with_capacity(count);
    let mut under_way = JoinSet::new();
    while !tunnels.is_empty() || !under_way.is_empty() {
        while under_way.len() < IN_FLIGHT
            && let Some(tunnel) = tunnels.pop()
        {
            under_way.spawn(hundred_kb(tunnel));
        }
        if let Some(Ok(tunnel)) = under_way.join_next().await {
            used.push(tunnel?);
        }
    }
    sleep(WARM_UP).await;
    let after = running.pss();
    let (cpu, length) = (running.cpu(), Duration::from_secs(5));
    sleep(length).await;
    let cpu = (running.cpu() - cpu) / length.as_secs_f64();
    Ok(vec![
        ("bytes/tunnel", (fresh - rest) / count as f64),
        ("bytes/tunnel after traffic", (after - rest) / count as f64),
        ("cpu % at rest", cpu * 100.0),
    ])
}

async fn hundred_kb(mut tunnel: TcpStream) -> io::Result<TcpStream> {
    let mut piece = [7; 4096];
    for _ in 0..25 {
        tunnel.write_all(&piece).await?;
        tunnel.read_exact(&mut piece).await?;
    }
    Ok(tunnel)
}

/// How long the start took, and what the program needs for nothing.
async fn start(running: &Running) -> io::Result<Figures> {
    sleep(Duration::from_secs(1)).await;
    Ok(vec![("ms to first accept", running.ready_ms), ("MB at rest (bytes)", running.pss() / 1e6)])
}

/// The value below which `part` of `values` are, in microseconds.
fn quantile(values: &mut [u64], part: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let at = ((values.len() - 1) as f64 * part) as usize;
    let (_, value, _) = values.select_nth_unstable(at);
    *value as f64 / 1e3
}

/// Nothing of a mode may hang the whole run.
pub async fn bounded(
    mode: Mode,
    peer: Peer,
    running: &Running,
    length: Duration,
) -> io::Result<Figures> {
    let limit = length + Duration::from_secs(60);
    timeout(limit, mode.run(peer, running, length))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
