//! `cogroup` and `join`: two dealt-out sides, gathered by key.

use std::fmt;
use std::sync::Arc;

use super::combine::{Entry, Table};
use super::external::Combining;
use super::group::Dealt;
use super::kept::{Kept, Memory, kept_source};
use super::partitioner::Partitioning;
use super::pipe::{Captured, Pipe, Unshippable};
use super::shuffle::pair;
use super::{Erased, Rdd};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};

/// Both sides' values of a key.
type Both<V, W> = (Vec<V>, Vec<W>);

struct Cogrouped<K, V, W> {
    left: Dealt<K, V>,
    right: Dealt<K, W>,
    parts: usize,
    site: Site,
}

impl<K: Key, V: Wire, W: Wire> Cogrouped<K, V, W> {
    fn merged(&self) -> StageKey {
        self.left.body().key()
    }

    fn read(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
    ) -> Result<Arc<Kept<Entry<K, Both<V, W>>>>, TaskError> {
        let key = self.left.body().key();
        if let Some(m) = cx.store().merged(&key, part as u32) {
            return m.downcast().map_err(|_| TaskError::Bug("a merged side has changed".into()));
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
        cx.store().keep_merged(key, part as u32, groups.clone());
        Ok(groups)
    }
}

impl<K: Key, V: Wire, W: Wire> Pipe for Cogrouped<K, V, W> {
    type Out = (K, Both<V, W>);
    fn partitions(&self) -> usize {
        self.parts
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.left.body().clone());
        out.push(self.right.body().clone());
    }
    fn input_records(&self) -> usize {
        0 // read from the stage's output, whose size is known
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
    #[track_caller]
    fn cogroup_at<W: Wire, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
        site: Site,
    ) -> Rdd<(K, Both<V, W>)>
    where
        K: Key,
        V: Wire,
    {
        self.ctx.same_context(other);
        let parts = self.ctx.default_parallelism();
        let partitioning = Partitioning::Hash(parts);
        let origin = if self.origin.is_plain() { &other.origin } else { &self.origin };
        let inner = &self.ctx.0;
        let left: Arc<Memory<K, V>> = Arc::default();
        let right: Arc<Memory<K, W>> = Arc::default();
        let left = Dealt::new(
            inner,
            origin.next_stage(Role::Map),
            self.pipe.clone(),
            &left,
            &partitioning,
            site,
        );
        let right = Dealt::new(
            inner,
            origin.next_stage(Role::Map),
            other.pipe.clone(),
            &right,
            &partitioning,
            site,
        );
        let pipe = Cogrouped { left, right, parts, site };
        self.with_other(other, Erased::new(Arc::new(pipe)))
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
        self.cogroup_at(other, Site::here("cogroup"))
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
        self.cogroup_at(other, Site::here("left_outer_join")).flat_map(left_join).boxed()
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
        self.cogroup_at(other, Site::here("right_outer_join")).flat_map(right_join).boxed()
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
        self.cogroup_at(other, Site::here("full_outer_join")).flat_map(full_join).boxed()
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
        self.cogroup_at(other, Site::here("join")).flat_map(inner_join).boxed()
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

fn left_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> Vec<(K, (V, Option<W>))> {
    let right = or_none(right);
    let pairs = left.iter().flat_map(|v| right.iter().map(move |w| (v.clone(), w.clone())));
    pairs.map(|p| (k.clone(), p)).collect()
}

fn right_join<K: Data, V: Data, W: Data>(
    (k, (left, right)): (K, Both<V, W>),
) -> Vec<(K, (Option<V>, W))> {
    let left = or_none(left);
    let pairs = left.iter().flat_map(|v| right.iter().map(move |w| (v.clone(), w.clone())));
    pairs.map(|p| (k.clone(), p)).collect()
}

fn full_join<K: Data, V: Data, W: Data>(
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
