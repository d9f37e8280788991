use super::*;
use proptest::prelude::*;

const S: i64 = 1_000_000;
const MS: i64 = 1_000;
/// Any time will do.
const T0: i64 = 1_700_000_000 * S;

fn at_once(most: u32) -> Limits {
    Limits { concurrent: Some(most), ..Limits::default() }
}

fn a_second(most: u32) -> Limits {
    Limits { per_second: Some(most), ..Limits::default() }
}

fn a_minute(most: u32) -> Limits {
    Limits { per_minute: Some(most), ..Limits::default() }
}

/// Sends as fast as it may from `T0` on, each request answered after `latency`; the times at which they were sent.
fn sendings(limits: Limits, count: usize, latency: i64) -> Vec<i64> {
    let (mut throttle, mut now, mut sent) = (Throttle::NEW, T0, Vec::new());
    let mut under_way: Vec<(i64, u64)> = Vec::new();
    for _ in 0..count {
        while throttle.room(limits, now) == 0 {
            now += MS;
            under_way.retain(|(over, number)| {
                if *over <= now {
                    throttle.end(*number, true, now);
                }
                *over > now
            });
        }
        let number = throttle.take(limits, now);
        throttle.sent(number, now);
        under_way.push((now + latency, number));
        sent.push(now - T0);
    }
    sent
}

