//! The names of logs: patterns, and what rotation makes of a name.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use super::fs::Entry;
use crate::source::glob::Glob;

/// What compressing programs append.
const COMPRESSED: [&str; 8] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".Z", ".zip"];
/// What rotation by hand appends.
const WORDS: [&str; 5] = ["old", "bak", "prev", "save", "backup"];

/// The name of a rotated file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rotated<'a> {
    /// `1` of `app.log.1`.
    pub(super) number: Option<u64>,
    /// The name without what compression appended, when there is such.
    pub(super) uncompressed: Option<&'a str>,
}

/// Whether `name` is what rotation makes of `base`: `app.log.1`, `app.log-20260131.gz`, `app.log.old`,
/// and `app.1.log`, `app-2026-01-31.log` of `app.log`.
pub(super) fn rotated<'a>(base: &str, name: &'a str) -> Option<Rotated<'a>> {
    let plain = COMPRESSED.iter().find_map(|c| name.strip_suffix(c));
    let stripped = plain.unwrap_or(name);
    let mark = stripped.strip_prefix(base).or_else(|| {
        let (stem, extension) = base.rsplit_once('.')?;
        stripped.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')
    });
    let mark = mark?;
    if plain.is_some() && mark.is_empty() {
        return Some(Rotated { number: None, uncompressed: plain }); // app.log.gz
    }
    let mark = mark.strip_prefix(['.', '-', '_'])?;
    let dated = mark.bytes().any(|b| b.is_ascii_digit())
        && mark.bytes().all(|b| b.is_ascii_digit() || b".-_:+TZ".contains(&b));
    if !dated && !WORDS.contains(&mark) {
        return None;
    }
    let number = if mark.len() <= 5 { mark.parse().ok() } else { None };
    Some(Rotated { number, uncompressed: plain })
}

/// Orders rotated files by age, oldest first: by the time of the last change, and where that is the same,
/// by number downwards.
pub(super) fn age<'a>(base: &str, e: &'a Entry) -> (u128, Reverse<u64>, &'a str) {
    let number = rotated(base, &e.name).and_then(|r| r.number).unwrap_or(0);
    (e.stat.modified, Reverse(number), &e.name)
}

/// A path whose last part may be a pattern.
#[derive(Clone, Debug)]
pub(super) struct LogPath {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) pattern: Option<Glob>,
}

impl LogPath {
    pub(super) fn new(path: &Path) -> Result<LogPath, String> {
        let shown = path.display();
        let Some(name) = path.file_name() else {
            return Err(format!("`{shown}` names no file: give the path of a log file"));
        };
        let (Some(name), Some(text)) = (name.to_str(), path.to_str()) else {
            return Err(format!("`{shown}` isn't UTF-8, which the path of a log must be"));
        };
        if text.ends_with('/') {
            return Err(format!("`{shown}` names a folder: give the path of a log file"));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        if folder.to_str().is_some_and(Glob::is_special) && !folder.is_dir() {
            return Err(format!(
                "`{shown}`: `*`, `?` and `[…]` may stand in the last part of the path only; make a \
                 stream for each folder and unite them"
            ));
        }
        // A file that is really called so is meant by its name, and what is no pattern is a name.
        let pattern = Glob::is_special(name) && !path.exists();
        let pattern = pattern.then(|| Glob::new(name).ok()).flatten();
        Ok(LogPath { folder: folder.to_owned(), name: name.to_owned(), pattern })
    }

    /// Whether a file of this name is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.pattern.as_ref().map_or(self.name == name, |p| p.matches(name))
    }

    /// Which of these names are logs; what is a rotated file of another one is none.
    pub(super) fn logs<'a>(&self, entries: &'a [Entry]) -> Vec<&'a str> {
        let matched = || entries.iter().map(|e| &*e.name).filter(|n| self.matches(n));
        matched()
            .filter(|n| !matched().any(|base| base != *n && rotated(base, n).is_some()))
            .collect()
    }

    /// The part before the first special character.
    pub(super) fn literal(&self) -> &str {
        if self.pattern.is_some() { Glob::plain_part(&self.name) } else { &self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_pattern_are_names() {
        let path = |name: &str| LogPath::new(&Path::new("/nope").join(name)).unwrap();
        for name in ["a[", "[x-", "a.log"] {
            assert!(path(name).matches(name) && !path(name).matches("a"), "{name}");
        }
        assert!(path("*.log").matches("a.log") && !path("*.log").matches(".a.log"));
    }

    #[test]
    fn rotated_names_are_known_and_neighbours_are_not() {
        let number = |name| rotated("app.log", name).map(|r| r.number);
        assert_eq!(number("app.log.1"), Some(Some(1)));
        assert_eq!(number("app.1.log"), Some(Some(1)));
        for name in [
            "app.log-20260131",
            "app.log.2026-01-31T10:00:00Z",
            "app-2026-01-31.log",
            "app.log.old",
            "app.log.gz",
        ] {
            assert_eq!(number(name), Some(None), "{name}");
        }
        for name in ["app.log", "app.logs", "app-error.log", "app.log.tmp", "b.log.1", "app.log."] {
            assert_eq!(rotated("app.log", name), None, "{name}");
        }
        let gz = rotated("app.log", "app.log.2.gz");
        assert_eq!(gz, Some(Rotated { number: Some(2), uncompressed: Some("app.log.2") }));
        assert_eq!(rotated("log", "log.1").and_then(|r| r.number), Some(1));
    }
}
