//! Combining by key: the table behind `reduce_by_key` and its relatives, and the memory it reuses.
//!
//! A [`Table`] holds dense entries in first-seen order and an open-addressing index into them. The
//! 32-bit hash of a key is carried in its entry: growing, partitioning and merging never hash a key
//! again. The top 8 bits of the hash name the key group ([`group_of`]), the low bits the slot in
//! the index, so the two are independent up to 2^24 keys in one table; beyond, chains get longer.
//!
//! Two things made word count twice as fast in the prototype, and this file is shaped by them:
//! [`Groups`] asks for memory before it is needed, and [`Spare`] keeps emptied vectors, since the
//! page faults of fresh ones cost a third of a batch.
//!
//! Probing is linear, so keys with equal hashes make long chains: correct, but quadratic. Whoever
//! hashes the keys must use a seed that the sender of the keys cannot know.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A key with its value, and the key's hash for those who come after.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) val: V,
    pub(crate) hash: u32,
}

/// Folds a hash to the 32 bits that entries carry.
#[inline]
pub(crate) fn hash32(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// The key group of a hash, one of 256.
#[inline]
pub(crate) fn group_of(hash: u32) -> u8 {
    (hash >> 24) as u8
}

/// The partition of a hash, one of `parts`.
///
/// Up to 256 partitions this is `group * parts / 256`, so that a key group lies in one partition.
/// More could not all be reached so; then the whole hash is spread over them and key groups are
/// torn apart.
#[inline]
pub(crate) fn part_of(hash: u32, parts: usize) -> usize {
    if parts <= 256 {
        (usize::from(group_of(hash)) * parts) >> 8
    } else {
        ((u64::from(hash) * parts as u64) >> 32) as usize
    }
}

/// Slots of the smallest index.
const MIN_SLOTS: usize = 128;

/// Combines the values of equal keys.
///
/// Values of one key are merged in the order in which they arrive; entries come out in the order
/// in which their keys were first seen. The index is at most half full.
pub(crate) struct Table<K, V> {
    /// 0: empty; else `hash << 32 | number of the entry + 1`. Its length is a power of two.
    index: Vec<u64>,
    /// `index.len() - 1`. Unsafe code counts on it.
    mask: usize,
    entries: Vec<Entry<K, V>>,
}

/// Where a key is, or where it has to go.
enum Place {
    /// The number of its entry. It is within bounds.
    Entry(usize),
    /// The empty slot of the index that ends its chain.
    Slot(usize),
}

impl<K, V> Table<K, V> {
    /// A table for `keys` keys; it grows when there are more.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        Self::with_memory(keys, Vec::new(), Vec::new())
    }

    /// Like [`Table::with_capacity`], built in the memory of two vectors, whose contents are lost.
    pub(crate) fn with_memory(keys: usize, index: Vec<u64>, mut entries: Vec<Entry<K, V>>) -> Self {
        entries.clear();
        entries.reserve(keys);
        let mut table = Table { index, mask: 0, entries };
        table.reindex(slots_for(keys));
        table
    }

    /// Takes over entries whose keys differ from each other, with room for `keys` keys in all. The
    /// memory of `index` is used, its contents are lost.
    pub(crate) fn from_distinct(entries: Vec<Entry<K, V>>, keys: usize, index: Vec<u64>) -> Self {
        let slots = slots_for(keys.max(entries.len()));
        let mut table = Table { index, mask: 0, entries };
        table.reindex(slots);
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in first-seen order.
    pub(crate) fn entries(&self) -> &[Entry<K, V>] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<Entry<K, V>> {
        self.entries
    }

    /// The entries, and the index for its memory.
    pub(crate) fn into_parts(self) -> (Vec<Entry<K, V>>, Vec<u64>) {
        (self.entries, self.index)
    }

    /// Asks for the part of the index where `hash` is looked up.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u32) {
        prefetch(self.index.as_ptr().wrapping_add(hash as usize & self.mask));
    }

    /// Second step, when the index is near: asks for the entry that it names first for `hash`.
    #[inline(always)]
    pub(crate) fn prefetch_entry(&self, hash: u32) {
        let named = self.slot(hash as usize & self.mask) as u32;
        // Of an empty slot this makes a wild address, which is asked for and never read.
        let number = named.wrapping_sub(1) as usize;
        prefetch_value(self.entries.as_ptr().wrapping_add(number));
    }

    /// The content of slot `i & mask`.
    #[inline(always)]
    fn slot(&self, i: usize) -> u64 {
        // SAFETY: `mask` is `index.len() - 1` and the index is never empty: both are set by
        // `reindex` only, which every constructor calls.
        unsafe { *self.index.get_unchecked(i & self.mask) }
    }

    /// Builds the index anew, with `slots` slots.
    #[cold]
    #[inline(never)]
    fn reindex(&mut self, slots: usize) {
        debug_assert!(slots.is_power_of_two() && slots > self.entries.len());
        // Entry numbers have 32 bits.
        assert!(slots as u64 <= 1 << 32, "more than 2^31 keys in one table");
        self.index.clear();
        self.index.resize(slots, 0);
        self.mask = slots - 1;
        for (number, entry) in self.entries.iter().enumerate() {
            let mut i = entry.hash as usize & self.mask;
            while self.index[i] != 0 {
                i = (i + 1) & self.mask;
            }
            self.index[i] = slot_of(entry.hash, number);
        }
    }
}

