//! Operators of which the oracle sees only the records: what they refuse, when and how often they call
//! closures, what they share, where keys go.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine, run_sorted};
use brooklet::{Broadcast, Interval, Partitioner, Partitions};

use super::{ENGINES, HANG, conf, driver, sorted};

type Pairs = DStream<(i64, i64)>;

/// The text of a panic.
fn refused(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("not refused");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other.downcast::<&str>().expect("a text").to_string(),
    }
}

fn time(ms: u64) -> Time {
    Time::from_millis(ms)
}

// ---- what is refused at the call ----

#[test]
fn streams_of_two_contexts_are_refused_by_every_operator_on_several() {
    let ours = StreamingContext::new(conf(), seconds(1)).unwrap();
    let theirs = StreamingContext::new(conf(), seconds(1)).unwrap();
    let (a, b): (Pairs, Pairs) = (ours.queue_stream().1, theirs.queue_stream().1);
    let mixed: Vec<(&str, Box<dyn Fn()>)> = vec![
        ("union", Box::new(|| drop(a.union(&b)))),
        ("union", Box::new(|| drop(ours.union([a.clone(), b.clone()])))),
        (
            "transform",
            Box::new(|| drop(ours.transform([a.clone(), b.clone()], |r, _| r[0].clone()))),
        ),
        ("transform_with", Box::new(|| drop(a.transform_with(&b, |x, _, _| x)))),
        ("join", Box::new(|| drop(a.join(&b)))),
        ("left_outer_join", Box::new(|| drop(a.left_outer_join(&b)))),
        ("right_outer_join", Box::new(|| drop(a.right_outer_join_into(&b, 2)))),
        ("full_outer_join", Box::new(|| drop(a.full_outer_join(&b)))),
        ("cogroup", Box::new(|| drop(a.cogroup_into(&b, 3)))),
    ];
    for (op, mix) in mixed {
        let text = refused(mix);
        assert_eq!(text, format!("`{op}` needs streams of one context; these belong to two"));
    }
}

#[test]
fn transform_of_no_stream_is_an_error() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let none: [Pairs; 0] = [];
    let e = ssc.transform(none, |rdds, _| rdds[0].clone()).unwrap_err();
    assert_eq!(e.to_string(), "`transform` needs at least one stream");
}

struct Nowhere;

impl Partitioner<i64> for Nowhere {
    fn partitions(&self) -> usize {
        0
    }
    fn partition(&self, _: &i64) -> usize {
        0
    }
    fn name(&self) -> String {
        "nowhere".into()
    }
}

#[test]
fn a_partitioner_without_partitions_is_refused_with_its_name() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let s: Pairs = ssc.queue_stream().1;
    let tries: Vec<(&str, Box<dyn Fn()>)> = vec![
        ("reduce_by_key", Box::new(|| drop(s.reduce_by_key_with(|a, _| a, Nowhere)))),
        (
            "combine_by_key",
            Box::new(|| drop(s.combine_by_key_with(|v| v, |c, _| c, |a, _| a, Nowhere))),
        ),
        ("group_by_key", Box::new(|| drop(s.group_by_key_with(Nowhere)))),
        ("partition_by", Box::new(|| drop(s.partition_by(Nowhere)))),
        ("join", Box::new(|| drop(s.join_with(&s, Nowhere)))),
        ("left_outer_join", Box::new(|| drop(s.left_outer_join_with(&s, Nowhere)))),
        ("right_outer_join", Box::new(|| drop(s.right_outer_join_with(&s, Nowhere)))),
        ("full_outer_join", Box::new(|| drop(s.full_outer_join_with(&s, Nowhere)))),
        ("cogroup", Box::new(|| drop(s.cogroup_with(&s, Nowhere)))),
    ];
    for (op, make) in tries {
        let text = refused(make);
        assert!(text.starts_with(&format!("`{op}` ({}:", file!())), "{text}");
        assert!(text.ends_with("partitioner `nowhere` has no partitions"), "{text}");
    }
}

