//! Streams with event times: when things happened as the records tell, not when they came.
//!
//! - `source`: one `with_event_time`; moves its watermark from batch to batch
//! - `stamp`: records with their times; `told`: what tasks tell the driver of them
//! - `windowed`: windows and what may be made of them; `grid`, `session`: their update stages
//! - `timers`: which keys' windows end when; `durable`: what checkpoints store
//! - `join`: two streams in the same windows

mod durable;
mod grid;
mod join;
mod session;
mod source;
mod stamp;
mod timers;
mod told;
mod windowed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use source::{Rules, Source, SourceStep};
pub use stamp::Stamped;
pub use windowed::Windowed;
pub(super) use windowed::{aggregation, collected};

use super::filter::Filter;
use super::flat_map::FlatMap;
use super::map::Map;
use super::{DStream, ErasedNode, Kind, Node};
use crate::Time;
use crate::data::{Data, Key};
use crate::engine::Site;
use crate::event_time::Window;
use crate::sync::LockExt;

/// A stream whose records have event times, and that knows how far event time is complete: its watermark. Made
/// by [`DStream::with_event_time`].
///
/// # The watermark
/// The watermark of a batch follows from the batches before it, so the order of records inside a batch doesn't
/// matter: for each input partition the latest event time less `max_delay`, and of these the lowest. A
/// partition without a record for [`EventTimeStream::idle_after`] isn't waited for. The watermark never goes
/// back. All that a receiver, a folder or a set of logs gives is
/// one partition; other inputs, and streams below a shuffle, have theirs by number. Streams united or joined
/// have the lower watermark of both.
///
/// # Late and early records
/// A window `[start, end)` is fired once, in the first batch whose watermark has reached its end. Records that
/// come later are late: they are counted, as `.. late` in
/// [`StreamingContext::counters`](crate::StreamingContext::counters), and left out, or given out as a stream
/// of their own by the `_or_late` methods of [`Windowed`]. Records whose time is more than
/// [`EventTimeStream::max_future`] ahead of the batch they came in are left out and counted as `.. rejected`:
/// one of them would make all others late.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::testing::run_sorted;
/// // (user, second): out of order by up to three seconds.
/// let at = |s: u64| Time::from_millis(s * 1_000);
/// let clicks = [vec![("ann", 1), ("bob", 4)], vec![("ann", 3), ("bob", 11)], vec![("ann", 14)], vec![]];
/// let clicks = clicks.map(|b| b.into_iter().map(|(u, s)| (u.to_string(), s)).collect());
/// let out = run_sorted(clicks, move |s| {
///     s.with_event_time(move |(_, second): &(String, u64)| at(*second), seconds(3))
///         .idle_after(seconds(1))
///         .tumbling(seconds(10))
///         .count()
/// });
/// let window = Window::new(at(0), at(10));
/// let expected = vec![("ann".to_string(), window, 2), ("bob".to_string(), window, 1)];
/// assert_eq!(out, [vec![], vec![], vec![], expected]);
/// ```
#[must_use = "a stream without an output does nothing"]
pub struct EventTimeStream<T, N = ErasedNode<(Time, T)>> {
    stream: DStream<(Time, T), N>,
    sources: Vec<Arc<Source>>,
}

impl<T, N> Clone for EventTimeStream<T, N> {
    fn clone(&self) -> Self {
        EventTimeStream { stream: self.stream.clone(), sources: self.sources.clone() }
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The same records with their event times, as `timestamp` reads them, for windows of event time. A record
    /// may be up to `max_delay` older than the newest one of its partition without being late.
    ///
    /// See [`EventTimeStream`] for what becomes of others, and an example.
    #[track_caller]
    pub fn with_event_time<F>(
        &self,
        timestamp: F,
        max_delay: Duration,
    ) -> EventTimeStream<T, Stamped<N, F>>
    where
        F: Fn(&T) -> Time + Send + Sync + 'static,
    {
        let (site, slide) = (Site::here("with_event_time"), self.slide_duration());
        let path = format!("{}/{}", self.path, site.op);
        let source = Arc::new(Source::new(&self.graph, site, max_delay));
        let mut op = None;
        self.graph.add(&path, Kind::Step, site, |id| {
            op = Some(id);
            Arc::new(SourceStep { source: source.clone(), slide })
        });
        if let Some(op) = op {
            self.graph.add_state(op, site, vec![("", source.clone())]);
        }
        let (f, sources) = (Arc::new(timestamp), vec![source.clone()]);
        let mut stream = self.narrow(|parent| Stamped { parent, f, source });
        stream.path = path.into();
        stream.id = op;
        EventTimeStream { stream, sources }
    }
}

impl<T: Data, N: Node<Out = (Time, T)>> EventTimeStream<T, N> {
    fn with_rules(self, set: impl Fn(&mut Rules)) -> Self {
        self.sources.iter().for_each(|s| set(&mut s.rules.get()));
        self
    }

