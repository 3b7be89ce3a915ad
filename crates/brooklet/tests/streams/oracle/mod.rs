//! Operators against an oracle: generated programs over generated batches give, batch by batch, the
//! multiset that a recomputation on plain vectors gives, on either engine, with tasks that fail and are
//! tried again, and with more data than the block store may hold.

mod plain;
mod program;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use brooklet::prelude::*;
use brooklet::testing::{Collector, Driver, TestEngine, faults};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use program::{Feed, Form, INPUTS, Pair, Program};
use stream::{Blocks, Push, Script, Trips};

use super::cases::{cases as asked, config};
use super::{conf, sorted};

/// What `persist` is tried with.
const LEVELS: [StorageLevel; 5] = [
    StorageLevel::MEMORY_ONLY,
    StorageLevel::MEMORY_AND_DISK,
    StorageLevel::MEMORY_AND_DISK_SER,
    StorageLevel::MEMORY_ONLY_SER,
    StorageLevel::DISK_ONLY,
];

/// Records that a stream may have in a batch; a program that makes more is cut there.
const LIMIT: usize = 4_000;

/// Programs to try; the tests with failures and with received blocks try a part of that.
const PROGRAMS: u32 = 24_000;
pub const ALL_CASES: u32 = PROGRAMS + PROGRAMS / 6 + PROGRAMS / 12;

/// Bytes that the block store may hold where it is to be too small.
const LITTLE_MEMORY: usize = 40;

/// A program with its input, and what it runs on.
#[derive(Clone)]
struct Case {
    program: Program,
    feeds: [Feed; INPUTS],
    engine: TestEngine,
    threads: usize,
    parallelism: usize,
    /// Failures of the operators that fail at first.
    trips: u32,
    little_memory: bool,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?} engine, local[{}], {} partitions by default, {} failures, {}",
            self.engine,
            self.threads,
            self.parallelism,
            self.trips,
            if self.little_memory { "little memory" } else { "memory enough" },
        )?;
        for (i, feed) in self.feeds.iter().enumerate() {
            writeln!(f, "  s{i} = input of {feed:?}")?;
        }
        self.program.fmt(f)
    }
}

/// What each output sees of each batch, by the batch's milliseconds, sorted; without an entry where it
/// isn't called.
type Seen = Vec<BTreeMap<u64, Vec<Pair>>>;

impl Case {
    fn batches(&self) -> usize {
        self.feeds[0].len()
    }

    /// The same case with a program that doesn't grow too large.
    fn fitted(mut self) -> Case {
        for batch in 0..self.batches() {
            while let Err(plain::TooLarge(step)) = self.streams_at(batch) {
                self.program = self.program.cut(step);
            }
        }
        self
    }

    fn streams_at(&self, batch: usize) -> Result<Vec<plain::Value>, plain::TooLarge> {
        let input = |feed: &Feed| feed[batch].as_ref().map(|parts| parts.concat());
        let inputs = self.feeds.each_ref().map(input);
        plain::streams(&self.program, inputs, 1_000 * (batch as u64 + 1), LIMIT)
    }

    /// What has to come out.
    fn expected(&self) -> Seen {
        let mut seen: Seen = self.program.outputs().iter().map(|_| BTreeMap::new()).collect();
        for batch in 0..self.batches() {
            let streams = self.streams_at(batch).unwrap();
            // A step that fails, fails its batch: no output runs.
            let failed = |(step, value): (&program::Step, &plain::Value)| {
                step.op.is_step() && value.is_err()
            };
            if self.program.steps.iter().zip(&streams[INPUTS..]).any(failed) {
                continue;
            }
            for (out, stream) in seen.iter_mut().zip(self.program.outputs()) {
                if let Ok(Some(records)) = &streams[stream] {
                    out.insert(1_000 * (batch as u64 + 1), sorted(records.clone()));
                }
            }
        }
        seen
    }

    fn conf(&self) -> Conf {
        let conf = conf()
            .master(format!("local[{}]", self.threads))
            .default_parallelism(self.parallelism)
            .failure_policy(FailurePolicy::skip());
        if self.little_memory { conf.block_store_memory(LITTLE_MEMORY) } else { conf }
    }

