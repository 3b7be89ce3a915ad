//! On the local file system.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::checkpoint::LocalStorage;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("brooklet-ckpt-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_directory_belongs_to_one_owner_at_a_time() {
    let dir = Dir::new("lock");
    let o = OpenCheckpoint::local(&dir.0, StartFrom::Newest).unwrap();
    let e = OpenCheckpoint::local(&dir.0, StartFrom::Newest).unwrap_err();
    assert!(matches!(e, CheckpointError::Locked { .. }));
    let text = e.to_string();
    assert!(text.contains(&dir.0.display().to_string()) && text.contains("in use"), "{text}");
    #[cfg(unix)]
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    let w = worker(o, &["op"], tiny());
    assert!(LocalStorage::open(&dir.0).is_err(), "a started one holds it too");
    drop(w);
    LocalStorage::open(&dir.0).unwrap();
}

#[test]
fn state_comes_back_and_only_our_files_go() {
    let dir = Dir::new("files");
    let reopen = || OpenCheckpoint::local(&dir.0, StartFrom::Newest).unwrap();
    let mut w = worker(reopen(), &["a -> b"], tiny());
    let mut table = Table::new();
    for i in 1..20u8 {
        let puts: Vec<Put> = (0..i).map(|k| (k, vec![k], Some(vec![i; 20]))).collect();
        apply(&mut table, &puts);
        w.checkpoint(t(i.into()), &[part(&puts)]).unwrap();
        while w.merge().unwrap() {}
    }
    drop(w);
    for name in
        ["notes.txt", "state-x", "state-0000000099-0001-000-a.delta", "manifest-0000000099-1.tmp"]
    {
        fs::write(dir.0.join(name), "x").unwrap();
    }
    let o = reopen();
    assert_eq!((o.time(), load(&o, "a -> b").unwrap()), (Some(t(19)), table));
    let names: Vec<String> = fs::read_dir(&dir.0)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|n| n == "notes.txt") && names.iter().any(|n| n == "state-x"));
    assert!(!names.iter().any(|n| n.contains("0000000099")), "{names:?}");
    assert_eq!(names.iter().filter(|n| n.starts_with("manifest-")).count(), 2);
}

#[test]
fn a_directory_is_made_with_those_above_it() {
    let dir = Dir::new("nested");
    let inner = dir.0.join("a/b");
    let mut w = worker(OpenCheckpoint::local(&inner, StartFrom::Newest).unwrap(), &["op"], tiny());
    w.checkpoint(t(1), &[part(&[(0, vec![1], Some(vec![1]))])]).unwrap();
    drop(w);
    assert_eq!(OpenCheckpoint::local(&inner, StartFrom::Newest).unwrap().time(), Some(t(1)));
}

#[test]
fn what_the_system_refuses_is_named() {
    let dir = Dir::new("refused");
    fs::write(&dir.0, "a file").unwrap();
    let e = OpenCheckpoint::local(&dir.0, StartFrom::Newest).unwrap_err().to_string();
    assert!(e.contains("making the directory") && e.contains("brooklet-ckpt-refused"), "{e}");
    fs::remove_file(&dir.0).unwrap();
}
