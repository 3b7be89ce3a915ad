//! What windows, recovery and the cluster will stand on: partitioning, identity, steps, shared contexts.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use brooklet::prelude::*;
use brooklet::scheduler::listener;
use brooklet::testing::{Collector, Driver, TestEngine};
use brooklet::time::ManualClock;
use brooklet::{ContextState, HashSeed};

use super::{ENGINES, HANG, conf, driver, sorted};

/// The partition of each of 2000 keys when a context with this seed deals them out to `parts`.
fn places(ctx: &Context, parts: usize) -> BTreeMap<u64, usize> {
    let kv = ctx.parallelize((0..2_000u64).map(|k| (k, 1u64)), 3);
    let placed = kv
        .reduce_by_key_into(|a, b| a + b, parts)
        .map_partitions_with_index(|i, kv| kv.map(move |(k, n)| (k, n, i)).collect::<Vec<_>>());
    let all = placed.collect().unwrap();
    assert_eq!(all.len(), 2_000);
    assert!(all.iter().all(|(_, n, _)| *n == 1));
    all.into_iter().map(|(k, _, i)| (k, i)).collect()
}

fn seeded(seed: u64) -> Context {
    Context::new(conf().hash_seed(HashSeed::new(seed))).unwrap()
}

#[test]
fn another_seed_places_keys_otherwise_and_gives_the_same_multiset() {
    let (a, b) = (seeded(1), seeded(2));
    let (in_a, in_b) = (places(&a, 64), places(&b, 64));
    assert_eq!(in_a, places(&seeded(1), 64), "one seed, one placement");
    let moved = in_a.iter().filter(|(k, p)| in_b[k] != **p).count();
    assert!(moved > 1_800, "{moved} of 2000 keys moved");
    let sums = |ctx: &Context| {
        let kv = ctx.parallelize((0..10_000i64).map(|x| (x % 37, x)), 4);
        sorted(kv.reduce_by_key(|a, b| a + b).collect().unwrap())
    };
    assert_eq!(sums(&a), sums(&b));
    assert_eq!(sums(&a), sums(&Context::new(Conf::new("random").master("local[2]")).unwrap()));
}

#[test]
fn a_partition_is_a_range_of_the_256_key_groups() {
    let ctx = seeded(7);
    let group = places(&ctx, 256);
    let used: std::collections::BTreeSet<_> = group.values().collect();
    assert!(used.len() > 240, "2000 keys reach {} groups", used.len());
    for parts in [1, 2, 3, 5, 8, 10, 100, 255] {
        for (k, p) in places(&ctx, parts) {
            assert_eq!(p, group[&k] * parts / 256, "key {k} of {parts} partitions");
        }
    }
}

/// Operators of a graph that is only built.
fn operators(build: impl FnOnce(&StreamingContext)) -> Vec<String> {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    build(&ssc);
    sorted(ssc.operators())
}

fn numbers(ssc: &StreamingContext) -> DStream<(i64, i64)> {
    ssc.queue_stream().1
}

#[test]
fn identity_does_not_depend_on_lines_narrow_operators_or_unrelated_streams() {
    let plain = operators(|ssc| {
        numbers(ssc).reduce_by_key(|a, b| a + b).count().print();
        ssc.text_queue_stream().1.count().foreach_rdd(|_, _| {});
    });
    assert!(!plain.is_empty());
    assert!(plain.iter().all(|p| !p.contains(".rs") && !p.contains("map")), "{plain:?}");
    let other = operators(|ssc| {
        // Created in another order, on other lines, with other narrow operators.
        let lines = ssc.text_queue_stream().1;
        lines.filter(|l| !l.is_empty()).map(|l| l.len()).count().foreach_rdd(|_, _| {});
        let n = numbers(ssc);
        let n = n.filter(|_| true).map(|(k, v)| (k + 1, v)).flat_map(|kv| [kv, kv]);
        n.reduce_by_key(|a, b| a.max(b)).map_partitions(|x| x).count().print();
    });
    assert_eq!(plain, other);
}

