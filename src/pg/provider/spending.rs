//! What a request may cost, and what it has cost: reserved before it is sent, booked when it is over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::provider::asker::{NotYet, Postponed, Refused};
use crate::pg::provider::budget_events::{self, sum_key};
use crate::pg::provider::lateness::{Waiting, worker_is_late};
use crate::pg::shared::budgets::{self, Denied, EntryKey, Limit, Load, SumKey, Wish};
use crate::pg::shared::{wait, workers};
use crate::pg::store::cache;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::spend::{self, Budget};
use crate::pg::sys::{clock, role};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::money::hold::{Hold, HoldChange};
use leadlex_domain::money::quality::FieldCounts;
use leadlex_domain::money::windows::{Lack, day_of};
use leadlex_domain::money::{Amount, Currency, OVER_BUDGET, OVER_MOST_CREDITS, WITHOUT_PRICE};
use leadlex_domain::provider::price::{self, Bill, Price};
use leadlex_domain::provider::{
    Config, Fault, FaultKind, Inquiry, Progress, Reported, Supplied, price_remedy,
};
use leadlex_domain::reply::Costs;
use leadlex_domain::ticket::Ticket;

/// Between looks whether the worker has written a lease.
const PAUSE: Duration = Duration::from_millis(1);
/// So many requests can be on their way before the tables have to be written again, or fewer where a budget is small.
const LEASED_REQUESTS: u64 = 64;
/// What is held for answers that come later may be free again after so many seconds.
const HELD_S: u64 = 30;
/// The same of what requests on their way can cost.
const UNDER_WAY_S: u64 = 2;
/// A budget is leased in so many parts, so that a crash costs no more than one.
const PARTS_OF_A_BUDGET: i64 = 10;

/// For whom a request is sent, and what for.
#[derive(Clone, Copy)]
pub struct Spender {
    /// Zeros: `leadlex.check_provider`.
    pub workspace: Uuid,
    /// The fields that its answer can supply; `None`: the request alone counts, such as a login.
    pub fields: Option<FieldSet>,
    /// The fields that it is asked for; of several contacts all of them.
    pub wanted: FieldSet,
    /// Of its fields, those that earlier steps supplied: they are paid.
    pub supplied: FieldSet,
    /// How many the request is about.
    pub contacts: u32,
    /// Of what the answer can cost, the part that is kept free since they were handed in.
    pub held: Amount,
    pub purpose: Purpose,
    /// A login goes before it, which is to be affordable besides.
    pub logs_in: bool,
    /// It is kept free for a request that is not sent yet.
    pub is_kept: bool,
}

impl Spender {
    /// To log in, at the cost of this workspace.
    pub fn of_login(workspace: Uuid) -> Spender {
        Spender {
            workspace,
            fields: None,
            wanted: FieldSet::EMPTY,
            supplied: FieldSet::EMPTY,
            contacts: 1,
            held: Amount::ZERO,
            purpose: Purpose::Fetch,
            logs_in: false,
            is_kept: false,
        }
    }
}

/// What a request is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer.
    Ask,
    /// To hand in questions, which will be asked for so many times at most.
    HandIn(u64),
    /// To ask for what was handed in, or for more about what was answered by then, or to log in.
    Fetch,
    /// None is sent: what the answer can cost is kept free beside the requests that bring it, as no ticket does that, and so many polls
    /// at most.
    KeepFree(u64),
}

impl Purpose {
    /// Of the request that is next. `together`: about so many contacts, where it is about several.
    pub fn of(config: &Config, inquiry: &Inquiry, together: Option<usize>) -> Purpose {
        /// More polls are only sent where a budget has something left.
        const MOST_POLLS: u64 = 60;
        // Each may need a login of its own.
        let each = 1 + u64::from(config.login().is_some());
        let polls = config.most_polls().min(MOST_POLLS) * each;
        if polls == 0 {
            // Nothing is kept for its later steps: they take nothing of what is kept for polls of others.
            return Purpose::Ask;
        }
        let is_new = inquiry.is_new();
        if is_new && together.is_some() && config.is_polled_together() {
            return Purpose::HandIn(polls);
        }
        // Handed in together or not, each is asked for by itself.
        match (inquiry.is_to_be_polled(config) && !inquiry.is_poll(config), is_new) {
            (true, _) => Purpose::HandIn(polls * together.unwrap_or(1) as u64),
            (false, true) => Purpose::Ask,
            (false, false) => Purpose::Fetch,
        }
    }
}

/// What is kept free for a question that was handed in, until this provider answers it. `claimed`: nobody else asks for it now.
pub fn held_for(provider: &LoadedProvider, ticket: &Ticket, claimed: bool) -> Option<Hold> {
    ticket.hold.clone().filter(|hold| claimed && hold.provider == provider.name)
}

