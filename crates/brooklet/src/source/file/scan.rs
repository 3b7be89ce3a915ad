//! Looking for files, and remembering which ones are taken.
//!
//! ```text
//!            first seen            unchanged for the settle time, can be opened
//!  (nothing) ──────────► waiting ──────────────────────────────────────────────► taken
//!                 │         ▲ ▲                                                    │
//!                 │  changed└─┘◄───────────────── another file under this name ────┘
//!                 └──► broken (can't be looked at or opened; tried again at each scan, reported once)
//! ```
//! A directory is listed at each scan; only names that aren't taken yet are looked at, and some of the taken
//! ones in turn, to notice that they were changed. A taken file is known by its identity, so a rename makes
//! nothing new of it. A name that is gone is forgotten after a few scans (a listing during a rename may miss
//! a file), so memory is that of the names in the directories.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compression::HEAD;
use super::options::{FileOptions, StartFrom};
use super::pattern::{DirPattern, is_absent};
use super::slice::{FileId, FilePath, Stamp, TakenFile};
use crate::Time;
use crate::conf::defaults;
use crate::time::whole_millis;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Taken now, the oldest first.
    pub(super) files: Vec<TakenFile>,
    /// The first bytes of those that were asked for.
    pub(super) heads: HashMap<usize, Vec<u8>>,
    /// What to report, each once.
    pub(super) errors: Vec<String>,
    /// Files that can't be read, newly noticed.
    pub(super) unreadable: u64,
    /// Files that were changed after they had been taken, newly noticed.
    pub(super) changed: u64,
    /// Files that are due and have to wait for a later batch.
    pub(super) left: usize,
}

/// How much a batch may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// The first bytes of files above this size are wanted.
    pub(super) head_above: u64,
}

/// A name in a directory.
struct Entry {
    /// The number that the listing gives, to notice another file under the name without looking.
    listed: u64,
    /// The directory's scan that saw it last.
    seen: u64,
    /// It has a place in the rotation.
    rotating: bool,
    state: State,
}

enum State {
    /// Not wanted.
    Refused,
    Waiting {
        stamp: Stamp,
        since: Time,
    },
    Broken(String),
    Taken {
        id: Option<FileId>,
        stamp: Stamp,
        /// A change has been reported, or is of no interest.
        changed: bool,
    },
}

type Name = Arc<OsStr>;

#[derive(Default)]
struct Directory {
    entries: HashMap<Name, Entry>,
    /// Complete listings so far.
    scans: u64,
    failing: bool,
}

/// A taken file, by identity.
struct Known {
    stamp: Stamp,
    names: u32,
}

/// A name as a listing showed it.
#[derive(Clone)]
struct Sight {
    dir: Arc<Path>,
    name: Name,
    path: PathBuf,
    listed: u64,
    scan: u64,
}

/// A file that is due.
struct Due {
    sight: Sight,
    stamp: Stamp,
}

pub(super) struct Scanner {
    pattern: DirPattern,
    options: FileOptions,
    settle: Duration,
    dirs: BTreeMap<Arc<Path>, Directory>,
    known: HashMap<FileId, Known>,
    /// Taken files, to be looked at in turn.
    rotation: VecDeque<(Arc<Path>, Name)>,
    /// Taken files that are looked at in a scan.
    checks: usize,
    missing: bool,
    /// Parts of the pattern that can't be listed.
    failing: Vec<PathBuf>,
}

impl Scanner {
    pub(super) fn new(pattern: DirPattern, options: FileOptions) -> Scanner {
        Scanner {
            pattern,
            options,
            settle: Duration::ZERO,
            dirs: BTreeMap::new(),
            known: HashMap::new(),
            rotation: VecDeque::new(),
            checks: 0,
            missing: false,
            failing: Vec::new(),
        }
    }

    /// Before the first batch. Whether the directory is there; with [`StartFrom::NewOnly`] what is in it
    /// counts as taken.
    pub(super) fn begin(&mut self, interval: Duration, found: &mut Found) -> bool {
        let settle = interval.max(defaults::FILE_SETTLE_MIN);
        self.settle = self.options.settle_time.unwrap_or(settle);
        let per_second = defaults::FILE_CHECKS_PER_SECOND;
        self.checks = (whole_millis(interval) as usize * per_second / 1_000).clamp(10, per_second);
        if self.options.start_from == StartFrom::NewOnly {
            self.look(None, found);
        } else {
            self.directories(found);
        }
        !self.missing
    }

