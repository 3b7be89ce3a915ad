//! Every operator gives what a plain program over the same records gives, on both engines, over batches
//! with records, with empty partitions, and without a partition.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::testing::{Collector, TestEngine, run, run_sorted};
use brooklet::{DeadLetter, Partitioner, Wire};
use proptest::prelude::*;

use super::{ENGINES, conf, driver, sorted};

fn batches() -> Vec<Vec<i64>> {
    vec![vec![5, 3, 8, 3], vec![], vec![7], (0..3_000).map(|i| i % 97).collect(), vec![]]
}

/// `program` gives for each batch what `oracle` gives, as a multiset.
fn same<U: Wire + Ord + Debug>(
    program: impl Fn(&DStream<i64>) -> DStream<U>,
    oracle: impl Fn(&[i64]) -> Vec<U>,
) {
    let want: Vec<Vec<U>> = batches().iter().map(|b| sorted(oracle(b))).collect();
    assert_eq!(run_sorted(batches(), program), want);
}

/// `program` gives for each batch what `oracle` gives, in this order.
fn exactly<U: Wire + PartialEq + Debug>(
    program: impl Fn(&DStream<i64>) -> DStream<U>,
    oracle: impl Fn(&[i64]) -> Vec<U>,
) {
    let want: Vec<Vec<U>> = batches().iter().map(|b| oracle(b)).collect();
    assert_eq!(run(batches(), program), want);
}

/// The two partitions in which `run` queues a batch.
fn halves(b: &[i64]) -> [&[i64]; 2] {
    let (x, y) = b.split_at(b.len() / 2);
    [x, y]
}

fn sums(pairs: impl IntoIterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut m = BTreeMap::new();
    for (k, v) in pairs {
        *m.entry(k).or_insert(0) += v;
    }
    m.into_iter().collect()
}

fn groups<V>(pairs: impl IntoIterator<Item = (i64, V)>) -> BTreeMap<i64, Vec<V>> {
    let mut m: BTreeMap<i64, Vec<V>> = BTreeMap::new();
    for (k, v) in pairs {
        m.entry(k).or_default().push(v);
    }
    m
}

fn pairs(b: &[i64]) -> impl Iterator<Item = (i64, i64)> + '_ {
    b.iter().map(|x| (x % 7, *x))
}

fn even(x: i64) -> Result<i64, String> {
    if x % 2 == 0 { Ok(x * 10) } else { Err(format!("{x} is odd")) }
}

#[test]
fn narrow_operators_keep_records_and_their_order() {
    exactly(|s| s.map(|x| x + 1).boxed(), |b| b.iter().map(|x| x + 1).collect());
    exactly(
        |s| s.filter(|x| x % 3 == 0).boxed(),
        |b| b.iter().copied().filter(|x| x % 3 == 0).collect(),
    );
    exactly(
        |s| s.flat_map(|x| (0..x % 4).map(move |i| (x, i))).boxed(),
        |b| b.iter().flat_map(|&x| (0..x % 4).map(move |i| (x, i))).collect(),
    );
    exactly(
        |s| s.map(|x| x * 3).filter(|x| x % 2 == 0).flat_map(|x| [x, -x]).map(|x| x - 1).boxed(),
        |b| {
            let kept = b.iter().map(|x| x * 3).filter(|x| x % 2 == 0);
            kept.flat_map(|x| [x, -x]).map(|x| x - 1).collect()
        },
    );
    exactly(|s| s.boxed().boxed(), <[i64]>::to_vec);
}

#[test]
fn map_partitions_is_called_once_for_each_partition_also_for_empty_ones() {
    exactly(
        |s| s.map_partitions(|xs| [(xs.len() as i64, xs.sum::<i64>())]).boxed(),
        |b| halves(b).map(|h| (h.len() as i64, h.iter().sum())).to_vec(),
    );
    exactly(
        |s| s.map_partitions_with_index(|i, xs| [(i as u64, xs.sum::<i64>())]).boxed(),
        |b| {
            let [x, y] = halves(b);
            vec![(0, x.iter().sum()), (1, y.iter().sum())]
        },
    );
}

#[test]
fn fallible_operators_pass_results_and_skip_errors() {
    exactly(
        |s| s.try_map(|x| Ok::<_, String>(x + 1)).boxed(),
        |b| b.iter().map(|x| x + 1).collect(),
    );
    let skipping =
        |b: &[i64]| -> Vec<i64> { b.iter().filter(|x| *x % 2 == 0).map(|x| x * 10).collect() };
    exactly(|s| s.try_map_on(OnError::Skip, even).boxed(), skipping);
    exactly(
        |s| s.try_filter(OnError::Skip, |x| even(*x).map(|y| y > 40)).boxed(),
        |b| b.iter().copied().filter(|x| x % 2 == 0 && *x > 4).collect(),
    );
    exactly(
        |s| s.try_flat_map(OnError::Skip, |x| even(x).map(|y| [y, y + 1])).boxed(),
        |b| skipping(b).into_iter().flat_map(|y| [y, y + 1]).collect(),
    );
}

