//! leadlex.max_contacts_per_statement and leadlex.max_cost_per_statement: what could exceed one is refused before a request is
//! sent. The sets of one statement count together; what a statement of the client has asked about before counts as it was
//! reckoned then.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::call::batch::lookup::{self, BatchScope};
use crate::pg::call::batch::{FieldRequest, estimate};
use crate::pg::provider;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::settings;
use crate::pg::table::Binding;
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::sqlstate;

/// Contacts, and the most that they can cost.
#[derive(Clone, Debug, Default)]
struct RequestedSpend {
    contacts: u64,
    costs: BTreeMap<Currency, Amount>,
}

/// The caps that are in force, of which there is one at least.
struct Caps {
    contacts: Option<u64>,
    cost: Option<Amount>,
}

thread_local! {
    /// A statement of the client, and what its sets could ask.
    static BEFORE: RefCell<(i64, RequestedSpend)> = RefCell::default();
}

/// Counts these contacts toward the statement, and refuses them where they could exceed a cap. Without caps nothing is looked at.
///
/// Raises 53400: with what it would ask and cost. Else what an estimate raises.
pub fn require(
    workspace: Uuid,
    binding: &Binding,
    ids: impl Iterator<Item = Option<String>>,
    request: FieldRequest,
) {
    let Some(caps) = Caps::in_force() else { return };
    let asked = reckon(workspace, binding, ids.collect(), request);
    // SAFETY: reads a global.
    let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
    let before = BEFORE.with_borrow(|(of, before)| (*of == statement).then(|| before.clone()));
    let all = asked.plus(&before.unwrap_or_default());
    if let Some(refusal) = caps.refusal(&all) {
        refuse(refusal);
    }
    BEFORE.set((statement, all));
}

/// Why a job of these contacts alone is not begun; `None`: it may be.
pub fn refuses_job(
    workspace: Uuid,
    binding: &Binding,
    ids: &[Option<String>],
    request: FieldRequest,
) -> Option<String> {
    let caps = Caps::in_force()?;
    let asked = reckon(workspace, binding, ids.to_vec(), request);
    let refusal = caps.refusal(&asked)?;
    Some(format!("{}: {}", refusal.sqlstate, refusal.message))
}

/// Whether there are caps: else nothing need be made ready for [`refuses_job`].
pub fn are_in_force() -> bool {
    Caps::in_force().is_some()
}

fn reckon(
    workspace: Uuid,
    binding: &Binding,
    ids: Vec<Option<String>>,
    request: FieldRequest,
) -> RequestedSpend {
    if ids.is_empty() {
        return RequestedSpend::default();
    }
    let scope = BatchScope { workspace, binding, request: lookup::request(binding, request) };
    let providers = provider::enabled_for(workspace);
    let (contacts, estimate) = estimate::most(scope, &providers, ids);
    let mut costs: BTreeMap<Currency, Amount> = BTreeMap::new();
    for provider in &estimate.providers {
        if let Some(currency) = provider.currency {
            let sum = costs.entry(currency).or_default();
            *sum = sum.plus(provider.cost().most);
        }
    }
    RequestedSpend { contacts, costs }
}

impl RequestedSpend {
    fn plus(mut self, other: &RequestedSpend) -> RequestedSpend {
        self.contacts += other.contacts;
        for (currency, cost) in &other.costs {
            let sum = self.costs.entry(*currency).or_default();
            *sum = sum.plus(*cost);
        }
        self
    }

    fn words(&self) -> String {
        let costs: Vec<String> = self
            .costs
            .iter()
            .filter(|(_, cost)| **cost > Amount::ZERO)
            .map(|(currency, cost)| format!("{cost} {currency}"))
            .collect();
        let contacts = match self.contacts {
            1 => "1 contact".to_owned(),
            many => format!("{many} contacts"),
        };
        match costs.is_empty() {
            true => format!("providers would be asked about {contacts}"),
            false => format!(
                "providers would be asked about {contacts}, which can cost up to {}",
                costs.join(" and ")
            ),
        }
    }
}

impl Caps {
    fn in_force() -> Option<Caps> {
        let caps = Caps {
            contacts: settings::max_contacts_per_statement(),
            cost: settings::max_cost_per_statement(),
        };
        (caps.contacts.is_some() || caps.cost.is_some()).then_some(caps)
    }

    /// The names of the settings, and what they allow.
    fn exceeded_by(&self, asked: &RequestedSpend) -> Vec<(&'static str, String)> {
        let [contacts, cost] = settings::CAPS.map(|name| name.to_str().unwrap_or_default());
        let too_many = self.contacts.filter(|most| asked.contacts > *most);
        let too_dear = self.cost.filter(|most| asked.costs.values().any(|cost| cost > most));
        let too_many = too_many.map(|most| (contacts, most.to_string()));
        too_many.into_iter().chain(too_dear.map(|most| (cost, most.to_string()))).collect()
    }

    /// `None`: nothing is exceeded.
    fn refusal(&self, asked: &RequestedSpend) -> Option<PgError<'static>> {
        let exceeded = self.exceeded_by(asked);
        let allowed: Vec<String> =
            exceeded.iter().map(|(name, most)| format!("{name} allows {most}")).collect();
        let names: Vec<&str> = exceeded.iter().map(|(name, _)| *name).collect();
        (!exceeded.is_empty()).then(|| PgError {
            sqlstate: sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            message: format!("{}: {}", asked.words(), allowed.join(", and ")),
            detail: Some("No request was sent for this set, and nothing of it was queued or written. Earlier sets of the same statement count, too.".into()),
            hint: Some(format!(
                "Ask about fewer contacts; leadlex.estimate_cost tells what they can cost. Only a superuser raises {}.",
                names.join(" and ")
            )),
        })
    }
}
