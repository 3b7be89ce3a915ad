//! What can go wrong with a stored block.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::BlockId;
use crate::Error;

/// An error of the block store; names the block and, for disk, the file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BlockError {
    /// The system refused to read or write a block's file. Look at the disk that is named; the same call
    /// may succeed later.
    Io {
        /// The block.
        block: BlockId,
        /// Its file.
        path: PathBuf,
        /// The system's error.
        cause: Arc<std::io::Error>,
    },
    /// A block's file isn't what was written. The block is lost unless it has a replica or can be
    /// computed again; check the disk.
    Corrupt {
        /// The block.
        block: BlockId,
        /// Its file.
        path: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
    /// A block's file is gone. Something deletes files in the store's folder: set `local_dir` to a
    /// folder of its own.
    Missing {
        /// The block.
        block: BlockId,
        /// The file that isn't there.
        path: PathBuf,
    },
    /// A record's `Serialize` failed. Fix the record type.
    Encode(String),
    /// Bytes couldn't be read as records of the block's type: `Serialize` and `Deserialize` of the record
    /// type don't fit together. Fix the record type.
    Decode(String),
    /// There is no room for a block that may not be dropped. Wait until blocks are removed.
    NoRoom {
        /// The block.
        block: BlockId,
        /// Bytes that it needs.
        bytes: usize,
    },
    /// The storage level keeps nothing. Choose another one.
    BadLevel(BlockId),
}

impl BlockError {
    /// Whether stored bytes are gone or changed.
    pub fn is_corruption(&self) -> bool {
        matches!(self, BlockError::Corrupt { .. } | BlockError::Missing { .. })
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, BlockError::Io { .. } | BlockError::NoRoom { .. })
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockError::Io { block, path, cause } => {
                write!(f, "block {block}, file {}: {cause}", path.display())
            }
            BlockError::Corrupt { block, path, problem } => {
                write!(f, "block {block}, file {} is corrupt: {problem}", path.display())
            }
            BlockError::Missing { block, path } => {
                write!(f, "block {block}: its file {} is gone", path.display())
            }
            BlockError::Encode(problem) => write!(f, "a block can't be encoded: {problem}"),
            BlockError::Decode(problem) => write!(f, "a block can't be decoded: {problem}"),
            BlockError::NoRoom { block, bytes } => {
                write!(
                    f,
                    "no room for the {bytes} bytes of block {block}, which may not be dropped"
                )
            }
            BlockError::BadLevel(block) => {
                write!(
                    f,
                    "block {block}: the storage level keeps nothing (no memory, no disk, or no copy)"
                )
            }
        }
    }
}

impl std::error::Error for BlockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BlockError::Io { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

impl From<BlockError> for Error {
    fn from(e: BlockError) -> Error {
        match e {
            BlockError::Io { block, path, cause } => {
                Error::Io { what: format!("block {block}, file {}", path.display()), cause }
            }
            BlockError::Corrupt { block, .. }
            | BlockError::Missing { block, .. }
            | BlockError::NoRoom { block, .. }
            | BlockError::BadLevel(block) => {
                Error::BlockLost { block: block.to_string(), reason: e.to_string() }
            }
            BlockError::Encode(_) | BlockError::Decode(_) => {
                Error::BlockLost { block: "of unknown id".into(), reason: e.to_string() }
            }
        }
    }
}
