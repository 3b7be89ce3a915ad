//! The block store: memory with a limit, and disk behind it.
//!
//! The lock guards the index only. Encoding, decoding, reading and writing happen outside of it; a block
//! that is on its way to disk is still read from memory.

mod admit;
mod folder;
mod index;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use folder::Folder;
use index::{Copy, Entry, Index};

use super::file::BlockFile;
use super::{Block, BlockError, BlockId, Decode, StorageLevel};
use crate::sync::{Condvar, LockExt, Mutex, wait};

/// Keeps blocks in memory up to a limit and on disk.
///
/// When memory is full, the blocks that weren't used for the longest time make room: to disk if their
/// level has it, else they are dropped if they can be computed again. Received blocks are never dropped:
/// a received block that finds no room goes to disk itself or is refused with [`BlockError::NoRoom`].
///
/// ```
/// use brooklet::block::{BlockId, BlockStore, StorageLevel, Values, records_of};
/// let store = BlockStore::new(1 << 20, None);
/// let id = BlockId::Received { stream: 0, seq: 0 };
/// let block = Values::new(vec![1u32, 2, 3]);
/// store.put(id, block, Values::<u32>::decode, StorageLevel::MEMORY_AND_DISK).unwrap();
/// let back = store.get(id).unwrap().unwrap();
/// assert_eq!(records_of::<u32>(&back).unwrap().len(), 3);
/// ```
pub struct BlockStore {
    limit: usize,
    index: Mutex<Index>,
    changed: Condvar,
    folder: Folder,
    compress: bool,
}

/// What a receiver's blocks may take up; see [`BlockStore::put_within`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Bytes in memory, all copies together.
    pub memory: usize,
    /// Bytes in files, all copies together; a new block counts as it is before compression.
    pub disk: u64,
}

impl Quota {
    /// No limit but the store's own.
    pub const NONE: Quota = Quota { memory: usize::MAX, disk: u64::MAX };
}

/// Where a block was put. All zero: it wasn't stored, because it can be computed again and there was no
/// room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    /// Bytes in memory, all copies together.
    pub memory: usize,
    /// Bytes on disk, all copies together.
    pub disk: u64,
}

/// The store's counters at one moment. Totals count from the store's creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BlockStoreMetrics {
    /// Bytes in memory, replicas included.
    pub memory_bytes: usize,
    /// Bytes in files, replicas included.
    pub disk_bytes: u64,
    /// Blocks stored.
    pub blocks: usize,
    /// Blocks ever written to disk for want of memory.
    pub spilled_blocks: u64,
    /// Bytes ever written to disk for want of memory, as they are in the files.
    pub spilled_bytes: u64,
    /// Blocks ever read from disk.
    pub read_back_blocks: u64,
    /// Blocks ever dropped for want of memory, to be computed again.
    pub evicted_blocks: u64,
    /// Reads that a replica had to serve because an earlier copy was lost or corrupt.
    pub served_by_replica: u64,
}

impl BlockStore {
    /// A store with `limit` bytes of memory that puts its files below `local_dir` (default: the
    /// system's temporary folder), in a folder of its own that is made when it is first needed and
    /// removed with the store.
    pub fn new(limit: usize, local_dir: Option<PathBuf>) -> Arc<BlockStore> {
        Arc::new(BlockStore {
            limit,
            index: Mutex::new(Index::default()),
            changed: Condvar::new(),
            folder: Folder::new(local_dir),
            compress: false,
        })
    }

    /// [`BlockStore::new`] whose files are compressed (lz4).
    pub fn compressed(limit: usize, local_dir: Option<PathBuf>) -> Arc<BlockStore> {
        Arc::new(BlockStore {
            limit,
            index: Mutex::new(Index::default()),
            changed: Condvar::new(),
            folder: Folder::new(local_dir),
            compress: true,
        })
    }

    /// Stores a block without a quota. A block of this name that is there already stays.
    ///
    /// # Errors
    /// As [`BlockStore::put_within`].
    pub fn put(
        &self,
        id: BlockId,
        block: Arc<dyn Block>,
        decode: Decode,
        level: StorageLevel,
    ) -> Result<Stored, BlockError> {
        self.put_within(id, block, decode, level, Quota::NONE)
    }

