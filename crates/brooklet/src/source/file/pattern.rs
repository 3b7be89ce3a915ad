//! Directories by pattern: `logs/*/in`.
//!
//! | | |
//! |---|---|
//! | `*` | any characters of one name |
//! | `?` | one character |
//! | `[abc]`, `[a-z]`, `[^a]` | one of, one not of |
//! | `{in,out}` | one of these texts, patterns themselves |
//! | `\x` | the character x itself |

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(PathBuf),
    /// The alternatives that `{..}` gives.
    Match(Vec<Vec<Token>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
    Set { not: bool, ranges: Vec<(char, char)> },
}

/// A directory, or a pattern of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirPattern {
    text: PathBuf,
    steps: Vec<Step>,
}

impl DirPattern {
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn new(path: &Path) -> Result<DirPattern, String> {
        let path = match path.to_str().and_then(|p| p.split_once("://")) {
            Some(("file", rest)) => Path::new(rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "`{}`: this build reads local files only, not `{scheme}://`",
                    path.display()
                ));
            }
            None => path,
        };
        if path.as_os_str().is_empty() {
            return Err("the path is empty; for the current directory write `.`".into());
        }
        let mut steps = Vec::new();
        for part in path.components() {
            let step = match part {
                Component::Normal(name) => step_of(name).map_err(|e| {
                    format!("`{}` in the path `{}`: {e}", name.display(), path.display())
                })?,
                other => Step::Name(other.as_os_str().into()),
            };
            match (steps.last_mut(), step) {
                (Some(Step::Name(so_far)), Step::Name(next)) => so_far.push(next),
                (_, step) => steps.push(step),
            }
        }
        Ok(DirPattern { text: path.into(), steps })
    }

    pub(super) fn text(&self) -> &Path {
        &self.text
    }

    /// The directories that are there, in the order of their names. Parts that can't be listed are given to
    /// `failed`.
    pub(super) fn directories(&self, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for step in &self.steps {
            let mut next = Vec::new();
            for base in found {
                match step {
                    Step::Name(name) => next.push(base.join(name)),
                    Step::Match(any_of) => {
                        let shown =
                            if base.as_os_str().is_empty() { Path::new(".") } else { &base };
                        let names = std::fs::read_dir(shown).and_then(|entries| {
                            entries
                                .map(|e| e.map(|e| e.file_name()))
                                .collect::<io::Result<Vec<_>>>()
                        });
                        match names {
                            Ok(mut names) => {
                                names.sort_unstable();
                                let fits = |n: &&std::ffi::OsString| matches(any_of, n);
                                next.extend(names.iter().filter(fits).map(|n| base.join(n)));
                            }
                            Err(e) if is_absent(&e) => {}
                            Err(e) => failed(shown, e),
                        }
                    }
                }
            }
            found = next;
        }
        found.retain(|dir| match std::fs::metadata(dir) {
            Ok(m) => m.is_dir(),
            Err(e) if is_absent(&e) => false,
            Err(e) => {
                failed(dir, e);
                false
            }
        });
        found
    }
}

/// There is nothing of this name.
pub(super) fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn step_of(name: &OsStr) -> Result<Step, String> {
    let Some(text) = name.to_str().filter(|t| t.contains(['*', '?', '[', '{', '\\'])) else {
        return Ok(Step::Name(name.into()));
    };
    let mut alternatives = Vec::new();
    for text in braces(&text.chars().collect::<Vec<_>>())? {
        alternatives.push(tokens(&text)?);
    }
    if let [only] = &alternatives[..]
        && let Some(name) = literal(only)
    {
        return Ok(Step::Name(name.into()));
    }
    Ok(Step::Match(alternatives))
}

/// Without any wildcard: the name itself.
fn literal(tokens: &[Token]) -> Option<String> {
    tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
}

/// Most alternatives that `{..}` may give.
const MAX_ALTERNATIVES: usize = 1_000;

