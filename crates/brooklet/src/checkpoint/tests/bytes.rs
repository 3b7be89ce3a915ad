//! A checkpoint costs what was touched.

use super::*;
use crate::checkpoint::worker::WrittenStats;

fn key(i: u64) -> (u8, Vec<u8>) {
    let group = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    (group, i.to_be_bytes().to_vec())
}

/// A state of `keys` keys, then `batches` checkpoints of `touched` keys each. Returns what these wrote.
fn run(keys: u64, touched: u64, batches: u64, merges: bool) -> (WrittenStats, WrittenStats) {
    let policy = CheckpointPolicy { compress: false, ..CheckpointPolicy::default() };
    let storage = MemoryStorage::default();
    let mut w = worker(open(&storage).unwrap(), &["op"], policy.clone());
    let put = |i: u64, batch: u64| -> Put {
        let (group, key) = key(i);
        (group, key, Some([batch.to_le_bytes(); 2].concat()))
    };
    let all: Vec<Put> = (0..keys).map(|i| put(i, 0)).collect();
    w.checkpoint(t(1), &[part(&all)]).unwrap();
    let before = w.stats();
    let mut table = Table::new();
    apply(&mut table, &all);
    for b in 2..batches + 2 {
        let puts: Vec<Put> = (0..touched).map(|i| put((b * touched + i) % keys, b)).collect();
        apply(&mut table, &puts);
        w.checkpoint(t(b), &[part(&puts)]).unwrap();
        while merges && w.merge().unwrap() {}
        assert_eq!(w.durable(), Some(t(b)), "each millisecond");
    }
    assert_eq!(load(&open(&storage).unwrap(), "op").unwrap(), table);
    (before, w.stats())
}

#[test]
fn incremental_bytes_follow_the_touched_keys_and_not_the_state() {
    // Key and value have 24 bytes; head, index and runs of a file are the rest.
    let per_batch = |keys, touched| {
        let (before, after) = run(keys, touched, 40, false);
        assert_eq!(after.changed_entries - before.changed_entries, 40 * touched);
        (after.changed_bytes - before.changed_bytes) / 40
    };
    let (small, large) = (per_batch(20_000, 100), per_batch(200_000, 100));
    assert!(large <= small + small / 20, "{small} bytes of 20 k keys, {large} of 200 k");
    assert!(large < 100 * 24 + 100 * 8 + 400, "{large} bytes for 100 keys");
    let more = per_batch(200_000, 1_000);
    assert!(more < 1_000 * 24 + 256 * 5 + 1_000 * 2 + 400, "{more} bytes for 1,000 keys");
    assert!(more > 5 * large, "{large} for 100, {more} for 1,000");
}

#[test]
fn manifests_and_merges_stay_in_proportion() {
    let (before, after) = run(20_000, 200, 600, true);
    let changed = after.changed_bytes - before.changed_bytes;
    let manifests = (after.manifest_bytes - before.manifest_bytes) / 600;
    assert!(manifests < 2_000, "{manifests} bytes a manifest");
    assert!(after.merges > 20);
    assert!(
        after.merged_bytes < 8 * changed,
        "{} bytes merged for {changed} changed",
        after.merged_bytes
    );
}

#[test]
fn a_key_that_changes_in_each_batch_is_written_once_a_checkpoint() {
    let storage = MemoryStorage::default();
    let mut w = worker(open(&storage).unwrap(), &["op"], CheckpointPolicy::default());
    w.checkpoint(t(1), &[part(&[(1, vec![0], Some(vec![0]))])]).unwrap();
    let before = w.stats();
    let deltas = (0..1_000u64).map(|i| delta(&[(1, vec![7], Some(i.to_le_bytes().to_vec()))]));
    w.checkpoint(t(1_001), &[Collected { whole: false, deltas: deltas.collect() }]).unwrap();
    let after = w.stats();
    assert_eq!(after.changed_entries - before.changed_entries, 1);
    assert!(after.changed_bytes - before.changed_bytes < 400);
}
