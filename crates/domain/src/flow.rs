//! The call, in the order of the contract (section 1). Everything that touches the world is a method of [`CallContext`];
//! whatever Postgres itself raises (cancel, a user's constraint, a read-only transaction) passes through by unwinding.

use serde_json::Value;
use uuid::Uuid;

use crate::ask::Ask;
use crate::contact::Contact;
use crate::failure::{Failure, NoMatchReason};
use crate::fields::{FieldMap, FieldSet};
use crate::identity::{Caller, WRITE_ENRICH};
use crate::merge;
use crate::position::{Position, Post};
use crate::rate::{Status, Window};
use crate::reply::{self, Origin, Reply};
use crate::waterfall::{Gathered, Mode, ProviderOutcome, Waterfall};

/// A result kept under an idempotency key.
pub struct Stored {
    pub fingerprint: Vec<u8>,
    pub result: Value,
}

/// The table of a call.
pub struct Opened {
    pub fields: FieldSet,
    /// Its name, for the fingerprint.
    pub table: String,
    /// The contact's key as everybody writes it.
    pub key: String,
}

/// The contact before and after the write, both as the table had it.
pub struct Written {
    pub before: Contact,
    pub after: Contact,
    /// Fields whose offered values the table refused.
    pub rejected: FieldSet,
    /// Something was left out, since it belongs to another company than the one that the contact has by now.
    pub apart: bool,
}

impl Written {
    /// Of an offer that changed nothing: `None`, it equals what stood there. Else why nothing of it was written.
    /// The failure is `no_match`, LX409, with the reason `table_refuses` or `other_company`.
    pub fn unused(&self, gathered: &Gathered) -> Option<Failure> {
        let left = gathered.values.fields().minus(self.rejected);
        // With a company that is refused goes what belongs to it.
        let left = if self.apart { left.minus(FieldSet::of_position()) } else { left };
        if !self.rejected.is_empty() && left.is_empty() {
            return Some(Failure::table_refuses(self.rejected));
        }
        self.apart.then(|| gathered.of_other_company())
    }
}

/// A finished enrichment, for the ledger and the history.
pub struct Enrichment<'a> {
    pub ask: &'a Ask,
    pub origin: &'a Origin,
    pub written: &'a Written,
    pub reply: &'a Reply,
}

/// What a call needs of the world. Postgres implements it in `pg::context`.
pub trait CallContext {
    /// What [`CallContext::ask`] needs of a provider.
    type Provider;

