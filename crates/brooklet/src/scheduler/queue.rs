//! What may run next: the order of steps, outputs and clean-ups, as a pure state machine.
//!
//! ```text
//!  push(t) ──► steps t ──► outputs t (k after k of t-1) ──► complete t (in batch order)
//!                 └─► steps t+1 ──► ...
//! ```
//! Events in ([`push`](BatchQueue::push), `*_done`, [`halt`](BatchQueue::halt)), runnable work out
//! ([`next`](BatchQueue::next)); no clock, no threads. With one job slot the scan order (oldest batch
//! first, outputs by number) makes everything strictly sequential.

use std::collections::VecDeque;

use crate::Time;

/// A batch in the queue: its number since the start, and its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    pub(crate) seq: u64,
    pub(crate) time: Time,
}

/// A piece of work for one job thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// All steps of a batch.
    Steps(Batch),
    /// One output operation of a batch.
    Output(Batch, usize),
    /// A batch whose work is over: clean-up and the last event. `cut`: a halt kept some of it from running.
    Complete { batch: Batch, cut: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waiting,
    Running,
    Done,
}

#[derive(Debug)]
struct Slot {
    time: Time,
    steps: Phase,
    outputs: Vec<Phase>,
    begun: bool,
    completing: bool,
    cut: bool,
}

impl Slot {
    fn is_over(&self) -> bool {
        self.steps == Phase::Done && self.outputs.iter().all(|o| *o == Phase::Done)
    }

    /// Outputs that wait will not run.
    fn drop_waiting(&mut self, cut: bool) {
        for o in self.outputs.iter_mut().filter(|o| **o == Phase::Waiting) {
            *o = Phase::Done;
            self.cut |= cut;
        }
    }
}

/// Batches that wait or run, oldest first.
#[derive(Debug)]
pub(crate) struct BatchQueue {
    first: u64,
    slots: VecDeque<Slot>,
    outputs: usize,
    jobs: usize,
    running: usize,
    /// Batches from this number on start nothing new.
    end: u64,
}

impl BatchQueue {
    /// An empty queue for this many outputs per batch and this many pieces of work at a time.
    pub(crate) fn new(outputs: usize, jobs: usize) -> BatchQueue {
        let slots = VecDeque::new();
        BatchQueue { first: 0, slots, outputs, jobs, running: 0, end: u64::MAX }
    }

    /// Batches that wait or run.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The number of the oldest batch here (of the next one, when there is none).
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Queues the next batch. The caller doesn't push after a halt.
    pub(crate) fn push(&mut self, time: Time, steps: bool) -> Batch {
        debug_assert!(self.slots.back().is_none_or(|s| s.time < time), "batches come in order");
        let seq = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot {
            time,
            steps: if steps { Phase::Waiting } else { Phase::Done },
            outputs: vec![Phase::Waiting; self.outputs],
            begun: false,
            completing: false,
            cut: false,
        });
        Batch { seq, time }
    }

    /// What would run next, if a job slot is free.
    pub(crate) fn peek(&self) -> Option<Work> {
        if self.running >= self.jobs {
            return None;
        }
        let front = self.slots.front()?;
        if front.is_over() && !front.completing {
            let batch = Batch { seq: self.first, time: front.time };
            return Some(Work::Complete { batch, cut: front.cut });
        }
        for (i, slot) in self.slots.iter().enumerate() {
            let batch = Batch { seq: self.first + i as u64, time: slot.time };
            if batch.seq >= self.end {
                break;
            }
            match slot.steps {
                Phase::Waiting => return Some(Work::Steps(batch)),
                Phase::Running => return None,
                Phase::Done => {}
            }
            // All earlier batches count, not only the one before: its output may be done without having
            // run (a failed step) while an older call is still under way.
            let free = |k: &usize| {
                slot.outputs[*k] == Phase::Waiting
                    && self.slots.iter().take(i).all(|s| s.outputs[*k] == Phase::Done)
            };
            if let Some(k) = (0..self.outputs).find(free) {
                return Some(Work::Output(batch, k));
            }
        }
        None
    }

    /// Takes the next piece of work; its end must be told by the matching `*_done`.
    pub(crate) fn next(&mut self) -> Option<Work> {
        let work = self.peek()?;
        self.running += 1;
        match work {
            Work::Steps(b) => self.slot(b).steps = Phase::Running,
            Work::Output(b, k) => self.slot(b).outputs[k] = Phase::Running,
            Work::Complete { batch, .. } => self.slot(batch).completing = true,
        }
        let (Work::Steps(b) | Work::Output(b, _) | Work::Complete { batch: b, .. }) = work;
        self.slot(b).begun = true;
        Some(work)
    }

    /// The steps of a batch ended. When they failed, its outputs don't run.
    pub(crate) fn steps_done(&mut self, b: Batch, ok: bool) {
        self.running -= 1;
        let end = self.end;
        let slot = self.slot(b);
        slot.steps = Phase::Done;
        if !ok || b.seq >= end {
            slot.drop_waiting(ok);
        }
    }

    /// An output of a batch ended, well or not.
    pub(crate) fn output_done(&mut self, b: Batch, output: usize) {
        self.running -= 1;
        self.slot(b).outputs[output] = Phase::Done;
    }

    /// Some of the batch's running work was cancelled by a halt.
    pub(crate) fn cut(&mut self, b: Batch) {
        self.slot(b).cut = true;
    }

    /// The oldest batch is cleaned up and leaves.
    pub(crate) fn completed(&mut self, b: Batch) {
        debug_assert_eq!(b.seq, self.first, "batches are completed in order");
        self.running -= 1;
        self.first += 1;
        self.slots.pop_front();
    }

    /// From batch number `end` on nothing new starts. Returns how many batches, from the newest on, had
    /// not begun and are gone; those that had begun are completed when their running work ends.
    pub(crate) fn halt(&mut self, end: u64) -> usize {
        self.end = self.end.min(end);
        let mut gone = 0;
        while self.slots.back().is_some_and(|s| !s.begun) && self.last() >= self.end {
            self.slots.pop_back();
            gone += 1;
        }
        for (seq, slot) in (self.first..).zip(&mut self.slots) {
            if seq >= self.end && slot.steps == Phase::Done {
                slot.drop_waiting(true);
            }
        }
        gone
    }

    /// Whether a halt keeps (parts of) this batch from running.
    pub(crate) fn is_halted(&self, b: Batch) -> bool {
        b.seq >= self.end
    }

    /// What runs now: `None` stands for the steps.
    pub(crate) fn running(&self) -> Vec<(Batch, Option<usize>)> {
        let mut all = Vec::new();
        for (seq, slot) in (self.first..).zip(&self.slots) {
            let batch = Batch { seq, time: slot.time };
            if slot.steps == Phase::Running {
                all.push((batch, None));
            }
            let busy = |k: &usize| slot.outputs[*k] == Phase::Running;
            all.extend((0..self.outputs).filter(busy).map(|k| (batch, Some(k))));
        }
        all
    }

    fn last(&self) -> u64 {
        (self.first + self.slots.len() as u64).saturating_sub(1)
    }

    fn slot(&mut self, b: Batch) -> &mut Slot {
        let at = (b.seq - self.first) as usize;
        &mut self.slots[at]
    }
}
