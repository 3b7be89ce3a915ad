//! Who is named when user code fails, what is tried again, and what counts.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use brooklet::prelude::*;
use brooklet::scheduler::listener;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{
    Accumulate, DeadLetter, Input, LongSum, OutputOperationInfo, Partitioner, Partitions, TaskError,
};

use super::{ENGINES, HANG, conf, driver, sorted};

/// The file and line that errors name for a call in this file.
fn place(line: u32) -> String {
    format!("{}:{line}:", file!())
}

/// Runs one batch of ten numbers in two partitions, which fails.
fn failure(engine: TestEngine, program: impl Fn(&DStream<i64>)) -> Error {
    let mut driver = driver(engine, conf().task_max_failures(1), |_, s| program(s));
    driver.input().push(1..=10);
    driver.batch().expect_err("the batch should fail")
}

/// The error is a panic of the closure of `op` at `line`.
#[track_caller]
fn assert_panicked(e: &Error, op: &str, line: u32) {
    match e.root() {
        Error::TaskFailed {
            cause: TaskError::Panicked { culprit: Some(c), message, .. }, ..
        } => {
            assert_eq!(c.op, op, "{e}");
            assert!(c.at.starts_with(&place(line)), "{e}: expected line {line}");
            assert!(message.contains("tripped"), "{e}");
        }
        _ => panic!("not a panic in a task: {e:?}"),
    }
    assert!(e.is_user_code() && !e.is_retryable());
}

fn trip(now: bool) {
    assert!(!now, "tripped (this panic belongs to the test)");
}

#[test]
fn a_panic_anywhere_in_a_fused_chain_names_operator_and_call_site() {
    for engine in ENGINES {
        for (bad, op) in
            ["map", "filter", "flat_map", "map_partitions", "map"].into_iter().enumerate()
        {
            let start = line!() + 2;
            let e = failure(engine, |s| {
                s.map(move |x| (trip(bad == 0), x).1)
                    .filter(move |_| (trip(bad == 1), true).1)
                    .flat_map(move |x| (trip(bad == 2), [x]).1)
                    .map_partitions(move |xs| (trip(bad == 3), xs).1)
                    .map(move |x| (trip(bad == 4), x).1)
                    .count()
                    .print_to(10, |_| {});
            });
            assert_panicked(&e, op, start + bad as u32);
        }
    }
}

#[test]
fn a_panic_in_the_iterator_that_a_closure_returned_names_the_operator() {
    for engine in ENGINES {
        let start = line!() + 2;
        let e = failure(engine, |s| {
            s.flat_map(|x| (0..3).map(move |i| (trip(i == 2), x).1))
                .map(|x| x + 1)
                .foreach_partition(|_, _| {});
        });
        assert_panicked(&e, "flat_map", start);
        let e = failure(engine, |s| {
            s.map_partitions(|xs| xs.map(|x| (trip(x == 3), x).1)).foreach_partition(|_, _| {});
        });
        assert_panicked(&e, "map_partitions", start + 6);
    }
}

/// Panics, or answers what it is told.
struct Broken(Option<usize>);

impl Partitioner<i64> for Broken {
    fn partitions(&self) -> usize {
        2
    }
    fn partition(&self, _: &i64) -> usize {
        trip(self.0.is_none());
        self.0.unwrap_or(0)
    }
    fn name(&self) -> String {
        "broken".into()
    }
}

