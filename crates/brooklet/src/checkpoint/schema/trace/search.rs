//! What is known of a type so far, and the choices of the running pass.

use std::collections::HashMap;

use super::error::Stop;
use super::menu::Menu;
use super::seen::{DefSeen, FieldsSeen, FormSeen, KindSeen, VariantSeen, merge_form};

/// Definitions one inside the other; deeper is taken for a type without end.
const MAX_DEPTH: usize = 100;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Any value.
    Any,
    /// This variant of this enum.
    Variant(usize, usize),
    /// Empty, zero and `None` wherever possible; with this variant.
    Low(Option<(usize, usize)>),
    /// Without this field.
    Without(Spot, usize),
    /// With an unknown field.
    Unknown(Spot),
}

impl Goal {
    /// Whether a refusal says what the pass was for, so that no other value has to be tried.
    pub fn refusal_is_answer(self) -> bool {
        matches!(self, Goal::Without(..) | Goal::Unknown(_))
    }

    /// Whether the type needn't have such a value.
    pub fn may_be_refused(self) -> bool {
        self.refusal_is_answer() || matches!(self, Goal::Low(_))
    }
}

/// Something with named fields: a struct, or a struct variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub def: usize,
    pub variant: Option<usize>,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Field(&'static str),
    Variant(&'static str),
    Index(usize),
    Element,
    Key,
    Value,
}

/// A definition that is being read.
struct Frame {
    def: usize,
    variant: Option<usize>,
    /// It was chosen, not asked for.
    free: bool,
    recursive: bool,
    /// Where in the path it began.
    path: usize,
}

/// What tells one definition from another: the visitor's type, the name, the names inside.
type Identity = (&'static str, &'static str, &'static [&'static str]);

#[derive(Default)]
pub(super) struct Search {
    pub defs: Vec<DefSeen>,
    ids: HashMap<Identity, usize>,
    pub menu: Menu,
    pub passes: usize,
    /// The pass has come to its goal.
    pub hit: bool,
    goal: Option<Goal>,
    forced: HashMap<usize, usize>,
    stack: Vec<Frame>,
    path: Vec<Step>,
    root_name: Option<&'static str>,
}

impl Search {
    pub fn begin(&mut self, goal: Goal) {
        let (def, variant) = match goal {
            Goal::Any | Goal::Low(None) => (None, None),
            Goal::Variant(d, v) | Goal::Low(Some((d, v))) => (Some(d), Some(v)),
            Goal::Without(spot, _) | Goal::Unknown(spot) => (Some(spot.def), spot.variant),
        };
        self.forced = def.map_or_else(HashMap::new, |d| self.defs[d].route.clone());
        if let (Some(d), Some(v)) = (def, variant) {
            self.forced.insert(d, v);
        }
        self.goal = Some(goal);
        self.hit = false;
        self.menu.begin();
        self.stack.clear();
        self.path.clear();
    }

