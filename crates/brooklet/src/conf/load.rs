//! Settings by their keys: single ones, from the environment, from TOML files.

use std::fmt;
use std::panic::Location;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{self, ConfKey, Found, KEYS, REFUSED, RefusedKeys};
use super::value::ConfKind;
use super::{Conf, ConfEntry, ConfOrigin};
use crate::{Error, Result};

/// The variable that names the configuration file; the only one of its prefix that is no setting.
const FILE_VARIABLE: &str = "BROOKLET_CONF";
/// The file that is read when the variable isn't there.
const DEFAULT_FILE: &str = "brooklet.toml";
/// What the variables of settings begin with.
const VARIABLES: &str = "BROOKLET_";

/// A value as its source has it.
#[derive(Debug)]
enum Raw {
    Text(String),
    Integer(String),
    Flag(bool),
    /// Something that no setting is: `an array`.
    Other(&'static str),
}

impl Raw {
    /// The value as text, if a setting of this kind may be written so.
    fn text_for(self, kind: ConfKind) -> Result<String, String> {
        let said = match self {
            Raw::Text(text) => return Ok(text),
            Raw::Integer(n) => match kind {
                ConfKind::Number | ConfKind::Duration | ConfKind::Bytes => return Ok(n),
                _ => format!("{n} is a number"),
            },
            Raw::Flag(b) if kind == ConfKind::Flag => return Ok(b.to_string()),
            Raw::Flag(b) => format!("`{b}` is a flag"),
            Raw::Other(what) => format!("the value is {what}"),
        };
        let example = match kind {
            ConfKind::Number => "a whole number, as in 8".into(),
            ConfKind::Duration => "a duration in quotes, as in \"200ms\"".into(),
            ConfKind::Bytes => "a size in quotes, as in \"400m\"".into(),
            ConfKind::Flag => "true or false".into(),
            ConfKind::Text => "text in quotes".into(),
            ConfKind::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
        };
        Err(format!("{said}, where {example} belongs"))
    }
}

/// An error about a key that names the place of the value.
fn bad(key: &str, origin: &ConfOrigin, problem: impl fmt::Display) -> Error {
    Error::Config { key: key.into(), problem: format!("{origin}: {problem}") }
}

fn unknown(key: &str, origin: &ConfOrigin, near: Option<String>) -> Error {
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if key.starts_with("spark.") => "remove it: of the original's settings only those in \
                                              docs/configuration.md mean something here"
            .into(),
        None => "docs/configuration.md lists all".into(),
    };
    bad(key, origin, format!("there is no such setting; {help}"))
}