#[test]
fn a_panic_in_a_reduce_function_or_partitioner_names_the_shuffle() {
    for engine in ENGINES {
        // Map side: one key in one partition. Reduce side: every key once in each partition.
        for parts in [vec![vec![(1, 1), (1, 2)]], vec![vec![(1i64, 1)], vec![(1, 2)]]] {
            let at = line!() + 2;
            let mut d = driver::<(i64, i64)>(engine, conf().task_max_failures(1), |_, s| {
                s.reduce_by_key(|_, _| (trip(true), 0).1).count().print_to(10, |_| {});
            });
            d.input().push_partitions(parts);
            assert_panicked(&d.batch().unwrap_err(), "reduce_by_key", at);
        }
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.map(|x| (x, x)).reduce_by_key_with(|a, _| a, Broken(None)).count().print();
        });
        assert_panicked(&e, "reduce_by_key", at);
        let e = failure(engine, |s| {
            s.map(|x| (x, x)).reduce_by_key_with(|a, _| a, Broken(Some(2))).count().print();
        });
        assert!(e.to_string().contains("partitioner `broken` gave partition 2 of 2"), "{e}");
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.reduce(|_, _| (trip(true), 0).1).print_to(1, |_| {});
        });
        assert_panicked(&e, "reduce", at);
    }
}

struct Nowhere;

impl Partitioner<i64> for Nowhere {
    fn partitions(&self) -> usize {
        0
    }
    fn partition(&self, _: &i64) -> usize {
        0
    }
    fn name(&self) -> String {
        "nowhere".into()
    }
}

#[test]
#[should_panic(expected = "partitioner `nowhere` has no partitions")]
fn a_partitioner_without_partitions_is_refused_at_the_call_instead_of_losing_every_record() {
    driver::<i64>(TestEngine::Local, conf(), |_, s| {
        s.map(|x| (x, x)).reduce_by_key_with(|a, _| a, Nowhere).count().print_to(1, |_| {});
    });
}

#[test]
fn a_panic_in_tasks_of_outputs_names_the_output() {
    for engine in ENGINES {
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.foreach_partition(|_, _| trip(true));
        });
        assert_panicked(&e, "foreach_partition", at);
    }
}

/// The error is one of the closure of `op` at `line` on the driver.
#[track_caller]
fn assert_output(e: &Error, op: &str, line: u32, text: &str) {
    let Error::Output { site, cause, .. } = e.root() else { panic!("{e:?}") };
    assert_eq!(site.op, op, "{e}");
    assert_eq!((site.at.file(), site.at.line()), (file!(), line), "{e}");
    assert!(cause.to_string().contains(text), "{e}");
}

#[test]
fn closures_on_the_driver_are_named_when_they_panic_or_return_an_error() {
    for engine in ENGINES {
        let at = line!() + 1;
        let e = failure(engine, |s| drop(s.foreach_rdd(|_, _| trip(true))));
        assert_output(&e, "foreach_rdd", at, "panicked: tripped");
        let at = line!() + 1;
        let e = failure(engine, |s| drop(s.foreach_rdd(|_, _| Err::<(), _>("no disk"))));
        assert_output(&e, "foreach_rdd", at, "no disk");
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.transform(|r| (trip(true), r).1).print_to(1, |_| {});
        });
        assert_output(&e, "transform", at, "panicked: tripped");
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.transform_at(|_, _| Err::<Rdd<i64>, _>("no table")).print_to(1, |_| {});
        });
        assert_output(&e, "transform", at, "no table");
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.transform_with(s, |_, r, _| (trip(true), r).1).print_to(1, |_| {});
        });
        assert_output(&e, "transform_with", at, "panicked: tripped");
        let at = line!() + 1;
        let e = failure(engine, |s| drop(s.print_to(1, |_| trip(true))));
        assert_output(&e, "print_to", at, "panicked: tripped");
    }
}

#[test]
fn a_failed_record_fails_the_task_with_operator_call_site_and_the_closures_error() {
    for engine in ENGINES {
        let at = line!() + 2;
        let e = failure(engine, |s| {
            s.try_map(|x| if x == 7 { Err("seven".to_string()) } else { Ok(x) })
                .map(|x| x + 1)
                .foreach_partition(|_, _| {});
        });
        let Error::TaskFailed { cause: TaskError::Failed { culprit, partition, error }, .. } =
            e.root()
        else {
            panic!("{e:?}")
        };
        assert_eq!((culprit.op.as_str(), *partition), ("try_map", 1));
        assert!(culprit.at.starts_with(&place(at)), "{e}");
        assert_eq!(error.0.to_string(), "seven");
        assert!(e.is_user_code());
    }
}

