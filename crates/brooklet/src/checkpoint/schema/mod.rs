//! Schemas of stored types, and the encoding of single entries.
//!
//! ```text
//!  T ──► Schema::of ── a probing Deserializer invents values of T (trace/)
//!                   ── what T's Serialize writes of them (look)
//!                   ── they must come back as they were (whole)
//!        │
//!        ├─► stored in the header of each file, printed, fingerprinted
//!        └─► compare(stored, new) ──► kept │ migrated │ refused
//! ```
//!
//! Entries are MessagePack with field names (`entry`), so they describe themselves: the schema is the gate
//! before reading and the text of the difference, never what decodes. A mistake in the tracer can refuse
//! a checkpoint, but not make it unreadable.

// The checkpoint files and the stateful operators call this; until they are wired, nothing does.
#![cfg_attr(not(test), allow(dead_code))]

mod compare;
mod entry;
mod look;
mod opaque;
mod print;
#[cfg(test)]
mod tests;
mod trace;
mod ty;
mod verdict;
mod whole;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[allow(unused_imports)]
pub(crate) use {
    compare::compare,
    entry::{EntryError, check_key, decode, encode_into},
    opaque::{Opaque, Reason},
    ty::Schema,
    verdict::{Change, Refusal, Verdict, What, Why},
};

impl Schema {
    /// The schema of `T`, found by running its `Deserialize` on invented values and its `Serialize` on
    /// what came of them. It makes some values for each field and variant: once per operator at start.
    ///
    /// # Errors
    /// [`Opaque`] when the form of `T` can't be found out, with the place and the reason;
    /// [`Opaque::version`] then makes a schema that knows a version number only. Types that would lose
    /// values when stored are an error for which there is no such way out.
    pub(crate) fn of<T: Serialize + DeserializeOwned>() -> Result<Schema, Opaque> {
        let traced = trace::trace::<T>()?;
        let schema = look::look(traced.schema, &traced.values, &traced.variant_ids)
            .map_err(|(path, reason)| Opaque::new::<T>(path, reason))?;
        schema.check_options().map_err(|(path, reason)| Opaque::new::<T>(path, reason))?;
        whole::check(&traced.values).map_err(|r| Opaque::new::<T>(schema.root_name(), r))?;
        Ok(schema.canonical())
    }
}
