//! What listeners hear: every event with every field, on a clock moved by hand.

use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::scheduler::listener::{batch_completed, output_completed};
use brooklet::time::Timestamp;
use brooklet::{StatsReportListener, StreamInputInfo};
use brooklet_testkit::Driver;

use crate::support::{Heard, Notes, scripted, until};

fn at(ms: u64) -> Timestamp {
    Timestamp::from(Time::from_millis(ms))
}

#[test]
fn every_event_has_every_field() {
    // The receiver stores three records in a block, reports an error, and ends.
    let driver = Driver::new(|ssc| {
        let numbers = ssc.receiver_stream(scripted(|out: &mut Store<u32>| {
            out.store_block([1, 2, 3])?;
            out.report_error("a bad day", "rain");
            Ok(())
        }));
        numbers.foreach_rdd(|_, _| ()).name("first");
        numbers.foreach_rdd(|rdd, _| rdd.count().map(drop));
        Ok(())
    });
    let mut driver = driver.unwrap();
    let notes = Notes::of(driver.context());
    driver.start().unwrap();
    driver.context().await_receivers().unwrap();
    driver.batch().unwrap();
    driver.context().stop(true).unwrap();
    let all = notes.all();

    // The receiver's events are in order among themselves.
    let receiver: Vec<(&str, brooklet::ReceiverInfo)> = all
        .iter()
        .filter_map(|e| match e {
            Heard::ReceiverStarted(r) => Some(("started", r.clone())),
            Heard::ReceiverError(r) => Some(("error", r.clone())),
            Heard::ReceiverStopped(r) => Some(("stopped", r.clone())),
            _ => None,
        })
        .collect();
    let names: Vec<&str> = receiver.iter().map(|r| r.0).collect();
    assert_eq!(names, ["started", "error", "stopped"]);
    for (what, r) in &receiver {
        assert_eq!((r.stream_id, r.name.as_str()), (0, "scripted"), "{what}");
        assert_eq!((r.location.as_str(), r.executor_id.as_str()), ("localhost", "driver"));
        assert_eq!(r.active, *what != "stopped");
        let error = (r.last_error_message.as_str(), r.last_error.as_str(), r.last_error_time);
        match *what {
            "started" => assert_eq!(error, ("", "", None)),
            _ => assert_eq!(error, ("a bad day", "rain", Some(at(0)))),
        }
    }

    // So are the others: start, then the batch with its outputs one after the other.
    let others: Vec<&Heard> = all
        .iter()
        .filter(|e| {
            !matches!(
                e,
                Heard::ReceiverStarted(_) | Heard::ReceiverError(_) | Heard::ReceiverStopped(_)
            )
        })
        .collect();
    let [
        Heard::Started(start),
        Heard::Submitted(submitted),
        Heard::BatchStarted(started),
        Heard::OutputStarted(first_started),
        Heard::OutputCompleted(first),
        Heard::OutputStarted(second_started),
        Heard::OutputCompleted(second),
        Heard::Completed(completed),
    ] = others[..]
    else {
        panic!("another order: {others:#?}");
    };
    assert_eq!(*start, at(0));
    for b in [submitted, started, completed] {
        assert_eq!(b.batch_time, Time::from_millis(1_000));
        assert_eq!((b.submission_time, b.num_records()), (at(1_000), 3));
        assert_eq!(b.stream_id_to_input_info[&0], StreamInputInfo::new(0, 3));
        assert_eq!(b.output_operation_infos.len(), 2);
    }
    assert_eq!((submitted.processing_start_time, submitted.processing_end_time), (None, None));
    assert_eq!((submitted.scheduling_delay(), submitted.total_delay()), (None, None));
    assert_eq!(
        (started.processing_start_time, started.processing_end_time),
        (Some(at(1_000)), None)
    );
    assert_eq!(completed.processing_end_time, Some(at(1_000)));
    assert_eq!(completed.output_operation_infos[&0], *first);
    assert_eq!(completed.output_operation_infos[&1], *second);
    for (id, begun, done) in [(0, first_started, first), (1, second_started, second)] {
        assert_eq!((begun.id, done.id, done.batch_time), (id, id, Time::from_millis(1_000)));
        assert_eq!((begun.start_time, begun.end_time), (Some(at(1_000)), None));
        assert_eq!((done.start_time, done.end_time), (Some(at(1_000)), Some(at(1_000))));
        assert_eq!((&done.failure_reason, done.duration()), (&None, Some(millis(0))));
        assert_eq!((&begun.name, &begun.description), (&done.name, &done.description));
        assert!(done.description.contains("listener.rs"), "{}", done.description);
    }
    assert_eq!(&*first.name, "first");
    assert!(second.name.contains("foreach_rdd"), "{}", second.name);
}

