//! Windows and keyed state against an oracle: generated programs over generated batches give, batch by batch,
//! the multiset that a recomputation from all batches gives; whatever the engine, the partitions and the uses,
//! with tasks that fail and are tried again, and with batches that fail for good and leave no trace.

mod naive;
mod program;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::testing::{Driver, TestEngine, faults};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use naive::{Lack, Value, at};
use program::{Feed, INPUTS, Op, Pair, Program, Use};
use stream::{Name, Trip, Trips};

use super::cases::{cases, config};
use super::{HANG, conf, sorted};

/// What `persist` is tried with.
const LEVELS: [StorageLevel; 5] = [
    StorageLevel::MEMORY_ONLY,
    StorageLevel::MEMORY_AND_DISK,
    StorageLevel::MEMORY_AND_DISK_SER,
    StorageLevel::MEMORY_ONLY_SER,
    StorageLevel::DISK_ONLY,
];

/// Records that a stream may have in a batch; a program that makes more is cut there.
const LIMIT: usize = 3_000;

/// Cases to try, by property.
const SOUND: u32 = 6_000;
const TRIPPED: u32 = 2_000;
const FAILED: u32 = 2_000;
const LOST: u32 = 600;
const AGREED: u32 = 600;
pub const ALL_CASES: u32 = SOUND + TRIPPED + FAILED + LOST + AGREED;

/// Bytes that the block store may hold where it is to be too small.
const LITTLE_MEMORY: usize = 40;

/// What a program runs on.
#[derive(Clone, Debug)]
struct Setting {
    engine: TestEngine,
    threads: usize,
    parallelism: usize,
    jobs: usize,
    /// Keys are texts.
    texts: bool,
    /// Batches that are remembered; all of them are read again after each batch.
    remember: Option<u64>,
    /// All batches are due at once: they overlap where there are several jobs.
    at_once: bool,
    little_memory: bool,
    /// Every output loses the stages of its batch first.
    loses: bool,
}

/// A program with its input, and what it runs on.
#[derive(Clone)]
struct Case {
    program: Program,
    feeds: [Feed; INPUTS],
    on: Setting,
    trips: Vec<Trip>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, trips {:?}", self.on, self.trips)?;
        for (i, feed) in self.feeds.iter().enumerate() {
            writeln!(f, "  s{i} = input of {feed:?}")?;
        }
        self.program.fmt(f)
    }
}

/// What an output has seen of a batch.
#[derive(Clone, Debug, PartialEq)]
enum Observed {
    /// Sorted, if all of them were asked for.
    Records(Vec<Pair>),
    Number(u64),
    /// It was called and did nothing.
    Called,
}

/// By the batch's seconds; without an entry where it wasn't called, or failed.
type Notes = Arc<Mutex<BTreeMap<u64, Observed>>>;

/// What has come out.
struct Seen {
    outputs: Vec<BTreeMap<u64, Observed>>,
    /// Batches that were read once more: when, output, first batch asked for, records of each RDD.
    again: Vec<(usize, usize, usize, Vec<Vec<Pair>>)>,
}

impl Case {
    fn batches(&self) -> usize {
        self.feeds[0].len()
    }

    /// The same case with a program that doesn't grow too large.
    fn fitted(mut self) -> Case {
        while let Err(naive::TooLarge(step)) = naive::batches(&self.program, &self.feeds, LIMIT) {
            self.program = self.program.cut(step);
        }
        self
    }

    fn conf(&self) -> Conf {
        let conf = conf()
            .master(format!("local[{}]", self.on.threads))
            .default_parallelism(self.on.parallelism)
            .concurrent_jobs(self.on.jobs)
            .failure_policy(FailurePolicy::skip());
        if self.on.little_memory { conf.block_store_memory(LITTLE_MEMORY) } else { conf }
    }

    fn run(&self) -> Seen {
        if self.on.texts { self.run_with::<Str>() } else { self.run_with::<i64>() }
    }

    fn run_with<K: Name>(&self) -> Seen {
        let (streams, outputs, trips) = (self.program.streams(), self.program.outputs(), Trips::default());
        let notes: Vec<Notes> = outputs.iter().map(|_| Notes::default()).collect();
        let mut driver = Driver::with(self.on.engine, self.conf(), |ssc| {
            if let Some(n) = self.on.remember {
                ssc.remember(seconds(n))?;
            }
            let made = stream::build::<K>(ssc, &streams, &self.feeds, &trips);
            for ((stream, what), notes) in outputs.iter().zip(&notes) {
                self.output(&made[*stream], *what, notes.clone());
            }
            Ok(outputs.iter().map(|(s, _)| made[*s].clone()).collect::<Vec<_>>())
        })
        .unwrap();
        driver.start().unwrap();
        let mut again = Vec::new();
        if self.on.at_once {
            trips.arm(self.trips.first());
            driver.clock().set(Time::from_millis(1_000 * self.batches() as u64));
            wait(&driver, self.batches());
        } else {
            for b in 0..self.batches() {
                trips.arm(self.trips.iter().find(|t| t.batch == b));
                driver.batch().unwrap();
                trips.arm(None);
                again.extend(self.again(b, &driver));
            }
        }
        drop(driver.context().stop(true));
        let ctx = driver.context().context();
        assert_eq!(faults::stages(ctx), [], "outputs of stages are left");
        let left: usize = (0..300).map(|part| faults::lose_persisted(ctx, part)).sum();
        assert_eq!(left, 0, "stored blocks are left");
        let outputs = notes.iter().map(|n| n.lock().unwrap().clone()).collect();
        Seen { outputs, again }
    }

