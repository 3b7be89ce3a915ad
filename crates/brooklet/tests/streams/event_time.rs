//! Windows of event time against a naive recomputation, late and rejected records, idle partitions, flushes,
//! failures. Both engines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::{FailurePolicy, Queue};
use proptest::prelude::*;

use super::{ENGINES, conf, driver, sorted};

/// (event time in ms, key, number): the number tells a record from all others.
type Record = (u64, u8, u32);
/// A fired window: key, start, end, the numbers of its records in order.
type Fired = (u8, u64, u64, Vec<u32>);
type Parts = Vec<Vec<Record>>;

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

#[derive(Clone, Copy, Debug)]
enum Windows {
    Tumbling(u64),
    Sliding(u64, u64),
    Session(u64),
}

#[derive(Clone, Copy, Debug)]
struct Program {
    windows: Windows,
    delay: u64,
    idle: Duration,
    max_future: Duration,
    flush: bool,
}

impl Program {
    fn new(windows: Windows, delay: u64) -> Program {
        let max_future = seconds(100_000);
        Program { windows, delay, idle: seconds(10), max_future, flush: true }
    }
}

/// What a run has given out, sorted; by batch where it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Given {
    fired: Vec<Fired>,
    /// How many windows each batch has fired.
    by_batch: Vec<usize>,
    late: Vec<u32>,
    rejected: u64,
}

/// Runs a program on the engine, to a graceful stop.
fn run(engine: TestEngine, p: Program, batches: &[Parts]) -> Given {
    let (fired, late) = (Collector::new(), Collector::new());
    let mut d = driver::<Record>(engine, conf(), |_, s| {
        let events = s
            .with_event_time(|r: &Record| Time::from_millis(r.0), millis(p.delay))
            .idle_after(p.idle)
            .max_future(p.max_future)
            .key_by(|r| r.1)
            .map(|(k, r)| (k, r.2));
        let windows = match p.windows {
            Windows::Tumbling(size) => events.tumbling(millis(size)),
            Windows::Sliding(size, slide) => events.sliding(millis(size), millis(slide)),
            Windows::Session(gap) => events.session(millis(gap)),
        };
        let windows = if p.flush { windows.flush_on_stop() } else { windows };
        let (groups, missed) = windows.partitions(3).group_or_late();
        let (f, l) = (fired.clone(), late.clone());
        groups.foreach_rdd(move |r, t| f.take(r, t));
        missed.foreach_rdd(move |r, t| l.take(r, t));
    });
    for parts in batches {
        d.input().push_partitions(parts.clone());
        d.batch().unwrap();
    }
    d.context().stop(true).unwrap();
    let row = |(k, w, mut v): (u8, Window, Vec<u32>)| {
        v.sort_unstable();
        (k, w.start().millis(), w.end().millis(), v)
    };
    let late: Vec<(u8, u32)> = late.batches().concat();
    let late = sorted(late.into_iter().map(|(_, n)| n).collect());
    let counters = d.context().counters();
    let count = |what: &str| {
        let of = counters.iter().filter(|(name, _)| name.ends_with(what));
        of.map(|(_, n)| *n).sum::<u64>()
    };
    assert_eq!(count(" late"), late.len() as u64, "{engine:?}: {counters:?}");
    Given {
        by_batch: fired.batches().iter().map(Vec::len).collect(),
        fired: sorted(fired.batches().concat().into_iter().map(row).collect()),
        late,
        rejected: count(" rejected"),
    }
}