impl<K: Eq, V> Table<K, V> {
    /// Adds a record. `merge(old, new)` gets both values by value: nothing is cloned.
    ///
    /// If `merge` panics, the key is gone with both its values; the table stays in order.
    #[cfg(test)]
    #[inline(always)]
    pub(crate) fn add(&mut self, hash: u32, key: K, val: V, merge: impl FnOnce(V, V) -> V) {
        match self.find(hash, &key) {
            Place::Entry(number) => self.replace(number, val, merge),
            Place::Slot(i) => self.insert(i, Entry { key, val, hash }),
        }
    }

    /// Adds a record of another type than the values: `create` makes the value of a new key, `add` takes the
    /// record into the value that is there. If `add` panics, the key is gone; the table stays in order.
    #[inline(always)]
    pub(crate) fn upsert<X>(
        &mut self,
        hash: u32,
        key: K,
        record: X,
        create: impl FnOnce(X) -> V,
        add: impl FnOnce(V, X) -> V,
    ) {
        match self.find(hash, &key) {
            Place::Entry(number) => self.replace(number, record, add),
            Place::Slot(i) => {
                let val = create(record);
                self.insert(i, Entry { key, val, hash });
            }
        }
    }

    /// Adds a record that stays where it is: the key is cloned only if it is new here, the value
    /// always.
    #[inline(always)]
    pub(crate) fn merge_from(&mut self, hash: u32, key: &K, val: &V, merge: impl FnOnce(V, V) -> V)
    where
        K: Clone,
        V: Clone,
    {
        match self.find(hash, key) {
            Place::Entry(number) => self.replace(number, val.clone(), merge),
            Place::Slot(i) => {
                let (key, val) = (key.clone(), val.clone());
                self.insert(i, Entry { key, val, hash });
            }
        }
    }

    /// [`Table::merge_from`] for a whole map output, with its hashes looked at ahead.
    pub(crate) fn merge_all_from(&mut self, entries: &[Entry<K, V>], merge: impl Fn(V, V) -> V)
    where
        K: Clone,
        V: Clone,
    {
        // How far ahead the index is asked for, and, that being near, the entry.
        const FAR: usize = 24;
        const NEAR: usize = 12;
        for (i, entry) in entries.iter().enumerate() {
            if let Some(far) = entries.get(i + FAR) {
                self.prefetch(far.hash);
            }
            if let Some(near) = entries.get(i + NEAR) {
                self.prefetch_entry(near.hash);
            }
            self.merge_from(entry.hash, &entry.key, &entry.val, &merge);
        }
    }

    /// The value of a key, made by `new` when the key isn't there yet (the key is cloned then).
    pub(crate) fn value_or_insert(&mut self, hash: u32, key: &K, new: impl FnOnce() -> V) -> &mut V
    where
        K: Clone,
    {
        let number = match self.find(hash, key) {
            Place::Entry(number) => number,
            Place::Slot(i) => {
                self.insert(i, Entry { key: key.clone(), val: new(), hash });
                self.entries.len() - 1
            }
        };
        &mut self.entries[number].val
    }

