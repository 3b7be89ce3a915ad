//! What these tests share: a receiver made of a closure, a listener that notes everything, waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::time::Timestamp;
use brooklet::{DStream, OutputOperationInfo, ReceiverInfo, Wire};
use brooklet_testkit::{Collector, Driver, TestEngine};

/// A test that waits this long has failed; nothing else is decided by it.
pub const GUARD: Duration = Duration::from_secs(60);

/// Waits until `done`.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..GUARD.as_millis() {
        if done() {
            return;
        }
        std::thread::park_timeout(millis(1));
    }
    panic!("{what}: not within {GUARD:?}");
}

/// How often each item comes.
pub fn multiset<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut all = BTreeMap::new();
    for item in items {
        *all.entry(item).or_default() += 1;
    }
    all
}

/// Collects what a stream gives, batch by batch.
pub fn collect<T: Wire>(stream: &DStream<T>, into: &Collector<T>) {
    let into = into.clone();
    stream.foreach_rdd(move |rdd, t| {
        into.push(t, rdd.collect()?);
        Ok::<_, Error>(())
    });
}

/// A counter of the context, zero when there is none.
pub fn counter(ssc: &StreamingContext, name: &str) -> u64 {
    ssc.counters().get(name).copied().unwrap_or_default()
}

/// Door that is closed until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        self.0.0.lock().unwrap().0 = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.1 += 1;
        self.0.1.notify_all();
        let (state, out) = self.0.1.wait_timeout_while(state, GUARD, |s| !s.0).unwrap();
        drop(state);
        assert!(!out.timed_out(), "nobody opened the gate");
    }

    /// Waits until somebody stands before it, or has passed.
    pub fn wait_for_guest(&self) {
        let (state, out) =
            self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), GUARD, |s| s.1 == 0).unwrap();
        drop(state);
        assert!(!out.timed_out(), "nobody came to the gate");
    }
}

/// A receiver made of a closure. It is called `scripted`.
pub struct Scripted<T, F>(F, PhantomData<fn() -> T>);

pub fn scripted<T, F>(f: F) -> Scripted<T, F>
where
    T: Wire,
    F: FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
{
    Scripted(f, PhantomData)
}

impl<T, F> Receiver for Scripted<T, F>
where
    T: Wire,
    F: FnMut(&mut Store<T>) -> Result<(), BoxError> + Send + 'static,
{
    type Item = T;
    fn run(&mut self, out: &mut Store<T>) -> Result<(), BoxError> {
        (self.0)(out)
    }
    fn name(&self) -> String {
        "scripted".into()
    }
}

/// Whatever a listener can hear.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Started(Timestamp),
    ReceiverStarted(ReceiverInfo),
    ReceiverError(ReceiverInfo),
    ReceiverStopped(ReceiverInfo),
    Submitted(BatchInfo),
    BatchStarted(BatchInfo),
    Completed(BatchInfo),
    OutputStarted(OutputOperationInfo),
    OutputCompleted(OutputOperationInfo),
}

/// A listener that notes everything. Clones share the notes.
#[derive(Clone, Default)]
pub struct Notes(Arc<(Mutex<Vec<Heard>>, Condvar)>);

impl Notes {
    /// Notes what `ssc` tells from now on.
    pub fn of(ssc: &StreamingContext) -> Notes {
        let notes = Notes::default();
        ssc.add_listener(notes.clone()).unwrap();
        notes
    }

    fn add(&self, event: Heard) {
        self.lock().push(event);
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.0.0.lock().unwrap()
    }

    pub fn all(&self) -> Vec<Heard> {
        self.lock().clone()
    }

    /// Waits for the first event that `pick` takes.
    pub fn wait<R>(&self, what: &str, pick: impl Fn(&Heard) -> Option<R>) -> R {
        let (all, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), GUARD, |all| !all.iter().any(|e| pick(e).is_some()))
            .unwrap();
        let found = all.iter().find_map(pick);
        found.unwrap_or_else(|| panic!("no {what} within {GUARD:?}"))
    }

    /// Waits for the first error of a receiver.
    pub fn receiver_error(&self) -> ReceiverInfo {
        self.wait("receiver error", |e| match e {
            Heard::ReceiverError(r) => Some(r.clone()),
            _ => None,
        })
    }

    /// Waits for the end of the batch at `seconds`.
    pub fn completed(&self, seconds: u64) -> BatchInfo {
        self.wait("completed batch", |e| match e {
            Heard::Completed(b) if b.batch_time.millis() == seconds * 1_000 => Some(b.clone()),
            _ => None,
        })
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().fmt(f)
    }
}

impl StreamingListener for Notes {
    fn on_streaming_started(&mut self, at: Timestamp) {
        self.add(Heard::Started(at));
    }
    fn on_receiver_started(&mut self, r: &ReceiverInfo) {
        self.add(Heard::ReceiverStarted(r.clone()));
    }
    fn on_receiver_error(&mut self, r: &ReceiverInfo) {
        self.add(Heard::ReceiverError(r.clone()));
    }
    fn on_receiver_stopped(&mut self, r: &ReceiverInfo) {
        self.add(Heard::ReceiverStopped(r.clone()));
    }
    fn on_batch_submitted(&mut self, b: &BatchInfo) {
        self.add(Heard::Submitted(b.clone()));
    }
    fn on_batch_started(&mut self, b: &BatchInfo) {
        self.add(Heard::BatchStarted(b.clone()));
    }
    fn on_batch_completed(&mut self, b: &BatchInfo) {
        self.add(Heard::Completed(b.clone()));
    }
    fn on_output_operation_started(&mut self, o: &OutputOperationInfo) {
        self.add(Heard::OutputStarted(o.clone()));
    }
    fn on_output_operation_completed(&mut self, o: &OutputOperationInfo) {
        self.add(Heard::OutputCompleted(o.clone()));
    }
}

/// Runs a stream of a network source on an engine, with a clock that is moved by hand, until it has given
/// `want` records.
pub fn both_engines<T: Wire>(
    engine: TestEngine,
    want: usize,
    make: impl Fn(&StreamingContext) -> DStream<T>,
) -> Vec<T> {
    let seen = Collector::new();
    let s = seen.clone();
    let conf = Driver::<()>::conf();
    let mut driver = Driver::with(engine, conf, move |ssc| {
        collect(&make(ssc), &s);
        Ok(())
    })
    .unwrap();
    until("all records", || {
        driver.batch().unwrap();
        seen.len() >= want
    });
    driver.batch().unwrap(); // a record that comes twice would be here
    seen.items()
}
