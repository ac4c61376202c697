//! How the running proxy speaks to its operator.

use std::io::Write;
use std::time::SystemTime;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::config::Serve;
use crate::journal::Journal;
use crate::net::resolve::Family;
use crate::proxy::access_log::{AccessLog, Format};
use crate::proxy::tally::Tally;
use crate::proxy::{Settings, known_hosts};

/// Time stamps like those of the access log.
struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

/// Opens the log on `output`. That is one stream for all lines: `docker logs … | grep -i error`
/// sees standard output only.
pub(super) fn open(serve: &Serve, output: Box<dyn Write + Send>) -> AccessLog {
    let format = serve.log_format;
    let journal = Journal::start(output, move |lost| lost_line(format, lost));
    let lines = tracing_subscriber::fmt()
        .with_max_level(serve.log_level)
        .with_target(false)
        .with_ansi(false)
        .with_timer(Stamp)
        .with_writer(journal.clone());
    match format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).init(),
    }
    AccessLog { journal, format, level: serve.log_level, tally: Tally::default() }
}

fn lost_line(format: Format, lost: u64) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    match format {
        Format::Text => {
            format!("{now}  WARN {lost} log lines were dropped: the output is blocked\n")
        }
        Format::Json => format!(
            "{{\"time\":\"{now}\",\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"count\":{lost}}}\n"
        ),
    }
}

/// Says in plain words who may reach what.
pub(super) fn explain(settings: &Settings, users: usize) {
    let access = &settings.access;
    if users > 0 {
        let noun = if users == 1 { "user" } else { "users" };
        tracing::info!(
            "{users} {noun} configured: everyone gives credentials and then reaches every public host"
        );
        if access.open || !access.trust_client.is_empty() {
            tracing::warn!(
                "--open and --trust-client have no effect while credentials are configured"
            );
        }
    } else if access.open {
        tracing::warn!(
            "OPEN PROXY: everyone who finds this port reaches every public host; set SAMI_PROXY_AUTH=user:password instead of --open"
        );
    } else {
        tracing::info!(
            "clients without credentials reach only the {} built-in LLM hosts on ports 443 and 80; \
             set SAMI_PROXY_AUTH=user:password to reach every public host",
            known_hosts::count()
        );
        if !access.trust_client.is_empty() {
            let trusted = joined(&access.trust_client);
            tracing::info!("clients from {trusted} and this machine reach every public host");
        }
    }
    if !access.allow_client.is_empty() {
        tracing::info!("only clients from {} may connect", joined(&access.allow_client));
    }
    explain_targets(settings);
}

fn explain_targets(settings: &Settings) {
    let policy = &settings.policy;
    if policy.allow_private {
        tracing::warn!(
            "private and loopback addresses may be reached through this proxy (--allow-private)"
        );
    }
    if !policy.allow.is_empty() {
        tracing::info!("only these targets may be reached: {}", joined(&policy.allow));
    }
    if !policy.deny.is_empty() {
        tracing::info!("never these targets: {}", joined(&policy.deny));
    }
    if let Some(upstream) = &settings.upstream {
        tracing::info!(
            "everything{} goes through the parent proxy {}, which resolves the names",
            if upstream.bypass.is_empty() { "" } else { " but --no-upstream" },
            upstream.parent.address
        );
    }
    match settings.family {
        Family::Ipv4Only => tracing::info!("targets are reached over IPv4 only"),
        Family::Ipv6Only => tracing::info!("targets are reached over IPv6 only"),
        Family::Auto | Family::Ipv4 | Family::Ipv6 => {}
    }
    tracing::info!("up to {} connections at once", settings.limits.connections);
}

fn joined<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
