//! States on disk, limits of states, and what can be seen of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use brooklet::metrics::StateMetrics;
use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{FailurePolicy, OnFull, StateLimit, StateStore};
use proptest::prelude::*;

use super::{ENGINES, conf, driver, sorted};

const STORES: [StateStore; 2] = [StateStore::Memory, StateStore::Disk];

type Word = (String, u32);

#[derive(Clone, Debug)]
struct Program {
    batches: Vec<Vec<(u8, u32)>>,
    partitions: usize,
    timeout: Option<u64>,
    limit: Option<usize>,
    remember: u64,
    /// The calls of the function that panic.
    panics: Vec<u32>,
    initial: u8,
}

fn program() -> impl Strategy<Value = Program> {
    let batch = proptest::collection::vec((0..40u8, 0..100u32), 0..40);
    (
        proptest::collection::vec(batch, 1..10),
        1..5usize,
        proptest::option::of(1..4u64),
        proptest::option::of(20..60usize),
        0..4u64,
        proptest::collection::vec(0..200u32, 0..3),
        0..30u8,
    )
        .prop_map(|(batches, partitions, timeout, limit, remember, panics, initial)| Program {
            batches,
            partitions,
            timeout,
            limit,
            remember,
            panics,
            initial,
        })
}

fn word(k: u8) -> String {
    format!("a word of more than twenty-three bytes, number {k}")
}

/// What the outputs of all operators saw, batch by batch, and the counters.
type Seen = (Vec<[Vec<(String, String)>; 3]>, Vec<[u64; 3]>);

fn run(engine: TestEngine, store: StateStore, p: &Program) -> Seen {
    let outs: [Collector<(String, String)>; 3] = Default::default();
    let calls = Arc::new(AtomicU32::new(0));
    let conf = conf().state_store(store).state_memory(1 << 20).task_max_failures(8);
    let mut d = driver::<Word>(engine, conf, |ssc, s| {
        ssc.remember(seconds(p.remember)).unwrap();
        let initial = (0..p.initial).map(|k| (word(k), u64::from(k)));
        let initial = s.context().parallelize(initial, 2);
        let mut spec = StateSpec::new().partitions(p.partitions).initial_state(initial.clone());
        let mut all = StateSpec::new().partitions(p.partitions).initial_state(initial);
        if let Some(idle) = p.timeout {
            spec = spec.timeout(seconds(idle));
        }
        if let Some(most) = p.limit {
            // One that nobody exceeds: which keys of a batch go isn't the same in both stores.
            spec = spec.limit(StateLimit::bytes(most * 2_000), OnFull::EvictOldest);
            all = all.limit(StateLimit::keys(most + 400), OnFull::Fail);
        }
        let (c, panics) = (calls.clone(), p.panics.clone());
        let mapped = s.map_with_state_spec(spec, move |k, v: Option<u32>, n: &mut State<u64>| {
            assert!(!panics.contains(&c.fetch_add(1, SeqCst)), "on purpose");
            let before = n.get().copied();
            match v {
                None => {}
                Some(v) if v % 7 == 0 && n.exists() => n.remove(),
                Some(v) if v % 5 == 0 => {
                    n.modify(|n| *n += 1);
                }
                Some(v) => n.update(before.unwrap_or(0) + u64::from(v)),
            }
            (k.clone(), format!("{before:?} {v:?}"))
        });
        let sums = s.update_state_by_key_spec(all, |new: &[u32], old: Option<u64>| {
            let sum = old.unwrap_or(1) + new.iter().map(|n| u64::from(*n)).sum::<u64>();
            (!sum.is_multiple_of(11)).then_some(sum)
        });
        let snapshots = mapped.state_snapshots();
        let text = |s: &DStream<(String, u64)>| s.map(|(k, n)| (k, n.to_string())).boxed();
        for (s, out) in [mapped.boxed(), text(&snapshots), text(&sums)].iter().zip(&outs) {
            let out = out.clone();
            s.foreach_rdd(move |rdd, t| out.take(rdd, t));
        }
    });
    let mut counters = Vec::new();
    for b in &p.batches {
        d.input().push(b.iter().map(|(k, v)| (word(*k), *v)));
        d.batch().unwrap();
        counters
            .extend(d.context().state_metrics().iter().map(|m| [m.keys, m.timed_out, m.evicted]));
    }
    let seen = outs.map(|o| o.batches().into_iter().map(sorted).collect::<Vec<_>>());
    let batches = (0..p.batches.len()).map(|i| std::array::from_fn(|o| seen[o][i].clone()));
    (batches.collect(), counters)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn programs_give_the_same_on_disk_as_in_memory(p in program()) {
        for engine in ENGINES {
            let calm = Program { panics: Vec::new(), ..p.clone() };
            let memory = run(engine, StateStore::Memory, &calm);
            // Which calls panic depends on the threads; the results must not.
            let disk = run(engine, StateStore::Disk, &p);
            prop_assert_eq!(&disk, &memory, "{:?}", engine);
            prop_assert_eq!(&run(engine, StateStore::Memory, &p), &memory, "{:?}", engine);
        }
    }
}

