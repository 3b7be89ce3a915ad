//! What the store's lock guards: names, copies, sizes.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::file::BlockFile;
use super::super::{Block, BlockId, Decode, StorageLevel};
use super::{BlockStoreMetrics, Stored};

/// One copy of a block.
#[derive(Clone)]
pub(super) enum Copy {
    Typed(Arc<dyn Block>),
    Bytes(Arc<Vec<u8>>),
    Disk(Arc<BlockFile>),
}

impl Copy {
    pub(super) fn size(&self) -> Stored {
        match self {
            Copy::Typed(block) => Stored { memory: block.memory(), disk: 0 },
            Copy::Bytes(bytes) => Stored { memory: bytes.capacity(), disk: 0 },
            Copy::Disk(file) => Stored { memory: 0, disk: file.bytes() },
        }
    }
}

/// A stored block.
pub(super) struct Entry {
    pub(super) level: StorageLevel,
    pub(super) decode: Decode,
    pub(super) copies: Vec<Copy>,
    pub(super) size: Stored,
    /// When it was used last, in [`Index::tick`]s.
    used: u64,
    /// Tells an entry from a later one of the same name.
    pub(super) serial: u64,
    /// On its way to disk.
    pub(super) moving: bool,
}

#[derive(Default)]
pub(super) struct Index {
    pub(super) entries: HashMap<BlockId, Entry>,
    /// Bytes in memory and reserved there.
    pub(super) memory: usize,
    pub(super) disk: u64,
    /// The same by receiver.
    pub(super) groups: HashMap<u32, Stored>,
    /// Blocks on their way to disk.
    pub(super) moving: usize,
    pub(super) epoch: u64,
    pub(super) metrics: BlockStoreMetrics,
    tick: u64,
}

impl Index {
    pub(super) fn touch(&mut self, id: BlockId) -> Option<&Entry> {
        self.tick += 1;
        let entry = self.entries.get_mut(&id)?;
        entry.used = self.tick;
        Some(entry)
    }

    /// What the blocks of this block's receiver take up.
    pub(super) fn used(&self, id: BlockId) -> Stored {
        id.stream().and_then(|s| self.groups.get(&s)).copied().unwrap_or_default()
    }

    pub(super) fn insert(
        &mut self,
        id: BlockId,
        level: StorageLevel,
        decode: Decode,
        copies: Vec<Copy>,
    ) -> Stored {
        self.tick += 1;
        let size = total(&copies);
        self.add(id, size);
        let entry = Entry {
            level,
            decode,
            copies,
            size,
            used: self.tick,
            serial: self.tick,
            moving: false,
        };
        self.entries.insert(id, entry);
        size
    }

    pub(super) fn remove(&mut self, id: BlockId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.sub(id, entry.size);
        self.epoch += 1;
        Some(entry)
    }

    /// Puts other copies in place of those of an entry.
    pub(super) fn replace(&mut self, id: BlockId, copies: Vec<Copy>) -> Vec<Copy> {
        let new = total(&copies);
        let Some(entry) = self.entries.get_mut(&id) else {
            return copies;
        };
        let (old_size, old) =
            (std::mem::replace(&mut entry.size, new), std::mem::replace(&mut entry.copies, copies));
        self.sub(id, old_size);
        self.add(id, new);
        self.epoch += 1;
        old
    }

    pub(super) fn add(&mut self, id: BlockId, size: Stored) {
        self.memory += size.memory;
        self.disk += size.disk;
        if let Some(stream) = id.stream() {
            let g = self.groups.entry(stream).or_default();
            g.memory += size.memory;
            g.disk += size.disk;
        }
    }

    pub(super) fn sub(&mut self, id: BlockId, size: Stored) {
        self.memory -= size.memory;
        self.disk -= size.disk;
        let Some(stream) = id.stream() else { return };
        if let Some(g) = self.groups.get_mut(&stream) {
            g.memory -= size.memory;
            g.disk -= size.disk;
            if *g == Stored::default() {
                self.groups.remove(&stream);
            }
        }
    }

    /// The block that may make room in memory for `newcomer`: the one not used for the longest time.
    /// A received block doesn't drive out other received blocks, which are processed before it; a
    /// partition doesn't drive out another one of the same RDD.
    pub(super) fn victim(&self, newcomer: BlockId) -> Option<BlockId> {
        let may = |id: &BlockId, e: &Entry| {
            e.size.memory > 0
                && !e.moving
                && (e.level.use_disk || id.is_evictable())
                && match (newcomer, id) {
                    (BlockId::Received { .. }, BlockId::Received { .. }) => false,
                    (
                        BlockId::Rdd { op: a, batch: s, .. },
                        BlockId::Rdd { op: b, batch: t, .. },
                    ) => (a, s) != (*b, *t),
                    _ => true,
                }
        };
        self.entries
            .iter()
            .filter(|(id, e)| may(id, e))
            .min_by_key(|(_, e)| e.used)
            .map(|(id, _)| *id)
    }
}

pub(super) fn total(copies: &[Copy]) -> Stored {
    copies.iter().map(Copy::size).fold(Stored::default(), |a, b| Stored {
        memory: a.memory + b.memory,
        disk: a.disk + b.disk,
    })
}
