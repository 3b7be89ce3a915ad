//! Runs batches on the scheduler's threads and keeps the books: batch infos, events, metrics, failures.
//!
//! All of it stands behind one mutex that is held for bookkeeping only, never while the graph runs.
//! Order is the business of [`BatchQueue`]; starting and stopping that of `life_cycle`.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::life_cycle::Stage;
use super::listener::{BatchInfo, Event, OutputOperationInfo, StreamInputInfo};
use super::queue::{Batch, Work};
use super::shared::{Core, Record, State};
use super::{generator, guarded};
use crate::engine::TaskError;
use crate::sync::{LockExt, wait};
use crate::time::Timestamp;
use crate::{Error, Result, Time};

/// How long after a tick the deputy wakes.
const DEPUTY: Duration = Duration::from_micros(100);

const NOT_RUN: &str = "did not run: the context stopped";

thread_local! {
    /// The scheduler whose job this thread runs.
    static JOB_OF: Cell<*const Core> = const { Cell::new(std::ptr::null()) };
}

impl Core {
    /// Whether the caller is inside a job of this scheduler, or in a task, perhaps of one: then a stop can't
    /// be awaited here.
    pub(super) fn is_inside(&self) -> bool {
        JOB_OF.get() == std::ptr::from_ref(self) || crate::engine::in_task()
    }

    pub(super) fn take_reports(
        &self,
        t: Time,
        all: Vec<StreamInputInfo>,
    ) -> Result<BTreeMap<usize, StreamInputInfo>> {
        let taken = all.into_iter().try_for_each(|i| self.inputs.report(t, i));
        taken.map(|()| self.inputs.infos(t))
    }

    /// Queues a batch with its input, or with the error of its allocation.
    pub(super) fn submit(
        &self,
        s: &mut State,
        time: Time,
        input: Result<BTreeMap<usize, StreamInputInfo>>,
        at: Timestamp,
    ) {
        let (input, input_error) = match input {
            Ok(i) => (i, None),
            Err(e) => (BTreeMap::new(), Some(e)),
        };
        let output = |(id, (name, description)): (usize, &(Arc<str>, Arc<str>))| {
            let info = OutputOperationInfo {
                batch_time: time,
                id,
                name: name.clone(),
                description: description.clone(),
                start_time: None,
                end_time: None,
                failure_reason: None,
            };
            (id, info)
        };
        let info = Arc::new(BatchInfo {
            batch_time: time,
            stream_id_to_input_info: input,
            submission_time: at,
            processing_start_time: None,
            processing_end_time: None,
            output_operation_infos: s.outputs.iter().enumerate().map(output).collect(),
        });
        tracing::debug!(app = self.app, batch = time.millis(), "submitted");
        s.queue.push(time, s.steps || input_error.is_some());
        self.metrics.batch_submitted(&info);
        self.bus.post_quietly(|| Event::BatchSubmitted(info.clone()));
        s.records.push_back(Record { info, input_error });
    }

    /// The body of the scheduler's threads: run what can run, else wait for the tick if nobody does, else
    /// wait. There is one thread more than pieces of work at a time, so somebody always can wait for ticks.
    pub(super) fn run_thread(self: &Arc<Self>) {
        JOB_OF.set(Arc::as_ptr(self));
        let mut s = self.state.get();
        while !s.abandoned {
            if let Some(work) = s.queue.next() {
                let awake = self.wake_another(&s);
                let input_error = self.started(&mut s, work);
                if !awake {
                    self.bus.wake(); // else the other thread does it while this one works
                }
                drop(s);
                let result = self.execute(work, input_error);
                s = self.state.get();
                if s.abandoned {
                    break;
                }
                self.ended(&mut s, work, result);
            } else if s.generating && !s.has_leader {
                s.has_leader = true;
                s = generator::lead(self, s);
                s.has_leader = false;
            } else if s.exit && !s.generating {
                break;
            } else {
                let limit = self.deputy_wait(&s);
                s.deputy |= limit.is_some();
                s.idle += 1;
                s = wait(&self.work, s, limit);
                s.idle -= 1;
                s.deputy &= limit.is_none();
                self.bus.wake();
            }
        }
        s.workers -= 1;
        self.done.notify_all();
        self.work.notify_all();
    }

