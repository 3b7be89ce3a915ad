//! `top` and `take_ordered`: the first records of an order, without sorting the rest.

use std::cmp::Ordering;
use std::sync::Arc;

use super::pipe::Pipe;
use super::{Rdd, detach};
use crate::Result;
use crate::data::{Data, Wire};
use crate::engine::Site;

/// The first `n` of what is pushed, in order; equal ones as they came. Holds at most twice as many.
struct First<X, C> {
    n: usize,
    compare: C,
    kept: Vec<X>,
    /// `kept` is sorted and has `n`: what isn't before its last one is out.
    full: bool,
}

impl<X, C: Fn(&X, &X) -> Ordering> First<X, C> {
    fn new(n: usize, compare: C) -> Self {
        First { n, compare, kept: Vec::new(), full: false }
    }

    fn push(&mut self, x: X) {
        if self.full
            && let Some(last) = self.kept.get(self.n - 1)
            && (self.compare)(&x, last).is_ge()
        {
            return;
        }
        self.kept.push(x);
        if self.kept.len() >= self.n.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.kept.sort_by(&self.compare);
        self.full = self.kept.len() >= self.n;
        self.kept.truncate(self.n);
    }

    fn finish(mut self) -> Vec<X> {
        self.cut();
        self.kept
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The `n` greatest records, greatest first. Each task gives its own `n`, the driver chooses among them:
    /// it gets at most `n` records of each partition.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.parallelize([3, 9, 4, 9, 1], 2).top(3)?, [9, 9, 4]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn top(&self, n: usize) -> Result<Vec<T>>
    where
        T: Wire + Ord,
    {
        self.first_of(Site::here("top"), n, |a: &T, b: &T| b.cmp(a))
    }

    /// [`Rdd::top`] by a key of each record; of records with equal keys those that come first in the RDD.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let counts = ctx.parallelize([("a", 3), ("b", 9), ("c", 4)].map(|(k, n)| (k.to_string(), n)), 2);
    /// let most = counts.top_by_key(2, |(_, n)| *n)?;
    /// assert_eq!(most, [("b".to_string(), 9), ("c".to_string(), 4)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn top_by_key<K: Ord + 'static, F>(&self, n: usize, key: F) -> Result<Vec<T>>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        self.first_by_key(Site::here("top_by_key"), n, key, |a, b| b.cmp(a))
    }

    /// [`Rdd::top`] in the order of `compare`: those that it calls greatest, greatest first.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([0.5f64, 2.5, -7.0], 2);
    /// assert_eq!(r.top_by(2, |a, b| a.total_cmp(b))?, [2.5, 0.5]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn top_by<C>(&self, n: usize, compare: C) -> Result<Vec<T>>
    where
        T: Wire,
        C: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
    {
        self.first_of(Site::here("top_by"), n, move |a: &T, b: &T| compare(b, a))
    }

    /// The `n` least records, least first; otherwise as [`Rdd::top`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.parallelize([3, 9, 4, 9, 1], 2).take_ordered(2)?, [1, 3]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn take_ordered(&self, n: usize) -> Result<Vec<T>>
    where
        T: Wire + Ord,
    {
        self.first_of(Site::here("take_ordered"), n, T::cmp)
    }

    /// [`Rdd::take_ordered`] by a key of each record; of records with equal keys those that come first in the
    /// RDD.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let words = ctx.parallelize(["three", "a", "to"].map(String::from), 2);
    /// assert_eq!(words.take_ordered_by_key(2, |w| w.len())?, ["a", "to"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn take_ordered_by_key<K: Ord + 'static, F>(&self, n: usize, key: F) -> Result<Vec<T>>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        self.first_by_key(Site::here("take_ordered_by_key"), n, key, K::cmp)
    }

    /// [`Rdd::take_ordered`] in the order of `compare`: those that it calls least, least first.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([0.5f64, 2.5, -7.0], 2);
    /// assert_eq!(r.take_ordered_by(2, |a, b| a.total_cmp(b))?, [-7.0, 0.5]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn take_ordered_by<C>(&self, n: usize, compare: C) -> Result<Vec<T>>
    where
        T: Wire,
        C: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
    {
        self.first_of(Site::here("take_ordered_by"), n, compare)
    }

    /// The first `n` in the order of `compare`.
    fn first_of<C>(&self, site: Site, n: usize, compare: C) -> Result<Vec<T>>
    where
        T: Wire,
        C: Fn(&T, &T) -> Ordering + Send + Sync + 'static,
    {
        if n == 0 {
            return Ok(Vec::new());
        }
        let compare = Arc::new(compare);
        let c = compare.clone();
        let parts = self.run_action(
            site,
            |all| 0..all,
            move |p, cx| {
                let mut first = First::new(n, |a: &T, b: &T| c(a, b));
                p.fold(cx, cx.partition(), (), |(), x| site.guard(|| first.push(x)))?;
                Ok(detach::all(site.guard(|| first.finish())))
            },
        )?;
        let mut first = First::new(n, |a: &T, b: &T| compare(a, b));
        parts.into_iter().flatten().for_each(|x| first.push(x));
        Ok(first.finish())
    }

    /// The first `n` in the order of their keys; a key is computed once in the task and once on the driver.
    fn first_by_key<K: Ord + 'static, F>(
        &self,
        site: Site,
        n: usize,
        key: F,
        compare: fn(&K, &K) -> Ordering,
    ) -> Result<Vec<T>>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        if n == 0 {
            return Ok(Vec::new());
        }
        let key = Arc::new(key);
        let k = key.clone();
        let by_key = move |a: &(K, T), b: &(K, T)| compare(&a.0, &b.0);
        let parts = self.run_action(
            site,
            |all| 0..all,
            move |p, cx| {
                let mut first = First::new(n, by_key);
                p.fold(cx, cx.partition(), (), |(), x| site.guard(|| first.push((k(&x), x))))?;
                let first = site.guard(|| first.finish());
                Ok(detach::all(first.into_iter().map(|(_, x)| x).collect()))
            },
        )?;
        let mut first = First::new(n, by_key);
        parts.into_iter().flatten().for_each(|x| first.push((key(&x), x)));
        Ok(first.finish().into_iter().map(|(_, x)| x).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_twice_as_many_are_held() {
        for n in [1, 2, 10, 100] {
            let mut first = First::new(n, u32::cmp);
            for i in 0..10_000u32 {
                first.push(i.wrapping_mul(2_654_435_761) >> 8);
                assert!(first.kept.len() < 2 * n);
            }
            let mut want: Vec<u32> =
                (0..10_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 8).collect();
            want.sort();
            assert_eq!(first.finish(), want[..n]);
        }
        let mut few = First::new(usize::MAX, u32::cmp);
        [3, 1, 2].into_iter().for_each(|x| few.push(x));
        assert_eq!(few.finish(), [1, 2, 3]);
    }
}
