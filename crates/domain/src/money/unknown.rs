//! What a crash has left unknown: the most that can have been spent, for every sum that a budget counts.
//!
//! Which of several providers or workspaces has spent it is not known. So each sum has the most that its own part can be: a
//! budget for one of them holds as well as the one for all. What is told day by day is spread instead, and comes to no more
//! than budgets have allowed. All is of one currency; days are days since 1970-01-01 UTC.

use std::collections::BTreeMap;

use super::Amount;
use super::windows::{Period, first_day, month_of_day};

/// Whose requests a budget or a sum counts. `None`: all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    pub provider: Option<String>,
    pub workspace: Option<[u8; 16]>,
}

/// What could be spent of one workspace and provider before the tables were written again.
#[derive(Clone, Debug)]
pub struct Left {
    pub of: Scope,
    pub day: i64,
    pub amount: Amount,
    /// Epoch microseconds.
    pub opened_at: i64,
}

/// A budget, and what it had left on a day.
#[derive(Clone, Debug)]
pub struct Room {
    pub of: Scope,
    pub period: Period,
    pub day: i64,
    pub amount: Amount,
    /// Epoch microseconds. What was admitted before could be more.
    pub since: i64,
}

/// A part of a sum: of a period that begins on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub of: Scope,
    pub period: Period,
    pub starts: i64,
    pub amount: Amount,
}

/// What counts as used, in all sums that budgets count.
pub fn sums(left: &[Left], rooms: &[Room]) -> Vec<Part> {
    let rooms = by_scope(rooms, |room| &room.of);
    let parts = Period::ALL.into_iter().flat_map(|period| {
        let of_period = grouped(left, |left| starts(period, left.day));
        let parts = |(starts, left): (i64, Vec<&Left>)| {
            let part = move |(of, amount)| Part { of, period, starts, amount };
            most(&left, &rooms).into_iter().map(part).collect::<Vec<_>>()
        };
        of_period.into_iter().flat_map(parts).collect::<Vec<_>>()
    });
    parts.filter(|part| part.amount > Amount::ZERO).collect()
}

/// The same spread over what was left: in all, and for each provider and workspace, it is no more than what can have been spent.
pub fn spread<'a>(left: &'a [Left], rooms: &[Room]) -> Vec<(&'a Left, Amount)> {
    let rooms = by_scope(rooms, |room| &room.of);
    let of_day = |(_, left): (i64, Vec<&'a Left>)| {
        let most = most(&left, &rooms);
        let mut wholes: BTreeMap<Scope, Amount> = BTreeMap::new();
        for (one, scope) in left.iter().flat_map(|one| wider(&one.of).map(|scope| (one, scope))) {
            let whole = wholes.entry(scope).or_default();
            *whole = whole.plus(most[&one.of]);
        }
        let share = |one: &'a Left| {
            let own = most[&one.of];
            let parts = wider(&one.of).map(|scope| part_of(own, most[&scope], wholes[&scope]));
            (one, parts.into_iter().fold(own, Amount::min))
        };
        left.into_iter().map(share).collect::<Vec<_>>()
    };
    grouped(left, |left| left.day).into_iter().flat_map(of_day).collect()
}

/// `amount` × `some` / `whole`, rounded down.
fn part_of(amount: Amount, some: Amount, whole: Amount) -> Amount {
    let exact = i128::from(amount.0) * i128::from(some.0) / i128::from(whole.0.max(1));
    Amount(i64::try_from(exact).unwrap_or(i64::MAX))
}

fn starts(period: Period, day: i64) -> i64 {
    match period {
        Period::Day => day,
        Period::Month => first_day(month_of_day(day)),
        Period::Total => 0,
    }
}

/// The wider sums in which requests of this one count; some may be the same.
fn wider(of: &Scope) -> [Scope; 3] {
    let all_workspaces = Scope { workspace: None, ..of.clone() };
    let all_providers = Scope { provider: None, ..of.clone() };
    [all_workspaces, all_providers, Scope { provider: None, workspace: None }]
}

fn by_scope<T>(all: &[T], scope: fn(&T) -> &Scope) -> BTreeMap<Scope, Vec<&T>> {
    let mut map: BTreeMap<Scope, Vec<&T>> = BTreeMap::new();
    for one in all {
        map.entry(scope(one).clone()).or_default().push(one);
    }
    map
}

fn grouped(left: &[Left], by: impl Fn(&Left) -> i64) -> BTreeMap<i64, Vec<&Left>> {
    let mut groups: BTreeMap<i64, Vec<&Left>> = BTreeMap::new();
    for one in left {
        groups.entry(by(one)).or_default().push(one);
    }
    groups
}

/// The most that can have been spent, for each sum in which any of it counts. What was left of a workspace and provider stands
/// in it once.
fn most(left: &[&Left], rooms: &BTreeMap<Scope, Vec<&Room>>) -> BTreeMap<Scope, Amount> {
    let mut inner: BTreeMap<Scope, Vec<&Left>> = BTreeMap::new();
    let mut most: BTreeMap<Scope, Amount> = BTreeMap::new();
    for one in left {
        most.insert(one.of.clone(), within(&one.of, &[one], one.amount, rooms));
        for scope in wider(&one.of) {
            inner.entry(scope).or_default().push(one);
        }
    }
    let (mut by_provider, mut by_workspace) = (Amount::ZERO, Amount::ZERO);
    let all = Scope { provider: None, workspace: None };
    let everything = inner.remove(&all).unwrap_or_default();
    for (scope, of_scope) in inner {
        let whole = of_scope.iter().map(|one| most[&one.of]).sum();
        let amount = within(&scope, &of_scope, whole, rooms);
        let sum = if scope.provider.is_some() { &mut by_provider } else { &mut by_workspace };
        *sum = sum.plus(amount);
        most.insert(scope, amount);
    }
    let amount = within(&all, &everything, by_provider.min(by_workspace), rooms);
    most.insert(all, amount);
    most
}

/// No more than what the budgets allowed that count all of it.
fn within(scope: &Scope, inner: &[&Left], amount: Amount, rooms: &BTreeMap<Scope, Vec<&Room>>) -> Amount {
    let concerned = wider(scope).into_iter().chain([scope.clone()]);
    let concerned = concerned.filter_map(|scope| rooms.get(&scope)).flatten();
    let counts_all = |room: &&&Room| {
        inner.iter().all(|left| starts(room.period, left.day) == starts(room.period, room.day))
    };
    let allowed = |room: &&Room| {
        let not_bound = inner.iter().filter(|left| left.opened_at <= room.since);
        room.amount.plus(not_bound.map(|left| left.amount).sum())
    };
    concerned.filter(counts_all).map(allowed).fold(amount, Amount::min)
}

#[cfg(test)]
#[path = "unknown_tests.rs"]
mod tests;
