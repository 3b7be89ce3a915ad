//! States on disk, for more keys than memory holds.
//!
//! - `tables`: states that are changed one by one (`map_with_state`), in a database (an LSM tree, by fjall)
//! - `runs`: states that every batch goes over (`update_state_by_key`), as a file for each version
//! - `history`: the versions of a partition
//! - `folder`: the folder of both, which is gone with its process
//!
//! Nothing here is durable: no write waits for the disk, and no version outlives the context.

mod folder;
mod history;
mod runs;
mod tables;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fjall::config::BlockSizePolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

pub(crate) use runs::RunTables;
pub(crate) use tables::DiskTables;

use folder::Folder;

use crate::block::Spills;
use crate::conf::{Conf, defaults};
use crate::engine::TaskError;
use crate::sync::{LockExt, Mutex};

/// What all states on disk of one context share: the folder, and the database with its cache.
pub(crate) struct DiskState {
    /// Where the folder is made.
    below: PathBuf,
    memory: usize,
    spills: Arc<Spills>,
    open: Mutex<Open>,
    names: AtomicU64,
}

/// Made when it is first needed. The database is closed before its folder goes.
#[derive(Default)]
struct Open {
    db: Option<Database>,
    folder: Option<Arc<Folder>>,
}

impl DiskState {
    pub(crate) fn new(conf: &Conf, spills: Arc<Spills>) -> Arc<DiskState> {
        let below = conf.state_dir.clone().or_else(|| conf.local_dir.clone());
        Arc::new(DiskState {
            below: below.unwrap_or_else(std::env::temp_dir),
            memory: conf.state_memory,
            spills,
            open: Mutex::default(),
            names: AtomicU64::new(0),
        })
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.names.fetch_add(1, Relaxed))
    }

    fn folder(&self, open: &mut Open) -> Result<Arc<Folder>, TaskError> {
        if let Some(folder) = &open.folder {
            return Ok(folder.clone());
        }
        let folder = Folder::make(&self.below).map_err(|e| TaskError::Spill {
            path: self.below.display().to_string(),
            message: e.to_string(),
        })?;
        Ok(open.folder.insert(Arc::new(folder)).clone())
    }

    /// The path of a file that isn't there yet, in the folder.
    fn new_file(&self) -> Result<(PathBuf, Arc<Folder>), TaskError> {
        let folder = self.folder(&mut self.open.get())?;
        Ok((folder.path().join(self.name("run")), folder))
    }

    /// A key space of the database for one operator.
    fn space(&self) -> Result<(Database, Keyspace, Arc<Folder>), TaskError> {
        let mut open = self.open.get();
        let folder = self.folder(&mut open)?;
        let error = |e| db_error(&folder, e);
        let db = match &open.db {
            Some(db) => db.clone(),
            None => {
                let db = Database::builder(folder.path().join("db"))
                    .cache_size(self.memory as u64 / 2)
                    .manual_journal_persist(true)
                    .worker_threads(defaults::STATE_DISK_THREADS)
                    .open()
                    .map_err(error)?;
                open.db.insert(db).clone()
            }
        };
        let buffer = (self.memory as u64 / 8).max(defaults::STATE_MIN_BUFFER);
        let options = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(buffer)
                .data_block_size_policy(BlockSizePolicy::all(defaults::STATE_DISK_BLOCK))
        };
        let space = db.keyspace(&self.name("operator"), options).map_err(error)?;
        Ok((db, space, folder))
    }
}

/// What to say when the database can't be read or written.
fn db_error(folder: &Folder, e: impl fmt::Display) -> TaskError {
    TaskError::Spill {
        path: folder.path().display().to_string(),
        message: format!("the database of states: {e}"),
    }
}

impl fmt::Debug for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskState")
            .field("below", &self.below)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
