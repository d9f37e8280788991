//! Taking enrichments back.

use crate::pg::api::subject;
use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::{Value, json};

use crate::pg::call::taking_back::{RevertStatus, Taken, Undoing};
use crate::pg::call::{preconditions, target};
use crate::pg::installation;
use crate::pg::provider;
use crate::pg::shared::receipts;
use crate::pg::store::history::{self, Wanted, Written};
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::{cache, config};
use crate::pg::sys::raise;
use leadlex_domain::ask;
use leadlex_domain::call_error::Failure;
use leadlex_domain::fields::{Field, FieldSet};
use leadlex_domain::hash::Hash;

/// leadlex.revert_enrichment(request_id uuid): writes the old values of one enrichment back, where the
/// contact still has the new ones. Returns JSON with `fields_reverted` and `fields_kept`. What was reverted
/// before is left alone, with a NOTICE.
///
/// Raises LX400: `request_id` is NULL.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises LX404: there is no such enrichment in a workspace of the caller, or its contact is gone.
/// Raises 55000: the table is not bound any more; the worker did not write waiting answers in time; not
/// installed, another version, not preloaded.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 40001: its row in the history has changed since the transaction's one snapshot.
/// Errors of the update of the contact pass through.
#[pg_extern(sql = false)]
fn revert_enrichment(request_id: Option<Uuid>) -> JsonB {
    cache::refresh();
    let this = uuid::Uuid::now_v7();
    let request = request_id.map(super::plain);
    let result = match request {
        Some(request) => revert(request),
        None => Err(Failure::validation("request_id must not be NULL", "See leadlex.enrichment.")),
    };
    JsonB(result.unwrap_or_else(|failure| raise::failure(&failure.seen_at(this, None))))
}

/// The workspaces in which the caller may take something back.
fn workspaces() -> Result<Vec<uuid::Uuid>, Failure> {
    Ok(match subject::authority()? {
        Some(only) => vec![only],
        None => config::all_workspaces(),
    })
}

fn revert(request: uuid::Uuid) -> Result<Value, Failure> {
    preconditions::require_writable();
    let past = history::one(&workspaces()?, request).ok_or_else(|| Failure::enrichment_not_found(request))?;
    let whose = &past.whose;
    let bindings = cache::bindings();
    let binding = bindings.iter().find(|b| b.schema == whose.schema && b.table == whose.table);
    let Some(binding) = binding else {
        raise::not_ready(
            format!("the table {}.{} is not bound any more", whose.schema, whose.table),
            "Bind it again with leadlex.bind_contacts.",
        )
    };
    let gone = || Failure::not_found(&format!("contact {}", whose.contact));
    // The table may have been given to another workspace.
    if !binding.may_have_rows_of(whose.workspace) {
        return Err(gone());
    }
    let is_it = |written: &Written, _: Field| written.request_id == request;
    let undoing = Undoing { asked: &is_it, dry_run: false, strict: true, wait: &wait };
    let taken = undoing.run(std::slice::from_ref(whose));
    if taken.iter().any(|taken| taken.status == RevertStatus::Gone) {
        return Err(gone());
    }
    if taken.is_empty() {
        pgrx::notice!("enrichment {request} was reverted before");
    }
    let reverted = taken.iter().filter(|taken| taken.status == RevertStatus::Reverted);
    let reverted: FieldSet = reverted.map(|taken| taken.field).collect();
    Ok(json!({
        "request_id": request,
        "contact_id": whose.contact,
        "fields_reverted": reverted.names(),
        "fields_kept": past.fields.minus(reverted).names(),
    }))
}

