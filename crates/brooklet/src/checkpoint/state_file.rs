//! Base and delta files: entries by key group and key.
//!
//! ```text
//! file     preamble("BRKLSTA") head data* index tail
//! head     frame: what the file is (MessagePack with field names)
//! data     frame: run*                      as large as the policy says, more if an entry is larger
//! run      group:u8 entries:u32 entry*      groups ascend over the file, keys within a group
//! entry    key:varint value:varint key-bytes value-bytes      value is 0 for a removed key, else length+1
//! index    frame: frames:varint { first:u8 last:u8 length:u32 crc32c:u32 }*     of the data frames
//! tail     index-at:u64 index-length:u32 index-crc32c:u32 crc32c-of-name-and-these:u32 "END\n"
//! ```
//! The tail's checksum stands in the manifest: through the index it covers the whole file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CheckpointError;
use super::delta::Change;
use super::frame::{
    self, FRAME_HEAD, FramePlace, FrameWriter, PREAMBLE, check_preamble, decode_frame, number,
    preamble, put_varint, take_varint,
};
use super::manifest::{FileEntry, OperatorEntry, state_name};
use super::storage::{Storage, StorageReader};
use crate::Time;

const MAGIC: &[u8; 7] = b"BRKLSTA";
const VERSION: u8 = 1;
const TAIL: usize = 24;
const END: &[u8; 4] = b"END\n";
const INDEX_ENTRY: usize = 10;

type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// What the head of a file says, for tools that have only the file.
#[derive(Serialize)]
struct Head<'a> {
    operator: &'a str,
    kind: &'static str,
    time: Time,
    key_groups: u16,
    seed: u64,
    partitioner: &'a str,
    schemas: Vec<&'a super::manifest::Schema>,
}

/// Files that belong together: the parts of a new base, or one delta.
pub(crate) struct Files<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) operator: &'a OperatorEntry,
    pub(crate) stem: &'a str,
    pub(crate) time: Time,
    pub(crate) base: bool,
    /// Numbers of the schemas that entries may have.
    pub(crate) schemas: Vec<u32>,
    /// Key groups that the files stand for.
    pub(crate) first: u8,
    pub(crate) last: u8,
    /// A base's part ends with the group in which it reaches this many bytes.
    pub(crate) part_bytes: u64,
    /// Raw bytes in a frame; more if an entry is larger.
    pub(crate) frame_bytes: usize,
    pub(crate) compress: bool,
}

/// Writes [`Files`].
pub(crate) struct FilesWriter<'a> {
    files: Files<'a>,
    part: Option<Part>,
    done: Vec<FileEntry>,
    /// The first group of the next part.
    next: u8,
    group: u8,
    raw: Vec<u8>,
}

struct Part {
    name: String,
    out: FrameWriter,
    index: Vec<u8>,
    frames: u64,
    entries: u64,
    /// The first group of the frame, where its run began, and the run's entries.
    first: u8,
    run: Option<(usize, u32)>,
}

impl<'a> FilesWriter<'a> {
    pub(crate) fn new(files: Files<'a>) -> FilesWriter<'a> {
        let (next, group) = (files.first, files.first);
        FilesWriter { files, part: None, done: Vec::new(), next, group, raw: Vec::new() }
    }

    /// The next entry; groups and keys must ascend.
    pub(crate) fn push(&mut self, c: Change<'_>) -> Result<()> {
        let other_group = c.group != self.group;
        let full = self.part.is_some() && self.part_bytes() >= self.files.part_bytes;
        if other_group && self.files.base && full {
            self.end_part(c.group - 1)?;
        }
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.begin_part()?,
        };
        if part.run.is_none() || other_group {
            end_run(&mut self.raw, part.run.take());
            if self.raw.is_empty() {
                part.first = c.group;
            }
            part.run = Some((self.raw.len(), 0));
            self.raw.extend_from_slice(&[c.group, 0, 0, 0, 0]);
            self.group = c.group;
        }
        put_varint(&mut self.raw, c.key.len() as u64);
        put_varint(&mut self.raw, c.value.map_or(0, |v| v.len() as u64 + 1));
        self.raw.extend_from_slice(c.key);
        self.raw.extend_from_slice(c.value.unwrap_or_default());
        if let Some((_, entries)) = &mut part.run {
            *entries += 1;
        }
        part.entries += 1;
        if self.raw.len() >= self.files.frame_bytes {
            self.end_frame(&mut part)?;
        }
        self.part = Some(part);
        Ok(())
    }

