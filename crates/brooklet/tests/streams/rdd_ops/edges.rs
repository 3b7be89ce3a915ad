//! What operators refuse, and whom failures are blamed on.

use std::collections::HashMap;

use brooklet::testing::{TestEngine, faults::work_done};
use brooklet::{Error, Rdd, Result};

use super::super::{conf, sorted};
use super::{answer, context, errors, records, records_on};

fn numbers(n: i64, parts: usize) -> Vec<Vec<i64>> {
    (0..parts as i64).map(|p| (0..n).filter(|x| x % parts as i64 == p).collect()).collect()
}

#[test]
fn zip_of_other_sizes_says_which() {
    let parts = numbers(10, 2);
    for e in errors(&parts, |r| r.zip(&r.filter(|x| *x != 4))) {
        assert!(e.contains("`zip` (") && e.contains("edges.rs"), "{e}");
        assert!(e.contains("5 records on the left and 4 on the right"), "{e}");
    }
    for e in errors(&parts, |r| r.zip(&r.coalesce(1))) {
        assert!(e.contains("they have 2 and 1"), "{e}");
    }
    for e in errors(&parts, |r| r.zip_partitions(&r.coalesce(1), |a, _| a)) {
        assert!(e.contains("`zip_partitions`") && e.contains("they have 2 and 1"), "{e}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for parts in [vec![], vec![vec![], vec![]]] {
        let none = answer::<i64, _>(&parts, |r| {
            Ok((r.reduce(|a, b| a + b)?, r.tree_reduce(|a, b| a + b, 2)?, r.max()?, r.min()?))
        });
        assert_eq!(none, (None, None, None, None));
        let zero = answer::<i64, _>(&parts, |r| {
            let n = r.count_approx_distinct(0.05)?;
            Ok((r.count()?, r.sum()?, r.mean()?, r.is_empty()?, n, r.take(3)?))
        });
        assert_eq!(zero, (0, 0.0, 0.0, true, 0, vec![]));
        assert!(answer::<i64, _>(&parts, |r| Ok(r.variance()?.is_nan())));
        assert_eq!(
            answer::<i64, _>(&parts, |r| r.fold(7, |a, b| a + b)),
            7 * (parts.len() as i64 + 1)
        );
        for e in errors::<i64, _>(&parts, |r| Ok(r.context().parallelize([r.first()?], 1))) {
            assert!(e.contains("`first` of an empty RDD"), "{e}");
        }
        for e in
            errors::<i64, _>(&parts, |r| Ok(r.context().parallelize([r.histogram_even(3)?.1], 1)))
        {
            assert!(e.contains("must have records"), "{e}");
        }
    }
}

#[test]
fn arguments_that_cannot_be_are_refused_with_what_can() {
    let r = context().parallelize(0..10i64, 2);
    let pairs = r.key_by(|x| x % 2);
    let text = |e: Error| e.to_string();
    for f in [-0.1, 1.1, f64::NAN] {
        assert!(text(r.sample(false, f, 1).unwrap_err()).contains("between 0 and 1"));
        assert!(
            text(pairs.sample_by_key(false, [(0, f)], 1).unwrap_err()).contains("between 0 and 1")
        );
    }
    assert!(text(r.sample(true, -1.0, 1).unwrap_err()).contains("0 or more"));
    assert!(r.sample(true, 3.0, 1).unwrap().count().unwrap() > 10);
    for w in [vec![], vec![0.0], vec![1.0, -1.0], vec![f64::NAN, 1.0]] {
        assert!(text(r.random_split(&w, 1).unwrap_err()).contains("weights must be"), "{w:?}");
    }
    for b in [vec![], vec![1.0], vec![2.0, 1.0], vec![1.0, 1.0], vec![0.0, f64::NAN]] {
        assert!(text(r.histogram(&b).unwrap_err()).contains("bounds must be"), "{b:?}");
    }
    assert!(text(r.histogram_even(0).unwrap_err()).contains("at least one bucket"));
    let odd = r.map(|x| if x == 3 { f64::NAN } else { 1.0 });
    assert!(text(odd.histogram_even(2).unwrap_err()).contains("infinite or NaN"));
    assert!(text(r.count_approx_distinct(0.0).unwrap_err()).contains("between 0.0011 and 0.26"));
    assert!(text(r.tree_reduce(|a, _| a, 0).unwrap_err()).contains("depth of 0"));
}

#[test]
fn histogram_of_equal_numbers_is_one_bucket() {
    let r = context().parallelize([4i64; 7], 3);
    assert_eq!(r.histogram_even(5).unwrap(), (vec![4.0, 4.0], vec![7]));
    let (bounds, counts) = context().parallelize(0..=10i64, 3).histogram_even(5).unwrap();
    assert_eq!((bounds, counts), (vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0], vec![2, 2, 2, 2, 3]));
}

