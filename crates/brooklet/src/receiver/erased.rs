//! Receivers without their type, and the two kinds of receivers behind it.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::runtime::IoRuntime;
use super::supervisor::Supervisor;
use super::{AsyncReceiver, Receiver, Store};
use crate::{BoxError, Result};

/// How long an async receiver's future may go on after a stop before it is dropped.
const ASYNC_GRACE: Duration = Duration::from_millis(200);

/// A receiver whose record type is hidden. Made by [`erase`] or [`erase_async`].
pub trait ErasedReceiver: Send + sealed::Supervised {
    /// The receiver's name.
    fn name(&self) -> String;
    /// The host that it would like to run on.
    fn preferred_location(&self) -> Option<String>;
    /// What it does when the context starts.
    ///
    /// # Errors
    /// End the start.
    fn prepare(&mut self) -> Result<()>;
}

impl fmt::Debug for dyn ErasedReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErasedReceiver").field(&self.name()).finish()
    }
}

pub(super) mod sealed {
    use super::{Arc, IoRuntime, Supervisor};

    pub trait Supervised {
        /// Runs to the end under the supervisor; the body of the receiver's thread.
        #[allow(private_interfaces)]
        fn supervise(&mut self, supervisor: &Arc<Supervisor>, io: &Arc<IoRuntime>, thread: &str);
    }
}

/// A receiver without its type.
pub fn erase<R: Receiver>(receiver: R) -> Box<dyn ErasedReceiver> {
    Box::new(Sync(receiver))
}

/// An async receiver without its type.
pub fn erase_async<R: AsyncReceiver>(receiver: R) -> Box<dyn ErasedReceiver> {
    Box::new(Async(receiver))
}

struct Sync<R>(R);

impl<R: Receiver> ErasedReceiver for Sync<R> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn preferred_location(&self) -> Option<String> {
        self.0.preferred_location()
    }

    fn prepare(&mut self) -> Result<()> {
        self.0.prepare()
    }
}

impl<R: Receiver> sealed::Supervised for Sync<R> {
    #[allow(private_interfaces)]
    fn supervise(&mut self, supervisor: &Arc<Supervisor>, _: &Arc<IoRuntime>, thread: &str) {
        supervisor.supervise::<R::Item>(thread, |out| self.0.run(out));
    }
}

struct Async<R>(R);

impl<R: AsyncReceiver> ErasedReceiver for Async<R> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn preferred_location(&self) -> Option<String> {
        self.0.preferred_location()
    }

    fn prepare(&mut self) -> Result<()> {
        self.0.prepare()
    }
}

impl<R: AsyncReceiver> sealed::Supervised for Async<R> {
    #[allow(private_interfaces)]
    fn supervise(&mut self, supervisor: &Arc<Supervisor>, io: &Arc<IoRuntime>, thread: &str) {
        supervisor.supervise::<R::Item>(thread, |out| {
            let handle = io.handle()?;
            handle.block_on(until_stopped(&mut self.0, out))
        });
    }
}

/// Runs the receiver's future until it is ready, or a grace after the stop. A panic goes on after the
/// future is dropped, so that the receiver can be run again.
async fn until_stopped<R: AsyncReceiver>(
    receiver: &mut R,
    out: &mut Store<R::Item>,
) -> Result<(), BoxError> {
    let stopped = out.stopped();
    let mut run = pin!(receiver.run(out));
    let guarded = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    let grace = async {
        stopped.await;
        tokio::time::sleep(ASYNC_GRACE).await;
    };
    tokio::select! {
        biased;
        result = guarded => result.unwrap_or_else(|panic| resume_unwind(panic)),
        () = grace => Ok(()),
    }
}
