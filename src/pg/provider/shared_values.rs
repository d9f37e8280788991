//! What many people have in common: where it is met on the path of a call. Found by the worker, see
//! [`crate::pg::worker`], and within one set at once.

use crate::pg::installation;
use crate::pg::sys::clock;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};
use uuid::Uuid;

use crate::pg::shared::receipts;
use crate::pg::store;
use crate::pg::store::cache;
use crate::pg::sys::settings;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::person::Person;
use leadlex_domain::provider::{Config, Verdict};
use leadlex_domain::receipt::{Content, Filed};
use leadlex_domain::shared;
use leadlex_domain::shared::{Kind, Named, Sighting, Value};
use leadlex_domain::undone;
use leadlex_domain::undone::Undone;

/// What the members of one set have in common; of a single call, nothing.
pub type Crowd = Rc<RefCell<shared::Crowd>>;

/// That of a call about one contact.
pub fn of_one() -> Crowd {
    Rc::new(RefCell::new(shared::Crowd::of_one()))
}

/// Counts the names of a set's members.
pub fn meet(workspace: Uuid, people: &[Person], crowd: &Crowd) {
    let Some(most) = settings::max_people_per_value() else { return };
    let mut crowd = crowd.borrow_mut();
    for person in people {
        if let Some(named) = Named::of(workspace, person) {
            leadlex_domain::sighting::identifying(workspace, person)
                .for_each(|value| crowd.meet(value, named, most));
        }
    }
}

/// Notes on these people what identifies them no longer.
pub fn mark(workspace: Uuid, people: &mut [Person], crowd: &Crowd) {
    let Some(most) = settings::max_people_per_value() else { return };
    if crowd.borrow().is_empty() && !store::shared_values::any(workspace) {
        return;
    }
    let values: Vec<(usize, Value)> = people
        .iter()
        .enumerate()
        .flat_map(|(at, person)| {
            leadlex_domain::sighting::identifying(workspace, person).map(move |value| (at, value))
        })
        .collect();
    let known = store::shared_values::known(workspace, values.iter().map(|(_, value)| value.hash), most);
    judge(workspace, values.iter().map(|(_, value)| *value), crowd, most);
    let crowd = crowd.borrow();
    for (index, (at, value)) in values.iter().enumerate() {
        if known.get(index).copied().unwrap_or(false) || crowd.is_crowded(*value, most) {
            people[*at].shared.add(value.kind);
        }
    }
    if people.iter().any(|person| person.shared.any()) {
        warn_once();
    }
}

/// Finds out which of the values that too many names of a set share were allowed by an administrator.
fn judge(workspace: Uuid, values: impl Iterator<Item = Value>, crowd: &Crowd, most: usize) {
    let open: Vec<Value> = values.filter(|value| crowd.borrow().is_to_be_judged(*value, most)).collect();
    if open.is_empty() {
        return;
    }
    let hashes: Vec<Hash> = open.iter().map(|value| value.hash).collect();
    let allowed = store::shared_values::allowed(workspace, &hashes);
    let mut crowd = crowd.borrow_mut();
    open.into_iter().for_each(|value| crowd.judge(value, allowed.contains(&value.hash)));
}

/// Whether something of a person turned out to be many people's after it was looked at.
pub fn has_become_shared(workspace: Uuid, person: &Person, crowd: &Crowd) -> bool {
    let Some(most) = settings::max_people_per_value() else { return false };
    judge(workspace, leadlex_domain::sighting::identifying(workspace, person), crowd, most);
    let crowd = crowd.borrow();
    leadlex_domain::sighting::identifying(workspace, person)
        .any(|value| !person.shared.has(value.kind) && crowd.is_crowded(value, most))
}

/// Tells the worker what a set has found by itself.
pub fn report(workspace: Uuid, crowd: &Crowd) {
    // What a provider supplied is counted with its answers.
    let found = crowd.borrow_mut().take_found();
    for (value, names) in found.into_iter().filter(|(value, _)| !value.kind.is_supplied()) {
        for named in names {
            note(workspace, Uuid::nil(), named.row, Sighting { name: named.name, values: vec![value] });
        }
    }
}

/// Who is asked about whom: for answers, which may be about somebody else.
#[derive(Clone)]
pub struct About {
    pub workspace: Uuid,
    pub provider: Uuid,
    pub named: Option<Named>,
    pub crowd: Crowd,
    /// What of the contact's values was taken back before: the same is not used again.
    pub undone: Vec<Undone>,
    /// Fields that the provider is not asked for, because of that.
    pub spared: FieldSet,
}

impl About {
    /// Of this provider's question about this person. `named` is None where the person has no name to count.
    pub fn new(workspace: Uuid, provider: Uuid, person: &Person, crowd: &Crowd) -> About {
        About {
            workspace,
            provider,
            named: Named::of(workspace, person),
            crowd: Rc::clone(crowd),
            undone: Vec::new(),
            spared: FieldSet::EMPTY,
        }
    }

