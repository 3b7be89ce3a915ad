//! One batch's partitions.
//!
//! A chain of narrow operators is ONE concrete type, so the compiler fuses it into one loop;
//! [`Erased`](super::Erased) cuts the type at stage and handle boundaries. Iteration is internal, with the
//! accumulator by value: the optimizer then turns filters into selects instead of branches.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{About, Erased, Lineage};
use crate::conf::defaults;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};

/// Whether to go on with the next record.
pub type Flow = ControlFlow<()>;

/// A lazily computed, partitioned collection: the typed form of an RDD's lineage.
///
/// Users meet it only as the `P` of [`Rdd<T, P>`](crate::Rdd) and when they write an
/// [`Input`](crate::Input); [`Partitions`](crate::Partitions) makes one from a function.
pub trait Pipe: Send + Sync + 'static {
    /// The records.
    type Out: 'static;

    /// How many partitions there are.
    fn partitions(&self) -> usize;

    /// The stages that this pipe reads from: where the driver cuts. Adds nothing for stages that aren't
    /// needed any more.
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>);

    /// Feeds every record of partition `part` to `f`. Sources look at `cx` once per chunk; operators in
    /// between never do.
    ///
    /// # Errors
    /// Whatever a source or the check of a chunk says.
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        f: impl FnMut(A, Self::Out) -> A,
    ) -> Result<A, TaskError>;

    /// Like `fold`, with early exit, for `take` and the like.
    ///
    /// # Errors
    /// As `fold`.
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(Self::Out) -> Flow,
    ) -> Result<Flow, TaskError>;

    /// How many records the partition has, when that is known without computing it.
    ///
    /// # Errors
    /// As `fold`.
    fn known_len(&self, _: &TaskCx<'_>, _: usize) -> Result<Option<u64>, TaskError> {
        Ok(None)
    }

    /// Records that will be read from inputs, if known: a small stage isn't worth a second thread.
    fn input_records(&self) -> usize {
        usize::MAX
    }

    /// Which partition of its input the records of partition `part` come from: the same number in every batch,
    /// as event times are followed for each. All blocks of a receiver are one.
    fn input_partition(&self, part: usize) -> u64 {
        part as u64
    }

    /// The common type. What is erased already stays as it is: another box would copy every chunk.
    fn erase(self: Arc<Self>) -> Erased<Self::Out>
    where
        Self: Sized,
    {
        Erased(self)
    }

    /// Removes what this pipe itself has persisted. Whether it persists anything.
    fn unpersist(&self) -> bool {
        false
    }

    /// What this pipe says of its records without computing them: partitioner, name, checkpoint.
    fn about(&self) -> About {
        About::default()
    }

    /// Adds this pipe and what it is made of to a lineage's text.
    fn lineage(&self, out: &mut Lineage) {
        out.step(&"input", self.partitions());
    }

    /// For chains built in `foreach_rdd`: which of their closures carry data and so can't be sent to
    /// another process.
    fn captures(&self, _: &mut Vec<Captured>) {}

    /// The same chain again on its base, closures from their types. Only for chains without captures.
    fn rebuild(_: &dyn Any) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// A closure (or stage) that can't be sent to another process.
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    /// The operator.
    pub site: Site,
    /// Why it can't.
    pub why: Unshippable,
}

/// Why a piece of run-time lineage can't be sent to another process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unshippable {
    /// Its closure captures this many bytes (or owns something that has to be dropped).
    Captures(usize),
    /// It makes a stage, which other processes don't know.
    Stage,
    /// It was boxed, so its type no longer tells what it does.
    Boxed,
}

/// A capture-free closure is its type. Values with a destructor are refused: they might be tokens.
pub(crate) fn shippable<F>() -> bool {
    size_of::<F>() == 0 && !std::mem::needs_drop::<F>()
}

/// Makes a capture-free closure from its type.
#[allow(unsafe_code)]
pub(crate) fn conjure<F>() -> Option<F> {
    // SAFETY: F has no bytes to initialise and no destructor; it is the type of a closure that exists in
    // the driver, which runs the same binary.
    shippable::<F>().then(|| unsafe { std::mem::transmute_copy::<(), F>(&()) })
}

/// Records in a chunk: about 16 kB, at most [`defaults::CHUNK_RECORDS`].
pub(crate) fn chunk_len<T>() -> usize {
    (16 * 1024 / size_of::<T>().max(1)).clamp(16, defaults::CHUNK_RECORDS)
}

/// `fold` step that collects.
pub(crate) fn pushed<T>(mut v: Vec<T>, x: T) -> Vec<T> {
    v.push(x);
    v
}