/// The same by the definitions alone: whole sets, no order, nothing incremental.
fn naive(p: Program, batches: &[Parts]) -> Given {
    let mut given = Given::default();
    // By partition: the latest time, and the last batch with a record (or the first that showed it).
    let mut seen: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    let mut watermark = 0;
    // Open windows with their records' times and numbers.
    let mut open: Vec<(u8, u64, u64, Vec<u32>)> = Vec::new();
    let mut t = 0;
    let last = batches.len() as u64 * 1_000 + if p.flush { 1_000 } else { 0 };
    while t < last {
        t += 1_000;
        let none = Vec::new();
        let parts = batches.get(t as usize / 1_000 - 1).unwrap_or(&none);
        let limit = t + p.max_future.as_millis() as u64;
        let mut taken: Vec<Record> = parts.concat();
        given.rejected += taken.iter().filter(|r| r.0 > limit).count() as u64;
        taken.retain(|r| r.0 <= limit);
        let mut fired: Vec<Fired> = open.extract_if(.., |w| w.2 <= watermark).collect();
        match p.windows {
            Windows::Session(gap) => {
                open.extend(taken.iter().map(|r| (r.1, r.0, r.0 + gap, vec![r.2])));
                // Any two that overlap become one, until there are none.
                while let Some((i, j)) = overlapping(&open) {
                    let b = open.remove(j);
                    let a = &mut open[i];
                    (a.1, a.2) = (a.1.min(b.1), a.2.max(b.2));
                    a.3.extend(b.3);
                }
                let late = open.extract_if(.., |w| w.2 <= watermark);
                given.late.extend(late.flat_map(|w| w.3));
            }
            Windows::Tumbling(size) | Windows::Sliding(size, _) => {
                let slide = if let Windows::Sliding(_, slide) = p.windows { slide } else { size };
                for r in &taken {
                    let starts = (0..=r.0 / slide).map(|i| i * slide).filter(|s| r.0 < s + size);
                    // Windows that begin before zero begin at zero.
                    let early = (1..=size / slide).map(|i| i * slide).filter(|b| r.0 + b < size);
                    let all = starts.map(|s| (s, s + size)).chain(early.map(|b| (0, size - b)));
                    let all: Vec<(u64, u64)> = all.collect();
                    if !all.is_empty() && all.iter().all(|w| w.1 <= watermark) {
                        given.late.push(r.2);
                    }
                    for (start, end) in all.into_iter().filter(|w| w.1 > watermark) {
                        match open.iter_mut().find(|w| (w.0, w.1, w.2) == (r.1, start, end)) {
                            Some(w) => w.3.push(r.2),
                            None => open.push((r.1, start, end, vec![r.2])),
                        }
                    }
                }
            }
        }
        if p.flush && t == last {
            fired.append(&mut open);
        }
        given.by_batch.push(fired.len());
        given.fired.extend(fired);
        for (i, part) in parts.iter().enumerate() {
            let max = part.iter().map(|r| r.0).filter(|e| *e <= limit).max();
            let of = seen.entry(i).or_insert((0, t));
            if let Some(max) = max {
                *of = (of.0.max(max), t);
            }
        }
        let idle = p.idle.as_millis() as u64;
        let active = seen.values().filter(|(_, last)| *last == t || t - last < idle);
        let lowest = active.map(|(max, _)| max.saturating_sub(p.delay)).min();
        watermark = watermark.max(lowest.unwrap_or(0));
    }
    given.fired.iter_mut().for_each(|w| w.3.sort_unstable());
    given.fired.sort();
    given.late.sort_unstable();
    given
}

fn overlapping(w: &[Fired]) -> Option<(usize, usize)> {
    let pairs = (0..w.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.into_iter().find(|(i, j)| {
        let (a, b) = (&w[*i], &w[*j]);
        a.0 == b.0 && a.1 < b.2 && b.1 < a.2
    })
}

/// The windows of all records at once.
fn sorted_input(windows: Windows, records: &[Record]) -> Vec<Fired> {
    let p = Program { max_future: seconds(1 << 40), ..Program::new(windows, 0) };
    naive(p, &[vec![records.to_vec()]]).fired
}

/// A generator of numbers, the same at every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Times that go on by small steps and leaps; shuffled within the delay, so that no record comes after one
/// that is more than the delay newer; one in a hundred later than that by far.
fn out_of_order(rng: &mut Rng, n: u32, delay: u64, keys: u64, late: bool) -> Vec<Record> {
    let mut t = 0;
    let mut keyed: Vec<(u64, Record)> = Vec::new();
    for i in 0..n {
        t += if rng.below(60) == 0 { 20 * delay } else { rng.below(4) };
        let wait = if late && rng.below(100) == 0 {
            30 * delay + rng.below(delay)
        } else {
            rng.below(delay + 1)
        };
        keyed.push((t + wait, (t, rng.below(keys) as u8, i)));
    }
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, r)| r).collect()
}

