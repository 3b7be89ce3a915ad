//! Inputs without a receiver, of the user's own, on both engines.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::source::InputStart;
use brooklet::{Input, Partitions, SliceInfo};
use brooklet_testkit::{Collector, Driver, TestEngine};

use crate::support::{Notes, collect, until};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

type Calls = Arc<Mutex<Vec<String>>>;

/// What a batch is given.
#[derive(Clone, Copy, PartialEq)]
enum Gives {
    Numbers,
    Nothing,
    Empty,
    NoSlice,
    NoReading,
    HalfReading,
}

/// Ten numbers a batch in two partitions, or what the script says.
struct Numbers {
    next: u64,
    script: &'static [Gives],
    batch: usize,
    calls: Calls,
}

/// A slice, and what becomes of its reading.
type Slice = (Range<u64>, u8);

impl Numbers {
    fn new(script: &'static [Gives], calls: &Calls) -> Numbers {
        Numbers { next: 0, script, batch: 0, calls: calls.clone() }
    }

    fn note(&self, text: String) {
        self.calls.lock().unwrap().push(text);
    }
}

impl Input for Numbers {
    type Item = u64;
    type Slice = Slice;
    type Pipe = Partitions<u64>;

    fn start(&mut self, at: InputStart) -> Result<(), BoxError> {
        self.note(format!("start {} every {:?}", at.zero_time, at.batch_interval));
        Ok(())
    }

    fn allocate(&mut self, t: Time, limit: Option<u64>) -> Result<Option<Slice>, BoxError> {
        assert_eq!(limit, None);
        self.note(format!("allocate {}", t.millis()));
        let gives = self.script.get(self.batch).copied().unwrap_or(Gives::Empty);
        self.batch += 1;
        let n = if gives == Gives::Empty { 0 } else { 10 };
        let slice = self.next..self.next + n;
        match gives {
            Gives::NoSlice => return Err("the table is locked".into()),
            Gives::Nothing => return Ok(None),
            _ => self.next += n,
        }
        let broken = match gives {
            Gives::NoReading => 1,
            Gives::HalfReading => 2,
            _ => 0,
        };
        Ok(Some((slice, broken)))
    }

    fn read(&self, slice: &Arc<Slice>) -> Result<Partitions<u64>, BoxError> {
        let (range, broken) = (slice.0.clone(), slice.1);
        if broken == 1 {
            return Err("the file is gone".into());
        }
        Ok(Partitions::try_from_fn(2, move |part| {
            let range = range.clone();
            Ok(range.skip(part).step_by(2).map(move |x| match broken {
                2 if part == 1 => Err(format!("record {x} is broken").into()),
                _ => Ok(x),
            }))
        }))
    }

    fn input_info(&self, slice: &Slice) -> SliceInfo {
        let mut info = SliceInfo::records(slice.0.end - slice.0.start);
        info.metadata.insert("Description".into(), format!("numbers {:?}", slice.0));
        info.metadata.insert("from".into(), slice.0.start.to_string());
        info
    }

    fn release(&mut self, up_to: Time) {
        self.note(format!("release {}", up_to.millis()));
    }

    fn stop(&mut self) {
        self.note("stop".into());
    }
}

struct Rig {
    driver: Driver<()>,
    seen: Collector<u64>,
    calls: Calls,
}

fn rig(engine: TestEngine, script: &'static [Gives], policy: FailurePolicy) -> Rig {
    let (seen, calls) = (Collector::new(), Calls::default());
    let (s, c) = (seen.clone(), calls.clone());
    let conf = Driver::<()>::conf().failure_policy(policy);
    let driver = Driver::with(engine, conf, move |ssc| {
        collect(&ssc.input_stream(Numbers::new(script, &c)), &s);
        Ok(())
    });
    Rig { driver: driver.unwrap(), seen, calls }
}

fn batch(seen: &Collector<u64>, seconds: u64) -> Vec<u64> {
    let mut all = seen.batch(Time::from_millis(seconds * 1_000));
    all.sort_unstable();
    all
}

#[test]
fn slices_are_chosen_once_a_batch_in_order_and_read_where_the_tasks_are() {
    for engine in ENGINES {
        let script = &[Gives::Numbers, Gives::Numbers, Gives::Numbers];
        let mut rig = rig(engine, script, FailurePolicy::stop());
        rig.driver.batches(3).unwrap();
        for t in 1..=3 {
            let want: Vec<u64> = ((t - 1) * 10..t * 10).collect();
            assert_eq!(batch(&rig.seen, t), want, "{engine:?}");
        }
        let calls = rig.calls.lock().unwrap().clone();
        let allocated: Vec<&String> = calls.iter().filter(|c| c.starts_with("allocate")).collect();
        assert_eq!(allocated, ["allocate 1000", "allocate 2000", "allocate 3000"], "{engine:?}");
        assert_eq!(calls[0], "start 0 ms every 1s", "{engine:?}");
    }
}

