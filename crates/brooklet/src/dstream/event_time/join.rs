//! `join` and `cogroup` of two streams with event times: what both have for a key in the same window.

use serde::{Deserialize, Serialize};

use super::windowed::{Windowed, aggregation};
use super::{EventTimeStream, Fired};
use crate::Time;
use crate::data::{Key, Wire};
use crate::dstream::{DStream, Node};
use crate::engine::Site;
use crate::event_time::Window;

/// A value of one of two streams.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Side<V, W> {
    Left(V),
    Right(W),
}

impl<K: Key, V: Wire, N: Node<Out = (Time, (K, V))>> Windowed<K, V, N> {
    /// Each key and window of either stream with its values of both, in the order of batches and partitions.
    /// The window is complete when it is so in both streams: the lower watermark counts.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run;
    /// let at = Time::from_millis;
    /// let out = run([vec![('a', 1), ('a', 8)], vec![('c', 30)], vec![]], |s| {
    ///     let time = |(_, t): &(char, u64)| Time::from_millis(*t);
    ///     let clicks = s.with_event_time(time, millis(0)).idle_after(millis(0));
    ///     let views = s.filter(|(_, t)| *t != 8).with_event_time(time, millis(0)).idle_after(millis(0));
    ///     clicks.tumbling(millis(10)).cogroup(&views)
    /// });
    /// assert_eq!(out, [vec![], vec![], vec![('a', Window::new(at(0), at(10)), (vec![1, 8], vec![1]))]]);
    /// ```
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn cogroup<W: Wire, M: Node<Out = (Time, (K, W))>>(
        &self,
        other: &EventTimeStream<(K, W), M>,
    ) -> DStream<(K, Window, (Vec<V>, Vec<W>))> {
        self.both(Site::here("cogroup"), other)
    }

    /// Each pair of values that this stream and `other` have for a key in the same window; as
    /// [`Windowed::cogroup`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// let at = Time::from_millis;
    /// let out = run_sorted([vec![('a', 1), ('a', 8), ('b', 5)], vec![('c', 30)], vec![]], |s| {
    ///     let time = |(_, t): &(char, u64)| Time::from_millis(*t);
    ///     let clicks = s.filter(|(_, t)| *t != 5).with_event_time(time, millis(0)).idle_after(millis(0));
    ///     let views = s.filter(|(_, t)| *t != 8).with_event_time(time, millis(0)).idle_after(millis(0));
    ///     clicks.tumbling(millis(10)).join(&views)
    /// });
    /// let window = Window::new(at(0), at(10));
    /// assert_eq!(out, [vec![], vec![], vec![('a', window, (1, 1)), ('a', window, (8, 1))]]);
    /// ```
    ///
    /// # Panics
    /// As [`Windowed::cogroup`].
    #[track_caller]
    pub fn join<W: Wire, M: Node<Out = (Time, (K, W))>>(
        &self,
        other: &EventTimeStream<(K, W), M>,
    ) -> DStream<(K, Window, (V, W))> {
        let both = self.both(Site::here("join"), other);
        both.flat_map(|(key, window, (left, right))| {
            left.into_iter().flat_map(move |v| {
                let key = key.clone();
                right.clone().into_iter().map(move |w| (key.clone(), window, (v.clone(), w)))
            })
        })
        .boxed()
    }

    #[track_caller]
    fn both<W: Wire, M: Node<Out = (Time, (K, W))>>(
        &self,
        site: Site,
        other: &EventTimeStream<(K, W), M>,
    ) -> Fired<K, (Vec<V>, Vec<W>)> {
        let left = self.events.map(|(k, v)| (k, Side::<V, W>::Left(v)));
        let right = other.map(|(k, w)| (k, Side::<V, W>::Right(w)));
        let add = |(mut vs, mut ws): (Vec<V>, Vec<W>), side| {
            match side {
                Side::Left(v) => vs.push(v),
                Side::Right(w) => ws.push(w),
            }
            (vs, ws)
        };
        let merge = |(mut vs, mut ws): (Vec<V>, Vec<W>), b: (Vec<V>, Vec<W>)| {
            vs.extend(b.0);
            ws.extend(b.1);
            (vs, ws)
        };
        let zero = (Vec::new(), Vec::new());
        self.of(left.union(&right)).combined(site, aggregation(zero, add, merge))
    }
}
