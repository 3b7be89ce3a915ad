//! Generated programs on states in memory and on disk, against plain maps.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::Time;
use crate::block::BlockStore;
use crate::engine::Site;
use crate::state::limit::{Bounded, OnFull, StateLimit};
use crate::state::store::{KeyedLease, KeyedStates, Versions};
use crate::state::watch::{Watched, entry_bytes};
use crate::state::{State, Tables};

/// A key whose bytes don't say whether it is equal to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Word(String);

impl PartialEq for Word {
    fn eq(&self, other: &Word) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Word {}

impl Hash for Word {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.0.to_ascii_lowercase().hash(h);
    }
}

fn word(id: u8, upper: bool) -> Word {
    Word(format!("{}{id}", if upper { 'K' } else { 'k' }))
}

fn id(word: &Word) -> u8 {
    word.0[1..].parse().unwrap()
}

/// Few different hashes in few key groups: some keys have one.
fn hash(id: u8) -> u32 {
    u32::from(id % 7) | u32::from(id % 2) << 16 | u32::from(id % 3) << 24
}

#[derive(Clone, Debug)]
enum Step {
    Update(u8, bool, u16),
    Modify(u8, u8),
    Look(u8),
    Remove(u8),
}

#[derive(Clone, Debug)]
struct Batch {
    steps: Vec<Step>,
    /// Attempts before the last one, and whether the batch is undone for good at last.
    vain: u8,
    skipped: bool,
    /// Versions older than this many batches are forgotten.
    remember: u64,
}

