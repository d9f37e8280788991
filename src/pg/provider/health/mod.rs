//! Providers' health and tallies, in shared memory for all backends of all databases. Helper threads write here, since an
//! answer may come after its call was cancelled.
//!
//! A place holds what a provider came to since the server started (`since`) and what the tables had before (`base`); the
//! worker writes the sum. A place that is wanted for another provider is the one not used for longest.

use crate::pg::installation;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::pg::provider::spending::Spending;
use crate::pg::shared::events::{self, About, Event};
use crate::pg::shared::layout::{AccountKey, Lock};
use crate::pg::shared::{layout, provider_slots};
use crate::pg::store;
use crate::pg::sys::{robust_mutex, settings};
use leadlex_domain::event::Kind;
use leadlex_domain::health::{Ending, Permit, Policy, Question};
use leadlex_domain::money::hold::HoldChange;
use leadlex_domain::money::quality::is_of_another;
use leadlex_domain::pause::Pause;
use leadlex_domain::provider::Supplied;
use leadlex_domain::provider::{Effect, Fault, FaultKind, Progress, Reported, Verdict};
use leadlex_domain::tally::Count;

use crate::pg::shared::provider_slots::{ProviderSlot, SlotState};
use crate::pg::shared::throttle::Place;

thread_local! {
    /// Where a provider stood last time; checked at every use.
    static SEEN: RefCell<HashMap<AccountKey, ProviderSlot>> = RefCell::new(HashMap::new());
}

/// The place of a provider of this database, with what the tables say of it.
pub fn open(provider: Uuid) -> ProviderSlot {
    let key = installation::account_key(provider);
    let slot = match SEEN.with_borrow(|seen| seen.get(&key).copied()).filter(|slot| slot.touch()) {
        Some(slot) => slot,
        None => find_or_take(key),
    };
    SEEN.with_borrow_mut(|seen| seen.insert(key, slot));
    if slot.with(|state| state.loaded) == Some(false) {
        // Two may read at once: the second finds it done. Nothing is written to the tables before.
        let base = store::tallies::load(provider);
        let low_before = store::vendor_balances::was_low(provider);
        slot.with(|state| {
            if !state.loaded {
                state.base = base;
                state.balance_is_low |= low_before && state.balance_at == 0;
                state.loaded = true;
            }
        });
    }
    slot
}

/// The place of a provider that has one.
pub fn find(provider: Uuid) -> Option<ProviderSlot> {
    let key = installation::account_key(provider);
    (0..provider_slots::count())
        .find_map(|index| provider_slots::with(index, |state| state.slot_of(index, key)))
}

/// Whether the provider is paused, or has to be tried after a pause.
pub fn is_paused(provider: Uuid) -> bool {
    find(provider).and_then(|slot| slot.with(|state| state.health.pause().is_some())) == Some(true)
}

fn find_or_take(key: AccountKey) -> ProviderSlot {
    let _directory = layout::lock(Lock::Directory);
    let mut best: Option<((bool, bool, i64), usize)> = None;
    for index in 0..provider_slots::count() {
        if let Some(slot) = provider_slots::with(index, |state| state.slot_of(index, key)) {
            return slot;
        }
        // A free one, else one of which the tables know everything, else the oldest.
        let rank = provider_slots::with(index, |s| (!s.is_free(), s.changes != s.recorded, s.last_used));
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, index));
        }
    }
    let index = best.map_or(0, |(_, index)| index);
    provider_slots::with(index, |state| {
        provider_slots::note_displaced(state);
        *state =
            SlotState { key, generation: state.generation + 1, last_used: clock::now(), ..SlotState::FREE };
        ProviderSlot { index, key, generation: state.generation }
    })
}

/// A request on its way: what its thread needs to tell how it ended.
#[derive(Clone, Debug)]
pub struct InFlightRequest {
    pub slot: ProviderSlot,
    pub question: Question,
    pub sent_at: i64,
    /// It had all the time that the provider is to have.
    pub in_full: bool,
    pub policy: Policy,
    /// Its place among those that the vendor takes; `None`: it takes any number.
    pub place: Option<Arc<Place>>,
    /// What it may cost; `None`: not known yet.
    pub spending: Option<Arc<Spending>>,
}

