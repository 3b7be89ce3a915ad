//! When a checkpoint is written, and which files are merged.

use std::time::Duration;

use super::manifest::{FileEntry, OperatorEntry};
use crate::conf::defaults;

/// When to write checkpoints, and how much memory and disk they may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CheckpointPolicy {
    /// A checkpoint is written after at least this many batches ...
    pub(crate) min_batches: u32,
    /// ... and this much batch time ...
    pub(crate) min_interval: Duration,
    /// ... or when this many bytes of changes have been collected.
    pub(crate) max_bytes: usize,
    /// Bytes of changes that may wait in memory; above it, batches wait for the disk.
    pub(crate) max_pending_bytes: usize,
    /// Checkpoints that are kept.
    pub(crate) keep: usize,
    /// Raw bytes in a frame of a file; more if an entry is larger.
    pub(crate) frame_bytes: usize,
    /// Whether files are compressed.
    pub(crate) compress: bool,
    /// Which files are merged.
    pub(crate) merge: MergePolicy,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        CheckpointPolicy {
            min_batches: defaults::CHECKPOINT_MIN_BATCHES,
            min_interval: defaults::CHECKPOINT_MIN_INTERVAL,
            max_bytes: defaults::CHECKPOINT_MAX_BYTES,
            max_pending_bytes: defaults::CHECKPOINT_MAX_PENDING_BYTES,
            keep: defaults::CHECKPOINTS_KEPT,
            frame_bytes: defaults::CHECKPOINT_FRAME_BYTES,
            compress: defaults::CHECKPOINT_COMPRESS,
            merge: MergePolicy::default(),
        }
    }
}

impl CheckpointPolicy {
    /// Whether a checkpoint is due, that many batches, batch time and bytes after the former one.
    pub(crate) fn due(&self, batches: u32, since: Duration, bytes: usize) -> bool {
        let enough = batches >= self.min_batches.max(1) && since >= self.min_interval;
        enough || bytes >= self.max_bytes.min(self.max_pending_bytes)
    }
}

/// Which files of an operator are merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MergePolicy {
    /// Least bytes of deltas for a merge into the base.
    pub(crate) min_bytes: u64,
    /// Delta files above which the newest ones of like size become one.
    pub(crate) max_deltas: usize,
    /// Bytes above which a base file ends at the next group, and a delta isn't merged with other deltas;
    /// so a merge, which goes file by file, never takes long.
    pub(crate) base_bytes: u64,
}

impl Default for MergePolicy {
    fn default() -> Self {
        MergePolicy {
            min_bytes: defaults::CHECKPOINT_MERGE_MIN_BYTES,
            max_deltas: defaults::CHECKPOINT_MAX_DELTAS,
            base_bytes: defaults::CHECKPOINT_BASE_BYTES,
        }
    }
}

/// Files that become one (or several, for a base that has grown).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inputs {
    /// From the oldest to the newest.
    pub(crate) files: Vec<FileEntry>,
    pub(crate) first: u8,
    pub(crate) last: u8,
    /// Whether the oldest one is a base: then removed keys are forgotten.
    pub(crate) base: bool,
}

impl MergePolicy {
    /// The merge that an operator needs most; `None` while it needs none.
    pub(crate) fn choose(&self, op: &OperatorEntry) -> Option<Inputs> {
        let due = op.bases.iter().filter_map(|b| {
            let newer = newer(op, b).map(|d| d.length).sum::<u64>();
            let groups = u64::from(b.last) - u64::from(b.first) + 1;
            // Deltas have no sizes by group; keys are spread evenly by their hash.
            let share = newer.saturating_mul(groups) / 256;
            (share > b.length / 2 && newer > self.min_bytes).then_some((share, b))
        });
        if let Some((_, base)) = due.max_by_key(|(share, _)| *share) {
            let files = std::iter::once(base).chain(newer(op, base)).cloned().collect();
            return Some(Inputs { files, first: base.first, last: base.last, base: true });
        }
        // Large ones stay as they are, so that no merge takes long.
        let large = op.deltas.iter().rposition(|d| d.length > self.base_bytes);
        let start = large.map_or(0, |i| i + 1);
        if op.deltas.len() - start <= self.max_deltas.max(1) {
            return None;
        }
        // The newest ones, each not larger than twice what is newer: so each byte is merged a
        // logarithmic number of times.
        let (mut bytes, mut from) = (0, op.deltas.len());
        while from > start {
            let length = op.deltas[from - 1].length;
            let enough = length > 2 * bytes || bytes > self.base_bytes;
            if op.deltas.len() - from >= 2 && enough {
                break;
            }
            bytes += length;
            from -= 1;
        }
        Some(Inputs { files: op.deltas[from..].to_vec(), first: 0, last: 255, base: false })
    }
}