#[test]
fn panics_name_the_operator_and_its_call() {
    type Program = fn(Rdd<i64>) -> Result<Rdd<String>>;
    fn bad(x: i64) -> i64 {
        assert!(x != 13, "thirteen");
        x
    }
    let programs: Vec<(&str, Program)> = vec![
        ("key_by", |r| Ok(r.key_by(|x| bad(*x)).map(|x| format!("{x:?}")).boxed())),
        ("group_by", |r| Ok(r.group_by(|x| bad(*x)).map(|x| format!("{x:?}")).boxed())),
        ("filter_map", |r| Ok(r.filter_map(|x| Some(bad(x).to_string())).boxed())),
        ("map_values", |r| Ok(r.map(|x| (x, x)).map_values(bad).map(|x| format!("{x:?}")).boxed())),
        ("zip_partitions", |r| r.zip_partitions(&r, |a, _| a.map(|x| bad(x).to_string()))),
        ("fold_by_key", |r| {
            let sums = r.map(|x| (x % 2, x)).fold_by_key(0, |a, b| a + bad(b));
            Ok(sums.map(|x| format!("{x:?}")).boxed())
        }),
        ("tree_aggregate", |r| {
            let sum = r.tree_aggregate(0, |a, x| a + bad(x), |a, b| a + b, 2)?;
            Ok(r.context().parallelize([sum.to_string()], 1))
        }),
        ("reduce_by_key_locally", |r| {
            let n = r.map(|x| (x % 2, x)).reduce_by_key_locally(|a, b| a + bad(b))?.len();
            Ok(r.context().parallelize([n.to_string()], 1))
        }),
        ("foreach_async", |r| {
            r.foreach_async(|x| assert_eq!(bad(x), x)).wait()?;
            Ok(r.map(|x| x.to_string()).boxed())
        }),
    ];
    for (name, program) in programs {
        for e in errors(&numbers(40, 3), program) {
            assert!(e.contains(&format!("`{name}` (")), "{name}: {e}");
            assert!(e.contains("edges.rs") && e.contains("thirteen"), "{name}: {e}");
        }
    }
}

#[test]
fn an_error_of_an_asynchronous_closure_names_it() {
    let r = context().parallelize(0..10i64, 3);
    let one = |x| if x == 7 { Err(format!("no {x}")) } else { Ok(()) };
    let e = r.foreach_async(one).wait().unwrap_err().to_string();
    assert!(e.contains("`foreach_async` (") && e.contains("no 7"), "{e}");
    let none = |it: brooklet::PartitionIter<i64>| Err::<(), _>(format!("{} of them", it.len()));
    let e = r.foreach_partition_async(none).wait().unwrap_err().to_string();
    assert!(e.contains("`foreach_partition_async` (") && e.contains("of them"), "{e}");
}

#[test]
fn zip_with_index_counts_all_partitions_but_the_last() {
    let ctx = context();
    let jobs = |parts| {
        let r = ctx.parallelize(0..10, parts).map(|x| x);
        let before = work_done(&ctx);
        drop(r.zip_with_index().unwrap());
        let after = work_done(&ctx);
        (after.0 - before.0, after.2 - before.2)
    };
    assert_eq!((jobs(1), jobs(4)), ((0, 0), (1, 3)));
}

#[test]
fn plain_rdds_with_stages_are_refused_where_tasks_run_elsewhere() {
    let plain = |r: Rdd<i64>| {
        let other = r.context().parallelize([(1i64, 2i64)], 1).reduce_by_key(|a, b| a + b);
        Ok(r.map(|x| (x, x)).join(&other))
    };
    let out = records_on(TestEngine::Local, conf(), &numbers(3, 1), plain).unwrap();
    assert_eq!(out, [(1, (1, 2))]);
    let e = records_on(TestEngine::Loopback, conf(), &numbers(3, 1), plain).unwrap_err();
    assert!(e.to_string().contains("an RDD that belongs to no stream"), "{e}");
}

#[test]
fn samples_are_fair_and_the_same_on_both_engines() {
    let parts = numbers(20_000, 4);
    let drawn = records(&parts, |r| Ok(r.sample(false, 0.2, 11)?.boxed()));
    assert!((3_700..4_300).contains(&drawn.len()), "{}", drawn.len());
    // Each partition and each range of it gives its part.
    for from in (0..20_000).step_by(4_000) {
        let n = drawn.iter().filter(|x| (from..from + 4_000).contains(*x)).count();
        assert!((650..950).contains(&n), "{n} from {from}");
    }
    let often = records(&parts, |r| Ok(r.sample(true, 2.0, 11)?.boxed()));
    assert!((39_000..41_000).contains(&often.len()), "{}", often.len());
    let mut times: HashMap<i64, usize> = HashMap::new();
    often.iter().for_each(|x| *times.entry(*x).or_default() += 1);
    let never = 20_000 - times.len();
    assert!((2_500..2_900).contains(&never), "{never} for {}", 20_000.0 * (-2.0f64).exp());
    let other = records(&parts, |r| Ok(r.sample(false, 0.2, 12)?.boxed()));
    assert_ne!(drawn, other);
}

#[test]
fn exact_samples_draw_every_record_alike() {
    let ctx = context();
    let pairs = ctx.parallelize((0..40i64).map(|i| (0, i)), 7);
    for with in [false, true] {
        let mut times = [0u32; 40];
        for seed in 0..400 {
            let drawn = pairs.sample_by_key_exact(with, [(0, 0.25)], seed).unwrap();
            let drawn = drawn.collect().unwrap();
            assert_eq!(drawn.len(), 10);
            drawn.iter().for_each(|(_, i)| times[*i as usize] += 1);
        }
        assert!(times.iter().all(|n| (55..150).contains(n)), "{with}: {times:?}");
    }
}

#[test]
fn take_sample_is_in_random_order() {
    let ctx = context();
    let all = ctx.parallelize(0..100i64, 3);
    let taken = all.take_sample(false, 100, 5).unwrap();
    assert_ne!(taken, sorted(taken.clone()));
    assert_eq!(sorted(taken), (0..100).collect::<Vec<_>>());
}