    #[cfg(test)]
    pub(crate) fn get(&self, hash: u32, key: &K) -> Option<&V> {
        match self.find(hash, key) {
            Place::Entry(number) => Some(&self.entries[number].val),
            Place::Slot(_) => None,
        }
    }

    #[inline(always)]
    fn find(&self, hash: u32, key: &K) -> Place {
        let mut i = hash as usize & self.mask;
        loop {
            let slot = self.slot(i);
            if slot == 0 {
                return Place::Slot(i);
            }
            if (slot >> 32) as u32 == hash {
                let number = (slot as u32 - 1) as usize;
                debug_assert!(number < self.entries.len());
                // SAFETY: slots that aren't empty name entries that exist. They are written when
                // the entry is pushed, and the only one that takes an entry out is `Hole`, which
                // builds the index anew before anybody can look.
                let entry = unsafe { self.entries.get_unchecked(number) };
                if entry.key == *key {
                    return Place::Entry(number);
                }
            }
            i = (i + 1) & self.mask;
        }
    }

    #[inline(always)]
    fn insert(&mut self, i: usize, entry: Entry<K, V>) {
        let slot = slot_of(entry.hash, self.entries.len());
        self.entries.push(entry);
        self.index[i] = slot;
        if self.entries.len() * 2 > self.index.len() {
            self.reindex(self.index.len() * 2);
        }
    }

    /// `number` must come from [`Place::Entry`].
    #[inline(always)]
    fn replace<X>(&mut self, number: usize, val: X, merge: impl FnOnce(V, X) -> V) {
        let place = &raw mut self.entries[number].val;
        // SAFETY: `place` is a live value of an entry that we borrow mutably. It is moved out;
        // until the new one is written, only `Hole` can touch the table, and it takes the entry
        // out. So the old value is dropped once, by `merge`.
        let old = unsafe { ptr::read(place) };
        let hole = Hole { table: self, number };
        let new = merge(old, val);
        mem::forget(hole);
        // SAFETY: as above; `merge` had no access to the table, so `place` is where it was, and
        // nothing there needs to be dropped.
        unsafe { ptr::write(place, new) };
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

/// An entry whose value is out. Dropped only when `merge` panics: takes the entry out.
struct Hole<'a, K, V> {
    table: &'a mut Table<K, V>,
    number: usize,
}

impl<K, V> Drop for Hole<'_, K, V> {
    #[cold]
    fn drop(&mut self) {
        let entries = &mut self.table.entries;
        let len = entries.len();
        // SAFETY: `number < len`, and all below it are whole. The length is cut first, so that
        // nothing is dropped twice whatever happens. The key is moved out once; the entries behind
        // move one place down, over the one that holds nothing any more, and are whole as well.
        let key = unsafe {
            entries.set_len(self.number);
            let hole = entries.as_mut_ptr().add(self.number);
            let key = ptr::read(&raw const (*hole).key);
            ptr::copy(hole.add(1), hole, len - self.number - 1);
            entries.set_len(len - 1);
            key
        };
        // Entry numbers have changed. Same size: no memory is asked for.
        self.table.reindex(self.table.index.len());
        drop(key);
    }
}

/// Slots of an index for `keys` keys.
fn slots_for(keys: usize) -> usize {
    keys.saturating_mul(2)
        .max(MIN_SLOTS)
        .checked_next_power_of_two()
        .expect("more keys than memory can hold")
}

#[inline(always)]
fn slot_of(hash: u32, number: usize) -> u64 {
    u64::from(hash) << 32 | (number as u64 + 1)
}

/// Bytes of a cache line, on the machines that are common.
const LINE: usize = 64;

/// Asks the processor to bring a value near. `p` need not point at anything.
#[inline(always)]
pub(crate) fn prefetch_value<T>(p: *const T) {
    prefetch(p);
    if !LINE.is_multiple_of(size_of::<T>().max(1)) {
        // It may lie in two lines.
        prefetch(p.cast::<u8>().wrapping_add(size_of::<T>() - 1));
    }
}

