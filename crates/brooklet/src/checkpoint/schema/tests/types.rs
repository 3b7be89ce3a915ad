//! Kinds of types that users keep in state.

use std::collections::*;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

macro_rules! ty {
    ($($t:tt)*) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        $($t)*
    };
}

ty! { pub struct Inner { pub a: u8, pub b: Option<String> } }
ty! { pub struct Primitives {
    pub a: bool, pub b: i8, pub c: i16, pub d: i32, pub e: i64, pub f: i128, pub g: u8, pub h: u16,
    pub i: u32, pub j: u64, pub k: u128, pub l: f32, pub m: f64, pub n: char, pub o: String, pub p: (),
} }
ty! { pub struct Nested {
    pub x: Inner, pub y: Vec<Inner>, pub z: HashMap<String, Inner>, pub t: (u8, i64, Inner),
    pub bx: Box<Inner>, pub arr: [u16; 3],
} }
ty! { pub struct New(pub u64); }
ty! { pub struct Tup(pub u8, pub String); }
ty! { pub struct UnitStruct; }
ty! { pub struct Wraps { pub n: New, pub t: Tup, pub u: UnitStruct } }
ty! { pub enum En { A, B(u8), C(u8, String), D { x: i64, y: Option<Inner> } } }
ty! { pub enum Op { Idle, Sum(En), Other(Vec<En>) } }
ty! { pub struct HasEnum { pub e: En, pub o: Op } }
ty! { pub enum Expr { Add(Box<Expr>, Box<Expr>), Neg(Box<Expr>), Lit(i64) } }
ty! { pub struct Tree { pub v: u32, pub kids: Vec<Tree> } }
ty! { pub struct List { pub v: u32, pub next: Option<Box<List>> } }
ty! { pub struct MutA { pub b: Option<Box<MutB>> } }
ty! { pub struct MutB { pub a: Vec<MutA>, pub k: En } }
// A choice that leads back has to be given up before a value is found.
ty! { pub enum Detour { Long(Way), Short } }
ty! { pub enum Way { Back(Box<Detour>), On(Box<Way>), End } }
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyEnum {
    X,
    Y,
}
ty! { pub struct EnumKeys { pub m: BTreeMap<KeyEnum, u8> } }
ty! { pub struct Collections {
    pub a: HashSet<u8>, pub b: BTreeMap<u8, String>, pub c: VecDeque<u8>, pub d: Vec<Vec<u8>>,
    pub e: BTreeSet<(u8, u8)>,
} }
ty! { pub struct Std {
    pub d: std::time::Duration, pub s: std::time::SystemTime, pub p: std::path::PathBuf,
    pub r: std::ops::Range<u64>, pub w: std::num::Wrapping<u8>, pub res: Result<u8, String>,
    pub c: std::cell::RefCell<u8>,
} }
ty! { pub struct Validated {
    pub n: std::num::NonZeroU32, pub i: std::net::IpAddr, pub s: std::net::SocketAddr,
} }
ty! { pub struct Defaults {
    pub a: u8, #[serde(default)] pub b: u8, pub c: Option<u8>, #[serde(default = "seven")] pub d: u8,
} }
fn seven() -> u8 {
    7
}
ty! { #[serde(default)] #[derive(Default)] pub struct AllDefault { pub a: u8, pub b: String } }
ty! { pub struct Skip { pub a: u8, #[serde(skip)] pub b: u8, pub c: String } }
ty! { pub struct SkipIf {
    #[serde(default, skip_serializing_if = "Option::is_none")] pub a: Option<u8>,
    pub c: u8,
    #[serde(skip_serializing_if = "Option::is_none")] pub implied: Option<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] pub v: Vec<u16>,
    #[serde(default = "seven", skip_serializing_if = "is_seven")] pub seven: u8,
} }
fn is_seven(n: &u8) -> bool {
    *n == 7
}
ty! { pub struct SkipWithoutDefault { #[serde(skip_serializing_if = "Vec::is_empty")] pub v: Vec<u8> } }
ty! { pub struct NotWritten { pub a: u8, #[serde(skip_serializing, default)] pub b: u8 } }
ty! { pub struct NotRead { pub a: u8, #[serde(skip_deserializing)] pub b: u8 } }
ty! { pub struct TwoNames { #[serde(rename(serialize = "w", deserialize = "r"), default)] pub a: u8 } }
ty! { pub struct Alias { pub a: u8, #[serde(alias = "old", alias = "aged")] pub newer: u64, pub z: u8 } }
// Aliases that stand before their field, and on both sides of it, in the order of names.
ty! { pub struct AliasOrders {
    #[serde(alias = "a", alias = "b")] pub c: u8, #[serde(alias = "d", alias = "f")] pub e: u8,
    #[serde(alias = "g", default)] pub h: u8,
} }
ty! { pub enum EnumAlias {
    A, #[serde(alias = "Ancient", alias = "Old")] New(u8),
    S { #[serde(alias = "was", default)] is: u8, #[serde(skip_serializing_if = "Option::is_none")] o: Option<u8> },
} }
ty! { #[serde(rename_all = "camelCase")] pub struct Renamed { pub first_name: String } }
ty! { #[serde(deny_unknown_fields)] pub struct Closed { pub a: u8, #[serde(default)] pub b: u8 } }
ty! { pub struct Flat { pub z: u8, #[serde(flatten)] pub i: Inner } }
ty! { #[serde(untagged)] pub enum Untagged { A(u8), B(String) } }
ty! { #[serde(tag = "t")] pub enum Internal { A { x: u8 }, B } }
ty! { #[serde(tag = "t", content = "c")] pub enum Adjacent { A(u8), B } }
ty! { #[serde(tag = "t", content = "c")] pub enum AdjacentSame { A(u8), B(u8) } }
ty! { #[serde(try_from = "u32", into = "u32")] pub struct Even(pub u32); }
impl TryFrom<u32> for Even {
    type Error = String;
    fn try_from(x: u32) -> Result<Even, String> {
        if x.is_multiple_of(2) && x > 0 { Ok(Even(x)) } else { Err("odd or 0".into()) }
    }
}
impl From<Even> for u32 {
    fn from(e: Even) -> u32 {
        e.0
    }
}
ty! { #[serde(try_from = "String", into = "String")] pub struct OwnRule(pub String); }
impl TryFrom<String> for OwnRule {
    type Error = String;
    fn try_from(x: String) -> Result<OwnRule, String> {
        if x.starts_with("w-") { Ok(OwnRule(x)) } else { Err("must start with w-".into()) }
    }
}
impl From<OwnRule> for String {
    fn from(e: OwnRule) -> String {
        e.0
    }
}
ty! { #[serde(try_from = "u8", into = "u8")] pub struct Panics(u8); }
impl TryFrom<u8> for Panics {
    type Error = String;
    fn try_from(_: u8) -> Result<Panics, String> {
        panic!("no such number")
    }
}
impl From<Panics> for u8 {
    fn from(p: Panics) -> u8 {
        p.0
    }
}
ty! { pub struct Generic<T> { pub v: T } }
ty! { pub struct TwoGenerics { pub a: Generic<u8>, pub b: Generic<String> } }
ty! { pub struct Dynamic { pub a: u8, pub v: serde_json::Value } }
ty! { pub struct Phantom { pub a: std::marker::PhantomData<u8>, pub s: std::sync::Arc<str> } }
ty! { pub struct EnumInOption { pub o: Option<Box<EnumIn>> } }
ty! { pub enum EnumIn { Leaf(f64), Node { l: Box<EnumIn>, r: Option<EnumInOption2> } } }
ty! { pub struct EnumInOption2 { pub o: Vec<EnumIn> } }
pub mod other {
    use serde::{Deserialize, Serialize};
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Inner {
        pub q: f64,
    }
}
ty! { pub struct SameName { pub a: Inner, pub b: other::Inner } }
ty! { pub struct Endless { pub next: Box<Endless> } }
ty! { pub enum Never {} }
ty! { pub struct NestedOption { pub a: u8, pub oo: Vec<Option<Option<u8>>> } }
ty! { pub enum OptionOfUnit { A, B { u: Option<()> } } }
ty! { pub struct OptionOfUnitStruct { pub u: Option<UnitStruct> } }
ty! { pub struct Text { pub s: crate::Str, pub t: crate::Time } }

/// As dates are: text with a form of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Date(pub u16, pub u8, pub u8);
impl Serialize for Date {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:04}-{:02}-{:02}", self.0, self.1, self.2))
    }
}
impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Date, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Date;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Date, E> {
                let parts: Vec<&str> = s.split('-').collect();
                let number = |i: usize| {
                    parts.get(i).and_then(|p| p.parse().ok()).ok_or_else(|| E::custom("no date"))
                };
                match parts.len() {
                    3 => Ok(Date(number(0)?, number(1)? as u8, number(2)? as u8)),
                    _ => Err(E::custom("no date")),
                }
            }
        }
        d.deserialize_str(Text)
    }
}
/// As universal identifiers are: 16 bytes, and text for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Id(pub [u8; 16]);
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str("id") } else { s.serialize_bytes(&self.0) }
    }
}
impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Id, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes")
            }
            fn visit_bytes<E: de::Error>(self, b: &[u8]) -> Result<Id, E> {
                b.try_into().map(Id).map_err(|_| E::invalid_length(b.len(), &self))
            }
        }
        d.deserialize_bytes(Bytes)
    }
}
ty! { pub struct DatesAndIds { pub d: Date, pub i: Id, pub e: Even, pub t: Option<Date> } }

/// As some decimals are: written as text, read as whatever comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decimal(pub i64);
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Decimal, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Decimal, E> {
                s.parse().map(Decimal).map_err(E::custom)
            }
        }
        d.deserialize_any(Any)
    }
}

/// Written as a number, read as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlike;
impl Serialize for Unlike {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(1)
    }
}
impl<'de> Deserialize<'de> for Unlike {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Unlike, D::Error> {
        String::deserialize(d).map(|_| Unlike)
    }
}
ty! { pub struct HasUnlike { pub a: u8, pub u: Vec<Unlike> } }
