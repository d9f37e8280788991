//! Whether the budgets let a question be put, looked at beforehand: nothing is kept free by that.

use uuid::Uuid;

use crate::pg::provider::budget_events::sum_of;
use crate::pg::provider::login;
use crate::pg::provider::spending::{Purpose, concerns, no_price, over_budget};
use crate::pg::shared::budgets;
use crate::pg::store::cache;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::spend::{self, Budget};
use crate::pg::sys::clock;
use leadlex_domain::money::Amount;
use leadlex_domain::money::windows::Windows;
use leadlex_domain::provider::{Config, Fault, Inquiry};

/// Why the request that is next would not be sent now for this workspace; `None`: it can be paid, or what it asks for was handed in
/// and is kept free already. `of_all`: not only where it has no price in a budget's currency.
pub fn refusal(
    provider: &LoadedProvider,
    config: &Config,
    (workspace, of_all): (Uuid, bool),
    next: &Inquiry,
) -> Option<Fault> {
    if !next.is_new() {
        return None;
    }
    let polls = match Purpose::of(config, next, None) {
        Purpose::HandIn(polls) => polls,
        Purpose::Ask | Purpose::Fetch | Purpose::KeepFree(_) => 0,
    };
    let logs_in = config.login().is_some() && !login::is_held(provider);
    let fields = config.maps_of(next.wanted());
    let now = clock::now();
    let all = cache::budgets();
    let mut concerned = all.iter().filter(|budget| concerns(budget, &provider.name, workspace));
    concerned.find_map(|budget| {
        let Some(price) = config.price().filter(|price| price.currency == budget.currency) else {
            return Some(no_price(budget, &provider.name, config.price()));
        };
        let most = price.most(fields).plus(price.per_request().times(u64::from(logs_in)));
        let polls = price.per_request().times(polls);
        let windows = windows_of(budget, now);
        let left = windows.left((budget.period, budget.amount), false, now);
        let polls = if windows.owes_answers() { polls } else { Amount::ZERO };
        (of_all && left < most.plus(polls)).then(|| over_budget(budget, ((most, polls), false), now).0)
    })
}

fn windows_of(budget: &Budget, now: i64) -> Windows {
    let key = sum_of(budget);
    budgets::windows(&key).unwrap_or_else(|| spend::load(&key, now).windows)
}
