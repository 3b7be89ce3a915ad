//! Whether entries of a stored schema can be read as a new type, and what changes.

use std::fmt;

/// The answer of `compare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What is written is the same.
    Kept,
    /// Entries are read into the new type and nothing is lost.
    Migrated(Vec<Change>),
    /// Entries can't be read, or would lose something.
    Refused {
        /// Why; at least one.
        reasons: Vec<Refusal>,
        /// What else has changed.
        changes: Vec<Change>,
    },
}

/// Something that is read otherwise than it was written, without loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// `Session.last`.
    pub(crate) path: String,
    pub(crate) what: What,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new field, which gets its default.
    FieldAdded,
    /// A field that is read no more, by permission.
    FieldDropped,
    /// Fields have another order.
    Reordered,
    /// It is read by an alias.
    Renamed(String),
    /// From one type to a wider one.
    Widened(String, String),
    VariantAdded,
    /// From one place to another.
    VariantMoved(usize, usize),
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `Session.last`.
    pub(crate) path: String,
    pub(crate) why: Why,
}

/// Why entries are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// From one type to another that can't hold every value of it.
    Retyped(String, String),
    FieldRemoved,
    /// Removed inside the key of a map, where entries could become one.
    FieldRemovedInKey,
    /// Removed, and the new type denies unknown fields.
    FieldRemovedClosed,
    /// New, without a default.
    FieldNeedsDefault,
    /// Left out of some stored entries, and the new type has no default for it.
    AbsentNeedsDefault,
    /// Left out of some stored entries, where it stands for a default that the new type would read as `None`.
    AbsentWrapped(String, String),
    /// Two stored things would be read as this one.
    Merged(String),
    VariantRemoved,
    /// A variant holds its data in another form.
    VariantForm,
    /// Versions of a type without a schema; `None` for a type that has one.
    Version(Option<u32>, Option<u32>),
}

impl Verdict {
    /// The verdict when fields that the new type doesn't have may be dropped, by permission of the user.
    pub(crate) fn dropping_fields(self) -> Verdict {
        let Verdict::Refused { reasons, mut changes } = self else { return self };
        let (dropped, reasons): (Vec<_>, Vec<_>) =
            reasons.into_iter().partition(|r| r.why == Why::FieldRemoved);
        let dropped =
            dropped.into_iter().map(|r| Change { path: r.path, what: What::FieldDropped });
        changes.extend(dropped);
        Verdict::of(reasons, changes)
    }

    pub(super) fn of(reasons: Vec<Refusal>, changes: Vec<Change>) -> Verdict {
        match (reasons.is_empty(), changes.is_empty()) {
            (true, true) => Verdict::Kept,
            (true, false) => Verdict::Migrated(changes),
            (false, _) => Verdict::Refused { reasons, changes },
        }
    }
}

impl fmt::Display for Verdict {
    /// One word, then a line for each reason and change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reasons, changes): (_, &[Refusal], &[Change]) = match self {
            Verdict::Kept => ("kept", &[], &[]),
            Verdict::Migrated(changes) => ("migrated", &[], changes),
            Verdict::Refused { reasons, changes } => ("refused", reasons, changes),
        };
        f.write_str(word)?;
        reasons.iter().try_for_each(|r| write!(f, "\n  {r}"))?;
        changes.iter().try_for_each(|c| write!(f, "\n  {c}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::FieldAdded => write!(f, "{path}: added, gets its default"),
            What::FieldDropped => write!(f, "{path}: removed, its data is dropped"),
            What::Reordered => write!(f, "{path}: fields have another order"),
            What::Renamed(name) => write!(f, "{path}: renamed to {name}"),
            What::Widened(from, to) => write!(f, "{path}: {from} → {to}"),
            What::VariantAdded => write!(f, "{path}: variant added"),
            What::VariantMoved(from, to) => write!(f, "{path}: variant moved from {from} to {to}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.why {
            Why::Retyped(from, to) => write!(f, "{path}: {from} → {to}"),
            Why::FieldRemoved => write!(
                f,
                "{path}: field removed, its data would be lost (renamed? then `#[serde(alias)]`)"
            ),
            Why::FieldRemovedInKey => write!(
                f,
                "{path}: field removed inside a map's key, so that entries could become one"
            ),
            Why::FieldRemovedClosed => write!(
                f,
                "{path}: field removed, and the new type has `#[serde(deny_unknown_fields)]`"
            ),
            Why::FieldNeedsDefault => {
                write!(f, "{path}: added without `#[serde(default)]`")
            }
            Why::AbsentNeedsDefault => write!(
                f,
                "{path}: absent in some stored entries (`skip_serializing_if`), so the new type needs \
                 `#[serde(default)]` for it"
            ),
            Why::AbsentWrapped(from, to) => write!(
                f,
                "{path}: absent in some stored entries (`skip_serializing_if`), which stands for a default \
                 {from}; as {to} it would be read as `None`"
            ),
            Why::Merged(first) => write!(f, "{path}: would be read as the same as `{first}`"),
            Why::VariantRemoved => write!(f, "{path}: variant removed"),
            Why::VariantForm => write!(f, "{path}: the variant holds its data in another form"),
            Why::Version(from, to) => {
                let show = |v: &Option<u32>| {
                    v.map_or("a traced schema".into(), |v| format!("version {v}"))
                };
                write!(
                    f,
                    "{path}: {} → {}: what changed can't be seen from outside; give a migration \
                     function from the stored type, or go back to it",
                    show(from),
                    show(to)
                )
            }
        }
    }
}
