//! Regressions: things that share a context, names, attempts and threads without sharing results.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{Input, Partitions, StorageLevel};

use super::{conf, sorted};

/// Gives its records as one block and ends.
struct Once(&'static str, Vec<i64>);

impl Receiver for Once {
    type Item = i64;
    fn run(&mut self, out: &mut Store<i64>) -> Result<(), BoxError> {
        Ok(out.store_block(std::mem::take(&mut self.1))?)
    }
    fn name(&self) -> String {
        self.0.into()
    }
}

#[test]
fn receivers_of_two_streaming_contexts_on_one_context_keep_their_blocks_apart() {
    let ctx = Context::new(Conf::new("shared").master("local[2]")).unwrap();
    let run = |records: Vec<i64>| {
        let ssc = StreamingContext::with_context(&ctx, millis(10)).unwrap();
        let out = Collector::new();
        let o = out.clone();
        let stream = ssc.receiver_stream(Once("once", records));
        stream.foreach_rdd(move |rdd, t| o.take(rdd, t));
        ssc.start().unwrap();
        (ssc, out)
    };
    let (a, out_a) = run(vec![1, 2]);
    let (b, out_b) = run(vec![3, 4, 5]);
    for ssc in [&a, &b] {
        ssc.await_receivers().unwrap();
        ssc.stop(true).unwrap();
    }
    assert_eq!((out_a.sorted(), out_b.sorted()), (vec![1, 2], vec![3, 4, 5]));
}

#[test]
fn a_number_sign_in_a_receivers_name_makes_no_two_operators_one() {
    let ssc = StreamingContext::new(Conf::new("names").master("local[2]"), millis(10)).unwrap();
    let outs: Vec<Collector<(i64, i64)>> = (0..2).map(|_| Collector::new()).collect();
    for (i, out) in outs.iter().enumerate() {
        let o = out.clone();
        ssc.receiver_stream(Once("sensor#1", vec![i as i64]))
            .map(|x| (x, 1))
            .reduce_by_key(|a, b| a + b)
            .foreach_rdd(move |rdd, t| o.take(rdd, t));
    }
    ssc.start().unwrap();
    ssc.await_receivers().unwrap();
    ssc.stop(true).unwrap();
    assert_eq!(outs[0].sorted(), [(0, 1)]);
    assert_eq!(outs[1].sorted(), [(1, 1)]);
}

#[test]
#[should_panic(expected = "two contexts")]
fn rdds_of_two_contexts_are_not_combined() {
    let ctx = || Context::new(Conf::new("one of two").master("local[1]")).unwrap();
    let _ = ctx().parallelize([1], 1).union(&ctx().parallelize([2], 1));
}

#[test]
fn a_second_attempt_of_an_output_does_not_read_what_the_first_one_made() {
    let held = Arc::new(Mutex::new(None));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (h, s) = (held, seen.clone());
    let conf = conf().failure_policy(FailurePolicy::stop().retries(1));
    let mut driver = Driver::local(conf, move |ssc| {
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let mut attempt = 0;
        numbers.foreach_rdd(move |rdd, _| {
            attempt += 1;
            let factor = attempt;
            let keyed = rdd.map(move |x| (x, x * factor)).reduce_by_key(|a, b| a + b);
            let values: Vec<i64> = keyed.collect()?.into_iter().map(|(_, v)| v).collect();
            s.lock().unwrap().push(values);
            *h.lock().unwrap() = Some(keyed);
            if attempt == 1 { Err(Error::Cancelled) } else { Ok(()) }
        });
        Ok(queue)
    })
    .unwrap();
    driver.input().push([7]);
    driver.batch().unwrap();
    assert_eq!(*seen.lock().unwrap(), [[7], [14]]);
}

#[test]
fn a_shuffle_in_a_retried_output_counts_once() {
    let conf = conf().failure_policy(FailurePolicy::stop().retries(1));
    let mut driver = Driver::local(conf, |ssc| {
        let count = ssc.context().long_accumulator("records");
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let (c, mut first) = (count.clone(), true);
        numbers.foreach_rdd(move |rdd, _| {
            let c = c.clone();
            rdd.map(move |x| {
                c.add(1);
                (x % 2, 1)
            })
            .reduce_by_key(|a, b| a + b)
            .collect()?;
            if std::mem::take(&mut first) { Err(Error::Cancelled) } else { Ok(()) }
        });
        Ok((queue, count))
    })
    .unwrap();
    driver.input().0.push(0..10);
    driver.batch().unwrap();
    assert_eq!(driver.input().1.value().sum, 10);
}

#[test]
fn what_was_counted_while_persisting_in_a_failed_job_counts_in_the_next_one() {
    let conf = conf().task_max_failures(1).failure_policy(FailurePolicy::stop().retries(1));
    let mut driver = Driver::local(conf, |ssc| {
        let count = ssc.context().long_accumulator("records");
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let c = count.clone();
        let persisted = numbers
            .map(move |x| {
                c.add(1);
                x
            })
            .persist(StorageLevel::MEMORY_ONLY);
        let failed = AtomicU64::new(0);
        persisted.foreach_partition(move |records, _| {
            let last = records.last();
            assert!(last != Some(9) || failed.fetch_add(1, SeqCst) > 0, "the first time");
        });
        Ok((queue, count))
    })
    .unwrap();
    driver.input().0.push(0..10);
    driver.batch().unwrap();
    assert_eq!(driver.input().1.value().sum, 10);
}

#[test]
fn an_accumulator_counts_in_its_own_context_wherever_it_is_used() {
    let make = || Context::new(Conf::new("accs").master("local[2]")).unwrap();
    let (a, b) = (make(), make());
    let (mine, theirs) = (a.long_accumulator("mine"), b.long_accumulator("theirs"));
    let m = mine.clone();
    b.parallelize(0..5i64, 2).foreach(move |_| m.add(1)).unwrap();
    assert_eq!((mine.value().sum, theirs.value().sum), (5, 0));
}

#[test]
fn few_records_that_take_long_run_side_by_side() {
    let ctx = Context::new(Conf::new("few").master("local[2]")).unwrap();
    // Each of the last two waits for the other: on one thread this would never end.
    let both = Arc::new(Barrier::new(2));
    let slow = ctx.parallelize(0..3u32, 3).map(move |x| {
        if x == 0 {
            std::thread::sleep(millis(1)); // longer than what runs inline
        } else {
            both.wait();
        }
        x
    });
    assert_eq!(slow.count().unwrap(), 3);
    assert_eq!(slow.collect().unwrap(), [0, 1, 2]);
}

#[test]
fn two_outputs_that_run_at_once_make_their_shuffle_once() {
    let calls = Arc::new(AtomicU64::new(0));
    let c = calls.clone();
    let out = Collector::new();
    let o = out.clone();
    let mut driver = Driver::local(conf().concurrent_jobs(2), move |ssc| {
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let sums = numbers
            .map(move |x| {
                c.fetch_add(1, SeqCst);
                (x % 10, x)
            })
            .reduce_by_key(|a, b| a + b);
        let o2 = o.clone();
        sums.foreach_rdd(move |rdd, t| o.take(rdd, t));
        sums.foreach_rdd(move |rdd, t| o2.take(rdd, t));
        Ok(queue)
    })
    .unwrap();
    for _ in 0..20 {
        driver.input().push(0..500);
        driver.batch().unwrap();
    }
    assert_eq!(calls.load(SeqCst), 20 * 500);
    assert_eq!(out.sorted().len(), 20 * 2 * 10);
}

#[test]
fn an_unused_stage_before_an_action_in_a_transform_is_no_dead_lock() {
    let out = Collector::new();
    let o = out.clone();
    let mut driver = Driver::with(TestEngine::Loopback, conf(), move |ssc| {
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let o = o.clone();
        let shifted = numbers.map(|x| (x, x)).transform(|rdd| {
            let sums = rdd.reduce_by_key(|a, b| a + b);
            let n = rdd.count()? as i64;
            Ok::<_, Error>(sums.map(move |(k, v)| (k, v + n)))
        });
        shifted.foreach_rdd(move |rdd, t| o.take(rdd, t));
        Ok(queue)
    })
    .unwrap();
    driver.input().push([1, 2]);
    driver.batch().unwrap();
    assert_eq!(sorted(out.sorted()), [(1, 3), (2, 4)]);
}

#[test]
fn a_context_that_its_own_output_holds_goes_when_it_is_stopped() {
    let marker = Arc::new(());
    let m = marker.clone();
    let ssc = StreamingContext::new(conf(), millis(10)).unwrap();
    let (_, numbers) = ssc.queue_stream::<i64>();
    let own = ssc.clone();
    numbers.foreach_rdd(move |_, _| {
        let _keeps = (&m, &own);
    });
    ssc.start().unwrap();
    ssc.stop(true).unwrap();
    drop(ssc);
    assert_eq!(Arc::strong_count(&marker), 1, "the closure is gone");
}

/// Fails to start, or notes that it was stopped.
struct Fragile {
    fails: bool,
    stopped: Arc<AtomicU64>,
}

impl Input for Fragile {
    type Item = i64;
    type Slice = ();
    type Pipe = Partitions<i64>;
    fn start(&mut self, _: brooklet::source::InputStart) -> Result<(), BoxError> {
        if self.fails { Err("no such place".into()) } else { Ok(()) }
    }
    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<()>, BoxError> {
        Ok(Some(()))
    }
    fn read(&self, _: &Arc<()>) -> Result<Partitions<i64>, BoxError> {
        panic!("the user's own mistake")
    }
    fn stop(&mut self) {
        self.stopped.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_failed_start_stops_what_it_has_started() {
    let stopped = Arc::new(AtomicU64::new(0));
    let ssc = StreamingContext::new(conf(), millis(10)).unwrap();
    ssc.input_stream(Fragile { fails: false, stopped: stopped.clone() }).print();
    ssc.input_stream(Fragile { fails: true, stopped: stopped.clone() }).print();
    let e = ssc.start().unwrap_err().to_string();
    assert!(e.contains("no such place") && e.contains("review.rs"), "{e}");
    assert_eq!(stopped.load(SeqCst), 1);
}

#[test]
fn a_panic_in_a_users_input_is_the_users() {
    let mut driver = Driver::local(conf(), |ssc| {
        ssc.input_stream(Fragile { fails: false, stopped: Arc::default() }).print();
        Ok(())
    })
    .unwrap();
    let e = driver.batch().unwrap_err().to_string();
    assert!(e.contains("the user's own mistake") && e.contains("review.rs"), "{e}");
    assert!(!e.contains("defect"), "{e}");
}

#[test]
fn an_application_name_that_no_thread_can_have_is_an_error() {
    let e = Context::new(Conf::new("a\0b")).unwrap_err().to_string();
    assert!(e.contains("brooklet.app.name"), "{e}");
}

#[test]
fn a_stop_inside_a_task_returns_and_takes_place() {
    let mut driver = Driver::local(conf(), |ssc| {
        let (queue, numbers) = ssc.queue_stream::<i64>();
        let own = ssc.clone();
        numbers.foreach_partition(move |_, _| own.stop(true));
        Ok(queue)
    })
    .unwrap();
    driver.start().unwrap();
    driver.input().push(0..10);
    driver.clock().advance(seconds(1));
    assert!(driver.context().await_termination_or_timeout(seconds(60)).unwrap());
}