/// Dealt to batches of changing sizes, some of them empty, and partitions.
fn batched(rng: &mut Rng, records: &[Record], size: u64, partitions: u64) -> Vec<Parts> {
    let mut batches = Vec::new();
    let mut rest = records.iter();
    while !rest.as_slice().is_empty() {
        let n = if rng.below(5) == 0 { 0 } else { rng.below(2 * size) + 1 };
        let mut parts = vec![Vec::new(); partitions as usize];
        for r in rest.by_ref().take(n as usize) {
            parts[rng.below(partitions) as usize].push(*r);
        }
        batches.push(parts);
    }
    batches
}

const ALL: [Windows; 4] = [
    Windows::Tumbling(50),
    Windows::Sliding(60, 20),
    Windows::Sliding(20, 50),
    Windows::Session(15),
];

#[test]
fn out_of_order_within_the_delay_gives_exactly_the_windows_of_the_sorted_input() {
    for (seed, windows) in ALL.into_iter().enumerate() {
        let mut rng = Rng(seed as u64);
        let records = out_of_order(&mut rng, 3_000, 25, 5, false);
        assert!(records.windows(2).any(|r| r[0].0 > r[1].0), "they are out of order");
        let batches = batched(&mut rng, &records, 40, 3);
        let expected = sorted_input(windows, &records);
        for engine in ENGINES {
            let given = run(engine, Program::new(windows, 25), &batches);
            assert_eq!(given.late, [0u32; 0], "{engine:?} {windows:?}");
            assert_eq!(given.fired, expected, "{engine:?} {windows:?}");
            assert!(given.by_batch.iter().filter(|n| **n > 0).count() > 10, "not all at the flush");
        }
    }
}

/// The demanding input: out of order, one percent too late, one partition idle from early on, one record far in
/// the future.
#[test]
fn late_idle_and_far_future_records_leave_the_other_windows_exact() {
    for (seed, windows) in ALL.into_iter().enumerate() {
        let mut rng = Rng(100 + seed as u64);
        let records = out_of_order(&mut rng, 3_000, 25, 5, true);
        let mut batches = batched(&mut rng, &records, 40, 3);
        for (i, parts) in batches.iter_mut().enumerate() {
            // Partition 3 has records in the first batches, then none.
            parts.push(if i < 3 { vec![(i as u64, 0, 10_000 + i as u32)] } else { Vec::new() });
        }
        batches[5][0].push((u64::MAX / 4, 1, 20_000));
        let p = Program::new(windows, 25);
        let expected = naive(p, &batches);
        assert!(expected.late.len() > 5, "{windows:?}: {:?}", expected.late);
        assert_eq!(expected.rejected, 1);

        // The windows are those of the input without the late ones, where these miss all windows or none.
        if !matches!(windows, Windows::Sliding(60, 20)) {
            let late: BTreeSet<u32> = expected.late.iter().copied().collect();
            let mut kept: Vec<Record> = batches.concat().concat();
            kept.retain(|r| !late.contains(&r.2) && r.2 != 20_000);
            if !matches!(windows, Windows::Session(_)) {
                assert_eq!(expected.fired, sorted_input(windows, &kept));
            }
        }
        for engine in ENGINES {
            assert_eq!(run(engine, p, &batches), expected, "{engine:?} {windows:?}");
        }
    }
}

fn some_windows() -> impl Strategy<Value = Windows> {
    prop_oneof![
        (1u64..60).prop_map(Windows::Tumbling),
        (1u64..60, 1u64..60).prop_map(|(size, slide)| Windows::Sliding(size, slide)),
        (1u64..40).prop_map(Windows::Session),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the order, the batches and the partitions: each batch fires what the definitions say.
    #[test]
    fn every_batch_fires_what_the_definitions_say(
        windows in some_windows(),
        delay in 0u64..40,
        idle in 0u64..6,
        seed: u64,
        n in 1u32..200,
        partitions in 1u64..4,
        flush: bool,
    ) {
        let mut rng = Rng(seed);
        let records = out_of_order(&mut rng, n, delay.max(1), 3, true);
        let batches = batched(&mut rng, &records, 12, partitions);
        let max_future = seconds(if seed % 3 == 0 { 0 } else { 10_000 });
        let p = Program { idle: seconds(idle), flush, max_future, ..Program::new(windows, delay) };
        let expected = naive(p, &batches);
        for engine in ENGINES {
            prop_assert_eq!(run(engine, p, &batches), expected.clone(), "{:?}", engine);
        }
    }
}

/// A count per ten milliseconds and key, of one partition.
fn counts(s: &DStream<(char, u64)>) -> DStream<(char, Window, u64)> {
    s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0)).tumbling(millis(10)).count()
}

