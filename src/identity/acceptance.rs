//! The origin's word on a credential: accepted when it last answered a GET or HEAD of that caller with 200–206 or 304.

use crate::clock::Timestamp;
use crate::semantics::request::CallerKey;
use std::time::Duration;

/// Callers that are remembered; one more forgets the least recently seen, who is then asked about again.
const CALLERS: u64 = 100_000;

/// When each caller was last accepted.
pub struct Acceptances {
    /// Boot time in milliseconds.
    accepted: moka::sync::Cache<[u8; 16], u64>,
}

impl Default for Acceptances {
    fn default() -> Self {
        Acceptances { accepted: moka::sync::Cache::new(CALLERS) }
    }
}

impl Acceptances {
    /// The origin accepted the caller's credential.
    pub fn accept(&self, caller: CallerKey, now: Timestamp) {
        if let Some(caller) = caller {
            self.accepted.insert(caller, now.boot_ms);
        }
    }

    /// The origin said 401: whatever it accepted before is over.
    pub fn revoke(&self, caller: CallerKey) {
        if let Some(caller) = caller {
            self.accepted.invalidate(&caller);
        }
    }

    /// Whether the origin accepted the caller within `within`. A caller without credentials has none to accept.
    pub fn holds(&self, caller: CallerKey, within: Duration, now: Timestamp) -> bool {
        let Some(caller) = caller else { return true };
        let Some(at) = self.accepted.get(&caller) else { return false };
        Duration::from_millis(now.boot_ms.saturating_sub(at)) < within
    }
}