    /// Looks for the files of batch `t` and takes as many as there is room for.
    pub(super) fn scan(&mut self, t: Time, room: Room) -> Found {
        let mut found = Found::default();
        let mut due = self.look(Some(t), &mut found);
        self.check_taken(&mut found);
        due.sort_unstable_by(|a, b| {
            (a.stamp.mtime, &a.sight.path).cmp(&(b.stamp.mtime, &b.sight.path))
        });
        let (mut bytes, mut ids) = (0u64, HashSet::new());
        for (i, file) in due.iter().enumerate() {
            let full =
                bytes.saturating_add(file.stamp.size) > room.bytes && !found.files.is_empty();
            if found.files.len() == room.files || full {
                found.left = due.len() - i;
                break;
            }
            if let Some(head) = self.take(file, t, room, &mut ids, &mut found) {
                bytes = bytes.saturating_add(file.stamp.size);
                if let Some(head) = head {
                    found.heads.insert(found.files.len() - 1, head);
                }
            }
        }
        found
    }

    /// A file that an earlier run has taken.
    pub(super) fn restore(&mut self, file: &TakenFile) {
        let (Some(dir), Some(name)) = (file.path.path().parent(), file.path.path().file_name())
        else {
            return;
        };
        let (dir, name): (Arc<Path>, Name) = (dir.into(), name.into());
        let scans = self.dirs.entry(dir.clone()).or_default().scans;
        let state = State::Waiting { stamp: file.stamp, since: Time::ZERO };
        // The listing's number isn't known: the next scan looks at it and knows it by its identity.
        let entry = Entry { listed: 0, seen: scans, rotating: false, state };
        if let Some(d) = self.dirs.get_mut(&dir) {
            d.entries.insert(name.clone(), entry);
        }
        self.mark_taken(&dir, &name, file.id, file.stamp, false);
    }

    /// The directories that are there. Warns when there is none, once.
    fn directories(&mut self, found: &mut Found) -> Vec<PathBuf> {
        let mut failed = Vec::new();
        let dirs = self.pattern.directories(&mut |path, e| failed.push((path.to_owned(), e)));
        for (path, e) in &failed {
            if !self.failing.contains(path) {
                found.unreadable += 1;
                found.errors.push(format!("`{}` can't be listed: {e}", path.display()));
            }
        }
        self.failing = failed.into_iter().map(|(path, _)| path).collect();
        if !dirs.is_empty() {
            self.missing = false;
        } else if !std::mem::replace(&mut self.missing, true) {
            found.errors.push(format!(
                "there is no directory `{}`: its files are taken as soon as it is there",
                self.pattern.text().display()
            ));
        }
        dirs
    }

    /// Lists everything; gives the files that are due. Without a time: all files are old ones.
    fn look(&mut self, t: Option<Time>, found: &mut Found) -> Vec<Due> {
        let mut due = Vec::new();
        let there = self.directories(found);
        let mut names: HashSet<Arc<Path>> = HashSet::new();
        for dir in there {
            let dir: Arc<Path> = dir.as_path().into();
            names.insert(dir.clone());
            self.list(&dir, t, &mut due, found);
        }
        let gone: Vec<Arc<Path>> = self
            .dirs
            .iter()
            .filter(|(k, d)| !names.contains(*k) && !d.failing)
            .map(|(k, _)| k.clone())
            .collect();
        for dir in gone {
            self.listed(&dir);
            if self.dirs.get(&dir).is_some_and(|d| d.entries.is_empty()) {
                self.dirs.remove(&dir);
            }
        }
        due
    }

    fn list(&mut self, dir: &Arc<Path>, t: Option<Time>, due: &mut Vec<Due>, found: &mut Found) {
        let scan = self.dirs.entry(dir.clone()).or_default().scans + 1;
        let listing = fs::read_dir(dir).and_then(|entries| {
            for entry in entries {
                self.entry(dir, scan, &entry?, t, due, found);
            }
            Ok(())
        });
        let d = self.dirs.entry(dir.clone()).or_default();
        match listing {
            Ok(()) => {
                d.failing = false;
                self.listed(dir);
            }
            Err(e) if is_absent(&e) => self.listed(dir),
            // Nothing is forgotten by half a listing.
            Err(e) => {
                if !std::mem::replace(&mut d.failing, true) {
                    found.unreadable += 1;
                    found.errors.push(format!("`{}` can't be listed: {e}", dir.display()));
                }
            }
        }
    }

