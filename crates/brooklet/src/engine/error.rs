//! How a task fails.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Blame, StageKey};

/// Why an attempt of a task failed. Survives the way between processes; a user's error arrives there as
/// its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// A user closure panicked (with a culprit), or the engine did (without).
    Panicked {
        /// The operator whose closure it was.
        culprit: Option<Blame>,
        /// The partition that the task worked on.
        partition: u32,
        /// The panic's text.
        message: String,
    },
    /// A fallible user closure returned an error and the policy is to fail the task.
    Failed {
        /// The operator whose closure it was.
        culprit: Blame,
        /// The partition that the task worked on.
        partition: u32,
        /// What the closure returned.
        error: UserError,
    },
    /// The output of an earlier stage that this task reads is gone. The driver makes it again.
    Lost {
        /// The stage whose output is gone.
        stage: StageKey,
        /// The lost partition.
        partition: u32,
    },
    /// A received block or slice can't be read: the data is gone or damaged.
    Input {
        /// The block or input, and what is wrong with it.
        message: String,
    },
    /// A file for records that don't fit into the task's memory can't be written or read: a full disk, a
    /// missing right, a damaged file. Look at the disk that is named; `local_dir` puts the files elsewhere.
    Spill {
        /// The file, or the folder when that can't be made.
        path: String,
        /// What the system says, or what is wrong in the file.
        message: String,
    },
    /// A stateful operator would have more state than its limit allows: raise the limit, or let keys go.
    StateFull {
        /// The operator whose state it is.
        operator: Blame,
        /// The partition that has too much.
        partition: u32,
        /// What it would have, what it may have, and what to do.
        message: String,
    },
    /// A value couldn't be encoded or decoded.
    Codec {
        /// The Rust type.
        type_name: String,
        /// What serde says.
        message: String,
    },
    /// The job was cancelled.
    Cancelled,
    /// A defect of the engine. Please report it.
    Bug(String),
}

/// An error returned by a user closure: the value itself in the process where it arose, its text
/// elsewhere.
#[derive(Clone, Debug)]
pub struct UserError(pub Arc<dyn std::error::Error + Send + Sync>);

impl Serialize for UserError {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.to_string())
    }
}

impl<'de> Deserialize<'de> for UserError {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Ok(UserError(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(text))))
    }
}

impl TaskError {
    /// Whether the cause lies outside of program and data, so that another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, TaskError::Lost { .. } | TaskError::Spill { .. } | TaskError::Cancelled)
    }

    /// Whether the user's own closure is the cause.
    pub fn is_user_code(&self) -> bool {
        matches!(self, TaskError::Panicked { culprit: Some(_), .. } | TaskError::Failed { .. })
    }

    pub(crate) fn codec<T>(e: impl fmt::Display) -> TaskError {
        TaskError::Codec { type_name: std::any::type_name::<T>().into(), message: e.to_string() }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Panicked { culprit: Some(c), partition, message } => {
                write!(f, "closure of {c} panicked in partition {partition}: {message}")
            }
            TaskError::Panicked { culprit: None, partition, message } => write!(
                f,
                "the engine panicked in partition {partition} (a defect, please report it): {message}"
            ),
            TaskError::Failed { culprit, partition, error } => {
                write!(f, "closure of {culprit} failed in partition {partition}: {}", error.0)
            }
            TaskError::Lost { stage, partition } => {
                write!(f, "output {partition} of stage {stage} is gone")
            }
            TaskError::Input { message } => f.write_str(message),
            TaskError::Spill { path, message } => write!(f, "spill file {path}: {message}"),
            TaskError::StateFull { operator, partition, message } => {
                write!(f, "partition {partition} of the state of {operator} {message}")
            }
            TaskError::Codec { type_name, message } => {
                write!(f, "a `{type_name}` can't be encoded or decoded: {message}")
            }
            TaskError::Cancelled => f.write_str("the job was cancelled"),
            TaskError::Bug(text) => write!(f, "a defect of brooklet, please report it: {text}"),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TaskError::Failed { error, .. } => Some(&*error.0),
            _ => None,
        }
    }
}
