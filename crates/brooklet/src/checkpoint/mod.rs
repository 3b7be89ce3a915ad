//! What is stored so that a stream can go on after its process has ended.
//!
//! Data is stored, never code or configuration: a program that has been changed reads it again, as far as
//! its types still fit. `schema` decides that, and has the encoding of single entries.

pub(crate) mod schema;
