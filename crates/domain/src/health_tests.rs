use proptest::prelude::*;

use super::super::pause::*;
use super::*;

const S: i64 = 1_000_000;
const ID: Hash = [1; 16];
const LEASE: Duration = Duration::from_secs(6);
const POLICY: Policy = Policy { failures: 3, pause: Duration::from_secs(5) };

fn failed(kind: FaultKind) -> Ending {
    Ending::Failed { kind, retry_after_s: None }
}

fn asked(kind: FaultKind, seconds: u64) -> Ending {
    Ending::Failed { kind, retry_after_s: Some(seconds) }
}

fn question(of: Hash, n: i64) -> Question {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Question { identity: of, hash, step: 0 }
}

/// Each is about another contact than the one before.
fn another(at: i64) -> Question {
    question(ID, at)
}

/// Asks at `at` about another contact, and is told this 100 ms later, if it may ask.
fn call(health: &mut Health, at: i64, ending: Ending) -> Permit {
    call_about(health, another(at), at, ending)
}

fn call_about(health: &mut Health, question: Question, at: i64, ending: Ending) -> Permit {
    let permit = health.permit(question, false, at, LEASE);
    if permit.pause().is_none() {
        health.ended(question, at, at + S / 10, ending, POLICY);
    }
    permit
}

fn broken() -> Health {
    let mut health = Health::NEW;
    for second in 0..3 {
        assert_eq!(call(&mut health, second * S, failed(FaultKind::Timeout)), Permit::Ask);
    }
    health
}