#[test]
fn operators_of_every_kind_are_refused_after_the_start() {
    let mut d = Driver::new(|ssc| {
        let (_, s) = ssc.queue_stream::<(i64, i64)>();
        let table = ssc.context().parallelize([1], 1);
        s.print_to(1, |_| {});
        Ok((s, table))
    })
    .unwrap();
    d.start().unwrap();
    let ((s, table), ssc) = (d.input(), d.context());
    let additions: Vec<(&str, Box<dyn Fn()>)> = vec![
        ("join", Box::new(|| drop(s.join_into(s, 2)))),
        ("cogroup", Box::new(|| drop(s.cogroup(s)))),
        ("group_by_key", Box::new(|| drop(s.group_by_key_into(2)))),
        ("partition_by_key", Box::new(|| drop(s.partition_by_key(2)))),
        ("transform_with_data", Box::new(|| drop(s.transform_with_data(|_| 1, |_, r| r)))),
        ("transform", Box::new(|| drop(ssc.transform([s.clone()], |r, _| r[0].clone())))),
        ("constant_stream", Box::new(|| drop(ssc.constant_stream(table)))),
        ("foreach_async", Box::new(|| drop(s.foreach_async(1, |_, _| async {})))),
        ("foreach_partition_async", Box::new(|| drop(s.foreach_partition_async(|_, _| async {})))),
    ];
    for (op, add) in additions {
        let text = refused(add);
        assert!(text.starts_with(&format!("`{op}` ({}:", file!())), "{text}");
        assert!(text.contains("build the whole graph first"), "{text}");
    }
    d.batch().unwrap();
}

#[test]
fn a_constant_stream_takes_no_rdd_of_another_context_or_of_a_batch() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let other = Context::new(conf()).unwrap();
    let text = refused(|| drop(ssc.constant_stream(&other.parallelize([1], 1))));
    assert!(text.contains("make both with one `Context`"), "{text}");

    let told = Arc::new(Mutex::new(String::new()));
    let t = told.clone();
    let mut d = Driver::new(|ssc| {
        let ctx = ssc.context().clone();
        ssc.queue_stream::<i64>().1.foreach_rdd(move |rdd, _| {
            let late = StreamingContext::with_context(&ctx, seconds(1)).unwrap();
            *t.lock().unwrap() = refused(|| drop(late.constant_stream(&rdd)));
        });
        Ok(())
    })
    .unwrap();
    d.batch().unwrap();
    let text = told.lock().unwrap().clone();
    assert!(
        text.contains("belongs to a batch of a stream") && text.contains("`parallelize`"),
        "{text}"
    );
}

// ---- no RDD is not an empty RDD ----

/// Numbers in odd batches; nothing in even ones.
struct Odd(u64);

impl brooklet::Input for Odd {
    type Item = (i64, i64);
    type Slice = u64;
    type Pipe = Partitions<(i64, i64)>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<u64>, BoxError> {
        self.0 += 1;
        Ok((self.0 % 2 == 1).then_some(self.0))
    }
    fn read(&self, slice: &Arc<u64>) -> Result<Partitions<(i64, i64)>, BoxError> {
        let x = **slice as i64;
        Ok(Partitions::from_fn(1, move |_| [(x, x)]))
    }
}

