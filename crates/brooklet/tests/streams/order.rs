//! Sorting, ranges, and the first records of an order, against sorted vectors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use brooklet::prelude::*;
use brooklet::testing::{Collector, TestEngine};
use brooklet::{Ordered, Partitioner, RangePartitioner, Wire};
use proptest::prelude::*;

use super::{ENGINES, conf, driver, sorted};

/// Records with keys that repeat, in partitions that may be empty; the number tells equal keys apart.
type Parts = Vec<Vec<(u8, u32)>>;

pub(super) fn parts() -> impl Strategy<Value = Parts> {
    let key = prop_oneof![Just(7u8), 0..4u8, any::<u8>()];
    let part = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(key.clone(), 1..20),
        prop::collection::vec(key, 100..400),
    ];
    prop::collection::vec(part, 1..6).prop_map(|keys| {
        let mut numbers = 0u32..;
        let numbered = |part: Vec<u8>| part.into_iter().zip(numbers.by_ref()).collect();
        keys.into_iter().map(numbered).collect()
    })
}

/// The partitions that `program` makes of one batch with these partitions.
pub(super) fn partitions_of<T: Wire, U: Wire>(
    engine: TestEngine,
    conf: Conf,
    parts: &[Vec<T>],
    program: impl Fn(&DStream<T>) -> DStream<U>,
) -> Vec<Vec<U>> {
    let out = Collector::new();
    let mut d = driver::<T>(engine, conf, |_, s| {
        let out = out.clone();
        program(s).glom().boxed().foreach_rdd(move |r, t| out.take(r, t));
    });
    d.input().push_partitions(parts.to_vec());
    d.batch().unwrap();
    out.batches().swap_remove(0)
}

