use std::fs;

use super::*;
use crate::Time;
use crate::block::{TextLines, Values, records_of};
use crate::text::TextBlock;

const MIB: usize = 1 << 20;

fn received(seq: u64) -> BlockId {
    BlockId::Received { stream: 0, seq }
}

fn rdd(op: u32, partition: u32) -> BlockId {
    BlockId::Rdd { op: (op, 0), batch: Time::from_millis(1_000), partition }
}

fn text(i: u64) -> (Arc<dyn Block>, String) {
    let s =
        format!("block {i} has some text that is not the same as the others\n").repeat(MIB / 60);
    (TextLines::new(TextBlock::from_utf8_lossy(s.clone().into_bytes()).0), s)
}

fn text_of(block: Arc<dyn Block>) -> String {
    let t = block.as_any().downcast::<TextLines>().unwrap();
    t.text().as_str().to_owned()
}

fn files(store: &BlockStore) -> Vec<PathBuf> {
    let Some(folder) = store.folder.path() else {
        return Vec::new();
    };
    fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect()
}

#[test]
fn sixty_four_mib_go_through_sixteen() {
    let store = BlockStore::new(16 * MIB, None);
    for i in 0..64 {
        let level = StorageLevel::MEMORY_AND_DISK_SER;
        store.put(received(i), text(i).0, TextLines::decode, level).unwrap();
        assert!(store.metrics().memory_bytes <= 16 * MIB);
    }
    let m = store.metrics();
    assert_eq!(m.blocks, 64);
    assert!(m.spilled_blocks >= 48 && m.disk_bytes > 0, "{m:?}");
    for i in 0..64 {
        assert_eq!(text_of(store.get(received(i)).unwrap().unwrap()), text(i).1);
    }
    assert_eq!(store.metrics().read_back_blocks, m.spilled_blocks);
    assert_eq!(files(&store).len() as u64, m.spilled_blocks);
    assert_eq!(store.remove_all(|_| true), 64);
    assert!(files(&store).is_empty());
    let m = store.metrics();
    assert_eq!((m.memory_bytes, m.disk_bytes, m.blocks), (0, 0, 0));
    assert_eq!(store.usage(0), Stored::default());
    let folder = store.folder.path().unwrap();
    drop(store);
    assert!(!folder.exists());
}

#[test]
fn the_partition_unused_for_longest_makes_room() {
    let store = BlockStore::new(100_000, None);
    let put = |op, level| {
        let block = Values::new(vec![u64::from(op); 5_000]);
        store.put(rdd(op, 0), block, Values::<u64>::decode, level).unwrap()
    };
    put(1, StorageLevel::MEMORY_ONLY);
    put(2, StorageLevel::MEMORY_ONLY);
    store.get(rdd(1, 0)).unwrap().unwrap();
    put(3, StorageLevel::MEMORY_ONLY);
    assert!(store.contains(rdd(1, 0)) && !store.contains(rdd(2, 0)) && store.contains(rdd(3, 0)));
    assert_eq!(store.metrics().evicted_blocks, 1);
    put(4, StorageLevel::MEMORY_AND_DISK);
    put(5, StorageLevel::MEMORY_AND_DISK);
    put(6, StorageLevel::MEMORY_AND_DISK);
    let block = store.get(rdd(4, 0)).unwrap().unwrap();
    assert_eq!(block.as_any().downcast::<Values<u64>>().unwrap().items(), [4; 5_000]);
    assert_eq!(store.metrics().read_back_blocks, 1);
}

#[test]
fn a_received_block_is_refused_rather_than_dropped() {
    let store = BlockStore::new(100_000, None);
    let put = |seq, len| {
        let block = Values::new(vec![seq; len]);
        store.put(received(seq), block, Values::<u64>::decode, StorageLevel::MEMORY_ONLY)
    };
    put(0, 50_000).unwrap(); // alone, however large
    assert!(matches!(put(1, 5_000), Err(BlockError::NoRoom { .. })));
    let seen = store.epoch();
    assert!(store.remove(received(0)));
    store.wait_for_change(seen);
    put(1, 5_000).unwrap();
    put(2, 5_000).unwrap();
    let e = put(3, 5_000).unwrap_err();
    assert!(e.is_retryable() && e.to_string().contains("input-0-3"), "{e}");
    // A partition can't drive them out either; it isn't stored.
    let block = Values::new(vec![0u64; 5_000]);
    let stored =
        store.put(rdd(1, 1), block, Values::<u64>::decode, StorageLevel::MEMORY_ONLY).unwrap();
    assert_eq!(stored, Stored::default());
}

#[test]
fn a_quota_sends_blocks_to_disk_and_then_away() {
    let store = BlockStore::new(64 * MIB, None);
    let quota = Quota { memory: 2 * MIB + 4096, disk: 3 * MIB as u64 };
    let put = |i, level| store.put_within(received(i), text(i).0, TextLines::decode, level, quota);
    let level = StorageLevel::MEMORY_AND_DISK_SER;
    assert!((0..2).all(|i| put(i, level).unwrap().memory > 0));
    assert!(put(2, level).unwrap().disk > 0);
    let at_disk = store.usage(0).disk;
    assert!(at_disk > 0);
    assert!(matches!(put(3, StorageLevel::MEMORY_ONLY), Err(BlockError::NoRoom { .. })));
    let tight = Quota { disk: at_disk, ..quota };
    let refused = store.put_within(received(3), text(3).0, TextLines::decode, level, tight);
    assert!(matches!(refused, Err(BlockError::NoRoom { .. })));
    store.remove(received(0));
    assert!(put(3, level).unwrap().memory > 0);
}

