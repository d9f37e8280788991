//! enrich_contacts, enrich_rows, leadlex.enrich_batch; leadlex.progress.

use crate::pg::api::workspaces;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::shared::layout;
use crate::pg::sys::clock;
use crate::pg::sys::row;
use leadlex_domain::sqlstate;
use std::collections::HashSet;

use pgrx::fcinfo::pg_getarg;
use pgrx::prelude::*;
use pgrx::{Array, IntoDatum, PgMemoryContexts, pg_guard};

use crate::pg::call::batch;
use crate::pg::call::batch::{Call, CreditWait, FieldRequest, Outcomes, caps};
use crate::pg::call::enqueue::{self, Rest, Unfinished};
use crate::pg::call::identity;
use crate::pg::call::target;
use crate::pg::call::target::Target;
use crate::pg::shared::layout::Running;
use crate::pg::shared::progress;
use crate::pg::shared::progress::Progress;
use crate::pg::store::cache;
use crate::pg::store::jobs;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::raise;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::spi::texts_arg;
use crate::pg::table;
use leadlex_domain::ask;
use leadlex_domain::batch::{BatchResult, Summary};
use leadlex_domain::call_error::Failure;
use leadlex_domain::reply::ContactObject;

const COLUMNS: usize = 10;
/// What a set returns is read once, in its order: more of it than so many kB is kept in a file, not in memory, where files have no limit.
const RESULT_KB: i32 = 256;

super::version_one!(pg_finfo_enrich_contacts_set, pg_finfo_enrich_rows_set, pg_finfo_enrich_batch_call);

/// enrich_contacts(contact_ids uuid[], fields text[], overwrite boolean)
///
/// Enriches contacts of the table that was bound first. Returns one row for each id, in the order of the
/// input, with what came of it; none where the array is NULL.
///
/// Raises 0A000: it is not called in FROM.
/// Raises LX400 (fields), LX401, LX403 for the call as a whole; errors of one contact are in its row.
/// Raises 55000: not installed, another version, not preloaded, no table is bound, no enabled provider, or
/// the worker was late.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 27000: the calling statement updates or deletes rows of the table.
/// Raises 42501: the caller may not read the bound columns, or not write those to be filled.
/// Raises 40001: a contact has changed since the transaction's one snapshot.
/// Raises 53000: no file descriptor is left for a request. 53400: there is no room for another account, or the set
/// could exceed leadlex.max_contacts_per_statement or leadlex.max_cost_per_statement.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn enrich_contacts_set(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by Postgres for a function declared with these arguments and a set of these columns.
    unsafe {
        let ids: Option<Array<'_, pgrx::Uuid>> = pg_getarg(fcinfo, 0);
        let (fields, overwrite) = (pg_getarg(fcinfo, 1), pg_getarg(fcinfo, 2));
        cache::refresh();
        let mut rows = Rows::start(fcinfo);
        if let Some(ids) = ids {
            let texts = || ids.iter().map(|id| id.map(|id| super::plain(id).to_string()));
            let mut given = ids.iter();
            let put = &mut |_: usize, line: &BatchResult| rows.put(given.next().flatten().into_datum(), line);
            raised(None, texts, fields, overwrite, put);
        }
        pg_sys::Datum::from(0)
    }
}

/// enrich_rows(relation regclass, ids text[], fields text[], overwrite boolean)
///
/// As enrich_contacts, for any bound table, with the keys as text.
///
/// Raises the errors of enrich_contacts, and LX400 where `relation` is NULL and 55000 where it is not bound.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn enrich_rows_set(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: as above.
    unsafe {
        let relation: Option<pg_sys::Oid> = pg_getarg(fcinfo, 0);
        let ids: Option<Array<'_, &str>> = pg_getarg(fcinfo, 1);
        let (fields, overwrite) = (pg_getarg(fcinfo, 2), pg_getarg(fcinfo, 3));
        cache::refresh();
        let mut rows = Rows::start(fcinfo);
        if let Some(ids) = ids {
            let target = required_relation(relation);
            let texts = || ids.iter().map(|id| id.map(str::to_owned));
            let mut given = ids.iter();
            let put = &mut |_: usize, line: &BatchResult| rows.put(given.next().flatten().into_datum(), line);
            raised(target, texts, fields, overwrite, put);
        }
        pg_sys::Datum::from(0)
    }
}