/// Counts by word; what comes out is the word with its count.
fn counts(
    store: StateStore,
    engine: TestEngine,
    policy: FailurePolicy,
    spec: impl Fn() -> StateSpec<String, u64>,
) -> (Driver<brooklet::Queue<Word>>, Collector<(String, u64)>) {
    let out = Collector::new();
    let o = out.clone();
    let conf = conf().state_store(store).failure_policy(policy);
    let d = driver::<Word>(engine, conf, move |_, s| {
        let o = o.clone();
        let count = |k: &String, _: Option<u32>, n: &mut State<u64>| {
            n.update(n.get().unwrap_or(&0) + 1);
            (k.clone(), n.get().copied().unwrap_or_default())
        };
        s.map_with_state_spec(spec(), count)
            .name("counts")
            .foreach_rdd(move |rdd, t| o.take(rdd, t));
    });
    (d, out)
}

fn words(all: impl IntoIterator<Item = u8>) -> Vec<Word> {
    all.into_iter().map(|k| (format!("w{k}"), 1)).collect()
}

#[test]
fn a_full_state_fails_its_batch_and_says_what_to_do() {
    for (store, engine) in STORES.into_iter().flat_map(|s| ENGINES.map(|e| (s, e))) {
        let spec = || StateSpec::new().partitions(1).limit(StateLimit::keys(3), OnFull::Fail);
        let (mut d, _) = counts(store, engine, FailurePolicy::stop(), spec);
        d.input().push(words([1, 2, 3]));
        d.batch().unwrap();
        d.input().push(words([3, 4]));
        let e = d.batch().unwrap_err().to_string();
        for part in
            ["map_with_state", "partition 0", "4 keys", "limit of 3 keys", "EvictOldest", "timeout"]
        {
            assert!(e.contains(part), "{part}: {e}");
        }
    }
}

#[test]
fn a_batch_that_fails_for_want_of_room_leaves_the_state_as_it_was() {
    for (store, engine) in STORES.into_iter().flat_map(|s| ENGINES.map(|e| (s, e))) {
        let spec = || StateSpec::new().partitions(2).limit(StateLimit::bytes(800), OnFull::Fail);
        let (mut d, out) = counts(store, engine, FailurePolicy::skip(), spec);
        for all in [words([1, 2]), words((0..50).chain([1])), words([1])] {
            d.input().push(all);
            d.batch().unwrap();
        }
        let last = out.batches().pop().unwrap();
        assert_eq!(last, [("w1".to_string(), 2)], "{store:?} {engine:?}");
    }
}

#[test]
fn of_all_states_of_a_batch_update_state_by_key_fails_too() {
    for store in STORES {
        let conf = conf().state_store(store);
        let mut d = driver::<Word>(TestEngine::Local, conf, |_, s| {
            let spec = StateSpec::new().partitions(1).limit(StateLimit::keys(2), OnFull::Fail);
            s.update_state_by_key_spec(spec, |new: &[u32], n: Option<usize>| {
                Some(n.unwrap_or(0) + new.len())
            })
            .foreach_rdd(|rdd, _| rdd.count().map(drop));
        });
        d.input().push(words([1, 2]));
        d.batch().unwrap();
        d.input().push(words([3]));
        let e = d.batch().unwrap_err().to_string();
        assert!(e.contains("update_state_by_key") && e.contains("3 keys"), "{e}");
    }
}

