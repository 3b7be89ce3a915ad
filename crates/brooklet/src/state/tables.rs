//! The state of one stateful operator: a table for each key group of each partition.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::cell::State;
use super::durable::{self, Collect};
use super::group::{FAR, Group, NEAR};
use super::limit::Bounded;
use super::watch::Tally;
use crate::Time;
use crate::checkpoint::DeltaBuilder;
use crate::data::{Key, Wire};
use crate::engine::{Site, TaskError};
use crate::rdd::combine::group_of;
use crate::sync::{LockExt, Mutex, MutexGuard};
use crate::time::Stopwatch;

/// Key groups.
const GROUPS: usize = 256;

/// One partition.
struct Partition<K, S, X> {
    groups: Vec<Option<Box<Group<K, S>>>>,
    /// The batch that changed it last; [`Time::ZERO`] before the first.
    version: Time,
    /// The batches whose changes can be undone or are remembered, oldest first.
    history: Vec<Past<X>>,
    /// What the operator keeps beside the keys.
    extra: X,
    tally: Tally,
}

/// A batch that can be undone.
struct Past<X> {
    t: Time,
    /// The batch before it, and what was kept beside the keys then.
    base: Time,
    extra: X,
    tally: Tally,
}

/// What an operator keeps in each partition beside its keys.
pub(crate) trait Beside: Clone + Default + Send + 'static {}
impl<X: Clone + Default + Send + 'static> Beside for X {}

/// All partitions. `X` is what the operator keeps in each beside its keys; it is cloned for every batch.
pub(crate) struct Tables<K, S, X = ()> {
    parts: Vec<Mutex<Partition<K, S, X>>>,
    site: Site,
    by_time: bool,
    limit: Option<Bounded>,
    /// Somebody knows numbers of slots: they stay.
    fixed: bool,
    /// Versions up to this time are forgotten.
    forgotten: AtomicU64,
    /// Keys of each partition, as of its last batch.
    keys: Vec<AtomicUsize>,
    /// Batches that were undone.
    undone: AtomicU64,
    longest: Longest,
}

/// The longest of what a batch does beside the user's functions, in nanoseconds.
#[derive(Default)]
pub(super) struct Longest {
    pub(super) encoding: AtomicU64,
    /// Of groups that are gone: how many rebuilds, and the longest.
    pub(super) rebuilds: AtomicU64,
    pub(super) rebuild: AtomicU64,
    pub(super) time_outs: AtomicU64,
    pub(super) undo: AtomicU64,
}

impl<K: Key, S: Wire, X: Beside> Tables<K, S, X> {
    /// `by_time`: it is known when keys were touched, for time-outs.
    pub(crate) fn new(partitions: usize, by_time: bool, site: Site) -> Self {
        let part = || Partition {
            groups: (0..GROUPS).map(|_| None).collect(),
            version: Time::ZERO,
            history: Vec::new(),
            extra: X::default(),
            tally: Tally::default(),
        };
        Tables {
            parts: (0..partitions).map(|_| Mutex::new(part())).collect(),
            site,
            by_time,
            limit: None,
            fixed: false,
            forgotten: AtomicU64::new(0),
            keys: (0..partitions).map(|_| AtomicUsize::new(0)).collect(),
            undone: AtomicU64::new(0),
            longest: Longest::default(),
        }
    }

    /// The same with slots that keep their numbers as long as their keys are there; the tables don't shrink.
    pub(crate) fn with_fixed_slots(mut self) -> Self {
        self.fixed = true;
        self
    }

    pub(crate) fn partitions(&self) -> usize {
        self.parts.len()
    }

    /// Keys that have a state, as of the last batch.
    pub(crate) fn keys(&self) -> usize {
        self.keys.iter().map(|n| n.load(Relaxed)).sum()
    }

    /// Whether it is known when keys were touched.
    pub(crate) fn by_time(&self) -> bool {
        self.by_time
    }

