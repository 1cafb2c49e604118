//! What happened in one race, in one order, and the judge of it. The origin numbers its versions and writes into each
//! body for whom it is, so that whatever a client gets says when it was read, and for whom.

use std::fmt;

/// Who asks; what tells callers apart is the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Nobody,
    Alice,
    Bob,
}

impl Caller {
    const ALL: [Caller; 3] = [Caller::Nobody, Caller::Alice, Caller::Bob];

    fn name(self) -> &'static str {
        match self {
            Caller::Nobody => "nobody",
            Caller::Alice => "alice",
            Caller::Bob => "bob",
        }
    }

    fn named(name: &str) -> Option<Caller> {
        Caller::ALL.into_iter().find(|caller| caller.name() == name)
    }

    /// The field that a request of this caller has.
    pub fn credential(self) -> Option<String> {
        (self != Caller::Nobody).then(|| format!("Authorization: Bearer {}", self.name()))
    }

    /// The caller of a request whose Authorization is `field`.
    pub fn of(field: Option<&str>) -> Caller {
        field.and_then(|value| Caller::named(value.strip_prefix("Bearer ")?)).unwrap_or(Caller::Nobody)
    }
}

/// What the origin says to one caller at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Representation {
    pub version: u64,
    pub caller: Caller,
}

impl Representation {
    pub fn body(self) -> String {
        let filler = "x".repeat(80);
        format!(r#"{{"version":{},"for":"{}","filler":"{filler}","end":true}}"#, self.version, self.caller.name())
    }

    pub fn entity_tag(self) -> String {
        format!("\"v{}-{}\"", self.version, self.caller.name())
    }

    /// The one whose body this is, whole.
    pub fn of(body: &[u8]) -> Option<Representation> {
        let text = std::str::from_utf8(body).ok()?;
        let (version, rest) = text.strip_prefix(r#"{"version":"#)?.split_once(r#","for":""#)?;
        let (caller, _) = rest.split_once('"')?;
        let representation = Representation { version: version.parse().ok()?, caller: Caller::named(caller)? };
        (representation.body() == text).then_some(representation)
    }
}

impl fmt::Display for Representation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.caller {
            Caller::Nobody => write!(f, "version {}", self.version),
            caller => write!(f, "version {} for {}", self.version, caller.name()),
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Write,
    /// A GET; if the caller knows a representation, with its entity-tag as If-None-Match.
    Read {
        caller: Caller,
        known: Option<Representation>,
    },
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A 200 that says it is complete, and is.
    Whole(Representation),
    /// A 200 that says it is complete, and is not what the origin ever meant to say.
    Part {
        octets: usize,
    },
    NotModified,
    /// Any other status.
    Status(u16),
    /// No response, or one that shows that it is incomplete.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Sends {
        client: usize,
        ask: Ask,
    },
    /// The origin was asked and has read what it will say.
    Reads(Representation),
    /// The origin has applied a mutation.
    Changes {
        version: u64,
    },
    /// What the origin had read now leaves it.
    Answers(Representation),
    /// The origin ends the connection in the middle of a body.
    Cuts,
    Gets {
        client: usize,
        got: Got,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Sends { client, ask: Ask::Write } => write!(f, "client {client}  PUT"),
            Event::Sends { client, ask: Ask::Read { caller, known } } => {
                write!(f, "client {client}  GET")?;
                if *caller != Caller::Nobody {
                    write!(f, " as {}", caller.name())?;
                }
                known.map_or(Ok(()), |known| write!(f, ", If-None-Match: {}", known.entity_tag()))
            }
            Event::Reads(representation) => write!(f, "origin    reads {representation}"),
            Event::Changes { version } => write!(f, "origin    changes to version {version}"),
            Event::Answers(representation) => write!(f, "origin    answers with {representation}"),
            Event::Cuts => write!(f, "origin    cuts the body"),
            Event::Gets { client, got } => match got {
                Got::Whole(representation) => write!(f, "client {client}  200, {representation}"),
                Got::Part { octets } => write!(f, "client {client}  200 that looks complete, {octets} octets of it"),
                Got::NotModified => write!(f, "client {client}  304"),
                Got::Status(status) => write!(f, "client {client}  {status}"),
                Got::Broken => write!(f, "client {client}  no whole response"),
            },
        }
    }
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Stale,
    Leak,
    Truncated,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Stale => "STALE",
            Fault::Leak => "LEAK",
            Fault::Truncated => "TRUNCATED",
        })
    }
}

/// The first thing that must not have happened, and what led to it. A client that asks after a mutation was acknowledged
/// sees that version or a later one; it sees what the origin said to its own caller; and what it takes for complete is.
/// A 304 counts as the representation that it names.
pub fn judge(history: &[Event]) -> Option<(Fault, &[Event])> {
    history.iter().enumerate().find_map(|(at, event)| {
        let Event::Gets { client, got } = *event else { return None };
        let (sent, ask) = sent_by(client, history)?;
        let Ask::Read { caller, known } = ask else { return None };
        let shown = match got {
            Got::Whole(shown) => shown,
            Got::NotModified => known?,
            Got::Part { .. } => return Some((Fault::Truncated, &history[..=at])),
            Got::Status(_) | Got::Broken => return None,
        };
        let fault = if shown.caller != caller {
            Fault::Leak
        } else if shown.version < acknowledged(&history[..sent]) {
            Fault::Stale
        } else {
            return None;
        };
        Some((fault, &history[..=at]))
    })
}

/// When a client sent its request, and what it was.
fn sent_by(client: usize, history: &[Event]) -> Option<(usize, Ask)> {
    history.iter().enumerate().find_map(|(at, event)| match event {
        Event::Sends { client: sender, ask } if *sender == client => Some((at, *ask)),
        _ => None,
    })
}

/// The latest version that a writer has been told of.
fn acknowledged(before: &[Event]) -> u64 {
    let told = before.iter().filter_map(|event| match event {
        Event::Gets { client, got: Got::Whole(told) } => {
            sent_by(*client, before).filter(|(_, ask)| *ask == Ask::Write).map(|_| told.version)
        }
        _ => None,
    });
    told.max().unwrap_or(0)
}