    /// A listing is complete: names that haven't been seen for some are forgotten.
    fn listed(&mut self, dir: &Path) {
        let Some(d) = self.dirs.get_mut(dir) else { return };
        d.scans += 1;
        let scans = d.scans;
        let mut gone = Vec::new();
        d.entries.retain(|_, e| {
            let keep = e.seen + defaults::FILE_FORGET_SCANS > scans;
            if !keep && let State::Taken { id: Some(id), .. } = e.state {
                gone.push(id);
            }
            keep
        });
        gone.iter().for_each(|id| self.release(id));
    }

    fn release(&mut self, id: &FileId) {
        if let Some(k) = self.known.get_mut(id) {
            k.names -= 1;
            if k.names == 0 {
                self.known.remove(id);
            }
        }
    }

    /// One name of a listing.
    fn entry(
        &mut self,
        dir: &Arc<Path>,
        scan: u64,
        entry: &DirEntry,
        t: Option<Time>,
        due: &mut Vec<Due>,
        found: &mut Found,
    ) {
        let name = entry.file_name();
        if matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')) {
            return;
        }
        let listed = listed_number(entry);
        let Some(d) = self.dirs.get_mut(dir) else { return };
        if let Some(e) = d.entries.get_mut(name.as_os_str()) {
            e.seen = scan;
            if e.listed == listed && matches!(e.state, State::Refused | State::Taken { .. }) {
                return;
            }
            e.listed = listed;
        } else if entry.file_type().is_ok_and(|t| t.is_dir()) {
            return;
        }
        let sight = Sight {
            dir: dir.clone(),
            path: entry.path(),
            name: name.as_os_str().into(),
            listed,
            scan,
        };
        let known = d.entries.get(&sight.name).map(|e| &e.state);
        if matches!(known, None | Some(State::Refused))
            && self.options.filter.as_ref().is_some_and(|accepts| !accepts(&sight.path))
        {
            return self.set(&sight, State::Refused);
        }
        match fs::metadata(&sight.path) {
            Ok(m) if m.is_file() => self.file(sight, FileId::of(&m), Stamp::of(&m), t, due),
            // A symbolic link to a directory.
            Ok(m) if m.is_dir() => self.set(&sight, State::Refused),
            Ok(_) => self.broken(&sight, "it is neither a file nor a directory".into(), found),
            Err(e) if is_absent(&e) => {
                // A symbolic link to nothing, unless the name itself is gone by now.
                if fs::symlink_metadata(&sight.path).is_ok() {
                    self.broken(&sight, "it is a symbolic link to nothing".into(), found);
                }
            }
            Err(e) => self.broken(&sight, e.to_string(), found),
        }
    }

    /// A name that stands for a file, and isn't known to be taken.
    fn file(
        &mut self,
        sight: Sight,
        id: Option<FileId>,
        stamp: Stamp,
        t: Option<Time>,
        due: &mut Vec<Due>,
    ) {
        // A taken file under another name, changed or not.
        let same_file = id.and_then(|id| Some((id, self.known.get(&id)?.stamp)));
        if let Some((id, was)) = same_file
            && (was == stamp || id.created.is_some())
        {
            self.set(&sight, State::Refused); // gives back what stood under the name
            return self.mark_taken(&sight.dir, &sight.name, Some(id), was, false);
        }
        let Some(t) = t else {
            self.set(&sight, State::Refused);
            return self.mark_taken(&sight.dir, &sight.name, id, stamp, true);
        };
        let before = self.dirs.get(&sight.dir).and_then(|d| d.entries.get(&sight.name));
        let since = match before.map(|e| &e.state) {
            Some(State::Waiting { stamp: was, since }) if *was == stamp => *since,
            _ => t,
        };
        self.set(&sight, State::Waiting { stamp, since });
        let settle = self.settle;
        let age = i128::from(t.millis()) * 1_000_000 - i128::from(stamp.mtime);
        let old = age >= 0 && age.unsigned_abs() >= settle.as_nanos();
        if settle.is_zero() || old || t.since(since) >= settle {
            due.push(Due { sight, stamp });
        }
    }

    fn set(&mut self, sight: &Sight, state: State) {
        let Some(d) = self.dirs.get_mut(&sight.dir) else { return };
        let (listed, seen) = (sight.listed, sight.scan);
        let old = match d.entries.get_mut(&*sight.name) {
            Some(e) => {
                (e.listed, e.seen) = (listed, seen);
                Some(std::mem::replace(&mut e.state, state))
            }
            None => {
                let entry = Entry { listed, seen, rotating: false, state };
                d.entries.insert(sight.name.clone(), entry);
                None
            }
        };
        if let Some(State::Taken { id: Some(id), .. }) = old {
            self.release(&id);
        }
    }

    fn mark_taken(
        &mut self,
        dir: &Arc<Path>,
        name: &Name,
        id: Option<FileId>,
        stamp: Stamp,
        changed: bool,
    ) {
        let Some(e) = self.dirs.get_mut(dir).and_then(|d| d.entries.get_mut(&**name)) else {
            return;
        };
        e.state = State::Taken { id, stamp, changed };
        if !changed && !std::mem::replace(&mut e.rotating, true) {
            self.rotation.push_back((dir.clone(), name.clone()));
        }
        if let Some(id) = id {
            let known = self.known.entry(id).or_insert(Known { stamp, names: 0 });
            known.stamp = stamp;
            known.names += 1;
        }
    }

    fn broken(&mut self, sight: &Sight, what: String, found: &mut Found) {
        let before = self.dirs.get(&sight.dir).and_then(|d| d.entries.get(&sight.name));
        let before = before.map(|e| &e.state);
        if !matches!(before, Some(State::Broken(was)) if *was == what) {
            found.unreadable += u64::from(!matches!(before, Some(State::Broken(_))));
            found.errors.push(format!(
                "`{}` can't be read: {what}; it is tried again at each batch",
                sight.path.display()
            ));
        }
        self.set(sight, State::Broken(what));
    }

    /// Takes a file that is due, unless it has changed just now or can't be opened. With its first bytes,
    /// if they are wanted.
    fn take(
        &mut self,
        file: &Due,
        t: Time,
        room: Room,
        ids: &mut HashSet<FileId>,
        found: &mut Found,
    ) -> Option<Option<Vec<u8>>> {
        let sight = &file.sight;
        let opened = File::open(&sight.path).and_then(|f| {
            let m = f.metadata()?;
            let head = (m.len() > room.head_above).then(|| {
                let mut head = Vec::with_capacity(HEAD);
                (&f).take(HEAD as u64).read_to_end(&mut head).map(|_| head)
            });
            Ok((m, head.transpose()?))
        });
        match opened {
            Ok((m, head)) => {
                let (id, stamp) = (FileId::of(&m), Stamp::of(&m));
                if !self.settle.is_zero() && stamp != file.stamp {
                    self.set(sight, State::Waiting { stamp, since: t });
                    return None;
                }
                // Two names of one file: it is taken once.
                let known = id.and_then(|id| {
                    Some(self.known.get(&id)?.stamp == stamp || id.created.is_some())
                });
                let twice = known == Some(true) || id.is_some_and(|id| !ids.insert(id));
                self.mark_taken(&sight.dir, &sight.name, id, stamp, false);
                if twice {
                    return None;
                }
                found.files.push(TakenFile { path: FilePath(sight.path.clone()), stamp, id });
                Some(head)
            }
            Err(e) if is_absent(&e) => None,
            Err(e) => {
                self.broken(sight, e.to_string(), found);
                None
            }
        }
    }

    /// Looks at some of the taken files: were they changed?
    fn check_taken(&mut self, found: &mut Found) {
        for _ in 0..self.checks.min(self.rotation.len()) {
            let Some((dir, name)) = self.rotation.pop_front() else { break };
            let entry = self.dirs.get_mut(&dir).and_then(|d| d.entries.get_mut(&*name));
            let Some(entry) = entry else { continue };
            let State::Taken { id, stamp, changed: changed @ false } = &mut entry.state else {
                entry.rotating = false;
                continue;
            };
            let path = dir.join(&*name);
            if let Ok(m) = fs::metadata(&path) {
                let (now_id, now) = (FileId::of(&m), Stamp::of(&m));
                if now_id.is_some() && now_id != *id {
                    entry.listed = 0; // another file: the next scan looks at it
                } else if now != *stamp {
                    *changed = true;
                    entry.rotating = false;
                    found.changed += 1;
                    found.errors.push(format!(
                        "`{}` was changed after it had been taken (from {} to {} bytes): what was added \
                         isn't read; move files into the directory when they are complete, or set a longer \
                         `FileOptions::settle_time`",
                        path.display(),
                        stamp.size,
                        now.size
                    ));
                    continue;
                }
            }
            self.rotation.push_back((dir, name));
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        let names = self.dirs.values().map(|d| d.entries.len()).sum();
        (names, self.known.len())
    }
}

