//! The names of logs: patterns, and what rotation makes of a name.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use super::fs::Entry;

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

/// A path whose last part may have `*`, `?` and `[a-z]`.
#[derive(Clone, Debug)]
pub(super) struct LogPath {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) is_pattern: bool,
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
        let special = |c: char| matches!(c, '*' | '?' | '[');
        if folder.to_str().is_some_and(|f| f.contains(special)) && !folder.is_dir() {
            return Err(format!(
                "`{shown}`: `*`, `?` and `[…]` may stand in the last part of the path only; make a \
                 stream for each folder and unite them"
            ));
        }
        // A file that is really called so is meant by its name.
        let is_pattern = name.contains(special) && !path.exists();
        Ok(LogPath { folder: folder.to_owned(), name: name.to_owned(), is_pattern })
    }

    /// Whether a file of this name is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        if self.is_pattern { glob(&self.name, name) } else { self.name == name }
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
        let end = self.name.find(['*', '?', '[']).filter(|_| self.is_pattern);
        &self.name[..end.unwrap_or(self.name.len())]
    }
}

/// Shell patterns: `*` any text, `?` any character, `[ab]`, `[a-z]`, `[!a]` one of a set. As in a shell, a
/// pattern that doesn't begin with a dot matches no name that does.
fn glob(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where to go on when the text after the last `*` doesn't fit.
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match p.get(i) {
            None if j == n.len() => return true,
            Some('*') => {
                back = Some((i + 1, j));
                i += 1;
                continue;
            }
            Some(_) if j < n.len() => one(&p[i..], n[j]),
            _ => None,
        };
        match (step, back) {
            (Some(len), _) => (i, j) = (i + len, j + 1),
            (None, Some((star, at))) if at < n.len() => {
                back = Some((star, at + 1));
                (i, j) = (star, at + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the first element of `p`, no `*`, takes `c`; then its length.
fn one(p: &[char], c: char) -> Option<usize> {
    match p[0] {
        '?' => Some(1),
        '[' => {
            let negated = matches!(p.get(1), Some('!' | '^'));
            let first = 1 + usize::from(negated);
            // A `]` that stands first is one of the set. Without an end, `[` is an ordinary character.
            let Some(end) = p.iter().skip(first + 1).position(|c| *c == ']') else {
                return (c == '[').then_some(1);
            };
            let set = &p[first..first + 1 + end];
            let (mut i, mut found) = (0, false);
            while i < set.len() {
                let range = i + 2 < set.len() && set[i + 1] == '-';
                let last = if range { set[i + 2] } else { set[i] };
                found |= (set[i]..=last).contains(&c);
                i += if range { 3 } else { 1 };
            }
            (found != negated).then_some(first + end + 2)
        }
        x => (x == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("a?c", "a流c", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]x", "]x", true),
            ("a[", "a[", true),
            ("[x-", "[x-", true),
            ("", "", true),
            ("**", "anything", true),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(glob(pattern, name), want, "{pattern} {name}");
        }
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
