//! The parts together, batch by batch, against the windows of the whole input at once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rdd::combine::{ByCombine, Combine};
use crate::{Time, millis, seconds};

type Key = u8;
/// A record: its event time, its key, and a number that tells it from all others.
type Record = (Time, Key, u32);

#[derive(Clone, Copy, Debug)]
enum Windows {
    Grid(Grid),
    Session(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Program {
    windows: Windows,
    rule: WatermarkRule,
    max_future: Duration,
}

/// A batch's records by input partition.
type Batch = Vec<Vec<Record>>;

/// What a program has given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Given {
    /// Fired windows with their records' numbers in order, as a multiset.
    fired: Vec<(Key, Window, Vec<u32>)>,
    /// The batch in which each of them has fired.
    fired_in: Vec<usize>,
    late: Vec<u32>,
    partly: usize,
    rejected: Vec<u32>,
    /// The watermark from before each batch.
    watermarks: Vec<Time>,
}

impl Given {
    fn sorted(mut self) -> Given {
        self.fired.iter_mut().for_each(|(_, _, v)| v.sort_unstable());
        self.fired.sort();
        self.late.sort_unstable();
        self.rejected.sort_unstable();
        self
    }
}

/// Numbers in the order in which they were combined.
pub(super) fn collect() -> impl Combine<u32, Vec<u32>> {
    let add = |mut a: Vec<u32>, v| {
        a.push(v);
        a
    };
    let merge = |mut a: Vec<u32>, b: Vec<u32>| {
        a.extend(b);
        a
    };
    ByCombine { create: |v| vec![v], add, merge }
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// One batch a second, the first at one second.
fn batch_time(i: usize) -> Time {
    at(1_000 * (i as u64 + 1))
}

/// The parts as an operator puts them together. At the end, windows that are open are flushed if asked.
fn run(program: Program, batches: &[Batch], flush: bool) -> Given {
    let mut watermark = Watermark::default();
    let mut grid: BTreeMap<(Window, Key), Vec<u32>> = BTreeMap::new();
    let mut sessions: BTreeMap<Key, Sessions<Vec<u32>>> = BTreeMap::new();
    let mut given = Given::default();
    for (i, batch) in batches.iter().enumerate() {
        let t = batch_time(i);
        let before = watermark.progress().watermark;
        given.watermarks.push(before);
        let mut seen = Vec::new();
        let mut taken: BTreeMap<Key, Vec<(Time, u32)>> = BTreeMap::new();
        for (p, records) in batch.iter().enumerate() {
            let mut max = None;
            for (event, key, n) in records.iter().copied() {
                if is_rejected(event, t, program.max_future) {
                    given.rejected.push(n);
                    continue;
                }
                max = max.max(Some(event));
                taken.entry(key).or_default().push((event, n));
            }
            seen.push((p as u64, max));
        }
        match program.windows {
            Windows::Grid(g) => {
                for (key, records) in taken {
                    for (event, n) in records {
                        let (placed, open) = g.place(event, before);
                        open.for_each(|w| grid.entry((w, key)).or_default().push(n));
                        match placed {
                            Placed::InTime => {}
                            Placed::Partly => given.partly += 1,
                            Placed::Late => given.late.push(n),
                        }
                    }
                }
                for ((w, key), v) in grid.extract_if(.., |(w, _), _| w.is_passed(before)) {
                    given.fired.push((key, w, v));
                    given.fired_in.push(i);
                }
            }
            Windows::Session(gap) => {
                for (key, s) in &mut sessions {
                    for (w, v) in s.close(before) {
                        given.fired.push((*key, w, v));
                        given.fired_in.push(i);
                    }
                }
                for (key, records) in taken {
                    let late = |_, n| given.late.push(n);
                    sessions.entry(key).or_default().add(records, gap, before, &collect(), late);
                }
            }
        }
        watermark.end_of_batch(t, seen, program.rule);
    }
    if flush {
        given.fired.extend(grid.into_iter().map(|((w, key), v)| (key, w, v)));
        for (key, mut s) in sessions {
            given.fired.extend(s.close(at(u64::MAX)).map(|(w, v)| (key, w, v)));
        }
    }
    given.sorted()
}

/// The windows of records at once, in time order, by the definition of windows alone.
fn windows_of(windows: Windows, records: &[Record]) -> Vec<(Key, Window, Vec<u32>)> {
    let mut sorted = records.to_vec();
    sorted.sort();
    let mut all: BTreeMap<(Key, Window), Vec<u32>> = BTreeMap::new();
    match windows {
        Windows::Grid(g) => {
            for (t, key, n) in sorted {
                g.windows(t).for_each(|w| all.entry((key, w)).or_default().push(n));
            }
        }
        Windows::Session(gap) => {
            let mut last: BTreeMap<Key, (Time, Time, Vec<u32>)> = BTreeMap::new();
            let mut close = |key, (from, to, v): (Time, Time, Vec<u32>)| {
                all.insert((key, Window::new(from, to + gap)), v);
            };
            for (t, key, n) in sorted {
                match last.remove(&key) {
                    Some((from, to, mut v)) if t.since(to) < gap => {
                        v.push(n);
                        last.insert(key, (from, t, v));
                    }
                    other => {
                        if let Some(session) = other {
                            close(key, session);
                        }
                        last.insert(key, (t, t, vec![n]));
                    }
                }
            }
            last.into_iter().for_each(|(key, session)| close(key, session));
        }
    }
    let mut all: Vec<_> = all
        .into_iter()
        .map(|((key, w), mut v)| {
            v.sort_unstable();
            (key, w, v)
        })
        .collect();
    all.sort();
    all
}

fn windows() -> impl Strategy<Value = Windows> {
    let grid =
        |size, slide, offset| Grid::new(millis(size), millis(slide), millis(offset)).unwrap();
    prop_oneof![
        (1u64..60, 0u64..60).prop_map(move |(s, o)| Windows::Grid(grid(s, s, o))),
        (1u64..60, 1u64..40, 0u64..60).prop_map(move |(s, d, o)| Windows::Grid(grid(s, d, o))),
        (1u64..30).prop_map(|gap| Windows::Session(millis(gap))),
    ]
}

/// Event times that go on by small steps and now and then by a leap, with keys.
fn in_order() -> impl Strategy<Value = Vec<Record>> {
    let step = prop_oneof![8 => 0u64..4, 2 => 4u64..20, 1 => 50u64..200];
    proptest::collection::vec((step, 0u8..3), 0..120).prop_map(|steps| {
        let mut t = 0;
        let number = |(n, (step, key)): (usize, (u64, Key))| {
            t += step;
            (at(t), key, n as u32)
        };
        steps.into_iter().enumerate().map(number).collect()
    })
}

/// Records in another order, none after one that is more than `delay` newer: sorted by time plus a random
/// part of the delay.
fn shuffled(records: Vec<Record>, delay: u64, by: &[u64]) -> Vec<Record> {
    let mut keyed: Vec<(u64, Record)> = records
        .into_iter()
        .zip(by.iter().cycle())
        .map(|(r, by)| (r.0.millis() + by % (delay + 1), r))
        .collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, r)| r).collect()
}

