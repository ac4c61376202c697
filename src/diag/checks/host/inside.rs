//! The container that this is: who serves here, where it listens, and what it may use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::path::exchange::{Question, exchange};
use super::super::{Context, Measured};
use super::group::memory;
use super::kernel::{interfaces, ways};
use super::process::{Whose, listeners, overflows};
use super::{file, network_file, redact};
use crate::diag::fact::{
    Clients, Data, Exchange, Inside, Interface, Listener, Overflow, Said, Serving, Status, Way,
};
use crate::diag::packets::tables::sockets;
use crate::net::interface::outward;

/// Between two looks at who waits.
const MOMENT: Duration = Duration::from_millis(400);

/// For the proxy's answer, on this machine.
const ANSWER: Duration = Duration::from_secs(2);

/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 0x01;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, on every Linux.
const TICKS: u64 = 100;

/// Looks around.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let Ok(mut found) = tokio::task::spawn_blocking(look).await else {
        return (Status::Failed, None);
    };
    tokio::time::sleep(MOMENT.min(context.left())).await;
    if let Ok(again) = tokio::task::spawn_blocking(waiting).await {
        look_again(&mut found, &again);
    }
    found.answer = answer(&found, context).await;
    let well = found.serving.is_some() && found.listeners.as_ref().is_some_and(|it| !it.is_empty());
    let status = if well { Status::Worked } else { Status::Failed };
    (status, Some(Data::Inside(found)))
}

fn look() -> Inside {
    let serving = serving();
    let (devices, ways) = (interfaces(), ways());
    let seen = match &serving {
        Some(it) => listeners(it.process, Whose::Own),
        None => listeners(own(), Whose::All),
    };
    let (listeners, unseen) = match seen {
        Ok(all) => (Some(all), None),
        Err(why) => (None, Some(why)),
    };
    let gateways: Vec<IpAddr> =
        ways.iter().filter(|way| way.bits == 0).filter_map(|way| way.gateway).collect();
    let addresses = devices.iter().flat_map(|it| &it.addresses).copied();
    let own_network = own_network(&devices, &ways);
    let ears = listeners.iter().flatten().filter(|it| it.own != Some(false));
    let ports: Vec<u16> =
        ears.filter(|it| !it.address.ip().is_loopback()).map(|it| it.address.port()).collect();
    Inside {
        alone: is_alone(),
        id: file("/proc/sys/kernel/hostname").and_then(|it| number_of(it.trim())),
        program: std::env::current_exe().ok().and_then(|it| Some(it.to_str()?.to_owned())),
        overflow: overflows(own()).map(|first| Overflow { first, second: None }),
        own_network,
        addresses: addresses.filter(|ip| !ip.is_loopback()).collect(),
        clients: (!ports.is_empty()).then(|| clients(&ports, &gateways)),
        memory: memory(),
        answer: None,
        gateways,
        serving,
        listeners,
        unseen,
    }
}

fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

/// The process of this container that serves: this one, else the first.
pub(super) fn serving() -> Option<Serving> {
    let folders = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers: Vec<i32> =
        folders.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable_by_key(|it| (*it != own(), *it));
    numbers.into_iter().find_map(|process| {
        let text = file(&format!("/proc/{process}/cmdline"))?;
        let words: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
        (serves(&words) && is_here(process)).then(|| of_process(process, words))
    })
}

/// Whether a process is in this network, as far as we may see that.
fn is_here(process: i32) -> bool {
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    match (network(&process.to_string()), network("self")) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), _) | (_, Err(_)) => true,
    }
}

/// Whether a command line is that of our server.
fn serves(words: &[&str]) -> bool {
    let program = words.first().map_or("", |it| it.rsplit('/').next().unwrap_or(it));
    let commands = words.iter().find(|it| redact::COMMANDS.contains(it));
    program == "sami-proxy" && commands == Some(&"serve")
}

fn of_process(process: i32, words: Vec<&str>) -> Serving {
    let environment = file(&format!("/proc/{process}/environ")).unwrap_or_default();
    let status = file(&format!("/proc/{process}/status")).unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Serving {
        process,
        // Real, effective, …
        user: user.and_then(|it| it.split_whitespace().nth(1)?.parse().ok()),
        command: redact::command(words),
        variables: environment.split('\0').filter_map(redact::variable).collect(),
        up_ms: up_ms(process),
    }
}

fn up_ms(process: i32) -> Option<u64> {
    let stat = file(&format!("/proc/{process}/stat"))?;
    // The name may have anything in it; after it comes the third field, the start is the 22nd.
    let started: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = file("/proc/uptime")?;
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let now = seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10;
    now.checked_sub(started * 1000 / TICKS)
}

