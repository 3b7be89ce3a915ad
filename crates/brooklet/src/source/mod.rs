//! Sources: the [`Input`] trait that all of them are written with, and those that come with the crate.

mod charset;
mod connection;
mod decoder;
pub mod file;
pub(crate) mod glob;
mod input;
mod log;
mod queue;
mod raw;
mod receiver_input;
mod refused;
mod socket;
mod socket_stream;
mod stdin;
mod tls;
mod udp;

pub use charset::{Charset, CharsetDecoder, DecodingReader};
pub use decoder::{AndThen, Decoded, Decoder, Delimited, FixedLength, LengthPrefixed, Lines};
pub use input::{Input, InputStart, SliceInfo};
pub use log::{FileId, LogInput, LogOptions, LogPipe, LogRange, LogSlice};
pub use queue::{Queue, QueueInput, QueueOptions, TextQueue};
pub use raw::RawSender;
pub use socket::{SocketOptions, SocketReceiver};
pub use socket_stream::{Converter, FromReader, SocketBytes, from_reader};
pub use stdin::StdinReceiver;
pub use tls::TlsOptions;
pub use udp::UdpOptions;

pub(crate) use input::InputOp;
pub(crate) use queue::TextQueueInput;
pub(crate) use receiver_input::ReceiverOp;
pub(crate) use refused::Refused;
