//! What a program gives, recomputed for each batch from all batches so far, on plain vectors: no deltas, no
//! versions, no partitions.

use std::collections::{BTreeMap, BTreeSet};

use super::program::Api;
use super::program::{
    Feed, INPUTS, Keep, Mapping, Merge, Op, POISON, Pair, Program, REFUSE, Span, Spec, Stream,
    Update,
};

/// Why a stream can't be had at a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lack {
    /// An operator needs an RDD that isn't there: nothing is even begun.
    NoRdd,
    /// Its tasks fail each time.
    Broken,
}

/// A stream at a batch: records, or nothing (no RDD).
pub type Value = Result<Option<Vec<Pair>>, Lack>;

/// More records than a test needs: the program is cut before the step with this number.
#[derive(Debug)]
pub struct TooLarge(pub usize);

/// All streams at one batch.
pub struct Batch {
    pub streams: Vec<Value>,
    /// Whether its steps succeed. If not, it leaves no trace.
    pub good: bool,
}

/// The seconds of batch `b`, which are also its number counted from one.
pub fn at(b: usize) -> u64 {
    b as u64 + 1
}

/// Every stream of the program at every batch.
pub fn batches(
    program: &Program,
    feeds: &[Feed; INPUTS],
    limit: usize,
) -> Result<Vec<Batch>, TooLarge> {
    let streams = program.streams();
    let mut all: Vec<Batch> = Vec::new();
    for b in 0..feeds[0].len() {
        let inputs = feeds.iter().map(|feed| Ok(feed[b].as_ref().map(|parts| parts.concat())));
        all.push(Batch { streams: inputs.collect(), good: true });
        for (i, stream) in streams.iter().enumerate().skip(INPUTS) {
            let Some(op) = stream.op else { continue };
            let made = if at(b).is_multiple_of(streams[stream.from[0]].slide) {
                let seen = Seen { streams: &streams, all: &all, b, stream };
                seen.value(op, limit).ok_or(TooLarge(i - INPUTS))?
            } else {
                Ok(None)
            };
            if matches!(&made, Ok(Some(v)) if v.len() > limit) {
                return Err(TooLarge(i - INPUTS));
            }
            all[b].good &= !(op.is_step() && made.is_err());
            all[b].streams.push(made);
        }
    }
    Ok(all)
}

/// What a stream is computed from: all batches up to `b`.
struct Seen<'a> {
    streams: &'a [Stream],
    all: &'a [Batch],
    b: usize,
    stream: &'a Stream,
}

/// A key's state as a function sees it.
pub trait Cell {
    fn get(&self) -> Option<i64>;
    fn set(&mut self, v: i64);
    /// Changes it in place; whether there was something.
    fn push(&mut self, v: i64) -> bool;
    fn remove(&mut self);
}

#[derive(Default)]
struct Plain(Option<i64>);

impl Cell for Plain {
    fn get(&self) -> Option<i64> {
        self.0
    }
    fn set(&mut self, v: i64) {
        self.0 = Some(v);
    }
    fn push(&mut self, v: i64) -> bool {
        self.0 = self.0.map(|s| pushed(s, v));
        self.0.is_some()
    }
    fn remove(&mut self) {
        self.0 = None;
    }
}

/// What a state is worth with another value behind it.
pub fn pushed(s: i64, v: i64) -> i64 {
    s.wrapping_mul(31).wrapping_add(v)
}

/// The function of `map_with_state`; no value when the state times out.
pub fn mapped(m: Mapping, t: u64, k: i64, v: Option<i64>, s: &mut dyn Cell) -> Option<i64> {
    let old = s.get();
    let Some(v) = v else { return old.map(|old| old.wrapping_add(1_000_003)) };
    let rest = |m: i64| v.rem_euclid(m);
    match m {
        Mapping::Sum => s.set(old.unwrap_or(0).wrapping_add(v)),
        Mapping::Append => {
            if !s.push(v) {
                s.set(v);
            }
        }
        Mapping::Look(m) => {
            if rest(m) != 0 {
                s.set(v);
            }
            return old;
        }
        Mapping::Remove(m) => {
            match rest(m) {
                0 => s.remove(),
                1 => {
                    s.set(v);
                    s.remove();
                }
                _ if s.push(v) => {}
                _ => s.set(v),
            }
            return old;
        }
        Mapping::Often(m) => {
            s.set(v);
            s.push(k);
            s.set(old.unwrap_or(5).wrapping_add(v));
            s.push(v);
            if rest(m) == 0 {
                s.remove();
            }
            return (v % 2 == 0).then_some(old.unwrap_or(0));
        }
        Mapping::Time => {
            s.set(t as i64);
            return old;
        }
    }
    s.get()
}