/// The most of these within any period of that length.
fn most_within(times: &[i64], period: i64) -> usize {
    times
        .iter()
        .map(|from| times.iter().filter(|at| (*from..*from + period).contains(*at)).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn so_many_are_under_way_at_once() {
    let (mut throttle, limits) = (Throttle::NEW, at_once(2));
    assert_eq!(throttle.room(limits, T0), 2);
    throttle.take(limits, T0);
    throttle.take(limits, T0);
    assert_eq!((throttle.room(limits, T0 + S), throttle.opens_at(limits, 0, T0 + S)), (0, None));
    throttle.end(1, true, T0 + S);
    assert_eq!(throttle.room(limits, T0 + S), 0, "the vendor may count it for a moment");
    assert_eq!(throttle.opens_at(limits, 0, T0 + S), Some(T0 + S + REST_US));
    assert_eq!(throttle.room(limits, T0 + S + REST_US), 1);
    throttle.end(2, false, T0 + S + REST_US);
    assert_eq!((throttle.room(limits, T0 + S + REST_US), throttle.under_way()), (2, 0), "it was not sent");
}

#[test]
fn a_place_further_back_depends_on_more_ends() {
    let (mut throttle, limits) = (Throttle::NEW, at_once(2));
    throttle.take(limits, T0);
    throttle.end(1, true, T0);
    throttle.take(limits, T0);
    assert_eq!(throttle.opens_at(limits, 0, T0), Some(T0 + REST_US));
    assert_eq!(throttle.opens_at(limits, 1, T0), None);
}

#[test]
fn a_second_has_no_more_than_its_number() {
    let times = sendings(a_second(10), 100, MS);
    assert_eq!(most_within(&times, S), 10);
    assert!((9 * S..=10 * S).contains(times.last().unwrap()), "{} µs", times.last().unwrap());
    let slow = sendings(a_second(10), 100, 3 * S);
    assert_eq!(most_within(&slow, S + TRAVEL_US), 10, "whenever in that time they arrive");
    assert!(*slow.last().unwrap() <= 12 * S, "{} µs", slow.last().unwrap());
}

#[test]
fn a_minute_is_let_out_evenly() {
    let times = sendings(a_minute(600), 600, MS);
    assert_eq!(most_within(&times, S), 10, "a sixtieth a second");
    assert!((59 * S..=61 * S).contains(times.last().unwrap()), "{} µs", times.last().unwrap());
    for (limit, burst) in [(1, 1), (2, 2), (5, 5), (20, 5), (60, 5), (300, 5), (301, 6), (6_000, 100)] {
        let times = sendings(a_minute(limit), limit as usize, MS);
        let first = times.iter().filter(|at| **at < 20 * MS).count() as u32;
        assert_eq!(first, burst.min(limit), "of {limit}");
        assert!(*times.last().unwrap() <= 61 * S, "{limit}: {} µs", times.last().unwrap());
    }
}

#[test]
fn who_sends_few_may_send_a_tenth_at_once() {
    for (limit, burst) in [(1, 1), (20, 5), (60, 6), (100, 10), (300, 10), (6_000, 100)] {
        let limits = Limits { burst: 10, ..a_minute(limit) };
        let times = sendings(limits, limit as usize, MS);
        let first = times.iter().filter(|at| **at < 20 * MS).count() as u32;
        assert_eq!(first, burst, "of {limit}");
        assert!(most_within(&times, 60 * S) <= limit as usize + burst as usize, "{limit}");
        assert!(*times.last().unwrap() <= 61 * S, "{limit}: {} µs", times.last().unwrap());
    }
}

#[test]
fn what_is_not_sent_counts_for_nothing() {
    let (mut throttle, limits) = (Throttle::NEW, a_second(1));
    throttle.take(limits, T0);
    assert_eq!((throttle.room(limits, T0 + 60 * S), throttle.opens_at(limits, 0, T0)), (0, None));
    throttle.end(1, false, T0);
    assert_eq!(throttle.room(limits, T0), 1);
    throttle.take(limits, T0);
    throttle.sent(2, T0 + 5 * S);
    assert_eq!(
        throttle.opens_at(limits, 0, T0 + 5 * S),
        Some(T0 + 6 * S + TRAVEL_US),
        "from when it was sent"
    );
    throttle.end(2, true, T0 + 5 * S);
    assert_eq!(throttle.opens_at(limits, 0, T0 + 5 * S), Some(T0 + 6 * S), "and it was there by its answer");
}

#[test]
fn a_clock_that_was_ahead_delays_by_one_period() {
    let (mut throttle, limits) = (Throttle::NEW, a_second(1));
    throttle.take(limits, T0 + 3_600 * S);
    throttle.sent(1, T0 + 3_600 * S);
    throttle.end(1, true, T0 + 3_600 * S);
    assert_eq!(throttle.room(limits, T0), 0);
    assert_eq!(throttle.room(limits, T0 + S + TRAVEL_US), 1);
    let (mut throttle, limits) = (Throttle::NEW, at_once(1));
    throttle.take(limits, T0 + 3_600 * S);
    throttle.end(1, true, T0 + 3_600 * S);
    assert_eq!(throttle.room(limits, T0), 1);
}

#[test]
fn a_limit_that_is_changed_counts_at_once() {
    let mut throttle = Throttle::NEW;
    for number in 1..=5 {
        throttle.take(a_minute(10), T0);
        throttle.sent(number, T0);
        throttle.end(number, true, T0);
    }
    assert_eq!(throttle.room(a_minute(10), T0 + 10 * S), 0);
    assert_eq!(throttle.room(a_minute(600), T0 + 10 * S), 5, "those before count a second longer");
    assert_eq!(throttle.room(a_minute(600), T0 + 12 * S), 10);
    assert_eq!(throttle.room(a_second(1), T0), 1);
}

proptest! {
    #[test]
    fn no_second_has_more_at_the_vendor(most in 1_u32..80, latency in 0_i64..600, travel in 0_i64..250) {
        let times = sendings(a_second(most), 3 * most as usize, latency * MS);
        // It arrives between its sending and its answer, sooner or later from one to the next.
        let travel = travel.min(latency) * MS;
        let arrivals: Vec<i64> =
            times.iter().enumerate().map(|(n, at)| at + if n % 2 == 0 { travel } else { 0 }).collect();
        prop_assert!(most_within(&arrivals, S) <= most as usize);
        prop_assert!(times[2 * most as usize - 1] <= 3 * S, "but it does not wait for ever");
    }

    #[test]
    fn the_time_told_is_when_there_is_room(most in 1_u32..100, sent in 0_u32..100, ahead in 0_u32..10) {
        let (mut throttle, limits) = (Throttle::NEW, a_second(most));
        for number in 1..=u64::from(sent.min(most)) {
            let now = T0 + number as i64 * MS;
            if throttle.room(limits, now) > 0 {
                let number = throttle.take(limits, now);
                throttle.sent(number, now);
            }
        }
        let now = T0 + 101 * MS;
        let at = throttle.opens_at(limits, ahead, now).unwrap();
        if ahead < throttle.room(limits, at + 2 * S) {
            prop_assert!(throttle.room(limits, at) > ahead, "{at}");
        }
    }
}
