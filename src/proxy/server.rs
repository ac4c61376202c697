//! Binds all listeners, runs, drains.

use std::io;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Places};
use super::access_log::AccessLog;
use super::admin;
use super::authorize::Gate;
use super::internal::{Reporter, Service};
use super::origins::Origins;
use super::policy::Policy;
use super::settings::{Access, Certificate, Settings};
use super::spread::Spread;
use super::users::{Users, UsersError};
use crate::net::listen::{ListenError, Stack, adopt, listen};
use crate::net::pin::Pin;
use crate::net::resolve::{Resolver, SetupError};
use crate::net::sweep::Sweep;
use crate::net::tls::{self, CertificateError, Ready, Secured};
use crate::worker::Each;

/// Why the proxy can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `--listen`.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// `--admin`.
    #[error(transparent)]
    Admin(ListenError),
    /// `--tls-cert` or `--tls-key`.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// `--auth-file` can't be read.
    #[error("{path}: {source}", path = .path.display())]
    UsersFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `--auth`, or a line of `--auth-file`.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// `--dns`, or the system's name servers.
    #[error(transparent)]
    Names(#[from] SetupError),
}

/// What every connection needs.
#[derive(Debug)]
pub struct Shared {
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    pub(super) gate: Gate,
    pub(super) places: Places,
    pub(super) resolver: Resolver,
    pub(super) tls: Secured,
    pin: Option<Pin>,
    pub(super) service: Service,
    pub(super) log: Arc<AccessLog>,
    /// Our member of `Via`: a pseudonym (RFC 9110 §7.6.3) with a part that only this process has,
    /// by which it knows its own requests when they come back.
    pub(super) via: String,
    listening: Vec<SocketAddr>,
    /// Every address that must not be reached through the proxy: it is the proxy.
    pub(super) own: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    pub(super) started: SystemTime,
    pub(super) drain: CancellationToken,
    pub(super) tracker: TaskTracker,
    pub(super) sweeps: Each<Arc<Sweep>>,
    pub(super) spread: Spread,
    pub(super) origins: Origins,
    ids: AtomicU64,
}

impl StartError {
    /// The setting that is to blame.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Listen(_) => "listen",
            Self::Admin(_) => "admin",
            Self::Certificate(_) => "tls-cert",
            Self::UsersFile { .. } => "auth-file",
            Self::Users(_) => "auth",
            Self::Names(_) => "dns",
        }
    }
}

impl Shared {
    /// Starts what has to be done now and then; it ends with the value.
    fn keep_house(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let here = Handle::current();
        let runtimes: Vec<&Handle> = iter::once(&here).chain(self.spread.others()).collect();
        for (sweep, runtime) in self.sweeps.iter().zip(runtimes.into_iter().cycle()) {
            tasks.spawn_on(Arc::clone(sweep).run(), runtime);
        }
        let shared = Arc::clone(self);
        tasks.spawn(async move { shared.origins.run().await });
        tasks
    }

    /// Whether who connects from `peer` is a load balancer that says who its client is.
    pub(super) fn speaks_proxy_protocol(&self, peer: IpAddr) -> bool {
        self.settings.proxy_protocol_from.iter().any(|net| net.contains(&peer))
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// A proxy that is bound and not yet accepting.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    admin: Option<TcpListener>,
    shared: Arc<Shared>,
}

/// Talks to a running [`Server`].
#[derive(Debug, Clone)]
pub struct Control(Arc<Shared>);

impl Server {
    /// Binds every address and reads every file that `settings` name. Connections will be served
    /// here and by the `others`. Sockets that are `given` already listen and take the place of
    /// `settings.listen`. The `reporter` looks at the machine for trusted clients that ask for it.
    ///
    /// # Errors
    ///
    /// [`StartError`], naming the setting.
    pub async fn bind(
        settings: Settings,
        log: Arc<AccessLog>,
        others: Vec<Handle>,
        given: Vec<std::net::TcpListener>,
        reporter: Option<Reporter>,
    ) -> Result<Self, StartError> {
        let Files { users, tls } = read_files(&settings)?;
        let resolver = Resolver::new(&settings.dns, settings.family).await?;
        let listeners = if given.is_empty() {
            bind_all(&settings.listen)?
        } else {
            given.into_iter().map(adopt).collect::<Result<_, _>>()?
        };
        let admin = match settings.admin {
            Some(address) => Some(listen(address, Stack::Dual).map_err(StartError::Admin)?),
            None => None,
        };
        let listening: Vec<_> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let admin_address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Shared {
            policy: settings.policy.clone(),
            gate: Gate::new(settings.access.clone(), users),
            places: Places::new(settings.limits),
            resolver,
            pin: tls.as_ref().map(|ready| ready.pin),
            tls: Secured::new(tls.map(|ready| ready.config)),
            service: Service::new(reporter),
            log,
            via: format!("1.1 sami-proxy-{}", random_suffix()),
            // Nobody gets to the metrics through the proxy either.
            own: listening.iter().copied().chain(admin_address).collect(),
            listening,
            admin: admin_address,
            started: SystemTime::now(),
            drain: CancellationToken::new(),
            tracker: TaskTracker::new(),
            sweeps: Each::new(|| Sweep::new(settings.times.patience)),
            spread: Spread::new(others),
            origins: Origins::default(),
            ids: AtomicU64::new(1),
            settings,
        };
        Ok(Self { listeners, admin, shared: Arc::new(shared) })
    }