#[test]
fn nothing_of_a_failed_task_is_seen_by_the_output() {
    for engine in ENGINES {
        let seen = Arc::new(AtomicU64::new(0));
        let e = failure(engine, |s| {
            let seen = seen.clone();
            let failing = s.try_map(|x| if x % 5 == 0 { Err("five") } else { Ok(x) });
            failing.foreach_partition(move |xs, _| {
                seen.fetch_add(xs.len() as u64, SeqCst);
            });
        });
        assert!(e.to_string().contains("five"));
        assert_eq!(seen.load(SeqCst), 0, "{engine:?}");
    }
}

/// Panics the first `k` times that it is asked.
#[derive(Clone, Default)]
struct Flaky(Arc<AtomicU32>);

impl Flaky {
    fn new(k: u32) -> Flaky {
        Flaky(Arc::new(AtomicU32::new(k)))
    }

    fn maybe(&self) {
        let left = self.0.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
        trip(left.is_ok());
    }
}

#[test]
fn a_task_that_fails_less_often_than_allowed_changes_nothing() {
    for engine in ENGINES {
        for k in 0..4 {
            let (flaky, seen) = (Flaky::new(k), Collector::new());
            let mut d = driver::<i64>(engine, conf().task_max_failures(4), |_, s| {
                let (flaky, seen) = (flaky.clone(), seen.clone());
                s.map(move |x| {
                    if x == 7 {
                        flaky.maybe();
                    }
                    (x % 3, x)
                })
                .reduce_by_key(|a, b| a + b)
                .foreach_rdd(move |r, t| seen.take(r, t));
            });
            d.input().push(1..=10);
            d.batch().unwrap();
            assert_eq!(seen.sorted(), [(0, 18), (1, 22), (2, 15)], "{engine:?}, {k} failures");
        }
    }
}

#[test]
fn a_task_that_fails_too_often_ends_with_the_number_of_attempts() {
    for engine in ENGINES {
        let tries = Arc::new(AtomicU32::new(0));
        let mut d = driver::<i64>(engine, conf().task_max_failures(3), |_, s| {
            let tries = tries.clone();
            s.map(move |x| {
                if x == 7 {
                    tries.fetch_add(1, SeqCst);
                    trip(true);
                }
                x
            })
            .foreach_partition(|_, _| {});
        });
        d.input().push(1..=10);
        let e = d.batch().unwrap_err();
        assert!(matches!(e.root(), Error::TaskFailed { attempts: 3, .. }), "{e:?}");
        assert!(e.to_string().contains("failed 3 times"), "{e}");
        assert_eq!(tries.load(SeqCst), 3);
        let again = d.context().await_termination().unwrap_err().to_string();
        assert_eq!(again, e.to_string(), "rethrown at every call");
    }
}

#[test]
fn skipped_records_are_counted_once_however_many_attempts_there_were() {
    for engine in ENGINES {
        let flaky = Flaky::new(3);
        let mut d = driver::<i64>(engine, conf(), |_, s| {
            let flaky = flaky.clone();
            s.try_map_on(OnError::Skip, |x| if x % 2 == 0 { Ok(x) } else { Err("odd") })
                .map(move |x| {
                    if x == 8 {
                        flaky.maybe();
                    }
                    x
                })
                .foreach_partition(|_, _| {});
        });
        d.input().push(1..=10);
        d.input().push(1..=4);
        d.batches(2).unwrap();
        let counters = d.context().counters();
        let (name, n) = counters.iter().next().unwrap();
        assert!(name.contains("try_map") && name.contains(file!()), "{name}");
        assert_eq!((*n, counters.len()), (7, 1), "{engine:?}");
    }
}

