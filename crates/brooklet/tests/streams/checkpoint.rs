//! State that is stored and taken over by another run of the program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use brooklet::prelude::*;
use brooklet::testing::faults::lose_persisted;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{CheckpointOptions, DStream, FailurePolicy};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

type Pair = (u32, i64);

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static N: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("brooklet-checkpoint-{}-{}", std::process::id(), N.fetch_add(1, Relaxed));
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the outputs of a batch show, by output.
type Seen = Collector<(u8, u32, Vec<i64>)>;

/// Every kind of state beside each other.
fn program(pairs: &DStream<Pair>, seen: &Seen) {
    let tell = |n: u8, s: &DStream<(u32, Vec<i64>)>| {
        let seen = seen.clone();
        s.map(move |(k, v)| (n, k, v)).foreach_rdd(move |rdd, t| seen.take(rdd, t));
    };
    let spec = StateSpec::new().timeout(seconds(2)).partitions(3);
    let sums = pairs.map_with_state_spec(spec, |k, v: Option<i64>, sum: &mut State<i64>| {
        let now = sum.get().unwrap_or(&0) + v.unwrap_or(0);
        match v {
            Some(v) if v % 7 == 0 => sum.remove(),
            Some(_) => sum.update(now),
            None => {}
        }
        (*k, vec![now, i64::from(v.is_none())])
    });
    let sums = sums.name("sums");
    tell(0, &sums);
    tell(1, &sums.state_snapshots().map(|(k, s)| (k, vec![s])).boxed());
    let all = pairs.update_state_by_key(|new: &[i64], old: Option<i64>| {
        let sum = old.unwrap_or(0) * 2 % 1_000_003 + new.iter().sum::<i64>();
        (sum % 5 != 0).then_some(sum)
    });
    tell(2, &all.map(|(k, s)| (k, vec![s])).boxed());
    let (w, s) = (seconds(4), seconds(2));
    let inverse =
        pairs.reduce_by_key_and_window_inv(|a, b| a + b, |a, b| a - b, w, s).name("inverse");
    tell(3, &inverse.map(|(k, s)| (k, vec![s])).boxed());
    let most = pairs.reduce_by_key_and_window(i64::max, seconds(3), None).name("most");
    tell(4, &most.map(|(k, s)| (k, vec![s])).boxed());
    let groups = pairs.group_by_key_and_window(seconds(3), seconds(2)).name("groups");
    tell(
        5,
        &groups
            .map(|(k, mut v)| {
                v.sort_unstable();
                (k, v)
            })
            .boxed(),
    );
    tell(6, &pairs.count_by_window(seconds(3), None).map(|n| (0, vec![n as i64])).boxed());
    tell(
        7,
        &pairs.window(seconds(4), seconds(2)).name("window").map(|(k, v)| (k, vec![v])).boxed(),
    );
}

/// Runs `batches` from batch `from` on.
fn run(dir: Option<&Folder>, from: usize, batches: &[Vec<Pair>], gracefully: bool, seen: &Seen) {
    run_skipping(dir, from, batches, &[], gracefully, seen);
}

/// [`run`], where the batches that end at these seconds fail and are skipped.
fn run_skipping(
    dir: Option<&Folder>,
    from: usize,
    batches: &[Vec<Pair>],
    skipped: &[usize],
    gracefully: bool,
    seen: &Seen,
) {
    let (seen, dir, skipped) = (seen.clone(), dir.map(|d| d.0.clone()), skipped.to_vec());
    let conf = Driver::<()>::conf().default_parallelism(2).failure_policy(FailurePolicy::skip());
    let mut driver = Driver::local(conf, move |ssc| {
        if let Some(dir) = dir {
            let options = CheckpointOptions::new().min_batches(1).interval(seconds(0));
            ssc.checkpoint_with(dir, options)?;
        }
        let (queue, pairs) = ssc.queue_stream::<Pair>();
        program(&pairs, &seen);
        pairs.foreach_rdd(move |_, t| match skipped.contains(&(t.millis() as usize / 1000)) {
            true => Err("this batch fails"),
            false => Ok(()),
        });
        Ok(queue)
    })
    .unwrap();
    driver.clock().set(Time::from_millis(from as u64 * 1000));
    batches.iter().for_each(|b| driver.input().push(b.iter().copied()));
    driver.batches(batches.len()).unwrap();
    driver.context().stop(gracefully).unwrap();
}

