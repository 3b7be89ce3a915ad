//! The list of files that make up the state after a batch.
//!
//! ```text
//! manifest  preamble("BRKLMAN") frame        the frame is a [`Manifest`] as MessagePack with field names
//! name      manifest-GENERATION-TIME         the generation counts the manifests of a directory
//! ```

use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::frame::{self, PREAMBLE, check_preamble, decode_frame, encode_frame, preamble};
use super::storage::{Storage, TEMP};
use crate::Time;

const MAGIC: &[u8; 7] = b"BRKLMAN";
const VERSION: u8 = 1;

/// Key groups of all state.
pub(crate) const KEY_GROUPS: u16 = 256;

/// The state of all operators after the batch of `time`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) time: Time,
    /// The time from which windows and intervals are counted.
    pub(crate) zero: Time,
    pub(crate) generation: u64,
    pub(crate) operators: Vec<OperatorEntry>,
}

/// What a program says about an operator's state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OperatorMeta {
    pub(crate) identity: String,
    /// What keys and values look like; compared by the caller, opaque here.
    #[serde(with = "bytes")]
    pub(crate) schema: Vec<u8>,
    /// The seed by which keys were put into their groups.
    pub(crate) seed: u64,
    /// Name and parameters of the partitioner.
    pub(crate) partitioner: String,
}

/// An operator's state: for each key group one base, and the deltas that are newer than it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OperatorEntry {
    pub(crate) meta: OperatorMeta,
    pub(crate) key_groups: u16,
    /// The schemas of all entries that the files may hold.
    pub(crate) schemas: Vec<Schema>,
    /// By group; together they hold all groups, or there are none.
    pub(crate) bases: Vec<FileEntry>,
    /// From the oldest to the newest.
    pub(crate) deltas: Vec<FileEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Schema(#[serde(with = "bytes")] pub(crate) Vec<u8>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    /// The batch whose changes are the newest in the file.
    pub(crate) time: Time,
    /// First and last key group that may be in the file.
    pub(crate) first: u8,
    pub(crate) last: u8,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// The checksum at the file's end, which covers all of it.
    pub(crate) check: u32,
    pub(crate) entries: u64,
    /// Which of the operator's schemas entries may have.
    pub(crate) schemas: Vec<u32>,
}

impl OperatorEntry {
    pub(crate) fn new(meta: OperatorMeta) -> OperatorEntry {
        let schemas = vec![Schema(meta.schema.clone())];
        let (bases, deltas) = (Vec::new(), Vec::new());
        OperatorEntry { meta, key_groups: KEY_GROUPS, schemas, bases, deltas }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.bases.iter().chain(&self.deltas)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bases.is_empty()
    }

    /// The number of the schema by which entries are written now.
    pub(crate) fn current_schema(&mut self) -> u32 {
        let at = self.schemas.iter().position(|s| s.0 == self.meta.schema);
        at.unwrap_or_else(|| {
            self.schemas.push(Schema(self.meta.schema.clone()));
            self.schemas.len() - 1
        }) as u32
    }

    /// Forgets the schemas that no file needs any more.
    pub(crate) fn prune_schemas(&mut self) {
        self.current_schema();
        let old = std::mem::take(&mut self.schemas);
        let mut new_number = vec![None; old.len()];
        for (i, schema) in old.into_iter().enumerate() {
            let wanted = schema.0 == self.meta.schema
                || self.files().any(|f| f.schemas.contains(&(i as u32)));
            if wanted {
                new_number[i] = Some(self.schemas.len() as u32);
                self.schemas.push(schema);
            }
        }
        for f in self.bases.iter_mut().chain(&mut self.deltas) {
            for s in &mut f.schemas {
                *s = new_number.get(*s as usize).copied().flatten().unwrap_or(*s);
            }
        }
    }

    /// What is wrong with the list of files.
    fn problem(&self) -> Option<String> {
        let who = &self.meta.identity;
        if self.key_groups != KEY_GROUPS {
            return Some(format!("`{who}` has {} key groups, not {KEY_GROUPS}", self.key_groups));
        }
        let mut next = 0u16;
        for b in &self.bases {
            if u16::from(b.first) != next || b.last < b.first {
                return Some(format!("the bases of `{who}` leave a gap at key group {next}"));
            }
            next = u16::from(b.last) + 1;
        }
        if next != KEY_GROUPS && !(next == 0 && self.deltas.is_empty()) {
            return Some(format!("the bases of `{who}` end before key group {next}"));
        }
        if !self.deltas.is_sorted_by(|a, b| a.time < b.time) {
            return Some(format!("the deltas of `{who}` aren't in order"));
        }
        let known = |f: &FileEntry| f.schemas.iter().all(|s| (*s as usize) < self.schemas.len());
        let unknown = self.files().find(|f| !known(f))?;
        Some(format!("the file {} has a schema that isn't listed", unknown.name))
    }
}