/// `docker run IMAGE sami-proxy doctor`: the first process is this one, or has only started it.
fn is_alone() -> bool {
    let parent = file("/proc/self/stat")
        .and_then(|it| it.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok());
    std::process::id() == 1 || parent == Some(1_u32)
}

/// Docker calls a host by the first twelve digits of the container's number.
fn number_of(name: &str) -> Option<String> {
    let digits = name.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    (name.len() == 12 && digits).then(|| name.to_owned())
}

/// A container has one end of a cable whose other end is elsewhere; the host has bridges and cards.
fn own_network(devices: &[Interface], ways: &[Way]) -> Option<bool> {
    if devices.iter().any(|it| it.bridge) {
        return Some(false);
    }
    if devices.iter().all(|it| it.name == "lo") {
        return (!devices.is_empty()).then_some(true);
    }
    let out = outward().or_else(|| ways.first().map(|it| it.interface.clone()))?;
    let index = |name| file(&format!("/sys/class/net/{out}/{name}"));
    // sysfs, ABI/testing/sysfs-class-net: they differ where another device is behind.
    Some(index("ifindex")?.trim() != index("iflink")?.trim())
}

/// Who is connected to `ports`.
fn clients(ports: &[u16], gateways: &[IpAddr]) -> Clients {
    let mut found = Clients::default();
    let texts = ["tcp", "tcp6"].iter().filter_map(|name| network_file(name));
    for socket in texts.flat_map(|text| sockets(&text).collect::<Vec<_>>()) {
        let peer = socket.remote.ip().to_canonical();
        let ours = socket.state == ESTABLISHED && ports.contains(&socket.local.port());
        if !ours || peer.is_loopback() || peer == socket.local.ip().to_canonical() {
            continue;
        }
        let count = if gateways.contains(&peer) { &mut found.gateway } else { &mut found.others };
        *count = count.saturating_add(1);
    }
    found
}

fn waiting() -> (Vec<Listener>, Option<u64>) {
    (listeners(own(), Whose::All).unwrap_or_default(), overflows(own()))
}

fn look_again(found: &mut Inside, (again, lost): &(Vec<Listener>, Option<u64>)) {
    for listener in found.listeners.iter_mut().flatten() {
        let same = again.iter().find(|it| it.address == listener.address);
        listener.waiting_later = same.map(|it| it.waiting);
    }
    if let Some(overflow) = &mut found.overflow {
        overflow.second = *lost;
    }
}

/// What the proxy says to a question that it answers to everybody. It does not ask itself: who
/// hears its report knows that it answers.
async fn answer(found: &Inside, context: &Context) -> Option<Exchange> {
    found.serving.as_ref().filter(|it| it.process != own())?;
    let mut ears = found.listeners.iter().flatten();
    let port = context.evidence.subject.port;
    let usual = |it: &&Listener| it.address.port() == port;
    let ours = |it: &&Listener| it.own != Some(false);
    let ear = ears.clone().filter(ours).find(usual).or_else(|| ears.find(ours))?;
    let limit = context.capped(ANSWER);
    let question = Question { said: Said::OriginForm, limit, nonce: String::new() };
    Some(exchange(reachable(ear.address), &question, context).await.exchange)
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

#[cfg(test)]
mod tests {
    use super::{look, number_of, reachable, serves, up_ms};

    #[test]
    fn our_server_is_told_from_our_other_commands() {
        for words in [
            &["/usr/local/bin/sami-proxy", "serve"][..],
            &["sami-proxy", "--workers", "1", "serve", "--listen", "doctor"],
        ] {
            assert!(serves(words), "{words:?}");
        }
        for words in [
            &["sami-proxy", "doctor", "--container", "serve"][..],
            &["sami-proxy"],
            &["/bin/sh", "-c", "serve"],
            &["not-sami-proxy", "serve"],
            &[],
        ] {
            assert!(!serves(words), "{words:?}");
        }
    }

    #[test]
    fn a_host_name_of_dockers_is_the_number_of_the_container() {
        assert_eq!(number_of("0123456789ab").as_deref(), Some("0123456789ab"));
        for name in ["sami", "0123456789aB", "0123456789abc", "", "0123456789-b"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "[::1]:8080");
        assert_eq!(of("10.0.0.1:8080"), "10.0.0.1:8080");
    }

    #[test]
    fn this_machine_is_looked_at() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = look();
        let listeners = found.listeners.unwrap();
        assert!(listeners.iter().any(|it| it.address == address), "{listeners:?}");
        assert!(found.overflow.is_some() && found.program.is_some());
        assert!(up_ms(i32::try_from(std::process::id()).unwrap()).unwrap() < 86_400_000);
    }
}
