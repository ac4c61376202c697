//! What the proxy's container reaches, asked from inside its network, and from the host to compare.
//! Who is in the container already only asks from there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::super::{Context, Measured, micros, outcome_of};
use super::process::unseen;
use crate::diag::evidence::Role;
use crate::diag::fact::{Data, Dialled, Egress, Nameserver, Outcome, Reply, Skip, Status, Unseen};
use crate::diag::plan_host::NAME as NAME_OF_README;
use crate::net::interface::{mtu, outward, outward_v6, told_too_big};
use crate::net::knock::knock;
use crate::net::namespace::within;
use crate::net::question::{Said, ask};
use crate::net::system_names::lookup;
use crate::target::Target;

/// A name that is always there; the one that tells a working proxy in README.
const NAME: &str = "www.google.com";

/// One try of a question; there are two.
const ANSWER: Duration = Duration::from_millis(1500);

/// One connect.
const CONNECT: Duration = Duration::from_secs(3);

/// More name servers than a resolver asks, and more hosts than are told, are not asked.
const MOST: usize = 3;

/// Name server, answer, and how long it took.
type Heard = (IpAddr, io::Result<Said>, u64);

/// What is seen from inside.
struct Inside {
    heard: Vec<Heard>,
    routes: (Option<bool>, Option<bool>),
    dialled: Vec<Dialled>,
    mtu: Option<u32>,
    told_too_big: Option<bool>,
    somaxconn: Option<u32>,
}

/// Asks from both sides.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let egress = match context.evidence.asked.role {
        Role::Container => Some(here(context).await),
        Role::Client | Role::Host => both(context).await,
    };
    let Some(egress) = egress else { return (Status::Skipped(Skip::NoContainer), None) };
    let heard = egress.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    let opens = egress.inside.iter().any(|it| it.outcome == Outcome::Open);
    let status = match egress.unseen {
        Some(_) => Status::Skipped(Skip::NotPermitted),
        None if heard && opens => Status::Worked,
        None => Status::Failed,
    };
    (status, Some(Data::Egress(egress)))
}

/// From where this program is.
async fn here(context: &Context) -> Egress {
    let asked = &context.evidence.asked.container;
    let name = asked.clone().unwrap_or_else(|| NAME_OF_README.to_owned());
    let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let inside = look(nameservers(&servers), known(context).await, None).await;
    told(name, inside)
}

/// From both sides, when there is a container.
async fn both(context: &Context) -> Option<Egress> {
    let found = context.evidence.container();
    let (name, pid) = found.and_then(|(_, it)| Some((it.name.clone(), it.last().pid?)))?;
    let known = known(context).await;
    let host_mtu = outward().and_then(|it| mtu(&it).ok());
    let asked = match std::fs::read_to_string(format!("/proc/{pid}/root/etc/resolv.conf")) {
        Ok(text) => {
            let (servers, known) = (nameservers(&text), known.clone());
            within(pid, move || look(servers, known, host_mtu)).await
        }
        Err(error) => Err(error),
    };
    Some(match asked {
        Ok(inside) => compared(name, inside, host_mtu).await,
        Err(error) => blind(name, unseen(&error), &known, host_mtu).await,
    })
}

/// Hosts and their addresses as this machine knows them: those that were asked for, and one that is
/// always there.
async fn known(context: &Context) -> Vec<(String, SocketAddr)> {
    let mut hosts = vec![(NAME.to_owned(), 443)];
    for url in context.evidence.asked.targets.iter().take(MOST) {
        if let Some(host) = host_of(url)
            && !hosts.contains(&host)
        {
            hosts.push(host);
        }
    }
    let looked_up = hosts.into_iter().map(|(host, port)| async move {
        let found = timeout(context.capped(CONNECT), lookup(&host)).await;
        let mut ips = found.ok().and_then(Result::ok).unwrap_or_default();
        // Containers usually have no IPv6.
        ips.sort_by_key(IpAddr::is_ipv6);
        ips.first().map(|ip| (host, SocketAddr::new(*ip, port)))
    });
    join_all(looked_up).await.into_iter().flatten().collect()
}

/// Host and port of a URL.
fn host_of(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = scheme.eq_ignore_ascii_case("http");
    let read = if plain { Target::from_http_authority } else { Target::from_https_authority };
    let target = read(authority).ok()?;
    Some((target.host.to_string(), target.port.get()))
}

/// The name servers of a `resolv.conf` (resolv.conf(5)), in their order.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        // A scope is of no use in another namespace.
        words.next()?.split('%').next()?.parse().ok()
    });
    lines.take(MOST).collect()
}

