//! Single entries.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{EntryError, check_key, decode, encode_into};
use super::types::*;

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![];
    encode_into(value, &mut out).unwrap();
    out
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let again: T = decode(&bytes(&value)).unwrap();
    assert_eq!(again, value);
}

fn inner() -> Inner {
    Inner { a: 7, b: Some("x".into()) }
}

#[test]
fn values_of_every_kind_come_back() {
    comes_back((u64::MAX, i128::MIN, u128::MAX, i64::MIN, i8::MIN, 'ß', f32::MIN, ()));
    comes_back((Some(u128::MAX), Some(-5i128), None::<i128>));
    comes_back(inner());
    comes_back(vec![En::A, En::B(2), En::C(1, "z".into()), En::D { x: -1, y: Some(inner()) }]);
    comes_back(vec![Some(En::A), None, Some(En::B(1))]);
    comes_back(Op::Other(vec![En::A, En::B(2)]));
    comes_back(Expr::Add(Box::new(Expr::Neg(Box::new(Expr::Lit(4)))), Box::new(Expr::Lit(1))));
    comes_back(Tree { v: 1, kids: vec![Tree { v: 2, kids: vec![] }] });
    comes_back(HashMap::from([((1u8, "k".to_string()), vec![1.5f64])]));
    comes_back(EnumKeys { m: [(KeyEnum::Y, 3)].into() });
    comes_back(std::time::Duration::from_millis(1500));
    comes_back(std::time::UNIX_EPOCH);
    comes_back("127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    comes_back("[::1]:80".parse::<std::net::SocketAddr>().unwrap());
    comes_back(DatesAndIds { d: Date(2026, 11, 21), i: Id([7; 16]), e: Even(4), t: None });
    comes_back(Skip { a: 1, b: 0, c: "c".into() });
    comes_back(SkipIf { a: None, c: 5, implied: None, v: vec![], seven: 7 });
    comes_back(SkipIf { a: Some(1), c: 5, implied: Some(2), v: vec![3], seven: 8 });
    comes_back((EnumAlias::New(4), EnumAlias::S { is: 1, o: None }));
    comes_back(OptionOfUnitStruct { u: Some(UnitStruct) });
    comes_back(OptionOfUnitStruct { u: None });
    comes_back(Text {
        s: "a text that is longer than inline".into(),
        t: crate::Time::from_millis(5),
    });
    // Without a schema, but not without bytes.
    comes_back(Flat { z: 1, i: inner() });
    comes_back((Untagged::B("q".into()), Internal::A { x: 3 }, Internal::B, Adjacent::A(3)));
    comes_back((Adjacent::B, OwnRule("w-1".into()), Decimal(-7)));
    comes_back(Dynamic { a: 1, v: serde_json::json!({"a": [1, null, -2.5], "b": {"c": "d"}}) });
}

#[test]
fn equal_keys_have_equal_bytes() {
    let map = |order: [u32; 3]| -> BTreeMap<u32, String> {
        order.into_iter().map(|k| (k, format!("v{k}"))).collect()
    };
    assert_eq!(bytes(&map([1, 2, 3])), bytes(&map([3, 1, 2])));
    assert_eq!(bytes(&"key"), bytes(&crate::Str::from("key")));
    assert_eq!(bytes(&5u8), bytes(&5i64), "widened keys stay the same");
    check_key(&(1u64, "a".to_string(), Some(KeyEnum::X), -3i128)).unwrap();
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Labels(HashMap<u32, u32>);
impl Hash for Labels {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.0.len().hash(h);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Forgetful {
    a: u8,
    #[serde(skip)]
    b: u8,
}

#[test]
fn keys_that_would_not_be_found_again_are_refused() {
    let labels = Labels((0..50).map(|i| (i, i)).collect());
    let error = check_key(&labels).unwrap_err();
    assert!(matches!(error, EntryError::UnstableKey { .. }), "{error}");
    assert!(error.to_string().contains("`Labels`"), "{error}");
    check_key(&Forgetful { a: 1, b: 0 }).unwrap();
    let error = check_key(&Forgetful { a: 1, b: 2 }).unwrap_err().to_string();
    assert!(error.contains("isn't equal to itself"), "{error}");
}

#[test]
fn errors_name_the_field() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Wrong {
        x: Inner,
        y: Vec<(u8, String)>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Right {
        x: Inner,
        y: Vec<(u8, u8)>,
    }
    let stored = bytes(&Wrong { x: inner(), y: vec![(1, "one".into())] });
    let error = decode::<Right>(&stored).unwrap_err();
    let EntryError::Decode { path, problem, .. } = &error else { panic!("{error}") };
    assert_eq!(path, "Right.y[0][1]");
    assert_eq!(problem, "text is stored there, which the type doesn't read");

    let missing = decode::<Primitives>(&bytes(&inner())).unwrap_err().to_string();
    assert!(missing.contains("`Primitives.a`") || missing.contains("missing field"), "{missing}");
    let nested = decode::<HashMap<String, Inner>>(&bytes(&HashMap::from([("k", 5)]))).unwrap_err();
    assert!(nested.to_string().contains(".k`"), "{nested}");
}

#[test]
fn an_entry_is_all_of_its_bytes() {
    let mut long = bytes(&inner());
    long.push(0xc0);
    let error = decode::<Inner>(&long).unwrap_err().to_string();
    assert!(error.contains("left over"), "{error}");
    assert!(decode::<u8>(&[5]).is_ok() && decode::<u8>(&[5, 6]).is_err());
    let whole = bytes(&Op::Other(vec![En::D { x: 1 << 40, y: Some(inner()) }, En::A]));
    for end in 0..whole.len() {
        assert!(decode::<Op>(&whole[..end]).is_err(), "{end} of {}", whole.len());
    }
}

#[test]
fn damaged_bytes_are_an_error_or_another_value_never_a_panic() {
    let whole = bytes(&(inner(), vec![En::D { x: -5, y: None }], Some(u128::MAX)));
    for at in 0..whole.len() {
        for value in 0..=255u8 {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = decode::<(Inner, Vec<En>, Option<u128>)>(&damaged);
        }
    }
}

#[test]
fn what_can_not_be_written_leaves_nothing() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let mut out = vec![9, 9];
    let error = encode_into(&("some text", Refuses), &mut out).unwrap_err().to_string();
    assert!(error.contains("not today"), "{error}");
    assert_eq!(out, [9, 9]);
}

fn chain(n: u32) -> List {
    (0..n).fold(List { v: 0, next: None }, |next, v| List { v, next: Some(Box::new(next)) })
}

/// Removes a chain without recursion.
fn unchain(mut list: List) {
    while let Some(next) = list.next.take() {
        list = *next;
    }
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    comes_back(chain(499));
    let deep = chain(500);
    let mut out = vec![1];
    let error = encode_into(&deep, &mut out).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 500"), "{error}");
    assert_eq!(out, [1]);
    unchain(deep);
    // Enums count their levels too, which rmp-serde doesn't.
    let negated = |n| (0..n).fold(Expr::Lit(1), |e, _| Expr::Neg(Box::new(e)));
    comes_back(negated(499));
    assert!(encode_into(&negated(501), &mut out).is_err());
    // Width isn't depth, whatever the bytes look like.
    comes_back(vec![vec![0x9191_9191_9191_9191u64; 700]; 3]);
    comes_back(("\u{11}".repeat(5000), vec![f64::from_bits(0x9191_9191_9191_9191); 99]));
    comes_back(vec![Some(u128::MAX); 300]);
    comes_back(vec![Id([0x91; 16]); 700]);
    comes_back((0..70_000).map(|i| (i, i as i16)).collect::<BTreeMap<u32, i16>>());
}
