//! Budgets: set them, and look at them.

use std::collections::BTreeSet;

use pgrx::prelude::*;
use pgrx::{AnyNumeric, Uuid};

use crate::pg::api::batch::{request, required_relation};
use crate::pg::api::{access, workspaces};
use crate::pg::call::batch;
use crate::pg::call::batch::ProviderCosts;
use crate::pg::call::{enqueue, identity};
use crate::pg::provider::spending::Purpose;
use crate::pg::provider::{self, budget_events, login, spending};
use crate::pg::shared::{budgets, layout, transaction};
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::spend::{self, Budget};
use crate::pg::store::{cache, job_history};
use crate::pg::sys::{clock, raise, row, spi};
use leadlex_domain::call_error::short;
use leadlex_domain::fields::Field;
use leadlex_domain::job::{OWED_BY_DISABLED, STILL_PENDING};
use leadlex_domain::money::windows::Period;
use leadlex_domain::money::{Amount, Currency, OVER_BUDGET, OVER_MOST_CREDITS, WITHOUT_PRICE};
use leadlex_domain::pause::Cause;
use leadlex_domain::provider::{Config, Inquiry, price_remedy};

/// leadlex.set_budget(provider, period, amount numeric, workspace_id, currency): sets what may be spent in a period, or with
/// `amount` NULL takes that away. `provider` NULL is all together, `workspace_id` NULL all workspaces together, `currency`
/// NULL the one currency of the providers concerned. A WARNING names providers that it keeps from being asked.
///
/// Raises 22023: an argument is wrong, or the currency has to be given. 40001: the budget has changed since the transaction's
/// one snapshot. 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn set_budget(
    provider: Option<&str>,
    period: Option<&str>,
    amount: Option<AnyNumeric>,
    workspace_id: Option<Uuid>,
    currency: Option<&str>,
) {
    cache::refresh();
    let provider = provider.map(|name| match cache::providers().iter().find(|p| p.name == name) {
        Some(known) => known.name.clone(),
        None => raise::invalid(format!("there is no provider \"{}\"", short(name)), "See leadlex.provider."),
    });
    let period = self::period(super::required(period, "period"));
    let workspace = workspace_id.map(|id| super::known_workspace(super::plain(id)));
    let amount = amount.map(|amount| self::amount(&amount.to_string()));
    let concerned = concerned(provider.as_deref(), workspace);
    let currency = match currency {
        Some(name) => Currency::parse(name).unwrap_or_else(|| {
            raise::invalid(
                format!("\"{}\" is not a currency", short(name)),
                "A currency is three capital letters, such as USD.",
            )
        }),
        None => the_one_currency(provider.as_deref(), period, workspace, &concerned, amount.is_none()),
    };
    let budget = Budget { provider, period, workspace, currency, amount: amount.unwrap_or_default() };
    if amount.is_none() {
        match spend::take_budget(&budget) {
            true => wake_jobs(),
            false => pgrx::notice!("there was no such budget"),
        }
        return;
    }
    spend::set_budget(&budget);
    wake_jobs();
    for provider in concerned.iter().filter(|provider| provider.enabled) {
        if let Ok(config) = &provider.config {
            warn(&provider.name, config, &budget);
        }
    }
}

/// What a job says that waits for money.
const WORDS_FOR_MONEY: [&str; 3] = [OVER_BUDGET, WITHOUT_PRICE, OVER_MOST_CREDITS];

/// Jobs that wait for money are looked at again when this transaction is committed.
pub fn wake_jobs() {
    wake_waiting(&[&WORDS_FOR_MONEY[..], &[STILL_PENDING]].concat(), None);
}

/// The same of jobs that wait because of how a provider was described or billed: one that is paused, too, as a changed
/// description or another provider may answer; where there was none to ask; and for what a disabled one owes. `changed`: the provider.
pub fn wake_jobs_of_providers(changed: &str) {
    let paused = [Cause::Breaker, Cause::Quota, Cause::Credentials].map(Cause::words);
    let none = [provider::ALL_DISABLED, provider::NONE_CONFIGURED, OWED_BY_DISABLED, STILL_PENDING];
    wake_waiting(&[&WORDS_FOR_MONEY[..], &paused[..], &none[..]].concat(), Some(changed));
}