fn window(start: u64, end: u64) -> Window {
    Window::new(at(start), at(end))
}

/// One partition per batch.
fn push(d: &Driver<Queue<(char, u64)>>, records: &[(char, u64)]) {
    d.input().push_partitions([records.to_vec()]);
}

#[test]
fn open_windows_are_not_flushed_by_a_graceful_stop_unless_told_to() {
    for engine in ENGINES {
        for flush in [false, true] {
            let out = Collector::new();
            let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
                let out = out.clone();
                let windows = s
                    .with_event_time(|(_, t): &(char, u64)| Time::from_millis(*t), millis(0))
                    .tumbling(millis(10));
                let windows = if flush { windows.flush_on_stop() } else { windows };
                windows.count().foreach_rdd(move |r, t| out.take(r, t));
            });
            push(&d, &[('a', 1), ('a', 12)]);
            d.batches(2).unwrap();
            // Two batches that are still to come when the stop begins: the flush comes after them.
            push(&d, &[('a', 25)]);
            push(&d, &[('a', 26)]);
            d.context().stop(true).unwrap();
            let mut all = vec![('a', window(0, 10), 1), ('a', window(10, 20), 1)];
            if flush {
                all.push(('a', window(20, 30), 2));
            }
            assert_eq!(sorted(out.batches().concat()), all, "{engine:?}");
            assert_eq!(out.batches().len(), if flush { 5 } else { 4 }, "{engine:?}");
        }
    }
}

#[test]
fn outputs_make_no_difference_to_what_is_fired() {
    for engine in ENGINES {
        for concurrent in [1, 2] {
            let (a, b) = (Collector::new(), Collector::new());
            let conf = conf().concurrent_jobs(concurrent);
            let mut d = driver::<(char, u64)>(engine, conf, |_, s| {
                let (a, b) = (a.clone(), b.clone());
                // The first one is read by nobody; the second by three, one of which takes a part.
                let _unread = counts(s);
                let read = counts(s);
                read.print_to(1, |_| {});
                read.foreach_rdd(move |r, t| a.take(r, t));
                read.foreach_rdd(move |r, t| b.take(r, t));
            });
            for n in 0..30 {
                push(&d, &[('a', n * 4), ('b', n * 4 + 1)]);
            }
            d.batches(30).unwrap();
            assert_eq!(a.by_time(), b.by_time(), "{engine:?}");
            let n: u64 = a.batches().concat().iter().map(|(_, _, n)| n).sum();
            assert_eq!(n, 2 * 28, "{engine:?}: all before 110 ms");
        }
    }
}

#[test]
fn a_failed_attempt_is_undone_and_its_windows_fire_once() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    for engine in ENGINES {
        let (out, calls) = (Collector::new(), std::sync::Arc::new(AtomicU32::new(0)));
        let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
            let (out, calls) = (out.clone(), calls.clone());
            s.with_event_time(|(_, t): &(char, u64)| Time::from_millis(*t), millis(0))
                .tumbling(millis(10))
                .reduce(move |a, b| {
                    // Merging into state fails now and then; each time another attempt is made.
                    assert!(
                        calls.fetch_add(1, SeqCst) % 7 != 6,
                        "tripped (this belongs to the test)"
                    );
                    a + b
                })
                .foreach_rdd(move |r, t| out.take(r, t));
        });
        let mut expected: BTreeMap<(char, u64), u64> = BTreeMap::new();
        for n in 0..40u64 {
            let records: Vec<(char, u64)> = ['a', 'b'].map(|k| (k, n * 3)).to_vec();
            records.iter().for_each(|(k, t)| *expected.entry((*k, t / 10)).or_default() += t);
            push(&d, &records);
        }
        d.batches(40).unwrap();
        expected.retain(|(_, w), _| *w < 114 / 10);
        let fired: Vec<_> = expected
            .into_iter()
            .map(|((k, w), sum)| (k, window(w * 10, w * 10 + 10), sum))
            .collect();
        assert_eq!(sorted(out.batches().concat()), fired, "{engine:?}");
        assert!(calls.load(SeqCst) > 14, "some attempts have failed");
    }
}