#[test]
fn a_stream_without_an_rdd_fails_what_needs_one_with_operator_stream_and_batch() {
    type Make = fn(&StreamingContext, &Pairs, &Pairs) -> DStream<i64>;
    let operators: [(&str, Make); 11] = [
        ("union", |_, odd, all| all.union(odd).map(|x| x.0).boxed()),
        ("union", |ssc, odd, all| {
            ssc.union([all.clone(), odd.clone()]).unwrap().map(|x| x.0).boxed()
        }),
        ("join", |_, odd, all| all.join(odd).map(|x| x.0).boxed()),
        ("left_outer_join", |_, odd, all| all.left_outer_join_into(odd, 2).map(|x| x.0).boxed()),
        ("right_outer_join", |_, odd, all| all.right_outer_join(odd).map(|x| x.0).boxed()),
        ("full_outer_join", |_, odd, all| all.full_outer_join(odd).map(|x| x.0).boxed()),
        ("cogroup", |_, odd, all| all.cogroup(odd).map(|x| x.0).boxed()),
        ("transform", |_, odd, _| odd.transform(|r| r.map(|x| x.0))),
        ("transform", |ssc, odd, all| {
            let union = |rdds: Vec<Rdd<(i64, i64)>>, _| rdds[0].union(&rdds[1]).map(|x| x.0);
            ssc.transform([all.clone(), odd.clone()], union).unwrap()
        }),
        ("transform_with", |_, odd, all| {
            all.transform_with(odd, |a, b, _| a.union(&b).map(|x| x.0))
        }),
        ("transform_with_data", |_, odd, _| {
            odd.transform_with_data(|t| t.millis(), |_, r| r.map(|x| x.0))
        }),
    ];
    for engine in ENGINES {
        for (op, make) in operators {
            let mut d = Driver::with(engine, conf(), |ssc| {
                let odd = ssc.input_stream(Odd(0)).name("odd ones");
                let (_, all) = ssc.queue_stream::<(i64, i64)>();
                make(ssc, &odd, &all).print_to(1, |_| {});
                Ok(())
            })
            .unwrap();
            d.batch().unwrap();
            let e = d.batch().unwrap_err();
            let Error::NoRdd { site, parent, time } = e.root() else { panic!("{op}: {e:?}") };
            assert_eq!((site.op, &**parent, time.millis()), (op, "input_stream[odd ones]", 2_000));
            let text = e.to_string();
            for part in [op, "`input_stream[odd ones]` has none at batch 2000 ms"] {
                assert!(text.contains(part), "{op}: {text}");
            }
        }
    }
}

#[test]
fn operators_on_one_stream_pass_on_that_there_is_no_rdd() {
    for engine in ENGINES {
        let called = Arc::new(Mutex::new(Vec::new()));
        let mut d = Driver::with(engine, conf(), |ssc| {
            let odd = ssc.input_stream(Odd(0));
            let note = |name: &'static str, s: DStream<i64>| {
                let called = called.clone();
                s.foreach_rdd(move |_, t| called.lock().unwrap().push((name, t.millis())));
            };
            note("count", odd.count().map(|n| n as i64).boxed());
            note(
                "combine",
                odd.combine_by_key_into(|v| v, |c, _| c, |a, _| a, 2).map(|x| x.0).boxed(),
            );
            note("group", odd.group_by_key_into(2).map(|x| x.0).boxed());
            note("partition", odd.partition_by_key(2).map(|x| x.0).boxed());
            Ok(())
        })
        .unwrap();
        d.batches(3).unwrap();
        let names = ["count", "combine", "group", "partition"];
        let want: Vec<_> = [1_000, 3_000].into_iter().flat_map(|t| names.map(|n| (n, t))).collect();
        assert_eq!(*called.lock().unwrap(), want, "{engine:?}");
    }
}

// ---- partitions ----

/// The key's rest by 3, in four partitions.
struct Rest;

impl Partitioner<i64> for Rest {
    fn partitions(&self) -> usize {
        4
    }
    fn partition(&self, key: &i64) -> usize {
        key.rem_euclid(3) as usize
    }
    fn name(&self) -> String {
        "rest".into()
    }
}

/// Keys with the partition they are in, and how many partitions there are.
fn places<V: brooklet::Data>(s: &DStream<(i64, V)>) -> DStream<(i64, i64)> {
    let placed = s.map_partitions_with_index(|i, kv| {
        let mut all: Vec<(i64, i64)> = kv.map(|(k, _)| (k, i as i64)).collect();
        all.push((-1, i as i64));
        all
    });
    placed.boxed()
}