#[test]
fn dead_letters_and_results_together_are_the_input() {
    same(|s| s.try_map_or_dead(even).0, |b| b.iter().filter_map(|x| even(*x).ok()).collect());
    let dead = |x: &i64| even(*x).err().map(|error| (*x, error));
    same(
        |s| s.try_map_or_dead(even).1.map(|d: DeadLetter<i64>| (d.record, d.error)).boxed(),
        |b| b.iter().filter_map(dead).collect(),
    );
}

/// By sign and parity, three partitions.
struct ByRest;

impl Partitioner<i64> for ByRest {
    fn partitions(&self) -> usize {
        3
    }
    fn partition(&self, key: &i64) -> usize {
        (key % 3) as usize
    }
    fn name(&self) -> String {
        "by-rest".into()
    }
}

#[test]
fn reduce_by_key_sums_each_key_whatever_the_partitions() {
    let want = |b: &[i64]| sums(pairs(b));
    same(|s| s.map(|x| (x % 7, x)).reduce_by_key(|a, b| a + b), want);
    for n in [1, 2, 3, 7, 300] {
        same(|s| s.map(|x| (x % 7, x)).reduce_by_key_into(|a, b| a + b, n), want);
    }
    same(|s| s.map(|x| (x % 7, x)).reduce_by_key_with(|a, b| a + b, ByRest), want);
}

#[test]
fn a_users_partitioner_decides_where_a_key_goes() {
    let out = run_sorted(batches(), |s| {
        s.map(|x| (x % 7, x))
            .reduce_by_key_with(|a, b| a + b, ByRest)
            .map_partitions_with_index(|i, kv| {
                kv.map(move |(k, _)| (k, i as u64)).collect::<Vec<_>>()
            })
            .boxed()
    });
    for (batch, out) in batches().iter().zip(out) {
        let want: Vec<(i64, u64)> =
            sums(pairs(batch)).iter().map(|(k, _)| (*k, (k % 3) as u64)).collect();
        assert_eq!(out, want);
    }
}

#[test]
fn group_by_key_keeps_the_values_of_a_key_in_record_order() {
    same(|s| s.map(|x| (x % 7, x)).group_by_key(), |b| groups(pairs(b)).into_iter().collect());
}

#[test]
fn join_pairs_all_values_and_cogroup_shows_both_sides() {
    let right = |b: &[i64]| -> Vec<(i64, String)> {
        b.iter().filter(|x| *x % 2 == 0).map(|x| (x % 5, x.to_string())).collect()
    };
    // A join of a large batch is a product; a few records of each key are enough.
    let few = || vec![vec![5, 3, 8, 3, 10, 0, 7], vec![], vec![7], (0..60).collect()];
    let split = |s: &DStream<i64>| {
        let left = s.map(|x| (x % 7, x)).boxed();
        let right = s.filter(|x| x % 2 == 0).map(|x| (x % 5, x.to_string())).boxed();
        (left, right)
    };
    let joined = run_sorted(few(), |s| {
        let (left, right) = split(s);
        left.join(&right)
    });
    let grouped = run_sorted(few(), |s| {
        let (left, right) = split(s);
        left.cogroup(&right)
    });
    for (i, b) in few().iter().enumerate() {
        let mut want = Vec::new();
        for (k, v) in pairs(b) {
            want.extend(right(b).into_iter().filter(|(r, _)| *r == k).map(|(_, w)| (k, (v, w))));
        }
        assert_eq!(joined[i], sorted(want));
        let (mut l, mut r) = (groups(pairs(b)), groups(right(b)));
        let keys: Vec<i64> = sorted(l.keys().chain(r.keys()).copied().collect::<Vec<_>>());
        let mut want: Vec<_> = keys
            .into_iter()
            .map(|k| (k, (l.remove(&k).unwrap_or_default(), r.remove(&k).unwrap_or_default())))
            .collect();
        want.retain(|(_, (v, w))| !(v.is_empty() && w.is_empty()));
        assert_eq!(grouped[i], want);
    }
}

#[test]
fn count_and_reduce_give_one_record_a_batch() {
    exactly(|s| s.count(), |b| vec![b.len() as u64]);
    exactly(
        |s| s.filter(|x| *x > 5).count(),
        |b| vec![b.iter().filter(|x| **x > 5).count() as u64],
    );
    exactly(|s| s.reduce(|a, b| a.max(b)), |b| b.iter().copied().max().into_iter().collect());
}

