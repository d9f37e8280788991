//! Memory for large answers of one session: together they stay below a limit, and none waits for ever. Who needs more than is free
//! waits until others are done; more is given only where all that are under way could still be read to their end, one after
//! another, each as long as it may be (the banker's rule).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Of one session.
#[derive(Debug, Default)]
pub struct Budget {
    claims: Mutex<Claims>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Claims {
    limit: usize,
    all: Vec<DescriptorClaim>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct DescriptorClaim {
    number: u64,
    held: usize,
    most: usize,
}

/// The part of one answer. Dropped, it is given back.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    number: u64,
}

/// Why there is no more for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMore {
    /// It is longer than it may be: than so many bytes.
    TooLarge(usize),
    /// Others were not done in time.
    TooLate,
}

impl Budget {
    /// For an answer of at most so many bytes; all together have at most `limit`, as the last call says.
    pub fn share(self: &Arc<Budget>, most: usize, limit: usize) -> Share {
        let mut claims = lock(&self.claims);
        claims.limit = limit;
        claims.last += 1;
        let number = claims.last;
        claims.all.push(DescriptorClaim { number, held: 0, most: most.min(limit) });
        Share { budget: Arc::clone(self), number }
    }

    /// What all have by now, in bytes.
    pub fn held(&self) -> usize {
        lock(&self.claims).all.iter().map(|claim| claim.held).sum()
    }
}

impl Share {
    /// It is known by now that it will not be longer.
    pub fn at_most(&self, bytes: usize) {
        self.change(|claim| claim.most = claim.most.min(bytes.max(claim.held)));
    }

    /// The most that it may be long, in bytes.
    pub fn most(&self) -> usize {
        lock(&self.budget.claims)
            .all
            .iter()
            .find(|claim| claim.number == self.number)
            .map_or(0, |claim| claim.most)
    }

    /// Has so many bytes from now on. Where they are more than it has, waits for them.
    pub fn hold(&self, bytes: usize, deadline: Instant) -> Result<(), NoMore> {
        let mut claims = lock(&self.budget.claims);
        loop {
            let Some(at) = claims.all.iter().position(|claim| claim.number == self.number) else {
                return Err(NoMore::TooLate);
            };
            let DescriptorClaim { held, most, .. } = claims.all[at];
            if bytes > most {
                return Err(NoMore::TooLarge(most));
            }
            claims.all[at].held = bytes;
            if bytes <= held || claims.is_safe() {
                self.budget.freed.notify_all();
                return Ok(());
            }
            claims.all[at].held = held;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoMore::TooLate);
            }
            let woken = self.budget.freed.wait_timeout(claims, left).unwrap_or_else(PoisonError::into_inner);
            claims = woken.0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut DescriptorClaim)) {
        let mut claims = lock(&self.budget.claims);
        if let Some(claim) = claims.all.iter_mut().find(|claim| claim.number == self.number) {
            change(claim);
        }
        self.budget.freed.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.budget.claims).all.retain(|claim| claim.number != self.number);
        self.budget.freed.notify_all();
    }
}

impl Claims {
    /// Whether all could be read to their end in some order.
    fn is_safe(&self) -> bool {
        let held: usize = self.all.iter().map(|claim| claim.held).sum();
        let Some(mut free) = self.limit.checked_sub(held) else { return false };
        let mut left = self.all.clone();
        left.sort_by_key(|claim| claim.most - claim.held);
        left.iter().all(|claim| {
            let can_end = claim.most - claim.held <= free;
            free += claim.held;
            can_end
        })
    }
}

/// Nothing that is done under the lock can leave half a change behind.
fn lock(claims: &Mutex<Claims>) -> MutexGuard<'_, Claims> {
    claims.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn one_that_could_need_all_lets_others_take_nothing_more() {
        let budget = Arc::new(Budget::default());
        let (first, second) = (budget.share(100, 100), budget.share(100, 100));
        assert_eq!(first.hold(10, soon()), Ok(()));
        assert_eq!(second.hold(10, soon()), Err(NoMore::TooLate), "neither could be read to its end");
        first.at_most(50);
        assert_eq!(second.hold(10, soon()), Ok(()), "the first ends with 50, then the second has all");
        assert_eq!(second.hold(60, soon()), Err(NoMore::TooLate));
        assert_eq!(first.hold(50, soon()), Ok(()));
        assert_eq!(first.hold(51, soon()), Err(NoMore::TooLarge(50)));
        drop(first);
        assert_eq!(second.hold(100, soon()), Ok(()));
        assert_eq!((budget.held(), second.hold(101, soon())), (100, Err(NoMore::TooLarge(100))));
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn known_lengths_are_read_at_the_same_time() {
        let budget = Arc::new(Budget::default());
        let shares: Vec<Share> = (0..10).map(|_| budget.share(100, 100)).collect();
        for share in &shares {
            share.at_most(10);
            assert_eq!(share.hold(10, soon()), Ok(()));
        }
    }

    /// Whatever their lengths: all end, and never is more held than the limit.
    #[test]
    fn all_end_below_the_limit() {
        const LIMIT: usize = 1_000;
        let (budget, held, most_held) =
            (Arc::new(Budget::default()), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..16_usize {
                let (budget, held, most_held) = (&budget, &held, &most_held);
                scope.spawn(move || {
                    for round in 0..20_usize {
                        let share = budget.share(LIMIT, LIMIT);
                        if (number + round) % 3 == 0 {
                            share.at_most(LIMIT / 2);
                        }
                        let length = 1 + (number * 97 + round * 31) % (LIMIT / 2);
                        let deadline = Instant::now() + Duration::from_secs(30);
                        for part in (0..=length).step_by(50) {
                            let before = part.saturating_sub(50);
                            share.hold(part, deadline).unwrap();
                            let now = held.fetch_add(part - before.min(part), Ordering::SeqCst) + part
                                - before.min(part);
                            most_held.fetch_max(now, Ordering::SeqCst);
                        }
                        let own = length / 50 * 50;
                        held.fetch_sub(own, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!((budget.held(), held.into_inner()), (0, 0));
        assert!(most_held.into_inner() <= LIMIT);
    }
}
