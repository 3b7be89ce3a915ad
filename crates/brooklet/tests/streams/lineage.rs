//! What is shared, what is computed again after a loss, and what goes when a batch is over.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use brooklet::engine::{Role, StageKey};
use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine, faults, run, run_sorted};
use brooklet::{Input, Partitions, Queue};

use super::{ENGINES, conf, driver, sorted};

/// (stages, tasks) that one batch of ten numbers in two partitions runs.
fn work_of_a_batch(engine: TestEngine, program: impl Fn(&DStream<i64>)) -> (u64, u64) {
    let mut d = driver(engine, conf(), |_, s| program(s));
    d.input().push(1..=10);
    d.batch().unwrap();
    let (_, stages, tasks) = d.work_done();
    (stages, tasks)
}

fn read(s: &DStream<(i64, i64)>) {
    s.foreach_rdd(|r, _| r.collect().map(drop));
}

#[test]
fn two_outputs_on_one_shuffle_run_it_once() {
    for engine in ENGINES {
        // The map side (2 tasks) once, then one action (2 tasks) for each output.
        let plain = work_of_a_batch(engine, |s| {
            let r = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b);
            read(&r);
            read(&r);
        });
        assert_eq!(plain, (3, 6), "{engine:?}");
        let boxed = work_of_a_batch(engine, |s| {
            let r = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b).map(|kv| kv).boxed();
            read(&r);
            read(&r.filter(|(k, _)| *k > 0).boxed());
        });
        assert_eq!(boxed, (3, 6), "boxed, {engine:?}");
        let united = work_of_a_batch(engine, |s| {
            let r = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b);
            read(&r.union(&r));
            read(&r);
        });
        assert_eq!(united, (3, 8), "union, {engine:?}");
        let kept = work_of_a_batch(engine, |s| {
            let r = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b).cache();
            read(&r);
            read(&r);
        });
        assert_eq!(kept, (3, 6), "persist, {engine:?}");
        let joined = work_of_a_batch(engine, |s| {
            let r = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b);
            let j = r.join(&r.map(|kv| kv)).map(|(k, (a, _))| (k, a)).boxed();
            read(&j);
            read(&j);
            read(&r);
        });
        // Two map sides (the reduction, and the right side of the join: the left one lies where it belongs)
        // and three actions.
        assert_eq!(joined, (5, 10), "join, {engine:?}");
    }
}

#[test]
fn the_two_outputs_of_a_count_run_it_once() {
    for engine in ENGINES {
        let work = work_of_a_batch(engine, |s| {
            let n = s.count();
            n.foreach_rdd(|r, _| r.collect().map(drop));
            n.foreach_rdd(|r, _| r.collect().map(drop));
        });
        assert_eq!(work, (3, 4), "{engine:?}");
    }
}

#[test]
fn a_lost_shuffle_output_is_computed_again_and_nothing_else() {
    let (seen, mapped) = (Collector::new(), Arc::new(AtomicU64::new(0)));
    let again = Arc::new(Mutex::new(Vec::new()));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let (first, second) = (seen.clone(), seen.clone());
        let (mapped, again) = (mapped.clone(), again.clone());
        let m = mapped.clone();
        let r = s.map(move |x| (m.fetch_add(1, SeqCst), (x % 3, x)).1).reduce_by_key(|a, b| a + b);
        r.foreach_rdd(move |r, t| first.take(r, t));
        r.foreach_rdd(move |r, t| {
            let stages = faults::stages(r.context());
            assert_eq!(stages.len(), 1);
            assert!(faults::lose_output(r.context(), &stages[0], 1));
            let (before, records) = (faults::work_done(r.context()), mapped.load(SeqCst));
            second.take(r.clone(), t)?;
            let after = faults::work_done(r.context());
            let records = mapped.load(SeqCst) - records;
            again.lock().unwrap().push((after.1 - before.1, after.2 - before.2, records));
            Ok::<_, Error>(())
        });
    });
    d.input().push_partitions([vec![1, 2, 3], vec![4, 5], vec![6, 7, 8, 9]]);
    d.batch().unwrap();
    let want = [(0, 18), (0, 18), (1, 12), (1, 12), (2, 15), (2, 15)];
    assert_eq!(seen.sorted(), want);
    // One map task over the two records of partition 1, and the two tasks of the action.
    assert_eq!(*again.lock().unwrap(), [(2, 3, 2)]);
}