/// The function of `update_state_by_key`.
pub fn updated(u: Update, t: u64, k: i64, new: &[i64], old: Option<i64>) -> Option<i64> {
    let sum = new.iter().fold(old.unwrap_or(0), |a, v| a.wrapping_add(*v));
    match u {
        Update::Sum => Some(sum),
        Update::Append => Some(new.iter().fold(old.unwrap_or(k), |a, v| pushed(a, *v))),
        Update::NotZero => (sum != 0).then_some(sum),
        Update::Fade(m) if new.is_empty() => {
            old.filter(|s| s.rem_euclid(m + 1) != 0).map(|s| s.wrapping_add(1))
        }
        Update::Fade(_) => Some(sum),
        Update::Since => old.or((!new.is_empty()).then_some(t as i64)),
    }
}

/// What a function gives where it has to give something.
pub const NOTHING: i64 = -77;

/// The states that are there at first, if any; of two for a key the last one counts.
pub fn initial() -> Vec<Pair> {
    vec![(1, 7), (2, 4), (0, -3), (1, 6), (100, 1), (-5, 8), (2, 9)]
}

pub fn merge(m: Merge, a: i64, b: i64) -> i64 {
    match m {
        Merge::Add => a.wrapping_add(b),
        Merge::Xor => a ^ b,
        Merge::Max => a.max(b),
        Merge::Min => a.min(b),
    }
}

pub fn keeps(keep: Keep, k: i64, v: i64) -> bool {
    match keep {
        Keep::All => true,
        Keep::NotZero => v != 0,
        Keep::Positive => v > 0,
        Keep::EvenKeyOrPositive => k % 2 == 0 || v > 0,
    }
}

/// One number for the values of a key, in their order.
pub fn digest(values: &[i64]) -> i64 {
    values.iter().fold(17, |d, v| pushed(d, *v))
}

/// A value that is counted, with its count.
pub fn counted(v: i64, n: i64) -> i64 {
    v.wrapping_mul(1_009).wrapping_add(n)
}

pub fn joined(v: i64, w: i64) -> i64 {
    v.wrapping_mul(37).wrapping_add(w)
}

fn groups(records: &[Pair]) -> BTreeMap<i64, Vec<i64>> {
    let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    records.iter().for_each(|(k, v)| groups.entry(*k).or_default().push(*v));
    groups
}

fn reduced(records: &[Pair], m: Merge) -> Vec<Pair> {
    let of = |vs: Vec<i64>| vs.into_iter().reduce(|a, b| merge(m, a, b));
    groups(records).into_iter().filter_map(|(k, vs)| Some((k, of(vs)?))).collect()
}

