use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::control::Control;
use super::super::counters::Counters;
use super::super::generator::{BlockGenerator, BlockSink, GeneratorSetup, GeneratorState};
use super::super::limiter::Limiter;
use super::super::pending::Sealed;
use super::*;
use crate::Error;
use crate::block::Values;

#[derive(Default)]
struct Sink {
    got: Mutex<Vec<(u64, Time, Vec<String>)>>,
    changed: Condvar,
    failures: AtomicUsize,
    reported: AtomicUsize,
    seq: AtomicUsize,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Sink {
    fn wait_for(&self, n: usize) -> Vec<(u64, Time, Vec<String>)> {
        let got = self.got.get();
        let (got, out) = self.changed.wait_timeout_while(got, GUARD, |g| g.len() < n).unwrap();
        assert!(!out.timed_out());
        got.clone()
    }
}

impl BlockSink for Sink {
    fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) as u64
    }

    fn push(&self, seq: u64, sealed: &Sealed) -> Result<(), StoreError> {
        drop(self.opened.wait_while(self.closed.get(), |closed| *closed).unwrap());
        let fail =
            self.failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if fail.is_ok() {
            return Err(StoreError::Failed(Error::Bug("disk on fire".into())));
        }
        let values = sealed.block.clone().as_any().downcast::<Values<String>>().unwrap();
        self.got.get().push((seq, sealed.time, values.items().to_vec()));
        self.changed.notify_all();
        Ok(())
    }

    fn push_failed(&self, _: &StoreError) {
        self.reported.fetch_add(1, Ordering::AcqRel);
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    sink: Arc<Sink>,
    control: Arc<Control>,
    generator: BlockGenerator<String>,
}

fn bench(queue_size: usize) -> Bench {
    let clock = ManualClock::new(Time::from_millis(1_050));
    let control = Control::new(clock.clone());
    let sink = Arc::new(Sink::default());
    let generator = BlockGenerator::new(GeneratorSetup {
        name: "test".into(),
        clock: clock.clone(),
        block_interval: millis(200),
        queue_size,
        limiter: Limiter::new(clock.clone(), None),
        control: control.clone(),
        counters: Arc::<Counters>::default(),
        sink: sink.clone(),
    });
    Bench { clock, sink, control, generator }
}

#[test]
fn a_generator_starts_once_and_stops_once() {
    let b = bench(10);
    assert_eq!(b.generator.state(), GeneratorState::Initialized);
    assert!(matches!(b.generator.add("x".into()), Err(StoreError::Stopped)));
    b.generator.stop(); // not active: nothing happens
    assert_eq!(b.generator.state(), GeneratorState::Initialized);
    b.generator.start().unwrap();
    assert_eq!(b.generator.state(), GeneratorState::Active);
    assert!(b.generator.start().unwrap_err().to_string().contains("active"));
    b.generator.stop();
    assert_eq!(b.generator.state(), GeneratorState::StoppedAll);
    b.generator.stop();
    assert!(matches!(b.generator.add("x".into()), Err(StoreError::Stopped)));
    assert!(b.generator.start().is_err());
}

#[test]
fn blocks_are_cut_on_the_grid_and_named_after_their_begin() {
    let b = bench(10);
    b.generator.start().unwrap();
    b.generator.add("a".into()).unwrap();
    b.generator.add("b".into()).unwrap();
    b.clock.set(Time::from_millis(1_200));
    b.sink.wait_for(1);
    b.generator.add("c".into()).unwrap();
    b.clock.set(Time::from_millis(2_150)); // four ticks late: one block, of the first tick
    b.sink.wait_for(2);
    b.clock.set(Time::from_millis(3_000)); // nothing came: no block
    b.generator.add("d".into()).unwrap();
    b.clock.set(Time::from_millis(3_300));
    let got = b.sink.wait_for(3);
    let times: Vec<u64> = got.iter().map(|g| g.1.millis()).collect();
    assert_eq!(times[..2], [1_000, 1_200]);
    assert_eq!(got[0].2, ["a", "b"]);
    assert_eq!(got[1].2, ["c"]);
    assert_eq!(got[2].2, ["d"]);
    assert_eq!(got.iter().map(|g| g.0).collect::<Vec<_>>(), [0, 1, 2]);
    b.generator.stop();
}

