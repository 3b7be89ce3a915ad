//! Which partitions a shuffle takes when it isn't told, when none is needed, and what is left of it.

use brooklet::prelude::*;
use brooklet::testing::faults::{stages, work_done};
use brooklet::{Partitioner, Rdd};

use super::super::{conf, sorted};
use super::context;

struct Modulo(usize);

impl Partitioner<i64> for Modulo {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &i64) -> usize {
        key.rem_euclid(self.0 as i64) as usize
    }
    fn name(&self) -> String {
        "modulo".into()
    }
}

fn pairs(ctx: &Context, parts: usize) -> Rdd<(i64, i64)> {
    ctx.parallelize((0..50).map(|i| (i % 10, i)), parts)
}

#[test]
fn largest_partitioner_decides_when_it_is_of_the_same_order() {
    let ctx = context();
    let plain = |n| pairs(&ctx, n);
    let sums = |n| pairs(&ctx, 2).reduce_by_key_into(|a, b| a + b, n);
    let of = |r: &Rdd<(i64, (i64, i64))>| r.num_partitions();
    // Nobody has a partitioner: as many partitions as the largest side.
    assert_eq!(plain(7).reduce_by_key(|a, b| a + b).num_partitions(), 7);
    assert_eq!(of(&plain(3).join(&plain(5))), 5);
    // The largest of those that have one; a much larger side without one overrules it.
    assert_eq!(of(&sums(3).join(&sums(4))), 4);
    assert_eq!(of(&sums(3).join(&plain(20))), 3);
    assert_eq!(of(&sums(3).join(&plain(29))), 3);
    assert_eq!(of(&sums(3).join(&plain(30))), 30);
    let mine = plain(5).partition_by(Modulo(4));
    assert_eq!(mine.join(&sums(3)).partitioner(), mine.partitioner());
    assert_eq!(ctx.empty_rdd::<(i64, i64)>().reduce_by_key(|a, b| a + b).num_partitions(), 1);
    // With a default parallelism, that one; a partitioner that isn't below it is taken even by large sides.
    let ctx = Context::new(conf().default_parallelism(2)).unwrap();
    assert_eq!(pairs(&ctx, 7).reduce_by_key(|a, b| a + b).num_partitions(), 2);
    let small = pairs(&ctx, 7).reduce_by_key_into(|a, b| a + b, 2);
    assert_eq!(small.join(&pairs(&ctx, 40)).num_partitions(), 2);
    let one = pairs(&ctx, 7).reduce_by_key_into(|a, b| a + b, 1);
    assert_eq!(one.join(&pairs(&ctx, 40)).num_partitions(), 2);
}

#[test]
fn pairs_that_lie_where_they_belong_are_not_moved() {
    let ctx = context();
    let run = |r: &Rdd<(i64, i64)>| {
        let before = work_done(&ctx);
        let out = sorted(r.collect().unwrap());
        (out, work_done(&ctx).1 - before.1)
    };
    let there = pairs(&ctx, 3).partition_by(Modulo(4));
    assert_eq!(run(&there).1, 2);
    let filtered = there.filter(|x| x.1 > 3).map_values(|v| v + 1);
    assert_eq!(run(&filtered.reduce_by_key(|a, b| a + b)).1, 1);
    assert_eq!(run(&filtered.reduce_by_key_with(|a, b| a + b, Modulo(4))).1, 1);
    assert_eq!(run(&filtered.reduce_by_key_with(|a, b| a + b, Modulo(5))).1, 2);
    let by_other = there.partitioner().unwrap();
    assert_eq!(run(&filtered.partition_by(by_other)).1, 1);
    let other = pairs(&ctx, 2).partition_by(Modulo(4)).filter(|x| x.0 < 2);
    drop(run(&other.boxed()));
    let joined = filtered.join(&other).map_values(|(a, b)| a * b);
    let (out, stages) = run(&joined.boxed());
    assert_eq!(stages, 1);
    let all = pairs(&ctx, 1).collect().unwrap();
    let want = all.iter().filter(|x| x.1 > 3).flat_map(|(k, v)| {
        all.iter().filter(move |(q, _)| q == k && *k < 2).map(move |(_, w)| (*k, (v + 1) * w))
    });
    assert_eq!(out, sorted(want.collect::<Vec<_>>()));
    // A map may have changed the keys.
    assert!(there.map(|x| x).partitioner().is_none());
    assert_eq!(run(&there.map(|x| x).reduce_by_key(|a, b| a + b)).1, 2);
}

