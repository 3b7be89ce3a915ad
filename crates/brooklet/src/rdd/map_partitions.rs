//! `map_partitions`: one call for each partition, also for empty ones.

use super::Rdd;
use super::pipe::{Flow, Pipe, forward, narrow_pipe, pushed};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};

/// The records of one partition, as `map_partitions` and `foreach_partition` hand them to a closure.
pub type PartitionIter<T> = std::vec::IntoIter<T>;

narrow_pipe! {
    /// The lineage of `map_partitions`.
    MapPartitionsPipe
}

impl<P: Pipe, I, F> Pipe for MapPartitionsPipe<P, F>
where
    I: IntoIterator + 'static,
    I::Item: 'static,
    F: Fn(usize, PartitionIter<P::Out>) -> I + Send + Sync + 'static,
{
    type Out = I::Item;
    forward!();
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        g: impl FnMut(A, I::Item) -> A,
    ) -> Result<A, TaskError> {
        let records = self.parent.fold(cx, part, Vec::new(), pushed)?;
        let acc = self.site.guard(|| (self.f)(part, records.into_iter()).into_iter().fold(init, g));
        cx.check()?;
        Ok(acc)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        g: impl FnMut(I::Item) -> Flow,
    ) -> Result<Flow, TaskError> {
        let records = self.parent.fold(cx, part, Vec::new(), pushed)?;
        let r = self.site.guard(|| (self.f)(part, records.into_iter()).into_iter().try_for_each(g));
        cx.check()?;
        Ok(r)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// `f` of each partition as a whole. The records of a partition are buffered for the call.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let sums = ctx.parallelize(1..=4, 2).map_partitions(|xs| [xs.sum::<i32>()]);
    /// assert_eq!(sums.collect()?, [3, 7]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn map_partitions<I, F>(
        &self,
        f: F,
    ) -> Rdd<
        I::Item,
        MapPartitionsPipe<
            P,
            impl Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static + use<T, P, I, F>,
        >,
    >
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(PartitionIter<T>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("map_partitions");
        self.narrow(|parent| MapPartitionsPipe {
            parent,
            f: std::sync::Arc::new(move |_: usize, records: PartitionIter<T>| f(records)),
            site,
        })
    }

    /// Like [`Rdd::map_partitions`], with the partition's number, from 0.
    #[track_caller]
    pub fn map_partitions_with_index<I, F>(&self, f: F) -> Rdd<I::Item, MapPartitionsPipe<P, F>>
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("map_partitions_with_index");
        self.narrow(|parent| MapPartitionsPipe { parent, f: f.into(), site })
    }
}
