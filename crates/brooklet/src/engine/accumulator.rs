//! Accumulators: values that tasks add to and the driver reads.
//!
//! User closures have no task context, so `add` finds the running task through a thread-local. What a
//! task adds is part of its output: it counts once per (operator, batch, partition), when the job has
//! succeeded, however many attempts there were. Adding on the driver counts at once.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AccUpdates, Payload, StageKey, TaskError};
use crate::data::Wire;
use crate::rdd::STAGES_OF_AN_ATTEMPT;
use crate::sync::{LockExt, Mutex};

/// What an accumulator adds up. Implement it for a sum of your own; `add` and `merge` must be
/// associative and commutative.
///
/// ```
/// use brooklet::{Accumulate, Conf, Context};
/// #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
/// struct Longest(String);
/// impl Accumulate for Longest {
///     type Item = String;
///     fn add(&mut self, x: String) {
///         if x.len() > self.0.len() { self.0 = x }
///     }
///     fn merge(&mut self, other: Longest) { self.add(other.0) }
/// }
/// let ctx = Context::new(Conf::new("longest").master("local[2]"))?;
/// let longest = ctx.accumulator::<Longest>("longest");
/// let l = longest.clone();
/// ctx.parallelize(["to", "be", "or", "not"].map(String::from), 2).foreach(move |w| l.add(w))?;
/// assert_eq!(longest.value().0, "not");
/// # Ok::<(), brooklet::Error>(())
/// ```
pub trait Accumulate: Wire + Default {
    /// What is added.
    type Item;
    /// Adds one item.
    fn add(&mut self, item: Self::Item);
    /// Adds what another task has added up.
    fn merge(&mut self, other: Self);
}

/// Sum and number of whole numbers; the sum saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongSum {
    /// The sum.
    pub sum: i64,
    /// How many numbers were added.
    pub count: u64,
}

impl Accumulate for LongSum {
    type Item = i64;
    fn add(&mut self, n: i64) {
        self.sum = self.sum.saturating_add(n);
        self.count += 1;
    }
    fn merge(&mut self, o: LongSum) {
        self.sum = self.sum.saturating_add(o.sum);
        self.count += o.count;
    }
}

/// Sum and number of floating point numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoubleSum {
    /// The sum.
    pub sum: f64,
    /// How many numbers were added.
    pub count: u64,
}

impl Accumulate for DoubleSum {
    type Item = f64;
    fn add(&mut self, n: f64) {
        self.sum += n;
        self.count += 1;
    }
    fn merge(&mut self, o: DoubleSum) {
        self.sum += o.sum;
        self.count += o.count;
    }
}

impl<T: Wire> Accumulate for Vec<T> {
    type Item = T;
    fn add(&mut self, x: T) {
        self.push(x);
    }
    fn merge(&mut self, mut o: Vec<T>) {
        self.append(&mut o);
    }
}

/// A handle to add with (in tasks) and to read (on the driver). Cheap to clone; closures own a clone.
pub struct Accumulator<A> {
    id: u32,
    table: Arc<Accumulators>,
    a: PhantomData<fn() -> A>,
}

impl<A> Clone for Accumulator<A> {
    fn clone(&self) -> Self {
        Accumulator { id: self.id, table: self.table.clone(), a: PhantomData }
    }
}

impl<A: Accumulate> Accumulator<A> {
    /// Adds an item: in a task of its context to the task's output; on the driver, and in tasks of another
    /// context, at once.
    pub fn add(&self, item: A::Item) {
        // The sum is taken out while the user's `add` runs, which may itself use accumulators.
        let mine = TASK.with(|t| {
            let mut t = t.borrow_mut();
            let t = t.as_mut().filter(|t| Arc::ptr_eq(&t.table, &self.table))?;
            let at = t.sums.iter().position(|(id, _)| *id == self.id);
            Some(at.map_or_else(|| Box::new(A::default()) as _, |at| t.sums.swap_remove(at).1))
        });
        let Some(mut sum) = mine else {
            let mut fresh = A::default();
            fresh.add(item);
            return self.table.with(self.id, |a: &mut A| a.merge(fresh));
        };
        if let Some(a) = AnyAcc::as_mut_any(&mut *sum).downcast_mut::<A>() {
            a.add(item);
        }
        TASK.with(|t| {
            if let Some(t) = t.borrow_mut().as_mut() {
                match t.sums.iter_mut().find(|(id, _)| *id == self.id) {
                    // The user's `add` has added to this same accumulator.
                    Some((_, other)) => {
                        let both = std::mem::replace(other, sum);
                        if let Ok(p) = both.payload(false) {
                            let _ = other.merge(p);
                        }
                    }
                    None => t.sums.push((self.id, sum)),
                }
            }
        });
    }

