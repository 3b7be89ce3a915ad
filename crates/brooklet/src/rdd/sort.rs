//! Sorting: records are routed to ranges of keys by a shuffle, then each partition is sorted, by way of
//! disk when it doesn't fit into the task's memory.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::sync::{Arc, Weak};

use super::external::{Buckets, Order, Sorted, Sorter};
use super::filter::FilterPipe;
use super::kept::Kept;
use super::pipe::{Captured, Flow, Pipe, Unshippable};
use super::range::{range_of, sample_bounds};
use super::{Erased, Lineage, Partitioner, Rdd};
use crate::Result;
use crate::conf::defaults;
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};

/// The map side: each record goes to the partition that `route` names.
struct RouteStage<P, R> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Arc<P>,
    parts: usize,
    route: R,
    site: Site,
}

impl<P, R> TaskBody for RouteStage<P, R>
where
    P: Pipe<Out: Wire>,
    R: Fn(&P::Out) -> usize + Send + Sync,
{
    fn key(&self) -> StageKey {
        self.key
    }
    fn width(&self) -> usize {
        self.parent.partitions()
    }
    fn parents(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn lineage(&self, out: &mut Lineage) {
        self.parent.lineage(out);
    }
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        let mut to = Buckets::new(cx, self.parts, 0, None);
        self.parent.fold(cx, cx.partition(), (), |(), x| {
            self.site.guard(|| to.push((self.route)(&x), x));
        })?;
        to.finish()
    }
}

impl<P, R> Drop for RouteStage<P, R> {
    fn drop(&mut self) {
        Inner::stage_dropped(&self.ctx, &self.key, self.parts as u32);
    }
}

/// The partitions, sorted.
struct SortedPipe<T, O> {
    map: Arc<dyn TaskBody>,
    maps: usize,
    parts: usize,
    order: O,
    site: Site,
    t: PhantomData<fn() -> T>,
}

impl<T: Wire, O: Order<T>> SortedPipe<T, O> {
    /// The sorted partition; the first reader in a process sorts, others share.
    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Sorted<T>>, TaskError> {
        let key = self.map.key();
        if let Some(m) = cx.store().merged(&key, part as u32) {
            return m.downcast().map_err(|_| TaskError::Bug("a sorted side has changed".into()));
        }
        let mut sorter = Sorter::new(cx, &self.order, self.site);
        for (map, b) in cx.store().column(&key, self.maps, part)?.iter().enumerate() {
            let block = b.get::<Kept<T>>()?;
            let mut chunks = block.chunks(defaults::CHUNK_RECORDS);
            while let Some(chunk) = chunks.next().map_err(|e| cx.lost_output(key, map, e))? {
                sorter.extend(chunk)?;
            }
        }
        let sorted = Arc::new(sorter.finish()?);
        cx.store().keep_merged(key, part as u32, sorted.clone());
        Ok(sorted)
    }
}

impl<T: Wire, O: Order<T>> Pipe for SortedPipe<T, O> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.map.clone());
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.read(cx, part)?.len()))
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.parts);
        out.stage(&*self.map);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        f: impl FnMut(A, T) -> A,
    ) -> Result<A, TaskError> {
        let lost = |e| cx.lost_merged(Some(self.map.key()), part, e);
        self.read(cx, part)?.fold(cx, (&self.order, self.site), &lost, init, f)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        let lost = |e| cx.lost_merged(Some(self.map.key()), part, e);
        self.read(cx, part)?.try_each(cx, (&self.order, self.site), &lost, f)
    }
}

impl<T, O> fmt::Debug for SortedPipe<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} partitions", self.site, self.parts)
    }
}

/// By what a function makes of a record; it is called once for each record and pass.
struct ByKey<F> {
    key: Arc<F>,
    ascending: bool,
}

