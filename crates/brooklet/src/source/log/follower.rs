//! All logs that a path means: which there are, whose turn it is, and what is counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;

use super::file::LogRange;
use super::follow::{Begin, Budget, Event, Log, Rules};
use super::fs::{FileId, Files};
use super::names::LogPath;
use crate::Time;
use crate::conf::defaults;
use crate::receiver::counters as names;

/// What is counted beside what the receivers of text count.
pub(super) mod counters {
    pub(in super::super) const BYTES: &str = "bytes";
    pub(in super::super) const RECORDS: &str = "records";
    pub(in super::super) const ROTATIONS: &str = "rotations";
    pub(in super::super) const TRUNCATIONS: &str = "truncations";
    pub(in super::super) const LOST_BYTES: &str = "lost_bytes";
    pub(in super::super) const LOST_FILES: &str = "lost_files";
    pub(in super::super) const GAPS: &str = "gaps";
    pub(in super::super) const READ_ERRORS: &str = "read_errors";
    pub(in super::super) const INVALID_TEXT: &str = "invalid_text";
}

/// What was chosen for a batch: ranges with the files open, oldest first for each log.
pub(super) type Chosen<H> = Vec<(LogRange, H)>;

pub(super) struct Follower<F: Files> {
    fs: F,
    path: LogPath,
    rules: Rules,
    begin: Begin,
    max_batch_bytes: u64,
    logs: Vec<Log<F>>,
    /// For a pattern: the files of the last look at the folder, and when to look again.
    listed: Option<HashSet<FileId>>,
    list_at: Time,
    /// The log that is asked first.
    turn: usize,
    buffer: Vec<u8>,
    counts: BTreeMap<&'static str, u64>,
    /// The last reported problem of the folder.
    reported: Option<String>,
    taken: u64,
    /// What a graceful stop waits for: how far each file is to be read.
    goals: RefCell<Option<Vec<(FileId, u64)>>>,
}

impl<F: Files> Follower<F> {
    pub(super) fn new(
        fs: F,
        path: LogPath,
        rules: Rules,
        begin: Begin,
        max_batch_bytes: u64,
    ) -> Follower<F> {
        let logs = match path.pattern.is_some() {
            true => Vec::new(),
            false => vec![Log::new(&path.folder, &path.name, rules, begin.clone())],
        };
        Follower {
            fs,
            path,
            rules,
            begin,
            max_batch_bytes: max_batch_bytes.max(1),
            logs,
            listed: None,
            list_at: Time::ZERO,
            turn: 0,
            buffer: Vec::new(),
            counts: BTreeMap::new(),
            reported: None,
            taken: 0,
            goals: RefCell::default(),
        }
    }

    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Looks at everything; at the start this decides where logs begin.
    pub(super) fn look(&mut self, t: Time) {
        let mut events = Vec::new();
        if self.path.pattern.is_some() && t >= self.list_at {
            self.list_at = t + defaults::LOG_PATTERN_INTERVAL;
            self.list(&mut events);
        }
        for log in &mut self.logs {
            log.look(&self.fs, t, &mut events);
        }
        self.note(events);
    }