#[test]
fn dead_letters_are_a_multiset_of_records_with_errors_under_retry() {
    for engine in ENGINES {
        let (flaky, dead, good) = (Flaky::new(2), Collector::new(), Collector::new());
        let mut d = driver::<i64>(engine, conf(), |_, s| {
            let (flaky, d, g) = (flaky.clone(), dead.clone(), good.clone());
            let (ok, err) = s.try_map_or_dead(move |x| {
                if x == 9 {
                    flaky.maybe();
                }
                if x % 2 == 0 { Ok(x) } else { Err(format!("{x} is odd")) }
            });
            ok.foreach_rdd(move |r, t| g.take(r, t));
            err.map(|l: DeadLetter<i64>| (l.record, l.error)).foreach_rdd(move |r, t| d.take(r, t));
        });
        d.input().push([9, 1, 1, 2, 2, 3]);
        d.batch().unwrap();
        assert_eq!(good.sorted(), [2, 2]);
        let letter = |x: i64| (x, format!("{x} is odd"));
        assert_eq!(dead.sorted(), [1, 1, 3, 9].map(letter), "{engine:?}");
    }
}

#[derive(Clone, Default, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct MinMax(Option<(i64, i64)>, u64);

impl Accumulate for MinMax {
    type Item = i64;
    fn add(&mut self, x: i64) {
        self.merge(MinMax(Some((x, x)), 1));
    }
    fn merge(&mut self, o: MinMax) {
        self.1 += o.1;
        self.0 = match (self.0, o.0) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (a, b) => a.or(b),
        };
    }
}

/// Counts in the map side of a shuffle that two outputs read; the tasks of both sides fail at first.
#[test]
fn accumulators_count_once_under_retry_and_with_two_outputs() {
    for engine in ENGINES {
        let (map_side, output) = (Flaky::new(2), Flaky::new(1));
        let mut d = Driver::with(engine, conf(), |ssc| {
            let (queue, s) = ssc.queue_stream::<i64>();
            let count = ssc.context().long_accumulator("records");
            let sum = ssc.context().double_accumulator("sum");
            let range = ssc.context().accumulator::<MinMax>("range");
            let all = ssc.context().collection_accumulator::<i64>("all");
            let (c, u, r, a) = (count.clone(), sum.clone(), range.clone(), all.clone());
            let (map_side, output) = (map_side.clone(), output.clone());
            let kv = s.map(move |x| {
                c.add(x);
                u.add(x as f64);
                r.add(x);
                a.add(x);
                if x == 10 {
                    map_side.maybe();
                }
                (x % 3, x)
            });
            let reduced = kv.reduce_by_key(|a, b| a + b);
            reduced.foreach_rdd(|r, _| r.collect().map(drop));
            reduced.map(move |x| (output.maybe(), x).1).foreach_partition(|_, _| {});
            Ok((queue, count, sum, range, all))
        })
        .unwrap();
        d.input().0.push(1..=10);
        d.batch().unwrap();
        let (_, count, sum, range, all) = d.input();
        assert_eq!(count.value(), LongSum { sum: 55, count: 10 }, "{engine:?}");
        assert_eq!((sum.value().sum, sum.value().count), (55.0, 10));
        assert_eq!(range.value(), MinMax(Some((1, 10)), 10));
        assert_eq!(sorted(all.value()), (1..=10).collect::<Vec<_>>());
        assert_eq!(count.name(), "records");
        count.reset();
        assert_eq!(count.value(), LongSum::default());
    }
}

