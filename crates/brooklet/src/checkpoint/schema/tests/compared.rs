//! Verdicts, and that they hold: what is kept or migrated is read without loss, and there are values that
//! what is refused would have lost.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{Schema, Verdict, What, compare, decode, encode_into};
use super::random::random;
use super::types::*;
use super::versions::*;

fn verdict<A, B>() -> Verdict
where
    A: Serialize + DeserializeOwned,
    B: Serialize + DeserializeOwned,
{
    compare(&Schema::of::<A>().unwrap(), &Schema::of::<B>().unwrap())
}

fn text<A, B>() -> String
where
    A: Serialize + DeserializeOwned,
    B: Serialize + DeserializeOwned,
{
    verdict::<A, B>().to_string()
}

macro_rules! verdicts {
    ($($m:ident => $text:expr;)*) => { $(
        assert_eq!(text::<first::Session, $m::Session>(), $text, stringify!($m));
    )* };
}

#[test]
fn each_change_has_its_verdict() {
    verdicts! {
        first => "kept";
        boxed => "kept";
        maybe_absent => "kept";
        added => "migrated\n  Session.hits: added, gets its default";
        added_option => "migrated\n  Session.x: added, gets its default";
        reordered => "migrated\n  Session: fields have another order";
        renamed => "migrated\n  Session.last: renamed to latest";
        widened => "migrated\n  Session.n: u32 → u64\n  Session.last: u64 → i128\n  Session.kind::B: u16 → i32";
        widened_unsigned =>
            "migrated\n  Session.n: u32 → i64\n  Session.last: u64 → u128\n  Session.kind::B: u16 → u64";
        variant_added => "migrated\n  Session.kind::C: variant added";
        variant_moved =>
            "migrated\n  Session.kind::A: variant moved from 0 to 2\n  Session.kind::New: variant added";
        variant_renamed => "migrated\n  Session.kind::B: renamed to Bee";
        wrapped =>
            "migrated\n  Session.last: u64 → Option<u64>\n  Session.kind::B: u16 → Option<u16>\n  \
             Session.kind: Kind → Option<Kind>";
        added_without_default => "refused\n  Session.hits: added without `#[serde(default)]`";
        narrowed => "refused\n  Session.n: u32 → u16";
        signed => "refused\n  Session.last: u64 → i64\n  Session.kind::B: u16 → i16";
        variant_gone => "refused\n  Session.kind::B: variant removed";
        variant_form => "refused\n  Session.kind::B: the variant holds its data in another form";
        to_text => "refused\n  Session.last: u64 → String";
        to_float => "refused\n  Session.last: u64 → f64";
        removed =>
            "refused\n  Session.last: field removed, its data would be lost (renamed? then `#[serde(alias)]`)";
        renamed_silently =>
            "refused\n  Session.last: field removed, its data would be lost (renamed? then `#[serde(alias)]`)\n  \
             Session.latest: added, gets its default";
    }
}

#[test]
fn a_field_that_may_be_absent_needs_a_default_for_ever() {
    assert_eq!(
        text::<maybe_absent::Session, first::Session>(),
        "refused\n  Session.last: absent in some stored entries (`skip_serializing_if`), so the new type \
         needs `#[serde(default)]` for it"
    );
    let mut bytes = vec![];
    let zero =
        maybe_absent::Session { user: "u".into(), n: 1, last: 0, kind: maybe_absent::Kind::A };
    encode_into(&zero, &mut bytes).unwrap();
    assert!(decode::<first::Session>(&bytes).is_err());
    assert_eq!(decode::<maybe_absent::Session>(&bytes).unwrap(), zero);
    // An `Option` has a default, but another one.
    let wrapped = text::<maybe_absent::Session, wrapped::Session>();
    assert!(wrapped.contains("Session.last: absent in some stored entries"), "{wrapped}");
    assert!(
        wrapped.contains("a default u64; as Option<u64> it would be read as `None`"),
        "{wrapped}"
    );
    #[derive(Serialize, Deserialize)]
    struct Wider {
        #[serde(default)]
        a: Option<u16>,
        c: u8,
        implied: Option<u64>,
        #[serde(default)]
        v: Vec<u32>,
        #[serde(default)]
        seven: u16,
    }
    assert!(matches!(verdict::<SkipIf, Wider>(), Verdict::Migrated(_)));
}

