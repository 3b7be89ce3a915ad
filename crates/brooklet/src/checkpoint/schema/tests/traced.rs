//! What is found out of each kind of type.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Opaque, Reason, Schema};
use super::types::*;

fn schema<T: Serialize + DeserializeOwned>() -> Schema {
    Schema::of::<T>().unwrap_or_else(|e| panic!("{e}"))
}

fn text<T: Serialize + DeserializeOwned>() -> String {
    schema::<T>().to_string()
}

fn opaque<T: Serialize + DeserializeOwned>() -> Opaque {
    match Schema::of::<T>() {
        Err(opaque) => opaque,
        Ok(schema) => panic!("traced: {schema}"),
    }
}

#[test]
fn plain_types_are_their_own_schema() {
    assert_eq!(text::<u64>(), "u64");
    assert_eq!(text::<(String, Option<i8>)>(), "(String, Option<i8>)");
    assert_eq!(text::<HashMap<(u8, String), Vec<f64>>>(), "{(u8, String): [f64]}");
    assert_eq!(
        text::<Primitives>(),
        "Primitives\nstruct Primitives { a: bool, b: i8, c: i16, d: i32, e: i64, f: i128, g: u8, h: u16, \
         i: u32, j: u64, k: u128, l: f32, m: f64, n: char, o: String, p: () }"
    );
    assert_eq!(text::<Text>(), "Text\nstruct Text { s: String, t: u64 }");
    assert_eq!(text::<[u8; 0]>(), "()", "a tuple of none");
}

#[test]
fn structs_inside_structs_and_collections() {
    assert_eq!(
        text::<Nested>(),
        "Nested\n\
         struct Nested { x: Inner, y: [Inner], z: {String: Inner}, t: (u8, i64, Inner), bx: Inner, \
         arr: (u16, u16, u16) }\n\
         struct Inner { a: u8, b: Option<String> = default }"
    );
    assert_eq!(text::<Wraps>(), "Wraps\nstruct Wraps { n: u64, t: (u8, String), u: unit struct }");
    assert_eq!(
        text::<Collections>(),
        "Collections\nstruct Collections { a: [u8], b: {u8: String}, c: [u8], d: [[u8]], e: [(u8, u8)] }"
    );
    assert_eq!(
        text::<EnumKeys>(),
        "EnumKeys\nstruct EnumKeys { m: {KeyEnum: u8} }\nenum KeyEnum { X, Y }"
    );
    assert_eq!(text::<Phantom>(), "Phantom\nstruct Phantom { a: unit struct, s: String }");
}

#[test]
fn every_variant_of_enums_inside_enums_is_found() {
    let en = "enum En { A, B(u8), C((u8, String)), D { x: i64, y: Option<Inner> = default } }\n\
              struct Inner { a: u8, b: Option<String> = default }";
    assert_eq!(text::<En>(), format!("En\n{en}"));
    assert_eq!(
        text::<HasEnum>(),
        format!(
            "HasEnum\nstruct HasEnum {{ e: En, o: Op }}\n{en}\nenum Op {{ Idle, Sum(En), Other([En]) }}"
        )
    );
    assert_eq!(text::<Op>(), format!("Op\nenum Op {{ Idle, Sum(En), Other([En]) }}\n{en}"));
}

#[test]
fn recursive_types_end() {
    assert_eq!(text::<Expr>(), "Expr\nenum Expr { Add((Expr, Expr)), Neg(Expr), Lit(i64) }");
    assert_eq!(text::<Tree>(), "Tree\nstruct Tree { v: u32, kids: [Tree] }");
    assert_eq!(text::<List>(), "List\nstruct List { v: u32, next: Option<List> = default }");
    let mutual = text::<MutA>();
    assert!(mutual.contains("struct MutA { b: Option<MutB> = default }"), "{mutual}");
    assert!(mutual.contains("struct MutB { a: [MutA], k: En }"), "{mutual}");
    assert!(mutual.contains("enum En { A, B(u8), C((u8, String)), D {"), "{mutual}");
    assert_eq!(
        text::<EnumInOption>(),
        "EnumInOption\n\
         struct EnumInOption { o: Option<EnumIn> = default }\n\
         enum EnumIn { Leaf(f64), Node { l: EnumIn, r: Option<EnumInOption2> = default } }\n\
         struct EnumInOption2 { o: [EnumIn] }"
    );
    assert_eq!(
        text::<Detour>(),
        "Detour\nenum Detour { Long(Way), Short }\nenum Way { Back(Detour), On(Way), End }"
    );
    assert!(text::<Way>().ends_with("enum Detour { Long(Way), Short }"));
}

