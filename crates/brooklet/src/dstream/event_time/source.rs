//! One `with_event_time`: the step that moves its watermark from batch to batch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::told::ByPart;
use crate::dstream::{Graph, Operator};
use crate::engine::{Accumulator, LongSum, OpId, Site};
use crate::event_time::{Progress, Watermark, WatermarkRule, lowest};
use crate::sync::{LockExt, Mutex};
use crate::{Result, Time, conf::defaults, format_duration};

/// What a task has seen of the event times of an input partition.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(super) struct Times {
    /// The input partition.
    pub(super) input: u64,
    /// The latest that was taken.
    pub(super) max: Option<Time>,
    pub(super) rejected: u64,
    /// The latest that was rejected.
    pub(super) furthest: Option<Time>,
}

/// What is stored of a stream's event times.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) watermark: Watermark,
    /// How far operators on several streams have come, of which this is the first: by operator.
    pub(super) floors: BTreeMap<u64, Time>,
}

/// What the user says of the times of one stream.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) watermark: WatermarkRule,
    pub(super) max_future: Duration,
}

impl Rules {
    pub(super) fn new(max_delay: Duration) -> Rules {
        let idle_after = defaults::EVENT_TIME_IDLE_AFTER;
        let watermark = WatermarkRule { max_delay, idle_after };
        Rules { watermark, max_future: defaults::EVENT_TIME_MAX_FUTURE }
    }
}

/// What the stream's tasks tell, and what follows for its watermark.
///
/// Tasks tell the times that they have seen to an accumulator, by batch and partition; which of the jobs of a
/// batch they belong to makes no difference, for all see the same records. What a batch has told counts when
/// the step of the next one runs.
pub(super) struct Source {
    pub(super) site: Site,
    pub(super) rules: Mutex<Rules>,
    pub(super) told: Accumulator<ByPart<Times>>,
    rejected: Accumulator<LongSum>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest batch, and the watermark from before it; no batch at first, and what was restored.
    last: (Option<Time>, Watermark),
    /// See [`Kept::floors`].
    floors: BTreeMap<u64, Time>,
    /// The newest batch whose rejected records are counted.
    counted: Time,
}

impl Source {
    pub(super) fn new(graph: &Graph, site: Site, max_delay: Duration) -> Source {
        Source {
            site,
            rules: Mutex::new(Rules::new(max_delay)),
            told: graph.ctx.accumulator(&format!("{site} times")),
            rejected: graph.skip_counter(&format!("{site} rejected")),
            state: Mutex::default(),
        }
    }

    /// Before its step at the newest batch: how far event time is complete.
    pub(super) fn progress(&self) -> Progress {
        self.state.get().last.1.progress()
    }

    /// The watermark from after the newest batch.
    fn after(&self, state: &State) -> Watermark {
        let (last, mut watermark) = (state.last.0, state.last.1.clone());
        if let Some(last) = last {
            let rule = self.rules.get().watermark;
            let seen = self.told.update(|told| told.of(last));
            watermark.end_of_batch(last, seen.iter().map(|(_, s)| (s.input, s.max)), rule);
        }
        watermark
    }

    /// What checkpoints store, all batches so far being done.
    pub(super) fn kept(&self) -> Kept {
        let state = self.state.get();
        Kept { watermark: self.after(&state), floors: state.floors.clone() }
    }

    /// Takes over what a checkpoint has stored.
    pub(super) fn restore(&self, kept: Kept) {
        *self.state.get() =
            State { last: (None, kept.watermark), floors: kept.floors, counted: Time::ZERO };
    }

    /// The records of batch `t` have been read: counts those that were rejected, once.
    pub(super) fn count(&self, t: Time) {
        if std::mem::replace(&mut self.state.get().counted, t) == t {
            return;
        }
        let told = self.told.update(|told| told.of(t));
        let n: u64 = told.iter().map(|(_, s)| s.rejected).sum();
        if let Some(furthest) = told.iter().filter_map(|(_, s)| s.furthest).max() {
            self.rejected.add(n as i64);
            tracing::warn!(
                "{}: {n} records of batch {t} have event times more than {} ahead of it (the latest \
                 {furthest}) and are left out; if the times are right, raise `max_future`",
                self.site,
                format_duration(self.rules.get().max_future)
            );
        }
    }
}

