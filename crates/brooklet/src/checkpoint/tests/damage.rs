//! Damaged, cut and foreign files.

use super::*;
use crate::checkpoint::frame;

fn stored(compress: bool) -> (MemoryStorage, Table) {
    let storage = MemoryStorage::default();
    let policy = CheckpointPolicy { compress, keep: 1, ..tiny() };
    let mut w = worker(open(&storage).unwrap(), &["op"], policy);
    let mut table = Table::new();
    for i in 1..=2u8 {
        let puts: Vec<Put> =
            (0..8).map(|k| (k * i, vec![b'k', k], (k != 3 * i).then(|| vec![k; 9]))).collect();
        apply(&mut table, &puts);
        w.checkpoint(t(i.into()), &[part(&puts)]).unwrap();
    }
    (storage, table)
}

fn read(storage: &MemoryStorage) -> Result<Table, CheckpointError> {
    load(&open(storage)?, "op")
}

#[test]
fn damage_at_any_byte_is_an_error_that_names_file_and_place() {
    for compress in [false, true] {
        let (storage, table) = stored(compress);
        assert_eq!(read(&storage).unwrap(), table);
        let names = storage.names();
        assert_eq!(names.len(), 3, "manifest, base, delta: {names:?}");
        for name in names {
            let good = storage.bytes(&name);
            let check = |bytes: Vec<u8>, what: &str| {
                let damaged = storage.copy();
                damaged.set_bytes(&name, bytes);
                let e = read(&damaged).expect_err(what);
                assert!(e.is_corruption(), "{what}: {e:?}");
                let text = e.to_string();
                assert!(text.contains(&name) && text.contains("at byte"), "{what}: {text}");
                assert!(text.contains("restore it"), "{what}: {text}");
            };
            for at in 0..good.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = good.clone();
                    bytes[at] ^= flip;
                    check(bytes, &format!("{name}, byte {at} ^ {flip}"));
                }
                check(good[..at].to_vec(), &format!("{name}, cut at {at}"));
            }
            check([&good[..], b"x"].concat(), &format!("{name}, longer"));
            check(vec![0; good.len()], &format!("{name}, zeros"));
        }
    }
}

#[test]
fn files_that_were_exchanged_are_found_out() {
    let (storage, _) = stored(false);
    let delta = storage.names().into_iter().find(|n| n.ends_with(".delta")).unwrap();
    // Another history under the same names and lengths.
    let (other, _) = (MemoryStorage::default(), ());
    let mut w = worker(
        open(&other).unwrap(),
        &["op"],
        CheckpointPolicy { compress: false, keep: 1, ..tiny() },
    );
    for i in 1..=2u8 {
        let puts: Vec<Put> =
            (0..8).map(|k| (k * i, vec![b'k', k], (k != 3 * i).then(|| vec![99; 9]))).collect();
        w.checkpoint(t(i.into()), &[part(&puts)]).unwrap();
    }
    assert_eq!(storage.bytes(&delta).len(), other.bytes(&delta).len());
    storage.set_bytes(&delta, other.bytes(&delta));
    let e = read(&storage).unwrap_err().to_string();
    assert!(e.contains(&delta) && e.contains("isn't what the manifest says"), "{e}");
}

#[test]
fn a_missing_file_is_named_with_its_manifest() {
    let (storage, _) = stored(true);
    let base = storage.names().into_iter().find(|n| n.ends_with(".base")).unwrap();
    storage.delete(&base).unwrap();
    let e = open(&storage).unwrap_err();
    assert!(e.is_corruption());
    assert!(e.to_string().contains(&base) && e.to_string().contains("manifest-"), "{e}");
}

#[test]
fn lost_manifests_are_no_new_beginning() {
    let (storage, _) = stored(true);
    for name in storage.names().into_iter().filter(|n| n.starts_with("manifest")) {
        storage.delete(&name).unwrap();
    }
    let e = open(&storage).unwrap_err().to_string();
    assert!(e.contains("no manifest") && e.contains("restore"), "{e}");
    assert_eq!(storage.names().len(), 2, "nothing is deleted");
}

#[test]
fn a_newer_format_is_refused_with_a_text_that_says_so() {
    let (storage, _) = stored(true);
    for name in storage.names() {
        let newer = storage.copy();
        let mut bytes = newer.bytes(&name);
        let magic = *bytes.first_chunk::<7>().unwrap();
        bytes[..frame::PREAMBLE].copy_from_slice(&frame::preamble(&magic, 2));
        newer.set_bytes(&name, bytes);
        // No permission to go back helps: the file isn't damaged.
        let e = OpenCheckpoint::open(Arc::new(newer.clone()), StartFrom::NewestWhole)
            .and_then(|o| load(&o, "op"))
            .unwrap_err();
        assert!(matches!(e, CheckpointError::Version { found: 2, reads: 1, .. }), "{e}");
        assert!(e.to_string().contains(&name) && e.to_string().contains("newer"), "{e}");
        assert_eq!(newer.names().len(), 3, "and nothing is deleted");
    }
}

#[test]
fn a_damaged_newest_manifest_needs_permission_to_go_back() {
    let storage = MemoryStorage::default();
    let policy = CheckpointPolicy { keep: 2, ..tiny() };
    let mut w = worker(open(&storage).unwrap(), &["op"], policy);
    w.checkpoint(t(1), &[part(&[(0, vec![1], Some(vec![1]))])]).unwrap();
    w.checkpoint(t(2), &[part(&[(0, vec![2], Some(vec![2]))])]).unwrap();
    let newest = storage.names().into_iter().rfind(|n| n.starts_with("manifest")).unwrap();
    storage.set_bytes(&newest, storage.bytes(&newest)[..30].to_vec());
    assert!(open(&storage).unwrap_err().to_string().contains(&newest));
    let o = OpenCheckpoint::open(Arc::new(storage.clone()), StartFrom::NewestWhole).unwrap();
    assert_eq!(o.time(), Some(t(1)));
    assert_eq!(load(&o, "op").unwrap().len(), 1);
    assert!(o.skipped()[0].to_string().contains(&newest));
    // When none is whole, that is an error too, not a new beginning.
    for name in storage.names().into_iter().filter(|n| n.starts_with("manifest")) {
        storage.set_bytes(&name, vec![0; 30]);
    }
    let e = OpenCheckpoint::open(Arc::new(storage), StartFrom::NewestWhole).unwrap_err();
    assert!(e.to_string().contains("no state checkpoint is whole"), "{e}");
}