/// The shuffle's map side has run when the first output fails; the second output reads what it left.
#[test]
fn what_a_shuffle_counted_stays_counted_when_the_output_that_ran_it_fails() {
    for engine in ENGINES {
        for policy in [FailurePolicy::skip(), FailurePolicy::stop().retries(1)] {
            let flaky = Flaky::new(1);
            let conf = conf().task_max_failures(1).failure_policy(policy);
            let mut d = Driver::with(engine, conf, |ssc| {
                let (queue, s) = ssc.queue_stream::<i64>();
                let count = ssc.context().long_accumulator("records");
                let (c, flaky) = (count.clone(), flaky.clone());
                let reduced = s.map(move |x| (c.add(x), (x % 3, x)).1).reduce_by_key(|a, b| a + b);
                reduced.map(move |x| (flaky.maybe(), x).1).foreach_partition(|_, _| {});
                reduced.foreach_rdd(|r, _| r.collect().map(drop));
                Ok((queue, count))
            })
            .unwrap();
            d.input().0.push(1..=10);
            d.batch().unwrap();
            let counted = d.input().1.value();
            assert_eq!(counted, LongSum { sum: 55, count: 10 }, "{engine:?}, {policy:?}");
        }
    }
}

/// The first attempt persists the partition and fails below; the second one reads it.
#[test]
fn what_a_persisted_partition_counted_is_not_lost_with_the_attempt_that_made_it() {
    for engine in ENGINES {
        let flaky = Flaky::new(1);
        let mut d = Driver::with(engine, conf(), |ssc| {
            let (queue, s) = ssc.queue_stream::<i64>();
            let count = ssc.context().long_accumulator("records");
            let (c, flaky) = (count.clone(), flaky.clone());
            let kept = s.map(move |x| (c.add(x), x).1).cache();
            kept.map(move |x| (flaky.maybe(), x).1).foreach_partition(|_, _| {});
            kept.foreach_rdd(|r, _| r.count().map(drop));
            Ok((queue, count))
        })
        .unwrap();
        d.input().0.push(1..=10);
        d.batch().unwrap();
        assert_eq!(d.input().1.value(), LongSum { sum: 55, count: 10 }, "{engine:?}");
    }
}

/// One partition without an end.
struct Endless;

impl Input for Endless {
    type Item = u64;
    type Slice = ();
    type Pipe = Partitions<u64>;
    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<()>, BoxError> {
        Ok(Some(()))
    }
    fn read(&self, _: &Arc<()>) -> Result<Partitions<u64>, BoxError> {
        Ok(Partitions::from_fn(1, |_| 0u64..))
    }
}

/// Opens a gate when it is told to stop: that comes after the jobs were asked to.
struct OnStop(Option<mpsc::Sender<()>>);

impl Receiver for OnStop {
    type Item = u64;
    fn run(&mut self, out: &mut Store<u64>) -> Result<(), BoxError> {
        if let Some(gate) = self.0.take() {
            out.on_stop(move || gate.send(()).unwrap_or_default());
        }
        while out.sleep(millis(1_000)) {}
        Ok(())
    }
}

#[test]
fn a_cancelled_task_ends_at_the_next_chunk_border() {
    let (entered, has_entered) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let records = Arc::new(AtomicU64::new(0));
    let r = records.clone();
    let finished = Arc::new(AtomicBool::new(false));
    let f = finished.clone();
    let mut d = Driver::local(conf().master("local[1]"), |ssc| {
        ssc.receiver_stream(OnStop(Some(open))).print_to(1, |_| {});
        let numbers = ssc.input_stream(Endless).map(move |x| {
            r.fetch_add(1, SeqCst);
            if x == 10 {
                entered.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(HANG).unwrap();
            }
            x
        });
        numbers.foreach_partition(move |_, _| f.store(true, SeqCst));
        Ok(())
    })
    .unwrap();
    d.start().unwrap();
    d.clock().advance(seconds(1));
    has_entered.recv_timeout(HANG).unwrap();
    d.context().stop(false).unwrap();
    let n = records.load(SeqCst);
    assert!((11..=1_025).contains(&n), "{n} records were read after the stop");
    assert!(!finished.load(SeqCst));
    d.context().await_termination().unwrap();
}

