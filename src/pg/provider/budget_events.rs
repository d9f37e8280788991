//! Events of budgets: most of one is used, or it has not enough left for a request. Each is told once for each period of a budget
//! and its amount: here as far as this process knows, and by the worker as far as leadlex.event does.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::pg::installation;
use crate::pg::shared::budgets::{self, SumKey};
use crate::pg::shared::events::{self, About, Event};
use crate::pg::shared::transaction::{self, OwnEvent};
use crate::pg::store::cache;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::spend::{self, Budget};
use crate::pg::sys::clock;
use leadlex_domain::event::Kind;
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::provider::price::Price;

/// Of a budget that is used to so many percent it is told that it is low.
const LOW_PERCENT: u64 = 80;
/// More is not remembered at once: then the process begins anew to remember.
const MOST_TOLD: usize = 10_000;

thread_local! {
    static TOLD: RefCell<HashSet<String>> = RefCell::default();
}

/// Where a request of this workspace to this provider counts; `None`: without a price.
pub fn sum_key(currency: Option<Currency>, workspace: Uuid, provider: &str) -> SumKey {
    let key = installation::account_key(workspace);
    SumKey {
        database: key.database,
        catalog: key.catalog,
        currency: currency.unwrap_or(Currency::NONE),
        workspace: key.id,
        provider: budgets::name_bytes(provider),
    }
}

/// The sum that a budget counts.
pub fn sum_of(budget: &Budget) -> SumKey {
    let workspace = budget.workspace.unwrap_or(spend::EVERY_WORKSPACE);
    sum_key(Some(budget.currency), workspace, budget.provider.as_deref().unwrap_or_default())
}

/// A request was passed over, since this budget has not enough left at `now` (epoch seconds).
pub fn tell_out(budget: &Budget, now: i64) {
    let used = budgets::windows(&sum_of(budget))
        .map(|windows| windows.used(budget.period, now).plus(windows.open()));
    tell(Kind::BudgetOut, about(budget), detail(budget, now), used.unwrap_or_default());
}

/// An answer of the provider has reported more credits than its price says, so that no budget can count it.
pub fn tell_reported(provider: &LoadedProvider, reported: Amount, most: Amount) {
    let detail = json!({"reported": reported.to_f64(), "most_credits": most.to_f64()});
    post(Kind::BudgetOut, About { provider: provider.id, ..About::default() }, &detail, None);
}

/// Whether so much of a budget is used that it is told of.
pub fn is_low(used: Amount, budget: Amount) -> bool {
    used.times(100) >= budget.times(LOW_PERCENT)
}

/// Tells of budgets that are used up, or mostly, at `now` (epoch seconds): of those that were spent from a short while ago.
pub fn look(now: i64) {
    for budget in cache::budgets().iter().filter(|budget| budget.amount > Amount::ZERO) {
        let Some(windows) = budgets::windows(&sum_of(budget)) else { continue };
        // Requests on their way are over soon, and may cost nothing.
        let spent = windows.used(budget.period, now).plus(windows.held());
        let kind = match spent {
            spent if spent >= budget.amount => Kind::BudgetOut,
            spent if is_low(spent, budget.amount) => Kind::BudgetLow,
            _ => continue,
        };
        let used = windows.used(budget.period, now).plus(windows.open());
        tell(kind, about(budget), detail(budget, now), used);
    }
}

/// Tells of providers whose answers have just reported more credits than their price says: where a budget concerns them, they are
/// passed over from then on.
pub fn look_at_reports(reports: &[(SumKey, Amount)]) {
    let budgets = cache::budgets();
    for (key, reported) in reports {
        let providers = cache::providers();
        let Some(provider) = providers.iter().find(|provider| provider.name == key.name()) else { continue };
        let price = provider.config.as_ref().ok().and_then(|config| config.price());
        let most = price.filter(|price| price.currency == key.currency).and_then(Price::most_credits);
        let counts = |budget: &Budget| {
            budget.currency == key.currency
                && budget.provider.as_deref().is_none_or(|name| name == provider.name)
        };
        if let Some(most) = most.filter(|most| reported > most && budgets.iter().any(counts)) {
            tell_reported(provider, *reported, most);
        }
    }
}

fn about(budget: &Budget) -> About {
    let providers = cache::providers();
    let known = budget.provider.as_deref().and_then(|name| providers.iter().find(|p| p.name == name));
    About {
        workspace: budget.workspace.unwrap_or(Uuid::nil()),
        provider: known.map_or(Uuid::nil(), |provider| provider.id),
    }
}

/// What tells a period of a budget from others.
fn detail(budget: &Budget, now: i64) -> Value {
    json!({
        "period": budget.period.name(),
        "starts": budget.period.starts_at(now),
        "currency": budget.currency.name(),
        "amount": budget.amount.to_f64(),
    })
}

fn tell(kind: Kind, about: About, detail: Value, used: Amount) {
    post(kind, about, &detail, Some(used));
}

fn post(kind: Kind, about: About, detail: &Value, used: Option<Amount>) {
    let catalog = installation::present().catalog;
    // Others are to be told of what is committed.
    let is_unsettled = transaction::with(|t| t.set_budget);
    let key = || format!("{catalog} {} {} {} {detail}", kind.name(), about.workspace, about.provider);
    if !is_unsettled && !is_new(key()) {
        return;
    }
    let mut detail = detail.clone();
    if let Some(used) = used {
        detail["used"] = json!(used.to_f64());
    }
    let database = crate::pg::sys::database::this_database();
    let part = part_of(&detail);
    let event = Event { database, catalog, kind, about, part, count: 1, detail };
    match is_unsettled {
        true => tell_at_commit(event),
        false => events::post(&event),
    }
}

/// Whether this process has not told of it yet; from now on it has.
fn is_new(key: String) -> bool {
    TOLD.with_borrow_mut(|told| {
        if told.len() >= MOST_TOLD {
            told.clear();
        }
        told.insert(key)
    })
}

fn tell_at_commit(event: Event) {
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| {
        let is_same = |own: &OwnEvent| {
            (own.event.kind, own.event.about, own.event.part) == (event.kind, event.about, event.part)
        };
        if !t.events.iter().any(is_same) {
            t.events.push(OwnEvent { event, subtransaction });
        }
    });
}

/// Each budget by itself: one of them is not to be forgotten for another. What was reported of a provider is none.
fn part_of(detail: &Value) -> u64 {
    let words = ["period", "currency"].map(|word| detail[word].as_str().unwrap_or_default());
    let hash = leadlex_domain::hash::hash(&words.map(str::as_bytes));
    u64::from_be_bytes(hash[..8].try_into().unwrap_or_default())
}

/// Whether an event of this detail is about a budget that is not there any more, or has another amount by now.
pub fn is_past(of: &About, told: &Value) -> bool {
    let is_same = |budget: &Budget| {
        let standing = detail(budget, clock::now());
        about(budget) == *of
            && ["period", "currency", "amount"].iter().all(|part| standing[part] == told[part])
    };
    // What was reported of a provider is about none.
    told["period"].is_string() && !cache::budgets().iter().any(is_same)
}

/// Of the detail of such an event, what is the same in each that tells of the same.
pub fn same(detail: &Value) -> Value {
    let mut same = detail.clone();
    if let Some(object) = same.as_object_mut() {
        object.remove("used");
    }
    same
}
