//! Names of blocks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Time;

/// The name of a stored block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum BlockId {
    /// A block of a receiver. It exists once and can't be computed again: never dropped for room.
    Received {
        /// The receiver's stream; the number of its streaming context is in the upper 16 bits.
        stream: u32,
        /// Its number within the stream, from 0.
        seq: u64,
    },
    /// One partition of a persisted RDD. It can be computed again: dropped for room when its level has
    /// no disk.
    Rdd {
        /// Operator and sub-node that persist.
        op: (u32, u64),
        /// The batch.
        batch: Time,
        /// The partition.
        partition: u32,
    },
}

impl BlockId {
    /// Whether the block can be computed again, so that it may be dropped for room.
    pub const fn is_evictable(&self) -> bool {
        matches!(self, BlockId::Rdd { .. })
    }

    /// The receiver stream that the block belongs to.
    pub const fn stream(&self) -> Option<u32> {
        match self {
            BlockId::Received { stream, .. } => Some(*stream),
            BlockId::Rdd { .. } => None,
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockId::Received { stream, seq } => write!(f, "input-{}-{seq}", stream & 0xFFFF),
            BlockId::Rdd { op: (op, sub), batch, partition } => {
                write!(f, "rdd-{op}-{sub}-{}-{partition}", batch.millis())
            }
        }
    }
}