#[test]
fn accumulators_do_not_count_again_what_is_computed_again() {
    let mut d = Driver::new(|ssc| {
        let (queue, s) = ssc.queue_stream::<i64>();
        let count = ssc.context().long_accumulator("records");
        let c = count.clone();
        s.map(move |x| (c.add(x), (x, x)).1).reduce_by_key(|a, b| a + b).foreach_rdd(|r, _| {
            let before = sorted(r.collect()?);
            let stage = faults::stages(r.context())[0];
            assert!(faults::lose_output(r.context(), &stage, 0));
            assert_eq!(sorted(r.collect()?), before);
            Ok::<_, Error>(())
        });
        Ok((queue, count))
    })
    .unwrap();
    d.input().0.push(1..=10);
    d.batch().unwrap();
    assert_eq!((d.input().1.value().sum, d.input().1.value().count), (55, 10));
}

#[test]
fn a_persisted_partition_is_computed_once_and_a_lost_one_again() {
    for level in [StorageLevel::MEMORY_ONLY, StorageLevel::MEMORY_ONLY_SER, StorageLevel::DISK_ONLY]
    {
        let (mapped, seen) = (Arc::new(AtomicU64::new(0)), Collector::new());
        let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
            let (seen, m) = (seen.clone(), mapped.clone());
            let kept = s.map(move |x| (m.fetch_add(1, SeqCst), x).1).persist(level);
            let m = mapped.clone();
            kept.foreach_rdd(move |r, t| {
                seen.take(r.clone(), t)?;
                seen.take(r.clone(), t)?;
                assert_eq!(m.load(SeqCst), 9, "computed once");
                assert_eq!(faults::lose_persisted(r.context(), 2), 1);
                seen.take(r, t)?;
                assert_eq!(m.load(SeqCst), 13, "only the lost partition of four records");
                Ok::<_, Error>(())
            });
            kept.count().print_to(1, |_| {});
        });
        d.input().push_partitions([vec![1, 2, 3], vec![4, 5], vec![6, 7, 8, 9]]);
        d.batch().unwrap();
        let want: Vec<i64> = (1..=9).flat_map(|x| [x; 3]).collect();
        assert_eq!(seen.sorted(), want, "{level}");
        assert_eq!(mapped.load(SeqCst), 13, "{level}");
        assert_eq!(
            (0..3).map(|p| faults::lose_persisted(d.context().context(), p)).sum::<usize>(),
            0
        );
    }
}

#[test]
fn a_lost_persisted_partition_behind_a_shuffle_needs_only_its_own_task() {
    let again = Arc::new(Mutex::new(Vec::new()));
    let reduced = Arc::new(AtomicU64::new(0));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let (again, n) = (again.clone(), reduced.clone());
        let kept = s.map(|x| (x, x)).reduce_by_key(|a, b| a + b);
        let m = n.clone();
        let kept = kept.map(move |x| (m.fetch_add(1, SeqCst), x).1).cache();
        kept.foreach_rdd(move |r, _| {
            let all = sorted(r.collect()?);
            let (before, records) = (faults::work_done(r.context()), n.load(SeqCst));
            assert_eq!(faults::lose_persisted(r.context(), 0), 1);
            assert_eq!(sorted(r.collect()?), all);
            let after = faults::work_done(r.context());
            again.lock().unwrap().push((after.1 - before.1, after.2 - before.2));
            let lost = r.map_partitions_with_index(|i, xs| [(i, xs.len() as u64)]).collect()?[0];
            assert_eq!((0, n.load(SeqCst) - records), lost);
            Ok::<_, Error>(())
        });
    });
    d.input().push(0..20);
    d.batch().unwrap();
    // The map side isn't run again: its output is there.
    assert_eq!(*again.lock().unwrap(), [(1, 2)]);
    assert!(reduced.load(SeqCst) < 40);
}

/// Counts its living copies.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tracked(i64);

static LIVING: AtomicI64 = AtomicI64::new(0);

impl Tracked {
    fn new(x: i64) -> Tracked {
        LIVING.fetch_add(1, SeqCst);
        Tracked(x)
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Tracked {
        Tracked::new(self.0)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, SeqCst);
    }
}