#[test]
fn generics_and_equal_names_are_told_apart() {
    assert_eq!(
        text::<TwoGenerics>(),
        "TwoGenerics\n\
         struct TwoGenerics { a: Generic, b: Generic#1 }\n\
         struct Generic { v: u8 }\n\
         struct Generic#1 { v: String }"
    );
    assert_eq!(
        text::<SameName>(),
        "SameName\n\
         struct SameName { a: Inner, b: Inner#1 }\n\
         struct Inner { a: u8, b: Option<String> = default }\n\
         struct Inner#1 { q: f64 }"
    );
}

#[test]
fn defaults_aliases_and_what_is_left_out() {
    assert_eq!(
        text::<Defaults>(),
        "Defaults\nstruct Defaults { a: u8, b: u8 = default, c: Option<u8> = default, d: u8 = default }"
    );
    assert_eq!(
        text::<AllDefault>(),
        "AllDefault\nstruct AllDefault { a: u8 = default, b: String = default }"
    );
    assert_eq!(text::<Skip>(), "Skip\nstruct Skip { a: u8, c: String }");
    assert_eq!(
        text::<SkipIf>(),
        "SkipIf\nstruct SkipIf { a?: Option<u8> = default, c: u8, implied?: Option<u8> = default, \
         v?: [u16] = default, seven?: u8 = default }"
    );
    assert_eq!(
        text::<NotWritten>(),
        "NotWritten\nstruct NotWritten { a: u8, b: u8 = default (not written) }"
    );
    assert_eq!(text::<NotRead>(), "NotRead\nstruct NotRead { a: u8 }");
    assert_eq!(text::<Alias>(), "Alias\nstruct Alias { a: u8, newer|aged|old: u64, z: u8 }");
    assert_eq!(
        text::<AliasOrders>(),
        "AliasOrders\nstruct AliasOrders { c|a|b: u8, e|d|f: u8, h|g: u8 = default }"
    );
    assert_eq!(
        text::<EnumAlias>(),
        "EnumAlias\nenum EnumAlias { A, New|Ancient|Old(u8), \
         S { is|was: u8 = default, o?: Option<u8> = default } }"
    );
    assert_eq!(text::<Renamed>(), "Renamed\nstruct Renamed { firstName: String }");
    assert_eq!(text::<Closed>(), "Closed\nstruct Closed { a: u8, b: u8 = default } closed");
}

#[test]
fn types_that_check_their_values() {
    let std = text::<Std>();
    assert!(std.contains("struct Duration { secs: u64, nanos: u32 }"), "{std}");
    assert!(std.contains("enum Result { Ok(u8), Err(String) }"), "{std}");
    assert!(std.contains("p: String, r: Range, w: u8, res: Result, c: u8 }"), "{std}");
    let validated = text::<Validated>();
    assert!(validated.contains("{ n: u32, i: IpAddr, s: SocketAddr }"), "{validated}");
    assert!(validated.contains("enum IpAddr { V4((u8, u8, u8, u8)), V6("), "{validated}");
    assert_eq!(
        text::<DatesAndIds>(),
        "DatesAndIds\nstruct DatesAndIds { d: String, i: bytes, e: u32, t: Option<String> = default }"
    );
    assert_eq!(text::<Even>(), "u32");
}

