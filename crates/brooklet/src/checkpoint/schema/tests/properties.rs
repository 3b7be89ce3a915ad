//! What holds for random values of every kind of type.

use std::collections::HashMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Schema, Verdict, compare, decode, encode_into};
use super::random::random;
use super::types::*;
use super::versions;

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![];
    encode_into(value, &mut out).unwrap();
    out
}

/// A random value comes back from its bytes, equal and with the same bytes; bytes that end early don't.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(seed: u64) {
    let Some(value) = random::<T>(seed) else { return };
    let written = bytes(&value);
    assert_eq!(written, bytes(&value), "twice the same");
    let again: T = decode(&written).unwrap_or_else(|e| panic!("{value:?}: {e}"));
    // Not equal to itself: there is a NaN in it, and the bytes have to say.
    #[allow(clippy::eq_op)]
    if value == value {
        assert_eq!(again, value);
    }
    let mut second = bytes(&again);
    let mut first = written.clone();
    // Hash maps and sets come in any order.
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!(first, second, "{value:?}");
    let cut = seed as usize % written.len();
    assert!(decode::<T>(&written[..cut]).is_err(), "{cut} bytes of {value:?}");
}

macro_rules! every_type {
    ($f:ident $args:tt: $($t:ty),* $(,)?) => { $($f::<$t> $args;)* };
}

macro_rules! every_traced_type {
    ($f:ident $args:tt) => {
        every_type!($f $args:
            u64, i128, f64, char, String, (u8, String), Option<i64>, Vec<Option<u128>>,
            HashMap<(u8, String), Vec<f64>>, Primitives, Nested, New, Tup, UnitStruct, Wraps, En, Op,
            HasEnum, Expr, Tree, List, MutA, Detour, EnumKeys, Collections, Std, Validated, DatesAndIds,
            Defaults, AllDefault, Skip, SkipIf, Alias, AliasOrders, EnumAlias, Renamed, Closed, Even, TwoGenerics, Phantom,
            EnumInOption, SameName, OptionOfUnitStruct, Text,
            versions::first::Session, versions::keyed_wider::Session)
    };
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn random_values_come_back(seed: u64) {
        every_traced_type!(comes_back(seed));
        // Opaque ones too, but for those whose values can't be made at random.
        every_type!(comes_back(seed): OwnRule, Adjacent, Result<u8, Never>);
    }
}

#[test]
fn most_seeds_give_a_value() {
    fn many<T: DeserializeOwned>() {
        let values = (0..2000).filter_map(random::<T>).count();
        assert!(values > 50, "{values} of {}", std::any::type_name::<T>());
    }
    every_traced_type!(many());
}

/// Every schema is the same when it is made again, comes back from its bytes, and fits itself.
#[test]
fn schemas_are_stable_and_fit_themselves() {
    fn fits<T: Serialize + DeserializeOwned>() {
        let schema = Schema::of::<T>().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(schema, Schema::of::<T>().unwrap());
        assert_eq!(compare(&schema, &schema), Verdict::Kept, "{schema}");
        let stored: Schema = decode(&bytes(&schema)).unwrap();
        assert_eq!((&stored, stored.fingerprint()), (&schema, schema.fingerprint()));
        assert_eq!(stored.to_string().lines().count(), 1 + schema.defs.len());
    }
    every_traced_type!(fits());
}

/// A stored schema whose bytes were damaged is an error or another schema, and can be shown and compared.
#[test]
fn damaged_schemas_never_panic() {
    let schema = Schema::of::<HasEnum>().unwrap();
    let whole = bytes(&schema);
    for at in 0..whole.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            if let Ok(other) = decode::<Schema>(&damaged) {
                let _ = (other.to_string(), other.fingerprint(), compare(&other, &schema));
                let _ = compare(&schema, &other);
            }
        }
    }
}