fn sorted(seen: &Seen) -> BTreeMap<Time, Vec<(u8, u32, Vec<i64>)>> {
    let mut all = seen.by_time();
    all.values_mut().for_each(|v| v.sort());
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_stream_goes_on_after_a_graceful_stop_as_if_there_had_been_none(
        batches in prop::collection::vec(prop::collection::vec((0..20u32, -20..50i64), 0..12), 2..14),
        cuts in prop::collection::vec(1..4usize, 1..6),
    ) {
        let whole = Seen::new();
        run(None, 0, &batches, true, &whole);
        let (parts, folder) = (Seen::new(), Folder::new());
        let (mut at, mut cuts) = (0, cuts.into_iter());
        while at < batches.len() {
            let n = cuts.next().unwrap_or(batches.len()).min(batches.len() - at);
            run(Some(&folder), at, &batches[at..at + n], true, &parts);
            at += n;
        }
        prop_assert_eq!(sorted(&parts), sorted(&whole));
    }

    #[test]
    fn skipped_batches_leave_nothing_in_what_is_stored(
        batches in prop::collection::vec(
            (prop::collection::vec((0..20u32, -20..50i64), 0..12), prop::bool::weighted(0.3)),
            2..14,
        ),
        cuts in prop::collection::vec(1..4usize, 1..6),
    ) {
        let (batches, skips): (Vec<_>, Vec<bool>) = batches.into_iter().unzip();
        let skipped: Vec<usize> = (1..=skips.len()).filter(|i| skips[i - 1]).collect();
        let whole = Seen::new();
        run_skipping(None, 0, &batches, &skipped, true, &whole);
        let (parts, folder) = (Seen::new(), Folder::new());
        let (mut at, mut cuts) = (0, cuts.into_iter());
        while at < batches.len() {
            let n = cuts.next().unwrap_or(batches.len()).min(batches.len() - at);
            run_skipping(Some(&folder), at, &batches[at..at + n], &skipped, true, &parts);
            at += n;
        }
        let good = |seen: &Seen| -> BTreeMap<_, _> {
            let is_good = |t: &Time| !skipped.contains(&(t.millis() as usize / 1000));
            sorted(seen).into_iter().filter(|(t, _)| is_good(t)).collect()
        };
        prop_assert_eq!(good(&parts), good(&whole));
    }

    #[test]
    fn a_stream_that_ends_at_once_goes_on_from_one_of_its_batches(
        batches in prop::collection::vec(prop::collection::vec((0..20u32, -20..50i64), 1..12), 2..10),
        next in prop::collection::vec((0..20u32, -20..50i64), 1..12),
    ) {
        let folder = Folder::new();
        let n = batches.len();
        run(Some(&folder), 0, &batches, false, &Seen::new());
        let after = Seen::new();
        run(Some(&folder), n, std::slice::from_ref(&next), true, &after);
        let after = sorted(&after).into_values().next();
        // What the batch sees if the newest state is that of any earlier one, the batches between being lost.
        let possible = (0..=n).map(|lost| {
            let mut all = batches[..n - lost].to_vec();
            all.resize(n, Vec::new());
            (lost, all)
        });
        let of_state = |v: Vec<(u8, u32, Vec<i64>)>| -> Vec<_> {
            v.into_iter().filter(|(output, ..)| *output == 6 || *output == 4).collect()
        };
        let after = after.map(of_state);
        let mut found = false;
        for (_, mut all) in possible {
            all.push(next.clone());
            let seen = Seen::new();
            run(None, 0, &all, true, &seen);
            found |= sorted(&seen).into_values().last().map(of_state) == after;
        }
        prop_assert!(found, "{:?}", after);
    }
}

