//! The places: namespaces, the cables between them, and a thread that lives in each.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Where something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Client,
    Isp,
    Vps,
    Container,
    Net,
}

impl Place {
    pub const ALL: [Self; 5] = [Self::Client, Self::Isp, Self::Vps, Self::Container, Self::Net];

    /// Name servers of the place.
    const fn resolv_conf(self) -> &'static str {
        match self {
            Self::Client => "nameserver 10.1.0.1\n",
            Self::Isp | Self::Vps | Self::Container | Self::Net => "nameserver 81.85.80.53\n",
        }
    }

    /// Addresses, routes and rules: for `ip -batch`, `iptables-restore` and `ip6tables-restore`.
    const fn plan(self) -> [&'static str; 3] {
        match self {
            Self::Client => [CLIENT, "", ""],
            Self::Isp => [ISP, "", ""],
            Self::Vps => [VPS, VPS_RULES, VPS_RULES6],
            Self::Container => [CONTAINER, "", ""],
            Self::Net => [NET, "", ""],
        }
    }
}

pub const ISP_CABLES: &str = "
link add client type veth peer name eth0 netns CLIENT
link add vps type veth peer name eth0 netns VPS
link add net type veth peer name eth0 netns NET
";

pub const VPS_CABLES: &str = "
link add docker0 type veth peer name eth0 netns CONTAINER
";

const CLIENT: &str = "
addr add 10.1.0.2/24 dev eth0
addr add 2a01:10::2/64 dev eth0 nodad
link set lo up
link set eth0 gso_max_segs 1 up
route add default via 10.1.0.1
route add default via 2a01:10::1
";

// What is nowhere in the lab is nowhere: silence, as in the Internet.
const ISP: &str = "
addr add 10.1.0.1/24 dev client
addr add 2a01:10::1/64 dev client nodad
addr add 81.85.76.1/24 dev vps
addr add 2a01:76::1/64 dev vps nodad
addr add 81.85.80.1/24 dev net
addr add 2a01:80::1/64 dev net nodad
link set lo up
link set client gso_max_segs 1 up
link set vps gso_max_segs 1 up
link set net gso_max_segs 1 up
route add blackhole default
";

const VPS: &str = "
addr add 81.85.76.10/24 dev eth0
addr add 2a01:76::10/64 dev eth0 nodad
addr add 172.17.0.1/16 dev docker0
addr add fd17::1/64 dev docker0 nodad
link set lo up
link set eth0 gso_max_segs 1 up
link set docker0 gso_max_segs 1 up
route add default via 81.85.76.1
route add default via 2a01:76::1
";

// As Docker does it for `-p 8080:8080`; the raw table counts who knocks.
const VPS_RULES: &str = "
*raw
-A PREROUTING -i eth0 -p tcp --dport 8080 --syn -m comment --comment witness
COMMIT
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
";

const VPS_RULES6: &str = "
*raw
-A PREROUTING -i eth0 -p tcp --dport 8080 --syn -m comment --comment witness
COMMIT
*nat
-A PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to-destination [fd17::2]:8080
COMMIT
";

const CONTAINER: &str = "
addr add 172.17.0.2/16 dev eth0
addr add fd17::2/64 dev eth0 nodad
link set lo up
link set eth0 gso_max_segs 1 up
route add default via 172.17.0.1
route add default via fd17::1
";

const NET: &str = "
addr add 81.85.80.2/24 dev eth0
addr add 81.85.80.53/24 dev eth0
addr add 2a01:80::2/64 dev eth0 nodad
link set lo up
link set eth0 gso_max_segs 1 up
route add default via 81.85.80.1
route add default via 2a01:80::1
";

/// A place that exists: its namespaces, and a runtime on a thread that never leaves it.
pub struct Site {
    place: Place,
    network: File,
    mounts: File,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    resolv_conf: PathBuf,
}

