//! Asking a tool of the system; nothing that is asked changes anything.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::diag::fact::Read;

/// A list of rules that is longer is cut.
const MOST: u64 = 16 << 20;
/// `nft` takes a second for a hundred thousand elements.
const LIMIT: Duration = Duration::from_secs(4);
/// Where system tools are; an ordinary user's `PATH` leaves out half of them.
const FOLDERS: [&str; 7] = [
    "/usr/sbin",
    "/sbin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/run/current-system/sw/bin",
];

/// What `program` says in English.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Result<String, Read> {
    let folder = FOLDERS.iter().find(|folder| std::path::Path::new(folder).join(program).exists());
    let path = std::path::Path::new(folder.ok_or(Read::Missing)?).join(program);
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|_| Read::Failed)?;
    let (tell, told) = channel();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let whole = out.is_some_and(|it| it.take(MOST).read_to_end(&mut said).is_ok());
        let mut complaint = Vec::new();
        // It fits into the pipe, or its end does not matter.
        let heard = err.is_some_and(|it| it.take(4096).read_to_end(&mut complaint).is_ok());
        // Nobody waits when it was too late.
        tell.send((said, complaint, whole && heard)).ok()
    });
    let heard = told.recv_timeout(LIMIT);
    if heard.is_err() {
        child.kill().map_err(|_| Read::Failed)?;
    }
    let ended = child.wait().map_err(|_| Read::Failed)?;
    let (said, complaint, _) = heard.map_err(|_| Read::Late)?;
    if u64::try_from(said.len()).is_ok_and(|length| length >= MOST) {
        return Err(Read::Cut);
    }
    if ended.success() {
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    let complaint = String::from_utf8_lossy(&complaint).to_ascii_lowercase();
    let forbidden = ["root", "permi"].iter().any(|word| complaint.contains(word));
    Err(if forbidden { Read::Forbidden } else { Read::Failed })
}