    /// What has been added by finished jobs, and on the driver.
    pub fn value(&self) -> A {
        let mut v = A::default();
        self.table.with(self.id, |a: &mut A| v = a.clone());
        v
    }

    /// Changes what has been added; on the driver.
    pub(crate) fn update<R: Default>(&self, f: impl FnOnce(&mut A) -> R) -> R {
        let mut r = R::default();
        self.table.with(self.id, |a: &mut A| r = f(a));
        r
    }

    /// Back to nothing.
    pub fn reset(&self) {
        self.table.with(self.id, |a: &mut A| *a = A::default());
    }

    /// The name it was made with.
    pub fn name(&self) -> String {
        self.table.0.get().entries[self.id as usize].name.clone()
    }
}

impl<A> fmt::Debug for Accumulator<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accumulator({})", self.table.0.get().entries[self.id as usize].name)
    }
}

/// An accumulating value without its type.
trait AnyAcc: Send + Sync {
    fn as_mut_any(&mut self) -> &mut dyn Any;
    fn payload(self: Box<Self>, bytes: bool) -> Result<Payload, TaskError>;
    fn merge(&mut self, update: Payload) -> Result<(), TaskError>;
}

impl<A: Accumulate> AnyAcc for A {
    fn as_mut_any(&mut self) -> &mut dyn Any {
        self
    }
    fn payload(self: Box<Self>, bytes: bool) -> Result<Payload, TaskError> {
        Payload::new(*self, bytes)
    }
    fn merge(&mut self, update: Payload) -> Result<(), TaskError> {
        Accumulate::merge(self, update.take::<A>()?);
        Ok(())
    }
}

struct Entry {
    name: String,
    value: Box<dyn AnyAcc>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    /// What has counted already.
    applied: HashSet<(StageKey, u32)>,
}

/// All accumulators of a context.
#[derive(Default)]
pub(crate) struct Accumulators(Mutex<Inner>);

impl Accumulators {
    pub(crate) fn register<A: Accumulate>(self: &Arc<Self>, name: &str) -> Accumulator<A> {
        let mut g = self.0.get();
        g.entries.push(Entry { name: name.into(), value: Box::new(A::default()) });
        Accumulator { id: g.entries.len() as u32 - 1, table: self.clone(), a: PhantomData }
    }

    fn with<A: Accumulate>(&self, id: u32, f: impl FnOnce(&mut A)) {
        let mut g = self.0.get();
        if let Some(a) = g.entries[id as usize].value.as_mut_any().downcast_mut::<A>() {
            f(a);
        }
    }

    /// Counts the updates of a finished job, each (stage, partition) once.
    pub(crate) fn apply(&self, accs: Vec<(StageKey, u32, AccUpdates)>) -> Result<(), TaskError> {
        if accs.is_empty() {
            return Ok(());
        }
        let mut g = self.0.get();
        for (stage, partition, updates) in accs {
            // Every attempt of an output names its stages anew; for counting they are the same.
            let first = StageKey { sub: stage.sub % STAGES_OF_AN_ATTEMPT, ..stage };
            if g.applied.insert((first, partition)) {
                for (id, u) in updates {
                    if let Some(e) = g.entries.get_mut(id as usize) {
                        e.value.merge(u)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets what has counted for stages that can't be run again.
    pub(crate) fn forget(&self, gone: impl Fn(&StageKey) -> bool) {
        let mut g = self.0.get();
        if !g.applied.is_empty() {
            g.applied.retain(|(k, _)| !gone(k));
        }
    }
}

impl fmt::Debug for Accumulators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accumulators({})", self.0.get().entries.len())
    }
}

/// What the running task has added.
struct TaskSums {
    /// The accumulators of the task's context.
    table: Arc<Accumulators>,
    sums: Vec<(u32, Box<dyn AnyAcc>)>,
}

thread_local! {
    /// `None` outside of tasks.
    static TASK: RefCell<Option<TaskSums>> = const { RefCell::new(None) };
}

/// Whether this thread is running a task.
pub(crate) fn in_task() -> bool {
    TASK.with(|t| t.borrow().is_some())
}

pub(crate) fn begin_task(table: &Arc<Accumulators>) {
    let sums = TaskSums { table: table.clone(), sums: Vec::new() };
    TASK.with(|t| *t.borrow_mut() = Some(sums));
}

pub(crate) fn end_task(bytes: bool) -> Result<AccUpdates, TaskError> {
    let sums = TASK.with(|t| t.borrow_mut().take()).map(|t| t.sums).unwrap_or_default();
    sums.into_iter().map(|(id, a)| Ok((id, a.payload(bytes)?))).collect()
}
