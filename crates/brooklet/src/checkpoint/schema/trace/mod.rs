//! Finds the schema of a type by running its `Deserialize` again and again on invented values.
//!
//! Each pass makes one whole value. Passes have a [`Goal`]: visit a variant that none has visited, leave
//! out a field (is there a default?), add an unknown one. `probe` is the deserializer, `search` the
//! choices of a pass, `seen` what is known so far, `menu` the values offered, `build` makes the schema.

mod access;
mod build;
mod error;
mod fields;
mod menu;
mod probe;
mod search;
mod seen;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;

use self::error::Stop;
use self::probe::Probe;
use self::search::{Goal, Search, Spot};
use super::opaque::{Opaque, Reason};
use super::ty::{Schema, Ty};

/// Passes after which a type is given up; the largest real types need some hundreds.
const MAX_PASSES: usize = 20_000;

/// What tracing gives: the schema as reading knows it, and the values made on the way.
pub(super) struct Traced<T> {
    pub schema: Schema,
    /// All variants, field by field absent once, and others: what `Serialize` is looked at with.
    pub values: Vec<T>,
    /// Per definition and name of a variant: equal numbers are names of one variant.
    pub variant_ids: Vec<Vec<u64>>,
}

pub(super) fn trace<T: DeserializeOwned>() -> Result<Traced<T>, Opaque> {
    let mut tracer = Tracer { search: Search::default(), root: Ty::Unknown, values: vec![] };
    tracer
        .all()
        .and_then(|()| build::schema(&tracer.search, tracer.root))
        .map(|(schema, variant_ids)| Traced { schema, values: tracer.values, variant_ids })
        .map_err(|(path, reason)| Opaque::new::<T>(path, reason))
}

struct Tracer<T> {
    search: Search,
    root: Ty,
    values: Vec<T>,
}

type Found<R> = Result<R, (String, Reason)>;

impl<T: DeserializeOwned> Tracer<T> {
    fn all(&mut self) -> Found<()> {
        self.must(Goal::Any)?;
        while let Some((def, variant)) = self.search.untried() {
            self.must(Goal::Variant(def, variant))?;
            if self.search.untried() == Some((def, variant)) {
                return Err((self.search.variant_path(def, variant), incomplete("the variant")));
            }
        }
        // The same with empty and zero values, which `skip_serializing_if` looks for. They may be refused.
        for goal in self.search.low_goals() {
            self.may(goal)?;
        }
        for (spot, field) in self.search.all_fields() {
            let without = self.may(Goal::Without(spot, field))?;
            self.reached(spot, "a field")?;
            self.search.set_default(spot, field, without);
        }
        for spot in self.search.all_spots() {
            let open = self.may(Goal::Unknown(spot))?;
            self.reached(spot, "its fields")?;
            self.search.set_closed(spot, !open);
        }
        Ok(())
    }

    fn reached(&self, spot: Spot, what: &str) -> Found<()> {
        if self.search.hit { Ok(()) } else { Err((self.search.spot_path(spot), incomplete(what))) }
    }

    fn must(&mut self, goal: Goal) -> Found<()> {
        self.run(goal)?.map_err(|stop| (self.search.path(), stop.reason()))
    }

    /// Whether a value of this kind is accepted.
    fn may(&mut self, goal: Goal) -> Found<bool> {
        Ok(self.run(goal)?.is_ok())
    }

    /// Passes until a value is made, or refused for good.
    fn run(&mut self, goal: Goal) -> Found<Result<(), Stop>> {
        loop {
            self.search.passes += 1;
            if self.search.passes > MAX_PASSES {
                let text = format!("{MAX_PASSES} attempts were not enough");
                return Err((self.search.path(), Reason::Incomplete(text)));
            }
            self.search.begin(goal);
            let mut ty = Ty::Unknown;
            let probe = Probe::new(&mut self.search, &mut ty);
            let made = match catch_unwind(AssertUnwindSafe(|| T::deserialize(probe))) {
                Ok(made) => made,
                // Not to be had without a field, or with zeros: an answer like any other refusal.
                Err(panic) if goal.may_be_refused() => Err(Stop::Other(panic_text(&*panic))),
                Err(panic) => {
                    return Err((self.search.path(), Reason::Panics(panic_text(&*panic))));
                }
            };
            match made {
                Ok(value) => {
                    seen::merge(&mut self.root, ty)
                        .map_err(|text| (self.search.path(), Reason::Varies(text)))?;
                    self.values.push(value);
                    return Ok(Ok(()));
                }
                Err(Stop::Again) => {}
                Err(Stop::Endless) if self.search.avoid_last_choice() => {}
                // A defect of the form stays one, whatever the goal.
                Err(stop) if stop.is_final() => return Ok(Err(stop)),
                Err(stop) => {
                    if !goal.refusal_is_answer() && self.search.next_value() {
                        continue;
                    }
                    return Ok(Err(stop));
                }
            }
        }
    }
}

fn incomplete(what: &str) -> Reason {
    Reason::Incomplete(format!("no value with {what} could be made"))
}

/// The text of a panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_string())
}
