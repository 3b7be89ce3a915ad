//! `histogram`: how many numbers lie between bounds.

use std::sync::Arc;

use super::Rdd;
use super::pipe::Pipe;
use super::stats::Number;
use crate::data::Data;
use crate::engine::{Site, TaskCx};
use crate::{Error, Result};

/// The bucket of `x`: bounds belong to the bucket above them, the last one to the last bucket.
fn bucket(bounds: &[f64], x: f64) -> Option<usize> {
    let last = bounds.len() - 1;
    if x == bounds[last] {
        return Some(last - 1);
    }
    // NaN is below nothing, and so in no bucket.
    let inside = bounds[0] <= x && x < bounds[last];
    inside.then(|| bounds.partition_point(|b| *b <= x) - 1)
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// How many numbers lie in each bucket: the i-th from bound i to before bound i + 1, the last one with
    /// its upper bound. Numbers outside of all, and NaN, aren't counted.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([0, 1, 5, 10, 11], 2);
    /// assert_eq!(r.histogram(&[0.0, 5.0, 10.0])?, [2, 2]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for less than two bounds, and for bounds that don't grow; else as [`Rdd::collect`].
    #[track_caller]
    pub fn histogram(&self, bounds: &[f64]) -> Result<Vec<u64>>
    where
        T: Number,
    {
        let site = Site::here("histogram");
        if bounds.len() < 2 || !bounds.windows(2).all(|b| b[0] < b[1]) {
            return Err(Error::usage(format!(
                "{site}: bounds must be two or more, each above the one before; these are {bounds:?}"
            )));
        }
        self.counted_between(bounds, site)
    }

    fn counted_between(&self, bounds: &[f64], site: Site) -> Result<Vec<u64>>
    where
        T: Number,
    {
        let (n, bounds): (usize, Arc<[f64]>) = (bounds.len() - 1, bounds.into());
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx: &TaskCx<'_>| {
                p.fold(cx, cx.partition(), vec![0u64; n], |mut counts, x| {
                    if let Some(i) = bucket(&bounds, x.to_f64()) {
                        counts[i] += 1;
                    }
                    counts
                })
            },
        )?;
        Ok(parts.iter().fold(vec![0; n], |mut all, counts| {
            all.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
            all
        }))
    }

    /// [`Rdd::histogram`] with `buckets` buckets of equal width from the least to the greatest number, found
    /// by a job of its own. Gives bounds and counts; one bucket when all numbers are equal.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (bounds, counts) = ctx.parallelize([1, 2, 3, 9], 2).histogram_even(2)?;
    /// assert_eq!((bounds, counts), (vec![1.0, 5.0, 9.0], vec![3, 1]));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for no buckets, for an RDD without records, and for numbers that are infinite or
    /// NaN; else as [`Rdd::collect`].
    #[track_caller]
    pub fn histogram_even(&self, buckets: usize) -> Result<(Vec<f64>, Vec<u64>)>
    where
        T: Number,
    {
        let site = Site::here("histogram_even");
        if buckets == 0 {
            return Err(Error::usage(format!("{site}: a histogram needs at least one bucket")));
        }
        let s = self.counted(site)?;
        // The mean isn't finite as soon as one of the numbers isn't.
        if s.count() == 0 || !(s.min().is_finite() && s.max().is_finite() && !s.mean().is_nan()) {
            return Err(Error::usage(format!(
                "{site}: the RDD must have records, and none of them may be infinite or NaN: give bounds \
                 to `histogram`"
            )));
        }
        let (min, max) = (s.min(), s.max());
        if min == max {
            return Ok((vec![min, max], vec![s.count()]));
        }
        let at =
            |i: usize| min * (1.0 - i as f64 / buckets as f64) + max * (i as f64 / buckets as f64);
        let mut bounds: Vec<f64> = (0..buckets).map(at).collect();
        bounds.push(max);
        bounds[0] = min;
        let counts = self.counted_between(&bounds, site)?;
        Ok((bounds, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_bucket_above_and_the_last_to_the_last() {
        let b = [1.0, 2.0, 4.0];
        for (x, want) in [
            (0.9, None),
            (1.0, Some(0)),
            (1.9, Some(0)),
            (2.0, Some(1)),
            (4.0, Some(1)),
            (4.1, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(bucket(&b, x), want, "{x}");
        }
    }
}