#[test]
fn stop_pushes_the_last_buffer_without_the_clock_moving() {
    let b = bench(10);
    b.generator.start().unwrap();
    for i in 0..100 {
        b.generator.add(i.to_string()).unwrap();
    }
    b.generator.stop();
    let got = b.sink.wait_for(1);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].2.len(), 100);
}

#[test]
fn stop_goes_through_its_states_in_order() {
    let b = bench(10);
    b.generator.start().unwrap();
    b.generator.add("kept".into()).unwrap();
    *b.sink.closed.get() = true;
    std::thread::scope(|s| {
        let stop = s.spawn(|| b.generator.stop());
        // The push thread is held: the last state can't be reached, the one before it is.
        spin(|| b.generator.state() == GeneratorState::StoppedGeneratingBlocks);
        assert!(matches!(b.generator.add("late".into()), Err(StoreError::Stopped)));
        *b.sink.closed.get() = false;
        b.sink.opened.notify_all();
        stop.join().unwrap();
    });
    assert_eq!(b.generator.state(), GeneratorState::StoppedAll);
    assert_eq!(b.sink.wait_for(1)[0].2, ["kept"]);
}

#[test]
fn a_large_buffer_is_cut_before_its_time() {
    let b = bench(10);
    b.generator.start().unwrap();
    for c in ["a", "b", "c"] {
        b.generator.add(c.repeat(5 << 20)).unwrap();
    }
    assert_eq!(b.sink.wait_for(1)[0].2.len(), 2);
    b.generator.stop();
    assert_eq!(b.sink.wait_for(2)[1].2.len(), 1);
}

#[test]
fn a_failed_push_is_reported_and_tried_again() {
    let b = bench(10);
    b.sink.failures.store(3, Ordering::Release);
    b.generator.start().unwrap();
    b.generator.add("precious".into()).unwrap();
    spin(|| {
        b.clock.advance(millis(500));
        !b.sink.got.get().is_empty()
    });
    b.generator.add("next".into()).unwrap();
    b.generator.stop();
    let got = b.sink.wait_for(2);
    assert_eq!((got[0].0, &got[0].2[0][..]), (0, "precious"));
    assert_eq!((got[1].0, &got[1].2[0][..]), (1, "next"));
    assert_eq!(b.sink.reported.load(Ordering::Acquire), 3);
}

#[test]
fn a_full_queue_holds_the_producer_and_nothing_is_lost() {
    let b = bench(1);
    b.generator.start().unwrap();
    *b.sink.closed.get() = true;
    let accepted = AtomicUsize::new(0);
    let large = "x".repeat(9 << 20);
    std::thread::scope(|s| {
        s.spawn(|| {
            for i in 0..12 {
                b.generator.add(format!("{i} {large}")).unwrap();
                accepted.fetch_add(1, Ordering::AcqRel);
            }
        });
        spin(|| accepted.load(Ordering::Acquire) >= 3);
        // One at the sink, one in the queue, one in the buffer, one held in `add`.
        assert!(accepted.load(Ordering::Acquire) <= 3);
        *b.sink.closed.get() = false;
        b.sink.opened.notify_all();
    });
    b.generator.stop();
    let got = b.sink.wait_for(12);
    let order: Vec<_> = got.iter().map(|g| g.2[0].split(' ').next().unwrap()).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
}

#[test]
fn an_abort_frees_whoever_waits() {
    let b = bench(1);
    b.sink.failures.store(usize::MAX, Ordering::Release);
    b.generator.start().unwrap();
    let large = "x".repeat(9 << 20);
    std::thread::scope(|s| {
        let producer = s.spawn(|| while b.generator.add(large.clone()).is_ok() {});
        spin(|| b.sink.reported.load(Ordering::Acquire) > 0);
        b.control.stop(true);
        producer.join().unwrap();
    });
    b.generator.stop();
    assert_eq!(b.generator.state(), GeneratorState::StoppedAll);
}
