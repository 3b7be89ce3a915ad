//! State on disk: what each batch has changed is collected, written in the background, and merged.
//!
//! A checkpoint is a manifest, which names for each operator the files that make up its state: one base for
//! each range of key groups, and the deltas that are newer than it. This knows operators by identity, key
//! groups, batch times, and keys and values as bytes; it never looks at live tables. Data is stored, never code
//! or configuration: `schema` decides whether a changed program's types still fit.

mod delta;
mod error;
mod frame;
mod manifest;
mod merge;
mod policy;
mod protocol;
mod restore;
pub(crate) mod schema;
mod state_file;
mod storage;
mod stream;
mod worker;
mod writer;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

pub(crate) use delta::{Delta, DeltaBuilder, PutError};
pub use error::CheckpointError;
pub(crate) use manifest::OperatorMeta;
pub(crate) use policy::CheckpointPolicy;
pub(crate) use restore::{Entries, OpenCheckpoint, StartFrom};
#[cfg(test)]
pub(crate) use storage::{LocalStorage, Storage};
pub(crate) use stream::{StoredOperator, StreamCheckpoints, Wanted};
pub(crate) use writer::{CheckpointStats, StateCheckpoints};
