//! Ticks, queue policies and concurrent jobs, on a clock moved by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use brooklet::prelude::*;
use brooklet::time::ManualClock;
use brooklet::{Interval, Queue, QueueOptions};
use brooklet_testkit::{Collector, Driver};

use crate::support::{GUARD, Gate, collect, multiset, until};

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1_000)
}

fn seconds_of(seen: &Collector<u64>) -> Vec<u64> {
    seen.times().iter().map(|t| t.millis() / 1_000).collect()
}

#[test]
fn clock_that_stalled_for_five_intervals_gives_five_batches() {
    let seen = Collector::new();
    let s = seen.clone();
    let mut driver = Driver::new(move |ssc| {
        let (queue, numbers) = ssc.queue_stream::<u64>();
        collect(&numbers, &s);
        Ok(queue)
    })
    .unwrap();
    driver.batch().unwrap();
    (0..5).for_each(|i| driver.input().push([i]));
    driver.clock().advance(seconds(5));
    until("five batches", || seen.times().len() == 6);
    driver.context().stop(true).unwrap();
    assert_eq!(seconds_of(&seen), [1, 2, 3, 4, 5, 6]);
    assert_eq!(seen.items(), [0, 1, 2, 3, 4]);
}

#[test]
fn first_batch_is_at_the_next_multiple_of_the_interval() {
    let clock = ManualClock::new(Time::from_millis(12_345));
    let conf = Conf::new("grid").master("local[1]").clock(clock.clone());
    let ssc = StreamingContext::new(conf, seconds(2)).unwrap();
    let seen = Collector::new();
    collect(&ssc.queue_stream::<u64>().1, &seen);
    ssc.start().unwrap();
    clock.set(at(13));
    assert!(seen.times().is_empty());
    clock.set(at(16));
    until("two batches", || seen.times().len() == 2);
    ssc.stop(true).unwrap();
    assert_eq!(seconds_of(&seen), [14, 16]);
}

/// Holds the first batch while nine ticks with input pass, lets go, and ends gracefully.
fn overload(conf: Conf) -> (Collector<u64>, StreamingContext) {
    let (clock, gate) = (ManualClock::new(Time::ZERO), Gate::default());
    let ssc = StreamingContext::new(conf.clock(clock.clone()), seconds(1)).unwrap();
    let all = QueueOptions { one_at_a_time: false, partitions: 2 };
    let (queue, numbers): (Queue<u64>, _) = ssc.queue_stream_with(all);
    let seen = Collector::new();
    let (s, g) = (seen.clone(), gate.clone());
    numbers.foreach_rdd(move |rdd, t| {
        g.pass();
        s.push(t, rdd.collect()?);
        Ok::<_, Error>(())
    });
    ssc.start().unwrap();
    for t in 1..=10 {
        queue.push([t, t + 100]);
        clock.set(at(t));
        if t == 1 {
            gate.wait_for_guest();
        }
    }
    let m = ssc.metrics().unwrap();
    let failed = || ssc.await_termination_or_timeout(millis(0)).is_err();
    until("a full queue, or room for all", || {
        let m = m.snapshot();
        m.waiting_ticks > 0 || m.unprocessed_batches == 10 || failed()
    });
    gate.open();
    (seen, ssc)
}

#[test]
fn every_queue_policy_gives_the_same_records() {
    let want = multiset((1..=10).flat_map(|t| [t, t + 100]));
    for (policy, limit) in [
        (QueuePolicy::Wait, 2),
        (QueuePolicy::Merge, 2),
        (QueuePolicy::Wait, 20),
        (QueuePolicy::Merge, 20),
        (QueuePolicy::Fail, 20),
    ] {
        let conf = Conf::new("overload").master("local[2]");
        let (seen, ssc) = overload(conf.queue_policy(policy).max_queued_batches(limit));
        until("ten batches", || seen.times().len() >= 10);
        ssc.stop(true).unwrap();
        assert_eq!(seen.multiset(), want, "{policy:?} {limit}");
        assert_eq!(seconds_of(&seen), (1..=10).collect::<Vec<_>>(), "{policy:?} {limit}");
        let empty = seen.batches().iter().filter(|b| b.1.is_empty()).count();
        if policy == QueuePolicy::Merge && limit == 2 {
            assert!(empty >= 5, "{empty} empty batches: the newest takes all that waited");
        }
    }
}

#[test]
fn queue_that_is_full_fails_under_fail() {
    let conf = Conf::new("overload").master("local[2]").queue_policy(QueuePolicy::Fail);
    let (_, ssc) = overload(conf.max_queued_batches(2));
    let e = ssc.await_termination().unwrap_err();
    assert!(matches!(e.root(), Error::QueueFull { waiting: 2, .. }), "{e}");
    assert!(ssc.stop(true).is_ok());
}

/// What two outputs did, batch by batch, and how many were inside at once.
struct Trace {
    log: Mutex<Vec<(char, u64)>>,
    inside: AtomicUsize,
    most: AtomicUsize,
}

