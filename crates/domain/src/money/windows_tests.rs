use super::*;
use proptest::prelude::*;

/// 2026-11-30 23:59:50 UTC.
const LATE: i64 = 1_796_083_190;

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

#[test]
fn days_and_months_are_utc() {
    assert_eq!(month_of(0), 0);
    assert_eq!(first_day(0), 0);
    assert_eq!(month_of(LATE), (2026 - 1970) * 12 + 10);
    assert_eq!(Period::Day.resets_at(LATE), Some(LATE + 10));
    assert_eq!(Period::Month.resets_at(LATE), Some(LATE + 10));
    // From 1 December to 1 January.
    assert_eq!(Period::Month.resets_at(LATE + 10), Some(LATE + 10 + 31 * DAY_S));
    assert_eq!(Period::Total.resets_at(LATE), None);
    assert_eq!(Period::Day.starts_at(LATE), LATE + 10 - DAY_S);
    assert_eq!(Period::Month.starts_at(LATE), LATE + 10 - 30 * DAY_S);
    assert_eq!((Period::Month.starts_at(LATE + 10), Period::Total.starts_at(LATE)), (LATE + 10, 0));
    for (day, year_month) in
        [("2024-02-29", 649), ("2024-03-01", 650), ("2100-02-28", 1_561), ("1969-12-31", -1)]
    {
        let date: jiff::civil::Date = day.parse().unwrap();
        let epoch: jiff::civil::Date = "1970-01-01".parse().unwrap();
        let days = date.since((jiff::Unit::Day, epoch)).unwrap().get_days();
        assert_eq!(month_of_day(i64::from(days)), year_month, "{day}");
    }
}

#[test]
fn midnight_and_the_end_of_the_month_give_room_again() {
    let mut windows = Windows::new(LATE, amount("9"), amount("90"), amount("900"));
    let today = day_of(LATE);
    windows.reserve(amount("1"));
    assert_eq!(windows.left((Period::Day, amount("10")), false, LATE), Amount::ZERO);
    assert_eq!(windows.left((Period::Month, amount("100")), false, LATE), amount("9"));
    // What is on its way counts in the new day, too, until it is booked.
    let after = LATE + 20;
    assert_eq!(windows.left((Period::Day, amount("10")), false, after), amount("9"));
    assert_eq!(windows.left((Period::Month, amount("100")), false, after), amount("99"));
    // It was sent yesterday, and costs yesterday.
    windows.release(amount("1"));
    windows.book(today, amount("0.28"), after);
    assert_eq!(windows.used(Period::Day, after), Amount::ZERO);
    assert_eq!(windows.used(Period::Month, after), Amount::ZERO);
    assert_eq!(windows.used(Period::Total, after), amount("900.28"));
    windows.book(today + 1, amount("0.28"), after);
    assert_eq!(windows.used(Period::Day, after), amount("0.28"));
    assert_eq!(windows.used(Period::Day, after + DAY_S), Amount::ZERO);
    assert_eq!(windows.used(Period::Month, after + DAY_S), amount("0.28"));
}

#[test]
fn a_clock_that_was_ahead_loses_nothing() {
    let mut windows = Windows::new(LATE + DAY_S, amount("9"), amount("9"), amount("9"));
    assert_eq!(windows.left((Period::Day, amount("10")), false, LATE), amount("1"));
    windows.book(day_of(LATE) + 1, amount("1"), LATE);
    assert_eq!(windows.left((Period::Day, amount("10")), false, LATE), Amount::ZERO);
    assert_eq!(windows.left((Period::Day, amount("10")), false, LATE + DAY_S), amount("10"));
}

#[test]
fn what_is_under_way_is_held() {
    let mut windows = Windows::new(LATE, Amount::ZERO, Amount::ZERO, Amount::ZERO);
    windows.hold(amount("0.28"), Amount::ZERO);
    assert_eq!(windows.left((Period::Total, amount("1")), false, LATE), amount("0.72"));
    windows.let_go(amount("0.28"), Amount::ZERO);
    assert_eq!(windows.open(), Amount::ZERO);
}