#[test]
fn batches_that_have_left_a_window_are_not_restored() {
    let dir = Folder::new();
    let open = |from: u64| {
        let path = dir.0.clone();
        let driver = Driver::local(Driver::<()>::conf().default_parallelism(1), move |ssc| {
            let options = CheckpointOptions::new().min_batches(1).interval(seconds(0));
            ssc.checkpoint_with(path, options)?;
            let (queue, numbers) = ssc.queue_stream::<u32>();
            numbers.window(seconds(3), None).print();
            Ok(queue)
        })
        .unwrap();
        driver.clock().set(Time::from_millis(from * 1000));
        driver
    };
    let mut driver = open(0);
    for i in 0..12 {
        driver.input().push([i]);
    }
    driver.batches(12).unwrap();
    driver.context().stop(true).unwrap();
    let mut driver = open(12);
    driver.start().unwrap();
    let there = lose_persisted(driver.context().context(), 0);
    assert_eq!(there, 3, "the batches of the last window");
}

/// One run of a program on a folder: (what is there at the end, the error of the start).
fn totals<S>(
    dir: &Folder,
    from: u64,
    options: CheckpointOptions,
    one: fn(Option<&S>) -> S,
) -> Result<Vec<(u32, S)>, Error>
where
    S: Clone + Send + Sync + Serialize + serde::de::DeserializeOwned + 'static,
{
    let (out, path) = (Collector::new(), dir.0.clone());
    let seen = out.clone();
    let mut driver = Driver::new(move |ssc| {
        ssc.checkpoint_with(path, options)?;
        let (queue, keys) = ssc.queue_stream::<(u32, ())>();
        let state = keys.map_with_state(move |_, _, s: &mut State<S>| {
            let next = one(s.get());
            s.update(next);
        });
        let state = state.name("totals");
        state.state_snapshots().foreach_rdd(move |rdd, t| seen.take(rdd, t));
        Ok(queue)
    })?;
    driver.clock().set(Time::from_millis(from));
    driver.input().push([(1, ()), (2, ())]);
    driver.batch()?;
    driver.context().stop(true)?;
    Ok(out.batches().concat())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    n: u32,
    note: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct New {
    #[serde(default)]
    last: Option<u64>,
    n: u64,
    note: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shorter {
    n: u64,
}

fn old(s: Option<&Old>) -> Old {
    Old { n: s.map_or(0, |s| s.n) + 1, note: "x".into() }
}

fn new(s: Option<&New>) -> New {
    New {
        last: s.map(|s| s.n),
        n: s.map_or(0, |s| s.n) + 1,
        note: s.map_or(String::new(), |s| s.note.clone()),
    }
}

fn shorter(s: Option<&Shorter>) -> Shorter {
    Shorter { n: s.map_or(0, |s| s.n) + 10 }
}

#[test]
fn state_of_a_changed_type_is_migrated_or_refused_by_name() {
    let (dir, options) = (Folder::new(), CheckpointOptions::new);
    totals(&dir, 0, options(), old).unwrap();
    let refused = totals(&dir, 10_000, options(), shorter).unwrap_err().to_string();
    for part in ["totals", "note", "removed", "drop"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let now = totals(&dir, 20_000, options(), new).unwrap();
    let want = New { last: Some(1), n: 2, note: "x".into() };
    assert_eq!(now.iter().map(|(_, s)| s.clone()).collect::<Vec<_>>(), [want.clone(), want]);
    let now = totals(&dir, 30_000, options().drop_fields(), shorter).unwrap();
    assert!(now.iter().all(|(_, s)| s.n == 12), "{now:?}");
    let refused =
        totals(&dir, 40_000, options(), |s: Option<&String>| s.cloned().unwrap_or_default());
    assert!(refused.unwrap_err().to_string().contains("totals"));
    let now = totals(&dir, 50_000, options().drop_state("totals"), old).unwrap();
    assert!(now.iter().all(|(_, s)| s.n == 1), "begins anew: {now:?}");
}

#[test]
fn what_cannot_be_stored_is_refused_at_the_start() {
    let (dir, options) = (Folder::new(), CheckpointOptions::new);
    let nested = totals(&dir, 0, options(), |_: Option<&Option<Option<u8>>>| Some(None));
    let text = nested.unwrap_err().to_string();
    assert!(text.contains("map_with_state") && text.contains("Option"), "{text}");
    // A checkpoint of a later time than the next batch.
    totals(&dir, 5_000, options(), old).unwrap();
    let text = totals(&dir, 1_000, options(), old).unwrap_err().to_string();
    assert!(text.contains("6000 ms") && text.contains("2000 ms"), "{text}");
    // The folder is somebody else's.
    let path = dir.0.clone();
    let start = |named: bool| {
        let path = path.clone();
        let mut driver = Driver::new(move |ssc| {
            ssc.checkpoint(path)?;
            let (_, a) = ssc.queue_stream::<(u32, u32)>();
            for i in 0..2 {
                let s = a.map_with_state(|_, _, _: &mut State<u8>| ());
                let s = if named { s.name(&format!("s{i}")) } else { s };
                s.print();
            }
            Ok(())
        })?;
        driver.clock().set(Time::from_millis(100_000));
        driver.start().map(|()| driver)
    };
    let text = start(false).map(drop).unwrap_err().to_string();
    assert!(text.contains("told apart") && text.contains(".name("), "{text}");
    let text = start(true).map(drop).unwrap_err().to_string();
    assert!(text.contains("`totals`") && text.contains("permit to drop"), "{text}");
}

#[test]
fn a_second_process_on_a_folder_is_refused() {
    let dir = Folder::new();
    let open = || {
        let path = dir.0.clone();
        Driver::new(move |ssc| {
            ssc.checkpoint(path)?;
            let (queue, a) = ssc.queue_stream::<(u32, u32)>();
            a.map_with_state(|_, _, _: &mut State<u8>| ()).print();
            Ok(queue)
        })
    };
    let mut first = open().unwrap();
    first.start().unwrap();
    let text = open().unwrap().start().unwrap_err().to_string();
    assert!(text.contains(&dir.0.display().to_string()), "{text}");
    first.context().stop(true).unwrap();
    let mut third = open().unwrap();
    third.clock().set(Time::from_millis(10_000));
    third.start().unwrap();
}

#[test]
fn engines_in_other_processes_refuse_a_checkpoint_folder() {
    let dir = Folder::new();
    let path = dir.0.clone();
    let mut driver = Driver::with(TestEngine::Loopback, Driver::<()>::conf(), move |ssc| {
        ssc.checkpoint(&path)?;
        let (queue, a) = ssc.queue_stream::<(u32, u32)>();
        a.map_with_state(|_, _, _: &mut State<u8>| ()).print();
        Ok(queue)
    })
    .unwrap();
    let text = driver.start().unwrap_err().to_string();
    assert!(text.contains("driver's process"), "{text}");
}

#[test]
fn a_damaged_checkpoint_is_an_error_and_an_older_one_is_taken_by_permission() {
    let (dir, options) =
        (Folder::new(), || CheckpointOptions::new().min_batches(1).interval(seconds(0)));
    for run in 0..3 {
        totals(&dir, run * 10_000, options(), old).unwrap();
    }
    let mut manifests: Vec<_> = std::fs::read_dir(&dir.0)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("manifest-"))
        .collect();
    manifests.sort();
    let newest = manifests.pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let text = totals(&dir, 40_000, options(), old).unwrap_err().to_string();
    assert!(text.contains(&newest.display().to_string()), "{text}");
    let now = totals(&dir, 40_000, options().or_older(), old).unwrap();
    assert!(now.iter().all(|(_, s)| s.n == 3), "one batch is lost: {now:?}");
    let gone = totals(&dir, 50_000, options().from_batch(Time::from_millis(77)), old);
    assert!(gone.unwrap_err().to_string().contains("77 ms"));
}
