//! Sources, listeners and clocks through the public API, and the table that says what shows what.
#![allow(clippy::unwrap_used)]

mod clocks;
mod configuration;
mod conformance;
mod files;
mod http;
mod input;
mod listener;
mod logs;
mod queue;
mod raw_socket;
mod receiver;
mod socket;
mod socket_stream;
mod support;
mod tls;
mod udp;