impl serde::Serialize for Tracked {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> serde::Deserialize<'de> for Tracked {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Tracked, D::Error> {
        i64::deserialize(d).map(Tracked::new)
    }
}

#[test]
fn nothing_of_two_hundred_batches_is_left() {
    for engine in ENGINES {
        let mut d = driver::<Tracked>(engine, conf(), |_, s| {
            let kv = s.map(|x| (x.0 % 5, x));
            let kept = kv.reduce_by_key(|a, _| a).cache();
            kept.foreach_rdd(|r, _| r.collect().map(drop));
            kv.group_by_key().foreach_rdd(|r, _| r.count().map(drop));
            kv.join(&kept).foreach_partition(|_, _| {});
            s.transform(|r| {
                let n = r.count()?;
                Ok::<_, Error>(r.union(&r).map(move |x| (n, x)))
            })
            .print_to(1, |_| {});
            s.reduce(|a, _| a).union(s).boxed().count().print_to(1, |_| {});
        });
        for _ in 0..200 {
            d.input().push((0..20).map(Tracked::new));
            d.batch().unwrap();
        }
        // The end of a batch is told before its clean-up; the stop waits for it.
        d.context().stop(true).unwrap();
        let ctx = d.context().context();
        assert_eq!(faults::stages(ctx), [], "{engine:?}");
        assert_eq!((0..8).map(|p| faults::lose_persisted(ctx, p)).sum::<usize>(), 0);
        assert_eq!(LIVING.load(SeqCst), 0, "records that still live, {engine:?}");
    }
}

#[test]
fn an_rdd_that_the_user_holds_keeps_what_it_needs_and_no_more() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let held = held.clone();
        let sums = s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b);
        sums.foreach_rdd(move |r, t| {
            if t.millis() == 2_000 {
                r.count()?;
                held.lock().unwrap().push(r);
            }
            Ok::<_, Error>(())
        });
        s.map(|x| (x % 2, x)).reduce_by_key(|a, b| a + b).count().print_to(1, |_| {});
    });
    for b in [vec![7], vec![1, 2, 3, 4], vec![9]] {
        d.input().push(b);
    }
    d.batches(3).unwrap();
    d.context().stop(true).unwrap();
    let ctx = d.context().context().clone();
    let stages: Vec<StageKey> = faults::stages(&ctx);
    assert_eq!(stages.len(), 1, "{stages:?}");
    assert_eq!((stages[0].role, stages[0].batch.millis()), (Role::Map, 2_000));
    let r = held.lock().unwrap().pop().unwrap();
    let before = faults::work_done(&ctx);
    assert_eq!(sorted(r.collect().unwrap()), [(0, 3), (1, 5), (2, 2)]);
    let after = faults::work_done(&ctx);
    assert_eq!((after.1 - before.1, after.2 - before.2), (1, 2), "the shuffle isn't run again");
    assert!(faults::lose_output(&ctx, &stages[0], 0));
    assert_eq!(sorted(r.collect().unwrap()), [(0, 3), (1, 5), (2, 2)], "its lineage is there");
    drop(r);
    assert_eq!(faults::stages(&ctx), []);
}

#[test]
fn an_rdd_that_no_output_has_computed_can_be_computed_after_its_batch() {
    let held = Arc::new(Mutex::new(None));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let held = held.clone();
        s.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b).foreach_rdd(move |r, _| {
            held.lock().unwrap().get_or_insert(r);
        });
    });
    d.input().push([1, 2, 3, 4]);
    d.batches(2).unwrap();
    d.context().stop(true).unwrap();
    let r = held.lock().unwrap().take().unwrap();
    assert_eq!(sorted(r.collect().unwrap()), [(0, 3), (1, 5), (2, 2)]);
    drop(r);
    assert_eq!(faults::stages(d.context().context()), []);
}

