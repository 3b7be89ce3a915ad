//! Keyed states in a database, changed one by one.
//!
//! ```text
//! partition:u32 'd' hash:u32               -> (key, state, touched)*   all keys of one hash
//! partition:u32 't' touched:u64 hash:u32   ->                          where keys are looked for by time
//! ```
//! Numbers are big-endian, so that they lie in order; values are in postcard's format. Keys are compared as
//! `Eq` says, not by their bytes, and may be of any length.
//!
//! What a batch changes stays in memory as a layer over the database, and over the layers of batches that are
//! still remembered: undoing a batch drops its layer. When the next batch begins, layers that nobody can ask
//! for any more are written to the database, oldest first.

use std::cell::RefCell;
use std::collections::btree_map::{self, BTreeMap};
use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use fjall::{Database, Keyspace, OwnedWriteBatch, Readable};

use super::folder::Folder;
use super::history::History;
use super::{DiskState, db_error};
use crate::Time;
use crate::checkpoint::DeltaBuilder;
use crate::conf::defaults;
use crate::data::{Key, Wire};
use crate::engine::{Site, TaskError};
use crate::metrics::{HeavyKey, StateMetrics};
use crate::rdd::detach;
use crate::state::cell::{Left, State};
use crate::state::durable::Collect;
use crate::state::limit::Bounded;
use crate::state::store::{KeyedLease, KeyedStates, Versions};
use crate::state::watch::{Heaviest, Tally, Watched};
use crate::sync::{LockExt, Mutex, MutexGuard};

/// A key, its state, and the batch that touched it last.
#[derive(Clone)]
struct Entry<K, S> {
    key: K,
    state: S,
    touched: u64,
}

/// All keys of one hash, as a batch leaves them.
struct Changed<K, S> {
    now: Vec<Entry<K, S>>,
    /// What the limit counts for them, and when they were touched, before the batch.
    counted: u64,
    touched: Vec<u64>,
    changed: bool,
}

/// What a batch has changed.
struct Layer<K, S> {
    t: Time,
    by_hash: HashMap<u32, Changed<K, S>, foldhash::fast::RandomState>,
    /// The batch that has looked for expired keys in it.
    swept: Option<Time>,
}

/// A place in the index by time: all before it was removed or touched again.
type Swept = (u64, u32);

/// What undoing a batch brings back, beside its layer.
#[derive(Clone, Copy, Default)]
struct Counts {
    live: usize,
    tally: Tally,
    swept: Swept,
}

struct Partition<K, S> {
    history: History<Counts>,
    /// Not yet in the database, oldest first.
    layers: VecDeque<Layer<K, S>>,
    now: Counts,
}

/// The database, as one operator sees it.
struct Space {
    keys: Keyspace,
    db: Database,
    // Last: it goes when the database is closed.
    folder: Arc<Folder>,
}

/// All partitions of one operator.
pub(crate) struct DiskTables<K, S> {
    parts: Vec<Mutex<Partition<K, S>>>,
    disk: Arc<DiskState>,
    space: Mutex<Option<Arc<Space>>>,
    site: Site,
    by_time: bool,
    limit: Option<Bounded>,
    /// Versions up to this time are forgotten.
    forgotten: AtomicU64,
    /// Keys of each partition, as of its last batch.
    keys: Vec<AtomicUsize>,
    undone: AtomicU64,
}

impl Space {
    fn error(&self, e: impl fmt::Display) -> TaskError {
        db_error(&self.folder, e)
    }

    fn get<K: Key, S: Wire>(&self, part: usize, hash: u32) -> Result<Vec<Entry<K, S>>, TaskError> {
        match self.keys.get(data_key(part, hash)).map_err(|e| self.error(e))? {
            Some(bytes) => decode(&bytes),
            None => Ok(Vec::new()),
        }
    }

