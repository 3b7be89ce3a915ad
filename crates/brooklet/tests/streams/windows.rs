//! Facts of windows and keyed state that are easily got wrong, one by one; what they add up to is the business
//! of `stateful`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, run, run_sorted};
use brooklet::{Input, Partitions};

use super::{ENGINES, driver};

fn panic_of(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap()
}

#[test]
fn durations_that_do_not_fit_are_refused_with_both() {
    let ssc = StreamingContext::new(Driver::<()>::conf(), millis(500)).unwrap();
    let (_, s) = ssc.queue_stream::<(u32, u32)>();
    let every: [&dyn Fn(); 6] = [
        &|| drop(s.window(millis(700), None)),
        &|| drop(s.window(seconds(1), millis(700))),
        &|| drop(s.reduce_by_window(|a, _| a, millis(700), None)),
        &|| drop(s.reduce_by_key_and_window(|a, _| a, millis(700), None)),
        &|| drop(s.count_by_window(seconds(2), millis(700))),
        &|| drop(s.group_by_key_and_window(millis(700), None)),
    ];
    for f in every {
        let text = panic_of(f);
        assert!(text.contains("700ms") && text.contains("500ms"), "{text}");
        assert!(text.contains("windows.rs"), "{text}");
    }
    let text = panic_of(|| drop(s.window(seconds(0), None)));
    assert!(text.contains("0ns") || text.contains("0s"), "{text}");
    // A window over a window: its slide counts.
    let slow = s.window(seconds(2), seconds(1));
    let text = panic_of(|| drop(slow.window(millis(1500), None)));
    assert!(text.contains("1.5s") && text.contains("1s"), "{text}");
}

#[test]
fn windows_are_short_at_the_begin_and_at_the_end_and_count_from_the_zero_time() {
    let batches = || (1..=5u64).map(|n| vec![n]).chain([vec![], vec![], vec![], vec![]]);
    let out = run(batches(), |s| s.window(seconds(3), seconds(2)));
    assert_eq!(out, [vec![1, 2], vec![2, 3, 4], vec![4, 5], vec![]]);
    let out = run(batches(), |s| s.window(seconds(1), seconds(3)));
    assert_eq!(out, [vec![3], vec![], vec![]], "what no window holds is left out");
    // On a clock that doesn't begin at a multiple of the slide.
    let seen = Collector::new();
    let o = seen.clone();
    let mut driver = Driver::new(move |ssc| {
        let (queue, s) = ssc.queue_stream::<u64>();
        s.window(seconds(4), seconds(2)).foreach_rdd(move |rdd, t| o.take(rdd, t));
        Ok(queue)
    })
    .unwrap();
    driver.clock().set(Time::from_millis(7000));
    (1..=4).for_each(|n| driver.input().push([n]));
    driver.batches(4).unwrap();
    let seen: Vec<_> = seen.by_time().into_iter().map(|(t, v)| (t.millis(), v)).collect();
    assert_eq!(seen, [(9000, vec![1, 2]), (11000, vec![1, 2, 3, 4])]);
}

/// Has an RDD for every other batch: the number of the batch.
struct EveryOther;

impl Input for EveryOther {
    type Item = (char, u64);
    type Slice = u64;
    type Pipe = Partitions<(char, u64)>;
    fn allocate(&mut self, t: Time, _: Option<u64>) -> Result<Option<u64>, BoxError> {
        Ok(Some(t.millis() / 1000).filter(|n| n % 2 == 1))
    }
    fn read(&self, n: &Arc<u64>) -> Result<Self::Pipe, BoxError> {
        let n = **n;
        Ok(Partitions::from_fn(1, move |_| [('a', n)]))
    }
}

