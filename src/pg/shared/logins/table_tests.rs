use super::*;

fn key(provider: u8, login: u8) -> LoginKey {
    let provider = AccountKey { database: 1, catalog: 2, id: [provider; 16] };
    LoginKey { provider, login: [login; 16] }
}

fn with(places: usize, work: impl FnOnce(&mut Table<'_>)) {
    let (mut next, mut slots) = (1, vec![Slot::FREE; places]);
    work(&mut Table { next: &mut next, slots: &mut slots });
}

#[test]
fn one_logs_in_and_the_others_wait_for_its_values() {
    with(4, |table| {
        assert_eq!(table.turn(key(1, 1), (10, 0), 0, 100), Turn::Mine(1));
        assert_eq!(table.turn(key(1, 1), (11, 0), 5, 105), Turn::Theirs(1));
        table.finish(key(1, 1), 1, Some(b"token"), 1_000);
        assert_eq!(table.turn(key(1, 1), (11, 0), 10, 110), Turn::Values(1, b"token".to_vec()));
        assert_eq!(table.turn(key(1, 1), (11, 0), 1_000, 1_100), Turn::Mine(2), "it is over");
    });
}

#[test]
fn after_a_failure_a_crash_or_its_time_the_next_one_logs_in() {
    with(4, |table| {
        table.turn(key(1, 1), (10, 0), 0, 100);
        table.finish(key(1, 1), 1, None, 0);
        assert_eq!(table.turn(key(1, 1), (11, 0), 5, 105), Turn::Mine(2));
        table.leave(11);
        assert_eq!(table.turn(key(1, 1), (12, 0), 6, 106), Turn::Mine(3));
        assert_eq!(table.turn(key(1, 1), (13, 0), 106, 206), Turn::Mine(4));
        table.finish(key(1, 1), 3, Some(b"late"), 1_000);
        assert_eq!(
            table.turn(key(1, 1), (14, 0), 110, 210),
            Turn::Theirs(4),
            "another number's word does not count"
        );
    });
}

#[test]
fn who_waits_gets_the_same_failure_and_who_comes_later_tries() {
    with(4, |table| {
        table.turn(key(1, 1), (10, 0), 0, 100);
        assert_eq!(table.turn(key(1, 1), (11, 0), 1, 101), Turn::Theirs(1));
        table.fail(key(1, 1), 1, b"so");
        assert_eq!(table.turn(key(1, 1), (11, 1), 5, 105), Turn::Failed(b"so".to_vec()));
        assert_eq!(table.turn(key(1, 1), (12, 0), 6, 106), Turn::Mine(2));
        assert_eq!(
            table.turn(key(1, 1), (13, 1), 7, 107),
            Turn::Theirs(2),
            "who was late waits for the next"
        );
        table.fail(key(1, 1), 2, b"so again");
        assert_eq!(table.turn(key(1, 1), (13, 1), 8, 108), Turn::Failed(b"so again".to_vec()));
        assert_eq!(table.turn(key(1, 2), (13, 1), 8, 108), Turn::Mine(3), "another secret");
        table.fail(key(1, 2), 2, b"late");
        assert_eq!(table.turn(key(1, 2), (14, 2), 9, 109), Turn::Theirs(3));
        table.finish(key(1, 2), 3, Some(b"token"), 1_000);
        assert_eq!(table.turn(key(1, 2), (14, 3), 10, 110), Turn::Values(3, b"token".to_vec()));
    });
}

#[test]
fn what_is_no_longer_good_is_forgotten_but_not_what_came_after_it() {
    with(4, |table| {
        table.turn(key(1, 1), (10, 0), 0, 100);
        table.finish(key(1, 1), 1, Some(b"old"), 1_000);
        table.forget(key(1, 1), 1);
        assert_eq!(table.turn(key(1, 1), (10, 0), 1, 101), Turn::Mine(2));
        table.finish(key(1, 1), 2, Some(b"new"), 1_000);
        table.forget(key(1, 1), 1);
        assert_eq!(table.turn(key(1, 1), (10, 0), 2, 102), Turn::Values(2, b"new".to_vec()));
    });
}

#[test]
fn another_description_or_secret_logs_in_anew_and_takes_the_place() {
    with(4, |table| {
        table.turn(key(1, 1), (10, 0), 0, 100);
        table.finish(key(1, 1), 1, Some(b"old"), 1_000);
        assert_eq!(table.turn(key(1, 2), (10, 0), 1, 101), Turn::Mine(2));
        assert_eq!(table.slots.iter().filter(|slot| slot.number != 0).count(), 1);
    });
}

#[test]
fn the_one_not_used_for_longest_makes_room() {
    with(2, |table| {
        for (provider, at) in [(1, 0), (2, 1)] {
            let Turn::Mine(number) = table.turn(key(provider, 1), (10, 0), at, 100) else { panic!() };
            table.finish(key(provider, 1), number, Some(b"token"), 1_000);
        }
        assert!(matches!(table.turn(key(1, 1), (10, 0), 2, 102), Turn::Values(..)));
        assert_eq!(table.turn(key(3, 1), (10, 0), 3, 103), Turn::Mine(3));
        assert!(matches!(table.turn(key(1, 1), (10, 0), 4, 104), Turn::Values(..)));
        assert_eq!(table.turn(key(2, 1), (10, 0), 5, 105), Turn::Mine(4));
    });
}

#[test]
fn what_is_too_long_is_not_kept() {
    with(1, |table| {
        table.turn(key(1, 1), (10, 0), 0, 100);
        table.finish(key(1, 1), 1, Some(&vec![7; MAX_BYTES + 1]), 1_000);
        assert_eq!(table.turn(key(1, 1), (10, 0), 1, 101), Turn::Mine(2));
    });
}
