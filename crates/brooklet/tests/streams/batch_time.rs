//! `dedup_by_key` and `sessions`, which go by batch times, against naive recomputations, on both engines.

use std::collections::BTreeMap;

use brooklet::prelude::*;
use brooklet::testing::{Collector, TestEngine};
use proptest::prelude::*;

use super::{ENGINES, conf, driver, sorted};

type Pair = (u8, u32);

fn batches() -> impl Strategy<Value = Vec<Vec<Vec<Pair>>>> {
    let part = proptest::collection::vec((0u8..6, 0u32..1_000), 0..6);
    let batch = prop_oneof![2 => Just(Vec::new()), 5 => proptest::collection::vec(part, 1..4)];
    proptest::collection::vec(batch, 1..16)
}

fn at(batch: usize) -> Time {
    Time::from_millis(1_000 * (batch as u64 + 1))
}

/// What each batch gives out, sorted, and the counters.
fn run<U: brooklet::Wire + Ord>(
    engine: TestEngine,
    batches: &[Vec<Vec<Pair>>],
    program: impl Fn(&DStream<Pair>) -> DStream<U>,
) -> (Vec<Vec<U>>, BTreeMap<String, u64>) {
    let out = Collector::new();
    let mut d = driver::<Pair>(engine, conf(), |_, s| {
        let out = out.clone();
        program(s).foreach_rdd(move |r, t| out.take(r, t));
    });
    for b in batches {
        d.input().push_partitions(b.clone());
    }
    d.batches(batches.len()).unwrap();
    d.context().stop(true).unwrap();
    (out.batches().into_iter().map(sorted).collect(), d.context().counters())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn dedup_lets_the_first_record_of_a_key_through_for_a_time(
        batches in batches(),
        within in 1u64..5,
    ) {
        let mut last: BTreeMap<u8, Time> = BTreeMap::new();
        let mut duplicates = 0;
        let expected: Vec<Vec<Pair>> = batches
            .iter()
            .enumerate()
            .map(|(i, parts)| {
                let mut out = Vec::new();
                for (k, v) in parts.concat() {
                    match last.get(&k) {
                        Some(first) if at(i).since(*first) < seconds(within) => duplicates += 1,
                        _ => {
                            last.insert(k, at(i));
                            out.push((k, v));
                        }
                    }
                }
                sorted(out)
            })
            .collect();
        for engine in ENGINES {
            let (out, counters) = run(engine, &batches, |s| s.dedup_by_key(seconds(within)));
            prop_assert_eq!(&out, &expected, "{:?}", engine);
            let counted = counters.iter().find(|(name, _)| name.ends_with(" duplicates")).unwrap().1;
            prop_assert_eq!(*counted, duplicates, "{:?}", engine);
        }
    }

    #[test]
    fn sessions_end_a_gap_after_their_last_batch(
        batches in batches(),
        gap in 1u64..5,
        flush: bool,
    ) {
        // key: first batch, last batch, values
        let mut open: BTreeMap<u8, (usize, usize, Vec<u32>)> = BTreeMap::new();
        let row = |(k, (first, last, v)): (u8, (usize, usize, Vec<u32>))| {
            (k, Window::new(at(first), at(last) + seconds(gap)), v)
        };
        let mut expected = Vec::new();
        for (i, parts) in batches.iter().enumerate() {
            let over = open.extract_if(.., |_, s| at(i).since(at(s.1)) >= seconds(gap));
            expected.push(sorted(over.map(row).collect()));
            for (k, v) in parts.concat() {
                let s = open.entry(k).or_insert((i, i, Vec::new()));
                s.1 = i;
                s.2.push(v);
            }
        }
        if flush {
            let i = batches.len();
            let (over, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|(_, s)| at(i).since(at(s.1)) >= seconds(gap));
            expected.push(sorted(over.into_iter().chain(rest).map(row).collect()));
        }
        for engine in ENGINES {
            let (out, _) = run(engine, &batches, |s| {
                let sessions = s.sessions(seconds(gap)).partitions(3);
                let sessions = if flush { sessions.flush_on_stop() } else { sessions };
                sessions.group()
            });
            prop_assert_eq!(&out, &expected, "{:?}", engine);
            let (counts, _) = run(engine, &batches, |s| {
                s.sessions(seconds(gap)).aggregate(0u64, |n, _| n + 1, |a, b| a + b)
            });
            let by_count = |rows: &Vec<(u8, Window, Vec<u32>)>| {
                rows.iter().map(|(k, w, v)| (*k, *w, v.len() as u64)).collect::<Vec<_>>()
            };
            let lens: Vec<_> = expected[..batches.len()].iter().map(by_count).collect();
            prop_assert_eq!(&counts, &lens, "{:?}", engine);
        }
    }
}

#[test]
fn times_that_cannot_be_are_refused_where_they_are_asked_for() {
    for (op, text) in [("dedup_by_key", "millisecond"), ("sessions", "gap")] {
        let made = std::panic::catch_unwind(|| {
            brooklet::testing::Driver::new(|ssc| {
                let s = ssc.queue_stream::<Pair>().1;
                match op {
                    "sessions" => drop(s.sessions(std::time::Duration::ZERO)),
                    _ => drop(s.dedup_by_key(std::time::Duration::ZERO)),
                }
                Ok(())
            })
        });
        let refused = *made.err().unwrap().downcast::<String>().unwrap();
        assert!(refused.contains(&format!("`{op}`")) && refused.contains(text), "{refused}");
        assert!(refused.contains(file!()), "{refused}");
    }
}
