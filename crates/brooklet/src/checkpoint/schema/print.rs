//! Schemas as text, and their fingerprint.

use std::fmt::{self, Write};

use super::ty::{Fields, Form, Kind, Schema, Ty, Variant, Written};

impl Schema {
    /// The short name of a definition; a name used before gets a number: `Inner#1`.
    pub(super) fn def_name(&self, d: usize) -> String {
        let name = &self.defs[d].name;
        match self.defs[..d].iter().filter(|def| def.name == *name).count() {
            0 => name.clone(),
            n => format!("{name}#{n}"),
        }
    }

    /// A type in Rust's words.
    pub(super) fn show(&self, ty: &Ty) -> String {
        match ty {
            Ty::Option(t) => format!("Option<{}>", self.show(t)),
            Ty::Seq(t) => format!("[{}]", self.show(t)),
            Ty::Map(k, v) => format!("{{{}: {}}}", self.show(k), self.show(v)),
            Ty::Tuple(ts) => format!("({})", self.list(ts)),
            Ty::Def(d) => self.def_name(*d),
            Ty::Str => "String".to_string(),
            Ty::Unit => "()".to_string(),
            Ty::UnitStruct => "unit struct".to_string(),
            simple => format!("{simple:?}").to_lowercase(),
        }
    }

    fn list(&self, tys: &[Ty]) -> String {
        tys.iter().map(|t| self.show(t)).collect::<Vec<_>>().join(", ")
    }

    fn fields(&self, fields: &Fields) -> String {
        let mut text = String::from("{");
        for (i, f) in fields.list.iter().enumerate() {
            text.push_str(if i == 0 { " " } else { ", " });
            text.push_str(&with_aliases(&f.name, &f.aliases));
            text.push_str(match f.written {
                Written::Sometimes => "?: ",
                Written::Always | Written::Never => ": ",
            });
            text.push_str(&self.show(&f.ty));
            if f.default {
                text.push_str(" = default");
            }
            if f.written == Written::Never {
                text.push_str(" (not written)");
            }
        }
        text.push_str(" }");
        if fields.closed {
            text.push_str(" closed");
        }
        text
    }

    fn variant(&self, v: &Variant) -> String {
        let name = with_aliases(&v.name, &v.aliases);
        match &v.form {
            Form::Unit => name,
            Form::Newtype(t) => format!("{name}({})", self.show(t)),
            // A tuple of one differs from a newtype in the bytes.
            Form::Tuple(ts) => format!("{name}(({}))", self.list(ts)),
            Form::Struct(f) => format!("{name} {}", self.fields(f)),
        }
    }

    /// A number for what is written: names of fields and variants, their order and types, and which
    /// fields may be absent. Names of types, aliases and defaults aren't in the bytes and don't count. The
    /// same in every process; two schemas with one fingerprint can read each other's entries.
    pub(crate) fn fingerprint(&self) -> String {
        let mut written = self.clone();
        for def in &mut written.defs {
            match &mut def.kind {
                Kind::Struct(fields) => only_written(fields),
                Kind::Enum(variants) => {
                    for v in variants {
                        v.aliases.clear();
                        if let Form::Struct(fields) = &mut v.form {
                            only_written(fields);
                        }
                    }
                }
                // Two opaque types have nothing but name and version to tell them apart.
                Kind::Opaque(_) => continue,
            }
            def.name.clear();
        }
        // FNV-1a: no need to resist anyone, and one definition for ever.
        struct Fnv(u128);
        impl Write for Fnv {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                for b in s.bytes() {
                    self.0 = (self.0 ^ u128::from(b)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
                }
                Ok(())
            }
        }
        let mut hash = Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        // Printing into a number can't fail. Names are printed quoted by the length before them.
        let _ = write!(hash, "{}", Canonical(&written));
        format!("{:032x}", hash.0)
    }
}

