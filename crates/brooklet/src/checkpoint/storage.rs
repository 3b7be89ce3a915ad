//! Where checkpoint files live: a flat set of named files that are written once.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// A place for files. A file is written once, from its beginning to its end, and never changed; after a
/// crash it counts only if it was synced and its name was synced after that.
pub(crate) trait Storage: Send + Sync + std::fmt::Debug {
    /// The name as messages show it.
    fn path(&self, name: &str) -> PathBuf;

    /// Begins a new file; one of this name must not be there.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageWriter>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageReader>>;

    /// All files, with their lengths, in any order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Gives a file another name, in one step; a file of that name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable that were created, changed or deleted.
    fn sync_names(&self) -> io::Result<()>;

    /// Writes a small file that is there as a whole or not at all, and durable when this returns.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temp = format!("{name}{TEMP}");
        let mut out = self.create(&temp)?;
        out.write(bytes)?;
        out.sync()?;
        self.rename(&temp, name)?;
        self.sync_names()
    }
}

/// What the names of files end with that [`Storage::put`] hasn't finished.
pub(crate) const TEMP: &str = ".tmp";

/// A file that is being written.
pub(crate) trait StorageWriter: Send {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Ends the file and makes its contents durable. After an error the file must not be used.
    fn sync(self: Box<Self>) -> io::Result<()>;
}

/// A file that is being read.
pub(crate) trait StorageReader: Send {
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from byte `at` on; `UnexpectedEof` when the file ends before.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A directory of the local file system, locked for this owner as long as this value lives.
#[derive(Debug)]
pub(crate) struct LocalStorage {
    dir: PathBuf,
    /// Holds the lock; the system lets it go when the file is closed, also by a crash.
    _lock: File,
}

const LOCK: &str = "LOCK";

impl LocalStorage {
    /// Makes the directory if it isn't there, and locks it.
    ///
    /// # Errors
    /// [`CheckpointError::Locked`] when somebody else has it open, and what the system refuses.
    pub(crate) fn open(dir: impl Into<PathBuf>) -> Result<LocalStorage, CheckpointError> {
        let dir = dir.into();
        let failed = |doing| {
            let dir = dir.clone();
            move |e| CheckpointError::io(&dir, doing, e)
        };
        // Those that have to be made, from the inside out.
        let new: Vec<PathBuf> =
            dir.ancestors().take_while(|d| !d.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(&dir).map_err(failed("making the directory"))?;
        let path = dir.join(LOCK);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| CheckpointError::io(&path, "opening", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Some systems refuse to read what is locked; then the holder stays unknown.
                let _ = lock.read_to_string(&mut text);
                return Err(CheckpointError::Locked { dir, holder: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(e)) => {
                return Err(CheckpointError::io(&path, "locking", e));
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|e| CheckpointError::io(&path, "writing", e))?;
        sync_dir(&dir).map_err(failed("syncing the directory"))?;
        // The names of the new directories are in their parents.
        for parent in new.iter().filter_map(|d| d.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            sync_dir(parent)
                .map_err(|e| CheckpointError::io(parent, "syncing the directory", e))?;
        }
        Ok(LocalStorage { dir, _lock: lock })
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Directories can't be opened as files here; the file system journals names by itself.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Storage for LocalStorage {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageWriter>> {
        Ok(Box::new(LocalWriter(File::create_new(self.path(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageReader>> {
        Ok(Box::new(LocalReader(File::open(self.path(name))?)))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Our names are plain ASCII: others aren't ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(meta) if meta.is_file() && name != LOCK => all.push((name, meta.len())),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }
}

struct LocalWriter(File);

impl StorageWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.sync_all()
    }
}

struct LocalReader(File);

impl StorageReader for LocalReader {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(at))?;
        self.0.read_exact(buffer)
    }
}
