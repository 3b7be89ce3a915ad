//! What brooklet's own tests are written with, for the tests of your streams.
//!
//! - The manual clock driver and the loopback engine come from `brooklet::testing` and are re-exported
//!   here: inputs per batch in, outputs per batch out, in milliseconds, without sleeping.
//! - [`TestTcpServer`] is the other side of a socket stream: it serves bytes by a script, with
//!   disconnects, stalls and odd-sized pieces, and says what it sent to whom.
//! - [`HttpClient`] reads what is served over HTTP, and pushes to streams that take it.
//! - [`Collector`] is a sink: fill it from `foreach_rdd`, then compare multisets.
//!
//! ```
//! use std::io::Read;
//! use std::net::TcpStream;
//! use brooklet_testkit::TestTcpServer;
//!
//! let server = TestTcpServer::script().send("one\ntwo\n").disconnect_at(5).hang_up().start()?;
//! let mut seen = String::new();
//! for _ in 0..2 {
//!     TcpStream::connect(server.addr())?.read_to_string(&mut seen)?;
//! }
//! assert_eq!(seen, "one\ntwo\n");
//! assert_eq!(server.sent(), [5, 3]);
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(missing_docs)]

mod collector;
mod http_client;
mod tcp_server;

pub use brooklet::testing::*;
pub use collector::Collector;
pub use http_client::{HttpAnswer, HttpClient, HttpEvent, HttpEvents};
pub use tcp_server::{Script, TestTcpServer};
