//! `healthcheck`: for Docker's HEALTHCHECK, in images that have no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::{exit, serve};
use crate::config::{Layers, Machine, convert};
use crate::wire::proxy_header;

/// For connecting and for the answer, each.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the first listener; 0 when it is well, 1 when not.
pub(super) fn run(layers: &Layers) -> ExitCode {
    let settings =
        match convert(layers, &Machine { state_dir: serve::state_dir(), ..Machine::default() }) {
            Ok(serve) => serve.settings,
            Err(error) => return exit::config(&error),
        };
    let Some(address) = settings.listen.first().map(|listen| reachable(*listen)) else {
        return exit::line("no listener", exit::PROBLEM);
    };
    let admitted = settings.access.allow_client.is_empty()
        || settings.access.allow_client.iter().any(|net| net.contains(&address.ip()));
    // Who speaks the PROXY protocol speaks it for its own affairs too.
    let balancers = &settings.proxy_protocol_from;
    let balanced = balancers.iter().any(|net| net.contains(&address.ip()));
    let prefix = if balanced { proxy_header::local().to_vec() } else { Vec::new() };
    match ask(address, prefix) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        // Closed at once is what --allow-client promises to everybody else.
        Ok(answer) if answer.is_empty() && !admitted => ExitCode::SUCCESS,
        Ok(answer) => {
            let line = answer.lines().next().unwrap_or("closed without an answer");
            exit::line(format!("{address}: {line}"), exit::PROBLEM)
        }
        Err(_) if !admitted && connects(address) => ExitCode::SUCCESS,
        Err(error) => exit::line(format!("{address}: {error}"), exit::PROBLEM),
    }
}

/// The address to connect to for a listener on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn connects(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, LIMIT).is_ok()
}

fn ask(address: SocketAddr, mut out: Vec<u8>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    out.extend_from_slice(request.as_bytes());
    stream.write_all(&out)?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
