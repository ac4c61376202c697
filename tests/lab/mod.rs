//! A laboratory of network troubles: client – isp – vps – container, and the net beyond.
//!
//! ```text
//! client 10.1.0.2 ── isp ── 81.85.76.10 vps ── 172.17.0.2 container (sami-proxy, port 8080)
//!                     └── net: origins on 81.85.80.2, the container's name server on .53
//! ```
//!
//! Five anonymous network namespaces with a mount namespace each (for `/etc/resolv.conf`), held by
//! descriptors of this process: labs never collide, and nothing is left when the test dies. From the
//! client the isp is hop 1, the vps hop 2, the container hop 3. Nothing leaves the five.
//!
//! A test file says `mod common; mod lab;` and then
//!
//! ```text
//! for fault in lab::FAULTS {
//!     let Some(lab) = Lab::new() else { return };                 // prints why it is skipped
//!     let Ok(trouble) = lab.inject(fault) else { continue };      // prints what is lacking
//!     let output = lab.program(&["check-port", fault.host_and_port()]);
//!     // … compare with fault.code; `trouble` heals when dropped
//! }
//! ```
//!
//! What is wrong on the server itself is made on a real Docker engine: `docker` and `docker_faults`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "test code; each test file uses a part of it"
)]

pub mod certificates;
pub mod deeds;
pub mod delay;
pub mod docker;
pub mod docker_faults;
pub mod faults;
pub mod healthy;
pub mod look_alikes;
pub mod observe;
pub mod origin;
pub mod place;
pub mod rows;
pub mod stub;

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::common::dns::{self, Say};
use crate::common::process::{self, Serve};
use hickory_resolver::proto::rr::RecordType;

use self::certificates::Authority;
pub use self::deeds::{Lacking, Trouble};
pub use self::faults::{FAULTS, Fault};
pub use self::healthy::HEALTHY;
pub use self::observe::{Seen, Shows, Step};
use self::origin::Origin;
pub use self::place::Place;
use self::place::Site;
use self::stub::Habit;

/// The server's public address and what is behind it.
pub const VPS: &str = "81.85.76.10";
/// The proxy, as the client is told.
pub const PROXY: &str = "81.85.76.10:8080";
/// The same by IPv6.
pub const PROXY6: &str = "[2a01:76::10]:8080";
/// Another port of the server that is open: it says an SSH banner.
pub const SSH: &str = "81.85.76.10:22";
/// A web server that has nothing to do with the proxy.
pub const WEB: &str = "81.85.80.2:80";
/// The client's router.
pub const ROUTER: &str = "10.1.0.1:80";
/// An address of the server's network that nobody has.
pub const UNUSED: &str = "81.85.76.99:8080";
/// Silence in the lab is this long.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// `proxy.example.net` has an IPv4 address, `six` an IPv6 one, `dual` both; `missing.…` is
/// unknown, and every other name is the origin.
fn zone(name: &str, kind: RecordType) -> Say {
    let addresses: &[&str] = match (name, kind) {
        ("proxy.example.net." | "dual.example.net.", RecordType::A) => &[VPS],
        ("six.example.net." | "dual.example.net.", RecordType::AAAA) => &["2a01:76::10"],
        ("proxy.example.net." | "six.example.net.", _) => &[],
        (name, _) if name.starts_with("missing.") => return Say::NoSuchName,
        (_, RecordType::A) => &["81.85.80.2"],
        _ => &[],
    };
    Say::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect(), 60)
}

/// A name server; says the truth unless told otherwise.
#[derive(Clone, Default)]
pub struct Names {
    lie: Arc<Mutex<Option<Say>>>,
    questions: Arc<AtomicUsize>,
}

impl Names {
    /// Answers on these addresses of the site.
    fn listen(&self, site: &Site, addresses: &[&'static str]) {
        for address in addresses {
            let names = self.clone();
            let socket = site.run(|| {
                let socket = std::net::UdpSocket::bind((*address, 53)).unwrap();
                socket.set_nonblocking(true).unwrap();
                tokio::net::UdpSocket::from_std(socket).unwrap()
            });
            site.spawn(names.answer(socket));
        }
    }

    async fn answer(self, socket: tokio::net::UdpSocket) {
        let (mut buffer, seen) = ([0; 1500], Mutex::default());
        let lie = Arc::clone(&self.lie);
        let script = move |name: &str, kind, _: usize| {
            lie.lock().unwrap().clone().unwrap_or_else(|| zone(name, kind))
        };
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            self.questions.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = dns::answer(&buffer[..length], &script, &seen) {
                // The asker may have gone; then its kernel says so here.
                drop(socket.send_to(&answer, peer).await);
            }
        }
    }
}

/// What is behind the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// A place with a proxy, and rules by hand that lead to it.
    Container,
    /// Nothing: `docker::Engine` brings containers of its own.
    Nothing,
}

