//! Tunnels where something runs out or is too much: pipes, splice, 32 bits, readers, thousands of
//! them; with the real program.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

mod common;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use common::process::Serve;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, getuid, setrlimit};
use rustix::thread::{set_thread_gid, set_thread_uid};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const MIB: u64 = 1 << 20;

/// Silence of a tunnel that is a failure; all tests of this file load the machine at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A prime: what is lost, doubled or swapped in the sizes of buffers and pages can't fit again.
const BLOCK: usize = 1_048_573;

/// The block twice, so that every piece of the endless pattern is one slice.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = Vec::with_capacity(2 * BLOCK + 8);
    while block.len() < BLOCK {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        block.extend_from_slice(&random.to_le_bytes());
    }
    block.truncate(BLOCK);
    block.extend_from_within(..);
    block
});

/// The pattern from `position` on, at most `most` bytes of it.
fn pattern(position: u64, most: u64) -> &'static [u8] {
    let start = usize::try_from(position % BLOCK as u64).unwrap();
    &PATTERN[start..][..usize::try_from(most).unwrap_or(BLOCK).min(BLOCK)]
}

/// Sends the pattern between two positions.
async fn send(writer: &mut OwnedWriteHalf, mut from: u64, to: u64) {
    while from < to {
        let taken = timeout(PATIENCE, writer.write(pattern(from, to - from))).await;
        from += taken.expect("nobody takes it").unwrap() as u64;
    }
}

/// Receives the pattern between two positions, and looks at every byte.
async fn receive(reader: &mut OwnedReadHalf, mut from: u64, to: u64) {
    let mut buffer = vec![0; 256 * 1024];
    while from < to {
        let room = buffer.len().min(usize::try_from(to - from).unwrap_or(usize::MAX));
        let read = timeout(PATIENCE, reader.read(&mut buffer[..room])).await;
        let got = &buffer[..read.expect("silence").unwrap()];
        assert!(!got.is_empty(), "ended {} bytes too early", to - from);
        assert!(got == pattern(from, got.len() as u64), "wrong after position {from}");
        from += got.len() as u64;
    }
}

/// Nothing comes any more, in order.
async fn end_of(reader: &mut OwnedReadHalf) {
    let read = timeout(PATIENCE, reader.read(&mut [0])).await;
    assert_eq!(read.expect("silence").unwrap(), 0, "more than was sent");
}

async fn origin() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Both ends of a tunnel.
async fn tunnel(serve: &Serve, origin: &TcpListener) -> (TcpStream, TcpStream) {
    let address = origin.local_addr().unwrap();
    let open = async {
        let mut client = TcpStream::connect(serve.address).await.unwrap();
        let request = format!("CONNECT {address} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; common::ESTABLISHED.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, common::ESTABLISHED.as_bytes());
        (client, origin.accept().await.unwrap().0)
    };
    timeout(PATIENCE, open).await.expect("no tunnel")
}

/// So many `bytes` each way through `count` tunnels at the same time: nobody gets more than the
/// first 64 KiB before everybody has them.
async fn bulk(serve: &Serve, count: usize, bytes: u64) {
    let origin = origin().await;
    let mut tunnels = Vec::new();
    for _ in 0..count {
        tunnels.push(tunnel(serve, &origin).await);
    }
    let together = Arc::new(Barrier::new(2 * count));
    let mut tasks = JoinSet::new();
    // Every stream has its own part of the pattern.
    let mut first = 0;
    for end in tunnels.into_iter().map(<[TcpStream; 2]>::from) {
        let starts = [first, first + 7919];
        first += 2 * 7919;
        for ((stream, sent), received) in end.into_iter().zip(starts).zip([starts[1], starts[0]]) {
            let (mut reader, mut writer) = stream.into_split();
            tasks.spawn(async move {
                send(&mut writer, sent, sent + bytes).await;
                writer.shutdown().await.unwrap();
            });
            let together = Arc::clone(&together);
            tasks.spawn(async move {
                let middle = received + bytes.min(64 * 1024);
                receive(&mut reader, received, middle).await;
                timeout(PATIENCE, together.wait()).await.expect("a tunnel gets nothing");
                receive(&mut reader, middle, received + bytes).await;
                end_of(&mut reader).await;
            });
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

/// An unprivileged user that has nothing to do with this machine.
const STRANGER: u32 = 65533;

/// Does `work` in a thread that has become [`STRANGER`] for good.
fn as_stranger<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        // The group first: a stranger can't change it.
        set_thread_gid(Gid::from_raw(STRANGER)).unwrap();
        set_thread_uid(Uid::from_raw(STRANGER)).unwrap();
        work()
    });
    thread.join().unwrap()
}

/// The size of a new pipe, and the pipe.
fn new_pipe() -> (usize, (OwnedFd, OwnedFd)) {
    let pipe = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (fcntl_getpipe_size(&pipe.0).unwrap(), pipe)
}

/// Pipes, as large as they are given, until new ones have only two pages.
fn hoard() -> Vec<(OwnedFd, OwnedFd)> {
    let mut pipes = Vec::new();
    for _ in 0..2000 {
        let (size, pipe) = new_pipe();
        if size == 8192 {
            break;
        }
        // Refused near the end of the budget: then it keeps its 16 pages.
        let _granted = fcntl_setpipe_size(&pipe.0, 1 << 20);
        pipes.push(pipe);
    }
    pipes
}

/// How many ends of pipes a process holds.
fn pipe_ends(pid: u32) -> usize {
    let is_pipe = |entry: &fs::DirEntry| match fs::read_link(entry.path()) {
        Ok(link) => link.to_string_lossy().starts_with("pipe:"),
        // Closed since it was listed.
        Err(error) => error.kind() != io::ErrorKind::NotFound && panic!("{error}"),
    };
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap).filter(is_pipe).count()
}