#[test]
fn a_skipped_batch_counts_neither_for_windows_nor_for_the_watermark() {
    for engine in ENGINES {
        let out = Collector::new();
        let conf = conf().task_max_failures(1).failure_policy(FailurePolicy::skip());
        let mut d = driver::<(char, u64)>(engine, conf, |_, s| {
            let out = out.clone();
            let s = s.map(|(k, t)| {
                assert!(k != '!', "tripped (this belongs to the test)");
                (k, t)
            });
            counts(&s.boxed()).foreach_rdd(move |r, t| out.take(r, t));
        });
        push(&d, &[('a', 1)]);
        // Its first records are in the tables when it fails.
        push(&d, &[('a', 2), ('a', 5_000), ('!', 5_001)]);
        push(&d, &[('a', 3)]);
        push(&d, &[('a', 15)]);
        d.batches(5).unwrap();
        assert_eq!(out.batches().concat(), [('a', window(0, 10), 2)], "{engine:?}");
    }
}

/// Two steps; the second one fails, so the first one, which had fired, is undone and fires again.
#[test]
fn windows_fired_in_a_batch_that_is_skipped_later_fire_in_the_next() {
    for engine in ENGINES {
        for session in [false, true] {
            let out = Collector::new();
            let conf = conf().failure_policy(FailurePolicy::skip());
            let mut d = driver::<(char, u64)>(engine, conf, |_, s| {
                let out = out.clone();
                let events =
                    s.with_event_time(|(_, t): &(char, u64)| Time::from_millis(*t), millis(0));
                let windows =
                    if session { events.session(millis(7)) } else { events.tumbling(millis(10)) };
                windows.count().foreach_rdd(move |r, t| out.take(r, t));
                s.transform_at(
                    |rdd, t| {
                        if t == Time::from_millis(3_000) { Err("broken") } else { Ok(rdd) }
                    },
                )
                .foreach_rdd(|_, _| {});
            });
            push(&d, &[('a', 3), ('b', 3)]);
            push(&d, &[('a', 40)]);
            push(&d, &[('b', 90)]); // skipped
            push(&d, &[('a', 45)]);
            d.batches(4).unwrap();
            let w = if session { window(3, 10) } else { window(0, 10) };
            assert_eq!(sorted(out.batches().concat()), [('a', w, 1), ('b', w, 1)], "{engine:?}");
            push(&d, &[('a', 99)]);
            d.batches(2).unwrap();
            let w = if session { window(40, 52) } else { window(40, 50) };
            assert_eq!(out.batches().last(), Some(&vec![('a', w, 2)]), "{engine:?}");
        }
    }
}

#[test]
fn records_that_are_filtered_out_move_the_watermark() {
    for engine in ENGINES {
        let out = Collector::new();
        let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
            let out = out.clone();
            s.with_event_time(|(_, t): &(char, u64)| Time::from_millis(*t), millis(0))
                .filter(|(k, _)| *k == 'a')
                .tumbling(millis(10))
                .count()
                .foreach_rdd(move |r, t| out.take(r, t));
        });
        push(&d, &[('a', 1)]);
        push(&d, &[('b', 10)]);
        d.batches(3).unwrap();
        assert_eq!(out.batches(), [vec![], vec![], vec![('a', window(0, 10), 1)]], "{engine:?}");
    }
}

#[test]
fn an_output_that_takes_a_part_of_the_records_leaves_the_watermark() {
    for engine in ENGINES {
        let out = Collector::new();
        let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
            let out = out.clone();
            let events = s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0));
            events.tumbling(millis(10)).count().foreach_rdd(move |r, t| out.take(r, t));
            // Runs when the windows have read all of them.
            events.timestamped().print_to(1, |_| {});
        });
        for _ in 0..2 {
            push(&d, &[('a', 1), ('a', 2), ('a', 3), ('a', 4), ('a', 12)]);
        }
        d.batches(2).unwrap();
        assert_eq!(out.batches(), [vec![], vec![('a', window(0, 10), 4)]], "{engine:?}");
    }
}

