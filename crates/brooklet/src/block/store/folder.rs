//! The folder of a block store's files.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{BlockError, BlockId};
use crate::sync::{LockExt, Mutex};

/// A folder that is made when the first file is asked for and removed when dropped.
pub(super) struct Folder {
    below: Option<PathBuf>,
    made: Mutex<Option<PathBuf>>,
    files: AtomicU64,
}

impl Folder {
    pub(super) fn new(below: Option<PathBuf>) -> Folder {
        Folder { below, made: Mutex::new(None), files: AtomicU64::new(0) }
    }

    /// The path of a file that isn't there yet.
    pub(super) fn new_file(&self, block: BlockId) -> Result<PathBuf, BlockError> {
        self.new_path(|n| format!("{block}.{n}.block")).map_err(|(path, cause)| BlockError::Io {
            block,
            path,
            cause: Arc::new(cause),
        })
    }

    /// A path in the folder; `name` gets a number that no other file has. The error names the folder that
    /// couldn't be made.
    pub(super) fn new_path(
        &self,
        name: impl FnOnce(u64) -> String,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let mut made = self.made.get();
        let folder = match &*made {
            Some(folder) => folder,
            None => {
                let below = self.below.clone().unwrap_or_else(std::env::temp_dir);
                let folder = make(&below).map_err(|cause| (below, cause))?;
                made.insert(folder)
            }
        };
        Ok(folder.join(name(self.files.fetch_add(1, Ordering::Relaxed))))
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.made.get().clone()
    }
}

/// Makes a new folder, for this user only, below `below`.
fn make(below: &Path) -> io::Result<PathBuf> {
    static FOLDERS: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(below)?;
    loop {
        let n = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = below.join(format!("brooklet-blocks-{}-{n}", std::process::id()));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            done => return done.map(|()| path),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = self.made.get().take() {
            // Once more, if somebody else was deleting in it at the same time.
            let removed = fs::remove_dir_all(&folder).or_else(|_| fs::remove_dir_all(&folder));
            if let Err(e) = removed
                && e.kind() != ErrorKind::NotFound
            {
                tracing::warn!(folder = %folder.display(), error = %e, "a block folder stays behind");
            }
        }
    }
}