/// Of that, what a request counts on: none where the price has another currency by now.
pub fn counts_on(config: &Config, hold: &Hold) -> Amount {
    let is_same = config.price().is_some_and(|price| price.currency == hold.currency);
    if is_same { hold.amount } else { Amount::ZERO }
}

/// What the requests of one call have cost.
type Tab = Arc<Mutex<BTreeMap<Currency, Amount>>>;

thread_local! {
    static TAB: RefCell<Option<Tab>> = const { RefCell::new(None) };
}

/// Notes what requests cost that are sent while this is there.
pub struct Noted {
    tab: Tab,
    before: Option<Tab>,
}

impl Noted {
    /// Begins with nothing.
    pub fn begin() -> Noted {
        let tab = Tab::default();
        let before = TAB.replace(Some(Arc::clone(&tab)));
        Noted { tab, before }
    }

    /// By currency; empty where nothing was sent that has a price.
    pub fn costs(&self) -> Costs {
        Costs(self.tab.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        TAB.set(self.before.take());
    }
}

/// A request that is on its way, or about to be. Dropped without a word, it was not sent.
#[derive(Debug)]
pub struct Spending {
    held: budgets::HeldAmount,
    price: Option<Price>,
    /// What its answer can cost at most, for all of its contacts.
    most_of_answer: Amount,
    contacts: u32,
    /// The fields that its answer can supply.
    fields: FieldSet,
    /// What asking for what it hands in can cost, for all of its contacts.
    polls: Amount,
    /// It asks for what was handed in and is paid for with the answer.
    owed: bool,
    of: EntryKey,
    holds: Mutex<HoldChange>,
    /// The fields that it is asked for.
    wanted: FieldSet,
    /// Those that earlier steps supplied.
    supplied: FieldSet,
    tab: Option<Tab>,
}

impl Spending {
    /// From any thread: what came of it for each contact and was supplied, and the credits that its answer reports.
    pub fn settle(&self, came: &[Progress], supplied: &[Supplied], credits: Option<Reported>) {
        let holds = *self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bill =
            price::bill(self.price.as_ref(), (came, supplied), credits, (self.most_of_answer, self.owed));
        bill.unknown = bill.unknown.plus(holds.lost);
        let fields = FieldCounts::of((came, supplied), (self.wanted, self.supplied), bill.cost);
        if !self.held.settle(&bill, &fields, holds) || bill.requests == 0 {
            return;
        }
        if let (Some(price), Some(tab)) = (&self.price, &self.tab) {
            let mut tab = tab.lock().unwrap_or_else(PoisonError::into_inner);
            let known = tab.entry(price.currency).or_default();
            *known = known.plus(bill.cost);
        }
    }

    /// What its answer can cost at most.
    pub fn most_of_answer(&self) -> Amount {
        self.most_of_answer
    }

    /// What was kept free is not spent, as other requests have brought the answer; or it may have been, and will never be known.
    pub fn end_without_request(&self, may_be_spent: bool) {
        let unknown = if may_be_spent { self.most_of_answer } else { Amount::ZERO };
        self.held.settle(&Bill { unknown, ..Bill::default() }, &FieldCounts::NONE, HoldChange::default());
    }

    /// From any thread, before [`Spending::settle`]: what becomes of questions that were handed in.
    pub fn note_holds(&self, change: HoldChange) {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) = change;
    }

    /// What is kept free from now on for one question that this request has handed in, of which these fields are supplied; `None`: it
    /// costs nothing more.
    pub fn new_hold(&self, supplied: FieldSet) -> Option<Hold> {
        let price = self.price.as_ref()?;
        let (currency, amount) = (price.currency, price.most_of_rest(self.fields, supplied));
        let polls = Amount(self.polls.0 / i64::from(self.contacts.max(1)));
        let (id, provider, day) = (Uuid::now_v7(), self.of.of.name().to_owned(), self.of.day);
        let hold = Hold { id, provider, currency, amount, polls, day };
        (amount.plus(polls) > Amount::ZERO).then_some(hold)
    }

    /// From any thread: there was no room to keep what was handed in. It counts as spent.
    pub fn lose(&self, hold: &Hold) {
        budgets::lose(&self.of, hold.amount, hold.polls);
    }

    /// Whether what is held is in the currency of this request.
    pub fn is_in_currency_of(&self, hold: &Hold) -> bool {
        self.price.as_ref().is_some_and(|price| price.currency == hold.currency)
    }

    /// From any thread: what was held in another currency than this request costs is held no more.
    pub fn release(&self, hold: &Hold) {
        budgets::let_go(&self.sum_of(hold), hold.amount, hold.polls);
    }

    /// From any thread: there was no room to keep that this is over.
    pub fn hold_again(&self, hold: &Hold) {
        budgets::hold_again(&self.sum_of(hold), hold.amount, hold.polls);
    }