#[test]
fn an_action_inside_a_task_is_an_error_that_names_the_call() {
    for engine in ENGINES {
        let e = failure(engine, |s| {
            s.transform(|rdd| {
                let other = rdd.clone();
                rdd.try_map(move |x| other.count().map(|n| n as i64 + x))
            })
            .foreach_partition(|_, _| {});
        });
        let text = e.to_string();
        assert!(text.contains("`count`") && text.contains(file!()), "{text}");
        assert!(text.contains("was called inside a task"), "{text}");
    }
    let ctx = Context::new(conf()).unwrap();
    let other = ctx.parallelize([1, 2, 3], 2);
    let refused = ctx.parallelize(0..4, 2).map(move |_| {
        let by = [
            other.count().map(drop),
            other.collect().map(drop),
            other.take(1).map(drop),
            other.is_empty().map(drop),
            other.reduce(|a, b| a + b).map(drop),
        ];
        by.iter().filter(|r| matches!(r, Err(Error::ActionInTask { .. }))).count() as u32
    });
    assert_eq!(refused.collect().unwrap(), [5; 4]);
    assert_eq!(refused.count().unwrap(), 4, "the driver may go on");
}

/// What each output of each batch came to, as listeners hear it.
fn outcomes(ssc: &StreamingContext) -> mpsc::Receiver<OutputOperationInfo> {
    let (tx, rx) = mpsc::channel();
    ssc.add_listener(listener::output_completed(move |o| drop(tx.send(o.clone()))));
    rx
}

#[test]
fn policy_stop_ends_the_stream_with_the_failure_of_its_batch() {
    for engine in ENGINES {
        let seen = Collector::new();
        let mut d = driver::<i64>(engine, conf().task_max_failures(1), |_, s| {
            let seen = seen.clone();
            s.map(|x| (trip(x == 3), x).1).foreach_rdd(move |r, t| seen.take(r, t));
        });
        let heard = outcomes(d.context());
        [[1], [2], [3], [4]].into_iter().for_each(|b| d.input().push(b));
        d.batches(2).unwrap();
        let e = d.batch().unwrap_err();
        let Error::Batch { time, operation, .. } = &e else { panic!("{e:?}") };
        assert_eq!(time.millis(), 3_000);
        assert!(operation.contains("foreach_rdd at "), "{operation}");
        for _ in 0..2 {
            assert_eq!(d.context().await_termination().unwrap_err().to_string(), e.to_string());
        }
        assert!(d.batch().is_err(), "the stream is over");
        assert_eq!(seen.batches(), [vec![1], vec![2]], "{engine:?}");
        let reasons: Vec<bool> = heard.try_iter().map(|o| o.failure_reason.is_some()).collect();
        assert_eq!(reasons, [false, false, true]);
    }
}

#[test]
fn policy_skip_records_the_failure_and_later_batches_are_right() {
    for engine in ENGINES {
        let (seen, other) = (Collector::new(), Collector::new());
        let conf = conf().task_max_failures(2).failure_policy(FailurePolicy::skip());
        let mut d = driver::<i64>(engine, conf, |_, s| {
            let (seen, other) = (seen.clone(), other.clone());
            s.map(|x| (trip(x == 3), (x % 2, x)).1)
                .reduce_by_key(|a, b| a + b)
                .foreach_rdd(move |r, t| seen.take(r, t));
            s.count().foreach_rdd(move |r, t| other.take(r, t));
        });
        let heard = outcomes(d.context());
        for b in [vec![1, 2], vec![3, 4], vec![], vec![5, 6, 7]] {
            d.input().push(b);
        }
        d.batches(4).unwrap();
        let by_time = seen.by_time();
        let at = |s: u64| by_time.get(&Time::from_millis(s * 1_000)).cloned().map(sorted);
        assert_eq!(at(1), Some(vec![(0, 2), (1, 1)]), "{engine:?}");
        assert_eq!(at(2), None);
        assert_eq!(at(3), Some(vec![]));
        assert_eq!(at(4), Some(vec![(0, 6), (1, 12)]));
        assert_eq!(other.batches(), [[2], [2], [0], [3]], "the other output goes on");
        d.context().stop(true).unwrap();
        d.context().await_termination().unwrap();
        let failed: Vec<_> = heard.iter().filter(|o| o.failure_reason.is_some()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].id, failed[0].batch_time.millis()), (0, 2_000));
        let reason = failed[0].failure_reason.as_deref().unwrap();
        assert!(reason.contains("`map`") && reason.contains("tripped"), "{reason}");
        assert_eq!(d.context().metrics().unwrap().snapshot().failed_output_ops, 1);
    }
}

