//! `zip` and `zip_partitions`: partitions of two RDDs side by side.

use std::fmt;
use std::sync::Arc;

use super::action::user_failure;
use super::pipe::{Captured, Flow, Pipe, Unshippable, pushed};
use super::{Erased, Lineage, PartitionIter, Rdd};
use crate::data::Data;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};
use crate::{Error, Result};

/// Makes the records of a partition from the partitions of two parents.
struct ZipPipe<P, Q, F> {
    left: Arc<P>,
    right: Arc<Q>,
    f: F,
    site: Site,
}

impl<P, Q, F, R> Pipe for ZipPipe<P, Q, F>
where
    P: Pipe,
    Q: Pipe,
    F: Fn(&TaskCx<'_>, Vec<P::Out>, Vec<Q::Out>) -> Result<R, TaskError> + Send + Sync + 'static,
    R: IntoIterator + 'static,
    R::Item: 'static,
{
    type Out = R::Item;
    fn partitions(&self) -> usize {
        self.left.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.left.wide(out);
        self.right.wide(out);
    }
    fn input_records(&self) -> usize {
        self.left.input_records().saturating_add(self.right.input_records())
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.partitions());
        out.branch(|out| self.left.lineage(out));
        out.branch(|out| self.right.lineage(out));
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.left.captures(out);
        self.right.captures(out);
        let why = Unshippable::Captures(size_of::<F>());
        out.push(Captured { site: self.site, why });
    }
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        g: impl FnMut(A, R::Item) -> A,
    ) -> Result<A, TaskError> {
        let left = self.left.fold(cx, part, Vec::new(), pushed)?;
        let right = self.right.fold(cx, part, Vec::new(), pushed)?;
        let records = (self.f)(cx, left, right)?;
        let acc = self.site.guard(|| records.into_iter().fold(init, g));
        cx.check()?;
        Ok(acc)
    }
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        g: impl FnMut(R::Item) -> Flow,
    ) -> Result<Flow, TaskError> {
        let left = self.left.fold(cx, part, Vec::new(), pushed)?;
        let right = self.right.fold(cx, part, Vec::new(), pushed)?;
        let records = (self.f)(cx, left, right)?;
        let r = self.site.guard(|| records.into_iter().try_for_each(g));
        cx.check()?;
        Ok(r)
    }
}

impl<P, Q, F> fmt::Debug for ZipPipe<P, Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The first record of both, the second of both, and so on. Both must have the same number of
    /// partitions, and each partition the same number of records; a partition is held in memory.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let numbers = ctx.parallelize(1..=3, 2);
    /// assert_eq!(numbers.zip(&numbers.map(|x| x * x))?.collect()?, [(1, 1), (2, 4), (3, 9)]);
    /// let e = numbers.zip(&numbers.filter(|x| *x != 3))?.collect().unwrap_err();
    /// assert!(e.to_string().contains("2 records on the left and 1 on the right"));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for different numbers of partitions. Different numbers of records fail the task.
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn zip<U: Data, Q: Pipe<Out = U>>(&self, other: &Rdd<U, Q>) -> Result<Rdd<(T, U)>> {
        let site = Site::here("zip");
        let f = move |cx: &TaskCx<'_>, left: Vec<T>, right: Vec<U>| {
            let (l, r) = (left.len(), right.len());
            if l != r {
                let text = format!(
                    "partitions must have the same number of records, and this one has {l} records on \
                     the left and {r} on the right: use a join, or `zip_partitions`"
                );
                return Err(user_failure(&site, cx, text.into()));
            }
            Ok(left.into_iter().zip(right))
        };
        self.zipped(other, site, f)
    }

    /// What `f` makes of the records of a partition of this RDD and those of the same partition of `other`,
    /// whatever their numbers. Both must have the same number of partitions; a partition is held in memory.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let (a, b) = (ctx.parallelize(1..=4, 2), ctx.parallelize([10, 20, 30], 2));
    /// let sums = a.zip_partitions(&b, |xs, ys| [xs.sum::<i32>() + ys.sum::<i32>()])?;
    /// assert_eq!(sums.collect()?, [13, 57]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for different numbers of partitions.
    ///
    /// # Panics
    /// When the two belong to two contexts.
    #[track_caller]
    pub fn zip_partitions<U: Data, Q: Pipe<Out = U>, I, F>(
        &self,
        other: &Rdd<U, Q>,
        f: F,
    ) -> Result<Rdd<I::Item>>
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(PartitionIter<T>, PartitionIter<U>) -> I + Send + Sync + 'static,
    {
        let site = Site::here("zip_partitions");
        let f = move |_: &TaskCx<'_>, left: Vec<T>, right: Vec<U>| {
            Ok(site.guard(|| f(left.into_iter(), right.into_iter())))
        };
        self.zipped(other, site, f)
    }

    #[track_caller]
    fn zipped<U: Data, Q: Pipe<Out = U>, R, F>(
        &self,
        other: &Rdd<U, Q>,
        site: Site,
        f: F,
    ) -> Result<Rdd<R::Item>>
    where
        R: IntoIterator + 'static,
        R::Item: Data,
        F: Fn(&TaskCx<'_>, Vec<T>, Vec<U>) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        let (l, r) = (self.num_partitions(), other.num_partitions());
        if l != r {
            return Err(Error::usage(format!(
                "{site}: both sides must have the same number of partitions, and they have {l} and {r}: \
                 use `repartition`, or a join"
            )));
        }
        let pipe = ZipPipe { left: self.pipe.clone(), right: other.pipe.clone(), f, site };
        Ok(self.with_other(other, Erased::new(Arc::new(pipe))))
    }
}
