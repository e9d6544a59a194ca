//! What the journal asks of a disk. Knows offsets and names, no records.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::segment;

/// One open segment, and the making of the next. The seam at which tests let a disk fail.
pub(crate) trait Storage: Send {
    /// Makes an empty segment durable, its name included, and goes over to it. After an error the old one is current.
    fn create(&mut self, first: u64) -> io::Result<()>;

    /// Whether the current segment is still the file of its name, and `length` long.
    fn check(&self, length: u64) -> io::Result<()>;

    /// Writes at an offset; may write less than all, as `pwrite(2)` does.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Opens the current segment anew, cuts it to `length` and makes that durable. What a failed write or sync may
    /// have left in the page cache, looking written, is gone then.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A directory of a local file system.
pub(crate) struct Disk {
    directory: PathBuf,
    path: PathBuf,
    file: File,
}

impl Disk {
    /// Goes on with a segment that exists.
    pub(crate) fn open(directory: &Path, first: u64) -> io::Result<Disk> {
        let path = directory.join(segment::file_name(first));
        let file = writing().open(&path)?;
        Ok(Disk { directory: directory.to_owned(), path, file })
    }

    /// Begins a journal.
    pub(crate) fn begin(directory: &Path, first: u64) -> io::Result<Disk> {
        let (path, file) = make(directory, first)?;
        Ok(Disk { directory: directory.to_owned(), path, file })
    }
}

impl Storage for Disk {
    fn create(&mut self, first: u64) -> io::Result<()> {
        (self.path, self.file) = make(&self.directory, first)?;
        Ok(())
    }

    fn check(&self, length: u64) -> io::Result<()> {
        let (named, open) = (std::fs::metadata(&self.path)?, self.file.metadata()?);
        if (named.dev(), named.ino(), named.len()) != (open.dev(), open.ino(), length) {
            return Err(io::Error::other("segment was changed by another hand"));
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let file = writing().open(&self.path)?;
        let there = file.metadata()?.len();
        if there < length {
            // Growing it again would put zeros where durable records were.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "segment lost durable records"));
        }
        file.set_len(length)?;
        file.sync_all()?;
        self.file = file;
        Ok(())
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn make(directory: &Path, first: u64) -> io::Result<(PathBuf, File)> {
    let path = directory.join(segment::file_name(first));
    let file = match writing().create_new(true).open(&path) {
        // An earlier attempt got as far as the name.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = writing().open(&path)?;
            if file.metadata()?.len() > 0 {
                return Err(error);
            }
            file
        }
        made => made?,
    };
    file.sync_all()?;
    sync_directory(directory)?;
    Ok((path, file))
}

fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