#[test]
fn policy_retries_runs_the_output_again_before_it_gives_up() {
    for engine in ENGINES {
        for (fails, works) in [(2, true), (3, false)] {
            let (flaky, seen) = (Flaky::new(fails), Collector::new());
            let conf = conf().failure_policy(FailurePolicy::stop().retries(2));
            let mut d = driver::<i64>(engine, conf, |_, s| {
                let (flaky, seen) = (flaky.clone(), seen.clone());
                s.map(|x| (x % 2, x)).reduce_by_key(|a, b| a + b).foreach_rdd(move |r, t| {
                    flaky.maybe();
                    seen.take(r, t)
                });
            });
            d.input().push(1..=4);
            assert_eq!(d.batch().is_ok(), works, "{engine:?}");
            let want = if works { vec![(0, 6), (1, 4)] } else { vec![] };
            assert_eq!(seen.sorted(), want);
        }
    }
}

#[test]
fn a_failed_step_is_skipped_and_the_stream_goes_on() {
    for engine in ENGINES {
        let seen = Collector::new();
        let mut d = driver::<i64>(engine, conf().failure_policy(FailurePolicy::skip()), |_, s| {
            let seen = seen.clone();
            s.transform(|r| {
                if r.count()? == 3 { Err(BoxError::from("three")) } else { Ok(r.map(|x| x + 1)) }
            })
            .foreach_rdd(move |r, t| seen.take(r, t));
        });
        let (tx, heard) = mpsc::channel();
        d.context().add_listener(listener::batch_completed(move |b| drop(tx.send(b.clone()))));
        for b in [vec![1], vec![1, 2, 3], vec![5]] {
            d.input().push(b);
        }
        d.batches(3).unwrap();
        assert_eq!(seen.batches(), [vec![2], vec![6]], "{engine:?}");
        d.context().stop(true).unwrap();
        let failed: Vec<bool> = heard.iter().map(|b| b.is_failed()).collect();
        assert_eq!(failed, [false, true, false]);
    }
}

#[test]
fn a_panic_in_a_chain_built_on_an_rdd_names_the_users_line() {
    let ctx = Context::new(conf().task_max_failures(1)).unwrap();
    let rdd = ctx.parallelize(1..=10i64, 2);
    let start = line!() + 1;
    let map = rdd.map(|x| (trip(x == 3), x).1).count();
    let filter = rdd.filter(|x| (trip(*x == 3), true).1).count();
    let flat_map = rdd.flat_map(|x| (trip(x == 3), [x]).1).count();
    let parts = rdd.map_partitions(|xs| (trip(true), xs).1).count();
    let reduce = rdd.map(|x| (1, x)).reduce_by_key(|a, _| (trip(true), a).1).count();
    let foreach = rdd.foreach(|x| trip(x == 3));
    assert_panicked(&map.unwrap_err(), "map", start);
    assert_panicked(&filter.unwrap_err(), "filter", start + 1);
    assert_panicked(&flat_map.unwrap_err(), "flat_map", start + 2);
    assert_panicked(&parts.unwrap_err(), "map_partitions", start + 3);
    assert_panicked(&reduce.unwrap_err(), "reduce_by_key", start + 4);
    assert_panicked(&foreach.unwrap_err(), "foreach", start + 5);
}
