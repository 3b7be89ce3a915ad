//! `checkpoint`: an RDD written to files, its lineage cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pipe::{Pipe, pushed};
use super::{About, Erased, Partitions, Rdd};
use crate::block::{read_file, write_file};
use crate::data::{Data, Wire};
use crate::engine::{Site, TaskError};
use crate::error::BoxError;
use crate::{Error, Result};

/// The file of one partition.
fn part_file(dir: &Path, part: usize) -> PathBuf {
    dir.join(format!("part-{part:05}"))
}

/// Writes one partition: to a temporary name, then renamed, so that a second attempt finds nothing half
/// done.
fn write_part<T: Wire>(dir: &Path, part: usize, attempt: u32, records: &Vec<T>) -> io::Result<()> {
    let bytes = postcard::to_stdvec(records).map_err(io::Error::other)?;
    let temp = dir.join(format!(".part-{part:05}-{attempt}"));
    let _ = fs::remove_file(&temp);
    write_file(&temp, &bytes, false)?;
    fs::File::open(&temp)?.sync_all()?;
    fs::rename(&temp, part_file(dir, part))
}

fn read_part<T: Wire>(file: &Path) -> Result<Vec<T>, BoxError> {
    let name = |e: &dyn std::fmt::Display| format!("checkpoint file {}: {e}", file.display());
    let bytes = read_file(file).map_err(|e| name(&e))?;
    postcard::from_bytes(&bytes).map_err(|e| name(&e).into())
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Computes the RDD now, writes it to files in `dir` (made when it isn't there; one file for each
    /// partition, checksummed and synced), and returns an RDD that reads them: its lineage begins there.
    /// The files stay.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-doc-{}", std::process::id()));
    /// let squares = ctx.parallelize(0..10, 3).map(|x| x * x).checkpoint(&dir)?;
    /// assert_eq!((squares.count()?, squares.num_partitions()), (10, 3));
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] naming the folder; a folder that holds partitions already is refused; what ends a job.
    #[track_caller]
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<Rdd<T>>
    where
        T: Wire,
    {
        let site = Site::here("checkpoint");
        let dir = Arc::new(dir.as_ref().to_path_buf());
        let failed = |e| Error::io(format!("checkpoint folder {}", dir.display()), e);
        fs::create_dir_all(&*dir).map_err(failed)?;
        if part_file(&dir, 0).exists() {
            return Err(failed(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it holds a checkpoint already: give another folder or remove it",
            )));
        }
        let to = dir.clone();
        let written = self.run_action(
            site,
            |n| 0..n,
            move |p, cx| {
                let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
                cx.check()?;
                write_part(&to, cx.partition(), cx.task().run, &records).map_err(|e| {
                    TaskError::Input { message: format!("writing {}: {e}", to.display()) }
                })
            },
        );
        if let Err(e) = written {
            // Nothing half written stays, so that the same folder can be tried again.
            (0..self.num_partitions()).for_each(|p| drop(fs::remove_file(part_file(&dir, p))));
            return Err(e);
        }
        fs::File::open(&*dir).and_then(|d| d.sync_all()).map_err(failed)?;
        let about = About { checkpoint: Some(dir.clone()), ..self.pipe.about().of_the_same_keys() };
        let pipe = Partitions::try_from_fn(self.num_partitions(), move |part| {
            Ok(read_part::<T>(&part_file(&dir, part))?.into_iter().map(Ok))
        });
        let pipe = Erased::new(Arc::new(pipe));
        Ok(Rdd::new(&self.ctx, Arc::new(pipe), self.origin.clone()).told(about))
    }
}
