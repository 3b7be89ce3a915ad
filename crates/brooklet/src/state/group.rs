//! The keys of one key group: a small table of its own, so that growing and cleaning up pause nobody else.
//!
//! Keys and values lie in slots that keep their numbers while a key lives; an open-addressing index leads
//! from hash to slot. Values are changed in place. What a batch changes is kept in its undo log, so that the
//! batch can be undone, and older versions read, as long as they are remembered. A slot whose key was removed
//! is used again when no version needs it any more.
//!
//! What the unsafe code counts on: a slot that the index names has a key and a value.
#![allow(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;

use self::ages::{Ages, Mark};
use super::cell::{Left, State};
use super::log::{UndoLog, Was};
use super::plain;
use super::slots::Slots;
use crate::Time;
use crate::data::{Key, Wire};
use crate::rdd::combine::prefetch;
use crate::rdd::detach;
use crate::time::Stopwatch;

/// How many keys ahead memory is asked for; and that to which the first leads, when it is near.
pub(super) const FAR: usize = 16;
pub(super) const NEAR: usize = 8;

/// A pass changes few values when it is at most one in so many. After one that changed many, so many passes are taken
/// to change many too; twice as many each time that this was right.
const FEW: usize = 4;
const PASSES: u8 = 16;

/// What is known of a slot beside key and value.
#[derive(Clone, Copy)]
struct Meta {
    /// The batch that touched it last.
    touched: u64,
    hash: u32,
    /// Whether the batch of `touched` has logged the value from before it.
    kept: bool,
}

/// The changes of one batch.
struct Version<S> {
    time: Time,
    /// All values from before the batch, when it wrote all of them anew.
    whole: Option<Slots<S>>,
    ops: UndoLog<S>,
    /// Where the ages of keys stood.
    mark: Mark,
    /// Slots whose keys the batch has removed.
    removed: Vec<u32>,
}

pub(crate) struct Group<K, S> {
    /// 0: empty; else `bits 16..24 of the hash << 24 | slot + 1`. Its length is a power of two.
    index: Vec<u32>,
    keys: Slots<K>,
    vals: Slots<S>,
    meta: Vec<Meta>,
    free: Vec<u32>,
    live: usize,
    /// Filled if it is to be known which keys weren't touched for the longest time.
    ages: Ages,
    by_time: bool,
    /// How long `ages` was when it was last cleaned up.
    cleaned: usize,
    versions: VecDeque<Version<S>>,
    /// Memory of a `whole` that isn't needed any more.
    spare: Option<Slots<S>>,
    spare_ops: UndoLog<S>,
    /// How many of the next passes are taken to change many values.
    many: u8,
    /// What `many` began with after the last pass that changed many; 0 after one that didn't.
    patience: u8,
    /// Times that the index was built anew.
    pub(super) resizes: u64,
    /// The longest of them, in nanoseconds.
    pub(super) longest_resize: AtomicU64,
}

/// A key whose state is out for a call. Dropped by a panic, it puts a value back.
struct Out<'a, K, S> {
    group: &'a mut Group<K, S>,
    slot: usize,
    state: State<S>,
}

impl<K, S> Drop for Out<'_, K, S> {
    fn drop(&mut self) {
        // A value was moved out of the slot; what panicked has left one somewhere.
        match self.state.put_back() {
            Some(v) => self.group.vals.write(self.slot, v),
            None => self.group.vals.empty(self.slot),
        }
    }
}

fn tag(hash: u32) -> u32 {
    (hash >> 16) << 24
}

impl<K, S> Group<K, S> {
    pub(super) fn new(by_time: bool) -> Self {
        Group {
            index: vec![0; 8],
            keys: Slots::default(),
            vals: Slots::default(),
            meta: Vec::new(),
            free: Vec::new(),
            live: 0,
            ages: Ages::default(),
            by_time,
            cleaned: 0,
            versions: VecDeque::new(),
            spare: None,
            spare_ops: UndoLog::default(),
            many: 0,
            patience: 0,
            resizes: 0,
            longest_resize: AtomicU64::new(0),
        }
    }

    /// Whether it has no key, and no version needs one that it had.
    pub(super) fn is_unused(&self) -> bool {
        self.live == 0 && self.versions.is_empty()
    }

