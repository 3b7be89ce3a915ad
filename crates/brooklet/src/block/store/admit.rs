//! Letting a block in: to memory, to disk, or not.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{Block, BlockError, BlockId, Decode, StorageLevel};
use super::index::{Copy, Index};
use super::{BlockStore, Quota, Stored};
use crate::sync::{LockExt, wait};

enum Place {
    Memory,
    Disk,
    Nowhere,
}

impl BlockStore {
    /// Stores a block within a receiver's quota. A block of this name that is there already stays.
    ///
    /// Memory first, if the level has it and quota and limit allow; then disk. A receiver that has
    /// nothing stored may always store one block, however large. Blocks the caller for the time of
    /// writing files (its own, or those of blocks that make room), never until there is room.
    ///
    /// # Errors
    /// [`BlockError::NoRoom`] for a received block that has no place; [`BlockError::Io`] when a file
    /// can't be written; [`BlockError::Encode`]; [`BlockError::BadLevel`]. Nothing is stored then.
    pub fn put_within(
        &self,
        id: BlockId,
        block: Arc<dyn Block>,
        decode: Decode,
        level: StorageLevel,
        quota: Quota,
    ) -> Result<Stored, BlockError> {
        if !level.is_valid() {
            return Err(BlockError::BadLevel(id));
        }
        if let Some(entry) = self.index.get().touch(id) {
            return Ok(entry.size);
        }
        let encoded = block.encoded().map_or(block.memory(), <[u8]>::len);
        let spare = usize::from(level.replicas - 1);
        let need = Stored {
            memory: block.memory() + spare * encoded,
            disk: (encoded * usize::from(level.replicas)) as u64,
        };
        match self.reserve(id, need, level, quota)? {
            Place::Nowhere => Ok(Stored::default()),
            Place::Memory => {
                let copies = memory_copies(block, level);
                let mut index = self.index.get();
                index.sub(id, Stored { memory: need.memory, disk: 0 });
                match copies {
                    Ok(copies) => Ok(self.keep(index, id, level, decode, copies)),
                    Err(e) => {
                        index.epoch += 1; // the room is free again
                        drop(index);
                        self.changed.notify_all();
                        Err(e)
                    }
                }
            }
            Place::Disk => {
                let data = bytes_of(&*block)?;
                let files = (0..level.replicas).map(|_| self.write(id, &data).map(Copy::Disk));
                let copies = files.collect::<Result<Vec<_>, _>>()?;
                let mut index = self.index.get();
                if level.use_memory {
                    let bytes: u64 = copies.iter().map(|c| c.size().disk).sum();
                    index.metrics.spilled_blocks += 1;
                    index.metrics.spilled_bytes += bytes;
                }
                Ok(self.keep(index, id, level, decode, copies))
            }
        }
    }

    /// Enters the block, unless another thread has stored the same meanwhile.
    fn keep(
        &self,
        mut index: crate::sync::MutexGuard<'_, Index>,
        id: BlockId,
        level: StorageLevel,
        decode: Decode,
        copies: Vec<Copy>,
    ) -> Stored {
        let size = match index.touch(id) {
            Some(there) => there.size,
            None => index.insert(id, level, decode, copies),
        };
        drop(index);
        self.changed.notify_all();
        size
    }

    /// Finds a place for `need` bytes and reserves it if it is in memory.
    fn reserve(
        &self,
        id: BlockId,
        need: Stored,
        level: StorageLevel,
        quota: Quota,
    ) -> Result<Place, BlockError> {
        let must_keep = !id.is_evictable() && !level.use_disk;
        if level.use_memory && self.reserve_memory(id, need.memory, must_keep, quota.memory)? {
            return Ok(Place::Memory);
        }
        let used = self.index.get().used(id).disk;
        if level.use_disk && (used == 0 || used.saturating_add(need.disk) <= quota.disk) {
            return Ok(Place::Disk);
        }
        if id.is_evictable() {
            return Ok(Place::Nowhere);
        }
        Err(BlockError::NoRoom { block: id, bytes: need.memory })
    }

