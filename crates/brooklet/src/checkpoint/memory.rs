//! A storage in memory that crashes or fails where a test wants it to.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use super::storage::{Storage, StorageReader, StorageWriter};
use crate::rdd::random::Random;
use crate::sync::{LockExt, Mutex};

/// Files in memory. What wasn't synced may be lost, torn or garbage after a crash, names and contents each
/// on their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStorage(Arc<Mutex<Disk>>);

#[derive(Clone, Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    /// Names as of the last sync, and what was done to names since.
    durable: BTreeMap<String, usize>,
    log: Vec<NameChange>,
    ops: u64,
    fault: Option<Fault>,
    dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Delete(String, usize),
}

/// What happens at an operation, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It and all later ones fail.
    Crash(u64),
    /// It alone fails; later ones would succeed.
    Fail(u64),
}

impl MemoryStorage {
    pub(crate) fn with_fault(self, fault: Option<Fault>) -> MemoryStorage {
        {
            let mut d = self.0.get();
            (d.ops, d.fault) = (0, fault);
        }
        self
    }

    /// Writes, renames, deletions and syncs so far.
    pub(crate) fn ops(&self) -> u64 {
        self.0.get().ops
    }

    /// An independent copy.
    pub(crate) fn copy(&self) -> MemoryStorage {
        MemoryStorage(Arc::new(Mutex::new(self.0.get().clone())))
    }

    /// What a crash now leaves.
    pub(crate) fn crash(&self, random: &mut Random) -> MemoryStorage {
        let d = self.0.get();
        let mut names = d.durable.clone();
        for change in &d.log {
            if random.below(2) == 0 {
                continue;
            }
            match change {
                NameChange::Create(name, inode) => _ = names.insert(name.clone(), *inode),
                NameChange::Rename(from, to, inode) => {
                    names.retain(|n, _| n != from);
                    names.insert(to.clone(), *inode);
                }
                NameChange::Delete(name, inode) => names.retain(|n, i| n != name || i != inode),
            }
        }
        let mut inodes = d.inodes.clone();
        for i in &mut inodes {
            let lost = (i.bytes.len() - i.synced) as u64;
            i.bytes.truncate(i.synced + random.below(lost + 1) as usize);
            if random.below(2) == 0 {
                i.bytes[i.synced..].fill(0);
            }
            i.synced = i.bytes.len();
        }
        let disk = Disk { inodes, durable: names.clone(), names, ..Disk::default() };
        MemoryStorage(Arc::new(Mutex::new(disk)))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let d = self.0.get();
        d.inodes[d.names[name]].bytes.clone()
    }

    pub(crate) fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let d = &mut *self.0.get();
        d.inodes[d.names[name]] = Inode { synced: bytes.len(), bytes };
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.get().names.keys().cloned().collect()
    }
}

impl Disk {
    fn op(&mut self) -> io::Result<()> {
        let n = self.ops;
        self.ops += 1;
        match self.fault {
            Some(Fault::Crash(at)) if n >= at => self.dead = true,
            Some(Fault::Fail(at)) if n == at => {
                return Err(io::Error::new(ErrorKind::StorageFull, "a fault of the test"));
            }
            _ => {}
        }
        if self.dead { Err(io::Error::other("the storage has crashed")) } else { Ok(()) }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Storage for MemoryStorage {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageWriter>> {
        let d = &mut *self.0.get();
        d.op()?;
        if d.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = d.inodes.len();
        d.inodes.push(Inode::default());
        d.names.insert(name.into(), inode);
        d.log.push(NameChange::Create(name.into(), inode));
        Ok(Box::new(Handle { disk: self.0.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageReader>> {
        let inode = self.0.get().find(name)?;
        Ok(Box::new(Handle { disk: self.0.clone(), inode }))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let d = self.0.get();
        Ok(d.names.iter().map(|(n, i)| (n.clone(), d.inodes[*i].bytes.len() as u64)).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let d = &mut *self.0.get();
        d.op()?;
        let inode = d.find(from)?;
        d.names.remove(from);
        d.names.insert(to.into(), inode);
        d.log.push(NameChange::Rename(from.into(), to.into(), inode));
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let d = &mut *self.0.get();
        d.op()?;
        let inode = d.find(name)?;
        d.names.remove(name);
        d.log.push(NameChange::Delete(name.into(), inode));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let d = &mut *self.0.get();
        d.op()?;
        d.durable = d.names.clone();
        d.log.clear();
        Ok(())
    }
}

struct Handle {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

impl StorageWriter for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let d = &mut *self.disk.get();
        // A write that fails has written something.
        let done = d.op();
        let n = if done.is_ok() { bytes.len() } else { bytes.len() / 2 };
        d.inodes[self.inode].bytes.extend_from_slice(&bytes[..n]);
        done
    }

    fn sync(self: Box<Self>) -> io::Result<()> {
        let d = &mut *self.disk.get();
        let done = d.op();
        let i = &mut d.inodes[self.inode];
        match done {
            Ok(()) => i.synced = i.bytes.len(),
            // As systems do: what couldn't be written is dropped, and a second sync would say all is well.
            Err(_) => i.bytes[i.synced..].fill(0),
        }
        done
    }
}

impl StorageReader for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.get().inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let d = self.disk.get();
        let bytes = &d.inodes[self.inode].bytes;
        let from = bytes.get(at as usize..).and_then(|b| b.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
