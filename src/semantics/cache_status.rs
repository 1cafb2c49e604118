//! How a response came about, in the words of Cache-Status (RFC 9211). The same value is the field, the log line, the
//! metric's label and the dashboard's row.

use std::fmt;

/// What this cache did with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the store; `ttl` in seconds, negative when stale (RFC 9211 §2.1, §2.4).
    Hit { ttl: i64, detail: Option<Detail> },
    /// Went towards the origin.
    Forward(Forwarded),
    /// Answered by the proxy itself: a refusal, an error (no `hit`, no `fwd`).
    Own { detail: Option<Detail> },
}

/// The parameters of a forwarded request (RFC 9211 §2.2, §2.3, §2.5, §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub reason: Forward,
    /// The origin's status, where it answered and it differs from, or explains, ours.
    pub status: Option<u16>,
    pub stored: bool,
    pub collapsed: bool,
    pub detail: Option<Detail>,
}

impl Forwarded {
    /// Forwarded for `reason`, nothing else known yet.
    pub fn because(reason: Forward) -> Self {
        Forwarded { reason, status: None, stored: false, collapsed: false, detail: None }
    }
}

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
}

impl Forward {
    /// Every reason, for metrics.
    pub const ALL: [Forward; 7] = [
        Forward::Bypass,
        Forward::Method,
        Forward::UriMiss,
        Forward::VaryMiss,
        Forward::Miss,
        Forward::Request,
        Forward::Stale,
    ];

    /// The token.
    pub fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
        }
    }
}

macro_rules! details {
    ($($(#[doc = $doc:literal])+ $name:ident = $token:literal,)+) => {
        /// Why, in one word: the closed list of `detail` tokens (RFC 9211 §2.8).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Detail { $($(#[doc = $doc])+ $name,)+ }

        impl Detail {
            /// Every detail, for metrics and documentation.
            pub const ALL: &'static [Detail] = &[$(Detail::$name,)+];

            /// The token, as it stands in the field.
            pub fn as_str(self) -> &'static str {
                match self { $(Detail::$name => $token,)+ }
            }

            /// One sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(Detail::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

details! {
    /// The route is set to `mode = "pass"`, or the request is of a kind that is only passed on.
    Pass = "pass",
    /// The URL streamed or was over `cache.max_body` lately; `cache.pass_for` says how long that is remembered.
    Streaming = "streaming",
    /// The request asked for a protocol upgrade.
    Upgrade = "upgrade",
    /// A GET or HEAD with a body is forwarded and never stored.
    RequestBody = "request-body",
    /// The request asked for a range and nothing complete is stored.
    Range = "range",
    /// A mutation of what this response shows is in flight, or its outcome is not settled yet.
    Mutation = "mutation",
    /// Something was invalidated while the origin was being asked, so the answer was not stored.
    Overtaken = "overtaken",
    /// The stored response was invalidated.
    Invalidated = "invalidated",
    /// The origin has not accepted this credential within `identity.accepted_for`.
    Acceptance = "acceptance",
    /// The origin said `no-store`.
    NoStore = "no-store",
    /// The origin said `no-cache`, so every use is validated.
    NoCache = "no-cache",
    /// The origin said `private` and the route shares among callers.
    Private = "private",
    /// The origin said `must-revalidate` or `proxy-revalidate`, so nothing stale is used.
    MustRevalidate = "must-revalidate",
    /// The response carried Set-Cookie and the route says `set_cookie = "refuse"`.
    SetCookie = "set-cookie",
    /// The response's Vary cannot be matched by any request, or names too many fields.
    Vary = "vary",
    /// The response's status is one that is not stored here.
    Status = "status",
    /// The response says nothing of its freshness and the route has no `fresh`.
    NoLifetime = "no-lifetime",
    /// RFC 9111 §3.5: plain mode stores what was asked with Authorization only where the origin allows it.
    Authorization = "authorization",
    /// The response is longer than `cache.max_body`.
    TooLarge = "too-large",
    /// The response had no end that can be trusted, or did not come whole.
    Incomplete = "incomplete",
    /// The origin told callers of a shared scope different things, so the route keeps its callers apart from here on.
    Diverged = "diverged",
    /// The store is nearly full, so a key is stored from its second request on.
    NearlyFull = "nearly-full",
    /// The origin was asked and its content is what was stored already.
    Unchanged = "unchanged",
    /// Stale, served while a background fetch renews it.
    StaleWhileRevalidate = "stale-while-revalidate",
    /// Stale, served because the origin failed.
    StaleIfError = "stale-if-error",
    /// The client asked for a reload; the origin was asked for this key less than a second ago.
    ReloadLimited = "reload-limited",
    /// The client said `only-if-cached` and nothing usable is stored.
    OnlyIfCached = "only-if-cached",
    /// No connection to the origin could be made.
    Connect = "connect",
    /// The origin did not answer in time.
    Timeout = "timeout",
    /// The origin's answer broke HTTP, or the connection broke.
    Protocol = "protocol",
    /// `origin.max_concurrent` requests were under way for the whole deadline.
    Saturated = "saturated",
    /// The mutation's precondition was evaluated here: what its client has seen is not what there is, or is not said.
    Precondition = "precondition",
    /// The request was refused before it was forwarded.
    Refused = "refused",
    /// A mutation that matches no route.
    Unrouted = "unrouted",
}

impl fmt::Display for CacheStatus {
    /// The member of the list, beginning with this cache's name (RFC 9211 §2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("freshgate")?;
        let detail = match self {
            CacheStatus::Hit { ttl, detail } => {
                write!(f, "; hit; ttl={ttl}")?;
                detail
            }
            CacheStatus::Forward(Forwarded { reason, status, stored, collapsed, detail }) => {
                write!(f, "; fwd={}", reason.as_str())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if *stored {
                    f.write_str("; stored")?;
                }
                if *collapsed {
                    f.write_str("; collapsed")?;
                }
                detail
            }
            CacheStatus::Own { detail } => detail,
        };
        match detail {
            Some(detail) => write!(f, "; detail={}", detail.as_str()),
            None => Ok(()),
        }
    }
}