    /// Begins to take over the state of batch `t`, as all that there is.
    pub(crate) fn begin_load(&self, t: Time) -> Load<'_, K, S, X> {
        let groups = || (0..GROUPS).map(|_| Vec::new()).collect();
        let parts = self.parts.iter().map(|_| groups()).collect();
        Load { tables: self, t, parts }
    }

    /// Every key of a partition with hash, value and the batch that touched it last.
    pub(crate) fn each<E>(
        &self,
        part: usize,
        mut f: impl FnMut(u32, &K, &S, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let p = self.parts[part].get();
        p.groups.iter().flatten().try_for_each(|g| g.each(&mut f))
    }

    /// The place of a key that is there.
    pub(crate) fn place(&self, part: usize, hash: u32, key: &K) -> Option<Place> {
        let p = self.parts[part].get();
        let slot = p.groups[usize::from(group_of(hash))].as_ref()?.find(hash, key)?;
        Some(Place::new(hash, slot))
    }

    /// A partition as it is, to look at. Nothing is changed or undone.
    pub(crate) fn look(&self, part: usize) -> Lease<'_, K, S, X> {
        let p = self.parts[part].get();
        let t = p.version;
        Lease { tables: self, part, p, base: t, t, committed: true }
    }

    /// Looks at what is kept beside the keys of a partition, or changes it before the first batch.
    pub(crate) fn beside<R>(&self, part: usize, f: impl FnOnce(&mut X) -> R) -> R {
        f(&mut self.parts[part].get().extra)
    }

    /// Versions up to `up_to` won't be read any more. Carried out with the next batch.
    pub(crate) fn forget(&self, up_to: Time) {
        self.forgotten.fetch_max(up_to.millis(), Relaxed);
    }

    /// The right to change partition `part` from version `base` to `t`. Whatever was changed since `base` is
    /// undone first: attempts that failed later, batches that were skipped. Undone, too, when the lease is
    /// dropped without [`Lease::commit`].
    pub(crate) fn lease(
        &self,
        part: usize,
        base: Time,
        t: Time,
    ) -> Result<Lease<'_, K, S, X>, TaskError> {
        let mut guard = self.parts[part].get();
        let p = &mut *guard;
        if p.version != base {
            self.undo_to(p, base);
        }
        if p.version != base {
            return Err(self.gone(part, base, p.version));
        }
        let forgotten = Time::from_millis(self.forgotten.load(Relaxed));
        if p.history.first().is_some_and(|b| b.t <= forgotten) {
            p.history.retain(|b| b.t > forgotten);
            for g in p.groups.iter_mut().flatten() {
                g.forget(forgotten);
            }
        }
        p.history.push(Past { t, base, extra: p.extra.clone(), tally: p.tally });
        p.version = t;
        Ok(Lease { tables: self, part, p: guard, base, t, committed: false })
    }

    #[cold]
    fn undo_to(&self, p: &mut Partition<K, S, X>, base: Time) {
        let watch = Stopwatch::start();
        p.undo(base);
        self.undone.fetch_add(1, Relaxed);
        watch.into_max(&self.longest.undo);
    }

    #[cold]
    fn gone(&self, part: usize, wanted: Time, there: Time) -> TaskError {
        TaskError::Input {
            message: format!(
                "state version of batch {wanted} of {} is gone: partition {part} is at batch {there}, and \
                 older versions are kept only as long as batches are remembered (`remember`)",
                self.site
            ),
        }
    }

    /// Copies what `get` makes of the records of version `t` of a partition, from `from` (0 at first) on, until
    /// `out` has `n`. Returns where to go on.
    pub(crate) fn read<U>(
        &self,
        part: usize,
        t: Time,
        from: u64,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Result<Option<u64>, TaskError> {
        let p = self.parts[part].get();
        if t.millis() <= self.forgotten.load(Relaxed) && p.version != t {
            return Err(self.gone(part, t, p.version));
        }
        self.read_known(part, &p, t, from, (out, n), get)
    }

    /// What `get` makes of the records of the version that a batch starts from, whether or not the batch, or one
    /// that was skipped, has changed them already.
    pub(crate) fn read_base<U>(
        &self,
        part: usize,
        base: Time,
        get: impl Fn(&K, &S) -> U,
    ) -> Result<Vec<U>, TaskError> {
        let (p, mut out) = (self.parts[part].get(), Vec::new());
        self.read_known(part, &p, base, 0, (&mut out, usize::MAX), |k, s| Some(get(k, s)))?;
        Ok(out)
    }

    fn read_known<U>(
        &self,
        part: usize,
        p: &Partition<K, S, X>,
        t: Time,
        from: u64,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Result<Option<u64>, TaskError> {
        if p.version != t && !p.history.iter().any(|b| b.base == t) {
            return Err(self.gone(part, t, p.version));
        }
        let mut slot = (from & 0xFFFF_FFFF) as usize;
        for g in (from >> 32) as usize..GROUPS {
            if let Some(group) = &p.groups[g]
                && let Some(next) = group.read(t, slot, (out, n), &get)
            {
                return Ok(Some((g as u64) << 32 | next as u64));
            }
            slot = 0;
        }
        Ok(None)
    }
}

impl<K, S, X> Partition<K, S, X> {
    fn len(&self) -> usize {
        self.groups.iter().flatten().map(|g| g.live()).sum()
    }

    /// Undoes batches until the version is `base`, as far as they are in the history.
    fn undo(&mut self, base: Time) {
        let Some(at) = self.history.iter().position(|b| b.base == base) else { return };
        if let Some(first) = self.history.drain(at..).next() {
            self.extra = first.extra;
            self.tally = first.tally;
        }
        for g in self.groups.iter_mut().flatten() {
            g.undo(base);
        }
        self.version = base;
    }
}

/// State being taken over.
pub(crate) struct Load<'a, K, S, X> {
    tables: &'a Tables<K, S, X>,
    t: Time,
    /// By key group, for each partition.
    parts: Vec<Vec<Vec<(u64, u32, K, S)>>>,
}