#[derive(Clone, Debug)]
struct Program {
    timeout: Option<u64>,
    limit: Option<(StateLimit, u64)>,
    batches: Vec<Batch>,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..120u8;
    prop_oneof![
        4 => (key.clone(), any::<bool>(), any::<u16>()).prop_map(|(k, u, v)| Step::Update(k, u, v)),
        2 => (key.clone(), any::<u8>()).prop_map(|(k, v)| Step::Modify(k, v)),
        2 => key.clone().prop_map(Step::Look),
        2 => key.prop_map(Step::Remove),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let steps = proptest::collection::vec(step(), 0..50);
    let batch = (steps, 0..3u8, proptest::bool::weighted(0.2), 0..4u64)
        .prop_map(|(steps, vain, skipped, remember)| Batch { steps, vain, skipped, remember });
    let limit = prop_oneof![
        1 => Just(None),
        1 => (2..60usize).prop_map(|n| Some((StateLimit::keys(n), n as u64))),
        1 => (200..9_000usize).prop_map(|n| Some((StateLimit::bytes(n), n as u64))),
    ];
    let timeout = proptest::option::of(1..5u64);
    let batches = proptest::collection::vec(batch, 1..14);
    (timeout, limit, batches).prop_map(|(timeout, limit, batches)| Program {
        timeout,
        limit,
        batches,
    })
}

/// Key to state and the batch that touched it.
type Model = BTreeMap<u8, (String, u64)>;

fn values(model: &Model) -> BTreeMap<u8, String> {
    model.iter().map(|(k, v)| (*k, v.0.clone())).collect()
}

fn content<T: Versions<Key = Word, State = String>>(
    tables: &T,
    part: usize,
    t: u64,
) -> BTreeMap<u8, String> {
    let mut at = tables.open(part, Time::from_millis(t)).unwrap();
    let (mut all, mut more) = (Vec::new(), true);
    while more {
        let mut chunk = Vec::new();
        more = tables.next(&mut at, (&mut chunk, 3), |k, s| Some((id(k), s.clone()))).unwrap();
        all.extend(chunk);
    }
    let map: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(map.len(), all.len(), "a key is there twice");
    map
}

/// One attempt. Returns what the function was told, and who had to go for want of room.
fn attempt<L: KeyedLease<Key = Word, State = String>>(
    lease: &mut L,
    program: &Program,
    b: &Batch,
    model: &mut Model,
    t: u64,
) -> (Vec<(u8, Option<String>)>, BTreeSet<u8>) {
    for s in &b.steps {
        match s {
            Step::Update(k, upper, v) => {
                let state = "x".repeat(usize::from(*v) % 200) + &v.to_string();
                lease.with(hash(*k), &word(*k, *upper), |s| s.update(state.clone())).unwrap();
                model.insert(*k, (state, t));
            }
            Step::Modify(k, v) => {
                let add = |x: &mut String| x.push_str(&v.to_string());
                let there = lease.with(hash(*k), &word(*k, false), |s| s.modify(add)).unwrap();
                assert_eq!(there, model.contains_key(k));
                if let Some((x, touched)) = model.get_mut(k) {
                    add(x);
                    *touched = t;
                }
            }
            Step::Look(k) => {
                let seen = lease.with(hash(*k), &word(*k, true), |s| s.get().cloned()).unwrap();
                assert_eq!(seen, model.get(k).map(|m| m.0.clone()));
                model.entry(*k).and_modify(|m| m.1 = t);
            }
            Step::Remove(k) => {
                lease.with(hash(*k), &word(*k, true), State::remove).unwrap();
                model.remove(k);
            }
        }
    }
    let mut told = Vec::new();
    if let Some(idle) = program.timeout {
        let before = t.saturating_sub(idle);
        let tell = |k: &Word, s: &mut State<String>| {
            assert!(s.is_timing_out());
            told.push((id(k), s.get().cloned()));
        };
        lease.expire(Time::from_millis(before), tell).unwrap();
        told.sort();
        let (old, new): (Model, Model) = model.clone().into_iter().partition(|(_, m)| m.1 < before);
        assert_eq!(told, old.into_iter().map(|(k, m)| (k, Some(m.0))).collect::<Vec<_>>());
        *model = new;
    }
    lease.fit().unwrap();
    let there: BTreeMap<u8, String> =
        lease.all(|k, s| (id(k), s.clone())).unwrap().into_iter().collect();
    let gone: Vec<u8> = model.keys().filter(|k| !there.contains_key(k)).copied().collect();
    if let Some((_, most)) = program.limit {
        let bounded = bounded(program).unwrap();
        let weight = |k: u8, m: &Model| bounded.count(&word(k, true), &m[&k].0);
        let has: u64 = there.keys().map(|k| weight(*k, model)).sum();
        assert!(has <= most, "{has} of {most}");
        if !gone.is_empty() {
            let heaviest = gone.iter().map(|k| weight(*k, model)).max().unwrap();
            assert!(has + heaviest > most, "more went than had to");
            let newest_gone = gone.iter().map(|k| model[k].1).max();
            assert!(
                there.keys().map(|k| Some(model[k].1)).min().is_none_or(|kept| kept >= newest_gone)
            );
        }
    }
    gone.iter().for_each(|k| drop(model.remove(k)));
    assert_eq!(there, values(model));
    (told, gone.into_iter().collect())
}

fn bounded(program: &Program) -> Option<Bounded> {
    program.limit.map(|(limit, _)| Bounded::new(limit, OnFull::EvictOldest))
}

fn check<T: KeyedStates<Key = Word, State = String> + Watched>(
    tables: &T,
    forget: impl Fn(Time),
    part: usize,
    program: &Program,
) {
    let mut model = Model::new();
    let mut versions = BTreeMap::new();
    let (mut base, mut forgotten, mut timed_out, mut evicted) = (0, 0, 0, 0);
    for (i, b) in program.batches.iter().enumerate() {
        let t = i as u64 + 1;
        let before = model.clone();
        let lease = || tables.lease(part, Time::from_millis(base), Time::from_millis(t)).unwrap();
        let mut first = None;
        for _ in 0..b.vain {
            let mut vain = before.clone();
            let mut lease = lease();
            let did = attempt(&mut lease, program, b, &mut vain, t);
            assert_eq!(first.get_or_insert_with(|| did.clone()), &did, "attempts differ");
            drop(lease);
            assert_eq!(content(tables, part, base), values(&before));
        }
        let mut lease = lease();
        let did = attempt(&mut lease, program, b, &mut model, t);
        assert_eq!(first.get_or_insert_with(|| did.clone()), &did, "attempts differ");
        lease.commit();
        assert_eq!(content(tables, part, t), values(&model));
        assert_eq!(tables.metrics().keys, model.len() as u64);
        if b.skipped {
            // Undone by the next batch, also when it isn't remembered any more.
            model = before;
        } else {
            versions.insert(t, values(&model));
            versions.retain(|v, _| *v > forgotten || *v == t);
            base = t;
            (timed_out, evicted) = (timed_out + did.0.len(), evicted + did.1.len());
            let metrics = tables.metrics();
            assert_eq!((metrics.timed_out, metrics.evicted), (timed_out as u64, evicted as u64));
        }
        if !b.skipped {
            for (v, want) in &versions {
                assert_eq!(&content(tables, part, *v), want, "version {v} after batch {t}");
            }
        }
        forgotten = forgotten.max(t.saturating_sub(b.remember));
        forget(Time::from_millis(forgotten));
    }
}

fn disk() -> Arc<DiskState> {
    let conf = Conf::new("disk").state_memory(1 << 20);
    DiskState::new(&conf, Spills::new(&conf, BlockStore::new(0, None)))
}

thread_local! {
    /// To open a database for each program would take longer than the programs.
    static DISK: Arc<DiskState> = disk();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn states_are_those_of_a_plain_map(program in program()) {
        let by_time = program.timeout.is_some() || program.limit.is_some();
        // A limit is shared by the partitions: the whole of it belongs to the one that is used.
        let site = Site::here("test");
        let memory = Tables::new(1, by_time, site).limited(bounded(&program));
        check(&memory, |t| memory.forget(t), 0, &program);
        let disk = DISK.with(Arc::clone);
        let on_disk = DiskTables::new(1, by_time, bounded(&program), site, disk);
        check(&on_disk, |t| on_disk.forget(t), 0, &program);
    }

    #[test]
    fn states_of_all_keys_are_those_of_a_plain_map(program in program()) {
        let runs = RunTables::new(1, bounded(&program), Site::here("test"), DISK.with(Arc::clone));
        let mut model = Model::new();
        let mut versions = BTreeMap::new();
        let (mut base, mut forgotten) = (0, 0);
        for (i, b) in program.batches.iter().enumerate() {
            let t = i as u64 + 1;
            let before = model.clone();
            let mut gone_first = None;
            for n in 0..=b.vain {
                model = before.clone();
                let mut lease = runs.lease(0, Time::from_millis(base), Time::from_millis(t)).unwrap();
                let gone = pass(&mut lease, &program, b, &mut model, t);
                assert_eq!(gone_first.get_or_insert_with(|| gone.clone()), &gone, "attempts differ");
                if n == b.vain {
                    lease.commit().unwrap();
                    assert_eq!(content(&runs, 0, t), values(&model));
                } else {
                    drop(lease);
                    assert_eq!(content(&runs, 0, base), values(&before));
                }
            }
            assert_eq!(runs.metrics().keys, model.len() as u64);
            if b.skipped {
                model = before;
            } else {
                versions.insert(t, values(&model));
                versions.retain(|v, _| *v > forgotten || *v == t);
                base = t;
                for (v, want) in &versions {
                    assert_eq!(&content(&runs, 0, *v), want, "version {v} after batch {t}");
                }
            }
            forgotten = forgotten.max(t.saturating_sub(b.remember));
            runs.forget(Time::from_millis(forgotten));
        }
    }
}

/// A batch of `update_state_by_key`: of each key the last step counts.
fn pass(
    lease: &mut runs::RunLease<'_, Word, String>,
    program: &Program,
    b: &Batch,
    model: &mut Model,
    t: u64,
) -> BTreeSet<u8> {
    let mut steps: BTreeMap<u8, &Step> = BTreeMap::new();
    for s in &b.steps {
        let (Step::Update(k, ..) | Step::Modify(k, _) | Step::Look(k) | Step::Remove(k)) = s;
        steps.insert(*k, s);
    }
    let f = |s: Option<&&Step>, old: Option<String>| match s {
        None | Some(Step::Look(_)) => old,
        Some(Step::Update(_, _, v)) => Some(v.to_string()),
        Some(Step::Modify(_, v)) => old.map(|x| x + &v.to_string()),
        Some(Step::Remove(_)) => None,
    };
    let mut known = BTreeSet::new();
    let change = |h: u32, k: &Word, old: String| {
        known.insert(id(k));
        assert_eq!(h, hash(id(k)));
        let step = steps.get(&id(k));
        (f(step, Some(old)), step.is_some())
    };
    lease.pass(change, || Ok(())).unwrap();
    assert_eq!(known, model.keys().copied().collect());
    *model = std::mem::take(model)
        .into_iter()
        .filter_map(|(k, (v, touched))| {
            let step = steps.get(&k);
            Some((k, (f(step, Some(v))?, if step.is_some() { t } else { touched })))
        })
        .collect();
    for (k, s) in steps.iter().filter(|(k, _)| !known.contains(k)) {
        if let Some(new) = f(Some(s), None) {
            lease.set(hash(*k), &word(*k, false), &new).unwrap();
            model.insert(*k, (new, t));
        }
    }
    lease.fit().unwrap();
    let there: BTreeMap<u8, String> =
        lease.all(|k, s| (id(k), s.clone())).unwrap().into_iter().collect();
    let gone: BTreeSet<u8> = model.keys().filter(|k| !there.contains_key(k)).copied().collect();
    if let (Some(bounded), Some((_, most))) = (bounded(program), program.limit) {
        let weight = |k: &u8| bounded.count(&word(*k, true), &model[k].0);
        let has: u64 = there.keys().map(weight).sum();
        assert!(has <= most, "{has} of {most}");
        if let Some(heaviest) = gone.iter().map(weight).max() {
            assert!(has + heaviest > most, "more went than had to");
            let newest_gone = gone.iter().map(|k| model[k].1).max();
            assert!(
                there.keys().map(|k| Some(model[k].1)).min().is_none_or(|kept| kept >= newest_gone)
            );
        }
    }
    gone.iter().for_each(|k| drop(model.remove(k)));
    assert_eq!(there, values(model));
    gone
}

#[test]
fn partitions_and_operators_do_not_see_each_other() {
    let disk = disk();
    let site = Site::here("test");
    let tables = [0, 1].map(|_| DiskTables::<Word, String>::new(3, true, None, site, disk.clone()));
    for (i, tables) in tables.iter().enumerate() {
        for part in 0..3 {
            let mut lease = tables.lease(part, Time::ZERO, Time::from_millis(1)).unwrap();
            for k in 0..20 {
                let state = format!("{i} {part} {k}");
                lease.with(hash(k), &word(k, true), |s| s.update(state)).unwrap();
            }
            lease.commit();
        }
        tables.forget(Time::from_millis(1));
    }
    for (i, tables) in tables.iter().enumerate() {
        for part in 0..3 {
            // What was written to the database is read from there.
            let mut lease = tables.lease(part, Time::from_millis(1), Time::from_millis(2)).unwrap();
            let seen = lease.with(hash(7), &word(7, true), |s| s.get().cloned()).unwrap();
            assert_eq!(seen, Some(format!("{i} {part} 7")));
            let mut n = 0;
            lease.expire(Time::from_millis(2), |_, _| n += 1).unwrap();
            lease.commit();
            assert_eq!((n, content(tables, part, 2).len()), (19, 1));
        }
        assert_eq!(Versions::keys(tables), 3);
    }
}

#[test]
fn a_panic_of_the_function_leaves_what_was_there() {
    let tables = DiskTables::<Word, String>::new(1, true, None, Site::here("test"), disk());
    for t in 1..3 {
        let mut lease = tables.lease(0, Time::from_millis(t - 1), Time::from_millis(t)).unwrap();
        lease.with(hash(3), &word(3, true), |s| s.update(t.to_string())).unwrap();
        lease.commit();
        let calls: [fn(&mut State<String>); 3] =
            [|s| s.update("other".into()), State::remove, |s| assert!(s.modify(|x| x.push('!')))];
        for f in calls {
            let call = std::panic::AssertUnwindSafe(|| {
                let mut lease =
                    tables.lease(0, Time::from_millis(t), Time::from_millis(t + 1)).unwrap();
                lease.with(hash(3), &word(3, true), |s| {
                    f(s);
                    panic!("on purpose")
                })
            });
            assert!(std::panic::catch_unwind(call).is_err());
            assert_eq!(content(&tables, 0, t), BTreeMap::from([(3, t.to_string())]));
        }
        tables.forget(Time::from_millis(t));
    }
}

#[test]
fn keys_may_be_of_any_length() {
    let tables = DiskTables::<String, u32>::new(1, true, None, Site::here("test"), disk());
    let keys = [100_000, 200_000].map(|n| "k".repeat(n));
    for t in 1..4u32 {
        let at = |t: u32| Time::from_millis(u64::from(t));
        let mut lease = tables.lease(0, at(t - 1), at(t)).unwrap();
        for k in &keys {
            // All of one hash.
            let n = lease.with(7, k, |s| {
                s.update(s.get().unwrap_or(&0) + 1);
                s.get().copied()
            });
            assert_eq!(n.unwrap(), Some(t));
        }
        lease.commit();
        tables.forget(at(t));
    }
    let heaviest = tables.heaviest(1).unwrap();
    assert!(heaviest[0].bytes > 200_000 && heaviest[0].key.len() < 300);
}

#[test]
fn what_a_key_counts_for_is_its_memory_about() {
    assert_eq!(entry_bytes(&1u64, &2u64), 16 + defaults::STATE_KEY_OVERHEAD as u64);
    let long = entry_bytes(&"x".repeat(1000), &2u64);
    assert!((1000 + 24 + 8..1200).contains(&long), "{long}");
}

#[test]
fn the_folder_and_its_files_go_with_the_last_user() {
    let below = std::env::temp_dir().join(format!("brooklet-state-test-{}", std::process::id()));
    let conf = Conf::new("disk").state_dir(&below);
    let disk = DiskState::new(&conf, Spills::new(&conf, BlockStore::new(0, None)));
    let site = Site::here("test");
    let runs = RunTables::<Word, String>::new(1, None, site, disk.clone());
    let tables = DiskTables::<Word, String>::new(1, false, None, site, disk.clone());
    assert!(!below.exists(), "made too early");
    let (zero, one) = (Time::ZERO, Time::from_millis(1));
    let mut lease = runs.lease(0, zero, one).unwrap();
    lease.set(1, &word(1, true), &"x".into()).unwrap();
    lease.commit().unwrap();
    tables.lease(0, zero, one).unwrap().commit();
    assert_eq!(std::fs::read_dir(&below).unwrap().count(), 2, "a folder and its lock");
    let mut reader = runs.open(0, one).unwrap();
    drop((disk, tables));
    let mut out = Vec::new();
    runs.next(&mut reader, (&mut out, 10), |k, _| Some(id(k))).unwrap();
    assert_eq!(out, [1]);
    drop((runs, reader));
    assert_eq!(std::fs::read_dir(&below).unwrap().count(), 0);
    std::fs::remove_dir_all(&below).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = std::env::temp_dir().join(format!("brooklet-state-file-{}", std::process::id()));
    std::fs::write(&file, "a file").unwrap();
    let conf = Conf::new("disk").state_dir(file.join("below"));
    let disk = DiskState::new(&conf, Spills::new(&conf, BlockStore::new(0, None)));
    let tables = DiskTables::<Word, String>::new(1, false, None, Site::here("test"), disk);
    let e = tables.lease(0, Time::ZERO, Time::from_millis(1)).err().unwrap().to_string();
    std::fs::remove_file(&file).unwrap();
    assert!(e.contains("brooklet-state-file"), "{e}");
}