    /// The places in the index by time of a partition, from `from` on and before `until`.
    fn by_time(
        &self,
        part: usize,
        from: Swept,
        until: u64,
    ) -> impl Iterator<Item = Result<Swept, TaskError>> + use<'_> {
        let range = || time_key(part, from)..time_key(part, (until, 0));
        // Nothing is written while a batch goes on.
        let found = (from < (until, 0)).then(|| self.db.snapshot().range(&self.keys, range()));
        found.into_iter().flatten().map(|found| {
            let key = found.key().map_err(|e| self.error(e))?;
            let short = || self.error("a key of the index by time is too short");
            let (touched, hash) =
                key.get(5..).and_then(|k| k.split_at_checked(8)).ok_or_else(short)?;
            let touched = touched.try_into().map(u64::from_be_bytes).map_err(|_| short())?;
            Ok((touched, hash.try_into().map(u32::from_be_bytes).map_err(|_| short())?))
        })
    }

    /// Writes a layer.
    fn write<K: Key, S: Wire>(
        &self,
        part: usize,
        layer: &Layer<K, S>,
        by_time: bool,
    ) -> Result<(), TaskError> {
        let mut writes: OwnedWriteBatch = self.db.batch();
        for (hash, c) in &layer.by_hash {
            if c.now.is_empty() {
                writes.remove(&self.keys, data_key(part, *hash));
            } else {
                writes.insert(&self.keys, data_key(part, *hash), encode(&c.now, by_time)?);
            }
            if by_time {
                let now = times(&c.now);
                for gone in c.touched.iter().filter(|t| !now.contains(t)) {
                    writes.remove(&self.keys, time_key(part, (*gone, *hash)));
                }
                for new in now.iter().filter(|t| !c.touched.contains(t)) {
                    writes.insert(&self.keys, time_key(part, (*new, *hash)), []);
                }
            }
            if writes.len() >= defaults::STATE_DISK_WRITES {
                // The layer stays until all of it is written; who reads looks there first.
                std::mem::replace(&mut writes, self.db.batch())
                    .commit()
                    .map_err(|e| self.error(e))?;
            }
        }
        writes.commit().map_err(|e| self.error(e))
    }
}

fn data_key(part: usize, hash: u32) -> [u8; 9] {
    let mut key = [0; 9];
    key[..4].copy_from_slice(&(part as u32).to_be_bytes());
    key[4] = b'd';
    key[5..].copy_from_slice(&hash.to_be_bytes());
    key
}

fn time_key(part: usize, (touched, hash): Swept) -> [u8; 17] {
    let mut key = [0; 17];
    key[..4].copy_from_slice(&(part as u32).to_be_bytes());
    key[4] = b't';
    key[5..13].copy_from_slice(&touched.to_be_bytes());
    key[13..].copy_from_slice(&hash.to_be_bytes());
    key
}

/// `touched` is written only where it is asked for.
fn encode<K: Key, S: Wire>(entries: &[Entry<K, S>], by_time: bool) -> Result<Vec<u8>, TaskError> {
    entries.iter().try_fold(Vec::new(), |bytes, e| {
        let touched = if by_time { e.touched } else { 0 };
        postcard::to_extend(&(&e.key, &e.state, touched), bytes).map_err(TaskError::codec::<(K, S)>)
    })
}

fn decode<K: Key, S: Wire>(mut bytes: &[u8]) -> Result<Vec<Entry<K, S>>, TaskError> {
    let mut all = Vec::with_capacity(1);
    while !bytes.is_empty() {
        let (entry, rest) = postcard::take_from_bytes(bytes).map_err(TaskError::codec::<(K, S)>)?;
        let (key, state, touched) = entry;
        all.push(Entry { key, state, touched });
        bytes = rest;
    }
    Ok(all)
}

/// When these were touched, each time once.
fn times<K, S>(entries: &[Entry<K, S>]) -> Vec<u64> {
    let mut all = Vec::with_capacity(entries.len());
    for e in entries {
        if !all.contains(&e.touched) {
            all.push(e.touched);
        }
    }
    all
}

impl<K: Key, S: Wire> DiskTables<K, S> {
    /// `by_time`: keys are listed by when they were touched, for time-outs and for a limit that lets the oldest
    /// go.
    pub(crate) fn new(
        partitions: usize,
        by_time: bool,
        limit: Option<Bounded>,
        site: Site,
        disk: Arc<DiskState>,
    ) -> Self {
        debug_assert!(by_time || !limit.is_some_and(|l| l.evicts()));
        let part = || Partition {
            history: History::default(),
            layers: VecDeque::new(),
            now: Counts::default(),
        };
        DiskTables {
            parts: (0..partitions).map(|_| Mutex::new(part())).collect(),
            disk,
            space: Mutex::default(),
            site,
            by_time,
            limit,
            forgotten: AtomicU64::new(0),
            keys: (0..partitions).map(|_| AtomicUsize::new(0)).collect(),
            undone: AtomicU64::new(0),
        }
    }

