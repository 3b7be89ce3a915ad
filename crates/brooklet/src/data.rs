//! What may flow through a stream, what may leave a task, and what may be a key.
//!
//! The three traits have blanket implementations: a type is `Data`, `Wire` or `Key` when it has the
//! derives that their bounds name. The bounds stand on the methods that need them, so that a missing
//! derive is reported with the text below and not as a missing method.

use std::hash::{Hash, Hasher};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record of a stream. Nothing to implement: every `Clone + Send + Sync + 'static` type is `Data`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a record of a stream",
    label = "needs `Clone + Send + Sync + 'static`",
    note = "derive `Clone`; replace `Rc` by `Arc`, `RefCell` by `Mutex`, borrowed fields by owned ones"
)]
pub trait Data: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Data for T {}

/// A record that may leave its task: through a shuffle, into state, into a persisted or received
/// block, or back to the driver. Every [`Data`] with serde's `Serialize` and `Deserialize` is `Wire`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` leaves its task here (shuffle, state, storage or result), so it must be serializable",
    label = "needs serde's `Serialize` and `Deserialize`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to `{Self}`"
)]
pub trait Wire: Data + Serialize + DeserializeOwned {}
impl<T: Data + Serialize + DeserializeOwned> Wire for T {}

/// A key of a pair stream: [`Wire`] with `Hash` and `Eq`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the key of a pair stream",
    label = "needs `Hash + Eq` and serde's `Serialize + Deserialize`",
    note = "add `#[derive(PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]`; for `f64` use an ordered wrapper"
)]
pub trait Key: Wire + Hash + Eq {}
impl<T: Wire + Hash + Eq> Key for T {}

/// The seed of all key hashes of one application: random at the first start, so that a sender can't
/// know which keys collide, and the same in every process of the application, so that all agree on
/// which partition a key belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashSeed(u64);

impl HashSeed {
    /// A given seed; tests fix it.
    pub const fn new(seed: u64) -> HashSeed {
        HashSeed(seed)
    }

    /// A seed that can't be guessed from outside.
    pub fn random() -> HashSeed {
        use std::hash::BuildHasher;
        HashSeed(std::hash::RandomState::new().hash_one(std::process::id()))
    }

    /// The number behind the seed, for the engines that pass it on.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The 64-bit hash of a key under this seed; computed once per record and carried from there on.
    #[inline(always)]
    pub fn hash<K: Hash + ?Sized>(self, key: &K) -> u64 {
        let mut h = KeyHasher { state: self.0 ^ SEED_MIX, seed: self.0 };
        key.hash(&mut h);
        h.finish()
    }
}

const SEED_MIX: u64 = 0x2d35_8dcc_aa6c_78a5;
const MULTIPLIER: u64 = 0x8bb8_4b93_962e_acc9;

/// 64×64 → 128 bit multiplication folded to 64 bits: the mixing step of wyhash and foldhash.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let m = u128::from(a) * u128::from(b);
    (m as u64) ^ ((m >> 64) as u64)
}

/// A hasher made for short keys: one multiplication for each 8 or 16 bytes. Bulk text goes to foldhash.
struct KeyHasher {
    state: u64,
    seed: u64,
}

impl Hasher for KeyHasher {
    #[inline(always)]
    fn finish(&self) -> u64 {
        self.state
    }
    #[inline(always)]
    fn write_u64(&mut self, x: u64) {
        // The seed is in both factors: without it, a state of zero would swallow everything after it.
        self.state = fold(self.state ^ x, MULTIPLIER ^ self.seed.rotate_left(32));
    }
    #[inline(always)]
    fn write_u128(&mut self, x: u128) {
        self.state =
            fold(x as u64 ^ self.state, (x >> 64) as u64 ^ MULTIPLIER ^ self.seed.rotate_left(32));
    }
    #[inline(always)]
    fn write_u32(&mut self, x: u32) {
        self.write_u64(u64::from(x));
    }
    #[inline(always)]
    fn write_u16(&mut self, x: u16) {
        self.write_u64(u64::from(x));
    }
    #[inline(always)]
    fn write_u8(&mut self, x: u8) {
        self.write_u64(u64::from(x));
    }
    #[inline(always)]
    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64);
    }
    fn write(&mut self, bytes: &[u8]) {
        if bytes.len() > 16 {
            use std::hash::BuildHasher;
            let mut h = foldhash::quality::FixedState::with_seed(self.seed).build_hasher();
            h.write(bytes);
            return self.write_u64(h.finish());
        }
        for c in bytes.chunks(8) {
            let mut w = [0u8; 8];
            w[..c.len()].copy_from_slice(c);
            self.write_u64(u64::from_le_bytes(w) ^ ((bytes.len() as u64) << 57));
        }
        if bytes.is_empty() {
            self.write_u64(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_spreads_keys_and_another_seed_spreads_them_otherwise() {
        let (a, b) = (HashSeed::new(1), HashSeed::new(2));
        let mut groups = [0u32; 256];
        let mut same = 0;
        for i in 0..25_600u64 {
            groups[(a.hash(&i) >> 56) as usize] += 1;
            same += u32::from(a.hash(&i) >> 56 == b.hash(&i) >> 56);
        }
        assert!(groups.iter().all(|n| (50..160).contains(n)), "{groups:?}");
        assert!(same < 200, "{same} of 25600 keys stayed in their group");
    }

    #[test]
    fn text_and_tuples_hash_by_content() {
        let s = HashSeed::new(7);
        assert_eq!(
            s.hash("a fairly long text of more bytes"),
            s.hash(&String::from("a fairly long text of more bytes"))
        );
        assert_ne!(s.hash(&("a", "bc")), s.hash(&("ab", "c")));
        assert_ne!(s.hash(""), s.hash("\0"));
    }

    #[test]
    fn collisions_under_a_known_seed_are_gone_under_another() {
        let known = HashSeed::new(0);
        let keys: Vec<u64> =
            (0u64..4_000_000).filter(|k| known.hash(k) >> 52 == 0).take(500).collect();
        assert!(keys.len() >= 500);
        let other = HashSeed::new(0x1234_5678_9abc_def0);
        let hit = keys.iter().filter(|k| other.hash(*k) >> 52 == 0).count();
        assert!(hit < 20, "{hit}");
    }
}
