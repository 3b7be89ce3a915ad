//! `transform` of any number of streams.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::foreach_rdd::user_result;
use super::transform::step;
use super::{DStream, Graph, IntoRdd};
use crate::data::Data;
use crate::engine::Site;
use crate::rdd::{Origin, Rdd};
use crate::{Error, Result, StreamingContext, Time};

impl StreamingContext {
    /// Any function of the RDDs that several streams have for a batch, in the order of the streams, with
    /// the batch time; evaluated once per batch on the driver, as [`DStream::transform`]. Every stream must
    /// have an RDD for the batch. For two streams of different types there is [`DStream::transform_with`].
    ///
    /// ```
    /// use brooklet::testing::{Collector, Driver};
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// let mut driver = Driver::new(move |ssc| {
    ///     let (a, left) = ssc.queue_stream::<i32>();
    ///     let (b, right) = ssc.queue_stream::<i32>();
    ///     let longest = ssc.transform([left, right], |rdds, _time| {
    ///         let mut sizes = Vec::new();
    ///         for rdd in &rdds {
    ///             sizes.push(rdd.count()?);
    ///         }
    ///         let most = sizes.iter().enumerate().max_by_key(|(_, n)| **n).map_or(0, |(i, _)| i);
    ///         Ok::<_, brooklet::Error>(rdds[most].clone())
    ///     })?;
    ///     let s = s.clone();
    ///     longest.foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok((a, b))
    /// })?;
    /// driver.input().0.push([1, 2]);
    /// driver.input().1.push([3, 4, 5]);
    /// driver.batch()?;
    /// assert_eq!(seen.batches(), [[3, 4, 5]]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] without a stream.
    ///
    /// # Panics
    /// When the streams belong to two contexts or have two slide durations.
    #[track_caller]
    pub fn transform<T: Data, U: Data, R: IntoRdd<U>>(
        &self,
        streams: impl IntoIterator<Item = DStream<T>>,
        f: impl Fn(Vec<Rdd<T>>, Time) -> R + Send + Sync + 'static,
    ) -> Result<DStream<U>> {
        let streams: Vec<DStream<T>> = streams.into_iter().collect();
        let Some((first, rest)) = streams.split_first() else {
            return Err(Error::usage("`transform` needs at least one stream"));
        };
        rest.iter().for_each(|s| first.same_context(s, "transform"));
        let site = Site::here("transform");
        let parents: Vec<_> = streams.iter().map(DStream::parent).collect();
        let eval = move |graph: &Graph, t: Time, origin: &Arc<Origin>| {
            let mut rdds = Vec::with_capacity(parents.len());
            for p in &parents {
                rdds.push(p.rdd(graph, t, site, origin)?);
            }
            let done = catch_unwind(AssertUnwindSafe(|| f(rdds, t).into_rdd()));
            user_result(site, t, done).map(Some)
        };
        let paths: Vec<&str> = streams.iter().map(|s| &*s.path).collect();
        let path = format!("({})/{}", paths.join("+"), site.op);
        Ok(step(&first.graph, &path, first.slide_duration(), site, Box::new(eval), None))
    }
}
