//! A folder that goes with its owner, even when that is killed.
//!
//! Beside the folder lies a file of the same name that its owner has locked. Whoever makes a folder looks for
//! files that nobody has locked, and removes them with their folders.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "brooklet-state-";
const LOCK: &str = "lock";

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Folder {
    /// A new folder, for this user only, below `below`.
    pub(super) fn make(below: &Path) -> io::Result<Folder> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(below)?;
        clean(below);
        loop {
            let n = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let path = below.join(format!("{PREFIX}{}-{n}", std::process::id()));
            let lock_path = path.with_extension(LOCK);
            let lock = match File::create_new(&lock_path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // Somebody who cleans up at this very moment may have been faster: then it is gone.
            if lock.try_lock().is_err() || !lock_path.try_exists()? {
                continue;
            }
            let mut builder = DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&path)?;
            return Ok(Folder { path, _lock: lock });
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the folders of processes that were killed.
fn clean(below: &Path) {
    let Ok(found) = fs::read_dir(below) else { return };
    for path in found.flatten().map(|e| e.path()) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !name.starts_with(PREFIX) || path.extension().is_none_or(|e| e != LOCK) {
            continue;
        }
        // Other users' can't be opened.
        if let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            remove(&path.with_extension(""));
        }
    }
}

/// Removes a folder and then the file beside it, whose lock the caller holds.
fn remove(folder: &Path) {
    // Once more, if something was still being written in it.
    let gone = |done: io::Result<()>| match done {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    };
    let all = || gone(fs::remove_dir_all(folder));
    let removed = all().or_else(|_| all());
    let removed = removed.and_then(|()| gone(fs::remove_file(folder.with_extension(LOCK))));
    if let Err(e) = removed {
        tracing::warn!(folder = %folder.display(), error = %e, "a folder of states stays behind");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_owner_and_those_of_killed_processes_with_the_next() {
        let below = std::env::temp_dir().join(format!("brooklet-folders-{}", std::process::id()));
        let a = Folder::make(&below).unwrap();
        // What a killed process leaves: a folder, and a file that nobody has locked.
        let left = below.join(format!("{PREFIX}1-0"));
        fs::create_dir_all(left.join("db")).unwrap();
        fs::write(left.with_extension(LOCK), "").unwrap();
        fs::write(below.join("other.lock"), "").unwrap();
        let b = Folder::make(&below).unwrap();
        assert!(a.path().exists() && b.path().exists() && a.path() != b.path());
        assert!(!left.exists() && !left.with_extension(LOCK).exists());
        fs::write(a.path().join("file"), "x").unwrap();
        drop((a, b));
        let names: Vec<_> = fs::read_dir(&below).unwrap().map(|e| e.unwrap().file_name()).collect();
        fs::remove_dir_all(&below).unwrap();
        assert_eq!(names, ["other.lock"]);
    }
}
