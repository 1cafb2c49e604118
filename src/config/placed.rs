//! Values that know where in the file they stand, so that a problem with one can point at it.

use super::error::Place;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

/// What the file says under one key.
#[derive(Clone, Debug, Default)]
pub(super) enum Key<T> {
    #[default]
    Absent,
    /// Something that does not fit; the problem is noted already, and what depends on it is not complained about.
    Unreadable,
    Said(At<T>),
}

impl<T> Key<T> {
    pub fn said(&self) -> Option<&At<T>> {
        match self {
            Key::Said(at) => Some(at),
            _ => None,
        }
    }

    pub fn value(&self) -> Option<&T> {
        self.said().map(|at| &at.value)
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Key::Absent)
    }
}

pub(super) type Text = At<String>;
