//! Instructions in user space per tunnel, per request and per token, counted by callgrind: the same on every machine with
//! the same compiler, so a change of a few per cent is seen where time can't tell.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Route;
use crate::modes::{one_request, one_tunnel};
use crate::origin::Service;

const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

/// What is counted, and how many of it after a few to warm up.
const WORK: [(&str, u64); 3] =
    [("tunnel", 200), ("request", 400), ("round trip of 200 bytes", 1000)];

/// Prints the figures and writes them to `json`.
pub async fn run(program: &Path, folder: &Path, json: Option<&Path>) -> io::Result<()> {
    let mut figures = Map::new();
    for (name, count) in WORK {
        let few = instructions(program, folder, name, 50).await?;
        let many = instructions(program, folder, name, 50 + count).await?;
        let each = many.saturating_sub(few) / count;
        println!("{each:>8} instructions per {name}");
        figures.insert(name.into(), Value::from(each));
    }
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", Value::Object(figures)))?;
    }
    Ok(())
}

/// All instructions of a run that does `count` of `work`, one after the other.
async fn instructions(program: &Path, folder: &Path, work: &str, count: u64) -> io::Result<u64> {
    let out = folder.join("callgrind.out");
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["serve", "--listen", "127.0.0.1:8080", "--allow-private", "--workers", "1"])
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let done = load(work, count).await;
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    // Not child.wait(): the origins must go on, for the proxy waits for them.
    while child.try_wait()?.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done?;
    let text = std::fs::read_to_string(&out)?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| io::Error::other("callgrind wrote no totals"))
}

async fn load(work: &str, count: u64) -> io::Result<()> {
    let connect_to = SocketAddr::from(ADDRESS);
    while TcpStream::connect(connect_to).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let route = Route { connect_to, target: Some(Service::Echo.address()) };
    match work {
        "tunnel" => {
            for number in 0..count {
                one_tunnel(route, number).await?;
            }
        }
        "request" => {
            let mut stream = TcpStream::connect(connect_to).await?;
            for _ in 0..count {
                if one_request(&mut stream).await.is_err() {
                    stream = TcpStream::connect(connect_to).await?;
                    one_request(&mut stream).await?;
                }
            }
        }
        _ => {
            let mut tunnel = route.open(1).await?;
            let mut bytes = [7; 200];
            for _ in 0..count {
                tunnel.write_all(&bytes).await?;
                tunnel.read_exact(&mut bytes).await?;
            }
        }
    }
    Ok(())
}
