//! Which partition a key belongs to: one function everywhere.

use std::sync::Arc;

use super::combine::{hash32, part_of};
use crate::data::{HashSeed, Key};

/// A user's own partitioning of keys. Its name and parameters are stored with the state it partitions, so
/// they must name the function: a changed function needs another name.
pub trait Partitioner<K>: Send + Sync + 'static {
    /// How many partitions.
    fn partitions(&self) -> usize;
    /// The key's partition, below [`Partitioner::partitions`]. The same key must always give the same
    /// partition, in every process.
    fn partition(&self, key: &K) -> usize;
    /// The name of the function, such as `by-country`.
    fn name(&self) -> String;
    /// Parameters that change what the function does.
    fn parameters(&self) -> String {
        String::new()
    }
}

/// How a shuffle deals keys out.
pub(crate) enum Partitioning<K> {
    /// 256 key groups from the hash; a partition is a range of groups.
    Hash(usize),
    User(Arc<dyn Partitioner<K>>),
}

impl<K> Clone for Partitioning<K> {
    fn clone(&self) -> Self {
        match self {
            Partitioning::Hash(n) => Partitioning::Hash(*n),
            Partitioning::User(p) => Partitioning::User(p.clone()),
        }
    }
}

impl<K: Key> Partitioning<K> {
    pub(crate) fn partitions(&self) -> usize {
        match self {
            Partitioning::Hash(n) => *n,
            Partitioning::User(p) => p.partitions(),
        }
    }

    /// The partition of a key whose carried hash is known.
    ///
    /// # Panics
    /// When a user's partitioner gives a partition out of range; the task fails with its name.
    #[inline]
    pub(crate) fn of(&self, key: &K, hash: u32) -> usize {
        match self {
            Partitioning::Hash(n) => part_of(hash, *n),
            Partitioning::User(p) => {
                let (i, n) = (p.partition(key), p.partitions());
                assert!(i < n, "partitioner `{}` gave partition {i} of {n}", p.name());
                i
            }
        }
    }
}

/// The 32-bit hash that entries carry.
#[inline(always)]
pub(crate) fn carried_hash<K: Key>(seed: HashSeed, key: &K) -> u32 {
    hash32(seed.hash(key))
}
