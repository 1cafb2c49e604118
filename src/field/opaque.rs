//! The octets of an opaque-tag (RFC 9110 §8.8.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Opaque octets. Those of most entity-tags, the computed ones too, stand in place: they take no memory of their own, and
/// a copy of them takes no count.
#[derive(Clone)]
pub struct Opaque(Octets);

#[derive(Clone)]
enum Octets {
    Short { length: u8, octets: [u8; SHORT] },
    Long(Arc<[u8]>),
}

const SHORT: usize = 30;

impl Opaque {
    /// How many bytes they take beside this.
    pub fn apart(&self) -> usize {
        match &self.0 {
            Octets::Short { .. } => 0,
            Octets::Long(octets) => 2 * size_of::<usize>() + octets.len(),
        }
    }
}

impl<O: AsRef<[u8]>> From<O> for Opaque {
    fn from(from: O) -> Self {
        let from = from.as_ref();
        let mut octets = [0; SHORT];
        match (octets.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(from);
                Opaque(Octets::Short { length, octets })
            }
            _ => Opaque(Octets::Long(from.into())),
        }
    }
}

impl Deref for Opaque {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Octets::Short { length, octets } => &octets[..usize::from(*length)],
            Octets::Long(octets) => octets,
        }
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Opaque {}

impl Hash for Opaque {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_what_they_were_however_many_there_are() {
        for length in 0..300 {
            let octets: Vec<u8> = (0..=255).cycle().take(length).collect();
            let opaque = Opaque::from(&octets);
            assert_eq!(*opaque, octets);
            assert_eq!(opaque.clone(), opaque);
            assert_ne!(opaque, Opaque::from([&octets[..], b"x"].concat()));
        }
    }

    #[test]
    fn those_that_are_computed_stand_in_place() {
        assert_eq!(Opaque::from("fg1-AAAAAAAAAAAAAAAAAAAAAA-br1").apart(), 0);
        assert_eq!(Opaque::from("x".repeat(100)).apart(), 116);
        assert!(size_of::<Opaque>() <= 32);
    }
}
