//! Takes the changes of each batch, and writes checkpoints of them in the background.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::CheckpointError;
use super::delta::Delta;
use super::policy::CheckpointPolicy;
use super::worker::{Collected, Worker, WrittenStats};
use crate::Time;
use crate::conf::defaults;
use crate::sync::{Condvar, LockExt, Mutex, MutexGuard, wait};
use crate::time::Clock;

/// Writes state checkpoints. Handing over changes never waits for the disk, unless too many of them wait.
///
/// Dropping it ends the background thread without a last checkpoint; see [`StateCheckpoints::flush`].
pub(crate) struct StateCheckpoints {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The numbers of operators by identity.
    operators: HashMap<String, usize>,
    policy: CheckpointPolicy,
    zero: Time,
    clock: Arc<dyn Clock>,
}

/// Counters and gauges of the state checkpoints of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CheckpointStats {
    /// What was written.
    pub(crate) written: WrittenStats,
    /// The newest batch whose checkpoint is durable.
    pub(crate) durable: Option<Time>,
    /// Bytes of changes that wait in memory.
    pub(crate) pending_bytes: usize,
    /// How long batches waited for the disk.
    pub(crate) waited: Duration,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The batch whose changes are coming in, by operator number.
    open: Option<(Time, Vec<Option<Collected>>)>,
    /// Changes of whole batches since the checkpoint that was written or begun last.
    collected: Vec<Collected>,
    collected_bytes: usize,
    /// A checkpoint that the background thread is to write, with its bytes.
    ready: Option<(Time, Vec<Collected>, usize)>,
    batches: u32,
    /// The newest whole batch.
    newest: Option<Time>,
    /// The checkpoint that was begun last.
    begun: Option<Time>,
    /// By operator number: only the whole state may come next.
    must_replace: Vec<bool>,
    /// The batch whose end is the next checkpoint.
    planned: Option<Time>,
    /// Bytes of the checkpoint that is being written.
    writing_bytes: usize,
    stop: bool,
    failed: Option<Arc<CheckpointError>>,
    stats: CheckpointStats,
}

impl State {
    fn healthy(&self) -> Result<(), CheckpointError> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => {
                let durable = self.stats.durable;
                Err(CheckpointError::Poisoned { cause: cause.clone(), durable })
            }
        }
    }

    fn pending(&self) -> usize {
        self.collected_bytes + self.writing_bytes + self.ready.as_ref().map_or(0, |r| r.2)
    }

    fn fail(&mut self, e: CheckpointError) {
        self.failed = Some(Arc::new(e));
        self.open = None;
        self.collected.clear();
        self.ready = None;
        (self.collected_bytes, self.writing_bytes, self.planned) = (0, 0, None);
    }
}