#[test]
fn a_corrupt_file_is_named_and_a_replica_serves() {
    let store = BlockStore::new(MIB, None);
    let items: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    let put = |seq, level| {
        store
            .put(received(seq), Values::new(items.clone()), Values::<String>::decode, level)
            .unwrap()
    };
    put(0, StorageLevel::DISK_ONLY);
    let path = files(&store).remove(0);
    fs::write(&path, b"BRKLBLK nonsense that is long enough").unwrap();
    let e = store.get(received(0)).unwrap_err();
    assert!(e.is_corruption());
    assert!(e.to_string().contains("input-0-0") && e.to_string().contains(path.to_str().unwrap()));
    assert!(crate::Error::from(e).to_string().contains("input-0-0"));
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.get(received(0)), Err(BlockError::Missing { .. })));

    put(1, StorageLevel::DISK_ONLY_2);
    let first = files(&store).into_iter().min().unwrap();
    fs::write(first, b"").unwrap();
    let block = store.get(received(1)).unwrap().unwrap();
    assert_eq!(block.as_any().downcast::<Values<String>>().unwrap().items(), items);
    assert_eq!(store.metrics().served_by_replica, 1);
}

/// A record that can't be encoded.
#[derive(Clone)]
struct Stubborn;

impl serde::Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

impl<'de> serde::Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Stubborn, D::Error> {
        Ok(Stubborn)
    }
}

#[test]
fn a_block_that_cant_be_encoded_takes_no_room() {
    let store = BlockStore::new(MIB, None);
    for level in [StorageLevel::MEMORY_ONLY_SER, StorageLevel::DISK_ONLY] {
        let block = Values::new(vec![Stubborn]);
        let e = store.put(received(0), block, Values::<Stubborn>::decode, level).unwrap_err();
        assert!(matches!(e, BlockError::Encode(_)));
    }
    let m = store.metrics();
    assert_eq!((m.memory_bytes, m.blocks, store.usage(0)), (0, 0, Stored::default()));
}

#[test]
fn every_level_gives_the_records_back_and_replicas_count() {
    let store = BlockStore::new(64 * MIB, None);
    let items: Vec<(u32, String)> = (0..500).map(|i| (i, format!("{i}"))).collect();
    let levels = [
        StorageLevel::DISK_ONLY,
        StorageLevel::MEMORY_ONLY,
        StorageLevel::MEMORY_ONLY_2,
        StorageLevel::MEMORY_ONLY_SER,
        StorageLevel::MEMORY_ONLY_SER_2,
        StorageLevel::MEMORY_AND_DISK_SER_2,
        StorageLevel::DISK_ONLY_3,
    ];
    let sizes: Vec<Stored> = levels
        .into_iter()
        .zip(0..)
        .map(|(level, seq)| {
            let decode = Values::<(u32, String)>::decode;
            let size = store.put(received(seq), Values::new(items.clone()), decode, level).unwrap();
            let block = store.get(received(seq)).unwrap().unwrap();
            assert_eq!(records_of::<(u32, String)>(&block).unwrap().len(), 500, "{level}");
            size
        })
        .collect();
    assert_eq!(sizes[4].memory, 2 * sizes[3].memory);
    assert_eq!(sizes[6].disk, 3 * sizes[0].disk);
    assert!(sizes[2].memory > sizes[1].memory);
    assert!(matches!(
        store.put(
            received(99),
            Values::new(items),
            Values::<(u32, String)>::decode,
            StorageLevel::NONE
        ),
        Err(BlockError::BadLevel(_))
    ));
}

#[test]
fn threads_put_get_and_remove_at_once_without_loss() {
    let store = BlockStore::new(200_000, None);
    std::thread::scope(|s| {
        for t in 0..4u64 {
            let store = &store;
            s.spawn(move || {
                for i in 0..50 {
                    let id = BlockId::Received { stream: t as u32, seq: i };
                    let block = Values::new(vec![t * 1_000 + i; 2_000]);
                    let level = StorageLevel::MEMORY_AND_DISK;
                    store.put(id, block, Values::<u64>::decode, level).unwrap();
                    let p = BlockId::Rdd { op: (t as u32, i), batch: Time::ZERO, partition: 0 };
                    let block = Values::new(vec![i; 2_000]);
                    store.put(p, block, Values::<u64>::decode, level).unwrap();
                    let back = store.get(id).unwrap().unwrap().as_any();
                    let back = back.downcast::<Values<u64>>().unwrap();
                    assert_eq!(back.items(), [t * 1_000 + i; 2_000]);
                    if i % 2 == 0 {
                        assert!(store.remove(id) && store.remove(p));
                    }
                }
            });
        }
    });
    assert_eq!(store.remove_all(|_| true), 200);
    let m = store.metrics();
    assert_eq!((m.memory_bytes, m.disk_bytes, files(&store).len()), (0, 0, 0));
}
