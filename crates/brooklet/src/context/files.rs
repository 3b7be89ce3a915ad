//! Files as RDDs: `text_file`, `whole_text_files`, `binary_files`, `binary_records`, `object_file`.
//!
//! A path is a file, a folder (its files, not those of folders in it), or a folder with a pattern of names
//! (`logs/*.txt`, see `source::glob`). Names that begin with `.` or `_` are no data. The files are listed at the
//! call, in the order of their names, and read by tasks, so these must find them under the same path.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use crate::block::read_file;
use crate::conf::defaults;
use crate::data::Wire;
use crate::engine::Site;
use crate::error::BoxError;
use crate::rdd::source::split_even;
use crate::rdd::{Erased, Partitions, Rdd};
use crate::source::glob::Glob;
use crate::text::{Lines, Str, TextBlock};
use crate::{Error, Result};

/// A file and its size when it was listed.
struct Found {
    path: PathBuf,
    len: u64,
}

/// The files that a path names.
fn find(path: &Path, site: Site) -> Result<Vec<Found>> {
    let failed = |e| Error::io(format!("{site}: {}", path.display()), e);
    let size = |path: PathBuf| -> io::Result<Option<Found>> {
        let about = fs::metadata(&path)?;
        Ok(about.is_file().then_some(Found { path, len: about.len() }))
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (folder, pattern) = if path.is_dir() {
        (path, None)
    } else if Glob::is_special(&name) && !path.exists() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let wrong = |e| Error::usage(format!("{site}: `{name}` in {}: {e}", path.display()));
        (folder.unwrap_or(Path::new(".")), Some(Glob::new(&name).map_err(wrong)?))
    } else {
        let found = size(path.to_path_buf()).map_err(failed)?;
        return found.map(|f| vec![f]).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a folder"))
        });
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted =
            !name.starts_with(['.', '_']) && pattern.as_ref().is_none_or(|p| p.matches(&name));
        if wanted {
            files.extend(size(entry.path()).map_err(failed)?);
        }
    }
    if files.is_empty() && pattern.is_some() {
        let none = io::Error::new(io::ErrorKind::NotFound, "no file has a name like this");
        return Err(failed(none));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn named(path: &Path, e: impl std::fmt::Display) -> BoxError {
    format!("{}: {e}", path.display()).into()
}

/// A part of a file, from byte to byte.
struct Split {
    path: PathBuf,
    from: u64,
    to: u64,
}

/// Cuts files into splits of about total / `least` bytes, and not more than the largest split. A rest of up
/// to a tenth of a split goes to the one before it.
fn splits(files: Vec<Found>, least: usize, align: u64) -> Vec<Split> {
    let total: u64 = files.iter().map(|f| f.len).sum();
    let goal = (total / least.max(1) as u64).clamp(1, defaults::FILE_SPLIT_BYTES);
    let goal = (goal / align).max(1) * align;
    let mut all = Vec::new();
    for f in files {
        let mut from = 0;
        while (f.len - from) * 10 > goal * 11 {
            all.push(Split { path: f.path.clone(), from, to: from + goal });
            from += goal;
        }
        all.push(Split { path: f.path, from, to: f.len });
    }
    all
}

fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter now than when it was listed")
}

/// The lines that begin in a split.
struct SplitLines {
    split: Arc<Split>,
    file: File,
    /// Read and not yet cut into lines; its first byte is byte `at` of the file.
    rest: Vec<u8>,
    at: u64,
    lines: Option<Lines>,
    done: bool,
}

impl SplitLines {
    fn open(split: Arc<Split>) -> io::Result<SplitLines> {
        let mut file = File::open(&split.path)?;
        // A line that begins at the first byte of a split is known by the byte before it.
        let at = split.from.saturating_sub(1);
        file.seek(SeekFrom::Start(at))?;
        let done = split.from >= split.to;
        let mut lines = SplitLines { split, file, rest: Vec::new(), at, lines: None, done };
        if lines.split.from > 0 && !done {
            lines.skip_line()?;
        }
        Ok(lines)
    }

