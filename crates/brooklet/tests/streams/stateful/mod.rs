//! Windows and keyed state against an oracle: generated programs over generated batches give, batch by batch,
//! the multiset that a recomputation from all batches gives; whatever the engine, the partitions and the uses,
//! with tasks that fail and are tried again, and with batches that fail for good and leave no trace.

mod naive;
mod program;
mod stream;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::scheduler::listener;
use brooklet::testing::{Collector, Driver, TestEngine, faults};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use naive::{Lack, Value, at};
use program::{Feed, INPUTS, Pair, Program, Use};
use stream::{Records, Trip, Trips};

use super::cases::config;
use super::{HANG, conf, sorted};

/// What `persist` is tried with.
const LEVELS: [StorageLevel; 5] = [
    StorageLevel::MEMORY_ONLY,
    StorageLevel::MEMORY_AND_DISK,
    StorageLevel::MEMORY_AND_DISK_SER,
    StorageLevel::MEMORY_ONLY_SER,
    StorageLevel::DISK_ONLY,
];

/// Records that a stream of a generated program may have in a batch; a program that makes more is cut there.
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
    /// Calls of user functions that failed.
    tripped: u32,
    /// Partitions of stages' outputs that were lost.
    lost: u32,
    /// Why outputs failed or didn't run.
    reasons: BTreeSet<String>,
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

    fn outputs(&self) -> Vec<(usize, Use)> {
        let mut outputs = self.program.outputs();
        if self.on.engine == TestEngine::Loopback {
            // A `take` in a closure on the driver isn't sent to other processes.
            let takes = outputs.iter_mut().filter(|(_, u)| matches!(u, Use::Take(_)));
            takes.for_each(|(_, u)| *u = Use::Print);
        }
        outputs
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
        let (streams, outputs, trips) = (self.program.streams(), self.outputs(), Trips::default());
        let lost = Arc::new(AtomicU32::new(0));
        let notes: Vec<Notes> = outputs.iter().map(|_| Notes::default()).collect();
        let mut driver = Driver::with(self.on.engine, self.conf(), |ssc| {
            if let Some(n) = self.on.remember {
                ssc.remember(seconds(n))?;
            }
            let made = stream::build(ssc, &streams, &self.feeds, &trips);
            for ((stream, what), notes) in outputs.iter().zip(&notes) {
                self.output(&made[*stream], *what, notes.clone(), lost.clone());
            }
            let streams: Vec<Records> = outputs.iter().map(|(s, _)| made[*s].clone()).collect();
            Ok(Mutex::new(streams))
        })
        .unwrap();
        let (tx, heard) = mpsc::channel();
        driver.context().add_listener(listener::batch_completed(move |b| {
            let reasons =
                b.output_operation_infos.values().filter_map(|o| o.failure_reason.clone());
            reasons.for_each(|why| drop(tx.send(format!("{}: {why}", b.batch_time))));
        }));
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
                again.extend(self.again(b, &driver.input().lock().unwrap()));
            }
        }
        // Streams hold what they remember.
        driver.input().lock().unwrap().clear();
        drop(driver.context().stop(true));
        let ctx = driver.context().context();
        assert_eq!(faults::stages(ctx), [], "outputs of stages are left");
        let left: usize = (0..300).map(|part| faults::lose_persisted(ctx, part)).sum();
        assert_eq!(left, 0, "stored blocks are left");
        let outputs = notes.iter().map(|n| n.lock().unwrap().clone()).collect();
        Seen {
            outputs,
            again,
            tripped: trips.tripped(),
            lost: lost.load(Relaxed),
            reasons: heard.try_iter().collect(),
        }
    }

    fn output(&self, s: &Records, what: Use, notes: Notes, lost: Arc<AtomicU32>) {
        if what == Use::Print {
            s.print_to(3, |_| {});
            return;
        }
        let loses = self.on.loses;
        s.foreach_rdd(move |rdd, t| {
            if loses {
                let ctx = rdd.context();
                for stage in faults::stages(ctx).iter().filter(|s| s.batch == t) {
                    let gone = (0..3).filter(|part| faults::lose_output(ctx, stage, *part)).count();
                    lost.fetch_add(gone as u32, Relaxed);
                }
            }
            let second = t.millis() / 1_000;
            let all = || rdd.collect().map(|all| Observed::Records(stream::numbers(all)));
            let saw = match what {
                Use::Collect => all()?,
                Use::Every(n) if second.is_multiple_of(n) => all()?,
                Use::Take(n) => Observed::Records(stream::numbers(rdd.take(n)?)),
                Use::Count => Observed::Number(rdd.count()?),
                Use::Every(_) | Use::Idle | Use::Print => Observed::Called,
            };
            let twice = notes.lock().unwrap().insert(second, saw);
            assert_eq!(twice, None, "called twice");
            Ok::<_, Error>(())
        });
    }

    /// Reads all batches again that are remembered after batch `b`.
    fn again(&self, b: usize, outputs: &[Records]) -> Vec<(usize, usize, usize, Vec<Vec<Pair>>)> {
        // Other processes don't know the RDDs of earlier batches by themselves.
        let local = self.on.engine == TestEngine::Local;
        let Some(n) = self.on.remember.filter(|_| local) else { return Vec::new() };
        let from = (b + 1).saturating_sub(n as usize);
        let time = |b: usize| Time::from_millis(1_000 * at(b));
        let read = |s: &Records| -> brooklet::Result<Vec<Vec<Pair>>> {
            // Ends between two batches of the stream are floored.
            let slide = s.slide_duration();
            let begin = time(from) + (slide - seconds(1));
            let begin = begin.floor_from(slide, Time::ZERO);
            if begin > time(b) {
                return Ok(Vec::new());
            }
            let rdds = s.slice(begin, time(b))?;
            rdds.iter().map(|rdd| Ok(stream::numbers(rdd.collect()?))).collect()
        };
        let expected = self.expected();
        let streams: Vec<usize> = self.program.outputs().iter().map(|(s, _)| *s).collect();
        let mut all = Vec::new();
        for (i, s) in outputs.iter().enumerate() {
            let lacks = |x: &naive::Batch| x.good && x.streams[streams[i]].is_err();
            if !expected[from..=b].iter().any(lacks) {
                let seen = read(s).unwrap_or_else(|e| panic!("s{} after {b}: {e}", streams[i]));
                all.push((b, i, from, seen));
            }
        }
        all
    }

    fn expected(&self) -> Vec<naive::Batch> {
        naive::batches(&self.program, &self.feeds, usize::MAX).expect("without a limit")
    }

    /// What is wrong, if anything.
    fn check(&self, seen: &Seen) -> Result<(), String> {
        let expected = self.expected();
        for (i, (stream, what)) in self.outputs().into_iter().enumerate() {
            for (b, batch) in expected.iter().enumerate() {
                let saw = seen.outputs[i].get(&at(b));
                let value = if batch.good { &batch.streams[stream] } else { &Ok(None) };
                if !fits(what, at(b), saw, value) {
                    return Err(format!(
                        "output {i} (s{stream} {what:?}) in batch {}:\n  seen     {saw:?}\n  expected {}\n  failures {:?}",
                        at(b),
                        shown(value, batch.good),
                        seen.reasons
                    ));
                }
            }
        }
        for (b, i, from, rdds) in &seen.again {
            let stream = self.program.outputs()[*i].0;
            let good = expected[*from..=*b].iter().filter(|x| x.good);
            let values: Vec<Vec<Pair>> =
                good.filter_map(|x| x.streams[stream].clone().ok().flatten()).map(sorted).collect();
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
    let all = (engine, select(vec![1usize, 2, 3]), 1..6usize, jobs, remember, rarely(2), rarely(5));
    all.prop_map(|(engine, threads, parallelism, jobs, remember, at_once, little_memory)| {
        let loses = false;
        Setting { engine, threads, parallelism, jobs, remember, at_once, little_memory, loses }
    })
}

fn generated(poisoned: bool) -> impl Strategy<Value = Case> {
    (program::programs(poisoned), program::feeds(), settings())
        .prop_map(|(program, feeds, on)| Case { program, feeds, on, trips: Vec::new() }.fitted())
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

/// Two windows that are kept up in two ways.
fn twins() -> impl Strategy<Value = Case> {
    (program::twins(), program::feeds(), settings()).prop_map(|(program, feeds, on)| {
        let on = Setting { remember: None, ..on };
        Case { program, feeds, on, trips: Vec::new() }
    })
}

/// Cases whose outputs lose what the stages of their batch have left. Without `window`, which doesn't keep what
/// its stage was made from.
fn losing() -> impl Strategy<Value = Case> {
    let windowless = |case: &Case| {
        let ops = case.program.streams();
        !ops.iter().any(|s| matches!(s.op, Some(program::Op::Window(_))))
    };
    generated(false).prop_filter("a `window`", windowless).prop_map(|mut case| {
        let on = Setting { engine: TestEngine::Local, jobs: 1, at_once: false, ..case.on };
        case.on = Setting { loses: true, remember: None, ..on };
        case
    })
}

/// Tries cases; a failing one is shown in its smallest form.
fn check(
    config: Config,
    cases: impl Strategy<Value = Case>,
    ran: impl FnMut(&Case, &Seen) -> Result<(), String>,
) {
    check_with(TestRunner::new(config), cases, Case::run, ran);
}

fn check_with(
    mut runner: TestRunner,
    cases: impl Strategy<Value = Case>,
    run: impl Fn(&Case) -> Seen,
    ran: impl FnMut(&Case, &Seen) -> Result<(), String>,
) {
    let ran = RefCell::new(ran);
    let tried = runner.run(&cases, |case| {
        let seen = run(&case);
        let checked = case.check(&seen).and_then(|()| (ran.borrow_mut())(&case, &seen));
        checked.map_err(TestCaseError::fail)
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{case:?}\n{why}"),
        Err(e) => panic!("{e}"),
    }
}

/// What the cases of a property have met.
#[derive(Default)]
struct Coverage {
    /// In how many cases each operator had something to give.
    operators: BTreeMap<String, u32>,
    /// Good batches before, and after, one that failed.
    failed: u32,
    good_after_failed: u32,
    tripped: u32,
}

impl Coverage {
    fn note(&mut self, case: &Case, seen: &Seen) {
        let (streams, mut failed) = (case.program.streams(), false);
        let mut busy = BTreeSet::new();
        for batch in case.expected() {
            for (stream, value) in streams.iter().zip(&batch.streams) {
                if let (Some(op), Ok(Some(records))) = (stream.op, value)
                    && !records.is_empty()
                {
                    let text = format!("{op:?}");
                    busy.insert(text.split('(').next().unwrap_or_default().to_string());
                }
            }
            failed |= !batch.good;
            self.failed += u32::from(!batch.good);
            self.good_after_failed += u32::from(batch.good && failed);
        }
        busy.into_iter().for_each(|op| *self.operators.entry(op).or_default() += 1);
        self.tripped += seen.tripped;
    }
}

#[test]
fn every_batch_is_what_a_recomputation_from_all_batches_gives() {
    let mut coverage = Coverage::default();
    let config = config("windows and state", SOUND);
    let asked = config.cases;
    check(config, generated(false), |case, seen| {
        coverage.note(case, seen);
        Ok(())
    });
    if asked >= SOUND {
        let Coverage { operators, failed, good_after_failed, .. } = coverage;
        assert_eq!(operators.len(), 34, "{operators:?}");
        assert!(operators.values().all(|n| *n > asked / 400), "{operators:?}");
        assert!(failed.min(good_after_failed) > asked / 20, "{failed} {good_after_failed}");
    }
}

#[test]
fn tasks_that_fail_and_are_tried_again_change_nothing() {
    let (config, mut tripped) = (config("windows and state, tasks tried again", TRIPPED), 0);
    let asked = config.cases;
    check(config, tripping(generated(false)), |_, seen| {
        tripped += seen.tripped;
        Ok(())
    });
    assert!(tripped >= asked / 2, "only {tripped} calls have failed");
}

#[test]
fn batches_that_fail_for_good_leave_no_trace() {
    let mut coverage = Coverage::default();
    let config = config("windows and state, failed batches", FAILED);
    let asked = config.cases;
    check(config, tripping(generated(true)), |case, seen| {
        coverage.note(case, seen);
        Ok(())
    });
    if asked >= FAILED {
        let Coverage { failed, good_after_failed, tripped, .. } = coverage;
        assert!(failed > asked / 4, "only {failed} batches have failed");
        assert!(good_after_failed > asked / 4, "only {good_after_failed} batches after those");
        assert!(tripped > asked / 10, "only {tripped} calls have failed");
    }
}

#[test]
fn what_stages_have_left_is_made_again_when_it_is_lost() {
    let (config, mut lost) = (config("windows and state, lost outputs", LOST), 0);
    let asked = config.cases;
    check(config, losing(), |_, seen| {
        lost += seen.lost;
        Ok(())
    });
    assert!(lost >= asked, "only {lost} partitions were lost");
}

#[test]
fn windows_with_and_without_an_inverse_agree() {
    let config = config("windows with and without inverse", AGREED);
    check(config, tripping(twins()), |_, seen| {
        let [without, with] = &seen.outputs[..] else { return Err("two outputs".into()) };
        for (t, saw) in without {
            let (Observed::Records(a), Some(Observed::Records(b))) = (saw, with.get(t)) else {
                return Err(format!("batch {t} has nothing to compare"));
            };
            // What has left the window is worth nothing.
            let left: Vec<&Pair> = b.iter().filter(|r| !a.contains(r)).collect();
            let same = a.len() + left.len() == b.len() && left.iter().all(|(_, v)| *v == 0);
            if !same {
                return Err(format!("batch {t}:\n  without {a:?}\n  with    {b:?}"));
            }
        }
        Ok(())
    });
}

/// Batches of a stream that is slower than the context: those between two of its own forget nothing that a
/// window needs.
#[test]
fn a_window_over_a_stream_with_a_longer_slide_keeps_its_batches() {
    for engine in super::ENGINES {
        let seen = Collector::new();
        let mut d = super::driver::<i64>(engine, conf(), |_, s| {
            let seen = seen.clone();
            let slow = s.window(seconds(2), seconds(2));
            slow.window(seconds(4), None).foreach_rdd(move |rdd, t| seen.take(rdd, t));
        });
        (1..=8).for_each(|x| d.input().push([x]));
        d.batches(8).unwrap();
        assert_eq!(
            seen.batches(),
            [vec![1, 2], vec![1, 2, 3, 4], vec![3, 4, 5, 6], vec![5, 6, 7, 8]]
        );
    }
}

/// The oracle and the generator aren't blind: an operator that is wrong in one place is found, and what is
/// shown of it is short.
#[test]
fn a_wrong_window_is_found_and_shown_as_a_short_program() {
    let wrong = std::panic::catch_unwind(|| {
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let always_the_same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let runner = TestRunner::new_with_rng(config, always_the_same);
        let run = |case: &Case| {
            let streams = case.program.streams();
            let mut outputs = Vec::new();
            for (s, _) in case.program.outputs() {
                let counts = matches!(streams[s].op, Some(program::Op::CountWindow(_)));
                let mut saw = BTreeMap::new();
                for (b, batch) in case.expected().into_iter().enumerate() {
                    if let (true, Ok(Some(mut records))) = (batch.good, batch.streams[s].clone()) {
                        // Zero instead of nothing before the first record.
                        if counts && records.is_empty() {
                            records.push((0, 0));
                        }
                        saw.insert(at(b), Observed::Records(sorted(records)));
                    }
                }
                outputs.push(saw);
            }
            Seen { outputs, again: Vec::new(), tripped: 0, lost: 0, reasons: BTreeSet::new() }
        };
        let collected = generated(false).prop_map(|mut case| {
            case.program = case.program.collected();
            case
        });
        check_with(runner, collected, run, |_, _| Ok(()));
    });
    let text = *wrong.unwrap_err().downcast::<String>().unwrap();
    let steps: Vec<&str> = text.lines().filter(|l| l.contains(" of (")).collect();
    assert!(steps.len() <= 3, "{text}");
    assert!(steps.iter().any(|s| s.contains(" = count_by_window")), "{text}");
}