    fn output<K: Name>(&self, s: &DStream<(K, i64)>, what: Use, notes: Notes) {
        if what == Use::Print {
            s.print_to(3, |_| {});
            return;
        }
        let loses = self.on.loses;
        s.foreach_rdd(move |rdd, t| {
            if loses {
                let ctx = rdd.context();
                for stage in faults::stages(ctx).iter().filter(|s| s.batch == t) {
                    (0..3).for_each(|part| drop(faults::lose_output(ctx, stage, part)));
                }
            }
            let second = t.millis() / 1_000;
            let all = || rdd.collect().map(|all| Observed::Records(stream::numbers(all)));
            let saw = match what {
                Use::Collect => all()?,
                Use::Every(n) if second.is_multiple_of(n) => all()?,
                Use::Take(n) => Observed::Records(stream::numbers(rdd.take(n)?)),
                Use::Count => Observed::Number(rdd.count()? as u64),
                Use::Every(_) | Use::Idle | Use::Print => Observed::Called,
            };
            let twice = notes.lock().unwrap().insert(second, saw);
            assert_eq!(twice, None, "called twice");
            Ok::<_, Error>(())
        });
    }

    /// Reads all batches again that are remembered after batch `b`.
    fn again<K: Name>(
        &self,
        b: usize,
        driver: &Driver<Vec<DStream<(K, i64)>>>,
    ) -> Vec<(usize, usize, usize, Vec<Vec<Pair>>)> {
        let Some(n) = self.on.remember else { return Vec::new() };
        let from = (b + 1).saturating_sub(n as usize);
        let time = |b: usize| Time::from_millis(1_000 * at(b));
        let read = |s: &DStream<(K, i64)>| -> brooklet::Result<Vec<Vec<Pair>>> {
            let rdds = s.slice(time(from), time(b))?;
            rdds.iter().map(|rdd| Ok(stream::numbers(rdd.collect()?))).collect()
        };
        let expected = self.expected();
        let streams: Vec<usize> = self.program.outputs().iter().map(|(s, _)| *s).collect();
        let mut all = Vec::new();
        for (i, s) in driver.input().iter().enumerate() {
            let lacks = |x: &naive::Batch| x.good && x.streams[streams[i]].is_err();
            if !expected[from..=b].iter().any(lacks) {
                let seen = read(s).unwrap_or_else(|e| panic!("s{} after {b}: {e}", streams[i]));
                all.push((b, i, from, seen));
            }
        }
        all
    }

    fn expected(&self) -> Vec<naive::Batch> {
        let fitted = naive::batches(&self.program, &self.feeds, LIMIT);
        fitted.unwrap_or_else(|_| panic!("a case that is too large"))
    }

    /// What is wrong, if anything.
    fn check(&self, seen: &Seen) -> Result<(), String> {
        let expected = self.expected();
        for (i, (stream, what)) in self.program.outputs().into_iter().enumerate() {
            for (b, batch) in expected.iter().enumerate() {
                let saw = seen.outputs[i].get(&at(b));
                let value = if batch.good { &batch.streams[stream] } else { &Ok(None) };
                if !fits(what, at(b), saw, value) {
                    return Err(format!(
                        "output {i} (s{stream} {what:?}) in batch {}:\n  seen     {saw:?}\n  expected {}",
                        at(b),
                        shown(value, batch.good)
                    ));
                }
            }
        }
        for (b, i, from, rdds) in &seen.again {
            let stream = self.program.outputs()[*i].0;
            let good = expected[*from..=*b].iter().filter(|x| x.good);
            let values: Vec<Vec<Pair>> = good
                .filter_map(|x| x.streams[stream].clone().ok().flatten())
                .map(sorted)
                .collect();
            if *rdds != values {
                return Err(format!(
                    "s{stream}, batches {} to {} read again:\n  seen     {rdds:?}\n  expected {values:?}",
                    at(*from),
                    at(*b)
                ));
            }
        }
        Ok(())
    }
}

