//! Sources, listeners and clocks through the public API, and the table that says what shows what.
#![allow(clippy::unwrap_used)]

mod clocks;
mod conformance;
mod http;
mod input;
mod listener;
mod queue;
mod receiver;
mod socket;
mod support;