    /// The id of this call.
    fn request_id(&mut self) -> Uuid;
    /// Raises 25006 where this transaction cannot commit writes.
    fn require_writable(&mut self);
    /// Who calls: by API key, else by role. The failure is `invalid_key`, LX401.
    fn identify(&mut self) -> Result<Caller, Failure>;
    /// LX400 for a key of another type.
    /// LX404 for a table that holds another workspace's rows, or that hides the row from the caller.
    fn open_table(&mut self, caller: &Caller, ask: &Ask) -> Result<Opened, Failure>;
    /// Raises 42501 where the caller may not write these fields.
    fn require_updatable(&mut self, fields: FieldSet);
    /// Under the caller's own rights; `None` when it sees no such contact in its workspace.
    fn read_contact(&mut self) -> Option<Contact>;
    /// Holds a key until this transaction ends; waits for another holder.
    fn claim_key(&mut self, key: Uuid);
    /// The result kept under an idempotency key; `None`: the key was not used before, or is no longer kept.
    fn stored_result(&mut self, key: Uuid) -> Option<Stored>;
    /// Holds the contact until this transaction ends; waits for another holder.
    fn claim_contact(&mut self);
    /// This call is done with the contact. What an error leaves, the end of its (sub)transaction removes.
    fn end_call(&mut self);
    /// What this call has claimed need not be held: nothing was written.
    fn drop_claims(&mut self);
    /// Nobody is to be asked about this person.
    fn is_suppressed(&mut self, contact: &Contact) -> bool;
    /// Enabled providers in the order of their priority. Raises 55000 where there is none.
    fn providers(&mut self) -> Vec<(String, Self::Provider)>;
    /// The windows of the workspace's rate limit as they are, using nothing.
    fn rate_status(&mut self) -> Status;
    /// Uses one admission, or tells the window that is closed and the time it was looked at.
    /// That time is in epoch seconds.
    fn use_rate(&mut self) -> Result<(), (Window, i64)>;
    /// Reserves one credit; `false`: none is left. Always `true` without a credit limit.
    fn reserve_credit(&mut self) -> bool;
    /// Gives the reserved credit back; without one, nothing happens.
    fn release_credit(&mut self);
    /// The settings: when to stop, and the least score that counts, from 0 to 1.
    fn waterfall(&self) -> (Mode, f64);
    /// The setting `leadlex.position`.
    fn position(&self) -> Position;
    /// `contact` has what was supplied in this call as well. `missing` are the fields still to be filled: a provider that can
    /// supply none of them is not asked.
    fn ask(&mut self, provider: &Self::Provider, contact: &Contact, missing: FieldSet) -> ProviderOutcome;
    /// Writes the changes that still hold against the row as it is now.
    /// `None`: the contact is gone.
    fn write(
        &mut self,
        before: Contact,
        gathered: &Gathered,
        fields: FieldSet,
        overwrite: bool,
    ) -> Option<Written>;
    /// Spends the reserved credit: ledger and history.
    fn charge(&mut self, enrichment: &Enrichment);
    /// Keeps the result of this call under its idempotency key.
    fn store_result(&mut self, key: Uuid, fingerprint: [u8; 32], result: &Value);
    /// Credits left in the workspace; `None`: it has no limit.
    fn credits(&mut self) -> Option<i64>;
}

/// Steps 2 to 11; step 1 made the [`Ask`].
/// The failure is LX400 (a key of another type), LX401, LX402, LX403, LX404, LX422 (the idempotency key),
/// LX429, or what [`Waterfall::result`] or [`Written::unused`] gives (LX409, LX503).
pub fn enrich<D: CallContext>(context: &mut D, ask: &Ask) -> Result<Value, Failure> {
    let request_id = context.request_id();
    context.require_writable();
    let caller = context.identify().map_err(|f| f.seen_at(request_id, None))?;
    let result = enrich_as(context, &caller, ask, request_id);
    if result.is_err() {
        // Errors are not stored, so nobody has to wait for this transaction because of one.
        context.drop_claims();
    }
    context.end_call();
    result.map_err(|failure| failure.seen_at(request_id, Some(&context.rate_status())))
}

fn enrich_as<D: CallContext>(
    context: &mut D,
    caller: &Caller,
    ask: &Ask,
    request_id: Uuid,
) -> Result<Value, Failure> {
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let Opened { fields: mapped, table, key: id } = context.open_table(caller, ask)?;
    let fingerprint = ask.fingerprint(&table, &id);
    if let Some(key) = ask.key {
        // Read once without holding the contact, so that a replay waits for nobody but the key's first user.
        context.read_contact().ok_or_else(|| not_found(ask))?;
        context.claim_key(key);
        if let Some(stored) = context.stored_result(key) {
            // Earlier results were kept under the key as it was written then.
            let as_written = ask.fingerprint(&table, &ask.id);
            let same = [fingerprint, as_written].iter().any(|f| stored.fingerprint == f);
            return replay(context, stored, same, request_id);
        }
    }
    context.claim_contact();
    let contact = context.read_contact().ok_or_else(|| not_found(ask))?;
    let fields = merge::fillable(&contact, ask.fields, mapped, ask.overwrite);
    let reply = if fields.is_empty() {
        if ask.key.is_none() {
            context.drop_claims();
        }
        unchanged(context, contact, None, request_id)
    } else {
        fill(context, ask, contact, fields, request_id)?
    };
    let result = reply.to_json();
    if let Some(key) = ask.key {
        context.store_result(key, fingerprint, &result);
    }
    Ok(result)
}

