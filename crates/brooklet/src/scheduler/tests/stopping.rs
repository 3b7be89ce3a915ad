//! The ways to stop, and that nothing is left.

use super::*;

#[test]
fn graceful_stop_processes_everything_even_what_is_in_no_batch() {
    let mut fake = Fake::new(1);
    fake.stop_inputs = Some(Box::new(|f, _| {
        f.give([7, 8]); // a receiver stores its last block
        Ok(())
    }));
    let rig = Rig::started(fake, |c| c);
    rig.fake.give([1]);
    rig.to(12);
    rig.fake.until_completed(12);
    rig.fake.give([2]);
    rig.stop();
    assert_eq!(rig.fake.taken(), [1, 2, 7, 8]);
    let log = rig.fake.log();
    let end = [Did::StoppedInputs(true), Did::Output(0, 13), Did::Completed(13), Did::StoppedGraph];
    assert_eq!(log[log.len() - 4..], end);
    rig.stop();
    assert!(rig.scheduler.await_stopped(None).unwrap());
}

#[test]
fn stop_from_a_listener_is_an_error() {
    let rig = Rig::new(Fake::new(1), |c| c);
    let (tx, rx) = mpsc::channel();
    let s = Arc::downgrade(&rig.scheduler);
    rig.scheduler.listeners().add(listener::batch_completed(move |_| {
        let result = s.upgrade().map(|s| s.stop(false, LIMIT));
        let _ = tx.send(result);
    }));
    rig.scheduler.start().unwrap();
    rig.to(11);
    let result = rx.recv_timeout(LIMIT).unwrap();
    assert!(matches!(result, Some(Err(Error::Usage(t))) if t.contains("listener")));
    assert_eq!(rig.scheduler.stage(), Stage::Running);
    rig.stop();
}

#[test]
fn stop_from_a_job_returns_and_takes_place() {
    let own = Arc::new(Mutex::new(None::<Arc<Scheduler>>));
    let s = own.clone();
    let fake = Fake::new(1).output(move |_, _| {
        let s = s.get().take();
        s.map_or(Ok(()), |s| s.stop(true, LIMIT))
    });
    let rig = Rig::new(fake, |c| c);
    *own.get() = Some(rig.scheduler.clone());
    rig.scheduler.start().unwrap();
    rig.to(11);
    assert!(rig.scheduler.await_stopped(Some(LIMIT)).unwrap());
    assert!(rig.fake.log().contains(&Did::Completed(11)));
}

#[test]
fn stop_at_once_cancels_and_drops_what_waits() {
    let fake = Fake::new(1).output(|f, (_, t)| {
        f.until_cancelled(t);
        Err(Error::Cancelled)
    });
    let rig = Rig::new(fake, |c| c);
    let done = rig.completed();
    rig.scheduler.start().unwrap();
    rig.to(13);
    rig.fake.until_inside(0, 11);
    rig.scheduler.stop(false, LIMIT).unwrap();
    assert!(rig.scheduler.await_stopped(None).unwrap(), "a cancelled job is no failure");
    let done: Vec<u64> = done.iter().map(|b| secs(b.batch_time)).collect();
    assert_eq!(done, [11]);
    assert_eq!(rig.fake.state.get().cancelled, [11]);
    let log = rig.fake.log();
    assert_eq!(log.last(), Some(&Did::StoppedGraph));
    assert!(!log.contains(&Did::Completed(11)));
}

#[test]
fn stop_at_once_names_an_output_that_hangs() {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let fake = Fake::new(2).output(move |_, o| {
        if o == (1, 11) {
            held.pass();
        }
        Ok(())
    });
    let rig = Rig::started(fake, |c| c);
    rig.to(12);
    rig.fake.until_inside(1, 11);
    let e = rig.scheduler.stop(false, LIMIT).unwrap_err();
    assert!(e.to_string().starts_with("batch 11000 ms, output out-1"), "{e}");
    assert_eq!(rig.scheduler.stage(), Stage::Stopped);
    gate.open();
    rig.fake.until("the thread left behind ends", |s| s.log.contains(&Did::Output(1, 11)));
}

