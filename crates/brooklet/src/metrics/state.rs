//! What stateful operators keep.

use std::time::Duration;

/// What one stateful operator keeps, at one moment; see
/// [`StreamingContext::state_metrics`](crate::StreamingContext::state_metrics). Totals count from the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StateMetrics {
    /// The operator: the name given with `name`, else its path.
    pub operator: String,
    /// Partitions.
    pub partitions: usize,
    /// Keys that have a state, as of the last batch.
    pub keys: u64,
    /// Bytes of memory, about: those of the tables, and what keys and states own elsewhere, by a sample. Old
    /// versions that are remembered aren't in it. For a state on disk, what is changed and not yet written,
    /// without the cache that all operators share ([`Conf::state_memory`](crate::Conf::state_memory)).
    pub bytes: u64,
    /// Bytes of files, for a state on disk.
    pub disk_bytes: u64,
    /// Times that an index of a key group was built anew, because it grew or was mostly empty.
    pub index_rebuilds: u64,
    /// The longest of them. This and the following figures are processor time of one task (on other systems than
    /// Linux: time), since the start; a state on disk has none of them.
    pub longest_rebuild: Duration,
    /// The longest encoding of a batch's changes for checkpoints.
    pub longest_encoding: Duration,
    /// The longest look for time-outs, with the function's calls for the keys that went.
    pub longest_time_outs: Duration,
    /// The longest undoing of a batch's changes.
    pub longest_undo: Duration,
    /// Changes of a partition by a batch that were undone: attempts that failed, batches that were skipped.
    pub undone: u64,
    /// Keys removed because their time-out had passed.
    pub timed_out: u64,
    /// Keys removed to keep within [`StateSpec::limit`](crate::StateSpec::limit).
    pub evicted: u64,
}

/// A key and what it takes; see
/// [`StreamingContext::heaviest_keys`](crate::StreamingContext::heaviest_keys).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeavyKey {
    /// The key as JSON, cut after 256 characters. A key that JSON can't express is given as the bytes of its
    /// encoded form, `0x…`.
    pub key: String,
    /// Bytes of key and state in their encoded form.
    pub bytes: u64,
}
