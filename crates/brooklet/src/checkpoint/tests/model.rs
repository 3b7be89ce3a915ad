//! Random batches, checkpoints, merges and restarts.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// Changes of the two operators, in one or two partitions.
    Batch(Vec<Put>, Vec<Put>, usize),
    /// The first operator's state as a whole, after some changes.
    Replace(Vec<Put>),
    Checkpoint,
    Merge,
    Reopen,
}

fn put() -> impl Strategy<Value = Put> {
    let group = prop_oneof![4 => 0u8..4, 1 => any::<u8>()];
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..12));
    (group, "[a-c]{0,4}".prop_map(String::into_bytes), value)
}

fn act() -> impl Strategy<Value = Act> {
    let puts = || prop::collection::vec(put(), 0..12);
    prop_oneof![
        6 => (puts(), puts(), 0usize..12).prop_map(|(a, b, cut)| Act::Batch(a, b, cut)),
        1 => puts().prop_map(Act::Replace),
        4 => Just(Act::Checkpoint),
        3 => Just(Act::Merge),
        1 => Just(Act::Reopen),
    ]
}

fn whole(table: &Table) -> Vec<Put> {
    table.iter().map(|((g, k), v)| (*g, k.clone(), Some(v.clone()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_restored_is_what_was_put(acts in prop::collection::vec(act(), 1..60), keep in 1usize..4) {
        let names = ["counts", "sessions"];
        let policy = CheckpointPolicy { keep, ..tiny() };
        let storage = MemoryStorage::default();
        let mut tables = [Table::new(), Table::new()];
        // What the last checkpoint has, and what came since.
        let mut stored: Option<(Time, [Table; 2])> = None;
        let mut waiting = [Collected::default(), Collected::default()];
        let mut now = 0;
        let mut w = worker(open(&storage).unwrap(), &names, policy.clone());
        let mut acts = acts;
        acts.extend([Act::Checkpoint, Act::Reopen]);
        for act in acts {
            match act {
                Act::Batch(a, b, cut) => {
                    now += 1;
                    for (i, puts) in [a, b].iter().enumerate() {
                        apply(&mut tables[i], puts);
                        // Partitions have keys of their own: here, groups.
                        let of = |p: Put| (usize::from(p.0) < cut, p);
                        let (x, y): (Vec<_>, Vec<_>) = puts.iter().cloned().map(of).partition(|p| p.0);
                        for part in [x, y] {
                            let part: Vec<Put> = part.into_iter().map(|p| p.1).collect();
                            waiting[i].deltas.push(delta(&part));
                        }
                    }
                }
                Act::Replace(puts) => {
                    now += 1;
                    apply(&mut tables[0], &puts);
                    waiting[0] = Collected { whole: true, deltas: vec![delta(&whole(&tables[0]))] };
                }
                Act::Checkpoint => {
                    now += 1;
                    w.checkpoint(t(now), &waiting).unwrap();
                    waiting = Default::default();
                    stored = Some((t(now), tables.clone()));
                    prop_assert_eq!(w.durable(), Some(t(now)));
                    prop_assert_eq!(unnamed(&storage), Vec::<String>::new());
                }
                Act::Merge => _ = w.merge().unwrap(),
                Act::Reopen => {
                    drop(w);
                    let o = open(&storage).unwrap();
                    prop_assert_eq!(unnamed(&storage), Vec::<String>::new());
                    prop_assert_eq!(o.time(), stored.as_ref().map(|s| s.0));
                    tables = stored.as_ref().map(|s| s.1.clone()).unwrap_or_default();
                    for (name, table) in names.iter().zip(&tables) {
                        prop_assert_eq!(&load(&o, name).unwrap(), table);
                        for groups in [0..=1, 2..=2, 3..=255] {
                            let some: Table = table
                                .iter()
                                .filter(|((g, _), _)| groups.contains(g))
                                .map(|(k, v)| (k.clone(), v.clone()))
                                .collect();
                            prop_assert_eq!(load_groups(&o, name, groups).unwrap(), some);
                        }
                    }
                    waiting = Default::default();
                    w = worker(o, &names, policy.clone());
                }
            }
        }
    }
}

#[test]
fn an_older_checkpoint_can_be_asked_for() {
    let storage = MemoryStorage::default();
    let policy = CheckpointPolicy { keep: 3, ..tiny() };
    let mut w = worker(open(&storage).unwrap(), &["op"], policy.clone());
    for i in 1..=3u8 {
        w.checkpoint(t(i.into()), &[part(&[(0, vec![i], Some(vec![i]))])]).unwrap();
        w.merge().unwrap();
    }
    drop(w);
    let at = |storage: &MemoryStorage, ms| {
        OpenCheckpoint::open(Arc::new(storage.clone()), StartFrom::Batch(t(ms)))
    };
    let e = at(&storage, 7).unwrap_err().to_string();
    assert!(e.contains("of batch 7 ms") && e.contains("of batch 3 ms"), "{e}");
    let o = at(&storage, 2).unwrap();
    assert_eq!((o.time(), o.skipped().len()), (Some(t(2)), 1));
    assert_eq!(load(&o, "op").unwrap().len(), 2);
    // Until there is a new one, the given up one is still there.
    assert_eq!(open(&storage.copy()).unwrap().time(), Some(t(3)));
    let mut w = worker(o, &["op"], policy);
    w.checkpoint(t(3), &[part(&[(0, vec![9], Some(vec![9]))])]).unwrap();
    let o = open(&storage).unwrap();
    let keys: Vec<u8> = load(&o, "op").unwrap().keys().map(|k| k.1[0]).collect();
    assert_eq!(keys, [1, 2, 9]);
    assert_eq!(unnamed(&storage), Vec::<String>::new());
}

#[test]
fn operators_are_known_by_identity_and_dropped_with_permission_only() {
    let storage = MemoryStorage::default();
    let mut w = worker(open(&storage).unwrap(), &["a", "b"], tiny());
    let changes = [part(&[(1, vec![1], Some(vec![1]))]), part(&[(2, vec![2], Some(vec![2]))])];
    w.checkpoint(t(1), &changes).unwrap();
    let start = |operators: &[&str], dropped: &[String]| {
        let operators = operators.iter().map(|o| meta(o)).collect();
        open(&storage).unwrap().worker(operators, dropped, t(0), tiny())
    };
    let e = start(&["b"], &[]).unwrap_err().to_string();
    assert!(e.contains("`a`") && e.contains("permit"), "{e}");
    let e = start(&["a", "b", "a"], &[]).unwrap_err().to_string();
    assert!(e.contains("give them names"), "{e}");
    let mut w = start(&["new", "b"], &["a".into()]).unwrap().0;
    w.checkpoint(t(2), &[Collected::default(), Collected::default()]).unwrap();
    let o = open(&storage).unwrap();
    assert!(o.operator("a").is_none());
    assert_eq!(load(&o, "a").unwrap().len(), 0);
    assert_eq!(load(&o, "b").unwrap().len(), 1);
    assert_eq!(o.operator("new").unwrap().schemas[0].0, b"{n: u64}");
}

#[test]
fn files_tell_all_schemas_of_their_entries() {
    let storage = MemoryStorage::default();
    let mut w = worker(open(&storage).unwrap(), &["op"], tiny());
    w.checkpoint(t(1), &[part(&[(1, vec![1], Some(vec![1; 300]))])]).unwrap();
    let next = || {
        let new = OperatorMeta { schema: b"v2".to_vec(), ..meta("op") };
        open(&storage).unwrap().worker(vec![new], &[], t(0), tiny()).unwrap().0
    };
    let mut w = next();
    w.checkpoint(t(2), &[part(&[(1, vec![2], Some(vec![2; 900]))])]).unwrap();
    let schemas = || -> Vec<Vec<u8>> {
        let o = open(&storage).unwrap();
        o.operator("op").unwrap().schemas.iter().map(|s| s.0.clone()).collect()
    };
    assert_eq!(schemas(), [b"{n: u64}".to_vec(), b"v2".to_vec()]);
    let mut w = next();
    assert!(w.merge().unwrap());
    w.checkpoint(t(3), &[Collected::default()]).unwrap();
    assert_eq!(schemas().len(), 2, "the merged base has entries of both");
    let whole = delta(&[(1, vec![2], Some(vec![3]))]);
    w.checkpoint(t(4), &[Collected { whole: true, deltas: vec![whole] }]).unwrap();
    assert_eq!(schemas(), [b"v2".to_vec()]);
}
