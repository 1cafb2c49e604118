//! What a client is told when the origin gives nothing that could be passed on.

use super::OriginErrorKind;
use crate::semantics::cache_status::Detail;

/// Status and sentence for a failure of the origin (RFC 9110 §15.6.3 to §15.6.5).
pub fn answer(kind: OriginErrorKind) -> (u16, &'static str) {
    match kind {
        OriginErrorKind::Connect => (502, "The origin cannot be reached."),
        OriginErrorKind::Protocol | OriginErrorKind::BrokenOff => (502, "The origin's answer did not come whole."),
        OriginErrorKind::Timeout | OriginErrorKind::Stalled => (504, "The origin did not answer in time."),
        OriginErrorKind::Saturated => (503, "The origin is busy; try again."),
    }
}

/// The same failure in the words of Cache-Status.
pub fn detail(kind: OriginErrorKind) -> Detail {
    match kind {
        OriginErrorKind::Connect => Detail::Connect,
        OriginErrorKind::Timeout | OriginErrorKind::Stalled => Detail::Timeout,
        OriginErrorKind::Protocol | OriginErrorKind::BrokenOff => Detail::Protocol,
        OriginErrorKind::Saturated => Detail::Saturated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(answer(OriginErrorKind::Connect).0, 502);
        assert_eq!(answer(OriginErrorKind::Protocol).0, 502);
        assert_eq!(answer(OriginErrorKind::Timeout).0, 504);
        assert_eq!(answer(OriginErrorKind::Saturated).0, 503);
    }
}
