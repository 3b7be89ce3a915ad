//! What ends the program, and with which exit code.

use std::fmt;

/// Why the program ends otherwise than well.
#[derive(Debug)]
pub enum Failure {
    /// An argument or a setting is wrong: exit code 2, as for unknown options.
    Usage(String),
    /// The source can't be reached: exit code 3.
    Unreachable(String),
    /// The stream failed, or its figures aren't what they must be: exit code 1.
    Failed(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Unreachable(text) | Failure::Failed(text) => {
                f.write_str(text)
            }
        }
    }
}

impl From<brooklet::Error> for Failure {
    fn from(e: brooklet::Error) -> Failure {
        match e {
            brooklet::Error::Config { .. } => Failure::Usage(e.to_string()),
            e => Failure::Failed(e.to_string()),
        }
    }
}
