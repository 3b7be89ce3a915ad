//! The generator: makes a batch at every tick of the grid, in order, none skipped.
//!
//! It is a role, not a thread: whichever of the scheduler's threads has nothing to run takes it
//! (`job_scheduler`). The thread that made a batch runs it, and another one waits for the next tick: a
//! batch begins without waking a thread.
//!
//! # Precision
//! A condition variable woke about 80 µs late where we measured (Linux; 50 µs of it is timer slack), so
//! it sleeps until [`EARLY`] before the tick and polls the clock for what is left, without a
//! pause for at most [`SPIN`]; not while a batch runs. Figures and their noise: README.md.
//!
//! # Queue policies
//! While the queue is full no policy generates. `Wait` then generates the late ticks in order; `Merge`
//! fixes the newest tick that is due when there is room again: the ticks before run empty, it takes all
//! input (the target isn't moved by later ticks, so that input is never starved); `Fail` stops.
//!
//! # Graceful stop
//! Ticks due when the drain begins are generated. Then ticks follow only while the graph has input that
//! is in no batch: on a wall clock at their time, on a manual clock at once, ahead of the clock.

use std::sync::Arc;
use std::time::Duration;

use super::guarded;
use super::shared::{Core, State};
use crate::conf::QueuePolicy;
use crate::sync::{LockExt, MutexGuard, wait};
use crate::time::{Timestamp, whole_millis};
use crate::{Error, Time};

/// How long before a tick the generator stops sleeping.
pub(super) const EARLY: Duration = Duration::from_micros(100);
/// The part of it that polls the clock without a pause; before it the processor is offered to others.
const SPIN: Duration = Duration::from_micros(50);

/// What to do about the next tick.
enum Next {
    Generate,
    Wait,
    End,
}

/// What is known of late ticks between two looks.
#[derive(Default)]
pub(super) struct Lateness {
    /// The queue was full at the last look.
    full: bool,
    /// The episode was reported; it ends when no tick is due.
    warned: bool,
    /// The tick that takes all input; those before run empty.
    merge_to: Option<Time>,
}

/// Makes batches until one of them can run: the caller then runs it. Or until there are no more to make.
pub(super) fn lead<'a>(core: &'a Arc<Core>, mut s: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    while !s.halted {
        let now = core.clock.now();
        let due = s.next;
        let next;
        (s, next) = look(core, s, now);
        match next {
            _ if s.halted => break,
            Next::End => break,
            Next::Wait => {
                if s.late.warned {
                    tracing::info!(app = core.app, "the ticks are in time again");
                    core.metrics.set_waiting_ticks(0);
                }
                s.late = Lateness::default();
                s = sleep_until(core, s, due.into());
                continue;
            }
            Next::Generate => {}
        }
        if s.queue.len() >= core.limit {
            s.late.full = true;
            let ticks = ticks_due(core, due, now);
            core.metrics.set_waiting_ticks(ticks);
            if core.queue_policy == QueuePolicy::Fail && s.drain.is_none() {
                let e = Error::QueueFull { waiting: s.queue.len(), time: due };
                core.fail(&mut s, e, 0);
                break;
            }
            if !std::mem::replace(&mut s.late.warned, true) {
                tracing::warn!(
                    app = core.app,
                    "batches come faster than they are processed: {} wait or run, tick {due} waits \
                     (queue policy {:?})",
                    s.queue.len(),
                    core.queue_policy
                );
            }
            s.generator_waits = true;
            let newer: Timestamp =
                (due + core.interval * u32::try_from(ticks).unwrap_or(u32::MAX)).into();
            s = wait(&core.tick, s, core.clock.wait_hint(newer));
            s.generator_waits = false;
            continue;
        }
        let late = &mut s.late;
        if std::mem::take(&mut late.full)
            && core.queue_policy == QueuePolicy::Merge
            && late.merge_to.is_none()
        {
            late.merge_to = Some(now.time().floor_from(core.interval, due));
        }
        let empty = late.merge_to.is_some_and(|to| due < to);
        if !empty {
            late.merge_to = None;
        }
        if late.warned {
            core.metrics.set_waiting_ticks(ticks_due(core, due, now).saturating_sub(1));
        }
        s.next = due + core.interval;
        drop(s);
        let input = guarded("allocate", || core.graph.allocate(due, empty));
        let input = input.and_then(|all| core.take_reports(due, all));
        let at = core.clock.now();
        s = core.state.get();
        if s.halted {
            break;
        }
        core.submit(&mut s, due, input, at);
        if s.queue.peek().is_some() {
            return s;
        }
    }
    core.metrics.set_waiting_ticks(0);
    s.generating = false;
    core.done.notify_all();
    s
}

fn look<'a>(
    core: &'a Core,
    s: MutexGuard<'a, State>,
    now: Timestamp,
) -> (MutexGuard<'a, State>, Next) {
    let due: Timestamp = s.next.into();
    match s.drain {
        None if now >= due => (s, Next::Generate),
        None => (s, Next::Wait),
        Some(until) if due <= until => (s, Next::Generate),
        Some(_) => {
            drop(s);
            let more = guarded("has_unallocated", || Ok(core.graph.has_unallocated()));
            let more = more.unwrap_or_else(|e| {
                tracing::error!(app = core.app, "{e}");
                false
            });
            let next = match more {
                false => Next::End,
                true if now >= due || core.clock.is_manual() => Next::Generate,
                true => Next::Wait,
            };
            (core.state.get(), next)
        }
    }
}

/// Ticks from `due` to `now`, at least one (a tick that is made ahead of the clock).
fn ticks_due(core: &Core, due: Time, now: Timestamp) -> u64 {
    let late = now.since(due.into());
    whole_millis(late) / whole_millis(core.interval).max(1) + 1
}

/// Sleeps until the tick, or until something changes.
fn sleep_until<'a>(
    core: &'a Core,
    s: MutexGuard<'a, State>,
    due: Timestamp,
) -> MutexGuard<'a, State> {
    match core.clock.wait_hint(due) {
        // What is due while a batch runs has to wait anyway; the processor is the batch's.
        hint if !s.queue.is_empty() => wait(&core.tick, s, hint),
        Some(left) if left <= EARLY => {
            drop(s);
            loop {
                match due.since(core.clock.now()) {
                    Duration::ZERO => break core.state.get(),
                    left if left > SPIN => std::thread::yield_now(),
                    _ => std::hint::spin_loop(),
                }
            }
        }
        hint => wait(&core.tick, s, hint.map(|left| left - EARLY)),
    }
}
