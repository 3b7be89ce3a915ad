//! `RangePartitioner`: keys in ranges of about equal weight, chosen by a sample.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::pipe::Pipe;
use super::random::Random;
use super::{Partitioner, Rdd, detach};
use crate::Result;
use crate::conf::defaults;
use crate::data::{Data, Wire};
use crate::engine::Site;

/// Puts keys into partitions by ranges, so that partition i has only keys that come before those of
/// partition i + 1. The bounds are chosen by a sample of an RDD, such that the partitions have about as many
/// records each; where there are fewer different keys than partitions, there are fewer partitions.
///
/// ```
/// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
/// use brooklet::{Partitioner, RangePartitioner};
/// let pairs = ctx.parallelize((0..1_000).map(|i| (i, ())), 4);
/// let ranges = RangePartitioner::new(&pairs, 3)?;
/// assert_eq!(ranges.partitions(), 3);
/// assert_eq!((ranges.partition(&0), ranges.partition(&999)), (0, 2));
/// assert_eq!(ranges.clone().descending().partition(&999), 0);
/// # Ok::<(), brooklet::Error>(())
/// ```
pub struct RangePartitioner<K> {
    bounds: Arc<Vec<K>>,
    ascending: bool,
}

impl<K> Clone for RangePartitioner<K> {
    fn clone(&self) -> Self {
        RangePartitioner { bounds: self.bounds.clone(), ascending: self.ascending }
    }
}

impl<K: Wire + Ord> RangePartitioner<K> {
    /// Ranges for the keys of `rdd`, at most `partitions` (at least 1). Runs a job that computes `rdd` and
    /// brings a sample of its keys to the driver: about 20 for each of the new partitions, at most a million
    /// ([`defaults::RANGE_SAMPLES_PER_PARTITION`], [`defaults::RANGE_SAMPLES`]), at most three times that
    /// from partitions of unequal size; those with far more records than the others are sampled once more.
    /// The sample is the same at every call. One partition needs no job.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn new<V: Data, P: Pipe<Out = (K, V)>>(
        rdd: &Rdd<(K, V), P>,
        partitions: usize,
    ) -> Result<RangePartitioner<K>> {
        let site = Site::here("RangePartitioner::new");
        let bounds = sample_bounds(rdd, site, partitions, |(k, _): &(K, V)| k.clone(), K::cmp)?;
        Ok(RangePartitioner { bounds: Arc::new(bounds), ascending: true })
    }

    /// [`RangePartitioner::new`] for what `key` makes of the records of any RDD.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn by<T: Data, P: Pipe<Out = T>>(
        rdd: &Rdd<T, P>,
        partitions: usize,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Result<RangePartitioner<K>> {
        let site = Site::here("RangePartitioner::by");
        let bounds = sample_bounds(rdd, site, partitions, key, K::cmp)?;
        Ok(RangePartitioner { bounds: Arc::new(bounds), ascending: true })
    }

    /// Ranges of one's own: partition i has the keys up to the i-th bound and including it, the last one
    /// those above all bounds. Order and repetitions of `bounds` don't matter.
    pub fn from_bounds(bounds: impl IntoIterator<Item = K>) -> RangePartitioner<K> {
        let mut bounds: Vec<K> = bounds.into_iter().collect();
        bounds.sort();
        bounds.dedup();
        RangePartitioner { bounds: Arc::new(bounds), ascending: true }
    }

    /// The same ranges, the greatest keys first.
    #[must_use]
    pub fn descending(mut self) -> RangePartitioner<K> {
        self.ascending = false;
        self
    }

    /// The bounds, least first: each is the greatest key of its range.
    pub fn bounds(&self) -> &[K] {
        &self.bounds
    }
}

impl<K: Wire + Ord> Partitioner<K> for RangePartitioner<K> {
    fn partitions(&self) -> usize {
        self.bounds.len() + 1
    }
    fn partition(&self, key: &K) -> usize {
        range_of(&self.bounds, self.ascending, |b| b.cmp(key))
    }
    fn name(&self) -> String {
        "range".into()
    }
    /// Order, number and checksum of the bounds.
    fn parameters(&self) -> String {
        let bytes = postcard::to_stdvec(&*self.bounds).unwrap_or_default();
        let order = if self.ascending { "ascending" } else { "descending" };
        format!("{order} {} {:08x}", self.bounds.len(), crc32c::crc32c(&bytes))
    }
}

impl<K: fmt::Debug> fmt::Debug for RangePartitioner<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangePartitioner")
            .field("bounds", &self.bounds)
            .field("ascending", &self.ascending)
            .finish()
    }
}

/// The range that a key is in; `compare` compares a bound with it.
#[inline]
pub(crate) fn range_of<K>(
    bounds: &[K],
    ascending: bool,
    compare: impl Fn(&K) -> Ordering,
) -> usize {
    let i = bounds.partition_point(|b| compare(b).is_lt());
    if ascending { i } else { bounds.len() - i }
}

/// Samples are the same at every attempt.
const SEED: u64 = 0;

