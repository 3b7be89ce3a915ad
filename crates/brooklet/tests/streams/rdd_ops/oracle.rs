//! Every operator gives what a plain program over the same records gives, whatever the partitions, the skew
//! of keys, the number of partitions asked for and the engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

use brooklet::testing::TestEngine;
use brooklet::{Partitioner, Rdd, Result};
use proptest::prelude::*;

use super::super::cases::config;
use super::super::{conf, sorted};
use super::records_on;

/// Cases to try.
pub const ALL_CASES: u32 = 1_500;

type Pair = (i64, i64);
type Parts = Vec<Vec<Pair>>;

/// The RDDs of one case.
struct Sides {
    left: Rdd<Pair>,
    right: Rdd<Pair>,
    n: usize,
}

/// The same as plain data.
struct Plain {
    left: Parts,
    right: Parts,
    n: usize,
}

impl Plain {
    fn l(&self) -> Vec<Pair> {
        self.left.concat()
    }
    fn r(&self) -> Vec<Pair> {
        self.right.concat()
    }
}

/// Keys modulo n.
#[derive(Clone)]
struct Modulo(usize);

impl Partitioner<i64> for Modulo {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &i64) -> usize {
        key.rem_euclid(self.0 as i64) as usize
    }
    fn name(&self) -> String {
        "modulo".into()
    }
}

fn groups<V: Copy>(pairs: &[(i64, V)]) -> BTreeMap<i64, Vec<V>> {
    let mut m: BTreeMap<i64, Vec<V>> = BTreeMap::new();
    for (k, v) in pairs {
        m.entry(*k).or_default().push(*v);
    }
    m
}

fn folded(pairs: &[Pair], f: impl Fn(i64, i64) -> i64 + Copy) -> Vec<Pair> {
    groups(pairs).into_iter().filter_map(|(k, v)| Some((k, v.into_iter().reduce(f)?))).collect()
}

fn text<T: Debug>(v: impl IntoIterator<Item = T>) -> Vec<String> {
    v.into_iter().map(|x| format!("{x:?}")).collect()
}

/// The records of an RDD as text; a `HashMap` would print in any order, so there is none in them.
fn shown<T: brooklet::Data + Debug>(
    r: &Rdd<T, impl brooklet::Pipe<Out = T>>,
) -> Result<Rdd<String>> {
    Ok(r.map(|x| format!("{x:?}")).boxed())
}

/// The result of an action as the one record of an RDD.
fn told<T: Debug>(s: &Sides, result: T) -> Result<Rdd<String>> {
    Ok(s.left.context().parallelize([format!("{result:?}")], 1))
}

fn one<T: Debug>(x: T) -> Vec<String> {
    text([x])
}

type Run = fn(&Sides) -> Result<Rdd<String>>;
type Want = fn(&Plain) -> Vec<String>;

fn both(p: &Plain) -> Vec<(i64, (Vec<i64>, Vec<i64>))> {
    let (mut l, mut r) = (groups(&p.l()), groups(&p.r()));
    let keys: BTreeSet<i64> = l.keys().chain(r.keys()).copied().collect();
    let of = |m: &mut BTreeMap<i64, Vec<i64>>, k| m.remove(k).unwrap_or_default();
    keys.iter().map(|k| (*k, (of(&mut l, k), of(&mut r, k)))).collect()
}

fn options(v: &[i64]) -> Vec<Option<i64>> {
    if v.is_empty() { vec![None] } else { v.iter().map(|x| Some(*x)).collect() }
}

/// How a value may lie in the joined pairs: (left missing, right missing).
fn joined(p: &Plain, left_may: bool, right_may: bool) -> Vec<(i64, (Option<i64>, Option<i64>))> {
    let mut out = Vec::new();
    for (k, (l, r)) in both(p) {
        if (l.is_empty() && !left_may) || (r.is_empty() && !right_may) {
            continue;
        }
        for a in options(&l) {
            out.extend(options(&r).into_iter().map(|b| (k, (a, b))));
        }
    }
    out
}

