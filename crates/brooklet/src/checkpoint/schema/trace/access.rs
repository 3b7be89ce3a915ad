//! What visitors pull elements, entries and variants from.

use std::hash::{Hash, Hasher};

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::super::ty::Ty;
use super::error::Stop;
use super::fields::read_fields;
use super::probe::Probe;
use super::search::{Search, Spot, Step};
use super::seen::{FieldsSeen, FormSeen};

/// A number that two values of an enum share when they are of one variant.
pub(super) fn discriminant<T>(value: &T) -> u64 {
    struct Bytes(u64);
    impl Hasher for Bytes {
        fn write(&mut self, bytes: &[u8]) {
            for b in bytes {
                self.0 = self.0.rotate_left(8) ^ u64::from(*b);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut bytes = Bytes(0);
    std::mem::discriminant(value).hash(&mut bytes);
    bytes.finish()
}

/// The elements of a tuple, or one of a sequence.
pub(super) struct Elements<'a> {
    search: &'a mut Search,
    out: &'a mut [Ty],
    next: usize,
    tuple: bool,
}

impl<'a> Elements<'a> {
    pub fn of_tuple(search: &'a mut Search, out: &'a mut [Ty]) -> Elements<'a> {
        Elements { search, out, next: 0, tuple: true }
    }
    pub fn of_seq(search: &'a mut Search, out: &'a mut [Ty]) -> Elements<'a> {
        Elements { search, out, next: 0, tuple: false }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        let Some(out) = self.out.get_mut(self.next) else { return Ok(None) };
        self.search.push(if self.tuple { Step::Index(self.next) } else { Step::Element });
        self.next += 1;
        let made = seed.deserialize(Probe::new(self.search, out))?;
        self.search.pop();
        Ok(Some(made))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.out.len() - self.next)
    }
}

/// A map of one entry, or of none.
pub(super) struct OneEntry<'a> {
    pub search: &'a mut Search,
    pub key: &'a mut Ty,
    pub value: &'a mut Ty,
    pub left: bool,
}

impl<'de> de::MapAccess<'de> for OneEntry<'_> {
    type Error = Stop;

    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        // A struct with flattened parts reads a map whose keys are field names.
        let flat = std::any::type_name::<T::Value>().contains("__Field");
        if flat {
            return Err(Stop::Flatten);
        }
        if !std::mem::take(&mut self.left) {
            return Ok(None);
        }
        self.search.push(Step::Key);
        let made = seed.deserialize(Probe::new(self.search, self.key))?;
        self.search.pop();
        Ok(Some(made))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stop> {
        self.search.push(Step::Value);
        let made = seed.deserialize(Probe::new(self.search, self.value))?;
        self.search.pop();
        Ok(made)
    }
}

/// The variant that was chosen.
pub(super) struct OneVariant<'a> {
    pub search: &'a mut Search,
    pub spot: Spot,
    pub name: &'static str,
    pub form: &'a mut FormSeen,
    /// Which of the variants its identifier was taken for.
    pub id: &'a mut u64,
}

impl<'de> de::EnumAccess<'de> for OneVariant<'_> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Stop> {
        let name = IntoDeserializer::<Stop>::into_deserializer(self.name);
        let identifier = seed.deserialize(name)?;
        *self.id = discriminant(&identifier);
        Ok((identifier, self))
    }
}

impl<'de> de::VariantAccess<'de> for OneVariant<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        *self.form = FormSeen::Unit;
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stop> {
        let mut ty = Ty::Unknown;
        let made = seed.deserialize(Probe::new(self.search, &mut ty));
        *self.form = FormSeen::Newtype(ty);
        made
    }

    fn tuple_variant<V: Visitor<'de>>(self, n: usize, v: V) -> Result<V::Value, Stop> {
        let mut tys = vec![Ty::Unknown; n];
        let made = v.visit_seq(Elements::of_tuple(self.search, &mut tys));
        *self.form = FormSeen::Tuple(tys);
        made
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Stop> {
        self.search.variant_has_fields(self.spot, || FieldsSeen::new(names));
        read_fields(self.search, self.spot, v)
    }
}
