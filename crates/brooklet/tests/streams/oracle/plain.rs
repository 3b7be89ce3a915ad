//! What a program gives, computed on plain vectors: no partitions, no stages, no threads.

use std::collections::BTreeMap;

use super::program::{Closure, INPUTS, Join, Merge, Op, Pair, Program};

/// A stream at a batch: records, nothing (no RDD), or an error, for an operator needs an RDD that isn't
/// there.
pub type Value = Result<Option<Vec<Pair>>, NoRdd>;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoRdd;

/// More records than a test needs: the program is cut before the step with this number.
#[derive(Debug)]
pub struct TooLarge(pub usize);

/// Every stream of the program at one batch.
pub fn streams(
    program: &Program,
    inputs: [Option<Vec<Pair>>; INPUTS],
    t: u64,
    limit: usize,
) -> Result<Vec<Value>, TooLarge> {
    let mut all: Vec<Value> = inputs.into_iter().map(Ok).collect();
    for (i, step) in program.steps.iter().enumerate() {
        let from: Vec<&Value> = step.from(all.len()).into_iter().map(|s| &all[s]).collect();
        let made = apply(step.op, &from, t, limit).ok_or(TooLarge(i))?;
        if matches!(&made, Ok(Some(v)) if v.len() > limit) {
            return Err(TooLarge(i));
        }
        all.push(made);
    }
    Ok(all)
}

/// Nothing when that would be more than `limit` records.
fn apply(op: Op, from: &[&Value], t: u64, limit: usize) -> Option<Value> {
    if from.iter().any(|v| v.is_err()) {
        return Some(Err(NoRdd));
    }
    let some: Vec<&Vec<Pair>> = from.iter().filter_map(|v| v.as_ref().ok()?.as_ref()).collect();
    let all_there = some.len() == from.len();
    let needs_all =
        op.is_step() || matches!(op, Op::Union | Op::UnionMany | Op::Join(..) | Op::DeadLetters(_));
    if !all_there {
        return Some(if needs_all { Err(NoRdd) } else { Ok(None) });
    }
    Some(Ok(Some(match op {
        Op::Constant(k) => constant(k),
        Op::TransformWith | Op::TransformMany | Op::Union | Op::UnionMany => {
            some.into_iter().flatten().copied().collect()
        }
        Op::Join(join, _) => joined(join, some[0], some[1], limit)?,
        op => one(op, some[0], t),
    })))
}

/// The records of the constant stream.
pub fn constant(k: i64) -> Vec<Pair> {
    (0..k).map(|i| (i % 5, i)).collect()
}

fn groups(records: &[Pair]) -> BTreeMap<i64, Vec<i64>> {
    let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    records.iter().for_each(|(k, v)| groups.entry(*k).or_default().push(*v));
    groups
}

/// One number for a multiset of values.
pub fn digest(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.into_iter().fold(17, |d, v| d.wrapping_mul(31).wrapping_add(v))
}

/// `v % m` times: how often the repeating operators repeat a record.
pub fn times(v: i64, m: i64) -> i64 {
    v.rem_euclid(m)
}

pub fn keeps((k, v): &Pair, m: i64) -> bool {
    k.wrapping_add(*v).rem_euclid(m) != 0
}

/// What the fallible operators take; with 1 they take nothing.
pub fn divisible(v: i64, m: i64) -> bool {
    v.rem_euclid(m) == 0
}

pub fn merge(m: Merge, a: i64, b: i64) -> i64 {
    match m {
        Merge::Add => a.wrapping_add(b),
        Merge::Max => a.max(b),
    }
}

/// A joined pair of values as one value.
pub fn pair_of(v: Option<i64>, w: Option<i64>) -> i64 {
    v.unwrap_or(-1_000_003).wrapping_mul(7).wrapping_add(w.unwrap_or(-999_983))
}

