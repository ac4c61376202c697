//! A Docker engine of its own on the lab's server.
//!
//! It lives in namespaces of processes and mounts below the server's: `/proc`, `/run`, `/etc` and
//! `/var/lib/docker` are private, so that its paths are those of any server, the numbers of its
//! processes are true, and killing the first process kills all of it at once. The network is the
//! server's: Docker makes its own rules there. Of the machine's own Docker nothing is touched but the
//! programs.
//!
//! ```text
//! let Some(lab) = Lab::bare() else { return };
//! let Some(engine) = Engine::start(&lab) else { return };     // prints what is lacking
//! engine.baseline().unwrap();                                 // README's container, healthy
//! engine.docker(&["inspect", NAME]).unwrap();
//! engine.program(&["doctor", "--json"]);                      // as root on the server
//! ```

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::place::{self, Killed, Place};
use super::{Lab, Lacking};
use crate::common::LIMIT;

/// The container, and its image, as README has them.
pub const NAME: &str = "sami-llm-proxy";

/// What README tells to run; the image knows the lab's clients by its environment.
pub const RUN: &str =
    "docker run -d --name sami-llm-proxy -p 8080:8080 --restart unless-stopped sami-llm-proxy";

/// Programs of the image besides the proxy.
const TOOLS: [&str; 3] = ["sh", "sleep", "cat"];

/// What the image says of itself: as in the Dockerfile, but without waiting, and for the lab's
/// clients.
const CHANGES: [&str; 8] = [
    "USER 65532:65532",
    "EXPOSE 8080",
    "HEALTHCHECK --interval=3s --timeout=5s --retries=3 CMD [\"/usr/local/bin/sami-proxy\", \"healthcheck\"]",
    "ENV PATH=/usr/local/bin:/bin SAMI_PROXY_DRAIN_TIMEOUT=1s SAMI_PROXY_STATE_DIR=/var/lib/sami-proxy",
    "ENV SAMI_PROXY_CONNECT_TIMEOUT=1s SAMI_PROXY_WORKERS=1",
    "ENV SAMI_PROXY_TRUST_CLIENT=10.1.0.0/24,81.85.0.0/16,172.16.0.0/12,2a01:10::/64",
    "ENTRYPOINT [\"/usr/local/bin/sami-proxy\"]",
    "CMD [\"serve\"]",
];

/// The first process: says its number outside, makes the server's private folders, takes in
/// orphans, and stays. `ID` and `FOLDER` are filled in.
const FIRST: &str = r#"
read -r outside _ </proc/self/stat
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/lab/etc /run/lab/work /run/lab/home /run/lock
resolv=$(cat /etc/resolv.conf)
mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work overlay /etc
printf '%s\n' "$resolv" >/etc/resolv.conf
rm -rf /etc/docker
mkdir -p /etc/docker /var/lib/docker
mount -t tmpfs -o size=400m tmpfs /var/lib/docker
echo "$outside"
exec env --ignore-signal=CHLD sleep infinity
"#;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The engine; all of it ends when this is dropped, or when the test dies.
pub struct Engine<'lab> {
    pub lab: &'lab Lab,
    /// `unshare`, which waits for the first process.
    keeper: Killed,
    /// The first process, by its number outside.
    first: i32,
    group: String,
}

impl<'lab> Engine<'lab> {
    /// `None`, with a reason printed, where this machine can't; on CI root has to.
    pub fn start(lab: &'lab Lab) -> Option<Self> {
        match Self::build(lab) {
            Ok(engine) => Some(engine),
            Err(Lacking(why)) => {
                assert!(std::env::var_os("CI").is_none(), "root can install docker.io: {why}");
                println!("skipped: no Docker engine here (docker.io, util-linux): {why}");
                None
            }
        }
    }

    fn build(lab: &'lab Lab) -> Result<Self, Lacking> {
        for tool in ["docker", "dockerd", "unshare", "nsenter", "setpriv", "tar", "ldd"] {
            let said = Command::new(tool).arg("--version").output();
            said.map_err(|error| Lacking(format!("{tool}: {error}")))?;
        }
        sweep();
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let group = format!("{GROUP}{}-{number}", std::process::id());
        let (keeper, first) = found(lab).map_err(Lacking)?;
        let engine = Self { lab, keeper, first, group };
        // Docker turns it on, and closes FORWARD, if nobody did before.
        engine.shell("echo 0 >/proc/sys/net/ipv4/ip_forward").map_err(Lacking)?;
        engine.start_daemon().map_err(Lacking)?;
        engine.import().map_err(Lacking)?;
        engine.shell(REMEMBER).map_err(Lacking)?;
        Ok(engine)
    }