/// The table of a call.
///
/// Raises LX400: `relation` is None.
pub fn required_relation(relation: Option<pg_sys::Oid>) -> Target {
    if relation.is_none() {
        let failure = Failure::validation("relation must not be NULL", "Pass the table of the contacts.");
        raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None));
    }
    relation
}

/// The fields asked for, and whether they replace values that are there: `overwrite` None is false.
///
/// Raises LX400: `fields` has a value that is no field.
pub fn request(fields: Option<Vec<Option<String>>>, overwrite: Option<bool>) -> FieldRequest {
    let fields = ask::fields_asked(fields)
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    FieldRequest { fields, overwrite: overwrite.unwrap_or(false) }
}

/// What concerns the call as a whole is raised. `ids` gives them from the first on: the array is the one place where all are kept.
fn raised<Ids: ExactSizeIterator<Item = Option<String>>>(
    target: Target,
    ids: impl Fn() -> Ids,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    put: &mut batch::Sink<'_>,
) {
    cache::refresh();
    let request = request(fields, overwrite);
    layout::require();
    let call = call(target, request, Parts::default());
    require_within_caps(&call, ids());
    let mut progress = started(&call, ids().len());
    run(call, ids(), &mut progress, put);
}

/// Raises 53400: it could ask or cost more than one statement may.
fn require_within_caps(call: &Call, ids: impl Iterator<Item = Option<String>>) {
    let binding = target::binding(call.target);
    binding.require_readable();
    caps::require(call.caller.workspace.id, &binding, ids, call.request);
}

/// Queues what comes later, where the caller wants that.
fn run(
    call: Call,
    ids: impl ExactSizeIterator<Item = Option<String>>,
    progress: &mut Progress,
    put: &mut batch::Sink<'_>,
) {
    let (workspace, target, request) = (call.caller.workspace.id, call.target, call.request);
    let binding = target::binding(target);
    let mut later: Vec<Unfinished> = Vec::new();
    batch::run(call, ids, progress, &mut |position, line| {
        later.extend(Unfinished::of(&binding, line));
        put(position, line);
    });
    if !later.is_empty() {
        let FieldRequest { fields, overwrite } = request;
        let progress = jobs::Progress::default();
        enqueue::add_pending(
            &Rest {
                workspace,
                binding: &binding,
                fields,
                overwrite,
                progress,
                priority: 0,
                failed: Vec::new(),
            },
            later,
        );
    }
}

/// What the parts of a set have in common.
#[derive(Clone, Default)]
struct Parts {
    outcomes: Outcomes,
    credit_wait: CreditWait,
    crowd: Crowd,
}

fn call(target: Target, request: FieldRequest, parts: Parts) -> Call {
    let caller = batch::caller().unwrap_or_else(|failure| raise::failure(&failure));
    Call {
        caller,
        target,
        request,
        until: None,
        waits: true,
        outcomes: parts.outcomes,
        credit_wait: parts.credit_wait,
        crowd: parts.crowd,
        visit: None,
    }
}

fn started(call: &Call, total: usize) -> Progress {
    Progress::start(call.caller.workspace.id, target::binding(call.target).relation(), total)
}

/// The set that a function returns, all of it at once: subtransactions cannot span its calls.
struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    scratch: PgMemoryContexts,
}