    /// Versions up to `up_to` won't be read any more. Carried out with the next batch.
    pub(crate) fn forget(&self, up_to: Time) {
        self.forgotten.fetch_max(up_to.millis(), Relaxed);
    }

    fn space(&self) -> Result<Arc<Space>, TaskError> {
        let mut space = self.space.get();
        if let Some(space) = &*space {
            return Ok(space.clone());
        }
        let (db, keys, folder) = self.disk.space()?;
        Ok(space.insert(Arc::new(Space { keys, db, folder })).clone())
    }

    /// Version `t` of a partition from its beginning.
    fn cursor(&self, p: &Partition<K, S>, part: usize, t: Time) -> Result<Cursor<K, S>, TaskError> {
        let space = self.space()?;
        let mut over = BTreeMap::new();
        for layer in p.layers.iter().filter(|l| l.t <= t) {
            for (hash, c) in &layer.by_hash {
                over.insert(*hash, c.now.clone());
            }
        }
        let range = data_key(part, 0)..=data_key(part, u32::MAX);
        let below = space.db.snapshot().range(&space.keys, range).peekable();
        Ok(Cursor { below, over: over.into_iter().peekable(), ready: Vec::new(), space })
    }
}

/// A place in a version.
pub(crate) struct Cursor<K, S> {
    below: Peekable<fjall::Iter>,
    over: Peekable<btree_map::IntoIter<u32, Vec<Entry<K, S>>>>,
    /// What is next, last first.
    ready: Vec<Entry<K, S>>,
    space: Arc<Space>,
}

impl<K: Key, S: Wire> Cursor<K, S> {
    fn next(&mut self) -> Result<Option<Entry<K, S>>, TaskError> {
        loop {
            if let Some(e) = self.ready.pop() {
                return Ok(Some(e));
            }
            match self.below.next() {
                None => match self.over.next() {
                    Some((_, entries)) => self.ready = entries,
                    None => return Ok(None),
                },
                Some(found) => {
                    let (key, bytes) = found.into_inner().map_err(|e| self.space.error(e))?;
                    let hash = key.get(5..).and_then(|h| h.try_into().ok()).map(u32::from_be_bytes);
                    let hash = hash.ok_or_else(|| self.space.error("a key is too short"))?;
                    // Those that are only in the layers, up to here.
                    let mut covered = false;
                    while let Some((h, entries)) = self.over.next_if(|(h, _)| *h <= hash) {
                        covered |= h == hash;
                        self.ready.extend(entries);
                    }
                    if !covered {
                        self.ready.extend(decode(&bytes)?);
                    }
                }
            }
        }
    }
}

impl<K: Key, S: Wire> Versions for DiskTables<K, S> {
    type Key = K;
    type State = S;
    type At = Cursor<K, S>;

    fn partitions(&self) -> usize {
        self.parts.len()
    }

    fn keys(&self) -> usize {
        self.keys.iter().map(|n| n.load(Relaxed)).sum()
    }

    fn open(&self, part: usize, t: Time) -> Result<Cursor<K, S>, TaskError> {
        let p = self.parts[part].get();
        let newest = p.history.version == t;
        let forgotten = t.millis() <= self.forgotten.load(Relaxed);
        if !newest && (forgotten || p.history.before(t).is_none()) {
            return Err(p.history.gone(self.site, part, t));
        }
        self.cursor(&p, part, t)
    }

    fn next<U>(
        &self,
        at: &mut Cursor<K, S>,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Result<bool, TaskError> {
        while out.len() < n {
            let Some(e) = at.next()? else { return Ok(false) };
            out.extend(get(&e.key, &e.state));
        }
        Ok(true)
    }
}

impl<K: Key, S: Wire> KeyedStates for DiskTables<K, S> {
    type Lease<'a> = DiskLease<'a, K, S>;