    /// Reserves memory, making other blocks give way if need be. `must_keep`: the block has no other
    /// place, so that it is let in however large it is when nothing else is there.
    fn reserve_memory(
        &self,
        id: BlockId,
        need: usize,
        must_keep: bool,
        quota: usize,
    ) -> Result<bool, BlockError> {
        let mut index = self.index.get();
        loop {
            let used = index.used(id).memory;
            if used.saturating_add(need) > quota && (used > 0 || !must_keep) {
                return Ok(false);
            }
            let alone = must_keep && index.memory == 0;
            if index.memory + need <= self.limit || alone {
                index.add(id, Stored { memory: need, disk: 0 });
                return Ok(true);
            }
            if need > self.limit && !must_keep {
                return Ok(false);
            }
            match index.victim(id) {
                Some(victim) => {
                    drop(index);
                    self.evict(victim)?;
                    index = self.index.get();
                }
                None if index.moving > 0 => index = wait(&self.changed, index, None),
                None => return Ok(false),
            }
        }
    }

    /// Takes a block out of memory: to disk if its level has it, else it is dropped.
    fn evict(&self, id: BlockId) -> Result<(), BlockError> {
        let (copies, serial) = {
            let mut index = self.index.get();
            let Some(entry) = index.entries.get_mut(&id) else {
                return Ok(());
            };
            if entry.moving {
                return Ok(());
            }
            if !entry.level.use_disk {
                let gone = index.remove(id);
                index.metrics.evicted_blocks += 1;
                drop(index);
                drop(gone);
                return Ok(());
            }
            entry.moving = true;
            let work = (entry.copies.clone(), entry.serial);
            index.moving += 1;
            work
        };
        let moved: Result<Vec<Copy>, BlockError> = copies
            .iter()
            .map(|copy| match copy {
                Copy::Typed(block) => self.write(id, &bytes_of(&**block)?).map(Copy::Disk),
                Copy::Bytes(bytes) => self.write(id, bytes).map(Copy::Disk),
                Copy::Disk(file) => Ok(Copy::Disk(Arc::clone(file))),
            })
            .collect();
        let mut index = self.index.get();
        index.moving -= 1;
        let mut left = None; // dropped outside of the lock
        let mut result = Ok(());
        if let Some(entry) = index.entries.get_mut(&id).filter(|e| e.serial == serial) {
            entry.moving = false;
            match moved {
                Ok(files) => {
                    let before = index.disk;
                    left = Some(index.replace(id, files));
                    index.metrics.spilled_blocks += 1;
                    index.metrics.spilled_bytes += index.disk - before;
                }
                Err(e) => result = Err(e),
            }
        }
        drop(index);
        drop(left);
        self.changed.notify_all();
        result
    }
}

fn bytes_of(block: &dyn Block) -> Result<Cow<'_, [u8]>, BlockError> {
    match block.encoded() {
        Some(bytes) => Ok(Cow::Borrowed(bytes)),
        None => block.encode().map(Cow::Owned),
    }
}

/// The copies of a block in memory: the first in the level's form, the others as bytes.
fn memory_copies(block: Arc<dyn Block>, level: StorageLevel) -> Result<Vec<Copy>, BlockError> {
    let encode = |block: &dyn Block| -> Result<Copy, BlockError> {
        let mut bytes = block.encode()?;
        bytes.shrink_to_fit();
        Ok(Copy::Bytes(Arc::new(bytes)))
    };
    let mut copies = Vec::with_capacity(usize::from(level.replicas));
    for _ in 1..level.replicas {
        copies.push(encode(&*block)?);
    }
    let first = if level.serialized && block.encoded().is_none() {
        encode(&*block)?
    } else {
        Copy::Typed(block)
    };
    copies.insert(0, first);
    Ok(copies)
}