#[test]
fn batches_that_are_over_are_released_and_the_input_is_stopped_last() {
    let script = &[Gives::Numbers, Gives::Numbers];
    let mut rig = rig(TestEngine::Local, script, FailurePolicy::stop());
    rig.driver.batches(3).unwrap();
    let has = |call: &str| rig.calls.lock().unwrap().iter().any(|c| c == call);
    until("release of the first batch", || has("release 1000"));
    assert!(!has("stop"));
    rig.driver.context().stop(true).unwrap();
    assert_eq!(rig.calls.lock().unwrap().last().unwrap(), "stop");
}

#[test]
fn no_rdd_is_not_an_empty_rdd() {
    for engine in ENGINES {
        let script = &[Gives::Nothing, Gives::Empty, Gives::Numbers];
        let mut rig = rig(engine, script, FailurePolicy::stop());
        rig.driver.batches(3).unwrap();
        let times: Vec<u64> = rig.seen.times().iter().map(|t| t.millis()).collect();
        assert_eq!(times, [2_000, 3_000], "{engine:?}: the output isn't called without an RDD");
        assert!(batch(&rig.seen, 2).is_empty(), "{engine:?}");
    }
}

#[test]
fn union_without_an_rdd_of_every_parent_fails_the_batch() {
    let seen = Collector::new();
    let s = seen.clone();
    let conf = Driver::<()>::conf().failure_policy(FailurePolicy::skip());
    let mut driver = Driver::local(conf, move |ssc| {
        let script = &[Gives::Numbers, Gives::Nothing, Gives::Empty];
        let numbers = ssc.input_stream(Numbers::new(script, &Calls::default()));
        let (queue, others) = ssc.queue_stream::<u64>();
        collect(&numbers.union(&others), &s);
        Ok(queue)
    })
    .unwrap();
    let notes = Notes::of(driver.context());
    (0..3).for_each(|_| driver.input().push([1_000]));
    driver.batches(3).unwrap();
    assert_eq!(
        (batch(&seen, 1).len(), batch(&seen, 2), batch(&seen, 3)),
        (11, vec![], vec![1_000])
    );
    let reason = notes.completed(2).output_operation_infos[&0].failure_reason.clone().unwrap();
    assert!(reason.contains("needs an RDD of every parent"), "{reason}");
    assert!(!notes.completed(3).is_failed());
}

/// The batch fails with `text`; under `skip` the next one goes on.
fn fails(script: &'static [Gives], text: &str) {
    for engine in ENGINES {
        let mut stopped = rig(engine, script, FailurePolicy::stop());
        let e = stopped.driver.batches(2).unwrap_err().to_string();
        assert!(e.contains(text) && e.contains("1000 ms"), "{engine:?}: {e}");
        let mut skipped = rig(engine, script, FailurePolicy::skip());
        let notes = Notes::of(skipped.driver.context());
        skipped.driver.batches(2).unwrap();
        let reason = notes.completed(1).output_operation_infos[&0].failure_reason.clone().unwrap();
        assert!(reason.contains(text), "{engine:?}: {reason}");
        assert_eq!(skipped.seen.len(), 10, "{engine:?}");
        assert_eq!(batch(&skipped.seen, 2).len(), 10, "{engine:?}");
    }
}

#[test]
fn failed_allocation_fails_the_batch() {
    fails(&[Gives::NoSlice, Gives::Numbers], "the table is locked");
}

#[test]
fn failed_opening_of_a_slice_fails_the_batch() {
    fails(&[Gives::NoReading, Gives::Numbers], "the file is gone");
}

#[test]
fn failed_record_fails_the_batch() {
    fails(&[Gives::HalfReading, Gives::Numbers], "record 1 is broken");
}

#[test]
fn listeners_see_what_the_input_tells_of_a_slice() {
    let mut rig = rig(TestEngine::Local, &[Gives::Numbers], FailurePolicy::stop());
    let notes = Notes::of(rig.driver.context());
    rig.driver.batches(2).unwrap();
    let info = notes.completed(1).stream_id_to_input_info[&0].clone();
    assert_eq!((info.input_stream_id, info.num_records), (0, 10));
    assert_eq!(info.metadata_description(), Some("numbers 0..10"));
    assert_eq!(info.metadata["from"], "0");
    assert_eq!(notes.completed(2).stream_id_to_input_info[&0].num_records, 0);
}
