//! Signals that end a process stop the contexts that ask for it gracefully first
//! ([`Conf::stop_gracefully_on_shutdown`](crate::Conf::stop_gracefully_on_shutdown)).
//!
//! Signals belong to the process, so this is the one thing that all contexts share. The handlers are
//! installed with the first context that wants them, beside those of others, which are called as well.

use std::io;
use std::sync::Weak;
use std::sync::mpsc::{self, Sender};
use std::thread;

use tokio::runtime::Builder;

use super::streaming::{ContextState, Shared, StreamingContext};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result};

static HOOK: Mutex<Hook> = Mutex::new(Hook { contexts: Vec::new(), installed: false });

struct Hook {
    contexts: Vec<Entry>,
    installed: bool,
}

struct Entry {
    context: Weak<Shared>,
    /// A signal has asked it to stop.
    asked: bool,
}

/// Has the next signal stop `ssc`.
///
/// # Errors
/// When the handlers can't be installed.
pub(super) fn stop_at_signals(ssc: &StreamingContext) -> Result<()> {
    let context = ssc.downgrade();
    let mut hook = HOOK.get();
    hook.contexts.retain(|e| e.context.strong_count() > 0);
    if hook.contexts.iter().all(|e| !Weak::ptr_eq(&e.context, &context)) {
        hook.contexts.push(Entry { context, asked: false });
    }
    if !hook.installed {
        let what = "installing signal handlers (`stop_gracefully_on_shutdown`)";
        install().map_err(|e| Error::io(what, e))?;
        hook.installed = true;
    }
    Ok(())
}

fn install() -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("brooklet-shutdown".into()).spawn(move || listen(&tell))?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("their thread ended")))
}

/// Waits for signals as long as the process lives.
fn listen(tell: &Sender<io::Result<()>>) {
    let failed = |e| drop(tell.send(Err(e)));
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(e),
    };
    runtime.block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(e) => return failed(e),
        };
        let _ = tell.send(Ok(()));
        while let Some((name, number)) = signals.next().await {
            handle(name, number);
        }
    });
}

/// The first signal stops what runs; another one, and one that finds nothing running, ends the process.
fn handle(name: &str, number: i32) {
    let mut hook = HOOK.get();
    let mut active = Vec::new();
    let mut again = false;
    for entry in &mut hook.contexts {
        let context = StreamingContext::upgrade(&entry.context);
        if let Some(ssc) = context.filter(|c| c.state() == ContextState::Active) {
            again |= std::mem::replace(&mut entry.asked, true);
            active.push(ssc);
        }
    }
    drop(hook);
    if again || active.is_empty() {
        std::process::exit(128 + number);
    }
    tracing::warn!("{name}: stopping gracefully; another one ends the process at once");
    for ssc in active {
        let stopping = move || {
            if let Err(e) = ssc.stop(true) {
                tracing::error!("{e}");
            }
        };
        let spawned = thread::Builder::new().name("brooklet-shutdown-stop".into()).spawn(stopping);
        if let Err(e) = spawned {
            tracing::error!("no thread for the stop: {e}");
            std::process::exit(128 + number);
        }
    }
}

/// What asks a process to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Option<(&'static str, i32)> {
        tokio::select! {
            s = self.interrupt.recv() => s.map(|()| ("Ctrl-C", 2)),
            s = self.terminate.recv() => s.map(|()| ("SIGTERM", 15)),
            s = self.hang_up.recv() => s.map(|()| ("SIGHUP", 1)),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Option<(&'static str, i32)> {
        tokio::signal::ctrl_c().await.ok().map(|()| ("Ctrl-C", 2))
    }
}