/// Cuts records into batches and deals them to partitions; a cut of zero is an empty batch.
fn batched(records: &[Record], cuts: &[usize], deal: &[usize], partitions: usize) -> Vec<Batch> {
    let mut rest = records;
    let mut deal = deal.iter().cycle();
    let mut batches = Vec::new();
    // All cuts again and again until all is taken, the last ones of no records.
    for cut in cuts.iter().cycle().take((records.len() + 1) * cuts.len()) {
        if rest.is_empty() && !batches.is_empty() && batches.len().is_multiple_of(cuts.len()) {
            break;
        }
        let (now, then) = rest.split_at((*cut).min(rest.len()));
        rest = then;
        let mut batch = vec![Vec::new(); partitions];
        for r in now {
            batch[deal.next().unwrap() % partitions].push(*r);
        }
        batches.push(batch);
    }
    batches
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1 => Just(0), 3 => 1usize..12], 1..8)
        .prop_filter("some records must go on", |c| c.iter().any(|n| *n > 0))
}

fn program(windows: Windows, delay: u64, idle_after: Duration) -> Program {
    let rule = WatermarkRule { max_delay: millis(delay), idle_after };
    Program { windows, rule, max_future: seconds(3_600) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Out of order within the delay, in any batches and partitions: the windows of the sorted input, none
    /// late, each once, in the first batch whose watermark has passed its end.
    #[test]
    fn shuffled_within_the_delay_gives_the_windows_of_the_sorted_input(
        windows in windows(),
        records in in_order(),
        delay in 0u64..40,
        by in proptest::collection::vec(0u64..1_000, 1..40),
        cuts in cuts(),
        deal in proptest::collection::vec(0usize..8, 1..20),
        partitions in 1usize..4,
    ) {
        let arrived = shuffled(records.clone(), delay, &by);
        let batches = batched(&arrived, &cuts, &deal, partitions);
        let program = program(windows, delay, seconds(10));
        let given = run(program, &batches, true);
        prop_assert!(given.late.is_empty(), "{:?}", given.late);
        prop_assert_eq!(given.partly, 0);
        prop_assert_eq!(&given.fired, &windows_of(windows, &records));

        // Without the flush: exactly those whose end the watermark has passed.
        let given = run(program, &batches, false);
        let last = *given.watermarks.last().unwrap();
        let mut passed = windows_of(windows, &records);
        passed.retain(|(_, w, _)| w.end() <= last);
        prop_assert_eq!(&given.fired, &passed);
    }

    /// The same input in other batches and in another order inside of them: the order inside a batch
    /// changes nothing at all.
    #[test]
    fn the_order_inside_a_batch_does_not_matter(
        windows in windows(),
        records in in_order(),
        by in proptest::collection::vec(0u64..1_000, 1..40),
        cuts in cuts(),
        again in proptest::collection::vec(0u64..1_000, 1..40),
        partitions in 1usize..4,
    ) {
        // Shuffled by far more than the delay: some are late.
        let arrived = shuffled(records, 150, &by);
        let batches = batched(&arrived, &cuts, &[0, 1, 2], partitions);
        let mut other = batches.clone();
        let mut by = again.iter().cycle();
        for records in other.iter_mut().flatten() {
            records.sort_by_cached_key(|_| *by.next().unwrap());
        }
        let program = program(windows, 10, seconds(3));
        prop_assert_eq!(run(program, &batches, true), run(program, &other, true));
    }

    /// Records later than the delay: on a grid exactly those whose windows were over, by the definition;
    /// the windows are those of the others.
    #[test]
    fn late_records_are_counted_exactly(
        size in 1u64..60, slide in 1u64..40,
        records in in_order(),
        by in proptest::collection::vec(0u64..1_000, 1..40),
        cuts in cuts(),
        partitions in 1usize..4,
    ) {
        let grid = Grid::new(millis(size), millis(slide), Duration::ZERO).unwrap();
        let delay = 10;
        let arrived = shuffled(records, 100, &by);
        let batches = batched(&arrived, &cuts, &[0, 1, 2], partitions);
        let given = run(program(Windows::Grid(grid), delay, seconds(100_000)), &batches, true);

        // By the definition: the lowest maximum of all partitions (none is ever idle here) of the batches
        // before, less the delay.
        let mut max = vec![None; partitions];
        let (mut late, mut partly, mut kept) = (Vec::new(), 0, BTreeMap::<_, Vec<u32>>::new());
        for batch in &batches {
            let watermark = max.iter().min().unwrap().unwrap_or(Time::ZERO) - millis(delay);
            for (p, records) in batch.iter().enumerate() {
                for (t, key, n) in records {
                    let all: Vec<Window> = grid.windows(*t).collect();
                    let open = all.iter().filter(|w| w.end() > watermark).count();
                    if !all.is_empty() && open == 0 {
                        late.push(*n);
                    } else if open < all.len() {
                        partly += 1;
                    }
                    for w in all.into_iter().filter(|w| w.end() > watermark) {
                        kept.entry((*key, w)).or_default().push(*n);
                    }
                }
                max[p] = max[p].max(records.iter().map(|r| r.0).max());
            }
        }
        late.sort_unstable();
        let mut kept: Vec<_> = kept.into_iter().map(|((k, w), v)| (k, w, v)).collect();
        kept.iter_mut().for_each(|(_, _, v)| v.sort_unstable());
        kept.sort();
        prop_assert_eq!((given.late, given.partly, given.fired), (late, partly, kept));
    }

    /// Every record is in some fired window, late, rejected, or in a gap of the grid: none is lost, none
    /// comes twice.
    #[test]
    fn nothing_is_lost(
        windows in windows(),
        records in in_order(),
        by in proptest::collection::vec(0u64..1_000, 1..40),
        cuts in cuts(),
    ) {
        let arrived = shuffled(records.clone(), 150, &by);
        let given = run(program(windows, 5, seconds(2)), &batched(&arrived, &cuts, &[0, 1], 2), true);
        let mut found: Vec<u32> = given.fired.iter().flat_map(|(_, _, v)| v.clone()).collect();
        if let Windows::Grid(_) = windows {
            found.sort_unstable();
            found.dedup();
        }
        found.extend(&given.late);
        found.sort_unstable();
        let mut all: Vec<u32> = records.iter().map(|r| r.2).collect();
        if let Windows::Grid(g) = windows {
            all.retain(|n| records.iter().any(|r| r.2 == *n && g.windows(r.0).next().is_some()));
        }
        prop_assert_eq!(found, all);
    }

    /// The watermark never goes back, and is stored and read as it is.
    #[test]
    fn the_watermark_never_goes_back(
        seen in proptest::collection::vec(
            proptest::collection::vec((0u64..4, proptest::option::of(0u64..500)), 0..4), 1..30),
        idle in 0u64..5,
    ) {
        let rule = WatermarkRule { max_delay: millis(20), idle_after: seconds(idle) };
        let mut w = Watermark::default();
        let mut before = Time::ZERO;
        for (i, seen) in seen.into_iter().enumerate() {
            let seen = seen.into_iter().map(|(p, t)| (p, t.map(at)));
            let now = w.end_of_batch(batch_time(i), seen, rule).watermark;
            prop_assert!(now >= before);
            before = now;
            let stored = postcard::to_stdvec(&w).unwrap();
            w = postcard::from_bytes(&stored).unwrap();
        }
    }
}

fn tumbling(size: u64) -> Windows {
    Windows::Grid(Grid::new(millis(size), millis(size), Duration::ZERO).unwrap())
}

#[test]
fn one_record_in_the_far_future_is_rejected_and_moves_nothing() {
    let far = (at(1 << 50), 0, 99);
    let near: Vec<Record> = (0..20u32).map(|n| (at(u64::from(n) * 10), 0, n)).collect();
    let program = program(tumbling(50), 10, seconds(10));
    let mut with = near.clone();
    with.insert(7, far);
    let batches = |r: &[Record], cut| batched(r, &[cut], &[0], 1);
    let (given, without) =
        (run(program, &batches(&with, 4), true), run(program, &batches(&near, 4), true));
    assert_eq!(given.rejected, [99]);
    assert!(given.late.is_empty());
    assert_eq!(given.fired, without.fired);
}

#[test]
fn an_idle_partition_holds_windows_back_for_ten_seconds_of_batch_time() {
    // Partition 1 has one record, then nothing.
    let mut batches: Vec<Batch> = vec![vec![vec![(at(5), 0, 0)], vec![(at(6), 1, 1)]]];
    for n in 2..20u32 {
        batches.push(vec![vec![(at(u64::from(n) * 10), 0, n)], vec![]]);
    }
    let given = run(program(tumbling(10), 0, seconds(10)), &batches, false);
    // At its end the batch at 11 s (the eleventh) finds it idle: the twelfth uses it.
    assert!(given.watermarks[..11].iter().all(|w| *w <= at(6)), "{:?}", given.watermarks);
    assert_eq!(given.watermarks[11], at(110));
    let first = *given.fired_in.iter().min().unwrap();
    assert_eq!(first, 11);
}

#[test]
fn a_window_fires_in_the_first_batch_whose_watermark_has_passed_its_end() {
    let batches: Vec<Batch> = [5u64, 9, 10, 12, 19, 30, 31]
        .iter()
        .enumerate()
        .map(|(n, t)| vec![vec![(at(*t), 0, n as u32)]])
        .collect();
    let given = run(program(tumbling(10), 2, seconds(10)), &batches, false);
    // Watermarks before the batches: 0, 3, 7, 8, 10, 17, 28.
    assert_eq!(given.watermarks.last(), Some(&at(28)));
    assert_eq!(given.fired_in, [4, 6]);
    let ends: Vec<u64> = given.fired.iter().map(|(_, w, _)| w.end().millis()).collect();
    assert_eq!(ends, [10, 20]);
}
