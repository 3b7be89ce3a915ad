//! The whole of it on many kinds of types.

mod compared;
mod entries;
mod properties;
mod random;
mod traced;
mod types;
mod versions;
