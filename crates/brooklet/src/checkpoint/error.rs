//! What can go wrong with stored state.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Time};

/// An error of the state checkpoint; names the file, and for its contents the place in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused to read or write a file. Look at the disk (room, permissions). A checkpoint that
    /// failed to write goes on only when its directory is opened again.
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's error.
        cause: Arc<std::io::Error>,
    },
    /// A file isn't what was written. Restore it from a copy, or go back to an older checkpoint explicitly.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The byte where the part begins that is wrong.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that a manifest names isn't there. Restore it from a copy, or go back to an older checkpoint
    /// explicitly.
    Missing {
        /// The file.
        file: PathBuf,
        /// The manifest that names it.
        manifest: PathBuf,
    },
    /// A file has a format that this version of brooklet doesn't know. Use the version that wrote it, or a
    /// newer one.
    Version {
        /// The file.
        file: PathBuf,
        /// Its format version.
        found: u8,
        /// The newest that this build reads.
        reads: u8,
    },
    /// Another process, or another context of this one, works with the directory. Stop it, or use another
    /// directory.
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, where that can be found out.
        holder: Option<u32>,
    },
    /// What is stored doesn't fit to what the program asks for. The text says what to do.
    Refused {
        /// The directory, or the operator by its identity.
        what: String,
        /// Why, and what to do.
        problem: String,
    },
    /// An earlier write has failed, and nothing is written since. What is on disk is whole: open the
    /// directory again to go on from the durable checkpoint.
    Poisoned {
        /// The error of that write.
        cause: Arc<CheckpointError>,
        /// The newest checkpoint that is durable.
        durable: Option<Time>,
    },
    /// A defect of brooklet. Please report it with this text.
    Bug(String),
}

impl CheckpointError {
    pub(crate) fn io(file: &Path, doing: &'static str, cause: std::io::Error) -> CheckpointError {
        CheckpointError::Io { file: file.to_owned(), doing, cause: Arc::new(cause) }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, problem: impl Into<String>) -> CheckpointError {
        CheckpointError::Corrupt { file: file.to_owned(), offset, problem: problem.into() }
    }

    pub(crate) fn refused(what: impl Into<String>, problem: impl Into<String>) -> CheckpointError {
        CheckpointError::Refused { what: what.into(), problem: problem.into() }
    }

    /// Whether stored bytes are gone or changed.
    pub fn is_corruption(&self) -> bool {
        match self {
            CheckpointError::Corrupt { .. } | CheckpointError::Missing { .. } => true,
            CheckpointError::Poisoned { cause, .. } => cause.is_corruption(),
            _ => false,
        }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GO_BACK: &str = "restore it from a copy of the checkpoint directory, or permit to go \
                               back to an older checkpoint";
        match self {
            CheckpointError::Io { file, doing, cause } => {
                write!(f, "state checkpoint, {doing} {}: {cause}", file.display())
            }
            CheckpointError::Corrupt { file, offset, problem } => write!(
                f,
                "state file {} is damaged at byte {offset}: {problem}; {GO_BACK}",
                file.display()
            ),
            CheckpointError::Missing { file, manifest } => write!(
                f,
                "state file {} is gone, and {} needs it; {GO_BACK}",
                file.display(),
                manifest.display()
            ),
            CheckpointError::Version { file, found, reads } => write!(
                f,
                "{} has format version {found}, this build of brooklet reads up to version {reads}: \
                 start the program with the brooklet that wrote it, or with a newer one",
                file.display()
            ),
            CheckpointError::Locked { dir, holder } => {
                write!(f, "the checkpoint directory {} is in use", dir.display())?;
                if let Some(pid) = holder {
                    write!(f, " by process {pid}")?;
                }
                f.write_str(": stop the other program, or choose another directory")
            }
            CheckpointError::Refused { what, problem } => write!(f, "{what}: {problem}"),
            CheckpointError::Poisoned { cause, durable } => {
                write!(f, "no state checkpoints are written since an earlier error: {cause}")?;
                match durable {
                    Some(t) => write!(f, " (the newest durable checkpoint is of batch {t})"),
                    None => f.write_str(" (there is no durable checkpoint)"),
                }
            }
            CheckpointError::Bug(text) => {
                write!(f, "this is a defect of brooklet, please report it: {text}")
            }
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CheckpointError::Io { cause, .. } => Some(&**cause),
            CheckpointError::Poisoned { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

impl From<CheckpointError> for Error {
    fn from(e: CheckpointError) -> Error {
        match e {
            CheckpointError::Bug(text) => Error::Bug(text),
            e => Error::Checkpoint(e),
        }
    }
}