/// Bounds for at most `partitions` ranges of what `key` makes of the records, in the order of `compare`.
pub(crate) fn sample_bounds<T: Data, P: Pipe<Out = T>, K: Wire>(
    rdd: &Rdd<T, P>,
    site: Site,
    partitions: usize,
    key: impl Fn(&T) -> K + Send + Sync + 'static,
    compare: impl Fn(&K, &K) -> Ordering,
) -> Result<Vec<K>> {
    let from = rdd.num_partitions();
    if partitions <= 1 || from == 0 {
        return Ok(Vec::new());
    }
    let wanted = partitions
        .saturating_mul(defaults::RANGE_SAMPLES_PER_PARTITION)
        .min(defaults::RANGE_SAMPLES);
    // Three times as many, since the partitions may be of unequal size.
    let of_each = (wanted * 3).div_ceil(from);
    let key = Arc::new(key);
    let k = key.clone();
    let sketches: Vec<(u64, Vec<K>)> = rdd.run_action(
        site,
        |n| 0..n,
        move |p, cx| {
            let mut random = Random::of(SEED, cx.partition());
            let (mut seen, mut keys) = (0u64, Vec::new());
            p.fold(cx, cx.partition(), (), |(), x| {
                seen += 1;
                if keys.len() < of_each {
                    keys.push(site.guard(|| k(&x)));
                } else {
                    let at = random.below(seen) as usize;
                    if at < of_each {
                        keys[at] = site.guard(|| k(&x));
                    }
                }
            })?;
            Ok((seen, detach::all(keys)))
        },
    )?;
    let total: u64 = sketches.iter().map(|(n, _)| n).sum();
    if total == 0 {
        return Ok(Vec::new());
    }
    let share = (wanted as f64 / total as f64).min(1.0);
    let mut candidates: Vec<(K, f64)> = Vec::new();
    let mut skewed = Vec::new();
    for (part, (n, keys)) in sketches.into_iter().enumerate() {
        if share * n as f64 > of_each as f64 {
            skewed.push(part);
        } else {
            let weight = n as f64 / keys.len().max(1) as f64;
            candidates.extend(keys.into_iter().map(|k| (k, weight)));
        }
    }
    if !skewed.is_empty() {
        // The sketch of a large partition is too coarse: sample it again, in proportion.
        let again = rdd.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                let mut keys = Vec::new();
                if skewed.contains(&cx.partition()) {
                    let mut random = Random::of(SEED, cx.partition() + from);
                    p.fold(cx, cx.partition(), (), |(), x| {
                        if random.unit() < share {
                            keys.push(site.guard(|| key(&x)));
                        }
                    })?;
                }
                Ok(detach::all(keys))
            },
        )?;
        candidates.extend(again.into_iter().flatten().map(|k| (k, 1.0 / share)));
    }
    Ok(choose_bounds(candidates, partitions, compare))
}

/// Bounds that cut weighted keys into ranges of about equal weight.
fn choose_bounds<K>(
    mut candidates: Vec<(K, f64)>,
    partitions: usize,
    compare: impl Fn(&K, &K) -> Ordering,
) -> Vec<K> {
    candidates.sort_by(|a, b| compare(&a.0, &b.0));
    let step = candidates.iter().map(|c| c.1).sum::<f64>() / partitions as f64;
    let mut bounds: Vec<K> = Vec::new();
    let (mut weight, mut target) = (0.0, step);
    for (key, w) in candidates {
        if bounds.len() + 1 == partitions {
            break;
        }
        weight += w;
        // All records of a key are in one range.
        let new = bounds.last().is_none_or(|b| compare(b, &key).is_lt());
        if weight >= target && new {
            bounds.push(key);
            target += step;
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_cut_weights_evenly_and_never_a_key_in_two() {
        let even: Vec<(u32, f64)> = (0..100).map(|k| (k, 1.0)).collect();
        assert_eq!(choose_bounds(even.clone(), 4, u32::cmp), [24, 49, 74]);
        assert!(choose_bounds(even, 1, u32::cmp).is_empty());
        let heavy = vec![(1, 1.0), (5, 97.0), (5, 1.0), (9, 1.0)];
        assert_eq!(choose_bounds(heavy, 4, u32::cmp), [5, 9]);
        assert_eq!(choose_bounds(vec![(7, 1.0); 50], 8, u32::cmp), [7]);
        assert!(choose_bounds(Vec::<(u32, f64)>::new(), 8, u32::cmp).is_empty());
    }

    #[test]
    fn keys_lie_between_their_bounds_in_both_directions() {
        let up = RangePartitioner::from_bounds([20, 10, 20]);
        assert_eq!((up.partitions(), up.bounds()), (3, &[10, 20][..]));
        let ranges = |p: &RangePartitioner<i32>| [5, 10, 11, 20, 21].map(|k| p.partition(&k));
        assert_eq!(ranges(&up), [0, 0, 1, 1, 2]);
        let parameters = up.parameters();
        let down = up.descending();
        assert_eq!(ranges(&down), [2, 2, 1, 1, 0]);
        assert_ne!(down.parameters(), parameters);
        assert_ne!(RangePartitioner::from_bounds([10, 21]).parameters(), parameters);
    }
}