impl Conf {
    /// The configuration of an application as whoever runs it wants it: defaults, then the configuration
    /// file, then the environment. Setters that are called on the result override both.
    ///
    /// The file is the one that the environment variable `BROOKLET_CONF` names (empty: none), else
    /// `brooklet.toml` in the working folder, if there is one.
    ///
    /// # Errors
    /// As [`Conf::with_file`] and [`Conf::with_env`].
    ///
    /// ```no_run
    /// use brooklet::Conf;
    /// let conf = Conf::load("word-count")?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn load(app_name: impl Into<String>) -> Result<Conf> {
        let conf = Conf::new(app_name);
        let conf = match std::env::var_os(FILE_VARIABLE) {
            Some(path) if path.is_empty() => conf,
            Some(path) => conf.read_file(Path::new(&path), " that BROOKLET_CONF names")?,
            None if Path::new(DEFAULT_FILE).exists() => conf.with_file(DEFAULT_FILE)?,
            None => conf,
        };
        conf.with_env()
    }

    /// Sets one setting by its key, as in `set("brooklet.streaming.blockInterval", "200ms")`. What was set
    /// before by any means is overridden. Keys of the original (`spark.streaming.blockInterval`) are
    /// accepted.
    ///
    /// # Errors
    /// [`Error::Config`] for a key that doesn't exist (with the nearest that does) or isn't for this build
    /// (with the reason), and for a value that can't be.
    ///
    /// ```
    /// use brooklet::Conf;
    /// let conf = Conf::new("doc").set("brooklet.streaming.concurrentJobs", 2)?;
    /// assert_eq!(conf.get("spark.streaming.concurrentJobs")?.as_deref(), Some("2"));
    /// let e = conf.set("brooklet.streaming.concurentJobs", 2).unwrap_err();
    /// assert!(e.to_string().contains("did you mean `brooklet.streaming.concurrentJobs`?"));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Result<Conf> {
        let origin = ConfOrigin::Program(Location::caller());
        self.apply(key, Raw::Text(value.to_string()), origin)?;
        Ok(self)
    }

    /// Sets one setting as a command line gives it, by `KEY=VALUE`; errors and lists then name the
    /// argument. For a program's own `--conf`.
    ///
    /// # Errors
    /// As [`Conf::set`]; [`Error::Config`] when there is no `=`.
    ///
    /// ```
    /// use brooklet::Conf;
    /// let conf = Conf::new("doc").with_argument("brooklet.master=local[3]")?;
    /// assert_eq!(conf.threads()?, 3);
    /// assert!(conf.with_argument("brooklet.master").is_err());
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn with_argument(mut self, text: &str) -> Result<Conf> {
        let origin = ConfOrigin::Argument(text.into());
        let Some((key, value)) = text.split_once('=') else {
            return Err(bad(text, &origin, "there is no `=`: write KEY=VALUE"));
        };
        self.apply(key.trim(), Raw::Text(value.into()), origin)?;
        Ok(self)
    }

    /// Adds the settings of a TOML file, by tables, dotted keys or both:
    ///
    /// ```toml
    /// [brooklet.streaming]
    /// block_interval = "50ms"
    /// receiver.max_rate = 10_000
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be read, [`Error::ConfigFile`] when it isn't TOML, [`Error::Config`] with
    /// file, line and column for whatever is wrong with a setting. One setting written twice, such as by its
    /// own name and the original's, must have the same value both times.
    pub fn with_file(self, path: impl AsRef<Path>) -> Result<Conf> {
        self.read_file(path.as_ref(), "")
    }

    fn read_file(mut self, path: &Path, named_by: &str) -> Result<Conf> {
        let what = || format!("reading the configuration file `{}`{named_by}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(what(), e))?;
        let place = |at: usize| {
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            (line, column)
        };
        let table = DeTable::parse(&text).map_err(|e| {
            let (line, column) = place(e.span().map_or(0, |s| s.start));
            Error::ConfigFile {
                path: path.into(),
                line,
                column,
                problem: e.message().trim().replace('\n', ", "),
            }
        })?;
        let mut found = Vec::new();
        flatten("", table.get_ref(), &mut found);
        found.sort_by_key(|(_, at, _)| *at);
        let mut seen: Vec<(&ConfKey, String, ConfOrigin)> = Vec::new();
        for (written, at, raw) in found {
            let (line, column) = place(at);
            let origin = ConfOrigin::File { path: path.into(), line, column };
            let key = self.apply(&written, raw, origin.clone())?;
            let value = (key.get)(&self).unwrap_or_default();
            let before = seen.iter().find(|(k, ..)| std::ptr::eq(*k, key));
            if let Some((_, other, at)) = before.filter(|(_, other, _)| *other != value) {
                let both = format!("`{value}` here and `{other}` at {at} are the same setting");
                return Err(bad(&written, &origin, format!("{both}: keep one")));
            }
            seen.push((key, value, origin));
        }
        Ok(self)
    }

    /// Adds the settings that the environment has: `BROOKLET_STREAMING_BLOCK_INTERVAL=50ms` is
    /// `brooklet.streaming.blockInterval`.
    ///
    /// # Errors
    /// [`Error::Config`] for every variable that begins with `BROOKLET_` and is no setting, except
    /// `BROOKLET_CONF`, and for a value that can't be.
    pub fn with_env(self) -> Result<Conf> {
        let mut vars = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|n| n.starts_with(VARIABLES)) else { continue };
            let origin = ConfOrigin::Env(name.into());
            let value = value.into_string();
            let value = value.map_err(|_| bad(name, &origin, "the value is no UTF-8"))?;
            vars.push((name.to_owned(), value));
        }
        self.with_vars(vars)
    }

    /// [`Conf::with_env`] with variables from elsewhere.
    ///
    /// # Errors
    /// As [`Conf::with_env`].
    ///
    /// ```
    /// use brooklet::Conf;
    /// let conf = Conf::new("doc").with_vars([("BROOKLET_MASTER", "local[3]"), ("HOME", "/root")])?;
    /// assert_eq!(conf.threads()?, 3);
    /// assert!(Conf::new("doc").with_vars([("BROOKLET_MASTR", "local")]).is_err());
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn with_vars<N: Into<String>, V: Into<String>>(
        mut self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Conf> {
        let mut vars: Vec<(String, String)> =
            vars.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        vars.retain(|(name, _)| name.starts_with(VARIABLES) && name != FILE_VARIABLE);
        vars.sort();
        for (name, value) in vars {
            let origin = ConfOrigin::Env(name.clone());
            match keys::find_env(&name) {
                Found::Key(key) => self.put(key, key.name, Raw::Text(value), origin)?,
                Found::Refused(r) => return Err(bad(&name, &origin, r.reason)),
                Found::Unknown(near) => return Err(unknown(&name, &origin, near)),
            }
        }
        Ok(self)
    }

    fn apply(&mut self, written: &str, raw: Raw, origin: ConfOrigin) -> Result<&'static ConfKey> {
        match keys::find(written) {
            Found::Key(key) => {
                self.put(key, written, raw, origin)?;
                Ok(key)
            }
            Found::Refused(r) => Err(bad(written, &origin, r.reason)),
            Found::Unknown(near) => Err(unknown(written, &origin, near)),
        }
    }

    fn put(
        &mut self,
        key: &'static ConfKey,
        written: &str,
        raw: Raw,
        origin: ConfOrigin,
    ) -> Result<()> {
        let set = raw.text_for(key.kind).and_then(|text| (key.set)(self, &text));
        set.map_err(|problem| bad(written, &origin, problem))?;
        self.origins.insert(key.name, origin);
        self.validate()
    }

    /// The value of a setting as text; `None` where nothing is set and there is no fixed default.
    ///
    /// # Errors
    /// As [`Conf::set`] for the key.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        let problem = match keys::find(key) {
            Found::Key(k) => return Ok((k.get)(self)),
            Found::Refused(r) => r.reason.to_owned(),
            Found::Unknown(Some(near)) => {
                format!("there is no such setting; did you mean `{near}`?")
            }
            Found::Unknown(None) => "there is no such setting".into(),
        };
        Err(Error::Config { key: key.into(), problem })
    }

    /// Every setting with its value and where that comes from, in the order of the documentation.
    ///
    /// ```
    /// use brooklet::Conf;
    /// let conf = Conf::new("doc").with_argument("brooklet.task.maxFailures=2")?;
    /// let all: Vec<String> = conf.entries().iter().map(ToString::to_string).collect();
    /// assert!(all.contains(
    ///     &"brooklet.task.maxFailures = 2 (argument `brooklet.task.maxFailures=2`)".to_string()
    /// ));
    /// assert!(all.contains(&"brooklet.storage.memory = 512m (default)".to_string()));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn entries(&self) -> Vec<ConfEntry> {
        let entry = |k: &'static ConfKey| ConfEntry {
            key: k.name,
            value: (k.get)(self),
            origin: self.origin(k.name),
        };
        KEYS.iter().map(entry).collect()
    }

    /// All keys that are accepted.
    pub fn keys() -> &'static [ConfKey] {
        KEYS
    }

    /// The keys of the original that are refused.
    pub fn refused_keys() -> &'static [RefusedKeys] {
        REFUSED
    }
}

