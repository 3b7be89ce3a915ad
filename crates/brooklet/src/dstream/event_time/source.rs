//! One `with_event_time`: the step that moves its watermark from batch to batch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::told::ByPart;
use crate::dstream::{Graph, Operator};
use crate::engine::{Accumulator, LongSum, Site};
use crate::event_time::{Progress, Watermark, WatermarkRule};
use crate::sync::{LockExt, Mutex};
use crate::{Result, Time, conf::defaults, format_duration};

/// What a task has seen of the event times of one input partition.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(super) struct Times {
    /// The latest that was taken.
    pub(super) max: Option<Time>,
    pub(super) rejected: u64,
    /// The latest that was rejected.
    pub(super) furthest: Option<Time>,
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
    /// The newest batch, and the watermark from before it.
    last: Option<(Time, Watermark)>,
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
        self.state.get().last.as_ref().map(|(_, w)| w.progress()).unwrap_or_default()
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
        let source = &self.source;
        let rule = source.rules.get().watermark;
        let mut state = source.state.get();
        let mut watermark = Watermark::default();
        if let Some((before, w)) = state.last.take() {
            let seen = source.told.update(|told| told.of(before));
            watermark = w;
            watermark.end_of_batch(before, seen.iter().map(|(p, s)| (*p, s.max)), rule);
        }
        state.last = Some((t, watermark));
        Ok(())
    }

    /// The batch's records are in no state, so their times don't count either.
    fn roll_back(&self, t: Time) {
        self.source.told.update(|told| told.remove(t));
    }

    fn forget(&self, up_to: Time) {
        // What the newest batch has told is still to be used.
        let last = self.source.state.get().last.as_ref().map(|(t, _)| *t);
        let up_to = last.map_or(up_to, |last| up_to.min(last - Duration::from_millis(1)));
        self.source.told.update(|told| told.forget(up_to));
    }
}

/// The watermark of an operator on one or several streams with event times.
pub(super) struct Progressing {
    sources: Vec<Arc<Source>>,
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
        Progressing { sources: sources.to_vec(), state: Mutex::default(), flush }
    }

    /// What the tasks of batch `t` are told: the watermark, and the time up to which windows are fired, which
    /// is later in the batch that flushes them.
    pub(super) fn note(&self, graph: &Graph, t: Time) -> Vec<u64> {
        let progress = self.sources.iter().map(|s| s.progress());
        let mut state = self.state.get();
        state.newest = crate::event_time::lowest(state.newest, progress);
        let watermark = state.newest;
        state.by_batch.insert(t, watermark);
        let flush = self.flush.is_some_and(|slide| graph.is_flush(t, slide));
        let fire = if flush { u64::MAX } else { watermark.millis() };
        vec![watermark.millis(), fire]
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