    /// Looks for logs that the pattern means.
    fn list(&mut self, events: &mut Vec<Event>) {
        let literal = self.path.literal();
        let entries = match self.fs.list(&self.path.folder, &|n| n.starts_with(literal)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                let why = e.to_string();
                if self.reported.as_ref() != Some(&why) {
                    events.push(Event::Unreadable(self.path.folder.clone(), why.clone()));
                    self.reported = Some(why);
                }
                return;
            }
        };
        let names = self.path.logs(&entries);
        self.logs.retain(|log| !log.is_idle() || names.contains(&log.name()));
        for name in &names {
            if self.logs.iter().all(|log| log.name() != *name) {
                let begin = self.listed.clone().map_or(self.begin.clone(), Begin::Since);
                self.logs.push(Log::new(&self.path.folder, name, self.rules, begin));
            }
        }
        let missing = self.logs.is_empty().then(String::new);
        if missing.is_some() && self.reported.is_none() {
            events.push(Event::Missing(self.path.folder.join(&self.path.name)));
        }
        self.reported = missing;
        self.listed = Some(entries.iter().map(|e| e.stat.id).collect());
    }

    /// Chooses the lines of batch `t`.
    pub(super) fn choose(&mut self, t: Time, limit: Option<u64>) -> Chosen<F::Handle> {
        self.look(t);
        let (mut chosen, mut events) = (Vec::new(), Vec::new());
        let mut left = Budget { bytes: self.max_batch_bytes, records: limit };
        let n = self.logs.len();
        let first = self.turn.checked_rem(n).unwrap_or(0);
        self.turn = self.turn.wrapping_add(1);
        let order = || (first..n).chain(0..first);
        // Everybody's share first, what is left then.
        for (i, at) in order().enumerate() {
            let others = (n - i) as u64;
            let share = Budget {
                bytes: left.bytes.div_ceil(others),
                records: left.records.map(|r| r.div_ceil(others)),
            };
            let mut budget = share;
            let (log, buffer) = (&mut self.logs[at], &mut self.buffer);
            log.take(&self.fs, t, &mut budget, buffer, &mut chosen, &mut events);
            left = left.without(share, budget);
        }
        for at in order() {
            let (log, buffer) = (&mut self.logs[at], &mut self.buffer);
            if log.has_more {
                log.take(&self.fs, t, &mut left, buffer, &mut chosen, &mut events);
            }
        }
        if self.buffer.capacity() > 2 * defaults::LOG_SPLIT_BYTES {
            self.buffer = Vec::new();
        }
        self.taken = chosen.iter().map(|(r, _)| r.to - r.from).sum();
        self.count(counters::BYTES, self.taken);
        self.count(counters::RECORDS, chosen.iter().map(|(r, _)| r.records).sum());
        self.note(events);
        chosen
    }

    /// Whether a graceful stop has to wait: for what was in the files when this was asked first.
    pub(super) fn has_unread(&self) -> bool {
        let mut goals = self.goals.borrow_mut();
        let Some(goals) = goals.as_mut() else {
            let found: Vec<_> = self.logs.iter().flat_map(|l| l.waiting(&self.fs)).collect();
            let any = !found.is_empty();
            *goals = Some(found);
            return any;
        };
        // What the last batch couldn't take is a half line, or gone.
        goals.retain(|(id, to)| {
            let at = self.logs.iter().find_map(|l| l.position(*id));
            self.taken > 0 && at.is_some_and(|at| at < *to)
        });
        !goals.is_empty()
    }

    fn count(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            let count = self.counts.entry(name).or_default();
            *count = count.saturating_add(n);
        }
    }

    /// Counts, and says what somebody should know.
    fn note(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Missing(path) => {
                    let path = path.display();
                    tracing::warn!("log {path}: there is no such file yet; waiting for it");
                }
                Event::Unreadable(path, why) => {
                    self.count(counters::READ_ERRORS, 1);
                    tracing::warn!("log {}: {why}; trying again at every batch", path.display());
                }
                Event::Rotated(path, files) => {
                    self.count(counters::ROTATIONS, files);
                    tracing::debug!("log {}: rotated ({files} files)", path.display());
                }
                Event::Truncated(path) => {
                    self.count(counters::TRUNCATIONS, 1);
                    tracing::debug!("log {}: truncated, beginning at 0", path.display());
                }
                Event::Lost { path, bytes, why } => {
                    self.count(counters::LOST_BYTES, bytes);
                    let path = path.display();
                    tracing::warn!("log {path}: {bytes} bytes are lost: {why}");
                }
                Event::LostFile { path, bytes, why } => {
                    self.count(counters::LOST_BYTES, bytes);
                    self.count(counters::LOST_FILES, 1);
                    let path = path.display();
                    tracing::warn!("log {path}: its {bytes} bytes aren't read: {why}");
                }
                Event::Gap(path) => {
                    self.count(counters::GAPS, 1);
                    tracing::warn!(
                        "log {}: the file read last has left the folder, so files between it and the \
                         oldest one there may have, too; keep more rotated files",
                        path.display()
                    );
                }
                Event::LongLines(n) => self.count(names::LONG_LINES, n),
                Event::HalfLine => self.count(names::HALF_LINES, 1),
                Event::InvalidUtf8(n) => self.count(names::INVALID_UTF8, n),
                Event::InvalidText(n) => self.count(counters::INVALID_TEXT, n),
            }
        }
    }
}