#[test]
fn types_without_a_schema_say_why() {
    let flat = opaque::<Flat>();
    assert_eq!((&flat.reason, flat.path.as_str()), (&Reason::Flatten, "value"));
    assert_eq!(opaque::<Untagged>().reason, Reason::Dynamic);
    assert_eq!(opaque::<Internal>().reason, Reason::Dynamic);
    let adjacent = opaque::<Adjacent>();
    assert_eq!(adjacent.reason, Reason::Dynamic);
    assert_eq!(
        text::<AdjacentSame>(),
        "AdjacentSame\nstruct AdjacentSame { t: AdjacentSame#1, c: u8 }\nenum AdjacentSame#1 { A, B }",
        "tag and content of one type each are a struct"
    );
    let dynamic = opaque::<Dynamic>();
    assert_eq!((&dynamic.reason, dynamic.path.as_str()), (&Reason::Dynamic, "Dynamic.v"));
    assert_eq!(opaque::<Decimal>().reason, Reason::Dynamic);
    let rule = opaque::<OwnRule>();
    assert!(
        matches!(&rule.reason, Reason::Refuses(t) if t.contains("must start with w-")),
        "{rule}"
    );
    let panics = opaque::<Panics>();
    assert!(
        matches!(&panics.reason, Reason::Panics(t) if t.contains("no such number")),
        "{panics}"
    );
    let unlike = opaque::<HasUnlike>();
    assert_eq!(unlike.path, "HasUnlike.u[]");
    assert!(matches!(&unlike.reason, Reason::Differs(t) if t == "writes u8, reads String"));
    assert_eq!(opaque::<Endless>().reason, Reason::Endless);
    assert_eq!(opaque::<Option<Never>>().reason, Reason::Endless);
    assert_eq!(opaque::<Result<u8, Never>>().reason, Reason::Endless);
    let text = rule.to_string();
    assert!(text.contains("OwnRule") && text.contains("`.version(1)`"), "{text}");
    let versioned = rule.version(3).unwrap();
    assert_eq!(versioned.to_string(), "OwnRule\nopaque OwnRule, version 3");
}

#[test]
fn types_that_would_lose_values_are_refused() {
    let nested = opaque::<NestedOption>();
    assert_eq!((&nested.reason, nested.path.as_str()), (&Reason::NestedOption, "NestedOption.oo"));
    assert!(nested.version(1).is_err(), "a version doesn't help");
    assert_eq!(opaque::<Option<Option<u8>>>().reason, Reason::NestedOption);
    let unit = opaque::<OptionOfUnit>();
    assert_eq!((&unit.reason, unit.path.as_str()), (&Reason::OptionOfUnit, "OptionOfUnit::B.u"));
    assert_eq!(opaque::<HashMap<u8, (u8, Option<()>)>>().reason, Reason::OptionOfUnit);
    // A unit struct has bytes of its own.
    assert!(text::<OptionOfUnitStruct>().contains("u: Option<unit struct>"));
    let skip = opaque::<SkipWithoutDefault>();
    assert!(matches!(&skip.reason, Reason::Lossy(t) if t.contains("missing field `v`")), "{skip}");
    assert!(!skip.is_storable());
    let names = opaque::<TwoNames>();
    assert!(matches!(&names.reason, Reason::Lossy(_)), "{names}");
}

#[test]
fn a_schema_is_the_same_after_storing_and_in_every_process() {
    let schema = schema::<HasEnum>();
    let mut header = vec![];
    super::super::encode_into(&schema, &mut header).unwrap();
    let again: Schema = super::super::decode(&header).unwrap();
    assert_eq!((&again, again.fingerprint()), (&schema, schema.fingerprint()));
    // Written down when the format was made: stored fingerprints have to stay valid.
    assert_eq!(schema.fingerprint(), "09e0dd2867390b128b3d05d6f565d7f3");
}

#[test]
fn a_stored_schema_with_a_wrong_index_is_refused() {
    let mut header = vec![];
    let schema = Schema { root: super::super::ty::Ty::Def(4), defs: vec![] };
    super::super::encode_into(&schema, &mut header).unwrap();
    let error = super::super::decode::<Schema>(&header).unwrap_err().to_string();
    assert!(error.contains("definition 4"), "{error}");
}

#[test]
fn the_fingerprint_is_of_what_is_written() {
    mod renamed {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Other {
            pub a: u8,
            #[serde(default, alias = "was")]
            pub b: Option<String>,
        }
    }
    let inner = schema::<Inner>();
    assert_eq!(schema::<renamed::Other>().fingerprint(), inner.fingerprint(), "{inner}");
    assert_ne!(schema::<(u8, Option<String>)>().fingerprint(), inner.fingerprint());
    assert_ne!(schema::<Generic<u8>>().fingerprint(), schema::<Generic<u16>>().fingerprint());
    assert_ne!(schema::<SameName>().fingerprint(), schema::<TwoGenerics>().fingerprint());
}