/// The texts that `{a,b}` stands for.
fn braces(text: &[char]) -> Result<Vec<Vec<char>>, String> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '{' => break,
            _ => at += 1,
        }
    }
    if at >= text.len() {
        return Ok(vec![text.to_vec()]);
    }
    let (mut depth, mut i, mut from) = (0, at + 1, at + 1);
    let mut parts = Vec::new();
    loop {
        match text.get(i) {
            None => return Err("`{` has no `}`".into()),
            Some('\\') => i += 1,
            Some('{') => depth += 1,
            Some('}') if depth == 0 => break,
            Some('}') => depth -= 1,
            Some(',') if depth == 0 => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
        i += 1;
    }
    parts.push(&text[from..i]);
    let rest = braces(&text[i + 1..])?;
    let mut all = Vec::new();
    for part in parts {
        for middle in braces(part)? {
            for end in &rest {
                all.push([&text[..at], &middle, end].concat());
            }
        }
    }
    if all.len() > MAX_ALTERNATIVES {
        return Err(format!("it has more than {MAX_ALTERNATIVES} alternatives"));
    }
    Ok(all)
}

fn tokens(text: &[char]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.iter().copied().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Any) => continue,
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Char(rest.next().ok_or("`\\` at the end stands before nothing")?),
            '[' => {
                let not = rest.next_if(|c| matches!(c, '^' | '!')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let open = || String::from("`[` has no `]`");
                    let mut c = rest.next().ok_or_else(open)?;
                    if c == ']' && !ranges.is_empty() {
                        break;
                    }
                    if c == '\\' {
                        c = rest.next().ok_or_else(open)?;
                    }
                    let mut end = c;
                    let mut ahead = rest.clone();
                    if ahead.next() == Some('-')
                        && let Some(to) = ahead.next()
                        && to != ']'
                    {
                        (end, rest) = (to, ahead);
                        if end < c {
                            return Err(format!("`{c}-{end}` is no range"));
                        }
                    }
                    ranges.push((c, end));
                }
                Token::Set { not, ranges }
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// Whether a name fits. As in a shell, a `.` at its beginning has to be written out.
fn matches(any_of: &[Vec<Token>], name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let hidden = name.starts_with('.');
    let name: Vec<char> = name.chars().collect();
    any_of.iter().any(|p| (!hidden || p.first() == Some(&Token::Char('.'))) && fits(p, &name))
}

/// By going back to the last `*` only: the time is the product of the lengths at worst.
fn fits(pattern: &[Token], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while n < name.len() {
        let one = match pattern.get(p) {
            Some(Token::Any) => {
                last = Some((p, n));
                p += 1;
                continue;
            }
            Some(Token::One) => true,
            Some(Token::Char(c)) => *c == name[n],
            Some(Token::Set { not, ranges }) => {
                ranges.iter().any(|(a, b)| (*a..=*b).contains(&name[n])) != *not
            }
            None => false,
        };
        if one {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, from)) = last {
            last = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|t| *t == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits_name(pattern: &str, name: &str) -> bool {
        match step_of(OsStr::new(pattern)).unwrap() {
            Step::Name(n) => n.as_os_str() == name,
            Step::Match(any_of) => matches(&any_of, OsStr::new(name)),
        }
    }

    #[test]
    fn names_fit_their_patterns() {
        for (pattern, name, want) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            (".*", ".abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*b*b*", "abcb", true),
            ("a?c", "a流c", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[!a]x", "bx", true),
            ("[]a]x", "]x", true),
            ("{in,out}*", "out1", true),
            ("{in,out}*", "up", false),
            ("a{b,{c,d}e}", "ade", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("plain", "plain", true),
        ] {
            assert_eq!(fits_name(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        for (path, text) in [
            ("a/{b,c", "`{` has no `}`"),
            ("a/[b", "`[` has no `]`"),
            ("a/[c-a]", "is no range"),
            ("hdfs://host/a", "`hdfs://`"),
            ("", "the path is empty"),
        ] {
            let e = DirPattern::new(Path::new(path)).unwrap_err();
            assert!(e.contains(text), "{path}: {e}");
        }
        assert_eq!(DirPattern::new(Path::new("file:///a/b")).unwrap().text(), Path::new("/a/b"));
    }
}