impl Rows {
    /// # Safety
    /// `fcinfo` is that of a function that returns a set of rows.
    unsafe fn start(fcinfo: pg_sys::FunctionCallInfo) -> Rows {
        // SAFETY: as promised by the caller. Store and descriptor live as long as the query.
        unsafe {
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            let fits = !info.is_null()
                && (*info.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_ReturnSetInfo
                && (*info).allowedModes & materialize as i32 != 0;
            if !fits {
                refuse(PgError {
                    sqlstate: sqlstate::FEATURE_NOT_SUPPORTED,
                    message: "this function returns a set of rows".into(),
                    detail: None,
                    hint: Some("Call it in FROM: SELECT * FROM enrich_contacts(…).".into()),
                });
            }
            let before = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let mut columns = std::ptr::null_mut();
            pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut columns);
            let random =
                (*info).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32 != 0;
            let in_memory = match pg_sys::temp_file_limit {
                -1 => pg_sys::work_mem.min(RESULT_KB),
                // An error at the end of a set would take back what was paid for.
                _ => pg_sys::work_mem,
            };
            let store = pg_sys::tuplestore_begin_heap(random, false, in_memory);
            (*info).returnMode = materialize;
            (*info).setResult = store;
            (*info).setDesc = columns;
            pg_sys::MemoryContextSwitchTo(before);
            Rows { store, columns, scratch: PgMemoryContexts::new("leadlex_enrich row") }
        }
    }

    fn put(&mut self, id: Option<pg_sys::Datum>, line: &BatchResult) {
        let (store, columns) = (self.store, self.columns);
        // SAFETY: as many values as the functions declare columns, of their types; the store copies them.
        unsafe {
            self.scratch.switch_to(|_| {
                let values = datums(id, line);
                let mut nulls = values.map(|value| value.is_none());
                let mut values = values.map(|value| value.unwrap_or(pg_sys::Datum::from(0)));
                pg_sys::tuplestore_putvalues(store, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
            });
            self.scratch.reset();
        }
    }
}

fn datums(id: Option<pg_sys::Datum>, line: &BatchResult) -> [Option<pg_sys::Datum>; COLUMNS] {
    let origin = line.origin.as_ref();
    let contact = line.contact.as_ref().map(ContactObject);
    [
        id,
        line.status.name().into_datum(),
        texts_arg(&line.fields_updated.names()).value,
        origin.map(|o| o.source.to_string()).into_datum(),
        origin.and_then(|o| o.confidence).into_datum(),
        row::pg(line.request_id).into_datum(),
        line.error.as_ref().map(|(code, _)| code.clone()).into_datum(),
        line.error.as_ref().map(|(_, message)| message.clone()).into_datum(),
        contact.and_then(|contact| Jsonb::of(&contact).into_datum()),
        line.reason.clone().into_datum(),
    ]
}

/// leadlex.enrich_batch(relation regclass, ids text[], fields text[], chunk integer, overwrite boolean): commits
/// after each chunk.
///
/// Each key is enriched once. `chunk` is the number of keys per transaction: 1 to 100000, NULL is 500. At the
/// end a NOTICE tells the totals.
///
/// Raises 2D000: it cannot commit here (a transaction block or a function).
/// Raises LX400: `relation` is NULL, `fields` has an unknown name, or `chunk` is out of range.
/// Raises the other errors of enrich_rows; chunks committed before stay committed.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn enrich_batch_call(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by Postgres for a procedure declared with these arguments.
    let (relation, ids, fields, chunk, overwrite, atomic) = unsafe {
        let context = (*fcinfo).context;
        let may_commit = !context.is_null()
            && (*context).type_ == pg_sys::NodeTag::T_CallContext
            && !(*context.cast::<pg_sys::CallContext>()).atomic;
        let ids: Option<Vec<Option<String>>> = pg_getarg(fcinfo, 1);
        let (chunk, overwrite) = (pg_getarg::<i32>(fcinfo, 3), pg_getarg::<bool>(fcinfo, 4));
        (pg_getarg(fcinfo, 0), ids, pg_getarg(fcinfo, 2), chunk, overwrite, !may_commit)
    };
    cache::refresh();
    if atomic {
        refuse(PgError {
            sqlstate: sqlstate::INVALID_TRANSACTION_TERMINATION,
            message: "leadlex.enrich_batch commits as it goes, which it cannot do here".into(),
            detail: Some("It was called inside a transaction block, or by a function.".into()),
            hint: Some("Run CALL leadlex.enrich_batch(…) by itself, or use enrich_rows.".into()),
        });
    }
    let target = required_relation(relation);
    let request = request(fields, overwrite);
    let chunk = chunk.unwrap_or(500);
    if !(1..=100_000).contains(&chunk) {
        let failure = Failure::validation("chunk must be from 1 to 100000", "500 is a good size.");
        raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None));
    }
    layout::require();
    let parts = Parts::default();
    // Who calls comes before which table.
    let first = call(target, request, parts.clone());
    let binding = target::binding(target);
    let spelled = |id: &String| binding.canonical_key(id).unwrap_or_else(|| id.clone());
    let mut ids = ids.unwrap_or_default();
    // Each once, whichever chunk it would be in.
    let mut met = HashSet::with_capacity(ids.len());
    ids.retain(|id| id.as_ref().is_none_or(|id| met.insert(spelled(id))));
    drop(met);
    require_within_caps(&first, ids.iter().cloned());
    let mut progress = started(&first, ids.len());
    let mut ids = ids.into_iter();
    let mut summary = Summary::default();
    while ids.len() > 0 {
        let some = ids.by_ref().take(chunk as usize);
        in_transaction_of_its_own(|| {
            cache::refresh();
            let mut count = |_: usize, line: &BatchResult| summary.add(line);
            run(call(target, request, parts.clone()), some, &mut progress, &mut count);
        });
    }
    pgrx::notice!("{summary}");
    pg_sys::Datum::from(0)
}

