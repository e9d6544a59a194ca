//! A file that is there once it is whole, and not at all before: neither when it fails nor when a signal ends the command.

use super::super::session::Failure;
use futures_util::future::select_all;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// See the module. Its mode is 0600.
pub(in crate::cli) struct NewFile {
    path: PathBuf,
    draft: Draft,
    file: File,
    signals: Vec<Signal>,
}

/// What the file is until it is whole.
enum Draft {
    /// It has no name: whatever ends the process, the kernel takes it away. By this one it gets a name.
    Unnamed(PathBuf),
    /// Where the file system knows no such files: it has another name, which is taken away.
    Named(Named),
}

struct Named(PathBuf);

impl NewFile {
    /// Nothing may have its name yet.
    pub(in crate::cli) fn create(path: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Failure::new(format!("{} is there already", path.display())));
        }
        Self::unnamed(path).or_else(|_| Self::named(path)).map_err(|error| failed(path, &error))
    }

    fn unnamed(path: &Path) -> io::Result<Self> {
        let signals = catch()?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file: File = rustix::fs::open(folder(path), flags, Mode::RUSR | Mode::WUSR)?.into();
        let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        // Better to know now than when all is written.
        fs::metadata(&link)?;
        Ok(Self { path: path.to_owned(), draft: Draft::Unnamed(link), file, signals })
    }

    fn named(path: &Path) -> io::Result<Self> {
        let signals = catch()?;
        let mut draft = OsString::from(path);
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        Ok(Self { path: path.to_owned(), draft: Draft::Named(Named(draft)), file, signals })
    }

    /// Has `write` write it, on a thread of its own, and gives it its name, which nothing has yet. Fails when a signal comes
    /// before that; the thread may then still wait for input, until the process ends.
    pub(in crate::cli) async fn fill<E: From<Failure> + Send + 'static>(
        self,
        write: impl FnOnce(&mut Out) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let Self { path, draft, file, mut signals } = self;
        let mut out = Out { path: path.clone(), file };
        let writing = tokio::task::spawn_blocking(move || write(&mut out).map(|()| out.file));
        let signal = select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv())));
        let written = tokio::select! {
            written = writing => written.map_err(|error| Failure::new(error.to_string()))?,
            _ = signal => return Err(Failure::new("ended by a signal: nothing is written").into()),
        };
        let file = written?;
        let finish = || -> io::Result<()> {
            file.sync_all()?;
            match &draft {
                Draft::Unnamed(link) => rustix::fs::linkat(CWD, link, CWD, &path, AtFlags::SYMLINK_FOLLOW)?,
                Draft::Named(Named(draft)) => fs::hard_link(draft, &path)?,
            }
            drop(draft);
            File::open(folder(&path))?.sync_all()
        };
        Ok(finish().map_err(|error| failed(&path, &error))?)
    }
}

/// The signals that end a command.
fn catch() -> io::Result<Vec<Signal>> {
    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].into_iter().map(signal).collect()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

impl Drop for Named {
    fn drop(&mut self) {
        // Nothing of what was not authentic to its end stays; what was is there under its own name.
        drop(fs::remove_file(&self.0));
    }
}

/// Where its bytes go.
pub(in crate::cli) struct Out {
    path: PathBuf,
    file: File,
}

impl Out {
    pub(in crate::cli) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;

    /// A signal is heard by all.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    const WAYS: [fn(&Path) -> io::Result<NewFile>; 2] = [NewFile::unnamed, NewFile::named];

    fn entries(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[tokio::test]
    async fn a_file_is_there_once_it_is_whole() {
        let _alone = ONE_AT_A_TIME.lock().await;
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            // A file system without files that have no name has one way only.
            let Ok(file) = way(&path) else { continue };
            let meanwhile = path.clone();
            let filled = file.fill(move |out| {
                out.write(b"wh")?;
                assert!(!meanwhile.exists());
                out.write(b"ole")
            });
            filled.await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"whole");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(entries(folder.path()), ["out"]);
            assert!(NewFile::create(&path).is_err());
        }
    }

    #[tokio::test]
    async fn what_fails_leaves_nothing_and_what_has_the_name_by_then_stays() {
        let _alone = ONE_AT_A_TIME.lock().await;
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            let Ok(file) = way(&path) else { continue };
            let failed = file.fill(|out| {
                out.write(b"part")?;
                Err(Failure::new("no more"))
            });
            assert_eq!(failed.await.unwrap_err().text, "no more");
            assert!(entries(folder.path()).is_empty());

            fs::write(&path, "early").unwrap();
            let late = way(&path).unwrap().fill::<Failure>(|out| out.write(b"late")).await;
            assert!(late.unwrap_err().text.contains("exists"));
            assert_eq!(fs::read(&path).unwrap(), b"early");
            assert_eq!(entries(folder.path()), ["out"]);
        }
    }

    #[tokio::test]
    async fn a_signal_leaves_nothing_by_whichever_way() {
        let _alone = ONE_AT_A_TIME.lock().await;
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let Ok(file) = way(&folder.path().join("out")) else { continue };
            let (input, more) = mpsc::channel::<()>();
            let filled = file.fill::<Failure>(move |out| {
                out.write(b"part")?;
                // It was caught when the file was made, and ends nothing but this.
                kill_process(getpid(), Signal::TERM).unwrap();
                assert!(more.recv().is_err(), "no input comes");
                Ok(())
            });
            assert!(filled.await.unwrap_err().text.contains("signal"));
            assert!(entries(folder.path()).is_empty());
            drop(input);
        }
    }
}
