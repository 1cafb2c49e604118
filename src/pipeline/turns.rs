//! Turns: what keeps a mutation that looks at what it changes from being overtaken between the two.

use crate::semantics::invalidation::FenceKey;
use crate::store::sync::{Arc, Mutex, MutexGuard, Notify};

/// Whose turn it is to change something: mutations go on side by side, but one that looks at what it changes goes on
/// alone with it. First come, first served, so that none waits for ever.
#[derive(Default)]
pub struct Turns {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Those whose turn it is and those who wait, in the order in which they came.
    claims: Mutex<Claims>,
    one_left: Notify,
}

#[derive(Default)]
struct Claims {
    taken: u64,
    standing: Vec<Claim>,
}

struct Claim {
    number: u64,
    /// What the mutation changes.
    touches: Vec<FenceKey>,
    /// What the response that it is compared with shows; nothing where it looks at nothing.
    shows: Vec<FenceKey>,
}

impl Claim {
    fn excludes(&self, other: &Claim) -> bool {
        let meet = |shown: &[FenceKey], touched: &[FenceKey]| shown.iter().any(|key| touched.contains(key));
        meet(&self.shows, &other.touches) || meet(&other.shows, &self.touches)
    }
}

/// A place in the queue; given back when dropped.
pub struct Turn {
    queue: Arc<Queue>,
    number: u64,
}

impl Turns {
    /// Waits for what came earlier and is excluded by a mutation that changes `touches` and is compared with what shows
    /// `shows`; nothing where it is compared with nothing.
    pub async fn take(&self, touches: Vec<FenceKey>, shows: Vec<FenceKey>) -> Turn {
        // Made before the wait, so that the claim goes even if the wait is given up.
        let turn = {
            let mut claims = self.queue.claims();
            claims.taken += 1;
            let number = claims.taken;
            claims.standing.push(Claim { number, touches, shows });
            Turn { queue: self.queue.clone(), number }
        };
        loop {
            let mut left = std::pin::pin!(self.queue.one_left.notified());
            // Whoever leaves from here on is heard of.
            left.as_mut().enable();
            if turn.has_come() {
                return turn;
            }
            left.await;
        }
    }

    /// How many mutations are under way or wait for their turn.
    pub fn len(&self) -> usize {
        self.queue.claims().standing.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Queue {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().expect("no holder of this lock panics")
    }
}

impl Turn {
    /// Whether none that came earlier stands in its way.
    fn has_come(&self) -> bool {
        let claims = self.queue.claims();
        let place = claims.standing.partition_point(|claim| claim.number < self.number);
        let (earlier, own) = claims.standing.split_at(place);
        own.first().is_some_and(|own| !earlier.iter().any(|claim| claim.excludes(own)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.claims().standing.retain(|claim| claim.number != self.number);
        self.queue.one_left.notify_waiters();
    }
}
