//! Whether values survive being stored.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{decode, encode_into};
use super::opaque::Reason;
use super::trace::panic_text;

/// Every value must come back from its bytes, and then have the same bytes.
pub(super) fn check<T: Serialize + DeserializeOwned>(values: &[T]) -> Result<(), Reason> {
    values.iter().try_for_each(|value| {
        catch_unwind(AssertUnwindSafe(|| check_one(value)))
            .unwrap_or_else(|panic| Err(Reason::Panics(panic_text(&*panic))))
    })
}

fn check_one<T: Serialize + DeserializeOwned>(value: &T) -> Result<(), Reason> {
    let (mut first, mut second) = (vec![], vec![]);
    // A value that can't be written is reported where the user's own one is.
    if encode_into(value, &mut first).is_err() {
        return Ok(());
    }
    let again: T = decode(&first).map_err(|e| Reason::Lossy(e.to_string()))?;
    encode_into(&again, &mut second).map_err(|e| Reason::Lossy(e.to_string()))?;
    if first == second {
        Ok(())
    } else {
        Err(Reason::Lossy(format!("written {first:x?}, after reading it {second:x?}")))
    }
}
