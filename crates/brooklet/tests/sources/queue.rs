//! Queue streams, on both engines.

use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::text::TextBlock;
use brooklet::{Queue, QueueOptions, TextQueue, Wire};
use brooklet_testkit::{Collector, Driver, TestEngine};

use crate::support::{Notes, collect};

const ENGINES: [TestEngine; 2] = [TestEngine::Local, TestEngine::Loopback];

/// A driver of one stream, with its collector and the partitions of each batch.
type Rig<I> = (Driver<I>, Collector<String>, Arc<Mutex<Vec<usize>>>);

fn rig<I, T: Wire + ToString>(
    engine: TestEngine,
    make: impl Fn(&StreamingContext) -> (I, DStream<T>),
) -> Rig<I> {
    let (seen, parts) = (Collector::new(), Arc::<Mutex<Vec<usize>>>::default());
    let (s, p) = (seen.clone(), parts.clone());
    let driver = Driver::with(engine, Driver::<I>::conf(), move |ssc| {
        let (input, stream) = make(ssc);
        collect(&stream.map(|x| x.to_string()).boxed(), &s);
        let p = p.clone();
        stream.foreach_rdd(move |rdd, _| p.lock().unwrap().push(rdd.num_partitions()));
        Ok(input)
    })
    .unwrap();
    (driver, seen, parts)
}

fn batches(seen: &Collector<String>) -> Vec<String> {
    seen.batches().into_iter().map(|(_, items)| items.join(" ")).collect()
}

fn numbers(options: QueueOptions) -> impl Fn(&StreamingContext) -> (Queue<i32>, DStream<i32>) {
    move |ssc| ssc.queue_stream_with::<i32>(options.clone())
}

#[test]
fn one_push_is_one_batch_and_an_empty_queue_an_empty_batch() {
    for engine in ENGINES {
        let (mut driver, seen, _) = rig(engine, |ssc| ssc.queue_stream::<i32>());
        driver.input().push([1, 2, 3]);
        driver.input().push([4]);
        driver.input().push([]);
        driver.input().push([5]);
        assert_eq!(driver.input().len(), 4);
        driver.batches(5).unwrap();
        assert!(driver.input().is_empty());
        assert_eq!(batches(&seen), ["1 2 3", "4", "", "5", ""], "{engine:?}");
    }
}

#[test]
fn all_that_is_queued_can_be_one_batch() {
    for engine in ENGINES {
        let all = QueueOptions { one_at_a_time: false, partitions: 1 };
        let (mut driver, seen, parts) = rig(engine, numbers(all));
        driver.input().push([1, 2]);
        driver.input().push([3]);
        driver.batches(2).unwrap();
        driver.input().push([4]);
        driver.batch().unwrap();
        assert_eq!(batches(&seen), ["1 2 3", "", "4"], "{engine:?}");
        assert_eq!(*parts.lock().unwrap(), [2, 0, 1], "{engine:?}");
    }
}

#[test]
fn partitions_are_the_given_ones_or_as_many_as_the_options_say() {
    for engine in ENGINES {
        let three = QueueOptions { partitions: 3, ..QueueOptions::default() };
        let (mut driver, seen, parts) = rig(engine, numbers(three));
        driver.input().push(0..7);
        driver.input().push_partitions([vec![7], vec![], vec![8, 9], vec![10]]);
        driver.batches(2).unwrap();
        assert_eq!(batches(&seen), ["0 1 2 3 4 5 6", "7 8 9 10"], "{engine:?}");
        assert_eq!(*parts.lock().unwrap(), [3, 4], "{engine:?}");
    }
}

#[test]
fn text_blocks_are_partitions_and_their_lines_records() {
    for engine in ENGINES {
        let make =
            |ssc: &StreamingContext| -> (TextQueue, DStream<Str>) { ssc.text_queue_stream() };
        let (mut driver, seen, parts) = rig(engine, make);
        driver.input().push("河流 a\n\nlast without an end");
        driver.input().push_blocks(["x\ny\n", "", "z\n"].map(TextBlock::from_str));
        driver.input().push("");
        driver.batches(4).unwrap();
        assert_eq!(
            seen.batches().into_iter().map(|b| b.1).collect::<Vec<_>>(),
            [vec!["河流 a", "", "last without an end"], vec!["x", "y", "z"], vec![], vec![]],
            "{engine:?}"
        );
        assert_eq!(*parts.lock().unwrap(), [1, 3, 1, 0], "{engine:?}");
    }
}

#[test]
fn records_are_counted_for_listeners() {
    let mut driver = Driver::new(|ssc| {
        let ((a, numbers), (b, lines)) = (ssc.queue_stream::<i32>(), ssc.text_queue_stream());
        numbers.count().union(&lines.count()).print_to(1, |_| ());
        Ok((a, b))
    })
    .unwrap();
    let notes = Notes::of(driver.context());
    driver.input().0.push([1, 2, 3]);
    driver.input().1.push("one\ntwo\n");
    driver.batches(2).unwrap();
    let (first, second) = (notes.completed(1), notes.completed(2));
    let records = |b: &BatchInfo| {
        b.stream_id_to_input_info.values().map(|i| i.num_records).collect::<Vec<_>>()
    };
    assert_eq!((records(&first), records(&second)), (vec![3, 2], vec![0, 0]));
    assert_eq!(first.num_records(), 5);
}

#[test]
fn graceful_stop_empties_the_queue() {
    let (mut driver, seen, _) = rig(TestEngine::Local, |ssc| ssc.queue_stream::<i32>());
    (0..20).for_each(|i| driver.input().push([i]));
    driver.batch().unwrap();
    driver.context().stop(true).unwrap();
    let want: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    assert_eq!(seen.items(), want);
    assert!(driver.input().is_empty());
}

#[test]
fn union_needs_streams_and_one_context_for_all() {
    let conf = || Conf::new("union").master("local[1]");
    let ssc = StreamingContext::new(conf(), seconds(1)).unwrap();
    let e = ssc.union(Vec::<DStream<i32>>::new()).unwrap_err();
    assert!(e.to_string().contains("at least one stream"), "{e}");
    let (_, mine) = ssc.queue_stream::<i32>();
    assert!(ssc.union([mine.clone()]).is_ok());
    let other = StreamingContext::new(conf(), seconds(1)).unwrap();
    let (_, theirs) = other.queue_stream::<i32>();
    let both = std::panic::AssertUnwindSafe(|| ssc.union([mine, theirs]).map(drop));
    assert!(std::panic::catch_unwind(both).is_err(), "streams of two contexts");
}

#[test]
fn contexts_run_in_turn_on_one_core_context() {
    let core = Context::new(Conf::new("core").master("local[2]")).unwrap();
    for turn in 0..3 {
        let ssc = StreamingContext::with_context(&core, millis(5)).unwrap();
        let (queue, numbers) = ssc.queue_stream::<i32>();
        let seen = Collector::new();
        collect(&numbers.map(|x| (x % 2, x)).reduce_by_key(|a, b| a + b), &seen);
        queue.push(turn..turn + 4);
        ssc.start().unwrap();
        seen.wait_until(|_, n| n == 2);
        ssc.stop(true).unwrap();
        assert_eq!(seen.sums().values().sum::<i32>(), 4 * turn + 6);
        assert!(ssc.start().is_err());
    }
    assert_eq!(core.parallelize(0..10, 2).count().unwrap(), 10, "the core context goes on");
}
