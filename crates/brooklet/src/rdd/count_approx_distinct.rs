//! `count_approx_distinct` and `count_approx_distinct_by_key`.

use super::combine::ByCombine;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::shuffle::ReduceSpec;
use super::sketch::{Sketch, mixed, precision_for};
use super::{Partitioner, Rdd};
use crate::data::{Data, Key};
use crate::engine::{Site, TaskCx};
use crate::{Error, Result};

/// Index bits for a deviation.
fn precision(site: Site, relative_sd: f64) -> Result<u32> {
    precision_for(relative_sd).ok_or_else(|| {
        Error::usage(format!(
            "{site}: the relative standard deviation must be between 0.0011 and 0.26, and is \
             {relative_sd}"
        ))
    })
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// About how many distinct records there are (HyperLogLog++). `relative_sd` is the standard deviation of
    /// the result, as a part of it: 0.05 keeps 512 bytes for each partition, a tenth of it a hundred times
    /// as many.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let n = ctx.parallelize((0..20_000).map(|i| i % 5_000), 4).count_approx_distinct(0.02)?;
    /// assert!((4_500..5_500).contains(&n), "{n}");
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a deviation that isn't between 0.0011 and 0.26; else as [`Rdd::collect`].
    #[track_caller]
    pub fn count_approx_distinct(&self, relative_sd: f64) -> Result<u64>
    where
        T: Key,
    {
        let site = Site::here("count_approx_distinct");
        let precision = precision(site, relative_sd)?;
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx: &TaskCx<'_>| {
                let seed = cx.seed();
                p.fold(cx, cx.partition(), Sketch::new(precision), |mut s, x| {
                    s.add(mixed(site.guard(|| seed.hash(&x))));
                    s
                })
            },
        )?;
        Ok(parts.into_iter().fold(Sketch::new(precision), Sketch::merge).estimate())
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// About how many distinct values each key has; see [`Rdd::count_approx_distinct`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize((0..900).map(|i| (i % 3, i % 9)), 4);
    /// let mut n = pairs.count_approx_distinct_by_key(0.02)?.collect()?;
    /// n.sort();
    /// assert_eq!(n, [(0, 3), (1, 3), (2, 3)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a deviation that isn't between 0.0011 and 0.26.
    #[track_caller]
    pub fn count_approx_distinct_by_key(&self, relative_sd: f64) -> Result<Rdd<(K, u64)>>
    where
        K: Key,
        V: Key,
    {
        let site = Site::here("count_approx_distinct_by_key");
        self.sketched(relative_sd, self.by_default(), site)
    }

    /// [`Rdd::count_approx_distinct_by_key`] into `partitions` partitions (at least 1).
    ///
    /// # Errors
    /// As [`Rdd::count_approx_distinct_by_key`].
    #[track_caller]
    pub fn count_approx_distinct_by_key_into(
        &self,
        relative_sd: f64,
        partitions: usize,
    ) -> Result<Rdd<(K, u64)>>
    where
        K: Key,
        V: Key,
    {
        let site = Site::here("count_approx_distinct_by_key");
        self.sketched(relative_sd, Partitioning::hash(partitions), site)
    }

    /// [`Rdd::count_approx_distinct_by_key`] with the user's own partitioning of keys.
    ///
    /// # Errors
    /// As [`Rdd::count_approx_distinct_by_key`].
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn count_approx_distinct_by_key_with(
        &self,
        relative_sd: f64,
        partitioner: impl Partitioner<K>,
    ) -> Result<Rdd<(K, u64)>>
    where
        K: Key,
        V: Key,
    {
        let site = Site::here("count_approx_distinct_by_key");
        self.sketched(relative_sd, Partitioning::user(partitioner, site), site)
    }

    fn sketched(
        &self,
        relative_sd: f64,
        partitioning: Partitioning<K>,
        site: Site,
    ) -> Result<Rdd<(K, u64)>>
    where
        K: Key,
        V: Key,
    {
        let precision = precision(site, relative_sd)?;
        let seed = self.ctx.0.env.seed;
        let add = move |mut s: Sketch, v: V| {
            s.add(mixed(seed.hash(&v)));
            s
        };
        let create = move |v| add(Sketch::new(precision), v);
        let how = ByCombine { create, add, merge: Sketch::merge };
        let sketches = self.combined(ReduceSpec::new(how, partitioning, site));
        Ok(sketches.map_values(|s: Sketch| s.estimate()).boxed())
    }
}