fn in_transaction_of_its_own(work: impl FnOnce()) {
    // SAFETY: a procedure that may commit, as was looked up. SPI_commit ends the transaction and begins the next; the
    // snapshot is needed by what runs outside of statements.
    unsafe {
        pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        work();
        pg_sys::PopActiveSnapshot();
        pg_sys::SPI_commit();
        pg_sys::SPI_finish();
    }
}

/// leadlex.progress: one row for each batch that runs now. Administrators see all, others those of the
/// workspaces that they may read. `total`, `done` and `failed` count contacts, `rate` is contacts per second,
/// `eta` is NULL while it cannot be told.
///
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn progress_report() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(workspace_id, pgrx::Uuid),
        name!(relation, Option<String>),
        name!(total, i64),
        name!(done, i64),
        name!(failed, i64),
        name!(started_at, TimestampWithTimeZone),
        name!(rate, f64),
        name!(eta, Option<TimestampWithTimeZone>),
    ),
> {
    cache::refresh();
    layout::require();
    let all = workspaces::watches();
    let own = identity::readable();
    let visible = |r: &Running| all || own.contains(&uuid::Uuid::from_bytes(r.workspace));
    let timestamp = |us: i64| to_timestamp(us as f64 / 1e6);
    let rows: Vec<_> = progress::running()
        .into_iter()
        .filter(visible)
        .map(|r| {
            let left = r.seconds_left().map(|s| timestamp(clock::now_us() + (s * 1e6) as i64));
            let bound = (r.relation != 0).then(|| table::plain_name_of(r.relation.into()));
            (
                r.pid,
                pgrx::Uuid::from_bytes(r.workspace),
                bound,
                r.total as i64,
                r.done as i64,
                r.failed as i64,
                timestamp(r.started_at),
                (r.rate() * 10.0).round() / 10.0,
                left,
            )
        })
        .collect();
    TableIterator::new(rows)
}
