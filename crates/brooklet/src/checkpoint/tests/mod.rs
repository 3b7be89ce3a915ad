//! Checkpoints against a model: what was put last is there, after whatever happens.

mod background;
mod bytes;
mod crash;
mod damage;
mod local;
mod model;
mod order;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::delta::{Delta, DeltaBuilder};
use super::manifest::OperatorMeta;
use super::memory::MemoryStorage;
use super::policy::{CheckpointPolicy, MergePolicy};
use super::restore::{OpenCheckpoint, StartFrom};
use super::worker::{Collected, Worker};
use super::{CheckpointError, Storage};
use crate::Time;

/// The state of an operator.
type Table = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// A change: group, key, new value or `None`.
type Put = (u8, Vec<u8>, Option<Vec<u8>>);

fn meta(identity: &str) -> OperatorMeta {
    let (identity, partitioner) = (identity.to_string(), "hash(4)".to_string());
    OperatorMeta { identity, schema: b"{n: u64}".to_vec(), seed: 7, partitioner }
}

/// A policy under which little data makes many files, frames and merges.
fn tiny() -> CheckpointPolicy {
    CheckpointPolicy {
        min_batches: 1,
        min_interval: std::time::Duration::ZERO,
        frame_bytes: 64,
        merge: MergePolicy { min_bytes: 0, max_deltas: 3, base_bytes: 400 },
        ..CheckpointPolicy::default()
    }
}

fn t(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn delta(puts: &[Put]) -> Delta {
    let mut d = DeltaBuilder::default();
    for (group, key, value) in puts {
        match value {
            Some(v) => d.put(*group, key, v).unwrap(),
            None => d.remove(*group, key).unwrap(),
        }
    }
    d.finish()
}

fn apply(table: &mut Table, puts: &[Put]) {
    for (group, key, value) in puts {
        match value {
            Some(v) => _ = table.insert((*group, key.clone()), v.clone()),
            None => _ = table.remove(&(*group, key.clone())),
        }
    }
}

fn load(open: &OpenCheckpoint, identity: &str) -> Result<Table, CheckpointError> {
    load_groups(open, identity, 0..=255)
}

fn load_groups(
    open: &OpenCheckpoint,
    identity: &str,
    groups: std::ops::RangeInclusive<u8>,
) -> Result<Table, CheckpointError> {
    let mut entries = open.load(identity, groups);
    let (mut table, mut last) = (Table::new(), None);
    while let Some((group, key, value)) = entries.next()? {
        let key = (group, key.to_vec());
        assert!(last.as_ref() < Some(&key), "in order, each key once");
        last = Some(key.clone());
        table.insert(key, value.to_vec());
    }
    Ok(table)
}

fn open(storage: &MemoryStorage) -> Result<OpenCheckpoint, CheckpointError> {
    OpenCheckpoint::open(Arc::new(storage.clone()), StartFrom::Newest)
}

fn worker(open: OpenCheckpoint, operators: &[&str], policy: CheckpointPolicy) -> Worker {
    let operators = operators.iter().map(|o| meta(o)).collect();
    open.worker(operators, &[], t(0), policy).unwrap().0
}

fn part(puts: &[Put]) -> Collected {
    Collected { whole: false, deltas: vec![delta(puts)] }
}

/// All files that aren't named by a manifest that is there.
fn unnamed(storage: &MemoryStorage) -> Vec<String> {
    use super::manifest::{FileKind, Manifest};
    let names = storage.names();
    let manifests = names.iter().filter(|n| matches!(FileKind::of(n), FileKind::Manifest { .. }));
    let manifests: Vec<_> =
        manifests.map(|n| Manifest::read(storage as &dyn Storage, n).unwrap()).collect();
    let named =
        |n: &String| manifests.iter().any(|m| m.name() == *n || m.files().any(|f| f.name == *n));
    names.iter().filter(|n| !named(n)).cloned().collect()
}
