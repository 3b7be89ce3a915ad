//! `filter`: the records that a predicate holds for.

use super::Rdd;
use super::pipe::{Flow, Pipe, forward, narrow_pipe};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};

narrow_pipe! {
    /// The lineage of `filter`.
    FilterPipe
}

impl<P: Pipe, F: Fn(&P::Out) -> bool + Send + Sync + 'static> Pipe for FilterPipe<P, F> {
    type Out = P::Out;
    forward!();
    fn about(&self) -> super::About {
        self.parent.about().of_the_same_keys()
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut g: impl FnMut(A, P::Out) -> A,
    ) -> Result<A, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.fold(cx, part, init, move |a, x| if site.guard(|| f(&x)) { g(a, x) } else { a })
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut g: impl FnMut(P::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        let (f, site) = (&*self.f, &self.site);
        self.parent.try_each(
            cx,
            part,
            move |x| {
                if site.guard(|| f(&x)) { g(x) } else { Flow::Continue(()) }
            },
        )
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The records for which `f` holds. Partitions are kept.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// assert_eq!(ctx.parallelize(0..10, 3).filter(|x| x % 4 == 0).collect()?, [0, 4, 8]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn filter<F: Fn(&T) -> bool + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> Rdd<T, FilterPipe<P, F>> {
        let site = Site::here("filter");
        self.narrow(|parent| FilterPipe { parent, f: f.into(), site })
    }
}
