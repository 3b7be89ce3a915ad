//! Files of records that tasks write when their memory is short.
//!
//! ```text
//! file     segment*            one for a sorted run, one for each partition of a map output
//! segment  frame*              its place in the file is known to the one that wrote it
//! frame    raw:u32 stored:u32 records:u32 crc32c-of-these-and-payload:u32 payload
//! ```
//! Numbers are little-endian. A payload is records in postcard's format, lz4 when `stored < raw`; a record
//! larger than a frame makes a frame of its own. A file belongs to the process that wrote it and is deleted
//! when its last reader is gone; nothing of it outlives the context, so there is no version in it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::BlockStore;
use crate::conf::{Conf, defaults};
use crate::engine::TaskError;
use crate::metrics::SpillMetrics;

const FRAME_HEADER: usize = 16;

/// What the tasks of one process share for the case that memory is short: limits, folder, counters.
pub(crate) struct Spills {
    blocks: Arc<BlockStore>,
    task_memory: usize,
    shuffle_memory: usize,
    compress: bool,
    kept: AtomicUsize,
    files: AtomicU64,
    bytes: AtomicU64,
    live: AtomicU64,
}

impl Spills {
    pub(crate) fn new(conf: &Conf, blocks: Arc<BlockStore>) -> Arc<Spills> {
        Arc::new(Spills {
            blocks,
            task_memory: conf.task_memory,
            shuffle_memory: conf.shuffle_memory,
            compress: conf.compress_blocks,
            kept: AtomicUsize::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            live: AtomicU64::new(0),
        })
    }

    /// Bytes that one task may take for its tables and buffers.
    pub(crate) fn task_memory(&self) -> usize {
        self.task_memory
    }

    /// Room for `bytes` of an output that stays in memory after its task; `None` when there is none.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Arc<Held>> {
        let before = self.kept.fetch_add(bytes, Relaxed);
        // Made first, so that what was added is taken back if there is no room.
        let held = Held { spills: self.clone(), bytes };
        (before.saturating_add(bytes) <= self.shuffle_memory).then(|| Arc::new(held))
    }

    pub(crate) fn metrics(&self) -> SpillMetrics {
        SpillMetrics {
            spilled_files: self.files.load(Relaxed),
            spilled_bytes: self.bytes.load(Relaxed),
            live_files: self.live.load(Relaxed),
            kept_bytes: self.kept.load(Relaxed) as u64,
        }
    }
}

impl fmt::Debug for Spills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metrics().fmt(f)
    }
}

/// Memory that an output counts for; given back when it is dropped.
pub(crate) struct Held {
    spills: Arc<Spills>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.spills.kept.fetch_sub(self.bytes, Relaxed);
    }
}

/// A file of spilled records; deleted when dropped, so also when the task that writes it fails.
struct SpillFile {
    path: PathBuf,
    spills: Arc<Spills>,
}

impl SpillFile {
    fn error(&self, e: impl fmt::Display) -> TaskError {
        error(&self.path, e)
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), error = %e, "a spill file stays until its folder goes");
        }
        self.spills.live.fetch_sub(1, Relaxed);
    }
}

fn error(path: &std::path::Path, e: impl fmt::Display) -> TaskError {
    TaskError::Spill { path: path.display().to_string(), message: e.to_string() }
}

/// A part of a spill file: a run, or what a map task has for one partition.
#[derive(Clone)]
pub(crate) struct Segment {
    file: Arc<SpillFile>,
    at: u64,
    end: u64,
    records: u64,
}

impl Segment {
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.at
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records in {}", self.records, self.file.path.display())
    }
}

/// Writes one spill file, segment by segment.
pub(crate) struct SpillWriter {
    out: File,
    file: Arc<SpillFile>,
    /// Where the segment began, where the file ends.
    from: u64,
    at: u64,
    /// Records of the segment that are in the file, and of the frame that isn't.
    written: u64,
    waiting: u32,
    raw: Vec<u8>,
    packed: Vec<u8>,
}

impl SpillWriter {
    pub(crate) fn new(spills: &Arc<Spills>) -> Result<SpillWriter, TaskError> {
        let path = spills
            .blocks
            .new_path(|n| format!("task.{n}.spill"))
            .map_err(|(path, e)| error(&path, e))?;
        SpillWriter::at(spills, path)
    }

