//! Directories by pattern: `logs/*/in`, each step a [`Glob`].

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::source::glob::Glob;

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(PathBuf),
    Match(Glob),
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
                    Step::Match(glob) => {
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
                                let fits = |n: &&std::ffi::OsString| {
                                    n.to_str().is_some_and(|n| glob.matches(n))
                                };
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
    let Some(text) = name.to_str().filter(|t| Glob::is_special(t)) else {
        return Ok(Step::Name(name.into()));
    };
    let glob = Glob::new(text)?;
    Ok(match glob.literal() {
        Some(name) => Step::Name(name.into()),
        None => Step::Match(glob),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
