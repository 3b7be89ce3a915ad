//! `tree_aggregate` and `tree_reduce`: sums that are merged in tasks, in several rounds, so that the driver
//! merges few of them.

use std::sync::Arc;

use super::each_partition::EachPartitionPipe;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use super::shuffle::ReduceSpec;
use super::{Partitioner, Rdd, combine::ByReduce, detach};
use crate::data::{Data, Wire};
use crate::engine::{Site, TaskCx};
use crate::{Error, Result};

/// Sends the i-th sum to partition i modulo n.
struct InTurn(usize);

impl Partitioner<u64> for InTurn {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &u64) -> usize {
        (key % self.0 as u64) as usize
    }
    fn name(&self) -> String {
        "brooklet.in-turn".into()
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// [`Rdd::aggregate`] whose sums of partitions are merged in tasks, in `depth` - 1 rounds (2 is usual)
    /// of about as many each, before the driver merges the rest: for many partitions with large sums.
    /// `zero` is used once for each partition and once more on the driver.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let n = ctx.parallelize(1..=1_000u64, 40).tree_aggregate(0, |a, x| a + x, |a, b| a + b, 3)?;
    /// assert_eq!(n, 500_500);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a depth of 0; else as [`Rdd::collect`].
    #[track_caller]
    pub fn tree_aggregate<A: Wire>(
        &self,
        zero: A,
        seq: impl Fn(A, T) -> A + Send + Sync + 'static,
        comb: impl Fn(A, A) -> A + Send + Sync + 'static,
        depth: usize,
    ) -> Result<A> {
        let (site, comb) = (Site::here("tree_aggregate"), Arc::new(comb));
        let z = zero.clone();
        let sum = move |p: &P, cx: &TaskCx<'_>, part: usize| {
            let sum = p.fold(cx, part, z.clone(), |a, x| site.guard(|| seq(a, x)))?;
            Ok(vec![(part as u64, sum)])
        };
        let sums = self.narrow(|parent| EachPartitionPipe { parent, f: sum.into(), site });
        let sums = merge_in_rounds(sums.boxed(), comb.clone(), depth, site)?;
        Ok(sums.into_iter().fold(zero, |a, b| comb(a, b)))
    }

    /// [`Rdd::reduce`] in rounds, as [`Rdd::tree_aggregate`]; nothing for an empty RDD.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.parallelize(1..=100, 20).tree_reduce(|a, b| a.max(b), 2)?, Some(100));
    /// assert_eq!(ctx.empty_rdd::<i32>().tree_reduce(|a, b| a.max(b), 2)?, None);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::tree_aggregate`].
    #[track_caller]
    pub fn tree_reduce<F>(&self, f: F, depth: usize) -> Result<Option<T>>
    where
        T: Wire,
        F: Fn(T, T) -> T + Send + Sync + 'static,
    {
        let (site, f) = (Site::here("tree_reduce"), Arc::new(f));
        let g = f.clone();
        let sum = move |p: &P, cx: &TaskCx<'_>, part: usize| {
            let sum = p.fold(cx, part, None, |a, x| {
                Some(match a {
                    None => x,
                    Some(a) => site.guard(|| g(a, x)),
                })
            })?;
            Ok(sum.map(|x| (part as u64, x)).into_iter().collect())
        };
        let sums = self.narrow(|parent| EachPartitionPipe { parent, f: sum.into(), site });
        let sums = merge_in_rounds(sums.boxed(), f.clone(), depth, site)?;
        Ok(sums.into_iter().reduce(|a, b| f(a, b)))
    }
}

/// Merges numbered sums until a round more wouldn't pay, and fetches what is left, in order.
fn merge_in_rounds<A: Wire, F: Fn(A, A) -> A + Send + Sync + 'static>(
    mut sums: Rdd<(u64, A)>,
    comb: Arc<F>,
    depth: usize,
    site: Site,
) -> Result<Vec<A>> {
    if depth == 0 {
        return Err(Error::usage(format!("{site}: a depth of 0 has no result: give 1 or more")));
    }
    let mut parts = sums.num_partitions();
    let scale = (parts as f64).powf(1.0 / depth as f64).ceil().max(2.0) as usize;
    // A round must leave fewer sums for the driver than it has tasks to wait for.
    while parts > scale + parts.div_ceil(scale) {
        parts /= scale;
        let n = parts as u64;
        let by_number = sums.map(move |(i, a)| (i % n, a));
        let f = comb.clone();
        let how = ByReduce(move |a, b| f(a, b));
        let to = Partitioning::User(Arc::new(InTurn(parts)));
        sums = by_number.combined(ReduceSpec::new(how, to, site));
    }
    let left = sums.run_action(
        site,
        |n| 0..n,
        |p, cx| {
            let mut sums = p.fold(cx, cx.partition(), Vec::new(), super::pipe::pushed)?;
            sums.sort_by_cached_key(|(i, _): &(u64, A)| *i);
            Ok(detach::all(sums))
        },
    )?;
    Ok(left.into_iter().flatten().map(|(_, a)| a).collect())
}