    /// Ends the last file. All of them are durable then, their names aren't yet.
    pub(crate) fn finish(mut self) -> Result<Vec<FileEntry>> {
        self.end_part(self.files.last)?;
        Ok(self.done)
    }

    fn part_bytes(&self) -> u64 {
        self.part.as_ref().map_or(0, |p| p.out.at()) + self.raw.len() as u64
    }

    fn failed<'b>(
        &'b self,
        name: &'b str,
        doing: &'static str,
    ) -> impl FnOnce(std::io::Error) -> CheckpointError + 'b {
        move |e| CheckpointError::io(&self.files.storage.path(name), doing, e)
    }

    fn begin_part(&self) -> Result<Part> {
        let f = &self.files;
        let meta = &f.operator.meta;
        let name = state_name(f.stem, self.done.len() as u32, &meta.identity, f.base);
        let head = Head {
            operator: &meta.identity,
            kind: if f.base { "base" } else { "delta" },
            time: f.time,
            key_groups: f.operator.key_groups,
            seed: meta.seed,
            partitioner: &meta.partitioner,
            schemas: f.schemas.iter().filter_map(|&s| f.operator.schemas.get(s as usize)).collect(),
        };
        let head = rmp_serde::to_vec_named(&head)
            .map_err(|e| CheckpointError::Bug(format!("a head can't be encoded: {e}")))?;
        let out = f.storage.create(&name).map_err(self.failed(&name, "creating"))?;
        let mut out = FrameWriter::new(out, &name, &preamble(MAGIC, VERSION), f.compress)
            .map_err(self.failed(&name, "writing"))?;
        out.frame(&head).map_err(self.failed(&name, "writing"))?;
        let index = Vec::new();
        Ok(Part { name, out, index, frames: 0, entries: 0, first: 0, run: None })
    }

    fn end_frame(&mut self, part: &mut Part) -> Result<()> {
        end_run(&mut self.raw, part.run.take());
        if self.raw.is_empty() {
            return Ok(());
        }
        let place = part.out.frame(&self.raw).map_err(self.failed(&part.name, "writing"))?;
        part.index.extend_from_slice(&[part.first, self.group]);
        part.index.extend_from_slice(&place.length.to_le_bytes());
        part.index.extend_from_slice(&place.crc.to_le_bytes());
        part.frames += 1;
        self.raw.clear();
        Ok(())
    }

    /// Ends a part, which stands for the groups up to `last`.
    fn end_part(&mut self, last: u8) -> Result<()> {
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.begin_part()?,
        };
        self.end_frame(&mut part)?;
        let mut index = Vec::with_capacity(part.index.len() + 4);
        put_varint(&mut index, part.frames);
        index.extend_from_slice(&part.index);
        let place = part.out.frame(&index).map_err(self.failed(&part.name, "writing"))?;
        let (tail, check) = tail(frame::seed(&part.name), place);
        let length = part.out.at() + TAIL as u64;
        part.out.finish(&tail).map_err(self.failed(&part.name, "writing and syncing"))?;
        self.done.push(FileEntry {
            name: part.name,
            time: self.files.time,
            first: self.next,
            last,
            length,
            check,
            entries: part.entries,
            schemas: self.files.schemas.clone(),
        });
        self.next = last.wrapping_add(1);
        Ok(())
    }
}

fn end_run(raw: &mut [u8], run: Option<(usize, u32)>) {
    if let Some((at, entries)) = run {
        raw[at + 1..at + 5].copy_from_slice(&entries.to_le_bytes());
    }
}

fn tail(seed: u32, index: FramePlace) -> ([u8; TAIL], u32) {
    let mut out = [0; TAIL];
    out[..8].copy_from_slice(&index.at.to_le_bytes());
    out[8..12].copy_from_slice(&index.length.to_le_bytes());
    out[12..16].copy_from_slice(&index.crc.to_le_bytes());
    let check = crc32c::crc32c_append(seed, &out[..16]);
    out[16..20].copy_from_slice(&check.to_le_bytes());
    out[20..].copy_from_slice(END);
    (out, check)
}