    /// Rejects records whose time is more than this ahead of the time of their batch; one hour by default.
    /// Times in the future are mistakes: a wrong unit, a clock that is fast. Raise it for event times that have
    /// nothing to do with the batches' (a simulation).
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// // The batch ends at one second.
    /// let out = run([vec![1_500, 2_001]], |s| {
    ///     s.with_event_time(|x| Time::from_millis(*x), millis(0)).max_future(seconds(1)).timestamped().boxed()
    /// });
    /// assert_eq!(out, [[(at(1_500), 1_500)]]);
    /// ```
    pub fn max_future(self, ahead: Duration) -> Self {
        self.with_rules(|r| r.max_future = ahead)
    }

    /// Doesn't wait for input partitions that had no record for this long, by batch times; ten seconds by
    /// default. When such a partition has records again, they may be late.
    pub fn idle_after(self, silence: Duration) -> Self {
        self.with_rules(|r| r.watermark.idle_after = silence)
    }

    /// Names the operator that holds the watermark, as [`DStream::name`] does for others.
    pub fn name(mut self, name: &str) -> Self {
        if let Some(id) = self.stream.id {
            self.stream.graph.name(id, name);
            self.stream.path = format!("{}[{name}]", self.stream.path).into();
        }
        self
    }

    /// Event time is complete up to here, as of the newest batch: the lowest watermark of the streams that this
    /// one is made of. [`Time::ZERO`] at first.
    pub fn watermark(&self) -> Time {
        let all = self.sources.iter().map(|s| s.progress().watermark);
        all.min().unwrap_or_default()
    }

    fn narrow<U: Data, M: Node<Out = (Time, U)>>(
        &self,
        make: impl FnOnce(Arc<N>) -> M,
    ) -> EventTimeStream<U, M> {
        EventTimeStream { stream: self.stream.narrow(make), sources: self.sources.clone() }
    }

    /// `f` of each record; times stay.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let out = run([vec![7, 8]], |s| {
    ///     s.with_event_time(|x| Time::from_millis(*x), seconds(1)).map(|x| x * 2).filter(|x| *x > 14).timestamped()
    ///         .boxed()
    /// });
    /// assert_eq!(out, [[(Time::from_millis(8), 16)]]);
    /// ```
    #[track_caller]
    pub fn map<U: Data, F>(
        &self,
        f: F,
    ) -> EventTimeStream<U, Map<N, impl Fn((Time, T)) -> (Time, U) + Send + Sync + 'static>>
    where
        F: Fn(T) -> U + Send + Sync + 'static,
    {
        let site = Site::here("map");
        self.narrow(|parent| Map::new(parent, move |(t, x)| (t, f(x)), site))
    }

    /// The records for which `f` holds. The others count for the watermark all the same.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![1, 2, 3]], |s| {
    ///     s.with_event_time(|x| Time::from_millis(*x), millis(0)).filter(|x| x % 2 == 1).timestamped().boxed()
    /// });
    /// assert_eq!(out, [[(at(1), 1), (at(3), 3)]]);
    /// ```
    #[track_caller]
    pub fn filter<F>(
        &self,
        f: F,
    ) -> EventTimeStream<T, Filter<N, impl Fn(&(Time, T)) -> bool + Send + Sync + 'static>>
    where
        F: Fn(&T) -> bool + Send + Sync + 'static,
    {
        let site = Site::here("filter");
        self.narrow(|parent| Filter::new(parent, move |(_, x): &(Time, T)| f(x), site))
    }

    /// All records of the iterators that `f` makes, with the time of the record that each was made of.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![5]], |s| {
    ///     s.with_event_time(|x| Time::from_millis(*x), millis(0)).flat_map(|x| [x, x + 1]).timestamped().boxed()
    /// });
    /// assert_eq!(out, [[(at(5), 5), (at(5), 6)]]);
    /// ```
    #[track_caller]
    pub fn flat_map<I, F>(
        &self,
        f: F,
    ) -> EventTimeStream<
        I::Item,
        FlatMap<N, impl Fn((Time, T)) -> super::WithKey<Time, I::IntoIter> + Send + Sync + 'static>,
    >
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(T) -> I + Send + Sync + 'static,
    {
        let site = Site::here("flat_map");
        let f = move |(t, x)| super::WithKey::new(t, f(x).into_iter());
        self.narrow(|parent| FlatMap::new(parent, f, site))
    }