#[test]
fn delays_are_from_submission_to_start_to_end() {
    let clock = Arc::new(std::sync::OnceLock::<Arc<brooklet::time::ManualClock>>::new());
    let metrics = Arc::new(std::sync::OnceLock::<Arc<brooklet::metrics::StreamingMetrics>>::new());
    let (c, m) = (clock.clone(), metrics.clone());
    let driver = Driver::new(move |ssc| {
        ssc.queue_stream::<u8>().1.foreach_rdd(move |_, t| {
            let clock = c.get().unwrap();
            if t.millis() == 1_000 {
                // The next batch is submitted at 2 s and waits until this one ends at 2.25 s.
                clock.set(Time::from_millis(2_000));
                until("a waiting batch", || m.get().unwrap().snapshot().waiting_batches == 1);
                clock.advance(millis(250));
            } else {
                clock.advance(millis(30));
            }
        });
        Ok(())
    });
    let mut driver = driver.unwrap();
    let _ = clock.set(driver.clock().clone());
    let _ = metrics.set(driver.context().metrics().unwrap());
    let notes = Notes::of(driver.context());
    driver.batch().unwrap();
    let (first, second) = (notes.completed(1), notes.completed(2));
    let delays = |b: &BatchInfo| {
        (b.scheduling_delay().unwrap(), b.processing_delay().unwrap(), b.total_delay().unwrap())
    };
    assert_eq!(delays(&first), (millis(0), millis(1_250), millis(1_250)));
    assert_eq!(delays(&second), (millis(250), millis(30), millis(280)));
    assert_eq!((second.submission_time, second.generation_delay()), (at(2_000), millis(0)));
    assert_eq!(second.output_operation_infos[&0].duration(), Some(millis(30)));
    let m = driver.context().metrics().unwrap();
    assert_eq!(m.gauge("lastCompletedBatch_schedulingDelay"), Some(250));
    assert_eq!(m.gauge("lastCompletedBatch_processingDelay"), Some(30));
    assert_eq!(m.gauge("lastCompletedBatch_totalDelay"), Some(280));
}

#[test]
fn failed_batch_is_completed_with_its_reason() {
    let conf = Driver::<()>::conf().failure_policy(FailurePolicy::skip());
    let driver = Driver::local(conf, |ssc| {
        let (_, numbers) = ssc.queue_stream::<u8>();
        numbers.foreach_rdd(|_, t| match t.millis() {
            1_000 => Err("the disk is full"),
            _ => Ok(()),
        });
        numbers.foreach_rdd(|_, _| ());
        Ok(())
    });
    let mut driver = driver.unwrap();
    let notes = Notes::of(driver.context());
    driver.batches(2).unwrap();
    let (failed, good) = (notes.completed(1), notes.completed(2));
    assert!(failed.is_failed() && !good.is_failed());
    let reason = failed.output_operation_infos[&0].failure_reason.clone().unwrap();
    assert!(reason.contains("the disk is full") && reason.contains("listener.rs"), "{reason}");
    assert_eq!(failed.output_operation_infos[&1].failure_reason, None);
    assert_eq!(driver.context().metrics().unwrap().snapshot().failed_output_ops, 1);
}

