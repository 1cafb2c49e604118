//! Turns: what keeps a mutation that looks at what it changes from being overtaken between the two.

use crate::semantics::invalidation::FenceKey;
use crate::store::sync::{Arc, Mutex, MutexGuard, Notify};

/// Whose turn it is to change something: mutations go on side by side, but one that looks at what it changes goes on
/// alone with it. Turns come in the order in which the places were taken, but for whoever gave way.
#[derive(Default)]
pub struct Turns {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    claims: Mutex<Claims>,
}

#[derive(Default)]
struct Claims {
    taken: u64,
    /// Those whose turn it is and those who wait, in the order in which they came.
    standing: Vec<Claim>,
}

struct Claim {
    number: u64,
    /// What the mutation changes.
    touches: Vec<FenceKey>,
    /// What the response that it is compared with shows; nothing where it looks at nothing.
    shows: Vec<FenceKey>,
    /// Whether its turn has come.
    admitted: bool,
    /// Whether those who came later may be admitted while it waits.
    gives_way: bool,
    came: Arc<Notify>,
}

impl Claim {
    fn excludes(&self, other: &Claim) -> bool {
        let meet = |shown: &[FenceKey], touched: &[FenceKey]| shown.iter().any(|key| touched.contains(key));
        meet(&self.shows, &other.touches) || meet(&other.shows, &self.touches)
    }
}

impl Claims {
    /// Admits who stands at `place`, unless somebody whose turn it is stands in the way, or who came earlier and insists.
    fn consider(&mut self, place: usize) {
        let own = &self.standing[place];
        let stands_in_the_way =
            |(at, other): (usize, &Claim)| (other.admitted || (at < place && !other.gives_way)) && other.excludes(own);
        if !own.admitted && !self.standing.iter().enumerate().any(stands_in_the_way) {
            self.standing[place].admitted = true;
            self.standing[place].came.notify_waiters();
        }
    }

    fn consider_all(&mut self) {
        (0..self.standing.len()).for_each(|place| self.consider(place));
    }

    fn of(&mut self, number: u64) -> Option<&mut Claim> {
        let place = self.standing.binary_search_by_key(&number, |claim| claim.number).ok()?;
        self.standing.get_mut(place)
    }
}

/// A place in the queue, and once it [has come](Turn::come) the turn itself; given back when dropped.
pub struct Turn {
    queue: Arc<Queue>,
    number: u64,
    came: Arc<Notify>,
}

impl Turns {
    /// A place for a mutation that changes `touches` and is compared with what shows `shows`; nothing where it is compared
    /// with nothing.
    pub fn line_up(&self, touches: Vec<FenceKey>, shows: Vec<FenceKey>) -> Turn {
        let came = Arc::new(Notify::default());
        let mut claims = self.queue.claims();
        claims.taken += 1;
        let number = claims.taken;
        claims.standing.push(Claim { number, touches, shows, admitted: false, gives_way: false, came: came.clone() });
        let last = claims.standing.len() - 1;
        claims.consider(last);
        Turn { queue: self.queue.clone(), number, came }
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
    /// Waits for what is excluded and under way, or came earlier and does not give way.
    pub async fn come(&self) {
        loop {
            let mut came = std::pin::pin!(self.came.notified());
            // Whoever leaves from here on is heard of.
            came.as_mut().enable();
            if self.queue.claims().of(self.number).is_some_and(|claim| claim.admitted) {
                return;
            }
            came.await;
        }
    }

    /// Waits on, but holds up no longer who comes later: it is its turn when nothing that it excludes is under way.
    pub fn give_way(&self) {
        let mut claims = self.queue.claims();
        if let Some(claim) = claims.of(self.number) {
            claim.gives_way = true;
        }
        claims.consider_all();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut claims = self.queue.claims();
        claims.standing.retain(|claim| claim.number != self.number);
        claims.consider_all();
    }
}
