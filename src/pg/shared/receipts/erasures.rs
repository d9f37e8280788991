//! Who was erased lately, so that answers to what was asked before are thrown away when they come.
//!
//! A person is a row of a workspace, known by [`leadlex_domain::contact_row::ContactRow::key`].
//!
//! Two tables of bounded size in shared memory. The first says when somebody was last asked about: who was not, within the
//! longest time of a request, need not be remembered. It has one number for all people whose hashes are alike, so that some
//! are remembered without need. In the second each person has a place in one of two sets, whichever has more room. Only
//! where both are full of people who were erased within the longest time of a request, one of them is not remembered by
//! name: until that time is over, everybody of that set counts as erased.

use leadlex_domain::hash::Hash;

/// Sets in shared memory: 32,768 people within the longest time of a request, in 820 kB.
pub const SETS: usize = 4_096;
/// People of one set.
const PLACES: usize = 8;
/// No request is under way longer, in microseconds: settings have this maximum, and the client enforces it.
const LONGEST_REQUEST_US: i64 = 65_000_000;

/// Numbers in shared memory that say when somebody was last asked about, in 260 kB.
pub const ASKED: usize = 65_536;
/// After so many seconds nothing can come of a request any more, nor of its repetition.
const LONGEST_CALL_S: u32 = 150;

/// A request about this person is about to be sent, so many seconds after the machine was started.
pub fn note_request(asked: &mut [u32], person: Hash, now_s: u32) {
    // 0 is for people who never were.
    asked[number_of(person, asked.len())] = now_s + 1;
}

/// Whether a request about this person may be under way. `false` is certain.
pub fn may_be_asked(asked: &[u32], person: Hash, now_s: u32) -> bool {
    let last = asked[number_of(person, asked.len())];
    last > 0 && now_s < last + LONGEST_CALL_S
}

fn number_of(person: Hash, numbers: usize) -> usize {
    let [.., a, b, c, d] = person;
    u32::from_ne_bytes([a, b, c, d]) as usize % numbers
}

/// When somebody was erased, in epoch microseconds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Erasure {
    person: Hash,
    at: i64,
}

/// A few erasures that share a place by their hash.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Set {
    erasures: [Erasure; PLACES],
    /// The latest of those that had to make room.
    displaced_at: i64,
}

impl Set {
    pub const EMPTY: Set = Set { erasures: [Erasure { person: [0; 16], at: 0 }; PLACES], displaced_at: 0 };

    fn room(&self, now: i64) -> usize {
        self.erasures.iter().filter(|erasure| is_over(erasure.at, now)).count()
    }
}

fn is_over(at: i64, now: i64) -> bool {
    at + LONGEST_REQUEST_US < now
}

/// The two sets in which a person may be.
fn sets_of(person: Hash, sets: usize) -> [usize; 2] {
    // Already a hash: any two parts of it will do.
    let [a, b, c, d, e, f, g, h, ..] = person;
    [[a, b, c, d], [e, f, g, h]].map(|part| u32::from_ne_bytes(part) as usize % sets)
}

/// Remembers that this person was erased `now`.
pub fn add(sets: &mut [Set], person: Hash, now: i64) {
    let both = sets_of(person, sets.len());
    let erasures = || both.into_iter().flat_map(|set| (0..PLACES).map(move |place| (set, place)));
    let own = erasures().find(|(set, place)| sets[*set].erasures[*place].person == person);
    let roomiest = both.into_iter().max_by_key(|set| sets[*set].room(now)).unwrap_or_default();
    let free = || {
        let place = sets[roomiest].erasures.iter().position(|erasure| is_over(erasure.at, now))?;
        Some((roomiest, place))
    };
    let oldest = || erasures().min_by_key(|(set, place)| sets[*set].erasures[*place].at).unwrap_or_default();
    let (set, place) = own.or_else(free).unwrap_or_else(oldest);
    let before = std::mem::replace(&mut sets[set].erasures[place], Erasure { person, at: now });
    if before.person != person && !is_over(before.at, now) {
        sets[set].displaced_at = sets[set].displaced_at.max(before.at);
    }
}

