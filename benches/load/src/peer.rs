//! The proxies that are compared: how each is started honestly, and what it costs.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::client::Route;
use crate::clock::{now, seconds_since};
use crate::origin::Service;

/// A proxy of the comparison. Every one writes its access log to a file and has one worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// No proxy: what the machine can do.
    Direct,
    Sami,
    /// A second build of ours, to compare before with after (`--other`).
    Other,
    /// A fixed relay in TCP mode, no CONNECT to understand: the floor.
    Haproxy,
    Tinyproxy,
    Squid,
    Privoxy,
}

impl Peer {
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Sami,
        Self::Other,
        Self::Haproxy,
        Self::Tinyproxy,
        Self::Squid,
        Self::Privoxy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sami => "sami-proxy",
            Self::Other => "other",
            Self::Haproxy => "haproxy",
            Self::Tinyproxy => "tinyproxy",
            Self::Squid => "squid",
            Self::Privoxy => "privoxy",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Direct => 0,
            Self::Sami | Self::Other => 8080,
            Self::Haproxy => 1000 + Service::Echo as u16,
            Self::Tinyproxy => 8888,
            Self::Squid => 3128,
            Self::Privoxy => 8118,
        }
    }

    /// A thread or 150 KiB for each tunnel: fewer idle ones are enough to measure.
    pub fn idle_tunnels(self) -> usize {
        match self {
            Self::Direct | Self::Sami | Self::Other | Self::Haproxy => 5000,
            Self::Tinyproxy | Self::Squid | Self::Privoxy => 1000,
        }
    }

    /// A tunnel to `service`.
    pub fn route(self, service: Service) -> Route {
        match self {
            Self::Direct => Route { connect_to: service.address(), target: None },
            Self::Haproxy => {
                Route { connect_to: ([127, 0, 0, 1], 1000 + service as u16).into(), target: None }
            }
            _ => Route {
                connect_to: ([127, 0, 0, 1], self.port()).into(),
                target: Some(service.address()),
            },
        }
    }

    /// Where plain HTTP requests go.
    pub fn http(self) -> SocketAddr {
        self.route(Service::Http).connect_to
    }

    fn command(self, binaries: &Binaries, folder: &Path) -> io::Result<Command> {
        let at = |name: &str| folder.join(name).display().to_string();
        let (program, arguments): (PathBuf, Vec<String>) = match self {
            Self::Direct => return Err(io::ErrorKind::Unsupported.into()),
            Self::Sami => (binaries.sami.clone(), sami()),
            Self::Other => {
                let other = binaries.other.clone();
                (other.ok_or_else(|| io::Error::other("--other PROGRAM is missing"))?, sami())
            }
            Self::Haproxy => {
                fs::write(at("haproxy.cfg"), haproxy())?;
                ("haproxy".into(), vec!["-db".into(), "-f".into(), at("haproxy.cfg")])
            }
            Self::Tinyproxy => {
                fs::write(at("tinyproxy.conf"), tinyproxy(&at("tinyproxy.log")))?;
                ("tinyproxy".into(), vec!["-d".into(), "-c".into(), at("tinyproxy.conf")])
            }
            Self::Squid => {
                fs::write(at("squid.conf"), squid(&at("squid.log")))?;
                let arguments = ["-N", "-n", SQUID, "-f", &at("squid.conf")].map(String::from);
                ("squid".into(), arguments.into())
            }
            Self::Privoxy => {
                fs::write(at("privoxy.conf"), privoxy(&folder.display().to_string()))?;
                ("privoxy".into(), vec!["--no-daemon".into(), at("privoxy.conf")])
            }
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &binaries.cores]).arg(program).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").process_group(0);
        let log = fs::File::create(at(&format!("{}.out", self.name())))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

/// Squid names its shared memory so, and leaves it behind when it is killed.
const SQUID: &str = "samibench";

/// The builds of ours.
pub struct Binaries {
    pub sami: PathBuf,
    pub other: Option<PathBuf>,
    /// Where peers run.
    pub cores: String,
}

fn sami() -> Vec<String> {
    ["serve", "--listen", "127.0.0.1:8080", "--allow-private"].map(String::from).into()
}

/// Splicing is asked for outright: `splice-auto` alone hardly ever does it.
fn haproxy() -> String {
    let mut text = String::from(
        "global\n maxconn 9900\n maxpipes 64\n nbthread 1\n tune.pipesize 1048576\n log stdout format raw local0\n\
         defaults\n mode tcp\n log global\n option tcplog\n option splice-auto\n option splice-request\n\
         option splice-response\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n",
    );
    for service in Service::ALL {
        let (port, to) = (1000 + service as u16, service.address());
        text.push_str(&format!(
            "listen s{port}\n bind 127.0.0.1:{port} backlog 4096\n server origin {to}\n"
        ));
    }
    text
}