#[test]
fn a_union_waits_for_the_slower_side_unless_that_is_idle() {
    for engine in ENGINES {
        let out = Collector::new();
        let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
            let out = out.clone();
            let time = |(_, t): &(char, u64)| Time::from_millis(*t);
            let a = s.filter(|(k, _)| *k == 'a').with_event_time(time, millis(0)).name("a");
            let b = s.filter(|(k, _)| *k == 'b').with_event_time(time, millis(5)).name("b");
            let (a, b) = (a.idle_after(seconds(3)), b.idle_after(seconds(3)));
            a.union(&b).tumbling(millis(10)).count().foreach_rdd(move |r, t| out.take(r, t));
        });
        push(&d, &[('a', 30), ('b', 1)]);
        push(&d, &[('a', 31), ('b', 14)]);
        d.batches(3).unwrap();
        assert_eq!(out.batches().concat(), [], "{engine:?}: b is at 14 less 5");
        push(&d, &[('a', 32)]);
        d.batches(1).unwrap();
        assert_eq!(out.batches().concat(), [], "{engine:?}");
        // The last record of b was in batch 2; at the end of batch 5 it is idle.
        push(&d, &[('a', 33)]);
        d.batches(1).unwrap();
        push(&d, &[('b', 15)]);
        d.batches(1).unwrap();
        let fired = vec![('b', window(0, 10), 1), ('b', window(10, 20), 1)];
        assert_eq!(sorted(out.batches().concat()), fired, "{engine:?}");
        let late: u64 =
            d.context().counters().iter().filter(|c| c.0.ends_with(" late")).map(|c| c.1).sum();
        assert_eq!(late, 1, "{engine:?}: b at 15");
    }
}

#[test]
fn counters_tell_late_and_rejected_records_by_operator() {
    for engine in ENGINES {
        let out: Collector<(char, Window, u64)> = Collector::new();
        let line = line!() + 3;
        let mut d = driver::<(char, u64)>(engine, conf(), |_, s| {
            let out = out.clone();
            s.with_event_time(|(_, t): &(char, u64)| Time::from_millis(*t), millis(0))
                .max_future(seconds(60))
                .sliding(millis(10), millis(5))
                .count()
                .foreach_rdd(move |r, t| out.take(r, t));
        });
        push(&d, &[('a', 12), ('x', 61_000), ('x', 61_001), ('x', u64::MAX)]);
        push(&d, &[('a', 61_004)]); // the batch at two seconds
        push(&d, &[('a', 60_999), ('a', 60_990), ('a', 5)]);
        d.batches(4).unwrap();
        let counters = d.context().counters();
        let of = |op: &str, l: u32, what: &str| {
            let name = counters.iter().find(|(name, _)| {
                name.starts_with(&format!("`{op}` ({}:{l}:", file!())) && name.ends_with(what)
            });
            *name.unwrap_or_else(|| panic!("{op} {l} {what}: {counters:?}")).1
        };
        assert_eq!(of("with_event_time", line, ") rejected"), 2);
        assert_eq!(of("count", line + 3, ") late"), 2, "60,990 and 5");
        assert_eq!(
            of("count", line + 3, ") late for some windows"),
            1,
            "60,999: [60995, 61005) only"
        );
        assert_eq!(out.batches()[1].len(), 2, "both windows of 12: {:?}", out.batches());
        assert_eq!(out.batches().concat().len(), 2, "{:?}", out.batches());
    }
}

#[test]
fn a_panic_names_operator_and_place() {
    for engine in ENGINES {
        for bad in ["with_event_time", "key_by", "reduce"] {
            let line = line!() + 7;
            let mut d = driver::<(char, u64)>(engine, conf().task_max_failures(1), |_, s| {
                let trip = |now: bool| assert!(!now, "tripped (this belongs to the test)");
                let time = move |(_, t): &(char, u64)| {
                    trip(bad == "with_event_time");
                    Time::from_millis(*t)
                };
                s.with_event_time(time, millis(0))
                    .key_by(move |x| (trip(bad == "key_by"), x.0).1)
                    .session(millis(10))
                    .reduce(move |a, _| (trip(bad == "reduce"), a).1)
                    .foreach_rdd(|_, _| {});
            });
            push(&d, &[('a', 1), ('a', 2)]);
            let e = d.batch().unwrap_err().to_string();
            let offset = ["with_event_time", "key_by", "session", "reduce"];
            let offset = offset.iter().position(|o| *o == bad).unwrap() as u32;
            let place = format!("{}:{}", file!(), line + offset);
            assert!(e.contains(&format!("`{bad}`")) && e.contains(&place), "{bad}: {e}");
        }
    }
}