#[test]
fn identity_depends_on_the_anchors_upstream() {
    let reduced = operators(|ssc| drop(numbers(ssc).reduce_by_key(|a, b| a + b).print()));
    let grouped = operators(|ssc| drop(numbers(ssc).group_by_key().print()));
    let two = operators(|ssc| drop(numbers(ssc).union(&numbers(ssc)).print()));
    assert_eq!(
        reduced,
        ["queue_stream", "queue_stream/reduce_by_key", "queue_stream/reduce_by_key/print"]
    );
    assert_ne!(reduced, grouped);
    assert!(two.contains(&"(queue_stream+queue_stream)/union/print".to_string()), "{two:?}");
}

#[test]
fn a_name_is_the_identity() {
    let named = operators(|ssc| {
        let sums = numbers(ssc).name("clicks").reduce_by_key(|a, b| a + b).name("sums");
        sums.print().name("page");
    });
    assert_eq!(named, ["clicks", "page", "sums"]);
}

#[test]
fn outputs_that_only_their_order_tells_apart_are_listed_with_both_call_sites() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let n = numbers(&ssc);
    let (first, second) = (line!() + 1, line!() + 2);
    n.map(|x| x).print();
    n.filter(|_| true).print();
    n.print().name("named");
    n.count().print();
    let ambiguous = ssc.ambiguous_operators();
    assert_eq!(ambiguous.len(), 1, "{ambiguous:?}");
    let place = |line: u32| format!("`print` ({}:{line}:", file!());
    let text = &ambiguous[0];
    assert!(text.starts_with("queue_stream/print: "), "{text}");
    assert!(text.contains(&place(first)) && text.contains(&place(second)), "{text}");
    assert_eq!(text.matches("`print`").count(), 2, "{text}");
    let operators = ssc.operators();
    assert!(operators.contains(&"queue_stream/print#1".to_string()), "{operators:?}");
}

#[test]
fn two_outputs_of_one_name_are_refused_at_the_start() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let n = numbers(&ssc);
    let (first, second) = (line!() + 1, line!() + 2);
    n.print().name("page");
    n.count().print().name("page");
    let text = ssc.start().unwrap_err().to_string();
    assert!(text.contains("two operators are named `page`"), "{text}");
    for line in [first, second] {
        assert!(text.contains(&format!("{}:{line}:", file!())), "{text}");
    }
    assert_ne!(ssc.state(), ContextState::Active);
}

#[test]
fn operators_added_after_the_start_are_refused_with_what_to_do() {
    for engine in ENGINES {
        let mut d = Driver::with(engine, conf(), |ssc| {
            let n = numbers(ssc);
            n.print_to(1, |_| {});
            Ok(n)
        })
        .unwrap();
        d.start().unwrap();
        let n = d.input().clone();
        let ssc = d.context().clone();
        let additions: [(&str, Box<dyn Fn()>); 4] = [
            ("`count`", Box::new(|| drop(n.count()))),
            ("`print`", Box::new(|| drop(n.map(|x| x).print()))),
            ("`queue_stream`", Box::new(|| drop(ssc.queue_stream::<i64>()))),
            ("`transform`", Box::new(|| drop(n.transform(|r| r)))),
        ];
        for (op, add) in additions {
            let payload = catch_unwind(AssertUnwindSafe(add)).unwrap_err();
            let text = payload.downcast_ref::<String>().expect("a text");
            assert!(text.contains(op) && text.contains(file!()), "{text}");
            assert!(text.contains("build the whole graph first"), "{text}");
        }
        d.batch().unwrap();
    }
}