    /// Pairs of each record's key, as `f` reads it, and the record. Windows are per key; for windows of all
    /// records together use one key for all: `key_by(|_| ())`.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// // The sum of what came in each ten milliseconds.
    /// let out = run([vec![3, 12], vec![15, 20], vec![]], |s| {
    ///     s.with_event_time(|x| Time::from_millis(*x), millis(0))
    ///         .idle_after(seconds(1))
    ///         .key_by(|_| ())
    ///         .tumbling(millis(10))
    ///         .reduce(|a, b| a + b)
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![((), Window::new(at(0), at(10)), 3)]]);
    /// ```
    #[track_caller]
    pub fn key_by<K: Data, F>(
        &self,
        f: F,
    ) -> EventTimeStream<(K, T), Map<N, impl Fn((Time, T)) -> (Time, (K, T)) + Send + Sync + 'static>>
    where
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let site = Site::here("key_by");
        self.narrow(|parent| Map::new(parent, move |(t, x)| (t, (f(&x), x)), site))
    }

    /// The common type, for fields, arguments and returns.
    #[track_caller]
    pub fn boxed(&self) -> EventTimeStream<T> {
        EventTimeStream { stream: self.stream.boxed(), sources: self.sources.clone() }
    }

    /// The records of both streams. The watermark is the lower one of both, as long as neither is idle.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let at = Time::from_millis;
    /// // Two sources: the second one's clock is slower. A window is complete when it is so in both.
    /// let out = run_sorted([vec![5, 31], vec![18, 45], vec![31, 60], vec![]], |s| {
    ///     let a = s.with_event_time(|x| Time::from_millis(*x), millis(0)).idle_after(millis(0));
    ///     let slow = s.map(|x| x / 2).with_event_time(|x| Time::from_millis(*x), millis(0)).idle_after(millis(0));
    ///     a.union(&slow).key_by(|_| 'x').tumbling(millis(10)).count()
    /// });
    /// let window = |start| Window::new(at(start), at(start + 10));
    /// assert_eq!(out, [vec![], vec![], vec![], vec![('x', window(0), 3)]]);
    /// ```
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn union<M: Node<Out = (Time, T)>>(
        &self,
        other: &EventTimeStream<T, M>,
    ) -> EventTimeStream<T> {
        let mut sources = self.sources.clone();
        for s in &other.sources {
            if !sources.iter().any(|mine| Arc::ptr_eq(mine, s)) {
                sources.push(s.clone());
            }
        }
        EventTimeStream { stream: self.stream.union(&other.stream), sources }
    }

    /// The records with their times, as a plain stream; without those that were rejected.
    pub fn timestamped(&self) -> DStream<(Time, T), N> {
        let mut plain = self.stream.clone();
        plain.id = None;
        plain
    }
}

impl<K: Key, V: crate::Wire, N: Node<Out = (Time, (K, V))>> EventTimeStream<(K, V), N> {
    /// Windows of one size, side by side: each record is in one of them. They begin at the multiples of `size`
    /// since the epoch; see [`Windowed::offset`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![('a', 7)], vec![('a', 13), ('a', 25)], vec![('a', 31)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(5))
    ///         .idle_after(millis(0))
    ///         .tumbling(millis(20))
    ///         .count()
    /// });
    /// // 31 less 5 is past the end of the first window, which is fired in the next batch.
    /// assert_eq!(out, [vec![], vec![], vec![], vec![('a', Window::new(at(0), at(20)), 2)]]);
    /// ```
    ///
    /// # Panics
    /// For a size that isn't a positive, whole number of milliseconds.
    #[track_caller]
    pub fn tumbling(&self, size: Duration) -> Windowed<K, V, N> {
        Windowed::grid(self.clone(), size, size, Site::here("tumbling"))
    }

    /// Windows of one size that begin every `slide` since the epoch: each record is in `size / slide` of them.
    /// With a slide longer than the size, records between windows are in none.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let at = Time::from_millis;
    /// let out = run_sorted([vec![("a", 12), ("a", 16)], vec![("a", 31)], vec![]].map(
    ///     |b| b.into_iter().map(|(k, t)| (k.to_string(), t)).collect()), |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0))
    ///         .idle_after(millis(0))
    ///         .sliding(millis(10), millis(5))
    ///         .count()
    /// });
    /// let window = |start, n| ("a".to_string(), Window::new(at(start), at(start + 10)), n);
    /// assert_eq!(out, [vec![], vec![], vec![window(5, 1), window(10, 2), window(15, 1)]]);
    /// ```
    ///
    /// # Panics
    /// As [`EventTimeStream::tumbling`].
    #[track_caller]
    pub fn sliding(&self, size: Duration, slide: Duration) -> Windowed<K, V, N> {
        Windowed::grid(self.clone(), size, slide, Site::here("sliding"))
    }

    /// Sessions of each key: records less than `gap` apart, in event time. The window of a session begins with
    /// its first record and ends `gap` after its last one; a record that comes between two open sessions makes
    /// them one.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let at = Time::from_millis;
    /// let out = run_sorted([vec![('a', 1), ('a', 15)], vec![('a', 8)], vec![('a', 60)], vec![]], |s| {
    ///     s.with_event_time(|(_, t)| Time::from_millis(*t), millis(20))
    ///         .idle_after(millis(0))
    ///         .session(millis(10))
    ///         .count()
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![], vec![('a', Window::new(at(1), at(25)), 3)]]);
    /// ```
    ///
    /// # Panics
    /// For a gap that isn't a positive, whole number of milliseconds.
    #[track_caller]
    pub fn session(&self, gap: Duration) -> Windowed<K, V, N> {
        Windowed::session(self.clone(), gap, Site::here("session"))
    }
}

impl<T, N> fmt::Debug for EventTimeStream<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventTimeStream<{}>({})", std::any::type_name::<T>(), self.stream.path)
    }
}

/// What windows give out.
type Fired<K, A> = DStream<(K, Window, A)>;
