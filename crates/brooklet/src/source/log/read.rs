//! Reading what was chosen: the same range always gives the same lines, or an error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::LogSlice;
use super::file::LogRange;
use super::fs::{Disk, FileId, Files};
use super::names::rotated;
use super::scan::Lines;
use crate::Time;
use crate::engine::{TaskBody, TaskCx, TaskError};
use crate::rdd::text::{each_line, fold_lines};
use crate::rdd::{Flow, Pipe};
use crate::sync::{LockExt, Mutex};
use crate::text::{Str, TextBlock};

/// Files that unfinished batches read. They are open, so that they can be read whatever becomes of their
/// names.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenFiles(Arc<Mutex<HashMap<FileId, (Arc<File>, Time)>>>);

impl OpenFiles {
    /// Keeps a file until batch `t` is over.
    pub(super) fn keep(&self, id: FileId, file: Arc<File>, t: Time) {
        self.0.get().insert(id, (file, t));
    }

    pub(super) fn release(&self, up_to: Time) {
        self.0.get().retain(|_, (_, t)| *t > up_to);
    }

    fn find(&self, id: FileId) -> Option<Arc<File>> {
        self.0.get().get(&id).map(|(file, _)| file.clone())
    }
}

/// What reads a [`LogSlice`].
pub struct LogPipe {
    pub(super) slice: Arc<LogSlice>,
    pub(super) open: OpenFiles,
    pub(super) lines: Lines,
}

impl LogPipe {
    fn block(&self, range: &LogRange) -> Result<Arc<TextBlock>, TaskError> {
        let bytes = self.bytes(range).map_err(|e| TaskError::Input {
            message: format!(
                "the bytes {}..{} of the log {}, chosen for this batch, can't be read any more: {e}. If \
                 the log is truncated in place, keep the copy beside it; if it is rotated, keep the files \
                 for longer than batches may wait",
                range.from,
                range.to,
                range.path.display()
            ),
        })?;
        let changed = match self.lines.prepare(&bytes, false).text {
            Cow::Owned(text) => Some(text),
            Cow::Borrowed(_) => None,
        };
        Ok(TextBlock::from_utf8_lossy(changed.unwrap_or(bytes)).0)
    }

    /// The bytes, wherever they are now.
    fn bytes(&self, range: &LogRange) -> io::Result<Vec<u8>> {
        let first = match self.open.find(range.file) {
            Some(file) => exactly(&file, range),
            None => Disk.open(&range.path).and_then(|file| exactly(&file, range)),
        };
        first.or_else(|why| self.search(range)?.ok_or(why))
    }

    /// Looks among the log and what rotation made of it: for the file itself, or a copy.
    fn search(&self, range: &LogRange) -> io::Result<Option<Vec<u8>>> {
        let (Some(folder), Some(base)) = (range.log.parent(), range.log.file_name()) else {
            return Ok(None);
        };
        let Some(base) = base.to_str() else { return Ok(None) };
        let mut all = Disk.list(folder, &|n| n == base || rotated(base, n).is_some())?;
        all.retain(|e| e.stat.len >= range.to);
        all.sort_by_key(|e| e.stat.id != range.file);
        let files = all.iter().filter_map(|e| Disk.open(&folder.join(&e.name)).ok());
        Ok(files.filter_map(|f| exactly(&f, range).ok()).next())
    }
}

/// The range of this file, if it is that of which it was chosen.
fn exactly(file: &Arc<File>, range: &LogRange) -> io::Result<Vec<u8>> {
    let len = usize::try_from(range.to - range.from).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(len + TextBlock::PAD);
    bytes.resize(len, 0);
    let n = Disk.read_at(file, &mut bytes, range.from)?;
    if n < len {
        return Err(io::Error::other("the file is shorter than it was"));
    }
    if crc32c::crc32c(&bytes) != range.crc {
        return Err(io::Error::other("the file has other content than it had"));
    }
    Ok(bytes)
}

impl Pipe for LogPipe {
    type Out = Str;
    fn partitions(&self) -> usize {
        self.slice.partitions.len()
    }
    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}

    /// How a batch's files are cut and grouped changes from batch to batch.
    fn input_partition(&self, _: usize) -> u64 {
        0
    }
    fn known_len(&self, _: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.slice.partitions[part].iter().map(|r| r.records).sum()))
    }
    fn input_records(&self) -> usize {
        usize::try_from(self.slice.records()).unwrap_or(usize::MAX)
    }
    #[inline]
    fn fold<A>(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        init: A,
        mut f: impl FnMut(A, Str) -> A,
    ) -> Result<A, TaskError> {
        let mut acc = init;
        for range in &self.slice.partitions[part] {
            acc = fold_lines(cx, &self.block(range)?, acc, &mut f)?;
        }
        Ok(acc)
    }
    #[inline]
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(Str) -> Flow,
    ) -> Result<Flow, TaskError> {
        for range in &self.slice.partitions[part] {
            let r = each_line(cx, &self.block(range)?, &mut f)?;
            if r.is_break() {
                return Ok(r);
            }
        }
        Ok(Flow::Continue(()))
    }
}
