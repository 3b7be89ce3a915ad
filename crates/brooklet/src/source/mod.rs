//! Sources: the [`Input`] trait that all of them are written with, and those that come with the crate.

mod charset;
pub mod file;
mod input;
mod log;
mod queue;
mod receiver_input;
mod socket;
mod stdin;

pub use charset::{Charset, CharsetDecoder, DecodingReader};
pub use input::{Input, InputStart, SliceInfo};
pub use log::{FileId, LogInput, LogOptions, LogPipe, LogRange, LogSlice};
pub use queue::{Queue, QueueInput, QueueOptions, TextQueue};
pub use socket::SocketReceiver;
pub use stdin::StdinReceiver;

pub(crate) use input::InputOp;
pub(crate) use queue::TextQueueInput;
pub(crate) use receiver_input::ReceiverOp;
