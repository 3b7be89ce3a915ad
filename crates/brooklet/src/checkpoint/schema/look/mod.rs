//! What `Serialize` writes of the values that tracing made: the names it uses, the fields it leaves out,
//! and whether all has the form that `Deserialize` reads.

mod notes;
mod serializer;

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::ser;

use self::notes::Look;
use super::opaque::Reason;
use super::trace::panic_text;
use super::ty::{Fields, Form, Kind, Schema, Variant, Written};

/// Completes a schema by what is written.
pub(super) fn look<T: Serialize>(
    mut schema: Schema,
    values: &[T],
    variant_ids: &[Vec<u64>],
) -> Result<Schema, (String, Reason)> {
    let mut seen = Seen::default();
    for value in values {
        let look = Look { schema: &schema, ty: &schema.root, seen: &mut seen };
        let written = catch_unwind(AssertUnwindSafe(|| value.serialize(look)))
            .map_err(|panic| (schema.root_name(), Reason::Panics(panic_text(&*panic))))?;
        if let Err(Other::Form { path, text }) = written {
            let path = format!("{}{path}", schema.root_name());
            return Err((path, Reason::Differs(text)));
        }
    }
    for (d, def) in schema.defs.iter_mut().enumerate() {
        match &mut def.kind {
            Kind::Struct(fields) => seen.complete((d, None), fields),
            Kind::Enum(variants) => {
                for (v, variant) in variants.iter_mut().enumerate() {
                    if let Form::Struct(fields) = &mut variant.form {
                        seen.complete((d, Some(v)), fields);
                    }
                }
                let written = |v: usize| seen.variants.contains(&(d, v));
                *variants = join_aliases(std::mem::take(variants), &variant_ids[d], written);
            }
            Kind::Opaque(_) => {}
        }
    }
    Ok(schema)
}

/// Names of one variant become one. The name that is written is its name; two names that are both written
/// are two variants, whatever their numbers say.
fn join_aliases(
    variants: Vec<Variant>,
    ids: &[u64],
    written: impl Fn(usize) -> bool,
) -> Vec<Variant> {
    let mut joined: Vec<(u64, bool, Variant)> = vec![];
    for (v, variant) in variants.into_iter().enumerate() {
        match joined.iter_mut().find(|(id, taken, _)| *id == ids[v] && !(*taken && written(v))) {
            Some((_, taken, known)) => {
                let mut alias = variant.name;
                if written(v) {
                    *taken = true;
                    std::mem::swap(&mut alias, &mut known.name);
                }
                known.aliases.push(alias);
            }
            None => joined.push((ids[v], written(v), variant)),
        }
    }
    joined.into_iter().map(|(_, _, variant)| variant).collect()
}

/// A struct, or a struct variant.
type Spot = (usize, Option<usize>);

#[derive(Default)]
struct Seen {
    variants: HashSet<(usize, usize)>,
    fields: HashMap<(Spot, usize), FieldSeen>,
}

#[derive(Default)]
struct FieldSeen {
    name: Option<&'static str>,
    absent: bool,
}

impl Seen {
    fn complete(&self, spot: Spot, fields: &mut Fields) {
        for (i, field) in fields.list.iter_mut().enumerate() {
            let Some(seen) = self.fields.get(&(spot, i)) else { continue };
            field.written = match (seen.name, seen.absent) {
                (None, _) => Written::Never,
                (Some(_), true) => Written::Sometimes,
                (Some(_), false) => Written::Always,
            };
            if let Some(name) = seen.name.filter(|n| *n != field.name) {
                let read = std::mem::replace(&mut field.name, name.to_string());
                field.aliases.retain(|a| a != name);
                field.aliases.insert(0, read);
            }
        }
    }
}

/// Why a value wasn't written.
#[derive(Debug)]
enum Other {
    /// The form isn't the one that is read.
    Form { path: String, text: String },
    /// The type refuses to write this value.
    Refused,
}

impl Other {
    fn below(self, step: impl Display) -> Other {
        match self {
            Other::Form { path, text } => Other::Form { path: format!("{step}{path}"), text },
            Other::Refused => Other::Refused,
        }
    }
}

impl Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Other::Form { path, text } => write!(f, "{path}: {text}"),
            Other::Refused => f.write_str("refused"),
        }
    }
}

impl std::error::Error for Other {}

impl ser::Error for Other {
    fn custom<T: Display>(_: T) -> Other {
        Other::Refused
    }
}
