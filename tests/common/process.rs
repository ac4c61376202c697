//! The real program as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::LIMIT;

/// The program with a clean environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sami-proxy"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A running `serve`; killed when dropped.
pub struct Serve {
    pub address: SocketAddr,
    child: Child,
    lines: Receiver<String>,
}

impl Serve {
    /// Starts on a free port and waits until it listens.
    pub fn start(flags: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
        Self::spawn(command(&arguments))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut serve = Self { address: ([0, 0, 0, 0], 0).into(), child, lines };
        let line = serve.line_with("listening on ");
        let text = line.split("listening on ").nth(1).unwrap();
        serve.address = text.split([' ', ',', '"']).next().unwrap().parse().unwrap();
        serve
    }

    /// The next line of the log that has `text`; lines before it are gone.
    pub fn line_with(&self, text: &str) -> String {
        loop {
            let line =
                self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; everything it still had to say, too.
    pub fn finish(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            rest.push_str(&line);
            rest.push('\n');
        }
        (self.child.wait().unwrap(), rest)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Processor time so far, in hundredths of a second.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Whether it answers its health check.
    pub fn is_well(&self) -> bool {
        let output = run(&["healthcheck", "--listen", &self.address.to_string()]);
        output.status.success()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Connects, says `bytes`, and reads to the end or the reset.
pub fn blocking_exchange(address: SocketAddr, bytes: &[u8]) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The proxy may have refused before everything is said.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Polls until `done`, for as long as `LIMIT`.
pub fn until(mut done: impl FnMut() -> bool) {
    let begun = std::time::SystemTime::now();
    while !done() {
        assert!(begun.elapsed().unwrap() < LIMIT, "it never happened");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
