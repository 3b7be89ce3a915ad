//! What is noted of a value while it is being written, and compared with what is read.

use std::collections::HashSet;
use std::fmt::Display;

use serde::Serialize;

use super::super::ty::{Fields, Form, Kind, Schema, Ty};
use super::{Other, Seen, Spot};

/// The serializer: notes and compares, writes nothing.
pub(super) struct Look<'a, 'b> {
    pub schema: &'a Schema,
    pub ty: &'a Ty,
    pub seen: &'b mut Seen,
}

impl<'a, 'b> Look<'a, 'b> {
    /// The type below options: `Some(x)` is written as `x`.
    pub fn ty(&self) -> &'a Ty {
        let mut ty = self.ty;
        while let Ty::Option(inner) = ty {
            ty = inner;
        }
        ty
    }

    pub fn differs<R>(&self, writes: &str) -> Result<R, Other> {
        let text = format!("writes {writes}, reads {}", self.schema.show(self.ty));
        Err(Other::Form { path: String::new(), text })
    }

    pub fn simple(self, writes: &str, fits: impl FnOnce(&Ty) -> bool) -> Result<(), Other> {
        if fits(self.ty()) { Ok(()) } else { self.differs(writes) }
    }

    pub fn int(self, writes: &str) -> Result<(), Other> {
        use Ty::*;
        self.simple(writes, |t| {
            matches!(t, I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | I128 | U128)
        })
    }

    pub fn variant(self, name: &'static str) -> Result<(Self, Spot, &'a Form), Other> {
        let Ty::Def(d) = self.ty() else { return self.differs("an enum") };
        let Kind::Enum(variants) = &self.schema.defs[*d].kind else {
            return self.differs("an enum");
        };
        let Some(v) = variants.iter().position(|v| v.name == name) else {
            return self.differs(&format!("the variant `{name}`"));
        };
        self.seen.variants.insert((*d, v));
        Ok((self, (*d, Some(v)), &variants[v].form))
    }

    pub fn parts(self, kind: Parts<'a>) -> Inside<'a, 'b> {
        Inside { look: self, parts: kind, next: 0, written: HashSet::new() }
    }
}

/// The parts of what is being written.
pub(super) enum Parts<'a> {
    Each(&'a Ty),
    List(&'a [Ty]),
    Map(&'a Ty, &'a Ty),
    Fields(Spot, &'a Fields),
}

pub(super) struct Inside<'a, 'b> {
    pub look: Look<'a, 'b>,
    pub parts: Parts<'a>,
    next: usize,
    written: HashSet<usize>,
}

impl<'a> Inside<'a, '_> {
    pub fn look_at<T: Serialize + ?Sized>(
        &mut self,
        ty: &'a Ty,
        step: impl Display,
        value: &T,
    ) -> Result<(), Other> {
        let look = Look { schema: self.look.schema, ty, seen: &mut *self.look.seen };
        value.serialize(look).map_err(|e| e.below(step))
    }

    pub fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Other> {
        let i = self.next;
        self.next += 1;
        match &self.parts {
            Parts::Each(ty) => self.look_at(ty, "[]", value),
            Parts::List(tys) => match tys.get(i) {
                Some(ty) => self.look_at(ty, format_args!(".{i}"), value),
                None => self.look.differs("more elements"),
            },
            Parts::Map(..) | Parts::Fields(..) => self.look.differs("elements"),
        }
    }

    pub fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Other> {
        let Parts::Fields(spot, fields) = self.parts else {
            return self.look.differs("named fields");
        };
        // What isn't read can't be lost: `skip_deserializing`. If it was meant to be read, the value doesn't
        // come back as it was, which is looked at elsewhere.
        let Some(i) = fields.list.iter().position(|f| f.reads(name)) else { return Ok(()) };
        self.written.insert(i);
        self.look.seen.fields.entry((spot, i)).or_default().name = Some(name);
        self.look_at(&fields.list[i].ty, format_args!(".{name}"), value)
    }

    pub fn finish(self) -> Result<(), Other> {
        if let Parts::Fields(spot, fields) = self.parts {
            for i in (0..fields.list.len()).filter(|i| !self.written.contains(i)) {
                self.look.seen.fields.entry((spot, i)).or_default().absent = true;
            }
        }
        Ok(())
    }
}
