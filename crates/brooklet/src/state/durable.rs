//! Keyed state as checkpoints see it: entries by key group, encoded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tables::{Beside, Tables};
use crate::checkpoint::schema::{EntryError, Opaque, Schema, decode, encode_into};
use crate::checkpoint::{DeltaBuilder, Entries, PutError};
use crate::data::{HashSeed, Key, Wire};
use crate::engine::{Site, TaskError};
use crate::rdd::combine::group_of;
use crate::rdd::partitioner::{Partitioning, carried_hash};
use crate::{Error, Result, Time};

/// How entries are written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Form {
    /// Keys and values.
    pub(crate) schema: Schema,
    /// The time of the key's last record stands before its value.
    pub(crate) timed: bool,
}

/// What an update stage leaves for checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Collect {
    Nothing,
    /// What the batch has changed.
    Changes,
    /// All of the state.
    Whole,
}

/// The part of a checkpoint that belongs to a stateful operator.
pub(crate) trait Durable: Send + Sync {
    /// How entries are written now.
    fn form(&self) -> Result<Form, Opaque>;
    /// Name and parameters of what deals out the keys.
    fn partitioner(&self) -> String;
    /// Whether batches hand over all of the state or nothing.
    fn whole_only(&self) -> bool {
        false
    }
    /// Takes over the entries of a checkpoint of batch `t`, which are written as `form` says; slides are counted
    /// from `zero`.
    fn load(&self, t: Time, zero: Time, form: &Form, entries: &mut Entries) -> Result<()>;
    /// All of the state as bytes of a delta, on the driver.
    fn whole(&self) -> Result<Vec<u8>>;
}

/// An entry that couldn't be written, in terms of its operator.
pub(crate) fn not_written(site: Site, e: PutError<EntryError>) -> TaskError {
    let problem = match e {
        PutError::Encode(e) => e.to_string(),
        PutError::TooLarge { bytes } => {
            format!("an entry of {bytes} bytes is too large for a checkpoint")
        }
    };
    TaskError::Input { message: format!("state of {site}: {problem}") }
}

/// Writes one entry, or that its key is removed.
pub(crate) fn put<K: Serialize, S: Serialize>(
    out: &mut DeltaBuilder,
    group: u8,
    key: &K,
    value: Option<(Option<u64>, &S)>,
) -> Result<(), PutError<EntryError>> {
    let key = |b: &mut Vec<u8>| encode_into(key, b);
    let Some((touched, value)) = value else { return out.remove_with(group, key) };
    out.put_with(group, key, |b| {
        if let Some(t) = touched {
            b.extend_from_slice(&t.to_le_bytes());
        }
        encode_into(value, b)
    })
}

/// What of a stored entry can't be taken over.
pub(crate) fn not_read(site: Site, e: &dyn std::fmt::Display) -> Error {
    Error::usage(format!("state of {site} can't be restored: {e}"))
}

/// The keyed tables of an operator.
pub(crate) struct DurableTables<K, S, X> {
    pub(crate) tables: Arc<Tables<K, S, X>>,
    partitioning: Partitioning<K>,
    seed: HashSeed,
    site: Site,
    whole_only: bool,
    /// The user's version of types whose form can't be found out.
    version: Option<u32>,
}

impl<K: Key, S: Wire, X: Beside> DurableTables<K, S, X> {
    pub(crate) fn new(
        tables: &Arc<Tables<K, S, X>>,
        partitioning: &Partitioning<K>,
        seed: HashSeed,
        site: Site,
    ) -> Self {
        let (tables, partitioning) = (tables.clone(), partitioning.clone());
        DurableTables { tables, partitioning, seed, site, whole_only: false, version: None }
    }

    /// Batches hand over all of it or nothing.
    pub(crate) fn whole_only(self) -> Self {
        DurableTables { whole_only: true, ..self }
    }

    pub(crate) fn version(self, version: Option<u32>) -> Self {
        DurableTables { version, ..self }
    }
}

/// The schema of a type, or its version where it has none.
pub(crate) fn schema_of<T: Wire>(version: Option<u32>) -> Result<Schema, Opaque> {
    Schema::of::<T>().or_else(|opaque| match version {
        Some(n) => opaque.version(n),
        None => Err(opaque),
    })
}

impl<K: Key, S: Wire, X: Beside> Durable for DurableTables<K, S, X> {
    fn form(&self) -> Result<Form, Opaque> {
        Ok(Form { schema: schema_of::<(K, S)>(self.version)?, timed: self.tables.by_time() })
    }

    fn partitioner(&self) -> String {
        self.partitioning.name()
    }

    fn whole_only(&self) -> bool {
        self.whole_only
    }

    fn load(&self, t: Time, _: Time, form: &Form, entries: &mut Entries) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| not_read(self.site, e);
        let mut load = self.tables.begin_load(t);
        while let Some((_, key, value)) = entries.next().map_err(Error::Checkpoint)? {
            let (mut touched, mut value) = (t.millis(), value);
            if form.timed {
                let Some((time, rest)) = value.split_first_chunk() else {
                    return Err(failed(&"a value is too short"));
                };
                (touched, value) = (u64::from_le_bytes(*time), rest);
            }
            let key: K = decode(key).map_err(|e| failed(&e))?;
            let value: S = decode(value).map_err(|e| failed(&e))?;
            let hash = carried_hash(self.seed, &key);
            let part = self.partitioning.of(&key, hash);
            load.put(part, hash, key, value, touched);
        }
        load.done();
        Ok(())
    }

    fn whole(&self) -> Result<Vec<u8>> {
        let mut out = DeltaBuilder::default();
        let timed = self.tables.by_time();
        for part in 0..self.tables.partitions() {
            let written = self.tables.each(part, |hash, k, s, touched| {
                put(&mut out, group_of(hash), k, Some((timed.then_some(touched), s)))
            });
            written
                .map_err(|e| Error::TaskFailed { attempts: 1, cause: not_written(self.site, e) })?;
        }
        Ok(out.finish().into_bytes())
    }
}
