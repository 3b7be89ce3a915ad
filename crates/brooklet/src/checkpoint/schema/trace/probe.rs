//! The deserializer that invents values and notes what was asked for.

use serde::de::{self, Visitor};

use super::super::ty::Ty;
use super::access::{Elements, OneEntry, OneVariant, discriminant};
use super::error::Stop;
use super::fields::read_fields;
use super::menu;
use super::search::{Search, Spot, Step};
use super::seen::{FieldsSeen, FormSeen, KindSeen, VariantSeen};

/// One value to be made, whose type is noted in `out`.
pub(super) struct Probe<'a> {
    search: &'a mut Search,
    out: &'a mut Ty,
}

impl<'a> Probe<'a> {
    pub fn new(search: &'a mut Search, out: &'a mut Ty) -> Probe<'a> {
        Probe { search, out }
    }
}

macro_rules! ints {
    ($($method:ident $visit:ident $int:ty, $ty:ident;)*) => { $(
        fn $method<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
            *self.out = Ty::$ty;
            let i = self.search.leaf(menu::INTS.len(), 1);
            // The larger values wrap in the smaller types, which is as good.
            v.$visit(menu::INTS[i] as $int)
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    // As rmp-serde is.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop::Dynamic)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop::Dynamic)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop::Dynamic)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::Bool;
        let i = self.search.leaf(menu::BOOLS.len(), 1);
        v.visit_bool(menu::BOOLS[i])
    }

    ints! {
        deserialize_i8 visit_i8 i8, I8;
        deserialize_i16 visit_i16 i16, I16;
        deserialize_i32 visit_i32 i32, I32;
        deserialize_i64 visit_i64 i64, I64;
        deserialize_i128 visit_i128 i128, I128;
        deserialize_u8 visit_u8 u8, U8;
        deserialize_u16 visit_u16 u16, U16;
        deserialize_u32 visit_u32 u32, U32;
        deserialize_u64 visit_u64 u64, U64;
        deserialize_u128 visit_u128 u128, U128;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::F32;
        let i = self.search.leaf(menu::FLOATS.len(), 1);
        v.visit_f32(menu::FLOATS[i] as f32)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::F64;
        let i = self.search.leaf(menu::FLOATS.len(), 1);
        v.visit_f64(menu::FLOATS[i])
    }
    fn deserialize_char<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::Char;
        let i = self.search.leaf(menu::CHARS.len(), 1);
        v.visit_char(menu::CHARS[i])
    }
    fn deserialize_str<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::Str;
        let i = self.search.leaf(menu::STRS.len(), 1);
        v.visit_borrowed_str(menu::STRS[i])
    }
    fn deserialize_string<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        self.deserialize_str(v)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::Bytes;
        let i = self.search.leaf(menu::BYTES.len(), 1);
        v.visit_borrowed_bytes(menu::BYTES[i])
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        self.deserialize_bytes(v)
    }

    fn deserialize_option<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        let mut inner = Ty::Unknown;
        let made = if self.search.cut() {
            v.visit_none()
        } else {
            v.visit_some(Probe::new(self.search, &mut inner))
        };
        *self.out = Ty::Option(inner.into());
        made
    }

    fn deserialize_unit<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        *self.out = Ty::Unit;
        v.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, Stop> {
        *self.out = Ty::UnitStruct;
        v.visit_unit()
    }

    // Written as what it holds.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        v: V,
    ) -> Result<V::Value, Stop> {
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return Err(Stop::Dynamic);
        }
        v.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        let mut element = [Ty::Unknown];
        let n = usize::from(!self.search.cut());
        let made = v.visit_seq(Elements::of_seq(self.search, &mut element[..n]));
        let [element] = element;
        *self.out = Ty::Seq(element.into());
        made
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, n: usize, v: V) -> Result<V::Value, Stop> {
        let mut elements = vec![Ty::Unknown; n];
        let made = v.visit_seq(Elements::of_tuple(self.search, &mut elements));
        *self.out = Ty::Tuple(elements);
        made
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        n: usize,
        v: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_tuple(n, v)
    }

    fn deserialize_map<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Stop> {
        let (mut key, mut value) = (Ty::Unknown, Ty::Unknown);
        let left = !self.search.cut();
        let made =
            v.visit_map(OneEntry { search: self.search, key: &mut key, value: &mut value, left });
        *self.out = Ty::Map(key.into(), value.into());
        made
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Stop> {
        let def = self.search.def::<V>(name, names, || KindSeen::Struct(FieldsSeen::new(names)));
        *self.out = Ty::Def(def);
        self.search.enter(def, None)?;
        let made = read_fields(self.search, Spot { def, variant: None }, v)?;
        self.search.leave();
        Ok(made)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Stop> {
        let new = |name: &&'static str| VariantSeen {
            name,
            tried: false,
            id: (0, 0),
            form: FormSeen::Unknown,
        };
        let def =
            self.search.def::<V>(name, names, || KindSeen::Enum(names.iter().map(new).collect()));
        *self.out = Ty::Def(def);
        let variant = self.search.choose(def)?;
        self.search.enter(def, Some(variant))?;
        self.search.push(Step::Variant(names[variant]));
        let mut form = FormSeen::Unknown;
        let mut id = 0;
        let made = v.visit_enum(OneVariant {
            search: self.search,
            spot: Spot { def, variant: Some(variant) },
            name: names[variant],
            form: &mut form,
            id: &mut id,
        })?;
        self.search.pop();
        self.search.leave();
        self.search.completed(def, variant, form, (id, discriminant(&made)))?;
        Ok(made)
    }
}
