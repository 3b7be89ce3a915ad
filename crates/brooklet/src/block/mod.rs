//! Blocks: the unit in which received and persisted records are stored.
//!
//! A [`Block`] is an immutable run of records behind an `Arc`. The [`BlockStore`] keeps blocks in memory
//! or on disk by their [`StorageLevel`], typed or as bytes; a [`Decode`] function stored with each block
//! brings the bytes back as the typed form.
//!
//! ```text
//! Values<T> / TextLines ──► dyn Block ──put──► BlockStore ──get──► dyn Block ──► records_of::<T>
//!                                                │  ▲
//!                                         spill  ▼  │ read back
//!                                      files: magic, version, length, crc32c + lz4 frames
//! ```

mod encoded;
mod error;
mod file;
mod id;
mod level;
mod records;
mod spill;
mod store;
mod text;
mod values;

use std::any::Any;
use std::sync::Arc;

pub use encoded::Encoded;
pub use error::BlockError;
pub use id::BlockId;
pub use level::StorageLevel;
pub use records::{Records, records_of};
pub use store::{BlockStore, BlockStoreMetrics, Quota, Stored};
pub use text::TextLines;
pub use values::Values;

pub(crate) use file::{read_file, write_file};
pub(crate) use spill::{Held, Segment, SegmentReader, SpillWriter, Spills};
pub(crate) use values::heap_of;

/// Brings the encoded form of a block back as a typed block. Kept with every stored block.
pub type Decode = fn(Vec<u8>) -> Result<Arc<dyn Block>, BlockError>;

/// An immutable run of records in memory.
pub trait Block: Send + Sync + 'static {
    /// Bytes of memory that the block holds, allocations included. May be an estimate.
    fn memory(&self) -> usize;

    /// Number of records.
    fn records(&self) -> usize;

    /// The block as bytes, for serialized storage levels, disk and replicas.
    ///
    /// # Errors
    /// [`BlockError::Encode`] when a record's own `Serialize` fails.
    fn encode(&self) -> Result<Vec<u8>, BlockError>;

    /// The encoded form, when the block in memory already is that (text). Such a block isn't encoded a
    /// second time for serialized levels or for disk.
    fn encoded(&self) -> Option<&[u8]> {
        None
    }

    /// For downcasting to the concrete block.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl std::fmt::Debug for dyn Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("records", &self.records())
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
