//! The world of a call, as Postgres has it.

use crate::pg::installation;
use crate::pg::sys::role;
use leadlex_domain::sqlstate;
use std::rc::Rc;
use std::time::Instant;

use pgrx::pg_sys;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::pg::call::writing;
use crate::pg::call::writing::Saved;
use crate::pg::call::{identity, preconditions};
use crate::pg::limits::accounts;
use crate::pg::limits::accounts::Reservation;
use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::provider::{Asking, Past, Rejected};
use crate::pg::shared::layout::ClaimKey;
use crate::pg::shared::{claims, transaction};
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::config::LoadedProvider;
use crate::pg::store::idempotency;
use crate::pg::store::ledger;
use crate::pg::store::ledger::Entry;
use crate::pg::store::suppressions;
use crate::pg::sys::raise;
use crate::pg::sys::raise::{Refusal, refuse};
use crate::pg::sys::{settings, snapshot, spi};
use crate::pg::table;
use crate::pg::table::Binding;
use leadlex_domain::ask::Ask;
use leadlex_domain::contact::Contact;
use leadlex_domain::failure::{Failure, short};
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::flow::{CallContext, Enrichment, Opened, Stored, Written};
use leadlex_domain::hash::Hash;
use leadlex_domain::identity::Caller;
use leadlex_domain::merge;
use leadlex_domain::position::Position;
use leadlex_domain::rate::{Status, Window};
use leadlex_domain::receipt;
use leadlex_domain::reply;
use leadlex_domain::reply::Origin;
use leadlex_domain::waterfall::{Gathered, Mode, ProviderOutcome};

/// Which table a call is about: `None` is the first bound one.
pub type Target = Option<pg_sys::Oid>;

/// A call about one contact: what the flow of the domain needs from Postgres, in the order in which it asks.
pub struct SingleCall {
    target: Target,
    caller: Option<Caller>,
    binding: Option<Rc<Binding>>,
    id: String,
    /// The caller's account in shared memory, once its credits or rate are needed.
    account: Option<usize>,
    reservation: Option<Reservation>,
    /// Claims made by this call, to be given up if nothing comes of it.
    claimed: Vec<ClaimKey>,
    /// What the call is about, locked until it ends.
    locked: Vec<ClaimKey>,
    deadline: Option<Instant>,
    overwrite: bool,
    /// In the order of their priority, once they are known.
    providers: Vec<(String, Rc<LoadedProvider>)>,
    /// What they answered before, looked up when the first of them is to be asked.
    past: Option<Past>,
    /// What the person may be listed under, once that was needed.
    listed: Option<(Contact, Vec<Hash>)>,
    /// Of one contact alone, so nothing.
    crowd: Crowd,
    /// The contact as it was read, and the transactions that were over by then, where nothing else changes it.
    read: Option<(u64, Option<Contact>)>,
}

impl SingleCall {
    pub fn new(target: Target) -> SingleCall {
        SingleCall {
            target,
            caller: None,
            binding: None,
            id: String::new(),
            account: None,
            reservation: None,
            claimed: Vec::new(),
            locked: Vec::new(),
            deadline: None,
            overwrite: false,
            providers: Vec::new(),
            past: None,
            listed: None,
            crowd: Crowd::default(),
            read: None,
        }
    }

    fn caller(&self) -> &Caller {
        self.caller.as_ref().expect("identified before")
    }

    fn binding(&self) -> &Rc<Binding> {
        self.binding.as_ref().expect("opened before")
    }

    fn workspace(&self) -> Uuid {
        self.caller().workspace.id
    }

    /// The contact's row.
    fn row(&self) -> Hash {
        receipt::person(self.workspace(), self.binding().name(), &self.id)
    }

    fn account(&mut self) -> usize {
        let workspace = self.workspace();
        *self.account.get_or_insert_with(|| accounts::open(installation::account_key(workspace)))
    }

    fn claim(&mut self, key: ClaimKey, what: &str) {
        preconditions::begin(key, what);
        if claims::claim(key) {
            self.claimed.push(key);
        }
        self.locked.push(key);
    }
}