/// Reads some key groups of a file, entry by entry, with one frame in memory.
pub(crate) struct FileReader {
    path: PathBuf,
    file: Box<dyn StorageReader>,
    seed: u32,
    first: u8,
    last: u8,
    frames: std::vec::IntoIter<FramePlace>,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// The frame that `raw` holds.
    frame: FramePlace,
    /// Where in `raw` the next entry is, and how many entries of its run are left.
    at: usize,
    left: u32,
    group: u8,
    key: Range<usize>,
    value: Option<Range<usize>>,
    /// Group and key of the former frame's last entry, to see that keys ascend.
    before: Option<(u8, Vec<u8>)>,
    /// Whether there is a current entry.
    on: bool,
}

impl FileReader {
    /// Opens the file for the groups `first..=last`, and stands before the first entry.
    pub(crate) fn open(
        storage: &dyn Storage,
        entry: &FileEntry,
        first: u8,
        last: u8,
    ) -> Result<FileReader> {
        let path = storage.path(&entry.name);
        let failed = |e| CheckpointError::io(&path, "reading", e);
        let mut file = storage.open(&entry.name).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        if length != entry.length {
            return Err(other_length(&path, length, entry.length));
        }
        let bad = |at: u64, problem: &str| CheckpointError::corrupt(&path, at, problem);
        let Some(tail_at) = length.checked_sub(TAIL as u64).filter(|at| *at >= PREAMBLE as u64)
        else {
            return Err(bad(length, "the file ends too early"));
        };
        let (mut start, mut end) = ([0; PREAMBLE], [0; TAIL]);
        file.read_at(0, &mut start).map_err(failed)?;
        check_preamble(&path, &start, MAGIC, VERSION)?;
        file.read_at(tail_at, &mut end).map_err(failed)?;
        let seed = frame::seed(&entry.name);
        let index = read_tail(seed, &end, entry.check)
            .filter(|i| i.at.checked_add(u64::from(i.length)) == Some(tail_at))
            .ok_or_else(|| bad(tail_at, "its end isn't what the manifest says"))?;
        let mut reader = FileReader {
            path,
            file,
            seed,
            first,
            last,
            frames: Vec::new().into_iter(),
            stored: Vec::new(),
            raw: Vec::new(),
            frame: index,
            at: 0,
            left: 0,
            group: 0,
            key: 0..0,
            value: None,
            before: None,
            on: false,
        };
        reader.load(index, true)?;
        let (head, frames) = reader
            .read_index(index.at)
            .ok_or_else(|| reader.corrupt(index.at, "the index makes no sense"))?;
        reader.load(head, false)?;
        reader.raw.clear();
        reader.frames = frames.into_iter();
        Ok(reader)
    }

