//! A folder of files, one for each partition, which has its name when it is whole: what `save_as_.._file` of
//! RDDs and `save_as_.._files` of streams write.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{TaskCx, TaskError};

/// A folder that is being written, under another name until it is whole. Dropped before that, it is removed.
pub(crate) struct Folder {
    dir: PathBuf,
    temp: PathBuf,
    whole: bool,
}

impl Folder {
    /// Makes the folder under its temporary name; what is left there of a process that was killed goes.
    pub(crate) fn begin(dir: &Path) -> io::Result<Folder> {
        let temp = temporary(dir);
        if temp.exists() {
            fs::remove_dir_all(&temp)?;
        }
        fs::create_dir_all(&temp)?;
        Ok(Folder { dir: dir.to_path_buf(), temp, whole: false })
    }

    /// Gives the folder its name. What is there is replaced.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        remove_attempts(&self.temp)?;
        File::create(self.temp.join("_SUCCESS"))?;
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::rename(&self.temp, &self.dir)?;
        self.whole = true;
        Ok(())
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

/// Writes one partition to a file of its attempt and then gives it its name, so that attempts never mix.
pub(crate) fn write_part(
    dir: &Path,
    extension: &str,
    cx: &TaskCx<'_>,
    write: impl FnOnce(&Path) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let temp = temporary(dir);
    let part = temp.join(format!("part-{:05}{extension}", cx.partition()));
    let attempt = temp.join(format!(".part-{:05}-{}", cx.partition(), cx.task().run));
    let _ = fs::remove_file(&attempt); // of a job that was planned again
    write(&attempt)?;
    fs::rename(&attempt, &part).map_err(|e| not_written(&part, e))
}

/// A system error with what to do about it.
pub(crate) fn advised(e: io::Error) -> io::Error {
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
pub(crate) fn not_written(file: &Path, e: io::Error) -> TaskError {
    TaskError::Input { message: format!("writing {}: {}", file.display(), advised(e)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_stand_beside_their_place() {
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
            let e = not_written(Path::new("/a/b"), io::Error::from_raw_os_error(errno)).to_string();
            assert!(
                e.starts_with("writing /a/b: ") && e.contains(text) && e.contains(advice),
                "{e}"
            );
        }
        let other = advised(io::Error::from_raw_os_error(5));
        assert_eq!(other.raw_os_error(), Some(5));
    }
}
