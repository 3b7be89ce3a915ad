use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What one batch does to the table.
#[derive(Clone, Debug)]
enum Step {
    Update(u8, u32),
    Modify(u8, u32),
    Upsert(u8, Option<u32>),
    Look(u8),
    Remove(u8),
    Expire(u64),
}

#[derive(Clone, Debug)]
struct Batch {
    /// Removes keys with this remainder of 5, adds to the others.
    pass: Option<u32>,
    steps: Vec<Step>,
    /// How often it is undone and done again.
    undone: u8,
    /// How many batches, it and those before it, are undone for good after it.
    skipped: u8,
    /// Versions older than this many batches are forgotten.
    remember: u64,
}

/// With keys up to `max`.
fn step(max: u8) -> impl Strategy<Value = Step> {
    let key = || 0..=max;
    prop_oneof![
        4 => (key(), any::<u32>()).prop_map(|(k, v)| Step::Update(k, v)),
        2 => (key(), any::<u32>()).prop_map(|(k, v)| Step::Modify(k, v)),
        3 => (key(), any::<Option<u32>>()).prop_map(|(k, v)| Step::Upsert(k, v)),
        1 => key().prop_map(Step::Look),
        2 => key().prop_map(Step::Remove),
        1 => (1..6u64).prop_map(Step::Expire),
    ]
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let batch = |max| {
        let pass = proptest::option::weighted(0.2, 0..6u32);
        let steps = proptest::collection::vec(step(max), 0..60);
        let skipped = prop_oneof![4 => Just(0), 1 => 1..4u8];
        (pass, steps, 0..3u8, skipped, 0..4u64).prop_map(
            |(pass, steps, undone, skipped, remember)| Batch {
                pass,
                steps,
                undone,
                skipped,
                remember,
            },
        )
    };
    // Few keys are touched often, many make the table grow.
    let keys = prop_oneof![Just(11), Just(40), Just(255)];
    keys.prop_flat_map(move |max| proptest::collection::vec(batch(max), 1..12))
}

/// Key to value and the batch that touched it.
type Model = BTreeMap<u8, (String, u64)>;

/// Few different hashes, so that chains are long.
fn hash(key: u8) -> u32 {
    u32::from(key % 7) | u32::from(key % 3) << 16
}

fn run(group: &mut Group<u8, String>, model: &mut Model, b: &Batch, t: u64) {
    let time = Time::from_millis(t);
    if let Some(r) = b.pass {
        let f = |k: &u8, of: Option<u32>, v: String| {
            (u32::from(*k) % 5 != r).then(|| of.map_or(v.clone() + "+", |of| format!("{v}{of}")))
        };
        // Something for some of the keys.
        let some = |k: &u8| (k % 4 == 1).then_some(u32::from(*k) + t as u32);
        let slot = |k: &u8| group.find(hash(*k), k).zip(some(k));
        let mut of: Vec<_> = model.keys().filter_map(slot).collect();
        of.sort();
        group.pass(time, &mut of, |k, of, v| f(k, of.copied(), v));
        *model = std::mem::take(model)
            .into_iter()
            .filter_map(|(k, (v, touched))| Some((k, (f(&k, some(&k), v)?, touched))))
            .collect();
    }
    for s in &b.steps {
        match s {
            Step::Update(k, v) => {
                group.with(hash(*k), k, time, |s| s.update(v.to_string()));
                model.insert(*k, (v.to_string(), t));
            }
            Step::Modify(k, v) => {
                let there =
                    group.with(hash(*k), k, time, |s| s.modify(|x| x.push_str(&v.to_string())));
                assert_eq!(there, model.contains_key(k));
                if let Some(m) = model.get_mut(k) {
                    m.0.push_str(&v.to_string());
                    m.1 = t;
                }
            }
            Step::Upsert(k, v) => {
                let want = model.get(k).map(|m| m.0.clone());
                group.upsert(hash(*k), k, time, |s| {
                    assert_eq!(s, want.as_ref());
                    v.map(|v| v.to_string())
                });
                match v {
                    Some(v) => drop(model.insert(*k, (v.to_string(), t))),
                    None => drop(model.remove(k)),
                }
            }
            Step::Look(k) => {
                let seen = group.with(hash(*k), k, time, |s| s.get().cloned());
                assert_eq!(seen, model.get(k).map(|m| m.0.clone()));
                model.entry(*k).and_modify(|m| m.1 = t);
            }
            Step::Remove(k) => {
                group.with(hash(*k), k, time, State::remove);
                model.remove(k);
            }
            Step::Expire(idle) => {
                let before = t.saturating_sub(*idle);
                let mut gone = Vec::new();
                let n = group.expire(Time::from_millis(before), time, |k, s| {
                    assert!(s.is_timing_out());
                    gone.push((*k, s.get().cloned()));
                });
                gone.sort();
                let (old, new) = model.clone().into_iter().partition(|(_, m)| m.1 < before);
                let old: Model = old;
                *model = new;
                assert_eq!(gone, old.into_iter().map(|(k, m)| (k, Some(m.0))).collect::<Vec<_>>());
                assert_eq!(n, gone.len());
            }
        }
    }
}