#[test]
fn a_step_runs_exactly_once_a_batch_whether_an_output_wants_it_or_not() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let note = |what: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(what)
        };
        let (unread, read, output) = (note("unread"), note("read"), note("output"));
        let _nobody_reads_this = s.transform(move |r| (unread(), r).1);
        let once = s.transform(move |r| (read(), r).1);
        once.foreach_rdd(move |r, _| {
            output();
            r.take(1)?;
            r.take(1).map(drop)
        });
        once.print_to(1, |_| {});
    });
    for batch in [vec![1, 2], vec![], vec![3]] {
        d.input().push(batch);
    }
    d.batches(3).unwrap();
    assert_eq!(*order.lock().unwrap(), ["unread", "read", "output"].repeat(3));
}

#[test]
fn steps_run_in_the_order_of_their_creation_before_any_output() {
    let order = Arc::new(Mutex::new(String::new()));
    let conf = conf().concurrent_jobs(2);
    let mut d = driver::<i64>(TestEngine::Local, conf, |_, s| {
        let note = |what: char| {
            let order = order.clone();
            move || order.lock().unwrap().push(what)
        };
        let (a, b, c) = (note('a'), note('b'), note('c'));
        let first = s.transform(move |r| (a(), r).1);
        let second = first.transform(move |r| (b(), r).1);
        let third = second.transform_with(&first, move |l, r, _| (c(), l.union(&r)).1);
        for stream in [third, first, second] {
            let o = note('o');
            stream.foreach_rdd(move |_, _| o());
        }
    });
    d.batches(2).unwrap();
    assert_eq!(*order.lock().unwrap(), "abcoooabcooo");
}

#[test]
fn two_streaming_contexts_share_one_context() {
    let clock = ManualClock::new(Time::ZERO);
    let ctx = Context::new(conf().clock(clock.clone())).unwrap();
    let (tx, completed) = mpsc::channel();
    let program = |factor: i64| {
        let ssc = StreamingContext::with_context(&ctx, seconds(1)).unwrap();
        let (queue, s) = ssc.queue_stream::<i64>();
        let (seen, tx) = (Collector::new(), tx.clone());
        let c = seen.clone();
        s.map(move |x| (x % 3, x * factor))
            .reduce_by_key(|a, b| a + b)
            .foreach_rdd(move |r, t| c.take(r, t));
        ssc.add_listener(listener::batch_completed(move |_| {
            let _ = tx.send(factor);
        }));
        ssc.start().unwrap();
        (ssc, queue, seen)
    };
    let (a, b) = (program(1), program(10));
    for batch in 0..3i64 {
        a.1.push(batch..batch + 5);
        b.1.push(batch..batch + 5);
        clock.advance(seconds(1));
        let done = [0, 1].map(|_| completed.recv_timeout(HANG).unwrap());
        assert_eq!(sorted(done.to_vec()), [1, 10]);
    }
    a.0.stop(true).unwrap();
    b.1.push([3]);
    clock.advance(seconds(1));
    assert_eq!(completed.recv_timeout(HANG).unwrap(), 10, "the other one goes on");
    b.0.stop(true).unwrap();
    let want = |factor: i64| -> Vec<Vec<(i64, i64)>> {
        let batch = |b: i64| {
            let sum = |k| (b..b + 5).filter(|x| x % 3 == k).map(|x| x * factor).sum();
            (0..3).map(|k| (k, sum(k))).collect()
        };
        (0..3).map(batch).collect()
    };
    let batches =
        |c: &Collector<(i64, i64)>| -> Vec<_> { c.batches().into_iter().map(sorted).collect() };
    assert_eq!(batches(&a.2), want(1));
    let mut with_last = want(10);
    with_last.push(vec![(0, 30)]);
    assert_eq!(batches(&b.2), with_last);
    assert_eq!(ctx.parallelize(0..10, 3).count().unwrap(), 10, "the shared context lives on");
}

#[test]
fn a_dropped_output_handle_and_a_dropped_stream_change_nothing() {
    let calls = Arc::new(AtomicU32::new(0));
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        let calls = calls.clone();
        drop(s.clone().foreach_rdd(move |_, _| {
            calls.fetch_add(1, SeqCst);
        }));
    });
    d.batches(2).unwrap();
    assert_eq!(calls.load(SeqCst), 2);
}