/// Runs two outputs over five batches; `meet` is called in each.
fn two_outputs(
    jobs: usize,
    meet: impl Fn(char, u64) + Send + Sync + 'static,
) -> (Arc<Trace>, Collector<u64>) {
    let (log, inside, most) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(0));
    let trace = Arc::new(Trace { log, inside, most });
    let seen = Collector::new();
    let (t, s, meet) = (trace.clone(), seen.clone(), Arc::new(meet));
    let conf = Driver::<()>::conf().concurrent_jobs(jobs);
    let mut driver = Driver::local(conf, move |ssc| {
        let (queue, numbers) = ssc.queue_stream::<u64>();
        for name in ['a', 'b'] {
            let (t, s, meet) = (t.clone(), s.clone(), meet.clone());
            numbers.foreach_rdd(move |rdd, time| {
                let now = t.inside.fetch_add(1, Ordering::SeqCst) + 1;
                t.most.fetch_max(now, Ordering::SeqCst);
                t.log.lock().unwrap().push((name, time.millis() / 1_000));
                meet(name, time.millis() / 1_000);
                s.push(time, rdd.collect()?);
                t.inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Error>(())
            });
        }
        Ok(queue)
    })
    .unwrap();
    (1..=5).for_each(|i| driver.input().push([i, i * 10]));
    driver.start().unwrap();
    driver.clock().advance(seconds(5));
    until("five batches", || {
        driver.context().metrics().unwrap().snapshot().total_completed_batches == 5
    });
    driver.context().stop(true).unwrap();
    (trace, seen)
}

#[test]
fn one_job_at_a_time_is_strictly_in_order() {
    let (trace, seen) = two_outputs(1, |_, _| ());
    let want: Vec<(char, u64)> = (1..=5).flat_map(|t| [('a', t), ('b', t)]).collect();
    assert_eq!(*trace.log.lock().unwrap(), want);
    assert_eq!(trace.most.load(Ordering::SeqCst), 1);
    assert_eq!(seen.multiset(), multiset((1..=5).flat_map(|i| [i, i, i * 10, i * 10])));
}

#[test]
fn two_jobs_at_a_time_overlap_and_give_the_same_records() {
    // Each output of a batch waits until the other one is inside: without an overlap this never ends.
    let there = Arc::new((Mutex::new(Vec::<(char, u64)>::new()), Condvar::new()));
    let meet = move |name: char, t: u64| {
        let other = if name == 'a' { 'b' } else { 'a' };
        let mut all = there.0.lock().unwrap();
        all.push((name, t));
        there.1.notify_all();
        let (all, out) =
            there.1.wait_timeout_while(all, GUARD, |all| !all.contains(&(other, t))).unwrap();
        drop(all);
        assert!(!out.timed_out(), "output {name} of batch {t} was alone");
    };
    let (trace, seen) = two_outputs(2, meet);
    assert_eq!(trace.most.load(Ordering::SeqCst), 2);
    let log = trace.log.lock().unwrap().clone();
    for name in ['a', 'b'] {
        let batches: Vec<u64> = log.iter().filter(|e| e.0 == name).map(|e| e.1).collect();
        assert_eq!(batches, [1, 2, 3, 4, 5], "one output's calls come in batch order");
    }
    assert_eq!(seen.multiset(), multiset((1..=5).flat_map(|i| [i, i, i * 10, i * 10])));
}

#[test]
fn times_and_intervals_have_their_arithmetic() {
    let t = Time::from_millis(1_500);
    assert_eq!((t + millis(500), t - millis(500)), (at(2), at(1)));
    assert_eq!((t - seconds(9), at(3).since(t), t.since(at(3))), (at(0), millis(1_500), millis(0)));
    assert!(at(1) < t && t < at(2) && t <= at(2));
    assert_eq!((t.max(at(2)), t.min(at(2))), (at(2), t));
    assert_eq!(
        (t.floor(seconds(1)), t.floor_from(seconds(1), Time::from_millis(700))),
        (at(1), t - millis(800))
    );
    assert!(at(4).is_multiple_of(seconds(2), at(0)) && !at(4).is_multiple_of(seconds(3), at(0)));
    let step =
        |all: &mut dyn Iterator<Item = Time>| all.map(|t| t.millis() / 1_000).collect::<Vec<_>>();
    assert_eq!(step(&mut at(1).until(at(4), seconds(1))), [1, 2, 3]);
    assert_eq!(step(&mut at(1).to(at(4), seconds(1))), [1, 2, 3, 4]);
    let mut order = [at(3), at(1), at(2)];
    order.sort_unstable();
    assert_eq!(order, [at(1), at(2), at(3)]);
    assert_eq!(t.to_string(), "1500 ms");

    let i = Interval::new(at(1), at(3));
    assert_eq!((i.begin(), i.end(), i.duration()), (at(1), at(3), seconds(2)));
    assert_eq!(
        (i + seconds(1), i - seconds(1)),
        (Interval::new(at(2), at(4)), Interval::new(at(0), at(2)))
    );
    assert!(i.contains(at(1)) && i.contains(at(3)) && !i.contains(at(4)));
}

#[test]
fn interval_of_zero_or_of_parts_of_a_millisecond_is_refused() {
    for bad in [millis(0), std::time::Duration::from_micros(1_500)] {
        let e = StreamingContext::new(Conf::new("bad").master("local[1]"), bad).unwrap_err();
        assert!(e.to_string().contains("batch_interval"), "{e}");
    }
    assert!(StreamingContext::new(Conf::new("good").master("local[1]"), millis(1)).is_ok());
}
