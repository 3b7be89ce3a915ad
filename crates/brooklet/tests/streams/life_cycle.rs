//! The states of a context and what each call does in each of them (inventory 1.1).

use std::process::Command;
use std::sync::{Arc, mpsc};

use brooklet::prelude::*;
use brooklet::scheduler::listener;
use brooklet::testing::{Collector, Driver};
use brooklet::time::ManualClock;
use brooklet::{AsyncReceiver, ContextState, Input, Partitions};

use super::{HANG, conf};

/// A context on a clock that stands still, with one output.
fn context() -> (Arc<ManualClock>, StreamingContext) {
    let clock = ManualClock::new(Time::ZERO);
    let ssc = StreamingContext::new(conf().clock(clock.clone()), seconds(1)).unwrap();
    ssc.queue_stream::<i64>().1.print_to(1, |_| {});
    (clock, ssc)
}

#[test]
fn a_context_is_initialized_then_active_then_stopped() {
    let (_, ssc) = context();
    assert_eq!(ssc.state(), ContextState::Initialized);
    ssc.start().unwrap();
    assert_eq!(ssc.state(), ContextState::Active);
    ssc.stop(true).unwrap();
    assert_eq!(ssc.state(), ContextState::Stopped);
    ssc.stop(false).unwrap();
    ssc.await_termination().unwrap();
    assert!(ssc.await_termination_or_timeout(seconds(0)).unwrap());
}

#[test]
fn a_second_start_changes_nothing() {
    let seen = Collector::new();
    let s = seen.clone();
    let mut d = Driver::new(|ssc| {
        let (queue, numbers) = ssc.queue_stream::<i64>();
        numbers.foreach_rdd(move |r, t| s.take(r, t));
        Ok(queue)
    })
    .unwrap();
    d.start().unwrap();
    d.context().start().unwrap();
    assert_eq!(d.context().state(), ContextState::Active);
    d.input().push([1]);
    d.batches(2).unwrap();
    d.context().start().unwrap();
    assert_eq!(seen.batches(), [vec![1], vec![]], "each batch once");
}

#[test]
fn a_stopped_context_cannot_be_started_again() {
    let (_, started) = context();
    started.start().unwrap();
    started.stop(false).unwrap();
    let (_, never_started) = context();
    never_started.stop(true).unwrap();
    for ssc in [started, never_started] {
        let e = ssc.start().unwrap_err();
        assert!(matches!(e, Error::State { call: "start", state: "stopped", .. }), "{e:?}");
        assert!(e.to_string().contains("`start` on a context that is stopped"), "{e}");
        assert_eq!(ssc.state(), ContextState::Stopped);
    }
}

#[test]
fn stop_before_start_is_fine_and_releases_who_waits() {
    let (_, ssc) = context();
    assert!(!ssc.await_termination_or_timeout(millis(0)).unwrap());
    ssc.stop(true).unwrap();
    ssc.stop(false).unwrap();
    assert_eq!(ssc.state(), ContextState::Stopped);
    ssc.await_termination().unwrap();
}

#[test]
fn a_context_without_outputs_is_refused_with_what_to_add() {
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let (_, numbers) = ssc.queue_stream::<i64>();
    let text = ssc.start().unwrap_err().to_string();
    assert!(text.contains("no output operations are registered"), "{text}");
    assert!(text.contains("`print()`"), "{text}");
    assert_eq!(ssc.state(), ContextState::Initialized);
    numbers.print_to(1, |_| {});
    ssc.start().unwrap();
    ssc.stop(false).unwrap();
}

#[test]
fn stop_from_a_listener_is_an_error_and_the_stream_goes_on() {
    let mut d = Driver::new(|ssc| {
        ssc.queue_stream::<i64>().1.print_to(1, |_| {});
        Ok(())
    })
    .unwrap();
    let (tx, rx) = mpsc::channel();
    let ssc = d.context().clone();
    let id = d.context().add_listener(listener::batch_completed(move |_| {
        drop(tx.send(ssc.stop(true).map_err(|e| e.to_string())));
    }));
    d.batch().unwrap();
    let text = rx.recv_timeout(HANG).unwrap().unwrap_err();
    assert!(text.contains("called from a listener"), "{text}");
    d.batch().unwrap();
    assert_eq!(d.context().state(), ContextState::Active);
    assert!(d.context().remove_listener(id.unwrap()));
    assert!(!d.context().remove_listener(id.unwrap()));
}