#[test]
fn lookup_reads_one_partition_where_a_partitioner_is_known() {
    let ctx = context();
    let there = pairs(&ctx, 3).partition_by_hash(8);
    there.count().unwrap();
    let tasks = |r: &Rdd<(i64, i64)>| {
        let before = work_done(&ctx).2;
        assert_eq!(r.lookup(&7).unwrap(), [7, 17, 27, 37, 47]);
        work_done(&ctx).2 - before
    };
    assert_eq!((tasks(&there), tasks(&there.map(|x| x).boxed())), (1, 8));
}

#[test]
fn outputs_of_stages_go_with_their_lineage() {
    let ctx = context();
    let (a, b) = (pairs(&ctx, 3), pairs(&ctx, 2));
    let kept = a.reduce_by_key(|x, y| x + y);
    {
        let there = a.partition_by(Modulo(3));
        let all = ctx.union([
            a.distinct(),
            a.intersection(&b),
            a.subtract(&b),
            a.subtract_by_key(&b),
            a.fold_by_key(0, |x, y| x + y),
            a.repartition(4),
            a.sort_by_key(true, 3).unwrap(),
            there.cogroup_3(&b, &a).map(|(k, _)| (k, k)).boxed(),
            there.join(&b).map(|(k, _)| (k, k)).boxed(),
            there.reduce_by_key(|x, y| x + y),
            a.group_by(|x| x.0).map(|(k, _)| (k, k)).boxed(),
            a.count_approx_distinct_by_key(0.05).unwrap().map(|(k, _)| (k, k)).boxed(),
        ]);
        all.count().unwrap();
        a.tree_aggregate(0, |s, x| s + x.1, |x, y| x + y, 3).unwrap();
        a.count_by_key().unwrap();
        kept.count().unwrap();
        assert!(stages(&ctx).len() > 10);
    }
    assert_eq!(stages(&ctx).len(), 1);
    drop(kept);
    assert_eq!(stages(&ctx), []);
}

#[test]
fn lineage_is_shown_by_stages() {
    let ctx = context();
    let sums =
        pairs(&ctx, 3).set_name("pairs").filter(|x| x.1 > 1).reduce_by_key_into(|a, b| a + b, 2);
    let text = sums.join(&sums.partition_by(Modulo(4))).coalesce(1).to_debug_string();
    let short = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split(" (crates").next().unwrap_or(l).to_owned()).collect()
    };
    let want = [
        "(1) `coalesce`",
        " +- (4) `join`",
        " |   |  `join`",
        " |   +- (2) `reduce_by_key`",
        " |   |   +- (3) `filter`",
        " |   |   |   |  pairs: records in memory",
        " |   |  `partition_by`",
        " |   +- (2) `reduce_by_key`",
        " |   |   +- (3) the same stage as above",
    ];
    assert_eq!(short(&text), want, "{text}");
    assert!(text.contains("partitions.rs"), "{text}");
    let text = sums.sort_by_key(true, 2).unwrap().to_debug_string();
    let want = [
        "(2) `sort_by_key`",
        " +- (2) `reduce_by_key`",
        " |   +- (3) `filter`",
        " |   |   |  pairs: records in memory",
    ];
    assert_eq!(short(&text), want, "{text}");
}
