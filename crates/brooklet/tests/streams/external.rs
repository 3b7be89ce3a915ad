//! Shuffles whose tasks have less memory than data: results as with memory, files that go again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use brooklet::prelude::*;
use brooklet::testing::{Driver, TestEngine, faults};
use brooklet::{Partitioner, TaskError};
use proptest::prelude::*;

use super::order::{partitions_of, parts};
use super::{ENGINES, conf, driver, sorted};

/// A folder of the test's own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("brooklet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    /// All files below it.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, to: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, to) } else { to.push(path) }
            }
        }
        let mut all = Vec::new();
        walk(&self.0, &mut all);
        all
    }

    /// Folders of contexts.
    fn folders(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }

    fn conf(&self) -> Conf {
        conf().local_dir(&self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything spills.
fn tiny() -> Conf {
    conf().task_memory(700).shuffle_memory(0)
}

fn limits() -> impl Strategy<Value = Conf> {
    let task = prop_oneof![Just(100usize), Just(700), Just(5_000), Just(1 << 30)];
    let shuffle = prop_oneof![Just(0usize), Just(3_000), Just(1 << 30)];
    (task, shuffle, any::<bool>())
        .prop_map(|(t, s, c)| conf().task_memory(t).shuffle_memory(s).compress_blocks(c))
}

/// Each key with its values in order of arrival.
fn grouped(all: &[(u8, u32)]) -> BTreeMap<u8, Vec<u32>> {
    let mut groups = BTreeMap::<u8, Vec<u32>>::new();
    all.iter().for_each(|(k, v)| groups.entry(*k).or_default().push(*v));
    groups
}

struct EvenOdd;
impl Partitioner<u8> for EvenOdd {
    fn partitions(&self) -> usize {
        2
    }
    fn partition(&self, key: &u8) -> usize {
        usize::from(key % 2)
    }
    fn name(&self) -> String {
        "even-odd".into()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn reduce_by_key_is_the_same_with_little_memory(
        input in parts(), conf in limits(), parts in 1..5usize, loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        // Texts, so that values grow and lie behind pointers; concatenation tells the order of merging.
        let got = partitions_of(engine, conf, &input, move |s| {
            s.map(|(k, v)| (format!("key {k}"), format!("{v},"))).reduce_by_key_into(|a, b| a + &b, parts)
        });
        let want: Vec<(String, String)> = grouped(&input.concat())
            .into_iter()
            .map(|(k, vs)| (format!("key {k}"), vs.iter().map(|v| format!("{v},")).collect()))
            .collect();
        prop_assert_eq!(got.len(), parts);
        prop_assert_eq!(sorted(got.concat()), sorted(want));
    }

    #[test]
    fn a_partitioner_of_ones_own_is_obeyed_with_little_memory(
        input in parts(), conf in limits(), loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let sums = partitions_of(engine, conf.clone(), &input, |s| {
            s.map(|(k, v)| (k, u64::from(v))).reduce_by_key_with(|a, b| a + b, EvenOdd)
        });
        let dealt = partitions_of(engine, conf, &input, |s| s.partition_by(EvenOdd));
        let all = input.concat();
        for odd in 0..2u8 {
            let of: Vec<(u8, u32)> = all.iter().filter(|x| x.0 % 2 == odd).copied().collect();
            prop_assert_eq!(&dealt[usize::from(odd)], &of);
            let want: Vec<(u8, u64)> = grouped(&of)
                .into_iter()
                .map(|(k, vs)| (k, vs.iter().map(|v| u64::from(*v)).sum()))
                .collect();
            prop_assert_eq!(sorted(sums[usize::from(odd)].clone()), want);
        }
    }

    #[test]
    fn groups_keep_the_order_of_their_values_with_little_memory(
        input in parts(), conf in limits(), loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let got = partitions_of(engine, conf, &input, |s| s.group_by_key());
        let want: Vec<(u8, Vec<u32>)> = grouped(&input.concat()).into_iter().collect();
        prop_assert_eq!(sorted(got.concat()), want);
    }

    #[test]
    fn cogroups_and_joins_are_the_same_with_little_memory(
        input in parts(), conf in limits(), loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let got = partitions_of(engine, conf.clone(), &input, |s| {
            s.cogroup(&s.filter(|(k, _)| k % 2 == 0).map(|(k, v)| (k, u64::from(v) + 1)))
        });
        let want: Vec<(u8, (Vec<u32>, Vec<u64>))> = grouped(&input.concat())
            .into_iter()
            .map(|(k, vs)| {
                let right = vs.iter().filter(|_| k % 2 == 0).map(|v| u64::from(*v) + 1).collect();
                (k, (vs, right))
            })
            .collect();
        prop_assert_eq!(sorted(got.concat()), want);
        let few: Vec<Vec<(u8, u32)>> =
            input.iter().map(|p| p.iter().copied().take(30).collect()).collect();
        let joined = partitions_of(engine, conf, &few, |s| s.join(&s.map(|kv| kv)));
        let all = few.concat();
        let mut want: Vec<(u8, (u32, u32))> = all
            .iter()
            .flat_map(|a| all.iter().filter(|b| a.0 == b.0).map(|b| (a.0, (a.1, b.1))))
            .collect();
        want.sort();
        prop_assert_eq!(sorted(joined.concat()), want);
    }

    #[test]
    fn what_lies_in_place_is_the_same_with_little_memory(
        input in parts(), conf in limits(), loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let placed = |s: &DStream<(u8, u32)>| {
            s.map(|(k, v)| (k, format!("{v},"))).partition_by(EvenOdd)
        };
        let text = |vs: &[u32]| vs.iter().map(|v| format!("{v},")).collect::<Vec<String>>();
        let groups = grouped(&input.concat());
        let want: Vec<(u8, Vec<String>)> = groups.iter().map(|(k, vs)| (*k, text(vs))).collect();
        let got = partitions_of(engine, conf.clone(), &input, |s| {
            placed(s).transform(|r| r.group_by_key_with(EvenOdd))
        });
        prop_assert_eq!(sorted(got.concat()), want.clone());
        let got = partitions_of(engine, conf.clone(), &input, |s| {
            placed(s).transform(|r| r.reduce_by_key_with(|a, b| a + &b, EvenOdd))
        });
        let sums: Vec<(u8, String)> = want.iter().map(|(k, vs)| (*k, vs.concat())).collect();
        prop_assert_eq!(sorted(got.concat()), sums);
        // One side in place, and both.
        for both in [false, true] {
            let got = partitions_of(engine, conf.clone(), &input, |s| {
                placed(s).transform(move |r| {
                    let other = r.filter(|(k, _)| k % 3 == 0).boxed();
                    let other = if both { other } else { other.map(|kv| kv).boxed() };
                    r.cogroup(&other)
                })
            });
            let want: Vec<_> = want
                .iter()
                .map(|(k, vs)| (*k, (vs.clone(), if k % 3 == 0 { vs.clone() } else { vec![] })))
                .collect();
            prop_assert_eq!(sorted(got.concat()), want);
        }
    }

    #[test]
    fn repartition_deals_alike_with_little_memory(
        input in parts(), conf in limits(), parts in 1..5usize, loopback: bool,
    ) {
        let engine = ENGINES[usize::from(loopback)];
        let program = move |s: &DStream<(u8, u32)>| s.repartition(parts);
        let want = partitions_of(engine, super::conf(), &input, program);
        prop_assert_eq!(partitions_of(engine, conf, &input, program), want);
    }
}

#[test]
fn inputs_a_hundred_times_the_limit_come_out_whole() {
    for compress in [false, true] {
        // 100,000 records of 16 bytes and more, tables of 16 kB.
        let conf = conf().task_memory(16 << 10).shuffle_memory(16 << 10).compress_blocks(compress);
        let ctx = Context::new(conf).unwrap();
        let pairs = ctx.parallelize((0..100_000u64).map(|i| (i * 7_919 % 50_021, i)), 5);
        let sums = pairs.map(|(k, v)| (k, v + 1)).reduce_by_key_into(|a, b| a + b, 3);
        let mut want = BTreeMap::<u64, u64>::new();
        (0..100_000u64).for_each(|i| *want.entry(i * 7_919 % 50_021).or_default() += i + 1);
        assert_eq!(sorted(sums.collect().unwrap()), want.into_iter().collect::<Vec<_>>());
        assert_eq!(sums.count().unwrap(), 50_021);
        let spilled = ctx.spill_metrics();
        assert!(spilled.spilled_files > 100, "{spilled:?}");
        assert!(spilled.spilled_bytes > 300_000 && spilled.kept_bytes <= 16 << 10, "{spilled:?}");
        let order = pairs.sort_by(|x| x.1 % 1_000, false, 3).unwrap().collect().unwrap();
        let mut want: Vec<(u64, u64)> = (0..100_000).map(|i| (i * 7_919 % 50_021, i)).collect();
        want.sort_by_key(|x| std::cmp::Reverse(x.1 % 1_000));
        assert!(order == want, "sorted otherwise");
    }
}

#[test]
fn combining_and_grouping_in_place_spill_as_well() {
    let ctx = Context::new(conf().task_memory(16 << 10)).unwrap();
    let pairs = ctx.parallelize((0..100_000u64).map(|i| (i * 7_919 % 50_021, i)), 5);
    let placed = pairs.partition_by_hash(3);
    assert_eq!(placed.count().unwrap(), 100_000);
    let before = ctx.spill_metrics().spilled_files;
    let (sums, groups) = (placed.reduce_by_key(|a, b| a + b), placed.group_by_key());
    for text in [sums.to_debug_string(), groups.to_debug_string()] {
        assert_eq!(text.matches(" +- ").count(), 1, "there is one shuffle:\n{text}");
    }
    let mut want = BTreeMap::<u64, Vec<u64>>::new();
    (0..100_000u64).for_each(|i| want.entry(i * 7_919 % 50_021).or_default().push(i));
    let total = want.iter().map(|(k, vs)| (*k, vs.iter().sum())).collect::<Vec<(u64, u64)>>();
    assert_eq!(sorted(sums.collect().unwrap()), total);
    let after_sums = ctx.spill_metrics().spilled_files;
    assert!(after_sums >= before + 100, "{before} files, then {after_sums}");
    assert_eq!(sorted(groups.collect().unwrap()), want.into_iter().collect::<Vec<_>>());
    let after_groups = ctx.spill_metrics().spilled_files;
    assert!(after_groups >= after_sums + 100, "{after_sums} files, then {after_groups}");
}

#[test]
fn what_is_kept_on_disk_comes_in_the_order_it_has_in_memory() {
    for engine in ENGINES {
        let input: Vec<Vec<(u32, u32)>> =
            (0..4).map(|p| (0..500).map(|i| (i * 31 % 173 + p, i)).collect()).collect();
        let program = |s: &DStream<(u32, u32)>| {
            let sums = s.reduce_by_key(|a, b| a ^ b);
            let groups = s.group_by_key().map(|(k, v)| (k, v.len() as u32)).boxed();
            sums.union(&groups)
        };
        let in_memory = partitions_of(engine, conf(), &input, program);
        let on_disk = partitions_of(engine, conf().shuffle_memory(0), &input, program);
        assert_eq!(in_memory, on_disk, "{engine:?}");
    }
}

#[test]
fn another_attempt_is_equal_to_the_bit() {
    let run = || {
        let ctx = Context::new(tiny()).unwrap();
        let floats = ctx.parallelize((0..20_000u32).map(|i| (i % 3_000, 0.1 + f64::from(i))), 4);
        let sums = floats.reduce_by_key(|a, b| a + b);
        let bits = |v: Vec<(u32, f64)>| -> Vec<(u32, u64)> {
            v.into_iter().map(|(k, x)| (k, x.to_bits())).collect()
        };
        let first = bits(sums.collect().unwrap());
        let stages = faults::stages(&ctx);
        assert!(faults::lose_output(&ctx, &stages[0], 2));
        assert_eq!(bits(sums.collect().unwrap()), first);
        first
    };
    assert_eq!(run(), run());
}

#[test]
fn a_failing_task_leaves_no_file() {
    let dir = Dir::new("failing");
    let ctx =
        Context::new(dir.conf().task_memory(1_000).shuffle_memory(0).task_max_failures(2)).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let (most, d) = (seen.clone(), Arc::new(dir));
    let dir = d.clone();
    let pairs = ctx.parallelize((0..10_000u32).map(|i| (i % 2_000, i)), 2).map(move |x| {
        if x.1 == 4_999 {
            most.fetch_max(d.files().len() as u64, SeqCst);
            panic!("the last record of its partition");
        }
        x
    });
    let check = |what: &str, job: Result<u64, Error>| {
        let e = job.unwrap_err();
        assert!(e.to_string().contains("the last record"), "{what}: {e}");
        assert!(seen.swap(0, SeqCst) > 0, "{what} had spilled");
        // The other partition was finished; its lineage is gone by now.
        assert_eq!(dir.files(), Vec::<PathBuf>::new(), "{what}");
        assert_eq!(ctx.spill_metrics().live_files, 0, "{what}");
    };
    let reduced = pairs.reduce_by_key(|a, b| a + b).count();
    check("reduce", reduced);
    let grouped = pairs.group_by_key().count();
    check("group", grouped);
    let dealt = pairs.repartition(3).count();
    check("repartition", dealt);
    let sorted = pairs.sort_by(|x| x.1, true, 1).unwrap().count();
    check("sort", sorted);
    // On the reduce side: no map task has sums above 24,000.
    let pairs = ctx.parallelize((0..10_000u32).map(|i| (i % 2_000, i)), 2);
    let merged =
        pairs.reduce_by_key(|a, b| if a + b > 25_000 { panic!("in a merge") } else { a + b });
    assert!(merged.count().unwrap_err().to_string().contains("in a merge"));
    let compare = |a: &(u32, u32), b: &(u32, u32)| {
        assert!(a.1 < 9_000 && b.1 < 9_000, "no order");
        a.cmp(b)
    };
    let sorted = pairs.sort_with(compare, 1).unwrap();
    assert!(sorted.count().unwrap_err().to_string().contains("no order"));
    drop((merged, sorted));
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
}

#[test]
fn files_go_with_the_lineage_and_the_folder_with_the_context() {
    let dir = Dir::new("lineage");
    let ctx = Context::new(dir.conf().task_memory(1_000).shuffle_memory(0)).unwrap();
    let pairs = ctx.parallelize((0..10_000u32).map(|i| (i % 2_000, i)), 2);
    let sums = pairs.reduce_by_key(|a, b| a + b);
    let order = pairs.sort_by_key(true, 2).unwrap();
    assert_eq!((sums.count().unwrap(), order.count().unwrap()), (2_000, 10_000));
    let files = dir.files();
    assert_eq!(files.len() as u64, ctx.spill_metrics().live_files);
    assert!(!files.is_empty() && files.iter().all(|f| f.extension().unwrap() == "spill"));
    drop(order);
    assert!(dir.files().len() < files.len());
    drop(sums);
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
    let sums = pairs.reduce_by_key(|a, b| a + b);
    assert_eq!((sums.count().unwrap(), dir.folders()), (2_000, 1));
    drop((pairs, sums, ctx));
    assert_eq!(dir.folders(), 0);
}

#[test]
fn files_go_with_their_batch() {
    for engine in ENGINES {
        let dir = Dir::new(&format!("batch-{engine:?}"));
        let most = Arc::new(AtomicU64::new(0));
        let at = Arc::new(dir);
        let mut d = driver::<u32>(engine, at.conf().task_memory(500).shuffle_memory(0), |_, s| {
            let (most, at) = (most.clone(), at.clone());
            s.map(|x| (x % 300, x)).reduce_by_key(|a, b| a + b).foreach_rdd(move |r, _| {
                let n = r.count()?;
                most.fetch_max(at.files().len() as u64, SeqCst);
                assert!(n == 0 || n == 300);
                Ok::<_, Error>(())
            });
        });
        for _ in 0..3 {
            d.input().push(0..3_000);
            d.batch().unwrap();
        }
        d.batch().unwrap();
        assert!(most.load(SeqCst) > 0, "{engine:?}");
        assert_eq!(at.files(), Vec::<PathBuf>::new(), "{engine:?}");
        drop(d);
        assert_eq!(at.folders(), 0, "{engine:?}");
    }
}

#[test]
fn a_folder_that_takes_no_file_fails_the_task_with_its_path() {
    let dir = Dir::new("no-folder");
    let file = dir.0.join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let ctx = Context::new(conf().local_dir(file.join("x")).task_memory(100)).unwrap();
    let e = ctx.parallelize((0..10_000).map(|i| (i, i)), 2).reduce_by_key(|a, b| a + b).count();
    match e.unwrap_err() {
        Error::TaskFailed { attempts: 4, cause: TaskError::Spill { path, .. } } => {
            assert!(path.contains("a-file"), "{path}");
        }
        e => panic!("{e}"),
    }
}

#[test]
fn damaged_and_missing_files_of_map_outputs_are_made_again() {
    let dir = Dir::new("damaged");
    let ctx = Context::new(dir.conf().shuffle_memory(0)).unwrap();
    let mapped = Arc::new(AtomicU64::new(0));
    let m = mapped.clone();
    let pairs = ctx
        .parallelize((0..3_000u32).map(|i| (i % 700, i)), 3)
        .map(move |x| (m.fetch_add(1, SeqCst), x).1);
    let sums = pairs.reduce_by_key_into(|a, b| a + b, 2);
    // Only the first partition is read, so the files of the second one are still needed.
    assert!(!sums.is_empty().unwrap());
    let before = dir.files();
    assert!(before.len() >= 3);
    for (i, file) in before.iter().enumerate() {
        if i % 2 == 0 {
            std::fs::remove_file(file).unwrap();
        } else {
            let mut bytes = std::fs::read(file).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }
    }
    let mut want = BTreeMap::<u32, u32>::new();
    (0..3_000u32).for_each(|i| *want.entry(i % 700).or_default() += i);
    assert_eq!(sorted(sums.collect().unwrap()), want.into_iter().collect::<Vec<_>>());
    assert!(mapped.load(SeqCst) > 3_000, "{}", mapped.load(SeqCst));
}

#[test]
fn little_memory_changes_nothing_for_a_stream_of_batches() {
    for engine in ENGINES {
        let batches: Vec<Vec<String>> = (0..4)
            .map(|b| (0..2_000).map(|i| format!("word-{}", (i * (b + 3)) % 617)).collect())
            .collect();
        let run = |conf: Conf| {
            let out = brooklet::testing::Collector::new();
            let mut d = driver::<String>(engine, conf, |_, s| {
                let out = out.clone();
                let counts = s.map(|w| (w, 1u64)).reduce_by_key(|a, b| a + b);
                counts
                    .transform(|r| r.sort_by(|(w, n)| (std::cmp::Reverse(*n), w.clone()), true, 3))
                    .foreach_rdd(move |r, t| out.take(r, t));
            });
            batches.iter().for_each(|b| d.input().push(b.clone()));
            d.batches(batches.len()).unwrap();
            out.batches()
        };
        assert_eq!(run(tiny()), run(conf()), "{engine:?}");
    }
}

#[test]
fn a_task_memory_of_zero_is_refused() {
    let e = Driver::<()>::local(conf().task_memory(0), |_| Ok(())).unwrap_err();
    assert!(e.to_string().contains("brooklet.task.memory"), "{e}");
    assert!(matches!(e, Error::Config { .. }));
    let _ = TestEngine::Local;
}