#[test]
fn a_batch_without_an_rdd_is_left_out_of_windows_and_state_goes_on() {
    for engine in ENGINES {
        let (window, state) = (Collector::new(), Collector::new());
        let (w, s) = (window.clone(), state.clone());
        let mut driver = Driver::with(engine, Driver::<()>::conf(), move |ssc| {
            let pairs = ssc.input_stream(EveryOther);
            let (w, s) = (w.clone(), s.clone());
            pairs.window(seconds(3), None).foreach_rdd(move |rdd, t| w.take(rdd, t));
            let count =
                |new: &[u64], old: Option<u64>| Some(old.unwrap_or(0) + 10 + new.len() as u64);
            pairs.update_state_by_key(count).foreach_rdd(move |rdd, t| s.take(rdd, t));
            Ok(())
        })
        .unwrap();
        driver.batches(3).unwrap();
        assert_eq!(
            window.batches(),
            [vec![('a', 1)], vec![('a', 1)], vec![('a', 1), ('a', 3)]],
            "{engine:?}"
        );
        assert_eq!(
            state.batches(),
            [vec![('a', 11)], vec![('a', 21)], vec![('a', 32)]],
            "{engine:?}"
        );
    }
}

#[test]
fn count_by_window_is_zero_only_after_something_was_seen() {
    let out = run([vec![], vec!['a'], vec![], vec![]], |s| s.count_by_window(seconds(1), None));
    assert_eq!(out, [vec![], vec![1], vec![0], vec![0]]);
}

#[test]
fn inverse_windows_keep_zeros_unless_they_are_filtered() {
    let batches = || [vec![('c', 1)], vec![('a', 2)], vec![], vec![]];
    let out = run_sorted(batches(), |s| {
        s.reduce_by_key_and_window_inv(|a, b| a + b, |a, b| a - b, seconds(1), None)
    });
    let zeros = vec![('a', 0), ('c', 0)];
    assert_eq!(out, [vec![('c', 1)], vec![('a', 2), ('c', 0)], zeros.clone(), zeros]);
    let out = run_sorted(batches(), |s| {
        let keep = |_: &char, n: &i32| *n != 0;
        let (f, g) = (|a, b| a + b, |a, b| a - b);
        s.reduce_by_key_and_window_inv_filter(f, g, seconds(1), None, None, keep)
    });
    assert_eq!(out, [vec![('c', 1)], vec![('a', 2)], vec![], vec![]]);
    // What cancels out isn't forgotten while the window has it.
    let out = run_sorted([vec![('x', 1)], vec![('x', -1)], vec![('x', 5)], vec![]], |s| {
        let (f, g) = (|a, b| a + b, |a, b| a - b);
        s.reduce_by_key_and_window_inv_filter(f, g, seconds(2), None, None, |_, n| *n != 0)
    });
    assert_eq!(out, [vec![('x', 1)], vec![], vec![('x', 4)], vec![('x', 5)]]);
}

#[test]
fn the_inverse_comes_first_and_once() {
    // The function tells what it was given: `+` joins, `-` takes away.
    let batches = ["a", "b", "c", "d"].map(|v| vec![((), v.to_string())]);
    let out = run(batches, |s| {
        let (f, g) = (|a, b| format!("({a}+{b})"), |a, b| format!("({a}-{b})"));
        s.reduce_by_key_and_window_inv(f, g, seconds(2), seconds(2)).map(|(_, v)| v).boxed()
    });
    assert_eq!(out, [vec!["(a+b)"], vec!["(((a+b)-(a+b))+(c+d))"]]);
}

#[test]
fn time_outs_are_strict_and_looked_for_in_every_batch() {
    // Idle for exactly the time is not idle for longer; a record keeps a key though nothing is set.
    let batches = [vec![('a', 1), ('b', 1)], vec![], vec![('b', 0)], vec![], vec![], vec![]];
    let out = run_sorted(batches, |s| {
        let spec = StateSpec::new().timeout(seconds(2));
        s.map_with_state_at(spec, |t, k, v: Option<i32>, s: &mut State<i32>| {
            if v == Some(1) {
                s.update(1);
            }
            assert_eq!(v.is_none(), s.is_timing_out());
            s.is_timing_out().then(|| (*k, t.millis()))
        })
        .boxed()
    });
    let none = Vec::new();
    let want =
        [none.clone(), none.clone(), none.clone(), vec![('a', 4000)], none, vec![('b', 6000)]];
    assert_eq!(out, want);
}

