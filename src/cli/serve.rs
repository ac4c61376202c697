//! `serve`: settings → proxy → signals → exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use super::host::{Host, Phase};
use super::{diagnose, exit, systemd, telling};
use crate::config::{ConfigError, Layers, Machine, Origin, Serve, convert};
use crate::net::activation::handed_over;
use crate::net::limits::raise_descriptor_limit;
use crate::proxy::access_log::AccessLog;
use crate::proxy::crew::{self, Crew};
use crate::proxy::server::Control;
use crate::proxy::settings::Certificate;
use crate::proxy::{Server, Settings, StartError};
use crate::worker;

/// How often the user file is looked at.
const WATCH: Duration = Duration::from_secs(2);
/// For tasks that are cut to write their last line.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the proxy until it is told to stop.
pub(super) fn run(layers: &Layers) -> ExitCode {
    // Before there are threads: it changes the environment.
    let given = handed_over().map_err(|error| error.to_string());
    let outcome = given.and_then(|given| run_for(Host { given, ..Host::console() }, layers));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

/// The same for any `host`.
///
/// # Errors
///
/// What is wrong with the settings or the machine.
pub(super) fn run_for(mut host: Host, layers: &Layers) -> Result<(), String> {
    let serve = convert(layers, &machine()).map_err(|error| error.to_string())?;
    let workers = serve.workers.unwrap_or_else(worker::expected);
    worker::expect(workers);
    let started = crew::single().and_then(|runtime| Ok((runtime, Crew::start(workers)?)));
    let (runtime, crew) = started.map_err(|error| format!("cannot start threads: {error}"))?;
    let output = std::mem::replace(&mut host.output, Box::new(std::io::sink()));
    let log = Arc::new(telling::open(&serve, output));
    let running = serve_until_stopped(serve, Arc::clone(&log), crew.handles(), host);
    let outcome = crew::block_on(&runtime, Box::pin(running));
    // What is still open is cut here; each tunnel writes its line.
    runtime.shutdown_timeout(LAST_WORDS);
    crew.end(LAST_WORDS);
    if outcome.is_ok() {
        let dropped = log.journal.dropped();
        tracing::info!("since the start: {}, log lines dropped: {dropped}", log.tally);
    }
    log.journal.written(LAST_WORDS);
    outcome.map_err(|error| blame(layers, &error).to_string())
}

/// What this machine offers; the limit of open files is raised as far as it goes.
pub(super) fn machine() -> Machine {
    Machine { descriptors: raise_descriptor_limit(), state_dir: state_dir() }
}

/// Where programs keep what they have made: systemd's, then this user's.
pub(super) fn state_dir() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(own) = of("STATE_DIRECTORY") {
        return Some(own);
    }
    let users = if cfg!(windows) { of("LOCALAPPDATA") } else { of("XDG_STATE_HOME") };
    let users = users.or_else(|| of("HOME").map(|home| home.join(".local/state")));
    users.map(|folder| folder.join("sami-proxy"))
}

/// The error with the place where the setting was given.
pub(super) fn blame(layers: &Layers, error: &StartError) -> ConfigError {
    let key = match error {
        StartError::Users(_) if layers.get("auth-file").is_some() => "auth-file",
        StartError::Certificate(_) if layers.get("tls-cert").is_none() => {
            let given = |key: &&str| {
                layers.get(key).is_some_and(|given| !matches!(given.origin, Origin::Default(_)))
            };
            ["state-dir", "tls-self-signed"].into_iter().find(given).unwrap_or("tls-self-signed")
        }
        StartError::Users(_)
        | StartError::Listen(_)
        | StartError::Admin(_)
        | StartError::Certificate(_)
        | StartError::UsersFile { .. }
        | StartError::Names(_) => error.key(),
    };
    let origin = layers.get(key).map_or(Origin::Default(key), |given| given.origin.clone());
    ConfigError { origin, problem: error.to_string() }
}

