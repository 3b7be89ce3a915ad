//! The one error type of the crate.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Time;
use crate::engine::{Site, TaskError};

/// Any error a user closure or a user's sink may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, by what the user has to do next. Its debug form is its text, for that is what a `main` that
/// returns it prints.
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong. Fix the named setting; nothing was started.
    Config {
        /// The setting.
        key: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A configuration file isn't TOML. Fix the line; nothing was started.
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// The program asks for something that can't be, such as a context without outputs. Fix the program;
    /// the text says how.
    Usage(String),
    /// The context isn't in the state that the call needs (start after stop, an operator added after
    /// start).
    State {
        /// What was called.
        call: &'static str,
        /// The state the context was in.
        state: &'static str,
        /// What to do instead.
        help: &'static str,
    },
    /// A task failed as often as it may (`task.max_failures`). The cause names operator and call site.
    TaskFailed {
        /// How many attempts there were.
        attempts: u32,
        /// The last attempt's error.
        cause: TaskError,
    },
    /// An output's own code failed on the driver, outside of tasks.
    Output {
        /// The output operation.
        site: Site,
        /// The batch.
        time: Time,
        /// What its closure returned, or the text of its panic.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A batch failed; wraps the cause with batch time and output operation.
    Batch {
        /// The batch.
        time: Time,
        /// The operator or output operation.
        operation: String,
        /// The cause.
        cause: Arc<Error>,
    },
    /// A stream that must have an RDD at this time has none (a parent of `union`, `transform` or a join
    /// whose input gave nothing for the batch).
    NoRdd {
        /// The operator that needs it.
        site: Site,
        /// The parent that has none: kinds and names of its operators, from the input on.
        parent: Arc<str>,
        /// The batch.
        time: Time,
    },
    /// Received or persisted data is gone and can't be made again.
    BlockLost {
        /// The block.
        block: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A receiver, an input or a sink couldn't do its work: connection, file, address.
    Io {
        /// What was tried, with its address or path.
        what: String,
        /// The system's error.
        cause: Arc<std::io::Error>,
    },
    /// State couldn't be stored or read back. The cause names the file or operator, and what to do.
    Checkpoint(crate::CheckpointError),
    /// The job was cancelled, or the context is stopping.
    Cancelled,
    /// An action was called inside a task; actions run jobs, and jobs are run by the driver.
    ActionInTask {
        /// The action.
        site: Site,
    },
    /// Code built at run time can't be sent to another process. The text names the call site and the ways
    /// out.
    NotShippable(String),
    /// The waiting batches reached the limit and the queue policy is `fail`.
    QueueFull {
        /// Batches waiting.
        waiting: usize,
        /// The batch that found no place.
        time: Time,
    },
    /// A defect of brooklet. Please report it with this text.
    Bug(String),
}

impl Error {
    /// A wrong use of the API, with what to do instead.
    pub(crate) fn usage(text: impl Into<String>) -> Error {
        Error::Usage(text.into())
    }

    /// A failed system call, with what was tried.
    pub fn io(what: impl Into<String>, cause: std::io::Error) -> Error {
        Error::Io { what: what.into(), cause: Arc::new(cause) }
    }

    /// Whether trying the same again may succeed: the cause is outside of program and data.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Io { .. } | Error::Cancelled => true,
            Error::TaskFailed { cause, .. } => cause.is_retryable(),
            Error::Batch { cause, .. } => cause.is_retryable(),
            _ => false,
        }
    }

    /// Whether the user's own code failed (a panic or an `Err` of a closure).
    pub fn is_user_code(&self) -> bool {
        match self {
            Error::TaskFailed { cause, .. } => cause.is_user_code(),
            Error::Output { .. } => true,
            Error::Batch { cause, .. } => cause.is_user_code(),
            _ => false,
        }
    }

    /// The innermost error below the wrapping of batches.
    pub fn root(&self) -> &Error {
        match self {
            Error::Batch { cause, .. } => cause.root(),
            e => e,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config { key, problem } => write!(f, "setting `{key}`: {problem}"),
            Error::ConfigFile { path, line, column, problem } => {
                write!(f, "{}:{line}:{column}: {problem}", path.display())
            }
            Error::Usage(text) | Error::NotShippable(text) => f.write_str(text),
            Error::State { call, state, help } => {
                write!(f, "`{call}` on a context that is {state}: {help}")
            }
            Error::TaskFailed { attempts: 1, cause } => cause.fmt(f),
            Error::TaskFailed { attempts, cause } => {
                write!(f, "a task failed {attempts} times, last: {cause}")
            }
            Error::Output { site, time, cause } => {
                write!(f, "output {site} failed at batch {time}: {cause}")
            }
            Error::Batch { time, operation, cause } => {
                write!(f, "batch {time}, {operation}: {cause}")
            }
            Error::NoRdd { site, parent, time } => write!(
                f,
                "{site} needs an RDD of every parent, and `{parent}` has none at batch {time}: an input \
                 gave nothing for this time (an empty batch would do)"
            ),
            Error::BlockLost { block, reason } => write!(f, "block {block} is lost: {reason}"),
            Error::Io { what, cause } => write!(f, "{what}: {cause}"),
            Error::Checkpoint(cause) => cause.fmt(f),
            Error::Cancelled => f.write_str("the job was cancelled"),
            Error::ActionInTask { site } => write!(
                f,
                "{site} was called inside a task: an action runs a job, and only the driver runs jobs; \
                 use the data of the other stream by a join or a broadcast"
            ),
            Error::QueueFull { waiting, time } => write!(
                f,
                "{waiting} batches are waiting and batch {time} found no place (queue policy `fail`): \
                 process faster, limit the rate, or choose the policy `wait` or `merge`"
            ),
            Error::Bug(text) => write!(f, "this is a defect of brooklet, please report it: {text}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::TaskFailed { cause, .. } => Some(cause),
            Error::Output { cause, .. } => Some(&**cause),
            Error::Batch { cause, .. } => Some(&**cause),
            Error::Io { cause, .. } => Some(&**cause),
            Error::Checkpoint(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<TaskError> for Error {
    fn from(cause: TaskError) -> Error {
        match cause {
            TaskError::Cancelled => Error::Cancelled,
            cause => Error::TaskFailed { attempts: 1, cause },
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::io("input or output failed", e)
    }
}
