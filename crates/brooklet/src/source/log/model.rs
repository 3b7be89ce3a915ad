//! A folder in memory, with inodes that are used again and clocks that tick rarely.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::fs::{Entry, FileId, Files, Stat};
use crate::sync::{LockExt, Mutex};

pub(super) const FOLDER: &str = "/logs";
/// Changes that get the same time.
const PER_TICK: u128 = 3;

#[derive(Debug)]
pub(super) struct Content {
    inode: u64,
    /// Never given twice.
    pub(super) serial: u128,
    pub(super) bytes: Vec<u8>,
    pub(super) modified: u128,
    pub(super) forbidden: bool,
}

pub(super) type Node = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Node>,
    all: Vec<Weak<Mutex<Content>>>,
    changes: u128,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model(Arc<Mutex<State>>);

impl Model {
    pub(super) fn path(name: &str) -> PathBuf {
        Path::new(FOLDER).join(name)
    }

    fn now(&self) -> u128 {
        let mut s = self.0.get();
        s.changes += 1;
        s.changes / PER_TICK * 1_000_000_000
    }

    /// Creates or replaces a file. It gets the lowest inode that no name and no open file has.
    pub(super) fn create(&self, name: &str) -> Node {
        let modified = self.now();
        let mut s = self.0.get();
        s.names.remove(name);
        s.all.retain(|w| w.strong_count() > 0);
        let used: Vec<u64> = s.all.iter().filter_map(|w| Some(w.upgrade()?.get().inode)).collect();
        let inode = (1..).find(|i| !used.contains(i)).unwrap_or_default();
        let serial = s.changes;
        let content = Content { inode, serial, bytes: Vec::new(), modified, forbidden: false };
        let node = Arc::new(Mutex::new(content));
        s.all.push(Arc::downgrade(&node));
        s.names.insert(name.into(), node.clone());
        node
    }

    pub(super) fn append(&self, file: &Node, bytes: &[u8]) {
        let now = self.now();
        let mut f = file.get();
        f.bytes.extend_from_slice(bytes);
        f.modified = now;
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Node {
        let file = self.create(name);
        self.append(&file, text.as_bytes());
        file
    }

    pub(super) fn truncate(&self, file: &Node) {
        let now = self.now();
        let mut f = file.get();
        f.bytes.clear();
        f.modified = now;
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        let mut s = self.0.get();
        if let Some(node) = s.names.remove(from) {
            s.names.insert(to.into(), node);
        }
    }

    pub(super) fn delete(&self, name: &str) {
        self.0.get().names.remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.0.get().names.get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.get().names.keys().cloned().collect()
    }

    /// As logrotate does: `log.2` to `log.3`, `log.1` to `log.2`, compressed ones too.
    pub(super) fn shift(&self, name: &str) {
        for n in (1..200).rev() {
            for end in ["", ".gz"] {
                self.rename(&format!("{name}.{n}{end}"), &format!("{name}.{}{end}", n + 1));
            }
        }
    }

    pub(super) fn rotate(&self, name: &str) -> Node {
        self.shift(name);
        self.rename(name, &format!("{name}.1"));
        self.create(name)
    }

    /// Copies the content to `log.1` and truncates the log.
    pub(super) fn copy_truncate(&self, name: &str) {
        self.shift(name);
        let Some(file) = self.get(name) else { return };
        let copy = self.create(&format!("{name}.1"));
        let bytes = file.get().bytes.clone();
        self.append(&copy, &bytes);
        self.truncate(&file);
    }

    /// Compresses a rotated file, keeping its time.
    pub(super) fn compress(&self, name: &str) {
        let Some(file) = self.get(name) else { return };
        let (bytes, modified) = {
            let f = file.get();
            (f.bytes.clone(), f.modified)
        };
        drop(file);
        let gz = self.create(&format!("{name}.gz"));
        self.append(&gz, &bytes[..bytes.len() / 3]);
        gz.get().modified = modified;
        self.delete(name);
    }
}

fn stat(node: &Node) -> Stat {
    let f = node.get();
    Stat {
        id: FileId { device: 1, inode: f.inode },
        len: f.bytes.len() as u64,
        modified: f.modified,
        regular: true,
    }
}

impl Files for Model {
    type Handle = Node;

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let name = path.strip_prefix(FOLDER).ok().and_then(Path::to_str).unwrap_or_default();
        self.get(name).map(|n| stat(&n)).ok_or(ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Node> {
        let name = path.strip_prefix(FOLDER).ok().and_then(Path::to_str).unwrap_or_default();
        let file = self.get(name).ok_or(io::Error::from(ErrorKind::NotFound))?;
        if file.get().forbidden { Err(ErrorKind::PermissionDenied.into()) } else { Ok(file) }
    }

    fn stat_of(&self, file: &Node) -> io::Result<Stat> {
        Ok(stat(file))
    }

    fn read_at(&self, file: &Node, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let f = file.get();
        let rest = f.bytes.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn list(&self, _: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        let s = self.0.get();
        let found = s.names.iter().filter(|(name, _)| wanted(name));
        Ok(found.map(|(name, node)| Entry { name: name.clone(), stat: stat(node) }).collect())
    }
}
