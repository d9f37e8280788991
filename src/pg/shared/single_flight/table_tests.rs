use proptest::prelude::*;

use super::*;

struct Whole {
    head: Head,
    sets: Vec<Set>,
    listeners: Vec<Option<Listener<u8>>>,
}

impl Whole {
    fn new(sets: usize) -> Whole {
        Whole { head: Head::NEW, sets: vec![Set::EMPTY; sets], listeners: vec![None; 3] }
    }

    fn table(&mut self) -> Table<'_, u8> {
        Table { head: &mut self.head, sets: &mut self.sets, listeners: &mut self.listeners }
    }

    fn begin(&mut self, question: u8, wish: Wish) -> Turn {
        self.table().begin(key(question), &wish)
    }

    fn mine(&mut self, question: u8, wish: Wish) -> Place {
        match self.begin(question, wish) {
            Turn::Mine(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn theirs(&mut self, question: u8, wish: Wish) -> Before {
        match self.begin(question, wish) {
            Turn::Theirs(_, before) => before,
            other => panic!("{other:?}"),
        }
    }
}

fn key(question: u8) -> ReceiptKey {
    ReceiptKey { database: 1, catalog: 1, question: [question; 16] }
}

fn wish() -> Wish {
    Wish { pid: 7, now: 1_000, until: 2_000, read_at: 0, before: None }
}

#[test]
fn one_asks_and_the_others_take_the_answer() {
    let mut whole = Whole::new(4);
    let place = whole.mine(1, wish());
    let before = whole.theirs(1, wish());
    assert!(whole.table().end(place, End::Kept), "somebody waits");
    let waited = Wish { before: Some(before), ..wish() };
    assert_eq!(whole.begin(1, waited), Turn::Answered);
    // Who has read it since and found nothing of use asks.
    let read_at = whole.head.sequence;
    assert!(matches!(whole.begin(1, Wish { read_at, ..waited }), Turn::Mine(_)));
    assert!(matches!(whole.begin(2, wish()), Turn::Mine(_)), "another question is nobody's");
}

#[test]
fn one_failure_gives_the_next_a_turn_and_the_second_counts_for_all_who_waited() {
    let mut whole = Whole::new(4);
    let first = whole.mine(1, wish());
    let waited = Wish { before: Some(whole.theirs(1, wish())), ..wish() };
    whole.table().end(first, End::Failed(FaultKind::Timeout));
    let second = whole.mine(1, waited);
    assert!(matches!(whole.begin(1, waited), Turn::Theirs(..)), "not all of them at once");
    let latecomer = Wish { before: Some(whole.theirs(1, wish())), ..wish() };
    whole.table().end(second, End::Failed(FaultKind::ServerError));
    assert_eq!(whole.begin(1, waited), Turn::Failed(FaultKind::ServerError));
    assert!(matches!(whole.begin(1, latecomer), Turn::Mine(_)), "it has waited for one only");
}

#[test]
fn a_request_that_says_nothing_about_the_provider_is_no_failure() {
    let mut whole = Whole::new(4);
    let mut place = whole.mine(1, wish());
    let waited = Wish { before: Some(whole.theirs(1, wish())), ..wish() };
    for _ in 0..5 {
        whole.table().end(place, End::Abandoned);
        place = whole.mine(1, waited);
    }
}

#[test]
fn answers_that_are_not_kept_are_not_waited_for_one_after_another() {
    let mut whole = Whole::new(4);
    let place = whole.mine(1, wish());
    let waited = Wish { before: Some(whole.theirs(1, wish())), ..wish() };
    whole.table().end(place, End::Unkept);
    assert_eq!(whole.begin(1, waited), Turn::Alone);
}

#[test]
fn a_session_that_ends_says_which_requests_it_stays_for() {
    let mut whole = Whole::new(4);
    let now = wish().now;
    assert_eq!(whole.table().under_way(1, now), (false, false));
    let place = whole.mine(1, wish());
    assert_eq!(whole.table().under_way(1, now), (true, false));
    assert_eq!(whole.table().under_way(2, now), (false, false), "another database's");
    whole.table().outlast(8);
    assert_eq!(whole.table().under_way(1, now), (true, false), "another session's");
    whole.table().outlast(7);
    assert_eq!(whole.table().under_way(1, now), (true, true));
    whole.table().end(place, End::Kept);
    assert_eq!(whole.table().under_way(1, now), (false, false));
    // The next one at this place is asked by a session that goes on.
    whole.mine(1, Wish { read_at: u64::MAX, ..wish() });
    assert_eq!(whole.table().under_way(1, now), (true, false));
}

#[test]
fn a_request_ends_with_its_session_its_time_or_another_clock() {
    let mut whole = Whole::new(4);
    let place = whole.mine(1, wish());
    whole.theirs(1, wish());
    assert!(whole.table().end_all_of(7) && !whole.table().end_all_of(7));
    let next = whole.mine(1, wish());
    assert!(!whole.table().end(place, End::Kept), "the word of one that is over does not count");
    assert!(!whole.table().is_over(next, 1_999) && whole.table().is_over(next, 2_000));
    let late = whole.mine(1, Wish { now: 2_000, until: 3_000, ..wish() });
    assert!(whole.table().is_over(late, 2_000 - LONGEST_REQUEST_US));
    whole.table().extend(late, 4_000);
    assert!(!whole.table().is_over(late, 3_500));
}

#[test]
fn where_there_is_no_room_they_ask_alone_and_no_answer_is_overlooked() {
    let mut whole = Whole::new(1);
    let first = whole.mine(0, wish());
    whole.table().end(first, End::Kept);
    for question in 1..=WAYS as u8 {
        // Since it was read before the answer, which had to make room for the last of these.
        whole.mine(question, Wish { read_at: 1, ..wish() });
    }
    assert_eq!(whole.begin(99, Wish { read_at: 1, ..wish() }), Turn::Alone);
    assert_eq!(whole.head.full, 1);
    assert_eq!(whole.begin(0, wish()), Turn::Answered);
    assert_eq!(whole.begin(0, Wish { read_at: u64::MAX, ..wish() }), Turn::Alone);
}

#[test]
fn those_who_wait_are_found_by_what_they_wait_for() {
    let mut whole = Whole::new(4);
    let mut table = whole.table();
    let listener = |place, latch| Listener { pid: i32::from(latch), place, latch };
    let first = table.listen(listener(Some(5), 1)).unwrap();
    table.listen(listener(Some(6), 2)).unwrap();
    table.listen(listener(None, 3)).unwrap();
    assert_eq!(table.listen(listener(None, 4)), None);
    assert_eq!(table.waiting_for(Some(6)).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(table.waiting_for(None).collect::<Vec<_>>(), [1, 2, 3]);
    table.stop_listening(first);
    table.stop_listening_of(3);
    assert_eq!(table.waiting_for(None).collect::<Vec<_>>(), [2]);
}

proptest! {
    /// Whatever happens, a question has at most one request that others would wait for.
    #[test]
    fn one_question_has_one_request(steps in proptest::collection::vec((0..6_u8, 0..5_u8), 1..200)) {
        let mut whole = Whole::new(2);
        let mut asking: Vec<(u8, Place)> = Vec::new();
        for (question, what) in steps {
            match what {
                0..3 => {
                    let read_at = whole.head.sequence;
                    if let Turn::Mine(place) = whole.begin(question, Wish { read_at, ..wish() }) {
                        prop_assert!(asking.iter().all(|(asked, _)| *asked != question));
                        asking.push((question, place));
                    } else {
                        prop_assert!(asking.iter().any(|(asked, _)| *asked == question));
                    }
                }
                _ => if let Some((_, place)) = asking.pop() {
                    whole.table().end(place, if what == 3 { End::Kept } else { End::Failed(FaultKind::Reset) });
                }
            }
        }
    }
}