fn distinct(v: Vec<Pair>) -> BTreeSet<Pair> {
    v.into_iter().collect()
}

fn ops() -> Vec<(&'static str, Run, Want)> {
    vec![
        (
            "map_partitions_with_index",
            |s| {
                shown(
                    &s.left.map_partitions_with_index(|i, it| {
                        it.map(move |x| (i, x)).collect::<Vec<_>>()
                    }),
                )
            },
            |p| text(p.left.iter().enumerate().flat_map(|(i, v)| v.iter().map(move |x| (i, *x)))),
        ),
        ("glom", |s| shown(&s.left.glom()), |p| text(&p.left)),
        (
            "coalesce",
            |s| shown(&s.left.coalesce(s.n).glom()),
            |p| {
                let (all, n) = (p.left.len(), p.n.min(p.left.len()));
                text((0..n).map(|i| p.left[i * all / n..(i + 1) * all / n].concat()))
            },
        ),
        (
            "repartition",
            |s| {
                let r = s.left.repartition(s.n);
                assert_eq!(r.num_partitions(), s.n);
                shown(&r)
            },
            |p| text(p.l()),
        ),
        ("key_by", |s| shown(&s.left.key_by(|x| x.1)), |p| text(p.l().iter().map(|x| (x.1, *x)))),
        (
            "group_by",
            |s| shown(&s.left.group_by(|x| x.1 % 3).union(&s.left.group_by_into(|x| x.1 % 3, s.n))),
            |p| {
                let keyed: Vec<(i64, Pair)> = p.l().iter().map(|x| (x.1 % 3, *x)).collect();
                [text(groups(&keyed)), text(groups(&keyed))].concat()
            },
        ),
        (
            "group_by_key_with",
            |s| {
                shown(&s.left.group_by_key_with(Modulo(s.n)).glom().map(|mut v| {
                    v.sort();
                    v
                }))
            },
            |p| {
                let of = |i| {
                    groups(&p.l()).into_iter().filter(move |(k, _)| k.rem_euclid(p.n as i64) == i)
                };
                text((0..p.n as i64).map(|i| of(i).collect::<Vec<_>>()))
            },
        ),
        (
            "zip_with_index",
            |s| shown(&s.left.zip_with_index()?),
            |p| text(p.l().iter().enumerate().map(|(i, x)| (*x, i))),
        ),
        (
            "zip_with_unique_id",
            |s| shown(&s.left.zip_with_unique_id()),
            |p| {
                let n = p.left.len();
                text(
                    p.left
                        .iter()
                        .enumerate()
                        .flat_map(|(k, v)| v.iter().enumerate().map(move |(i, x)| (*x, i * n + k))),
                )
            },
        ),
        (
            "zip",
            |s| shown(&s.left.zip(&s.left.map(|(k, v)| k - v))?),
            |p| text(p.l().iter().map(|(k, v)| ((*k, *v), k - v))),
        ),
        (
            "zip_partitions",
            |s| shown(&s.left.zip_partitions(&s.right, |a, b| [(a.len(), b.len())])?),
            |p| text(p.left.iter().zip(&p.right).map(|(a, b)| (a.len(), b.len()))),
        ),
        (
            "filter_map",
            |s| shown(&s.left.filter_map(|(k, v)| (v > 0).then_some(k))),
            |p| text(p.l().iter().filter(|x| x.1 > 0).map(|x| x.0)),
        ),
        (
            "keys and values",
            |s| shown(&s.left.keys().union(&s.left.values())),
            |p| text(p.l().iter().map(|x| x.0).chain(p.l().iter().map(|x| x.1))),
        ),
        (
            "map_values and flat_map_values",
            |s| shown(&s.left.map_values(|v| v * 2).flat_map_values(|v| [v, 1])),
            |p| text(p.l().iter().flat_map(|(k, v)| [(*k, v * 2), (*k, 1)])),
        ),
        (
            "distinct",
            |s| shown(&s.left.distinct().union(&s.left.distinct_into(s.n))),
            |p| [text(distinct(p.l())), text(distinct(p.l()))].concat(),
        ),
        (
            "intersection",
            |s| {
                shown(
                    &s.left.intersection(&s.right).union(&s.left.intersection_into(&s.right, s.n)),
                )
            },
            |p| {
                let v: Vec<Pair> =
                    distinct(p.l()).intersection(&distinct(p.r())).copied().collect();
                text([v.clone(), v].concat())
            },
        ),
        (
            "subtract",
            |s| shown(&s.left.subtract(&s.right).union(&s.left.subtract_into(&s.right, s.n))),
            |p| {
                let not = distinct(p.r());
                let v: Vec<Pair> = p.l().into_iter().filter(|x| !not.contains(x)).collect();
                text([v.clone(), v].concat())
            },
        ),
        (
            "cartesian",
            |s| shown(&s.left.cartesian(&s.right.coalesce(2))),
            |p| text(p.l().iter().flat_map(|x| p.r().into_iter().map(move |y| (*x, y)))),
        ),
        (
            "union of many",
            |s| shown(&s.left.context().union([s.left.clone(), s.right.clone(), s.left.clone()])),
            |p| text([p.l(), p.r(), p.l()].concat()),
        ),
        (
            "random_split",
            |s| {
                let parts = s.left.random_split(&[1.0, 0.0, 2.5], 7)?;
                assert_eq!(parts[1].count()?, 0);
                shown(&parts[0].union(&parts[2]))
            },
            |p| text(p.l()),
        ),
        (
            "sample",
            |s| {
                let all = s.left.sample(false, 1.0, 3)?;
                let (a, b) = (s.left.sample(true, 0.7, 5)?, s.left.sample(true, 0.7, 5)?);
                let same = a.collect()? == b.collect()?;
                shown(&all.union(&s.left.sample(false, 0.0, 3)?).filter(move |_| same))
            },
            |p| text(p.l()),
        ),
        (
            "sample_by_key_exact",
            |s| {
                let f = [(0, 0.3), (1, 1.0), (2, 0.5)];
                let mut n: Vec<_> =
                    s.left.sample_by_key_exact(false, f, 9)?.count_by_key()?.into_iter().collect();
                n.sort();
                let mut m: Vec<_> =
                    s.left.sample_by_key_exact(true, f, 9)?.count_by_key()?.into_iter().collect();
                m.sort();
                let drawn = s.left.sample_by_key_exact(false, [(1, 1.0)], 9)?;
                let rest = drawn.subtract(&s.left).count()?;
                told(s, (n, m, rest))
            },
            |p| {
                let f = HashMap::from([(0, 0.3), (1, 1.0), (2, 0.5)]);
                let n: Vec<(i64, u64)> = groups(&p.l())
                    .iter()
                    .filter_map(|(k, v)| Some((*k, (f.get(k)? * v.len() as f64).ceil() as u64)))
                    .collect();
                one((n.clone(), n, 0))
            },
        ),
        (
            "take_sample",
            |s| {
                let mut v = s.left.take_sample(false, 5, 4)?;
                let n = v.len();
                for x in s.left.collect()? {
                    if let Some(i) = v.iter().position(|y| *y == x) {
                        v.remove(i);
                    }
                }
                told(s, (n, v.len(), s.left.take_sample(true, 9, 4)?.len()))
            },
            |p| {
                let n = p.l().len();
                one((n.min(5), 0, if n == 0 { 0 } else { 9 }))
            },
        ),
        (
            "aggregate and fold",
            |s| {
                let depth = s.n.min(4);
                let sum = |a: i64, x: Pair| a + x.1;
                let a = s.left.aggregate(1, sum, |a, b| a + b)?;
                let t = s.left.tree_aggregate(1, sum, |a, b| a + b, depth)?;
                told(s, (a, t, s.left.values().fold(1, |a, b| a + b)?))
            },
            |p| {
                let sum: i64 = p.l().iter().map(|x| x.1).sum();
                let with = sum + p.left.len() as i64 + 1;
                one((with, with, with))
            },
        ),
        (
            "reduce and extremes",
            |s| {
                let v = s.left.values();
                let t = v.tree_reduce(|a, b| a.max(b), s.n.min(3))?;
                told(s, (v.reduce(|a, b| a + b)?, t, s.left.max()?, s.left.min()?))
            },
            |p| {
                let v = || p.left.concat().into_iter().map(|x| x.1);
                one((
                    v().reduce(|a, b| a + b),
                    v().max(),
                    p.l().into_iter().max(),
                    p.l().into_iter().min(),
                ))
            },
        ),
        (
            "looks at some",
            |s| {
                let iterated: Vec<Pair> = s.left.to_local_iterator().collect::<Result<_>>()?;
                told(s, (s.left.take(s.n)?, s.left.is_empty()?, s.left.count()?, iterated))
            },
            |p| {
                let l = p.l();
                one((&l[..p.n.min(l.len())], l.is_empty(), l.len(), &l))
            },
        ),
        (
            "asynchronous actions",
            |s| {
                let (n, all, some) =
                    (s.left.count_async(), s.left.collect_async(), s.left.take_async(s.n));
                told(s, (n.wait()?, all.wait()?, some.wait()?))
            },
            |p| one((p.l().len(), p.l(), &p.l()[..p.n.min(p.l().len())])),
        ),
        (
            "count_by_value",
            |s| {
                let mut v: Vec<_> = s.left.count_by_value()?.into_iter().collect();
                v.sort();
                told(s, v)
            },
            |p| {
                let mut m = BTreeMap::new();
                p.l().into_iter().for_each(|x| *m.entry(x).or_insert(0) += 1);
                one(m.into_iter().collect::<Vec<_>>())
            },
        ),
        (
            "pair actions",
            |s| {
                let list = |m: HashMap<i64, i64>| sorted(m.into_iter().collect::<Vec<_>>());
                let n = sorted(s.left.count_by_key()?.into_iter().collect::<Vec<_>>());
                let sums = list(s.left.reduce_by_key_locally(|a, b| a + b)?);
                let spread = s.left.partition_by_hash(s.n);
                assert!(spread.partitioner().is_some());
                told(
                    s,
                    (
                        n,
                        sums,
                        list(s.left.collect_as_map()?),
                        s.left.lookup(&1)?,
                        spread.lookup(&1)?,
                    ),
                )
            },
            |p| {
                let g = groups(&p.l());
                let n: Vec<_> = g.iter().map(|(k, v)| (*k, v.len())).collect();
                let last: Vec<_> = g.iter().map(|(k, v)| (*k, v[v.len() - 1])).collect();
                let ones = g.get(&1).cloned().unwrap_or_default();
                one((n, folded(&p.l(), |a, b| a + b), last, ones.clone(), ones))
            },
        ),
        (
            "reduce_by_key in all forms",
            |s| {
                let f = |a: i64, b: i64| a.max(b);
                let r = &s.left;
                let all = [
                    r.reduce_by_key(f),
                    r.reduce_by_key_into(f, s.n),
                    r.reduce_by_key_with(f, Modulo(s.n)),
                ];
                shown(&r.context().union(all))
            },
            |p| text((0..3).flat_map(|_| folded(&p.l(), i64::max))),
        ),
        (
            "reduce_by_key of pairs that lie there",
            |s| {
                let there = s.left.partition_by(Modulo(s.n));
                let sums = there.map_values(|v| v + 1).reduce_by_key(|a, b| a + b);
                assert_eq!(sums.partitioner().map(|p| p.partitions()), Some(s.n));
                shown(&sums.union(&there.group_by_key().map_values(|v| v.len() as i64)))
            },
            |p| {
                let plus: Vec<Pair> = p.l().iter().map(|(k, v)| (*k, v + 1)).collect();
                let lens = groups(&p.l()).into_iter().map(|(k, v)| (k, v.len() as i64));
                text(folded(&plus, |a, b| a + b).into_iter().chain(lens))
            },
        ),
        (
            "fold_by_key",
            |s| {
                shown(
                    &s.left
                        .coalesce(1)
                        .fold_by_key(100, |a, b| a + b)
                        .union(&s.left.fold_by_key_into(0, |a, b| a + b, s.n)),
                )
            },
            |p| {
                let sums = folded(&p.l(), |a, b| a + b);
                text(sums.iter().map(|(k, v)| (*k, v + 100)).chain(sums.iter().copied()))
            },
        ),
        (
            "combine_by_key and aggregate_by_key",
            |s| {
                let c = s.left.combine_by_key_into(
                    |v| vec![v],
                    |mut c, v| {
                        c.push(v);
                        c
                    },
                    |mut a, b| {
                        a.extend(b);
                        a
                    },
                    s.n,
                );
                let a = s.left.aggregate_by_key_with(0, |n, _| n + 1, |a, b| a + b, Modulo(s.n));
                shown(&c.map(|(k, v)| (k, v, 0)).union(&a.map(|(k, n)| (k, vec![], n))))
            },
            |p| {
                let g = groups(&p.l());
                let c = g.clone().into_iter().map(|(k, v)| (k, v, 0));
                text(c.chain(g.into_iter().map(|(k, v)| (k, vec![], v.len()))))
            },
        ),
        (
            "cogroup in all forms",
            |s| {
                let (l, r) = (&s.left, s.right.coalesce(2));
                let all = [
                    l.cogroup(&r),
                    l.group_with(&r),
                    l.cogroup_into(&r, s.n),
                    l.cogroup_with(&r, Modulo(s.n)),
                    l.partition_by(Modulo(s.n)).cogroup(&r.partition_by(Modulo(s.n))),
                    l.partition_by_hash(s.n).cogroup_into(&r, s.n),
                    l.cogroup_into(&r.partition_by_hash(s.n), s.n),
                ];
                shown(&l.context().union(all))
            },
            |p| text((0..7).flat_map(|_| both(p))),
        ),
        (
            "cogroup of three and four",
            |s| {
                let (l, r) = (&s.left, &s.right);
                let three = l.cogroup_3(r, l).map(|(k, (a, b, c))| (k, a, b, c, vec![]));
                let four = l.cogroup_4_into(r, l, r, s.n).map(|(k, (a, b, c, d))| (k, a, b, c, d));
                let with =
                    l.cogroup_3_with(r, l, Modulo(s.n)).map(|(k, (a, b, c))| (k, a, b, c, vec![]));
                shown(&three.union(&four).union(&with))
            },
            |p| {
                let three = both(p).into_iter().map(|(k, (a, b))| (k, a.clone(), b, a, vec![]));
                let four = both(p).into_iter().map(|(k, (a, b))| (k, a.clone(), b.clone(), a, b));
                text(three.clone().chain(four).chain(three))
            },
        ),
        (
            "joins",
            |s| {
                let (l, r) = (&s.left, &s.right);
                let some = |(k, (a, b)): (i64, (i64, i64))| (k, (Some(a), Some(b)));
                let all = [
                    l.join(r).map(some).boxed(),
                    l.join_with(&r.partition_by(Modulo(s.n)), Modulo(s.n)).map(some).boxed(),
                    l.left_outer_join_into(r, s.n).map(|(k, (a, b))| (k, (Some(a), b))).boxed(),
                    l.right_outer_join(r).map(|(k, (a, b))| (k, (a, Some(b)))).boxed(),
                    l.full_outer_join_into(r, s.n),
                ];
                shown(&l.context().union(all))
            },
            |p| {
                let inner = joined(p, false, false);
                let outer = [joined(p, false, true), joined(p, true, false), joined(p, true, true)];
                text([inner.clone(), inner, outer.concat()].concat())
            },
        ),
        (
            "subtract_by_key",
            |s| {
                let (l, r) = (&s.left, &s.right);
                shown(&l.subtract_by_key(r).union(&l.subtract_by_key_with(r, Modulo(s.n))))
            },
            |p| {
                let not = groups(&p.r());
                let v: Vec<Pair> =
                    p.l().into_iter().filter(|(k, _)| !not.contains_key(k)).collect();
                text([v.clone(), v].concat())
            },
        ),
        (
            "numbers",
            |s| {
                let v = s.left.values();
                let stats = v.stats()?;
                let close = (stats.sum() - v.sum()?).abs() < 1e-6;
                let h = v.histogram(&[-50.0, 0.0, 10.0, 99.0])?;
                told(s, (stats.count(), v.sum()?, close, h))
            },
            |p| {
                let v: Vec<i64> = p.l().iter().map(|x| x.1).collect();
                let n = |f: fn(i64) -> bool| v.iter().filter(|x| f(**x)).count();
                let h = vec![
                    n(|x| (-50..0).contains(&x)),
                    n(|x| (0..10).contains(&x)),
                    n(|x| (10..=99).contains(&x)),
                ];
                one((v.len(), v.iter().sum::<i64>() as f64, true, h))
            },
        ),
        (
            "count_approx_distinct",
            |s| {
                let by_key = s.left.count_approx_distinct_by_key_into(0.01, s.n)?;
                let n = s.left.count_approx_distinct(0.01)?;
                shown(
                    &by_key
                        .map(|(k, n)| (Some(k), n))
                        .union(&s.left.context().parallelize([(None, n)], 1)),
                )
            },
            |p| {
                let all = (None, distinct(p.l()).len());
                let of = |v: Vec<i64>| v.into_iter().collect::<BTreeSet<_>>().len();
                text(groups(&p.l()).into_iter().map(|(k, v)| (Some(k), of(v))).chain([all]))
            },
        ),
    ]
}

