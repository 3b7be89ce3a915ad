//! Memory that operators keep from batch to batch, for speed only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::combine::{Entry, Spare};
use crate::conf::defaults;

/// What a shuffle keeps: emptied vectors, and how many keys the last batch had.
pub(crate) struct Memory<K, V> {
    pub(crate) entries: Arc<Spare<Entry<K, V>>>,
    pub(crate) index: Spare<u64>,
    keys: AtomicUsize,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Memory {
            entries: Arc::new(Spare::new(defaults::KEPT_MEMORY_PER_OPERATOR)),
            index: Spare::new(defaults::KEPT_MEMORY_PER_OPERATOR),
            keys: AtomicUsize::new(0),
        }
    }
}

impl<K, V> Memory<K, V> {
    /// Keys to expect in a map task.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// A map task had `n` keys.
    pub(crate) fn saw(&self, n: usize) {
        self.keys.store(n + n / 8, Relaxed);
    }

    /// A batch is over.
    pub(crate) fn tick(&self) {
        self.entries.tick();
        self.index.tick();
    }
}

/// A vector that goes back to its operator's [`Spare`] when the last reader drops it.
pub(crate) struct Kept<T> {
    pub(crate) v: Vec<T>,
    home: Option<Arc<Spare<T>>>,
}

impl<T> Kept<T> {
    pub(crate) fn new(v: Vec<T>, home: &Arc<Spare<T>>) -> Kept<T> {
        Kept { v, home: Some(home.clone()) }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give(std::mem::take(&mut self.v));
        }
    }
}

impl<T: Clone> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Kept { v: self.v.clone(), home: self.home.clone() }
    }
}

impl<T: Serialize> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.v.serialize(s)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Kept { v: Vec::deserialize(d)?, home: None })
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.v.len())
    }
}
