//! The schema of what was seen.

use super::super::opaque::Reason;
use super::super::ty::{Def, Field, Fields, Form, Kind, Schema, Ty, Variant, Written};
use super::Found;
use super::search::Search;
use super::seen::{DefSeen, FieldsSeen, FormSeen, KindSeen, VariantSeen};

/// The schema, with a variant for each name of a variant, and numbers that tell which are one.
pub(super) fn schema(search: &Search, root: Ty) -> Found<(Schema, Vec<Vec<u64>>)> {
    known(&root, "value".to_string())?;
    let defs = search.defs.iter().map(def).collect::<Found<Vec<Def>>>()?;
    let ids = search.defs.iter().map(variant_ids).collect();
    Ok((Schema { root, defs }, ids))
}

/// Every variant gets the place of the first one that it can't be told from.
fn variant_ids(seen: &DefSeen) -> Vec<u64> {
    let KindSeen::Enum(variants) = &seen.kind else { return vec![] };
    let first = |v: &VariantSeen| variants.iter().position(|w| w.id == v.id).unwrap_or(0) as u64;
    variants.iter().map(first).collect()
}

fn def(seen: &DefSeen) -> Found<Def> {
    let kind = match &seen.kind {
        KindSeen::Struct(fs) => Kind::Struct(fields(fs, seen.name)?),
        KindSeen::Enum(variants) => {
            let variant = |v: &VariantSeen| {
                let path = format!("{}::{}", seen.name, v.name);
                let form = form(&v.form, &path)?;
                Ok(Variant { name: v.name.to_string(), aliases: vec![], form })
            };
            Kind::Enum(variants.iter().map(variant).collect::<Found<_>>()?)
        }
    };
    Ok(Def { name: seen.name.to_string(), kind })
}

fn form(seen: &FormSeen, path: &str) -> Found<Form> {
    Ok(match seen {
        FormSeen::Unknown => return Err(unknown(path.to_string())),
        FormSeen::Unit => Form::Unit,
        FormSeen::Newtype(ty) => Form::Newtype(known(ty, path.to_string())?),
        FormSeen::Tuple(tys) => Form::Tuple(
            tys.iter()
                .enumerate()
                .map(|(i, ty)| known(ty, format!("{path}.{i}")))
                .collect::<Found<_>>()?,
        ),
        FormSeen::Struct(fs) => Form::Struct(fields(fs, path)?),
    })
}

fn fields(seen: &FieldsSeen, path: &str) -> Found<Fields> {
    let mut list = vec![];
    for f in &seen.groups {
        let mut names = f.names.iter().map(|n| n.to_string());
        let Some(name) = names.next() else { continue };
        let ty = known(&f.ty, format!("{path}.{name}"))?;
        let aliases = names.collect();
        list.push(Field { name, aliases, ty, default: f.default, written: Written::Always });
    }
    Ok(Fields { list, closed: seen.closed })
}

fn known(ty: &Ty, path: String) -> Found<Ty> {
    let mut all = true;
    ty.each(&mut |t| all &= *t != Ty::Unknown);
    if all { Ok(ty.clone()) } else { Err(unknown(path)) }
}

fn unknown(path: String) -> (String, Reason) {
    (path, Reason::Incomplete("no value that holds anything could be made".to_string()))
}
