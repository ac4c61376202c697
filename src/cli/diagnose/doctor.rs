//! `doctor`: everything that can be found out from where it runs.
//!
//! With an address it is asked by the person who uses the proxy; without one it looks at the server
//! on which it runs, if there is anything of a proxy there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::args::{self, Flags};
use super::{beside, examine, probe, variable, which_proxy};
use crate::diag::ask::Ask;
use crate::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
use crate::diag::report::Report;
use crate::diag::server::{By, Digest, Heard, Server};
use crate::diag::ssh::Shell;
use crate::diag::token;
use crate::net::knock::source_for;
use crate::proxy::crew;
use crate::render::look::Look;
use crate::render::words::Words;

/// Docker is looked at twice, and names and connections are tried from inside the container.
const ON_SERVER: Duration = Duration::from_secs(20);
/// The server counts for ten seconds who knocks, and looks around before and after.
const BOTH_ENDS: Duration = Duration::from_secs(30);
const LONGEST_WITNESS: u64 = 300;
/// README's.
const PORT: u16 = 8080;
/// What a server runs.
const SERVE: &str = super::super::args::SERVE;
/// Where Docker can be asked.
const SOCKET: &str = "/var/run/docker.sock";
/// What a container has, of Docker and of Podman.
const OF_CONTAINERS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// Asked with `--online`, of the addresses themselves: Cloudflare and Google.
const PUBLIC: [&str; 2] = ["https://1.1.1.1/dns-query", "https://8.8.8.8/dns-query"];

/// What only has sense for who uses a proxy.
fn of_users() -> Vec<&'static str> {
    [&probe::OF_USERS[..], &[args::ONLINE, args::SSH, args::WITH]].concat()
}

/// What has no sense for who uses a proxy.
const OF_SERVERS: [&str; 4] = [args::CONTAINER, args::PORT, args::WITNESS, args::TOKEN];

/// 0 it works, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: Flags<'_>, words: &Words, look: Look) -> ExitCode {
    beside::run(flags, (words, look), || evidence(flags, words))
}

/// The token of a server's report.
pub(super) fn token_of(report: &Report) -> String {
    token::write(&Digest::new(&report.evidence, &report.diagnosis, now()))
}

/// Measured now, or read from a saved report.
fn evidence(flags: Flags<'_>, words: &Words) -> Result<Vec<Evidence>, String> {
    if let Some(file) = flags.one(args::FROM) {
        let live = [&of_users()[..], &probe::LIVE, &OF_SERVERS, &[args::ROLE]].concat();
        return examine::again(file, flags, &live);
    }
    let (ask, budget) = match role(flags)? {
        Asker::Typed => client(flags, None)?,
        Asker::Untyped => client(flags, Some(&which(words)?))?,
        Asker::Server(role) => server(flags, role)?,
    };
    examine::measure(vec![ask], budget, words)
}

/// The proxy that nobody has typed.
fn which(words: &Words) -> Result<String, String> {
    let known = which_proxy::known(variable);
    let asked = || {
        let there = which_proxy::somebody_is_there();
        there.then(|| which_proxy::ask(&mut std::io::stdin().lock(), words, None)).flatten()
    };
    known.or_else(asked).ok_or_else(|| {
        "doctor needs a proxy, such as 81.85.76.160:8080; on the server without Docker: doctor \
--role host"
            .to_owned()
    })
}

/// From where it is looked.
#[derive(Debug, PartialEq, Eq)]
enum Asker {
    /// By who uses a proxy: the one that was typed.
    Typed,
    /// … or one that this machine knows, or the person.
    Untyped,
    /// On the server, or in the container.
    Server(Role),
}

/// What kind of place this is, as far as it can be known without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Container,
    /// A server of a proxy, or taken for one.
    Host,
    Elsewhere,
}

impl Place {
    fn look(flags: Flags<'_>) -> Self {
        let docker = || std::env::var_os("DOCKER_HOST").is_some() || Path::new(SOCKET).exists();
        let is_meant = OF_SERVERS.iter().any(|name| flags.is_given(name));
        if in_container() {
            Self::Container
        } else if is_meant || docker() || serves() {
            Self::Host
        } else {
            Self::Elsewhere
        }
    }
}

fn role(flags: Flags<'_>) -> Result<Asker, String> {
    let wanted = match flags.one(args::ROLE) {
        Some("client") => Some(Role::Client),
        Some("host") => Some(Role::Host),
        Some("container") => Some(Role::Container),
        _ => None,
    };
    let typed = flags.many(args::PROXY).next();
    decide(wanted, typed, || Place::look(flags))
}

fn decide(
    wanted: Option<Role>,
    typed: Option<&str>,
    place: impl FnOnce() -> Place,
) -> Result<Asker, String> {
    match (wanted, typed) {
        (Some(Role::Host | Role::Container), Some(_)) => {
            Err("--role host and container look at this machine: leave out the proxy".to_owned())
        }
        (Some(role @ (Role::Host | Role::Container)), None) => Ok(Asker::Server(role)),
        (Some(Role::Client) | None, Some(_)) => Ok(Asker::Typed),
        (Some(Role::Client), None) => Ok(Asker::Untyped),
        (None, None) => Ok(match place() {
            Place::Container => Asker::Server(Role::Container),
            Place::Host => Asker::Server(Role::Host),
            Place::Elsewhere => Asker::Untyped,
        }),
    }
}

