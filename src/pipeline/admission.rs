//! Who may be answered with what is stored: the fences and the origin's acceptance, put together.

use crate::changes::Cause;
use crate::changes::log::Since;
use crate::clock::Timestamp;
use crate::identity::Token;
use crate::identity::acceptance::Admission;
use crate::pipeline::Pipeline;
use crate::pipeline::subject::Subject;
use crate::policy::{Route, RouteId, Scope};
use crate::semantics::cache_key::Partition;
use crate::semantics::invalidation::{self, FenceKey, Invalidation};
use crate::semantics::request::Request;
use crate::semantics::reuse::Standing;
use crate::store::fences::Mark;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Routes whose callers were told different things although they were to share.
pub struct Demoted(Box<[AtomicBool]>);

impl Demoted {
    /// None of `routes` routes.
    pub fn none(routes: usize) -> Self {
        Demoted((0..routes).map(|_| AtomicBool::new(false)).collect())
    }

    /// Whether the route has been demoted to scope `user`.
    pub fn contains(&self, route: RouteId) -> bool {
        self.0.get(usize::from(route.0)).is_some_and(|demoted| demoted.load(SeqCst))
    }

    /// Demotes the route; says whether it was not yet.
    fn insert(&self, route: RouteId) -> bool {
        self.0.get(usize::from(route.0)).is_some_and(|demoted| !demoted.swap(true, SeqCst))
    }
}

/// Whether a request asks for a representation and nothing else. One whose field puts OPTIONS in place of GET does not:
/// many an origin answers that to anybody.
fn reads(request: &Request) -> bool {
    let reading = |method: &[u8]| method.eq_ignore_ascii_case(b"GET") || method.eq_ignore_ascii_case(b"HEAD");
    matches!(request.method.as_str(), "GET" | "HEAD") && invalidation::overrides(&request.fields).all(reading)
}

impl Pipeline {
    /// The scope that holds for a route now.
    pub fn scope_of<'r>(&self, route: &'r Route) -> &'r Scope {
        if self.demoted.contains(route.id) { &Scope::User } else { &route.scope }
    }

    /// The routes whose callers are kept apart although they were to share.
    pub fn demoted(&self) -> impl Iterator<Item = &Route> {
        self.policy.routes.iter().filter(|route| self.demoted.contains(route.id))
    }

    /// Whether the caller may be answered with what is stored: the origin accepted its credential within `within` and
    /// has not refused it since, or its token is verified, in force, and was never refused since it was last accepted.
    pub(crate) fn admits(&self, subject: &Subject, within: Duration, now: Timestamp) -> bool {
        let Some(caller) = subject.who.caller.key().filter(|_| subject.partition != Partition::Public) else {
            return true;
        };
        let [anywhere, here] = subject.credential_slots(self);
        let refused = |slots, mark| self.store.fences.invalidated_since(slots, mark);
        let unrefused = |mark| !refused(&anywhere, mark) && !refused(&here, mark);
        let accepted = || {
            // A word about this URL is taken back by none about another.
            let here = refused(&here, Mark::BEGINNING).then(|| Admission::Url(subject.key.clone()));
            let admission = here.as_ref().unwrap_or(&subject.admission);
            self.acceptances.last(caller, admission, now).filter(|(_, mark)| unrefused(*mark))
        };
        match &subject.who.token {
            // A token that is over is over, whatever the origin said while it lived. It may have ended meanwhile.
            Token::Over => false,
            Token::Live(verified) if !verified.holds_at(now) => false,
            Token::Live(_) => unrefused(Mark::BEGINNING) || accepted().is_some(),
            Token::Unverified => accepted().is_some_and(|(ago, _)| ago < within),
        }
    }

    /// Whether the origin ever answered the caller 403 here.
    fn was_refused_here(&self, subject: &Subject) -> bool {
        self.store.fences.invalidated_since(&subject.credential_slots(self)[1], Mark::BEGINNING)
    }

    /// What the status of a final response to a GET or HEAD says of the caller's credential. `asked` was noted before the
    /// request was sent: a refusal that came after it has the last word.
    pub(crate) fn heed_credential(&self, subject: &Subject, asked: Mark, status: u16, now: Timestamp) {
        let Some(caller) = subject.who.caller.key() else { return };
        match status {
            200..=206 | 304 => {
                self.acceptances.accept(Some(caller), Admission::Anywhere, asked, now);
                if subject.admission != Admission::Anywhere {
                    self.acceptances.accept(Some(caller), subject.admission.clone(), asked, now);
                }
                if self.was_refused_here(subject) {
                    self.acceptances.accept(Some(caller), Admission::Url(subject.key.clone()), asked, now);
                }
            }
            status => self.refused(caller, subject.place(self).path(), status),
        }
    }

    /// Whether no mutation has ended and nothing was purged since `mark`. What ends for one caller changes nothing for
    /// another, who could otherwise hide a difference by being refused again and again.
    pub(crate) fn nothing_changed_since(&self, mark: Mark) -> bool {
        match self.changes.since(mark.sequence()) {
            Since::Replay(changes) => changes.iter().all(|change| change.cause == Cause::Credential),
            Since::Gap => false,
        }
    }

    /// What the status of a final response that streams past the store says of the caller's credential: the same as one
    /// to a fetch, where the origin was asked to be read. It counts from when it was asked, not from when its head came:
    /// a request that streams may have been long under way.
    pub fn heed_passed(&self, request: &Request, asked: Mark, status: u16) {
        if !reads(request) {
            return self.heed_refusal(request, status);
        }
        let mut subject = Subject::of(self, request.clone(), self.clock.now());
        if subject.place(self).query() != request.query.as_deref().unwrap_or_default() {
            // A parameter that the route ignores was sent on. Whatever it did, a fetch of this URL is sent without.
            subject = subject.apart(self);
        }
        self.overtake_older_flights(&subject, asked);
        self.heed_credential(&subject, asked, status, asked.at());
    }

    /// What is told while a mutation is under way, or may be, may show it already. Who comes later must not see less, and
    /// so joins no fetch that began before: one whose right to share was not shown flies beside those who share, and what
    /// streams past flies beside all.
    pub(crate) fn overtake_older_flights(&self, subject: &Subject, asked: Mark) {
        let (fences, place) = (&self.store.fences, subject.place(self));
        if fences.standing(subject.slots(self), asked, place.path()) == Standing::Unsettled {
            let told = FenceKey::Target(place.path().to_owned(), place.query().to_owned());
            // A collection may show an item whose own URL is still remembered as a 404.
            fences.part(&fences.slots(&[told, FenceKey::Collections(place.entity)]));
        }
    }

    /// Keeps the route's callers apart from here on: two of them, who were to share, were told different things.
    pub(crate) fn demote(&self, route: &Route) {
        if self.demoted.insert(route.id) {
            tracing::warn!(
                target: "freshgate",
                route = route.name,
                scope = %route.scope,
                "callers were told different things by the origin: they are kept apart from here on (scope \"user\")"
            );
            self.invalidate(Invalidation::of_key(FenceKey::Entity(route.entity_id)), Cause::Divergence, false);
        }
    }
}
