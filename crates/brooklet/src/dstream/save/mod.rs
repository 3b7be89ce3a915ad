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

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use options::SaveOptions;

use self::options::Compression;
use self::writer::PartWriter;
use super::output::Runner;
use super::{DStream, Node, Output};
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};
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

/// Where a batch is written before it is whole.
fn temporary(dir: &Path) -> PathBuf {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    dir.with_file_name(format!(".{name}.tmp"))
}

/// A system error with what to do about it.
fn advised(e: io::Error) -> io::Error {
    let advice = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            "give the program's user the right to write there, or choose another prefix"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose a prefix on a file system that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or choose a prefix on another disk"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where a folder is needed: remove it, or choose another prefix"
        }
        io::ErrorKind::InvalidFilename => "choose a shorter prefix or suffix",
        _ => return e,
    };
    io::Error::new(e.kind(), format!("{e}; {advice}"))
}

/// A task's failure at a file.
fn at(file: &Path, e: io::Error) -> TaskError {
    TaskError::Input { message: format!("writing {}: {}", file.display(), advised(e)) }
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
        let out = PartWriter::create(file, compression).map_err(|e| at(file, e))?;
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
            Unwritten::Io(e) => at(file, e),
            Unwritten::Task(e) => e,
        })
    }

    fn finish(self) -> Result<(), TaskError> {
        self.out.finish().map_err(|e| at(self.file, e))
    }
}

/// Writes one partition into the temporary folder of its batch; an attempt never sees another one's file.
fn write_part(
    dir: &Path,
    extension: &str,
    cx: &TaskCx<'_>,
    write: impl FnOnce(&Path) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let temp = temporary(dir);
    let part = temp.join(format!("part-{:05}{extension}", cx.partition()));
    let attempt = temp.join(format!(".part-{:05}-{}", cx.partition(), cx.task().run));
    let _ = fs::remove_file(&attempt);
    write(&attempt)?;
    fs::rename(&attempt, &part).map_err(|e| at(&part, e))
}

/// Removes what attempts have left that failed on the way.
fn remove_attempts(temp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temp)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the temporary folder, has it filled, and gives it its name.
fn write_batch(dir: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let temp = temporary(dir);
    let failed = |e| Error::io(format!("saving to {}", dir.display()), advised(e));
    let prepared = (|| {
        if temp.exists() {
            fs::remove_dir_all(&temp)?;
        }
        fs::create_dir_all(&temp)
    })();
    prepared.map_err(failed)?;
    fill().inspect_err(|_| drop(fs::remove_dir_all(&temp)))?;
    (|| {
        remove_attempts(&temp)?;
        File::create(temp.join("_SUCCESS"))?;
        if dir.exists() {
            fs::remove_dir_all(dir)?; // a batch that is run again replaces what it wrote
        }
        fs::rename(&temp, dir)
    })()
    .map_err(failed)
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
        assert_eq!(temporary(Path::new("a/b-2000.txt")), PathBuf::from("a/.b-2000.txt.tmp"));
    }

    #[test]
    fn system_errors_keep_their_text_and_get_what_to_do() {
        for (errno, text, advice) in [
            (28, "No space left", "make room there"),
            (13, "Permission denied", "the right to write there"),
            (30, "Read-only file system", "that can be written"),
            (20, "Not a directory", "a file stands where a folder is needed"),
        ] {
            let e = at(Path::new("/a/b"), io::Error::from_raw_os_error(errno)).to_string();
            assert!(
                e.starts_with("writing /a/b: ") && e.contains(text) && e.contains(advice),
                "{e}"
            );
        }
        let other = advised(io::Error::from_raw_os_error(5));
        assert_eq!(other.raw_os_error(), Some(5));
    }
}