/// Whether `serve` runs on this machine, as far as `/proc` tells.
fn serves() -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let is_ours = words.next().is_some_and(|program| program.ends_with(b"sami-proxy"));
        is_ours && words.any(|word| word == SERVE.as_bytes())
    })
}

fn client(flags: Flags<'_>, proxy: Option<&str>) -> Result<(Ask, Duration), String> {
    forbid(flags, &OF_SERVERS, "is for the server; with a proxy leave it out")?;
    let (mut ask, budget) = probe::request(flags, proxy)?;
    ask.asked.command = Command::Doctor;
    ask.asked.online = flags.has(args::ONLINE);
    if ask.asked.online && ask.name_servers.is_empty() {
        ask = ask.comparing(examine::name_servers(flags, &PUBLIC)?);
    }
    match (flags.one(args::SSH), flags.one(args::WITH)) {
        (Some(_), Some(_)) => Err("--ssh asks the server itself: leave out --with".to_owned()),
        (Some(text), None) => {
            let shell = Shell::parse(text);
            ask.ssh = Some(shell.map_err(|why| format!("--ssh {}: {why}", text.escape_debug()))?);
            let longer = if flags.is_given(args::TIMEOUT) { budget } else { budget.max(BOTH_ENDS) };
            Ok((ask, longer))
        }
        (None, Some(text)) => {
            let digest = token::read(text).map_err(|flaw| format!("--with: {flaw}"))?;
            if digest.port != ask.subject.port {
                let port = digest.port;
                return Err(format!("--with: the server looked at port {port}, not at that one"));
            }
            let age_s = now().checked_sub(digest.when);
            let told = Server::new(By::Token, Heard::Digest(Box::new(digest)));
            ask.told = Some(Server { age_s, ..told });
            Ok((ask, budget))
        }
        (None, None) => Ok((ask, budget)),
    }
}

fn server(flags: Flags<'_>, role: Role) -> Result<(Ask, Duration), String> {
    forbid(flags, &of_users(), "is for who uses a proxy; give HOST:PORT with it")?;
    let port = match flags.one(args::PORT) {
        None => PORT,
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            format!("--port {}: not a number from 1 to 65535", text.escape_debug())
        })?,
    };
    let witness_s = witness(flags)?;
    let budget = ON_SERVER + Duration::from_secs(witness_s.unwrap_or_default());
    let container = flags.one(args::CONTAINER).map(str::to_owned);
    let port_given = flags.is_given(args::PORT);
    let command = Command::Doctor;
    let asked = Asked { command, role, container, port_given, witness_s, ..Asked::default() };
    let ask = of_this_machine(role, port);
    Ok((Ask { asked, ..ask }, examine::budget(flags, budget)?))
}

/// What is asked of the machine on which this runs, and of its `port`.
pub(super) fn of_this_machine(role: Role, port: u16) -> Ask {
    let asked = Asked { command: Command::Doctor, role, ..Asked::default() };
    let subject = Subject { host: own_address().to_string(), port, family: Family::Any };
    Ask { asked, ..Ask::port(subject) }
}

/// What this machine is to a proxy that runs on it.
pub(super) fn role_here() -> Role {
    if in_container() { Role::Container } else { Role::Host }
}

fn in_container() -> bool {
    OF_CONTAINERS.iter().any(|path| Path::new(path).exists())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn witness(flags: Flags<'_>) -> Result<Option<u64>, String> {
    let Some(text) = flags.one(args::WITNESS) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_WITNESS).contains(seconds));
    seconds.map(Some).ok_or_else(|| {
        format!(
            "--witness {}: not a number of seconds from 1 to {LONGEST_WITNESS}",
            text.escape_debug()
        )
    })
}

fn forbid(flags: Flags<'_>, names: &[&str], why: &str) -> Result<(), String> {
    match names.iter().find(|name| flags.is_given(name)) {
        Some(name) => Err(format!("{} {why}", args::spelled(name))),
        None => Ok(()),
    }
}

/// The address from which this machine goes out; nothing is sent to find it.
fn own_address() -> IpAddr {
    let anywhere = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
    let found = crew::single().map(|runtime| runtime.block_on(source_for(anywhere)));
    match found {
        Ok(Ok(address)) => address,
        Ok(Err(_)) | Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asker, Place, decide};
    use crate::diag::evidence::Role;

    #[test]
    fn where_it_runs_is_found_out() {
        let server = |role| Some(Asker::Server(role));
        for (wanted, typed, place, asker) in [
            (None, None, Place::Elsewhere, Some(Asker::Untyped)),
            (None, None, Place::Host, server(Role::Host)),
            (None, None, Place::Container, server(Role::Container)),
            (None, Some("h:1"), Place::Container, Some(Asker::Typed)),
            (Some(Role::Client), Some("h:1"), Place::Host, Some(Asker::Typed)),
            (Some(Role::Client), None, Place::Host, Some(Asker::Untyped)),
            (Some(Role::Host), None, Place::Container, server(Role::Host)),
            (Some(Role::Host), Some("h:1"), Place::Host, None),
        ] {
            assert_eq!(decide(wanted, typed, || place).ok(), asker, "{wanted:?} {typed:?}");
        }
    }
}