    /// Reads a block. `None`: there is none of this name.
    ///
    /// Blocks for the time of reading a file when the block is on disk. It isn't put back into memory.
    ///
    /// # Errors
    /// When no copy can be read: the first copy's error, which names block and file.
    pub fn get(&self, id: BlockId) -> Result<Option<Arc<dyn Block>>, BlockError> {
        let (copies, decode) = {
            let mut index = self.index.get();
            let Some(entry) = index.touch(id) else {
                return Ok(None);
            };
            (entry.copies.clone(), entry.decode)
        };
        let mut first_error = None;
        for copy in &copies {
            let bytes = match copy {
                Copy::Typed(block) => Ok(Err(Arc::clone(block))),
                Copy::Bytes(bytes) => Ok(Ok(bytes.to_vec())),
                Copy::Disk(file) => file.read().map(Ok),
            };
            let block = bytes.and_then(|b| match b {
                Err(block) => Ok(block),
                Ok(bytes) => decode(bytes).map_err(|e| match e {
                    BlockError::Decode(problem) => BlockError::Decode(format!("{id}: {problem}")),
                    e => e,
                }),
            });
            match block {
                Ok(block) => {
                    let mut index = self.index.get();
                    index.metrics.read_back_blocks += u64::from(matches!(copy, Copy::Disk(_)));
                    index.metrics.served_by_replica += u64::from(first_error.is_some());
                    return Ok(Some(block));
                }
                Err(e) => {
                    tracing::warn!(block = %id, error = %e, "a copy of a block can't be read");
                    first_error.get_or_insert(e);
                }
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// Whether there is a block of this name.
    pub fn contains(&self, id: BlockId) -> bool {
        self.index.get().entries.contains_key(&id)
    }

    /// Removes a block with all its copies. Says whether there was one.
    pub fn remove(&self, id: BlockId) -> bool {
        let gone = self.index.get().remove(id);
        self.changed.notify_all();
        gone.is_some() // its files are deleted here, outside of the lock
    }

    /// Removes all blocks that `which` chooses. Returns how many.
    pub fn remove_all(&self, mut which: impl FnMut(BlockId) -> bool) -> usize {
        let gone: Vec<Entry> = {
            let mut index = self.index.get();
            let ids: Vec<_> = index.entries.keys().copied().filter(|id| which(*id)).collect();
            ids.into_iter().filter_map(|id| index.remove(id)).collect()
        };
        self.changed.notify_all();
        gone.len()
    }

    /// The counters.
    pub fn metrics(&self) -> BlockStoreMetrics {
        let index = self.index.get();
        BlockStoreMetrics {
            memory_bytes: index.memory,
            disk_bytes: index.disk,
            blocks: index.entries.len(),
            ..index.metrics
        }
    }

    /// Bytes that the blocks of one receiver take up now.
    pub fn usage(&self, stream: u32) -> Stored {
        self.index.get().groups.get(&stream).copied().unwrap_or_default()
    }

    /// A number that changes whenever room is made or [`BlockStore::wake`] is called. Take it before a
    /// `put` that may be refused, then give it to [`BlockStore::wait_for_change`].
    pub(crate) fn epoch(&self) -> u64 {
        self.index.get().epoch
    }

    /// Waits until the epoch isn't `seen` any more.
    pub(crate) fn wait_for_change(&self, seen: u64) {
        let mut index = self.index.get();
        while index.epoch == seen {
            index = wait(&self.changed, index, None);
        }
    }

    /// Ends the waiting of [`BlockStore::wait_for_change`].
    pub(crate) fn wake(&self) {
        self.index.get().epoch += 1;
        self.changed.notify_all();
    }

    /// The path of a new file in this store's folder; the folder is removed with the store.
    pub(crate) fn new_path(
        &self,
        name: impl FnOnce(u64) -> String,
    ) -> Result<PathBuf, (PathBuf, std::io::Error)> {
        self.folder.new_path(name)
    }

    fn write(&self, id: BlockId, data: &[u8]) -> Result<Arc<BlockFile>, BlockError> {
        let path = self.folder.new_file(id)?;
        BlockFile::write(id, path, data, self.compress)
    }
}

impl fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockStore")
            .field("limit", &self.limit)
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}
