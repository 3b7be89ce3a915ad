//! A stored schema against a new one, before any byte is read.

use std::collections::HashSet;

use super::ty::{Field, Fields, Form, Kind, Schema, Ty, Variant, Written};
use super::verdict::{Change, Refusal, Verdict, What, Why};

/// Whether entries written under `stored` can be read as the type of `new`.
pub(crate) fn compare(stored: &Schema, new: &Schema) -> Verdict {
    let path = stored.root_name();
    let mut compare =
        Compare { stored, new, seen: HashSet::new(), key: 0, reasons: vec![], changes: vec![] };
    match (stored.opaque_version(), new.opaque_version()) {
        (None, None) => compare.ty(&path, &stored.root, &new.root),
        (from, to) if from == to => {}
        (from, to) => compare.refuse(path, Why::Version(from, to)),
    }
    Verdict::of(compare.reasons, compare.changes)
}

struct Compare<'a> {
    stored: &'a Schema,
    new: &'a Schema,
    /// Pairs of definitions that were compared, or are being: types may be recursive. Those inside keys
    /// of maps are another matter than those outside.
    seen: HashSet<(usize, usize, bool)>,
    /// Keys of maps around.
    key: usize,
    reasons: Vec<Refusal>,
    changes: Vec<Change>,
}

/// Whether it has a sign, and how many bits.
fn int(ty: &Ty) -> Option<(bool, u32)> {
    Some(match ty {
        Ty::I8 => (true, 8),
        Ty::I16 => (true, 16),
        Ty::I32 => (true, 32),
        Ty::I64 => (true, 64),
        Ty::I128 => (true, 128),
        Ty::U8 => (false, 8),
        Ty::U16 => (false, 16),
        Ty::U32 => (false, 32),
        Ty::U64 => (false, 64),
        Ty::U128 => (false, 128),
        _ => return None,
    })
}

/// Whether every value of `a` is one of `b`, and its bytes are read as that.
fn widens(a: &Ty, b: &Ty) -> bool {
    match (int(a), int(b)) {
        (Some((signed, bits)), Some((to_signed, to_bits))) => {
            to_bits > bits && (to_signed || !signed)
        }
        _ => matches!((a, b), (Ty::F32, Ty::F64) | (Ty::Char, Ty::Str)),
    }
}