    /// Reads more. Whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        // Small files shouldn't pin large blocks; the end of a split's last line is looked for in steps.
        let left = self.split.to.saturating_sub(self.at + self.rest.len() as u64);
        let room = left.clamp(4 << 10, defaults::FILE_READ_BYTES as u64);
        self.rest.reserve(room as usize + TextBlock::PAD);
        let got = (&mut self.file).take(room).read_to_end(&mut self.rest)?;
        Ok(got > 0)
    }

    /// Skips the line before the split's first one.
    fn skip_line(&mut self) -> io::Result<()> {
        while self.fill()? {
            if let Some(i) = memchr::memchr(b'\n', &self.rest) {
                self.rest.drain(..=i);
                self.at += i as u64 + 1;
                self.done = self.at >= self.split.to;
                return Ok(());
            }
            self.at += self.rest.len() as u64;
            self.rest.clear();
        }
        if self.at < self.split.to {
            return Err(shorter());
        }
        self.done = true;
        Ok(())
    }

    /// The next whole lines as a block.
    fn block(&mut self) -> io::Result<Option<Lines>> {
        let mut from = 0;
        while !self.done {
            let more = self.fill()?;
            // The last line that begins in the split ends at the first end of line from its last byte on.
            let last = (self.split.to - 1).saturating_sub(self.at) as usize;
            let end = match self.rest.get(last..).and_then(|r| memchr::memchr(b'\n', r)) {
                Some(i) => {
                    self.done = true;
                    last + i + 1
                }
                None if !more && self.at + (self.rest.len() as u64) < self.split.to => {
                    return Err(shorter());
                }
                None if !more => {
                    self.done = true;
                    self.rest.len()
                }
                None => match memchr::memrchr(b'\n', &self.rest[from..]) {
                    Some(i) => from + i + 1,
                    None => {
                        from = self.rest.len();
                        continue; // a line longer than what was read
                    }
                },
            };
            let rest = self.rest.split_off(end);
            let mut bytes = std::mem::replace(&mut self.rest, rest);
            if self.at == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3); // a byte order mark
            }
            self.at += end as u64;
            let (block, replaced) = TextBlock::from_utf8_lossy(bytes);
            if replaced > 0 {
                let file = self.split.path.display();
                tracing::warn!(
                    "{file}: {replaced} invalid sequences before byte {} are now U+FFFD",
                    self.at
                );
            }
            return Ok(Some(block.lines()));
        }
        Ok(None)
    }
}

impl Iterator for SplitLines {
    type Item = Result<Str, BoxError>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.lines.as_mut().and_then(Iterator::next) {
                return Some(Ok(line));
            }
            match self.block() {
                Ok(Some(lines)) => self.lines = Some(lines),
                Ok(None) => return None,
                Err(e) => {
                    self.done = true;
                    return Some(Err(named(&self.split.path, e)));
                }
            }
        }
    }
}

/// The records of a fixed length in a split.
struct SplitRecords {
    split: Arc<Split>,
    file: io::BufReader<File>,
    left: u64,
    len: usize,
}

impl Iterator for SplitRecords {
    type Item = Result<Vec<u8>, BoxError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(self.len as u64)?;
        let mut record = vec![0; self.len];
        match self.file.read_exact(&mut record) {
            Ok(()) => Some(Ok(record)),
            Err(e) => {
                self.left = 0;
                Some(Err(named(&self.split.path, e)))
            }
        }
    }
}

impl Context {
    /// Reads a partition for each of `parts`.
    fn reading<S, T, I>(
        &self,
        parts: Vec<S>,
        read: impl Fn(&S) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> Rdd<T>
    where
        S: Send + Sync + 'static,
        T: crate::Data,
        I: Iterator<Item = Result<T, BoxError>> + 'static,
    {
        let pipe = Partitions::try_from_fn(parts.len(), move |i| read(&parts[i]));
        self.plain(Erased::new(Arc::new(pipe)))
    }

    /// Files per partition: as many partitions as there are files, up to `least`.
    fn whole_files<T: crate::Data>(
        &self,
        files: Vec<Found>,
        least: usize,
        read: impl Fn(&Path) -> Result<T, BoxError> + Clone + Send + Sync + 'static,
    ) -> Rdd<T> {
        let n = least.max(1).min(files.len());
        let paths: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
        let parts = if n == 0 { Vec::new() } else { split_even(paths, n) };
        self.reading(parts, move |part: &Arc<Vec<PathBuf>>| {
            let (part, read) = (part.clone(), read.clone());
            Ok((0..part.len()).map(move |i| read(&part[i])))
        })
    }

    /// At least this many partitions of files, when the program doesn't say: two, unless the default
    /// parallelism is one.
    fn least_partitions(&self) -> usize {
        self.default_parallelism().min(defaults::FILE_PARTITIONS)
    }

    /// The lines of a file, of a folder's files, or of the files whose names match a pattern, in at least two
    /// partitions (one where the default parallelism is one). Invalid UTF-8 becomes U+FFFD, with a warning in
    /// the log that names the file; a byte order mark is left out; `\n` and `\r\n` end lines.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-files-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// std::fs::write(dir.join("a.txt"), "to be\nor not\n")?;
    /// std::fs::write(dir.join("b.txt"), "to be")?;
    /// assert_eq!(ctx.text_file(&dir)?.collect()?, ["to be", "or not", "to be"]);
    /// assert_eq!(ctx.text_file(dir.join("b*"))?.count()?, 1);
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] naming the path when there is nothing, or no folder to look in.
    #[track_caller]
    pub fn text_file(&self, path: impl AsRef<Path>) -> Result<Rdd<Str>> {
        self.lines_of(path.as_ref(), self.least_partitions(), Site::here("text_file"))
    }