/// leadlex.revert_provider(provider text, since timestamptz, until timestamptz, fields text[], relation
/// regclass, dry_run boolean): takes back what one provider supplied from `since` on and before `until`, where
/// it still stands as it stood after that write. Rows are read and written as the caller. Returns one row for
/// each contact and field with what was to be taken back. `until`, `fields` and `relation` NULL: no limit.
/// With `dry_run` it only says what it would do.
///
/// Raises LX400: `fields` has an unknown name.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 22023: `provider` or `since` is NULL; there is no such provider, and nothing was supplied by one.
/// Raises 55000: `relation` is not bound; the worker did not write waiting answers in time; not installed,
/// another version, not preloaded.
/// Raises 25006 or 25000: the transaction is read-only (without `dry_run`), or the operation is parallel.
/// Raises 40001: a row or its history has changed since the transaction's one snapshot.
/// Errors of the update of the contacts pass through.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn revert_provider(
    provider: Option<&str>,
    since: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
    fields: Option<Vec<Option<String>>>,
    relation: Option<pg_sys::Oid>,
    dry_run: Option<bool>,
) -> TableIterator<
    'static,
    (
        name!(relation, String),
        name!(contact_id, String),
        name!(field, &'static str),
        name!(value, Option<String>),
        name!(restored, Option<String>),
        name!(status, &'static str),
    ),
> {
    cache::refresh();
    let provider = super::required(provider, "provider");
    let since = super::required(since, "since");
    let raised = |failure: Failure| -> ! { raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)) };
    let fields = ask::fields_asked(fields).unwrap_or_else(|failure| raised(failure));
    let dry_run = dry_run.unwrap_or(false);
    if !dry_run {
        preconditions::require_writable();
    }
    let workspaces = workspaces().unwrap_or_else(|failure| raised(failure));
    let binding = relation.map(|relation| target::binding(Some(relation)));
    let table = binding.as_ref().map(|binding| (binding.schema.as_str(), binding.table.as_str()));
    let wanted = Wanted { workspaces: &workspaces, provider, since, until, fields, table };
    let taken = of_provider(&wanted, dry_run);
    TableIterator::new(taken.into_iter().map(|taken| {
        let Taken { relation, contact, field, value, restored, status } = taken;
        (relation, contact, field.name(), value, restored, status.name())
    }))
}

fn of_provider(wanted: &Wanted<'_>, dry_run: bool) -> Vec<Taken> {
    let contacts = history::of_provider(wanted);
    if contacts.is_empty() {
        require_known(wanted);
    }
    let (since, until) = (epoch_us(wanted.since), wanted.until.map(epoch_us));
    let asked = |written: &Written, field: Field| {
        wanted.fields.contains(field)
            && written.at >= since
            && until.is_none_or(|until| written.at < until)
            && written.source(field) == wanted.provider
    };
    Undoing { asked: &asked, dry_run, strict: false, wait: &wait }.run(&contacts)
}

/// 22023 for a name that is a slip: no provider of these workspaces has it, and none that had it has supplied anything.
fn require_known(wanted: &Wanted<'_>) {
    let serves =
        |p: &LoadedProvider| wanted.workspaces.iter().any(|workspace| provider::serves(p, *workspace));
    let known = cache::providers().iter().any(|p| p.name == wanted.provider && serves(p));
    if !known && !history::knows(wanted.workspaces, wanted.provider) {
        raise::invalid(
            format!("there is no provider \"{}\", and nothing was supplied by one", wanted.provider),
            "See leadlex.provider, and source in leadlex.enriched.",
        );
    }
}

/// What is on its way into the tables would come after what is taken from there.
fn wait(questions: &[Hash]) {
    let keys: Vec<receipts::ReceiptKey> =
        questions.iter().map(|hash| installation::receipt_key(*hash)).collect();
    let on_their_way = || receipts::with(|arena| arena.waiting_on(&keys));
    super::wait_for_the_books(on_their_way, "Nothing was taken back.");
}

/// Epoch microseconds.
fn epoch_us(at: TimestampWithTimeZone) -> i64 {
    const EPOCH_2000_US: i64 = 946_684_800_000_000;
    pg_sys::TimestampTz::from(at).saturating_add(EPOCH_2000_US)
}