/// The step: before anything reads batch `t`, what the batch before it has told moves the watermark.
pub(super) struct SourceStep {
    pub(super) source: Arc<Source>,
    pub(super) slide: Duration,
}

impl Operator for SourceStep {
    fn lineage(&self, _: &Graph, _: Time) -> Result<()> {
        Ok(())
    }

    fn run(&self, graph: &Graph, t: Time) -> Result<()> {
        if !graph.on_grid(t, self.slide) {
            return Ok(());
        }
        let last = self.source.state.get().last.0;
        // Where no operator on windows has done it.
        last.iter().for_each(|last| self.source.count(*last));
        let mut state = self.source.state.get();
        state.last = (Some(t), self.source.after(&state));
        Ok(())
    }

    /// The batch's records are in no state, so their times don't count either.
    fn roll_back(&self, t: Time) {
        self.source.told.update(|told| told.remove(t));
    }

    fn forget(&self, up_to: Time) {
        // What the newest batch has told is still to be used.
        let last = self.source.state.get().last.0;
        let up_to = last.map_or(up_to, |last| up_to.min(last - Duration::from_millis(1)));
        self.source.told.update(|told| told.forget(up_to));
    }
}

/// The watermark of an operator on one or several streams with event times.
pub(super) struct Progressing {
    sources: Vec<Arc<Source>>,
    /// The operator.
    op: OnceLock<OpId>,
    state: Mutex<Passed>,
    /// Fires everything in the last batch of a graceful stop; batches are this far apart.
    flush: Option<Duration>,
}

#[derive(Default)]
struct Passed {
    newest: Time,
    by_batch: BTreeMap<Time, Time>,
}

impl Progressing {
    pub(super) fn new(sources: &[Arc<Source>], flush: Option<Duration>) -> Progressing {
        let (op, state) = (OnceLock::new(), Mutex::default());
        Progressing { sources: sources.to_vec(), op, state, flush }
    }

    pub(super) fn of(&self, op: OpId) {
        let _ = self.op.set(op);
    }

    /// What the tasks of batch `t` are told: the watermark, and the time up to which windows are fired, which
    /// is later in the batch that flushes them.
    pub(super) fn note(&self, graph: &Graph, t: Time) -> Vec<u64> {
        let mut state = self.state.get();
        state.newest = self.lowest(state.newest);
        let watermark = state.newest;
        state.by_batch.insert(t, watermark);
        let flush = self.flush.is_some_and(|slide| graph.is_flush(t, slide));
        let fire = if flush { u64::MAX } else { watermark.millis() };
        vec![watermark.millis(), fire]
    }

    /// The watermark of all streams together, never before `newest`.
    fn lowest(&self, newest: Time) -> Time {
        if let [only] = &self.sources[..] {
            // It never goes back by itself, and holds for an idle stream too: also in the first batch after a
            // restart, when nothing else tells what was told before.
            return newest.max(only.progress().watermark);
        }
        let progress = || self.sources.iter().map(|s| s.progress());
        let (Some(first), Some(op)) = (self.sources.first(), self.op.get()) else {
            return lowest(newest, progress());
        };
        // With several streams it doesn't follow from theirs: one that is back from being idle may be behind.
        let stored = first.state.get().floors.get(&op.id).copied().unwrap_or_default();
        let now = lowest(newest.max(stored), progress());
        first.state.get().floors.insert(op.id, now);
        now
    }

    /// The watermark from before batch `t`.
    pub(super) fn at(&self, t: Time) -> Option<Time> {
        self.state.get().by_batch.get(&t).copied()
    }

    /// The update of batch `t` is done.
    pub(super) fn done(&self, t: Time) {
        self.sources.iter().for_each(|s| s.count(t));
    }

    pub(super) fn forget(&self, up_to: Time) {
        self.state.get().by_batch.retain(|t, _| *t > up_to);
    }
}

/// What [`Progressing::note`] has told.
pub(super) fn noted(note: &[u64]) -> (Time, Time) {
    let at = |i: usize| Time::from_millis(note.get(i).copied().unwrap_or_default());
    (at(0), at(1))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
