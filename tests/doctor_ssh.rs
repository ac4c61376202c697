//! `doctor --ssh` against a real sshd: on loopback, with keys and settings of its own. Nothing of
//! anybody's `~/.ssh` is used: the `ssh` that the program finds is a wrapper that names our files.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::process::until;
use common::schema;
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_sami-proxy");
const SSHD: &str = "/usr/sbin/sshd";

/// Says nothing, and ends long after every test.
const ENDLESS: &str = "#!/bin/sh\nexec /bin/sleep 60\n";

/// A server to log in to, and the files of who does.
struct Far {
    folder: TempDir,
    address: SocketAddr,
}

fn is_there() -> bool {
    let all = [SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen"];
    let missing = all.into_iter().find(|it| !Path::new(it).exists());
    if let Some(missing) = missing {
        println!("skipped: there is no {missing}");
    }
    missing.is_none()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Far {
    /// A server on which the session finds `programs`, besides the least that a shell script needs.
    fn start(programs: &[(&str, &str)]) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["host", "other-host", "key", "other-key"] {
            let mut keygen = Command::new("/usr/bin/ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key));
            assert!(keygen.status().unwrap().success());
        }
        fs::create_dir(path("far")).unwrap();
        for tool in ["sh", "cat", "true"] {
            symlink(Path::new("/bin").join(tool), path("far").join(tool)).unwrap();
        }
        // Whoever runs the test is nobody special there.
        write(&path("far/id"), "#!/bin/sh\necho 1000\n", 0o755);
        write(&path("far/sudo"), "#!/bin/sh\nexit 1\n", 0o755);
        for (name, text) in programs {
            write(&path("far").join(name), text, 0o755);
        }
        fs::copy(path("key.pub"), path("authorized")).unwrap();
        let sshd = format!(
            "HostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nPrintMotd no\n\
             SetEnv PATH={0}/far\n",
            folder.path().display()
        );
        write(&path("sshd_config"), &sshd, 0o600);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = path("sshd_config");
        std::thread::spawn(move || serve(&listener, &config));
        let far = Self { folder, address };
        far.configure("key", "host", address.port());
        Some(far)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the one who logs in uses: a key, the key that the server is known by, a port.
    fn configure(&self, key: &str, known: &str, port: u16) {
        let folder = self.folder.path().display();
        let config = format!(
            "Host vps\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/{key}\n\
             IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n GlobalKnownHostsFile none\n"
        );
        write(&self.path("config"), &config, 0o600);
        let known = fs::read_to_string(self.path(&format!("{known}.pub"))).unwrap_or_default();
        let line = if known.is_empty() { known } else { format!("[127.0.0.1]:{port} {known}") };
        write(&self.path("known"), &line, 0o600);
        fs::create_dir_all(self.path("near")).unwrap();
        let wrapper = format!("#!/bin/sh\nexec /usr/bin/ssh -F {folder}/config \"$@\"\n");
        write(&self.path("near/ssh"), &wrapper, 0o755);
    }

    /// The doctor, about a port at which nobody is.
    fn doctor(&self, to: &str, flags: &[&str]) -> Output {
        self.command(to, flags).output().unwrap()
    }

    fn command(&self, to: &str, flags: &[&str]) -> Command {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(BINARY);
        command.args(["doctor", &nobody.to_string(), "--ssh", to, "--timeout", "9"]);
        command.args(flags).env("PATH", self.path("near")).env("SAMI_PROXY_LANG", "en");
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        command
    }

    fn report(&self, to: &str) -> Value {
        let output = self.doctor(to, &["--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let document: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {output:?}"));
        schema::check(&schema::of_reports(), &document).unwrap();
        // Whatever becomes of the other end, this one is told.
        assert_eq!(document["verdict"]["status"], "broken", "{document:#}");
        document
    }

    /// Why nothing was heard; it stands in one line of both forms.
    fn silence(&self, to: &str) -> String {
        let document = self.report(to);
        let heard = &document["evidence"]["server"]["heard"];
        let why = heard["nothing"].as_str().unwrap_or_else(|| panic!("{heard:#}")).to_owned();
        let rows = document["not_checked"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(document["verdict"]["code"], "port-refused");
        why
    }
}

/// One sshd for each connection, as inetd does it.
fn serve(listener: &TcpListener, config: &Path) {
    for stream in listener.incoming() {
        let stream: OwnedFd = stream.unwrap().into();
        // As root it wants a folder that only a service has; it gets one that nobody else sees.
        let root = rustix::process::geteuid().is_root();
        let mut sshd = if root {
            let script = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$0\" \"$@\"";
            let mut sshd = Command::new("unshare");
            sshd.args(["-m", "sh", "-c", script, SSHD]);
            sshd
        } else {
            Command::new(SSHD)
        };
        sshd.args(["-i", "-e", "-f"]).arg(config);
        sshd.stdin(stream.try_clone().unwrap()).stdout(stream).stderr(Stdio::null());
        let mut sshd = sshd.spawn().unwrap();
        std::thread::spawn(move || sshd.wait());
    }
}

/// Stands where the program would be.
fn program() -> String {
    format!("#!/bin/sh\nexec {BINARY} \"$@\"\n")
}

#[test]
fn the_servers_report_is_merged() {
    let Some(far) = Far::start(&[("sami-proxy", &program())]) else { return };
    let document = far.report("vps");
    let server = &document["evidence"]["server"];
    assert_eq!(server["by"], "ssh");
    assert_eq!(server["host"], "vps");
    let evidence = &server["heard"]["evidence"];
    assert_eq!(evidence["asked"]["role"], "host");
    assert_eq!(evidence["subject"]["port"], document["evidence"]["subject"]["port"]);
    let checks = document["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|it| it["ref"] == name);
    assert_eq!(of("s1").unwrap()["id"], "docker-engine");
    assert!(of("c1").is_some());
    // It watched while the client looked.
    let witness = checks.iter().find(|it| it["id"] == "witness").unwrap();
    assert!(witness["ref"].as_str().unwrap().starts_with('s'));
    let knocks = server["knocking"]["at_ms"].as_array().unwrap();
    assert_eq!(knocks.len(), 1, "who is refused needs not knock again");
    // The person sees both, each under its own label.
    let text = String::from_utf8(far.doctor("vps", &["-v"]).stdout).unwrap();
    assert!(text.contains("checks  c1 ") && text.contains("server  s1 "), "{text}");
}

#[test]
fn a_greeting_does_not_hide_the_report() {
    let greeted = format!("#!/bin/sh\necho 'Welcome {{to}} all'\nexec {BINARY} \"$@\"\n");
    let Some(far) = Far::start(&[("sami-proxy", &greeted)]) else { return };
    assert!(far.report("vps")["evidence"]["server"]["heard"]["evidence"].is_object());
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let Some(far) = Far::start(&[("sami-proxy", &program())]) else { return };
    let port = far.address.port();
    far.configure("key", "nobody-knows-it", port);
    assert_eq!(far.silence("vps"), "key-unknown");
    far.configure("key", "other-host", port);
    assert_eq!(far.silence("vps"), "key-changed");
    far.configure("other-key", "host", port);
    assert_eq!(far.silence("vps"), "denied");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    far.configure("key", "host", nobody.port());
    assert_eq!(far.silence("vps"), "refused");
    assert_eq!(far.silence("root@no-such-name.invalid"), "no-name");
    fs::remove_file(far.path("near/ssh")).unwrap();
    assert_eq!(far.silence("vps"), "no-ssh");
    // What is typed is no option.
    let output = far.doctor("-oProxyCommand=touch /tmp/x", &[]);
    assert_eq!(output.status.code(), Some(2));
    // The person reads one line with what to do.
    far.configure("key", "nobody-knows-it", port);
    let text = String::from_utf8(far.doctor("vps", &[]).stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|it| it.contains("not checked")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains("the key of vps is not known") && lines[0].contains("ssh vps"));
}

#[test]
fn a_server_without_the_program_is_told_from_one_that_may_not_be_asked() {
    let docker = |text: &str| format!("#!/bin/sh\n{text}\n");
    let sudo = ("sudo", "#!/bin/sh\nshift\nexec \"$@\"\n");
    let (no, down) = (docker("exit 1"), docker("exit 1"));
    let empty = docker("case $1 in image) exit 1;; esac");
    let old = "#!/bin/sh\necho \"error: unexpected argument '--witness'\" >&2\nexit 2\n";
    for (programs, why) in [
        (&[][..], "no-program"),
        (&[("docker", no.as_str())], "needs-password"),
        (&[sudo, ("docker", down.as_str())], "no-docker"),
        (&[("docker", empty.as_str())], "no-program"),
        (&[("sami-proxy", old)], "other-version"),
        (&[("sami-proxy", "#!/bin/sh\necho hello\n")], "no-report"),
        (&[("sami-proxy", "#!/bin/sh\necho '{'\n")], "unreadable"),
        (&[("sami-proxy", ENDLESS)], "out-of-time"),
    ] {
        let Some(far) = Far::start(programs) else { return };
        assert_eq!(far.silence("vps"), why, "{programs:?}");
    }
}

#[test]
fn without_the_program_its_image_is_run_and_nothing_is_left() {
    // A server with one container, whose program can't be started from outside.
    let docker = format!(
        "#!/bin/sh\ncase $1 in\n\
         ps) case $* in *publish=*) echo c1;; esac;;\n\
         inspect) case $3 in *Path*) echo /usr/local/bin/sami-proxy;; *Image*) echo sha256:1;; *) echo 0;; esac;;\n\
         run) case $* in *--rm*--pull\\ never*sha256:1\\ doctor*) while [ \"$1\" != doctor ]; do shift; done; \
         exec {BINARY} \"$@\";; esac;;\n\
         esac\n"
    );
    let Some(far) = Far::start(&[("docker", &docker)]) else { return };
    let document = far.report("vps");
    assert!(document["evidence"]["server"]["heard"]["evidence"].is_object(), "{document:#}");
}

/// Whether some `ssh` uses our configuration.
fn is_connected(far: &Far) -> bool {
    let ours = far.path("config").display().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.into_iter().any(|it| {
        let words = fs::read(it.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.starts_with("/usr/bin/ssh") && words.contains(&ours)
    })
}

#[test]
fn who_has_had_enough_gets_what_is_known_and_no_connection_stays() {
    let endless = ("sami-proxy", ENDLESS);
    let Some(far) = Far::start(&[endless]) else { return };
    let mut command = far.command("vps", &["--json"]);
    let doctor = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until(|| is_connected(&far));
    let pid = rustix::process::Pid::from_child(&doctor);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = doctor.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let heard = &document["evidence"]["server"]["heard"];
    assert_eq!(heard["nothing"], "interrupted", "{heard}");
    until(|| !is_connected(&far));
}
