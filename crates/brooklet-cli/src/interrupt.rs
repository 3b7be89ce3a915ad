//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use crate::error::Failure;

const ENDED_BY_INTERRUPT: i32 = 130;

/// Calls `first` on the first Ctrl-C (or `SIGTERM`, `SIGHUP`); the next one exits with code 130.
pub fn on_interrupt(mut first: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(ENDED_BY_INTERRUPT);
        }
        first();
    })
    .map_err(|e| Failure::Failed(format!("can't handle Ctrl-C: {e}")))
}
