//! What a route's owner decided of validators (RFC 9110 §8.8).

/// Whether a response to which the origin gave no validators gets any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validators {
    /// Computed from the content.
    Add,
    /// None but the origin's own.
    Origin,
}

impl Validators {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Validators::Add => "add",
            Validators::Origin => "origin",
        }
    }
}

/// `[route.etag]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Etag {
    /// Whether a computed entity-tag replaces the origin's: the table is there.
    pub replace: bool,
    /// JSON pointers (RFC 6901) left out of the hash; where not empty, the entity-tag is weak.
    pub ignore: Vec<String>,
    /// Response fields hashed beside the body; lower-case.
    pub fields: Vec<String>,
}

/// `[route.last_modified]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastModified {
    /// The name of the JSON member that holds a time, anywhere in the body; empty: none.
    pub field: String,
    /// An IANA zone name for texts that carry none; empty: such texts are not read.
    pub zone: String,
}