#[test]
fn windows_that_cannot_be_are_refused_where_they_are_asked_for() {
    let refused = |f: fn(&DStream<(char, u64)>)| {
        let made = std::panic::catch_unwind(|| {
            Driver::new(|ssc| {
                f(&ssc.queue_stream::<(char, u64)>().1);
                Ok(())
            })
        });
        let text = made.err().map(|p| p.downcast::<String>().map(|s| *s).unwrap_or_default());
        text.expect("it should be refused")
    };
    macro_rules! refused {
        ($events:ident => $e:expr, $($text:expr),+) => {{
            let text = refused(|s| {
                let $events = s.with_event_time(|(_, t)| Time::from_millis(*t), millis(0));
                drop($e);
            });
            for part in [$($text),+, file!()] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }};
    }
    refused!(e => e.tumbling(Duration::ZERO), "`tumbling`", "window size", "0us");
    refused!(e => e.tumbling(Duration::from_micros(2_500)), "window size", "2.5ms");
    refused!(e => e.sliding(seconds(1), Duration::ZERO), "`sliding`", "window slide");
    refused!(e => e.session(Duration::ZERO), "`session`", "gap");
    refused!(e => e.session(seconds(1)).offset(seconds(1)), "`session`", "offset");
}

#[test]
fn every_one_of_many_windows_fires_once() {
    // A window for each of many keys and times, all of them over soon: as many fire as were opened.
    let out = Collector::new();
    let mut d = driver::<(char, u64)>(TestEngine::Local, conf(), |_, s| {
        let out = out.clone();
        s.map(|(_, t)| (t % 97, t))
            .with_event_time(|(_, t): &(u64, u64)| Time::from_millis(*t), millis(5))
            .tumbling(millis(1))
            .count()
            .count()
            .foreach_rdd(move |r, t| out.take(r, t));
    });
    for n in 0..200u64 {
        let records: Vec<_> = (n * 100..n * 100 + 100).map(|t| ('a', t)).collect();
        push(&d, &records);
    }
    d.batches(200).unwrap();
    let fired: u64 = out.batches().concat().iter().sum();
    assert_eq!(fired, 199 * 100 - 1 - 5);
}

