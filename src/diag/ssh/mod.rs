//! Asks the server itself by the system's `ssh`, and knocks at its port meanwhile.

pub(super) mod said;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::evidence::Evidence;
use super::fact::CheckId;
use super::plan::Area;
use super::server::{By, Heard, Knocking, Server, Silence};
use crate::net::knock::knock;

/// The shell script that looks at the server.
const SCRIPT: &str = include_str!("server.sh");
/// How long the server counts who knocks, at most.
const WITNESS_S: u64 = 10;
/// How often the client knocks, and how long it waits for an answer.
const KNOCK: Duration = Duration::from_secs(1);
/// What the way there and back, and the start of a container, may take of the whole time.
const WAY_S: u64 = 4;
/// A longer report is none.
const MOST: u64 = 16 << 20;
/// A longer complaint says no more.
const MOST_COMPLAINT: u64 = 64 << 10;

/// Who is asked: `[USER@]HOST[:PORT]`, or a name of the user's own configuration of ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Shell {
    /// Reads what a user typed.
    ///
    /// # Errors
    /// When it is not of that form, or `ssh` could take it for an option.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "not of the form USER@HOST or USER@HOST:PORT";
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']').ok_or(FORM)?;
                (
                    host,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or(FORM)?)
                    },
                )
            }
            None => match rest.split_once(':') {
                // Of an IPv6 address without brackets all is the host.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            Some(text) => Some(text.parse().ok().filter(|port| *port > 0).ok_or(FORM)?),
            None => None,
        };
        // `ssh` has options that run programs, and remote names of users end in a shell.
        let plain = |text: &str, also: &str| {
            let letters =
                |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || also.contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(letters)
        };
        if !plain(host, ":%") || user.is_some_and(|user| !plain(user, "+\\")) {
            return Err(FORM);
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    /// Where it is.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.env("LC_ALL", "C").env("LANG", "C");
        // No question, no terminal, nothing passed on, and no connection that outlives us.
        command.args(["-T", "-x", "-a", "-S", "none", "-o", "BatchMode=yes"]);
        command.args(["-o", "ConnectTimeout=8", "-o", "ClearAllForwardings=yes"]);
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["--", &self.host]);
        command
    }
}

/// A server that is being asked.
pub(super) struct Asking {
    host: String,
    begun: Instant,
    answer: JoinHandle<(Heard, Duration)>,
    knocks: Arc<Mutex<Vec<u64>>>,
    knocker: Option<AbortHandle>,
}

impl Asking {
    /// Asks about `port` until `deadline`, or until somebody has had enough.
    pub(super) fn begin(
        shell: &Shell,
        port: u16,
        deadline: Instant,
        stop: CancellationToken,
    ) -> Self {
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun).as_secs().saturating_sub(WAY_S).max(1);
        let mut command = shell.command();
        let witness = WITNESS_S.min(left.div_ceil(2));
        command.args(["sh", "-s", &port.to_string(), &witness.to_string(), &left.to_string()]);
        let answer = tokio::spawn(async move {
            let heard = tokio::select! {
                heard = timeout_at(deadline, ask(command)) => {
                    heard.unwrap_or(Heard::Nothing(Silence::OutOfTime))
                }
                () = stop.cancelled() => Heard::Nothing(Silence::Interrupted),
            };
            (heard, begun.elapsed())
        });
        Self { host: shell.host.clone(), begun, answer, knocks: Arc::default(), knocker: None }
    }

    /// Knocks at `port` from now on, until somebody answers or the server has said what it saw.
    pub(super) fn knock_at(&mut self, port: SocketAddr) {
        if self.knocker.is_some() {
            return;
        }
        let (begun, knocks) = (self.begun, Arc::clone(&self.knocks));
        let knocking = tokio::spawn(async move {
            let mut beat = interval(KNOCK);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                let at = millis(begun.elapsed());
                let outcome = knock(port, None, KNOCK).await.outcome;
                knocks.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                if !outcome.is_err_and(|error| error.kind() == ErrorKind::TimedOut) {
                    return;
                }
            }
        });
        self.knocker = Some(knocking.abort_handle());
    }

    /// What the server has said.
    pub(super) async fn end(self) -> Server {
        let (heard, took) =
            self.answer.await.unwrap_or((Heard::Nothing(Silence::Failed), self.begun.elapsed()));
        if let Some(knocker) = self.knocker {
            knocker.abort();
        }
        let after = if let Heard::Evidence(it) = &heard { after_the_witness(it) } else { 0 };
        let at_ms = self.knocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let knocking = Knocking { at_ms, took_ms: millis(took).saturating_sub(after) };
        let server = Server::new(By::Ssh, heard);
        Server { host: Some(self.host), knocking: Some(knocking), ..server }
    }
}