#[test]
fn fields_are_dropped_by_permission_only() {
    let refused = verdict::<first::Session, removed::Session>();
    let Verdict::Migrated(changes) = refused.dropping_fields() else { panic!() };
    assert_eq!((changes[0].path.as_str(), &changes[0].what), ("Session.last", &What::FieldDropped));
    let stored = first::Session { user: "u".into(), n: 7, last: 9, kind: first::Kind::B(3) };
    let mut bytes = vec![];
    encode_into(&stored, &mut bytes).unwrap();
    let read: removed::Session = decode(&bytes).unwrap();
    assert_eq!((read.user.as_str(), read.n, read.kind), ("u", 7, removed::Kind::B(3)));
    // The permission is for fields and nothing else.
    let others = verdict::<first::Session, to_text::Session>();
    assert_eq!(others.clone().dropping_fields(), others);
    assert_eq!(verdict::<first::Session, first::Session>().dropping_fields(), Verdict::Kept);

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Closed {
        user: String,
    }
    let closed = verdict::<first::Session, Closed>().dropping_fields().to_string();
    assert!(closed.contains("deny_unknown_fields"), "{closed}");
    #[derive(PartialEq, Eq, Hash, Serialize, Deserialize)]
    struct Pair {
        a: u8,
        b: u8,
    }
    #[derive(PartialEq, Eq, Hash, Serialize, Deserialize)]
    struct Half {
        a: u8,
    }
    let key = verdict::<HashMap<Pair, u8>, HashMap<Half, u8>>().dropping_fields().to_string();
    assert!(key.contains("value{key}.b: field removed inside a map's key"), "{key}");
    let both = verdict::<(Pair, HashMap<Pair, u8>), (Half, HashMap<Half, u8>)>().dropping_fields();
    assert!(both.to_string().contains("{key}.b"), "{both}");
}

#[test]
fn two_stored_things_never_become_one() {
    #[derive(Serialize, Deserialize)]
    struct Two {
        a: u8,
        b: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct One {
        #[serde(alias = "a", alias = "b")]
        c: u8,
    }
    #[derive(Serialize, Deserialize)]
    enum OneOf {
        #[serde(alias = "X", alias = "Y")]
        Z,
    }
    let fields = text::<Two, One>();
    assert!(fields.contains("Two.b: would be read as the same as `a`"), "{fields}");
    let variants = text::<KeyEnum, OneOf>();
    assert!(variants.contains("KeyEnum::Y: would be read as the same as `X`"), "{variants}");
}

#[test]
fn kinds_of_types_are_not_taken_for_each_other() {
    assert_eq!(text::<Vec<u8>, (u8, u8)>(), "refused\n  value: [u8] → (u8, u8)");
    assert_eq!(text::<(u8, u8), (u8, u8, u8)>(), "refused\n  value: (u8, u8) → (u8, u8, u8)");
    assert_eq!(text::<Option<u8>, u8>(), "refused\n  value: Option<u8> → u8");
    assert_eq!(text::<(), Option<u8>>(), "refused\n  value: () → Option<u8>");
    assert_eq!(text::<(), UnitStruct>(), "refused\n  value: () → unit struct");
    assert_eq!(text::<Inner, En>(), "refused\n  Inner: Inner (struct) → En (enum)");
    assert_eq!(text::<Id, Vec<u8>>(), "refused\n  value: bytes → [u8]");
    assert_eq!(text::<New, u64>(), "kept");
    assert_eq!(text::<f32, f64>(), "migrated\n  value: f32 → f64");
    assert_eq!(text::<char, String>(), "migrated\n  value: char → String");
    assert_eq!(text::<u64, f64>(), "refused\n  value: u64 → f64");
    assert_eq!(text::<i8, u128>(), "refused\n  value: i8 → u128");
    assert_eq!(
        text::<HashMap<u8, Vec<Option<u8>>>, HashMap<u16, Vec<Option<u32>>>>(),
        "migrated\n  value{key}: u8 → u16\n  value{value}[]: u8 → u32"
    );
}

#[test]
fn recursive_types_are_compared_once() {
    #[derive(Serialize, Deserialize)]
    struct Tree {
        v: u64,
        kids: Vec<Tree>,
        #[serde(default)]
        note: String,
    }
    assert_eq!(text::<super::types::Tree, super::types::Tree>(), "kept");
    assert_eq!(
        text::<super::types::Tree, Tree>(),
        "migrated\n  Tree.v: u32 → u64\n  Tree.note: added, gets its default"
    );
}

#[test]
fn types_without_a_schema_go_by_their_version() {
    let version = |n| Schema::of::<OwnRule>().unwrap_err().version(n).unwrap();
    assert_eq!(compare(&version(1), &version(1)), Verdict::Kept);
    let raised = compare(&version(1), &version(2)).to_string();
    assert!(raised.contains("OwnRule: version 1 → version 2"), "{raised}");
    assert!(raised.contains("migration function"), "{raised}");
    let traced = Schema::of::<String>().unwrap();
    let became = compare(&traced, &version(1)).to_string();
    assert!(became.contains("value: a traced schema → version 1"), "{became}");
    assert!(matches!(compare(&version(1), &traced), Verdict::Refused { .. }));
    assert_ne!(version(1).fingerprint(), version(2).fingerprint());
}

/// Widened and wrapped leaves at their borders.
#[test]
fn borders_of_the_old_type_are_read_into_the_new_one() {
    fn read<A, B>(values: &[A], to: impl Fn(&A) -> B)
    where
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        assert!(!matches!(verdict::<A, B>(), Verdict::Refused { .. }));
        for value in values {
            let mut bytes = vec![];
            encode_into(value, &mut bytes).unwrap();
            assert_eq!(decode::<B>(&bytes).unwrap(), to(value));
        }
    }
    read(&[0, u64::MAX, 1 << 60], |v| i128::from(*v));
    read(&[0, u64::MAX], |v| u128::from(*v));
    read(&[i64::MIN, -1, i64::MAX], |v| i128::from(*v));
    read(&[i8::MIN, i8::MAX], |v| i64::from(*v));
    read(&[u8::MAX], |v| i16::from(*v));
    read(&[u32::MAX], |v| Some(i64::from(*v)));
    read(&[f32::MIN, f32::MIN_POSITIVE, f32::INFINITY], |v| f64::from(*v));
    read(&['ß', '\0'], |v| v.to_string());
    read(&[vec![u128::MAX]], |v| v.iter().copied().map(Some).collect::<Vec<_>>());
    read(&[UnitStruct], |_| Some(UnitStruct));
    read(&[KeyEnum::X, KeyEnum::Y], |v| Some(*v));
}

