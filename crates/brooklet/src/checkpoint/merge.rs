//! Reads files of different ages as one: the newest entry of each key.

use super::CheckpointError;
use super::delta::Change;
use super::manifest::FileEntry;
use super::state_file::FileReader;
use super::storage::Storage;

/// The entries of several files by group and key, with one frame of each in memory.
pub(crate) struct MergeReader {
    /// From the oldest to the newest; those that are at their end are gone.
    files: Vec<FileReader>,
    /// The files that stand on the key of the current entry, and so have to move.
    on: Vec<usize>,
}

impl MergeReader {
    /// Opens files for the groups `first..=last`; the oldest one comes first.
    pub(crate) fn open<'a>(
        storage: &dyn Storage,
        files: impl IntoIterator<Item = &'a FileEntry>,
        first: u8,
        last: u8,
    ) -> Result<MergeReader, CheckpointError> {
        let mut open = Vec::new();
        for f in files {
            let mut file = FileReader::open(storage, f, first, last)?;
            if file.advance()? {
                open.push(file);
            }
        }
        Ok(MergeReader { files: open, on: Vec::new() })
    }

    /// The next key, with its value or `None` if it was removed.
    pub(crate) fn next(&mut self) -> Result<Option<Change<'_>>, CheckpointError> {
        // From the end, so that places stay right while files go.
        while let Some(i) = self.on.pop() {
            if !self.files[i].advance()? {
                self.files.remove(i);
            }
        }
        let mut least: Option<(u8, &[u8])> = None;
        for (i, f) in self.files.iter().enumerate() {
            let Some(c) = f.change() else { continue };
            let order = least.map_or(std::cmp::Ordering::Less, |l| (c.group, c.key).cmp(&l));
            if order.is_lt() {
                self.on.clear();
                least = Some((c.group, c.key));
            }
            if order.is_le() {
                self.on.push(i);
            }
        }
        Ok(self.current())
    }

    /// What [`MergeReader::next`] gave last.
    pub(crate) fn current(&self) -> Option<Change<'_>> {
        self.files[*self.on.last()?].change()
    }
}