/// What is handed in is paid for: so there is to be something left to ask for it.
#[test]
fn what_polls_may_cost_is_for_them_alone() {
    let mut windows = Windows::new(LATE, Amount::ZERO, Amount::ZERO, Amount::ZERO);
    let left = |windows: &Windows, fetches| windows.left((Period::Total, amount("1")), fetches, LATE);
    windows.reserve_polls(amount("0.10"));
    assert_eq!((left(&windows, false), left(&windows, true)), (amount("0.90"), amount("1")));
    windows.release_polls(amount("0.10"));
    for _ in 0..2 {
        windows.hold(amount("0.28"), amount("0.10"));
    }
    assert_eq!((left(&windows, false), left(&windows, true)), (amount("0.24"), amount("0.44")));
    let lacks =
        |fetches| windows.lacks((amount("0.3"), Amount::ZERO), (Period::Total, amount("1")), fetches, LATE);
    assert_eq!((lacks(false), lacks(true)), (Lack::UntilAnswersCome, Lack::UntilRequestsEnd));
    // Room for its own polls is needed only as long as others are out: that is no reason to wait for the next period.
    let own = (amount("0.3"), amount("0.9"));
    assert_eq!(windows.lacks(own, (Period::Total, amount("1")), false, LATE), Lack::UntilAnswersCome);
    // They go with the questions.
    windows.let_go(amount("0.28"), amount("0.10"));
    assert_eq!((left(&windows, false), left(&windows, true)), (amount("0.62"), amount("0.72")));
    windows.let_go(amount("0.28"), amount("0.10"));
    assert_eq!(left(&windows, false), amount("1"));
}

/// What is reserved or held may come to cost nothing, so it is no reason to wait for the next period.
#[test]
fn what_is_kept_free_is_waited_for_as_long_as_that_may_last() {
    let mut windows = Windows::new(LATE, Amount(600_000), Amount(600_000), Amount(600_000));
    let lacks = |windows: &Windows, most: i64| {
        windows.lacks((Amount(most), Amount::ZERO), (Period::Day, Amount(1_000_000)), false, LATE)
    };
    windows.reserve(Amount(200_000));
    assert_eq!(lacks(&windows, 400_000), Lack::UntilRequestsEnd);
    assert_eq!(lacks(&windows, 400_001), Lack::UntilReset);
    let windows = windows.holding(Amount(100_000), Amount::ZERO);
    assert_eq!(lacks(&windows, 300_000), Lack::UntilRequestsEnd);
    assert_eq!(lacks(&windows, 400_000), Lack::UntilAnswersCome);
    assert_eq!(lacks(&windows, 400_001), Lack::UntilReset);
}

proptest! {
    #[test]
    fn every_month_begins_with_its_first_day(month in -12_000_i64..12_000) {
        let first = first_day(month);
        prop_assert_eq!(month_of_day(first), month);
        prop_assert_eq!(month_of_day(first - 1), month - 1);
    }

    /// Requests that are reserved and booked in any order, with a clock that runs, jumps and goes back: what was sent on a day
    /// never costs more than the day's budget, as long as the clock does not go back.
    #[test]
    fn no_budget_is_exceeded(
        events in proptest::collection::vec((0_i64..40_000, any::<bool>(), 0_i64..=280_000), 1..200),
        budget in 0_i64..5_000_000,
    ) {
        let (most, budget) = (Amount(280_000), Amount(budget));
        let mut windows = Windows::new(LATE, Amount::ZERO, Amount::ZERO, Amount::ZERO);
        let mut now = LATE;
        let mut on_their_way = Vec::new();
        let mut spent = std::collections::BTreeMap::<i64, Amount>::new();
        for (passes, sends, cost) in events {
            now += passes;
            if sends && windows.left((Period::Day, budget), false, now) >= most {
                windows.reserve(most);
                on_their_way.push(day_of(now));
            } else if let Some(sent_on) = on_their_way.pop() {
                windows.release(most);
                windows.book(sent_on, Amount(cost), now);
                let of_day = spent.entry(sent_on).or_default();
                *of_day = of_day.plus(Amount(cost));
                prop_assert!(*of_day <= budget, "{of_day} of {budget}");
            }
        }
        prop_assert_eq!(windows.used(Period::Total, now), spent.values().copied().sum::<Amount>());
        prop_assert_eq!(windows.reserved(), most.times(on_their_way.len() as u64));
    }
}
