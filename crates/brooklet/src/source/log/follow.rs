//! Following one log: which files are its parts, and what of them hasn't been given to a batch.
//!
//! ```text
//!            name leads to another file            read to the end, not written to
//!  followed ───────────────────────────► rotated ─────────────────────────────────► known
//!     ▲ │ the name is gone                  │           for `rotated_wait`            │
//!     │ └──────────────────────────────────►│                                        │
//!     └──────── the name leads to it again ─┴────────────────────────────────────────┘
//! ```
//! A file that has been opened stays open until it is known, so that it is read to its end whatever becomes
//! of its name. Everything in the folder that rotation names and that is neither open nor known came to be
//! after the last look: it is a part of the log that was written and rotated in between.

use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{Followed, Known, LogRange, Mark, end, head, unchanged};
use super::fs::{Entry, FileId, Files};
use super::names::{age, rotated};
use super::scan::{Lines, Print};
use crate::Time;
use crate::conf::defaults;
use crate::receiver::HalfLines;

/// Looks at a folder before it is said to change too fast to be understood now.
const TRIES: usize = 5;
/// Bytes at the beginning of a file that make it certain that it is the same.
const SURE: u32 = 64;
/// Files that are remembered although they have left the folder: they may come back.
const REMEMBERED: usize = 64;

/// What a look noticed beside lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// There is no file of this name.
    Missing(PathBuf),
    /// A file or folder can't be opened or read; it is tried again.
    Unreadable(PathBuf, String),
    /// This many new files have taken the place of the old one.
    Rotated(PathBuf, u64),
    Truncated(PathBuf),
    /// These bytes were there and can't be read any more.
    Lost {
        path: PathBuf,
        bytes: u64,
        why: &'static str,
    },
    /// A file can't be read at all.
    LostFile {
        path: PathBuf,
        bytes: u64,
        why: String,
    },
    /// The file before has left the folder, so something between it and the next one may have, too.
    Gap(PathBuf),
    LongLines(u64),
    HalfLine,
    InvalidUtf8(u64),
    InvalidText(u64),
}

/// What a log may still take for the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) bytes: u64,
    pub(super) records: Option<u64>,
}

impl Budget {
    fn is_used_up(self) -> bool {
        self.bytes == 0 || self.records == Some(0)
    }

    /// What is left when of `share` just `rest` is.
    pub(super) fn without(self, share: Budget, rest: Budget) -> Budget {
        let records = |b: Budget| b.records.unwrap_or(0);
        let used = records(share) - records(rest);
        Budget {
            bytes: self.bytes.saturating_sub(share.bytes - rest.bytes),
            records: self.records.map(|n| n.saturating_sub(used)),
        }
    }

    fn take(&mut self, range: &LogRange) {
        self.bytes = self.bytes.saturating_sub(range.to - range.from);
        self.records = self.records.map(|n| n.saturating_sub(range.records));
    }
}

/// Where a log begins when it is looked at for the first time.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    End,
    Start,
    Rotated,
    /// At its first byte; of rotated files, those that weren't there at the last look at the folder.
    Since(HashSet<FileId>),
}

/// Settings of a [`Log`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) lines: Lines,
    pub(super) half_lines: HalfLines,
    pub(super) rotated_wait: Duration,
    pub(super) split: usize,
}

/// What is beside a log.
struct Found<H> {
    /// Files to read, oldest first.
    files: Vec<Followed<H>>,
    /// How many of them were read before and have been written to since.
    resumed: usize,
    /// Files not to look at again.
    known: Vec<Known>,
    events: Vec<Event>,
    /// The length of the copy that goes on with a truncated file; it is the first of the files.
    copied: Option<u64>,
}

impl<H> Found<H> {
    fn new() -> Found<H> {
        Found { files: Vec::new(), resumed: 0, known: Vec::new(), events: Vec::new(), copied: None }
    }

    fn lose(&mut self, path: PathBuf, e: &Entry, why: String) {
        self.events.push(Event::LostFile { path, bytes: e.stat.len, why });
    }
}

/// One log.
#[derive(Debug)]
pub(super) struct Log<F: Files> {
    path: PathBuf,
    folder: PathBuf,
    name: String,
    rules: Rules,
    begin: Option<Begin>,
    /// Oldest first.
    files: VecDeque<Followed<F::Handle>>,
    known: Vec<Known>,
    /// What the name led to last.
    current: Option<FileId>,
    /// What has been reported as missing or unreadable, to report it once.
    reported: Option<String>,
    /// The last batch took less than there was.
    pub(super) has_more: bool,
}