/// Asks the processor to bring a cache line near. `p` need not point at anything.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T) {
    // SAFETY: a prefetch of a bad address does nothing, it can't fault.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = p;
}

/// Records that wait in a group.
const GROUP: usize = 32;

/// A [`Table`] that is filled in groups of 32 records, whose type may differ from that of the values.
///
/// Every record needs a line of the index and one of the entries, far apart in a large table. In a
/// group the 32 waits overlap: index lines are asked for as records come in, entries when the group
/// is full, and only then the records are added, in the order in which they came.
pub(crate) struct Groups<K, V, X = V> {
    table: Table<K, V>,
    waiting: Vec<Entry<K, X>>,
    /// Groups until `push` asks for a look at the table's size.
    due: usize,
}

impl<K: Eq, V, X> Groups<K, V, X> {
    pub(crate) fn new(table: Table<K, V>) -> Self {
        Groups { table, waiting: Vec::with_capacity(GROUP), due: usize::MAX }
    }

    /// Adds a record, possibly later; then some panic of `how` may be that of an earlier record. Whether the
    /// records of [`Groups::look_after`] have come; all of them are in the table then.
    #[inline(always)]
    pub(crate) fn push(&mut self, hash: u32, key: K, val: X, how: &impl Combine<X, V>) -> bool {
        self.table.prefetch(hash);
        self.waiting.push(Entry { key, val, hash });
        if self.waiting.len() >= GROUP {
            self.flush(how);
            self.due = self.due.wrapping_sub(1);
            return self.due == 0;
        }
        false
    }

    /// Has `push` say so when about `records` more have come. Returns how many exactly.
    pub(crate) fn look_after(&mut self, records: usize) -> usize {
        self.due = records.div_ceil(GROUP).max(1);
        self.due * GROUP
    }

    pub(crate) fn table(&self) -> &Table<K, V> {
        &self.table
    }

    /// Hands the entries to `f`, which empties the vector, and begins anew in their memory.
    pub(crate) fn drain(&mut self, f: impl FnOnce(&mut Vec<Entry<K, V>>)) {
        let table = mem::replace(&mut self.table, Table::with_capacity(0));
        let (mut entries, index) = table.into_parts();
        let n = entries.len();
        f(&mut entries);
        self.table = Table::with_memory(n, index, entries);
    }

    /// Adds what waits. If `how` panics, the rest of the group is lost.
    #[inline(never)]
    pub(crate) fn flush(&mut self, how: &impl Combine<X, V>) {
        for entry in &self.waiting {
            self.table.prefetch_entry(entry.hash);
        }
        for Entry { key, val, hash } in self.waiting.drain(..) {
            self.table.upsert(hash, key, val, |x| how.create(x), |v, x| how.add(v, x));
        }
    }

    /// Adds what waits and hands the table out.
    pub(crate) fn finish(mut self, how: &impl Combine<X, V>) -> Table<K, V> {
        self.flush(how);
        self.table
    }
}

/// How records of type `X` become values of type `V`.
pub(crate) trait Combine<X, V>: Send + Sync + 'static {
    /// The value of a key's first record.
    fn create(&self, record: X) -> V;
    /// A further record of the key.
    fn add(&self, value: V, record: X) -> V;
    /// Two values of the key.
    fn merge(&self, left: V, right: V) -> V;
}

/// Records are values, merged by one function.
pub(crate) struct ByReduce<F>(pub(crate) F);

impl<V, F: Fn(V, V) -> V + Send + Sync + 'static> Combine<V, V> for ByReduce<F> {
    #[inline(always)]
    fn create(&self, record: V) -> V {
        record
    }
    #[inline(always)]
    fn add(&self, value: V, record: V) -> V {
        (self.0)(value, record)
    }
    #[inline(always)]
    fn merge(&self, left: V, right: V) -> V {
        (self.0)(left, right)
    }
}

/// Three functions of the user's.
pub(crate) struct ByCombine<A, B, M> {
    pub(crate) create: A,
    pub(crate) add: B,
    pub(crate) merge: M,
}

