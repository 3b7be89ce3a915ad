//! Versions of one type, as a program grows. Each can say what its values mean, so that a reading that
//! lost or changed something is seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a value means, by the names of the first version.
pub type Meaning = BTreeMap<String, String>;

pub trait Means {
    /// What it means; a field that isn't there has no entry, nothing that is `None` or a default has one.
    fn meaning(&self) -> Meaning;
}

/// The text of one value: equal for equal values of different types.
pub trait Shown {
    fn shown(&self) -> String;
}
macro_rules! shown {
    ($($t:ty)*) => { $(impl Shown for $t { fn shown(&self) -> String { self.to_string() } })* };
}
shown! { u8 u16 u32 u64 u128 i16 i32 i64 i128 String Arc<str> char bool }
impl Shown for f64 {
    /// In full: whole numbers look like those of integers.
    fn shown(&self) -> String {
        if self.is_nan() { format!("{:x}", self.to_bits()) } else { format!("{self:.0}") }
    }
}
impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(String::new, Shown::shown)
    }
}
impl<T: Shown> Shown for std::num::Wrapping<T> {
    fn shown(&self) -> String {
        self.0.shown()
    }
}
impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        self.iter().map(|t| t.shown() + ",").collect()
    }
}
impl<K: Shown, V: Shown> Shown for HashMap<K, V> {
    fn shown(&self) -> String {
        let sorted: BTreeMap<String, String> =
            self.iter().map(|(k, v)| (k.shown(), v.shown())).collect();
        format!("{} of {sorted:?}", self.len())
    }
}

macro_rules! version {
    // The fields with the names of their meaning, and the variants with the same.
    ($m:ident { $($(#[$fa:meta])* $f:ident as $fm:literal: $ft:ty,)* }
     { $($(#[$va:meta])* $v:ident $(($vt:ty))? as $vm:literal,)* }) => {
        pub mod $m {
            use super::*;
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct Session { $($(#[$fa])* pub $f: $ft,)* }
            #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
            pub enum Kind { $($(#[$va])* $v $(($vt))?,)* }
            impl Means for Session {
                fn meaning(&self) -> Meaning {
                    [$(($fm.to_string(), self.$f.shown()),)*].into()
                }
            }
            impl Shown for Kind {
                fn shown(&self) -> String {
                    match serde_json::to_value(self).unwrap() {
                        serde_json::Value::String(name) => name_of(&name),
                        serde_json::Value::Object(one) => {
                            let (name, value) = one.into_iter().next().unwrap();
                            format!("{}({value})", name_of(&name))
                        }
                        other => panic!("{other}"),
                    }
                }
            }
            fn name_of(written: &str) -> String {
                [$((stringify!($v), $vm),)*].iter().find(|(v, _)| *v == written).unwrap().1.to_string()
            }
        }
    };
}

// Every version has user and kind; what is told in the names of the modules differs from the first.
version! { first { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { added { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, #[serde(default)] hits as "hits": u64, }
{ A as "A", B(u16) as "B", } }
version! { added_without_default { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, hits as "hits": u64, }
{ A as "A", B(u16) as "B", } }
version! { added_option { user as "user": String, x as "x": Option<i16>, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { reordered { kind as "kind": Kind, last as "last": u64, n as "n": u32, user as "user": String, }
{ A as "A", B(u16) as "B", } }
version! { renamed { user as "user": String, n as "n": u32, #[serde(alias = "last")] latest as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { renamed_silently { user as "user": String, n as "n": u32, #[serde(default)] latest as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { widened { user as "user": String, n as "n": u64, last as "last": i128, kind as "kind": Kind, }
{ A as "A", B(i32) as "B", } }
version! { widened_unsigned { user as "user": String, n as "n": i64, last as "last": u128, kind as "kind": Kind, }
{ A as "A", B(u64) as "B", } }
version! { narrowed { user as "user": String, n as "n": u16, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { signed { user as "user": String, n as "n": u32, last as "last": i64, kind as "kind": Kind, }
{ A as "A", B(i16) as "B", } }
version! { variant_added { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", C(String) as "C", } }
version! { variant_moved { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ New as "New", B(u16) as "B", A as "A", } }
version! { variant_renamed { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", #[serde(alias = "B")] Bee(u16) as "B", } }
version! { variant_gone { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", } }
version! { variant_form { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B as "B", } }
version! { wrapped { user as "user": String, n as "n": u32, last as "last": Option<u64>, kind as "kind": Option<Kind>, }
{ A as "A", B(Option<u16>) as "B", } }
version! { boxed { user as "user": Arc<str>, n as "n": std::num::Wrapping<u32>, last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { to_text { user as "user": String, n as "n": u32, last as "last": String, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { to_float { user as "user": String, n as "n": u32, last as "last": f64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { removed { user as "user": String, n as "n": u32, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { maybe_absent { user as "user": String, n as "n": u32, #[serde(default, skip_serializing_if = "is_zero")] last as "last": u64, kind as "kind": Kind, }
{ A as "A", B(u16) as "B", } }
version! { keyed { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, #[serde(default)] by as "by": HashMap<Kind, Vec<u8>>, }
{ A as "A", B(u16) as "B", } }
version! { keyed_wider { user as "user": String, n as "n": u32, last as "last": u64, kind as "kind": Kind, #[serde(default)] by as "by": HashMap<Kind, Vec<u16>>, }
{ B(u32) as "B", A as "A", } }

pub fn is_zero(n: &u64) -> bool {
    *n == 0
}
