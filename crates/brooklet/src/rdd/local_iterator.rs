//! `to_local_iterator`: the records on the driver, one partition at a time.

use std::fmt;

use super::pipe::{Pipe, pushed};
use super::{PartitionIter, Rdd, detach};
use crate::Result;
use crate::data::{Data, Wire};
use crate::engine::Site;

/// The records of an RDD; see [`Rdd::to_local_iterator`].
pub struct LocalIterator<T, P> {
    rdd: Rdd<T, P>,
    site: Site,
    next: u32,
    here: PartitionIter<T>,
}

impl<T: Wire, P: Pipe<Out = T>> Iterator for LocalIterator<T, P> {
    type Item = Result<T>;
    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(x) = self.here.next() {
                return Some(Ok(x));
            }
            let (part, all) = (self.next, self.rdd.num_partitions() as u32);
            if part >= all {
                return None;
            }
            self.next += 1;
            let got = self.rdd.run_action(
                self.site,
                |_| part..part + 1,
                |p, cx| p.fold(cx, cx.partition(), Vec::new(), pushed).map(detach::all),
            );
            match got {
                Ok(parts) => {
                    self.here = parts.into_iter().flatten().collect::<Vec<T>>().into_iter()
                }
                Err(e) => {
                    self.next = all;
                    return Some(Err(e));
                }
            }
        }
    }
}

impl<T, P> fmt::Debug for LocalIterator<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalIterator(before partition {})", self.next)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// All records in partition order, fetched partition by partition when they are asked for: the driver
    /// holds one partition. Each partition is a job of its own, so persist what is dear to compute. After
    /// an error the iterator ends.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let mut sum = 0;
    /// for x in ctx.parallelize(1..=10, 3).to_local_iterator() {
    ///     sum += x?;
    /// }
    /// assert_eq!(sum, 55);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn to_local_iterator(&self) -> LocalIterator<T, P>
    where
        T: Wire,
    {
        let site = Site::here("to_local_iterator");
        LocalIterator { rdd: self.clone(), site, next: 0, here: Vec::new().into_iter() }
    }
}