impl<X, V, A, B, M> Combine<X, V> for ByCombine<A, B, M>
where
    A: Fn(X) -> V + Send + Sync + 'static,
    B: Fn(V, X) -> V + Send + Sync + 'static,
    M: Fn(V, V) -> V + Send + Sync + 'static,
{
    #[inline(always)]
    fn create(&self, record: X) -> V {
        (self.create)(record)
    }
    #[inline(always)]
    fn add(&self, value: V, record: X) -> V {
        (self.add)(value, record)
    }
    #[inline(always)]
    fn merge(&self, left: V, right: V) -> V {
        (self.merge)(left, right)
    }
}

impl<K, V, X> fmt::Debug for Groups<K, V, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("keys", &self.table.len())
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

/// Batches after which a kept vector that nobody took is released.
const IDLE_TICKS: u64 = crate::conf::defaults::KEPT_MEMORY_IDLE_BATCHES as u64;

/// Emptied vectors of one operator, kept for their memory from batch to batch.
///
/// At most `limit` bytes are kept; for a vector that doesn't fit, those that lay idle longest are
/// released. May be shared between tasks.
pub(crate) struct Spare<T> {
    limit: usize,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    shelf: Shelf,
    vecs: Vec<Vec<T>>,
}

/// What is known of kept vectors, apart from their type: the code is compiled once.
#[derive(Default)]
struct Shelf {
    /// By capacity; the longest kept in front. No queue is empty.
    by_capacity: BTreeMap<usize, VecDeque<Idle>>,
    /// Places that are free.
    free: Vec<usize>,
    places: usize,
    bytes: usize,
    ticks: u64,
}

struct Idle {
    since: u64,
    bytes: usize,
    place: usize,
}

impl<T> Spare<T> {
    /// Keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let kept = Kept { shelf: Shelf::default(), vecs: Vec::new() };
        Spare { limit, kept: Mutex::new(kept) }
    }

    /// An empty vector with room for `n`: the smallest kept one that has it, else a new one.
    pub(crate) fn take(&self, n: usize) -> Vec<T> {
        let kept = self.lock().take(n);
        kept.unwrap_or_else(|| Vec::with_capacity(n))
    }

    /// Empties a vector and keeps it.
    pub(crate) fn give(&self, mut vec: Vec<T>) {
        // Outside the lock: this may run foreign code.
        vec.clear();
        let bytes = bytes_of(&vec);
        if bytes == 0 || bytes > self.limit {
            return;
        }
        let mut released = Vec::new();
        let mut kept = self.lock();
        while kept.shelf.bytes > self.limit - bytes {
            let place = kept.shelf.release_longest_idle();
            released.extend(place.map(|place| kept.vec(place)));
        }
        kept.insert(vec);
        drop(kept);
        // Giving memory back to the system can take long; others need not wait for it.
        drop(released);
    }

    /// To be called once per batch: releases what has not been taken for 16 batches.
    pub(crate) fn tick(&self) {
        let mut kept = self.lock();
        kept.shelf.ticks += 1;
        let places = kept.shelf.release_idle();
        let released: Vec<_> = places.into_iter().map(|place| kept.vec(place)).collect();
        drop(kept);
        drop(released);
    }

    /// The bytes kept now.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().shelf.bytes
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        // No foreign code runs under this lock: the vectors are empty.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn insert(&mut self, vec: Vec<T>) {
        let place = self.shelf.insert(vec.capacity(), bytes_of(&vec));
        if place == self.vecs.len() {
            self.vecs.push(vec);
        } else {
            self.vecs[place] = vec;
        }
    }

    fn take(&mut self, n: usize) -> Option<Vec<T>> {
        let place = self.shelf.take(n)?;
        Some(self.vec(place))
    }

    fn vec(&mut self, place: usize) -> Vec<T> {
        std::mem::take(&mut self.vecs[place])
    }
}