fn wake_waiting(reasons: &[&str], changed: Option<&str>) {
    if !layout::available() {
        return;
    }
    for role in job_history::wake(reasons, changed) {
        enqueue::note(role);
        transaction::mark_called();
    }
}

fn period(name: &str) -> Period {
    Period::parse(name).unwrap_or_else(|| {
        raise::invalid(format!("there is no period \"{}\"", short(name)), "Periods are day, month and total.")
    })
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap_or_else(|why| {
        raise::invalid(format!("amount {}", why.words()), "Pass NULL to take a budget away.")
    })
}

/// The providers whose requests the budget would count.
fn concerned(provider: Option<&str>, workspace: Option<uuid::Uuid>) -> Vec<std::rc::Rc<LoadedProvider>> {
    let is_meant = |p: &&std::rc::Rc<LoadedProvider>| {
        provider.is_none_or(|name| name == p.name)
            && workspace.is_none_or(|id| p.workspace.is_none_or(|own| own == id))
    };
    cache::providers().iter().filter(is_meant).cloned().collect()
}

/// Of their prices, or of the budgets that could be meant to be taken away.
fn the_one_currency(
    provider: Option<&str>,
    period: Period,
    workspace: Option<uuid::Uuid>,
    concerned: &[std::rc::Rc<LoadedProvider>],
    taken_away: bool,
) -> Currency {
    let price = |p: &std::rc::Rc<LoadedProvider>| Some(p.config.as_ref().ok()?.price()?.currency);
    let mut known: BTreeSet<Currency> = concerned.iter().filter_map(price).collect();
    if taken_away {
        let is_meant =
            |b: &&Budget| (b.provider.as_deref(), b.period, b.workspace) == (provider, period, workspace);
        let set: BTreeSet<Currency> =
            cache::budgets().iter().filter(is_meant).map(|budget| budget.currency).collect();
        if !set.is_empty() {
            known = set;
        }
    }
    let names: Vec<&str> = known.iter().map(Currency::name).collect();
    match (names.as_slice(), known.first()) {
        ([_], Some(only)) => *only,
        ([], _) => raise::invalid(
            "currency must be given: no provider that the budget concerns has a price",
            "Pass currency => 'USD', and give prices with leadlex.alter_provider(name, config => '{\"price\": …}').",
        ),
        _ if taken_away => raise::invalid(
            format!("currency must be given: there are such budgets in {}", names.join(" and ")),
            format!("Pass the currency of the one to take away: currency => '{}', for example.", names[0]),
        ),
        _ => raise::invalid(
            format!("currency must be given: what the budget is about is in {}", names.join(", ")),
            "Pass currency => 'USD'. A budget counts one currency.",
        ),
    }
}

/// Warns of each budget that keeps this provider from being asked. `workspace`: whose it is.
pub fn warn_of_budgets(name: &str, workspace: Option<uuid::Uuid>, config: &Config) {
    for budget in cache::budgets().iter() {
        let meant = budget.provider.as_deref().is_none_or(|of| of == name)
            && budget.workspace.is_none_or(|id| workspace.is_none_or(|own| own == id));
        if meant {
            warn(name, config, budget);
        }
    }
}

fn warn(name: &str, config: &Config, budget: &Budget) {
    if config.price().is_some_and(|price| price.currency == budget.currency) {
        return;
    }
    let own = config.price().map(|price| price.currency);
    let remedy = price_remedy(name, budget.currency.name(), own.as_ref().map(Currency::name));
    let literal = |text: Option<String>| {
        text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
    };
    let (provider, workspace) =
        (literal(budget.provider.clone()), literal(budget.workspace.map(|id| id.to_string())));
    raise::warning(
        &format!(
            "provider \"{name}\" has no price in {}: it is not asked while this budget concerns it (no_price)",
            budget.currency
        ),
        "What has no price cannot be counted.",
        &format!(
            "{remedy} SELECT leadlex.set_budget({provider}, '{}', NULL, workspace_id => {workspace}, currency => '{}') takes this budget away.",
            budget.period.name(),
            budget.currency
        ),
        &spi::About::default(),
    );
}