#[test]
fn stop_from_an_output_only_asks_and_the_context_ends() {
    let (tx, rx) = mpsc::channel();
    let clock = ManualClock::new(Time::ZERO);
    let ssc = StreamingContext::new(conf().clock(clock.clone()), seconds(1)).unwrap();
    let (_, numbers) = ssc.queue_stream::<i64>();
    let own = std::sync::Mutex::new(None::<StreamingContext>);
    let own = Arc::new(own);
    let o = own.clone();
    numbers.foreach_rdd(move |_, _| {
        if let Some(ssc) = o.lock().unwrap().take() {
            let _ = tx.send(ssc.stop(false).is_ok());
        }
    });
    *own.lock().unwrap() = Some(ssc.clone());
    ssc.start().unwrap();
    clock.advance(seconds(1));
    assert!(rx.recv_timeout(HANG).unwrap());
    ssc.await_termination().unwrap();
    assert_eq!(ssc.state(), ContextState::Stopped);
}

#[test]
fn await_termination_gives_the_first_failure_at_every_call() {
    let mut d = Driver::new(|ssc| {
        ssc.queue_stream::<i64>().1.foreach_rdd(|_, t| match t.millis() {
            1_000 => Ok(()),
            _ => Err("no disk"),
        });
        Ok(())
    })
    .unwrap();
    d.batch().unwrap();
    assert!(!d.context().await_termination_or_timeout(millis(1)).unwrap());
    assert!(d.batch().is_err());
    let texts: Vec<String> =
        (0..3).map(|_| d.context().await_termination().unwrap_err().to_string()).collect();
    assert!(texts[0].contains("no disk"), "{}", texts[0]);
    assert!(texts.iter().all(|t| *t == texts[0]));
    assert!(d.context().await_termination_or_timeout(HANG).is_err());
    d.context().stop(true).unwrap();
    assert_eq!(d.context().state(), ContextState::Stopped);
    assert!(d.context().await_termination().is_err(), "also after a stop");
}

/// Can't be opened.
struct Closed;

impl Input for Closed {
    type Item = u64;
    type Slice = ();
    type Pipe = Partitions<u64>;
    fn start(&mut self, _: brooklet::source::InputStart) -> Result<(), BoxError> {
        Err("the door is closed".into())
    }
    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<()>, BoxError> {
        Ok(Some(()))
    }
    fn read(&self, _: &Arc<()>) -> Result<Partitions<u64>, BoxError> {
        Ok(Partitions::from_fn(1, |_| 0..1))
    }
}

#[test]
fn a_failed_start_leaves_the_context_stopped() {
    let (_, ssc) = context();
    ssc.input_stream(Closed).print_to(1, |_| {});
    let text = ssc.start().unwrap_err().to_string();
    assert!(text.contains("the door is closed") && text.contains("`input_stream`"), "{text}");
    assert_eq!(ssc.state(), ContextState::Stopped);
    assert!(matches!(ssc.start(), Err(Error::State { .. })));
    ssc.stop(true).unwrap();
}

#[test]
fn remember_may_be_set_once_and_only_before_the_start() {
    let (_, ssc) = context();
    ssc.remember(seconds(5)).unwrap();
    let text = ssc.remember(seconds(5)).unwrap_err().to_string();
    assert!(text.contains("`remember` may be set once"), "{text}");
    ssc.start().unwrap();
    assert!(matches!(ssc.remember(seconds(1)), Err(Error::State { call: "remember", .. })));
    let built = StreamingContext::builder(conf()).remember(seconds(3)).build().unwrap();
    assert!(built.remember(seconds(3)).is_err());
}

#[test]
fn settings_that_cannot_be_are_named() {
    for interval in [millis(0), std::time::Duration::from_micros(1_500)] {
        let e = StreamingContext::new(conf(), interval).unwrap_err();
        assert!(matches!(&e, Error::Config { key, .. } if key == "batch_interval"), "{e}");
    }
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let e = ssc.union::<i64>([]).unwrap_err();
    assert!(e.to_string().contains("at least one stream"), "{e}");
}

/// Stores `0..n`, then waits for the stop.
struct Burst(u64);

impl Receiver for Burst {
    type Item = u64;
    fn run(&mut self, out: &mut Store<u64>) -> Result<(), BoxError> {
        for i in 0..self.0 {
            out.store(i)?;
        }
        Ok(())
    }
}

struct AsyncBurst(u64);