/// The file's number in the listing. Where there is none, only the turns notice another file.
#[cfg(unix)]
fn listed_number(entry: &DirEntry) -> u64 {
    use std::os::unix::fs::DirEntryExt;
    entry.ino()
}

#[cfg(not(unix))]
fn listed_number(_: &DirEntry) -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::seconds;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("brooklet-scan-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn scanner(&self, settle: Duration) -> Scanner {
            let options = FileOptions::new().settle_time(settle);
            let mut s = Scanner::new(DirPattern::new(&self.0).unwrap(), options);
            assert!(s.begin(seconds(1), &mut Found::default()));
            s
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const ROOM: Room = Room { files: usize::MAX, bytes: u64::MAX, head_above: u64::MAX };

    fn names(found: &Found) -> Vec<String> {
        let name =
            |f: &TakenFile| f.path.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut all: Vec<String> = found.files.iter().map(name).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn names_that_are_gone_are_forgotten() {
        let folder = Folder::new("forget");
        let mut s = folder.scanner(Duration::ZERO);
        for i in 0..50 {
            fs::write(folder.0.join(format!("f{i}")), "x").unwrap();
        }
        assert_eq!(s.scan(Time::from_millis(1), ROOM).files.len(), 50);
        assert_eq!(s.remembered().0, 50);
        for i in 0..50 {
            fs::remove_file(folder.0.join(format!("f{i}"))).unwrap();
        }
        // A listing that misses a file once makes nothing new of it.
        s.scan(Time::from_millis(2), ROOM);
        assert_eq!(s.remembered().0, 50);
        for t in 3..10 {
            assert!(s.scan(Time::from_millis(t), ROOM).files.is_empty());
        }
        assert_eq!(s.remembered(), (0, 0));
        assert!(s.rotation.is_empty());
    }

    #[test]
    fn file_has_to_be_unchanged_for_the_settle_time() {
        let folder = Folder::new("settle");
        let mut s = folder.scanner(seconds(2));
        let path = folder.0.join("f");
        fs::write(&path, "x").unwrap();
        let at = |sec: u64| Time::from_millis(sec * 1_000);
        assert!(s.scan(at(1), ROOM).files.is_empty());
        assert!(s.scan(at(2), ROOM).files.is_empty());
        fs::write(&path, "xy").unwrap();
        assert!(s.scan(at(3), ROOM).files.is_empty());
        assert!(s.scan(at(4), ROOM).files.is_empty());
        assert_eq!(names(&s.scan(at(5), ROOM)), ["f"]);
        assert!(s.scan(at(6), ROOM).files.is_empty());
    }

    #[test]
    fn old_file_is_taken_at_first_sight() {
        let folder = Folder::new("old");
        let mut s = folder.scanner(seconds(2));
        let path = folder.0.join("f");
        fs::write(&path, "x").unwrap();
        let at = std::time::UNIX_EPOCH + seconds(100);
        File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        assert_eq!(names(&s.scan(Time::from_millis(102_000), ROOM)), ["f"]);
    }

    #[test]
    fn restored_files_are_not_taken_again() {
        let folder = Folder::new("restore");
        let t = Time::from_millis;
        for name in ["a", "b"] {
            fs::write(folder.0.join(name), name).unwrap();
        }
        let taken = folder.scanner(Duration::ZERO).scan(t(1), ROOM).files;
        assert_eq!(taken.len(), 2);
        fs::write(folder.0.join("c"), "c").unwrap();
        let mut s = folder.scanner(Duration::ZERO);
        taken.iter().for_each(|f| s.restore(f));
        assert_eq!(names(&s.scan(t(2), ROOM)), ["c"]);
        assert!(s.scan(t(3), ROOM).files.is_empty());
    }

    #[test]
    fn room_is_kept_and_the_rest_waits() {
        let folder = Folder::new("room");
        let mut s = folder.scanner(Duration::ZERO);
        for i in 0..5 {
            fs::write(folder.0.join(format!("f{i}")), "0123456789").unwrap();
        }
        let bytes = Room { bytes: 25, ..ROOM };
        let found = s.scan(Time::from_millis(1), bytes);
        assert_eq!((found.files.len(), found.left), (2, 3));
        let none = Room { bytes: 0, ..ROOM };
        assert_eq!(s.scan(Time::from_millis(2), none).files.len(), 1, "one always goes");
        assert_eq!(s.scan(Time::from_millis(3), ROOM).files.len(), 2);
    }
}
