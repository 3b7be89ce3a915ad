//! `save_as_text_file` and `save_as_object_file`: an RDD as a folder of files, which appears when it is
//! whole.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use super::Rdd;
use super::folder::{Folder, advised, not_written, write_part};
use super::pipe::{Pipe, pushed};
use crate::block::write_file;
use crate::data::{Data, Wire};
use crate::engine::{Site, TaskCx, TaskError};
use crate::{Error, Result};

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Saves the RDD as a folder with a text file `part-NNNNN` for each partition, one line for each record,
    /// and a file `_SUCCESS`. The folder appears under its name when it is whole. A folder that is there
    /// already is an error; but an RDD of a batch (in `transform` and `foreach_rdd`) replaces it, for a batch
    /// may be run again.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-text-{}", std::process::id()));
    /// ctx.parallelize(1..=3, 2).save_as_text_file(&dir)?;
    /// assert_eq!(std::fs::read_to_string(dir.join("part-00001"))?, "2\n3\n");
    /// assert_eq!(ctx.text_file(&dir)?.collect()?, ["1", "2", "3"]);
    /// let again = ctx.parallelize(1..=3, 2).save_as_text_file(&dir).unwrap_err();
    /// assert!(again.to_string().contains("it is there already"));
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] naming the folder, also when it is there already; else as [`Rdd::collect`]. Then
    /// nothing is left of it.
    #[track_caller]
    pub fn save_as_text_file(&self, dir: impl AsRef<Path>) -> Result<()>
    where
        T: Display,
    {
        let site = Site::here("save_as_text_file");
        self.save(dir.as_ref(), site, move |p, cx, file| {
            let mut out = BufWriter::new(File::create(file).map_err(|e| not_written(file, e))?);
            let mut written = Ok(());
            let _ = p.try_each(cx, cx.partition(), |x| {
                written = site.guard(|| writeln!(out, "{x}"));
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            written.and_then(|()| out.flush()).map_err(|e| not_written(file, e))
        })
    }

    /// [`Rdd::save_as_text_file`] with the records in binary form (postcard, checksummed), for
    /// [`Context::object_file`](crate::Context::object_file) of programs with the same types. A partition is
    /// held in memory.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-object-{}", std::process::id()));
    /// ctx.parallelize([(1, 'a'), (2, 'b')], 2).save_as_object_file(&dir)?;
    /// assert_eq!(ctx.object_file::<(i32, char)>(&dir)?.collect()?, [(1, 'a'), (2, 'b')]);
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::save_as_text_file`].
    #[track_caller]
    pub fn save_as_object_file(&self, dir: impl AsRef<Path>) -> Result<()>
    where
        T: Wire,
    {
        let site = Site::here("save_as_object_file");
        self.save(dir.as_ref(), site, |p, cx, file| {
            let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
            let bytes = postcard::to_stdvec(&records).map_err(TaskError::codec::<T>)?;
            write_file(file, &bytes, true).map(drop).map_err(|e| not_written(file, e))
        })
    }

    fn save(
        &self,
        dir: &Path,
        site: Site,
        write: impl Fn(&P, &TaskCx<'_>, &Path) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Result<()> {
        let failed = |e| Error::io(format!("{site}: saving to {}", dir.display()), e);
        // Where a `transform` is replayed for its tasks, the folder is the driver's business.
        let driver = !self.ctx.0.executor;
        if driver && self.origin.is_plain() && dir.exists() {
            let help = "it is there already: give another folder, or remove it first";
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, help)));
        }
        let folder = driver.then(|| Folder::begin(dir));
        let folder = folder.transpose().map_err(|e| failed(advised(e)))?;
        let to = dir.to_path_buf();
        self.run_action(
            site,
            |n| 0..n,
            move |p, cx| write_part(&to, "", cx, |file| write(p, cx, file)),
        )?;
        folder.map_or(Ok(()), Folder::finish).map_err(|e| failed(advised(e)))
    }
}
