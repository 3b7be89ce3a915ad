//! What stateful operators need of whatever keeps their states: tables in memory, or a database on disk.
//!
//! Operators are generic over these traits, so that nothing is called through a pointer per record.

use super::cell::State;
use super::durable::Collect;
use super::tables::{Beside, Lease, Tables};
use crate::Time;
use crate::data::{Key, Wire};
use crate::engine::TaskError;

/// The versions of a keyed state, to be read.
pub(crate) trait Versions: Send + Sync + 'static {
    type Key: Key;
    type State: Wire;
    /// A place in a version of one partition.
    type At;

    fn partitions(&self) -> usize;

    /// Keys that have a state, as of the last batch.
    fn keys(&self) -> usize;

    /// The beginning of version `t` of a partition.
    fn open(&self, part: usize, t: Time) -> Result<Self::At, TaskError>;

    /// Adds what `get` makes of the records that follow, until `out` has `n`. Whether there may be more.
    fn next<U>(
        &self,
        at: &mut Self::At,
        out: (&mut Vec<U>, usize),
        get: impl Fn(&Self::Key, &Self::State) -> Option<U>,
    ) -> Result<bool, TaskError>;
}

/// A keyed state whose keys are changed one by one.
pub(crate) trait KeyedStates: Versions {
    type Lease<'a>: KeyedLease<Key = Self::Key, State = Self::State>
    where
        Self: 'a;

    /// The right to change partition `part` from version `base` to `t`. Whatever was changed since `base` is
    /// undone first. Undone, too, when the lease is dropped without a commit.
    fn lease(&self, part: usize, base: Time, t: Time) -> Result<Self::Lease<'_>, TaskError>;
}

/// The right to change one partition for one batch.
pub(crate) trait KeyedLease: Sized {
    type Key: Key;
    type State: Wire;

    /// Before entry `i` is looked up: asks for the memory of later ones, whose hashes `hash` tells.
    #[inline(always)]
    fn ahead(&self, _i: usize, _hash: impl Fn(usize) -> Option<u32>) {}

    /// Gives the state of a key to `f` and does what it wants with it.
    fn with<R>(
        &mut self,
        hash: u32,
        key: &Self::Key,
        f: impl FnOnce(&mut State<Self::State>) -> R,
    ) -> Result<R, TaskError>;

    /// Tells `f` of keys that were touched before `before`, and removes them.
    fn expire(
        &mut self,
        before: Time,
        f: impl FnMut(&Self::Key, &mut State<Self::State>),
    ) -> Result<(), TaskError>;

    /// Brings the state within its limit, if it has one.
    fn fit(&mut self) -> Result<(), TaskError>;

    /// What `get` makes of each key and state, as they are now.
    fn all<U>(&self, get: impl Fn(&Self::Key, &Self::State) -> U) -> Result<Vec<U>, TaskError>;

    /// What checkpoints get, as bytes of a delta.
    fn collect(&self, what: Collect) -> Result<Vec<u8>, TaskError>;

    /// The batch is done in this partition.
    fn commit(self);
}

impl<K: Key, S: Wire, X: Beside> Versions for Tables<K, S, X> {
    type Key = K;
    type State = S;
    /// Partition, version, slot.
    type At = (usize, Time, u64);

    fn partitions(&self) -> usize {
        Tables::partitions(self)
    }

    fn keys(&self) -> usize {
        Tables::keys(self)
    }

    fn open(&self, part: usize, t: Time) -> Result<Self::At, TaskError> {
        Ok((part, t, 0))
    }

    fn next<U>(
        &self,
        (part, t, slot): &mut Self::At,
        out: (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Result<bool, TaskError> {
        // The tables are free between two calls.
        let next = self.read(*part, *t, *slot, out, get)?;
        *slot = next.unwrap_or_default();
        Ok(next.is_some())
    }
}

impl<K: Key, S: Wire> KeyedStates for Tables<K, S> {
    type Lease<'a> = Lease<'a, K, S>;

    fn lease(&self, part: usize, base: Time, t: Time) -> Result<Lease<'_, K, S>, TaskError> {
        Tables::lease(self, part, base, t)
    }
}

impl<K: Key, S: Wire> KeyedLease for Lease<'_, K, S> {
    type Key = K;
    type State = S;

    #[inline(always)]
    fn ahead(&self, i: usize, hash: impl Fn(usize) -> Option<u32>) {
        Lease::ahead(self, i, hash);
    }

    #[inline(always)]
    fn with<R>(
        &mut self,
        hash: u32,
        key: &K,
        f: impl FnOnce(&mut State<S>) -> R,
    ) -> Result<R, TaskError> {
        Ok(Lease::with(self, hash, key, f))
    }

    fn expire(&mut self, before: Time, f: impl FnMut(&K, &mut State<S>)) -> Result<(), TaskError> {
        Lease::expire(self, before, f);
        Ok(())
    }

    fn fit(&mut self) -> Result<(), TaskError> {
        Lease::fit(self)
    }

    fn all<U>(&self, get: impl Fn(&K, &S) -> U) -> Result<Vec<U>, TaskError> {
        Ok(Lease::all(self, get))
    }

    fn collect(&self, what: Collect) -> Result<Vec<u8>, TaskError> {
        Lease::collect(self, what)
    }

    fn commit(self) {
        Lease::commit(self);
    }
}
