use super::*;
use proptest::prelude::*;

const DAY: i64 = 20_000;

fn scope(provider: &str, workspace: u8) -> Scope {
    let provider = (!provider.is_empty()).then(|| provider.to_owned());
    Scope { provider, workspace: (workspace > 0).then_some([workspace; 16]) }
}

fn left(provider: &str, workspace: u8, amount: i64) -> Left {
    Left { of: scope(provider, workspace), day: DAY, amount: Amount(amount), opened_at: 10 }
}

fn room(provider: &str, workspace: u8, amount: i64) -> Room {
    let of = scope(provider, workspace);
    Room { of, period: Period::Day, day: DAY, amount: Amount(amount), since: 1 }
}

fn used(parts: &[Part], period: Period, of: &Scope) -> i64 {
    parts.iter().filter(|part| part.period == period && part.of == *of).map(|part| part.amount.0).sum()
}

fn of_day(parts: &[Part], provider: &str, workspace: u8) -> i64 {
    used(parts, Period::Day, &scope(provider, workspace))
}

fn shares(left: &[Left], rooms: &[Room]) -> Vec<i64> {
    spread(left, rooms).into_iter().map(|(_, share)| share.0).collect()
}

#[test]
fn without_budgets_all_of_it_counts() {
    let left = [left("alpha", 1, 5), left("beta", 2, 7)];
    let parts = sums(&left, &[]);
    assert_eq!((of_day(&parts, "alpha", 1), of_day(&parts, "beta", 0), of_day(&parts, "", 0)), (5, 7, 12));
    assert_eq!(used(&parts, Period::Total, &scope("", 2)), 7);
    assert_eq!(shares(&left, &[]), [5, 7]);
}

/// Which of the two has spent it is not known: each may have.
#[test]
fn what_a_budget_for_all_allowed_counts_whole_in_each_budget_of_one() {
    let left = [left("alpha", 1, 8), left("gamma", 1, 6)];
    let rooms = [room("", 0, 7), room("gamma", 0, 4)];
    let parts = sums(&left, &rooms);
    assert_eq!((of_day(&parts, "alpha", 0), of_day(&parts, "gamma", 0), of_day(&parts, "", 0)), (7, 4, 7));
    let shares = shares(&left, &rooms);
    assert!(shares.iter().all(|share| *share > 0) && shares.iter().sum::<i64>() <= 7, "{shares:?}");
}

#[test]
fn workspaces_under_one_budget_spend_no_more_than_it_allowed() {
    let left = [left("alpha", 1, 8), left("alpha", 2, 8), left("beta", 2, 1)];
    let parts = sums(&left, &[room("alpha", 0, 9)]);
    assert_eq!((of_day(&parts, "alpha", 1), of_day(&parts, "alpha", 0), of_day(&parts, "", 0)), (8, 9, 10));
    assert_eq!(of_day(&parts, "", 2), 9);
}

/// It could have been larger before.
#[test]
fn a_budget_that_was_changed_since_bounds_nothing() {
    let changed = Room { since: 10, ..room("", 0, 2) };
    let later = Left { opened_at: 11, ..left("beta", 1, 5) };
    let parts = sums(&[left("alpha", 1, 5), later], &[changed]);
    assert_eq!((of_day(&parts, "alpha", 0), of_day(&parts, "beta", 0), of_day(&parts, "", 0)), (5, 2, 7));
}

#[test]
fn a_budget_of_one_day_says_nothing_of_another() {
    let yesterday = Left { day: DAY - 1, ..left("beta", 1, 5) };
    let left = [left("alpha", 1, 5), yesterday];
    let parts = sums(&left, &[room("", 0, 2)]);
    assert_eq!((of_day(&parts, "alpha", 0), of_day(&parts, "beta", 0)), (2, 5));
    assert_eq!(used(&parts, Period::Total, &scope("", 0)), 7);
    let month = Room { period: Period::Month, ..room("", 0, 3) };
    let parts = sums(&left, &[Room { day: DAY - 1, ..month.clone() }, month]);
    assert_eq!(used(&parts, Period::Month, &scope("", 0)), 3);
    assert_eq!((of_day(&parts, "alpha", 0), of_day(&parts, "beta", 0)), (3, 3));
}

/// What really was spent, by each: at most what was left of it.
fn crash() -> impl Strategy<Value = (Vec<Left>, Vec<i64>)> {
    let one = (0..=20_i64, 0..=20_i64).prop_map(|(left, spent)| (left, spent.min(left)));
    prop::collection::vec(one, 6).prop_map(|amounts| {
        let of = |at: usize| (["alpha", "beta", "gamma"][at % 3], (at / 3 + 1) as u8);
        let one = |(at, (amount, _)): (usize, &(i64, i64))| left(of(at).0, of(at).1, *amount);
        let left = amounts.iter().enumerate().map(one).collect();
        (left, amounts.iter().map(|(_, spent)| *spent).collect())
    })
}

proptest! {
    /// However it was spent within the budgets, no sum has less than was spent, no budget more than it allowed, and what is told
    /// day by day no more than that.
    #[test]
    fn no_sum_has_less_than_was_spent((left, spent) in crash(), chosen in prop::collection::vec(any::<bool>(), 12)) {
        let scopes = ["", "alpha", "beta", "gamma"].into_iter().flat_map(|name| (0..3).map(move |w| scope(name, w)));
        let sum = |of: &Scope, amounts: &dyn Fn(usize) -> i64| -> i64 {
            let concerned = |at: &usize| left[*at].of == *of || wider(&left[*at].of).contains(of);
            (0..left.len()).filter(concerned).map(amounts).sum()
        };
        // Each budget allowed what was spent at least.
        let budgets: Vec<Scope> = scopes.clone().zip(&chosen).filter(|(_, is)| **is).map(|(of, _)| of).collect();
        let room = |of: &Scope| Room { of: of.clone(), ..room("", 0, sum(of, &|at| spent[at])) };
        let rooms: Vec<Room> = budgets.iter().map(room).collect();
        let parts = sums(&left, &rooms);
        let shares = shares(&left, &rooms);
        for of in scopes {
            for period in Period::ALL {
                prop_assert!(used(&parts, period, &of) >= sum(&of, &|at| spent[at]), "{of:?} {parts:?}");
            }
            if budgets.contains(&of) {
                prop_assert_eq!(used(&parts, Period::Day, &of), sum(&of, &|at| spent[at]));
            }
            prop_assert!(sum(&of, &|at| shares[at]) <= used(&parts, Period::Day, &of), "{shares:?} {parts:?}");
        }
    }
}
