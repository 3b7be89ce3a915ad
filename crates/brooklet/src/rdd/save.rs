//! `save_as_text_file` and `save_as_object_file`: an RDD as a folder of files, which appears when it is
//! whole.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Rdd;
use super::pipe::{Pipe, pushed};
use crate::block::write_file;
use crate::data::{Data, Wire};
use crate::engine::{Site, TaskCx, TaskError};
use crate::{Error, Result};

/// A folder that is being written, under another name until it is whole.
struct Folder {
    dir: PathBuf,
    temp: PathBuf,
    /// What is there is replaced.
    replace: bool,
    whole: bool,
}

impl Folder {
    fn begin(dir: &Path, replace: bool, site: Site) -> Result<Folder> {
        if dir.exists() && !replace {
            return Err(Error::io(
                format!("{site}: {}", dir.display()),
                io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it is there already: give another folder, or remove it first",
                ),
            ));
        }
        let temp = temporary(dir);
        let made = (|| {
            if temp.exists() {
                fs::remove_dir_all(&temp)?; // of a process that was killed
            }
            fs::create_dir_all(&temp)
        })();
        made.map_err(|e| Error::io(format!("{site}: making {}", temp.display()), e))?;
        Ok(Folder { dir: dir.to_path_buf(), temp, replace, whole: false })
    }

    fn finish(mut self, site: Site) -> Result<()> {
        let named = (|| {
            File::create(self.temp.join("_SUCCESS"))?;
            if self.replace && self.dir.exists() {
                fs::remove_dir_all(&self.dir)?;
            }
            fs::rename(&self.temp, &self.dir)
        })();
        self.whole = named.is_ok();
        named.map_err(|e| Error::io(format!("{site}: saving to {}", self.dir.display()), e))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.whole
            && let Err(e) = fs::remove_dir_all(&self.temp)
        {
            tracing::warn!("removing {}, which isn't whole: {e}", self.temp.display());
        }
    }
}

/// Where a folder is written before it is whole.
fn temporary(dir: &Path) -> PathBuf {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    dir.with_file_name(format!(".{name}.tmp"))
}

/// Writes one partition to a file of its attempt and then gives it its name, so that attempts never mix.
fn write_part(
    temp: &Path,
    cx: &TaskCx<'_>,
    write: impl FnOnce(&Path) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let part = temp.join(format!("part-{:05}", cx.partition()));
    let attempt = temp.join(format!(".part-{:05}-{}", cx.partition(), cx.task().run));
    let _ = fs::remove_file(&attempt); // of a job that was planned again
    write(&attempt)?;
    fs::rename(&attempt, &part).map_err(|e| failed(&part, e))
}

fn failed(file: &Path, e: io::Error) -> TaskError {
    TaskError::Input { message: format!("writing {}: {e}", file.display()) }
}

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
            let mut out = BufWriter::new(File::create(file).map_err(|e| failed(file, e))?);
            let mut written = Ok(());
            let _ = p.try_each(cx, cx.partition(), |x| {
                written = site.guard(|| writeln!(out, "{x}"));
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            written.and_then(|()| out.flush()).map_err(|e| failed(file, e))
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
            write_file(file, &bytes, true).map(drop).map_err(|e| failed(file, e))
        })
    }

    fn save(
        &self,
        dir: &Path,
        site: Site,
        write: impl Fn(&P, &TaskCx<'_>, &Path) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Result<()> {
        // Where a `transform` is replayed for its tasks, the folder is the driver's business.
        let folder = if self.ctx.0.executor {
            None
        } else {
            // A batch that is run again replaces what it wrote.
            Some(Folder::begin(dir, !self.origin.is_plain(), site)?)
        };
        let temp = temporary(dir);
        self.run_action(
            site,
            |n| 0..n,
            move |p, cx| write_part(&temp, cx, |file| write(p, cx, file)),
        )?;
        folder.map_or(Ok(()), |f| f.finish(site))
    }
}
