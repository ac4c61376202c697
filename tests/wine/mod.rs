//! The program for Windows under Wine. `scripts/windows.sh` builds it; `SAMI_PROXY_EXE` is where it is.
//!
//! ```text
//! let Some(wine) = Wine::new() else { return };                   // prints why it is skipped
//! let output = wine.run(&["check-port", "127.0.0.1:1"]);
//! ```
//!
//! Wine proves that the program starts, what it says and where, its exit codes, and that its calls of
//! Windows are right. It can't prove how Windows itself behaves: a refusal that takes 2 s, firewalls,
//! the look of a console.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_debug_implementations,
    unreachable_pub,
    dead_code,
    reason = "test code; each test file uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::process::Serve;

/// No run takes longer; reaching it is a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// Debian's, then what is in the search path.
const LOADERS: [&str; 4] =
    ["/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine", "/usr/local/bin/wine"];

/// When its input ends, which is when this process does, however it ends: nothing of Wine is left.
const CLEAN_UP: &str = r#"cat >/dev/null
"$SERVER" -k
"$SERVER" -w
rm -rf "$FOLDER""#;

/// A Windows of our own.
pub struct Wine {
    exe: PathBuf,
    loader: &'static str,
    folder: PathBuf,
    _cleaner: Child,
}

impl Wine {
    /// One for all tests of this process; making it takes seconds. `None`, with a reason printed,
    /// when nobody says where the program is.
    pub fn new() -> Option<&'static Self> {
        static ONE: OnceLock<Option<Wine>> = OnceLock::new();
        let one = ONE.get_or_init(|| std::env::var_os("SAMI_PROXY_EXE").map(Self::install));
        if one.is_none() {
            println!("skipped: no program for Windows (SAMI_PROXY_EXE, see scripts/windows.sh)");
        }
        one.as_ref()
    }

    fn install(exe: std::ffi::OsString) -> Self {
        let exe = std::fs::canonicalize(exe).unwrap();
        let loader = LOADERS.into_iter().find(|path| Path::new(path).exists());
        let loader = loader.unwrap_or_else(|| panic!("no Wine: apt install wine64"));
        let folder = tempfile::tempdir().unwrap().keep();
        let beside = Path::new(loader).with_file_name("wineserver");
        let cleaner = Command::new("sh")
            .args(["-c", CLEAN_UP])
            .env("SERVER", if beside.exists() { beside } else { "wineserver".into() })
            .envs([("FOLDER", folder.clone()), ("WINEPREFIX", folder.join("prefix"))])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let wine = Self { exe, loader, folder, _cleaner: cleaner.unwrap() };
        let mut first = wine.command("cmd", &["/c", "exit"]);
        // Wine's own services must not hold pipes of ours.
        first.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(first.status().unwrap().success(), "Wine does not start");
        wine
    }

    /// A program of Windows in a clean environment.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.loader);
        command.arg(program).args(arguments).env_clear().current_dir(&self.folder);
        command.envs([("WINEPREFIX", self.folder.join("prefix")), ("HOME", self.folder.clone())]);
        // Quiet, and without the questions about .NET and HTML.
        // The locale is how Wine reads our arguments: it makes UTF-16 of them.
        command.env("LC_ALL", "C.UTF-8").envs([
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("WINEDEBUG", "-all"),
            ("WINEDLLOVERRIDES", "mscoree=;mshtml="),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `sami-proxy.exe` to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        within_limit(self.command(&self.exe, arguments))
    }

    /// Runs it with `input` on standard input and these variables besides.
    pub fn answer(&self, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
        let file = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        std::fs::write(file.path(), input).unwrap();
        let mut command = self.command(&self.exe, arguments);
        command.envs(variables.iter().copied()).stdin(file.reopen().unwrap());
        within_limit(command)
    }

    /// The same as [`run`](Self::run) from a file of commands, in a Windows whose language is `locale` (`ru_RU.UTF-8`), but
    /// without the variables that say so: `%SAMI%` is the program.
    pub fn batch(&self, name: &str, locale: &str, commands: &str) -> Output {
        let file = self.folder.join(name);
        let sami = windows_path(&self.exe);
        let commands = commands.replace("%SAMI%", &sami).replace('\n', "\r\n");
        std::fs::write(&file, format!("@set LC_ALL=\r\n@{commands}\r\n")).unwrap();
        let mut command = self.command("cmd", &["/c", &windows_path(&file)]);
        command.env("LC_ALL", locale);
        within_limit(command)
    }

    /// A running `serve` of Windows, on a free port; killed when dropped.
    pub fn serve(&self, flags: &[&str]) -> Serve {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
        Serve::spawn(self.command(&self.exe, &arguments))
    }

    /// The folder of the user of this Windows, as Windows names it.
    pub fn profile(&self) -> String {
        let command = "@echo %USERPROFILE%";
        let output = self.batch("profile.bat", "C.UTF-8", command);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Where programs of this Windows keep what is for all users.
    pub fn program_data(&self) -> PathBuf {
        self.folder.join("prefix/drive_c/ProgramData")
    }

    /// The program.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// Temporary files of this Windows.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// How a program of Windows names this file.
pub fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.to_str().unwrap().replace('/', "\\"))
}

fn within_limit(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    ended.recv_timeout(LIMIT).map_or_else(
        |_| {
            let _it_may_have_ended =
                rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("it does not end: {command:?}");
        },
        Result::unwrap,
    )
}