/// Schemas by the names of their types, so that each is traced once.
type Schemas = HashMap<&'static str, Schema>;

fn schema_of<T: Serialize + DeserializeOwned>(schemas: &mut Schemas) -> Schema {
    let name = std::any::type_name::<T>();
    schemas.entry(name).or_insert_with(|| Schema::of::<T>().unwrap()).clone()
}

/// Reads random values of one version as another: what isn't refused must lose nothing, and of what is
/// refused there must be values that would have been lost.
fn holds<A, B>(schemas: &mut Schemas, counts: &mut (usize, usize), name: &str)
where
    A: Serialize + DeserializeOwned + Means,
    B: Serialize + DeserializeOwned + Means,
{
    let verdict = compare(&schema_of::<A>(schemas), &schema_of::<B>(schemas));
    let (mut same, mut lost) = (0, 0);
    for value in (0..60).filter_map(random::<A>) {
        let mut bytes = vec![];
        encode_into(&value, &mut bytes).unwrap();
        let kept = |read: B| {
            let read = read.meaning();
            value.meaning().iter().all(|(k, v)| read.get(k) == Some(v))
        };
        match decode::<B>(&bytes).is_ok_and(kept) {
            true => same += 1,
            false => lost += 1,
        }
    }
    assert!(same + lost > 40, "{name}: few values");
    match &verdict {
        Verdict::Kept | Verdict::Migrated(_) => {
            assert_eq!(lost, 0, "{name}: {verdict}");
            counts.0 += 1;
        }
        Verdict::Refused { .. } => {
            assert_ne!(lost, 0, "{name} could be read: {verdict}");
            counts.1 += 1;
        }
    }
}

macro_rules! all_pairs {
    ($schemas:ident $counts:ident; $($a:ident)*) => { all_pairs!(@ $schemas $counts; [$($a)*] [$($a)*]) };
    (@ $schemas:ident $counts:ident; [$($a:ident)*] $all:tt) => { $(all_pairs!(# $schemas $counts; $a $all);)* };
    (# $schemas:ident $counts:ident; $a:ident [$($b:ident)*]) => { $(
        holds::<$a::Session, $b::Session>(
            &mut $schemas,
            &mut $counts,
            concat!(stringify!($a), " read as ", stringify!($b)),
        );
    )* };
}

#[test]
fn verdicts_hold_between_all_versions() {
    let mut counts = (0, 0);
    let mut schemas = Schemas::new();
    all_pairs! { schemas counts;
        first added added_without_default added_option reordered renamed renamed_silently widened
        widened_unsigned narrowed signed variant_added variant_moved variant_renamed variant_gone
        variant_form wrapped boxed to_text to_float removed maybe_absent keyed keyed_wider
    }
    assert_eq!(counts.0 + counts.1, 24 * 24);
    assert!(counts.0 > 100 && counts.1 > 100, "{counts:?}");
}