impl StateCheckpoints {
    pub(super) fn spawn(
        worker: Worker,
        operators: Vec<(String, bool)>,
        durable: Option<Time>,
        zero: Time,
        policy: CheckpointPolicy,
        clock: Arc<dyn Clock>,
        app: &str,
    ) -> Result<StateCheckpoints, CheckpointError> {
        let state = State {
            begun: durable,
            newest: durable,
            must_replace: operators.iter().map(|o| o.1).collect(),
            stats: CheckpointStats { durable, ..CheckpointStats::default() },
            ..State::default()
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let background = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{app}-checkpoint"))
            .spawn(move || background.run(worker))
            .map_err(|e| CheckpointError::io("thread".as_ref(), "starting the checkpoint", e))?;
        let operators = operators.into_iter().enumerate().map(|(i, o)| (o.0, i)).collect();
        let thread = Some(thread);
        Ok(StateCheckpoints { shared, thread, operators, policy, zero, clock })
    }

    /// Whether the end of batch `t`, which comes next, is to be a checkpoint: then operators that hand over all
    /// of their state do so.
    pub(crate) fn plan(&self, t: Time) -> bool {
        let mut s = self.shared.state.get();
        let since = t.since(s.begun.unwrap_or(self.zero));
        let due = self.policy.due(s.batches + 1, since, s.collected_bytes);
        s.planned = (due && s.ready.is_none() && s.failed.is_none()).then_some(t);
        s.planned.is_some()
    }

    /// What the batch `t` has changed in an operator, from all its tasks. Handed over again for the same
    /// batch, the last call counts.
    ///
    /// # Errors
    /// When an earlier write has failed, for an unknown operator, while another batch is open, and when the
    /// operator's whole state has to come first ([`StateCheckpoints::replace`], with the first batch).
    pub(crate) fn batch(
        &self,
        t: Time,
        operator: &str,
        deltas: Vec<Delta>,
    ) -> Result<(), CheckpointError> {
        self.take(t, operator, Collected { whole: false, deltas })
    }

    /// As [`StateCheckpoints::batch`], but `deltas` are the operator's whole state after `t`: what is stored
    /// of it becomes obsolete. Needed where keys have moved to other groups or are encoded otherwise.
    ///
    /// # Errors
    /// As [`StateCheckpoints::batch`].
    pub(crate) fn replace(
        &self,
        t: Time,
        operator: &str,
        deltas: Vec<Delta>,
    ) -> Result<(), CheckpointError> {
        self.take(t, operator, Collected { whole: true, deltas })
    }

    fn take(&self, t: Time, operator: &str, changes: Collected) -> Result<(), CheckpointError> {
        let bug = |what: String| Err(CheckpointError::Bug(what));
        let Some(&at) = self.operators.get(operator) else {
            return bug(format!("no checkpoint was announced for the operator `{operator}`"));
        };
        let mut s = self.shared.state.get();
        s.healthy()?;
        if s.newest.is_some_and(|newest| t <= newest) {
            return bug(format!("changes of batch {t} came after its end"));
        }
        if s.must_replace[at] && !changes.whole {
            return Err(must_replace(operator));
        }
        let count = self.operators.len();
        let (open, all) = s
            .open
            .get_or_insert_with(|| (t, std::iter::repeat_with(|| None).take(count).collect()));
        if *open != t {
            return bug(format!("changes of batch {t} came while batch {open} is open"));
        }
        all[at] = Some(changes);
        Ok(())
    }

    /// Whether an operator has handed over something for batch `t`.
    pub(crate) fn has(&self, t: Time, operator: &str) -> bool {
        let s = self.shared.state.get();
        let at = self.operators.get(operator);
        let open = s.open.as_ref().filter(|(open, _)| *open == t);
        at.zip(open).is_some_and(|(at, (_, all))| all[*at].is_some())
    }

    /// Forgets the changes of a batch that failed.
    pub(crate) fn abandon(&self, t: Time) {
        let mut s = self.shared.state.get();
        if s.open.as_ref().is_some_and(|(open, _)| *open == t) {
            s.open = None;
        }
    }

    /// The changes of batch `t` are complete; from now on it can be in a checkpoint. Waits for the disk if
    /// more changes are pending than may be.
    ///
    /// # Errors
    /// When an earlier write has failed; nothing is collected from then on.
    pub(crate) fn end_of_batch(&self, t: Time) -> Result<(), CheckpointError> {
        let mut s = self.shared.state.get();
        s.healthy()?;
        if s.newest.is_some_and(|newest| t <= newest) {
            return Err(CheckpointError::Bug(format!("batch {t} ended twice")));
        }
        if let Some((open, _)) = &s.open
            && *open != t
        {
            return Err(CheckpointError::Bug(format!("batch {t} ended, but {open} is open")));
        }
        let whole = |i: usize| s.open.as_ref().is_some_and(|(_, all)| is_whole(&all[i]));
        let moved = self.operators.iter().find(|(_, i)| s.must_replace[**i] && !whole(**i));
        if let Some((identity, _)) = moved {
            return Err(must_replace(identity));
        }
        if let Some((_, changes)) = s.open.take() {
            self.collect(&mut s, changes);
        }
        s.newest = Some(t);
        s.batches += 1;
        if s.planned == Some(t) {
            self.cut(&mut s, t);
        }
        s.stats.pending_bytes = s.pending();
        if s.pending() <= self.policy.max_pending_bytes {
            return Ok(());
        }
        let before = self.clock.now();
        // What is only collected can't be waited for: by bytes, the next batch is planned.
        let writes = |s: &State| s.ready.is_some() || s.writing_bytes > 0;
        while s.failed.is_none() && writes(&s) && s.pending() > self.policy.max_pending_bytes {
            s = wait(&self.shared.changed, s, None);
        }
        s.stats.waited += self.clock.now().since(before);
        s.healthy()
    }

    /// What is collected becomes the checkpoint of batch `t`.
    fn cut(&self, s: &mut MutexGuard<'_, State>, t: Time) {
        let changes = std::mem::take(&mut s.collected);
        let bytes = std::mem::take(&mut s.collected_bytes);
        s.ready = Some((t, changes, bytes));
        (s.batches, s.begun, s.planned) = (0, Some(t), None);
        self.shared.changed.notify_all();
    }

    fn collect(&self, s: &mut MutexGuard<'_, State>, changes: Vec<Option<Collected>>) {
        let s = &mut **s;
        s.collected.resize_with(self.operators.len(), Collected::default);
        for (i, changes) in changes.into_iter().enumerate() {
            let Some(mut changes) = changes else { continue };
            let all = &mut s.collected[i];
            if changes.whole {
                s.collected_bytes -= all.deltas.iter().map(Delta::memory).sum::<usize>();
                all.deltas.clear();
                all.whole = true;
                s.must_replace[i] = false;
            }
            changes.deltas.retain(|d| !d.is_empty());
            s.collected_bytes += changes.deltas.iter().map(Delta::memory).sum::<usize>();
            all.deltas.append(&mut changes.deltas);
        }
    }

    /// Writes a checkpoint of batch `t`, the newest one that has ended, and waits until it is durable. `whole` is
    /// all of the state of operators that hand over nothing else.
    ///
    /// # Errors
    /// When a write fails or has failed.
    pub(crate) fn flush(
        &self,
        t: Time,
        whole: Vec<(String, Vec<Delta>)>,
    ) -> Result<(), CheckpointError> {
        let mut last: Vec<Option<Collected>> = Vec::new();
        last.resize_with(self.operators.len(), || None);
        for (operator, deltas) in whole {
            if let Some(&at) = self.operators.get(&operator) {
                last[at] = Some(Collected { whole: true, deltas });
            }
        }
        let mut s = self.shared.state.get();
        s.healthy()?;
        if s.newest != Some(t) {
            let newest = s.newest.map_or("none".into(), |t| t.to_string());
            let text = format!("flush of batch {t}, but the newest that ended is {newest}");
            return Err(CheckpointError::Bug(text));
        }
        if s.begun != Some(t) {
            self.collect(&mut s, last);
        }
        while s.stats.durable != Some(t) {
            if s.begun != Some(t) && s.ready.is_none() {
                self.cut(&mut s, t);
            }
            s = wait(&self.shared.changed, s, None);
            s.healthy()?;
        }
        Ok(())
    }

    /// Whether checkpoints are written.
    ///
    /// # Errors
    /// [`CheckpointError::Poisoned`] with the error that stopped them.
    #[cfg(test)]
    pub(crate) fn health(&self) -> Result<(), CheckpointError> {
        self.shared.state.get().healthy()
    }

    /// The newest batch whose checkpoint is durable: its input isn't needed to restore state.
    #[cfg(test)]
    pub(crate) fn durable(&self) -> Option<Time> {
        self.shared.state.get().stats.durable
    }

    /// Counters and gauges.
    pub(crate) fn stats(&self) -> CheckpointStats {
        let s = self.shared.state.get();
        CheckpointStats { pending_bytes: s.pending(), ..s.stats }
    }
}

fn is_whole(changes: &Option<Collected>) -> bool {
    changes.as_ref().is_some_and(|c| c.whole)
}

fn must_replace(operator: &str) -> CheckpointError {
    let problem = "its state was stored with another hash seed or partitioner: the first batch has to \
                   hand over all of it";
    CheckpointError::refused(format!("operator `{operator}`"), problem)
}

impl Shared {
    /// The background thread.
    fn run(&self, mut worker: Worker) {
        // Of this thread alone; elsewhere than on Linux it would be of the process.
        #[cfg(target_os = "linux")]
        if let Err(e) = rustix::process::nice(defaults::CHECKPOINT_NICE) {
            tracing::debug!(error = %e, "the checkpoint thread keeps its priority");
        }
        let ended = catch_unwind(AssertUnwindSafe(|| self.work(&mut worker)));
        let error = match ended {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e,
            Err(_) => CheckpointError::Bug("the thread that writes checkpoints panicked".into()),
        };
        tracing::error!(error = %error, "state checkpoints have stopped");
        let mut s = self.state.get();
        s.stats.durable = worker.durable();
        s.stats.written = worker.stats();
        s.fail(error);
        self.changed.notify_all();
    }

    fn work(&self, worker: &mut Worker) -> Result<(), CheckpointError> {
        let mut may_merge = true;
        loop {
            let mut s = self.state.get();
            while !s.stop && s.ready.is_none() && !may_merge {
                s = wait(&self.changed, s, None);
            }
            if s.stop {
                return Ok(());
            }
            let Some((time, changes, bytes)) = s.ready.take() else {
                drop(s);
                may_merge = worker.merge()?;
                self.state.get().stats.written = worker.stats();
                continue;
            };
            s.writing_bytes = bytes;
            drop(s);
            worker.checkpoint(time, &changes)?;
            drop(changes);
            let mut s = self.state.get();
            s.writing_bytes = 0;
            s.stats.durable = Some(time);
            s.stats.written = worker.stats();
            self.changed.notify_all();
            may_merge = true;
        }
    }
}

impl Drop for StateCheckpoints {
    fn drop(&mut self) {
        self.shared.state.get().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panics are caught and reported as the error of the checkpoints.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for StateCheckpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCheckpoints")
            .field("operators", &self.operators.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