    /// One at a path where nothing is yet.
    pub(crate) fn at(spills: &Arc<Spills>, path: PathBuf) -> Result<SpillWriter, TaskError> {
        let out = File::create_new(&path).map_err(|e| error(&path, e))?;
        spills.live.fetch_add(1, Relaxed);
        spills.files.fetch_add(1, Relaxed);
        let file = Arc::new(SpillFile { path, spills: spills.clone() });
        let (raw, packed) = (Vec::with_capacity(defaults::SPILL_FRAME * 5 / 4), Vec::new());
        Ok(SpillWriter { out, file, from: 0, at: 0, written: 0, waiting: 0, raw, packed })
    }

    /// The next record of the segment.
    pub(crate) fn push<T: Serialize>(&mut self, x: &T) -> Result<(), TaskError> {
        postcard::serialize_with_flavor(x, Append(&mut self.raw)).map_err(TaskError::codec::<T>)?;
        self.waiting += 1;
        if self.raw.len() >= defaults::SPILL_FRAME { self.write_frame() } else { Ok(()) }
    }

    /// Records of the segment.
    pub(crate) fn push_all<'a, T: Serialize + 'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), TaskError> {
        records.into_iter().try_for_each(|x| self.push(x))
    }

    /// Ends the segment; the next record begins another one.
    pub(crate) fn segment(&mut self) -> Result<Segment, TaskError> {
        self.write_frame()?;
        let (at, records) = (self.from, self.written);
        self.from = self.at;
        self.written = 0;
        Ok(Segment { file: self.file.clone(), at, end: self.at, records })
    }

    fn write_frame(&mut self) -> Result<(), TaskError> {
        if self.waiting == 0 {
            return Ok(());
        }
        let too_large = |_| self.file.error("a record has more than 4 GiB");
        let raw = u32::try_from(self.raw.len()).map_err(too_large)?;
        let mut payload = &self.raw[..];
        if self.file.spills.compress {
            let most = lz4_flex::block::get_maximum_output_size(self.raw.len());
            self.packed.resize(most.max(self.packed.len()), 0);
            let n = lz4_flex::block::compress_into(&self.raw, &mut self.packed)
                .map_err(|e| self.file.error(e))?;
            if n < self.raw.len() {
                payload = &self.packed[..n];
            }
        }
        let mut head = [0; FRAME_HEADER];
        head[..4].copy_from_slice(&raw.to_le_bytes());
        head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[8..12].copy_from_slice(&self.waiting.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..12]), payload);
        head[12..].copy_from_slice(&crc.to_le_bytes());
        let done = self.out.write_all(&head).and_then(|()| self.out.write_all(payload));
        done.map_err(|e| self.file.error(e))?;
        let bytes = (FRAME_HEADER + payload.len()) as u64;
        self.at += bytes;
        self.file.spills.bytes.fetch_add(bytes, Relaxed);
        self.written += u64::from(self.waiting);
        self.waiting = 0;
        self.raw.clear();
        Ok(())
    }
}

impl fmt::Debug for SpillWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpillWriter({})", self.file.path.display())
    }
}

/// Reads a segment frame by frame.
pub(crate) struct SegmentReader<T> {
    input: Option<File>,
    segment: Segment,
    at: u64,
    payload: Vec<u8>,
    raw: Vec<u8>,
    t: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> SegmentReader<T> {
    pub(crate) fn new(segment: &Segment) -> SegmentReader<T> {
        SegmentReader {
            input: None,
            at: segment.at,
            segment: segment.clone(),
            payload: Vec::new(),
            raw: Vec::new(),
            t: PhantomData,
        }
    }

    /// Adds the records of the next frame to `to`. Whether there was one.
    pub(crate) fn next_frame(&mut self, to: &mut Vec<T>) -> Result<bool, TaskError> {
        if self.at >= self.segment.end {
            self.input = None;
            return Ok(false);
        }
        let records = self.read_frame().map_err(|e| {
            let what = match e.kind() {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_string(),
                _ => e.to_string(),
            };
            self.segment.file.error(format!("frame at byte {}: {what}", self.at))
        })?;
        let mut rest = &self.raw[..];
        to.reserve(records as usize);
        for _ in 0..records {
            let (x, after) = postcard::take_from_bytes(rest).map_err(TaskError::codec::<T>)?;
            to.push(x);
            rest = after;
        }
        Ok(true)
    }

    /// Brings the next frame's records to `raw`. Returns how many they are.
    fn read_frame(&mut self) -> io::Result<u32> {
        let input = match &mut self.input {
            Some(input) => input,
            None => {
                let mut file = File::open(&self.segment.file.path)?;
                file.seek(SeekFrom::Start(self.at))?;
                self.input.insert(file)
            }
        };
        let bad = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_string());
        let mut head = [0; FRAME_HEADER];
        input.read_exact(&mut head)?;
        let [raw, stored, records, crc] = [0, 4, 8, 12]
            .map(|i| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]));
        let after = self.at + FRAME_HEADER as u64 + u64::from(stored);
        if stored > raw || after > self.segment.end {
            return Err(bad("impossible lengths"));
        }
        self.payload.resize(stored as usize, 0);
        input.read_exact(&mut self.payload)?;
        if crc32c::crc32c_append(crc32c::crc32c(&head[..12]), &self.payload) != crc {
            return Err(bad("wrong checksum"));
        }
        if stored == raw {
            std::mem::swap(&mut self.raw, &mut self.payload);
        } else {
            self.raw.resize(raw as usize, 0);
            let n = lz4_flex::block::decompress_into(&self.payload, &mut self.raw)
                .map_err(|e| bad(&e.to_string()))?;
            if n != raw as usize {
                return Err(bad("it isn't as long as it says"));
            }
        }
        self.at = after;
        Ok(records)
    }
}