impl Seen<'_> {
    /// The n-th parent at batch `b`.
    fn parent(&self, n: usize, b: usize) -> Value {
        let value = self.all[b].streams[self.stream.from[n]].clone();
        if self.stream.sums_first {
            return value.map(|v| v.map(|records| reduced(&records, Merge::Add)));
        }
        value
    }

    /// Nothing when that would be more than `limit` records.
    fn value(&self, op: Op, limit: usize) -> Option<Value> {
        if let Some(span) = op.span() {
            return Some(self.window(op, span));
        }
        let updates = matches!(op, Op::UpdateState(..) | Op::UpdateStateIter(..));
        if updates || matches!(op, Op::MapState(..) | Op::Snapshots) {
            return Some(self.parent(0, self.b).and_then(|_| self.state(op)));
        }
        let parents: Vec<Value> =
            (0..self.stream.from.len()).map(|n| self.parent(n, self.b)).collect();
        if let Some(Err(lack)) = parents.iter().find(|p| **p == Err(Lack::NoRdd)) {
            return Some(Err(*lack));
        }
        if parents.contains(&Ok(None)) {
            let needs = op.parents() == 2 || op.is_step();
            return Some(if needs { Err(Lack::NoRdd) } else { Ok(None) });
        }
        if parents.iter().any(Result::is_err) {
            return Some(Err(Lack::Broken));
        }
        let some: Vec<Vec<Pair>> = parents.into_iter().filter_map(|p| p.ok().flatten()).collect();
        if let Op::Join(_) = op {
            return joins(&some[0], &some[1], limit).map(|r| Ok(Some(r)));
        }
        let fails = match op {
            Op::Poison(rest) => some[0].iter().any(|(_, v)| v.rem_euclid(POISON) == rest),
            Op::Refuse(rest) => some[0].len() as u64 % REFUSE == rest,
            _ => false,
        };
        Some(if fails { Err(Lack::Broken) } else { Ok(Some(one(op, &some))) })
    }

    /// The batches so far that the parent has an RDD or at least a place for, with what it has; those that
    /// failed are left out.
    fn past(&self) -> impl Iterator<Item = (usize, Option<Vec<Pair>>)> {
        let slide = self.streams[self.stream.from[0]].slide;
        (0..=self.b)
            .filter(move |b| at(*b).is_multiple_of(slide))
            .filter(|b| *b == self.b || self.all[*b].good)
            .filter_map(|b| Some((b, self.parent(0, b).ok()?)))
    }

    /// The records of the window that ends with batch `end`.
    fn inside(&self, span: Span, end: usize) -> Vec<Pair> {
        let p = self.streams[self.stream.from[0]].slide;
        let inside = |b: usize| at(b) <= at(end) && at(b) + span.window * p >= at(end) + p;
        self.past().filter(|(b, _)| inside(*b)).filter_map(|(_, v)| v).flatten().collect()
    }

    fn window(&self, op: Op, span: Span) -> Value {
        let p = self.streams[self.stream.from[0]].slide;
        let (t, slide) = (at(self.b), self.stream.slide);
        // `window` leaves batches alone that are in no window.
        let end = t.next_multiple_of(slide);
        let wanted = !matches!(op, Op::Window(_)) || t + span.window * p >= end + p;
        if wanted {
            self.parent(0, self.b)?;
        }
        if t != end {
            return Ok(None);
        }
        let records = self.inside(span, self.b);
        // Keys that were in some window up to now.
        let known = || -> BTreeSet<i64> {
            let ends = (0..=self.b).filter(|b| at(*b).is_multiple_of(slide));
            let ends = ends.filter(|b| *b == self.b || self.all[*b].good);
            ends.flat_map(|end| self.inside(span, end)).map(|(k, _)| k).collect()
        };
        let with_zeros = |m: Merge| -> Vec<Pair> {
            let mut sums: BTreeMap<i64, i64> = known().into_iter().map(|k| (k, 0)).collect();
            sums.extend(reduced(&records, m));
            sums.into_iter().collect()
        };
        let as_one = |m: Merge, records: &[Pair]| {
            records.iter().map(|(_, v)| *v).reduce(|a, b| merge(m, a, b))
        };
        Ok(Some(match op {
            Op::Window(_) => records,
            Op::ReduceWindow(_, m) => as_one(m, &records).map(|v| (0, v)).into_iter().collect(),
            Op::ReduceWindowInv(_, m) => {
                let once = !known().is_empty();
                once.then(|| (0, as_one(m, &records).unwrap_or(0))).into_iter().collect()
            }
            Op::CountWindow(_) => {
                let once = !known().is_empty();
                once.then_some((0, records.len() as i64)).into_iter().collect()
            }
            Op::CountValueWindow(..) => {
                let mut counts: BTreeMap<Pair, i64> = BTreeMap::new();
                records.into_iter().for_each(|r| *counts.entry(r).or_default() += 1);
                counts.into_iter().map(|((k, v), n)| (k, counted(v, n))).collect()
            }
            Op::ReduceKeyWindow(_, _, m) => reduced(&records, m),
            Op::ReduceKeyWindowInv(_, m) => with_zeros(m),
            Op::ReduceKeyWindowFilter(_, _, m, keep) => {
                with_zeros(m).into_iter().filter(|(k, v)| keeps(keep, *k, *v)).collect()
            }
            _ => groups(&records).into_iter().map(|(k, vs)| (k, digest(&vs))).collect(),
        }))
    }

    fn state(&self, op: Op) -> Value {
        let (run, parent);
        let seen = match op {
            // As the operator itself: all batches again, for the states.
            Op::Snapshots => {
                parent = &self.streams[self.stream.from[0]];
                run = parent.op.unwrap_or(op);
                &Seen { stream: parent, ..*self }
            }
            _ => {
                run = op;
                self
            }
        };
        let (out, states) = match run {
            Op::MapState(m, spec) => seen.map_state(m, spec)?,
            Op::UpdateState(u, spec) => (Vec::new(), seen.update_state(u, spec, false)?),
            Op::UpdateStateIter(u, spec, moves) => (Vec::new(), seen.update_state(u, spec, moves)?),
            _ => return Ok(None),
        };
        let all = || states.iter().map(|(k, s)| (*k, *s)).collect();
        Ok(Some(if matches!(op, Op::MapState(..)) { out } else { all() }))
    }

    /// What the last batch gives, and the states after it.
    fn map_state(&self, m: Mapping, spec: Spec) -> Result<(Vec<Pair>, BTreeMap<i64, i64>), Lack> {
        let mut states: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
        let (mut out, mut first) = (Vec::new(), true);
        for (b, records) in self.past() {
            let ms = at(b) * 1_000;
            let t = if spec.api == Api::At { ms } else { 0 };
            out.clear();
            if std::mem::take(&mut first) && spec.initial {
                states.extend(initial().into_iter().map(|(k, s)| (k, (s, ms))));
            }
            let give = |k, v: Option<i64>| match spec.api {
                Api::At => v.map(|v| (k, v)),
                _ => Some((k, v.unwrap_or(NOTHING))),
            };
            for (k, v) in records.into_iter().flatten() {
                if poisoned(spec, v) {
                    return Err(Lack::Broken);
                }
                let mut cell = Plain(states.get(&k).map(|(s, _)| *s));
                out.extend(give(k, mapped(m, t, k, Some(v), &mut cell)));
                match cell.0 {
                    Some(s) => states.insert(k, (s, ms)),
                    None => states.remove(&k),
                };
            }
            let idle = spec.timeout.map_or(u64::MAX, |half| half * 500);
            let over: Vec<i64> = states
                .iter()
                .filter(|(_, (_, touched))| ms - touched > idle)
                .map(|s| *s.0)
                .collect();
            for k in over {
                let mut cell = Plain(states.remove(&k).map(|(s, _)| s));
                out.extend(give(k, mapped(m, t, k, None, &mut cell)));
            }
        }
        Ok((out, states.into_iter().map(|(k, (s, _))| (k, s)).collect()))
    }

    fn update_state(&self, u: Update, spec: Spec, moves: bool) -> Result<BTreeMap<i64, i64>, Lack> {
        let mut states: BTreeMap<i64, i64> =
            if spec.initial { initial().into_iter().collect() } else { BTreeMap::new() };
        for (b, records) in self.past() {
            // Only that form is told time and key.
            let told = |x: i64| if spec.api == Api::At { x } else { 0 };
            let t = told(at(b) as i64 * 1_000) as u64;
            let new = groups(&records.unwrap_or_default());
            if new.values().flatten().any(|v| poisoned(spec, *v)) {
                return Err(Lack::Broken);
            }
            let keys: BTreeSet<i64> = states.keys().chain(new.keys()).copied().collect();
            for k in keys {
                let values = new.get(&k).map_or(&[][..], Vec::as_slice);
                match updated(u, t, told(k), values, states.remove(&k)) {
                    Some(s) => states.insert(k, s),
                    None => states.remove(&k),
                };
            }
            if moves {
                states = states.into_iter().map(|(k, s)| (moved(k), s)).collect();
            }
        }
        Ok(states)
    }
}