    /// The answer without what was taken back before, and the fields of that: what was not asked for is among them.
    pub fn without_undone(&self, verdict: Verdict) -> (Verdict, FieldSet) {
        let Verdict::Match { mut values, confidence } = verdict else { return (verdict, self.spared) };
        let refused = undone::among(self.workspace, &self.undone, self.provider, &values);
        refused.iter().for_each(|field| values.unset(field));
        (Verdict::Match { values, confidence }, refused.union(self.spared))
    }

    /// Whether the answer has a profile that this provider supplies for many.
    pub fn is_somebody_else(&self, verdict: &Verdict) -> bool {
        let (Some(most), Verdict::Match { values, .. }) = (settings::max_people_per_value(), verdict) else {
            return false;
        };
        // Nobody else is met in this call.
        if self.crowd.borrow().is_of_one() && !store::shared_values::any(self.workspace) {
            return false;
        }
        let Some(value) = shared::answered_profile(self.workspace, self.provider, values) else {
            return false;
        };
        if let Some(named) = self.named {
            self.crowd.borrow_mut().meet(value, named, most);
        }
        judge(self.workspace, std::iter::once(value), &self.crowd, most);
        let found = self.crowd.borrow().is_crowded(value, most) || self.is_known(value, most);
        if found {
            warn_once();
        }
        found
    }

    fn is_known(&self, value: Value, most: usize) -> bool {
        let one = std::iter::once(value.hash);
        store::shared_values::any(self.workspace)
            && store::shared_values::known(self.workspace, one, most).contains(&true)
    }

    /// What a provider is asked with, to be counted with its answer; `None` where nothing is counted.
    pub fn sighting(&self, config: &Config, person: &Person) -> Option<Sighting> {
        settings::max_people_per_value()?;
        let asked = leadlex_domain::sighting::counted(self.workspace, person)
            .filter(|value| config.asks_with(value.kind) && !person.shared.has(value.kind));
        Some(Sighting { name: self.named?.name, values: asked.collect() })
    }

    /// An answer was used once more, for a name that the question does not hold: nothing was sent that would tell it.
    pub fn note_again(&self, config: &Config, person: &Person, verdict: &Verdict) {
        if config.asks_by_name(person) {
            return;
        }
        if let (Some(sighting), Some(named)) = (self.sighting(config, person), self.named) {
            let sighting = sighting.with_answer(self.workspace, self.provider, verdict);
            note(self.workspace, self.provider, named.row, sighting);
        }
    }
}

/// For the worker to count, as long as answers have room enough.
fn note(workspace: Uuid, provider: Uuid, person: Hash, sighting: Sighting) {
    if sighting.values.is_empty() {
        return;
    }
    let key = installation::receipt_key(sighting.key());
    let filed = Filed { workspace, provider, person, content: Content::Nothing, sighting: Some(sighting) };
    receipts::note(key, ContactRow { workspace, hash: person }, clock::now_us(), &filed.to_bytes());
}

/// Once a session, when it meets one.
fn warn_once() {
    thread_local! {
        static TOLD: Cell<bool> = const { Cell::new(false) };
    }
    // SAFETY: a global, null but in background workers, whose warnings nobody reads.
    let is_read = unsafe { pg_sys::MyBgworkerEntry.is_null() };
    if !is_read || TOLD.replace(true) {
        return;
    }
    let message =
        "an e-mail address or LinkedIn profile is shared by many people, and no longer identifies a contact";
    warn(
        message.to_owned(),
        "Contacts with more than leadlex.max_people_per_value different names have this value. A contact that has no other identifying value ends with reason not_identifiable, and an answer with such a profile with reason shared_value. A session gets this warning once.",
    );
}

fn warn(message: String, detail: &str) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "shared_values")
        .set_detail(detail.to_owned())
        .set_hint(
            "leadlex.shared_value lists them, as hashes. SELECT leadlex.allow_shared_value('VALUE') makes one count again.",
        )
        .report(PgLogLevel::WARNING);
}

/// The worker has found one: a line for the server log. None about a telephone number.
pub fn warn_of(kind: Kind, workspace: Uuid, hash: Uuid, provider: Option<Uuid>) {
    let most = settings::max_people_per_value().unwrap_or_default();
    let team = cache::workspace(workspace).map_or_else(|| workspace.to_string(), |found| found.name);
    let names = format!("more than {most} different names in workspace {team}");
    let providers = cache::providers();
    let vendor = provider.and_then(|id| providers.iter().find(|known| known.id == id));
    let vendor = vendor.map_or("a provider that is gone", |known| known.name.as_str());
    let message = match kind {
        Kind::Email => {
            format!("leadlex_enrich: an e-mail address came up with {names}: it identifies no longer")
        }
        Kind::Profile => {
            format!("leadlex_enrich: a LinkedIn profile came up with {names}: it identifies no longer")
        }
        Kind::SuppliedProfile => format!(
            "leadlex_enrich: provider {vendor} supplied one LinkedIn profile for {names}: answers with it are not written any more"
        ),
        Kind::Phone | Kind::SuppliedPhone => return,
    };
    warn(message, &format!("Its hash in leadlex.shared_value is {hash}."));
}