impl Compare<'_> {
    fn refuse(&mut self, path: impl Into<String>, why: Why) {
        self.reasons.push(Refusal { path: path.into(), why });
    }

    fn change(&mut self, path: impl Into<String>, what: What) {
        self.changes.push(Change { path: path.into(), what });
    }

    fn texts(&self, a: &Ty, b: &Ty) -> (String, String) {
        (self.stored.show(a), self.new.show(b))
    }

    fn ty(&mut self, path: &str, a: &Ty, b: &Ty) {
        match (a, b) {
            (Ty::Option(a), Ty::Option(b)) => self.ty(path, a, b),
            (Ty::Seq(a), Ty::Seq(b)) => self.ty(&format!("{path}[]"), a, b),
            (Ty::Map(k, v), Ty::Map(k2, v2)) => {
                self.key += 1;
                self.ty(&format!("{path}{{key}}"), k, k2);
                self.key -= 1;
                self.ty(&format!("{path}{{value}}"), v, v2);
            }
            (Ty::Tuple(x), Ty::Tuple(y)) if x.len() == y.len() => self.tuple(path, x, y),
            (Ty::Def(a), Ty::Def(b)) => self.def(path, *a, *b),
            // Nothing is written for `()`, which would be read as `None`.
            (a, Ty::Option(b)) if !matches!(a, Ty::Option(_) | Ty::Unit) => {
                let (from, to) = self.texts(a, &Ty::Option(b.clone()));
                let before = self.reasons.len();
                self.ty(path, a, b);
                if self.reasons.len() == before {
                    self.change(path, What::Widened(from, to));
                }
            }
            (a, b) if a == b => {}
            (a, b) => {
                let (from, to) = self.texts(a, b);
                if widens(a, b) {
                    self.change(path, What::Widened(from, to));
                } else {
                    self.refuse(path, Why::Retyped(from, to));
                }
            }
        }
    }

    fn tuple(&mut self, path: &str, a: &[Ty], b: &[Ty]) {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            self.ty(&format!("{path}.{i}"), a, b);
        }
    }

    fn def(&mut self, path: &str, a: usize, b: usize) {
        if !self.seen.insert((a, b, self.key > 0)) {
            return;
        }
        let (stored, new) = (self.stored, self.new);
        match (&stored.defs[a].kind, &new.defs[b].kind) {
            (Kind::Struct(x), Kind::Struct(y)) => self.fields(path, x, y),
            (Kind::Enum(x), Kind::Enum(y)) => self.variants(path, x, y),
            _ => {
                let (from, to) = self.texts(&Ty::Def(a), &Ty::Def(b));
                self.refuse(
                    path,
                    Why::Retyped(
                        format!("{from} ({})", word(stored, a)),
                        format!("{to} ({})", word(new, b)),
                    ),
                );
            }
        }
    }

    fn fields(&mut self, path: &str, stored: &Fields, new: &Fields) {
        let mut places: Vec<(usize, &Field)> = vec![];
        for field in stored.list.iter().filter(|f| f.written != Written::Never) {
            let path = format!("{path}.{}", field.name);
            let Some(place) = new.list.iter().position(|f| f.reads(&field.name)) else {
                let why = match (new.closed, self.key) {
                    (true, _) => Why::FieldRemovedClosed,
                    (false, 0) => Why::FieldRemoved,
                    (false, _) => Why::FieldRemovedInKey,
                };
                self.refuse(path, why);
                continue;
            };
            let to = &new.list[place];
            if let Some((_, first)) = places.iter().find(|(p, _)| *p == place) {
                self.refuse(path, Why::Merged(first.name.clone()));
                continue;
            }
            places.push((place, field));
            if to.name != field.name {
                self.change(&path, What::Renamed(to.name.clone()));
            }
            let option = |ty: &Ty| matches!(ty, Ty::Option(_));
            match field.written == Written::Sometimes {
                true if !to.default => self.refuse(&path, Why::AbsentNeedsDefault),
                true if option(&to.ty) && !option(&field.ty) => {
                    let (from, to) = self.texts(&field.ty, &to.ty);
                    self.refuse(&path, Why::AbsentWrapped(from, to));
                }
                _ => self.ty(&path, &field.ty, &to.ty),
            }
        }
        if !places.is_sorted_by_key(|(place, _)| *place) {
            self.change(path, What::Reordered);
        }
        for (place, field) in new.list.iter().enumerate() {
            // A field that is never written was never stored, before or now.
            if places.iter().any(|(p, _)| *p == place)
                || (field.written == Written::Never && field.default)
            {
                continue;
            }
            let path = format!("{path}.{}", field.name);
            if field.default {
                self.change(path, What::FieldAdded);
            } else {
                self.refuse(path, Why::FieldNeedsDefault);
            }
        }
    }

    fn variants(&mut self, path: &str, stored: &[Variant], new: &[Variant]) {
        let mut places: Vec<(usize, &Variant)> = vec![];
        for (from, variant) in stored.iter().enumerate() {
            let path = format!("{path}::{}", variant.name);
            let Some(place) = new.iter().position(|v| v.reads(&variant.name)) else {
                self.refuse(path, Why::VariantRemoved);
                continue;
            };
            let to = &new[place];
            if let Some((_, first)) = places.iter().find(|(p, _)| *p == place) {
                self.refuse(path, Why::Merged(first.name.clone()));
                continue;
            }
            places.push((place, variant));
            if place != from {
                self.change(&path, What::VariantMoved(from, place));
            }
            if to.name != variant.name {
                self.change(&path, What::Renamed(to.name.clone()));
            }
            match (&variant.form, &to.form) {
                (Form::Unit, Form::Unit) => {}
                (Form::Newtype(a), Form::Newtype(b)) => self.ty(&path, a, b),
                (Form::Tuple(a), Form::Tuple(b)) if a.len() == b.len() => self.tuple(&path, a, b),
                (Form::Struct(a), Form::Struct(b)) => self.fields(&path, a, b),
                _ => self.refuse(path, Why::VariantForm),
            }
        }
        for (place, variant) in new.iter().enumerate() {
            if !places.iter().any(|(p, _)| *p == place) {
                self.change(format!("{path}::{}", variant.name), What::VariantAdded);
            }
        }
    }
}

fn word(schema: &Schema, def: usize) -> &'static str {
    match schema.defs[def].kind {
        Kind::Struct(_) => "struct",
        Kind::Enum(_) => "enum",
        Kind::Opaque(_) => "opaque",
    }
}
