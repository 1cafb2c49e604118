//! Where the two disagree: every class of disagreement there is, each settled by the clause that says who is right.
//!
//! A [`Rule`] is a correction of the library, as small as it can be: of what it is told (a message in the form that it
//! reads as the RFC means it) or of what is made of its answer. With all of them it must agree with freshgate to the
//! letter; each without which it still would is a rule too many.

/// One class of disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    // The library reads fields as they are not meant.
    /// "Cache directives are identified by a token, to be compared case-insensitively" (RFC 9111 §5.2). The library
    /// knows lower case only, and takes `No-Store` for an extension.
    LetterCase,
    /// `cache-directive = token [ "=" ( token / quoted-string ) ]` (RFC 9111 §5.2): a comma inside a quoted-string
    /// separates nothing (RFC 9110 §5.6.4). The library finds a `max-age` inside of an extension's value.
    QuotedComma,
    /// `delta-seconds = 1*DIGIT` (RFC 9111 §1.2.2). The library reads `+60`.
    Digits,
    /// The grammar of RFC 9111 §5.2 has no white space around `=`, and "caches are encouraged to consider responses that
    /// have invalid freshness information to be stale" (§4.2.1). The library reads `max-age = 60`.
    Spaces,
    /// "If the max-age response directive is present, use its value" (RFC 9111 §4.2.1): without an argument it is invalid
    /// freshness information, and the response stale. The library goes on to Expires and to heuristics.
    WithoutArgument,
    /// "If a cache receives a delta-seconds value greater than the greatest integer it can represent … the cache MUST
    /// consider the value to be 2147483648 (2^31) or the greatest positive integer it can conveniently represent"
    /// (RFC 9111 §1.2.2). The library takes what is too large for zero, and shows ages beyond 2^31.
    Overflow,
    /// "… a cache encountering a message with a list-based Age field value SHOULD use the first member of the field value,
    /// discarding subsequent ones" (RFC 9111 §5.1). The library ignores the whole list.
    AgeList,
    /// "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats" (RFC 9110
    /// §5.6.7). The library reads one.
    ObsoleteDates,
    /// IMF-fixdate ends in `GMT` (RFC 9110 §5.6.7), and "a cache recipient MUST interpret invalid date formats … as
    /// representing a time in the past" (RFC 9111 §5.3). The library reads any date of an e-mail, `+0000` too.
    StrictDates,
    /// "An origin server with a clock MUST NOT generate a Last-Modified date that is later than the server's time of
    /// message origination" (RFC 9110 §8.8.2.1). The library sends it back; freshgate takes it for none.
    AbsurdDate,
    /// Of two Expires lines nobody knows which is meant: "either the first occurrence should be used or the response
    /// should be considered stale" (RFC 9111 §4.2.1). Both are right: the library uses the first.
    ExpiresTwice,
    /// The same clause of directives: freshgate uses the first, the library does so too but adds `must-revalidate`. That
    /// one lets a response to Authorization be stored (§3.5), which none of the two values did: freshgate is right.
    Repeated,
    /// `entity-tag = [ weak ] opaque-tag` in double quotes, once (RFC 9110 §8.8.3). The library sends whatever stands in
    /// the first ETag line back to the origin.
    NoEntityTag,
    /// `Vary = #( "*" / field-name )` (RFC 9110 §12.5.5): of what is no field name nobody can say that "those presented
    /// match" (RFC 9111 §4). The library takes a field that cannot exist to be absent from both requests.
    VaryNoFieldName,
    /// "The header fields from two requests are defined to match if and only if those in the first request can be
    /// transformed to those in the second request by … adding or removing whitespace …, combining multiple header field
    /// lines …, normalizing both header field values in a way that is known to have identical semantics … (e.g., …
    /// case-normalization, where values are defined to be case-insensitive)" (RFC 9111 §4.1). The library compares the first line to the letter; where a second one differs, what it
    /// takes for a match is none.
    SelectingFields,
    /// "… the meaning of "Pragma: no-cache" in responses was never specified" (RFC 9111 §5.4). The library heeds it; it
    /// only validates more often than it has to.
    PragmaInResponses,
    /// "When the Cache-Control header field is also present and understood in a request, Pragma is ignored" (RFC 7234
    /// §5.4). The library heeds it all the same, and validates more often than it has to.
    PragmaBesideCacheControl,
    /// "The cache MUST select the first (in target-list order) field with a valid, non-empty value and use its value to
    /// determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires header fields in that
    /// response" (RFC 9213 §2.2). The library knows no target; it may, since no cache has to have a target list.
    Targeted,

    // The library decides otherwise what may be stored.
    /// "the response status code is final" is all that RFC 9111 §3 asks of a status without must-understand: any may be
    /// stored with explicit freshness. The library holds to the list of RFC 7234 §3, "understood by the cache"; it may,
    /// since no cache has to store.
    AnyFinalStatus,
    /// "When a cache that implements the must-understand directive receives a response that includes it, the cache SHOULD
    /// ignore the no-store directive if it understands and implements the status code's caching requirements" (RFC 9111
    /// §5.2.2.3), and stores no status that it does not understand (§3). The library knows no such directive.
    MustUnderstand,
    /// "Note that the Set-Cookie response header field does not inhibit caching" (RFC 9111 §7.3), nor need anything be
    /// stored: both may. Freshgate does not store it (P2, "Never another's data"); the library stores it, and validates it
    /// each time except with public or immutable.
    SetCookie,
    /// "A stored response with a Vary header field value containing a member '*' always fails to match" (RFC 9111 §4.1):
    /// whether it is stored nobody can see. Freshgate does not.
    VaryAny,
    /// "The response to a HEAD request is cacheable" (RFC 9110 §9.3.2): the library stores it for other HEAD requests.
    /// Both may; in freshgate a HEAD that misses is passed on as it came.
    HeadIsNotStored,
    /// A response that is not stored says nothing about those that are: both may be right to use an older one that is
    /// fresh. Freshgate forgets it where the newer one forbids storing: it would be served although the origin has said
    /// something else since (RFC 9111 §4: "a cache MUST use the most recent one").
    RefusalEndsTheOlder,
    /// RFC 9111 §4.1 lets each stored response be selected by its own Vary. Freshgate keeps variants apart by every
    /// field that any response of the URL has named, so that a new name makes it ask again; nothing requires reuse.
    VaryIsLearned,
    /// RFC 9111 §3.5 lets a shared cache use what a caller was told for any other. Freshgate keeps callers apart, and
    /// answers one with credentials out of the store only after the origin has accepted them (P2, scope `user`).
    CallersApart,

    // The library reckons age and lifetime otherwise.
    /// "The corrected_age_value MAY be used as the corrected_initial_age", or "more conservatively" the greater of it and
    /// `apparent_age = max(0, response_time - date_value)` (RFC 9111 §4.2.3): both may. The library leaves Date out.
    ApparentAge,
    /// "corrected_age_value = age_value + response_delay" (RFC 9111 §4.2.3). The library leaves the delay out.
    ResponseDelay,
    /// "The current_age of a stored response can then be calculated by adding the time (in seconds) since the stored
    /// response was last validated by the origin server to the corrected_initial_age" (RFC 9111 §4.2.3): that is how long
    /// it has really been. A cache that gives the library the wall clock ages or revives what is stored when that jumps.
    ClockCorrected,
    /// "… once the response has become stale, a shared cache MUST NOT reuse that response" (RFC 9111 §5.2.2.8). In the
    /// library it is never fresh; it only asks more often than it has to.
    ProxyRevalidate,
    /// immutable is about "the freshness lifetime of the response" that other fields give (RFC 8246 §2), and gives none.
    /// The library makes one of a day, of nothing that the origin said. While that lifetime lasts, "proxies SHOULD skip
    /// conditionally revalidating fresh responses containing the immutable extension unless there is a signal from the
    /// client that a validation is necessary (e.g., a no-cache Cache-Control request directive …)": a max-age, which says
    /// what "the client prefers" (RFC 9111 §5.2.1.1) and stands in every reload, is none to freshgate; the library asks.
    Immutable,
    /// "… a response that has exceeded its freshness lifetime by no more than the specified number of seconds" (RFC 9111
    /// §5.2.1.2). The library takes less than that number; at the very second it asks, as it may.
    MaxStaleBound,
    /// "If no value is assigned to max-stale, then the client will accept a stale response of any age" (RFC 9111
    /// §5.2.1.2). One that cannot be read is not no value; the library takes it for that.
    UnreadableMaxStale,
    /// "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive (e.g., by a
    /// no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or proxy-revalidate
    /// response directive)" (RFC 9111 §4.2.4). The library heeds must-revalidate alone, and lets max-stale outrank the
    /// others.
    NeverStale,
    /// "The presence of an Age header field implies that the response was not generated or validated by the origin server
    /// for this request" (RFC 9111 §5.1). After a validation the library shows one all the same.
    AgeAfterValidation,
    /// The Age of a response that came from another cache has grown by the time it took to come, and the Date may say
    /// more (RFC 9111 §4.2.3, §5.1). A cache built on the library, which says nothing here, passes it on as it came.
    AgeOfWhatCame,

    // The library answers and validates otherwise.
    /// "the request method associated with the stored response allows it to be used for the presented request" (RFC 9111
    /// §4): GET "and a cache MAY use it to satisfy subsequent GET and HEAD requests" (RFC 9110 §9.3.1). The library asks
    /// the origin, as it may.
    HeadFromGet,
    /// A HEAD tells of a stored GET: "if the stored response and HEAD response have matching values for any received
    /// validator fields (ETag and Last-Modified) …, the cache SHOULD update the stored response as described below;
    /// otherwise, the cache SHOULD consider the stored response to be stale" (RFC 9111 §4.3.5). The library says nothing of
    /// it, and the small cache asks with GET: both may. Freshgate asks with HEAD once, without a condition, where the origin gave
    /// a validator: whoever wants no content makes the origin send none. A 404 or 410 it takes to outdate as well.
    HeadFreshens,
    /// "Caches that honor this request directive SHOULD … respond with either a stored response … or a 504" (RFC 9111
    /// §5.2.1.7). The library does not know it.
    OnlyIfCached,
    /// "… the cache MUST add each header field in the provided response to the stored response, replacing field values that
    /// are already present" (RFC 9111 §3.2, §4.3.4). The library only replaces those that were there, and keeps an old Age
    /// beside a new Date.
    UpdatedFields,
    /// "If none of the initial set contains at least one of the same strong validators, then the cache MUST NOT use the new
    /// response to update any stored responses" (RFC 9111 §4.3.4). The library takes a strong entity-tag to name a stored
    /// weak one. Of a 304 without a validator, to a request that had one, the clause says nothing: freshgate takes it for
    /// the answer to that condition, which named one response; the library asks once more, as it may.
    Identified,
    /// "Invalidate means that the cache will either remove all stored responses whose target URI matches the given URI or
    /// mark them as "invalid" and in need of a mandatory validation" (RFC 9111 §4.4): both may. Freshgate validates, by a
    /// strong entity-tag alone; the small cache removes.
    InvalidatedIsMarked,
    /// "A cache MUST invalidate the target URI when it receives a non-error status code in response to an unsafe request
    /// method" (RFC 9111 §4.4), and may ask again at any time. Freshgate does after any answer that is not a definite refusal
    /// (P1): a mutation that failed may have changed something.
    ErrorsInvalidateToo,
    /// The target URI is all that RFC 9111 §4.4 asks for; "a mutation invalidates … for all callers, variants and
    /// queries" here.
    EveryQuery,
    /// "A cache MAY invalidate other URIs … in particular, the URI(s) in the Location and Content-Location response
    /// header fields" (RFC 9111 §4.4). Freshgate does.
    LocationIsInvalidated,
}