#[test]
fn a_users_partitioner_and_a_number_of_partitions_decide_for_every_shuffle() {
    let input = || [(0..20).map(|k| (k, k)).collect::<Vec<(i64, i64)>>()];
    let mut want: Vec<(i64, i64)> = (0..20).map(|k| (k, k % 3)).collect();
    want.extend((0..4).map(|i| (-1, i)));
    let want = [sorted(want)];
    type Make = fn(&Pairs) -> DStream<(i64, i64)>;
    let with: [Make; 9] = [
        |s| places(&s.reduce_by_key_with(|a, _| a, Rest)),
        |s| places(&s.combine_by_key_with(|v| v, |c, _| c, |a, _| a, Rest)),
        |s| places(&s.group_by_key_with(Rest)),
        |s| places(&s.partition_by(Rest)),
        |s| places(&s.join_with(s, Rest)),
        |s| places(&s.left_outer_join_with(s, Rest)),
        |s| places(&s.right_outer_join_with(s, Rest)),
        |s| places(&s.full_outer_join_with(s, Rest)),
        |s| places(&s.cogroup_with(s, Rest)),
    ];
    for make in with {
        assert_eq!(run_sorted(input(), make), want);
    }
    let into: [Make; 9] = [
        |s| places(&s.reduce_by_key_into(|a, _| a, 5)),
        |s| places(&s.combine_by_key_into(|v| v, |c, _| c, |a, _| a, 5)),
        |s| places(&s.group_by_key_into(5)),
        |s| places(&s.partition_by_key(5)),
        |s| places(&s.join_into(s, 5)),
        |s| places(&s.left_outer_join_into(s, 5)),
        |s| places(&s.right_outer_join_into(s, 5)),
        |s| places(&s.full_outer_join_into(s, 5)),
        |s| places(&s.cogroup_into(s, 5)),
    ];
    // One partition function everywhere: all of them agree where a key is.
    let first = run_sorted(input(), into[0]);
    let partitions = first[0].iter().filter(|(k, _)| *k == -1).count();
    assert_eq!((partitions, first[0].len()), (5, 25));
    for make in into {
        assert_eq!(run_sorted(input(), make), first);
    }
}

// ---- transform_with_data ----

#[test]
fn data_is_made_once_a_batch_on_the_driver_and_is_the_same_for_every_attempt() {
    for engine in ENGINES {
        let (made, seen) = (Arc::new(AtomicU32::new(0)), Collector::new());
        let failures = Arc::new(AtomicU32::new(0));
        let conf = conf().failure_policy(FailurePolicy::stop().retries(3));
        let mut d = driver::<i64>(engine, conf, |_, s| {
            let (made, seen, failures) = (made.clone(), seen.clone(), failures.clone());
            // Whoever makes it gets another number: two callers would be seen.
            let tagged = s.transform_with_data(
                move |t| (t.millis(), made.fetch_add(1, SeqCst)),
                |data: Broadcast<(u64, u32)>, rdd| {
                    let n = rdd.count()?;
                    Ok::<_, Error>(rdd.map(move |x| (x, data.0, data.1, n)))
                },
            );
            let again = tagged.map(|x| x).boxed();
            tagged.foreach_rdd(move |rdd, t| {
                let failed = failures.fetch_add(1, SeqCst) % 3 != 2;
                if failed {
                    Err("not yet".into())
                } else {
                    seen.take(rdd, t).map_err(BoxError::from)
                }
            });
            again.count().print_to(1, |_| {});
        });
        d.input().push([5, 6]);
        d.input().push([7]);
        d.batches(2).unwrap();
        let want = [vec![(5, 1_000, 0, 2), (6, 1_000, 0, 2)], vec![(7, 2_000, 1, 1)]];
        assert_eq!(seen.batches().into_iter().map(sorted).collect::<Vec<_>>(), want, "{engine:?}");
        assert_eq!(made.load(SeqCst), 2, "{engine:?}");
    }
}