type BudgetRow = (
    Option<String>,
    &'static str,
    Option<Uuid>,
    String,
    String,
    String,
    String,
    Option<TimestampWithTimeZone>,
    &'static str,
    String,
);

/// leadlex.budget: one row for each budget that the caller may see, amounts as text. `used` is what was spent in the period, what
/// is unknown after a crash, and what requests under way and questions that were handed in can cost at most. `kept_for_polls`: of what
/// remains, what only those may use that ask for what was handed in.
///
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn budget_report() -> TableIterator<
    'static,
    (
        name!(provider, Option<String>),
        name!(period, &'static str),
        name!(workspace_id, Option<Uuid>),
        name!(currency, String),
        name!(amount, String),
        name!(used, String),
        name!(remaining, String),
        name!(resets_at, Option<TimestampWithTimeZone>),
        name!(state, &'static str),
        name!(kept_for_polls, String),
    ),
> {
    cache::refresh();
    layout::require();
    let all = workspaces::watches() || access::administers();
    let own = if all { Vec::new() } else { identity::readable() };
    let sees = |budget: &&Budget| all || budget.workspace.is_some_and(|id| own.contains(&id));
    let rows: Vec<BudgetRow> = cache::budgets().iter().filter(sees).map(shown).collect();
    TableIterator::new(rows)
}

fn shown(budget: &Budget) -> BudgetRow {
    let now = clock::now();
    let standing = standing(budget, now);
    let used = standing.used;
    (
        budget.provider.clone(),
        budget.period.name(),
        budget.workspace.map(row::pg),
        budget.currency.to_string(),
        budget.amount.to_string(),
        used.to_string(),
        budget.amount.minus(used).to_string(),
        budget.period.resets_at(now).map(|at| to_timestamp(at as f64)),
        state(budget, &standing),
        standing.kept_for_polls.to_string(),
    )
}

/// How a budget stands.
struct Standing {
    /// What counts against it: with what requests under way and questions that were handed in can cost at most.
    used: Amount,
    /// What is left once they have cost nothing.
    unspent: Amount,
    /// What is left for a request that asks something new: without what is kept for polls, too.
    left: Amount,
    /// Of what is not used: for polls alone.
    kept_for_polls: Amount,
    owes_answers: bool,
}

/// `out`: no request that it concerns can be paid from it; `kept`: none until what is under way is answered; `low`: it is mostly used.
fn state(budget: &Budget, standing: &Standing) -> &'static str {
    let concerned = concerned(budget.provider.as_deref(), budget.workspace);
    let least = |polls: bool| {
        let of_each =
            concerned.iter().filter_map(|provider| least_of_a_request(provider, budget.currency, polls));
        // Where none has a price, the last bit is as good as any.
        of_each.min().unwrap_or(Amount(1))
    };
    match () {
        // Where little is left, one question is handed in at a time, without room for all of its polls.
        () if standing.unspent < least(false) => "out",
        () if standing.left < least(standing.owes_answers) => "kept",
        () if budget_events::is_low(standing.used, budget.amount) => "low",
        () => "ok",
    }
}

/// What has to be free for the cheapest request of a provider that is asked: with the login that it wants first and, if so wished,
/// `polls` of what it hands in. `None`: it has no price in that currency.
fn least_of_a_request(provider: &LoadedProvider, currency: Currency, polls: bool) -> Option<Amount> {
    let config = provider.config.as_ref().ok().filter(|_| provider.enabled)?;
    let price = config.price().filter(|price| price.currency == currency)?;
    let beside = match Purpose::of(config, &Inquiry::new(config.fills()), None) {
        Purpose::HandIn(most) if polls => most,
        _ => 0,
    };
    let logs_in = config.login().is_some() && !login::is_held(provider);
    let beside = price.per_request().times(beside + u64::from(logs_in));
    let of_one = |field: Field| price.most(config.maps_of([field].into_iter().collect()));
    config.maps().iter().map(of_one).min().map(|most| most.plus(beside))
}

/// At `now`, in epoch seconds.
fn standing(budget: &Budget, now: i64) -> Standing {
    let key = budget_events::sum_of(budget);
    let (windows, lost) = match budgets::windows(&key) {
        Some(windows) => (windows, Amount::ZERO),
        None => {
            let known = spend::load(&key, now);
            (known.windows, known.left)
        }
    };
    let spent = windows.used(budget.period, now);
    let known = spent.plus(windows.open());
    // What a crash has left is not booked yet, and no more than the budget allowed.
    let lost = lost.min(budget.amount.minus(known));
    let left_over = budget.amount.minus(known.plus(lost));
    Standing {
        used: known.plus(lost),
        kept_for_polls: windows.kept_for_polls().min(left_over),
        owes_answers: windows.owes_answers(),
        unspent: budget.amount.minus(spent.plus(lost)),
        left: windows.left((budget.period, budget.amount), false, now).minus(lost),
    }
}

type CostRow = (
    String,
    i64,
    i64,
    AnyNumeric,
    Option<AnyNumeric>,
    Option<AnyNumeric>,
    Option<AnyNumeric>,
    Option<String>,
    Option<AnyNumeric>,
);

/// leadlex.estimate_cost(relation regclass, ids text[], fields text[], overwrite boolean): what a batch would cost now, without
/// asking a provider. One row for each enabled provider, in the order of the waterfall. `ids` NULL is no contact.
///
/// Raises the errors of leadlex.estimate.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn estimate_cost(
    relation: Option<pg_sys::Oid>,
    ids: Option<Vec<Option<String>>>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
) -> TableIterator<
    'static,
    (
        name!(provider, String),
        name!(requests_least, i64),
        name!(requests_most, i64),
        name!(requests_expected, AnyNumeric),
        name!(cost_least, Option<AnyNumeric>),
        name!(cost_most, Option<AnyNumeric>),
        name!(cost_expected, Option<AnyNumeric>),
        name!(currency, Option<String>),
        name!(budget_remaining, Option<AnyNumeric>),
    ),