fn one(op: Op, records: &[Pair], t: u64) -> Vec<Pair> {
    let each = records.iter().copied();
    match op {
        Op::Map(c) => each.map(|(k, v)| (k.wrapping_add(c), v)).collect(),
        Op::Swap => each.map(|(k, v)| (v, k)).collect(),
        Op::KeyRest(m) => each.map(|(k, v)| (k.rem_euclid(m), v)).collect(),
        Op::Filter(m) => each.filter(|r| keeps(r, m)).collect(),
        Op::FlatMap(m) => {
            each.flat_map(|(k, v)| (0..times(v, m)).map(move |i| (k, v.wrapping_add(i)))).collect()
        }
        Op::MapValues(c) => each.map(|(k, v)| (k, v.wrapping_mul(c))).collect(),
        Op::FlatMapValues(m) => {
            each.flat_map(|(k, v)| (0..times(v, m)).map(move |i| (k, i))).collect()
        }
        Op::TryMap(m) | Op::TryFilter(m) | Op::TryFlatMap(m) => {
            each.filter(|(_, v)| !divisible(*v, m)).collect()
        }
        Op::ReduceByKey(_, m) => {
            let sums = groups(records).into_iter();
            sums.filter_map(|(k, vs)| Some((k, vs.into_iter().reduce(|a, b| merge(m, a, b))?)))
                .collect()
        }
        Op::GroupByKey(_) => groups(records).into_iter().map(|(k, vs)| (k, digest(vs))).collect(),
        Op::CombineByKey(_) => {
            let of = |vs: Vec<i64>| {
                let sum = vs.iter().fold(0i64, |a, v| a.wrapping_add(*v));
                sum.wrapping_mul(3).wrapping_add(vs.len() as i64)
            };
            groups(records).into_iter().map(|(k, vs)| (k, of(vs))).collect()
        }
        Op::CountByValue(_) => {
            let mut counts: BTreeMap<Pair, i64> = BTreeMap::new();
            each.for_each(|r| *counts.entry(r).or_default() += 1);
            counts.into_iter().map(|((k, v), n)| (k.wrapping_mul(31).wrapping_add(v), n)).collect()
        }
        Op::Count => vec![(0, records.len() as i64)],
        Op::Reduce => {
            each.reduce(|a, b| (a.0.wrapping_add(b.0), a.1.wrapping_add(b.1))).into_iter().collect()
        }
        Op::Transform(Closure::Largest) => {
            let most = each.clone().map(|(_, v)| v).max();
            each.filter(|(_, v)| Some(*v) == most).collect()
        }
        Op::Transform(Closure::Sums) => {
            one(Op::ReduceByKey(super::Form::Default, Merge::Add), records, t)
        }
        Op::Transform(Closure::Twice) => {
            let n = records.len() as i64;
            each.clone().map(|(k, v)| (k, v.wrapping_add(n))).chain(each).collect()
        }
        Op::TransformWithData(c) => {
            let data = (t as i64).wrapping_mul(c).wrapping_add(records.len() as i64);
            each.map(|(k, v)| (k, v.wrapping_add(data))).collect()
        }
        // Records stay, wherever they go.
        Op::MapPartitions
        | Op::MapPartitionsWithIndex
        | Op::Glom
        | Op::DeadLetters(_)
        | Op::Boxed
        | Op::Flaky { .. }
        | Op::Persist(_)
        | Op::Repartition(_)
        | Op::PartitionBy(_)
        | Op::PartitionByKey(_) => each.collect(),
        Op::Constant(_)
        | Op::TransformWith
        | Op::TransformMany
        | Op::Union
        | Op::UnionMany
        | Op::Join(..) => unreachable!("not an operator on one stream"),
    }
}

fn joined(join: Join, left: &[Pair], right: &[Pair], limit: usize) -> Option<Vec<Pair>> {
    let (l, r) = (groups(left), groups(right));
    let keys: std::collections::BTreeSet<i64> = l.keys().chain(r.keys()).copied().collect();
    let none = Vec::new();
    let mut out = Vec::new();
    for k in keys {
        let (vs, ws) = (l.get(&k).unwrap_or(&none), r.get(&k).unwrap_or(&none));
        if join == Join::Cogroup {
            let of = |side: &Vec<i64>| digest(side.clone());
            out.push((k, of(vs).wrapping_mul(31).wrapping_add(of(ws))));
            continue;
        }
        if vs.len().saturating_mul(ws.len()) > limit {
            return None;
        }
        let side = |own: &Vec<i64>, may_lack: bool| -> Vec<Option<i64>> {
            if own.is_empty() && may_lack {
                vec![None]
            } else {
                own.iter().copied().map(Some).collect()
            }
        };
        let lefts = side(vs, matches!(join, Join::Right | Join::Full));
        let rights = side(ws, matches!(join, Join::Left | Join::Full));
        for v in &lefts {
            out.extend(rights.iter().map(|w| (k, pair_of(*v, *w))));
        }
    }
    Some(out)
}
