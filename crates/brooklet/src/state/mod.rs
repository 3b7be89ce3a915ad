//! Keyed state: tables by key group, changed in place, with undo logs.
//!
//! - `slots`: values in numbered places
//! - `group`: the table of one of 256 key groups
//! - `tables`: the partitions of one stateful operator; the lease under which a batch changes one
//! - `durable`: keyed state as checkpoints see it
//! - `cell`: what a user's function sees of one key

mod cell;
pub(crate) mod durable;
mod group;
mod slots;
mod tables;

pub use cell::State;
pub(crate) use tables::{Beside, Lease, Tables};