> {
    cache::refresh();
    let target = required_relation(relation);
    let estimate = batch::estimate_cost(target, ids.unwrap_or_default(), request(fields, overwrite))
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    let row = |costs: &ProviderCosts| -> CostRow {
        let priced = |amount: Amount| costs.currency.map(|_| numeric(amount));
        let remaining = remaining(&costs.provider.name, estimate.workspace, costs.currency);
        let (requests, cost) = (costs.requests(), costs.cost());
        (
            costs.provider.name.clone(),
            requests.least as i64,
            requests.most as i64,
            numeric(Amount::of_reported(requests.expected)),
            priced(cost.least),
            priced(cost.most),
            priced(Amount::of_reported(cost.expected)),
            costs.currency.map(|currency| currency.to_string()),
            remaining.map(numeric),
        )
    };
    TableIterator::new(estimate.in_order().map(row).collect::<Vec<_>>())
}

fn numeric(amount: Amount) -> AnyNumeric {
    AnyNumeric::try_from(amount.to_string().as_str()).unwrap_or_default()
}

/// What is left for new requests of the budget with the least left, of those in its currency; `None`: none concerns it.
fn remaining(provider: &str, workspace: uuid::Uuid, currency: Option<Currency>) -> Option<Amount> {
    let now = clock::now();
    let all = cache::budgets();
    let concerned = all.iter().filter(|budget| spending::concerns(budget, provider, workspace));
    let concerned = concerned.filter(|budget| currency == Some(budget.currency));
    let left = |budget: &Budget| {
        let standing = standing(budget, now);
        budget.amount.minus(standing.used).minus(standing.kept_for_polls)
    };
    concerned.map(left).min()
}
