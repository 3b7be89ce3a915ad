//! What an RDD says of its records without computing them: `name`, `is_checkpointed`, and for pairs which
//! partitioner has placed them (`partitioner_of`).

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lineage::Lineage;
use super::pipe::{Captured, Flow, Pipe};
use super::{Erased, Rdd};
use crate::data::Data;
use crate::engine::{TaskBody, TaskCx, TaskError};

/// What a [`Pipe`] says of its records: nothing, by default.
#[derive(Clone, Default)]
pub struct About {
    pub(crate) name: Option<Arc<str>>,
    /// A `Partitioning<K>`, where the records are pairs with keys of type `K`.
    pub(crate) partitioner: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) checkpoint: Option<Arc<PathBuf>>,
}

impl About {
    /// What still holds where some records may be left out or have other values.
    pub(crate) fn of_the_same_keys(self) -> About {
        About { partitioner: self.partitioner, ..About::default() }
    }
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("About")
            .field("name", &self.name)
            .field("partitioned", &self.partitioner.is_some())
            .field("checkpoint", &self.checkpoint)
            .finish()
    }
}

/// The lineage of `set_name`, and of operators that know more of their records than their parts do.
pub struct AboutPipe<P> {
    parent: Arc<P>,
    about: About,
}

impl<P: Pipe> AboutPipe<P> {
    pub(crate) fn new(parent: Arc<P>, about: About) -> AboutPipe<P> {
        AboutPipe { parent, about }
    }
}

impl<P: Pipe> Pipe for AboutPipe<P> {
    type Out = P::Out;
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        self.parent.known_len(cx, part)
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn input_partition(&self, part: usize) -> u64 {
        self.parent.input_partition(part)
    }
    fn unpersist(&self) -> bool {
        self.parent.unpersist()
    }
    fn about(&self) -> About {
        self.about.clone()
    }
    fn lineage(&self, out: &mut Lineage) {
        if let Some(name) = &self.about.name {
            out.named(name);
        }
        self.parent.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
    }
    /// In another process the records are all that matters.
    fn rebuild(base: &dyn Any) -> Option<Self> {
        Some(AboutPipe::new(Arc::new(P::rebuild(base)?), About::default()))
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        f: impl FnMut(A, P::Out) -> A,
    ) -> Result<A, TaskError> {
        self.parent.fold(cx, part, init, f)
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(P::Out) -> Flow,
    ) -> Result<Flow, TaskError> {
        self.parent.try_each(cx, part, f)
    }
}

impl<P> fmt::Debug for AboutPipe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about.fmt(f)
    }
}

impl<T: Data> Rdd<T> {
    /// The same RDD, of which this is known.
    pub(crate) fn told(self, about: About) -> Rdd<T> {
        let pipe = AboutPipe::new(self.pipe, about);
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The same RDD with a name for people, shown by [`Rdd::to_debug_string`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let words = ctx.parallelize(["a", "b"].map(String::from), 2).set_name("words");
    /// assert_eq!(words.name().as_deref(), Some("words"));
    /// assert_eq!(words.map(|w| w.len()).name(), None);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[must_use = "the RDD itself stays without the name"]
    pub fn set_name(&self, name: impl Into<String>) -> Rdd<T, AboutPipe<P>> {
        let about = About { name: Some(Arc::from(name.into())), ..self.pipe.about() };
        self.narrow(|parent| AboutPipe::new(parent, about))
    }

    /// The name given by [`Rdd::set_name`].
    pub fn name(&self) -> Option<String> {
        self.pipe.about().name.map(|n| n.to_string())
    }

    /// Whether this RDD reads the files that [`Rdd::checkpoint`] wrote: it is the result of that call.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-about-{}", std::process::id()));
    /// let squares = ctx.parallelize(0..10, 3).map(|x| x * x);
    /// let kept = squares.checkpoint(&dir)?;
    /// assert!(kept.is_checkpointed() && !squares.is_checkpointed());
    /// assert_eq!(kept.get_checkpoint_file(), Some(dir.clone()));
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn is_checkpointed(&self) -> bool {
        self.pipe.about().checkpoint.is_some()
    }

    /// The folder that [`Rdd::checkpoint`] wrote, on the RDD that reads it.
    pub fn get_checkpoint_file(&self) -> Option<PathBuf> {
        self.pipe.about().checkpoint.map(|d| Path::to_path_buf(&d))
    }
}