fn only_written(fields: &mut Fields) {
    fields.closed = false;
    fields.list.retain(|f| f.written != Written::Never);
    for f in &mut fields.list {
        f.aliases.clear();
        f.default = false;
    }
}

fn with_aliases(name: &str, aliases: &[String]) -> String {
    aliases.iter().fold(name.to_string(), |text, alias| text + "|" + alias)
}

/// The text under the fingerprint: definitions by number, names by length and bytes.
struct Canonical<'a>(&'a Schema);

impl fmt::Display for Canonical<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn name(f: &mut fmt::Formatter<'_>, s: &str) -> fmt::Result {
            write!(f, "{}:{s}", s.len())
        }
        fn ty(f: &mut fmt::Formatter<'_>, t: &Ty) -> fmt::Result {
            match t {
                Ty::Option(t) => {
                    f.write_str("?")?;
                    ty(f, t)
                }
                Ty::Seq(t) => {
                    f.write_str("[")?;
                    ty(f, t)
                }
                Ty::Map(k, v) => {
                    f.write_str("{")?;
                    ty(f, k)?;
                    ty(f, v)
                }
                Ty::Tuple(ts) => {
                    write!(f, "({};", ts.len())?;
                    ts.iter().try_for_each(|t| ty(f, t))
                }
                Ty::Def(d) => write!(f, "#{d};"),
                simple => write!(f, "{};", Simple(simple)),
            }
        }
        fn fields(f: &mut fmt::Formatter<'_>, fields: &Fields) -> fmt::Result {
            write!(f, "s{};", fields.list.len())?;
            for field in &fields.list {
                name(f, &field.name)?;
                f.write_str(if field.written == Written::Sometimes { "?" } else { "!" })?;
                ty(f, &field.ty)?;
            }
            Ok(())
        }
        ty(f, &self.0.root)?;
        for def in &self.0.defs {
            match &def.kind {
                Kind::Struct(list) => fields(f, list)?,
                Kind::Enum(variants) => {
                    write!(f, "e{};", variants.len())?;
                    for v in variants {
                        name(f, &v.name)?;
                        match &v.form {
                            Form::Unit => f.write_str("u")?,
                            Form::Newtype(t) => {
                                f.write_str("n")?;
                                ty(f, t)?;
                            }
                            Form::Tuple(ts) => {
                                write!(f, "t{};", ts.len())?;
                                ts.iter().try_for_each(|t| ty(f, t))?;
                            }
                            Form::Struct(list) => fields(f, list)?,
                        }
                    }
                }
                Kind::Opaque(version) => {
                    f.write_str("o")?;
                    name(f, &def.name)?;
                    write!(f, "{version};")?;
                }
            }
        }
        Ok(())
    }
}

/// The stable word of a type without parts; `Debug` names are not for storage.
struct Simple<'a>(&'a Ty);

impl fmt::Display for Simple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Ty::Unit => "unit",
            Ty::UnitStruct => "unit_struct",
            Ty::Bool => "bool",
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::I128 => "i128",
            Ty::U8 => "u8",
            Ty::U16 => "u16",
            Ty::U32 => "u32",
            Ty::U64 => "u64",
            Ty::U128 => "u128",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::Char => "char",
            Ty::Str => "str",
            Ty::Bytes => "bytes",
            _ => "other",
        })
    }
}

impl fmt::Display for Schema {
    /// The root type, then one definition per line. `name|alias`, `name?` may be absent in the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(&self.root))?;
        for (d, def) in self.defs.iter().enumerate() {
            let name = self.def_name(d);
            match &def.kind {
                Kind::Struct(fields) => write!(f, "\nstruct {name} {}", self.fields(fields))?,
                Kind::Enum(vs) => {
                    let vs: Vec<_> = vs.iter().map(|v| self.variant(v)).collect();
                    write!(f, "\nenum {name} {{ {} }}", vs.join(", "))?;
                }
                Kind::Opaque(version) => write!(f, "\nopaque {name}, version {version}")?,
            }
        }
        Ok(())
    }
}