#[test]
fn remembered_batches_keep_their_shuffles_as_long_as_they_are_told_to() {
    let mut d = Driver::new(|ssc| {
        let (queue, s) = ssc.queue_stream::<i64>();
        ssc.remember(seconds(2))?;
        s.map(|x| (x, x)).reduce_by_key(|a, _| a).foreach_rdd(|r, _| r.count().map(drop));
        Ok(queue)
    })
    .unwrap();
    for i in 0..5 {
        d.input().push([i]);
        d.batch().unwrap();
    }
    // The clean-up follows the completion of a batch at once, on the job thread; a stop would drop all.
    let kept = || -> Vec<u64> {
        let stages = faults::stages(d.context().context());
        sorted(stages.iter().map(|s| s.batch.millis()).collect())
    };
    for _ in 0..60_000 {
        if kept() == [4_000, 5_000] {
            break;
        }
        d.context().await_termination_or_timeout(millis(1)).unwrap();
    }
    assert_eq!(kept(), [4_000, 5_000]);
    d.context().stop(true).unwrap();
    assert_eq!(kept(), [0u64; 0], "nothing is kept of a stopped stream");
}

#[test]
fn transform_is_evaluated_once_a_batch_however_many_outputs_read_it() {
    let calls = Arc::new(AtomicU32::new(0));
    let (a, b) = (Collector::new(), Collector::new());
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let (calls, a, b) = (calls.clone(), a.clone(), b.clone());
        let top = s.transform(move |r| {
            calls.fetch_add(1, SeqCst);
            let most = r.reduce(|a, b| a.max(b))?;
            Ok::<_, Error>(r.filter(move |x| Some(*x) == most))
        });
        top.foreach_rdd(move |r, t| a.take(r, t));
        top.map(|x| x + 1).foreach_rdd(move |r, t| b.take(r, t));
    });
    for batch in [vec![3, 9, 9, 1], vec![], vec![2]] {
        d.input().push(batch);
    }
    d.batches(3).unwrap();
    assert_eq!(calls.load(SeqCst), 3);
    assert_eq!(a.batches(), [vec![9, 9], vec![], vec![2]]);
    assert_eq!(b.batches(), [vec![10, 10], vec![], vec![3]]);
}

#[test]
fn actions_inside_transform_are_replayed_with_the_recorded_results() {
    let batches = [vec![5i64, 1, 5, 2], vec![], (0..100).collect()];
    let out = run_sorted(batches.clone(), |s| {
        s.transform_at(|r, t| {
            let counts = r.map(|x| (x % 4, 1u64)).reduce_by_key(|a, b| a + b);
            let n = counts.count()?;
            let first = counts.map(|(k, _)| k).collect()?.into_iter().min().unwrap_or(-1);
            let more = if n > 2 { r.union(&r) } else { r };
            Ok::<_, Error>(more.map(move |x| (x, n, first, t.millis())))
        })
    });
    for (i, (b, out)) in batches.into_iter().zip(out).enumerate() {
        let mut rests: Vec<i64> = b.iter().map(|x| x % 4).collect();
        rests.sort();
        rests.dedup();
        let (n, first) = (rests.len() as u64, rests.first().copied().unwrap_or(-1));
        let times = if n > 2 { 2 } else { 1 };
        let want: Vec<_> =
            b.iter().flat_map(|x| vec![(*x, n, first, 1_000 * (i as u64 + 1)); times]).collect();
        assert_eq!(out, sorted(want));
    }
}

#[test]
fn a_transform_that_builds_other_lineage_in_executors_is_an_error_with_the_call_site() {
    let calls = Arc::new(AtomicU32::new(0));
    let at = line!() + 3;
    let mut d = driver::<i64>(TestEngine::Loopback, conf(), |_, s| {
        let calls = calls.clone();
        s.transform(move |r| if calls.fetch_add(1, SeqCst) == 0 { r } else { r.union(&r) })
            .foreach_partition(|_, _| {});
    });
    d.input().push([1, 2]);
    let e = d.batch().unwrap_err().to_string();
    assert!(e.contains("another lineage in an executor"), "{e}");
    assert!(e.contains(&format!("`transform` ({}:{at}:", file!())), "{e}");
}

#[test]
fn capture_free_chains_made_in_foreach_rdd_run_on_other_processes() {
    for engine in ENGINES {
        let out = Arc::new(Mutex::new(Vec::new()));
        let mut d = driver::<i64>(engine, conf(), |_, s| {
            let out = out.clone();
            s.foreach_rdd(move |r, _| {
                let chain = r.filter(|x| x % 2 == 0).map(|x| x * 10).flat_map(|x| [x, x + 1]);
                let sums = chain.map_partitions(|xs| [xs.sum::<i64>()]);
                out.lock().unwrap().push((
                    chain.count()?,
                    chain.collect()?,
                    sums.collect()?,
                    chain.is_empty()?,
                    chain.first()?,
                ));
                Ok::<_, Error>(())
            });
        });
        d.input().push([1, 2, 3, 4]);
        d.batch().unwrap();
        let want = (4, vec![20, 21, 40, 41], vec![41, 81], false, 20);
        assert_eq!(*out.lock().unwrap(), [want], "{engine:?}");
    }
}

