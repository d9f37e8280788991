use super::*;
const NOON: i64 = 20_000 * DAY + 43_200;

fn ready(lease: u64) -> Meter {
    let mut meter = Meter::EMPTY;
    meter.opened(lease, 0);
    meter
}

#[test]
fn no_sixty_seconds_admit_more_than_the_limit() {
    let limits = Limits { per_minute: Some(5), per_day: None };
    let mut meter = ready(1_000);
    let mut admitted = Vec::new();
    for second in 0..400 {
        for _ in 0..(second % 3) {
            if meter.admit(limits, NOON + second) == Admission::Admitted {
                admitted.push(second);
            }
        }
    }
    for &start in &admitted {
        // A use late in second `start` and one early in `start + 60` are less than 60 s apart.
        let within = admitted.iter().filter(|&&s| (start..=start + 60).contains(&s)).count();
        assert!(within <= 5, "{within} uses in the minute from {start}");
    }
    assert!(admitted.len() >= 30);
}

#[test]
fn the_window_says_when_it_opens() {
    let limits = Limits { per_minute: Some(2), per_day: None };
    let mut meter = ready(10);
    meter.admit(limits, NOON);
    meter.admit(limits, NOON + 10);
    let Admission::Limited(window) = meter.admit(limits, NOON + 20) else { panic!("admitted a third") };
    assert_eq!(window, Window { limit: 2, remaining: 0, reset: NOON + 61 });
    assert!(matches!(meter.admit(limits, NOON + 60), Admission::Limited(_)));
    assert_eq!(meter.admit(limits, NOON + 61), Admission::Admitted);
}

#[test]
fn a_lowered_limit_waits_until_enough_has_aged() {
    let mut meter = ready(10);
    for second in 0..4 {
        meter.admit(Limits { per_minute: Some(4), per_day: None }, NOON + second);
    }
    let lowered = Limits { per_minute: Some(2), per_day: None };
    let Admission::Limited(window) = meter.admit(lowered, NOON + 5) else { panic!("admitted") };
    assert_eq!(window.reset, NOON + 2 + 61);
    let zero = Limits { per_minute: Some(0), per_day: None };
    assert!(matches!(Meter::EMPTY.clone().admit(zero, NOON), Admission::Limited(_)));
}

#[test]
fn days_turn_at_midnight_utc() {
    let limits = Limits { per_minute: None, per_day: Some(1) };
    let mut meter = ready(10);
    let last = 20_001 * DAY - 1;
    assert_eq!(meter.admit(limits, last), Admission::Admitted);
    let Admission::Limited(window) = meter.admit(limits, last) else { panic!("admitted") };
    assert_eq!(window.reset, 20_001 * DAY);
    assert_eq!(meter.admit(limits, last + 1), Admission::Admitted);
}

#[test]
fn an_open_lease_counts_as_used_after_a_crash_and_a_closed_one_does_not() {
    let limits = Limits { per_minute: Some(10), per_day: Some(100) };
    let mut meter = ready(4);
    for _ in 0..3 {
        meter.admit(limits, NOON);
    }
    let (open, _) = meter.record(4);
    let crashed = Meter::restore(&open, NOON + 2).status(limits, NOON + 2);
    assert_eq!((crashed.minute.unwrap().remaining, crashed.day.unwrap().remaining), (3, 93));
    let (closed, _) = meter.record(0);
    let clean = Meter::restore(&closed, NOON + 2).status(limits, NOON + 2);
    assert_eq!((clean.minute.unwrap().remaining, clean.day.unwrap().remaining), (7, 97));
    let later = Meter::restore(&closed, NOON + 61).status(limits, NOON + 61);
    assert_eq!((later.minute.unwrap().remaining, later.day.unwrap().remaining), (10, 97));
}

#[test]
fn uses_never_outrun_what_is_on_record() {
    let limits = Limits { per_minute: Some(100), per_day: None };
    let mut meter = ready(3);
    meter.admit(limits, NOON);
    let (record, then) = meter.record(3);
    meter.admit(limits, NOON);
    meter.admit(limits, NOON);
    assert_eq!(meter.admit(limits, NOON), Admission::NeedsLease);
    meter.opened(3, then);
    assert_eq!(meter.admit(limits, NOON), Admission::Admitted);
    assert_eq!(meter.admit(limits, NOON), Admission::NeedsLease);
    let used = 100 - Meter::restore(&record, NOON).status(limits, NOON).minute.unwrap().remaining;
    assert_eq!(used, 4, "one recorded and three leased: what was admitted in all");
}