/// A configuration whose tasks have no memory to speak of.
fn short(bytes: usize) -> Conf {
    conf().task_memory(bytes).shuffle_memory(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn sort_by_is_a_stable_sort_across_partitions(
        input in parts(),
        ascending: bool,
        partitions in 1..6usize,
        limit in prop_oneof![Just(64usize), Just(1000), Just(1 << 30)],
        loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let got = partitions_of(engine, short(limit), &input, move |s| {
            s.transform(move |r| r.sort_by(|x| u32::from(x.0), ascending, partitions))
        });
        let mut want = input.concat();
        if ascending { want.sort_by_key(|x| x.0) } else { want.sort_by_key(|x| std::cmp::Reverse(x.0)) }
        prop_assert!(got.len() <= partitions);
        // No key is in two partitions.
        for pair in got.windows(2) {
            prop_assert!(pair[0].iter().all(|a| pair[1].iter().all(|b| a.0 != b.0)));
        }
        prop_assert_eq!(got.concat(), want);
    }

    #[test]
    fn sort_by_key_and_sort_with_agree_with_sort_by(
        input in parts(), ascending: bool, partitions in 1..4usize, limit in 64..100_000usize,
    ) {
        let ctx = Context::new(short(limit)).unwrap();
        let rdd = ctx.union(input.iter().map(|p| ctx.parallelize(p.clone(), 1)));
        let by = rdd.sort_by(|x| x.0, ascending, partitions).unwrap().collect().unwrap();
        let by_key = rdd.sort_by_key(ascending, partitions).unwrap().collect().unwrap();
        let with = rdd
            .sort_with(move |a, b| if ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) }, partitions)
            .unwrap();
        prop_assert_eq!(&by, &by_key);
        prop_assert_eq!(&by, &with.collect().unwrap());
        prop_assert_eq!(with.count().unwrap() as usize, by.len());
        let half = by.len() / 2;
        prop_assert_eq!(with.take(half).unwrap(), &by[..half]);
    }

    #[test]
    fn repartition_and_sort_sorts_the_partitions_of_any_partitioner(
        input in parts(), limit in prop_oneof![Just(100usize), Just(1 << 30)], loopback: bool,
    ) {
        struct ByThree;
        impl Partitioner<u8> for ByThree {
            fn partitions(&self) -> usize { 3 }
            fn partition(&self, key: &u8) -> usize { usize::from(key % 3) }
            fn name(&self) -> String { "by-three".into() }
        }
        let engine = ENGINES[usize::from(loopback)];
        let got = partitions_of(engine, short(limit), &input, |s| {
            s.transform(|r| r.repartition_and_sort_within_partitions(ByThree))
        });
        let mut want = vec![Vec::new(); 3];
        input.concat().into_iter().for_each(|x| want[usize::from(x.0 % 3)].push(x));
        want.iter_mut().for_each(|p| p.sort_by_key(|x| x.0));
        prop_assert_eq!(got, want);
    }

    #[test]
    fn top_and_take_ordered_are_the_ends_of_a_sorted_vector(
        input in parts(), n in 0..50usize, loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let got = partitions_of(engine, conf(), &input, move |s| {
            s.transform(move |r| {
                let lists = vec![
                    r.top(n)?,
                    r.take_ordered(n)?,
                    r.top_by_key(n, |x| x.0)?,
                    r.take_ordered_by_key(n, |x| x.0)?,
                    r.top_by(n, |a, b| a.0.cmp(&b.0))?,
                    r.take_ordered_by(n, |a, b| b.0.cmp(&a.0))?,
                ];
                Ok::<_, Error>(r.context().parallelize(lists, 1))
            })
        });
        let all = input.concat();
        let first = |order: fn(&(u8, u32), &(u8, u32)) -> std::cmp::Ordering| {
            let mut v = all.clone();
            v.sort_by(order);
            v.truncate(n);
            v
        };
        let want = vec![
            first(|a, b| b.cmp(a)),
            first(|a, b| a.cmp(b)),
            first(|a, b| b.0.cmp(&a.0)),
            first(|a, b| a.0.cmp(&b.0)),
            first(|a, b| b.0.cmp(&a.0)),
            first(|a, b| b.0.cmp(&a.0)),
        ];
        prop_assert_eq!(&got[0], &want);
    }

    #[test]
    fn filter_by_range_keeps_what_is_in_the_range(input in parts(), a: u8, b: u8) {
        let got = partitions_of(TestEngine::Local, conf(), &input, move |s| {
            s.transform(move |r| r.filter_by_range(a..b))
        });
        let want: Vec<Vec<(u8, u32)>> = input
            .iter()
            .map(|p| p.iter().filter(|x| (a..b).contains(&x.0)).copied().collect())
            .collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn floats_sort_in_numeric_order_with_nan_last() {
    for engine in ENGINES {
        let input = [vec![2.5, -0.0, f64::NAN], vec![], vec![f64::NEG_INFINITY, 0.0, -1e300]];
        let got = partitions_of(engine, conf(), &input, |s| {
            s.transform(|r| r.sort_by(|x| Ordered(*x), true, 3))
        });
        let text: Vec<String> = got.concat().iter().map(f64::to_string).collect();
        let want = [f64::NEG_INFINITY, -1e300, -0.0, 0.0, 2.5, f64::NAN].map(|x| x.to_string());
        assert_eq!(text, want);
        let sums = partitions_of(engine, conf(), &[vec![0.5, 0.25, 0.5]], |s| {
            s.map(|x| (Ordered(x), 1)).reduce_by_key(|a, b| a + b)
        });
        assert_eq!(sorted(sums.concat()), [(Ordered(0.25), 1), (Ordered(0.5), 2)]);
    }
}

#[test]
fn ranges_are_even_whatever_the_sizes_of_the_partitions() {
    let ctx = Context::new(conf()).unwrap();
    // One partition has nearly everything, and its keys aren't those of the others.
    let skewed = ctx.union([
        ctx.parallelize(0..10u64, 5),
        ctx.parallelize((0..100_000u64).map(|i| 1_000 + (i * 7_919) % 100_000), 1),
        ctx.parallelize(500_000..500_010u64, 5),
    ]);
    for rdd in [skewed, ctx.parallelize((0..100_000u64).map(|i| (i * 7_919) % 100_000), 16)] {
        let ranges = RangePartitioner::by(&rdd, 10, |x| *x).unwrap();
        assert_eq!(ranges.partitions(), 10);
        let sizes = rdd.map(move |x| ranges.partition(&x)).count_by_value().unwrap();
        let (least, most) = (sizes.values().min().unwrap(), sizes.values().max().unwrap());
        assert!(sizes.len() == 10 && *least > 4_000 && *most < 20_000, "{sizes:?}");
    }
}

#[test]
fn few_keys_make_few_ranges_and_no_keys_make_one() {
    let ctx = Context::new(conf()).unwrap();
    let pairs = ctx.parallelize((0..1_000).map(|i| (i % 3, i)), 4);
    let ranges = RangePartitioner::new(&pairs, 100).unwrap();
    assert!((3..=4).contains(&ranges.partitions()), "{ranges:?}");
    let (jobs, ..) = brooklet::testing::faults::work_done(&ctx);
    assert_eq!(RangePartitioner::new(&pairs, 1).unwrap().partitions(), 1);
    assert_eq!(RangePartitioner::new(&ctx.empty_rdd::<(u8, ())>(), 5).unwrap().partitions(), 1);
    assert_eq!(brooklet::testing::faults::work_done(&ctx).0, jobs, "no job was needed");
    let none = ctx.parallelize(Vec::<(u8, u8)>::new(), 3);
    assert_eq!(none.sort_by_key(true, 4).unwrap().collect().unwrap(), []);
    assert_eq!(RangePartitioner::new(&none, 5).unwrap().partitions(), 1);
}

#[test]
fn only_a_sample_of_the_keys_is_looked_at() {
    let ctx = Context::new(conf()).unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let c = calls.clone();
    let rdd = ctx.parallelize(0..200_000u32, 8);
    let ranges = RangePartitioner::by(&rdd, 4, move |x| (c.fetch_add(1, SeqCst), *x).1).unwrap();
    assert_eq!(ranges.partitions(), 4);
    // 30 of each of 8 partitions, and those that took their place later.
    assert!(calls.load(SeqCst) < 8 * 30 * 12, "{}", calls.load(SeqCst));
    // The sample is the same at every call.
    assert_eq!(RangePartitioner::by(&rdd, 4, |x| *x).unwrap().bounds(), ranges.bounds());
}

#[test]
fn a_panicking_key_or_partitioner_is_named() {
    let ctx = Context::new(conf().task_max_failures(1).task_memory(200)).unwrap();
    let pairs = ctx.parallelize((0..1_000).map(|i| (i, i)), 4);
    let named = |e: Error, what: &str| {
        assert!(e.is_user_code(), "{e}");
        assert!(e.to_string().contains(what) && e.to_string().contains("order.rs"), "{e}");
    };
    let bad = |x: &(i32, i32)| if x.0 == 77 { panic!("no key") } else { x.0 };
    named(pairs.sort_by(bad, true, 1).unwrap().collect().unwrap_err(), "sort_by");
    named(pairs.top_by_key(2, bad).unwrap_err(), "top_by_key");
    let compare = |a: &(i32, i32), b: &(i32, i32)| {
        assert!(a.0 != 77 && b.0 != 77, "no order");
        a.cmp(b)
    };
    named(pairs.sort_with(compare, 1).unwrap().count().unwrap_err(), "sort_with");
    struct Beyond;
    impl Partitioner<i32> for Beyond {
        fn partitions(&self) -> usize {
            2
        }
        fn partition(&self, key: &i32) -> usize {
            usize::from(*key > 500) * 2
        }
        fn name(&self) -> String {
            "beyond".into()
        }
    }
    let e = pairs.repartition_and_sort_within_partitions(Beyond).collect().unwrap_err();
    assert!(e.to_string().contains("partitioner `beyond` gave partition 2 of 2"), "{e}");
    named(e, "repartition_and_sort_within_partitions");
}
