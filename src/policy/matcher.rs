//! Paths against patterns, segment by segment from the left: a literal beats `{id}`, which beats `{*rest}`.
//!
//! A tree of ours, because matchit does not take `/products/{id}` beside `/products/{*rest}`.

use std::collections::BTreeMap;

use super::RouteId;

/// A pattern's route, and its number there.
pub(super) type Slot = (RouteId, u16);

/// What may follow the segments that lead here.
#[derive(Clone, Debug, Default)]
pub(super) struct Matcher {
    /// The pattern that ends here.
    end: Option<Slot>,
    literals: BTreeMap<String, Matcher>,
    parameter: Option<Box<Matcher>>,
    remainder: Option<Slot>,
}

impl Matcher {
    /// Adds a pattern that begins with a slash.
    ///
    /// # Errors
    /// The pattern that matches the same paths, if there is one.
    pub fn insert(&mut self, pattern: &str, slot: Slot) -> Result<(), Slot> {
        let mut node = self;
        for segment in pattern.split('/').skip(1).filter(|segment| !segment.is_empty()) {
            if segment.starts_with("{*") {
                return put(&mut node.remainder, slot);
            }
            node = if segment.starts_with('{') {
                node.parameter.get_or_insert_default()
            } else {
                node.literals.entry(segment.to_owned()).or_default()
            };
        }
        put(&mut node.end, slot)
    }

    /// The pattern that matches `path`, and the values of its parameters in order. None is empty.
    pub fn find<'p>(&self, path: &'p str) -> Option<(Slot, Vec<&'p str>)> {
        let rest = path.strip_prefix('/')?;
        let mut values = Vec::new();
        let slot = self.descend((!rest.is_empty()).then_some(rest), &mut values)?;
        Some((slot, values))
    }

    /// Follows what is left of a path; `values` is as it was where nothing matches.
    fn descend<'p>(&self, rest: Option<&'p str>, values: &mut Vec<&'p str>) -> Option<Slot> {
        let Some(rest) = rest else { return self.end };
        let (segment, further) =
            rest.split_once('/').map_or((rest, None), |(segment, further)| (segment, Some(further)));
        let literal = self.literals.get(segment).and_then(|node| node.descend(further, values));
        if literal.is_some() {
            return literal;
        }
        if let Some(node) = self.parameter.as_ref().filter(|_| !segment.is_empty()) {
            values.push(segment);
            let found = node.descend(further, values);
            if found.is_some() {
                return found;
            }
            values.pop();
        }
        let slot = self.remainder.filter(|_| !rest.is_empty())?;
        values.push(rest);
        Some(slot)
    }
}

fn put(place: &mut Option<Slot>, slot: Slot) -> Result<(), Slot> {
    match place {
        Some(there) => Err(*there),
        None => {
            *place = Some(slot);
            Ok(())
        }
    }
}
