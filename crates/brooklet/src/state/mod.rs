//! Keyed state: tables by key group, changed in place, with undo logs.
//!
//! - `slots`: values in numbered places
//! - `group`: the table of one of 256 key groups
//! - `plain`: numbers, compared by their bytes
//! - `log`: what a batch has changed in a group, to be undone
//! - `tables`: the partitions of one stateful operator; the lease under which a batch changes one
//! - `durable`: keyed state as checkpoints see it
//! - `cell`: what a user's function sees of one key
//! - `disk`: the same for more keys than memory holds
//! - `store`: what operators need of either
//! - `limit`, `watch`: what a state may take, and what can be seen of it

mod cell;
mod disk;
pub(crate) mod durable;
mod group;
mod limit;
mod log;
mod plain;
mod slots;
mod store;
mod tables;
mod watch;

pub use cell::State;
pub(crate) use disk::{DiskState, DiskTables, RunTables};
pub(crate) use limit::Bounded;
pub use limit::{OnFull, StateLimit};
pub(crate) use store::{KeyedLease, KeyedStates, Versions};
pub(crate) use tables::{Beside, Lease, Place, Tables};
pub(crate) use watch::Watched;
