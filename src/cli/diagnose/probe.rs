//! `probe`: does the proxy work end to end, how fast, and for which services.

use std::process::ExitCode;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::args::{self, Flags};
use super::{examine, proxy_url, text_file};
use crate::diag::ask::Ask;
use crate::diag::evidence::{Asked, Command, Credentials, Evidence, Scheme};
use crate::net::pin::Pin;
use crate::render::look::Look;
use crate::render::words::Words;
use crate::target::Target;

/// A page of a site that everybody has, and one that needs no page: a captcha on the first is no
/// fault of the proxy.
const DEFAULT_TARGETS: [&str; 2] =
    ["https://www.google.com/", "https://www.google.com/generate_204"];
/// More would be a load test.
const MOST_REPEATS: u16 = 50;
/// More would be a scan.
const MOST_TARGETS: usize = 16;
/// What a probe needs besides the silence of `--idle`.
const BESIDES: Duration = Duration::from_secs(15);
const LONGEST_IDLE: u64 = 500;

/// 0 it works, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: Flags<'_>, words: &Words, look: Look) -> ExitCode {
    examine::report(flags, args::PROBE, (words, look), || evidence(flags, words))
}

/// Measured now, or read from a saved report.
fn evidence(flags: Flags<'_>, words: &Words) -> Result<Vec<Evidence>, String> {
    if let Some(file) = flags.one(args::FROM) {
        return examine::again(file, flags, &[&OF_USERS[..], &LIVE].concat());
    }
    let (ask, budget) = request(flags, None)?;
    examine::measure(vec![ask], budget, words)
}

/// What only has sense for who uses a proxy.
pub(super) const OF_USERS: [&str; 10] = [
    args::DNS,
    args::IPV4,
    args::IPV6,
    args::REPEATS,
    args::TARGET,
    args::LLM,
    args::IDLE,
    args::CA,
    args::PIN,
    args::USER,
];

/// What, besides, has no sense with `--from`.
pub(super) const LIVE: [&str; 2] = [args::TIMEOUT, args::PROXY];

/// What the flags ask for, of the proxy that was typed, or else of `proxy`.
pub(super) fn request(flags: Flags<'_>, proxy: Option<&str>) -> Result<(Ask, Duration), String> {
    let mut url = proxy_url::parse(typed(flags, proxy)?)?;
    if let Some(login) = flags.one(args::USER) {
        if url.login.is_some() {
            return Err("--user, and a user in the proxy's URL: give one of them".to_owned());
        }
        url.login = Some(proxy_url::login(login)?);
        url.credentials = Credentials::Given;
    }
    let pin = match flags.one(args::PIN) {
        Some(_) if url.scheme != Scheme::Https => {
            return Err(
                "--pin is for a proxy that is spoken to in TLS: https://HOST:PORT".to_owned()
            );
        }
        Some(text) => Some(Pin::parse(text).map_err(|error| format!("--pin: {error}"))?),
        None => None,
    };
    let subject = examine::subject(&url.address, examine::family(flags)?)?;
    let idle_s = idle(flags)?;
    let budget = budget(flags, idle_s)?;
    let asked = Asked {
        command: Command::Probe,
        scheme: url.scheme,
        credentials: url.credentials,
        targets: targets(flags)?,
        llm: flags.has(args::LLM),
        repeats: repeats(flags)?,
        idle_s,
        ..Asked::default()
    };
    let roots = flags.one(args::CA).map_or_else(|| Ok(Vec::new()), roots)?;
    let ask = Ask { asked, login: url.login, roots, pin, ..Ask::port(subject) };
    Ok((ask.comparing(examine::name_servers(flags, &[])?), budget))
}

fn typed<'a>(flags: Flags<'a>, proxy: Option<&'a str>) -> Result<&'a str, String> {
    let mut given = flags.many(args::PROXY);
    match (given.next(), given.next()) {
        (Some(one), None) => Ok(one),
        (None, _) if proxy.is_some() => Ok(proxy.unwrap_or_default()),
        (None, _) => {
            let example = "81.85.76.160:8080 or https://USER:PASSWORD@HOST:PORT";
            Err(format!("probe needs a proxy, such as {example}"))
        }
        // They are not repeated: they may hold passwords.
        (Some(_), Some(_)) => {
            Err("probe takes one proxy; --target is for what to reach".to_owned())
        }
    }
}

fn targets(flags: Flags<'_>) -> Result<Vec<String>, String> {
    let mut all: Vec<String> = Vec::new();
    for text in flags.many(args::TARGET) {
        let url = target(text)?;
        if !all.contains(&url) {
            all.push(url);
        }
    }
    if all.len() > MOST_TARGETS {
        return Err(format!("more than {MOST_TARGETS} targets at once are a scan"));
    }
    if all.is_empty() {
        all.extend(DEFAULT_TARGETS.map(str::to_owned));
    }
    Ok(all)
}

/// `https://HOST[:PORT][/PATH]`, `http://…`; a bare `HOST` or `HOST:PORT` is taken as https.
fn target(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("--target {}: {why}", text.escape_debug());
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let scheme = scheme.to_ascii_lowercase();
    if ["http:", "https:"].iter().any(|it| rest.to_ascii_lowercase().starts_with(it)) {
        return Err(wrong("after the scheme comes ://"));
    }
    if scheme != "http" && scheme != "https" {
        return Err(wrong("not http:// or https://"));
    }
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err("--target: a target has no user and password; leave them out".to_owned());
    }
    let parsed = if scheme == "https" {
        Target::from_https_authority(authority)
    } else {
        Target::from_http_authority(authority)
    };
    parsed.map_err(|error| wrong(&error.to_string()))?;
    let path = path.split('#').next().unwrap_or_default();
    let good = path.bytes().all(|byte| byte.is_ascii_graphic());
    if !good {
        return Err(wrong("the path has characters that must be written as %XX"));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{authority}{slash}{path}"))
}

fn repeats(flags: Flags<'_>) -> Result<u16, String> {
    let Some(text) = flags.one(args::REPEATS) else { return Ok(1) };
    let count = text.parse().ok().filter(|count| (1..=MOST_REPEATS).contains(count));
    count
        .ok_or_else(|| format!("-n {}: not a number from 1 to {MOST_REPEATS}", text.escape_debug()))
}

fn idle(flags: Flags<'_>) -> Result<Option<u64>, String> {
    let Some(text) = flags.one(args::IDLE) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_IDLE).contains(seconds));
    seconds.map(Some).ok_or_else(|| {
        format!("--idle {}: not a number of seconds from 1 to {LONGEST_IDLE}", text.escape_debug())
    })
}

fn budget(flags: Flags<'_>, idle_s: Option<u64>) -> Result<Duration, String> {
    let idle = Duration::from_secs(idle_s.unwrap_or_default());
    let budget = examine::budget(flags, BESIDES + idle)?;
    if idle_s.is_some() && budget < idle + Duration::from_secs(5) {
        let least = idle.as_secs() + 5;
        return Err(format!("--timeout is too short for --idle: at least {least} seconds"));
    }
    Ok(budget)
}

/// The certificates of a PEM file.
fn roots(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("--ca {file}: {why}");
    let text = text_file::read(file.as_ref()).map_err(|error| wrong(&error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|_| wrong(&"this is no PEM file"))?;
    if all.is_empty() {
        return Err(wrong(&"there is no certificate in it (it must be in PEM form)"));
    }
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&all) {
        let good = store.add(certificate.clone());
        good.map_err(|_| wrong(&format!("certificate {number} in it is malformed")))?;
    }
    Ok(all)
}