/// How long the server looked at other things when it had stopped watching, in milliseconds.
fn after_the_witness(server: &Evidence) -> u64 {
    let watched = Area::of_check(CheckId::Witness);
    let later = server.facts.iter().filter(|fact| Area::of_check(fact.check) > watched);
    later.map(|fact| fact.took_ms).max().unwrap_or_default()
}

async fn ask(mut command: Command) -> Heard {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Who is dropped, because the time is over or by Ctrl-C, is gone.
    let child = match command.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Heard::Nothing(Silence::NoSsh);
        }
        Err(_) => return Heard::Nothing(Silence::Failed),
    };
    converse(child).await.unwrap_or(Heard::Nothing(Silence::Failed))
}

async fn converse(mut child: Child) -> Option<Heard> {
    let (mut script, out, complaint) =
        (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    let send = async move {
        // Who is not let in does not take it.
        script.write_all(SCRIPT.as_bytes()).await.ok()?;
        script.shutdown().await.ok()
    };
    let (_sent, out, complaint) =
        tokio::join!(send, all(out, MOST), all(complaint, MOST_COMPLAINT));
    let (out, whole) = out;
    if !whole {
        // It would write for ever.
        return Some(Heard::Nothing(Silence::Unreadable));
    }
    let status = child.wait().await.ok()?.code();
    Some(said::heard(&out, &complaint.0, status))
}

/// Everything, but not more than `most`; and whether it was everything.
async fn all(from: impl AsyncRead + Unpin, most: u64) -> (String, bool) {
    let mut bytes = Vec::new();
    let read = from.take(most).read_to_end(&mut bytes).await;
    let whole = read.is_ok_and(|length| u64::try_from(length).is_ok_and(|length| length < most));
    (String::from_utf8_lossy(&bytes).into_owned(), whole)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Shell;

    #[test]
    fn who_is_asked_is_no_option_of_ssh() {
        let shell = |user: Option<&str>, host: &str, port| Shell {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        };
        for (text, expected) in [
            ("vps", shell(None, "vps", None)),
            ("root@81.85.76.160", shell(Some("root"), "81.85.76.160", None)),
            ("root@example.org:2222", shell(Some("root"), "example.org", Some(2222))),
            ("me@[2001:db8::1]:22", shell(Some("me"), "2001:db8::1", Some(22))),
            ("me@2001:db8::1", shell(Some("me"), "2001:db8::1", None)),
        ] {
            assert_eq!(Shell::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "-oProxyCommand=x",
            "a@-b",
            "-a@b",
            "a b",
            "a@b;c",
            "a@b:0",
            "a@b:x",
            "a@[b",
            "a@[b]c",
            "$(x)",
            "a@b:70000",
            "a'@b",
            "a@b/c",
        ] {
            assert!(Shell::parse(text).is_err(), "{text}");
        }
        let command = Shell::parse("me@vps:7").unwrap().command();
        let all: Vec<_> = command.as_std().get_args().filter_map(|it| it.to_str()).collect();
        assert_eq!(all[all.len() - 6..], ["-p", "7", "-l", "me", "--", "vps"]);
        assert!(all.contains(&"BatchMode=yes"));
    }
}