#[test]
fn what_is_of_no_use_to_anybody_opens_the_breaker_of_several_questions() {
    let mut health = Health::NEW;
    for second in 0..9 {
        assert_eq!(call_about(&mut health, another(1), second * S, Ending::Useless), Permit::Ask);
    }
    assert_eq!(call(&mut health, 10 * S, Ending::Useless), Permit::Ask);
    assert_eq!(health.pause().map(|pause| pause.cause), Some(Cause::Breaker));
    assert_eq!(health.failures_in_a_row(), 10);
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_closes_after_a_good_probe() {
    let mut health = broken();
    let Permit::No(pause) = health.permit(another(-1), false, 3 * S, LEASE) else { panic!("asked") };
    assert_eq!(pause, Pause { cause: Cause::Breaker, until: 2 * S + S / 10 + 5 * S });
    assert_eq!(health.permit(another(-1), false, 8 * S, LEASE), Permit::Probe);
    assert!(
        matches!(health.permit(another(-1), false, 8 * S, LEASE), Permit::Trial(_)),
        "one probe at a time"
    );
    health.ended(another(-1), 8 * S, 9 * S, Ending::Answered, POLICY);
    assert_eq!(health.permit(another(-1), false, 9 * S, LEASE), Permit::Ask);
    assert_eq!(health.failures_in_a_row(), 0);
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_a_bound() {
    let mut health = broken();
    let mut lengths = Vec::new();
    for _ in 0..8 {
        let until = health.pause().unwrap().until;
        assert_eq!(call(&mut health, until, failed(FaultKind::Refused)), Permit::Probe);
        lengths.push((health.pause().unwrap().until - until - S / 10) / S);
    }
    assert_eq!(lengths, [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn a_success_or_another_answer_begins_the_count_anew() {
    for between in [Ending::Answered, failed(FaultKind::BadStatus), failed(FaultKind::ProviderError)] {
        let mut health = Health::NEW;
        for ending in [failed(FaultKind::Reset), failed(FaultKind::Reset), between, failed(FaultKind::Reset)]
        {
            assert_eq!(call(&mut health, 0, ending), Permit::Ask);
        }
        assert_eq!(health.pause(), None);
    }
}

#[test]
fn what_is_no_fault_of_the_provider_counts_for_nothing() {
    let mut health = Health::NEW;
    for ending in [
        Ending::Unknown,
        failed(FaultKind::AddressRefused),
        failed(FaultKind::Busy),
        failed(FaultKind::Internal),
        failed(FaultKind::ProviderLimit),
    ] {
        for _ in 0..10 {
            assert_eq!(call(&mut health, 0, ending), Permit::Ask);
        }
    }
    let mut health = broken();
    let until = health.pause().unwrap().until;
    assert_eq!(call(&mut health, until, Ending::Unknown), Permit::Probe);
    assert_eq!(
        health.permit(another(-1), false, until + S, LEASE),
        Permit::Probe,
        "that probe told nothing, so the next call is one"
    );
}

#[test]
fn what_the_provider_says_is_obeyed() {
    for (ending, cause, seconds) in [
        (asked(FaultKind::RateLimited, 17), Cause::Asked, 17),
        (asked(FaultKind::ServerError, 9), Cause::Unavailable, 9),
        // At once, it says, and so do clocks that differ: the backoff counts all the same.
        (asked(FaultKind::RateLimited, 0), Cause::Asked, 1),
        (failed(FaultKind::RateLimited), Cause::Asked, 1),
        (failed(FaultKind::Quota), Cause::Quota, 5),
        (asked(FaultKind::Quota, 3_000), Cause::Quota, 3_000),
        (asked(FaultKind::Quota, 1), Cause::Quota, 5),
        (failed(FaultKind::BadCredentials), Cause::Credentials, 5),
        (asked(FaultKind::RateLimited, 4_000_000_000), Cause::Asked, 86_400),
    ] {
        let mut health = Health::NEW;
        assert_eq!(call(&mut health, 0, ending), Permit::Ask);
        let until = S / 10 + seconds * S;
        assert_eq!(
            health.permit(another(-1), false, until - 1, LEASE),
            Permit::No(Pause { cause, until }),
            "{ending:?}"
        );
        assert_eq!(health.permit(another(-1), false, until, LEASE), Permit::Probe);
    }
    let mut health = Health::NEW;
    call(&mut health, 0, asked(FaultKind::ServerError, 0));
    assert_eq!(health.pause(), None, "at once");
}

#[test]
fn another_secret_or_description_opens_everything() {
    let mut health = Health::NEW;
    call(&mut health, 0, failed(FaultKind::BadCredentials));
    assert_eq!(health.permit(question([2; 16], 0), false, S, LEASE), Permit::Ask);
    // What the old secret still comes to is nobody's.
    health.ended(another(-1), 0, 2 * S, failed(FaultKind::BadCredentials), POLICY);
    assert_eq!(health.permit(question([2; 16], 0), false, 3 * S, LEASE), Permit::Ask);
}

#[test]
fn requests_sent_before_the_pause_do_not_change_it() {
    let mut health = broken();
    let pause = health.pause();
    for ending in [Ending::Answered, failed(FaultKind::Timeout), asked(FaultKind::RateLimited, 60)] {
        health.ended(another(-1), 0, 4 * S, ending, POLICY);
        assert_eq!(health.pause(), pause, "{ending:?}");
    }
    // One sent since, by hand (leadlex.check_provider), does.
    health.ended(another(-1), 4 * S, 5 * S, Ending::Answered, POLICY);
    assert_eq!(health.pause(), None);
}

#[test]
fn a_probe_that_is_never_heard_of_again_does_not_close_the_door() {
    let mut health = broken();
    assert_eq!(health.permit(another(-1), false, 60 * S, LEASE), Permit::Probe);
    assert!(matches!(health.permit(another(-1), false, 65 * S, LEASE), Permit::Trial(_)));
    assert_eq!(health.permit(another(-1), false, 66 * S, LEASE), Permit::Probe);
    health.give_back(Permit::Probe);
    assert_eq!(health.permit(another(-1), false, 67 * S, LEASE), Permit::Probe);
}

#[test]
fn without_a_breaker_failures_never_pause() {
    let mut health = Health::NEW;
    for second in 0..100 {
        assert_eq!(health.permit(another(-1), false, second * S, LEASE), Permit::Ask);
        let off = Policy { failures: 0, ..POLICY };
        health.ended(another(-1), second * S, second * S, failed(FaultKind::Timeout), off);
    }
}

#[test]
fn the_question_that_failed_last_is_not_the_probe_while_another_may_be() {
    let (bad, good) = (question(ID, 1), question(ID, 2));
    let mut health = Health::NEW;
    call_about(&mut health, bad, 0, asked(FaultKind::ServerError, 1));
    let until = health.pause().unwrap().until;
    // Of a set, as long as there are others.
    assert!(matches!(health.permit(bad, true, until + 900 * S, LEASE), Permit::After(_, 0)));
    // Alone it lets others go first for a moment from then on.
    let Permit::After(pause, 0) = health.permit(bad, false, until + 900 * S, LEASE) else { panic!("asked") };
    assert_eq!(pause.until, until + 901 * S);
    let mut with_another = health;
    assert_eq!(call_about(&mut with_another, good, until + 900 * S, Ending::Answered), Permit::Probe);
    assert_eq!(with_another.permit(bad, true, until + 901 * S, LEASE), Permit::Ask);
    assert_eq!(
        health.permit(bad, false, until + 901 * S, LEASE),
        Permit::Probe,
        "it is not refused for ever"
    );
}

#[test]
fn one_question_alone_never_opens_the_breaker() {
    let mut health = Health::NEW;
    for second in 0..100 {
        assert_eq!(call_about(&mut health, another(1), second * S, failed(FaultKind::BadJson)), Permit::Ask);
    }
    call_about(&mut health, another(2), 100 * S, failed(FaultKind::BadJson));
    assert_eq!(health.pause().map(|pause| pause.cause), Some(Cause::Breaker), "two do");
    // Where one failure is to be enough, it is.
    let mut health = Health::NEW;
    let at_once = Policy { failures: 1, ..POLICY };
    health.ended(another(1), 0, S, failed(FaultKind::Timeout), at_once);
    assert_eq!(health.pause(), None, "of a description that was never met");
    health.meet(ID);
    health.ended(another(1), 0, S, failed(FaultKind::Timeout), at_once);
    assert!(health.pause().is_some());
}

#[test]
fn one_question_alone_makes_no_pause_longer_and_keeps_nobody_else_away() {
    // The breaker is open, and then one question fails again and again.
    let mut health = broken();
    let mut now = health.pause().unwrap().until;
    assert!(call_about(&mut health, another(2 * S), now, failed(FaultKind::Timeout)).pause().is_some());
    for _ in 0..5 {
        now += 100 * S;
        assert_eq!(call_about(&mut health, another(2 * S), now, failed(FaultKind::Timeout)), Permit::Probe);
        let mut meanwhile = health;
        assert_eq!(meanwhile.permit(another(-1), false, now + S, LEASE), Permit::Probe);
        assert!(matches!(health.permit(another(2 * S), false, now + S, LEASE), Permit::After(..)));
    }
    // A pause that the provider does not measure is as long as before.
    for kind in [FaultKind::RateLimited, FaultKind::Quota, FaultKind::BadCredentials] {
        let mut health = Health::NEW;
        let mut lengths = Vec::new();
        for hour in 0..5 {
            let at = hour * 3_600 * S;
            health.permit(another(1), false, at - 100 * S, LEASE);
            assert_eq!(
                call_about(&mut health, another(1), at, failed(kind)).pause(),
                None,
                "{kind:?} {hour}"
            );
            lengths.push(health.pause().unwrap().until - at - S / 10);
        }
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{kind:?}: {lengths:?}");
        let at = 10 * 3_600 * S;
        call_about(&mut health, another(2), at, failed(kind));
        assert_eq!(health.pause().unwrap().until - at - S / 10, 2 * lengths[0], "{kind:?}: of another it is");
    }
}

#[test]
fn what_failed_while_the_pause_began_goes_after_others_too() {
    let mut health = Health::NEW;
    for n in 1..=2 {
        assert_eq!(health.permit(another(n), false, 0, LEASE), Permit::Ask);
    }
    health.ended(another(2), 0, S, asked(FaultKind::ServerError, 1), POLICY);
    health.ended(another(1), 0, 2 * S, failed(FaultKind::Timeout), POLICY);
    for n in 1..=2 {
        assert!(matches!(health.permit(another(n), true, 9 * S, LEASE), Permit::After(..)), "{n}");
    }
    assert_eq!(health.permit(another(3), true, 9 * S, LEASE), Permit::Probe);
}

/// Paused, or probed, by a clock that was ahead: once it is right again that lasts as long as it would have anyway.
#[test]
fn a_clock_that_was_ahead_pauses_for_no_longer_than_a_right_one() {
    const DAY: i64 = 86_400 * S;
    for ahead in [1, 3_600 * S, 400 * DAY, i64::MAX / 4] {
        let mut health = Health::NEW;
        call_about(&mut health, another(1), ahead, asked(FaultKind::RateLimited, 30));
        assert!(
            matches!(health.permit(another(-7), false, 0, LEASE), Permit::No(pause) if pause.until <= 30 * S),
            "{ahead}"
        );
        assert_eq!(health.permit(another(-7), false, 30 * S, LEASE), Permit::Probe, "{ahead}");
        // What that probe brings is heard.
        health.ended(another(-7), 30 * S, 31 * S, Ending::Answered, POLICY);
        assert_eq!(health.permit(another(-7), false, 31 * S, LEASE), Permit::Ask, "{ahead}");

        let mut health = broken();
        assert_eq!(health.permit(another(-7), false, 60 * S + ahead, LEASE), Permit::Probe);
        assert!(matches!(health.permit(another(-7), false, 60 * S, LEASE), Permit::Trial(_)), "{ahead}");
        assert_eq!(health.permit(another(-7), false, 66 * S, LEASE), Permit::Probe, "{ahead}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_there_is_an_end_to_every_pause(
        events in proptest::collection::vec((0..FaultKind::ALL.len() + 2, proptest::option::of(any::<u64>()), 0..100_i64), 0..60)
    ) {
        let mut health = Health::NEW;
        let mut now = 0;
        for (what, retry_after_s, seconds) in events {
            now += seconds * S;
            let ending = match what.checked_sub(2) {
                Some(kind) => Ending::Failed { kind: FaultKind::ALL[kind], retry_after_s },
                None if what == 0 => Ending::Answered,
                None => Ending::Unknown,
            };
            call(&mut health, now, ending);
            let longest = (LONGEST_ASKED_S as i64 + 1) * S;
            prop_assert!(health.pause().is_none_or(|pause| pause.until <= now + longest));
        }
        let later = now + 2 * LONGEST_ASKED_S as i64 * S;
        prop_assert!(health.permit(another(-1), false, later, LEASE).pause().is_none());
    }
}

/// The submission goes well, and the poll ends so.
fn two_steps(health: &mut Health, n: i64, poll: Ending) {
    let submission = another(n);
    if health.permit(submission, false, n * S, LEASE).pause().is_none() {
        health.ended(submission, n * S, n * S + S / 10, Ending::Answered, POLICY);
        let sent = n * S + S / 2;
        let poll_of = Question { step: 1, ..submission };
        if health.permit(poll_of, false, sent, LEASE).pause().is_none() {
            health.ended(poll_of, sent, sent + S / 10, poll, POLICY);
        }
    }
}

#[test]
fn a_request_that_goes_well_hides_no_later_one_that_fails() {
    let mut health = Health::NEW;
    for n in 0..7 {
        two_steps(&mut health, n, failed(FaultKind::ServerError));
    }
    assert_eq!((health.failures_in_a_row(), health.pause().map(|p| p.cause)), (3, Some(Cause::Breaker)));
    // The submission alone does not close it, the poll does.
    call(&mut health, 20 * S, Ending::Answered);
    assert!(health.pause().is_some());
    two_steps(&mut health, 30, Ending::Answered);
    assert_eq!((health.failures_in_a_row(), health.pause()), (0, None));
}

#[test]
fn what_holds_for_the_account_is_over_once_anything_is_answered() {
    for (kind, ends) in
        [(FaultKind::RateLimited, true), (FaultKind::Quota, true), (FaultKind::ServerError, false)]
    {
        let mut health = Health::NEW;
        two_steps(&mut health, 0, asked(kind, 2));
        assert!(health.pause().is_some(), "{kind:?}");
        call(&mut health, 40 * S, Ending::Answered);
        assert_eq!(health.pause().is_none(), ends, "{kind:?}");
    }
}

#[test]
fn an_earlier_request_that_failed_is_well_again_by_itself() {
    let mut health = Health::NEW;
    for n in 0..2 {
        assert_eq!(call(&mut health, n * S, failed(FaultKind::ServerError)), Permit::Ask);
    }
    call(&mut health, 3 * S, Ending::Answered);
    assert_eq!(health.failures_in_a_row(), 0);
}