/// Where a state goes whose key changes.
pub fn moved(k: i64) -> i64 {
    k ^ 1
}

/// Whether a function with this spec fails at a value.
pub fn poisoned(spec: Spec, v: i64) -> bool {
    spec.poison == Some(v.rem_euclid(POISON))
}

pub fn filtered((k, v): Pair, m: i64) -> bool {
    k.wrapping_add(v).rem_euclid(m) != 0
}

fn one(op: Op, some: &[Vec<Pair>]) -> Vec<Pair> {
    let records = &some[0];
    let each = records.iter().copied();
    match op {
        Op::MapValues(c) => each.map(|(k, v)| (k, v.wrapping_mul(c))).collect(),
        Op::KeyRest(m) => each.map(|(k, v)| (k.rem_euclid(m), v)).collect(),
        Op::Filter(m) => each.filter(|r| filtered(*r, m)).collect(),
        Op::Count => vec![(0, records.len() as i64)],
        Op::ReduceByKey(_) => reduced(records, Merge::Add),
        Op::Union => some.concat(),
        Op::Largest => {
            let most = each.clone().map(|(_, v)| v).max();
            each.filter(|(_, v)| Some(*v) == most).collect()
        }
        _ => records.clone(),
    }
}

fn joins(left: &[Pair], right: &[Pair], limit: usize) -> Option<Vec<Pair>> {
    let (l, r) = (groups(left), groups(right));
    let mut out = Vec::new();
    for (k, vs) in &l {
        let Some(ws) = r.get(k) else { continue };
        if out.len() + vs.len().saturating_mul(ws.len()) > limit {
            return None;
        }
        out.extend(vs.iter().flat_map(|v| ws.iter().map(|w| (*k, joined(*v, *w)))));
    }
    Some(out)
}
