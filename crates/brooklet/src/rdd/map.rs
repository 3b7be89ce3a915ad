//! `map`: one record out for each record in.

use super::Rdd;
use super::pipe::{Flow, Pipe, forward, narrow_pipe};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};

narrow_pipe! {
    /// The lineage of `map`.
    MapPipe
}

impl<P: Pipe, U: 'static, F: Fn(P::Out) -> U + Send + Sync + 'static> Pipe for MapPipe<P, F> {
    type Out = U;
    forward!();
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, U) -> A,
    ) -> Result<A, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.fold(cx, part, init, move |a, x| g(a, site.guard(|| f(x))))
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(U) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.try_each(cx, part, move |x| g(site.guard(|| f(x))))
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// `f` of each record. Partitions are kept.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([1, 2, 3], 2).map(|x| x * 10);
    /// assert_eq!(r.collect()?, [10, 20, 30]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn map<U: Data, F: Fn(T) -> U + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> Rdd<U, MapPipe<P, F>> {
        let site = Site::here("map");
        self.narrow(|parent| MapPipe { parent, f: f.into(), site })
    }
}
