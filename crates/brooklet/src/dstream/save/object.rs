//! `save_as_object_files`: records in binary form.

use crate::block::write_file;
use crate::data::Wire;
use crate::dstream::{DStream, Node, Output};
use crate::engine::{Site, TaskError};
use crate::rdd::folder::not_written;
use crate::rdd::pipe::{Pipe, pushed};

impl<T: Wire, N: Node<Out = T>> DStream<T, N> {
    /// [`DStream::save_as_text_files`] with the records in binary form (postcard, checksummed), for
    /// programs of the same types.
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files`].
    #[track_caller]
    pub fn save_as_object_files(&self, prefix: &str, suffix: &str) -> Output {
        let site = Site::here("save_as_object_files");
        self.save_at(site, prefix, suffix, String::new(), |p, cx, file| {
            let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
            let bytes = postcard::to_stdvec(&records).map_err(TaskError::codec::<T>)?;
            write_file(file, &bytes, true).map(drop).map_err(|e| not_written(file, e))
        })
    }
}