fn shown(value: &Value, good: bool) -> String {
    match value {
        _ if !good => "nothing, for the batch fails".into(),
        Ok(Some(records)) => format!("{:?}", sorted(records.clone())),
        Ok(None) => "nothing, for there is no RDD".into(),
        Err(lack) => format!("nothing: {lack:?}"),
    }
}

/// Whether an output may have seen that of a stream.
fn fits(what: Use, second: u64, saw: Option<&Observed>, value: &Value) -> bool {
    let records = match value {
        _ if what == Use::Print => return true,
        Ok(Some(records)) => records,
        Ok(None) | Err(Lack::NoRdd) => return saw.is_none(),
        Err(Lack::Broken) => {
            return match what {
                Use::Idle => saw == Some(&Observed::Called),
                Use::Every(n) if !second.is_multiple_of(n) => saw == Some(&Observed::Called),
                Use::Take(_) => true, // perhaps it didn't come to that place
                _ => saw.is_none(),
            };
        }
    };
    match (what, saw) {
        (Use::Idle, Some(Observed::Called)) => true,
        (Use::Every(n), Some(Observed::Called)) => !second.is_multiple_of(n),
        (Use::Every(_) | Use::Collect, Some(Observed::Records(saw))) => {
            *saw == sorted(records.clone())
        }
        (Use::Take(n), Some(Observed::Records(saw))) => {
            let mut all = sorted(records.clone());
            let found = |r: &Pair| all.binary_search(r).map(|i| all.remove(i)).is_ok();
            saw.len() == n.min(records.len()) && saw.iter().all(found)
        }
        (Use::Count, Some(Observed::Number(n))) => *n == records.len() as u64,
        _ => false,
    }
}

/// Waits until `n` batches are over.
fn wait<I>(driver: &Driver<I>, n: usize) {
    let step = Duration::from_micros(50);
    for _ in 0..HANG.as_micros() / step.as_micros() {
        if driver.context().metrics().unwrap().snapshot().total_completed_batches >= n as u64 {
            return;
        }
        assert!(!driver.context().await_termination_or_timeout(step).unwrap(), "it has stopped");
    }
    panic!("{n} batches are not over");
}

fn settings() -> impl Strategy<Value = Setting> {
    let engine = prop_oneof![2 => Just(TestEngine::Local), 1 => Just(TestEngine::Loopback)];
    let jobs = prop_oneof![2 => Just(1usize), 1 => Just(2usize), 1 => Just(3usize)];
    let remember = prop_oneof![3 => Just(None), 1 => (1..5u64).prop_map(Some)];
    let rarely = |n| prop_oneof![n => Just(false), 1 => Just(true)];
    let all = (
        engine,
        select(vec![1usize, 2, 3]),
        1..6usize,
        jobs,
        rarely(2),
        remember,
        rarely(2),
        rarely(5),
    );
    all.prop_map(|(engine, threads, parallelism, jobs, texts, remember, at_once, little_memory)| {
        let loses = false;
        Setting {
            engine,
            threads,
            parallelism,
            jobs,
            texts,
            remember,
            at_once,
            little_memory,
            loses,
        }
    })
}

fn generated(poisoned: bool) -> impl Strategy<Value = Case> {
    (program::programs(poisoned), program::feeds(), settings()).prop_map(|(program, feeds, on)| {
        Case { program, feeds, on, trips: Vec::new() }.fitted()
    })
}

/// Some batches of these have a function that fails up to three times, one less than ends a job.
fn tripping(cases: impl Strategy<Value = Case>) -> impl Strategy<Value = Case> {
    let after = prop_oneof![2 => 0..3u32, 1 => 0..40u32];
    let trip = (0..13usize, 0..6usize, after, 1..4u32);
    let trips = prop::collection::vec(trip, 1..12);
    (cases, trips).prop_map(|(mut case, trips)| {
        let ops = case.program.steps.len() + 1;
        let trip = |(batch, op, after, times)| Trip { batch, op: op % ops, after, times };
        case.trips = trips.into_iter().map(trip).collect();
        case
    })
}

/// Tries cases; a failing one is shown in its smallest form.
fn check(config: Config, cases: impl Strategy<Value = Case>) {
    check_with(TestRunner::new(config), cases, Case::run);
}

fn check_with(
    mut runner: TestRunner,
    cases: impl Strategy<Value = Case>,
    run: impl Fn(&Case) -> Seen,
) {
    let tried = runner.run(&cases, |case| {
        case.check(&run(&case)).map_err(TestCaseError::fail)?;
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{case:?}\n{why}"),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn every_batch_is_what_a_recomputation_from_all_batches_gives() {
    check(config("windows and state", SOUND), generated(false));
}

#[test]
fn tasks_that_fail_and_are_tried_again_change_nothing() {
    check(config("windows and state, tasks tried again", TRIPPED), tripping(generated(false)));
}

#[test]
fn batches_that_fail_for_good_leave_no_trace() {
    check(config("windows and state, failed batches", FAILED), tripping(generated(true)));
}
