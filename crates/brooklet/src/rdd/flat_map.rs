//! `flat_map`: any number of records out for each record in.

use super::Rdd;
use super::pipe::{Flow, Pipe, forward, narrow_pipe};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};

narrow_pipe! {
    /// The lineage of `flat_map`.
    FlatMapPipe
}

impl<P: Pipe, I: IntoIterator + 'static, F: Fn(P::Out) -> I + Send + Sync + 'static> Pipe
    for FlatMapPipe<P, F>
where
    I::Item: 'static,
{
    type Out = I::Item;
    forward!();
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, I::Item) -> A,
    ) -> Result<A, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        // The guard spans the user's iterator; guards of later operators are inner ones and win.
        self.parent
            .fold(cx, part, init, move |a, x| site.guard(|| f(x).into_iter().fold(a, &mut g)))
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(I::Item) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent
            .try_each(cx, part, move |x| site.guard(|| f(x).into_iter().try_for_each(&mut g)))
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// All records of the iterators that `f` makes, in order. An `Option` is an iterator too.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([3, 0, 1], 2).flat_map(|n| 0..n);
    /// assert_eq!(r.collect()?, [0, 1, 2, 0]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn flat_map<I: IntoIterator + 'static, F: Fn(T) -> I + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> Rdd<I::Item, FlatMapPipe<P, F>>
    where
        I::Item: Data,
    {
        let site = Site::here("flat_map");
        self.narrow(|parent| FlatMapPipe { parent, f: f.into(), site })
    }
}