    fn lease(&self, part: usize, base: Time, t: Time) -> Result<DiskLease<'_, K, S>, TaskError> {
        let space = self.space()?;
        let mut p = self.parts[part].get();
        if p.history.version != base {
            self.undone.fetch_add(1, Relaxed);
            p.undo(base);
        }
        if p.history.version != base {
            return Err(p.history.gone(self.site, part, base));
        }
        let forgotten = Time::from_millis(self.forgotten.load(Relaxed));
        p.history.forget(forgotten);
        while p.layers.front().is_some_and(|l| l.t <= forgotten) {
            // One that can't be written stays; the next attempt writes all of it again.
            if let Some(layer) = p.layers.front() {
                space.write(part, layer, self.by_time)?;
            }
            p.layers.pop_front();
        }
        let before = p.now;
        p.history.begin(t, before);
        p.layers.push_back(Layer { t, by_hash: HashMap::default(), swept: None });
        Ok(DiskLease { tables: self, space, part, p, base, t, committed: false })
    }
}

impl<K, S> Partition<K, S> {
    fn undo(&mut self, base: Time) {
        let Some(before) = self.history.undo(base) else { return };
        self.now = before;
        self.layers.retain(|l| l.t <= base);
        for layer in &mut self.layers {
            layer.swept = layer.swept.filter(|t| *t <= base);
        }
    }
}

/// The right to change one partition for one batch.
pub(crate) struct DiskLease<'a, K, S> {
    tables: &'a DiskTables<K, S>,
    space: Arc<Space>,
    part: usize,
    p: MutexGuard<'a, Partition<K, S>>,
    base: Time,
    t: Time,
    committed: bool,
}

impl<K: Key, S: Wire> DiskLease<'_, K, S> {
    /// The keys of a hash, for this batch to change, and the counts of the partition.
    fn load(&mut self, hash: u32) -> Result<(&mut Changed<K, S>, &mut Counts), TaskError> {
        let Partition { layers, now: counts, .. } = &mut *self.p;
        let Some(newest) = layers.len().checked_sub(1) else {
            return Err(TaskError::Bug("a lease without a layer".into()));
        };
        let older = layers.iter().take(newest).rev().find_map(|l| l.by_hash.get(&hash));
        let older = match older {
            _ if layers[newest].by_hash.contains_key(&hash) => Vec::new(),
            Some(c) => c.now.clone(),
            None => self.space.get(self.part, hash)?,
        };
        let changed = match layers[newest].by_hash.entry(hash) {
            Place::Occupied(c) => c.into_mut(),
            Place::Vacant(place) => {
                let touched = if self.tables.by_time { times(&older) } else { Vec::new() };
                let limit = &self.tables.limit;
                let count = |e: &Entry<K, S>| limit.map_or(0, |l| l.count(&e.key, &e.state));
                let counted = older.iter().map(count).sum();
                place.insert(Changed { now: older, counted, touched, changed: false })
            }
        };
        Ok((changed, counts))
    }

    /// Gives the keys of a hash that `which` chooses to `f`, which returns the state if the key stays.
    fn remove_from(
        &mut self,
        hash: u32,
        which: impl Fn(u64) -> bool,
        mut f: impl FnMut(&K, S) -> Option<S>,
    ) -> Result<(), TaskError> {
        let (changed, counts) = self.load(hash)?;
        let mut i = 0;
        while i < changed.now.len() {
            if !which(changed.now[i].touched) {
                i += 1;
                continue;
            }
            let Entry { key, state, touched } = changed.now.remove(i);
            if let Some(state) = f(&key, state) {
                changed.now.insert(i, Entry { key, state, touched });
                i += 1;
            } else {
                changed.changed = true;
                counts.live -= 1;
            }
        }
        Ok(())
    }

    /// The hashes of a layer, in an order that is the same for every attempt.
    fn hashes(&self, layer: usize) -> Vec<u32> {
        let mut all: Vec<u32> = self.p.layers[layer].by_hash.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Removes the oldest keys until the partition counts `share`.
    fn evict(&mut self, bounded: Bounded, mut has: u64, share: u64) -> Result<u64, TaskError> {
        let (space, from, mut evicted) = (self.space.clone(), self.p.now.swept, 0);
        for place in space.by_time(self.part, from, self.t.millis()) {
            let (touched, hash) = place?;
            // All before are gone or were touched again; of this one some may stay.
            self.p.now.swept = (touched, hash);
            self.evict_from(hash, touched, bounded, (&mut has, share), &mut evicted)?;
            if has <= share {
                break;
            }
        }
        for layer in 0..self.p.layers.len() {
            if has <= share {
                break;
            }
            let t = self.p.layers[layer].t;
            for hash in self.hashes(layer) {
                self.evict_from(hash, t.millis(), bounded, (&mut has, share), &mut evicted)?;
            }
        }
        self.p.now.tally.evicted += evicted;
        Ok(has)
    }

    fn evict_from(
        &mut self,
        hash: u32,
        touched: u64,
        bounded: Bounded,
        (has, share): (&mut u64, u64),
        evicted: &mut u64,
    ) -> Result<(), TaskError> {
        self.remove_from(
            hash,
            |t| t == touched,
            |key, state| {
                if *has <= share {
                    return Some(state);
                }
                *has -= bounded.count(key, &state);
                *evicted += 1;
                None
            },
        )
    }
}