#[test]
fn union_keeps_duplicates() {
    exactly(
        |s| s.union(&s.map(|x| x + 1)).union(s),
        |b| [b.to_vec(), b.iter().map(|x| x + 1).collect(), b.to_vec()].concat(),
    );
}

#[test]
fn transforms_run_any_function_of_the_rdd() {
    same(|s| s.transform(|rdd| rdd.map(|x| x * 2)), |b| b.iter().map(|x| x * 2).collect());
    same(
        |s| {
            s.transform(|rdd| {
                let n = rdd.count()?;
                let most = rdd.reduce(|a, b| a.max(b))?.unwrap_or(0);
                Ok::<_, Error>(rdd.map(move |x| (x == most, n)).boxed())
            })
        },
        |b| {
            let most = b.iter().copied().max().unwrap_or(0);
            b.iter().map(|x| (*x == most, b.len() as u64)).collect()
        },
    );
    same(
        |s| s.transform(|rdd| rdd.map(|x| (x % 7, x)).reduce_by_key(|a, b| a + b)),
        |b| sums(pairs(b)),
    );
    let times =
        run(batches(), |s| s.transform_at(|rdd, t| rdd.map(move |x| (t.millis(), x))).boxed());
    for (i, (b, out)) in batches().iter().zip(times).enumerate() {
        let t = 1_000 * (i as u64 + 1);
        assert_eq!(out, b.iter().map(|x| (t, *x)).collect::<Vec<_>>());
    }
    same(
        |s| s.transform_with(&s.map(|x| -x), |a, b, _| a.union(&b)),
        |b| b.iter().flat_map(|x| [*x, -x]).collect(),
    );
}

#[test]
fn persist_changes_nothing_at_any_level() {
    let levels = [
        StorageLevel::DISK_ONLY,
        StorageLevel::DISK_ONLY_2,
        StorageLevel::DISK_ONLY_3,
        StorageLevel::MEMORY_ONLY,
        StorageLevel::MEMORY_ONLY_2,
        StorageLevel::MEMORY_ONLY_SER,
        StorageLevel::MEMORY_ONLY_SER_2,
        StorageLevel::MEMORY_AND_DISK,
        StorageLevel::MEMORY_AND_DISK_2,
        StorageLevel::MEMORY_AND_DISK_SER,
        StorageLevel::MEMORY_AND_DISK_SER_2,
    ];
    for level in levels {
        exactly(
            |s| s.map(|x| (x, x.to_string())).persist(level),
            |b| b.iter().map(|x| (*x, x.to_string())).collect(),
        );
    }
    same(
        |s| {
            let kept = s.map(|x| (x % 7, x)).cache();
            kept.reduce_by_key(|a, b| a + b).union(&kept)
        },
        |b| sums(pairs(b)).into_iter().chain(pairs(b)).collect(),
    );
}

#[test]
#[should_panic(expected = "keeps nothing")]
fn persist_at_a_level_that_keeps_nothing_is_refused_at_the_call() {
    drop(run(batches(), |s| s.persist(StorageLevel::NONE)));
}

#[test]
fn outputs_see_every_record_once_on_both_engines() {
    for engine in ENGINES {
        let (seen, pages) = (Collector::new(), Arc::new(Mutex::new(Vec::new())));
        let mut driver = driver::<i64>(engine, conf(), |_, s| {
            let (seen, pages) = (seen.clone(), pages.clone());
            s.foreach_partition(move |records, t| seen.add(t, records));
            s.map(|x| x * 2).print_to(2, move |page| pages.lock().unwrap().push(page));
        });
        for b in batches() {
            driver.input().push(b);
        }
        driver.batches(5).unwrap();
        let got: Vec<Vec<i64>> = seen.batches().into_iter().map(sorted).collect();
        assert_eq!(got, batches().into_iter().map(sorted).collect::<Vec<_>>(), "{engine:?}");
        let rule = "-".repeat(43);
        let page = |t: u64, rest: &str| format!("{rule}\nTime: {t} ms\n{rule}\n{rest}\n");
        let want = [
            page(1_000, "10\n6\n...\n"),
            page(2_000, ""),
            page(3_000, "14\n"),
            page(4_000, "0\n2\n...\n"),
            page(5_000, ""),
        ];
        assert_eq!(*pages.lock().unwrap(), want, "{engine:?}");
    }
}

