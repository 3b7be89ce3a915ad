//! A type as far as it has been seen.

use std::collections::HashMap;

use super::super::ty::Ty;

/// Fields as known so far; names of one field are together.
#[derive(Default)]
pub(super) struct FieldsSeen {
    pub groups: Vec<FieldSeen>,
    pub closed: bool,
}

pub(super) struct FieldSeen {
    pub names: Vec<&'static str>,
    pub ty: Ty,
    pub default: bool,
}

pub(super) struct VariantSeen {
    pub name: &'static str,
    pub tried: bool,
    /// Discriminants of its identifier and of the value.
    pub id: (u64, u64),
    pub form: FormSeen,
}

pub(super) enum FormSeen {
    Unknown,
    Unit,
    Newtype(Ty),
    Tuple(Vec<Ty>),
    Struct(FieldsSeen),
}

pub(super) enum KindSeen {
    Struct(FieldsSeen),
    Enum(Vec<VariantSeen>),
}

pub(super) struct DefSeen {
    pub name: &'static str,
    pub kind: KindSeen,
    /// The variants that lead from the root to it.
    pub route: HashMap<usize, usize>,
    /// The variant completed first: choosing it everywhere ends.
    pub good: Option<usize>,
    /// Choices that led into a loop.
    pub avoid: Vec<usize>,
}

/// Adds what was seen to what is known.
pub(super) fn merge(known: &mut Ty, seen: Ty) -> Result<(), String> {
    match (known, seen) {
        (_, Ty::Unknown) => Ok(()),
        (known @ Ty::Unknown, seen) => {
            *known = seen;
            Ok(())
        }
        (Ty::Option(a), Ty::Option(b)) | (Ty::Seq(a), Ty::Seq(b)) => merge(a, *b),
        (Ty::Map(k, v), Ty::Map(k2, v2)) => {
            merge(k, *k2)?;
            merge(v, *v2)
        }
        (Ty::Tuple(a), Ty::Tuple(b)) if a.len() == b.len() => {
            a.iter_mut().zip(b).try_for_each(|(a, b)| merge(a, b))
        }
        (known, seen) if *known == seen => Ok(()),
        (known, seen) => Err(format!("it was {known:?} and then {seen:?}")),
    }
}

pub(super) fn merge_form(known: &mut FormSeen, seen: FormSeen) -> Result<(), String> {
    match (known, seen) {
        (known @ FormSeen::Unknown, seen) => {
            *known = seen;
            Ok(())
        }
        // Fields are noted where they are read.
        (FormSeen::Unit, FormSeen::Unit) | (_, FormSeen::Unknown) => Ok(()),
        (FormSeen::Newtype(a), FormSeen::Newtype(b)) => merge(a, b),
        (FormSeen::Tuple(a), FormSeen::Tuple(b)) if a.len() == b.len() => {
            a.iter_mut().zip(b).try_for_each(|(a, b)| merge(a, b))
        }
        _ => Err("a variant changed its form".to_string()),
    }
}
