//! Who has placed an RDD's pairs, and which partitions a shuffle takes when it isn't told: the rule of
//! datasets, which prefers the largest partitioner that is there already.

use std::fmt;
use std::sync::Arc;

use super::partitioner::{Partitioning, carried_hash};
use super::pipe::Pipe;
use super::{About, Partitioner, Rdd};
use crate::context::Context;
use crate::data::{Data, HashSeed, Key};
use crate::engine::Site;

/// The name under which the hash partitioning compares with partitioners of users.
const HASH: &str = "brooklet.hash";

impl<K: Key> Partitioning<K> {
    /// The name, what else tells it from others of the name, and the number of partitions.
    fn id(&self) -> (String, String, usize) {
        match self {
            Partitioning::Hash(n) => (HASH.into(), String::new(), *n),
            Partitioning::User(p) => (p.name(), p.parameters(), p.partitions()),
        }
    }

    /// What it is called in checkpoints, without the number of partitions.
    pub(crate) fn name(&self) -> String {
        let (name, parameters, _) = self.id();
        if parameters.is_empty() { name } else { format!("{name}({parameters})") }
    }

    /// Whether the two place every key alike.
    pub(crate) fn same(&self, other: &Partitioning<K>) -> bool {
        self.id() == other.id()
    }

    /// What is known of records that this has placed.
    pub(crate) fn about(&self) -> About {
        About { partitioner: Some(Arc::new(self.clone())), ..About::default() }
    }

    /// Whether it has placed the pairs of which this is known.
    pub(crate) fn has_placed(&self, about: &About) -> bool {
        let placed = about.partitioner.as_ref().and_then(|p| p.downcast_ref::<Partitioning<K>>());
        placed.is_some_and(|p| p.same(self))
    }

    /// A user's own.
    ///
    /// # Panics
    /// When it has no partitions.
    pub(crate) fn user(partitioner: impl Partitioner<K>, site: Site) -> Partitioning<K> {
        let name = partitioner.name();
        assert!(partitioner.partitions() > 0, "{site}: partitioner `{name}` has no partitions");
        Partitioning::User(Arc::new(partitioner))
    }

    /// By hash, into at least one partition.
    pub(crate) fn hash(partitions: usize) -> Partitioning<K> {
        Partitioning::Hash(partitions.max(1))
    }
}

/// A side of a shuffle as the rule for partitions sees it.
pub(crate) struct Side<K> {
    partitions: usize,
    partitioner: Option<Partitioning<K>>,
}

/// The partitions of a shuffle of these sides that isn't told: the largest partitioner among them, when its
/// number of partitions is within one order of magnitude of the largest side or not below the default;
/// else the hash, into the configured default parallelism or as many partitions as the largest side has.
pub(crate) fn default_partitioning<K: Key>(ctx: &Context, sides: &[Side<K>]) -> Partitioning<K> {
    let largest = sides.iter().map(|s| s.partitions).max().unwrap_or(0);
    let default = ctx.0.conf.default_parallelism.unwrap_or(largest);
    // Of equal ones the first, as `max_by_key` would give the last.
    let known = sides.iter().filter_map(|s| Some((s.partitioner.as_ref()?, s.partitions)));
    let known = known.filter(|(p, _)| p.partitions() > 0).rev().max_by_key(|(_, n)| *n);
    match known {
        Some((p, _)) if largest < 10 * p.partitions() || default <= p.partitions() => p.clone(),
        _ => Partitioning::hash(default),
    }
}

/// The partitioner that has placed an RDD's pairs; see [`Rdd::partitioner`]. It may be given to any
/// operator that takes a [`Partitioner`], on RDDs of the same context.
pub struct PartitionerOf<K> {
    partitioning: Partitioning<K>,
    seed: HashSeed,
}

impl<K> Clone for PartitionerOf<K> {
    fn clone(&self) -> Self {
        PartitionerOf { partitioning: self.partitioning.clone(), seed: self.seed }
    }
}

impl<K: Key> Partitioner<K> for PartitionerOf<K> {
    fn partitions(&self) -> usize {
        self.partitioning.partitions()
    }
    fn partition(&self, key: &K) -> usize {
        self.partitioning.of(key, carried_hash(self.seed, key))
    }
    fn name(&self) -> String {
        self.partitioning.id().0
    }
    fn parameters(&self) -> String {
        self.partitioning.id().1
    }
}

impl<K: Key> PartialEq for PartitionerOf<K> {
    fn eq(&self, other: &Self) -> bool {
        self.partitioning.same(&other.partitioning) && self.seed == other.seed
    }
}

impl<K: Key> fmt::Debug for PartitionerOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionerOf({} in {} partitions)", self.name(), self.partitions())
    }
}

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The partitioning that the pairs have.
    pub(crate) fn placed(&self) -> Option<Partitioning<K>>
    where
        K: Key,
    {
        self.pipe.about().partitioner?.downcast_ref::<Partitioning<K>>().cloned()
    }

    /// Whether the pairs lie where `partitioning` would put them, so that no shuffle is needed.
    pub(crate) fn lies_in(&self, partitioning: &Partitioning<K>) -> bool
    where
        K: Key,
    {
        self.placed().is_some_and(|p| p.same(partitioning))
    }

    pub(crate) fn side(&self) -> Side<K>
    where
        K: Key,
    {
        Side { partitions: self.num_partitions(), partitioner: self.placed() }
    }

    /// The partitions of a shuffle of this RDD that isn't told.
    pub(crate) fn by_default(&self) -> Partitioning<K>
    where
        K: Key,
    {
        default_partitioning(&self.ctx, &[self.side()])
    }

    /// The partitions of a shuffle of this RDD and another one that isn't told.
    pub(crate) fn by_default_with<W: Data, Q: Pipe<Out = (K, W)>>(
        &self,
        other: &Rdd<(K, W), Q>,
    ) -> Partitioning<K>
    where
        K: Key,
    {
        default_partitioning(&self.ctx, &[self.side(), other.side()])
    }

    /// The partitioner that has placed the pairs, if one has: the result of a shuffle by key has one, and
    /// `filter`, `map_values`, `flat_map_values`, `persist` and joins keep it. Operators that may change
    /// keys, such as `map`, lose it. A shuffle by a partitioner that the RDD has already moves nothing.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// use brooklet::Partitioner;
    /// let pairs = ctx.parallelize([(1, 2), (3, 4)], 3);
    /// assert!(pairs.partitioner().is_none());
    /// let sums = pairs.reduce_by_key_into(|a, b| a + b, 5);
    /// assert_eq!(sums.partitioner().map(|p| p.partitions()), Some(5));
    /// let kept = sums.filter(|(_, v)| *v > 2).map_values(|v| v + 1);
    /// assert_eq!(kept.partitioner(), sums.partitioner());
    /// assert!(sums.map(|(k, v)| (v, k)).partitioner().is_none());
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn partitioner(&self) -> Option<PartitionerOf<K>>
    where
        K: Key,
    {
        let seed = self.ctx.0.env.seed;
        self.placed().map(|partitioning| PartitionerOf { partitioning, seed })
    }
}