const CAPTURING: u32 = line!() + 3;
fn capturing(r: &Rdd<i64>) -> Result<u64, Error> {
    let n = r.num_partitions() as i64;
    r.map(move |x| x + n).count()
}

const REDUCING: u32 = line!() + 2;
fn reducing(r: &Rdd<i64>) -> Result<u64, Error> {
    r.map(|x| (x % 2, x)).reduce_by_key(|a, b| a + b).count()
}

const BOXING: u32 = line!() + 2;
fn boxing(r: &Rdd<i64>) -> Result<u64, Error> {
    r.map(|x| x + 1).boxed().count()
}

const GROUPING: u32 = line!() + 2;
fn grouping(r: &Rdd<i64>) -> Result<u64, Error> {
    r.map(|x| (x % 2, x)).group_by_key().map(|x| x).count()
}

#[test]
fn what_foreach_rdd_cannot_send_is_refused_before_a_task_runs() {
    type Make = fn(&Rdd<i64>) -> Result<u64, Error>;
    let cases: [(Make, &str, u32, &str); 4] = [
        (capturing, "`map`", CAPTURING, "captures 8 bytes"),
        (reducing, "`reduce_by_key`", REDUCING, "makes a stage"),
        (boxing, "`count`", BOXING, "was boxed"),
        (grouping, "`group_by_key`", GROUPING, "makes a stage"),
    ];
    for (make, op, line, what) in cases {
        let mapped = Arc::new(AtomicU64::new(0));
        let mut d = driver::<i64>(TestEngine::Loopback, conf(), |_, s| {
            let m = mapped.clone();
            s.map(move |x| (m.fetch_add(1, SeqCst), x).1)
                .foreach_rdd(move |r, _| make(&r).map(drop));
        });
        d.input().push([1, 2, 3]);
        let e = d.batch().unwrap_err();
        assert!(matches!(e.root(), Error::NotShippable(_)), "{e:?}");
        let text = e.to_string();
        let place = format!("{op} ({}:{line}:", file!());
        assert!(text.contains(&place) && text.contains(what), "{text}\nwanted {place}, {what}");
        assert_eq!((mapped.load(SeqCst), d.work_done()), (0, (0, 0, 0)));
    }
}

/// A record in every batch but those at an even second: then it has no RDD.
struct Odd;

impl Input for Odd {
    type Item = u64;
    type Slice = u64;
    type Pipe = Partitions<u64>;
    fn allocate(&mut self, t: Time, _: Option<u64>) -> Result<Option<u64>, BoxError> {
        Ok((t.millis() / 1_000 % 2 == 1).then_some(t.millis()))
    }
    fn read(&self, slice: &Arc<u64>) -> Result<Partitions<u64>, BoxError> {
        let x = **slice;
        Ok(Partitions::from_fn(1, move |_| [x]))
    }
}

