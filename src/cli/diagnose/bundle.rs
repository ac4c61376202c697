//! `doctor --bundle`: the report without secrets as one file that can be sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zip::ZipWriter;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;

use super::args::{self, Flags};
use super::{exit, proxy_url, which_proxy};
use crate::diag::report::Report;
use crate::diag::scrub::{Known, Public};
use crate::render::bundle::files;
use crate::render::words::{Arg, Words};

/// Where the bundle goes, and what must not be in it.
pub(super) struct Bundle {
    path: PathBuf,
    public: Public,
    known: Known,
}

impl Bundle {
    /// What the flags ask for; an error where something is there already, for it is never written over.
    pub(super) fn of(flags: Flags<'_>) -> Result<Option<Self>, String> {
        let public = if flags.has(args::PSEUDONYMS) { Public::Pseudonyms } else { Public::Kept };
        let Some(path) = flags.one(args::BUNDLE) else {
            return match public {
                Public::Pseudonyms => Err("--pseudonyms is for --bundle FILE.zip".to_owned()),
                Public::Kept => Ok(None),
            };
        };
        let shown = path.escape_debug();
        let path = PathBuf::from(path);
        if std::fs::symlink_metadata(&path).is_ok() {
            return Err(format!("--bundle {shown}: it is there already, and is not written over"));
        }
        if !folder(&path).is_dir() {
            return Err(format!("--bundle {shown}: there is no such folder"));
        }
        Ok(Some(Self { path, public, known: known(flags) }))
    }

    /// Writes it and says so, or why not; whether it is there.
    pub(super) fn write(&self, report: &Report, command: &str, words: &Words) -> bool {
        let shown = self.path.display().to_string();
        let written = match files(report, command, (&self.known, self.public), words) {
            Some(files) => pack(&self.path, &files).map_err(|error| error.to_string()),
            None => Err(words.text("bundle-not-clean", &[])),
        };
        let id = if written.is_ok() { "bundle-written" } else { "bundle-failed" };
        let why = written.as_ref().err().map_or("", String::as_str);
        exit::note(words.text(id, &[("name", Arg::Text(&shown)), ("why", Arg::Text(why))]));
        written.is_ok()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The names and passwords that this machine and the command line tell.
fn known(flags: Flags<'_>) -> Known {
    let set = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let mut known = Known {
        users: ["USER", "LOGNAME", "USERNAME", "SUDO_USER"].into_iter().filter_map(set).collect(),
        machines: ["COMPUTERNAME", "HOSTNAME", "HOST"].into_iter().filter_map(set).collect(),
        ..Known::default()
    };
    let homes = ["HOME", "USERPROFILE"].into_iter().filter_map(set);
    let last = |home: String| Some(Path::new(&home).file_name()?.to_str()?.to_owned());
    known.users.extend(homes.filter_map(last));
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        known.machines.push(name.trim().to_owned());
    }
    let short = |it: &String| it.split_once('.').map(|(name, _)| name.to_owned());
    let shorter: Vec<String> = known.machines.iter().filter_map(short).collect();
    known.machines.extend(shorter);
    let typed = flags.one(args::USER).and_then(|it| proxy_url::login(it).ok());
    let of_url = |url: &str| proxy_url::parse(url).ok().and_then(|it| it.login);
    let named: Vec<String> = which_proxy::VARIABLES.into_iter().filter_map(set).collect();
    let urls = flags.many(args::PROXY).chain(named.iter().map(String::as_str));
    for (user, password) in typed.into_iter().chain(urls.filter_map(of_url)) {
        let joined = format!("{user}:{}", password.reveal());
        known.secrets.extend([BASE64_STANDARD.encode(joined), password.reveal().to_owned()]);
        known.users.push(user.into());
    }
    known
}

/// All of it or nothing: a file beside it becomes it when it is whole.
fn pack(path: &Path, files: &[(&str, String)]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder(path).join(format!(".{name}.{}", std::process::id()));
    let done = fill(&beside, files).and_then(|()| take_place(&beside, path));
    if done.is_err() {
        // It may not even be there.
        let _gone = std::fs::remove_file(&beside);
    }
    done
}

fn fill(path: &Path, files: &[(&str, String)]) -> io::Result<()> {
    let mut zip = ZipWriter::new(create(path)?);
    // The time of a file in it is 1980: the report itself says when it was.
    let options = SimpleFileOptions::default().unix_permissions(0o600);
    for (name, text) in files {
        zip.start_file(*name, options).map_err(of_zip)?;
        zip.write_all(text.as_bytes())?;
    }
    let mut file = zip.finish().map_err(of_zip)?;
    file.rewind()?;
    file.sync_all()
}

fn of_zip(error: ZipError) -> io::Error {
    if let ZipError::Io(error) = error { error } else { io::Error::other(error) }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A link fails where something has come to be meanwhile, which a new name would not. Not every file
/// system has links.
fn take_place(beside: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(beside, path) {
        Ok(()) => std::fs::remove_file(beside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if std::fs::symlink_metadata(path).is_ok() => {
            Err(io::ErrorKind::AlreadyExists.into())
        }
        Err(_) => std::fs::rename(beside, path),
    }
}

#[cfg(test)]
mod tests {
    use super::pack;

    #[test]
    fn nothing_is_written_over_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        pack(&path, &[("a.txt", "1".to_owned())]).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert!(pack(&path, &[("a.txt", "2".to_owned())]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