impl ProviderSlot {
    /// Whether the provider may be asked.
    pub fn permit(self, question: Question, others: bool, lease: Duration) -> Permit {
        let now = clock::now_us();
        let permitted = self.with(|state| {
            let before = state.health.trouble();
            (state.health.permit(question, others, now, lease), before, state.health.trouble())
        });
        let Some((permit, before, after)) = permitted else { return Permit::Ask };
        self.tell(before, after);
        permit
    }

    /// It was passed over.
    pub fn skipped(self) {
        self.with(|state| state.count(Count::Skipped));
        workers::note_work();
    }

    /// The request that was permitted is not sent now.
    pub fn give_back(self, permit: Permit) {
        self.with(|state| state.health.give_back(permit));
    }

    /// The request that was permitted is not sent after all, and why.
    pub fn not_sent(self, permit: Permit, fault: &Fault) {
        self.with(|state| {
            state.health.give_back(permit);
            state.count(Count::Failed(fault.kind));
            state.note_error(fault);
        });
        workers::note_work();
    }

    /// Counts a request that is sent. `in_full`: it has the provider's whole timeout, so that a timeout
    /// counts as a failure.
    pub fn sent(self, question: Question, in_full: bool, place: Option<Arc<Place>>) -> InFlightRequest {
        let met = self.with(|state| {
            let before = state.health.trouble();
            state.health.meet(question.identity);
            state.count(Count::Calls);
            (before, state.health.trouble())
        });
        if let Some((before, after)) = met {
            self.tell(before, after);
        }
        workers::note_work();
        InFlightRequest {
            slot: self,
            question,
            sent_at: clock::now_us(),
            in_full,
            policy: settings::breaker(),
            place,
            spending: None,
        }
    }
}

impl ProviderSlot {
    /// An event where administrators are to know of the change. From any thread, see [`events::post`].
    fn tell(self, before: Option<Pause>, after: Option<Pause>) {
        let (kind, detail) = match (before, after) {
            (None, Some(pause)) => (Kind::ProviderPaused, json!({"cause": pause.cause.name()})),
            (Some(_), None) => (Kind::ProviderBack, json!({})),
            _ => return,
        };
        let AccountKey { database, catalog, id } = self.key;
        let about = About { provider: Uuid::from_bytes(id), ..About::default() };
        events::post(&Event { database, catalog, kind, about, part: 0, count: 1, detail });
    }
}

impl InFlightRequest {
    /// From a helper thread, before what came of the request is told: what becomes of questions that were handed in.
    pub fn note_holds(&self, change: HoldChange) {
        if let Some(spending) = &self.spending {
            spending.note_holds(change);
        }
    }

    /// From a helper thread: what came of the request, what its answer supplied, and what it cost.
    pub fn ended(&self, came: &Progress, supplied: Supplied, cost: Option<Reported>) {
        let (ending, count) = self.ending_of(came);
        let of_it = (std::slice::from_ref(came), std::slice::from_ref(&supplied));
        self.note(of_it, ending, count.into_iter().collect(), cost);
    }

    /// The same of one request about several contacts, and what it came to for each. Where one was answered, so was the request.
    pub fn ended_for_all(&self, came: &[Progress], supplied: &[Supplied], cost: Option<Reported>) {
        let endings: Vec<_> = came.iter().map(|came| self.ending_of(came)).collect();
        let Some(first) = endings.first() else {
            return self.note((&[], &[]), Ending::Unknown, Vec::new(), cost);
        };
        let answered = endings.iter().find(|(ending, _)| *ending == Ending::Answered);
        let account = endings.iter().find(|(ending, _)| {
            matches!(ending, Ending::Failed { kind, .. } if
            matches!(kind.effect(), Effect::RateLimited | Effect::Quota | Effect::Credentials))
        });
        let ending = answered.or(account).unwrap_or(first).0;
        let counts = endings.iter().filter_map(|(_, count)| *count).collect();
        self.note((came, supplied), ending, counts, cost);
    }