#[test]
fn a_step_that_is_tried_again_by_the_next_batch_has_its_own_data_and_a_panic_is_named() {
    for engine in ENGINES {
        let seen = Collector::new();
        let conf = conf().failure_policy(FailurePolicy::skip());
        let at = line!() + 3;
        let mut d = driver::<i64>(engine, conf, |_, s| {
            let seen = seen.clone();
            let checked = s.transform_with_data(
                |t| {
                    if t.millis() == 2_000 {
                        panic!("no table (this panic belongs to the test)")
                    } else {
                        t.millis()
                    }
                },
                |data, rdd| rdd.map(move |x| x + *data as i64),
            );
            checked.foreach_rdd(move |r, t| seen.take(r, t));
        });
        let failed = Arc::new(Mutex::new(Vec::new()));
        let f = failed.clone();
        d.context().add_listener(brooklet::scheduler::listener::batch_completed(move |b| {
            let why = b.output_operation_infos.values().find_map(|o| o.failure_reason.clone());
            f.lock().unwrap().push(why);
        }));
        (1..=3).for_each(|x| d.input().push([x]));
        d.batches(3).unwrap();
        d.context().stop(true).unwrap();
        assert_eq!(seen.batches(), [[1_001], [3_003]], "{engine:?}");
        let failed = failed.lock().unwrap();
        let why = failed[1].as_ref().unwrap();
        assert!(failed[0].is_none() && failed[2].is_none(), "{failed:?}");
        assert!(why.contains(&format!("`transform_with_data` ({}:{at}:", file!())), "{why}");
        assert!(why.contains("no table"), "{why}");
    }
}

// ---- constant streams ----

#[test]
fn a_constant_stream_is_the_same_in_every_batch_and_its_shuffle_runs_once() {
    for engine in ENGINES {
        let seen = Collector::new();
        let mut d = driver::<(i64, i64)>(engine, conf(), |ssc, s| {
            let table = ssc.context().parallelize((0..10i64).map(|x| (x % 4, x)), 3);
            let sums = table.reduce_by_key(|a, b| a + b);
            let seen = seen.clone();
            s.join(&ssc.constant_stream(&sums)).foreach_rdd(move |r, t| seen.take(r, t));
        });
        let mut work = Vec::new();
        for batch in [vec![(1, 10)], vec![], vec![(1, 20), (3, 30)]] {
            d.input().push(batch);
            let before = d.work_done().1;
            d.batch().unwrap();
            work.push(d.work_done().1 - before);
        }
        let want = [vec![(1, (10, 15))], vec![], vec![(1, (20, 15)), (3, (30, 10))]];
        assert_eq!(seen.batches().into_iter().map(sorted).collect::<Vec<_>>(), want, "{engine:?}");
        // The two sides of the join and the action; in the first batch the table's own shuffle too.
        assert_eq!(work, [4, 3, 3], "{engine:?}");
    }
}

// ---- slice and compute ----

/// A driver that remembers, with a stream of sums by key and one of its typed chains.
fn remembering(d: std::time::Duration) -> Driver<(brooklet::Queue<i64>, Pairs)> {
    Driver::new(|ssc| {
        ssc.remember(d)?;
        let (queue, s) = ssc.queue_stream::<i64>();
        let sums = s.map(|x| (x % 2, x)).reduce_by_key(|a, b| a + b);
        sums.print_to(0, |_| {});
        Ok((queue, sums))
    })
    .unwrap()
}

fn records(rdds: Vec<Rdd<(i64, i64)>>) -> Vec<Vec<(i64, i64)>> {
    rdds.iter().map(|r| sorted(r.collect().unwrap())).collect()
}

#[test]
fn slice_has_both_ends_floored_to_the_grid_from_the_zero_time() {
    let mut d = remembering(seconds(100));
    (1..=5).for_each(|x| d.input().0.push([x, x + 1]));
    d.batches(5).unwrap();
    let sums = &d.input().1;
    let batch = |x: i64| sorted(vec![(x % 2, x), ((x + 1) % 2, x + 1)]);
    let of = |from, to| records(sums.slice(time(from), time(to)).unwrap());
    assert_eq!(of(2_000, 4_000), [batch(2), batch(3), batch(4)]);
    assert_eq!(of(2_999, 4_999), [batch(2), batch(3), batch(4)], "floored");
    assert_eq!(of(0, 1_999), [batch(1)], "the zero time is no batch");
    assert_eq!(of(0, 999), Vec::<Vec<_>>::new());
    assert_eq!(of(5_000, 3_000), Vec::<Vec<_>>::new(), "nothing lies between");
    let interval = Interval::new(time(4_000), time(5_000));
    assert_eq!(records(sums.slice_interval(interval).unwrap()), [batch(4), batch(5)]);
    let one = |t| sums.compute(time(t)).unwrap().map(|r| sorted(r.collect().unwrap()));
    assert_eq!(one(3_000), Some(batch(3)));
    assert_eq!((one(3_001), one(0)), (None, None), "no batch times");
    // A typed chain has them too, and actions on two of them don't mix up.
    let doubled = sums.map(|(k, v)| (k, v * 2)).slice(time(1_000), time(2_000)).unwrap();
    assert_eq!(doubled[0].count().unwrap(), 2);
    let both = doubled[0].union(&doubled[1]).reduce_by_key(|a, b| a + b);
    assert_eq!(sorted(both.collect().unwrap()), [(0, 8), (1, 8)]);
    assert_eq!(records(doubled), [vec![(0, 4), (1, 2)], vec![(0, 4), (1, 6)]]);
}