impl<K: Key, S: Wire> KeyedLease for DiskLease<'_, K, S> {
    type Key = K;
    type State = S;

    fn with<R>(
        &mut self,
        hash: u32,
        key: &K,
        f: impl FnOnce(&mut State<S>) -> R,
    ) -> Result<R, TaskError> {
        let (t, by_time) = (self.t.millis(), self.tables.by_time);
        let (changed, counts) = self.load(hash)?;
        let Some(i) = changed.now.iter().position(|e| e.key == *key) else {
            let mut state = State::new(None, true, false);
            let r = f(&mut state);
            if let Left::Changed { now, .. } = state.take() {
                let (key, state) = (detach::one(key.clone()), detach::one(now));
                changed.now.push(Entry { key, state, touched: t });
                changed.changed = true;
                counts.live += 1;
            }
            return Ok(r);
        };
        // When `f` panics, the layer goes.
        let Entry { key, state, touched } = changed.now.swap_remove(i);
        let mut state = State::new(Some(state), true, false);
        let r = f(&mut state);
        let (state, is_new) = match state.take() {
            Left::Same(v) => (v, false),
            Left::Changed { now, .. } => (detach::one(now), true),
            Left::Nothing { .. } => {
                changed.changed = true;
                counts.live -= 1;
                return Ok(r);
            }
        };
        let touch = by_time && touched != t;
        changed.changed |= is_new || touch;
        let touched = if is_new || touch { t } else { touched };
        changed.now.push(Entry { key, state, touched });
        Ok(r)
    }

    fn expire(
        &mut self,
        before: Time,
        mut f: impl FnMut(&K, &mut State<S>),
    ) -> Result<(), TaskError> {
        let (space, from, live) = (self.space.clone(), self.p.now.swept, self.p.now.live);
        let old = |touched: u64| touched < before.millis();
        let mut tell = |key: &K, state: S| {
            f(key, &mut State::new(Some(state), true, true));
            None
        };
        for place in space.by_time(self.part, from, before.millis()) {
            // A place whose keys were touched again finds them newer.
            self.remove_from(place?.1, old, &mut tell)?;
        }
        self.p.now.swept = from.max((before.millis(), 0));
        for layer in 0..self.p.layers.len() {
            let l = &mut self.p.layers[layer];
            if l.t >= before || l.swept.is_some() {
                continue;
            }
            l.swept = Some(self.t);
            for hash in self.hashes(layer) {
                self.remove_from(hash, old, &mut tell)?;
            }
        }
        self.p.now.tally.expired += (live - self.p.now.live) as u64;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), TaskError> {
        let Some(bounded) = self.tables.limit else { return Ok(()) };
        let parts = self.tables.parts.len();
        let share = bounded.share(self.part, parts);
        if bounded.in_bytes()
            && let Some(layer) = self.p.layers.back()
        {
            let of = |e: &Entry<K, S>| bounded.count(&e.key, &e.state);
            let changed = || layer.by_hash.values().filter(|c| c.changed);
            let now: u64 = changed().flat_map(|c| &c.now).map(of).sum();
            let before: u64 = changed().map(|c| c.counted).sum();
            let tally = &mut self.p.now.tally;
            tally.bytes = (tally.bytes + now).saturating_sub(before);
        }
        let has = self.p.now.tally.has(&bounded, self.p.now.live);
        if has <= share {
            return Ok(());
        }
        if !bounded.evicts() {
            return Err(bounded.full(self.tables.site, (self.part, parts), has));
        }
        let has = self.evict(bounded, has, share)?;
        if bounded.in_bytes() {
            self.p.now.tally.bytes = has;
        }
        Ok(())
    }

    fn all<U>(&self, get: impl Fn(&K, &S) -> U) -> Result<Vec<U>, TaskError> {
        let mut cursor = self.tables.cursor(&self.p, self.part, self.t)?;
        let mut all = Vec::with_capacity(self.p.now.live);
        while let Some(e) = cursor.next()? {
            all.push(get(&e.key, &e.state));
        }
        Ok(all)
    }

    fn collect(&self, what: Collect) -> Result<Vec<u8>, TaskError> {
        match what {
            Collect::Nothing => Ok(DeltaBuilder::default().finish().into_bytes()),
            _ => Err(TaskError::Bug(
                "checkpoints don't store states on disk: refused at start".into(),
            )),
        }
    }

    fn commit(mut self) {
        self.committed = true;
        self.tables.keys[self.part].store(self.p.now.live, Relaxed);
        if let Some(layer) = self.p.layers.back_mut() {
            layer.by_hash.retain(|_, c| c.changed); // the others were only looked at
        }
    }
}