    /// Adds operators and outputs to a graph.
    fn define(
        &self,
        ssc: &StreamingContext,
        inputs: [DStream<Pair>; INPUTS],
        outputs: &[Collector<Pair>],
        trips: &Trips,
    ) {
        let streams = stream::build(ssc, inputs, &self.program, trips);
        for (out, stream) in outputs.iter().zip(self.program.outputs()) {
            let out = out.clone();
            streams[stream].foreach_rdd(move |rdd, t| out.take(rdd, t));
        }
    }

    fn collectors(&self) -> Vec<Collector<Pair>> {
        self.program.outputs().iter().map(|_| Collector::new()).collect()
    }

    /// Runs it over inputs that choose and read.
    fn run(&self) -> Seen {
        let (outputs, trips) = (self.collectors(), Trips::new(self.trips));
        let mut driver = Driver::with(self.engine, self.conf(), |ssc| {
            let scripts: [Script; INPUTS] = Default::default();
            let inputs = scripts.each_ref().map(|s| ssc.input_stream(s.clone()));
            self.define(ssc, inputs, &outputs, &trips);
            Ok(scripts)
        })
        .unwrap();
        for (script, feed) in driver.input().iter().zip(&self.feeds) {
            feed.iter().for_each(|batch| script.push(batch.clone()));
        }
        driver.batches(self.batches()).unwrap();
        nothing_left(&driver);
        seen_by(&outputs)
    }

    /// Runs it over receivers, a block for each partition. Calls `stored` when a batch's blocks are there.
    fn run_received(&self, conf: Conf, mut stored: impl FnMut()) -> Seen {
        let (outputs, trips) = (self.collectors(), Trips::new(self.trips));
        let mut driver = Driver::with(self.engine, conf, |ssc| {
            let ends: [(Push, Blocks); INPUTS] = std::array::from_fn(|_| Push::new());
            let [(a, from_a), (b, from_b)] = ends;
            let inputs = [from_a, from_b].map(|blocks| ssc.receiver_stream(blocks));
            self.define(ssc, inputs, &outputs, &trips);
            Ok(std::sync::Mutex::new(Some([a, b])))
        })
        .unwrap();
        driver.start().unwrap();
        for batch in 0..self.batches() {
            if let Some(ends) = &*driver.input().lock().unwrap() {
                for (end, feed) in ends.iter().zip(&self.feeds) {
                    end.push(feed[batch].clone().unwrap_or_default());
                }
            }
            stored();
            driver.batch().unwrap();
        }
        // The receivers end with it.
        drop(driver.input().lock().unwrap().take());
        nothing_left(&driver);
        seen_by(&outputs)
    }
}

/// Whatever failed, was tried again or was skipped: no stage's output outlives its batch.
fn nothing_left<I>(driver: &Driver<I>) {
    driver.context().stop(true).unwrap();
    assert_eq!(faults::stages(driver.context().context()), []);
}

fn seen_by(outputs: &[Collector<Pair>]) -> Seen {
    let each = |c: &Collector<Pair>| {
        c.by_time().into_iter().map(|(t, records)| (t.millis(), sorted(records))).collect()
    };
    outputs.iter().map(each).collect()
}

fn cases(flaky: bool) -> impl Strategy<Value = Case> {
    let engine = prop_oneof![2 => Just(TestEngine::Local), 1 => Just(TestEngine::Loopback)];
    let trips = if flaky { (1..=3u32).boxed() } else { Just(0).boxed() };
    let little_memory = prop_oneof![4 => Just(false), 1 => Just(true)];
    let on = (engine, select(vec![1, 2, 3]), 1..6usize, trips, little_memory);
    (program::programs(flaky), program::feeds(), on).prop_map(|(program, feeds, on)| {
        let (engine, threads, parallelism, trips, little_memory) = on;
        Case { program, feeds, engine, threads, parallelism, trips, little_memory }.fitted()
    })
}

/// Tries `n` cases; a failing one is shown in its smallest form.
fn check(
    name: &str,
    share: u32,
    cases: impl Strategy<Value = Case>,
    run: impl FnMut(&Case) -> Seen,
) {
    check_with(TestRunner::new(config(name, share)), cases, run);
}