fn content<V: Wire>(group: &Group<u8, V>, t: u64) -> BTreeMap<u8, V> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let mut chunk = Vec::new();
        let get = |k: &u8, v: &V| Some((*k, v.clone()));
        from = group.read(Time::from_millis(t), at, (&mut chunk, 7), get);
        all.extend(chunk);
    }
    let n = all.len();
    let map: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(map.len(), n, "a key is there twice");
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 1500 }))]
    #[test]
    fn versions_are_those_of_a_plain_map(batches in batches()) {
        let mut group = Group::new(true);
        let mut versions: BTreeMap<u64, Model> = BTreeMap::from([(0, Model::new())]);
        let values = |m: &Model| m.iter().map(|(k, v)| (*k, v.0.clone())).collect::<BTreeMap<_, _>>();
        for (i, b) in batches.iter().enumerate() {
            let t = i as u64 + 1;
            let (newest, before) = versions.last_key_value().map(|(t, m)| (*t, m.clone())).unwrap();
            for _ in 0..b.undone {
                let mut vain = before.clone();
                run(&mut group, &mut vain, b, t);
                prop_assert_eq!(content(&group, t), values(&vain));
                group.undo(Time::from_millis(newest));
                prop_assert_eq!(content(&group, t), values(&before));
            }
            let mut model = before;
            run(&mut group, &mut model, b, t);
            prop_assert_eq!(group.live(), model.len());
            versions.insert(t, model);
            for (v, want) in &versions {
                prop_assert_eq!(content(&group, *v), values(want), "version {} after batch {}", v, t);
            }
            let up_to = t.saturating_sub(b.remember + 1);
            group.forget(Time::from_millis(up_to));
            group.shrink();
            versions.retain(|v, _| *v >= up_to);
            for _ in 0..b.skipped {
                if versions.len() > 1 {
                    versions.pop_last();
                }
            }
            let (newest, model) = versions.last_key_value().unwrap();
            group.undo(Time::from_millis(*newest));
            prop_assert_eq!(group.live(), model.len());
            for (v, want) in &versions {
                prop_assert_eq!(content(&group, *v), values(want), "version {} is remembered", v);
            }
        }
    }
}

/// A batch of numbers, which are changed in place when few of them change.
#[derive(Clone, Debug)]
struct Counted {
    /// One is added for keys that are multiples of this.
    every: u8,
    /// Keys with this remainder of 9 go.
    gone: u8,
    /// The function panics at this key, once; then the batch is done again.
    panics: u8,
    /// Set after the pass.
    set: Vec<(u8, f32)>,
    skipped: u8,
    remember: u64,
}

/// What passes have for some keys.
const OF: [(u8, f32); 3] = [(7, 0.0), (70, 5.0), (140, 1.0)];

fn counted() -> impl Strategy<Value = Counted> {
    let every = prop_oneof![1 => 1..3u8, 9 => 20..90u8];
    let set = proptest::collection::vec((0..200u8, 0..3u8), 0..9);
    let skipped = prop_oneof![4 => Just(0), 1 => 1..4u8];
    (every, 0..40u8, any::<u8>(), set, skipped, 0..4u64).prop_map(
        |(every, gone, panics, set, skipped, remember)| {
            let set = set.into_iter().map(|(k, v)| (k, f32::from(v))).collect();
            Counted { every, gone, panics, set, skipped, remember }
        },
    )
}

impl Counted {
    fn new_value(&self, k: u8, of: Option<f32>, v: f32) -> Option<f32> {
        if k % 9 == self.gone {
            return None;
        }
        // Zeros that differ in their sign are equal and not the same.
        let v = if v == 0.0 { -v } else { v };
        let more = f32::from(u8::from(k.is_multiple_of(self.every))) + of.unwrap_or(0.0);
        Some(if more == 0.0 { v } else { v + more })
    }

    /// The pass; false if it panicked.
    fn pass(&self, group: &mut Group<u8, f32>, t: u64, panics: bool) -> bool {
        let slot = |(k, x): &(u8, f32)| Some((group.find(hash(*k), k)?, *x));
        let mut of: Vec<_> = OF.iter().filter_map(slot).collect();
        of.sort_by_key(|of| of.0);
        let call = std::panic::AssertUnwindSafe(|| {
            group.pass(Time::from_millis(t), &mut of, |k, of, v| {
                assert!(!panics || *k != self.panics, "on purpose");
                self.new_value(*k, of.copied(), v)
            });
        });
        std::panic::catch_unwind(call).is_ok()
    }
}

