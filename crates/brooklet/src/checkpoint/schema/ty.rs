//! The model of a schema.

use serde::{Deserialize, Serialize};

use super::opaque::Reason;

/// What entries of a type look like: the types they are made of, by name and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub(crate) struct Schema {
    /// The type itself.
    pub(super) root: Ty,
    /// Structs and enums, in the order in which a walk from the root meets them.
    pub(super) defs: Vec<Def>,
}

/// A schema as it was read, before its indexes are believed.
#[derive(Deserialize)]
struct Stored {
    root: Ty,
    defs: Vec<Def>,
}

impl TryFrom<Stored> for Schema {
    type Error = String;

    fn try_from(Stored { root, defs }: Stored) -> Result<Schema, String> {
        let schema = Schema { root, defs };
        let mut bad = None;
        schema.each_ty(&mut |ty| {
            if let Ty::Def(d) = ty
                && *d >= schema.defs.len()
            {
                bad = Some(*d);
            }
        });
        match bad {
            Some(d) => Err(format!(
                "a stored schema refers to its definition {d}, and has {}",
                schema.defs.len()
            )),
            None => Ok(schema),
        }
    }
}

/// A type, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ty {
    Unit,
    UnitStruct,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Option(Box<Ty>),
    Seq(Box<Ty>),
    Map(Box<Ty>, Box<Ty>),
    Tuple(Vec<Ty>),
    /// A struct or an enum, by its place in [`Schema::defs`].
    Def(usize),
    /// Not known yet; in no finished schema.
    #[serde(skip)]
    Unknown,
}

/// A struct, an enum, or a type of which only the version is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Def {
    /// The short name; several definitions may share it.
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Struct(Fields),
    Enum(Vec<Variant>),
    /// The version that the user gave.
    Opaque(u32),
}

/// The fields of a struct or of a struct variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fields {
    pub list: Vec<Field>,
    /// Unknown fields are an error when it is read (`deny_unknown_fields`).
    pub closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Field {
    /// The name under which it is written.
    pub name: String,
    /// Further names under which it is read.
    pub aliases: Vec<String>,
    pub ty: Ty,
    /// Reading succeeds without it: it has a default, or is an `Option`.
    pub default: bool,
    pub written: Written,
}

/// Whether a field is in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Written {
    Always,
    /// Left out for some values (`skip_serializing_if`).
    Sometimes,
    /// Read but not written (`skip_serializing`).
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variant {
    /// The name under which it is written.
    pub name: String,
    /// Further names under which it is read.
    pub aliases: Vec<String>,
    pub form: Form,
}

/// What a variant holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    Unit,
    Newtype(Ty),
    Tuple(Vec<Ty>),
    Struct(Fields),
}

/// All names under which something is read.
pub(super) fn names<'a>(
    name: &'a str,
    aliases: &'a [String],
) -> impl Iterator<Item = &'a str> + Clone {
    std::iter::once(name).chain(aliases.iter().map(String::as_str))
}

impl Field {
    pub fn reads(&self, name: &str) -> bool {
        names(&self.name, &self.aliases).any(|n| n == name)
    }
}

impl Variant {
    pub fn reads(&self, name: &str) -> bool {
        names(&self.name, &self.aliases).any(|n| n == name)
    }
}

impl Form {
    /// The types it holds, in order.
    pub fn tys(&self) -> Vec<&Ty> {
        match self {
            Form::Unit => vec![],
            Form::Newtype(t) => vec![t],
            Form::Tuple(ts) => ts.iter().collect(),
            Form::Struct(f) => f.list.iter().map(|f| &f.ty).collect(),
        }
    }

    pub fn tys_mut(&mut self) -> Vec<&mut Ty> {
        match self {
            Form::Unit => vec![],
            Form::Newtype(t) => vec![t],
            Form::Tuple(ts) => ts.iter_mut().collect(),
            Form::Struct(f) => f.list.iter_mut().map(|f| &mut f.ty).collect(),
        }
    }
}

impl Def {
    /// The types it holds, in order.
    pub fn tys(&self) -> Vec<&Ty> {
        match &self.kind {
            Kind::Struct(f) => f.list.iter().map(|f| &f.ty).collect(),
            Kind::Enum(vs) => vs.iter().flat_map(|v| v.form.tys()).collect(),
            Kind::Opaque(_) => vec![],
        }
    }

