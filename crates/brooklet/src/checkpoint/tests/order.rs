//! The protocol alone, against a disk that is a set of names.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::meta;
use crate::Time;
use crate::checkpoint::manifest::{FileEntry, Manifest, OperatorEntry};
use crate::checkpoint::policy::MergePolicy;
use crate::checkpoint::protocol::{Changed, Done, Protocol, Step};

#[derive(Default)]
struct Disk {
    files: BTreeSet<String>,
    /// Files whose names are durable.
    synced: BTreeSet<String>,
    manifests: Vec<Manifest>,
}

fn file(name: String, time: Time, length: u64) -> FileEntry {
    FileEntry { name, time, first: 0, last: 255, length, check: 0, entries: 1, schemas: vec![0] }
}

impl Disk {
    fn act(&mut self, step: Step, size: u64, fail_delete: bool) -> Done {
        match step {
            Step::Write { base, stem, time, .. } => {
                let name = format!("{stem}.{base}");
                assert!(self.files.insert(name.clone()), "a name is used once: {name}");
                Done::Written(vec![file(name, time, size)])
            }
            Step::Merge { inputs, stem, .. } => {
                for f in &inputs.files {
                    assert!(self.files.contains(&f.name), "{} is read and gone", f.name);
                }
                assert!(self.files.insert(stem.clone()));
                let length = inputs.files.iter().map(|f| f.length).sum();
                let time = inputs.files[inputs.files.len() - 1].time;
                Done::Written(vec![file(stem, time, length)])
            }
            Step::SyncNames => {
                self.synced = self.files.clone();
                Done::Ok
            }
            Step::Commit(m) => {
                for f in m.files() {
                    assert!(self.synced.contains(&f.name), "{} isn't durable", f.name);
                }
                self.files.insert(m.name());
                self.manifests.push(m);
                Done::Ok
            }
            Step::Delete(name) => {
                if fail_delete {
                    return Done::NotDeleted;
                }
                let newest = self.manifests.last().unwrap();
                assert!(newest.name() != name && newest.files().all(|f| f.name != name));
                assert!(self.files.remove(&name), "{name} is deleted twice");
                self.manifests.retain(|m| m.name() != name);
                Done::Ok
            }
        }
    }

    fn whole(&self, keep: usize) {
        let from = self.manifests.len().saturating_sub(keep);
        for f in self.manifests[from..].iter().flat_map(Manifest::files) {
            assert!(self.files.contains(&f.name), "{} of a kept manifest is gone", f.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn kept_manifests_are_whole_at_every_step_and_nothing_leaks(
        acts in prop::collection::vec((0u8..8, 1u64..200, any::<[bool; 4]>()), 1..80),
        keep in 1usize..4,
        fail_at in 0usize..400,
    ) {
        let entries = ["a", "b"].map(|n| OperatorEntry::new(meta(n))).to_vec();
        let mut p = Protocol::new(entries, vec![], keep, Time::ZERO, 1, []);
        let policy = MergePolicy { min_bytes: 0, max_deltas: 2, base_bytes: 1 << 20 };
        let mut disk = Disk::default();
        let (mut steps, mut all_deleted) = (0, true);
        for (i, (act, size, flags)) in acts.into_iter().enumerate() {
            if act < 3 {
                let ops = p.operators();
                let Some((n, inputs)) = (0..2).find_map(|n| Some((n, policy.choose(&ops[n])?)))
                else { continue };
                p.begin_merge(n, inputs);
            } else {
                let changed = (0..2).filter(|n| flags[*n]);
                let changed = changed.map(|operator| Changed { operator, whole: act == 7 && flags[2] });
                p.begin(Time::from_millis(i as u64 + 1), changed.collect());
                all_deleted = !flags[3];
            }
            while let Some(step) = p.step() {
                steps += 1;
                let failed = steps == fail_at;
                if failed && !matches!(step, Step::Delete(_)) {
                    p.done(Done::Failed);
                    prop_assert!(p.step().is_none() && !p.is_idle());
                    disk.whole(keep);
                    return Ok(());
                }
                let done = disk.act(step, size, flags[3]);
                p.done(done);
                disk.whole(keep);
            }
            prop_assert!(p.is_idle());
            if act >= 3 && all_deleted {
                let mut named: BTreeSet<String> = disk.manifests.iter().map(Manifest::name).collect();
                prop_assert!(named.len() <= keep);
                named.extend(disk.manifests.iter().flat_map(Manifest::files).map(|f| f.name.clone()));
                prop_assert_eq!(&disk.files, &named);
            }
        }
    }
}