#[test]
fn removed_listener_hears_no_more() {
    let mut driver = Driver::new(|ssc| {
        ssc.queue_stream::<u8>().1.foreach_rdd(|_, _| ());
        Ok(())
    })
    .unwrap();
    let (gone, stays) = (Notes::default(), Notes::of(driver.context()));
    let id = driver.context().add_listener(gone.clone()).unwrap();
    driver.batch().unwrap();
    gone.completed(1);
    assert!(driver.context().remove_listener(id));
    assert!(!driver.context().remove_listener(id));
    driver.batch().unwrap();
    stays.completed(2);
    driver.context().stop(true).unwrap();
    let late = |e: &Heard| matches!(e, Heard::Completed(b) if b.batch_time.millis() > 1_000);
    assert!(!gone.all().iter().any(late), "{gone:?}");
}

#[test]
fn listener_that_panics_does_not_stop_the_stream() {
    let mut driver = Driver::new(|ssc| {
        ssc.queue_stream::<u8>().1.foreach_rdd(|_, _| ());
        Ok(())
    })
    .unwrap();
    let calls = Arc::new(Mutex::new(0));
    let c = calls.clone();
    driver.context().add_listener(batch_completed(move |_| {
        *c.lock().unwrap_or_else(|e| e.into_inner()) += 1;
        panic!("a listener's own mistake");
    }));
    let notes = Notes::of(driver.context());
    driver.batches(3).unwrap();
    notes.completed(3);
    assert_eq!(*calls.lock().unwrap_or_else(|e| e.into_inner()), 1, "it was removed");
}

#[test]
fn closures_are_listeners() {
    let mut driver = Driver::new(|ssc| {
        let (queue, numbers) = ssc.queue_stream::<u8>();
        numbers.foreach_rdd(|_, _| ()).name("sink");
        Ok(queue)
    })
    .unwrap();
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let (a, b) = (heard.clone(), heard.clone());
    let ssc = driver.context();
    ssc.add_listener(output_completed(move |o| a.lock().unwrap().push(o.name.to_string())));
    ssc.add_listener(batch_completed(move |x| b.lock().unwrap().push(x.num_records().to_string())));
    driver.input().push([1, 2]);
    driver.batch().unwrap();
    driver.context().stop(true).unwrap();
    assert_eq!(*heard.lock().unwrap(), ["sink", "2"]);
}

/// A report that the test can read while the stream feeds it.
struct Shared(Arc<Mutex<StatsReportListener>>);

impl StreamingListener for Shared {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        self.0.lock().unwrap().on_batch_completed(batch);
    }
}

#[test]
fn report_shows_the_distribution_of_the_last_batches() {
    let clock = Arc::new(std::sync::OnceLock::<Arc<brooklet::time::ManualClock>>::new());
    let c = clock.clone();
    let driver = Driver::new(move |ssc| {
        // The batch at n seconds takes n milliseconds.
        ssc.queue_stream::<u8>().1.foreach_rdd(move |_, t| {
            c.get().unwrap().advance(millis(t.millis() / 1_000));
        });
        Ok(())
    });
    let mut driver = driver.unwrap();
    let _ = clock.set(driver.clock().clone());
    let report = Arc::new(Mutex::new(StatsReportListener::new(5)));
    driver.context().add_listener(Shared(report.clone()));
    driver.context().add_listener(StatsReportListener::default());
    let notes = Notes::of(driver.context());
    assert!(report.lock().unwrap().distributions().is_none());
    for t in 1..=7 {
        driver.clock().set(Time::from_millis(t * 1_000));
        driver.start().unwrap();
        driver.clock().set(Time::from_millis((t + 1) * 1_000));
        until("the batch", || {
            driver.context().metrics().unwrap().snapshot().total_completed_batches >= t
        });
    }
    notes.completed(8);
    driver.context().stop(true).unwrap();
    let (total, processing) = report.lock().unwrap().distributions().unwrap();
    assert_eq!(processing, [4, 5, 6, 7, 8].map(millis));
    assert_eq!(total, processing, "nothing waited");
}
