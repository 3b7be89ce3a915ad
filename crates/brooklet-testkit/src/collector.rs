use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brooklet::Time;

/// How long [`Collector::wait_until`] waits before it gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// A sink that keeps what it is given, by batch. Clones share the content: give one to the stream and
/// keep one for the assertions.
///
/// In a stream: `counts.foreach_rdd(move |rdd, time| { sink.push(time, rdd.collect()?); Ok(()) })`.
///
/// ```
/// use brooklet::Time;
/// use brooklet_testkit::Collector;
///
/// let sink = Collector::new();
/// let in_the_stream = sink.clone();
/// in_the_stream.push(Time::from_millis(1_000), ["a", "b", "a"]);
/// in_the_stream.push(Time::from_millis(2_000), ["b"]);
///
/// assert_eq!(sink.items(), ["a", "b", "a", "b"]);
/// assert_eq!(sink.multiset().into_iter().collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
/// assert_eq!(sink.batch(Time::from_millis(2_000)), ["b"]);
/// ```
#[derive(Debug)]
pub struct Collector<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    batches: Mutex<BTreeMap<Time, Vec<T>>>,
    pushed: Condvar,
}

impl<T> Collector<T> {
    /// An empty sink.
    pub fn new() -> Collector<T> {
        Collector { shared: Arc::new(Shared { batches: Mutex::default(), pushed: Condvar::new() }) }
    }

    /// Adds items to the batch of `time`. A batch that is given nothing is remembered as an empty one.
    pub fn push(&self, time: Time, items: impl IntoIterator<Item = T>) {
        let items: Vec<T> = items.into_iter().collect(); // user code runs outside of the lock
        self.lock().entry(time).or_default().extend(items);
        self.shared.pushed.notify_all();
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// Whether there are no items (there may be empty batches).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The times of all batches, in order.
    pub fn times(&self) -> Vec<Time> {
        self.lock().keys().copied().collect()
    }

    /// Waits until `done` says so of the number of batches and items.
    ///
    /// # Panics
    /// After a minute, with both numbers: a test shouldn't hang.
    pub fn wait_until(&self, mut done: impl FnMut(usize, usize) -> bool) {
        let numbers = |b: &BTreeMap<Time, Vec<T>>| (b.len(), b.values().map(Vec::len).sum());
        let (batches, timeout) = self
            .shared
            .pushed
            .wait_timeout_while(self.lock(), LIMIT, |b| {
                let (batches, items) = numbers(b);
                !done(batches, items)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let (batches, items) = numbers(&batches);
        assert!(
            !timeout.timed_out(),
            "after {LIMIT:?} the sink has {batches} batches with {items} items, and waits for more"
        );
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Time, Vec<T>>> {
        self.shared.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Collector<T> {
    /// All items, batch by batch.
    pub fn items(&self) -> Vec<T> {
        self.lock().values().flatten().cloned().collect()
    }

    /// The items of one batch; none if there was no such batch.
    pub fn batch(&self, time: Time) -> Vec<T> {
        self.lock().get(&time).cloned().unwrap_or_default()
    }

    /// All batches with their items, in the order of time.
    pub fn batches(&self) -> Vec<(Time, Vec<T>)> {
        self.lock().iter().map(|(t, items)| (*t, items.clone())).collect()
    }
}

impl<T: Clone + Ord> Collector<T> {
    /// Each item with the number of times it came. Compare this, never a set: a duplicate is a failure.
    pub fn multiset(&self) -> BTreeMap<T, usize> {
        let mut all = BTreeMap::new();
        for item in self.lock().values().flatten() {
            *all.entry(item.clone()).or_default() += 1;
        }
        all
    }
}

impl<K: Clone + Ord, V: Clone + Default + AddAssign> Collector<(K, V)> {
    /// The values added up by key over all batches.
    ///
    /// ```
    /// # use brooklet::Time;
    /// # use brooklet_testkit::Collector;
    /// let sink = Collector::new();
    /// sink.push(Time::from_millis(1), [("河", 2), ("b", 1)]);
    /// sink.push(Time::from_millis(2), [("河", 3)]);
    /// assert_eq!(sink.sums()["河"], 5);
    /// ```
    pub fn sums(&self) -> BTreeMap<K, V> {
        let mut sums: BTreeMap<K, V> = BTreeMap::new();
        for (key, value) in self.lock().values().flatten() {
            *sums.entry(key.clone()).or_default() += value.clone();
        }
        sums
    }
}

impl<T> Clone for Collector<T> {
    fn clone(&self) -> Self {
        Collector { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Default for Collector<T> {
    fn default() -> Self {
        Collector::new()
    }
}
