//! A small HTTP server inside of a streaming context: shows streams, and takes records.
//!
//! ```text
//! DStream::serve ─ publish ─► Topic ◄─ GET /streams/NAME[/events] ─┐
//!                                                                  ├─ Server, one per address
//! Store ◄─ HttpReceiver ◄─ PushQueue ◄─ POST PATH ─────────────────┘
//! ```
//! All connections are driven by the context's I/O runtime. What a client may take is bounded: the number
//! of connections, the size of heads and bodies, the time for each, the bytes that wait to be stored, and
//! the batches that are kept for slow subscribers.

mod answer;
mod events;
mod hub;
mod listen;
mod publisher;
mod push;
mod receiver;
mod routes;
mod server;
mod socket;
mod topic;

pub use publisher::Publisher;
pub use push::HttpOptions;
pub use topic::ServeOptions;

pub(crate) use hub::Hub;
pub(crate) use push::PushQueue;
pub(crate) use receiver::HttpReceiver;
pub(crate) use routes::Page;
pub(crate) use topic::{Topic, Values};
