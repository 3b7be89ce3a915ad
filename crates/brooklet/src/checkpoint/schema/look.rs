//! What `Serialize` writes of the values that tracing made: the names it uses, the fields it leaves out,
//! and whether all has the form that `Deserialize` reads.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::opaque::Reason;
use super::trace::panic_text;
use super::ty::{Fields, Form, Kind, Schema, Ty, Variant, Written};

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

/// The serializer: notes and compares, writes nothing.
struct Look<'a, 'b> {
    schema: &'a Schema,
    ty: &'a Ty,
    seen: &'b mut Seen,
}

impl<'a, 'b> Look<'a, 'b> {
    /// The type below options: `Some(x)` is written as `x`.
    fn ty(&self) -> &'a Ty {
        let mut ty = self.ty;
        while let Ty::Option(inner) = ty {
            ty = inner;
        }
        ty
    }

    fn differs<R>(&self, writes: &str) -> Result<R, Other> {
        let text = format!("writes {writes}, reads {}", self.schema.show(self.ty));
        Err(Other::Form { path: String::new(), text })
    }

    fn simple(self, writes: &str, fits: impl FnOnce(&Ty) -> bool) -> Result<(), Other> {
        if fits(self.ty()) { Ok(()) } else { self.differs(writes) }
    }

    fn int(self, writes: &str) -> Result<(), Other> {
        use Ty::*;
        self.simple(writes, |t| {
            matches!(t, I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | I128 | U128)
        })
    }

    fn variant(self, name: &'static str) -> Result<(Self, Spot, &'a Form), Other> {
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

    fn parts(self, kind: Parts<'a>) -> Inside<'a, 'b> {
        Inside { look: self, parts: kind, next: 0, written: HashSet::new() }
    }
}