impl<K, S> Drop for DiskLease<'_, K, S> {
    fn drop(&mut self) {
        if !self.committed {
            let base = self.base;
            self.tables.undone.fetch_add(1, Relaxed);
            self.p.undo(base);
        }
    }
}

impl<K: Key, S: Wire> Watched for DiskTables<K, S> {
    fn forget(&self, up_to: Time) {
        DiskTables::forget(self, up_to);
    }

    fn is_on_disk(&self) -> bool {
        true
    }

    fn metrics(&self) -> StateMetrics {
        let mut all = StateMetrics {
            partitions: self.parts.len(),
            keys: Versions::keys(self) as u64,
            undone: self.undone.load(Relaxed),
            disk_bytes: self.space.get().as_ref().map_or(0, |s| s.keys.disk_space()),
            ..StateMetrics::default()
        };
        let place = size_of::<(u32, Changed<K, S>)>() + size_of::<Entry<K, S>>();
        for p in &self.parts {
            let p = p.get();
            for layer in &p.layers {
                let first = layer.by_hash.values().flat_map(|c| c.now.first()).take(32);
                let owned = first.map(|e| {
                    let (key, state) =
                        (std::slice::from_ref(&e.key), std::slice::from_ref(&e.state));
                    crate::rdd::behind(key, 1) + crate::rdd::behind(state, 1)
                });
                let owned: Vec<usize> = owned.collect();
                let each = owned.iter().sum::<usize>() / owned.len().max(1);
                all.bytes += (layer.by_hash.capacity() * place + layer.by_hash.len() * each) as u64;
            }
            all.timed_out += p.now.tally.expired;
            all.evicted += p.now.tally.evicted;
        }
        all
    }

    fn heaviest(&self, n: usize) -> Result<Vec<HeavyKey>, TaskError> {
        let heaviest = RefCell::new(Heaviest::new(n));
        for (part, p) in self.parts.iter().enumerate() {
            // Batches may go on after this: what is read is as it is now.
            let mut cursor = {
                let p = p.get();
                self.cursor(&p, part, p.history.version)?
            };
            while let Some(e) = cursor.next()? {
                heaviest.borrow_mut().offer(&e.key, &e.state);
            }
        }
        Ok(heaviest.into_inner().into_keys())
    }
}

impl<K, S> Drop for DiskTables<K, S> {
    fn drop(&mut self) {
        if let Some(space) = self.space.get().take()
            && let Err(e) = space.db.delete_keyspace(space.keys.clone())
        {
            tracing::warn!(operator = %self.site, error = %e, "states stay on disk until their context goes");
        }
    }
}

impl<K, S> fmt::Debug for DiskTables<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskTables({} partitions)", self.parts.len())
    }
}