fn check_with(
    mut runner: TestRunner,
    cases: impl Strategy<Value = Case>,
    mut run: impl FnMut(&Case) -> Seen,
) {
    let run = std::cell::RefCell::new(&mut run);
    let tried = runner.run(&cases, |case| {
        let seen = (run.borrow_mut())(&case);
        let expected = case.expected();
        prop_assert!(seen == expected, "\n  seen     {seen:?}\n  expected {expected:?}");
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{case:?}\n{why}"),
        Err(e) => panic!("{e}"),
    }
}

/// In how many cases each operator had something to give, and how many batches of a program failed.
#[derive(Default)]
struct Coverage {
    operators: BTreeMap<String, u32>,
    failed_batches: u32,
}

impl Coverage {
    fn note(&mut self, case: &Case) {
        let mut busy = std::collections::BTreeSet::new();
        for batch in 0..case.batches() {
            let streams = case.streams_at(batch).unwrap();
            for (step, value) in case.program.steps.iter().zip(&streams[INPUTS..]) {
                if matches!(value, Ok(Some(records)) if !records.is_empty()) {
                    let text = format!("{:?}", step.op);
                    busy.insert(text.split('(').next().unwrap().to_string());
                }
            }
            self.failed_batches += u32::from(streams.iter().any(Result::is_err));
        }
        busy.into_iter().for_each(|op| *self.operators.entry(op).or_default() += 1);
    }
}

#[test]
fn generated_programs_give_what_a_plain_recomputation_gives() {
    let mut coverage = Coverage::default();
    check("operators", PROGRAMS, cases(false), |case| {
        coverage.note(case);
        case.run()
    });
    let tried = asked(PROGRAMS);
    if tried < PROGRAMS / 10 {
        return; // too few to say
    }
    // Each operator in each form, with records.
    let Coverage { operators, failed_batches } = coverage;
    assert_eq!(operators.len(), 52, "{operators:?}");
    assert!(operators.values().all(|n| *n > tried / 200), "{operators:?}");
    assert!(failed_batches > tried / 20, "only {failed_batches} batches lacked an RDD");
}

#[test]
fn tasks_that_fail_and_are_tried_again_change_nothing() {
    check("operators, tasks tried again", PROGRAMS / 6, cases(true), Case::run);
}

/// A folder for spilled blocks that goes at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files(dir: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let count = |e: std::fs::DirEntry| if e.path().is_dir() { files(&e.path()) } else { 1 };
    entries.flatten().map(count).sum()
}

#[test]
fn received_blocks_beyond_the_memory_limit_are_read_back() {
    let folder =
        Folder(std::env::temp_dir().join(format!("brooklet-oracle-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).unwrap();
    let (spilled, tried) = (AtomicUsize::new(0), asked(PROGRAMS / 12));
    // A receiver has no way to have no RDD: what it has not received is an empty batch.
    let received = cases(false).prop_map(|mut case| {
        for batch in case.feeds.iter_mut().flatten() {
            batch.get_or_insert_default();
        }
        case.little_memory = true;
        case.fitted()
    });
    check("operators, received blocks", PROGRAMS / 12, received, |case| {
        let conf = case.conf().local_dir(&folder.0);
        case.run_received(conf, || {
            spilled.fetch_add(usize::from(files(&folder.0) > 0), Relaxed);
        })
    });
    let spilled = spilled.load(Relaxed);
    assert!(spilled >= tried as usize / 10, "only {spilled} batches had blocks on disk");
}

/// The oracle and the generator aren't blind: a program that is wrong in one place is found, and what is
/// shown of it is short.
#[test]
fn a_wrong_operator_is_found_and_shown_as_a_short_program() {
    let wrong = std::panic::catch_unwind(|| {
        let always_the_same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let runner = TestRunner::new_with_rng(config, always_the_same);
        check_with(runner, cases(false), |case| {
            let mut seen = case.expected();
            if case.program.steps.iter().any(|s| matches!(s.op, program::Op::GroupByKey(_))) {
                for records in seen.iter_mut().flat_map(|out| out.values_mut()) {
                    records.pop();
                }
            }
            seen
        });
    });
    let text = *wrong.unwrap_err().downcast::<String>().unwrap();
    let steps: Vec<&str> = text.lines().filter(|l| l.contains(" of (")).collect();
    assert!(steps.len() <= 2, "{text}");
    assert!(steps.last().is_some_and(|s| s.contains(" = group_by_key")), "{text}");
}
