//! Text from the standard input.

use std::io::Read;
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::Str;
use crate::conf::defaults;
use crate::error::BoxError;
use crate::receiver::{Receiver, Store};
use crate::sync::{LockExt, Mutex};

/// The receiver behind [`stdin_text_stream`](crate::StreamingContext::stdin_text_stream). It ends with the
/// input; the stream goes on with empty batches.
///
/// A read of the standard input can't be interrupted, so one thread of the process does it for all contexts,
/// two pieces ahead at most; it ends with the input or the process.
#[derive(Debug, Default)]
pub struct StdinReceiver(());

impl StdinReceiver {
    /// A receiver of the process's standard input.
    pub fn new() -> StdinReceiver {
        StdinReceiver(())
    }
}

type Pieces = Channel<std::io::Result<Vec<u8>>>;

/// Pieces of the standard input, read by a thread of their own.
fn pieces() -> std::io::Result<Arc<Mutex<Pieces>>> {
    static PIECES: OnceLock<Arc<Mutex<Pieces>>> = OnceLock::new();
    if let Some(p) = PIECES.get() {
        return Ok(p.clone());
    }
    let (give, take) = sync_channel(2);
    let fresh = Arc::new(Mutex::new(take));
    let mine = PIECES.get_or_init(|| fresh.clone()).clone();
    if Arc::ptr_eq(&mine, &fresh) {
        std::thread::Builder::new().name("brooklet-stdin".into()).spawn(move || {
            let mut input = std::io::stdin();
            loop {
                let mut piece = vec![0; defaults::SOCKET_READ_BYTES / 4];
                let read = input.read(&mut piece).map(|n| {
                    piece.truncate(n);
                    piece
                });
                let end = matches!(&read, Ok(p) if p.is_empty());
                if end || give.send(read).is_err() {
                    break; // dropping `give` tells the receiver
                }
            }
        })?;
    }
    Ok(mine)
}

impl Receiver for StdinReceiver {
    type Item = Str;

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
        let pieces = pieces()?;
        let pieces = pieces.get();
        loop {
            match pieces.recv_timeout(Duration::from_millis(20)) {
                Ok(piece) => out.store_bytes(piece?)?,
                Err(RecvTimeoutError::Timeout) if out.is_stopped() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if out.is_stopped() && !graceful_rest(&pieces, out)? {
                break;
            }
        }
        out.end_of_stream()?;
        Ok(())
    }

    fn name(&self) -> String {
        "stdin_text_stream".into()
    }
}

/// What has been read before the stop still counts. Always `false`: nothing more is read.
fn graceful_rest(pieces: &Pieces, out: &mut Store<Str>) -> Result<bool, BoxError> {
    while let Ok(piece) = pieces.try_recv() {
        out.store_bytes(piece?)?;
    }
    Ok(false)
}
