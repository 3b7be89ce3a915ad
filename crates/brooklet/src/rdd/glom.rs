//! `glom`: each partition as one record.

use std::sync::Arc;

use super::Rdd;
use super::each_partition::EachPartitionPipe;
use super::pipe::{Pipe, pushed};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Each partition as one `Vec` of its records, also the empty ones.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let parts = ctx.parallelize(1..=5, 3).glom().collect()?;
    /// assert_eq!(parts, [vec![1], vec![2, 3], vec![4, 5]]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn glom(
        &self,
    ) -> Rdd<
        Vec<T>,
        EachPartitionPipe<
            P,
            impl Fn(&P, &TaskCx<'_>, usize) -> Result<Vec<Vec<T>>, TaskError>
            + Send
            + Sync
            + 'static
            + use<T, P>,
        >,
    > {
        let f =
            |p: &P, cx: &TaskCx<'_>, part: usize| Ok(vec![p.fold(cx, part, Vec::new(), pushed)?]);
        let site = Site::here("glom");
        self.narrow(|parent| EachPartitionPipe { parent, f: Arc::new(f), site })
    }
}