impl<T: 'static, K: Ord, F: Fn(&T) -> K + Send + Sync + 'static> Order<T> for ByKey<F> {
    type Mark = K;
    fn mark(&self, x: &T) -> K {
        (self.key)(x)
    }
    fn compare(&self, a: (&K, &T), b: (&K, &T)) -> Ordering {
        if self.ascending { a.0.cmp(b.0) } else { b.0.cmp(a.0) }
    }
    fn sort(&self, records: &mut [T]) {
        if self.ascending {
            records.sort_by_cached_key(|x| (self.key)(x));
        } else {
            records.sort_by_cached_key(|x| Reverse((self.key)(x)));
        }
    }
}

/// By a comparison of records.
struct ByCompare<C>(Arc<C>);

impl<T: 'static, C> Order<T> for ByCompare<C>
where
    C: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
{
    type Mark = ();
    fn mark(&self, _: &T) {}
    fn compare(&self, a: (&(), &T), b: (&(), &T)) -> Ordering {
        (self.0)(a.1, b.1)
    }
    fn sort(&self, records: &mut [T]) {
        records.sort_by(|a, b| (self.0)(a, b));
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// All records in the order of their keys: partition by partition, and within each. Records with equal
    /// keys stay in their order, in both directions.
    ///
    /// The result has at most `partitions` partitions (at least 1), fewer where there are fewer different
    /// keys. With more than one this runs a job now that samples the keys (see
    /// [`RangePartitioner`](crate::RangePartitioner)), so the RDD is computed twice: persist it if that is
    /// dear. The sort itself runs with the first action on the result. A partition that is larger than
    /// [`Conf::task_memory`](crate::Conf::task_memory) is sorted by way of disk.
    ///
    /// `key` is called several times for a record and must give the same key each time. For `f64` keys use
    /// [`Ordered`](crate::Ordered) or [`Rdd::sort_with`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let words = ctx.parallelize(["pear", "fig", "apple", "kiwi"].map(String::from), 3);
    /// let sorted = words.sort_by(|w| w.len(), true, 2)?;
    /// assert_eq!(sorted.collect()?, ["fig", "pear", "kiwi", "apple"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// In a stream, on every engine:
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec![3, 1, 2], vec![], vec![7]], |s| s.transform(|r| r.sort_by(|x| *x, false, 2)));
    /// assert_eq!(out, [vec![3, 2, 1], vec![], vec![7]]);
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`], for the job that samples.
    #[track_caller]
    pub fn sort_by<K, F>(&self, key: F, ascending: bool, partitions: usize) -> Result<Rdd<T>>
    where
        T: Wire,
        K: Wire + Ord,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let (site, key) = (Site::here("sort_by"), Arc::new(key));
        let k = key.clone();
        let bounds = sample_bounds(self, site, partitions, move |x| k(x), K::cmp)?;
        let k = key.clone();
        let parts = bounds.len() + 1;
        let route = move |x: &T| {
            let key = k(x);
            range_of(&bounds, ascending, |b| b.cmp(&key))
        };
        Ok(self.routed(site, parts, route, ByKey { key, ascending }))
    }

    /// [`Rdd::sort_by`] in the order of `compare`, which must be a total order. The bounds of the partitions
    /// are whole records.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([2.5f64, -1.0, 0.5], 2).sort_with(|a, b| b.total_cmp(a), 2)?;
    /// assert_eq!(r.collect()?, [2.5, 0.5, -1.0]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::sort_by`].
    #[track_caller]
    pub fn sort_with<C>(&self, compare: C, partitions: usize) -> Result<Rdd<T>>
    where
        T: Wire,
        C: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
    {
        let (site, compare) = (Site::here("sort_with"), Arc::new(compare));
        let bounds = sample_bounds(self, site, partitions, T::clone, &*compare)?;
        let c = compare.clone();
        let parts = bounds.len() + 1;
        let route = move |x: &T| range_of(&bounds, true, |b| c(b, x));
        Ok(self.routed(site, parts, route, ByCompare(compare)))
    }

    /// Routes every record to a partition and sorts each.
    fn routed<R, O>(&self, site: Site, parts: usize, route: R, order: O) -> Rdd<T>
    where
        T: Wire,
        R: Fn(&T) -> usize + Send + Sync + 'static,
        O: Order<T>,
    {
        let inner = &self.ctx.0;
        let map: Arc<dyn TaskBody> = Arc::new(RouteStage {
            key: self.origin.next_stage(Role::Map),
            ctx: Arc::downgrade(inner),
            parent: self.pipe.clone(),
            parts,
            route,
            site,
        });
        inner.add_body(&map);
        let maps = self.pipe.partitions();
        let pipe = SortedPipe { map, maps, parts, order, site, t: PhantomData };
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone())
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The pairs in the order of their keys; otherwise as [`Rdd::sort_by`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd')], 2);
    /// assert_eq!(pairs.sort_by_key(true, 2)?.collect()?, [(1, 'b'), (2, 'd'), (3, 'a'), (3, 'c')]);
    /// assert_eq!(pairs.sort_by_key(false, 1)?.collect()?, [(3, 'a'), (3, 'c'), (2, 'd'), (1, 'b')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::sort_by`].
    #[track_caller]
    pub fn sort_by_key(&self, ascending: bool, partitions: usize) -> Result<Rdd<(K, V)>>
    where
        K: Wire + Ord,
        V: Wire,
    {
        let site = Site::here("sort_by_key");
        let bounds = sample_bounds(self, site, partitions, |(k, _): &(K, V)| k.clone(), K::cmp)?;
        let parts = bounds.len() + 1;
        let route = move |(k, _): &(K, V)| range_of(&bounds, ascending, |b| b.cmp(k));
        let compare = move |a: &(K, V), b: &(K, V)| {
            if ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) }
        };
        Ok(self.routed(site, parts, route, ByCompare(Arc::new(compare))))
    }

    /// The pairs in the partitions that `partitioner` names, each partition in the order of its keys; pairs of
    /// a key stay in their order. Cheaper than to repartition and to sort afterwards. A partition that is
    /// larger than [`Conf::task_memory`](crate::Conf::task_memory) is sorted by way of disk.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// use brooklet::RangePartitioner;
    /// let pairs = ctx.parallelize([(7, 'a'), (2, 'b'), (9, 'c'), (1, 'd')], 2);
    /// let sorted = pairs.repartition_and_sort_within_partitions(RangePartitioner::from_bounds([5]));
    /// assert_eq!(sorted.num_partitions(), 2);
    /// assert_eq!(sorted.collect()?, [(1, 'd'), (2, 'b'), (7, 'a'), (9, 'c')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// For a partitioner without partitions. One that names a partition out of range fails the task.
    #[track_caller]
    pub fn repartition_and_sort_within_partitions<R: Partitioner<K>>(
        &self,
        partitioner: R,
    ) -> Rdd<(K, V)>
    where
        K: Wire + Ord,
        V: Wire,
    {
        let site = Site::here("repartition_and_sort_within_partitions");
        let parts = partitioner.partitions();
        assert!(parts > 0, "{site}: partitioner `{}` has no partitions", partitioner.name());
        let route = move |(k, _): &(K, V)| {
            let i = partitioner.partition(k);
            assert!(
                i < parts,
                "partitioner `{}` gave partition {i} of {parts}",
                partitioner.name()
            );
            i
        };
        let compare = |a: &(K, V), b: &(K, V)| a.0.cmp(&b.0);
        self.routed(site, parts, route, ByCompare(Arc::new(compare)))
    }

    /// The pairs whose keys are in `range`. Partitions are kept, and all of them are looked at.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(3, 'a'), (1, 'b'), (5, 'c')], 2);
    /// assert_eq!(pairs.filter_by_range(1..=3).collect()?, [(3, 'a'), (1, 'b')]);
    /// assert_eq!(pairs.filter_by_range(4..).collect()?, [(5, 'c')]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn filter_by_range<R>(
        &self,
        range: R,
    ) -> Rdd<
        (K, V),
        FilterPipe<P, impl Fn(&(K, V)) -> bool + Send + Sync + 'static + use<K, V, P, R>>,
    >
    where
        K: Ord,
        R: RangeBounds<K> + Send + Sync + 'static,
    {
        let site = Site::here("filter_by_range");
        let f = Arc::new(move |(k, _): &(K, V)| range.contains(k));
        self.narrow(|parent| FilterPipe { parent, f, site })
    }
}
