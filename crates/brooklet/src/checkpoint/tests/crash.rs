//! The storage crashes or fails at every step.

use super::*;
use crate::checkpoint::memory::Fault;
use crate::rdd::random::Random;

/// What happens in a run: batches of changes with a checkpoint after each, and merges.
struct Script {
    batches: Vec<[Vec<Put>; 2]>,
    merge_after: Vec<bool>,
}

const NAMES: [&str; 2] = ["counts", "sessions"];

impl Script {
    fn new(random: &mut Random) -> Script {
        let batches = (0..7 + random.below(5)).map(|_| [(); 2].map(|()| puts(random))).collect();
        let merge_after = (0..12).map(|_| random.below(3) > 0).collect();
        Script { batches, merge_after }
    }

    /// The tables after `n` batches.
    fn tables(&self, n: usize) -> [Table; 2] {
        let mut tables = [Table::new(), Table::new()];
        for batch in &self.batches[..n] {
            for (table, puts) in tables.iter_mut().zip(batch) {
                apply(table, puts);
            }
        }
        tables
    }

    /// Runs from what is stored to the end. Returns the newest batch whose checkpoint was reported durable,
    /// and the error that ended the run.
    fn run(&self, storage: &MemoryStorage, from: StartFrom) -> (usize, Option<CheckpointError>) {
        let mut durable = 0;
        let end = self.go(storage, from, &mut durable).err();
        (durable, end)
    }

    fn go(
        &self,
        storage: &MemoryStorage,
        from: StartFrom,
        durable: &mut usize,
    ) -> Result<(), CheckpointError> {
        let o = OpenCheckpoint::open(Arc::new(storage.clone()), from)?;
        let done = self.check(&o);
        *durable = done;
        let mut w = worker(o, &NAMES, tiny());
        for (i, batch) in self.batches.iter().enumerate().skip(done) {
            let changes = [part(&batch[0]), part(&batch[1])];
            if let Err(e) = w.checkpoint(t(i as u64 + 1), &changes) {
                // From now on nothing is touched.
                let ops = storage.ops();
                let again = w.checkpoint(t(i as u64 + 2), &changes).unwrap_err();
                assert!(matches!(again, CheckpointError::Poisoned { .. }), "{again}");
                assert!(w.merge().is_err());
                assert_eq!(storage.ops(), ops);
                return Err(e);
            }
            *durable = i + 1;
            while self.merge_after[i] && w.merge()? {}
        }
        Ok(())
    }

    /// Looks whether an opened checkpoint is that of its batch; returns the batch's number.
    fn check(&self, o: &OpenCheckpoint) -> usize {
        let n = o.time().map_or(0, |t| t.millis() as usize);
        for (name, table) in NAMES.iter().zip(self.tables(n)) {
            assert_eq!(load(o, name).unwrap(), table, "{name} of batch {n}");
        }
        n
    }
}

fn puts(random: &mut Random) -> Vec<Put> {
    let puts = (0..random.below(14)).map(|_| {
        let key = vec![b'k', random.below(20) as u8];
        let length = random.below(30) as usize;
        let value = (random.below(4) > 0).then(|| vec![random.below(256) as u8; length]);
        (random.below(4) as u8 * 60, key, value)
    });
    puts.collect()
}

fn ops_of(script: &Script) -> u64 {
    let storage = MemoryStorage::default();
    let (durable, error) = script.run(&storage, StartFrom::Newest);
    assert_eq!((durable, error.is_none()), (script.batches.len(), true));
    storage.ops()
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_durable() {
    let mut steps = 0;
    for seed in 0..6 {
        let random = &mut Random::of(seed, 0);
        let script = Script::new(random);
        for at in 0..=ops_of(&script) {
            let storage = MemoryStorage::default().with_fault(Some(Fault::Crash(at)));
            let (durable, _) = script.run(&storage, StartFrom::Newest);
            for _ in 0..3 {
                let left = storage.crash(random);
                let o = open(&left).unwrap_or_else(|e| panic!("seed {seed}, step {at}: {e}"));
                let n = script.check(&o);
                assert!(n >= durable, "seed {seed}, step {at}: {n} < {durable}");
                drop(o);
                // A second crash at some step of the recovery, then to the end.
                let left = left.with_fault(Some(Fault::Crash(random.below(30))));
                let (durable, _) = script.run(&left, StartFrom::Newest);
                let left = left.crash(random);
                let (n, error) = script.run(&left, StartFrom::Newest);
                assert!(error.is_none() && n >= durable, "seed {seed}, step {at}: {error:?}");
                assert_eq!(script.check(&open(&left).unwrap()), script.batches.len());
                assert_eq!(unnamed(&left), Vec::<String>::new());
                steps += 1;
            }
        }
    }
    assert!(steps > 2_500, "{steps}");
}

#[test]
fn a_failed_step_poisons_and_a_new_start_goes_on() {
    for seed in 20..22 {
        let script = Script::new(&mut Random::of(seed, 0));
        for at in 0..ops_of(&script) {
            let storage = MemoryStorage::default().with_fault(Some(Fault::Fail(at)));
            let (durable, error) = script.run(&storage, StartFrom::Newest);
            // Only a failed deletion doesn't matter.
            if let Some(e) = &error {
                let text = e.to_string();
                assert!(text.contains("a fault of the test") && text.contains("memory"), "{text}");
            } else {
                assert_eq!(durable, script.batches.len());
            }
            let storage = storage.with_fault(None);
            let o = open(&storage).unwrap();
            assert!(script.check(&o) >= durable);
            drop(o);
            let (n, error) = script.run(&storage, StartFrom::Newest);
            assert!(error.is_none() && n == script.batches.len(), "step {at}: {error:?}");
            // What the last merge made is named by no manifest yet, and goes.
            drop(open(&storage).unwrap());
            assert_eq!(unnamed(&storage), Vec::<String>::new());
        }
    }
}

#[test]
fn after_going_back_a_crash_at_any_step_leaves_a_way() {
    let random = &mut Random::of(77, 0);
    let script = Script::new(random);
    let storage = MemoryStorage::default();
    script.run(&storage, StartFrom::Newest);
    let newest = storage.names().into_iter().rfind(|n| n.starts_with("manifest")).unwrap();
    let mut bytes = storage.bytes(&newest);
    bytes[20] ^= 1;
    storage.set_bytes(&newest, bytes);
    let e = open(&storage.copy()).unwrap_err().to_string();
    assert!(e.contains(&newest) && e.contains("permit"), "{e}");
    for at in 0..60 {
        let storage = storage.copy().with_fault(Some(Fault::Crash(at)));
        script.run(&storage, StartFrom::NewestWhole);
        let left = storage.crash(random);
        let (n, error) = script.run(&left, StartFrom::NewestWhole);
        assert!(error.is_none() && n == script.batches.len(), "step {at}: {error:?}");
        assert_eq!(script.check(&open(&left).unwrap()), n);
        assert_eq!(unnamed(&left), Vec::<String>::new());
    }
}
