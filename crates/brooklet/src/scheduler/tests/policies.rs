//! What happens to ticks and input while the queue is full.

use super::*;
use crate::QueuePolicy;

/// Holds the first batch, lets ten ticks pass with input at each, opens, and ends gracefully.
fn overload(policy: QueuePolicy) -> Rig {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let fake = Fake::new(1).output(move |_, _| {
        held.pass();
        Ok(())
    });
    let rig = Rig::started(fake, |c| c.max_queued_batches(2).queue_policy(policy));
    for t in 11..=20u32 {
        rig.fake.give([t, t + 100]);
        rig.to(u64::from(t));
        if t <= 12 {
            rig.fake.until("taken", |s| s.taken.contains_key(&u64::from(t)));
        }
    }
    let m = rig.scheduler.metrics().clone();
    let real = SystemClock::new();
    let end = real.now().after(LIMIT);
    while m.snapshot().waiting_ticks != 8 {
        assert!(real.now() < end, "8 ticks must be seen waiting: {m:?}");
        std::thread::yield_now();
    }
    assert_eq!(rig.fake.state.get().taken.len(), 2, "a full queue takes nothing");
    assert_eq!(m.gauge("unprocessedBatches"), Some(2));
    gate.open();
    rig.fake.until_completed(20);
    rig.fake.give([500]); // in no batch yet: the stop makes one, ahead of the clock
    rig.stop();
    assert_eq!(m.snapshot().waiting_ticks, 0);
    rig
}

#[test]
fn wait_and_merge_take_the_same_input_and_skip_no_tick() {
    let mut want: Vec<u32> = (11..=20).flat_map(|t| [t, t + 100]).chain([500]).collect();
    want.sort_unstable();
    for policy in [QueuePolicy::Wait, QueuePolicy::Merge] {
        let rig = overload(policy);
        assert_eq!(rig.fake.taken(), want, "{policy:?}");
        let s = rig.fake.state.get();
        assert!(s.taken.keys().copied().eq(11..=21), "{policy:?}");
        let rest = if policy == QueuePolicy::Merge { 20 } else { 13 };
        assert_eq!(s.taken[&rest].len(), 16, "{policy:?}");
        let empty: Vec<u64> =
            if policy == QueuePolicy::Merge { (13..20).collect() } else { vec![] };
        assert_eq!(s.empty, empty, "{policy:?}");
    }
}

#[test]
fn fail_stops_with_queue_full() {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let fake = Fake::new(1).output(move |_, _| {
        held.pass();
        Ok(())
    });
    let rig = Rig::started(fake, |c| c.max_queued_batches(2).queue_policy(QueuePolicy::Fail));
    rig.to(11);
    rig.fake.until_inside(0, 11);
    rig.to(13);
    while rig.scheduler.first_error().is_none() {
        std::thread::yield_now();
    }
    gate.open();
    let e = rig.scheduler.await_stopped(None).unwrap_err();
    assert!(matches!(e, Error::QueueFull { waiting: 2, time } if secs(time) == 13), "{e}");
    let log = rig.fake.log();
    assert!(log.contains(&Did::Output(0, 11)) && !log.contains(&Did::Output(0, 12)), "{log:?}");
}

#[test]
fn merge_gives_input_even_when_empty_batches_are_too_slow() {
    let rig = Arc::new(Mutex::new(None::<Arc<ManualClock>>));
    let clock = rig.clone();
    let fake = Fake::new(1).output(move |_, (_, t)| {
        // Every batch takes two intervals, empty or not, for a while.
        if t < 60
            && let Some(c) = &*clock.get()
        {
            c.advance(2 * SECOND);
        }
        Ok(())
    });
    let r = Rig::new(fake, |c| c.max_queued_batches(1).queue_policy(QueuePolicy::Merge));
    *rig.get() = Some(r.clock.clone());
    r.scheduler.start().unwrap();
    r.fake.give([1, 2, 3]);
    r.to(11);
    r.fake.until_completed(60);
    r.fake.give([4]);
    r.stop();
    *rig.get() = None;
    assert_eq!(r.fake.taken(), [1, 2, 3, 4]);
    let s = r.fake.state.get();
    let full = s.taken.len() - s.empty.len();
    assert!(full >= 4, "batches that may take input must recur: {full}");
}