impl Manifest {
    pub(crate) fn name(&self) -> String {
        format!("{MANIFEST}{:010}-{:016}", self.generation, self.time.millis())
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, CheckpointError> {
        let raw = rmp_serde::to_vec_named(self)
            .map_err(|e| CheckpointError::Bug(format!("a manifest can't be encoded: {e}")))?;
        let mut out = preamble(MAGIC, VERSION).to_vec();
        let mut packed = Vec::new();
        encode_frame(frame::seed(&self.name()), PREAMBLE as u64, &raw, true, &mut packed)
            .map_err(|e| CheckpointError::Bug(format!("a manifest can't be packed: {e}")))?;
        out.extend_from_slice(&packed);
        Ok(out)
    }

    /// Reads the manifest `name`.
    ///
    /// # Errors
    /// When it isn't there, can't be read, is damaged or of a newer version.
    pub(crate) fn read(storage: &dyn Storage, name: &str) -> Result<Manifest, CheckpointError> {
        let path = storage.path(name);
        let failed = |e| CheckpointError::io(&path, "reading", e);
        let mut file = storage.open(name).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes).map_err(failed)?;
        check_preamble(&path, &bytes, MAGIC, VERSION)?;
        let at = PREAMBLE as u64;
        let bad = |problem: String| CheckpointError::corrupt(&path, at, problem);
        let mut raw = Vec::new();
        decode_frame(frame::seed(name), at, &bytes[PREAMBLE..], &mut raw)
            .map_err(|problem| bad(problem.into()))?;
        let manifest: Manifest =
            rmp_serde::from_slice(&raw).map_err(|e| bad(format!("no manifest: {e}")))?;
        match manifest.operators.iter().find_map(OperatorEntry::problem) {
            Some(problem) => Err(bad(problem)),
            None if manifest.name() != name => {
                Err(bad(format!("it was written as {}", manifest.name())))
            }
            None => Ok(manifest),
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.operators.iter().flat_map(OperatorEntry::files)
    }
}

const MANIFEST: &str = "manifest-";
const STATE: &str = "state-";

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileKind {
    Manifest {
        generation: u64,
    },
    State {
        generation: u64,
    },
    /// Not finished.
    Temporary,
    /// Somebody else's.
    Foreign,
}

impl FileKind {
    pub(crate) fn of(name: &str) -> FileKind {
        let generation = |rest: &str| rest.split('-').next()?.parse().ok();
        if let Some(rest) = name.strip_prefix(MANIFEST)
            && let Some(generation) = generation(rest)
        {
            if name.ends_with(TEMP) {
                return FileKind::Temporary;
            }
            return FileKind::Manifest { generation };
        }
        match name.strip_prefix(STATE).and_then(generation) {
            Some(generation) => FileKind::State { generation },
            None => FileKind::Foreign,
        }
    }
}

/// The beginning of the name of a state file.
pub(crate) fn stem(generation: u64, serial: u32) -> String {
    format!("{STATE}{generation:010}-{serial:04}")
}

/// The name of the `part`th file of a stem; what it says of the operator is for people only.
pub(crate) fn state_name(stem: &str, part: u32, identity: &str, base: bool) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let slug: String = identity.chars().map(plain).take(40).collect();
    format!("{stem}-{part:03}-{slug}.{}", if base { "base" } else { "delta" })
}

/// Bytes as MessagePack's bytes instead of a list of numbers.
mod bytes {
    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, b: &[u8]) -> Result<Vec<u8>, E> {
                Ok(b.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, b: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(b)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut out = Vec::new();
                while let Some(b) = seq.next_element()? {
                    out.push(b);
                }
                Ok(out)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn meta(identity: &str, schema: &[u8]) -> OperatorMeta {
        OperatorMeta {
            identity: identity.into(),
            schema: schema.to_vec(),
            seed: 1,
            partitioner: "hash".into(),
        }
    }

    #[test]
    fn schemas_go_with_their_last_file() {
        let mut op = OperatorEntry::new(meta("counts", b"v1"));
        let file = |schemas: &[u32]| FileEntry {
            name: "f".into(),
            time: Time::ZERO,
            first: 0,
            last: 255,
            length: 0,
            check: 0,
            entries: 0,
            schemas: schemas.to_vec(),
        };
        op.bases.push(file(&[0]));
        op.meta.schema = b"v2".to_vec();
        assert_eq!(op.current_schema(), 1);
        op.deltas.push(file(&[1]));
        op.prune_schemas();
        assert_eq!(op.schemas.len(), 2);
        op.bases[0].schemas = vec![1];
        op.prune_schemas();
        assert_eq!(op.schemas, [Schema(b"v2".to_vec())]);
        assert!(op.files().all(|f| f.schemas == [0]));
        assert_eq!(op.problem(), None);
        op.bases[0].first = 3;
        assert!(op.problem().unwrap().contains("gap"));
    }

    #[test]
    fn names_tell_what_a_file_is() {
        let m = Manifest {
            time: Time::from_millis(5),
            zero: Time::ZERO,
            generation: 7,
            operators: vec![],
        };
        assert_eq!(FileKind::of(&m.name()), FileKind::Manifest { generation: 7 });
        assert_eq!(FileKind::of(&format!("{}.tmp", m.name())), FileKind::Temporary);
        let name = state_name(&stem(12, 3), 0, "a -> b/c", true);
        assert_eq!(name, "state-0000000012-0003-000-a____b_c.base");
        assert_eq!(FileKind::of(&name), FileKind::State { generation: 12 });
        for foreign in ["state.txt", "manifest-x", "notes"] {
            assert_eq!(FileKind::of(foreign), FileKind::Foreign);
        }
    }
}