impl Shelf {
    /// The place for one more, which may be the next new one.
    fn insert(&mut self, capacity: usize, bytes: usize) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places += 1;
            self.places - 1
        });
        self.bytes += bytes;
        let since = self.ticks;
        let idle = Idle { since, bytes, place };
        self.by_capacity.entry(capacity).or_default().push_back(idle);
        place
    }

    /// The place of the smallest one with room for `n`.
    fn take(&mut self, n: usize) -> Option<usize> {
        let mut at_least = self.by_capacity.range_mut(n..);
        let (&capacity, queue) = at_least.next()?;
        // The last one has the warmest memory, and the others may grow old.
        let idle = queue.pop_back()?;
        if queue.is_empty() {
            self.by_capacity.remove(&capacity);
        }
        Some(self.gone(idle))
    }

    fn release_longest_idle(&mut self) -> Option<usize> {
        let since = |queue: &VecDeque<Idle>| queue.front().map(|idle| idle.since);
        let queues = self.by_capacity.iter();
        let (&capacity, _) = queues.min_by_key(|(_, queue)| since(queue))?;
        let queue = self.by_capacity.get_mut(&capacity)?;
        let idle = queue.pop_front()?;
        if queue.is_empty() {
            self.by_capacity.remove(&capacity);
        }
        Some(self.gone(idle))
    }

    fn release_idle(&mut self) -> Vec<usize> {
        let (mut released, ticks) = (Vec::new(), self.ticks);
        self.by_capacity.retain(|_, queue| {
            while let Some(idle) = queue.pop_front_if(|idle| ticks - idle.since >= IDLE_TICKS) {
                released.push(idle);
            }
            !queue.is_empty()
        });
        released.into_iter().map(|idle| self.gone(idle)).collect()
    }

    fn gone(&mut self, idle: Idle) -> usize {
        self.bytes -= idle.bytes;
        self.free.push(idle.place);
        idle.place
    }
}

impl<T> fmt::Debug for Spare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare")
            .field("limit", &self.limit)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