fn tinyproxy(log: &str) -> String {
    format!(
        "Port 8888\nListen 127.0.0.1\nTimeout 3600\nMaxClients 10000\nLogFile \"{log}\"\nLogLevel Connect\n\
         DisableViaHeader No\n"
    )
}

fn squid(log: &str) -> String {
    format!(
        "http_port 127.0.0.1:3128\nhttp_access allow all\ncache deny all\ncache_mem 8 MB\naccess_log stdio:{log}\n\
         cache_log /dev/null\ncache_store_log none\npid_filename none\nshutdown_lifetime 0 seconds\n\
         max_filedescriptors 16384\nvisible_hostname bench\nworkers 1\n"
    )
}

fn privoxy(folder: &str) -> String {
    format!(
        "listen-address 127.0.0.1:8118\ntoggle 0\nconfdir {folder}\nlogdir {folder}\nlogfile privoxy.log\ndebug 1\n\
         max-client-connections 10000\nkeep-alive-timeout 300\nconnection-sharing 1\nsocket-timeout 3600\n\
         tolerate-pipelining 1\nlisten-backlog 4096\n"
    )
}

/// A started peer; killed when dropped.
pub struct Running {
    child: Option<Child>,
    /// Its threads end with their connections.
    fleeting: bool,
    /// From the start of the program to the first connection it accepted, in milliseconds.
    pub ready_ms: f64,
}

impl Running {
    pub fn start(peer: Peer, binaries: &Binaries, folder: &Path) -> io::Result<Self> {
        if peer == Peer::Direct {
            return Ok(Self { child: None, fleeting: false, ready_ms: 0.0 });
        }
        let address: SocketAddr = ([127, 0, 0, 1], peer.port()).into();
        // Whoever was there before us must have closed its listener.
        while std::net::TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        let mut command = peer.command(binaries, folder)?;
        let start = now();
        let child = command.spawn()?;
        let fleeting = matches!(peer, Peer::Tinyproxy | Peer::Privoxy);
        let mut running = Self { child: Some(child), fleeting, ready_ms: 0.0 };
        while std::net::TcpStream::connect(address).is_err() {
            if seconds_since(start) > 20.0 {
                return Err(io::Error::other(format!("{} does not listen", peer.name())));
            }
            std::thread::park_timeout(std::time::Duration::from_micros(100));
        }
        running.ready_ms = seconds_since(start) * 1e3;
        Ok(running)
    }

    fn members(&self) -> Vec<PathBuf> {
        let Some(child) = &self.child else { return Vec::new() };
        let group = child.id().to_string();
        let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
        let of_group = |path: &PathBuf| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            let rest = stat.rsplit(')').next().unwrap_or_default();
            rest.split_whitespace().nth(2) == Some(&group)
        };
        folder
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit())
            })
            .filter(of_group)
            .collect()
    }

    /// Processor time of all its processes so far, in seconds: by the nanosecond, or by the
    /// hundredth where threads that have ended must be counted too. What the kernel's own thread
    /// does with the packets of the proxy's core is counted with it.
    pub fn cpu(&self) -> f64 {
        if self.child.is_none() {
            return 0.0;
        }
        let members = self.members();
        let own = if self.fleeting {
            members.iter().map(|path| ticks(path)).sum::<u64>() as f64 / 100.0
        } else {
            members.iter().map(|path| nanoseconds(path)).sum::<u64>() as f64 / 1e9
        };
        own + packets()
    }

    /// Proportional set size of all its processes, in bytes.
    pub fn pss(&self) -> f64 {
        let kib = |path: &PathBuf| {
            let text = fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.members().iter().filter_map(kib).sum::<u64>() as f64 * 1024.0
    }
}

/// Of a process with all threads it ever had, and of its children that have ended.
fn ticks(process: &Path) -> u64 {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    (11..15).filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum()
}

/// Of the thread that handles packets of core 0 when there are many.
fn packets() -> f64 {
    thread_local! {
        static THREAD: Option<PathBuf> = fs::read_dir("/proc").ok().and_then(|entries| {
            entries.flatten().map(|entry| entry.path()).find(|path| {
                fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "ksoftirqd/0\n")
            })
        });
    }
    THREAD.with(|thread| thread.as_deref().map_or(0, nanoseconds)) as f64 / 1e9
}

/// Of all threads that a process has now.
fn nanoseconds(process: &Path) -> u64 {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
                let _gone =
                    rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _gone = child.wait();
            for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(SQUID.as_bytes()) {
                    let _gone = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// How much of core 0 everything used so far, in seconds.
pub fn core_busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("cpu0 ")).unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum::<u64>() - idle) as f64 / 100.0
}