/// The five places and what runs in them. Everything ends when it is dropped.
pub struct Lab {
    /// The proxy in the container.
    proxy: Mutex<Option<Serve>>,
    /// Of the client's provider, and of the container.
    names: [Names; 2],
    /// Every web server of the net.
    pub origin: Origin,
    /// Signs the origins and the proxy; `authority.pem` is in `folder()`.
    pub authority: Arc<Authority>,
    sites: [Site; 5],
    behind: Behind,
    files: tempfile::TempDir,
}

impl Lab {
    /// `None`, with a reason printed, where this machine can't; on CI root has to.
    pub fn new() -> Option<Self> {
        Self::or_reason(Self::build(Behind::Container))
    }

    /// The same with a server that has neither a container nor rules for one.
    pub fn bare() -> Option<Self> {
        Self::or_reason(Self::build(Behind::Nothing))
    }

    fn or_reason(built: Result<Self, String>) -> Option<Self> {
        match built {
            Ok(lab) => Some(lab),
            Err(why) => {
                let must = std::env::var_os("CI").is_some() && rustix::process::getuid().is_root();
                assert!(!must, "root can install iproute2 and iptables: {why}");
                println!("skipped: no laboratory here (root, iproute2, iptables): {why}");
                None
            }
        }
    }

    fn build(behind: Behind) -> Result<Self, String> {
        if !rustix::process::getuid().is_root() {
            return Err("not root".to_owned());
        }
        for tool in ["ip", "iptables", "ip6tables", "mount"] {
            Command::new(tool).arg("-V").output().map_err(|error| format!("{tool}: {error}"))?;
        }
        let files = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut sites = Vec::new();
        for place in Place::ALL {
            sites.push(Site::new(place, files.path())?);
        }
        let Ok(sites) = <[Site; 5]>::try_from(sites) else { return Err("five".to_owned()) };
        let authority = Arc::new(Authority::new(files.path()));
        let origin = Origin::new(Arc::clone(&authority));
        let names = Default::default();
        let lab = Self { proxy: Mutex::new(None), names, origin, authority, sites, behind, files };
        lab.lay_cables()?;
        lab.open_for_business();
        lab.settle();
        Ok(lab)
    }

    fn lay_cables(&self) -> Result<(), String> {
        let isp = self.site(Place::Isp);
        let (client, vps, net) =
            (self.path(Place::Client), self.path(Place::Vps), self.path(Place::Net));
        isp.ip(&place::ISP_CABLES
            .replace("CLIENT", &client)
            .replace("VPS", &vps)
            .replace("NET", &net))?;
        if self.behind == Behind::Container {
            self.site(Place::Vps)
                .ip(&place::VPS_CABLES.replace("CONTAINER", &self.path(Place::Container)))?;
        }
        for place in Place::ALL {
            match (self.behind, place) {
                (Behind::Nothing, Place::Vps) => self.site(place).set_up_bare()?,
                (Behind::Nothing, Place::Container) => {}
                _ => self.site(place).set_up()?,
            }
        }
        Ok(())
    }

    fn open_for_business(&self) {
        self.names[0].listen(self.site(Place::Isp), &["10.1.0.1", "2a01:10::1"]);
        self.names[1].listen(self.site(Place::Net), &["81.85.80.53"]);
        self.origin.listen(self.site(Place::Net));
        // They live as long as their place.
        drop(self.stub(Place::Vps, 22, Habit::Says("SSH-2.0-OpenSSH_9.6\r\n")).forget());
        drop(self.stub(Place::Isp, 80, Habit::Http("200 OK", "")).forget());
        if self.behind == Behind::Container {
            self.serve_in_container(&[]);
        }
    }

    fn path(&self, place: Place) -> String {
        self.site(place).path()
    }

    fn site(&self, place: Place) -> &Site {
        &self.sites[place as usize]
    }

    /// Temporary files of this lab; `authority.pem` is among them.
    pub fn folder(&self) -> &std::path::Path {
        self.files.path()
    }