async fn look(
    servers: Vec<IpAddr>,
    known: Vec<(String, SocketAddr)>,
    host_mtu: Option<u32>,
) -> Inside {
    let heard = question_all(&servers).await;
    let mut to = known;
    for (_, said, _) in &heard {
        let Ok(Said::Addresses(ips)) = said else { continue };
        if let Some(ip) = ips.first() {
            let address = SocketAddr::new(*ip, 443);
            if to.iter().all(|(_, other)| *other != address) {
                to.push((NAME.to_owned(), address));
            }
        }
    }
    to.truncate(2 * MOST);
    let dialled = dial_all(&to).await;
    let interface = outward();
    let own_mtu = interface.as_deref().and_then(|it| mtu(it).ok());
    let told_too_big = match (own_mtu, host_mtu, to.first()) {
        (Some(own), Some(host), Some((_, SocketAddr::V4(address)))) if own > host => {
            told_too_big(*address.ip(), own).await.ok()
        }
        _ => None,
    };
    let routed = std::fs::metadata("/proc/thread-self/net/route").is_ok();
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    Inside {
        heard,
        routes: (routed.then_some(interface.is_some()), outward_v6()),
        dialled,
        mtu: own_mtu,
        told_too_big,
        somaxconn: somaxconn.and_then(|it| it.trim().parse().ok()),
    }
}

async fn question_all(servers: &[IpAddr]) -> Vec<Heard> {
    let each = servers.iter().map(|ip| async move {
        let begun = Instant::now();
        let said = ask(SocketAddr::new(*ip, 53), &format!("{NAME}."), ANSWER).await;
        (*ip, said, micros(begun.elapsed()))
    });
    join_all(each).await
}

async fn dial_all(to: &[(String, SocketAddr)]) -> Vec<Dialled> {
    let each = to.iter().map(|(host, address)| async move {
        let knocked = knock(*address, None, CONNECT).await;
        let outcome = match &knocked.outcome {
            Ok(_) => Outcome::Open,
            Err(error) => outcome_of(error),
        };
        let elapsed_us = micros(knocked.elapsed);
        Dialled { host: host.clone(), address: *address, outcome, elapsed_us }
    });
    join_all(each).await
}

/// With what the host sees of the same servers and addresses.
async fn compared(container: String, inside: Inside, host_mtu: Option<u32>) -> Egress {
    let to: Vec<_> = inside.dialled.iter().map(|it| (it.host.clone(), it.address)).collect();
    // What listens on loopback there is not what listens here.
    let servers: Vec<IpAddr> =
        inside.heard.iter().map(|(ip, ..)| *ip).filter(|ip| !ip.is_loopback()).collect();
    let (outside, heard) = tokio::join!(dial_all(&to), question_all(&servers));
    let reply_outside = |ip: IpAddr| heard.iter().find(|(other, ..)| *other == ip);
    let mut egress = told(container, inside);
    for server in &mut egress.nameservers {
        server.outside = reply_outside(server.ip).map(|(_, said, _)| reply(said));
    }
    Egress { outside, host_mtu, ..egress }
}

/// Only what is seen from inside.
fn told(container: String, inside: Inside) -> Egress {
    let nameservers = inside.heard.iter().map(|(ip, said, elapsed_us)| Nameserver {
        ip: *ip,
        inside: reply(said),
        elapsed_us: *elapsed_us,
        outside: None,
    });
    Egress {
        container,
        unseen: None,
        name: NAME.to_owned(),
        nameservers: nameservers.collect(),
        route_v4: inside.routes.0,
        route_v6: inside.routes.1,
        inside: inside.dialled,
        outside: Vec::new(),
        mtu: inside.mtu,
        host_mtu: None,
        told_too_big: inside.told_too_big,
        somaxconn: inside.somaxconn,
    }
}

/// Only what the host sees.
async fn blind(
    container: String,
    why: Unseen,
    known: &[(String, SocketAddr)],
    host_mtu: Option<u32>,
) -> Egress {
    Egress {
        container,
        unseen: Some(why),
        name: NAME.to_owned(),
        nameservers: Vec::new(),
        route_v4: None,
        route_v6: None,
        inside: Vec::new(),
        outside: dial_all(known).await,
        mtu: None,
        host_mtu,
        told_too_big: None,
        somaxconn: None,
    }
}

fn reply(said: &io::Result<Said>) -> Reply {
    match said {
        Ok(Said::Addresses(all)) if all.is_empty() => Reply::Empty,
        Ok(Said::Addresses(_)) => Reply::Addresses,
        Ok(Said::Failure(_)) => Reply::Failure,
        #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Reply::Refused,
            ErrorKind::TimedOut => Reply::Silent,
            _ => Reply::Unreachable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{host_of, nameservers};

    #[test]
    fn a_resolv_conf_is_read_as_resolvers_do() {
        let text = "# made by Docker\nsearch example.org\nnameserver 127.0.0.11\nnameserver fe80::1%eth0\n\
                    nameserver\nnameserver x\noptions ndots:0\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.11", "fe80::1", "1.1.1.1"]);
        assert!(nameservers("").is_empty());
    }

    #[test]
    fn a_url_has_a_host_and_a_port() {
        let cases = [
            ("https://www.google.com/", Some(("www.google.com", 443))),
            ("http://x.example:8081/a?b", Some(("x.example", 8081))),
            ("http://x.example", Some(("x.example", 80))),
            ("x", None),
        ];
        for (url, expected) in cases {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_of(url), expected, "{url}");
        }
    }
}
