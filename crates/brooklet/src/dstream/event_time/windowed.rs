//! `Windowed`: windows of event time per key, and what may be made of the records in each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::Progressing;
use super::told::ByPart;
use super::{EventTimeStream, Fired};
use crate::Time;
use crate::data::{Key, Wire};
use crate::dstream::{DStream, ErasedNode, Node};
use crate::engine::{Accumulator, LongSum, Site};
use crate::event_time::{Grid, Window, window_millis};
use crate::rdd::combine::{ByCombine, ByReduce, Combine};

/// Windows of event time per key: [`EventTimeStream::tumbling`], [`sliding`](EventTimeStream::sliding) or
/// [`session`](EventTimeStream::session). What is made of the records of each window is said next:
/// [`reduce`](Windowed::reduce), [`aggregate`](Windowed::aggregate), [`count`](Windowed::count) or
/// [`group`](Windowed::group); each gives out `(key, window, value)` once, when the window is complete.
///
/// # State
/// A value for each key and open window: a window is kept from its first record until it is fired. A batch
/// costs what its records touch and what it fires. A graceful stop leaves open windows unfired, unless
/// [`Windowed::flush_on_stop`] is set.
#[must_use = "windows do nothing by themselves: go on with `reduce`, `aggregate`, `count` or `group`"]
pub struct Windowed<K, V, N = ErasedNode<(Time, (K, V))>> {
    pub(super) events: EventTimeStream<(K, V), N>,
    pub(super) kind: Windows,
    pub(super) partitions: usize,
    flush_on_stop: bool,
    site: Site,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Windows {
    Grid(Grid),
    Session(Duration),
}

/// Records that a task couldn't put into all of their windows.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub(super) struct Missed {
    pub(super) late: u64,
    pub(super) partly: u64,
}

/// What the driver's side of an operator on windows has.
pub(super) struct Progress {
    pub(super) at: Progressing,
    pub(super) told: Accumulator<ByPart<Missed>>,
    late: Accumulator<LongSum>,
    partly: Option<Accumulator<LongSum>>,
    site: Site,
}

impl Progress {
    /// The update of batch `t` is done.
    pub(super) fn done(&self, t: Time) {
        self.at.done(t);
        let told = self.told.update(|told| {
            let of = told.of(t);
            told.remove(t);
            of
        });
        let sum = |f: fn(&Missed) -> u64| told.iter().map(|(_, m)| f(m)).sum::<u64>();
        let (late, partly) = (sum(|m| m.late), sum(|m| m.partly));
        if late > 0 {
            self.late.add(late as i64);
            tracing::debug!("{}: {late} records of batch {t} are late", self.site);
        }
        if let Some(counter) = self.partly.as_ref().filter(|_| partly > 0) {
            counter.add(partly as i64);
        }
    }

    /// Batch `t` is skipped.
    pub(super) fn undo(&self, t: Time) {
        self.told.update(|told| told.remove(t));
    }

    pub(super) fn forget(&self, up_to: Time) {
        self.at.forget(up_to);
        self.told.update(|told| told.forget(up_to));
    }
}

impl<K, V, N> Clone for Windowed<K, V, N> {
    fn clone(&self) -> Self {
        Windowed { events: self.events.clone(), ..*self }
    }
}

impl<K: Key, V: Wire, N: Node<Out = (Time, (K, V))>> Windowed<K, V, N> {
    fn new(events: EventTimeStream<(K, V), N>, kind: Windows, site: Site) -> Self {
        let mut events = events;
        let partitions = events.stream.graph.ctx.default_parallelism();
        events.stream.path = format!("{}/{}", events.stream.path, site.op).into();
        Windowed { events, kind, partitions, flush_on_stop: false, site }
    }

    #[track_caller]
    pub(super) fn grid(
        events: EventTimeStream<(K, V), N>,
        size: Duration,
        slide: Duration,
        site: Site,
    ) -> Self {
        let grid = Grid::new(size, slide, Duration::ZERO).unwrap_or_else(|e| panic!("{site}: {e}"));
        Windowed::new(events, Windows::Grid(grid), site)
    }

    #[track_caller]
    pub(super) fn session(events: EventTimeStream<(K, V), N>, gap: Duration, site: Site) -> Self {
        if let Err(e) = window_millis("gap", gap) {
            panic!("{site}: {e}");
        }
        Windowed::new(events, Windows::Session(gap), site)
    }

