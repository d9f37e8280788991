//! Who waits for which vendor, in the order in which they came: a table of bounded size.
//!
//! It lives in shared memory, but nothing here knows that. Times are epoch microseconds.

/// Sessions that can stand in line; others look again after a while, and go behind these.
pub const WAITERS: usize = 1_024;
/// Who has not looked for so long is busy with something else, and keeps nobody back.
const PATIENCE_US: i64 = 2_000_000;

/// A session that waits for a vendor.
#[derive(Clone, Copy, Debug)]
pub struct Waiter<L> {
    pid: i32,
    /// The vendor's place.
    place: usize,
    number: u64,
    looked_at: i64,
    latch: L,
}

/// All who wait.
#[derive(Clone, Copy)]
pub struct Line<L> {
    waiters: [Option<Waiter<L>>; WAITERS],
    next_number: u64,
    count: usize,
}

impl<L: Copy> Line<L> {
    /// Nobody waits.
    pub const EMPTY: Line<L> = Line { waiters: [None; WAITERS], next_number: 1, count: 0 };

    fn all(&self) -> impl Iterator<Item = &Waiter<L>> {
        let most = if self.count == 0 { 0 } else { WAITERS };
        self.waiters[..most].iter().flatten()
    }

    fn of(&self, place: usize) -> impl Iterator<Item = &Waiter<L>> {
        self.all().filter(move |waiter| waiter.place == place)
    }

    /// The session goes to the end of the line, or stays where it is, and has looked now. `false`: there is no room.
    pub fn stand(&mut self, pid: i32, place: usize, latch: L, now: i64) -> bool {
        let own = |waiter: &Waiter<L>| (waiter.pid, waiter.place) == (pid, place);
        if let Some(waiter) = self.waiters.iter_mut().flatten().find(|waiter| own(waiter)) {
            waiter.looked_at = now;
            return true;
        }
        let Some(free) = self.waiters.iter_mut().find(|waiter| waiter.is_none()) else { return false };
        *free = Some(Waiter { pid, place, number: self.next_number, looked_at: now, latch });
        self.next_number += 1;
        self.count += 1;
        true
    }

    /// The session has had its turn, or waits no longer; whether it stood there.
    pub fn leave(&mut self, pid: i32, place: usize) -> bool {
        self.remove(|waiter| (waiter.pid, waiter.place) == (pid, place))
    }

    /// It waits for nothing any more.
    pub fn leave_all(&mut self, pid: i32) -> bool {
        self.remove(|waiter| waiter.pid == pid)
    }

    fn remove(&mut self, which: impl Fn(&Waiter<L>) -> bool) -> bool {
        if self.count == 0 {
            return false;
        }
        let gone = self.waiters.iter_mut().filter(|waiter| waiter.as_ref().is_some_and(&which));
        let count = gone.map(|waiter| *waiter = None).count();
        self.count -= count;
        count > 0
    }

    /// How many go before this session.
    pub fn ahead(&self, pid: i32, place: usize, now: i64) -> usize {
        let own = self.of(place).find(|waiter| waiter.pid == pid).map_or(u64::MAX, |waiter| waiter.number);
        self.of(place).filter(|waiter| waiter.number < own && waiter.is_ready(now)).count()
    }

    /// The latches of the first that is ready, and of those before it.
    pub fn first(&self, place: usize, now: i64) -> impl Iterator<Item = L> + '_ {
        let ready = self.of(place).filter(|waiter| waiter.is_ready(now)).map(|waiter| waiter.number);
        let first = ready.min().unwrap_or(u64::MAX);
        self.of(place).filter(move |waiter| waiter.number <= first).map(|waiter| waiter.latch)
    }
}

impl<L> Waiter<L> {
    /// A clock that was set back makes nobody busy.
    fn is_ready(&self, now: i64) -> bool {
        now < self.looked_at.saturating_add(PATIENCE_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn line(pids: &[i32]) -> Box<Line<i32>> {
        let mut line = Box::new(Line::EMPTY);
        pids.iter().for_each(|pid| assert!(line.stand(*pid, 1, *pid, NOW)));
        line
    }

    #[test]
    fn who_came_first_goes_first_and_then_to_the_end() {
        let mut line = line(&[7, 8]);
        assert!(line.stand(7, 1, 7, NOW), "it stays where it is");
        assert_eq!([7, 8, 9].map(|pid| line.ahead(pid, 1, NOW)), [0, 1, 2]);
        assert!(line.leave(7, 1) && !line.leave(7, 1));
        assert!(line.stand(7, 1, 7, NOW));
        assert_eq!([7, 8].map(|pid| line.ahead(pid, 1, NOW)), [1, 0]);
        assert_eq!(line.ahead(7, 2, NOW), 0, "another vendor's line is another");
    }

    #[test]
    fn who_is_busy_keeps_nobody_back_and_is_woken_all_the_same() {
        let mut line = line(&[7, 8, 9]);
        let later = NOW + PATIENCE_US;
        line.stand(8, 1, 8, later);
        line.stand(9, 1, 9, later);
        assert_eq!([8, 9].map(|pid| line.ahead(pid, 1, later)), [0, 1]);
        assert_eq!(line.first(1, later).collect::<Vec<_>>(), [7, 8]);
        line.stand(7, 1, 7, later);
        assert_eq!([7, 8, 9].map(|pid| line.ahead(pid, 1, later)), [0, 1, 2]);
        assert_eq!(line.first(1, later).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_session_that_ends_leaves_every_line() {
        let mut line = line(&[7, 8]);
        line.stand(7, 2, 7, NOW);
        assert!(line.leave_all(7) && !line.leave_all(7));
        assert_eq!((line.ahead(8, 1, NOW), line.count), (0, 1));
    }

    #[test]
    fn a_full_line_takes_nobody_and_who_is_not_in_it_goes_last() {
        let mut line = line(&(0..WAITERS as i32).collect::<Vec<_>>());
        assert!(!line.stand(-1, 1, -1, NOW));
        assert_eq!(line.ahead(-1, 1, NOW), WAITERS);
        assert!(line.leave(0, 1) && line.stand(-1, 1, -1, NOW));
    }
}
