//! The serializer, method by method.

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::super::ty::{Form, Kind, Ty};
use super::Other;
use super::notes::{Inside, Look, Parts};

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
            (look, _, Form::Newtype(ty)) => {
                value.serialize(Look { ty, ..look }).map_err(|e| e.below(format_args!("::{name}")))
            }
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
    fn serialize_tuple_struct(self, _: &'static str, n: usize) -> Result<Inside<'a, 'b>, Other> {
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
