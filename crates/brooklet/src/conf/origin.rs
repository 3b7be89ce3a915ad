//! Where a setting's value comes from.

use std::fmt;
use std::panic::Location;
use std::path::PathBuf;

/// Where a setting's value comes from; shown in errors and in the list of settings.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfOrigin {
    /// Nobody set it.
    Default,
    /// A line of a configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable of this name.
    Env(String),
    /// An argument of the command line, as it was typed.
    Argument(String),
    /// A call in the program.
    Program(&'static Location<'static>),
}

impl fmt::Display for ConfOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfOrigin::Default => f.write_str("default"),
            ConfOrigin::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            ConfOrigin::Env(name) => write!(f, "environment variable {name}"),
            ConfOrigin::Argument(text) => write!(f, "argument `{text}`"),
            ConfOrigin::Program(at) => write!(f, "program at {}:{}", at.file(), at.line()),
        }
    }
}

/// One setting of a [`Conf`](crate::Conf), from [`Conf::entries`](crate::Conf::entries).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConfEntry {
    /// The key in its canonical form.
    pub key: &'static str,
    /// The value in canonical form (`1s`, also where `1000` was written); `None` where nothing is set and
    /// there is no fixed default, such as for a limit that isn't there.
    pub value: Option<String>,
    /// Who said so.
    pub origin: ConfOrigin,
}

impl fmt::Display for ConfEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("(not set)");
        write!(f, "{} = {value} ({})", self.key, self.origin)
    }
}