    /// Begins windows this much after the multiples of their slide: with an offset of six hours, tumbling
    /// windows of a day go from six o'clock to six o'clock (UTC).
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![('a', 4)], vec![('a', 13)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(10))
    ///         .offset(millis(3))
    ///         .count()
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![('a', Window::new(at(3), at(13)), 1)]]);
    /// ```
    ///
    /// # Panics
    /// For sessions, which begin with their first record, and for an offset that isn't a whole number of
    /// milliseconds.
    #[track_caller]
    pub fn offset(mut self, offset: Duration) -> Self {
        let site = self.site;
        self.kind = match self.kind {
            Windows::Grid(g) => {
                Windows::Grid(g.with_offset(offset).unwrap_or_else(|e| panic!("{site}: {e}")))
            }
            Windows::Session(_) => panic!("{site}: sessions have no `offset`"),
        };
        self
    }

    /// Keeps the windows in this many partitions (at least 1); as many as the default parallelism otherwise.
    pub fn partitions(mut self, n: usize) -> Self {
        self.partitions = n.max(1);
        self
    }

    /// Fires all open windows when the context is stopped gracefully, in one more batch after the last one with
    /// input. What they would still have got isn't in them; if it comes after a restart, it makes a window of its
    /// own, which is fired too.
    pub fn flush_on_stop(mut self) -> Self {
        self.flush_on_stop = true;
        self
    }

    pub(super) fn progress(&self, site: Site) -> Arc<Progress> {
        let graph = &self.events.stream.graph;
        let partly = match self.kind {
            Windows::Grid(g) if g.overlaps() => {
                Some(graph.skip_counter(&format!("{site} late for some windows")))
            }
            _ => None,
        };
        let flush = self.flush_on_stop.then(|| self.events.stream.slide_duration());
        if let Some(slide) = flush {
            graph.want_flush(slide);
        }
        Arc::new(Progress {
            at: Progressing::new(&self.events.sources, flush),
            told: graph.ctx.accumulator(&format!("{site} missed")),
            late: graph.skip_counter(&format!("{site} late")),
            partly,
            site,
        })
    }

    /// The same windows of another stream.
    pub(super) fn of<W, M>(&self, events: EventTimeStream<(K, W), M>) -> Windowed<K, W, M> {
        let Windowed { kind, partitions, flush_on_stop, site, .. } = *self;
        Windowed { events, kind, partitions, flush_on_stop, site }
    }

    #[track_caller]
    pub(super) fn combined<A: Wire>(&self, site: Site, f: impl Combine<V, A>) -> Fired<K, A> {
        match self.kind {
            Windows::Grid(grid) => self.on_grid(site, grid, f).0,
            Windows::Session(gap) => self.in_sessions(site, gap, f, false).0,
        }
    }

    #[track_caller]
    fn combined_or_late<A: Wire>(
        &self,
        site: Site,
        f: impl Combine<V, A>,
    ) -> (Fired<K, A>, DStream<(K, V)>) {
        match self.kind {
            Windows::Grid(grid) => {
                let (fired, op, progress) = self.on_grid(site, grid, f);
                (fired, self.late_on_grid(site, grid, op, progress))
            }
            Windows::Session(gap) => {
                let (fired, late) = self.in_sessions(site, gap, f, true);
                (fired, late)
            }
        }
    }
}

