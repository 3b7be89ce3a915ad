//! The runtime for receivers that are `async`.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::defaults;
use crate::sync::{LockExt, Mutex};

/// A tokio runtime that is made when first asked for. Its threads drive sockets and timers and whatever
/// is spawned; each receiver's own future is polled on that receiver's thread. Dropping it never
/// blocks, so that it may be dropped inside another runtime.
pub(crate) struct IoRuntime {
    app_name: String,
    runtime: Mutex<Option<Runtime>>,
}

impl IoRuntime {
    pub(crate) fn new(app_name: &str) -> Arc<IoRuntime> {
        Arc::new(IoRuntime { app_name: app_name.to_owned(), runtime: Mutex::default() })
    }

    pub(crate) fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.runtime.get();
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let made = Builder::new_multi_thread()
            .worker_threads(defaults::IO_THREADS)
            .thread_name(format!("{}-io", self.app_name))
            .enable_all()
            .build()?;
        Ok(runtime.insert(made).handle().clone())
    }
}

impl Drop for IoRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get().take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for IoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoRuntime").finish_non_exhaustive()
    }
}