/// The program, run by [`STRANGER`] from where a stranger can reach it.
fn serve_as_stranger(folder: &tempfile::TempDir) -> Serve {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("sami-proxy");
    // Not by this process: another test that forks meanwhile would keep it open for writing, and
    // then it can't be run.
    let mut install = Command::new("install");
    install.args(["-m", "755", env!("CARGO_BIN_EXE_sami-proxy")]).arg(&program);
    assert!(install.status().unwrap().success());
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--allow-private"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.uid(STRANGER).gid(STRANGER);
    Serve::spawn(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipe_budget_of_a_user_is_no_limit_for_tunnels() {
    if !getuid().is_root() {
        eprintln!("skipped: only root can run the program as another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    {
        // While there is a budget, bulk leaves pipes in the pool: that is how to tell.
        let serve = serve_as_stranger(&folder);
        let pid = serve.pid();
        let before = as_stranger(move || pipe_ends(pid));
        bulk(&serve, 1, 4 * MIB + 1).await;
        assert!(as_stranger(move || pipe_ends(pid)) > before, "no pipe, though there are some");
    }
    let hoarded = as_stranger(hoard);
    let left = || as_stranger(|| new_pipe().0);
    assert_eq!(left(), 8192, "{} pipes do not use up the budget", hoarded.len());
    let serve = serve_as_stranger(&folder);
    let pid = serve.pid();
    let before = as_stranger(move || pipe_ends(pid));
    let begun = SystemTime::now();
    bulk(&serve, 600, MIB + 333).await;
    let took = begun.elapsed().unwrap();
    println!("600 tunnels beside {} hoarded pipes: {took:?}", hoarded.len());
    assert_eq!(as_stranger(move || pipe_ends(pid)), before, "small pipes are of no use");
    assert_eq!(left(), 8192, "the budget was used up to the end");
    drop(hoarded);
}

/// A program that hears `errno` from every splice.
fn serve_without_splice(errno: i32) -> Serve {
    let rules = format!(
        r#"{{"it": {{"mismatch_action": "allow", "match_action": {{"errno": {errno}}},
            "filter": [{{"syscall": "splice"}}]}}}}"#
    );
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filters = seccompiler::compile_from_json(rules.as_bytes(), architecture).unwrap();
    // The filter stays with the thread and with what it starts.
    let thread = std::thread::spawn(move || {
        seccompiler::apply_filter(&filters["it"]).unwrap();
        Serve::start(&["--allow-private"])
    });
    thread.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_splice_is_forbidden_bytes_are_copied() {
    for (errno, reason) in [(1, "Operation not permitted"), (38, "Function not implemented")] {
        let serve = serve_without_splice(errno);
        bulk(&serve, 1, 32 * MIB + 5).await;
        bulk(&serve, 4, 8 * MIB + 5).await;
        serve.signal("TERM");
        let (status, log) = serve.finish();
        assert!(status.success(), "{log}");
        let said: Vec<_> =
            log.lines().filter(|line| line.contains("splice is not available here")).collect();
        assert_eq!(said.len(), 1, "times: {:?}", said.first());
        assert!(said[0].contains(reason), "{}", said[0]);
        assert_eq!(log.matches("method=CONNECT").count(), 5, "{log}");
        assert_eq!(log.matches("outcome=ok").count(), 5, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_four_gib_pass_one_tunnel_unchanged() {
    const DOWN: u64 = 4096 * MIB + 4 * MIB + 12_345;
    const UP: u64 = 77;
    let serve = Serve::start(&["--allow-private"]);
    let origin = origin().await;
    let (client, target) = tunnel(&serve, &origin).await;
    let (mut from_target, mut to_target) = client.into_split();
    let (mut from_client, mut to_client) = target.into_split();
    let begun = SystemTime::now();
    let sender = tokio::spawn(async move {
        send(&mut to_client, 0, DOWN).await;
        to_client.shutdown().await.unwrap();
        receive(&mut from_client, 0, UP).await;
        end_of(&mut from_client).await;
    });
    receive(&mut from_target, 0, DOWN).await;
    end_of(&mut from_target).await;
    send(&mut to_target, 0, UP).await;
    to_target.shutdown().await.unwrap();
    sender.await.unwrap();
    println!("{DOWN} bytes: {:?}", begun.elapsed().unwrap());
    let line = serve.line_with("method=CONNECT");
    assert!(line.contains(&format!(" up={UP} down={DOWN} ")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_costs_no_memory() {
    const PIECE: u64 = 4096;
    let serve = Serve::start(&["--allow-private"]);
    let origin = origin().await;
    let (client, target) = tunnel(&serve, &origin).await;
    // What the two ends of the test hold is no merit or fault of the proxy.
    SockRef::from(&client).set_recv_buffer_size(256 * 1024).unwrap();
    SockRef::from(&target).set_send_buffer_size(256 * 1024).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let sender = tokio::spawn(async move {
        let (_reader, mut writer) = target.into_split();
        // Until it is reset; the bound is for a proxy that takes everything.
        while counter.load(Relaxed) < 4096 * MIB {
            let Ok(taken) = writer.write(pattern(counter.load(Relaxed), MIB)).await else { break };
            counter.fetch_add(taken as u64, Relaxed);
        }
    });
    let (mut reader, writer) = client.into_split();
    let begun = SystemTime::now();
    let (mut read, mut ahead, mut early, mut most) = (0, 0, None, 0);
    while begun.elapsed().unwrap() < Duration::from_secs(60) {
        receive(&mut reader, read, read + PIECE).await;
        read += PIECE;
        ahead = ahead.max(sent.load(Relaxed).saturating_sub(read));
        assert!(ahead <= 32 * MIB, "the target is {ahead} bytes ahead of the client");
        if begun.elapsed().unwrap() > Duration::from_secs(2) {
            let resident = serve.resident();
            let early = *early.get_or_insert(resident);
            most = most.max(resident.saturating_sub(early));
            assert!(most <= 2048, "{early} KiB, then {resident} KiB");
        }
        // Not a wait for anything: the pace of the reader.
        sleep(Duration::from_millis(50)).await;
    }
    println!("{read} read; the target at most {ahead} ahead; {early:?} KiB and {most} more");
    assert!(read >= 60 * PIECE, "no more than {read} bytes");
    drop((reader, writer));
    timeout(PATIENCE, sender).await.expect("the target is not told").unwrap();
}

/// Lets this process have so many descriptors; `false` where it may not.
fn may_have_descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return true;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).is_ok()
}

#[tokio::test]
async fn five_thousand_idle_tunnels_cost_no_processor_time() {
    const TUNNELS: usize = 5000;
    if !may_have_descriptors(16_000) {
        eprintln!("skipped: this process may not have 16,000 descriptors");
        return;
    }
    let serve = Serve::start(&["--allow-private", "--max-connections", "6000"]);
    let origin = origin().await;
    let before = serve.descriptors();
    let mut tunnels = Vec::new();
    for number in 0..TUNNELS {
        let (mut client, mut target) = tunnel(&serve, &origin).await;
        exchange(&mut client, &mut target, number).await;
        tunnels.push((client, target));
    }
    let held = serve.descriptors();
    assert_eq!(held, before + 2 * TUNNELS);
    let spent = serve.processor_ticks();
    let begun = SystemTime::now();
    while begun.elapsed().unwrap() < Duration::from_secs(30) {
        sleep(Duration::from_secs(1)).await;
    }
    let spent = serve.processor_ticks() - spent;
    println!("{TUNNELS} tunnels: {spent} ticks in 30 s, {} KiB", serve.resident());
    assert!(spent <= 3, "{spent} of 3000 ticks");
    assert_eq!(serve.descriptors(), held);
    for (number, (client, target)) in tunnels.iter_mut().enumerate() {
        exchange(client, target, number).await;
    }
    drop(tunnels);
    common::until(|| serve.descriptors() == before).await;
}

/// A few bytes each way.
async fn exchange(client: &mut TcpStream, target: &mut TcpStream, number: usize) {
    for back in [false, true] {
        let (from, to) =
            if back { (&mut *target, &mut *client) } else { (&mut *client, &mut *target) };
        let mut word = [0; 8];
        from.write_all(&number.to_be_bytes()).await.unwrap();
        timeout(PATIENCE, to.read_exact(&mut word)).await.expect("silence").unwrap();
        assert_eq!(word, number.to_be_bytes());
    }
}