fn bytes_of<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;

    type Record = (u16, u32);

    /// How hash values are made of keys: well spread, in few chains, all equal.
    const HASHES: [fn(u16) -> u32; 4] = [
        |key| hash32(u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        |key| u32::from(key),
        |key| u32::from(key % 3) << 30,
        |_| u32::MAX,
    ];

    fn append(mut old: Vec<u32>, new: Vec<u32>) -> Vec<u32> {
        old.extend(new);
        old
    }

    /// Keys in first-seen order with their values in order of arrival, by std's means.
    fn reference(records: &[Record]) -> Vec<(u16, Vec<u32>)> {
        let mut order = Vec::new();
        let mut map: HashMap<u16, Vec<u32>> = HashMap::new();
        for &(key, val) in records {
            let vals = map.entry(key).or_default();
            if vals.is_empty() {
                order.push(key);
            }
            vals.push(val);
        }
        let with_vals = order.into_iter().map(|key| (key, map[&key].clone()));
        with_vals.collect()
    }

    fn pairs(entries: &[Entry<u16, Vec<u32>>]) -> Vec<(u16, Vec<u32>)> {
        let pairs = entries.iter().map(|e| (e.key, e.val.clone()));
        pairs.collect()
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let keys = prop_oneof![0..8u16, 0..300u16, any::<u16>()];
        let max = if cfg!(miri) { 40 } else { 400 };
        prop::collection::vec((keys, any::<u32>()), 0..max)
    }

    /// Capacities in a model of `Spare<u64>`.
    fn bytes_in(model: &[(usize, usize)]) -> usize {
        model.iter().map(|kept| kept.0 * 8).sum()
    }

    fn config() -> ProptestConfig {
        if cfg!(miri) {
            ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() }
        } else {
            ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn table_folds_like_a_hash_map(
            records in records(), which in 0..4usize, room in 0..500usize,
        ) {
            let hash = HASHES[which];
            let mut table = Table::with_capacity(room);
            for &(key, val) in &records {
                table.add(hash(key), key, vec![val], append);
            }
            let expected = reference(&records);
            prop_assert_eq!(table.len(), expected.len());
            for (key, vals) in &expected {
                prop_assert_eq!(table.get(hash(*key), key), Some(vals));
            }
            prop_assert!(table.entries().iter().all(|e| e.hash == hash(e.key)));
            prop_assert_eq!(pairs(&table.into_entries()), expected);
        }

        #[test]
        fn groups_keep_the_order(records in records(), which in 0..4usize) {
            let hash = HASHES[which];
            let mut groups = Groups::new(Table::with_capacity(0));
            for &(key, val) in &records {
                groups.push(hash(key), key, vec![val], &ByReduce(append));
            }
            let table = groups.finish(&ByReduce(append));
            prop_assert_eq!(pairs(table.entries()), reference(&records));
        }

        #[test]
        fn merging_by_reference_is_adding_one_after_the_other(
            first in records(), second in records(), which in 0..4usize, room in 0..500usize,
        ) {
            let hash = HASHES[which];
            let combine = |records: &[Record]| {
                let mut table = Table::with_capacity(0);
                for &(key, val) in records {
                    table.merge_from(hash(key), &key, &vec![val], append);
                }
                table.into_parts()
            };
            let (left, index) = combine(&first);
            let (right, _) = combine(&second);
            let mut table = Table::from_distinct(left, room, index);
            table.merge_all_from(&right, append);
            prop_assert_eq!(pairs(table.entries()), reference(&[first, second].concat()));
        }

        #[test]
        fn panicking_merge_takes_out_only_its_key(
            records in records(), which in 0..4usize, bad in any::<prop::sample::Index>(),
        ) {
            let hash = HASHES[which];
            let alive = Arc::new(());
            let mut table = Table::with_capacity(0);
            for &(key, _) in &records {
                table.add(hash(key), (key, alive.clone()), alive.clone(), |old, _| old);
            }
            let mut left: Vec<u16> = reference(&records).into_iter().map(|(key, _)| key).collect();
            prop_assert_eq!(Arc::strong_count(&alive), 1 + 2 * left.len());
            if !left.is_empty() {
                let key = left.remove(bad.index(left.len()));
                let add = || {
                    let new = ((key, alive.clone()), alive.clone());
                    table.add(hash(key), new.0, new.1, |_, _| resume_unwind(Box::new(())));
                };
                prop_assert!(catch_unwind(AssertUnwindSafe(add)).is_err());
                prop_assert!(table.get(hash(key), &(key, alive.clone())).is_none());
            }
            prop_assert_eq!(Arc::strong_count(&alive), 1 + 2 * left.len());
            let keys: Vec<u16> = table.entries().iter().map(|e| e.key.0).collect();
            prop_assert_eq!(&keys, &left);
            // The index still leads to all of them.
            for key in left {
                table.add(hash(key), (key, alive.clone()), alive.clone(), |old, _| old);
            }
            prop_assert_eq!(table.len(), keys.len());
            drop(table);
            prop_assert_eq!(Arc::strong_count(&alive), 1);
        }

        #[test]
        fn spare_is_bounded_and_takes_the_smallest_that_fits(
            steps in prop::collection::vec((0..3u8, 0..100usize), 0..200), limit in 0..2000usize,
        ) {
            let spare = Spare::<u64>::new(limit);
            // Capacities kept and since which tick, oldest first.
            let (mut model, mut now) = (Vec::<(usize, usize)>::new(), 0);
            for (step, n) in steps {
                match step {
                    0 => {
                        let best = (0..model.len()).rev().filter(|&i| model[i].0 >= n);
                        let best = best.min_by_key(|&i| model[i].0);
                        let expected = best.map_or(n, |i| model.remove(i).0);
                        prop_assert_eq!(spare.take(n).capacity(), expected);
                    }
                    1 => {
                        spare.give(Vec::with_capacity(n));
                        if n > 0 && n * 8 <= limit {
                            while bytes_in(&model) + n * 8 > limit {
                                // Of those kept since the same batch, the smallest goes first.
                                let since = |&i: &usize| (model[i].1, model[i].0);
                                let longest = (0..model.len()).min_by_key(since);
                                model.remove(longest.expect("something is kept"));
                            }
                            model.push((n, now));
                        }
                    }
                    _ => {
                        for _ in 0..n % 7 {
                            spare.tick();
                            now += 1;
                        }
                        model.retain(|k| now - k.1 < 16);
                    }
                }
                prop_assert_eq!(spare.bytes(), bytes_in(&model));
                prop_assert!(spare.bytes() <= limit);
            }
        }
    }

    #[test]
    fn many_equal_hashes_are_slow_but_right() {
        let n = if cfg!(miri) { 200 } else { 5000 };
        let mut table = Table::with_capacity(0);
        for round in 0..2 {
            for key in 0..n {
                table.add(7, key, 1, |a, b| a + b);
            }
            assert_eq!(table.len(), n, "round {round}");
        }
        let entries = table.into_entries();
        assert!(entries.iter().enumerate().all(|(i, e)| (e.key, e.val) == (i, 2)));
    }

    #[test]
    fn table_drops_keys_and_values_once() {
        let alive = Arc::new(());
        let mut groups = Groups::new(Table::with_capacity(0));
        for i in 0..500 {
            let hash = ((i % 200) << 25) | (i % 200);
            groups.push(hash, (i % 200, alive.clone()), alive.clone(), &ByReduce(|_, new| new));
        }
        // 480 were added to 200 entries, 20 wait.
        assert_eq!(Arc::strong_count(&alive), 1 + 2 * 200 + 2 * 20);
        drop(groups);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn panicking_merge_in_a_group_loses_the_rest_of_the_group() {
        let alive = Arc::new(());
        let mut groups = Groups::new(Table::with_capacity(0));
        let merge = |_, _| resume_unwind(Box::new(()));
        let keys = (0..20).chain([4]).chain(20..40);
        let push = || {
            for key in keys {
                groups.push(key, (key, alive.clone()), alive.clone(), &ByReduce(merge));
            }
        };
        assert!(catch_unwind(AssertUnwindSafe(push)).is_err());
        let table = groups.finish(&ByReduce(merge));
        assert_eq!(table.len(), 19);
        assert_eq!(Arc::strong_count(&alive), 1 + 2 * 19);
    }

    #[test]
    fn memory_of_a_used_table_is_not_remembered() {
        let mut table = Table::with_capacity(0);
        for key in 0..1000u32 {
            table.add(key, key, key.to_string(), |_, new| new);
        }
        let (entries, index) = table.into_parts();
        let place = entries.as_ptr();
        let mut table = Table::with_memory(10, index, entries);
        assert!(table.is_empty());
        table.add(5, 5, String::new(), |_, new| new);
        assert_eq!(table.len(), 1);
        assert_eq!(table.entries().as_ptr(), place);
    }

    #[test]
    fn key_groups_lie_in_one_partition_up_to_256() {
        for parts in [1, 2, 3, 7, 100, 255, 256] {
            let of_group = |group: u32| part_of(group << 24, parts);
            for group in 0..256 {
                assert_eq!(of_group(group), group as usize * parts / 256);
                assert_eq!(of_group(group), part_of(group << 24 | 0xFF_FFFF, parts));
                assert_eq!(u32::from(group_of(group << 24 | 5)), group);
            }
            let reached: Vec<_> = (0..256).map(of_group).collect();
            assert!((0..parts).all(|part| reached.contains(&part)));
        }
    }

    #[test]
    fn all_partitions_are_reached_beyond_256() {
        for parts in [257, 1000, 1024] {
            let mut reached = vec![false; parts];
            for hash in (0..=u32::MAX).step_by(1 << 20) {
                reached[part_of(hash, parts)] = true;
            }
            reached[part_of(u32::MAX, parts)] = true;
            assert!(reached.iter().all(|&r| r), "{parts}");
        }
    }

    #[test]
    fn spare_empties_what_it_is_given() {
        let alive = Arc::new(());
        let spare = Spare::new(1 << 10);
        spare.give(vec![alive.clone(); 5]);
        assert_eq!(Arc::strong_count(&alive), 1);
        let vec = spare.take(3);
        assert!(vec.is_empty() && vec.capacity() == 5);
        assert_eq!(spare.bytes(), 0);
        // Nothing to keep of these.
        spare.give(Vec::new());
        let units = Spare::new(1 << 10);
        units.give(vec![(); 5]);
        assert_eq!(units.bytes(), 0);
    }
}