#[test]
fn a_clock_set_back_never_admits_more() {
    let limits = Limits { per_minute: Some(1), per_day: Some(5) };
    let mut meter = ready(10);
    assert_eq!(meter.admit(limits, NOON), Admission::Admitted);
    assert!(matches!(meter.admit(limits, NOON - 3_600), Admission::Limited(_)));
    assert!(matches!(meter.admit(limits, NOON + 30), Admission::Limited(_)));
}

#[test]
fn the_tightest_window_is_the_one_with_least_left() {
    let limits = Limits { per_minute: Some(10), per_day: Some(100) };
    let mut meter = ready(200);
    assert_eq!(meter.status(limits, NOON).tightest().unwrap().limit, 10);
    for minute in 0..10 {
        for _ in 0..10 {
            meter.admit(limits, NOON + minute * 61);
        }
    }
    assert_eq!(meter.status(limits, NOON + 700).tightest().unwrap().limit, 100);
    assert_eq!(Status::default().tightest(), None);
}

/// Full of uses at a wrong time, and how long until the first is admitted once the clock is right.
fn delay_after(ahead: i64, limits: Limits, restarted: bool) -> i64 {
    let mut meter = ready(1_000_000);
    while meter.admit(limits, NOON + ahead) == Admission::Admitted {}
    if restarted {
        let (record, _) = meter.record(0);
        meter = Meter::restore(&record, NOON);
        meter.opened(1_000_000, 0);
    }
    for second in 0.. {
        if meter.admit(limits, NOON + second) == Admission::Admitted {
            return second;
        }
        if let Some(window) = meter.status(limits, NOON + second).tightest() {
            assert!(window.reset <= NOON + second + DAY, "{window:?} at {second}");
        }
    }
    unreachable!()
}

#[test]
fn a_clock_that_was_ahead_delays_by_at_most_one_window() {
    const YEARS: i64 = 100 * 366 * DAY;
    for ahead in [1, 30, 61, 62, 3_600, DAY, YEARS, i64::MAX / 2] {
        for restarted in [false, true] {
            let minute = Limits { per_minute: Some(3), per_day: None };
            let delay = delay_after(ahead, minute, restarted);
            // Where it may just have been set back for a moment, the uses may be as young as they look.
            let doubt = if ahead <= SECONDS as i64 { ahead } else { 0 };
            assert!(delay <= SECONDS as i64 + doubt, "{delay} s after {ahead} s ahead");
            let day = Limits { per_minute: None, per_day: Some(3) };
            let delay = delay_after(ahead, day, restarted);
            assert!(delay <= DAY - 43_200, "{delay} s after {ahead} s ahead: days turn at midnight");
        }
    }
}

#[test]
fn what_was_used_on_a_day_that_has_not_come_was_used_today() {
    let limits = Limits { per_minute: None, per_day: Some(5) };
    let mut meter = ready(100);
    meter.admit(limits, NOON);
    meter.admit(limits, NOON);
    meter.admit(limits, NOON + DAY);
    assert_eq!(meter.status(limits, NOON + 5).day.unwrap().remaining, 2);
    assert_eq!(meter.status(limits, NOON + DAY).day.unwrap().remaining, 4, "if it was right after all");
}

/// Whatever a clock does that is never far from the truth for long: no minute of real time admits more than the limit.
#[test]
fn jumps_of_the_clock_never_admit_more_than_the_limit_in_a_minute() {
    let limits = Limits { per_minute: Some(4), per_day: None };
    let mut jitter: u32 = 1;
    let mut roll = |sides: u32| {
        jitter = jitter.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i64::from((jitter >> 8) % sides)
    };
    for _ in 0..200 {
        let mut meter = ready(1_000_000);
        let (from, seconds, off) = (1 + roll(100), 1 + roll(50), -(1 + roll(5_000)));
        let mut admitted = Vec::new();
        for real in 0..400 {
            // Set back for less than a minute, and right again.
            let wrong = (from..from + seconds).contains(&real);
            let now = NOON + real + if wrong { off } else { 0 };
            if meter.admit(limits, now) == Admission::Admitted {
                admitted.push(real);
            }
        }
        for &start in &admitted {
            let within = admitted.iter().filter(|&&s| (start..start + 60 - seconds).contains(&s)).count();
            assert!(within <= 4, "{within} uses from {start}: {off} s at {from} for {seconds} s");
        }
        assert!(admitted.len() >= 16, "{} admitted", admitted.len());
    }
}