#[test]
fn slice_names_batches_that_are_not_there_yet_or_no_more() {
    let mut d = remembering(seconds(2));
    let (queue, sums) = d.input().clone();
    let text = |from, to| sums.slice(time(from), time(to)).unwrap_err().to_string();
    let before = text(0, 1_000);
    assert_eq!(before, "`slice` on a context that is not started: batches begin with `start()`");
    (1..=5).for_each(|x| queue.push([x]));
    d.batches(5).unwrap();
    let early = text(5_000, 6_000);
    assert!(early.contains("batch 6000 ms isn't there yet (the newest is 5000 ms)"), "{early}");
    assert!(early.starts_with(&format!("`slice` ({}:", file!())), "{early}");
    let late = text(3_000, 5_000);
    assert!(late.contains("batch 3000 ms is forgotten") && late.contains("remember"), "{late}");
    let held = sums.slice(time(4_000), time(5_000)).unwrap();
    d.context().stop(true).unwrap();
    let over = sums.slice(time(4_000), time(5_000)).unwrap_err().to_string();
    assert!(over.starts_with("`slice` on a context that is stopped"), "{over}");
    assert_eq!(records(held), [vec![(0, 4)], vec![(1, 5)]], "what is held is kept");
}

#[test]
fn slice_inside_an_output_sees_its_own_batch_and_leaves_out_times_without_an_rdd() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let s = seen.clone();
    let mut d = Driver::new(|ssc| {
        ssc.remember(seconds(10))?;
        let odd = ssc.input_stream(Odd(0));
        // A step: its RDDs are there when the outputs run, not before.
        let same = odd.map_partitions(|x| x).boxed();
        let stepped = ssc.queue_stream::<i64>().1.transform_at(|r, t| r.map(move |x| (x, t)));
        same.count().foreach_rdd({
            let (same, stepped) = (same.clone(), stepped.clone());
            move |_, t| {
                let all = same.slice(time(0), t)?;
                assert_eq!(stepped.slice(time(0), t)?.len() as u64, t.millis() / 1_000);
                let batches = all.iter().map(Rdd::collect).collect::<Result<Vec<_>, _>>()?;
                s.lock().unwrap().push((t.millis(), batches.concat()));
                Ok::<_, Error>(())
            }
        });
        Ok(())
    })
    .unwrap();
    d.batches(3).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(1_000, vec![(1, 1)]), (3_000, vec![(1, 1), (3, 3)])]);
}

#[test]
fn slice_leaves_out_batches_that_failed_before_their_outputs() {
    let mut d = Driver::local(conf().failure_policy(FailurePolicy::skip()), |ssc| {
        ssc.remember(seconds(10))?;
        let (queue, s) = ssc.queue_stream::<i64>();
        let picky = s.transform_at(|r, t| if t.millis() == 2_000 { Err("no") } else { Ok(r) });
        picky.print_to(0, |_| {});
        Ok((queue, s, picky))
    })
    .unwrap();
    (1..=3).for_each(|x| d.input().0.push([x]));
    d.batches(3).unwrap();
    let (_, s, picky) = d.input();
    for stream in [s, picky] {
        let rdds = stream.slice(time(0), time(3_000)).unwrap();
        let all: Vec<_> = rdds.iter().map(|r| r.collect().unwrap()).collect();
        assert_eq!(all, [[1], [3]]);
    }
}