    /// Runs something in a place, on a thread of its own.
    pub fn on<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        let site = self.site(place);
        let outcome = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    site.enter();
                    work()
                })
                .join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command in a place to its end; words are parted by spaces.
    pub fn run(&self, place: Place, words: &str) -> Result<String, String> {
        self.site(place).command(words)
    }

    /// A path that `nsenter --net` takes for the network of a place.
    pub fn network(&self, place: Place) -> String {
        self.site(place).path()
    }

    /// `sami-proxy` with these arguments, as the client runs it.
    pub fn program(&self, arguments: &[&str]) -> Output {
        self.on(Place::Client, || process::run(arguments))
    }

    /// A real `sami-proxy serve` somewhere; returns when it listens.
    pub fn serve(&self, place: Place, arguments: &[&str]) -> Serve {
        // Started by the thread that lives as long as the place, so that it dies with the process.
        let all = [&["serve", "--connect-timeout", "1s", "--workers", "1"], arguments].concat();
        let command = place::dying_with_us(&process::command(&all));
        self.site(place).inside(move || Serve::spawn(command))
    }

    /// Replaces the proxy in the container.
    pub fn serve_in_container(&self, flags: &[&str]) {
        self.stop_proxy();
        let clients = "10.1.0.0/24,81.85.0.0/16,172.17.0.0/16,2a01:10::/64";
        let mut all = vec!["--trust-client", clients];
        if !flags.contains(&"--listen") {
            all.extend(["--listen", "0.0.0.0:8080,[::]:8080"]);
        }
        let paths: Vec<String> = flags.iter().map(|flag| self.with_folder(flag)).collect();
        all.extend(paths.iter().map(String::as_str));
        *self.proxy.lock().unwrap() = Some(self.serve(Place::Container, &all));
    }

    /// `FOLDER` in a text stands for the lab's folder.
    pub fn with_folder(&self, text: &str) -> String {
        text.replace("FOLDER", self.folder().to_str().unwrap())
    }

    /// Ends the proxy in the container.
    pub fn stop_proxy(&self) {
        drop(self.proxy.lock().unwrap().take());
    }

    /// Sends the proxy in the container a signal.
    pub fn signal_proxy(&self, signal: rustix::process::Signal) {
        let pid = self.proxy.lock().unwrap().as_ref().unwrap().pid();
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Something else that listens.
    pub fn stub(&self, place: Place, port: u16, habit: Habit) -> stub::Stub {
        stub::Stub::start(self.site(place), port, habit, &self.authority)
    }

    /// A process that is not ours, in the container; returns when port 8080 accepts.
    pub fn foreign(&self, words: &str) -> place::Killed {
        let words = self.with_folder(words);
        let child = self.site(Place::Container).inside(move || {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).args(words.split(' '));
            place::Killed(place::quiet(command).spawn().unwrap())
        });
        let begun = SystemTime::now();
        while self.observe(Place::Vps, &Step::Connect("172.17.0.2:8080")).what != Shows::Open {
            assert!(begun.elapsed().unwrap() < crate::common::LIMIT, "it does not listen");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        child
    }

    /// What somebody in a place sees.
    pub fn observe(&self, place: Place, step: &Step) -> Seen {
        let roots = self.authority.client();
        self.on(place, || observe::take(step, &roots))
    }

    /// Whether a request through the proxy comes back, and the direct way works.
    pub fn check_health(&self) -> Result<(), String> {
        for (step, shows) in [
            (Step::Connect(SSH), Shows::Open),
            (Step::Connect(WEB), Shows::Open),
            (Step::Resolve("proxy.example.net"), Shows::Answer(&["81.85.76.10"])),
            (Step::Https(PROXY, "www.google.com"), Shows::Answer(&["200 OK", "hi"])),
            (Step::Connect(PROXY6), Shows::Open),
            (Step::Down(PROXY, 65536), Shows::Flows),
            (Step::Up(PROXY, 65536), Shows::Answer(&["HTTP/1.1 200"])),
        ] {
            let seen = self.observe(Place::Client, &step);
            if !seen.is(&shows) {
                return Err(format!("{step:?} shows {seen:?}"));
            }
        }
        Ok(())
    }

    /// Waits until the first packets pass: the kernel needs up to a second to see that a cable is
    /// plugged in. Gives up without a word: whatever comes next says it better.
    pub fn settle(&self) {
        let begun = SystemTime::now();
        let passes = |(place, address)| {
            let seen = self.observe(place, &Step::Connect(address));
            seen.is(&Shows::Open) && seen.after < Duration::from_millis(500)
        };
        // Whether there is a proxy in an engine is the engine's business.
        let ways: &[_] = match self.behind {
            Behind::Nothing => &[(Place::Client, SSH), (Place::Net, SSH)],
            Behind::Container => {
                &[(Place::Client, PROXY), (Place::Client, PROXY6), (Place::Net, PROXY)]
            }
        };
        while !ways.iter().copied().all(passes) && begun.elapsed().unwrap() < Duration::from_secs(5)
        {
        }
    }

    /// Connection requests for port 8080 that came to the server's network card.
    pub fn witnessed(&self) -> u64 {
        let words = "-t raw -nvxL PREROUTING";
        self.counted(Place::Vps, &format!("iptables {words}"), "witness")
            + self.counted(Place::Vps, &format!("ip6tables {words}"), "witness")
    }

    /// Packets that rules with this comment have counted.
    pub fn counted(&self, place: Place, list: &str, comment: &str) -> u64 {
        let text = self.run(place, list).unwrap();
        let marked = text.lines().filter(|line| line.contains(&format!("/* {comment} */")));
        marked.map(|line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Makes a trouble; `Err` says what this machine lacks for it.
    pub fn inject(&self, fault: &Fault) -> Result<Trouble<'_>, Lacking> {
        Trouble::make(self, fault.name, fault.deeds)
    }

    /// Makes a healthy variant.
    pub fn vary(&self, variant: &healthy::Healthy) -> Result<Trouble<'_>, Lacking> {
        Trouble::make(self, variant.name, variant.deeds)
    }
}