    fn tys_mut(&mut self) -> Vec<&mut Ty> {
        match &mut self.kind {
            Kind::Struct(f) => f.list.iter_mut().map(|f| &mut f.ty).collect(),
            Kind::Enum(vs) => vs.iter_mut().flat_map(|v| v.form.tys_mut()).collect(),
            Kind::Opaque(_) => vec![],
        }
    }
}

impl Ty {
    /// This type and all inside it, without those behind definitions.
    pub fn each<'a>(&'a self, f: &mut impl FnMut(&'a Ty)) {
        f(self);
        match self {
            Ty::Option(t) | Ty::Seq(t) => t.each(f),
            Ty::Map(k, v) => {
                k.each(f);
                v.each(f);
            }
            Ty::Tuple(ts) => ts.iter().for_each(|t| t.each(f)),
            _ => {}
        }
    }

    fn renumber(&mut self, place: &[usize]) {
        match self {
            Ty::Option(t) | Ty::Seq(t) => t.renumber(place),
            Ty::Map(k, v) => {
                k.renumber(place);
                v.renumber(place);
            }
            Ty::Tuple(ts) => ts.iter_mut().for_each(|t| t.renumber(place)),
            Ty::Def(d) => *d = place[*d],
            _ => {}
        }
    }
}

impl Schema {
    /// Every type named anywhere in the schema.
    pub(super) fn each_ty<'a>(&'a self, f: &mut impl FnMut(&'a Ty)) {
        self.root.each(f);
        for ty in self.defs.iter().flat_map(Def::tys) {
            ty.each(f);
        }
    }

    /// The name that paths begin with.
    pub(super) fn root_name(&self) -> String {
        match &self.root {
            Ty::Def(d) => self.defs[*d].name.clone(),
            _ => "value".to_string(),
        }
    }

    /// The version that a type without a schema was given.
    pub(super) fn opaque_version(&self) -> Option<u32> {
        match &self.root {
            Ty::Def(d) => match self.defs[*d].kind {
                Kind::Opaque(version) => Some(version),
                _ => None,
            },
            _ => None,
        }
    }

    /// MessagePack writes `Some(None)` and `Some(())` as it writes `None`, so they would come back as that.
    pub(super) fn check_options(&self) -> Result<(), (String, Reason)> {
        let check = |ty: &Ty| {
            let mut bad = None;
            ty.each(&mut |t| {
                if let Ty::Option(inner) = t {
                    match **inner {
                        Ty::Option(_) => bad = Some(Reason::NestedOption),
                        Ty::Unit => bad = Some(Reason::OptionOfUnit),
                        _ => {}
                    }
                }
            });
            bad
        };
        let at = |path: String, ty: &Ty| check(ty).map_or(Ok(()), |r| Err((path, r)));
        at(self.root_name(), &self.root)?;
        for (d, def) in self.defs.iter().enumerate() {
            let name = self.def_name(d);
            match &def.kind {
                Kind::Struct(fields) => {
                    for f in &fields.list {
                        at(format!("{name}.{}", f.name), &f.ty)?;
                    }
                }
                Kind::Enum(variants) => {
                    for v in variants {
                        match &v.form {
                            Form::Struct(fields) => {
                                for f in &fields.list {
                                    at(format!("{name}::{}.{}", v.name, f.name), &f.ty)?;
                                }
                            }
                            form => {
                                for ty in form.tys() {
                                    at(format!("{name}::{}", v.name), ty)?;
                                }
                            }
                        }
                    }
                }
                Kind::Opaque(_) => {}
            }
        }
        Ok(())
    }

    /// The same schema with its definitions in the order of a walk from the root, so that it doesn't
    /// depend on the way in which they were found.
    pub(super) fn canonical(mut self) -> Schema {
        fn walk(schema: &Schema, ty: &Ty, order: &mut Vec<usize>) {
            let mut found = vec![];
            ty.each(&mut |t| {
                if let Ty::Def(d) = t {
                    found.push(*d);
                }
            });
            for d in found {
                if !order.contains(&d) {
                    order.push(d);
                    for ty in schema.defs[d].tys() {
                        walk(schema, ty, order);
                    }
                }
            }
        }
        let mut order = vec![];
        walk(&self, &self.root, &mut order);
        let mut place = vec![0; self.defs.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        self.root.renumber(&place);
        let mut defs: Vec<Def> = order.iter().map(|old| self.defs[*old].clone()).collect();
        for ty in defs.iter_mut().flat_map(Def::tys_mut) {
            ty.renumber(&place);
        }
        Schema { root: self.root, defs }
    }
}
