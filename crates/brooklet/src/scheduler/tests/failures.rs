//! Failing outputs, steps and listeners.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::FailurePolicy;

#[test]
fn failed_output_stops_the_stream_after_its_batch() {
    let fake =
        Fake::new(2).output(|_, o| if o == (0, 12) { Err(broken("no disk")) } else { Ok(()) });
    let rig = Rig::new(fake, |c| c);
    let done = rig.completed();
    rig.scheduler.start().unwrap();
    rig.to(15);
    let text = rig.error();
    assert_eq!(text, "batch 12000 ms, output out-0: no disk");
    assert_eq!(rig.error(), text, "rethrown at every call");
    assert!(matches!(rig.scheduler.first_error(), Some(Error::Batch { .. })));
    rig.stop();
    let log = rig.fake.log();
    assert!(log.contains(&Did::Output(1, 12)), "the batch's other output runs: {log:?}");
    assert!(!log.iter().any(|d| matches!(d, Did::Output(_, 13..))), "{log:?}");
    assert_eq!(log[log.len() - 2..], [Did::StoppedInputs(false), Did::StoppedGraph]);
    let done: Vec<BatchInfo> = done.iter().collect();
    assert_eq!(done.iter().map(|b| secs(b.batch_time)).collect::<Vec<_>>(), [11, 12]);
    let outputs = &done[1].output_operation_infos;
    assert_eq!(outputs[&0].failure_reason.as_deref(), Some("no disk"));
    assert_eq!(outputs[&1].failure_reason, None);
    assert_eq!(rig.scheduler.metrics().snapshot().failed_output_ops, 1);
    assert_eq!(rig.scheduler.metrics().gauge("waitingBatches"), Some(0));
}

#[test]
fn skip_records_a_failure_and_goes_on() {
    let fake = Fake::new(1).output(|_, (_, t)| match t {
        12 => Err(broken("no disk")),
        13 => panic!("user panic"),
        _ => Ok(()),
    });
    let rig = Rig::new(fake, |c| c.failure_policy(FailurePolicy::skip()));
    let done = rig.completed();
    rig.scheduler.start().unwrap();
    rig.to(15);
    rig.fake.until_completed(15);
    rig.stop();
    assert!(rig.scheduler.await_stopped(None).unwrap());
    let reasons: Vec<Option<String>> =
        done.iter().map(|b| b.output_operation_infos[&0].failure_reason.clone()).collect();
    assert_eq!(reasons.len(), 5);
    assert_eq!(reasons[1].as_deref(), Some("no disk"));
    assert!(reasons[2].as_deref().is_some_and(|r| r.contains("user panic")));
    assert_eq!(reasons.iter().flatten().count(), 2);
    assert_eq!(rig.scheduler.metrics().snapshot().failed_output_ops, 2);
}

#[test]
fn output_is_retried_as_often_as_the_policy_says() {
    for (fails, ok) in [(2, true), (3, false)] {
        let runs = Arc::new(AtomicU32::new(0));
        let n = runs.clone();
        let fake = Fake::new(1).output(move |_, _| {
            if n.fetch_add(1, Ordering::SeqCst) < fails { Err(broken("flaky")) } else { Ok(()) }
        });
        let rig = Rig::started(fake, |c| c.failure_policy(FailurePolicy::stop().retries(2)));
        rig.to(11);
        if ok {
            rig.fake.until_completed(11);
            rig.stop();
            assert!(rig.scheduler.first_error().is_none());
        } else {
            assert!(rig.error().contains("flaky"));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}

fn steps_fail_at_12() -> Fake {
    Fake::new(1).steps(|_, t| if t == 12 { Err(broken("bad state")) } else { Ok(()) })
}

#[test]
fn failed_step_is_rolled_back_before_the_next_batch_under_skip() {
    let mut by_input = Fake::new(1).steps(|_, _| Ok(()));
    by_input.allocate =
        Some(Box::new(|_, t| if t == 12 { Err(broken("bad state")) } else { Ok(()) }));
    for (fake, own) in [(steps_fail_at_12(), true), (by_input, false)] {
        let rig = Rig::new(fake, |c| c.failure_policy(FailurePolicy::skip()));
        let done = rig.completed();
        rig.scheduler.start().unwrap();
        rig.to(13);
        rig.fake.until_completed(13);
        rig.stop();
        let log = rig.fake.log();
        let ran: Vec<Did> = own.then_some(Did::Steps(12)).into_iter().collect();
        let want = [vec![Did::Completed(11)], ran, vec![Did::RolledBack(12), Did::Completed(12)]];
        assert_eq!(log[2..log.len() - 5], want.concat());
        let done: Vec<BatchInfo> = done.iter().collect();
        let o = &done[1].output_operation_infos[&0];
        assert_eq!(o.failure_reason.as_deref(), Some("did not run: bad state"));
        assert!(o.start_time.is_none());
        assert_eq!(rig.scheduler.metrics().snapshot().failed_output_ops, 1);
    }
}

#[test]
fn failed_step_stops_the_stream() {
    let rig = Rig::started(steps_fail_at_12(), |c| c.concurrent_jobs(3));
    rig.to(15);
    assert_eq!(rig.error(), "batch 12000 ms, steps: bad state");
    let log = rig.fake.log();
    assert!(!log.iter().any(|d| matches!(d, Did::RolledBack(_) | Did::Steps(13..))), "{log:?}");
    assert!(!log.contains(&Did::Output(0, 12)) && log.contains(&Did::Completed(12)));
}

#[test]
fn later_batch_that_runs_beside_a_failure_is_cancelled() {
    let fake = Fake::new(2).output(|f, o| match o {
        (0, 11) => {
            f.until_inside(1, 12); // which runs, as output 1 of 11 is done
            Err(broken("no disk"))
        }
        (1, 12) => {
            f.until_cancelled(12);
            Err(Error::Cancelled)
        }
        _ => Ok(()),
    });
    let rig = Rig::new(fake, |c| c.concurrent_jobs(2));
    let done = rig.completed();
    rig.scheduler.start().unwrap();
    rig.to(12);
    assert_eq!(rig.error(), "batch 11000 ms, output out-0: no disk");
    let done: Vec<BatchInfo> = done.iter().collect();
    assert_eq!(done.len(), 2);
    let reason = |k| done[1].output_operation_infos[&k].failure_reason.clone().unwrap_or_default();
    assert!(reason(0).contains("did not run"), "{}", reason(0));
    assert!(reason(1).contains("cancelled"), "{}", reason(1));
    assert!(!rig.fake.log().contains(&Did::Completed(12)), "cut short: no clean-up");
}

#[test]
fn panicking_listener_is_removed_and_the_stream_goes_on() {
    let calls = Arc::new(AtomicU32::new(0));
    let n = calls.clone();
    let rig = Rig::new(Fake::new(1), |c| c);
    rig.scheduler.listeners().add(listener::batch_completed(move |_| {
        n.fetch_add(1, Ordering::SeqCst);
        panic!("bad listener (this panic belongs to the test)");
    }));
    let done = rig.completed();
    rig.scheduler.start().unwrap();
    rig.to(15);
    rig.fake.until_completed(15);
    rig.stop();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(done.iter().count(), 5);
}