/// Whether an answer about this person to a request that was sent at `sent_at` is to be thrown away.
pub fn has(sets: &[Set], person: Hash, sent_at: i64) -> bool {
    sets_of(person, sets.len()).into_iter().map(|set| &sets[set]).any(|set| {
        sent_at <= set.displaced_at
            || set.erasures.iter().any(|erasure| erasure.person == person && sent_at <= erasure.at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn somebody(n: u32) -> Hash {
        leadlex_domain::hash::hash(&[&n.to_ne_bytes()])
    }

    /// Of 1,000 people with a request under way, how many lose its answer.
    fn lost(sets: &[Set], sent_at: i64) -> usize {
        (1_000_000..1_001_000).filter(|n| has(sets, somebody(*n), sent_at)).count()
    }

    #[test]
    fn only_answers_of_the_erased_are_thrown_away_and_all_of_theirs() {
        let mut sets = vec![Set::EMPTY; SETS];
        let now = 1_000 * SECOND_US;
        for n in 0..24_000 {
            add(&mut sets, somebody(n), now + i64::from(n));
        }
        assert!((0..24_000).all(|n| has(&sets, somebody(n), now + i64::from(n))));
        assert!(!has(&sets, somebody(7), now + 8), "asked again since");
        assert_eq!(lost(&sets, now - SECOND_US), 0);
    }

    /// As of a table whose key is unique in a workspace alone.
    #[test]
    fn rows_of_one_key_in_many_workspaces_do_not_share_a_place() {
        let mut sets = vec![Set::EMPTY; SETS];
        let row = |n: u32| leadlex_domain::contact_row::ContactRow {
            // Made at the same time, as far as an id tells.
            workspace: uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000, &{
                let [a, b, c, d, e, f, g, h, i, j, ..] = somebody(n);
                [a, b, c, d, e, f, g, h, i, j]
            })
            .into_uuid(),
            hash: somebody(0),
        };
        let now = 1_000 * SECOND_US;
        (0..10_000).for_each(|n| add(&mut sets, row(n).key(), now));
        assert!((0..10_000).all(|n| has(&sets, row(n).key(), now)));
        let others = (10_000..20_000).filter(|n| has(&sets, row(*n).key(), now - SECOND_US)).count();
        assert_eq!(others, 0, "of 10,000 workspaces that erased nothing");
    }

    #[test]
    fn more_than_there_is_room_for_are_all_thrown_away_until_their_time_is_over() {
        let mut sets = vec![Set::EMPTY; SETS];
        let now = 1_000 * SECOND_US;
        for n in 0..50_000 {
            add(&mut sets, somebody(n), now + i64::from(n));
        }
        assert!((0..50_000).all(|n| has(&sets, somebody(n), now - SECOND_US)));
        let later = now + LONGEST_REQUEST_US + SECOND_US;
        assert_eq!(lost(&sets, later), 0, "asked since");
        for n in 100_000..120_000 {
            add(&mut sets, somebody(n), later + i64::from(n));
        }
        assert_eq!(lost(&sets, later), 0, "those before are forgotten");
    }

    #[test]
    fn who_was_asked_about_lately_is_remembered_and_few_others() {
        let mut asked = vec![0; ASKED];
        assert!(!(0..1_000).any(|n| may_be_asked(&asked, somebody(n), 0)));
        (0..1_000).for_each(|n| note_request(&mut asked, somebody(n), n / 10));
        assert!((0..1_000).all(|n| may_be_asked(&asked, somebody(n), n / 10 + LONGEST_CALL_S)));
        let others = (1_000..101_000).filter(|n| may_be_asked(&asked, somebody(*n), 100)).count();
        assert!(others < 2_000, "{others} of 100,000");
        assert!(!(0..1_000).any(|n| may_be_asked(&asked, somebody(n), 101 + LONGEST_CALL_S)));
    }

    #[test]
    fn somebody_erased_again_takes_no_second_place() {
        let mut sets = vec![Set::EMPTY; 1];
        for at in 1..=100 {
            add(&mut sets, somebody(1), at);
        }
        assert!(has(&sets, somebody(1), 100) && !has(&sets, somebody(2), 1));
    }
}