    /// From any thread: what the answer says is left with the vendor, and whether that is little.
    pub fn note_balance(&self, balance: Option<(f64, bool)>) {
        let Some((balance, is_low)) = balance else { return };
        let now = clock::now_us();
        robust_mutex::from_thread(|| {
            let before = self.slot.with(|state| {
                (state.balance, state.balance_at) = (balance, now);
                state.changes += 1;
                std::mem::replace(&mut state.balance_is_low, is_low)
            });
            if is_low && before == Some(false) {
                let AccountKey { database, catalog, id } = self.slot.key;
                let about = About { provider: Uuid::from_bytes(id), ..About::default() };
                let detail = json!({"balance": balance});
                events::post(&Event {
                    database,
                    catalog,
                    kind: Kind::VendorBalanceLow,
                    about,
                    part: 0,
                    count: 1,
                    detail,
                });
            }
        });
    }

    /// The same of a login. It is about no contact, so that whatever is wrong with its answer is so for all of them. That it went
    /// well says nothing of the requests after it.
    pub fn login_ended(&self, came: &Progress) {
        let (ending, count) = match self.ending_of(came) {
            (Ending::Failed { kind, .. }, count) if kind.effect() == Effect::Answer => {
                (Ending::Useless, count)
            }
            (Ending::Answered, count) => (Ending::Unknown, count),
            other => other,
        };
        self.note((std::slice::from_ref(came), &[]), ending, count.into_iter().collect(), None);
    }

    fn ending_of(&self, came: &Progress) -> (Ending, Option<Count>) {
        match came {
            Progress::Over(verdict) => (self.ending(verdict), Some(Count::of(verdict))),
            // It counts as a call alone: what it leads to counts as the answer.
            Progress::Next { .. } => (Ending::Answered, None),
            // Whether the secret is good is told by the login.
            Progress::LogInAgain => (Ending::Unknown, Some(Count::Failed(FaultKind::BadCredentials))),
            Progress::Pending { fault, .. } | Progress::TicketUnknown(fault) | Progress::Failed(fault) => {
                let verdict = Verdict::Failed(fault.clone());
                (self.ending(&verdict), Some(Count::of(&verdict)))
            }
        }
    }

    fn note(
        &self,
        (came, supplied): (&[Progress], &[Supplied]),
        ending: Ending,
        counts: Vec<Count>,
        cost: Option<Reported>,
    ) {
        if let Some(spending) = &self.spending {
            spending.settle(came, supplied, cost);
        }
        let now = clock::now_us();
        let error = came.iter().find_map(|came| match came {
            Progress::TicketUnknown(fault) | Progress::Failed(fault) => Some(fault),
            _ => None,
        });
        robust_mutex::from_thread(|| {
            let told = self.slot.with(|state| {
                let before = state.health.trouble();
                state.health.ended(self.question, self.sent_at, now, ending, self.policy);
                counts.iter().for_each(|count| state.count(*count));
                let others = came.iter().filter(|came| is_of_another(came));
                others.for_each(|_| state.count(Count::OtherPersons));
                state.since.add_cost(cost.and_then(Reported::credits));
                if cost == Some(Reported::Unreadable) {
                    state.since.add(Count::CostsUnread);
                }
                state.latencies.add((now - self.sent_at).max(0) as u64);
                if let Some(fault) = error {
                    state.note_error(fault);
                }
                (before, state.health.trouble())
            });
            if let Some((before, after)) = told {
                self.slot.tell(before, after);
            }
        });
        // Who is asked about next meets the pause, if there is one.
        if let Some(place) = &self.place {
            place.end();
        }
    }

    fn ending(&self, verdict: &Verdict) -> Ending {
        match verdict {
            Verdict::Failed(fault) if self.in_full || fault.kind != FaultKind::Timeout => {
                Ending::Failed { kind: fault.kind, retry_after_s: fault.retry_after_s }
            }
            Verdict::Failed(_) => Ending::Unknown,
            _ => Ending::Answered,
        }
    }
}