impl CallContext for SingleCall {
    type Provider = Rc<LoadedProvider>;

    fn request_id(&mut self) -> Uuid {
        Uuid::now_v7()
    }

    fn require_writable(&mut self) {
        preconditions::require_writable();
        transaction::mark_called();
    }

    fn identify(&mut self) -> Result<Caller, Failure> {
        let caller = identify()?;
        self.caller = Some(caller.clone());
        Ok(caller)
    }

    fn open_table(&mut self, caller: &Caller, ask: &Ask) -> Result<Opened, Failure> {
        let binding = binding(self.target);
        self.id = binding.canonical_key(&ask.id).ok_or_else(|| no_key(&binding, &ask.id))?;
        // The table holds another workspace's rows.
        if !binding.may_have_rows_of(caller.workspace.id) {
            return Err(Failure::not_found(&format!("contact {}", ask.id)));
        }
        self.overwrite = ask.overwrite;
        preconditions::refuse_row_in_update(binding.relation());
        binding.require_readable();
        let hides_rows = binding.hides_rows();
        if binding.spelling_may_vary() || hides_rows {
            match binding.read(caller.workspace.id, &self.id) {
                Some(contact) => self.id = contact.id,
                // Not even waited for.
                None if hides_rows => return Err(Failure::not_found(&format!("contact {}", ask.id))),
                None => (),
            }
        }
        let table = format!("{}\n{}", binding.name(), self.id);
        let opened = Opened { fields: binding.fields(), table, key: self.id.clone() };
        self.binding = Some(binding);
        Ok(opened)
    }

    fn require_updatable(&mut self, fields: FieldSet) {
        self.binding().require_updatable(fields);
        self.binding().refuse_if_update_denied(self.workspace(), &self.id);
    }

    /// With an idempotency key it is read before and after the claim on it. Where no transaction has ended in between, there is
    /// nothing new to see.
    fn read_contact(&mut self) -> Option<Contact> {
        if let Some((over, contact)) = self.read.take()
            && over == snapshot::transactions_over()
        {
            return contact;
        }
        let over = snapshot::transactions_over();
        let contact = self.binding().read(self.workspace(), &self.id);
        // Once something is held, this was the last time.
        if self.locked.is_empty() && self.binding().is_ordinary_table() {
            self.read = Some((over, contact.clone()));
        }
        contact
    }

    fn claim_key(&mut self, key: Uuid) {
        let workspace = self.workspace().to_string();
        let claimed = installation::claim_key("key", &[&workspace, &key.to_string()]);
        self.claim(claimed, &format!("idempotency key {key}"));
    }