#[test]
fn the_keys_that_were_not_touched_for_the_longest_time_make_room() {
    for (store, engine) in STORES.into_iter().flat_map(|s| ENGINES.map(|e| (s, e))) {
        let spec =
            || StateSpec::new().partitions(1).limit(StateLimit::keys(4), OnFull::EvictOldest);
        let (mut d, out) = counts(store, engine, FailurePolicy::stop(), spec);
        // One key a batch, so that the order is known; then all of them.
        for all in [&[1][..], &[2], &[3], &[4], &[1], &[5], &[6], &[], &[1, 4, 5, 6], &[2, 3]] {
            d.input().push(words(all.iter().copied()));
            d.batch().unwrap();
        }
        let last: Vec<_> = out.batches().into_iter().map(sorted).skip(8).collect();
        let of =
            |all: &[(&str, u64)]| all.iter().map(|(k, n)| (k.to_string(), *n)).collect::<Vec<_>>();
        assert_eq!(last[0], of(&[("w1", 3), ("w4", 2), ("w5", 2), ("w6", 2)]), "{store:?}");
        assert_eq!(last[1], of(&[("w2", 1), ("w3", 1)]), "{store:?}");
        if engine == TestEngine::Local {
            let m = &d.context().state_metrics()[0];
            assert_eq!((m.keys, m.evicted, m.timed_out), (4, 4, 0));
        }
    }
}

#[test]
fn states_of_all_keys_let_the_oldest_go_too() {
    for store in STORES {
        let out = Collector::new();
        let o = out.clone();
        let mut d = driver::<Word>(TestEngine::Local, conf().state_store(store), move |_, s| {
            let o = o.clone();
            let spec =
                StateSpec::new().partitions(1).limit(StateLimit::keys(2), OnFull::EvictOldest);
            s.update_state_by_key_spec(spec, |new: &[u32], n: Option<usize>| {
                Some(n.unwrap_or(0) + new.len())
            })
            .foreach_rdd(move |rdd, t| o.take(rdd, t));
        });
        for k in [1, 2, 1, 3, 2, 2] {
            d.input().push(words([k]));
            d.batch().unwrap();
        }
        let all: Vec<_> = out.batches().into_iter().map(sorted).collect();
        let of = |all: &[(&str, usize)]| {
            all.iter().map(|(k, n)| (k.to_string(), *n)).collect::<Vec<_>>()
        };
        // A key that had values stays, the one that had none for longer goes.
        assert_eq!(all[3], of(&[("w1", 2), ("w3", 1)]), "{store:?}");
        assert_eq!(all[5], of(&[("w2", 2), ("w3", 1)]), "{store:?}");
        assert_eq!(d.context().state_metrics()[0].evicted, 2);
    }
}

#[test]
#[should_panic(expected = "a limit of 3 keys is less than one for each of 4 partitions")]
fn a_limit_needs_something_for_each_partition() {
    let spec = || StateSpec::new().partitions(4).limit(StateLimit::keys(3), OnFull::Fail);
    counts(StateStore::Memory, TestEngine::Local, FailurePolicy::stop(), spec);
}

