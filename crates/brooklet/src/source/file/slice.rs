//! What names the files of a batch, and how they are shared out to partitions.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Time;
use crate::conf::defaults;

/// The files of a batch: who is who, and which partition reads what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSlice {
    pub(super) batch: Time,
    pub(super) files: Vec<TakenFile>,
    pub(super) parts: Vec<Vec<Split>>,
}

/// A file as it was when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TakenFile {
    pub(super) path: FilePath,
    pub(super) stamp: Stamp,
    /// None where the system gives none.
    pub(super) id: Option<FileId>,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Bytes.
    pub(super) size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub(super) mtime: i64,
}

impl Stamp {
    pub(super) fn of(m: &Metadata) -> Stamp {
        Stamp { size: m.len(), mtime: m.modified().map_or(0, nanos) }
    }
}

fn nanos(t: std::time::SystemTime) -> i64 {
    let clamp = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
    match t.duration_since(UNIX_EPOCH) {
        Ok(d) => clamp(d.as_nanos()),
        Err(e) => -clamp(e.duration().as_nanos()),
    }
}

/// What stays when a file is renamed. With the time of creation, where the file system keeps one, since the
/// number of a deleted file is given to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    file: u64,
    pub(super) created: Option<i64>,
}

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(m: &Metadata) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        Some(FileId { device: m.dev(), file: m.ino(), created: m.created().ok().map(nanos) })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Option<FileId> {
        None
    }
}

/// A part of a file that one partition reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Split {
    /// Number of the file in the slice.
    pub(super) file: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The file is read by several partitions.
    pub(super) cut: bool,
}

/// Shares files out: each is a partition or, when it is big and may be cut, several; small ones share a
/// partition when there are more than twice as many as there are threads. The order of the files is kept.
pub(super) fn share_out(
    files: &[(u64, bool)],
    split_bytes: u64,
    parallelism: usize,
) -> Vec<Vec<Split>> {
    let open = defaults::FILE_OPEN_BYTES;
    let total: u64 = files.iter().map(|(size, _)| size.saturating_add(open)).sum();
    let fair = total.div_ceil(2 * parallelism.max(1) as u64).min(split_bytes);
    let piece = fair.max(defaults::FILE_MIN_SPLIT_BYTES.min(split_bytes)).max(1);
    let mut parts: Vec<Vec<Split>> = Vec::new();
    let mut room = 0u64;
    for (i, &(size, can_cut)) in files.iter().enumerate() {
        let file = i as u32;
        if can_cut && size > piece {
            let n = size.div_ceil(piece);
            let at = |k: u64| (u128::from(size) * u128::from(k) / u128::from(n)) as u64;
            let split = |k| vec![Split { file, start: at(k), end: at(k + 1), cut: true }];
            parts.extend((0..n).map(split));
            room = 0;
            continue;
        }
        let split = Split { file, start: 0, end: size, cut: false };
        let cost = size.saturating_add(open);
        match parts.last_mut() {
            Some(last) if cost <= room => {
                last.push(split);
                room -= cost;
            }
            _ => {
                parts.push(vec![split]);
                room = fair.saturating_sub(cost);
            }
        }
    }
    parts
}

/// A path that travels, whatever bytes it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilePath(pub(super) PathBuf);

impl FilePath {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.as_os_str().as_encoded_bytes().serialize(s)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(d)?;
        path_of(bytes).map(FilePath).ok_or_else(|| D::Error::custom("a path that isn't one here"))
    }
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(unix)]
    #[test]
    fn any_path_travels() {
        let path = FilePath(path_of(b"a/\xff/b".to_vec()).unwrap());
        let bytes = postcard::to_stdvec(&path).unwrap();
        assert_eq!(postcard::from_bytes::<FilePath>(&bytes).unwrap(), path);
    }

    #[test]
    fn few_files_have_a_partition_each_and_many_share() {
        assert_eq!(share_out(&[(10, true); 3], 1 << 26, 2).len(), 3);
        let many = share_out(&[(10, true); 10_000], 1 << 26, 2);
        assert!((4..40).contains(&many.len()), "{}", many.len());
    }

    proptest! {
        /// Every byte of every file is in one split, in order.
        #[test]
        fn nothing_is_lost(
            files in prop::collection::vec((0u64..5_000_000, any::<bool>()), 0..20),
            split in 1u64..6_000_000,
            parallelism in 1usize..9,
        ) {
            prop_assume!(files.iter().map(|f| f.0 / split).sum::<u64>() < 10_000);
            let mut next = files.iter().map(|_| 0).collect::<Vec<u64>>();
            let mut last = 0;
            for s in share_out(&files, split, parallelism).iter().flatten() {
                let f = s.file as usize;
                prop_assert!(s.file >= last && s.start == next[f]);
                prop_assert_eq!(s.cut, s.end - s.start < files[f].0);
                prop_assert!(files[f].1 || !s.cut);
                (last, next[f]) = (s.file, s.end);
            }
            prop_assert!(files.iter().zip(&next).all(|(f, n)| f.0 == *n));
        }
    }
}