impl<F: Files> Log<F> {
    pub(super) fn new(folder: &Path, name: &str, rules: Rules, begin: Begin) -> Log<F> {
        Log {
            path: folder.join(name),
            folder: folder.to_owned(),
            name: name.to_owned(),
            rules,
            begin: Some(begin),
            files: VecDeque::new(),
            known: Vec::new(),
            current: None,
            reported: None,
            has_more: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The file of this identity, if it is open.
    pub(super) fn handle(&self, id: FileId) -> Option<F::Handle> {
        self.files.iter().find(|f| f.id == id).map(|f| f.handle.clone())
    }

    /// Files with bytes that no batch has been given, and their length now.
    pub(super) fn waiting(&self, fs: &F) -> Vec<(FileId, u64)> {
        let open = self.files.iter().filter_map(|f| {
            let stat = fs.stat_of(&f.handle).ok()?;
            (stat.len > f.mark.position).then_some((f.id, stat.len))
        });
        let mut all: Vec<_> = open.collect();
        if let Ok(now) = fs.stat(&self.path)
            && self.handle(now.id).is_none()
            && now.len > 0
        {
            all.push((now.id, now.len));
        }
        all
    }

    /// How far an open file has been given to batches.
    pub(super) fn position(&self, id: FileId) -> Option<u64> {
        self.files.iter().find(|f| f.id == id).map(|f| f.mark.position)
    }

    /// Whether no file is open.
    pub(super) fn is_idle(&self) -> bool {
        self.files.is_empty()
    }

    /// Looks at what the name leads to now.
    pub(super) fn look(&mut self, fs: &F, t: Time, events: &mut Vec<Event>) {
        self.look_at_rotated(fs, t, events);
        let now = match fs.stat(&self.path) {
            Ok(stat) if stat.regular => Some(stat),
            Ok(_) => return self.unreadable(events, "it is no regular file".into()),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return self.unreadable(events, e.to_string()),
        };
        let same = now.and_then(|now| self.files.iter().position(|f| f.id == now.id));
        let current = same.or_else(|| self.files.iter().position(|f| f.rotated.is_none()));
        let mut done = match current {
            Some(at) => self.look_at_current(fs, t, at, events),
            None => Ok(()),
        };
        if done.is_ok() && same.is_none() {
            done = match now {
                Some(_) => self.other_file(fs, t, events),
                None => {
                    self.missing(fs, t, events);
                    return;
                }
            };
        }
        match done {
            Ok(()) => self.reported = None,
            // Renamed while it was looked at: the next look will see.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => self.unreadable(events, e.to_string()),
        }
    }

    fn unreadable(&mut self, events: &mut Vec<Event>, why: String) {
        if self.reported.as_ref() != Some(&why) {
            events.push(Event::Unreadable(self.path.clone(), why.clone()));
            self.reported = Some(why);
        }
    }

    /// The name leads to nothing.
    fn missing(&mut self, fs: &F, t: Time, events: &mut Vec<Event>) {
        if let Some(Begin::End | Begin::Start) = self.begin {
            // What is there already under rotated names isn't new when the file appears; all else is.
            if !self.learn_siblings(fs, t) {
                return;
            }
            self.begin = None;
        }
        if self.files.is_empty() && self.reported.is_none() {
            self.reported = Some(String::new());
            events.push(Event::Missing(self.path.clone()));
        }
        for f in &mut self.files {
            f.rotated.get_or_insert(t);
        }
    }

    /// Files without the log's name: whether they have grown.
    fn look_at_rotated(&mut self, fs: &F, t: Time, events: &mut Vec<Event>) {
        for f in self.files.iter_mut().filter(|f| f.rotated.is_some()) {
            match fs.stat_of(&f.handle) {
                Ok(stat) => {
                    if stat.len != f.seen {
                        f.rotated = Some(t);
                    }
                    if stat.len < f.seen && f.seen > f.mark.position {
                        let bytes = f.seen - stat.len.max(f.mark.position);
                        let why = "the rotated file was truncated";
                        events.push(Event::Lost { path: f.path.clone(), bytes, why });
                    }
                    (f.seen, f.modified) = (stat.len, stat.modified);
                }
                Err(e) => events.push(Event::Unreadable(f.path.clone(), e.to_string())),
            }
        }
    }

    /// The file that the name leads to, or did at the last look: has it grown, or has its content been
    /// replaced?
    fn look_at_current(
        &mut self,
        fs: &F,
        t: Time,
        at: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let Some(mut f) = self.files.remove(at) else { return Ok(()) };
        for other in &mut self.files {
            other.rotated.get_or_insert(t);
        }
        let copies = self.update(fs, t, &mut f, events);
        f.rotated = None;
        f.path.clone_from(&self.path);
        self.current = Some(f.id);
        let done = copies.map(|copies| self.files.extend(copies));
        self.files.push_back(f);
        done
    }

    /// Brings `f` up to date. What comes before it when its content has been replaced; on an error nothing
    /// has been changed, and the next look sees the same again.
    fn update(
        &mut self,
        fs: &F,
        t: Time,
        f: &mut Followed<F::Handle>,
        events: &mut Vec<Event>,
    ) -> io::Result<Vec<Followed<F::Handle>>> {
        let mut stat = fs.stat_of(&f.handle)?;
        let same = unchanged(fs, &f.handle, stat.len, &f.mark)?;
        // A file that has been truncated and written to may begin as it did, if little of it was known: but
        // then there may be a copy that it doesn't begin with.
        let found =
            if same && f.mark.head.len >= SURE { None } else { Some(self.copies(fs, t, f, same)?) };
        let empty = f.mark.head.len == 0;
        let found = found
            .filter(|found| !same || found.copied.is_some() || (empty && !found.files.is_empty()));
        let mut copies = Vec::new();
        if let Some(mut found) = found {
            stat = fs.stat_of(&f.handle)?;
            events.push(Event::Truncated(f.path.clone()));
            events.append(&mut found.events);
            let kept = found.copied.unwrap_or(f.mark.position);
            if f.seen > kept {
                let why = "the file was truncated and no copy of its content is beside it";
                events.push(Event::Lost { path: f.path.clone(), bytes: f.seen - kept, why });
            }
            self.learn(found.known);
            copies = found.files;
            self.open(&copies);
            f.mark = Mark::default();
        } else if stat.len < f.seen {
            let (path, bytes) = (f.path.clone(), f.seen - stat.len);
            events.push(Event::Lost { path, bytes, why: "its end was cut off" });
        }
        f.mark.head = head(fs, &f.handle, stat.len)?;
        (f.seen, f.modified) = (stat.len, stat.modified);
        Ok(copies)
    }

    /// The name leads to a file that isn't open.
    fn other_file(&mut self, fs: &F, t: Time, events: &mut Vec<Event>) -> io::Result<()> {
        for _ in 0..TRIES {
            let siblings = self.siblings(fs)?;
            let handle = fs.open(&self.path)?;
            let stat = fs.stat_of(&handle)?;
            if self.handle(stat.id).is_some() {
                continue;
            }
            let head = head(fs, &handle, stat.len)?;
            let Some(found) = self.unread_siblings(fs, t, &siblings, Some(stat.id)) else {
                continue;
            };
            let still = fs.stat(&self.path).is_ok_and(|now| now.id == stat.id);
            if !still || !same_names(&siblings, &self.siblings(fs)?) {
                continue;
            }
            let resumed = self.known.iter().find_map(|k| k.mark_of(fs, &handle, &stat));
            let mark = match (&self.begin, resumed) {
                (_, Some(mark)) => mark,
                (Some(Begin::End), None) => end(fs, &handle, stat.len, &self.rules.lines)?,
                _ => Mark::default(),
            };
            self.take_siblings(t, &siblings, found, events);
            self.known.retain(|k| k.id != stat.id);
            self.current = Some(stat.id);
            self.files.push_back(Followed {
                handle,
                id: stat.id,
                path: self.path.clone(),
                mark: Mark { head, ..mark },
                seen: stat.len,
                modified: stat.modified,
                rotated: None,
            });
            return Ok(());
        }
        Ok(()) // the next look
    }

    /// What was found beside a file that is new: parts of the log, or what was there before it began.
    fn take_siblings(
        &mut self,
        t: Time,
        siblings: &[Entry],
        mut found: Found<F::Handle>,
        events: &mut Vec<Event>,
    ) {
        match self.begin.take() {
            None | Some(Begin::Rotated) => {
                let follows = self.current.is_some();
                let now = siblings.iter().find(|e| self.current == Some(e.stat.id));
                if follows && now.is_none() && !found.files.is_empty() {
                    events.push(Event::Gap(self.path.clone()));
                }
                if let Some(f) = self.files.iter_mut().rfind(|f| self.current == Some(f.id)) {
                    f.rotated.get_or_insert(t);
                    f.path = now.map_or(f.path.clone(), |e| self.folder.join(&e.name));
                }
                let new = found.files.len() - found.resumed;
                let files = new as u64 + u64::from(follows);
                if files > 0 {
                    events.push(Event::Rotated(self.path.clone(), files));
                }
                self.open(&found.files);
                self.files.extend(found.files);
                events.append(&mut found.events);
            }
            Some(Begin::End | Begin::Start) => {
                self.learn(found.files.iter().map(Known::whole));
            }
            Some(Begin::Since(old)) => {
                let (old, new): (Vec<_>, Vec<_>) =
                    found.files.into_iter().partition(|f| old.contains(&f.id));
                self.learn(old.iter().map(Known::whole));
                self.open(&new);
                self.files.extend(new);
            }
        }
        self.learn(found.known);
        let mut left = self.known.len();
        self.known.retain(|k| {
            left -= 1;
            left < REMEMBERED || siblings.iter().any(|e| e.stat.id == k.id)
        });
    }

    /// The files beside the log that rotation has named.
    fn siblings(&self, fs: &F) -> io::Result<Vec<Entry>> {
        let mut all = fs.list(&self.folder, &|name| rotated(&self.name, name).is_some())?;
        all.sort_by(|a, b| age(&self.name, a).cmp(&age(&self.name, b)));
        Ok(all)
    }

    /// Before the log begins, what is there counts as read. Whether the folder could be looked at.
    fn learn_siblings(&mut self, fs: &F, t: Time) -> bool {
        let siblings = match self.siblings(fs) {
            Ok(siblings) => siblings,
            // No folder, no siblings.
            Err(e) => return e.kind() == ErrorKind::NotFound,
        };
        let Some(found) = self.unread_siblings(fs, t, &siblings, None) else { return false };
        self.learn(found.files.iter().map(Known::whole).chain(found.known));
        true
    }

    /// Opens the siblings that are neither open nor known, oldest first. `None` when a name has changed in
    /// between.
    fn unread_siblings(
        &self,
        fs: &F,
        t: Time,
        siblings: &[Entry],
        current: Option<FileId>,
    ) -> Option<Found<F::Handle>> {
        let mut found = Found::new();
        for e in siblings {
            let is_open = self.files.iter().any(|f| f.id == e.stat.id);
            if is_open || current == Some(e.stat.id) {
                continue;
            }
            let path = self.folder.join(&e.name);
            let plain = rotated(&self.name, &e.name).and_then(|r| r.uncompressed);
            if let Some(plain) = plain {
                if !siblings.iter().any(|e| e.name == plain) {
                    let why = "it was compressed before it was read";
                    if !self.knows(e) {
                        if !self.was_read(e) {
                            found.lose(path, e, why.into());
                        }
                        found.known.push(Known::unreadable(&e.stat));
                    }
                } // else it is just being made
                continue;
            }
            let opened = fs.open(&path).and_then(|handle| {
                let stat = fs.stat_of(&handle)?;
                Ok((head(fs, &handle, stat.len)?, stat, handle))
            });
            let (head, stat, handle) = match opened {
                Ok((_, stat, _)) if stat.id != e.stat.id => return None,
                Ok(opened) => opened,
                Err(e) if e.kind() == ErrorKind::NotFound => return None,
                Err(error) => {
                    if !self.knows(e) {
                        found.lose(path, e, error.to_string());
                        found.known.push(Known::unreadable(&e.stat));
                    }
                    continue;
                }
            };
            let mark = match self.known.iter().find_map(|k| k.mark_of(fs, &handle, &stat)) {
                Some(mark) if stat.len <= mark.position => continue,
                Some(mark) => {
                    found.resumed += 1; // written to after it was read
                    mark
                }
                None if self.is_copy(fs, &handle, stat.len, head) => continue,
                None => Mark { head, ..Mark::default() },
            };
            found.files.push(Followed {
                handle,
                id: stat.id,
                path,
                mark,
                seen: stat.len,
                modified: stat.modified,
                rotated: Some(t),
            });
        }
        Some(found)
    }

    /// Whether a file that can't be read is known.
    fn knows(&self, e: &Entry) -> bool {
        self.known.iter().any(|k| k.id == e.stat.id && k.modified == e.stat.modified)
    }

    fn learn(&mut self, known: impl IntoIterator<Item = Known>) {
        for new in known {
            self.known.retain(|k| k.id != new.id);
            self.known.push(new);
        }
    }

    /// Files that are open aren't known any more.
    fn open(&mut self, files: &[Followed<F::Handle>]) {
        self.known.retain(|k| files.iter().all(|f| f.id != k.id));
    }

    /// Whether a file begins like one that is open or known, at such length that it must be a copy.
    fn is_copy(&self, fs: &F, handle: &F::Handle, len: u64, its: Print) -> bool {
        let full = defaults::LOG_FINGERPRINT_BYTES;
        let open = self.files.iter().map(|f| f.mark);
        let mut same = open
            .chain(self.known.iter().filter_map(|k| k.mark))
            .filter(|m| m.head.len as usize == full && m.head == its);
        same.any(|m| len <= m.position || matches!(unchanged(fs, handle, len, &m), Ok(true)))
    }

    /// Whether a compressed file was made of one that was read: compressing programs keep the time of the
    /// last change, if not always its fraction.
    fn was_read(&self, e: &Entry) -> bool {
        const SECOND: u128 = 1_000_000_000;
        let open = self.files.iter().map(|f| f.modified);
        let mut times = open.chain(self.known.iter().map(|k| k.modified));
        times.any(|m| m / SECOND == e.stat.modified / SECOND)
    }

    /// The content of `f` has been replaced: the copy of what it was, if there is one, and what was written
    /// and copied since.
    fn copies(
        &self,
        fs: &F,
        t: Time,
        f: &Followed<F::Handle>,
        same: bool,
    ) -> io::Result<Found<F::Handle>> {
        for _ in 0..TRIES {
            let siblings = self.siblings(fs)?;
            let Some(mut found) = self.unread_siblings(fs, t, &siblings, Some(f.id)) else {
                continue;
            };
            // When the file has been rotated since, what is younger than it comes after it.
            if let Some(at) = siblings.iter().position(|e| e.stat.id == f.id) {
                found.files.retain(|s| siblings[..at].iter().any(|e| e.stat.id == s.id));
            } else if !fs.stat(&self.path).is_ok_and(|now| now.id == f.id) {
                // It has been deleted: only what goes on with it is certainly older.
                let goes_on = |s: &Followed<F::Handle>| {
                    let head = f.mark.head.len > 0;
                    head && matches!(unchanged(fs, &s.handle, s.seen, &f.mark), Ok(true))
                };
                found.files.retain(goes_on);
            }
            if same {
                // What the file still begins with is a copy that somebody has made of it.
                let begins = |s: &Followed<F::Handle>| {
                    let its = Mark { position: s.seen, head: s.mark.head, ..Mark::default() };
                    let len = fs.stat_of(&f.handle).map_or(0, |now| now.len);
                    matches!(unchanged(fs, &f.handle, len, &its), Ok(true))
                };
                found.files.retain(|s| !begins(s));
            }
            for i in 0..found.files.len() {
                let s = &found.files[i];
                if f.mark.head.len > 0 && unchanged(fs, &s.handle, s.seen, &f.mark)? {
                    let mut copy = found.files.remove(i);
                    found.copied = Some(copy.seen);
                    copy.mark = Mark { head: copy.mark.head, ..f.mark };
                    found.files.insert(0, copy);
                    break;
                }
            }
            if same_names(&siblings, &self.siblings(fs)?) {
                return Ok(found);
            }
        }
        Err(io::Error::new(ErrorKind::NotFound, "the folder changes too fast"))
    }

    /// Takes whole lines, oldest first, as far as the budget goes.
    pub(super) fn take(
        &mut self,
        fs: &F,
        t: Time,
        budget: &mut Budget,
        buffer: &mut Vec<u8>,
        out: &mut Vec<(LogRange, F::Handle)>,
        events: &mut Vec<Event>,
    ) {
        self.has_more = false;
        let mut at = 0;
        while let Some(f) = self.files.get_mut(at) {
            loop {
                if f.seen <= f.mark.position {
                    break;
                }
                if budget.is_used_up() {
                    self.has_more = true;
                    return;
                }
                match f.next(fs, &self.path, &self.rules, *budget, buffer, events) {
                    Ok(Some(range)) => {
                        budget.take(&range);
                        out.push((range, f.handle.clone()));
                    }
                    Ok(None) => break,
                    Err(e) => {
                        events.push(Event::Unreadable(f.path.clone(), e.to_string()));
                        break;
                    }
                }
            }
            let wait = self.rules.rotated_wait;
            let over = f.rotated.is_some_and(|since| t.millis() >= (since + wait).millis());
            if !over {
                at += 1;
                continue;
            }
            match f.finish(fs, &self.path, &self.rules, buffer, events) {
                Ok(range) => {
                    out.extend(range.map(|r| (r, f.handle.clone())));
                    let known = Known::read(f);
                    self.files.remove(at);
                    self.learn([known]);
                }
                Err(e) => {
                    events.push(Event::Unreadable(f.path.clone(), e.to_string()));
                    at += 1;
                }
            }
        }
    }
}

fn same_names(a: &[Entry], b: &[Entry]) -> bool {
    let names = |v: &[Entry]| {
        let mut all: Vec<_> = v.iter().map(|e| (e.name.clone(), e.stat.id)).collect();
        all.sort();
        all
    };
    names(a) == names(b)
}