    fn sum_of(&self, hold: &Hold) -> SumKey {
        SumKey { currency: hold.currency, ..self.of.of }
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        self.held.settle(&Bill::default(), &FieldCounts::NONE, HoldChange::default());
    }
}

/// Whether a budget counts what this workspace spends with this provider.
pub fn concerns(budget: &Budget, provider: &str, workspace: Uuid) -> bool {
    budget.provider.as_deref().is_none_or(|name| name == provider)
        && budget.workspace.is_none_or(|id| id == workspace)
}

/// Of the four sums of a request, the one that the budget is about.
fn limit(budget: &Budget) -> Limit {
    let sum = usize::from(budget.workspace.is_none()) + 2 * usize::from(budget.provider.is_none());
    Limit { sum, period: budget.period, amount: budget.amount }
}

/// Keeps free what the request can cost at most. Err: a budget has not so much left or cannot be counted, or the worker has not
/// written a lease while the call had time; of a set the other contacts are not to be lost with that.
pub fn reserve(
    provider: &LoadedProvider,
    config: &Config,
    spender: Spender,
    left: Duration,
) -> Result<Spending, Refused> {
    let until = Instant::now() + left;
    let mut patience = None;
    loop {
        // What was set meanwhile counts: also for a set that runs for hours.
        cache::forget_changed();
        match attempt(provider, config, spender)? {
            Ok(spending) => return Ok(spending),
            Err(Denied::NotLoaded(key)) if load(&key) => {}
            Err(_) => {
                if !patience.get_or_insert_with(Waiting::begin).lasts() || Instant::now() >= until {
                    return Err(Refused { fault: worker_is_late(), later: None });
                }
                workers::wake();
                wait::nap(PAUSE);
            }
        }
    }
}

/// The inner error: what has to be waited for.
fn attempt(
    provider: &LoadedProvider,
    config: &Config,
    spender: Spender,
) -> Result<Result<Spending, Denied>, Refused> {
    let price = config.price();
    let all = cache::budgets();
    let budgets: Vec<&Budget> =
        all.iter().filter(|budget| concerns(budget, &provider.name, spender.workspace)).collect();
    let is_other = |budget: &&&Budget| price.is_none_or(|price| price.currency != budget.currency);
    if let Some(budget) = budgets.iter().find(is_other) {
        return Err(Refused { fault: no_price(budget, &provider.name, config.price()), later: None });
    }
    let most_of_answer = match (price, spender.fields) {
        (Some(price), Some(fields)) => {
            price.most_of_rest(fields, spender.supplied).times(spender.contacts.into())
        }
        _ => Amount::ZERO,
    };
    // What was handed in is kept free already.
    let open = most_of_answer.minus(spender.held);
    let is_request = !matches!(spender.purpose, Purpose::KeepFree(_));
    let requests = u64::from(is_request) + u64::from(spender.logs_in);
    let most = price.map(|price| price.per_request().times(requests).plus(open));
    let polls = match (spender.purpose, price) {
        (Purpose::HandIn(polls) | Purpose::KeepFree(polls), Some(price)) => price.per_request().times(polls),
        _ => Amount::ZERO,
    };
    let limits: Vec<Limit> = budgets.iter().copied().map(limit).collect();
    let now = clock::now();
    let of = sum_key(price.map(|price| price.currency), spender.workspace, &provider.name);
    let entry = EntryKey { of, day: day_of(now), role: role::caller().to_u32() };
    let wish = Wish {
        entry,
        most,
        limits: &limits,
        fetches: spender.purpose == Purpose::Fetch,
        polls,
        lease: lease(most.unwrap_or_default(), &limits),
        most_credits: price.and_then(Price::most_credits).filter(|_| !limits.is_empty()),
        now,
    };
    let per_request = price.map(Price::per_request).unwrap_or_default();
    let cost = if is_request { per_request } else { Amount::ZERO };
    let sent = Bill { requests: is_request.into(), cost, unknown: open, ..Bill::default() };
    let unknown = if spender.is_kept { Bill::default() } else { sent };
    match budgets::reserve(&wish, unknown) {
        Ok(held) => {
            let tab = TAB.with_borrow(Clone::clone);
            Ok(Ok(Spending {
                held,
                price: price.cloned(),
                most_of_answer,
                contacts: spender.contacts,
                fields: spender.fields.unwrap_or_default(),
                polls,
                owed: spender.held > Amount::ZERO,
                of: entry,
                holds: Mutex::default(),
                wanted: spender.wanted,
                supplied: spender.supplied,
                tab,
            }))
        }
        Err(Denied::Budget(at)) => {
            let needs = (most.unwrap_or_default(), polls);
            let refusal = |budget| over_budget(budget, (needs, wish.fetches), now);
            let (fault, lack) = refusal(budgets[at]);
            // With fewer contacts it may be enough, and so when what is under way is answered.
            let out = budgets.iter().filter(|budget| refusal(budget).1 == Lack::UntilReset);
            out.filter(|_| spender.contacts == 1).for_each(|budget| budget_events::tell_out(budget, now));
            let soon = lack == Lack::UntilRequestsEnd;
            Err(Refused { fault, later: soon.then_some(Postponed::NotYet(NotYet::Money)) })
        }
        Err(Denied::Reported(credits)) => {
            let most = price.and_then(Price::most_credits).unwrap_or_default();
            budget_events::tell_reported(provider, credits, most);
            Err(Refused { fault: over_credits(credits, most), later: None })
        }
        Err(wait) => Ok(Err(wait)),
    }
}

