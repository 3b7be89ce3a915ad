//! The rules of the order, on random schedules.

use proptest::prelude::*;

use crate::Time;
use crate::scheduler::queue::{BatchQueue, Work};

/// Runs a random schedule and checks every rule at every step.
fn check(outputs: usize, jobs: usize, batches: u64, choices: &[u16], halt: Option<(usize, u64)>) {
    let mut q = BatchQueue::new(outputs, jobs);
    let mut running: Vec<Work> = Vec::new();
    let mut log: Vec<Work> = Vec::new(); // in order of ending
    let (mut pushed, mut completed, mut halted) = (0u64, 0u64, false);
    let mut gone = 0;
    for turn in 0.. {
        let c = usize::from(choices[turn % choices.len()]);
        if halt.is_some_and(|h| h.0 == turn) {
            gone = q.halt(halt.map_or(0, |h| h.1)) as u64;
            halted = true;
        }
        let may_push = pushed < batches && !halted;
        if may_push && c % 3 == 0 {
            q.push(Time::from_millis(pushed), c % 2 == 0);
            pushed += 1;
        } else if let Some(w) = (c % 3 != 1 || running.is_empty()).then(|| q.next()).flatten() {
            match w {
                Work::Steps(b) => {
                    assert!(!running.iter().any(|r| matches!(r, Work::Steps(_))));
                    assert!(!log.iter().any(|r| matches!(r, Work::Steps(x) if x.seq >= b.seq)));
                }
                Work::Output(b, k) => {
                    let same = |r: &&Work| matches!(r, Work::Output(_, x) if *x == k);
                    assert!(!running.iter().any(|r| same(&r)), "output {k} overlaps");
                    assert!(!running.contains(&Work::Steps(b)));
                    let last = log.iter().rfind(same);
                    assert!(last.is_none_or(|l| matches!(l, Work::Output(x, _) if x.seq < b.seq)));
                }
                Work::Complete { batch, .. } => {
                    assert_eq!(batch.seq, completed);
                    completed += 1;
                    let mine =
                        |r: &Work| matches!(r, Work::Steps(x) | Work::Output(x, _) if *x == batch);
                    assert!(!running.iter().any(mine));
                }
            }
            if halted && !matches!(w, Work::Complete { .. }) {
                let (Work::Steps(b) | Work::Output(b, _) | Work::Complete { batch: b, .. }) = w;
                assert!(halt.is_some_and(|h| b.seq < h.1), "{w:?} started after the halt");
            }
            running.push(w);
            assert!(running.len() <= jobs);
        } else if !running.is_empty() {
            let w = running.swap_remove(c % running.len());
            match w {
                Work::Steps(b) => q.steps_done(b, c % 7 != 0),
                Work::Output(b, k) => q.output_done(b, k),
                Work::Complete { batch, .. } => q.completed(batch),
            }
            log.push(w);
        } else if pushed < batches && !halted {
            q.push(Time::from_millis(pushed), c % 2 == 0);
            pushed += 1;
        } else {
            break;
        }
    }
    assert!(q.is_empty() && q.next().is_none());
    assert_eq!(completed, pushed - gone, "every batch is completed or gone");
    if jobs == 1 {
        let key = |w: &Work| match *w {
            Work::Steps(b) => (b.seq, 0, 0),
            Work::Output(b, k) => (b.seq, 1, k),
            Work::Complete { batch, .. } => (batch.seq, 2, 0),
        };
        assert!(log.is_sorted_by_key(key), "{log:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]
    #[test]
    fn every_schedule_keeps_the_order(
        outputs in 0usize..4, jobs in 1usize..5, batches in 0u64..12,
        choices in proptest::collection::vec(any::<u16>(), 1..200),
        halt in proptest::option::of((0usize..60, 0u64..12)),
    ) {
        // A schedule without variety may never leave a branch; add all of them.
        let mut choices = choices;
        choices.extend(0..12);
        check(outputs, jobs, batches, &choices, halt);
    }
}

#[test]
fn steps_of_the_next_batch_run_beside_outputs() {
    let mut q = BatchQueue::new(1, 2);
    let a = q.push(Time::from_millis(1), true);
    let b = q.push(Time::from_millis(2), true);
    assert_eq!(q.next(), Some(Work::Steps(a)));
    assert_eq!(q.next(), None);
    q.steps_done(a, true);
    assert_eq!(q.next(), Some(Work::Output(a, 0)));
    assert_eq!(q.next(), Some(Work::Steps(b)));
    q.steps_done(b, true);
    assert_eq!(q.next(), None, "the output's calls don't overlap");
    q.output_done(a, 0);
    assert_eq!(q.next(), Some(Work::Complete { batch: a, cut: false }));
    assert_eq!(q.next(), Some(Work::Output(b, 0)));
}
