//! A log file for who has no console. It and its predecessor together never grow beyond a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that is written, and where its predecessor goes.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    old: PathBuf,
    file: File,
    size: u64,
    full: u64,
}

impl LogFile {
    /// Goes on with `path`; when it has `full` bytes it becomes `path` with `.1`, in the place of an
    /// older one.
    ///
    /// # Errors
    ///
    /// The file or its folder can't be made.
    pub(super) fn open(path: &Path, full: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        Ok(Self { path: path.to_owned(), old: old.into(), file, size, full })
    }

    /// Begins a new file. Whoever holds the old one open without letting others rename it (some
    /// viewers on Windows do) makes this fail; then it is tried again with the next batch of lines,
    /// and a file of twice the limit is emptied.
    fn turn_over(&mut self) -> io::Result<()> {
        let moved = std::fs::rename(&self.path, &self.old);
        if moved.is_ok() {
            self.file = append(&self.path)?;
        } else if self.size >= 2 * self.full {
            // Windows lets nobody shorten a file that is open for appending only.
            drop(File::create(&self.path)?);
        } else {
            return Ok(());
        }
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= self.full {
            self.turn_over()?;
        }
        let written = self.file.write(bytes)?;
        self.size += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{metadata, read_to_string};
    use std::io::Write;

    use super::LogFile;

    #[test]
    fn it_goes_on_and_turns_over_when_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/proxy.log");
        for line in ["one\n", "two\n", "three\n"] {
            LogFile::open(&path, 8).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read_to_string(&path).unwrap(), "three\n");
        assert_eq!(read_to_string(folder.path().join("deep/proxy.log.1")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn it_never_grows_beyond_the_limit_even_if_it_can_not_turn_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.log");
        // A folder with something in it in the place of the predecessor: nothing is renamed to it.
        std::fs::create_dir_all(folder.path().join("proxy.log.1/x")).unwrap();
        let mut log = LogFile::open(&path, 100).unwrap();
        let mut most = 0;
        for _ in 0..1000 {
            log.write_all(b"0123456789\n").unwrap();
            most = most.max(metadata(&path).unwrap().len());
        }
        assert!((200..220).contains(&most), "{most}");
    }
}