async fn serve_until_stopped(
    serve: Serve,
    log: Arc<AccessLog>,
    others: Vec<Handle>,
    mut host: Host,
) -> Result<(), StartError> {
    let settings = serve.settings;
    let given = std::mem::take(&mut host.given);
    let handed_over = given.len();
    let reporter = diagnose::reporter();
    let server = Server::bind(settings.clone(), log, others.clone(), given, reporter).await?;
    let control = server.control();
    tracing::info!("sami-proxy {} starts", env!("CARGO_PKG_VERSION"));
    telling::explain(&settings, control.users());
    if handed_over > 0 {
        tracing::info!("the service manager listens for us; --listen has no effect");
    }
    for address in server.addresses() {
        let tls = if settings.tls.is_some() { ", with TLS too" } else { "" };
        tracing::info!("listening on {address}{tls}");
    }
    if let Some(address) = server.admin() {
        tracing::info!("metrics and health on {address}, for everyone who reaches it");
    }
    if let Some(pin) = control.pin() {
        tracing::info!("the pin of the TLS certificate is {pin}");
    }
    tokio::spawn(watch(control.clone(), Watched::of(&settings)));
    let mut signals = Signals::new();
    let running = tokio::spawn(server.run());
    (host.tell)(Phase::Running);
    systemd::ready();
    tokio::spawn(systemd::keep_watch(others));
    tokio::select! {
        () = signals.stop(&control) => {}
        () = host.order() => {}
    }
    (host.tell)(Phase::Stopping);
    tracing::info!(
        "stopping: {} have {} to finish; another signal ends them at once",
        connections(control.open()),
        humantime::format_duration(settings.times.drain)
    );
    systemd::stopping(settings.times.drain);
    control.drain();
    tokio::select! {
        left = running => match left {
            Ok(0) => tracing::info!("stopped: every connection had finished"),
            Ok(left) => tracing::warn!("stopped: {} cut", connections(left)),
            Err(_) => tracing::error!("stopped: the server has failed"),
        },
        () = signals.stop(&control) => {
            tracing::warn!("stopped at once: {} cut", connections(control.open()));
        }
    }
    Ok(())
}

fn connections(count: usize) -> String {
    format!("{count} connection{}", if count == 1 { "" } else { "s" })
}

/// Files that are read again when they change.
struct Watched {
    users: Vec<PathBuf>,
    certificate: Vec<PathBuf>,
}

impl Watched {
    fn of(settings: &Settings) -> Self {
        let certificate = match &settings.tls {
            Some(Certificate::Files { certificate, key }) => vec![certificate.clone(), key.clone()],
            Some(Certificate::SelfSigned { .. }) | None => Vec::new(),
        };
        Self { users: settings.access.users_file.iter().cloned().collect(), certificate }
    }
}

/// Reads the user file and the certificate again when they change.
async fn watch(control: Control, watched: Watched) {
    if watched.users.is_empty() && watched.certificate.is_empty() {
        return;
    }
    let mut ticks = interval(WATCH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut users, mut certificate) =
        (fingerprint(&watched.users), fingerprint(&watched.certificate));
    loop {
        ticks.tick().await;
        let now = fingerprint(&watched.users);
        if now != users {
            users = now;
            reload_users(&control);
        }
        let now = fingerprint(&watched.certificate);
        if now != certificate {
            certificate = now;
            reload_certificate(&control);
        }
    }
}

fn fingerprint(paths: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let of = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.iter().map(of).collect()
}

fn reload_users(control: &Control) {
    match control.reload_users() {
        Ok(None) => {}
        Ok(Some(users)) => tracing::info!("users were read again: {users}"),
        Err(error) => tracing::error!("the users stay as they were: {error}"),
    }
}

fn reload_certificate(control: &Control) {
    match control.reload_certificate() {
        Ok(None) => {}
        Ok(Some(pin)) => tracing::info!("the TLS certificate was read again; its pin is {pin}"),
        // Certificate and key are two files: between the two they do not match.
        Err(error) => tracing::error!("the TLS certificate stays as it was: {error}"),
    }
}

/// SIGHUP: everything that can be read again is.
#[cfg(unix)]
fn reload(control: &Control) {
    systemd::reloading();
    reload_users(control);
    reload_certificate(control);
    systemd::ready();
}

/// What the operating system tells us.
#[cfg(unix)]
struct Signals {
    terminate: Option<tokio::signal::unix::Signal>,
    interrupt: Option<tokio::signal::unix::Signal>,
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Handlers are installed explicitly: as process 1 of a container the defaults do nothing.
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
            hangup: signal(SignalKind::hangup()).ok(),
        }
    }

    /// Waits for the next signal to stop; meanwhile reads users again on SIGHUP.
    async fn stop(&mut self, control: &Control) {
        loop {
            tokio::select! {
                () = arrival(&mut self.terminate) => return,
                () = arrival(&mut self.interrupt) => return,
                () = arrival(&mut self.hangup) => reload(control),
            }
        }
    }
}

#[cfg(unix)]
async fn arrival(signal: &mut Option<tokio::signal::unix::Signal>) {
    let arrived = match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    };
    if !arrived {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    /// Waits for Ctrl-C.
    async fn stop(&mut self, _control: &Control) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