#[test]
fn batches_without_a_partition_are_empty_batches_for_every_operator() {
    for engine in ENGINES {
        let out = Collector::<(String, String)>::new();
        let mut driver = driver::<i64>(engine, conf(), |_, s| {
            let kv = s.map(|x| (x % 7, x)).boxed();
            let text = |s: &DStream<String>, name: &'static str| {
                let out = out.clone();
                s.foreach_rdd(move |rdd, t| {
                    out.add(t, rdd.collect()?.into_iter().map(|x| (name.to_string(), x)));
                    Ok::<_, Error>(())
                });
            };
            text(&s.count().map(|x| x.to_string()).boxed(), "count");
            text(&s.reduce(|a, b| a + b).map(|x| x.to_string()).boxed(), "reduce");
            text(&kv.reduce_by_key(|a, b| a + b).map(|x| format!("{x:?}")).boxed(), "by key");
            text(&kv.group_by_key().map(|x| format!("{x:?}")).boxed(), "group");
            text(&kv.join(&kv).map(|x| format!("{x:?}")).boxed(), "join");
            text(&s.union(s).map(|x| x.to_string()).boxed(), "union");
            text(&s.cache().map(|x| x.to_string()).boxed(), "cache");
            text(&s.transform(|r| r).map(|x| x.to_string()).boxed(), "transform");
        });
        driver.batch().unwrap();
        driver.input().push([8]);
        driver.batches(2).unwrap();
        let empty = vec![("count".to_string(), "0".to_string())];
        let full = [
            ("by key", "(1, 8)"),
            ("cache", "8"),
            ("count", "1"),
            ("group", "(1, [8])"),
            ("join", "(1, (8, 8))"),
            ("reduce", "8"),
            ("transform", "8"),
            ("union", "8"),
            ("union", "8"),
        ];
        let full = full.map(|(a, b)| (a.to_string(), b.to_string())).to_vec();
        let got: Vec<_> = out.batches().into_iter().map(sorted).collect();
        assert_eq!(got, [empty.clone(), full, empty], "{engine:?}");
    }
}

/// A batch as partitions of pairs.
type Parts = Vec<Vec<(i64, i64)>>;

fn random_batches() -> impl Strategy<Value = Vec<Parts>> {
    let record = (0..12i64, -100..100i64);
    let part = prop::collection::vec(record, 0..20);
    prop::collection::vec(prop::collection::vec(part, 0..5), 1..4)
}

#[derive(Debug, Default, PartialEq)]
struct Answers {
    sums: Vec<Vec<(i64, i64)>>,
    groups: Vec<Vec<(i64, Vec<i64>)>>,
    joined: Vec<Vec<(i64, (i64, i64))>>,
    united: Vec<Vec<(i64, i64)>>,
    counts: Vec<Vec<u64>>,
}

fn answers_of(batches: &[Parts]) -> Answers {
    let mut a = Answers::default();
    for b in batches {
        let all: Vec<(i64, i64)> = b.concat();
        a.sums.push(sums(all.iter().copied()));
        a.groups.push(groups(all.iter().copied()).into_iter().collect());
        let mut joined = Vec::new();
        for (k, v) in &all {
            let right = all.iter().filter(|(r, w)| r + 1 == *k && *w > 0);
            joined.extend(right.map(|(_, w)| (*k, (*v, *w))));
        }
        a.joined.push(sorted(joined));
        a.united.push(sorted([&all[..], &all[..]].concat()));
        a.counts.push(vec![all.len() as u64]);
    }
    a
}

fn answers_on(engine: TestEngine, parts: usize, batches: &[Parts]) -> Answers {
    let (s1, s2, s3, s4, s5) =
        (Collector::new(), Collector::new(), Collector::new(), Collector::new(), Collector::new());
    let conf = conf().default_parallelism(parts);
    let mut driver = driver::<(i64, i64)>(engine, conf, |_, s| {
        let (c1, c2, c3, c4, c5) = (s1.clone(), s2.clone(), s3.clone(), s4.clone(), s5.clone());
        s.reduce_by_key(|a, b| a + b).foreach_rdd(move |r, t| c1.take(r, t));
        s.group_by_key().foreach_rdd(move |r, t| c2.take(r, t));
        let right = s.filter(|(_, w)| *w > 0).map(|(k, w)| (k + 1, w));
        s.join(&right).foreach_rdd(move |r, t| c3.take(r, t));
        s.union(s).foreach_rdd(move |r, t| c4.take(r, t));
        s.count().foreach_rdd(move |r, t| c5.take(r, t));
    });
    batches.iter().for_each(|b| driver.input().push_partitions(b.iter().cloned()));
    driver.batches(batches.len()).unwrap();
    fn each<T: Ord + Clone>(c: &Collector<T>) -> Vec<Vec<T>> {
        c.batches().into_iter().map(sorted).collect()
    }
    Answers {
        sums: each(&s1),
        groups: each(&s2),
        joined: each(&s3),
        united: each(&s4),
        counts: each(&s5),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn shuffles_agree_with_a_plain_program(batches in random_batches(), parts in 1..10usize) {
        let want = answers_of(&batches);
        for engine in ENGINES {
            prop_assert_eq!(&answers_on(engine, parts, &batches), &want, "{:?}", engine);
        }
    }
}
