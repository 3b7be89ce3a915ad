//! What tests of streams need: drive batches by hand, collect what comes out.

mod driver;
pub mod faults;

pub use driver::{Collector, Driver, TestEngine, run, run_sorted};