#[test]
fn slice_is_refused_where_tasks_run_in_other_processes() {
    let told = Arc::new(Mutex::new(String::new()));
    let t = told.clone();
    let mut d = Driver::with(TestEngine::Loopback, conf(), |ssc| {
        let (_, s) = ssc.queue_stream::<i64>();
        let (own, t) = (s.clone(), t.clone());
        s.foreach_rdd(move |_, time| {
            let e = own.slice(time, time).map(drop).unwrap_err();
            assert!(matches!(e, Error::NotShippable(_)), "{e:?}");
            *t.lock().unwrap() = e.to_string();
        });
        Ok(())
    })
    .unwrap();
    d.batch().unwrap();
    let text = told.lock().unwrap().clone();
    assert!(text.contains("`slice`") && text.contains("`transform` of the stream"), "{text}");
}

// ---- outputs that are futures ----

#[test]
fn every_record_is_sent_once_with_no_more_in_flight_than_asked() {
    for engine in ENGINES {
        for limit in [1usize, 3, 100] {
            let seen = Collector::new();
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            // One task at a time, so that what is in flight is one task's.
            let conf = conf().master("local[1]");
            let mut d = driver::<i64>(engine, conf, |_, s| {
                let (seen, now, most) = (seen.clone(), now.clone(), most.clone());
                s.foreach_async(limit, move |x, t| {
                    let (seen, now, most) = (seen.clone(), now.clone(), most.clone());
                    async move {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        for _ in 0..x % 4 + 1 {
                            tokio::task::yield_now().await;
                        }
                        tokio::time::sleep(std::time::Duration::ZERO).await;
                        seen.add(t, [x]);
                        now.fetch_sub(1, SeqCst);
                        Ok::<_, std::io::Error>(())
                    }
                });
            });
            d.input().push_partitions([(0..30).collect(), vec![], (30..50).collect()]);
            d.input().push_partitions([]);
            d.batches(2).unwrap();
            assert_eq!(seen.sorted(), (0..50).collect::<Vec<_>>(), "{engine:?}, {limit}");
            assert_eq!(most.load(SeqCst), limit.min(30), "{engine:?}, {limit}");
            assert_eq!(now.load(SeqCst), 0);
        }
    }
}

#[test]
fn partitions_are_handed_to_futures_whole_also_empty_ones() {
    for engine in ENGINES {
        let seen = Collector::new();
        let mut d = driver::<i64>(engine, conf(), |ssc, s| {
            let (seen, sum) = (seen.clone(), ssc.context().long_accumulator("sum"));
            s.foreach_partition_async(move |records, t| {
                let (seen, sum) = (seen.clone(), sum.clone());
                async move {
                    tokio::task::yield_now().await;
                    let all: Vec<i64> = records.collect();
                    // Futures run in the task, so they count as the task does.
                    all.iter().for_each(|x| sum.add(*x));
                    seen.add(t, [all]);
                }
            });
        });
        d.input().push_partitions([vec![1, 2], vec![], vec![3]]);
        d.batch().unwrap();
        assert_eq!(seen.sorted(), [vec![], vec![1, 2], vec![3]], "{engine:?}");
    }
}