/// The deltas that aren't in a base.
pub(crate) fn newer<'a>(
    op: &'a OperatorEntry,
    base: &FileEntry,
) -> impl Iterator<Item = &'a FileEntry> + use<'a> {
    let time = base.time;
    op.deltas.iter().filter(move |d| d.time > time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::OperatorMeta;
    use crate::{Time, millis, seconds};

    #[test]
    fn a_checkpoint_needs_batches_and_time_or_bytes() {
        let p = CheckpointPolicy::default();
        assert!(!p.due(9, seconds(9), 0), "too few batches");
        assert!(!p.due(500, millis(500), 0), "too little time");
        assert!(p.due(10, seconds(10), 0));
        assert!(p.due(1_000, seconds(1), 0));
        assert!(p.due(1, millis(1), defaults::CHECKPOINT_MAX_BYTES));
        let small = CheckpointPolicy { max_pending_bytes: 10, ..p };
        assert!(small.due(1, millis(1), 10), "else a batch would wait for ever");
    }

    fn op(bases: &[(u8, u8, u64, u64)], deltas: &[(u64, u64)]) -> OperatorEntry {
        let meta = OperatorMeta {
            identity: "op".into(),
            schema: vec![],
            seed: 0,
            partitioner: "hash".into(),
        };
        let file = |first, last, time, length| FileEntry {
            name: format!("{first}-{time}"),
            time: Time::from_millis(time),
            first,
            last,
            length,
            check: 0,
            entries: 0,
            schemas: vec![0],
        };
        let mut op = OperatorEntry::new(meta);
        op.bases = bases.iter().map(|&(f, l, t, n)| file(f, l, t, n)).collect();
        op.deltas = deltas.iter().map(|&(t, n)| file(0, 255, t, n)).collect();
        op
    }

    fn times(i: &Inputs) -> Vec<u64> {
        i.files.iter().map(|f| f.time.millis()).collect()
    }

    #[test]
    fn a_base_is_merged_when_its_deltas_are_half_of_it() {
        let p = MergePolicy { min_bytes: 10, max_deltas: 3, base_bytes: 1_000 };
        assert_eq!(p.choose(&op(&[(0, 255, 1, 100)], &[(2, 30), (3, 20)])), None);
        let i = p.choose(&op(&[(0, 255, 1, 100)], &[(2, 30), (3, 21)])).unwrap();
        assert_eq!((times(&i), i.base), (vec![1, 2, 3], true));
        assert_eq!(p.choose(&op(&[(0, 255, 1, 8)], &[(2, 9)])), None, "too small to bother");
        // Two ranges, one of which has got the first delta already.
        let two = op(&[(0, 127, 1, 100), (128, 255, 2, 100)], &[(2, 80), (3, 80)]);
        let i = p.choose(&two).unwrap();
        assert_eq!((times(&i), i.first, i.last), (vec![1, 2, 3], 0, 127));
    }

    #[test]
    fn many_deltas_become_one_and_each_byte_is_merged_seldom() {
        let p = MergePolicy { min_bytes: 1 << 40, max_deltas: 8, base_bytes: 1 << 40 };
        let mut op = op(&[(0, 255, 0, 1 << 50)], &[]);
        let (mut written, mut merged) = (0, 0);
        for t in 1..=4_000u64 {
            op.deltas.push(FileEntry {
                time: Time::from_millis(t),
                length: 100,
                first: 0,
                last: 255,
                ..op.bases[0].clone()
            });
            written += 100;
            while let Some(i) = p.choose(&op) {
                let bytes: u64 = i.files.iter().map(|f| f.length).sum();
                let from = op.deltas.len() - i.files.len();
                assert!(i.files.len() >= 2 && !i.base);
                assert_eq!(op.deltas[from..], i.files[..]);
                merged += bytes;
                let last = FileEntry { length: bytes, ..i.files[i.files.len() - 1].clone() };
                op.deltas.truncate(from);
                op.deltas.push(last);
            }
            assert!(op.deltas.len() <= p.max_deltas);
        }
        assert!(merged < 12 * written, "{merged} of {written}");
    }

    #[test]
    fn no_merge_of_deltas_is_large() {
        let p = MergePolicy { min_bytes: 1 << 40, max_deltas: 4, base_bytes: 1_000 };
        let mut op = op(&[(0, 255, 0, 1 << 50)], &[]);
        for t in 1..=2_000u64 {
            let length = 20 + t * 7919 % 500;
            let time = Time::from_millis(t);
            op.deltas.push(FileEntry { time, length, ..op.bases[0].clone() });
            while let Some(i) = p.choose(&op) {
                let bytes: u64 = i.files.iter().map(|f| f.length).sum();
                assert!(bytes <= 3 * p.base_bytes, "{bytes}");
                let from = op.deltas.len() - i.files.len();
                let last = FileEntry { length: bytes, ..i.files[i.files.len() - 1].clone() };
                op.deltas.truncate(from);
                op.deltas.push(last);
            }
        }
        let bytes: u64 = op.deltas.iter().map(|d| d.length).sum();
        // Each at least half as large, on average.
        assert!((op.deltas.len() as u64) < bytes / 500, "{} files", op.deltas.len());
    }
}