impl Site {
    pub fn new(place: Place, folder: &Path) -> Result<Self, String> {
        let resolv_conf = folder.join(format!("resolv.conf.{place:?}"));
        std::fs::write(&resolv_conf, place.resolv_conf()).map_err(|error| error.to_string())?;
        let (ready, is_ready) = channel();
        let file = resolv_conf.clone();
        let (stop, is_stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let made = found(&file);
            let builder = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = builder.unwrap();
            let failed = made.is_err();
            ready.send((made, runtime.handle().clone())).unwrap();
            if !failed {
                drop(runtime.block_on(is_stopped));
            }
        });
        let (made, runtime) = is_ready.recv().map_err(|error| error.to_string())?;
        let (network, mounts) = made?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { place, network, mounts, runtime, stop, thread, resolv_conf })
    }

    /// A path that `ip` takes for the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }

    /// Moves this thread, and what it opens or starts from now on, into the place.
    pub fn enter(&self) {
        // SAFETY: only the working directory and the like become this thread's own; descriptors
        // stay shared.
        #[allow(unsafe_code, reason = "the safe form is deprecated; it may not be used for FILES")]
        unsafe {
            unshare_unsafe(UnshareFlags::FS).unwrap();
        }
        let mounts = self.mounts.as_fd();
        move_into_link_name_space(mounts, Some(LinkNameSpaceType::Mount)).unwrap();
        let network = self.network.as_fd();
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Runs something short on the thread of the place.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let guard = self.runtime.clone();
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    let _inside = guard.enter();
                    work()
                })
                .join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs something on the thread that lives as long as the place.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = channel();
        drop(self.runtime.spawn(async move { done.send(work()).unwrap() }));
        is_done.recv().expect("it panicked in its place")
    }

    /// Starts something that may last.
    pub fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        self.runtime.spawn(task).abort_handle()
    }

    /// Runs a command to its end.
    pub fn command(&self, words: &str) -> Result<String, String> {
        self.fed(words, "")
    }

    /// The same, with something on its standard input.
    fn fed(&self, words: &str, input: &str) -> Result<String, String> {
        self.run(|| {
            let mut all = words.split(' ');
            let mut command = Command::new(all.next().unwrap());
            command.args(all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().map_err(|error| format!("{words}: {error}"))?;
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            } else {
                Err(format!("{:?}: {words}: {said}", self.place))
            }
        })
    }

    /// A batch of `ip` lines.
    pub fn ip(&self, lines: &str) -> Result<(), String> {
        self.fed("ip -batch -", lines).map(drop)
    }

    /// Addresses, routes, rules, switches.
    pub fn set_up(&self) -> Result<(), String> {
        self.apply(self.place.plan())
    }

    /// The same without what stands for Docker.
    pub fn set_up_bare(&self) -> Result<(), String> {
        let plan = self.place.plan().map(|text| {
            let lines = text.lines().filter(|line| !line.contains("docker0"));
            lines.filter(|line| !line.contains("DNAT")).collect::<Vec<_>>().join("\n") + "\n"
        });
        self.apply(plan.each_ref().map(String::as_str))
    }

    fn apply(&self, [lines, rules, rules6]: [&str; 3]) -> Result<(), String> {
        self.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            // One trouble's errors must not use up the next one's.
            std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?;
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
            // The routers may come and go by another interface than the routes say.
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")?;
            std::fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "0")
        })
        .map_err(|error| error.to_string())?;
        self.ip(lines)?;
        if !rules.is_empty() {
            self.fed("iptables-restore -n", rules)?;
            self.fed("ip6tables-restore -n", rules6)?;
        }
        Ok(())
    }

    /// Puts the rules of the server's port back, as `set_up` made them.
    pub fn translate(&self) -> Result<(), String> {
        let only_port = |rules: &str| {
            let lines = rules.lines().filter(|line| line.contains("DNAT"));
            format!("*nat\n{}\nCOMMIT\n", lines.collect::<Vec<_>>().join("\n"))
        };
        self.fed("iptables-restore -n", &only_port(VPS_RULES))?;
        self.fed("ip6tables-restore -n", &only_port(VPS_RULES6)).map(drop)
    }

    /// What the system resolver of the place is told.
    pub fn set_resolver(&self, text: Option<&str>) {
        // In place: the file is mounted.
        std::fs::write(&self.resolv_conf, text.unwrap_or(self.place.resolv_conf())).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic on that thread was reported when it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Makes this thread's namespaces; never to be left.
fn found(resolv_conf: &Path) -> Result<(File, File), String> {
    // SAFETY: this thread has shared nothing that it opened, and descriptors stay shared.
    #[allow(unsafe_code, reason = "the safe form is deprecated; it may not be used for FILES")]
    let made = unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) };
    made.map_err(|error| format!("unshare: {error}"))?;
    // IPv6 addresses that may be used at once: before there are any devices.
    for which in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{which}/accept_dad");
        std::fs::write(path, "0").map_err(|error| format!("IPv6: {error}"))?;
    }
    let mount = |words: &[&str]| {
        let output = Command::new("mount").args(words).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("mount {words:?}: {said}")) }
    };
    mount(&["--make-rprivate", "/"])?;
    mount(&["--bind", resolv_conf.to_str().unwrap(), "/etc/resolv.conf"])?;
    let open = |kind| File::open(format!("/proc/thread-self/ns/{kind}"));
    Ok((open("net").map_err(|e| e.to_string())?, open("mnt").map_err(|e| e.to_string())?))
}

/// The same command, but killed when the thread that starts it ends.
pub fn dying_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    wrapped
}

/// No input, no output.
pub fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A process that is killed when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