/// A folder that is removed when it is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static N: AtomicU32 = AtomicU32::new(0);
        let n = N.fetch_add(1, Relaxed);
        Folder(std::env::temp_dir().join(format!("brooklet-event-time-{}-{n}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What outputs show, by output: key, window, numbers.
type Seen = Collector<(u8, u8, (u64, u64), Vec<u32>)>;

/// Every kind of window, on one stream and on a union whose sides have delays of their own; all that goes by
/// batch times too.
fn stored_program(s: &DStream<Record>, seen: &Seen) {
    let tell = |n: u8, out: &DStream<(u8, Window, Vec<u32>)>| {
        let seen = seen.clone();
        out.foreach_rdd(move |rdd, t| {
            let row = move |(k, w, mut v): (u8, Window, Vec<u32>)| {
                v.sort_unstable();
                (n, k, (w.start().millis(), w.end().millis()), v)
            };
            seen.add(t, rdd.map(row).collect()?);
            Ok::<(), Error>(())
        });
    };
    let time = |r: &Record| Time::from_millis(r.0);
    let pairs = |r: Record| (r.1, r.2);
    let all = s.with_event_time(time, millis(20)).idle_after(seconds(2)).name("all").map(pairs);
    tell(0, &all.tumbling(millis(40)).group().name("tumbling"));
    let (sliding, late) = all.sliding(millis(60), millis(25)).partitions(3).group_or_late();
    tell(1, &sliding.name("sliding"));
    tell(2, &late.map(|(k, n)| (k, Window::default(), vec![n])).boxed());
    tell(3, &all.session(millis(12)).group().name("sessions"));
    let even = s.filter(|r| r.2 % 2 == 0).with_event_time(time, millis(5)).name("even");
    let odd = s.filter(|r| r.2 % 2 == 1).with_event_time(time, millis(50)).name("odd");
    let both = even.idle_after(seconds(1)).union(&odd.idle_after(seconds(3))).map(pairs);
    tell(4, &both.tumbling(millis(30)).group().name("both"));
    let by_batch = s.map(pairs);
    tell(5, &by_batch.sessions(seconds(2)).group().name("by batch"));
    let first = by_batch.dedup_by_key(seconds(3)).name("first");
    tell(6, &first.map(|(k, n)| (k, Window::default(), vec![n])).boxed());
}

fn run_stored(dir: Option<&Folder>, from: usize, batches: &[Parts], gracefully: bool, seen: &Seen) {
    let (seen, dir) = (seen.clone(), dir.map(|d| d.0.clone()));
    let conf = Driver::<()>::conf().default_parallelism(2);
    let mut d = Driver::local(conf, move |ssc| {
        if let Some(dir) = dir {
            let options = brooklet::CheckpointOptions::new().min_batches(1).interval(seconds(0));
            ssc.checkpoint_with(dir, options)?;
        }
        let (queue, records) = ssc.queue_stream::<Record>();
        stored_program(&records, &seen);
        Ok(queue)
    })
    .unwrap();
    d.clock().set(at(from as u64 * 1_000));
    batches.iter().for_each(|b| d.input().push_partitions(b.clone()));
    d.batches(batches.len()).unwrap();
    d.context().stop(gracefully).unwrap();
}

fn by_time(seen: &Seen) -> BTreeMap<Time, Vec<(u8, u8, (u64, u64), Vec<u32>)>> {
    let mut all = seen.by_time();
    all.values_mut().for_each(|v| v.sort());
    all
}

#[test]
fn what_is_late_stays_late_when_the_stream_is_idle_at_a_restart() {
    let nothing = || vec![vec![], vec![]];
    let first = vec![vec![(500, 0, 0)], vec![(510, 1, 1)]];
    let batches = [first, nothing(), nothing(), vec![vec![(30, 0, 2)], vec![]], nothing()];
    let (whole, parts, folder) = (Seen::new(), Seen::new(), Folder::new());
    run_stored(None, 0, &batches, true, &whole);
    run_stored(Some(&folder), 0, &batches[..3], true, &parts);
    run_stored(Some(&folder), 3, &batches[3..], true, &parts);
    assert!(by_time(&whole)[&at(4_000)].contains(&(2, 0, (0, 0), vec![2])), "it is late");
    assert_eq!(by_time(&parts), by_time(&whole));
}

#[test]
fn the_watermark_of_a_union_does_not_go_back_at_a_restart() {
    // The union's second side becomes idle, and is back, far behind, in the last batch before the restart.
    let mut batches: Vec<Parts> =
        (0..8).map(|i| vec![vec![(500 + i * 10, 0, 0)], vec![]]).collect();
    for (batch, t, n) in [(0, 60, 1), (5, 100, 3), (6, 110, 5), (7, 300, 7)] {
        batches[batch][1].push((t, 0, n));
    }
    batches.extend([vec![vec![], vec![]], vec![vec![], vec![]]]);
    let (whole, parts, folder) = (Seen::new(), Seen::new(), Folder::new());
    run_stored(None, 0, &batches, true, &whole);
    run_stored(Some(&folder), 0, &batches[..6], true, &parts);
    run_stored(Some(&folder), 6, &batches[6..], true, &parts);
    let union: Vec<u32> =
        whole.batches().concat().into_iter().filter(|r| r.0 == 4).flat_map(|r| r.3).collect();
    assert!(union.contains(&0) && !union.contains(&5), "110 ms is late: {union:?}");
    assert_eq!(by_time(&parts), by_time(&whole));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn open_windows_and_watermarks_go_on_after_a_restart_as_if_there_had_been_none(
        seed: u64,
        n in 1u32..150,
        cuts in proptest::collection::vec(1usize..6, 1..8),
    ) {
        let mut rng = Rng(seed);
        let records = out_of_order(&mut rng, n, 25, 4, true);
        let batches = batched(&mut rng, &records, 8, 2);
        let (whole, parts, folder) = (Seen::new(), Seen::new(), Folder::new());
        run_stored(None, 0, &batches, true, &whole);
        let (mut done, mut cuts) = (0, cuts.into_iter());
        while done < batches.len() {
            let n = cuts.next().unwrap_or(batches.len()).min(batches.len() - done);
            run_stored(Some(&folder), done, &batches[done..done + n], true, &parts);
            done += n;
        }
        prop_assert_eq!(by_time(&parts), by_time(&whole));
    }
}