    /// The current entry.
    #[inline]
    pub(crate) fn change(&self) -> Option<Change<'_>> {
        self.on.then(|| Change {
            group: self.group,
            key: &self.raw[self.key.clone()],
            value: self.value.clone().map(|v| &self.raw[v]),
        })
    }

    /// Moves to the next entry; `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        loop {
            let had = std::mem::take(&mut self.on);
            let former = (self.group, self.key.clone());
            if self.left == 0 {
                if self.at == self.raw.len() {
                    if had {
                        self.before = Some((former.0, self.raw[former.1].to_vec()));
                    }
                    let Some(next) = self.frames.next() else { return Ok(false) };
                    self.load(next, true)?;
                    (self.at, self.key) = (0, 0..0);
                    continue;
                }
                let head = self.raw.get(self.at..self.at + 5);
                let Some((group, entries)) = head.and_then(|h| Some((*h.first()?, number(h, 1)?)))
                else {
                    return Err(self.nonsense());
                };
                (self.group, self.left) = (group, entries);
                self.at += 5;
                if entries == 0 {
                    return Err(self.nonsense());
                }
            }
            let (key, value, end) = self.parse().ok_or_else(|| self.nonsense())?;
            self.left -= 1;
            let before = match (&self.before, had) {
                (_, true) => Some((former.0, &self.raw[former.1])),
                (Some((g, k)), false) => Some((*g, &k[..])),
                (None, false) => None,
            };
            if before.is_some_and(|b| b >= (self.group, &self.raw[key.clone()])) {
                return Err(self.corrupt(self.frame.at, "its keys aren't in order"));
            }
            (self.key, self.value, self.at, self.on) = (key, value, end, true);
            if self.group > self.last {
                self.on = false;
                self.frames = Vec::new().into_iter();
                (self.left, self.at) = (0, self.raw.len());
                return Ok(false);
            }
            if self.group >= self.first {
                return Ok(true);
            }
        }
    }

    /// Key and value of the entry at `self.at`, and where it ends.
    #[inline]
    fn parse(&self) -> Option<(Range<usize>, Option<Range<usize>>, usize)> {
        let mut rest = self.raw.get(self.at..)?;
        let key = usize::try_from(take_varint(&mut rest)?).ok()?;
        let value = usize::try_from(take_varint(&mut rest)?).ok()?;
        let from = self.raw.len() - rest.len();
        let key_end = from.checked_add(key)?;
        let end = key_end.checked_add(value.saturating_sub(1))?;
        let value = (value > 0).then_some(key_end..end);
        (end <= self.raw.len()).then_some((from..key_end, value, end))
    }

    /// The head's place and those of the wanted data frames, from the index in `raw`, which is at byte
    /// `index_at` of the file.
    fn read_index(&self, index_at: u64) -> Option<(FramePlace, Vec<FramePlace>)> {
        let mut rest = &self.raw[..];
        let frames = usize::try_from(take_varint(&mut rest)?).ok()?;
        if rest.len() != frames.checked_mul(INDEX_ENTRY)? {
            return None;
        }
        let entries = rest.chunks_exact(INDEX_ENTRY);
        let entries: Vec<(u8, u8, u32, u32)> = entries
            .map(|e| Some((e[0], e[1], number(e, 2)?, number(e, 6)?)))
            .collect::<Option<_>>()?;
        let data: u64 = entries.iter().map(|e| u64::from(e.2)).sum();
        let mut at = index_at.checked_sub(data)?;
        let length = u32::try_from(at.checked_sub(PREAMBLE as u64)?).ok()?;
        let head = FramePlace { at: PREAMBLE as u64, length, crc: 0 };
        let mut wanted = Vec::new();
        for (first, last, length, crc) in entries {
            if last >= self.first && first <= self.last {
                wanted.push(FramePlace { at, length, crc });
            }
            at += u64::from(length);
        }
        Some((head, wanted))
    }

    /// Reads a frame into `raw`; `known` if its checksum was told by something that was checked.
    fn load(&mut self, place: FramePlace, known: bool) -> Result<()> {
        let length = place.length as usize;
        if length < FRAME_HEAD {
            return Err(self.corrupt(place.at, "a frame is too short"));
        }
        self.stored.resize(length, 0);
        self.file
            .read_at(place.at, &mut self.stored)
            .map_err(|e| CheckpointError::io(&self.path, "reading", e))?;
        let crc = decode_frame(self.seed, place.at, &self.stored, &mut self.raw)
            .map_err(|problem| self.corrupt(place.at, problem))?;
        if known && crc != place.crc {
            return Err(self.corrupt(place.at, "a frame isn't the one that was written"));
        }
        self.frame = place;
        Ok(())
    }

    fn nonsense(&self) -> CheckpointError {
        self.corrupt(self.frame.at, "a frame's entries make no sense")
    }

    fn corrupt(&self, at: u64, problem: &str) -> CheckpointError {
        CheckpointError::corrupt(&self.path, at, problem)
    }
}

/// The index's place, if the tail is the one that was written.
fn read_tail(seed: u32, tail: &[u8; TAIL], check: u32) -> Option<FramePlace> {
    let at = u64::from_le_bytes(*tail.first_chunk()?);
    let place = FramePlace { at, length: number(tail, 8)?, crc: number(tail, 12)? };
    let right = crc32c::crc32c_append(seed, &tail[..16]);
    let whole = number(tail, 16)? == right && right == check && tail[20..] == END[..];
    whole.then_some(place)
}

pub(crate) fn other_length(path: &Path, found: u64, expected: u64) -> CheckpointError {
    let problem = format!("it has {found} bytes, its manifest says {expected}");
    CheckpointError::corrupt(path, found.min(expected), problem)
}