/// How much to lease at once.
fn lease(most: Amount, limits: &[Limit]) -> Amount {
    let smallest = limits.iter().map(|limit| limit.amount.0 / PARTS_OF_A_BUDGET).min();
    let requests = most.times(LEASED_REQUESTS);
    Amount(smallest.map_or(requests.0, |part| part.min(requests.0))).max(most)
}

/// Reads a sum, where nobody else does. `false`: that is to be waited for.
pub fn load(key: &SumKey) -> bool {
    struct Reading<'a>(&'a SumKey);
    impl Drop for Reading<'_> {
        fn drop(&mut self) {
            budgets::not_loaded(self.0);
        }
    }
    match budgets::load(key) {
        Load::Ready => true,
        Load::Theirs | Load::NoRoom => false,
        Load::Mine => {
            // Where it fails, others may try.
            let reading = Reading(key);
            let known = spend::load(key, clock::now());
            match known.any_left {
                false => budgets::loaded(key, known.windows, known.reported),
                true => budgets::want_left_booked(key.database),
            }
            drop(reading);
            !known.any_left
        }
    }
}

pub fn no_price(budget: &Budget, name: &str, price: Option<&Price>) -> Fault {
    let message =
        format!("{WITHOUT_PRICE} {} concerns it, and it has no price in that currency", budget.currency);
    let remedy = price_remedy(name, budget.currency.name(), price.map(|price| price.currency.name()));
    Fault { remedy: Some(remedy), ..Fault::new(FaultKind::NoPrice, message) }
}

/// `needs`: what the request can cost at most, and polls of what it hands in.
pub fn over_budget(budget: &Budget, (needs, fetches): ((Amount, Amount), bool), now: i64) -> (Fault, Lack) {
    let until_reset = budget.period.resets_at(now).map(|at| (at - now).max(1).unsigned_abs());
    let windows = budgets::windows(&budget_events::sum_of(budget));
    let lack = windows.map_or(Lack::UntilReset, |windows| {
        windows.lacks(needs, (budget.period, budget.amount), fetches, now)
    });
    let (most, polls) = match windows.is_some_and(|windows| windows.owes_answers()) {
        true => needs,
        false => (needs.0, Amount::ZERO),
    };
    let at_most = |seconds: u64| Some(until_reset.unwrap_or(u64::MAX).min(seconds));
    let (retry_after_s, until) = match lack {
        Lack::UntilRequestsEnd => (at_most(UNDER_WAY_S), ", until requests that are under way are answered"),
        Lack::UntilAnswersCome => (at_most(HELD_S), ", until answers that come later are there"),
        Lack::UntilReset => (until_reset, ""),
    };
    let words = format!("{}{until}", words(budget, most, polls));
    (Fault { retry_after_s, ..Fault::new(FaultKind::Budget, words) }, lack)
}

fn over_credits(credits: Amount, most: Amount) -> Fault {
    let message = format!(
        "not asked: an answer of it has reported {credits} credits, {OVER_MOST_CREDITS} at most {most}"
    );
    let remedy = "Raise most_credits in its price (leadlex.alter_provider) to what its answers report.";
    Fault { remedy: Some(remedy.into()), ..Fault::new(FaultKind::Budget, message) }
}

/// No workspace learns of the others' budgets more than that there is one.
fn words(budget: &Budget, most: Amount, polls: Amount) -> String {
    let period = match budget.period.name() {
        "total" => OVER_BUDGET.to_owned(),
        period => format!("{OVER_BUDGET} of this {period}"),
    };
    let (amount, currency) = (budget.amount, budget.currency);
    let for_polls = match polls {
        Amount::ZERO => String::new(),
        polls => format!(", of which {polls} are kept for polls"),
    };
    let most = most.plus(polls);
    format!(
        "{period} ({amount} {currency}) does not have enough left for the most that the request can cost ({most}{for_polls})"
    )
}

#[cfg(test)]
#[path = "spending_tests.rs"]
mod tests;
