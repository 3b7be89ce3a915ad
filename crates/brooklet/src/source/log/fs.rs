//! What following a log needs of a file system. Tests follow logs in a model of one.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// What names a file whatever it is called. Another file may get it when this one is deleted and nobody
/// has it open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode on it.
    pub inode: u64,
}

/// A file at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) id: FileId,
    pub(super) len: u64,
    /// Nanoseconds since the epoch.
    pub(super) modified: u128,
    /// Neither a folder nor a pipe nor a device.
    pub(super) regular: bool,
}

/// A name in a folder and what it meant when it was looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) stat: Stat,
}

pub(super) trait Files: Send + 'static {
    type Handle: Clone + Send + 'static;

    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Opens a regular file.
    fn open(&self, path: &Path) -> io::Result<Self::Handle>;
    fn stat_of(&self, file: &Self::Handle) -> io::Result<Stat>;
    /// Fills `buf` from `at` on, up to the end of the file at most.
    fn read_at(&self, file: &Self::Handle, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// The regular files of a folder whose name `wanted` takes, by name. Names that aren't UTF-8 are left
    /// out.
    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Entry>>;
}

/// The operating system's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk;

impl Files for Disk {
    type Handle = Arc<File>;

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat(&fs::metadata(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<File>> {
        // Opening a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Arc::new(File::open(path)?))
    }

    fn stat_of(&self, file: &Arc<File>) -> io::Result<Stat> {
        Ok(stat(&file.metadata()?))
    }

    fn read_at(&self, file: &Arc<File>, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match read_once(file, &mut buf[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn list(&self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !wanted(&name) {
                continue;
            }
            match entry.metadata().map(|m| stat(&m)) {
                Ok(stat) if stat.regular => found.push(Entry { name, stat }),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // renamed or deleted just now
                Err(e) => return Err(e),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

fn stat(m: &Metadata) -> Stat {
    let modified = m.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Stat {
        id: id(m),
        len: m.len(),
        modified: modified.unwrap_or_default().as_nanos(),
        regular: m.is_file(),
    }
}

#[cfg(unix)]
fn id(m: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    FileId { device: m.dev(), inode: m.ino() }
}

/// The time of creation stands for the inode.
#[cfg(not(unix))]
fn id(m: &Metadata) -> FileId {
    let created = m.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    FileId { device: 0, inode: created.map_or(0, |d| d.as_nanos() as u64) }
}

#[cfg(unix)]
fn read_once(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    file.read_at(buf, at)
}

#[cfg(windows)]
fn read_once(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    file.seek_read(buf, at)
}
