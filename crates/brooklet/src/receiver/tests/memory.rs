use super::*;
use crate::block::Stored;

/// 50 blocks of 2,000 numbers (16 kB), with room for four.
fn fifty_blocks(level: StorageLevel, spilled: u64) -> Rig {
    let rig =
        Rig::new(|c| c.receiver_max_unprocessed_bytes(66_000).receiver_max_spilled_bytes(spilled));
    let r = receiver::<u64, _>(|out| {
        for i in 0..50 {
            out.store_block(i * 2_000..(i + 1) * 2_000)?;
        }
        Ok(())
    });
    rig.tracker.add(0, erase(r), level).unwrap();
    rig.tracker.start().unwrap();
    rig
}

fn drain(rig: &mut Rig) {
    let mut all = Vec::new();
    while rig.tracker.is_receiving() || rig.tracker.has_unallocated() {
        assert!(rig.store.usage(0).memory <= 66_000);
        all.extend(rig.take::<u64>());
        std::thread::yield_now();
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..100_000));
    assert_eq!(rig.store.usage(0), Stored::default());
}

#[test]
fn a_receiver_at_its_memory_limit_waits_until_batches_release_blocks() {
    let mut rig = fifty_blocks(StorageLevel::MEMORY_ONLY, 0);
    spin(|| rig.counter(counters::BLOCKED_BLOCKS) == 1);
    assert_eq!(rig.store.metrics().blocks, 4);
    assert!(rig.store.contains(id(3)) && !rig.store.contains(id(4)));
    assert_eq!(rig.counter(counters::BLOCKED_NANOS), 0);
    drain(&mut rig);
    assert!(rig.counter(counters::BLOCKED_NANOS) > 0);
}

#[test]
fn blocks_above_the_memory_limit_go_to_disk_and_then_wait() {
    let mut rig = fifty_blocks(StorageLevel::MEMORY_AND_DISK_SER, 100_000);
    spin(|| rig.counter(counters::BLOCKED_BLOCKS) == 1);
    let m = rig.store.metrics();
    assert!(m.spilled_blocks >= 5 && m.disk_bytes <= 100_000, "{m:?}");
    assert!(m.blocks < 50);
    drain(&mut rig);
}

#[test]
fn with_room_on_disk_nothing_waits() {
    let mut rig = fifty_blocks(StorageLevel::MEMORY_AND_DISK_2, 1 << 30);
    rig.heard.wait_for("stopped", 1);
    assert_eq!(rig.counter(counters::BLOCKED_BLOCKS), 0);
    assert_eq!(rig.store.metrics().blocks, 50);
    drain(&mut rig);
}

#[test]
fn a_graceful_stop_waits_for_room_and_an_ungraceful_one_gives_up() {
    let mut rig = fifty_blocks(StorageLevel::MEMORY_ONLY, 0);
    spin(|| rig.counter(counters::BLOCKED_BLOCKS) == 1);
    let mut got = Vec::new();
    std::thread::scope(|s| {
        // The block that waits is stored; the next `store_block` is told to stop.
        let tracker = &rig.tracker;
        let stop = s.spawn(|| tracker.stop(true));
        spin(|| rig.tracker.supervisors_stopping());
        rig.tracker.allocate(Time::from_millis(1), false).unwrap();
        got.push(rig.tracker.blocks_of(Time::from_millis(1), 0).len());
        rig.tracker.release(Time::from_millis(2)).unwrap();
        stop.join().unwrap();
    });
    rig.batch = 2;
    assert_eq!(got, [4]);
    assert_eq!(rig.take::<u64>(), (8_000..10_000).collect::<Vec<_>>());

    let rig = fifty_blocks(StorageLevel::MEMORY_ONLY, 0);
    spin(|| rig.counter(counters::BLOCKED_BLOCKS) == 1);
    rig.tracker.stop(false);
    assert!(!rig.tracker.is_receiving());
    assert_eq!(rig.tracker.allocate(Time::from_millis(1), false).unwrap().records(0), 8_000);
}

#[test]
fn buffered_records_wait_too_and_none_is_lost() {
    let mut rig = Rig::new(|c| c.receiver_max_unprocessed_bytes(1 << 20).block_queue_size(1));
    let r = receiver::<String, _>(|out| {
        for i in 0..40 {
            out.store(format!("{i:02}{}", "x".repeat(2 << 20)))?;
        }
        Ok(())
    });
    rig.tracker.add(0, erase(r), StorageLevel::MEMORY_ONLY).unwrap();
    rig.tracker.start().unwrap();
    spin(|| rig.counter(counters::BLOCKED_BLOCKS) == 1);
    let mut all = Vec::new();
    while rig.tracker.is_receiving() || rig.tracker.has_unallocated() {
        all.extend(rig.take::<String>().into_iter().map(|s| s[..2].parse::<u32>().unwrap()));
        std::thread::yield_now();
    }
    assert!(all.into_iter().eq(0..40));
}