#[test]
fn second_stop_makes_a_graceful_one_immediate() {
    let fake = Fake::new(1).output(|f, (_, t)| {
        f.until_cancelled(t);
        Err(Error::Cancelled)
    });
    let rig = Rig::started(fake, |c| c);
    rig.to(12);
    rig.fake.until_inside(0, 11);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| rig.scheduler.stop(true, LIMIT));
        rig.fake.until("graceful", |s| s.log.contains(&Did::StoppedInputs(true)));
        rig.scheduler.stop(true, LIMIT).unwrap();
        first.join().unwrap().unwrap();
    });
    assert_eq!(rig.fake.state.get().cancelled, [11]);
    assert_eq!(rig.scheduler.stage(), Stage::Stopped);
}

#[test]
fn graceful_stop_out_of_time_says_what_was_not_done() {
    let fake = Fake::new(1).output(|f, (_, t)| {
        f.until_cancelled(t);
        Err(Error::Cancelled)
    });
    let rig = Rig::started(fake, |c| c);
    rig.to(11);
    rig.fake.until_inside(0, 11);
    let e = rig.scheduler.stop(true, Duration::from_millis(1)).unwrap_err();
    assert!(e.to_string().contains("graceful stop"), "{e}");
    assert_eq!(rig.scheduler.stage(), Stage::Stopped);
}

#[test]
fn inputs_that_never_stop_end_with_the_time_out() {
    let mut fake = Fake::new(1);
    fake.stop_inputs = Some(Box::new(|f, graceful| {
        if graceful {
            f.until("asked without grace", |s| s.log.contains(&Did::StoppedInputs(false)));
        }
        Ok(())
    }));
    let rig = Rig::started(fake, |c| c);
    let e = rig.scheduler.stop(true, Duration::from_millis(1)).unwrap_err();
    assert!(e.to_string().contains("inputs"), "{e}");
}

#[test]
fn waiting_for_the_end_times_out_and_stop_before_start_is_fine() {
    let rig = Rig::new(Fake::new(1), |c| c);
    assert!(!rig.scheduler.await_stopped(Some(Duration::ZERO)).unwrap());
    rig.scheduler.start().unwrap();
    assert!(!rig.scheduler.await_stopped(Some(Duration::from_millis(1))).unwrap());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| rig.scheduler.await_stopped(None));
        rig.stop();
        assert!(waiter.join().unwrap().unwrap());
    });
    let fresh = Rig::new(Fake::new(1), |c| c);
    fresh.scheduler.stop(true, seconds(1)).unwrap();
    assert!(fresh.scheduler.await_stopped(None).unwrap());
    assert!(fresh.fake.log().is_empty());
    assert!(fresh.scheduler.start().is_err());
}

fn threads_named(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok());
    names.filter(|n| n.starts_with(prefix)).count()
}

#[test]
#[cfg(target_os = "linux")]
fn two_hundred_lives_leave_no_thread() {
    for i in 0..200u64 {
        let fake = Arc::new(Fake::new(2).output(move |_, (k, t)| {
            if i % 4 == 3 && (k, t) == (1, 12) { Err(broken("now and then")) } else { Ok(()) }
        }));
        let clock = ManualClock::new(Time::from_millis(10_500));
        let conf = Conf::new("leak").concurrent_jobs(1 + (i % 3) as usize);
        let s = Scheduler::new(&conf, SECOND, fake.clone(), clock.clone(), "leak");
        s.listeners().add(listener::batch_completed(|_| {}));
        s.start().unwrap();
        clock.set(Time::from_millis(13_000));
        match i % 4 {
            0 => s.stop(true, LIMIT).unwrap(),
            1 => s.stop(false, LIMIT).unwrap(),
            2 => drop(s),
            _ => {
                s.await_stopped(Some(LIMIT)).unwrap_err();
                s.stop(false, LIMIT).unwrap();
            }
        }
        assert_eq!(fake.log().last(), Some(&Did::StoppedGraph));
        drop(fake);
    }
    let real = SystemClock::new();
    let end = real.now().after(LIMIT);
    while threads_named("leak-") > 0 {
        // The kernel's list lags behind a join.
        assert!(real.now() < end, "{} threads are left", threads_named("leak-"));
        std::thread::yield_now();
    }
}
