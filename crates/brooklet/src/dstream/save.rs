//! `save_as_text_files` and `save_as_object_files`: each batch as a folder of files.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::output::Runner;
use super::{DStream, Node, Output};
use crate::block::write_file;
use crate::data::{Data, Wire};
use crate::engine::{Site, TaskCx, TaskError};
use crate::rdd::pipe::{Pipe, pushed};
use crate::{Error, Result, Time};

/// `PREFIX-MS.SUFFIX`, parts left out when they are empty.
fn folder(prefix: &str, suffix: &str, t: Time) -> PathBuf {
    let ms = t.millis();
    let mut name = if prefix.is_empty() { ms.to_string() } else { format!("{prefix}-{ms}") };
    if !suffix.is_empty() {
        name.push('.');
        name.push_str(suffix);
    }
    PathBuf::from(name)
}

/// Where a batch is written before it is whole.
fn temporary(dir: &Path) -> PathBuf {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    dir.with_file_name(format!(".{name}.tmp"))
}

/// Writes one partition into the temporary folder of its batch; an attempt never sees another one's file.
fn write_part(
    dir: &Path,
    cx: &TaskCx<'_>,
    write: impl FnOnce(&Path) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let temp = temporary(dir);
    let part = temp.join(format!("part-{:05}", cx.partition()));
    let attempt = temp.join(format!(".part-{:05}-{}", cx.partition(), cx.task().run));
    let failed = |e: io::Error| TaskError::Input { message: format!("{}: {e}", part.display()) };
    let _ = fs::remove_file(&attempt);
    write(&attempt)?;
    fs::rename(&attempt, &part).map_err(failed)
}

/// Makes the temporary folder, has it filled, and gives it its name.
fn write_batch(dir: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let temp = temporary(dir);
    let failed = |e| Error::io(format!("saving to {}", dir.display()), e);
    let prepared = (|| {
        if temp.exists() {
            fs::remove_dir_all(&temp)?;
        }
        fs::create_dir_all(&temp)
    })();
    prepared.map_err(failed)?;
    fill()?;
    (|| {
        File::create(temp.join("_SUCCESS"))?;
        if dir.exists() {
            fs::remove_dir_all(dir)?; // a batch that is run again replaces what it wrote
        }
        fs::rename(&temp, dir)
    })()
    .map_err(failed)
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Saves each batch as a folder `PREFIX-MS.SUFFIX` (parts left out when empty) with one text file for
    /// each partition, one line for each record, also for empty partitions, and a file `_SUCCESS`. The
    /// folder appears under its name when it is whole; a batch that is run again replaces it.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// let dir = std::env::temp_dir().join(format!("brooklet-save-{}", std::process::id()));
    /// let prefix = dir.join("numbers").display().to_string();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<i32>();
    ///     numbers.save_as_text_files(&prefix, "txt");
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(std::fs::read_to_string(dir.join("numbers-1000.txt/part-00001"))?, "2\n3\n");
    /// assert!(dir.join("numbers-1000.txt/_SUCCESS").exists());
    /// std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn save_as_text_files(&self, prefix: &str, suffix: &str) -> Output
    where
        T: Display,
    {
        let site = Site::here("save_as_text_files");
        self.save_at(site, prefix, suffix, move |p, cx, file| {
            let failed =
                |e: io::Error| TaskError::Input { message: format!("{}: {e}", file.display()) };
            let mut out = BufWriter::new(File::create(file).map_err(failed)?);
            let mut written = Ok(());
            let _ = p.try_each(cx, cx.partition(), |x| {
                written = site.guard(|| writeln!(out, "{x}"));
                if written.is_ok() {
                    std::ops::ControlFlow::Continue(())
                } else {
                    std::ops::ControlFlow::Break(())
                }
            })?;
            written.and_then(|()| out.flush()).map_err(failed)
        })
    }

    /// [`DStream::save_as_text_files`] with the records in binary form (postcard, checksummed), for
    /// programs of the same types.
    #[track_caller]
    pub fn save_as_object_files(&self, prefix: &str, suffix: &str) -> Output
    where
        T: Wire,
    {
        let site = Site::here("save_as_object_files");
        self.save_at(site, prefix, suffix, |p, cx, file| {
            let records = p.fold(cx, cx.partition(), Vec::new(), pushed)?;
            let bytes = postcard::to_stdvec(&records).map_err(TaskError::codec::<T>)?;
            let written = write_file(file, &bytes, true).map(drop);
            written.map_err(|e| TaskError::Input { message: format!("{}: {e}", file.display()) })
        })
    }

    #[track_caller]
    fn save_at(
        &self,
        site: Site,
        prefix: &str,
        suffix: &str,
        write: impl Fn(&N::Pipe, &TaskCx<'_>, &Path) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Output {
        let (prefix, suffix) = (prefix.to_string(), suffix.to_string());
        let (p, s) = (prefix.clone(), suffix.clone());
        let act = move |pipe: &N::Pipe, cx: &TaskCx<'_>| {
            let dir = folder(&p, &s, cx.task().stage.batch);
            write_part(&dir, cx, |file| write(pipe, cx, file))
        };
        self.task_output(site, act, move |runner: &Runner<'_, ()>, t| {
            write_batch(&folder(&prefix, &suffix, t), || {
                runner.run(0..runner.partitions()).map(drop)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_prefix_time_and_suffix() {
        let t = Time::from_millis(2_000);
        assert_eq!(folder("a/b", "txt", t), PathBuf::from("a/b-2000.txt"));
        assert_eq!(folder("a/b", "", t), PathBuf::from("a/b-2000"));
        assert_eq!(folder("", "", t), PathBuf::from("2000"));
        assert_eq!(temporary(Path::new("a/b-2000.txt")), PathBuf::from("a/.b-2000.txt.tmp"));
    }
}