use Rule::*;

/// Every rule.
pub const ALL: [Rule; 45] = [
    LetterCase,
    QuotedComma,
    Digits,
    Spaces,
    WithoutArgument,
    Overflow,
    AgeList,
    ObsoleteDates,
    StrictDates,
    AbsurdDate,
    ExpiresTwice,
    Repeated,
    NoEntityTag,
    VaryNoFieldName,
    SelectingFields,
    PragmaInResponses,
    PragmaBesideCacheControl,
    Targeted,
    AnyFinalStatus,
    MustUnderstand,
    SetCookie,
    VaryAny,
    HeadIsNotStored,
    RefusalEndsTheOlder,
    VaryIsLearned,
    CallersApart,
    ApparentAge,
    ResponseDelay,
    ClockCorrected,
    ProxyRevalidate,
    Immutable,
    MaxStaleBound,
    UnreadableMaxStale,
    NeverStale,
    AgeAfterValidation,
    AgeOfWhatCame,
    HeadFromGet,
    HeadFreshens,
    OnlyIfCached,
    UpdatedFields,
    Identified,
    InvalidatedIsMarked,
    ErrorsInvalidateToo,
    EveryQuery,
    LocationIsInvalidated,
];

/// The rules that hold.
#[derive(Clone, Copy, Debug)]
pub struct Rules(u64);

impl Rules {
    /// None: everything is as it is sent.
    pub const NONE: Rules = Rules(0);

    /// All of them.
    pub fn all() -> Rules {
        Rules(ALL.iter().fold(0, |all, rule| all | 1 << *rule as u64))
    }

    /// These without one.
    pub fn without(self, rule: Rule) -> Rules {
        Rules(self.0 & !(1 << rule as u64))
    }

    /// Whether `rule` is among them.
    pub fn hold(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u64) != 0
    }
}