impl<K: Key, S: Wire, X: Beside> Load<'_, K, S, X> {
    pub(crate) fn put(&mut self, part: usize, hash: u32, key: K, val: S, touched: u64) {
        self.parts[part][usize::from(group_of(hash))].push((touched, hash, key, val));
    }

    /// All has come.
    pub(crate) fn done(self) {
        let by_time = self.tables.by_time;
        for (i, groups) in self.parts.into_iter().enumerate() {
            let mut p = self.tables.parts[i].get();
            for (g, mut entries) in groups.into_iter().enumerate() {
                if entries.is_empty() {
                    continue;
                }
                entries.sort_by_cached_key(|e| e.0);
                let mut group = Box::new(Group::new(by_time));
                entries.into_iter().for_each(|(at, hash, k, v)| group.load(hash, k, v, at));
                p.groups[g] = Some(group);
            }
            p.tally.bytes = self.tables.counted(&p);
            p.version = self.t;
            self.tables.keys[i].store(p.len(), Relaxed);
        }
    }
}

/// Where a key is in its partition, as long as it is there: key group and slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Place(u32);

impl Place {
    fn new(hash: u32, slot: u32) -> Place {
        Place(u32::from(group_of(hash)) << 24 | slot)
    }

    #[inline]
    pub(crate) fn group(self) -> u8 {
        (self.0 >> 24) as u8
    }

    #[inline]
    fn slot(self) -> u32 {
        self.0 & 0xFF_FFFF
    }
}

/// The right to change one partition for one batch.
pub(crate) struct Lease<'a, K: Key, S: Wire, X: Beside = ()> {
    tables: &'a Tables<K, S, X>,
    part: usize,
    p: MutexGuard<'a, Partition<K, S, X>>,
    base: Time,
    t: Time,
    committed: bool,
}