    /// Sees to it that another thread does what is left to do, or waits for the tick. Each thread wakes at
    /// most one more, and none when there is a deputy to wait for the tick. Whether another one is or will
    /// be awake.
    fn wake_another(&self, s: &State) -> bool {
        let leads = s.has_leader || !s.generating;
        let wanted = s.idle > 0 && (s.queue.peek().is_some() || !(leads || s.deputy));
        if wanted {
            self.work.notify_one();
        }
        // A deputy beside a leader sleeps until the next tick, which may be far.
        wanted || (s.deputy && !s.has_leader)
    }

    /// How long an idle thread waits as the deputy: until a moment after the tick. To wake a thread costs
    /// the waker about 15 µs, so the one that makes a batch and runs it leaves the waiting for the next
    /// tick to the deputy, who wakes by itself. Nothing where there is a deputy, or no real time.
    fn deputy_wait(&self, s: &State) -> Option<Duration> {
        if s.deputy || !s.generating || self.clock.is_manual() {
            return None;
        }
        let left = self.clock.wait_hint(s.next.into())?;
        (left > Duration::ZERO).then(|| left + DEPUTY)
    }

    /// Books the start of a piece of work. Gives the allocation's error to the steps that it replaces.
    fn started(&self, s: &mut State, work: Work) -> Option<Error> {
        let (Work::Steps(b) | Work::Output(b, _) | Work::Complete { batch: b, .. }) = work;
        let now = self.clock.now();
        let record = record(&mut s.records, s.queue.first(), b);
        if record.info.processing_start_time.is_none() {
            Arc::make_mut(&mut record.info).processing_start_time = Some(now);
            self.metrics.batch_started(&record.info);
            self.bus.post_quietly(|| Event::BatchStarted(record.info.clone()));
        }
        match work {
            Work::Steps(_) => record.input_error.take(),
            Work::Output(_, k) => {
                let info = Arc::make_mut(&mut record.info);
                if let Some(o) = info.output_operation_infos.get_mut(&k) {
                    o.start_time = Some(now);
                    self.bus.post_quietly(|| Event::OutputStarted(Box::new(o.clone())));
                }
                None
            }
            Work::Complete { .. } => None,
        }
    }

    /// Runs a piece of work, without the lock.
    fn execute(&self, work: Work, input_error: Option<Error>) -> Result<()> {
        match work {
            Work::Steps(b) => {
                let run = || guarded("steps", || self.graph.run_steps(b.time));
                let result = input_error.map_or_else(run, Err);
                if result.is_err() && self.failure_policy.skip && !self.is_halted(b) {
                    let undone = guarded("roll_back", || {
                        self.graph.roll_back(b.time);
                        Ok(())
                    });
                    undone.and(result)
                } else {
                    result
                }
            }
            Work::Output(b, k) => {
                let mut left = self.failure_policy.retries;
                loop {
                    match guarded("output", || self.graph.run_output(k, b.time)) {
                        Err(e) if left > 0 && !self.is_halted(b) => {
                            left -= 1;
                            tracing::warn!(
                                app = self.app,
                                "batch {}, output {k} is run again: {e}",
                                b.time
                            );
                        }
                        result => return result,
                    }
                }
            }
            Work::Complete { batch, cut } => {
                self.inputs.clean_up(batch.time);
                let known = guarded("batch_over", || self.graph.batch_over(batch.time));
                self.update_input(batch, known);
                if cut {
                    return Ok(());
                }
                guarded("clean-up", || {
                    self.graph.completed(batch.time);
                    Ok(())
                })
            }
        }
    }

    /// What inputs know of the batch now that it is over.
    fn update_input(&self, b: Batch, known: Result<Vec<StreamInputInfo>>) {
        match known {
            Ok(infos) if infos.is_empty() => {}
            Ok(infos) => {
                let mut s = self.state.get();
                if s.abandoned {
                    return;
                }
                let first = s.queue.first();
                let info = Arc::make_mut(&mut record(&mut s.records, first, b).info);
                let by_id = infos.into_iter().map(|i| (i.input_stream_id, i));
                info.stream_id_to_input_info.extend(by_id);
            }
            Err(e) => tracing::error!(app = self.app, "batch {}, its input: {e}", b.time),
        }
    }

    fn is_halted(&self, b: Batch) -> bool {
        self.state.get().queue.is_halted(b)
    }

