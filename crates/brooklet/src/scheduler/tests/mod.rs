//! The scheduler against a graph made for the purpose, on a manual clock. Nothing sleeps; the limits
//! here only end a test that hangs.

mod failures;
mod order;
mod policies;
mod queue;
mod stopping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::sync::{Condvar, LockExt, Mutex, wait};
use crate::time::{Clock, ManualClock, SystemClock};
use crate::{Conf, seconds};

const LIMIT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Did {
    Steps(u64),
    Output(usize, u64),
    Completed(u64),
    RolledBack(u64),
    StoppedInputs(bool),
    StoppedGraph,
}

type Hook<A> = Box<dyn Fn(&Fake, A) -> Result<()> + Send + Sync>;

/// A graph that logs what is asked of it. Batch times in its log are seconds.
#[derive(Default)]
struct Fake {
    state: Mutex<FakeState>,
    changed: Condvar,
    outputs: usize,
    steps: Option<Hook<u64>>,
    output: Option<Hook<(usize, u64)>>,
    allocate: Option<Hook<u64>>,
    stop_inputs: Option<Hook<bool>>,
}

#[derive(Default)]
struct FakeState {
    log: Vec<Did>,
    pending: Vec<u32>,
    taken: BTreeMap<u64, Vec<u32>>,
    empty: Vec<u64>,
    cancelled: Vec<u64>,
    inside: Vec<(usize, u64)>,
}

fn secs(t: Time) -> u64 {
    t.millis() / 1_000
}

impl Fake {
    fn new(outputs: usize) -> Fake {
        Fake { outputs, ..Fake::default() }
    }

    fn steps(mut self, f: impl Fn(&Fake, u64) -> Result<()> + Send + Sync + 'static) -> Fake {
        self.steps = Some(Box::new(f));
        self
    }

    fn output(
        mut self,
        f: impl Fn(&Fake, (usize, u64)) -> Result<()> + Send + Sync + 'static,
    ) -> Fake {
        self.output = Some(Box::new(f));
        self
    }

    fn did(&self, what: Did) {
        self.state.get().log.push(what);
        self.changed.notify_all();
    }

    fn log(&self) -> Vec<Did> {
        self.state.get().log.clone()
    }

    fn give(&self, items: impl IntoIterator<Item = u32>) {
        self.state.get().pending.extend(items);
    }

    /// Waits until the state is so.
    fn until(&self, what: &str, holds: impl Fn(&FakeState) -> bool) {
        let real = SystemClock::new();
        let end = real.now().after(LIMIT);
        let mut s = self.state.get();
        while !holds(&s) {
            assert!(real.now() < end, "waited too long until {what}; log: {:?}", s.log);
            s = wait(&self.changed, s, Some(LIMIT));
        }
    }

    fn until_completed(&self, t: u64) {
        self.until("the batch is completed", |s| s.log.contains(&Did::Completed(t)));
    }

    /// Waits until this output's code has been entered.
    fn until_inside(&self, output: usize, t: u64) {
        self.until("the output runs", |s| s.inside.contains(&(output, t)));
    }

    fn until_cancelled(&self, t: u64) {
        self.until("the batch is cancelled", |s| s.cancelled.contains(&t));
    }

    fn taken(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.state.get().taken.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }
}

impl BatchGraph for Fake {
    fn allocate(&self, t: Time, empty: bool) -> Result<Vec<StreamInputInfo>> {
        let t = secs(t);
        if let Some(f) = &self.allocate {
            f(self, t)?;
        }
        let mut s = self.state.get();
        let input = if empty { Vec::new() } else { std::mem::take(&mut s.pending) };
        if empty {
            s.empty.push(t);
        }
        let n = input.len() as u64;
        assert!(s.taken.insert(t, input).is_none(), "batch {t} twice");
        self.changed.notify_all();
        Ok(vec![StreamInputInfo::new(0, n)])
    }
    fn has_steps(&self) -> bool {
        self.steps.is_some()
    }
    fn run_steps(&self, t: Time) -> Result<()> {
        let done = self.steps.as_ref().map_or(Ok(()), |f| f(self, secs(t)));
        self.did(Did::Steps(secs(t)));
        done
    }
    fn outputs(&self) -> Vec<OutputMeta> {
        let meta = |id| OutputMeta { name: format!("out-{id}"), description: "test".into() };
        (0..self.outputs).map(meta).collect()
    }
    fn run_output(&self, output: usize, t: Time) -> Result<()> {
        self.state.get().inside.push((output, secs(t)));
        self.changed.notify_all();
        let done = self.output.as_ref().map_or(Ok(()), |f| f(self, (output, secs(t))));
        self.did(Did::Output(output, secs(t)));
        done
    }
    fn cancel(&self, t: Time) {
        self.state.get().cancelled.push(secs(t));
        self.changed.notify_all();
    }
    fn roll_back(&self, t: Time) {
        self.did(Did::RolledBack(secs(t)));
    }
    fn completed(&self, t: Time) {
        self.did(Did::Completed(secs(t)));
    }
    fn has_unallocated(&self) -> bool {
        !self.state.get().pending.is_empty()
    }
    fn stop_inputs(&self, graceful: bool) {
        if let Some(f) = &self.stop_inputs {
            let _ = f(self, graceful);
        }
        self.did(Did::StoppedInputs(graceful));
    }
    fn stop_graph(&self) {
        self.did(Did::StoppedGraph);
    }
}

/// A scheduler over a fake graph, batch interval 1 s, clock at 10.5 s: the first batch is at 11 s.
struct Rig {
    fake: Arc<Fake>,
    clock: Arc<ManualClock>,
    scheduler: Arc<Scheduler>,
}

impl Rig {
    fn new(fake: Fake, conf: impl FnOnce(Conf) -> Conf) -> Rig {
        let fake = Arc::new(fake);
        let clock = ManualClock::new(Time::from_millis(10_500));
        let conf = conf(Conf::new("test"));
        let scheduler = Scheduler::new(&conf, SECOND, fake.clone(), clock.clone(), "test");
        Rig { fake, clock, scheduler }
    }

    fn started(fake: Fake, conf: impl FnOnce(Conf) -> Conf) -> Rig {
        let rig = Rig::new(fake, conf);
        rig.scheduler.start().unwrap();
        rig
    }

    fn to(&self, second: u64) {
        self.clock.set(Time::from_millis(second * 1_000));
    }

    fn stop(&self) {
        self.scheduler.stop(true, LIMIT).unwrap();
    }

    /// Sends each completed batch's info.
    fn completed(&self) -> mpsc::Receiver<BatchInfo> {
        let (tx, rx) = mpsc::channel();
        self.scheduler.listeners().add(listener::batch_completed(move |b| {
            let _ = tx.send(b.clone());
        }));
        rx
    }

    fn error(&self) -> String {
        self.scheduler.await_stopped(Some(LIMIT)).unwrap_err().to_string()
    }
}

fn broken(text: &str) -> Error {
    Error::usage(text)
}

/// Opens and closes; whoever comes waits while it is closed.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.get() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let real = SystemClock::new();
        let end = real.now().after(LIMIT);
        let mut open = self.0.get();
        while !*open && real.now() < end {
            open = wait(&self.1, open, Some(LIMIT));
        }
    }
}