impl<K: Key, S: Wire, X: Beside> Lease<'_, K, S, X> {
    fn group(&mut self, hash: u32) -> &mut Group<K, S> {
        let by_time = self.tables.by_time;
        self.p.groups[usize::from(group_of(hash))]
            .get_or_insert_with(|| Box::new(Group::new(by_time)))
    }

    /// Before entry `i` is looked up: asks for the memory of later ones, whose hashes `hash` tells. First for
    /// the index; some entries later, when that is near, for the slot.
    #[inline]
    pub(crate) fn ahead(&self, i: usize, hash: impl Fn(usize) -> Option<u32>) {
        let group = |hash| self.p.groups[usize::from(group_of(hash))].as_deref();
        if let Some(far) = hash(i + FAR)
            && let Some(g) = group(far)
        {
            g.prefetch(far);
        }
        if let Some(near) = hash(i + NEAR)
            && let Some(g) = group(near)
        {
            g.prefetch_slot(near, true);
        }
    }

    /// Gives the state of a key to `f` and does what it wants with it.
    #[inline]
    pub(crate) fn with<R>(&mut self, hash: u32, key: &K, f: impl FnOnce(&mut State<S>) -> R) -> R {
        let t = self.t;
        self.group(hash).with(hash, key, t, f)
    }

    /// Sets the state of a key to what `f` makes of it, or removes the key: for operators' own functions. Returns
    /// where the key is, if it is there.
    #[inline]
    pub(crate) fn upsert(
        &mut self,
        hash: u32,
        key: &K,
        f: impl FnOnce(Option<&S>) -> Option<S>,
    ) -> Option<Place> {
        let t = self.t;
        let slot = self.group(hash).upsert(hash, key, t, f)?;
        Some(Place::new(hash, slot))
    }

    /// [`Lease::upsert`] of a key that is there.
    #[inline]
    pub(crate) fn upsert_at(&mut self, at: Place, f: impl FnOnce(Option<&S>) -> Option<S>) {
        let t = self.t;
        if let Some(g) = &mut self.p.groups[usize::from(at.group())] {
            g.upsert_slot(at.slot(), t, f);
        }
    }

    /// Where a key is, if it is there.
    #[inline]
    pub(crate) fn place(&self, hash: u32, key: &K) -> Option<Place> {
        let group = self.p.groups[usize::from(group_of(hash))].as_ref()?;
        Some(Place::new(hash, group.find(hash, key)?))
    }

    /// The key at a place, also when it was removed by this batch.
    pub(crate) fn key_at(&self, at: Place) -> Option<&K> {
        self.p.groups[usize::from(at.group())].as_ref()?.key_at(at.slot())
    }

    /// The state of the key at a place.
    pub(crate) fn state_at(&self, at: Place) -> Option<&S> {
        self.p.groups[usize::from(at.group())].as_ref()?.value_at(at.slot())
    }

    /// What is kept beside the keys, to look at.
    pub(crate) fn beside(&self) -> &X {
        &self.p.extra
    }

    /// What is kept beside the keys.
    pub(crate) fn extra(&mut self) -> &mut X {
        &mut self.p.extra
    }

    /// Tells `f` of keys that were touched before `before`, and removes them.
    pub(crate) fn expire(&mut self, before: Time, mut f: impl FnMut(&K, &mut State<S>)) -> usize {
        let t = self.t;
        let watch = Stopwatch::start();
        let n = self.p.groups.iter_mut().flatten().map(|g| g.expire(before, t, &mut f)).sum();
        watch.into_max(&self.tables.longest.time_outs);
        self.p.tally.expired += n as u64;
        n
    }

    /// Goes over all keys: `f` gets each with what `of` has for its place and its state, and returns the new
    /// state, or none to remove the key. Comes before any other change.
    ///
    /// # Panics
    /// When `of` isn't in the order of places, or has one twice.
    pub(crate) fn pass<V>(
        &mut self,
        of: Vec<(Place, V)>,
        mut f: impl FnMut(&K, Option<&mut V>, S) -> Option<S>,
    ) {
        let (t, mut of) = (self.t, of.into_iter().peekable());
        let mut slots = Vec::new();
        for (i, g) in self.p.groups.iter_mut().enumerate() {
            let Some(g) = g else { continue };
            slots.clear();
            while let Some((at, v)) = of.next_if(|(at, _)| usize::from(at.group()) == i) {
                slots.push((at.slot(), v));
            }
            g.pass(t, &mut slots, &mut f);
        }
        assert!(of.next().is_none(), "places in order");
    }

    /// What `get` makes of each key and state, as they are now.
    pub(crate) fn all<U>(&self, get: impl Fn(&K, &S) -> U) -> Vec<U> {
        let mut out = Vec::with_capacity(self.len());
        for g in self.p.groups.iter().flatten() {
            g.read(self.t, 0, (&mut out, usize::MAX), |k, s| Some(get(k, s)));
        }
        out
    }

    /// Keys now.
    fn len(&self) -> usize {
        self.p.len()
    }

    /// What checkpoints get of the keys, as bytes of a delta.
    pub(crate) fn collect(&self, what: Collect) -> Result<Vec<u8>, TaskError> {
        let (t, timed) = (self.t, self.tables.by_time);
        if what == Collect::Nothing {
            return Ok(Vec::new());
        }
        let watch = Stopwatch::start();
        let mut groups = self.p.groups.iter().flatten();
        let entries = match what {
            Collect::Changes => groups.clone().map(|g| g.logged(t)).sum(),
            _ => self.len(),
        };
        let mut out = DeltaBuilder::with_capacity(entries, size_of::<(K, S)>());
        let written = match what {
            Collect::Nothing => Ok(()),
            Collect::Changes => {
                let next = self.p.groups.iter().flatten().skip(1).map(Some).chain([None]);
                groups.zip(next).try_for_each(|(g, next)| {
                    next.iter().for_each(|next| next.before_changes(t));
                    g.changes(t, |hash, k, v| {
                        let v = v.map(|(s, touched)| (timed.then_some(touched), s));
                        durable::put(&mut out, group_of(hash), k, v)
                    })
                })
            }
            Collect::Whole => groups.try_for_each(|g| {
                g.each(|hash, k, s, touched| {
                    durable::put(&mut out, group_of(hash), k, Some((timed.then_some(touched), s)))
                })
            }),
        };
        written.map_err(|e| durable::not_written(self.tables.site, e))?;
        if what == Collect::Changes {
            watch.into_max(&self.tables.longest.encoding);
        }
        Ok(out.finish().into_bytes())
    }

    /// The batch is done in this partition. Tables that are mostly empty give their memory back.
    pub(crate) fn commit(mut self) {
        self.committed = true;
        self.tables.keys[self.part].store(self.p.len(), Relaxed);
        // Slots get other numbers, or go: nobody may be reading an older version.
        if self.base.millis() > self.tables.forgotten.load(Relaxed) {
            return;
        }
        let Tables { fixed, longest, .. } = self.tables;
        for slot in &mut self.p.groups {
            let Some(group) = slot else { continue };
            if group.is_unused() {
                longest.rebuilds.fetch_add(group.resizes, Relaxed);
                longest.rebuild.fetch_max(group.longest_resize.load(Relaxed), Relaxed);
                *slot = None;
            } else if !fixed {
                group.shrink();
            }
        }
    }
}

impl<K: Key, S: Wire, X: Beside> Drop for Lease<'_, K, S, X> {
    fn drop(&mut self) {
        if !self.committed {
            self.tables.undo_to(&mut self.p, self.base);
        }
    }
}

mod bounds;
mod bulk;

impl<K, S, X> fmt::Debug for Tables<K, S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({} partitions)", self.parts.len())
    }
}