    /// [`Context::text_file`] in about `partitions` partitions (at least), of equal size where files are
    /// large enough; no partition is larger than
    /// [`defaults::FILE_SPLIT_BYTES`] or spans two files.
    ///
    /// # Errors
    /// As [`Context::text_file`].
    #[track_caller]
    pub fn text_file_into(&self, path: impl AsRef<Path>, partitions: usize) -> Result<Rdd<Str>> {
        self.lines_of(path.as_ref(), partitions, Site::here("text_file"))
    }

    fn lines_of(&self, path: &Path, least: usize, site: Site) -> Result<Rdd<Str>> {
        let parts: Vec<Arc<Split>> =
            splits(find(path, site)?, least, 1).into_iter().map(Arc::new).collect();
        Ok(self.reading(parts, |split| {
            SplitLines::open(split.clone()).map_err(|e| named(&split.path, e))
        }))
    }

    /// Each file as one record: its path and its text. For files that fit in memory; paths as for
    /// [`Context::text_file`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let dir = std::env::temp_dir().join(format!("brooklet-whole-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// std::fs::write(dir.join("a.txt"), "to be\nor not\n")?;
    /// let files = ctx.whole_text_files(&dir)?.collect()?;
    /// assert_eq!(files, [(dir.join("a.txt").display().to_string(), "to be\nor not\n".into())]);
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Context::text_file`].
    #[track_caller]
    pub fn whole_text_files(&self, path: impl AsRef<Path>) -> Result<Rdd<(String, Str)>> {
        let files = find(path.as_ref(), Site::here("whole_text_files"))?;
        Ok(self.whole_files(files, self.least_partitions(), |path| {
            let (text, replaced) =
                TextBlock::from_utf8_lossy(fs::read(path).map_err(|e| named(path, e))?);
            if replaced > 0 {
                let file = path.display();
                tracing::warn!("{file}: {replaced} invalid sequences are now U+FFFD");
            }
            Ok((path.display().to_string(), text.text()))
        }))
    }

    /// Each file as one record: its path and its bytes. For files that fit in memory; paths as for
    /// [`Context::text_file`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let file = std::env::temp_dir().join(format!("brooklet-bytes-{}", std::process::id()));
    /// std::fs::write(&file, [1, 2, 255])?;
    /// assert_eq!(ctx.binary_files(&file)?.values().collect()?, [vec![1, 2, 255]]);
    /// std::fs::remove_file(&file)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Context::text_file`].
    #[track_caller]
    pub fn binary_files(&self, path: impl AsRef<Path>) -> Result<Rdd<(String, Vec<u8>)>> {
        let files = find(path.as_ref(), Site::here("binary_files"))?;
        Ok(self.whole_files(files, self.least_partitions(), |path| {
            let bytes = fs::read(path).map_err(|e| named(path, e))?;
            Ok((path.display().to_string(), bytes))
        }))
    }

    /// The records of files in which each has `length` bytes; paths and partitions as for
    /// [`Context::text_file`].
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let file = std::env::temp_dir().join(format!("brooklet-records-{}", std::process::id()));
    /// std::fs::write(&file, b"aaabbbccc")?;
    /// assert_eq!(ctx.binary_records(&file, 3)?.collect()?, [b"aaa", b"bbb", b"ccc"]);
    /// let e = ctx.binary_records(&file, 2).unwrap_err();
    /// assert!(e.to_string().contains("9 bytes, which aren't records of 2 bytes"));
    /// std::fs::remove_file(&file)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Context::text_file`]; [`Error::Usage`] for a length of 0 and a file with half a record.
    #[track_caller]
    pub fn binary_records(&self, path: impl AsRef<Path>, length: usize) -> Result<Rdd<Vec<u8>>> {
        let site = Site::here("binary_records");
        if length == 0 {
            return Err(Error::usage(format!("{site}: records of 0 bytes have no end")));
        }
        let files = find(path.as_ref(), site)?;
        if let Some(f) = files.iter().find(|f| f.len % length as u64 != 0) {
            return Err(Error::usage(format!(
                "{site}: {} has {} bytes, which aren't records of {length} bytes",
                f.path.display(),
                f.len
            )));
        }
        let parts: Vec<Arc<Split>> = splits(files, self.least_partitions(), length as u64)
            .into_iter()
            .map(Arc::new)
            .collect();
        Ok(self.reading(parts, move |split| {
            let open = || {
                let mut file = File::open(&split.path)?;
                file.seek(SeekFrom::Start(split.from))?;
                Ok::<_, io::Error>(io::BufReader::with_capacity(defaults::FILE_READ_BYTES, file))
            };
            let file = open().map_err(|e| named(&split.path, e))?;
            let left = split.to - split.from;
            Ok(SplitRecords { split: split.clone(), file, left, len: length })
        }))
    }

    /// The records that [`Rdd::save_as_object_file`] or
    /// [`DStream::save_as_object_files`](crate::DStream::save_as_object_files) saved: a partition for each
    /// file. `T` must be the type that was saved, in a program with the same definition of it. A folder
    /// without `_SUCCESS` is read too, with a warning.
    ///
    /// # Errors
    /// As [`Context::text_file`]. A damaged file, or one of another type, fails the task that reads it.
    #[track_caller]
    pub fn object_file<T: Wire>(&self, path: impl AsRef<Path>) -> Result<Rdd<T>> {
        let path = path.as_ref();
        let files = find(path, Site::here("object_file"))?;
        if path.is_dir() && !path.join("_SUCCESS").exists() {
            tracing::warn!("{} has no `_SUCCESS`: it may not be whole", path.display());
        }
        Ok(self.reading(files, |f| {
            let bytes = read_file(&f.path).map_err(|e| named(&f.path, e))?;
            let what = std::any::type_name::<T>();
            let records: Vec<T> = postcard::from_bytes(&bytes)
                .map_err(|e| named(&f.path, format!("it holds no records of `{what}`: {e}")))?;
            Ok(records.into_iter().map(Ok))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conf;
    use proptest::prelude::*;

    #[test]
    fn splits_cover_each_file_once_and_are_aligned() {
        for align in [1, 7] {
            for (len, least) in [(0, 2), (7, 2), (70, 3), (7_000, 1), (700_000, 13)] {
                let files =
                    vec![Found { path: "a".into(), len }, Found { path: "b".into(), len: 21 }];
                let all = splits(files, least, align);
                for (name, len) in [("a", len), ("b", 21)] {
                    let of: Vec<_> = all.iter().filter(|s| s.path == Path::new(name)).collect();
                    assert_eq!((of[0].from, of[of.len() - 1].to), (0, len));
                    assert!(of.windows(2).all(|w| w[0].to == w[1].from));
                    assert!(of.iter().all(|s| s.from % align == 0 && s.to % align == 0));
                }
                assert!(all.len() >= least.min((len / align) as usize).min(2));
            }
        }
        let big = vec![Found { path: "a".into(), len: 200 << 20 }];
        assert_eq!(splits(big, 1, 1).len(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
        #[test]
        fn every_line_is_in_one_split_wherever_it_is_cut(
            text in "([a-c]{0,5}(\n|\r\n|\n\n)){0,12}[a-c]{0,3}",
            parts in 1..40usize,
        ) {
            let name = format!("brooklet-splits-{}", std::process::id());
            let file = std::env::temp_dir().join(name);
            fs::write(&file, &text).unwrap();
            let ctx = Context::new(Conf::new("split").master("local[1]")).unwrap();
            let lines = ctx.text_file_into(&file, parts).unwrap().collect().unwrap();
            fs::remove_file(&file).unwrap();
            let want: Vec<&str> = text.lines().collect();
            prop_assert_eq!(lines, want);
        }
    }
}