    fn stored_result(&mut self, key: Uuid) -> Option<Stored> {
        let (fingerprint, result) = idempotency::stored_result(self.workspace(), key)?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or(""), 16).unwrap_or(0);
        Some(Stored { fingerprint: fingerprint.as_bytes().chunks(2).map(byte).collect(), result })
    }

    fn claim_contact(&mut self) {
        let what = format!("contact {}", short(&self.id));
        self.claim(contact_claim(self.binding(), self.workspace(), &self.id), &what);
        if spi::lasting_snapshot() && !self.binding().is_current(self.workspace(), &self.id) {
            refuse(Refusal {
                sqlstate: sqlstate::SERIALIZATION_FAILURE,
                message: "could not serialize access due to concurrent update".into(),
                detail: Some(
                    "The contact has changed since this transaction began; no provider was asked.".into(),
                ),
                hint: Some("The transaction might succeed if retried.".into()),
            });
        }
    }

    fn end_call(&mut self) {
        for key in self.locked.drain(..) {
            preconditions::end(key);
            claims::unlock(&key);
        }
    }

    fn drop_claims(&mut self) {
        claims::give_up(&std::mem::take(&mut self.claimed));
    }

    fn is_suppressed(&mut self, contact: &Contact) -> bool {
        let (workspace, row) = (self.workspace(), self.row());
        suppressions::any(Some(workspace), || {
            if self.listed.as_ref().is_none_or(|(known, _)| known != contact) {
                let listed = provider::listed(workspace, contact, row, &self.crowd);
                self.listed = Some((contact.clone(), listed));
            }
            self.listed.as_ref().map(|(_, listed)| listed.clone()).unwrap_or_default()
        })
    }

    fn providers(&mut self) -> Vec<(String, Rc<LoadedProvider>)> {
        self.providers = provider::for_workspace(self.workspace());
        self.providers.clone()
    }

    fn rate_status(&mut self) -> Status {
        match &self.caller {
            Some(caller) if !caller.workspace.limits.is_unlimited() => {
                let limits = caller.workspace.limits;
                accounts::rate_status(self.account(), limits)
            }
            _ => Status::default(),
        }
    }

    fn use_rate(&mut self) -> Result<(), (Window, i64)> {
        let limits = self.caller().workspace.limits;
        if limits.is_unlimited() {
            return Ok(());
        }
        accounts::admit(self.account(), limits)
    }

    fn reserve_credit(&mut self) -> bool {
        if !self.caller().workspace.has_credit_limit {
            return true;
        }
        self.reservation = accounts::reserve(self.account(), 1, settings::credit_wait());
        self.reservation.is_some()
    }

    fn release_credit(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            accounts::release(reservation);
        }
    }

    fn waterfall(&self) -> (Mode, f64) {
        settings::waterfall()
    }

    fn position(&self) -> Position {
        settings::position()
    }

    fn ask(
        &mut self,
        provider: &Rc<LoadedProvider>,
        contact: &Contact,
        missing: FieldSet,
    ) -> ProviderOutcome {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + settings::total_timeout());
        let left = deadline.saturating_duration_since(Instant::now());
        let (workspace, person) = (self.workspace(), self.row());
        let table = format!("{}\n{}", self.binding().name(), self.id);
        let past = match &mut self.past {
            None => {
                let past =
                    provider::pasts(workspace, &self.providers, &[(contact, person)], &self.crowd).pop();
                self.past.insert(past.unwrap_or_default())
            }
            Some(past) => {
                // What others have supplied makes it another question.
                if !past.is_of(workspace, provider, contact) {
                    past.look_again(workspace, &(provider.name.clone(), Rc::clone(provider)), contact);
                }
                past
            }
        };
        past.put_to(provider.id);
        let asking = Asking { workspace, contact, table: &table, person, overwrite: self.overwrite, past };
        provider::ask(provider, &asking, missing, left)
    }

    fn write(
        &mut self,
        before: Contact,
        gathered: &Gathered,
        fields: FieldSet,
        overwrite: bool,
    ) -> Option<Written> {
        let wanted = |now: &Contact| merge::changes(now, &gathered.values, fields, overwrite);
        let (binding, workspace) = (self.binding(), self.workspace());
        let saved = writing::write_changes(
            binding,
            workspace,
            (&self.providers, &self.crowd),
            before,
            gathered,
            wanted,
        );
        let saved = saved.unwrap_or_else(|somebody_else| somebody_else.refuse(&self.id));
        let Saved { written, rejections } = saved?;
        for rejection in &rejections {
            binding.warn_rejected(&format!("contact {}", short(&self.id)), rejection);
        }
        if let Some(past) = &self.past {
            let offer = Rejected { workspace, past, origins: &gathered.origins, fields: written.rejected };
            provider::note_rejections(&self.providers, &[offer]);
        }
        Some(written)
    }

    fn charge(&mut self, enrichment: &Enrichment) {
        let reply = enrichment.reply;
        let entry = HistoryEntry {
            request_id: reply.request_id,
            updated: reply.fields_updated,
            origin: enrichment.origin,
            origins: &reply.field_origins,
            before: &enrichment.written.before,
            after: &enrichment.written.after,
        };
        ledger::charge(&entry.entry(self.caller(), self.binding(), enrichment.ask.overwrite));
        if let Some(reservation) = self.reservation.take() {
            accounts::spend(reservation);
        }
    }

    fn store_result(&mut self, key: Uuid, fingerprint: [u8; 32], result: &Value) {
        let person = self.row();
        idempotency::store_result(self.workspace(), key, &fingerprint, result, person);
    }

    fn credits(&mut self) -> Option<i64> {
        let limited = self.caller().workspace.has_credit_limit;
        limited.then(|| accounts::balance(self.account()))
    }
}

