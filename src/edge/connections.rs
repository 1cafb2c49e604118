//! What became of clients' connections, as far as no exchange tells it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident = $token:literal,)+) => {
        /// What happened to a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[doc = $doc])+ $name,)+ }

        impl Event {
            /// Every event, for metrics.
            pub const ALL: &'static [Event] = &[$(Event::$name,)+];

            /// The label.
            pub fn as_str(self) -> &'static str {
                match self { $(Event::$name => $token,)+ }
            }
        }
    };
}

events! {
    /// It was opened, and there was room for it.
    Opened = "opened",
    /// It was closed at once: `server.limits.connections` were open already.
    NoRoom = "no-room",
    /// TLS did not come about, or took longer than `server.limits.header_timeout`.
    NoTls = "no-tls",
    /// It was closed because nothing was asked on it: for `server.limits.idle_timeout`, or from its beginning for
    /// `server.limits.header_timeout`.
    Idle = "idle",
}

/// How often each [`Event`] happened.
#[derive(Debug)]
pub struct Connections([AtomicU64; Event::ALL.len()]);

impl Default for Connections {
    fn default() -> Self {
        Connections([const { AtomicU64::new(0) }; Event::ALL.len()])
    }
}

impl Connections {
    /// Counts one.
    pub fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Relaxed);
    }

    /// All of them, by label.
    pub fn read(&self) -> BTreeMap<String, u64> {
        Event::ALL.iter().zip(&self.0).map(|(event, n)| (event.as_str().to_owned(), n.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_own_counter() {
        let connections = Connections::default();
        connections.count(Event::Opened);
        connections.count(Event::Idle);
        connections.count(Event::Idle);
        let read: Vec<_> = connections.read().into_iter().collect();
        let expected = [("idle", 2), ("no-room", 0), ("no-tls", 0), ("opened", 1)];
        assert_eq!(read, expected.map(|(label, n)| (label.to_owned(), n)));
    }
}
