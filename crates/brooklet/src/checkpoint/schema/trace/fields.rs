//! Named fields: which names are one field, which may be left out, whether others are taken.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::super::ty::Ty;
use super::error::Stop;
use super::probe::Probe;
use super::search::{Goal, Search, Spot, Step};
use super::seen::{self, FieldSeen, FieldsSeen};

/// A name that no field has.
const UNKNOWN_NAME: &str = "\u{1}no field has this name";

impl FieldsSeen {
    pub fn new(names: &'static [&'static str]) -> FieldsSeen {
        let field = |name| FieldSeen { names: vec![name], ty: Ty::Unknown, default: false };
        FieldsSeen { groups: names.iter().copied().map(field).collect(), closed: false }
    }

    /// The visitor says that the name at `at` is a second one of the field `of`. Names of one field stand
    /// together, in any order.
    fn is_alias(&mut self, at: usize, of: &str) -> bool {
        let same = match self.groups.iter().position(|g| g.names.contains(&of)) {
            Some(before) if before < at => before,
            Some(_) if at > 0 => at - 1,
            _ => return false,
        };
        let mut alias = self.groups.remove(at);
        let field = &mut self.groups[same];
        // The error has the name of the field itself, which comes first.
        if alias.names[0] == of {
            std::mem::swap(&mut alias.names, &mut field.names);
        }
        field.names.append(&mut alias.names);
        true
    }
}

/// Gives a visitor all fields of `spot`, but for the pass's goal.
pub(super) fn read_fields<'de, V: Visitor<'de>>(
    search: &mut Search,
    spot: Spot,
    v: V,
) -> Result<V::Value, Stop> {
    let Some(fields) = search.fields(spot) else {
        return Err(Stop::Varies("a variant changed its form".to_string()));
    };
    let names: Vec<&'static str> = fields.groups.iter().map(|g| g.names[0]).collect();
    let (mut skip, mut add) = (None, false);
    if search.is_goal(spot) {
        match search.goal() {
            Some(Goal::Without(_, field)) => skip = Some(field),
            Some(Goal::Unknown(_)) => add = true,
            _ => {}
        }
    }
    let mut given = Given { search, spot, names: &names, next: 0, skip, add, unknown: false };
    let made = v.visit_map(&mut given);
    let (next, unknown) = (given.next, given.unknown);
    match made {
        Err(Stop::Duplicate(name)) if next > 0 && !unknown => {
            match search.fields(spot).is_some_and(|f| f.is_alias(next - 1, name)) {
                true => Err(Stop::Again),
                false => Err(Stop::Duplicate(name)),
            }
        }
        made => made,
    }
}

/// The fields as a map.
struct Given<'a> {
    search: &'a mut Search,
    spot: Spot,
    names: &'a [&'static str],
    next: usize,
    skip: Option<usize>,
    add: bool,
    /// The last key was the one that no field has.
    unknown: bool,
}

impl<'de> de::MapAccess<'de> for &mut Given<'_> {
    type Error = Stop;

    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        if self.skip == Some(self.next) {
            self.next += 1;
            self.search.hit = true;
        }
        let name = match self.names.get(self.next) {
            Some(name) => {
                self.next += 1;
                *name
            }
            None if std::mem::take(&mut self.add) => {
                self.unknown = true;
                self.search.hit = true;
                UNKNOWN_NAME
            }
            None => return Ok(None),
        };
        seed.deserialize(IntoDeserializer::<Stop>::into_deserializer(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stop> {
        if self.unknown {
            return seed.deserialize(IntoDeserializer::<Stop>::into_deserializer(()));
        }
        let at = self.next - 1;
        self.search.push(Step::Field(self.names[at]));
        let mut ty = Ty::Unknown;
        let made = seed.deserialize(Probe::new(self.search, &mut ty))?;
        let known = self.search.fields(self.spot).and_then(|f| f.groups.get_mut(at));
        if let Some(known) = known {
            seen::merge(&mut known.ty, ty).map_err(Stop::Varies)?;
        }
        self.search.pop();
        Ok(made)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.names.len() - self.next)
    }
}
