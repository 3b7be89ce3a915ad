//! What can be seen of a stateful operator's state from outside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::limit::Bounded;
use crate::Time;
use crate::conf::defaults;
use crate::data::{Key, Wire};
use crate::engine::TaskError;
use crate::metrics::{HeavyKey, StateMetrics};
use crate::rdd::behind;

/// The state of one operator, as its step and the metrics see it.
pub(crate) trait Watched: Send + Sync {
    /// Versions up to `up_to` won't be read any more.
    fn forget(&self, up_to: Time);
    /// Batches after `to` were skipped. The next batch undoes them anyway; whoever looks before sees version `to`.
    fn undo(&self, _to: Time) {}

    /// Whether checkpoints can't store it.
    fn is_on_disk(&self) -> bool {
        false
    }
    /// Everything but the operator's name.
    fn metrics(&self) -> StateMetrics;
    /// The `n` keys that take most when encoded, heaviest first. Goes over all of them.
    fn heaviest(&self, n: usize) -> Result<Vec<HeavyKey>, TaskError>;
}

/// What a partition has counted; a batch that is undone takes back what it counted.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    /// Bytes of all keys and states by [`entry_bytes`], where a limit needs them.
    pub(super) bytes: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
}

impl Tally {
    /// What the limit counts.
    pub(super) fn has(&self, bounded: &Bounded, live: usize) -> u64 {
        if bounded.in_bytes() { self.bytes } else { live as u64 }
    }
}

/// Bytes of memory of a key with its state, about.
pub(super) fn entry_bytes<K: Wire, S: Wire>(key: &K, state: &S) -> u64 {
    let owned = behind(std::slice::from_ref(key), 1) + behind(std::slice::from_ref(state), 1);
    (size_of::<K>() + size_of::<S>() + defaults::STATE_KEY_OVERHEAD + owned) as u64
}

/// The heaviest of the keys that it is offered.
pub(super) struct Heaviest<K> {
    n: usize,
    found: BinaryHeap<Reverse<(u64, usize)>>,
    keys: Vec<K>,
}

impl<K: Key> Heaviest<K> {
    pub(super) fn new(n: usize) -> Heaviest<K> {
        Heaviest { n, found: BinaryHeap::new(), keys: Vec::new() }
    }

    pub(super) fn offer<S: Wire>(&mut self, key: &K, state: &S) {
        let bytes = encoded_len(key) + encoded_len(state);
        if self.found.len() < self.n {
            self.found.push(Reverse((bytes, self.keys.len())));
            self.keys.push(key.clone());
        } else if let Some(mut least) = self.found.peek_mut()
            && least.0.0 < bytes
        {
            let at = least.0.1;
            *least = Reverse((bytes, at));
            self.keys[at] = key.clone();
        }
    }

    /// Heaviest first.
    pub(super) fn into_keys(self) -> Vec<HeavyKey> {
        let sorted = self.found.into_sorted_vec();
        let key = |Reverse((bytes, at)): &Reverse<(u64, usize)>| HeavyKey {
            key: text(&self.keys[*at]),
            bytes: *bytes,
        };
        sorted.iter().map(key).collect()
    }
}

/// Bytes of a value in the form in which it leaves its process.
fn encoded_len<T: Serialize>(x: &T) -> u64 {
    // A value that can't be encoded counts nothing here; whatever has to encode it reports the error.
    postcard::serialize_with_flavor(x, Count(0)).unwrap_or(0)
}

/// A key as JSON, cut when it is long; where JSON can't say it, the bytes of its encoded form.
fn text<T: Serialize>(key: &T) -> String {
    let mut text = serde_json::to_string(key).unwrap_or_else(|_| {
        let bytes = postcard::to_stdvec(key).unwrap_or_default();
        bytes.iter().fold(String::from("0x"), |s, b| s + &format!("{b:02x}"))
    });
    if let Some((end, _)) = text.char_indices().nth(defaults::STATE_KEY_SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

struct Count(u64);

impl Flavor for Count {
    type Output = u64;

    #[inline(always)]
    fn try_push(&mut self, _: u8) -> postcard::Result<()> {
        self.0 += 1;
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0)
    }
}

impl<K> fmt::Debug for Heaviest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heaviest({} of {})", self.found.len(), self.n)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_heaviest_come_first() {
        let mut heaviest = Heaviest::new(3);
        for i in [5usize, 90, 2, 17, 60, 17] {
            heaviest.offer(&i, &"x".repeat(i));
        }
        let found: Vec<_> = heaviest.into_keys().into_iter().map(|k| (k.key, k.bytes)).collect();
        assert_eq!(found, [("90".into(), 92), ("60".into(), 62), ("17".into(), 19)]);
        let mut none = Heaviest::new(0);
        none.offer(&1, &2);
        assert!(none.into_keys().is_empty());
    }

    #[test]
    fn keys_are_text() {
        assert_eq!(text(&("a\"b", 3, Some('c'))), r#"["a\"b",3,"c"]"#);
        assert_eq!(text(&BTreeMap::from([((1, 2), 3)])), "0x01020406");
        let long = text(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), defaults::STATE_KEY_SHOWN + 1);
        assert!(long.ends_with('…'));
    }
}
