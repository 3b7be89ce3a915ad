//! Which batches are made, and in which order their work runs.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn first_batch_is_at_the_next_multiple_and_zero_one_interval_before() {
    let rig = Rig::new(Fake::new(1), |c| c);
    assert_eq!(rig.scheduler.start().unwrap(), Time::from_millis(10_000));
    assert_eq!(
        rig.scheduler.start().unwrap(),
        Time::from_millis(10_000),
        "start twice is harmless"
    );
    rig.to(11);
    rig.fake.until_completed(11);
    rig.stop();
    assert_eq!(rig.fake.state.get().taken.keys().copied().collect::<Vec<_>>(), [11]);
    assert!(matches!(rig.scheduler.start(), Err(Error::State { .. })));

    let exact = Rig::new(Fake::new(1), |c| c);
    exact.to(12);
    assert_eq!(exact.scheduler.start().unwrap(), Time::from_millis(12_000));
}

#[test]
fn jump_of_the_clock_skips_no_batch() {
    let rig = Rig::started(Fake::new(1), |c| c.max_queued_batches(2));
    rig.to(15);
    rig.fake.until_completed(15);
    rig.to(45);
    rig.fake.until_completed(45);
    rig.stop();
    assert!(rig.fake.state.get().taken.keys().copied().eq(11..=45));
}

#[test]
fn one_job_is_strictly_in_order() {
    let rig = Rig::started(Fake::new(3).steps(|_, _| Ok(())), |c| c);
    rig.to(40);
    rig.fake.until_completed(40);
    rig.stop();
    let of = |t| {
        let outputs = (0..3).map(move |k| Did::Output(k, t));
        [Did::Steps(t)].into_iter().chain(outputs).chain([Did::Completed(t)])
    };
    let end = [Did::StoppedInputs(true), Did::StoppedGraph];
    assert_eq!(rig.fake.log(), (11..=40).flat_map(of).chain(end).collect::<Vec<_>>());
}

#[test]
fn two_jobs_overlap_outputs_of_a_batch() {
    let meet = Barrier::new(2);
    let fake = Fake::new(2).output(move |_, _| {
        meet.wait(); // passes only when both outputs are inside
        Ok(())
    });
    let rig = Rig::started(fake, |c| c.concurrent_jobs(2));
    rig.to(15);
    rig.fake.until_completed(15);
    rig.stop();
}

#[test]
fn steps_of_the_next_batch_overlap_outputs() {
    let meet = Arc::new(Barrier::new(2));
    let (a, b) = (meet.clone(), meet);
    let fake = Fake::new(1)
        .steps(move |_, t| {
            if t > 11 {
                a.wait();
            }
            Ok(())
        })
        .output(move |_, (_, t)| {
            if t < 15 {
                b.wait();
            }
            Ok(())
        });
    let rig = Rig::started(fake, |c| c.concurrent_jobs(2));
    rig.to(15);
    rig.fake.until_completed(15);
    rig.stop();
}

#[test]
fn four_jobs_keep_the_order_of_each_output() {
    let inside: [AtomicU64; 3] = Default::default();
    let fake = Fake::new(3).steps(|_, _| Ok(())).output(move |_, (k, t)| {
        assert_eq!(inside[k].swap(1, Ordering::SeqCst), 0, "output {k} overlaps itself");
        for _ in 0..(t * 7 + k as u64 * 5) % 11 {
            std::thread::yield_now();
        }
        inside[k].store(0, Ordering::SeqCst);
        Ok(())
    });
    let rig = Rig::started(fake, |c| c.concurrent_jobs(4).max_queued_batches(5));
    rig.to(1_010);
    rig.fake.until_completed(1_010);
    rig.stop();
    let log = rig.fake.log();
    let times = |f: &dyn Fn(&Did) -> Option<u64>| log.iter().filter_map(f).collect::<Vec<_>>();
    let all: Vec<u64> = (11..=1_010).collect();
    assert_eq!(times(&|d| if let Did::Steps(t) = d { Some(*t) } else { None }), all);
    assert_eq!(times(&|d| if let Did::Completed(t) = d { Some(*t) } else { None }), all);
    for out in 0..3 {
        let of = |d: &Did| match d {
            Did::Output(k, t) if *k == out => Some(*t),
            _ => None,
        };
        assert_eq!(times(&of), all);
    }
}

#[test]
fn events_come_in_order_with_their_fields() {
    #[derive(Clone)]
    struct Names(mpsc::Sender<String>);
    impl StreamingListener for Names {
        fn on_streaming_started(&mut self, at: crate::time::Timestamp) {
            self.0.send(format!("started {}", at.millis())).unwrap();
        }
        fn on_batch_submitted(&mut self, b: &BatchInfo) {
            assert!(b.processing_start_time.is_none());
            self.0.send(format!("submitted {} {}", b.batch_time, b.num_records())).unwrap();
        }
        fn on_batch_started(&mut self, b: &BatchInfo) {
            assert!(b.scheduling_delay().is_some() && b.processing_delay().is_none());
            self.0.send(format!("started {}", b.batch_time)).unwrap();
        }
        fn on_batch_completed(&mut self, b: &BatchInfo) {
            assert!(b.total_delay().is_some() && !b.is_failed());
            assert_eq!(b.generation_delay(), Duration::ZERO);
            self.0.send(format!("completed {}", b.output_operation_infos.len())).unwrap();
        }
        fn on_output_operation_started(&mut self, o: &OutputOperationInfo) {
            self.0.send(format!("{} starts", o.name)).unwrap();
        }
        fn on_output_operation_completed(&mut self, o: &OutputOperationInfo) {
            assert!(o.duration().is_some());
            self.0.send(format!("{} ends", o.name)).unwrap();
        }
    }
    let rig = Rig::new(Fake::new(2), |c| c);
    let (tx, rx) = mpsc::channel();
    let id = rig.scheduler.listeners().add(Names(tx));
    rig.scheduler.start().unwrap();
    rig.fake.give([1, 2, 3]);
    rig.to(11);
    let got: Vec<String> = rx.iter().take(8).collect();
    assert!(rig.scheduler.listeners().remove(id));
    rig.to(12);
    rig.fake.until_completed(12);
    rig.stop();
    let want = [
        "started 10500",
        "submitted 11000 ms 3",
        "started 11000 ms",
        "out-0 starts",
        "out-0 ends",
        "out-1 starts",
        "out-1 ends",
        "completed 2",
    ];
    assert_eq!(got, want);
    assert_eq!(rx.iter().count(), 0, "a removed listener heard something");
    assert_eq!(rig.scheduler.metrics().gauge("totalProcessedRecords"), Some(3));
}

/// By the wall clock: whoever made a batch runs it, and the deputy takes the tick over.
#[test]
fn ticks_go_on_while_the_thread_that_made_a_batch_runs_it() {
    let slow = |f: &Fake, (_, t): (usize, u64)| {
        if f.state.get().taken.keys().next() == Some(&t) {
            f.until("two more batches are made", |s| s.taken.len() >= 3);
        }
        Ok(())
    };
    let fake = Arc::new(Fake::new(1).output(slow));
    let clock = Arc::new(SystemClock::new());
    let conf = Conf::new("test");
    let scheduler = Scheduler::new(&conf, SECOND, fake.clone(), clock, "test");
    let zero = secs(scheduler.start().unwrap());
    fake.until_completed(zero + 2);
    scheduler.stop(false, LIMIT).unwrap();
    let made: Vec<u64> = fake.state.get().taken.keys().copied().collect();
    assert!(made.iter().zip(zero + 1..).all(|(t, due)| *t == due), "{made:?} after {zero}");
}
