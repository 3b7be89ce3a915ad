//! Random values of any type, made through its `Deserialize`.

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

type Error = de::value::Error;

/// Values nested deeper are given up.
const MAX_DEPTH: usize = 40;

/// A value, or `None` where the numbers lead to one that the type refuses or that has no end.
pub fn random<T: DeserializeOwned>(seed: u64) -> Option<T> {
    let mut source = Source { state: seed, depth: 0 };
    T::deserialize(Random(&mut source)).ok()
}

struct Source {
    state: u64,
    depth: usize,
}

impl Source {
    /// Splitmix.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Bits of all lengths: small numbers, borders and large ones.
    fn bits(&mut self) -> u128 {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        match self.below(8) {
            0 => 0,
            1 => u128::MAX,
            2 => 1 << self.below(128),
            3 => (1u128 << self.below(128)) - 1,
            _ => wide >> self.below(128),
        }
    }

    fn text(&mut self) -> String {
        const WORDS: &[&str] = &[
            "",
            "a",
            "ß",
            "日本",
            "\0",
            "1970-01-02",
            "127.0.0.1",
            "w-x",
            "some longer text, more than 31 bytes",
        ];
        if self.below(3) == 0 {
            return "2026-11-21".to_string();
        }
        let n = self.below(4);
        (0..n).map(|_| WORDS[self.below(WORDS.len())]).collect()
    }
}

struct Random<'a>(&'a mut Source);

macro_rules! numbers {
    ($($method:ident $visit:ident $ty:ty;)*) => { $(
        fn $method<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
            v.$visit(self.0.bits() as $ty)
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Random<'_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        v.visit_bool(self.0.below(2) == 1)
    }
    fn deserialize_char<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        v.visit_char(['a', 'ß', '\0', '日', '\u{10ffff}'][self.0.below(5)])
    }
    fn deserialize_str<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        v.visit_string(self.0.text())
    }
    fn deserialize_string<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        self.deserialize_str(v)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        let n = [0, 300, 16, 16, 16, 16][self.0.below(6)];
        v.visit_byte_buf((0..n).map(|_| self.0.next() as u8).collect())
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(v)
    }
    fn deserialize_option<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        if self.0.below(3) == 0 { v.visit_none() } else { v.visit_some(self) }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        v.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, Error> {
        v.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, Error> {
        v.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        let n = [0, 1, 2, 20][self.0.below(4)];
        let left = if self.0.depth > 4 { 0 } else { n };
        v.visit_seq(Some { source: self.0, left })
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, n: usize, v: V) -> Result<V::Value, Error> {
        v.visit_seq(Some { source: self.0, left: n })
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        n: usize,
        v: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(n, v)
    }
    fn deserialize_map<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        let left = self.0.below(20);
        v.visit_map(Some { source: self.0, left })
    }
    // By place: names of fields may be aliases of each other.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Error> {
        v.visit_seq(Some { source: self.0, left: fields.len() })
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Error> {
        if variants.is_empty() {
            return self.deserialize_any(v);
        }
        let name = variants[self.0.below(variants.len())];
        v.visit_enum(OneOf { source: self.0, name })
    }
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("no value of a dynamic type"))
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        self.deserialize_any(v)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, v: V) -> Result<V::Value, Error> {
        self.deserialize_any(v)
    }
}

struct Some<'a> {
    source: &'a mut Source,
    left: usize,
}

impl Some<'_> {
    fn one<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.source.depth += 1;
        if self.source.depth > MAX_DEPTH {
            return Err(de::Error::custom("too deep"));
        }
        let made = seed.deserialize(Random(self.source))?;
        self.source.depth -= 1;
        Ok(made)
    }
}

impl<'de> de::SeqAccess<'de> for Some<'_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.one(seed).map(Option::Some)
    }
}

impl<'de> de::MapAccess<'de> for Some<'_> {
    type Error = Error;
    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        de::SeqAccess::next_element_seed(self, seed)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.one(seed)
    }
}

struct OneOf<'a> {
    source: &'a mut Source,
    name: &'static str,
}

impl<'de> de::EnumAccess<'de> for OneOf<'_> {
    type Error = Error;
    type Variant = Self;
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let name = IntoDeserializer::<Error>::into_deserializer(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for OneOf<'_> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        Some { source: self.source, left: 1 }.one(seed)
    }
    fn tuple_variant<V: Visitor<'de>>(self, n: usize, v: V) -> Result<V::Value, Error> {
        v.visit_seq(Some { source: self.source, left: n })
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Error> {
        v.visit_seq(Some { source: self.source, left: fields.len() })
    }
}
