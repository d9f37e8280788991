//! Questions that failed since a provider last gave an answer. When it may be tried again, others go first, so that one
//! question that always fails keeps it from no other; where there is no other, it gets its turn a little later.

use std::time::Duration;

use super::hash::Hash;

/// So many are remembered; the one that failed longest ago makes room.
const MOST: usize = 8;
/// How long others go first, from when one of these wants to try. Doubled each time that the same has failed again.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;

/// The last questions that failed, without an allocation, so that it can live in shared memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Failing {
    /// The one that failed last stands last.
    questions: [Hash; MOST],
    count: u32,
    /// How often in a row the last one has failed.
    times: u32,
    /// When the first of these wanted to try, epoch microseconds; 0: none has yet.
    wanted_at: i64,
    /// Which of these have wanted to since then.
    wanting: u32,
}

impl Failing {
    /// No question has failed since the last answer.
    pub const NONE: Failing =
        Failing { questions: [[0; 16]; MOST], count: 0, times: 0, wanted_at: 0, wanting: 0 };

    /// It has failed: whether another one was the last to fail.
    pub fn add(&mut self, question: Hash) -> bool {
        let another = self.last() != Some(question);
        self.times = if another { 1 } else { self.times.saturating_add(1) };
        (self.wanted_at, self.wanting) = (0, 0);
        let known = self.rank(question);
        let count = self.count as usize;
        match known {
            Some(at) => self.questions[at..count].rotate_left(1),
            None if count < MOST => self.count += 1,
            None => self.questions.rotate_left(1),
        }
        self.questions[self.count as usize - 1] = question;
        another
    }

    /// Where it stands among those that failed: the lower, the longer ago.
    /// `None`: it has not failed, or too long ago to be remembered.
    pub fn rank(&self, question: Hash) -> Option<usize> {
        self.questions[..self.count as usize].iter().position(|known| *known == question)
    }

    /// Whether more than one has failed.
    pub fn are_several(&self) -> bool {
        self.count > 1
    }

    /// One that nobody is known to follow wants to try: whether it may, or when. Of those that want to, the one that failed
    /// longest ago goes first.
    /// The error is the epoch microsecond from which on it may.
    pub fn turn(&mut self, question: Hash, now: i64) -> Result<(), i64> {
        let Some(rank) = self.rank(question) else { return Ok(()) };
        if self.wanted_at == 0 || self.wanted_at > now {
            (self.wanted_at, self.wanting) = (now, 0);
        }
        self.wanting |= 1 << rank;
        let is_last = self.last() == Some(question);
        let doublings = if is_last { self.times.saturating_sub(1).min(MOST_DOUBLINGS) } else { 0 };
        let mut patience = PATIENCE * (1 << doublings);
        if self.wanting & ((1 << rank) - 1) != 0 {
            patience += PATIENCE;
        }
        let until = self.wanted_at.saturating_add(patience.as_micros() as i64);
        if now < until { Err(until) } else { Ok(()) }
    }

    fn last(&self) -> Option<Hash> {
        self.questions[..self.count as usize].last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn failing(questions: &[u8]) -> Failing {
        let mut failing = Failing::NONE;
        questions.iter().for_each(|question| {
            failing.add([*question; 16]);
        });
        failing
    }

    #[test]
    fn it_knows_who_failed_and_who_failed_last() {
        let mut failing = Failing::NONE;
        assert!(failing.add([1; 16]));
        assert!(!failing.add([1; 16]) && !failing.are_several());
        assert!(failing.add([2; 16]) && failing.are_several());
        assert!(failing.add([1; 16]));
        assert_eq!(
            [[1; 16], [2; 16], [3; 16]].map(|question| failing.rank(question)),
            [Some(1), Some(0), None]
        );
    }

    #[test]
    fn the_one_that_failed_longest_ago_makes_room() {
        let failing = failing(&[1, 2, 3, 4, 5, 6, 7, 8, 2, 9]);
        assert_eq!(failing.rank([1; 16]), None);
        let order = [3, 4, 5, 6, 7, 8, 2, 9].map(|question: u8| failing.rank([question; 16]));
        assert_eq!(order.map(Option::unwrap), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn others_go_first_and_then_it_has_its_turn() {
        let mut failing = failing(&[1]);
        assert_eq!(failing.turn([1; 16], 900 * S), Err(901 * S), "however long ago it failed");
        assert_eq!(failing.turn([2; 16], 900 * S), Ok(()));
        assert_eq!(failing.turn([1; 16], 901 * S - 1), Err(901 * S));
        assert_eq!(failing.turn([1; 16], 901 * S), Ok(()));
    }

    #[test]
    fn each_failure_of_the_same_alone_makes_it_more_patient_within_a_bound() {
        let mut failing = failing(&[1]);
        let mut waits = Vec::new();
        for at in (1..10).map(|hour| hour * 3_600 * S) {
            waits.push((failing.turn([1; 16], at).unwrap_err() - at) / S);
            failing.add([1; 16]);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        failing.add([2; 16]);
        assert_eq!(failing.turn([1; 16], S), Err(2 * S), "another has failed since");
    }

    #[test]
    fn of_several_that_want_to_the_one_that_failed_longest_ago_goes_first() {
        let mut failing = failing(&[1, 2]);
        assert_eq!(failing.turn([2; 16], 10 * S), Err(11 * S));
        assert_eq!(failing.turn([1; 16], 10 * S), Err(11 * S));
        assert_eq!(failing.turn([2; 16], 11 * S), Err(12 * S), "the other one has waited, too");
        assert_eq!(failing.turn([1; 16], 11 * S), Ok(()));
        assert_eq!(failing.turn([2; 16], 12 * S), Ok(()), "but it may have gone");
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_waiting_for_long() {
        let mut failing = failing(&[1]);
        assert!(failing.turn([1; 16], 1_000 * S).is_err());
        assert_eq!(failing.turn([1; 16], 10 * S), Err(11 * S));
    }
}
