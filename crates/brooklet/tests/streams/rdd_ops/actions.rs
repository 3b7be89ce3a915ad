//! Actions that run jobs step by step or beside the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;

use brooklet::Error;
use brooklet::testing::faults::work_done;

use super::super::{HANG, sorted};
use super::{answer, context};

#[test]
fn local_iterator_fetches_a_partition_when_it_is_asked_for() {
    let ctx = context();
    let seen = Arc::new(AtomicU64::new(0));
    let s = seen.clone();
    let r = ctx.range(0, 100, 1, 10).map(move |x| {
        s.fetch_add(1, SeqCst);
        x
    });
    let mut it = r.to_local_iterator();
    assert_eq!(seen.load(SeqCst), 0);
    let first: Vec<i64> = it.by_ref().take(11).map(Result::unwrap).collect();
    assert_eq!((first, seen.load(SeqCst)), ((0..11).collect(), 20));
    assert_eq!((it.count(), seen.load(SeqCst)), (89, 100));
}

#[test]
fn local_iterator_ends_after_an_error() {
    let r =
        context().parallelize(0..10i64, 5).try_map(|x| if x == 4 { Err("four") } else { Ok(x) });
    let got: Vec<_> = r.to_local_iterator().map(|x| x.map_err(|e| e.to_string())).collect();
    assert_eq!(got.len(), 5);
    assert!(got[4].as_ref().unwrap_err().contains("four"));
}

#[test]
fn take_looks_at_one_partition_then_at_four_then_at_sixteen() {
    let ctx = context();
    let r = ctx.range(0, 100, 1, 100);
    let work = |n: usize| {
        let before = work_done(&ctx);
        assert_eq!(r.take(n).unwrap().len(), n.min(100));
        assert_eq!(r.take_async(n).wait().unwrap(), (0..n.min(100) as i64).collect::<Vec<_>>());
        let after = work_done(&ctx);
        ((after.0 - before.0) / 2, (after.2 - before.2) / 2)
    };
    assert_eq!(
        [0, 1, 2, 5, 6, 21, 1_000].map(work),
        [(0, 0), (1, 1), (2, 5), (2, 5), (3, 21), (3, 21), (5, 100)]
    );
}

#[test]
fn asynchronous_actions_run_beside_each_other_and_their_caller() {
    let ctx = context();
    let (release, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = ctx.parallelize([1i64], 1).foreach_async(move |_| {
        let _ = wait.lock().unwrap().recv_timeout(HANG);
    });
    // Done before the first one, which waits for what follows.
    assert_eq!(ctx.parallelize(0..10i64, 2).count_async().wait().unwrap(), 10);
    assert!(!slow.is_done());
    release.send(()).unwrap();
    slow.wait().unwrap();
}

#[test]
fn cancel_stops_a_running_action_and_leaves_others_alone() {
    let ctx = context();
    let (started, running) = channel::<()>();
    let (release, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let n = Arc::new(AtomicU64::new(0));
    let counted = n.clone();
    let long = ctx.range(0, 1 << 40, 1, 1).foreach_async(move |_| {
        if counted.fetch_add(1, SeqCst) == 0 {
            started.send(()).unwrap();
            let _ = wait.lock().unwrap().recv_timeout(HANG);
        }
    });
    running.recv_timeout(HANG).unwrap();
    long.cancel();
    release.send(()).unwrap();
    assert!(matches!(long.wait(), Err(Error::Cancelled)));
    assert!(n.load(SeqCst) < 1 << 20);
    let done = ctx.parallelize(0..3i64, 2).collect_async();
    while !done.is_done() {
        std::thread::yield_now();
    }
    done.cancel();
    assert_eq!(done.wait().unwrap(), [0, 1, 2]);
}

#[test]
fn futures_wake_whoever_polls_them() {
    let ctx = context();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (release, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = ctx.parallelize([1i64], 1).foreach_partition_async(move |_| {
        wait.lock().unwrap().recv_timeout(HANG).map_err(|e| e.to_string())
    });
    let all = ctx.parallelize(0..1_000i64, 3).collect_async();
    let got = runtime.block_on(async move {
        let first = tokio::spawn(slow);
        tokio::task::yield_now().await; // it is polled, and waits
        assert!(!first.is_finished());
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        all.await
    });
    assert_eq!(got.unwrap().len(), 1_000);
}

#[test]
fn actions_inside_a_task_are_refused_also_when_asynchronous() {
    let ctx = context();
    let inner = ctx.parallelize(0..3i64, 1);
    let e = ctx
        .parallelize([1i64], 1)
        .try_map(move |_| inner.count_async().wait())
        .collect()
        .unwrap_err();
    assert!(e.to_string().contains("`count_async` ("), "{e}");
    assert!(e.to_string().contains("inside a task"), "{e}");
}

#[test]
fn extremes_and_counts_agree_on_both_engines() {
    let parts = vec![vec![5i64, 3], vec![], vec![9, 3, 3]];
    assert_eq!(answer(&parts, |r| Ok((r.max()?, r.min()?))), (Some(9), Some(3)));
    let pairs = vec![vec![(1i64, 'a'), (2, 'b')], vec![(1, 'c')]];
    let n = answer(&pairs, |r| Ok(sorted(r.count_by_key()?.into_iter().collect::<Vec<_>>())));
    assert_eq!(n, [(1, 2), (2, 1)]);
    // Of pairs with one key the last in partition order, which a map that is filled in any order would lose.
    assert_eq!(answer(&pairs, |r| Ok(r.collect_as_map()?[&1])), 'c');
    // Ties: the last of the greatest, the first of the least.
    #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    struct By(i64, char);
    impl Ord for By {
        fn cmp(&self, o: &By) -> std::cmp::Ordering {
            self.0.cmp(&o.0)
        }
    }
    impl PartialOrd for By {
        fn partial_cmp(&self, o: &By) -> Option<std::cmp::Ordering> {
            Some(self.cmp(o))
        }
    }
    let ties = vec![vec![By(1, 'a'), By(1, 'b')], vec![By(1, 'c')]];
    assert_eq!(answer(&ties, |r| Ok((r.max()?, r.min()?))), (Some(By(1, 'c')), Some(By(1, 'a'))));
}