#[test]
fn errors_and_panics_of_futures_fail_the_task_under_the_operators_name() {
    for engine in ENGINES {
        for panics in [false, true] {
            let tried = Arc::new(AtomicU32::new(0));
            let at = line!() + 3;
            let mut d = driver::<i64>(engine, conf().task_max_failures(2), |_, s| {
                let tried = tried.clone();
                s.foreach_async(4, move |x, _| {
                    let tried = tried.clone();
                    async move {
                        tokio::task::yield_now().await;
                        if x == 3 {
                            tried.fetch_add(1, SeqCst);
                            assert!(!panics, "refused by panic (it belongs to the test)");
                            return Err("refused by error");
                        }
                        Ok(())
                    }
                });
            });
            d.input().push(1..=4);
            let e = d.batch().unwrap_err();
            let text = e.to_string();
            assert!(e.is_user_code(), "{e:?}");
            assert!(text.contains(&format!("`foreach_async` ({}:{at}:", file!())), "{text}");
            assert!(
                text.contains(if panics { "refused by panic" } else { "refused by error" }),
                "{text}"
            );
            assert!(text.contains("partition 1") && text.contains("2 times"), "{text}");
            assert_eq!(tried.load(SeqCst), 2, "{engine:?}");
        }
    }
    // The closure itself may panic before there is a future.
    let mut d = driver::<i64>(TestEngine::Local, conf(), |_, s| {
        s.foreach_partition_async(|records, _| {
            assert!(records.len() < 2, "too many (this panic belongs to the test)");
            async {}
        });
    });
    d.input().push(1..=4);
    let text = d.batch().unwrap_err().to_string();
    assert!(text.contains("`foreach_partition_async`") && text.contains("too many"), "{text}");
}

/// Tells when it is dropped.
struct Dropped(mpsc::Sender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[test]
fn a_future_that_never_ends_is_dropped_when_its_job_is_cancelled() {
    let (tx, rx) = mpsc::channel();
    let mut d = Driver::new(|ssc| {
        let (queue, s) = ssc.queue_stream::<i64>();
        s.foreach_async(2, move |_, _| {
            let tx = tx.clone();
            async move {
                let _flag = Dropped(tx.clone());
                let _ = tx.send("waits");
                std::future::pending::<()>().await;
            }
        });
        Ok(queue)
    })
    .unwrap();
    d.input().push_partitions([vec![1]]);
    d.start().unwrap();
    d.clock().advance(seconds(1));
    assert_eq!(rx.recv_timeout(HANG), Ok("waits"));
    d.context().stop(false).unwrap();
    assert_eq!(rx.recv_timeout(HANG), Ok("dropped"));
}

#[test]
fn futures_may_use_sockets_timers_and_tasks_of_the_runtime() {
    let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = server.local_addr().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut all, mut got) = (Vec::new(), 0);
        while got < 3 {
            let (mut client, _) = server.accept().unwrap();
            std::io::Read::read_to_end(&mut client, &mut all).unwrap();
            got += 1;
        }
        sorted(all)
    });
    let mut d = driver::<u8>(TestEngine::Local, conf(), |_, s| {
        s.foreach_async(3, move |x, _| async move {
            use tokio::io::AsyncWriteExt;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let x = tokio::spawn(async move { x + 1 }).await.map_err(std::io::Error::other)?;
            let mut server = tokio::net::TcpStream::connect(address).await?;
            server.write_all(&[x]).await
        });
    });
    d.input().push([1, 2, 3]);
    d.batch().unwrap();
    assert_eq!(reader.join().unwrap(), [2, 3, 4]);
}

// ---- inputs ----

#[test]
fn inputs_are_numbered_by_creation_and_called_by_their_names() {
    let d = Driver::new(|ssc| {
        let (queue, clicks) = ssc.queue_stream::<i64>();
        let _constant = ssc.constant_stream(&ssc.context().parallelize([1], 1));
        let odd = ssc.input_stream(Odd(0));
        let (_, more) = ssc.queue_stream::<i64>();
        clicks.name("clicks").print_to(0, |_| {});
        odd.print_to(0, |_| {});
        more.print_to(0, |_| {});
        Ok(queue)
    });
    let mut d = d.unwrap();
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let c = counts.clone();
    d.context().add_listener(brooklet::scheduler::listener::batch_completed(move |b| {
        let infos = &b.stream_id_to_input_info;
        *c.lock().unwrap() = infos.iter().map(|(id, i)| (*id, i.num_records)).collect();
    }));
    assert_eq!(d.context().inputs(), ["clicks", "input_stream", "queue_stream#1"]);
    d.input().push([1, 2, 3]);
    d.batch().unwrap();
    d.context().stop(true).unwrap();
    // A constant stream is no input.
    let counts = counts.lock().unwrap();
    assert_eq!(counts.iter().collect::<Vec<_>>(), [(&0, &3), (&1, &0), (&2, &0)]);
}
