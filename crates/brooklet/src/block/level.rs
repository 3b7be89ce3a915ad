//! Where and in which form a block is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a block is kept, in which form, and how often.
///
/// On one machine there is one block store. A level with N replicas keeps N independent copies there:
/// the first in the level's form, the others as bytes. All count against the memory limit; when the
/// first copy is lost or corrupt on disk, the next one serves. Replicas on other machines come with the
/// cluster and take the same seam.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StorageLevel {
    /// Keep it in memory while there is room.
    pub use_memory: bool,
    /// Write it to disk when there is no room in memory, or at once without `use_memory`.
    pub use_disk: bool,
    /// In memory, keep bytes instead of records: smaller, and decoded at each read.
    pub serialized: bool,
    /// Number of independent copies.
    pub replicas: u8,
}

const fn level(use_memory: bool, use_disk: bool, serialized: bool, replicas: u8) -> StorageLevel {
    StorageLevel { use_memory, use_disk, serialized, replicas }
}

impl StorageLevel {
    /// Not stored.
    pub const NONE: StorageLevel = level(false, false, false, 1);
    /// On disk only.
    pub const DISK_ONLY: StorageLevel = level(false, true, true, 1);
    /// On disk only, two copies.
    pub const DISK_ONLY_2: StorageLevel = level(false, true, true, 2);
    /// On disk only, three copies.
    pub const DISK_ONLY_3: StorageLevel = level(false, true, true, 3);
    /// As records in memory.
    pub const MEMORY_ONLY: StorageLevel = level(true, false, false, 1);
    /// As records in memory, two copies.
    pub const MEMORY_ONLY_2: StorageLevel = level(true, false, false, 2);
    /// As bytes in memory.
    pub const MEMORY_ONLY_SER: StorageLevel = level(true, false, true, 1);
    /// As bytes in memory, two copies.
    pub const MEMORY_ONLY_SER_2: StorageLevel = level(true, false, true, 2);
    /// As records in memory, on disk when there is no room.
    pub const MEMORY_AND_DISK: StorageLevel = level(true, true, false, 1);
    /// As records in memory, on disk when there is no room, two copies.
    pub const MEMORY_AND_DISK_2: StorageLevel = level(true, true, false, 2);
    /// As bytes in memory, on disk when there is no room.
    pub const MEMORY_AND_DISK_SER: StorageLevel = level(true, true, true, 1);
    /// As bytes in memory, on disk when there is no room, two copies.
    pub const MEMORY_AND_DISK_SER_2: StorageLevel = level(true, true, true, 2);

    /// Whether the level stores anything: memory or disk, and from 1 to 39 copies.
    pub const fn is_valid(&self) -> bool {
        (self.use_memory || self.use_disk) && self.replicas >= 1 && self.replicas < 40
    }
}

impl Default for StorageLevel {
    /// [`StorageLevel::MEMORY_ONLY`].
    fn default() -> Self {
        StorageLevel::MEMORY_ONLY
    }
}

impl fmt::Display for StorageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match (self.use_memory, self.use_disk, self.serialized) {
            (false, false, _) => return f.write_str("NONE"),
            (false, true, _) => "DISK_ONLY",
            (true, false, false) => "MEMORY_ONLY",
            (true, false, true) => "MEMORY_ONLY_SER",
            (true, true, false) => "MEMORY_AND_DISK",
            (true, true, true) => "MEMORY_AND_DISK_SER",
        };
        match self.replicas {
            1 => f.write_str(base),
            n => write!(f, "{base}_{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_original_names() {
        assert_eq!(StorageLevel::MEMORY_AND_DISK_SER_2.to_string(), "MEMORY_AND_DISK_SER_2");
        assert_eq!(StorageLevel::DISK_ONLY_3.to_string(), "DISK_ONLY_3");
        assert_eq!(StorageLevel::NONE.to_string(), "NONE");
        assert!(!StorageLevel::NONE.is_valid());
        assert!(!StorageLevel { replicas: 0, ..StorageLevel::MEMORY_ONLY }.is_valid());
        assert!(StorageLevel::MEMORY_ONLY.is_valid());
    }
}
