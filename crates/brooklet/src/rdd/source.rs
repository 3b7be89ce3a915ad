//! Pipes that begin a lineage: values in memory, and functions that make partitions.

use std::fmt;
use std::sync::Arc;

use super::pipe::{Flow, Pipe, fold_by_each, slice_source};
use crate::conf::defaults;
use crate::data::Data;
use crate::engine::{TaskBody, TaskCx, TaskError};
use crate::error::BoxError;

/// Partitions that lie in memory.
pub(crate) struct Parts<T>(pub(crate) Vec<Arc<Vec<T>>>);

impl<T: Data> Pipe for Parts<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.0.len()
    }
    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fn known_len(&self, _: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.0[part].len() as u64))
    }
    fn input_records(&self) -> usize {
        self.0.iter().map(|p| p.len()).sum()
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&"records in memory", self.partitions());
    }
    slice_source!(T, |self, cx, part| &self.0[part], T::clone);
}

/// Splits `v` into `n` parts of consecutive elements: part i begins at i * len / n.
pub(crate) fn split_even<T>(v: Vec<T>, n: usize) -> Vec<Arc<Vec<T>>> {
    let (len, n) = (v.len(), n.max(1));
    let mut it = v.into_iter();
    (0..n).map(|i| Arc::new(it.by_ref().take((i + 1) * len / n - i * len / n).collect())).collect()
}

type MakeIter<T> =
    dyn Fn(usize) -> Result<Box<dyn Iterator<Item = Result<T, BoxError>>>, BoxError> + Send + Sync;

/// A pipe from a function that gives each partition as an iterator: the simplest way to write
/// [`Input::read`](crate::Input::read). The function must give the same records in the same order
/// whenever it is called.
///
/// ```
/// use brooklet::Partitions;
/// let p = Partitions::from_fn(3, |part| (0..4).map(move |i| part * 10 + i));
/// assert_eq!(p.count(), 3);
/// ```
pub struct Partitions<T> {
    n: usize,
    make: Arc<MakeIter<T>>,
}

impl<T: Data> Partitions<T> {
    /// `n` partitions; `make(i)` gives the i-th.
    pub fn from_fn<I>(n: usize, make: impl Fn(usize) -> I + Send + Sync + 'static) -> Partitions<T>
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: 'static,
    {
        Partitions::try_from_fn(n, move |i| Ok(make(i).into_iter().map(Ok)))
    }

    /// As [`Partitions::from_fn`], where opening a partition or reading a record can fail. A failure
    /// fails the task.
    pub fn try_from_fn<I>(
        n: usize,
        make: impl Fn(usize) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> Partitions<T>
    where
        I: Iterator<Item = Result<T, BoxError>> + 'static,
    {
        Partitions { n, make: Arc::new(move |i| Ok(Box::new(make(i)?))) }
    }

    /// How many partitions there are.
    pub fn count(&self) -> usize {
        self.n
    }
}

impl<T> fmt::Debug for Partitions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partitions({})", self.n)
    }
}

impl<T: Data> Pipe for Partitions<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.n
    }
    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fold_by_each!(T);
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(T) -> Flow,
    ) -> Result<Flow, TaskError> {
        let failed =
            |e: BoxError| TaskError::Input { message: format!("reading partition {part}: {e}") };
        let records = (self.make)(part).map_err(failed)?;
        for (i, x) in records.enumerate() {
            if f(x.map_err(failed)?).is_break() {
                return Ok(Flow::Break(()));
            }
            if i % defaults::CHUNK_RECORDS == 0 {
                cx.check()?;
            }
        }
        cx.check()?;
        Ok(Flow::Continue(()))
    }
}