fn not_found(ask: &Ask) -> Failure {
    Failure::not_found(&format!("contact {}", ask.id))
}

fn replay<D: CallContext>(
    context: &mut D,
    stored: Stored,
    same: bool,
    request_id: Uuid,
) -> Result<Value, Failure> {
    context.drop_claims();
    if !same {
        return Err(Failure::idempotency_mismatch());
    }
    let rate = context.rate_status().tightest();
    Ok(reply::replay(stored.result, request_id, context.credits(), rate))
}

/// Steps 8 to 11: what costs something.
fn fill<D: CallContext>(
    context: &mut D,
    ask: &Ask,
    contact: Contact,
    fields: FieldSet,
    request_id: Uuid,
) -> Result<Reply, Failure> {
    context.require_updatable(fields);
    let providers = context.providers();
    if context.is_suppressed(&contact) {
        return Err(Failure::no_match(NoMatchReason::Suppressed));
    }
    context.use_rate().map_err(|(window, now)| Failure::rate_limited(window, now))?;
    if !context.reserve_credit() {
        return Err(Failure::insufficient_credits());
    }
    let gathered = gather(context, &providers, &contact, fields, ask.overwrite)
        .inspect_err(|_| context.release_credit())?;
    let Some(written) = context.write(contact, &gathered, fields, ask.overwrite) else {
        context.release_credit();
        return Err(not_found(ask));
    };
    let updated = merge::updated(&written.before, &written.after, gathered.values.fields());
    if updated.is_empty() {
        context.release_credit();
        if let Some(unused) = written.unused(&gathered) {
            return Err(unused);
        }
        return Ok(unchanged(context, written.after, Some(gathered.origin), request_id));
    }
    let mut reply = Reply {
        contact: written.after.clone(),
        fields_updated: updated,
        origin: Some(gathered.origin.clone()),
        field_origins: gathered.origins,
        credits_remaining: None,
        request_id,
        rate_limit: context.rate_status().tightest(),
    };
    context.charge(&Enrichment { ask, origin: &gathered.origin, written: &written, reply: &reply });
    reply.credits_remaining = context.credits();
    Ok(reply)
}

fn gather<D: CallContext>(
    context: &mut D,
    providers: &[(String, D::Provider)],
    contact: &Contact,
    fields: FieldSet,
    overwrite: bool,
) -> Result<Gathered, Failure> {
    let (mode, min_confidence) = context.waterfall();
    let post = Post::new(context.position(), contact);
    let mut waterfall = Waterfall::new(mode, min_confidence, fields).beside(post);
    for (name, provider) in providers {
        if waterfall.finished() {
            break;
        }
        // Somebody may have been put on the list while this call waited for a credit or a provider, or has been found there.
        if context.is_suppressed(&waterfall.with_all_found(contact, overwrite)) {
            return Err(Failure::no_match(NoMatchReason::Suppressed));
        }
        let known = waterfall.with_found(contact, overwrite);
        let outcome = context.ask(provider, &known, waterfall.missing());
        waterfall.absorb(name, outcome);
    }
    if waterfall.with_found_profile(contact, overwrite).is_some_and(|known| context.is_suppressed(&known)) {
        waterfall.suppress();
    }
    waterfall.result()
}

fn unchanged<D: CallContext>(
    context: &mut D,
    contact: Contact,
    origin: Option<Origin>,
    request_id: Uuid,
) -> Reply {
    Reply {
        contact,
        fields_updated: FieldSet::EMPTY,
        origin,
        field_origins: FieldMap::default(),
        credits_remaining: context.credits(),
        request_id,
        rate_limit: context.rate_status().tightest(),
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