    /// The definition that a visitor of this type reads.
    pub fn def<V>(
        &mut self,
        name: &'static str,
        inside: &'static [&'static str],
        kind: impl FnOnce() -> KindSeen,
    ) -> usize {
        if self.path.is_empty() && self.stack.is_empty() {
            self.root_name = Some(name);
        }
        let id = (std::any::type_name::<V>(), name, inside);
        if let Some(def) = self.ids.get(&id) {
            return *def;
        }
        let route = self.stack.iter().filter_map(|f| Some((f.def, f.variant?))).collect();
        self.defs.push(DefSeen { name, kind: kind(), route, good: None, avoid: vec![] });
        self.ids.insert(id, self.defs.len() - 1);
        self.defs.len() - 1
    }

    fn on_stack(&self, def: usize) -> bool {
        self.stack.iter().any(|f| f.def == def)
    }

    pub fn enter(&mut self, def: usize, variant: Option<usize>) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Stop::Endless);
        }
        let recursive = self.on_stack(def);
        let free = variant.is_some() && (recursive || !self.forced.contains_key(&def));
        self.stack.push(Frame { def, variant, free, recursive, path: self.path.len() });
        Ok(())
    }

    pub fn leave(&mut self) {
        self.stack.pop();
    }

    /// Inside a recursive definition everything that may be empty is.
    pub fn cut(&self) -> bool {
        self.low() || self.recursing()
    }

    fn recursing(&self) -> bool {
        self.stack.iter().any(|f| f.recursive)
    }

    pub fn low(&self) -> bool {
        matches!(self.goal, Some(Goal::Low(_)))
    }

    /// The variant to read next.
    pub fn choose(&self, def: usize) -> Result<usize, Stop> {
        let KindSeen::Enum(variants) = &self.defs[def].kind else { return Err(Stop::Endless) };
        if let (Some(forced), false) = (self.forced.get(&def), self.on_stack(def)) {
            return Ok(*forced);
        }
        let seen = &self.defs[def];
        let being_read = |v: usize| self.stack.iter().any(|f| (f.def, f.variant) == (def, Some(v)));
        seen.good
            .or_else(|| (0..variants.len()).find(|v| !seen.avoid.contains(v) && !being_read(*v)))
            .ok_or(Stop::Endless)
    }

    /// A value of this variant was made.
    pub fn completed(
        &mut self,
        def: usize,
        variant: usize,
        form: FormSeen,
        id: (u64, u64),
    ) -> Result<(), Stop> {
        let cut = self.cut();
        let recursive = self.on_stack(def);
        if self.goal == Some(Goal::Variant(def, variant)) && !recursive {
            self.hit = true;
        }
        let seen = &mut self.defs[def];
        seen.good = seen.good.or(Some(variant));
        if let KindSeen::Enum(variants) = &mut seen.kind
            && let Some(v) = variants.get_mut(variant)
        {
            v.id = id;
            v.tried |= !cut && !recursive;
            merge_form(&mut v.form, form).map_err(Stop::Varies)?;
        }
        Ok(())
    }

    /// After a loop: gives up the innermost choice that may be given up. `false` when there is none.
    pub fn avoid_last_choice(&mut self) -> bool {
        for frame in self.stack.iter().rev() {
            let (Some(variant), true) = (frame.variant, frame.free) else { continue };
            let seen = &mut self.defs[frame.def];
            if seen.good.is_none() && !seen.avoid.contains(&variant) {
                seen.avoid.push(variant);
                return true;
            }
        }
        false
    }

    /// After a refusal: another value for the leaf read last. `false` when all were tried.
    pub fn next_value(&mut self) -> bool {
        let low = self.low();
        self.menu.next(low)
    }

    /// The place in a list of values for the leaf being read.
    pub fn leaf(&mut self, n: usize, low: usize) -> usize {
        let (def, from) = self.stack.last().map_or((usize::MAX, 0), |f| (f.def, f.path));
        let low = self.low().then_some(low);
        self.menu.pick((def, self.path[from..].to_vec()), n, low)
    }

    /// Whether the goal is about the fields being read here, and not about those of a recursion.
    pub fn is_goal(&self, spot: Spot) -> bool {
        !self.recursing()
            && matches!(self.goal, Some(Goal::Without(s, _) | Goal::Unknown(s)) if s == spot)
    }

    pub fn goal(&self) -> Option<Goal> {
        self.goal
    }

    pub fn push(&mut self, step: Step) {
        self.path.push(step);
    }

    pub fn pop(&mut self) {
        self.path.pop();
    }

    pub fn fields(&mut self, spot: Spot) -> Option<&mut FieldsSeen> {
        match (&mut self.defs[spot.def].kind, spot.variant) {
            (KindSeen::Struct(fields), None) => Some(fields),
            (KindSeen::Enum(variants), Some(v)) => match &mut variants.get_mut(v)?.form {
                FormSeen::Struct(fields) => Some(fields),
                _ => None,
            },
            _ => None,
        }
    }

    /// Notes that a variant has named fields.
    pub fn variant_has_fields(&mut self, spot: Spot, new: impl FnOnce() -> FieldsSeen) {
        if let (KindSeen::Enum(variants), Some(v)) = (&mut self.defs[spot.def].kind, spot.variant)
            && let form @ FormSeen::Unknown = &mut variants[v].form
        {
            *form = FormSeen::Struct(new());
        }
    }

    pub fn set_default(&mut self, spot: Spot, field: usize, default: bool) {
        if let Some(f) = self.fields(spot).and_then(|fs| fs.groups.get_mut(field)) {
            f.default = default;
        }
    }

    pub fn set_closed(&mut self, spot: Spot, closed: bool) {
        if let Some(fields) = self.fields(spot) {
            fields.closed = closed;
        }
    }

    /// A variant that no value has had yet.
    pub fn untried(&self) -> Option<(usize, usize)> {
        self.variants().find(|(_, _, v)| !v.tried).map(|(d, i, _)| (d, i))
    }

    fn variants(&self) -> impl Iterator<Item = (usize, usize, &VariantSeen)> {
        self.defs.iter().enumerate().flat_map(|(d, def)| {
            let variants = match &def.kind {
                KindSeen::Enum(variants) => &variants[..],
                KindSeen::Struct(_) => &[],
            };
            variants.iter().enumerate().map(move |(i, v)| (d, i, v))
        })
    }

    pub fn low_goals(&self) -> Vec<Goal> {
        let variants = self.variants().map(|(d, i, _)| Goal::Low(Some((d, i))));
        std::iter::once(Goal::Low(None)).chain(variants).collect()
    }

    pub fn all_spots(&self) -> Vec<Spot> {
        let structs = self.defs.iter().enumerate().filter_map(|(def, d)| {
            matches!(d.kind, KindSeen::Struct(_)).then_some(Spot { def, variant: None })
        });
        let variants = self.variants().filter_map(|(def, i, v)| {
            matches!(v.form, FormSeen::Struct(_)).then_some(Spot { def, variant: Some(i) })
        });
        structs.chain(variants).collect()
    }

    pub fn all_fields(&mut self) -> Vec<(Spot, usize)> {
        let mut all = vec![];
        for spot in self.all_spots() {
            let n = self.fields(spot).map_or(0, |f| f.groups.len());
            all.extend((0..n).map(|i| (spot, i)));
        }
        all
    }

    /// Where the pass was, or has ended.
    pub fn path(&self) -> String {
        let mut text = self.root_name.unwrap_or("value").to_string();
        for step in &self.path {
            match step {
                Step::Field(name) => text += &format!(".{name}"),
                Step::Variant(name) => text += &format!("::{name}"),
                Step::Index(i) => text += &format!(".{i}"),
                Step::Element => text += "[]",
                Step::Key => text += "{key}",
                Step::Value => text += "{value}",
            }
        }
        text
    }

    pub fn variant_path(&self, def: usize, variant: usize) -> String {
        match &self.defs[def].kind {
            KindSeen::Enum(vs) => format!("{}::{}", self.defs[def].name, vs[variant].name),
            KindSeen::Struct(_) => self.defs[def].name.to_string(),
        }
    }

    pub fn spot_path(&self, spot: Spot) -> String {
        spot.variant.map_or_else(
            || self.defs[spot.def].name.to_string(),
            |v| self.variant_path(spot.def, v),
        )
    }
}