#[test]
fn metrics_tell_what_stateful_operators_keep() {
    for store in STORES {
        let tries = Arc::new(AtomicU32::new(0));
        let mut d = driver::<Word>(TestEngine::Local, conf().state_store(store), move |_, s| {
            let tries = tries.clone();
            let spec = StateSpec::new().partitions(2).timeout(seconds(2));
            let counts =
                s.map_with_state_spec(spec, move |k: &String, v, n: &mut State<String>| {
                    if v == Some(7) {
                        assert!(tries.fetch_add(1, SeqCst) > 0, "on purpose, the first time");
                    }
                    if v.is_some() {
                        n.update(k.repeat(20));
                    }
                });
            let windows = s.reduce_by_key_and_window(|a, b| a + b, seconds(2), seconds(1));
            counts.name("counts").foreach_rdd(|rdd, _| rdd.count().map(drop));
            windows.foreach_rdd(|rdd, _| rdd.count().map(drop));
        });
        assert_eq!(d.context().state_metrics().len(), 2);
        d.input().push((0..1_000).map(|k| (format!("w{k}"), 1)));
        d.batch().unwrap();
        let of = |d: &Driver<_>| d.context().state_metrics();
        let [first, window]: [StateMetrics; 2] = of(&d).try_into().unwrap();
        assert_eq!((first.operator.as_str(), first.partitions, first.keys), ("counts", 2, 1_000));
        assert!(window.operator.contains("reduce_by_key_and_window"), "{}", window.operator);
        assert_eq!(window.keys, 1_000);
        // Texts of 40 to 80 bytes beside what the tables take.
        assert!((100_000..600_000).contains(&first.bytes), "{first:?}");
        assert_eq!(first.index_rebuilds > 0, store == StateStore::Memory);
        assert_eq!((first.undone, first.timed_out), (0, 0));
        d.input().push([("w5".to_string(), 7)]);
        d.batch().unwrap();
        assert_eq!(of(&d)[0].undone, 1);
        d.batches(2).unwrap();
        let [after, _]: [StateMetrics; 2] = of(&d).try_into().unwrap();
        assert_eq!((after.keys, after.timed_out), (1, 999), "{store:?}");
        d.batch().unwrap();
        let last = of(&d);
        assert!(last[0].bytes < first.bytes / 2, "{last:?}");
        d.context().stop(true).unwrap();
        let stopped = of(&d);
        assert_eq!((stopped[0].timed_out, stopped.len()), (1_000, 2));
    }
}

#[test]
fn the_heaviest_keys_are_found() {
    for store in STORES {
        let mut d = driver::<Word>(TestEngine::Local, conf().state_store(store), |_, s| {
            let spec = StateSpec::new().partitions(3);
            let all = s.map_with_state_spec(spec, |_, v: Option<u32>, x: &mut State<Vec<u32>>| {
                if !x.modify(|x| x.extend(v)) {
                    x.update(v.into_iter().collect());
                }
            });
            all.name("all").foreach_rdd(|rdd, _| rdd.count().map(drop));
        });
        // Key i has i values, in two batches.
        for _ in 0..2 {
            d.input().push((0..100).flat_map(|i| vec![(format!("w{i}"), 1); i]));
            d.batch().unwrap();
        }
        let heavy = d.context().heaviest_keys("all", 3).unwrap();
        let found: Vec<_> = heavy.iter().map(|h| (h.key.as_str(), h.bytes)).collect();
        assert_eq!(found, [("\"w99\"", 204), ("\"w98\"", 202), ("\"w97\"", 200)], "{store:?}");
        assert_eq!(d.context().heaviest_keys("all", 1_000).unwrap().len(), 99);
        let e = d.context().heaviest_keys("other", 3).unwrap_err().to_string();
        assert!(e.contains("`other`") && e.contains("all"), "{e}");
    }
}

#[test]
fn files_of_states_go_with_their_context_and_with_their_operator() {
    let below = std::env::temp_dir().join(format!("brooklet-bounded-{}", std::process::id()));
    let files = || -> Vec<PathBuf> {
        let Ok(found) = std::fs::read_dir(&below) else { return Vec::new() };
        found.map(|e| e.unwrap().path()).collect()
    };
    for engine in ENGINES {
        let conf = conf().state_store(StateStore::Disk).state_dir(&below);
        let mut d = driver::<Word>(engine, conf, |_, s| {
            s.map_with_state(|_, _: Option<u32>, n: &mut State<u32>| n.update(1))
                .foreach_rdd(|rdd, _| rdd.count().map(drop));
            s.update_state_by_key(|_: &[u32], n: Option<u32>| Some(n.unwrap_or(0)))
                .foreach_rdd(|rdd, _| rdd.count().map(drop));
        });
        for _ in 0..3 {
            d.input().push(words(0..100));
            d.batch().unwrap();
        }
        // A folder and its lock, in each process that keeps states.
        let n = files().len();
        assert!(n == 2 || engine == TestEngine::Loopback && n == 4, "{:?}", files());
        drop(d);
        assert_eq!(files(), Vec::<PathBuf>::new());
    }
    std::fs::remove_dir_all(&below).unwrap();
}