#[test]
fn union_with_a_stream_that_has_no_rdd_fails_and_the_other_outputs_go_on() {
    for engine in ENGINES {
        let (united, queued, narrow) = (Collector::new(), Collector::new(), Collector::new());
        let conf = conf().failure_policy(FailurePolicy::skip());
        let at = line!() + 5;
        let mut d = Driver::with(engine, conf.clone(), |ssc| {
            let (u, q, n) = (united.clone(), queued.clone(), narrow.clone());
            let (queue, numbers) = ssc.queue_stream::<u64>();
            let odd = ssc.input_stream(Odd);
            numbers.union(&odd).foreach_rdd(move |r, t| u.take(r, t));
            numbers.foreach_rdd(move |r, t| q.take(r, t));
            odd.map(|x| x + 1).foreach_rdd(move |r, t| n.take(r, t));
            Ok(queue)
        })
        .unwrap();
        let (tx, heard) = std::sync::mpsc::channel();
        d.context().add_listener(brooklet::scheduler::listener::output_completed(move |o| {
            drop(tx.send((o.batch_time.millis(), o.id, o.failure_reason.clone())));
        }));
        for i in 0..3 {
            d.input().push([i]);
        }
        d.batches(3).unwrap();
        d.context().stop(true).unwrap();
        assert_eq!(united.batches(), [[0, 1_000], [2, 3_000]], "{engine:?}");
        assert_eq!(queued.batches(), [[0], [1], [2]]);
        assert_eq!(narrow.batches(), [[1_001], [3_001]], "no RDD: the output isn't called");
        let failed: Vec<_> = heard.iter().filter(|(_, _, why)| why.is_some()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].0, failed[0].1), (2_000, 0));
        let why = failed[0].2.as_deref().unwrap();
        assert!(why.contains("needs an RDD of every parent"), "{why}");
        assert!(why.contains(&format!("`union` ({}:{at}:", file!())), "{why}");
    }
}

#[test]
fn transform_of_a_stream_that_has_no_rdd_fails_the_batch_and_later_ones_go_on() {
    for engine in ENGINES {
        let seen = Collector::new();
        let conf = conf().failure_policy(FailurePolicy::skip());
        let mut d = Driver::with(engine, conf.clone(), |ssc| {
            let seen = seen.clone();
            let odd = ssc.input_stream(Odd);
            odd.transform(|r| r.map(|x| x + 1)).foreach_rdd(move |r, t| seen.take(r, t));
            Ok(())
        })
        .unwrap();
        d.batches(3).unwrap();
        assert_eq!(seen.batches(), [[1_001], [3_001]], "{engine:?}");
        let mut d = Driver::with(engine, super::conf(), |ssc| {
            let odd = ssc.input_stream(Odd);
            odd.transform_with(&odd, |a, b, _| a.union(&b)).print_to(1, |_| {});
            Ok(())
        })
        .unwrap();
        d.batch().unwrap();
        let e = d.batch().unwrap_err();
        let Error::NoRdd { site, parent, time } = e.root() else { panic!("{e:?}") };
        assert_eq!((site.op, &**parent, time.millis()), ("transform_with", "input_stream", 2_000));
    }
}

/// Sums of numbers whose order shows in the last bits.
fn float_sums(engine: TestEngine, fail: u32) -> Vec<(u64, u64)> {
    let out = Collector::new();
    let flaky = Arc::new(AtomicU32::new(fail));
    let conf = conf().master("local[4]").default_parallelism(5);
    let made: Result<Driver<Queue<u64>>, Error> = Driver::with(engine, conf, |ssc| {
        let (queue, s) = ssc.queue_stream::<u64>();
        let (out, flaky) = (out.clone(), flaky.clone());
        s.map(|x| (x % 7, (x as f64).sqrt() * if x % 2 == 0 { 1e9 } else { 1e-7 }))
            .reduce_by_key(|a, b| a + b)
            .map(move |(k, v)| {
                let now = flaky.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
                assert!(!now, "tripped (this panic belongs to the test)");
                (k, v.to_bits())
            })
            .foreach_rdd(move |r, t| out.take(r, t));
        Ok(queue)
    });
    let mut d = made.unwrap();
    d.input().push_partitions((0..9u64).map(|p| (p * 1_000..p * 1_000 + 999).collect()));
    d.batch().unwrap();
    out.sorted()
}

#[test]
fn sums_of_floats_are_equal_to_the_bit_whichever_run_attempt_or_engine() {
    let once = float_sums(TestEngine::Local, 0);
    assert_eq!(once.len(), 7);
    for _ in 0..10 {
        assert_eq!(float_sums(TestEngine::Local, 0), once);
    }
    assert_eq!(float_sums(TestEngine::Local, 3), once);
    for fail in [0, 2] {
        assert_eq!(float_sums(TestEngine::Loopback, fail), once);
    }
}

#[test]
fn the_same_program_gives_the_same_order_of_records_again() {
    let batches = [(0..500).collect::<Vec<i64>>(), vec![], (0..50).collect()];
    let program = |s: &DStream<i64>| s.map(|x| (x % 31, x)).group_by_key();
    assert_eq!(run(batches.clone(), program), run(batches, program));
}
