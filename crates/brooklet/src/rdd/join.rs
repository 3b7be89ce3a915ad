//! `cogroup` and `join`: two dealt-out sides, gathered by key.

use std::fmt;
use std::sync::Arc;

use super::combine::Table;
use super::external::Combining;
use super::flat_map::FlatMapPipe;
use super::group::{Dealt, Grouping, keep_merged, merged};
use super::kept::kept_source;
use super::partitioner::Partitioning;
use super::pipe::{Captured, Pipe, Unshippable};
use super::shuffle::pair;
use super::{About, Erased, Lineage, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::{Site, StageKey, TaskBody, TaskCx, TaskError};

/// Both sides' values of a key.
pub(crate) type Both<V, W> = (Vec<V>, Vec<W>);

struct Cogrouped<K, V, W> {
    left: Dealt<K, V>,
    right: Dealt<K, W>,
    parts: usize,
    site: Site,
}

impl<K: Key, V: Wire, W: Wire> Cogrouped<K, V, W> {
    /// What the merged partitions are kept under.
    fn merged(&self) -> Option<StageKey> {
        self.left.key().or(self.right.key())
    }

    fn read(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
    ) -> Result<Arc<Grouping<K, Both<V, W>>>, TaskError> {
        let key = self.merged();
        if let Some(m) = merged(cx, key, part)? {
            return Ok(m);
        }
        let append = |mut old: Both<V, W>, new: Both<V, W>| {
            old.0.extend(new.0);
            old.1.extend(new.1);
            old
        };
        let mut table = Combining::new(cx, self.site, Table::with_capacity(0), append);
        self.left.each(cx, part, |chunk| {
            table.collect(chunk, |both, v| both.0.push(v), Default::default)
        })?;
        self.right.each(cx, part, |chunk| {
            table.collect(chunk, |both, w| both.1.push(w), Default::default)
        })?;
        let groups = Arc::new(table.finish(None)?.0);
        keep_merged(cx, key, part, &groups);
        Ok(groups)
    }
}

impl<K: Key, V: Wire, W: Wire> Pipe for Cogrouped<K, V, W> {
    type Out = (K, Both<V, W>);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.left.wide(out);
        self.right.wide(out);
    }
    fn input_records(&self) -> usize {
        self.left.input_records().saturating_add(self.right.input_records())
    }
    fn about(&self) -> About {
        self.left.about()
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.parts);
        self.left.lineage(out);
        self.right.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    kept_source!((K, Both<V, W>), |self, cx, part| self.read(cx, part)?, pair);
}

impl<K, V, W> fmt::Debug for Cogrouped<K, V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} partitions", self.site, self.parts)
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    pub(crate) fn cogroup_at<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioning: Partitioning<K>,
        site: Site,
    ) -> Rdd<(K, Both<V, W>)>
    where
        K: Key,
        V: Wire,
    {
        let parts = partitioning.partitions();
        let origin = if self.origin.is_plain() { &other.origin } else { &self.origin };
        let left = self.dealt(origin, &partitioning, site);
        let right = other.dealt(origin, &partitioning, site);
        let pipe = Cogrouped { left, right, parts, site };
        self.with_other(other, Erased::new(Arc::new(pipe)))
    }

    /// A join: what `pairs` makes of each key and its values, in the partitions of the keys.
    #[track_caller]
    pub(crate) fn joined<W: Wire, U: Data, I, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        partitioning: Partitioning<K>,
        site: Site,
        pairs: impl Fn((K, Both<V, W>)) -> I + Send + Sync + 'static,
    ) -> Rdd<(K, U)>
    where
        K: Key,
        V: Wire,
        I: IntoIterator<Item = (K, U)> + 'static,
    {
        self.ctx.same_context(other);
        let about = partitioning.about();
        let groups = self.cogroup_at(other, partitioning, site);
        groups.narrow(|parent| FlatMapPipe { parent, f: pairs.into(), site }).boxed().told(about)
    }

    /// Each key of either side with its values of both sides (possibly none on one).
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let a = ctx.parallelize([(1, 'a')], 1);
    /// let b = ctx.parallelize([(1, 1.5), (2, 2.5)], 2);
    /// let mut g = a.cogroup(&b).collect()?;
    /// g.sort_by_key(|x| x.0);
    /// assert_eq!(g, [(1, (vec!['a'], vec![1.5])), (2, (vec![], vec![2.5]))]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn cogroup<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(other);
        self.cogroup_at(other, self.by_default_with(other), Site::here("cogroup"))
    }

    /// Each value of this side with each value of the other one, or with `None` where the other side
    /// has none for the key.
    #[track_caller]
    pub fn left_outer_join<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, (V, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.joined(other, self.by_default_with(other), Site::here("left_outer_join"), left_join)
    }

    /// Each value of the other side with each value of this one, or with `None` where this side has
    /// none for the key.
    #[track_caller]
    pub fn right_outer_join<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, (Option<V>, W))>
    where
        K: Key,
        V: Wire,
    {
        self.joined(other, self.by_default_with(other), Site::here("right_outer_join"), right_join)
    }

    /// Each pair of values of a key, with `None` for the side that has none.
    #[track_caller]
    pub fn full_outer_join<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Rdd<(K, (Option<V>, Option<W>))>
    where
        K: Key,
        V: Wire,
    {
        self.joined(other, self.by_default_with(other), Site::here("full_outer_join"), full_join)
    }

    /// Each pair of values that the two sides have for a key.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let users = ctx.parallelize([(1, "ann"), (2, "bob")].map(|(k, v)| (k, v.to_string())), 2);
    /// let clicks = ctx.parallelize([(1, 10), (1, 11), (3, 12)], 2);
    /// let mut j = users.join(&clicks).collect()?;
    /// j.sort();
    /// assert_eq!(j, [(1, ("ann".to_string(), 10)), (1, ("ann".to_string(), 11))]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn join<W: Wire, Q: Pipe<Out = (K, W)>>(&self, other: &Rdd<(K, W), Q>) -> Rdd<(K, (V, W))>
    where
        K: Key,
        V: Wire,
    {
        self.joined(other, self.by_default_with(other), Site::here("join"), inner_join)
    }
}

/// All pairs of one key.
pub(crate) fn inner_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> impl Iterator<Item = (K, (V, W))> {
    left.into_iter().flat_map(move |v| {
        let k = k.clone();
        right.clone().into_iter().map(move |w| (k.clone(), (v.clone(), w)))
    })
}

pub(crate) fn left_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> Vec<(K, (V, Option<W>))> {
    let right = or_none(right);
    let pairs = left.iter().flat_map(|v| right.iter().map(move |w| (v.clone(), w.clone())));
    pairs.map(|p| (k.clone(), p)).collect()
}

pub(crate) fn right_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> Vec<(K, (Option<V>, W))> {
    let left = or_none(left);
    let pairs = left.iter().flat_map(|v| right.iter().map(move |w| (v.clone(), w.clone())));
    pairs.map(|p| (k.clone(), p)).collect()
}

pub(crate) fn full_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> Vec<(K, (Option<V>, Option<W>))> {
    let (left, right) = (or_none(left), or_none(right));
    let pairs = left.iter().flat_map(|v| right.iter().map(move |w| (v.clone(), w.clone())));
    pairs.map(|p| (k.clone(), p)).collect()
}

/// The values, or one `None` when there are none.
fn or_none<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() }
}