impl<K: Key, V: Wire, N: Node<Out = (Time, (K, V))>> Windowed<K, V, N> {
    /// The values of each key and window, merged by `f` (associative and commutative).
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![('a', 4), ('a', 9)], vec![('a', 10)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(10))
    ///         .reduce(|a, b| a + b)
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![('a', Window::new(at(0), at(10)), 13)]]);
    /// ```
    #[track_caller]
    pub fn reduce<F>(&self, f: F) -> DStream<(K, Window, V)>
    where
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        self.combined(Site::here("reduce"), ByReduce(f))
    }

    /// [`Windowed::reduce`] with the late records as a stream beside it, in the batch they came in.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let late = run([vec![('a', 4)], vec![('a', 12)], vec![('a', 5)]], |s| {
    ///     let windows = s
    ///         .with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(10));
    ///     let (_sums, late) = windows.reduce_or_late(|a, b| a + b);
    ///     late
    /// });
    /// assert_eq!(late, [vec![], vec![], vec![('a', 5)]]);
    /// ```
    #[track_caller]
    pub fn reduce_or_late<F>(&self, f: F) -> (DStream<(K, Window, V)>, DStream<(K, V)>)
    where
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        self.combined_or_late(Site::here("reduce"), ByReduce(f))
    }

    /// The values of each key and window added up: `add` to `zero` within a partition of the input, `merge`
    /// (associative and commutative) across partitions and batches.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// // The mean of each ten milliseconds.
    /// let out = run([vec![('a', 4), ('a', 9)], vec![('a', 10)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(10))
    ///         .aggregate((0, 0), |(sum, n), x| (sum + x, n + 1), |a, b| (a.0 + b.0, a.1 + b.1))
    ///         .map(|(key, window, (sum, n))| (key, window.start(), sum as f64 / n as f64))
    ///         .boxed()
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![('a', at(0), 6.5)]]);
    /// ```
    #[track_caller]
    pub fn aggregate<A, F, M>(&self, zero: A, add: F, merge: M) -> DStream<(K, Window, A)>
    where
        A: Wire,
        F: Fn(A, V) -> A + Send + Sync + 'static,
        M: Fn(A, A) -> A + Send + Sync + 'static,
    {
        self.combined(Site::here("aggregate"), aggregation(zero, add, merge))
    }

    /// [`Windowed::aggregate`] with the late records as a stream beside it; see [`Windowed::reduce_or_late`].
    #[track_caller]
    pub fn aggregate_or_late<A, F, M>(
        &self,
        zero: A,
        add: F,
        merge: M,
    ) -> (DStream<(K, Window, A)>, DStream<(K, V)>)
    where
        A: Wire,
        F: Fn(A, V) -> A + Send + Sync + 'static,
        M: Fn(A, A) -> A + Send + Sync + 'static,
    {
        self.combined_or_late(Site::here("aggregate"), aggregation(zero, add, merge))
    }

    /// How many records each key and window has; windows without records don't exist. For an example see
    /// [`EventTimeStream`].
    #[track_caller]
    pub fn count(&self) -> DStream<(K, Window, u64)> {
        self.combined(Site::here("count"), aggregation(0, |n, _| n + 1, |a, b| a + b))
    }

    /// [`Windowed::count`] with the late records as a stream beside it; see [`Windowed::reduce_or_late`].
    #[track_caller]
    pub fn count_or_late(&self) -> (DStream<(K, Window, u64)>, DStream<(K, V)>) {
        self.combined_or_late(Site::here("count"), aggregation(0, |n, _| n + 1, |a, b| a + b))
    }

    /// All values of each key and window, by batch and partition, in sessions also by time. They must fit in
    /// memory; prefer [`Windowed::reduce`] where values can be merged.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![('a', 9), ('a', 4)], vec![('a', 10)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(10))
    ///         .group()
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![('a', Window::new(at(0), at(10)), vec![9, 4])]]);
    /// ```
    #[track_caller]
    pub fn group(&self) -> DStream<(K, Window, Vec<V>)> {
        self.combined(Site::here("group"), collected())
    }

    /// [`Windowed::group`] with the late records as a stream beside it; see [`Windowed::reduce_or_late`].
    #[track_caller]
    pub fn group_or_late(&self) -> (DStream<(K, Window, Vec<V>)>, DStream<(K, V)>) {
        self.combined_or_late(Site::here("group"), collected())
    }
}

/// The combining of `aggregate`.
pub(in crate::dstream) fn aggregation<V: 'static, A: Wire>(
    zero: A,
    add: impl Fn(A, V) -> A + Send + Sync + 'static,
    merge: impl Fn(A, A) -> A + Send + Sync + 'static,
) -> impl Combine<V, A> {
    let add = Arc::new(add);
    let first = add.clone();
    let create = move |v| first(zero.clone(), v);
    ByCombine { create, add: move |a, v| add(a, v), merge }
}

/// The combining of `group`.
pub(in crate::dstream) fn collected<V: Wire>() -> impl Combine<V, Vec<V>> {
    let add = |mut all: Vec<V>, v| {
        all.push(v);
        all
    };
    let merge = |mut all: Vec<V>, more: Vec<V>| {
        all.extend(more);
        all
    };
    ByCombine { create: |v| vec![v], add, merge }
}

impl<K, V, N> fmt::Debug for Windowed<K, V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Windowed({:?} of {:?})", self.kind, self.events)
    }
}
