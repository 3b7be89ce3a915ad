//! `slice` and `compute`: the RDDs of batches that are still remembered.

use super::{DStream, Graph, GraphRef, Node};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::{Pipe, Rdd};
use crate::{Error, Interval, Result, Time};

impl Graph {
    /// Whether batch `t` has RDDs to ask for, while `f` looks.
    fn remembered<R>(
        &self,
        site: Site,
        t: Time,
        f: impl FnOnce() -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        self.look(|known| {
            if known.over {
                return Err(Error::State {
                    call: site.op,
                    state: "stopped",
                    help: "its batches are gone; take the RDDs, or what you need of them, before `stop()`",
                });
            }
            if known.ready.is_none_or(|newest| t > newest) {
                let newest = known.ready.map_or("there is none".into(), |n| format!("the newest is {n}"));
                return Err(Error::usage(format!("{site}: batch {t} isn't there yet ({newest})")));
            }
            if known.forgotten.is_some_and(|f| t <= f) {
                return Err(Error::usage(format!(
                    "{site}: batch {t} is forgotten; keep batches for longer with \
                     `StreamingContext::remember` before the start"
                )));
            }
            if known.failed.contains(&t) { Ok(None) } else { f() }
        })
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// The RDDs of all batches from `from` to `to`, both included, in order. Ends that are no batch times
    /// are floored to one, counted from the zero time. Times at which the stream has no RDD, and batches
    /// that failed before their outputs, are left out.
    ///
    /// The batches must still be there: those that run, and those that
    /// [`StreamingContext::remember`](crate::StreamingContext::remember) keeps. The original makes missing
    /// ones again; here their input is gone by then, so they are an error.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use brooklet::{Time, seconds};
    /// let mut driver = Driver::new(|ssc| {
    ///     ssc.remember(seconds(60))?;
    ///     let (queue, numbers) = ssc.queue_stream::<i32>();
    ///     let doubled = numbers.map(|x| x * 2).boxed();
    ///     doubled.print_to(0, |_| {});
    ///     Ok((queue, doubled))
    /// })?;
    /// (1..=3).for_each(|x| driver.input().0.push([x]));
    /// driver.batches(3)?;
    /// let last_two = driver.input().1.slice(Time::from_millis(2_500), Time::from_millis(3_000))?;
    /// let records: Vec<_> = last_two.iter().map(|rdd| rdd.collect()).collect::<Result<_, _>>()?;
    /// assert_eq!(records, [[4], [6]]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] before the start and after the stop; [`Error::Usage`] for a batch that isn't there
    /// yet or no more; [`Error::NotShippable`] on an engine whose tasks run in other processes, which know
    /// only the RDDs of operators.
    #[track_caller]
    pub fn slice(&self, from: Time, to: Time) -> Result<Vec<Rdd<T>>> {
        let site = Site::here("slice");
        let zero = self.zero(site)?;
        let slide = self.slide_duration();
        let (from, to) = (from.floor_from(slide, zero), to.floor_from(slide, zero));
        from.to(to, slide).filter_map(|t| self.rdd_at(site, zero, t).transpose()).collect()
    }

    /// [`DStream::slice`] of an interval.
    ///
    /// # Errors
    /// As [`DStream::slice`].
    #[track_caller]
    pub fn slice_interval(&self, interval: Interval) -> Result<Vec<Rdd<T>>> {
        self.slice(interval.begin(), interval.end())
    }

    /// The RDD of batch `time`, or nothing when the stream has none for it: at times that are no batch
    /// times, at the zero time and before it.
    ///
    /// # Errors
    /// As [`DStream::slice`].
    #[track_caller]
    pub fn compute(&self, time: Time) -> Result<Option<Rdd<T>>> {
        let site = Site::here("compute");
        let zero = self.zero(site)?;
        self.rdd_at(site, zero, time)
    }

    fn zero(&self, site: Site) -> Result<Time> {
        if self.graph.ctx.0.executor || self.graph.ctx.0.engine()?.remote() {
            return Err(Error::NotShippable(format!(
                "{site}: the processes that run the tasks don't know the RDDs of earlier batches by \
                 themselves; use an output or a `transform` of the stream"
            )));
        }
        let help = "batches begin with `start()`";
        self.graph.zero().ok_or(Error::State { call: site.op, state: "not started", help })
    }

    fn rdd_at(&self, site: Site, zero: Time, t: Time) -> Result<Option<Rdd<T>>> {
        if t <= zero || !t.is_multiple_of(self.slide_duration(), zero) {
            return Ok(None);
        }
        let graph = &self.graph;
        let pipe = graph.remembered(site, t, || self.node.at(&GraphRef(graph), t))?;
        // An RDD of its own: its actions and what is built on it have names that no batch has.
        Ok(pipe.map(|p| graph.ctx.plain(p.erase())))
    }
}