/// Whether the pass of batch `t` has written all values anew.
fn all_anew(group: &Group<u8, f32>, t: u64) -> Option<bool> {
    let version = group.versions.back().filter(|v| v.time.millis() == t)?;
    Some(version.whole.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 300 }))]
    #[test]
    fn passes_over_numbers_are_those_of_a_plain_map(
        batches in proptest::collection::vec(counted(), 1..60),
    ) {
        type Numbers = BTreeMap<u8, f32>;
        let bits = |m: &Numbers| m.iter().map(|(k, v)| (*k, v.to_bits())).collect::<Vec<_>>();
        let mut group = Group::new(false);
        let mut model = Numbers::new();
        for k in 0..150u8 {
            group.upsert(hash(k), &k, Time::from_millis(1), |_| Some(f32::from(k % 50)));
            model.insert(k, f32::from(k % 50));
        }
        let mut versions = BTreeMap::from([(1, model)]);
        for (i, b) in batches.iter().enumerate() {
            let t = i as u64 + 2;
            let (base, mut model) = versions.last_key_value().map(|(t, m)| (*t, m.clone())).unwrap();
            if !b.pass(&mut group, t, true) {
                prop_assert!(model.contains_key(&b.panics));
                group.undo(Time::from_millis(base));
                prop_assert_eq!(bits(&content(&group, base)), bits(&model));
                prop_assert!(b.pass(&mut group, t, false));
            }
            let of = |k: &u8| OF.iter().find(|of| of.0 == *k).map(|of| of.1);
            model = model
                .into_iter()
                .filter_map(|(k, v)| Some((k, b.new_value(k, of(&k), v)?)))
                .collect();
            for (k, v) in &b.set {
                group.upsert(hash(*k), k, Time::from_millis(t), |_| Some(*v));
                model.insert(*k, *v);
            }
            versions.insert(t, model);
            for (v, want) in &versions {
                prop_assert_eq!(bits(&content(&group, *v)), bits(want), "version {} after {}", v, t);
            }
            let up_to = t.saturating_sub(b.remember + 1);
            group.forget(Time::from_millis(up_to));
            versions.retain(|v, _| *v >= up_to);
            for _ in 0..b.skipped {
                if versions.len() > 1 {
                    versions.pop_last();
                }
            }
            let newest = *versions.last_key_value().unwrap().0;
            group.undo(Time::from_millis(newest));
            for (v, want) in &versions {
                prop_assert_eq!(bits(&content(&group, *v)), bits(want), "version {} is remembered", v);
            }
        }
    }
}

#[test]
fn passes_that_change_many_numbers_write_all_anew_and_try_again() {
    let mut group = Group::new(false);
    for k in 0..150u8 {
        group.upsert(hash(k), &k, Time::from_millis(1), |_| Some(f32::from(k)));
    }
    let batch = |every| Counted { every, gone: 9, panics: 0, set: vec![], skipped: 0, remember: 0 };
    let (mut anew, mut t) = (Vec::new(), 1);
    let mut passes = |every, n| {
        for _ in 0..n {
            t += 1;
            assert!(batch(every).pass(&mut group, t, false));
            anew.push(all_anew(&group, t).expect("something has changed"));
            group.forget(Time::from_millis(t - 1));
        }
    };
    passes(90, 2);
    passes(1, 1 + 16 + 1 + 32 + 1);
    passes(90, 64 + 2);
    let times: Vec<_> = anew.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    let want = [(false, 3), (true, 16), (false, 1), (true, 32), (false, 1), (true, 64), (false, 2)];
    assert_eq!(times, want);
}

#[test]
fn a_panicking_function_leaves_what_was_there() {
    let t = Time::from_millis;
    let mut group = Group::new(true);
    for k in 0..10u8 {
        group.with(hash(k), &k, t(1), |s| s.update(k.to_string()));
    }
    let calls: [fn(&mut State<String>); 3] = [
        |s| s.update("other".into()),
        State::remove,
        |s| {
            s.modify(|x| x.push('!'));
        },
    ];
    for f in calls {
        let call = std::panic::AssertUnwindSafe(|| {
            group.with(hash(3), &3, t(2), |s| {
                f(s);
                panic!("on purpose")
            })
        });
        assert!(std::panic::catch_unwind(call).is_err());
        group.undo(t(1));
        assert_eq!(content(&group, 1).len(), 10);
        assert_eq!(content(&group, 1)[&3], "3");
    }
}

#[test]
fn memory_of_removed_keys_is_given_back() {
    let t = Time::from_millis;
    let mut group = Group::new(false);
    for k in 0..100_000u32 {
        group.with(k, &k, t(1), |s| s.update(u64::from(k)));
    }
    group.forget(t(1));
    let (full, overhead) = (group.bytes(), group.bytes() / 100_000 - 12);
    assert!(overhead <= 64, "{overhead} bytes above key and value");
    for k in 10..100_000u32 {
        group.with(k, &k, t(2), State::remove);
    }
    group.forget(t(2));
    group.shrink();
    assert!(group.bytes() < full / 100, "{} of {full} bytes are left", group.bytes());
    assert_eq!((group.live(), group.find(5, &5).is_some(), group.find(50, &50)), (10, true, None));
}
