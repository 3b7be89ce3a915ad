//! `save_as_.._files`: each batch as a folder of files, one for each partition.
//!
//! A batch is written into a temporary folder beside its place and renamed when it is whole, so that a
//! reader never sees half of one.

mod csv;
mod json;
mod object;
mod options;
mod text;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use options::SaveOptions;

use self::options::Compression;
use self::writer::PartWriter;
use super::output::Runner;
use super::{DStream, Node, Output};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};
use crate::rdd::folder::{Folder, advised, not_written, write_part};
use crate::rdd::pipe::{Flow, Pipe};
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

/// Why a record isn't written.
enum Unwritten {
    Io(io::Error),
    Task(TaskError),
}

impl From<io::Error> for Unwritten {
    fn from(e: io::Error) -> Self {
        Unwritten::Io(e)
    }
}

impl From<TaskError> for Unwritten {
    fn from(e: TaskError) -> Self {
        Unwritten::Task(e)
    }
}

/// The file of one partition.
struct Part<'a> {
    out: PartWriter,
    file: &'a Path,
}

impl<'a> Part<'a> {
    fn create(file: &'a Path, compression: Compression) -> Result<Part<'a>, TaskError> {
        let out = PartWriter::create(file, compression).map_err(|e| not_written(file, e))?;
        Ok(Part { out, file })
    }

    /// Calls `write` for each record, to the first error.
    fn each<P: Pipe>(
        &mut self,
        p: &P,
        cx: &TaskCx<'_>,
        mut write: impl FnMut(&mut PartWriter, P::Out) -> Result<(), Unwritten>,
    ) -> Result<(), TaskError> {
        Part::each_of(p, cx, self.file, |x| write(&mut self.out, x))
    }

    /// [`Part::each`] where `write` knows its writer.
    fn each_of<P: Pipe>(
        p: &P,
        cx: &TaskCx<'_>,
        file: &Path,
        mut write: impl FnMut(P::Out) -> Result<(), Unwritten>,
    ) -> Result<(), TaskError> {
        let mut written = Ok(());
        let _ = p.try_each(cx, cx.partition(), |x| {
            written = write(x);
            if written.is_ok() { Flow::Continue(()) } else { Flow::Break(()) }
        })?;
        written.map_err(|e| match e {
            Unwritten::Io(e) => not_written(file, e),
            Unwritten::Task(e) => e,
        })
    }

    fn finish(self) -> Result<(), TaskError> {
        self.out.finish().map_err(|e| not_written(self.file, e))
    }
}

/// Makes the folder of a batch and has it filled. A batch that is run again replaces what it wrote.
fn write_batch(dir: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let failed = |e| Error::io(format!("saving to {}", dir.display()), advised(e));
    let folder = Folder::begin(dir).map_err(failed)?;
    fill()?;
    folder.finish().map_err(failed)
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// # Panics
    /// When another output saves under the same prefix and suffix.
    #[track_caller]
    fn save_at(
        &self,
        site: Site,
        prefix: &str,
        suffix: &str,
        extension: String,
        write: impl Fn(&N::Pipe, &TaskCx<'_>, &Path) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Output {
        let place = format!("the prefix `{prefix}` with the suffix `{suffix}`");
        self.graph.claim(place, "each batch of one would replace that of the other", site);
        let (prefix, suffix) = (prefix.to_string(), suffix.to_string());
        let (p, s) = (prefix.clone(), suffix.clone());
        let act = move |pipe: &N::Pipe, cx: &TaskCx<'_>| {
            let dir = folder(&p, &s, cx.task().stage.batch);
            write_part(&dir, &extension, cx, |file| write(pipe, cx, file))
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
    }
}