    /// Any program as root on the server, in the engine's namespaces.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        // The server's network is among what the first process has.
        command.args(["-t", &self.first.to_string(), "-m", "-n", "-p", "--"]).arg(program);
        command
            .env_clear()
            .env("HOME", "/run/lab/home")
            .env("PATH", PATH)
            .env("FOLDER", self.folder());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn folder(&self) -> &Path {
        self.lab.folder()
    }

    /// The CLI on this engine.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command("docker");
        said(command.args(arguments), || format!("docker {arguments:?}"))
    }

    /// A script as root on the server; the first command that fails ends it, and so does a minute. `$FOLDER` is the
    /// lab's folder.
    pub fn shell(&self, script: &str) -> Result<String, String> {
        let mut command = self.command("timeout");
        said(command.args([PATIENCE, "sh", "-ec", script]), || script.to_owned())
    }

    /// `sami-proxy` as this user on the server; 0 is root.
    pub fn program(&self, user: u32, arguments: &[&str]) -> Output {
        let user = user.to_string();
        let mut command = self.command("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", PROGRAM]);
        command.args(arguments).output().unwrap()
    }

    /// Where the engine listens, seen from every place; on the server it is `/var/run/docker.sock`,
    /// too.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("docker.sock")
    }

    /// Starts `dockerd` and returns when it answers; what was running with `--restart` comes back.
    pub fn start_daemon(&self) -> Result<(), String> {
        let socket = format!("unix://{}", self.socket().display());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("dockerd.log"))
            .map_err(|error| error.to_string())?;
        let mut command = self.command("dockerd");
        command.args(["-H", "unix:///var/run/docker.sock", "-H", &socket]);
        command.args(["--storage-driver", "vfs", "--bip", "172.17.0.1/16"]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent"]);
        command.arg(format!("/{}", self.group)).stdout(Stdio::null()).stderr(log);
        // It ends with the namespaces; its `nsenter` is waited for there, so that no zombie stays.
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        drop(std::thread::spawn(move || child.wait()));
        let begun = SystemTime::now();
        while self.docker(&["version"]).is_err() {
            if begun.elapsed().unwrap() > LIMIT {
                let log = std::fs::read_to_string(self.folder().join("dockerd.log"));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("dockerd does not start: {lines:?}"));
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    /// `systemctl restart docker`, running or not.
    pub fn restart_daemon(&self) -> Result<(), String> {
        self.shell(STOP)?;
        self.start_daemon()
    }

    /// Back to the server with README's container and nothing else, whatever was done to its
    /// containers and rules; `Err` when the client is not served then.
    pub fn baseline(&self) -> Result<(), String> {
        self.shell(FORGET)?;
        self.shell(RUN)?;
        self.wait_until_served()?;
        // A connect was once silent just after that (1 of 900); what is broken stays broken.
        self.lab.check_health().or_else(|why| {
            println!("not healthy at once: {why}");
            self.lab.check_health()
        })
    }

    /// Returns when the client gets an answer from the proxy's port.
    pub fn wait_until_served(&self) -> Result<(), String> {
        let begun = SystemTime::now();
        let ask = super::Step::Say(super::PROXY, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        while !self.lab.observe(Place::Client, &ask).is(&super::Shows::Answer(&["200 OK"])) {
            if begun.elapsed().unwrap() > LIMIT {
                let state = self.shell("docker ps -a; docker logs --tail 5 sami-llm-proxy 2>&1");
                return Err(format!("the container does not serve: {state:?}"));
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes the image of the program as it was built for this test, and what it needs.
    fn import(&self) -> Result<(), String> {
        let root = self.folder().join("image");
        let script = IMAGE.replace("PROGRAM", PROGRAM).replace("TOOLS", &TOOLS.join(" "));
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).env("ROOT", &root).stdin(Stdio::null());
        said(&mut command, || "the image".to_owned())?;
        let mut arguments = vec!["import"];
        for change in &CHANGES {
            arguments.extend(["-c", change]);
        }
        let tar = format!("{}.tar", root.display());
        arguments.extend([&tar, NAME]);
        self.docker(&arguments).map(drop)
    }

    /// How its processes are known on the machine: by their namespace, and those of containers by
    /// their control group.
    pub fn marks(&self) -> [String; 2] {
        let namespace = std::fs::read_link(format!("/proc/{}/ns/pid", self.first)).unwrap();
        [namespace.to_str().unwrap().to_owned(), self.group.clone()]
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        let first = rustix::process::Pid::from_raw(self.first).unwrap();
        // It may have been killed already.
        rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap_or_default();
        // Its keeper has waited for it, and so for every process in there, when it ends.
        drop(self.keeper.0.wait());
        remove_groups(&self.group);
    }
}

/// Seconds that a script may take.
const PATIENCE: &str = "60";

const PROGRAM: &str = env!("CARGO_BIN_EXE_sami-proxy");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The engine without containers has these rules.
const REMEMBER: &str = r"
for tool in iptables ip6tables; do
  # A table that nobody has used is in no list, and would not be emptied.
  for table in filter nat mangle; do $tool -t $table -P OUTPUT ACCEPT; done
  $tool-save >/run/lab/$tool
done
";

/// No container, no network but the standard ones, those rules, no table of another, and space.
const FORGET: &str = r#"
containers=$(docker ps -aq)
if [ -n "$containers" ]; then
  paused=$(docker ps -q -f status=paused)
  [ -z "$paused" ] || docker unpause $paused
  docker rm -f $containers
fi
docker network prune -f
iptables-restore </run/lab/iptables
ip6tables-restore </run/lab/ip6tables
echo 1 >/proc/sys/net/ipv4/ip_forward
"#;

const STOP: &str = r#"
if [ -e /run/docker.pid ]; then
  daemon=$(cat /run/docker.pid)
  kill "$daemon" 2>/dev/null || true
  timeout 15 tail --pid="$daemon" -f /dev/null
  rm -f /run/docker.pid
fi
"#;

const IMAGE: &str = r#"
mkdir -p "$ROOT/usr/local/bin" "$ROOT/bin" "$ROOT/etc" "$ROOT/var/lib/sami-proxy" "$ROOT/tmp"
add() {
  cp -L "$1" "$ROOT/$2/"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$ROOT/${library%/*}"
    cp -L "$library" "$ROOT/$library"
  done
}
add PROGRAM usr/local/bin
# The symbols are four fifths of it.
strip -s "$ROOT/usr/local/bin/sami-proxy" 2>/dev/null || true
for tool in TOOLS; do add "$(command -v "$tool")" bin; done
echo 'sami:x:65532:65532:sami-proxy:/:/bin/false' >"$ROOT/etc/passwd"
echo 'sami:x:65532:' >"$ROOT/etc/group"
chown 65532:65532 "$ROOT/var/lib/sami-proxy"
chmod 1777 "$ROOT/tmp"
tar -C "$ROOT" -cf "$ROOT.tar" .
"#;

/// Makes the namespaces; returns the keeper, and the first process's number.
fn found(lab: &Lab) -> Result<(Killed, i32), String> {
    // Started by the thread that lives as long as the server, so that it dies with the process.
    let mut keeper = lab.site(Place::Vps).inside(|| {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"]);
        command.args(["--kill-child", "sh", "-ec", FIRST]);
        let mut command = place::quiet(command);
        command.env_clear().env("PATH", PATH).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(Killed).map_err(|error| format!("unshare: {error}"))
    })?;
    let mut line = String::new();
    let output = keeper.0.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    if let Ok(first) = line.trim().parse() {
        return Ok((keeper, first));
    }
    let mut why = String::new();
    keeper.0.stderr.take().unwrap().read_to_string(&mut why).unwrap_or_default();
    Err(why)
}

/// What a command says on its standard output, or on the other when it fails.
fn said(command: &mut Command, what: impl Fn() -> String) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", what()))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}: {}{}", what(), text(&output.stdout), text(&output.stderr)))
    }
}

/// Names of control groups begin so; the number of the test's process follows.
const GROUP: &str = "sami-lab-";

/// Numbers of the machine's processes that have this mark.
pub fn marked(mark: &str) -> Vec<String> {
    let processes = folders(Path::new("/proc")).into_iter().filter(|process| {
        let namespace = std::fs::read_link(process.join("ns/pid")).unwrap_or_default();
        let groups = std::fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        namespace == Path::new(mark) || groups.contains(&format!("/{mark}/"))
    });
    processes.map(|process| process.display().to_string()).collect()
}

/// Control groups, which are folders, are all that a killed test leaves.
fn sweep() {
    for name in groups() {
        let process = name.trim_start_matches(GROUP).split('-').next().unwrap();
        if !Path::new("/proc").join(process).exists() {
            remove_groups(&name);
        }
    }
}

/// Every hierarchy: of version 2, and those of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let mut all = folders(&root);
    all.push(root);
    all
}

/// Names of this lab's groups that exist.
pub fn groups() -> Vec<String> {
    let all = hierarchies().into_iter().flat_map(|hierarchy| folders(&hierarchy));
    let names = all.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name.starts_with(GROUP)).collect()
}

fn remove_groups(name: &str) {
    for hierarchy in hierarchies() {
        remove_group(&hierarchy.join(name));
    }
}

fn remove_group(path: &Path) {
    for inner in folders(path) {
        remove_group(&inner);
    }
    // Another test may have been here first.
    drop(std::fs::remove_dir(path));
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