    /// Keys that have a value.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Bytes of memory, without what keys and values own, and without undo logs.
    pub(super) fn bytes(&self) -> usize {
        self.index.capacity() * 4
            + self.keys.bytes()
            + self.vals.bytes()
            + self.meta.capacity() * size_of::<Meta>()
            + self.free.capacity() * 4
            + self.ages.bytes()
            + size_of::<Self>()
    }

    /// Asks for the part of the index where `hash` is looked up.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        let i = hash as usize & (self.index.len() - 1);
        prefetch(self.index.as_ptr().wrapping_add(i));
    }

    /// Second step: asks for the slot that the index names, and for what is known of it beside key and value.
    #[inline]
    pub(super) fn prefetch_slot(&self, hash: u32, meta: bool) {
        let mask = self.index.len() - 1;
        let (mut i, tag) = (hash as usize & mask, tag(hash));
        let mut e = self.index[i];
        while e != 0 && e & 0xFF00_0000 != tag {
            i = (i + 1) & mask;
            e = self.index[i];
        }
        let slot = (e & 0xFF_FFFF).wrapping_sub(1) as usize;
        self.keys.prefetch(slot);
        self.vals.prefetch(slot);
        if meta {
            prefetch(self.meta.as_ptr().wrapping_add(slot));
        }
    }

    /// Asks for all that there is of a slot.
    #[inline]
    fn prefetch_place(&self, slot: u32) {
        self.keys.prefetch_all(slot as usize);
        self.vals.prefetch_all(slot as usize);
        prefetch(self.meta.as_ptr().wrapping_add(slot as usize));
    }

    pub(super) fn key_at(&self, slot: u32) -> Option<&K> {
        self.keys.get(slot as usize)
    }

    pub(super) fn value_at(&self, slot: u32) -> Option<&S> {
        self.vals.get(slot as usize)
    }

    #[inline]
    pub(super) fn prefetch_value(&self, slot: u32) {
        self.vals.prefetch(slot as usize);
    }

    /// The batch whose changes are logged now.
    #[inline]
    fn log(&mut self, t: Time) -> &mut Version<S> {
        if self.versions.back().is_none_or(|v| v.time != t) {
            let ops = std::mem::take(&mut self.spare_ops);
            self.versions.push_back(Version {
                time: t,
                whole: None,
                ops,
                mark: self.ages.mark(),
                removed: Vec::new(),
            });
        }
        let last = self.versions.len() - 1;
        &mut self.versions[last]
    }

    fn list_in(&mut self, slot: u32) {
        let mask = self.index.len() - 1;
        let hash = self.meta[slot as usize].hash;
        let mut i = hash as usize & mask;
        while self.index[i] != 0 {
            i = (i + 1) & mask;
        }
        self.index[i] = tag(hash) | (slot + 1);
    }

    /// Takes a slot out of the index; those behind it move up.
    fn list_out(&mut self, slot: u32) {
        let mask = self.index.len() - 1;
        let mut i = self.meta[slot as usize].hash as usize & mask;
        while self.index[i] & 0xFF_FFFF != slot + 1 {
            i = (i + 1) & mask;
        }
        let mut j = i;
        loop {
            j = (j + 1) & mask;
            let e = self.index[j];
            if e == 0 {
                break;
            }
            let home = self.meta[(e & 0xFF_FFFF) as usize - 1].hash as usize & mask;
            if (j.wrapping_sub(home) & mask) >= (j.wrapping_sub(i) & mask) {
                self.index[i] = e;
                i = j;
            }
        }
        self.index[i] = 0;
    }

    #[cold]
    fn reindex(&mut self, len: usize) {
        let watch = Stopwatch::start();
        let old = std::mem::replace(&mut self.index, vec![0; len]);
        self.resizes += 1;
        for e in old.into_iter().filter(|e| *e != 0) {
            self.list_in((e & 0xFF_FFFF) - 1);
        }
        watch.into_max(&self.longest_resize);
    }

    /// Whether this touch of a slot is the last one of a key that is there.
    #[inline]
    fn is_last(&self, slot: u32, time: u64) -> bool {
        self.vals.is_full(slot as usize) && self.meta[slot as usize].touched == time
    }

    /// Leaves out touches that count for no version any more, when they are many.
    fn clean(&mut self) {
        const MIN: usize = if cfg!(test) { 8 } else { 64 };
        if self.ages.len() <= 2 * self.live.max(self.cleaned) + MIN {
            return;
        }
        let mut ages = std::mem::take(&mut self.ages);
        let undoable: HashSet<u32> = self.versions.iter().flat_map(|v| v.ops.slots()).collect();
        let mut marks: Vec<Mark> = self.versions.iter().map(|v| v.mark).collect();
        ages.retain(&mut marks, |time, slot| undoable.contains(&slot) || self.is_last(slot, time));
        self.versions.iter_mut().zip(marks).for_each(|(v, mark)| v.mark = mark);
        self.cleaned = ages.len();
        self.ages = ages;
    }

    /// Marks a slot as touched by `t`; the log gets what it was before.
    #[inline]
    fn touched(&mut self, slot: u32, t: Time, was: Was<S>) {
        let meta = &mut self.meta[slot as usize];
        let touched = std::mem::replace(&mut meta.touched, t.millis());
        meta.kept = !matches!(was, Was::Same);
        self.push(t, (slot, was), touched);
        if self.by_time && touched != t.millis() {
            self.ages.push(slot, t.millis());
        }
    }

    #[inline]
    fn push(&mut self, t: Time, (slot, was): (u32, Was<S>), touched: u64) {
        let stood = self.by_time.then_some(touched);
        self.log(t).ops.push(slot, was, stood);
    }

    /// A new key with its value.
    fn insert(&mut self, hash: u32, key: K, val: S, t: Time) -> u32 {
        let slot = self.free.pop().unwrap_or(self.keys.len() as u32);
        assert!(slot < 0xFF_FFFF, "more than 16,777,214 keys in one of 256 key groups");
        let i = slot as usize;
        self.keys.grow(i + 1);
        self.vals.grow(i + 1);
        if self.meta.len() <= i {
            if self.meta.len() == self.meta.capacity() {
                self.meta.reserve_exact(self.meta.len() / 4 + 4);
            }
            self.meta.push(Meta { touched: 0, hash: 0, kept: false });
        }
        self.keys.put(i, key);
        self.vals.put(i, val);
        self.meta[i] = Meta { touched: t.millis(), hash, kept: true };
        self.live += 1;
        if self.live * 2 > self.index.len() {
            self.reindex(self.index.len() * 2);
        }
        self.list_in(slot);
        self.push(t, (slot, Was::Absent), 0);
        if self.by_time {
            self.ages.push(slot, t.millis());
        }
        slot
    }

    /// Removes a key whose value is out already.
    fn remove(&mut self, slot: u32, t: Time, was: Was<S>) {
        self.list_out(slot);
        let touched = self.meta[slot as usize].touched;
        self.live -= 1;
        self.push(t, (slot, was), touched);
        let log = self.log(t);
        log.removed.push(slot);
    }

    /// Undoes the newest batch.
    pub(super) fn undo(&mut self, newer_than: Time) {
        while self.versions.back().is_some_and(|v| v.time > newer_than) {
            let Some(mut v) = self.versions.pop_back() else { return };
            while let Some((slot, was, stood)) = v.ops.pop() {
                if let Some(next) = v.ops.len().checked_sub(FAR) {
                    v.ops.slot(next).iter().for_each(|slot| self.prefetch_place(*slot));
                }
                self.undo_one(slot, was, stood);
            }
            self.ages.undo(v.mark);
            self.keep_log(v.ops);
            if let Some(mut whole) = v.whole {
                whole.grow(self.keys.len());
                let mut spare = std::mem::replace(&mut self.vals, whole);
                spare.clear();
                self.spare = Some(spare);
            }
        }
    }

    fn undo_one(&mut self, slot: u32, was: Was<S>, touched: Option<u64>) {
        let i = slot as usize;
        let relist = matches!(was, Was::Removed(_) | Was::Unlisted);
        match was {
            Was::Absent => {
                self.list_out(slot);
                self.live -= 1;
                drop((self.vals.take(i), self.keys.take(i)));
                self.free.push(slot);
                return;
            }
            Was::Same | Was::Unlisted => {}
            Was::Value(v) | Was::Removed(v) => self.vals.put(i, v),
        }
        if relist {
            self.live += 1;
            self.list_in(slot);
        }
        match touched {
            Some(touched) => self.meta[i].touched = touched,
            None => self.meta[i].kept = false,
        }
    }

    /// Keeps the memory of a log, but for that of a pass that was taken to change few and has changed many.
    fn keep_log(&mut self, mut ops: UndoLog<S>) {
        if self.many == 0 {
            ops.clear();
            self.spare_ops = ops;
        }
    }

    /// Versions before `up_to` won't be read any more, nor will batches up to it be undone.
    pub(super) fn forget(&mut self, up_to: Time) {
        while self.versions.front().is_some_and(|v| v.time <= up_to) {
            let Some(mut v) = self.versions.pop_front() else { return };
            for slot in v.removed.drain(..) {
                drop(self.keys.take(slot as usize));
                self.free.push(slot);
            }
            self.keep_log(v.ops);
            if let Some(mut whole) = v.whole {
                whole.clear();
                self.spare = Some(whole);
            }
        }
        if self.by_time {
            self.ages.forget(self.versions.front().map(|v| v.mark));
            self.clean();
        }
    }

    /// Copies what `get` makes of the records of version `t`, from slot `from` on, until `out` has `n` or
    /// a few more. Returns the slot to go on with.
    pub(super) fn read<U>(
        &self,
        t: Time,
        from: usize,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Option<usize> {
        if self.versions.back().is_some_and(|v| v.time > t) {
            return self.read_older(t, from, (out, n), get);
        }
        self.vals.each_with(&self.keys, from, (out, n), get)
    }

    #[cold]
    fn read_older<U>(
        &self,
        t: Time,
        from: usize,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Option<usize> {
        let mut base = &self.vals;
        let mut over: HashMap<usize, Option<&S>> = HashMap::new();
        for v in self.versions.iter().rev().take_while(|v| v.time > t) {
            over.extend(v.ops.before().map(|(slot, old)| (slot as usize, old)));
            if let Some(whole) = &v.whole {
                base = whole;
                over.clear();
            }
        }
        for i in from..self.keys.len() {
            let val = over.get(&i).copied().unwrap_or_else(|| base.get(i));
            if let (Some(k), Some(v)) = (self.keys.get(i), val) {
                out.extend(get(k, v));
            }
            if out.len() >= n {
                return Some(i + 1);
            }
        }
        None
    }

    /// Every key with its hash, value and the batch that touched it last.
    pub(super) fn each<E>(
        &self,
        mut f: impl FnMut(u32, &K, &S, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        for i in 0..self.keys.len() {
            if let (Some(k), Some(v)) = (self.keys.get(i), self.vals.get(i)) {
                f(self.meta[i].hash, k, v, self.meta[i].touched)?;
            }
        }
        Ok(())
    }

    /// How many changes batch `t` has logged.
    pub(super) fn logged(&self, t: Time) -> usize {
        self.versions.back().filter(|v| v.time == t).map_or(0, |v| v.ops.len())
    }

    /// Asks for what [`Group::changes`] begins with.
    pub(super) fn before_changes(&self, t: Time) {
        if let Some(version) = self.versions.back().filter(|v| v.time == t) {
            version.ops.slots().take(FAR).for_each(|slot| self.prefetch_place(slot));
        }
    }

    /// The keys that batch `t` has changed, in the order of changes, the last one of a key being what it is now:
    /// hash, key, and value with time, or none when it is removed.
    pub(super) fn changes<E>(
        &self,
        t: Time,
        mut f: impl FnMut(u32, &K, Option<(&S, u64)>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(version) = self.versions.back().filter(|v| v.time == t) else { return Ok(()) };
        for (n, slot) in version.ops.slots().enumerate() {
            version.ops.slot(n + FAR).iter().for_each(|slot| self.prefetch_place(*slot));
            let i = slot as usize;
            let Meta { hash, touched, .. } = self.meta[i];
            if let Some(k) = self.keys.get(i) {
                f(hash, k, self.vals.get(i).map(|v| (v, touched)))?;
            }
        }
        Ok(())
    }

    /// A key that is restored; they must come in the order of `touched`.
    pub(super) fn load(&mut self, hash: u32, key: K, val: S, touched: u64) {
        self.insert(hash, key, val, Time::from_millis(touched));
        self.versions.clear();
    }

    /// Builds the table anew without its free slots, when most are free and nobody knows their numbers.
    pub(super) fn shrink(&mut self) {
        let small = self.keys.len() < 64 || self.free.len() * 4 < self.keys.len() * 3;
        if small || !self.versions.is_empty() {
            return;
        }
        let mut order: Vec<u32> = Vec::with_capacity(self.live);
        if self.by_time {
            let last = self.ages.iter().filter(|(time, slot)| self.is_last(*slot, *time));
            order.extend(last.map(|(_, slot)| slot));
        } else {
            order.extend((0..self.keys.len() as u32).filter(|i| self.vals.is_full(*i as usize)));
        }
        let mut new = Group::new(self.by_time);
        new.index = vec![0; (order.len() * 2 + 1).next_power_of_two().max(8)];
        new.resizes = self.resizes + 1;
        new.longest_resize = std::mem::take(&mut self.longest_resize);
        for old in order {
            let m = self.meta[old as usize];
            if let (Some(k), Some(v)) = (self.keys.take(old as usize), self.vals.take(old as usize))
            {
                new.insert(m.hash, k, v, Time::from_millis(m.touched));
            }
        }
        new.versions.clear();
        *self = new;
    }
}

impl<K: Key, S: Wire> Group<K, S> {
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, key: &K) -> Option<u32> {
        let mask = self.index.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let e = self.index[i];
            if e == 0 {
                return None;
            }
            if e & 0xFF00_0000 == tag(hash) {
                let slot = (e & 0xFF_FFFF) - 1;
                // SAFETY: the index names slots that have keys.
                if unsafe { self.keys.at(slot as usize) } == key {
                    return Some(slot);
                }
            }
            i = (i + 1) & mask;
        }
    }

    /// Gives the state of a key to `f` and does what it wants with it.
    pub(super) fn with<R>(
        &mut self,
        hash: u32,
        key: &K,
        t: Time,
        f: impl FnOnce(&mut State<S>) -> R,
    ) -> R {
        let Some(slot) = self.find(hash, key) else {
            let mut state = State::new(None, true, false);
            let r = f(&mut state);
            if let Left::Changed { now, .. } = state.take() {
                self.insert(hash, detach::one(key.clone()), detach::one(now), t);
            }
            return r;
        };
        self.with_slot(slot, t, false, f)
    }

    fn with_slot<R>(
        &mut self,
        slot: u32,
        t: Time,
        timing_out: bool,
        f: impl FnOnce(&mut State<S>) -> R,
    ) -> R {
        let i = slot as usize;
        let Meta { touched, kept, .. } = self.meta[i];
        let logged = touched == t.millis() && kept;
        // SAFETY: the index names slots that have values. `Out` puts a value back
        // or empties the slot if `f` panics; after it that is done below.
        let value = unsafe { self.vals.read(i) };
        let state = State::new(Some(value), logged, timing_out);
        let mut out = Out { group: self, slot: i, state };
        let r = f(&mut out.state);
        out.state.detach();
        // From here on nothing panics before the slot is filled or emptied.
        let mut out = std::mem::ManuallyDrop::new(out);
        let left = out.state.take();
        let group = &mut *out.group;
        match left {
            Left::Same(v) => {
                group.vals.write(i, v);
                if group.by_time && touched != t.millis() {
                    group.touched(slot, t, Was::Same);
                }
            }
            Left::Changed { now, before } => {
                group.vals.write(i, now);
                if let Some(before) = before {
                    group.touched(slot, t, Was::Value(before));
                }
            }
            Left::Nothing { before } => {
                group.vals.empty(i);
                if let Some(before) = before {
                    group.remove(slot, t, Was::Removed(before));
                }
            }
        }
        r
    }

    /// Sets the value of a key to what `f` makes of it, or removes the key. Returns its slot.
    #[inline]
    pub(super) fn upsert(
        &mut self,
        hash: u32,
        key: &K,
        t: Time,
        f: impl FnOnce(Option<&S>) -> Option<S>,
    ) -> Option<u32> {
        let Some(slot) = self.find(hash, key) else {
            let new = f(None)?;
            return Some(self.insert(hash, detach::one(key.clone()), detach::one(new), t));
        };
        self.upsert_slot(slot, t, f).then_some(slot)
    }

    /// [`Group::upsert`] of a key that is there, by its slot. Whether it still is.
    ///
    /// # Panics
    /// For a slot without a key.
    #[inline]
    pub(super) fn upsert_slot(
        &mut self,
        slot: u32,
        t: Time,
        f: impl FnOnce(Option<&S>) -> Option<S>,
    ) -> bool {
        let i = slot as usize;
        let new = f(self.vals.get(i)).map(detach::one);
        assert!(self.vals.is_full(i), "a slot without a key");
        // SAFETY: it is full; `write` or `empty` follows at once.
        let before = unsafe { self.vals.read(i) };
        let there = new.is_some();
        match new {
            Some(new) => {
                self.vals.write(i, new);
                self.log_value(slot, t, before);
            }
            None => {
                self.vals.empty(i);
                self.remove(slot, t, Was::Removed(before));
            }
        }
        there
    }

    /// Tells `f` of the keys that were touched before `before` and removes them, least recently touched first.
    pub(super) fn expire(
        &mut self,
        before: Time,
        t: Time,
        mut f: impl FnMut(&K, &mut State<S>),
    ) -> usize {
        let mut n = 0;
        while let Some((time, touches)) = self.ages.front()
            && time < before.millis()
        {
            for _ in 0..touches {
                if let Some(ahead) = self.ages.slot(FAR) {
                    prefetch(self.meta.as_ptr().wrapping_add(ahead as usize));
                }
                if let Some(slot) = self.ages.slot(0).filter(|slot| self.is_last(*slot, time)) {
                    self.time_out(slot, t, &mut f);
                    n += 1;
                }
                self.ages.advance();
            }
        }
        n
    }

    fn time_out(&mut self, slot: u32, t: Time, f: &mut impl FnMut(&K, &mut State<S>)) {
        let i = slot as usize;
        // SAFETY: the caller has seen that the slot has a value. `Out` puts it back if `f` panics.
        let value = unsafe { self.vals.read(i) };
        let mut out = Out { group: self, slot: i, state: State::new(Some(value), true, true) };
        if let Some(key) = out.group.keys.get(i) {
            f(key, &mut out.state);
        }
        let mut out = std::mem::ManuallyDrop::new(out);
        let value = out.state.put_back();
        out.group.vals.empty(i);
        if let Some(v) = value {
            out.group.remove(slot, t, Was::Removed(v));
        }
    }

    /// Goes over all keys, least slot first: `f` gets each key with what `of` has for its slot and its value, and
    /// returns the new value, or none to remove the key. `of` is in the order of slots.
    pub(super) fn pass<V>(
        &mut self,
        t: Time,
        of: &mut [(u32, V)],
        mut f: impl FnMut(&K, Option<&mut V>, S) -> Option<S>,
    ) {
        if self.live == 0 {
            return;
        }
        debug_assert!(self.versions.back().is_none_or(|v| v.time != t), "a pass comes first");
        let mut new = |k: &K, of: Option<&mut V>, v: &S| f(k, of, v.clone()).map(detach::one);
        if plain::is::<S>() && !self.by_time && self.many == 0 && of.len() * FEW <= self.live {
            return self.pass_in_place(t, of, new);
        }
        self.many = self.many.saturating_sub(1);
        let spare = self.spare.take().unwrap_or_default();
        let mut old = std::mem::replace(&mut self.vals, spare);
        old.grow(self.keys.len());
        // In the log from the beginning: what comes after a panic is undone from there.
        self.log(t).whole = Some(old);
        let last = self.versions.len() - 1;
        let mut gone = Vec::new();
        if let Some(old) = &self.versions[last].whole {
            self.vals.fill(&self.keys, old, &mut gone, of, &mut new);
        }
        for slot in gone {
            self.remove(slot, t, Was::Unlisted);
        }
    }

    /// A pass that changes few of the values: those that stay aren't written again.
    fn pass_in_place<V>(
        &mut self,
        t: Time,
        of: &mut [(u32, V)],
        new: impl FnMut(&K, Option<&mut V>, &S) -> Option<S>,
    ) {
        debug_assert!(!self.by_time, "the log says nothing of ages, which a pass leaves");
        self.log(t);
        let last = self.versions.len() - 1;
        let (ops, mut gone) = (&mut self.versions[last].ops, Vec::new());
        let log = |slot, before| ops.push(slot, Was::Value(before), None);
        self.vals.change(&self.keys, &mut gone, of, new, log);
        let many = ops.len() * FEW > self.live;
        self.patience = if many { self.patience.saturating_mul(2).max(PASSES) } else { 0 };
        self.many = self.patience;
        for slot in gone {
            self.upsert_slot(slot, t, |_| None);
        }
    }
}

mod ages;
mod bounds;
mod bulk;
#[cfg(test)]
mod tests;