/// Who is calling.
///
/// Err is LX401, see [`identity::identify`]. Raises 55000: there is neither a key nor any workspace yet.
pub fn identify() -> Result<Caller, Failure> {
    identity::identify().inspect_err(|_| {
        // Nobody could be anybody yet: what is missing is not a grant.
        if settings::api_key().is_none() && config::some_workspaces().is_empty() {
            provider::none_configured();
        }
    })
}

/// The table that a call is about; 55000 where it is not bound.
///
/// A WARNING tells once that the table has lost its triggers.
pub fn binding(target: Target) -> Rc<Binding> {
    let bindings = cache::bindings();
    let binding = match target {
        None => bindings.first().cloned().unwrap_or_else(|| table::none_bound()),
        Some(relation) => {
            let bound = bindings.iter().find(|b| b.relation() == Some(relation));
            bound.cloned().unwrap_or_else(|| not_bound(relation))
        }
    };
    binding.warn_of_lost_triggers();
    binding
}

/// LX400: the text `id` cannot be a key of this table.
pub fn no_key(binding: &Binding, id: &str) -> Failure {
    Failure::validation(
        format!("\"{}\" cannot be a key of {}", short(id), binding.name()),
        "Pass a key of the type of the column bound as id. enrich_contact and enqueue look at the table that was bound first; for others there are enrich_row, enrich_rows and leadlex.enqueue_rows.",
    )
}

/// Held by whoever works on a contact. Of each workspace by itself: none can hold what is another's, whatever id it names.
pub fn contact_claim(binding: &Binding, workspace: Uuid, id: &str) -> ClaimKey {
    installation::claim_key("contact", &[&workspace.to_string(), binding.name(), id])
}

fn not_bound(relation: pg_sys::Oid) -> ! {
    let name = table::name_of(relation);
    let bindings = cache::bindings();
    // SAFETY: catalog look-ups of an existing relation.
    let has_it = |b: &&Rc<Binding>| b.relation().is_some_and(|t| unsafe { table::is_part(relation, t) });
    let whole = bindings.iter().find(has_it);
    let hint = match whole {
        Some(whole) => format!("It is a part of {}, which is: name that table.", whole.name()),
        None => format!("Run SELECT leadlex.bind_contacts({}).", table::literal(&name)),
    };
    raise::not_ready(format!("table {name} is not bound"), hint)
}

/// A contact that was changed, for the books.
pub struct HistoryEntry<'a> {
    pub request_id: Uuid,
    pub updated: FieldSet,
    pub origin: &'a Origin,
    pub origins: &'a FieldMap<Origin>,
    pub before: &'a Contact,
    pub after: &'a Contact,
}

impl HistoryEntry<'_> {
    /// The row for the books: the charge and its history.
    pub fn entry<'a>(&'a self, caller: &'a Caller, binding: &'a Binding, overwrite: bool) -> Entry<'a> {
        let values = |contact: &Contact| {
            let of = |field: Field| {
                (field.name().to_owned(), contact.value(field).map_or(Value::Null, Value::from))
            };
            Value::Object(self.updated.iter().map(of).collect::<Map<_, _>>())
        };
        Entry {
            workspace: caller.workspace.id,
            request_id: self.request_id,
            requested_by: role_name(),
            key_prefix: caller.key_prefix.as_deref(),
            schema: &binding.schema,
            table: &binding.table,
            contact_id: &self.after.id,
            overwrite,
            source: &self.origin.source,
            confidence: self.origin.confidence,
            fields: self.updated.names().into_iter().map(str::to_owned).collect(),
            field_sources: reply::field_sources(self.updated, self.origins),
            old_values: values(self.before),
            new_values: values(self.after),
        }
    }
}

/// Who calls. A role that was dropped while its call waited for a provider is only a number by now.
fn role_name() -> String {
    role::name_of(role::caller())
}
