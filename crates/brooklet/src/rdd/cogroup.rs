//! `cogroup` of three and four RDDs, and its other name `group_with`: the first sides are grouped, and the
//! next one is grouped with the result, which lies where it belongs already.

use super::partitioner::Partitioning;
use super::partitioning::default_partitioning;
use super::pipe::Pipe;
use super::{Partitioner, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// Another name of [`Rdd::cogroup`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (a, b) = (ctx.parallelize([(1, 'a')], 1), ctx.parallelize([(1, 0.5)], 1));
    /// assert_eq!(a.group_with(&b).collect()?, [(1, (vec!['a'], vec![0.5]))]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn group_with<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(other);
        self.cogroup_at(other, self.by_default_with(other), Site::here("group_with"))
    }

    /// Each key of three RDDs with its values of all of them.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let a = ctx.parallelize([(1, 'a')], 2);
    /// let (b, c) = (ctx.parallelize([(1, 0.5)], 1), ctx.parallelize([(2, "z".to_string())], 3));
    /// let mut g = a.cogroup_3(&b, &c).collect()?;
    /// g.sort_by_key(|x| x.0);
    /// assert_eq!(g[0], (1, (vec!['a'], vec![0.5], vec![])));
    /// assert_eq!(g[1], (2, (vec![], vec![], vec!["z".to_string()])));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_3<W1: Wire, Q1: Pipe<Out = (K, W1)>, W2: Wire, Q2: Pipe<Out = (K, W2)>>(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_3");
        let parts = default_partitioning(&self.ctx, &[self.side(), second.side(), third.side()]);
        self.cogroup_3_at(second, third, parts, site)
    }

    /// [`Rdd::cogroup_3`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_3_into<W1: Wire, Q1: Pipe<Out = (K, W1)>, W2: Wire, Q2: Pipe<Out = (K, W2)>>(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        partitions: usize,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_3");
        let parts = Partitioning::hash(partitions);
        self.cogroup_3_at(second, third, parts, site)
    }

    /// [`Rdd::cogroup_3`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_3_with<W1: Wire, Q1: Pipe<Out = (K, W1)>, W2: Wire, Q2: Pipe<Out = (K, W2)>>(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_3");
        let parts = Partitioning::user(partitioner, site);
        self.cogroup_3_at(second, third, parts, site)
    }

    #[track_caller]
    fn cogroup_3_at<W1: Wire, Q1: Pipe<Out = (K, W1)>, W2: Wire, Q2: Pipe<Out = (K, W2)>>(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        parts: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>))>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(second);
        self.ctx.same_context(third);
        let two = self.cogroup_at(second, parts.clone(), site);
        two.cogroup_at(third, parts, site)
            .map_values(|(two, c)| {
                let (a, b) = two.into_iter().next().unwrap_or_default();
                (a, b, c)
            })
            .boxed()
    }

    /// Each key of four RDDs with its values of all of them.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let a = ctx.parallelize([(1, 'a')], 2);
    /// let b = a.map_values(|c| c as u32);
    /// let g = a.cogroup_4(&b, &a, &b).collect()?;
    /// assert_eq!(g, [(1, (vec!['a'], vec![97], vec!['a'], vec![97]))]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_4<
        W1: Wire,
        Q1: Pipe<Out = (K, W1)>,
        W2: Wire,
        Q2: Pipe<Out = (K, W2)>,
        W3: Wire,
        Q3: Pipe<Out = (K, W3)>,
    >(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        fourth: &Rdd<(K, W3), Q3>,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>, Vec<W3>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_4");
        let parts = default_partitioning(
            &self.ctx,
            &[self.side(), second.side(), third.side(), fourth.side()],
        );
        self.cogroup_4_at(second, third, fourth, parts, site)
    }

    /// [`Rdd::cogroup_4`] into `partitions` partitions (at least 1).
    ///
    /// # Panics
    /// When the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_4_into<
        W1: Wire,
        Q1: Pipe<Out = (K, W1)>,
        W2: Wire,
        Q2: Pipe<Out = (K, W2)>,
        W3: Wire,
        Q3: Pipe<Out = (K, W3)>,
    >(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        fourth: &Rdd<(K, W3), Q3>,
        partitions: usize,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>, Vec<W3>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_4");
        let parts = Partitioning::hash(partitions);
        self.cogroup_4_at(second, third, fourth, parts, site)
    }

    /// [`Rdd::cogroup_4`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions, or when the RDDs belong to several contexts.
    #[track_caller]
    pub fn cogroup_4_with<
        W1: Wire,
        Q1: Pipe<Out = (K, W1)>,
        W2: Wire,
        Q2: Pipe<Out = (K, W2)>,
        W3: Wire,
        Q3: Pipe<Out = (K, W3)>,
    >(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        fourth: &Rdd<(K, W3), Q3>,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>, Vec<W3>))>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("cogroup_4");
        let parts = Partitioning::user(partitioner, site);
        self.cogroup_4_at(second, third, fourth, parts, site)
    }

    #[track_caller]
    fn cogroup_4_at<
        W1: Wire,
        Q1: Pipe<Out = (K, W1)>,
        W2: Wire,
        Q2: Pipe<Out = (K, W2)>,
        W3: Wire,
        Q3: Pipe<Out = (K, W3)>,
    >(
        &self,
        second: &Rdd<(K, W1), Q1>,
        third: &Rdd<(K, W2), Q2>,
        fourth: &Rdd<(K, W3), Q3>,
        parts: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, (Vec<V>, Vec<W1>, Vec<W2>, Vec<W3>))>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(second);
        self.ctx.same_context(third);
        self.ctx.same_context(fourth);
        let three = self.cogroup_3_at(second, third, parts.clone(), site);
        three
            .cogroup_at(fourth, parts, site)
            .map_values(|(three, d)| {
                let (a, b, c) = three.into_iter().next().unwrap_or_default();
                (a, b, c, d)
            })
            .boxed()
    }
}