/// All settings below a table: key, place, value. A table that is no part of any key stands for itself.
fn flatten(path: &str, table: &DeTable<'_>, found: &mut Vec<(String, usize, Raw)>) {
    for (name, value) in table {
        let (name, at) = (name.get_ref(), name.span().start);
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        let raw = match value.get_ref() {
            DeValue::Table(t) => {
                // `spark.speculation` may be a key and a table of keys.
                let stands_for_itself = match keys::find(&path) {
                    Found::Key(_) => true,
                    Found::Refused(_) => t.is_empty(),
                    Found::Unknown(_) => t.is_empty() && !keys::is_prefix(&path),
                };
                if !stands_for_itself {
                    flatten(&path, t, found);
                    continue;
                }
                Raw::Other("a table")
            }
            DeValue::String(s) => Raw::Text(s.to_string()),
            DeValue::Integer(i) => {
                let n = i128::from_str_radix(i.as_str(), i.radix());
                Raw::Integer(n.map_or_else(|_| i.as_str().to_owned(), |n| n.to_string()))
            }
            DeValue::Boolean(b) => Raw::Flag(*b),
            DeValue::Float(_) => Raw::Other("a number with a fraction"),
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Array(_) => Raw::Other("an array"),
        };
        found.push((path, at, raw));
    }
}