    /// Books the end of a piece of work.
    fn ended(self: &Arc<Self>, s: &mut State, work: Work, result: Result<()>) {
        let now = self.clock.now();
        match work {
            Work::Steps(b) => {
                s.queue.steps_done(b, result.is_ok());
                if let Err(e) = result {
                    let (reason, first) = (format!("did not run: {e}"), s.queue.first());
                    let info = Arc::make_mut(&mut record(&mut s.records, first, b).info);
                    for o in info.output_operation_infos.values_mut() {
                        o.failure_reason = Some(reason.clone());
                    }
                    self.metrics.outputs_failed(s.outputs.len() as u64);
                    self.failed(s, b, "steps".into(), e);
                }
            }
            Work::Output(b, k) => {
                s.queue.output_done(b, k);
                let info = Arc::make_mut(&mut record(&mut s.records, s.queue.first(), b).info);
                let mut name = None;
                if let Some(o) = info.output_operation_infos.get_mut(&k) {
                    o.end_time = Some(now);
                    o.failure_reason = result.as_ref().err().map(Error::to_string);
                    name = Some(o.name.clone());
                    self.bus.post(|| Event::OutputCompleted(Box::new(o.clone())));
                }
                if let Err(e) = result {
                    self.metrics.outputs_failed(1);
                    self.failed(s, b, format!("output {}", name.as_deref().unwrap_or("?")), e);
                }
            }
            Work::Complete { batch, .. } => {
                s.queue.completed(batch);
                if let Some(mut r) = s.records.pop_front() {
                    let info = Arc::make_mut(&mut r.info);
                    info.processing_end_time.get_or_insert(now); // a batch without any work
                    for o in info.output_operation_infos.values_mut() {
                        if o.end_time.is_none() && o.failure_reason.is_none() {
                            o.failure_reason = Some(NOT_RUN.into());
                        }
                    }
                    self.metrics.batch_completed(&r.info);
                    self.bus.post(|| Event::BatchCompleted(r.info.clone()));
                }
                tracing::debug!(app = self.app, batch = batch.time.millis(), "completed");
                if let Err(e) = result {
                    self.failed(s, batch, "clean-up".into(), e);
                }
                if s.generator_waits {
                    self.tick.notify_one();
                }
            }
        }
        if let Work::Steps(b) | Work::Output(b, _) = work {
            self.note_end(s, b, now);
        }
        if s.stage == Stage::Stopping {
            self.done.notify_all();
        }
    }

    /// The processing of a batch ends with its last piece of work, not with its clean-up.
    fn note_end(&self, s: &mut State, b: Batch, now: Timestamp) {
        let info = &mut record(&mut s.records, s.queue.first(), b).info;
        Arc::make_mut(info).processing_end_time = Some(now);
    }

    /// Applies the failure policy.
    fn failed(self: &Arc<Self>, s: &mut State, b: Batch, operation: String, e: Error) {
        let cancelled = matches!(
            e.root(),
            Error::Cancelled | Error::TaskFailed { cause: TaskError::Cancelled, .. }
        );
        if cancelled && s.queue.is_halted(b) {
            tracing::debug!(app = self.app, "batch {}, {operation} was cancelled", b.time);
            s.queue.cut(b);
            return;
        }
        let e = match e {
            e @ Error::Batch { .. } => e,
            e => Error::Batch { time: b.time, operation, cause: Arc::new(e) },
        };
        if self.failure_policy.skip {
            tracing::warn!(app = self.app, "{e}; the stream goes on");
        } else {
            self.fail(s, e, b.seq + 1);
        }
    }

    /// Stops the stream for an error. Batches up to number `end` are finished, the others don't run.
    pub(super) fn fail(self: &Arc<Self>, s: &mut State, e: Error, end: u64) {
        tracing::error!(app = self.app, "{e}; the stream stops");
        s.first_error.get_or_insert(e);
        self.halt(s, end);
        if s.stage == Stage::Running {
            s.stage = Stage::Stopping;
            self.spawn_stopper(s, |core| core.shut_down(None));
        }
    }

    /// No new ticks, nothing new of batches from number `end` on; running work of those is cancelled by
    /// the stop that follows.
    pub(super) fn halt(&self, s: &mut State, end: u64) {
        s.halted = true;
        for _ in 0..s.queue.halt(end) {
            if let Some(r) = s.records.pop_back() {
                self.metrics.batch_dropped(r.info.batch_time);
            }
        }
        self.tick.notify_all();
        self.work.notify_all();
        self.done.notify_all();
    }

    /// The name of a piece of work, for messages.
    pub(super) fn name_of(s: &State, output: Option<usize>) -> String {
        match output {
            None => "steps".into(),
            Some(k) => format!("output {}", s.outputs.get(k).map_or("?", |o| &*o.0)),
        }
    }
}

fn record(records: &mut VecDeque<Record>, first: u64, b: Batch) -> &mut Record {
    &mut records[(b.seq - first) as usize]
}
