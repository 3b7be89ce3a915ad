//! `max` and `min`.

use std::cmp::Ordering;

use super::pipe::Pipe;
use super::{Rdd, detach};
use crate::Result;
use crate::data::{Data, Wire};
use crate::engine::Site;

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The greatest record (the last one of equals); nothing for an empty RDD. For floating point numbers
    /// see [`Rdd::stats`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([3, 8, 5], 2);
    /// assert_eq!((r.max()?, r.min()?), (Some(8), Some(3)));
    /// assert_eq!(ctx.empty_rdd::<i32>().max()?, None);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn max(&self) -> Result<Option<T>>
    where
        T: Wire + Ord,
    {
        self.extreme(Site::here("max"), |new, old| new.cmp(old) != Ordering::Less)
    }

    /// The least record (the first one of equals); nothing for an empty RDD.
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn min(&self) -> Result<Option<T>>
    where
        T: Wire + Ord,
    {
        self.extreme(Site::here("min"), |new, old| new.cmp(old) == Ordering::Less)
    }

    fn extreme<F>(&self, site: Site, better: F) -> Result<Option<T>>
    where
        T: Wire,
        F: Fn(&T, &T) -> bool + Copy + Send + Sync + 'static,
    {
        let pick = move |old: Option<T>, new: T| match old {
            Some(old) if !better(&new, &old) => Some(old),
            _ => Some(new),
        };
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                p.fold(cx, cx.partition(), None, |best, x| site.guard(|| pick(best, x)))
                    .map(detach::one)
            },
        )?;
        Ok(parts.into_iter().flatten().fold(None, pick))
    }
}