/// The parts of what is being written.
enum Parts<'a> {
    Each(&'a Ty),
    List(&'a [Ty]),
    Map(&'a Ty, &'a Ty),
    Fields(Spot, &'a Fields),
}

struct Inside<'a, 'b> {
    look: Look<'a, 'b>,
    parts: Parts<'a>,
    next: usize,
    written: HashSet<usize>,
}

impl<'a> Inside<'a, '_> {
    fn look_at<T: Serialize + ?Sized>(
        &mut self,
        ty: &'a Ty,
        step: impl Display,
        value: &T,
    ) -> Result<(), Other> {
        let look = Look { schema: self.look.schema, ty, seen: &mut *self.look.seen };
        value.serialize(look).map_err(|e| e.below(step))
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Other> {
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

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Other> {
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

    fn finish(self) -> Result<(), Other> {
        if let Parts::Fields(spot, fields) = self.parts {
            for i in (0..fields.list.len()).filter(|i| !self.written.contains(i)) {
                self.look.seen.fields.entry((spot, i)).or_default().absent = true;
            }
        }
        Ok(())
    }
}

impl<'a, 'b> Serializer for Look<'a, 'b> {
    type Ok = ();
    type Error = Other;
    type SerializeSeq = Inside<'a, 'b>;
    type SerializeTuple = Inside<'a, 'b>;
    type SerializeTupleStruct = Inside<'a, 'b>;
    type SerializeTupleVariant = Inside<'a, 'b>;
    type SerializeMap = Inside<'a, 'b>;
    type SerializeStruct = Inside<'a, 'b>;
    type SerializeStructVariant = Inside<'a, 'b>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, _: bool) -> Result<(), Other> {
        self.simple("bool", |t| *t == Ty::Bool)
    }
    fn serialize_i8(self, _: i8) -> Result<(), Other> {
        self.int("i8")
    }
    fn serialize_i16(self, _: i16) -> Result<(), Other> {
        self.int("i16")
    }
    fn serialize_i32(self, _: i32) -> Result<(), Other> {
        self.int("i32")
    }
    fn serialize_i64(self, _: i64) -> Result<(), Other> {
        self.int("i64")
    }
    fn serialize_i128(self, _: i128) -> Result<(), Other> {
        self.simple("i128", |t| matches!(t, Ty::I128 | Ty::U128))
    }
    fn serialize_u8(self, _: u8) -> Result<(), Other> {
        self.int("u8")
    }
    fn serialize_u16(self, _: u16) -> Result<(), Other> {
        self.int("u16")
    }
    fn serialize_u32(self, _: u32) -> Result<(), Other> {
        self.int("u32")
    }
    fn serialize_u64(self, _: u64) -> Result<(), Other> {
        self.int("u64")
    }
    fn serialize_u128(self, _: u128) -> Result<(), Other> {
        self.simple("u128", |t| matches!(t, Ty::I128 | Ty::U128))
    }
    fn serialize_f32(self, _: f32) -> Result<(), Other> {
        self.simple("f32", |t| matches!(t, Ty::F32 | Ty::F64))
    }
    fn serialize_f64(self, _: f64) -> Result<(), Other> {
        self.simple("f64", |t| *t == Ty::F64)
    }
    fn serialize_char(self, _: char) -> Result<(), Other> {
        self.simple("char", |t| matches!(t, Ty::Char | Ty::Str))
    }
    fn serialize_str(self, _: &str) -> Result<(), Other> {
        self.simple("String", |t| matches!(t, Ty::Char | Ty::Str))
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<(), Other> {
        self.simple("bytes", |t| matches!(t, Ty::Bytes | Ty::Seq(_) | Ty::Tuple(_)))
    }
    fn serialize_none(self) -> Result<(), Other> {
        match self.ty {
            Ty::Option(_) => Ok(()),
            _ => self.differs("None"),
        }
    }
    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), Other> {
        if let Ty::Option(inner) = self.ty {
            self.ty = inner;
        }
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Other> {
        self.simple("()", |t| matches!(t, Ty::Unit | Ty::UnitStruct))
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Other> {
        self.simple("a unit struct", |t| *t == Ty::UnitStruct)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), Other> {
        match self.variant(name)? {
            (_, _, Form::Unit) => Ok(()),
            (look, ..) => look.differs(&format!("`{name}` without data")),
        }
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Other> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Other> {
        match self.variant(name)? {
            (look, _, Form::Newtype(ty)) => value
                .serialize(Look { ty, ..look })
                .map_err(|e| e.below(format_args!("::{name}"))),
            (look, ..) => look.differs(&format!("`{name}` with one value")),
        }
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'a, 'b>, Other> {
        match self.ty() {
            Ty::Seq(ty) => Ok(self.parts(Parts::Each(ty))),
            Ty::Tuple(tys) => Ok(self.parts(Parts::List(tys))),
            // Bytes are read from a sequence of numbers too, by those that expect it.
            Ty::Bytes => Ok(self.parts(Parts::Each(&Ty::U8))),
            _ => self.differs("a sequence"),
        }
    }
    fn serialize_tuple(self, n: usize) -> Result<Inside<'a, 'b>, Other> {
        self.serialize_seq(Some(n))
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        n: usize,
    ) -> Result<Inside<'a, 'b>, Other> {
        self.serialize_seq(Some(n))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Inside<'a, 'b>, Other> {
        match self.variant(name)? {
            (look, _, Form::Tuple(tys)) => Ok(look.parts(Parts::List(tys))),
            (look, ..) => look.differs(&format!("`{name}` with a tuple")),
        }
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'a, 'b>, Other> {
        match self.ty() {
            Ty::Map(k, v) => Ok(self.parts(Parts::Map(k, v))),
            _ => self.differs("a map"),
        }
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside<'a, 'b>, Other> {
        if let Ty::Def(d) = self.ty()
            && let Kind::Struct(fields) = &self.schema.defs[*d].kind
        {
            return Ok(self.parts(Parts::Fields((*d, None), fields)));
        }
        self.differs("a struct")
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Inside<'a, 'b>, Other> {
        match self.variant(name)? {
            (look, spot, Form::Struct(fields)) => Ok(look.parts(Parts::Fields(spot, fields))),
            (look, ..) => look.differs(&format!("`{name}` with fields")),
        }
    }
}

macro_rules! elements {
    ($($of:ident $method:ident;)*) => { $(
        impl ser::$of for Inside<'_, '_> {
            type Ok = ();
            type Error = Other;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Other> {
                self.element(value)
            }
            fn end(self) -> Result<(), Other> {
                self.finish()
            }
        }
    )* };
}
elements! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! fields {
    ($($of:ident;)*) => { $(
        impl ser::$of for Inside<'_, '_> {
            type Ok = ();
            type Error = Other;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Other> {
                self.field(name, value)
            }
            fn end(self) -> Result<(), Other> {
                self.finish()
            }
        }
    )* };
}
fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Inside<'_, '_> {
    type Ok = ();
    type Error = Other;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Other> {
        match self.parts {
            Parts::Map(ty, _) => self.look_at(ty, "{key}", key),
            _ => self.look.differs("a map"),
        }
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Other> {
        match self.parts {
            Parts::Map(_, ty) => self.look_at(ty, "{value}", value),
            _ => self.look.differs("a map"),
        }
    }
    fn end(self) -> Result<(), Other> {
        Ok(())
    }
}