impl<T> fmt::Debug for SegmentReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentReader({:?})", self.segment)
    }
}

/// Serializes to the end of a vector.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spills(compress: bool) -> Arc<Spills> {
        let conf = Conf::new("spill").compress_blocks(compress).shuffle_memory(100);
        Spills::new(&conf, BlockStore::new(0, None))
    }

    fn read<T: DeserializeOwned>(segment: &Segment) -> Result<Vec<T>, TaskError> {
        let (mut reader, mut all) = (SegmentReader::new(segment), Vec::new());
        while reader.next_frame(&mut all)? {}
        Ok(all)
    }

    #[test]
    fn segments_come_back_and_the_file_goes_with_the_last_one() {
        for compress in [false, true] {
            let spills = spills(compress);
            let mut w = SpillWriter::new(&spills).unwrap();
            let many: Vec<(u64, String)> = (0..50_000).map(|i| (i, format!("text {i}"))).collect();
            w.push_all(&many).unwrap();
            let first = w.segment().unwrap();
            let second = w.segment().unwrap();
            w.push(&"x".repeat(1 << 20)).unwrap();
            let third = w.segment().unwrap();
            let path = w.file.path.clone();
            drop(w);
            assert_eq!(fs::metadata(&path).unwrap().len(), spills.metrics().spilled_bytes);
            assert_eq!(read::<(u64, String)>(&first).unwrap(), many);
            assert_eq!(read::<(u64, String)>(&first.clone()).unwrap(), many);
            assert_eq!(read::<(u64, String)>(&second).unwrap(), []);
            drop((first, second));
            assert_eq!(read::<String>(&third).unwrap(), ["x".repeat(1 << 20)]);
            assert_eq!((spills.metrics().live_files, spills.metrics().spilled_files), (1, 1));
            drop(third);
            assert_eq!(spills.metrics().live_files, 0);
            assert!(!path.exists());
        }
    }

    #[test]
    fn an_unfinished_file_goes_with_its_writer() {
        let spills = spills(false);
        let mut w = SpillWriter::new(&spills).unwrap();
        w.push_all(&vec![7u64; 100_000]).unwrap();
        let path = w.file.path.clone();
        assert!(path.exists());
        drop(w);
        assert!(!path.exists());
    }

    #[test]
    fn memory_is_held_up_to_the_limit_and_given_back() {
        let spills = spills(false);
        let a = spills.hold(60).unwrap();
        assert!(spills.hold(41).is_none());
        let b = spills.hold(40).unwrap();
        assert_eq!(spills.metrics().kept_bytes, 100);
        drop((a, b));
        assert_eq!(spills.metrics().kept_bytes, 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = std::env::temp_dir().join(format!("brooklet-no-folder-{}", std::process::id()));
        fs::write(&file, "a file").unwrap();
        let conf = Conf::new("spill");
        let spills = Spills::new(&conf, BlockStore::new(0, Some(file.join("below"))));
        let e = SpillWriter::new(&spills).unwrap_err().to_string();
        fs::remove_file(&file).unwrap();
        assert!(e.contains("brooklet-no-folder"), "{e}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_changed_byte_and_any_cut_is_found(at in 0usize..1 << 20, bit in 0u8..8, cut: bool) {
            let spills = spills(false);
            let mut w = SpillWriter::new(&spills).unwrap();
            w.push_all(&(0..40_000u32).collect::<Vec<_>>()).unwrap();
            let segment = w.segment().unwrap();
            let path = w.file.path.clone();
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            fs::write(&path, &bytes).unwrap();
            let e = read::<u32>(&segment).unwrap_err();
            prop_assert!(matches!(e, TaskError::Spill { .. }), "{e}");
            prop_assert!(e.to_string().contains(".spill"));
        }
    }
}