#[test]
fn rules_of_a_state_fail_the_task_with_operator_and_place() {
    type Broken = fn(&mut State<u32>, Option<u32>);
    let rules: [(Broken, &str); 5] = [
        (
            |s, _| {
                s.remove();
                s.update(1)
            },
            "`update` of a state that was removed",
        ),
        (
            |s, _| {
                s.remove();
                s.remove()
            },
            "can't be removed twice",
        ),
        (
            |s, v| if v.is_none() { s.update(1) } else { s.update(2) },
            "`update` of a state that is timing out",
        ),
        (
            |s, v| if v.is_none() { s.remove() } else { s.update(2) },
            "that is timing out can't be removed",
        ),
        (
            |s, v| {
                if v.is_none() {
                    let _ = s.modify(|x| *x += 1);
                } else {
                    s.update(2)
                }
            },
            "`modify` of a state that is timing out",
        ),
    ];
    for (rule, text) in rules {
        for engine in ENGINES {
            let mut d = driver::<(u32, u32)>(engine, Driver::<()>::conf(), move |_, s| {
                let spec = StateSpec::new().timeout(seconds(1));
                s.map_with_state_spec(spec, move |_, v, s: &mut State<u32>| rule(s, v))
                    .print_to(1, |_| ());
            });
            d.input().push([(1, 1)]);
            let e = d.batches(4).unwrap_err().to_string();
            assert!(
                e.contains(text) && e.contains("`map_with_state`") && e.contains("windows.rs"),
                "{e}"
            );
        }
    }
}

#[test]
fn a_function_of_a_partition_returns_keys_once_and_where_they_belong() {
    type Broken = fn(u64) -> Vec<(u64, ())>;
    let rules: [(bool, Broken, &str); 4] = [
        // A new key, and one that is there already.
        (false, |k| vec![(k + 1000, ()), (k + 1000, ())], "has returned a key twice"),
        (true, |k| vec![(k, ()), (k, ())], "has returned a key twice"),
        // Two partitions bring the same key.
        (false, |_| vec![(1, ())], "has returned a key twice"),
        (true, |k| (k..k + 40).map(|k| (k, ())).collect(), "a key of another partition"),
    ];
    for (remember, rule, text) in rules {
        for engine in ENGINES {
            let mut d = driver::<(u64, ())>(engine, Driver::<()>::conf(), move |_, s| {
                let spec = StateSpec::new().partitions(2).remember_partitioner(remember);
                let all = s.update_state_by_key_iter(spec, move |_, all| {
                    all.flat_map(|(k, _, _): (u64, _, Option<()>)| rule(k)).collect::<Vec<_>>()
                });
                all.print_to(1, |_| ());
            });
            // Both partitions have keys; each rule breaks in the second batch at the latest.
            d.input().push((0..20).map(|k| (k, ())));
            let e = d.batches(2).unwrap_err().to_string();
            let here = e.contains("`update_state_by_key_iter`") && e.contains("windows.rs");
            assert!(e.contains(text) && here, "{e}");
        }
    }
    let spec = StateSpec::new().timeout(seconds(1));
    let ssc = StreamingContext::new(Driver::<()>::conf(), seconds(1)).unwrap();
    let (_, s) = ssc.queue_stream::<(u64, ())>();
    let text = panic_of(|| drop(s.update_state_by_key_iter(spec, |_, _| Vec::<(u64, ())>::new())));
    assert!(text.contains("a time-out is for `map_with_state`"), "{text}");
}

#[test]
fn state_and_windows_begin_without_a_checkpoint_directory() {
    let out = run_sorted([vec![('a', 1)], vec![('a', 2)]], |s| {
        s.map_with_state(|k, v: Option<i32>, n: &mut State<i32>| {
            n.update(n.get().unwrap_or(&0) + v.unwrap_or(0));
            (*k, *n.get().unwrap_or(&0))
        })
        .boxed()
    });
    assert_eq!(out, [[('a', 1)], [('a', 3)]]);
}