/// Chunked walk over a slice: the check stands between chunks.
pub(crate) fn fold_slice<T, U, A>(
    cx: &TaskCx<'_>,
    v: &[T],
    init: A,
    get: impl Fn(&T) -> U,
    mut f: impl FnMut(A, U) -> A,
) -> Result<A, TaskError> {
    let mut acc = init;
    for c in v.chunks(defaults::CHUNK_RECORDS) {
        acc = c.iter().map(&get).fold(acc, &mut f);
        cx.check()?;
    }
    Ok(acc)
}

/// As [`fold_slice`], with early exit.
pub(crate) fn try_slice<T, U>(
    cx: &TaskCx<'_>,
    v: &[T],
    get: impl Fn(&T) -> U,
    mut f: impl FnMut(U) -> Flow,
) -> Result<Flow, TaskError> {
    for c in v.chunks(defaults::CHUNK_RECORDS) {
        let r = c.iter().map(&get).try_for_each(&mut f);
        cx.check()?;
        if r.is_break() {
            return Ok(r);
        }
    }
    Ok(Flow::Continue(()))
}

/// `fold` and `try_each` of a source that has partition `part` as a slice.
macro_rules! slice_source {
    ($out:ty, |$s:ident, $cx:ident, $part:ident| $slice:expr, $get:expr) => {
        #[inline]
        fn fold<A>(
            &$s,
            $cx: &$crate::engine::TaskCx<'_>,
            $part: usize,
            init: A,
            f: impl FnMut(A, $out) -> A,
        ) -> Result<A, $crate::engine::TaskError> {
            $crate::rdd::pipe::fold_slice($cx, $slice, init, $get, f)
        }
        #[inline]
        fn try_each(
            &$s,
            $cx: &$crate::engine::TaskCx<'_>,
            $part: usize,
            f: impl FnMut($out) -> $crate::rdd::pipe::Flow,
        ) -> Result<$crate::rdd::pipe::Flow, $crate::engine::TaskError> {
            $crate::rdd::pipe::try_slice($cx, $slice, $get, f)
        }
    };
}
pub(crate) use slice_source;

/// `fold` by `try_each`, for a source whose records come out of one loop that may end early.
macro_rules! fold_by_each {
    ($out:ty) => {
        fn fold<A>(
            &self,
            cx: &$crate::engine::TaskCx<'_>,
            part: usize,
            init: A,
            mut f: impl FnMut(A, $out) -> A,
        ) -> Result<A, $crate::engine::TaskError> {
            let mut acc = Some(init);
            let _ = self.try_each(cx, part, |x| {
                acc = acc.take().map(|a| f(a, x));
                std::ops::ControlFlow::Continue(())
            })?;
            acc.ok_or_else(|| $crate::engine::TaskError::Bug("the accumulator is gone".into()))
        }
    };
}
pub(crate) use fold_by_each;

/// What a narrow pipe passes on to its parent `$p` unchanged.
macro_rules! forward {
    () => {
        fn partitions(&self) -> usize {
            self.parent.partitions()
        }
        fn wide(&self, out: &mut Vec<std::sync::Arc<dyn $crate::engine::TaskBody>>) {
            self.parent.wide(out)
        }
        fn input_records(&self) -> usize {
            self.parent.input_records()
        }
        fn input_partition(&self, part: usize) -> u64 {
            self.parent.input_partition(part)
        }
        fn lineage(&self, out: &mut $crate::rdd::Lineage) {
            out.step(&self.site, self.parent.partitions());
            self.parent.lineage(out);
        }
        fn captures(&self, out: &mut Vec<$crate::rdd::pipe::Captured>) {
            self.parent.captures(out);
            if !$crate::rdd::pipe::shippable::<F>() {
                let why = $crate::rdd::pipe::Unshippable::Captures(size_of::<F>());
                out.push($crate::rdd::pipe::Captured { site: self.site, why });
            }
        }
        fn rebuild(base: &dyn std::any::Any) -> Option<Self> {
            Some(Self {
                parent: std::sync::Arc::new(P::rebuild(base)?),
                f: std::sync::Arc::new($crate::rdd::pipe::conjure()?),
                site: $crate::engine::Site::here("foreach_rdd"),
            })
        }
    };
}
pub(crate) use forward;

/// The methods that make a narrow operator: the pipe's type with parent, closure and site.
macro_rules! narrow_pipe {
    ($(#[$doc:meta])* $pipe:ident) => {
        $(#[$doc])*
        pub struct $pipe<P, F> {
            pub(crate) parent: std::sync::Arc<P>,
            pub(crate) f: std::sync::Arc<F>,
            pub(crate) site: $crate::engine::Site,
        }
        impl<P, F> std::fmt::Debug for $pipe<P, F> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.site.fmt(f)
            }
        }
    };
}
pub(crate) use narrow_pipe;