    /// The addresses that were bound, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.shared.listening
    }

    /// Where metrics are asked for.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.shared.admin
    }

    /// A handle to what will run.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Serves until [`Control::drain`]; then lets connections finish for the drain time of the
    /// settings. Returns how many were still open; dropping the runtime resets those.
    pub async fn run(self) -> usize {
        let shared = self.shared;
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept::run(listener, Arc::clone(&shared)));
        }
        let mut housekeeping = shared.keep_house();
        if let Some(listener) = self.admin {
            housekeeping.spawn(admin::run(listener, Arc::clone(&shared)));
        }
        shared.drain.cancelled().await;
        // Listeners close before anything else: nobody new gets in.
        accepting.shutdown().await;
        shared.tracker.close();
        // Too late is no failure: the count tells.
        drop(timeout(shared.settings.times.drain, shared.tracker.wait()).await);
        drop(housekeeping);
        shared.tracker.len()
    }
}

impl Control {
    /// Stops accepting; idle connections are closed, the others may finish.
    pub fn drain(&self) {
        self.0.drain.cancel();
    }

    /// Connections and tunnels that are open.
    pub fn open(&self) -> usize {
        self.0.tracker.len()
    }

    /// What the certificate of this proxy is known by, when it speaks TLS.
    pub fn pin(&self) -> Option<Pin> {
        self.0.pin
    }

    /// Reads certificate and key again and puts them in place for the next handshakes; returns
    /// their pin.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the old ones stay.
    pub fn reload_certificate(&self) -> Result<Option<Pin>, StartError> {
        let Some(certificate) = &self.0.settings.tls else { return Ok(None) };
        let ready = read_certificate(certificate)?;
        self.0.tls.replace(ready.config);
        Ok(Some(ready.pin))
    }

    /// How many users are configured.
    pub fn users(&self) -> usize {
        self.0.gate.users()
    }

    /// Reads `--auth-file` again and puts its users in place; returns how many there are, if
    /// credentials are configured.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the old users stay.
    pub fn reload_users(&self) -> Result<Option<usize>, StartError> {
        let Some(users) = read_users(self.0.gate.access())? else { return Ok(None) };
        let count = users.count();
        self.0.gate.replace_users(users);
        Ok(Some(count))
    }
}

/// What the files that `settings` name hold.
#[derive(Debug)]
pub struct Files {
    /// The user table, when credentials are configured.
    pub users: Option<Users>,
    /// Certificate and key.
    pub tls: Option<Ready>,
}

/// Reads every file that `settings` name.
///
/// # Errors
///
/// [`StartError`], naming the setting.
pub fn read_files(settings: &Settings) -> Result<Files, StartError> {
    let users = read_users(&settings.access)?;
    let tls = match &settings.tls {
        Some(certificate) => Some(read_certificate(certificate)?),
        None => None,
    };
    Ok(Files { users, tls })
}

fn read_certificate(certificate: &Certificate) -> Result<Ready, CertificateError> {
    match certificate {
        Certificate::Files { certificate, key } => tls::from_files(certificate, key),
        Certificate::SelfSigned { folder } => tls::self_signed(folder),
    }
}

fn read_users(access: &Access) -> Result<Option<Users>, StartError> {
    let text = match &access.users_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| StartError::UsersFile { path: path.clone(), source })?,
        None if access.users.is_empty() => return Ok(None),
        None => String::new(),
    };
    Users::new(&access.users, &text).map(Some).map_err(StartError::Users)
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    // `[::]` would take the IPv4 clients of `0.0.0.0` with the same port.
    let stack = |port| {
        let has_v4 = addresses.iter().any(|other| other.is_ipv4() && other.port() == port);
        if has_v4 { Stack::V6Only } else { Stack::Dual }
    };
    addresses.iter().map(|address| listen(*address, stack(address.port()))).collect()
}

fn random_suffix() -> String {
    let mut bytes = [0; 8];
    // Without random numbers every process has the same name, and two in a row look like a loop;
    // TLS and users have failed before that.
    let _unfilled_is_unlikely = SystemRandom::new().fill(&mut bytes);
    format!("{:012x}", u64::from_be_bytes(bytes) >> 16)
}