/// Partitions of records, marked as left or right; few keys, many keys, or nearly all records of one key.
fn marked() -> impl Strategy<Value = Vec<Vec<(bool, i64, i64)>>> {
    let key = prop_oneof![0..4i64, -40..40i64, prop_oneof![9 => Just(1i64), 1 => 0..9i64]];
    let part = prop::collection::vec((any::<bool>(), key, -99..100i64), 0..25);
    prop::collection::vec(prop_oneof![3 => part, 1 => Just(vec![])], 0..6)
}

fn side(parts: &[Vec<(bool, i64, i64)>], left: bool) -> Parts {
    let of = |v: &Vec<(bool, i64, i64)>| {
        v.iter().filter(|x| x.0 == left).map(|x| (x.1, x.2)).collect::<Vec<Pair>>()
    };
    parts.iter().map(of).collect()
}

proptest! {
    #![proptest_config(config("operators of RDDs", ALL_CASES))]

    #[test]
    fn operators_agree_with_plain_programs(
        parts in marked(),
        n in 1..9usize,
        parallelism in prop::option::of(1..6usize),
        op in 0..ops().len(),
        remote: bool,
    ) {
        let (name, run, want) = ops().swap_remove(op);
        let engine = if remote { TestEngine::Loopback } else { TestEngine::Local };
        let conf = match parallelism {
            Some(p) => conf().default_parallelism(p),
            None => conf(),
        };
        let got = records_on(engine, conf, &parts, move |r: Rdd<(bool, i64, i64)>| {
            let side = |left: bool| {
                r.filter_map(move |(l, k, v)| (l == left).then_some((k, v))).boxed()
            };
            run(&Sides { left: side(true), right: side(false), n })
        });
        let got = got.map_err(|e| TestCaseError::fail(format!("{name} on {engine:?}: {e}")))?;
        let want = want(&Plain { left: side(&parts, true), right: side(&parts, false), n });
        prop_assert_eq!(sorted(got), sorted(want), "{} on {:?}", name, engine);
    }
}