impl AsyncReceiver for AsyncBurst {
    type Item = u64;
    async fn run(&mut self, out: &mut Store<u64>) -> Result<(), BoxError> {
        for i in 0..self.0 {
            tokio::task::yield_now().await;
            out.store(i)?;
        }
        Ok(())
    }
}

/// A whole life with both kinds of receivers; nothing received may be lost by a graceful stop.
fn a_whole_life() {
    let conf = Conf::new("inside").master("local[2]");
    let ssc = StreamingContext::new(conf, millis(20)).unwrap();
    let sum = ssc.context().long_accumulator("sum");
    let (a, b) = (sum.clone(), sum.clone());
    let add = |xs: brooklet::PartitionIter<u64>, s: &brooklet::Accumulator<brooklet::LongSum>| {
        xs.for_each(|x| s.add(x as i64));
    };
    ssc.receiver_stream(Burst(1_000)).foreach_partition(move |xs, _| add(xs, &a));
    ssc.async_receiver_stream(AsyncBurst(1_000)).foreach_partition(move |xs, _| add(xs, &b));
    ssc.start().unwrap();
    ssc.await_receivers().unwrap();
    ssc.stop(true).unwrap();
    assert_eq!((sum.value().sum, sum.value().count), (2 * 499_500, 2_000));
}

/// Dropped while active, as a program does that returns early.
fn a_short_life() {
    let ssc = StreamingContext::new(Conf::new("dropped").master("local[2]"), millis(20)).unwrap();
    ssc.async_receiver_stream(AsyncBurst(u64::MAX)).count().print_to(1, |_| {});
    ssc.start().unwrap();
    drop(ssc);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_live_inside_a_multi_threaded_tokio_program() {
    a_whole_life();
    a_short_life();
    tokio::task::yield_now().await;
}

#[tokio::test(flavor = "current_thread")]
async fn contexts_live_inside_a_single_threaded_tokio_program() {
    a_whole_life();
    a_short_life();
    tokio::task::yield_now().await;
}

#[test]
fn contexts_live_outside_of_tokio() {
    a_whole_life();
    a_short_life();
}

/// Runs one test of this binary in a process of its own and returns what it wrote.
fn alone(test: &str) -> String {
    let exe = std::env::current_exe().unwrap();
    let out = Command::new(exe)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("BROOKLET_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{test} failed:\n{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
    text
}

fn is_alone() -> bool {
    std::env::var_os("BROOKLET_ALONE").is_some()
}

#[test]
fn print_writes_ten_records_below_the_batch_time_to_standard_output() {
    if is_alone() {
        let mut d = Driver::new(|ssc| {
            let (queue, s) = ssc.queue_stream::<i64>();
            s.print();
            s.map(|x| format!("<{x}>")).print_n(1);
            Ok(queue)
        })
        .unwrap();
        d.input().push(0..11);
        d.input().push(0..10);
        d.batches(2).unwrap();
        return;
    }
    let text =
        alone("life_cycle::print_writes_ten_records_below_the_batch_time_to_standard_output");
    let head = |t: u64| format!("{0}\nTime: {t} ms\n{0}\n", "-".repeat(43));
    let ten = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let one = "\"<0>\"\n...\n\n";
    let want = [
        format!("{}{ten}...\n\n{}{one}", head(1_000), head(1_000)),
        format!("{}{ten}\n{}{one}", head(2_000), head(2_000)),
    ];
    assert!(text.contains(&want.concat()), "{text}");
}

/// (threads, open files) of this process.
fn resources() -> (usize, usize) {
    let entries = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_starts_and_stops_leave_no_thread_and_no_open_file() {
    const LIVES: u64 = 1_000;
    if !is_alone() {
        alone("life_cycle::a_thousand_starts_and_stops_leave_no_thread_and_no_open_file");
        return;
    }
    let life = |i: u64| {
        let clock = ManualClock::new(Time::ZERO);
        let conf = Conf::new("life").master("local[2]").clock(clock.clone());
        let ssc = StreamingContext::new(conf, seconds(1)).unwrap();
        ssc.receiver_stream(Burst(3)).count().print_to(1, |_| {});
        if i.is_multiple_of(2) {
            ssc.async_receiver_stream(AsyncBurst(3)).print_to(1, |_| {});
        }
        ssc.start().unwrap();
        clock.advance(seconds(1));
        if i.is_multiple_of(3) {
            ssc.await_receivers().unwrap();
        }
        ssc.stop(i.is_multiple_of(3)).unwrap();
    };
    (0..4).for_each(life);
    let before = resources();
    (0..LIVES).for_each(life);
    assert_eq!(resources(), before);
}
