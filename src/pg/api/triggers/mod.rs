//! leadlex.enrich_on_insert and leadlex.enqueue_on_insert.
//!
//! They never fail the statement that fired them, but for what is Postgres's to raise and for triggers that are made
//! wrongly. Whatever goes wrong is one warning for each statement, and jobs to try again.

pub mod kept;

use crate::pg::call::enqueue;
use crate::pg::call::enqueue::Unfinished;
use crate::pg::call::refilling;
use crate::pg::provider::shared_values::Crowd;
use leadlex_domain::sqlstate;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_guard, pg_sys};
use uuid::Uuid;

use crate::pg::api::later;
use crate::pg::api::later::Reason;
use crate::pg::call::batch;
use crate::pg::call::batch::{Call, CreditWait, FieldRequest, Outcomes, caps};
use crate::pg::call::identity;
use crate::pg::call::target;
use crate::pg::call::trigger::{self, Fired, NewRow};
use crate::pg::shared::layout;
use crate::pg::shared::progress;
use crate::pg::store::cache;
use crate::pg::store::jobs::Progress;
use crate::pg::sys::settings;
use crate::pg::sys::spi;
use crate::pg::sys::spi::Caught;
use crate::pg::table;
use crate::pg::table::Binding;
use leadlex_domain::ask;
use leadlex_domain::batch::{BatchResult, Status};
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::fields::{Field, FieldSet};

super::version_one!(pg_finfo_leadlex_enrich_on_insert, pg_finfo_leadlex_enqueue_on_insert);

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Now,
    Later,
}

/// AFTER INSERT OR UPDATE OF …: enriches the rows in the caller's transaction. Arguments: fields.
///
/// Contacts that fail, or may not be enriched as the table's owner here, are queued; the first reason is a
/// WARNING.
///
/// Raises 39P01: the trigger is made wrongly. Cancel, timeouts, 40xxx, 25xxx and 55P03 pass through; all else
/// is a WARNING.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leadlex_enrich_on_insert(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by Postgres.
    run(unsafe { Fired::from(fcinfo, "enrich_on_insert") }, Way::Now)
}

/// AFTER INSERT OR UPDATE OF …: queues the rows. Arguments: fields.
///
/// Raises as enrich_on_insert does.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leadlex_enqueue_on_insert(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by Postgres.
    run(unsafe { Fired::from(fcinfo, "enqueue_on_insert") }, Way::Later)
}

fn run(fired: Fired, way: Way) -> pg_sys::Datum {
    let works = settings::triggers_enabled() && !fired.is_by_us();
    if works && !(way == Way::Later && fired.for_each_row() && kept::keep(fired)) {
        guarded(|| work(fired, way));
    }
    // An AFTER trigger's result is not looked at.
    pg_sys::Datum::from(0)
}

/// Gives the warning of what goes wrong.
fn guarded(work: impl FnOnce() -> Option<Trouble>) {
    let done = spi::caught(work, |caught| !is_postgres_own(caught));
    let trouble =
        done.unwrap_or_else(|caught| Some(Trouble::all(format!("{}: {}", caught.sqlstate, caught.message))));
    if let Some(trouble) = trouble {
        trouble.warn();
    }
}

/// Cancel, timeouts, shutdown, serialization: the client has to know.
fn is_postgres_own(caught: &Caught) -> bool {
    let class = caught.sqlstate.get(..2).unwrap_or_default();
    ["40", "57"].contains(&class)
        || caught.sqlstate == sqlstate::LOCK_NOT_AVAILABLE
        || caught.sqlstate.starts_with("25")
}

/// What a warning tells.
struct Trouble {
    /// Of how many rows; `None`: of all.
    rows: Option<(usize, usize)>,
    first: String,
    queued: bool,
    /// What to do before the jobs can run.
    remedy: Option<String>,
}

impl Trouble {
    fn all(why: String) -> Trouble {
        Trouble { rows: None, first: why, queued: false, remedy: None }
    }

    /// One for each statement: the first that there is.
    fn warn(self) {
        thread_local! {
            static WARNED: Cell<i64> = const { Cell::new(i64::MIN) };
        }
        let statement = statement();
        if WARNED.replace(statement) == statement {
            return;
        }
        let message = match self.rows {
            Some((failed, all)) if all > 1 => {
                format!("leadlex_enrich: {failed} of {all} contacts were not enriched")
            }
            // Of a statement's row triggers only the first that fails says so.
            Some(_) => "leadlex_enrich: at least one contact was not enriched".to_owned(),
            None => "leadlex_enrich: the contacts were not enriched".to_owned(),
        };
        let hint = match self.queued {
            true => "They are in leadlex.job, to be tried again. The statement itself has done its work.",
            false => {
                "The statement itself has done its work. When this is mended, enrich the contacts with enrich_rows or leadlex.enqueue_rows."
            }
        };
        let hint = [self.remedy.as_deref(), Some(hint)].into_iter().flatten().collect::<Vec<_>>().join(" ");
        ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "trigger")
            .set_detail(self.first)
            .set_hint(hint)
            .report(PgLogLevel::WARNING);
    }
}

/// Tells one statement of the client from the next.
fn statement() -> i64 {
    // SAFETY: reads a global.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

/// The binding of the trigger's table, and the fields that it names. Err: nothing is to be done, and what to warn of.
fn prepare(fired: Fired) -> Result<(Rc<Binding>, FieldSet), Option<Trouble>> {
    cache::refresh();
    if !layout::available() {
        return Err(Some(Trouble::all("leadlex_enrich is not in shared_preload_libraries".into())));
    }
    // A copy of another database spends none of its money.
    if enqueue::is_clone() {
        later::tell_of_clone();
        return Err(None);
    }
    let Some(binding) = bound(fired) else {
        let table = table::name_of(fired.relation());
        let remedy = match table::unfit_relation(fired.relation()) {
            Some(why) => format!("it cannot be, as it is {why}"),
            None => format!("SELECT leadlex.bind_contacts({})", table::literal(&table)),
        };
        return Err(Some(Trouble::all(format!("{table} is not bound: {remedy}"))));
    };
    let asked = fired.arguments().into_iter().map(Some).collect::<Vec<_>>();
    match ask::fields_asked((!asked.is_empty()).then_some(asked)) {
        Ok(fields) => Ok((binding, fields)),
        Err(failure) => Err(Some(Trouble::all(failure.text()))),
    }
}

fn work(fired: Fired, way: Way) -> Option<Trouble> {
    let (binding, fields) = match prepare(fired) {
        Ok(prepared) => prepared,
        Err(trouble) => return trouble,
    };
    let wanted: Vec<Field> = fields.iter().collect();
    let rows = fired.rows(&binding, &wanted);
    if rows.is_empty() {
        return None;
    }
    let reason = if way == Way::Now { Reason::of(fired, &binding) } else { None };
    if way == Way::Later || reason.is_some() {
        return queue_for(reason, fired.owner(), &binding, fields, rows);
    }
    let mut failed = FailedRows { all: rows.len(), ..FailedRows::default() };
    for (workspace, ids) in by_workspace(&binding, rows, &mut failed) {
        let what = (fired.owner(), &*binding, workspace, fields);
        if let Err(why) = within_caps(what, &ids) {
            failed.lost = true;
            failed.note(ids.len(), why);
            continue;
        }
        let mut tried = enrich(fired, &binding, workspace, fields, ids.clone());
        let rest = tried.as_mut().map_or_else(|_| Vec::new(), |tried| std::mem::take(&mut tried.rest));
        for going in Unfinished::jobs(rest) {
            let paid_for = going.paid_for.as_ref();
            queue(what, going.ids, (going.progress, paid_for, going.failed), way, &mut failed);
        }
        let left = failed.of(&ids, tried.map(|tried| tried.failures));
        queue(what, left, (Progress::default(), None, Vec::new()), way, &mut failed);
    }
    failed.conclude(None, fired.owner())
}

/// Queues rows, in the workspace of each.
fn queue_rows(
    owner: pg_sys::Oid,
    binding: &Binding,
    fields: FieldSet,
    mut rows: Vec<NewRow>,
) -> Option<Trouble> {
    rows.iter_mut().for_each(|row| row.id = binding.respell(std::mem::take(&mut row.id)));
    queue_for(None, owner, binding, fields, rows)
}

/// `reason`: why they are not enriched at once, where they should be.
fn queue_for(
    reason: Option<Reason>,
    owner: pg_sys::Oid,
    binding: &Binding,
    fields: FieldSet,
    rows: Vec<NewRow>,
) -> Option<Trouble> {
    let mut failed = FailedRows { all: rows.len(), ..FailedRows::default() };
    for (workspace, ids) in by_workspace(binding, rows, &mut failed) {
        let (what, ids) = ((owner, binding, workspace, fields), once(ids));
        if let Err(why) = within_caps(what, &ids) {
            failed.lost = true;
            failed.note(ids.len(), why);
            continue;
        }
        queue(what, ids, (Progress::default(), None, Vec::new()), Way::Later, &mut failed);
    }
    failed.conclude(reason.as_ref(), owner)
}

/// Each of them once: a transaction can write a row more than once.
fn once(ids: Vec<String>) -> Vec<String> {
    // As a sequence gives them: the longer number is the greater.
    let ascend = |two: &[String]| (two[0].len(), &two[0]) < (two[1].len(), &two[1]);
    if ids.windows(2).all(ascend) {
        return ids;
    }
    let mut seen = HashSet::with_capacity(ids.len());
    let is_first: Vec<bool> = ids.iter().map(|id| seen.insert(id.as_str())).collect();
    let mut is_first = is_first.into_iter();
    ids.into_iter().filter(|_| is_first.next() == Some(true)).collect()
}

/// Whether the statement may ask about these, too. Err: why not.
fn within_caps(
    (owner, binding, workspace, fields): (pg_sys::Oid, &Binding, Uuid, FieldSet),
    ids: &[String],
) -> Result<(), String> {
    if !caps::are_in_force() {
        return Ok(());
    }
    let all = ids.iter().cloned().map(Some);
    let request = FieldRequest { fields, overwrite: false };
    let look = || trigger::as_owner(owner, || caps::require(workspace, binding, all, request));
    spi::caught(look, |caught| !is_postgres_own(caught)).map_err(|caught| caught.message)
}

fn bound(fired: Fired) -> Option<Rc<Binding>> {
    let bindings = cache::bindings();
    let found = |is: &dyn Fn(pg_sys::Oid) -> bool| bindings.iter().find(|b| b.relation().is_some_and(is));
    // Its own binding before that of the table that it is a part of.
    found(&|table| table == fired.relation()).or_else(|| found(&|table| fired.is_of(table))).cloned()
}

/// What went wrong so far.
#[derive(Default)]
struct FailedRows {
    all: usize,
    rows: usize,
    first: Option<String>,
    /// Some were queued.
    queued: bool,
    /// Some could not even be queued.
    lost: bool,
}

impl FailedRows {
    fn note(&mut self, rows: usize, why: String) {
        self.rows += rows;
        self.first.get_or_insert(why);
    }

    /// Of one row, which is not even queued.
    fn lose(&mut self, why: String) {
        self.lost = true;
        self.note(1, why);
    }

    /// The ids that are to be tried again.
    fn of(&mut self, ids: &[String], outcome: Result<Vec<(usize, String)>, String>) -> Vec<String> {
        match outcome {
            Ok(failures) => failures
                .into_iter()
                .map(|(position, why)| {
                    self.note(1, format!("{}: {why}", ids[position]));
                    ids[position].clone()
                })
                .collect(),
            Err(why) => {
                self.note(ids.len(), why);
                ids.to_vec()
            }
        }
    }

    /// What to warn of; tells the session of what was queued.
    fn conclude(self, reason: Option<&Reason>, owner: pg_sys::Oid) -> Option<Trouble> {
        let queued = self.queued;
        let mut trouble = self.trouble();
        match &mut trouble {
            Some(trouble) if trouble.queued => trouble.remedy = later::remedy(owner),
            Some(_) => (),
            None if queued => later::tell(reason, owner),
            None => (),
        }
        trouble
    }

    fn trouble(self) -> Option<Trouble> {
        let FailedRows { all, rows, first, lost, .. } = self;
        first.map(|first| Trouble { rows: Some((rows, all)), first, queued: !lost, remedy: None })
    }
}

fn by_workspace(
    binding: &Binding,
    mut rows: Vec<NewRow>,
    failed: &mut FailedRows,
) -> BTreeMap<Uuid, Vec<String>> {
    rows.retain(|row| {
        let too_long = target::too_long(&row.id);
        let fits = too_long.is_none();
        too_long.into_iter().for_each(|why| failed.lose(why));
        fits
    });
    if let (false, Some(workspace)) = (binding.columns.contains_key("workspace_id"), binding.workspace) {
        return BTreeMap::from([(workspace, rows.into_iter().map(|row| row.id).collect())]);
    }
    let mut ids: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for NewRow { id, workspace } in rows {
        let own = workspace.as_deref().and_then(|text| text.trim().parse().ok());
        match own {
            Some(own) => ids.entry(own).or_default().push(id),
            None => failed.lose(format!(
                "{id}: its workspace is not known ({})",
                workspace.as_deref().unwrap_or("NULL")
            )),
        }
    }
    ids
}

/// What became of those that were tried.
#[derive(Default)]
struct Tried {
    /// Those that failed, and why.
    failures: Vec<(usize, String)>,
    /// Contacts of which more comes later.
    rest: Vec<Unfinished>,
}

/// `Err`: why none was tried.
fn enrich(
    fired: Fired,
    binding: &Binding,
    workspace: Uuid,
    fields: FieldSet,
    ids: Vec<String>,
) -> Result<Tried, String> {
    let caller = identity::of_owner(fired.owner(), workspace)
        .and_then(batch::permitted)
        .map_err(|failure| failure.text())?;
    if let Some((why, _)) = binding.relation().and_then(|table| table::foreign_trigger(table, fired.owner()))
    {
        return Err(why);
    }
    let request = FieldRequest { fields, overwrite: false };
    let budget = Budget::of_this_statement();
    let call = Call {
        caller,
        target: binding.relation(),
        request,
        until: Some(budget.until()),
        waits: false,
        outcomes: Outcomes::default(),
        credit_wait: CreditWait::default(),
        crowd: Crowd::default(),
        visit: None,
    };
    let mut progress = progress::Progress::start(workspace, binding.relation(), ids.len());
    let mut tried = Tried::default();
    let mut note = |position: usize, line: &BatchResult| {
        tried.rest.extend(Unfinished::of(binding, line));
        let failed = matches!(line.status, Status::Failed | Status::Pending) && line.rest().is_none();
        if let (true, Some((_, message))) = (failed, &line.error) {
            tried.failures.push((position, message.clone()));
        }
    };
    let enrich = || {
        if settings::refills() {
            let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
            refilling::refill(workspace, binding, &keys, fields);
        }
        batch::run(call, ids.into_iter().map(Some), &mut progress, &mut note);
    };
    let outcome = spi::caught(|| fired.as_owner(enrich), |caught| !is_postgres_own(caught));
    let over = budget.spend();
    if let (true, Some((_, why))) = (over, tried.failures.first_mut()) {
        why.push_str(" (the time of leadlex.trigger_timeout was used up)");
    }
    outcome.map_err(|caught| caught.message)?;
    Ok(tried)
}

fn queue(
    (owner, binding, workspace, fields): (pg_sys::Oid, &Binding, Uuid, FieldSet),
    ids: Vec<String>,
    progress: (Progress, Option<&HashMap<String, String>>, Vec<FailedProvider>),
    way: Way,
    failed: &mut FailedRows,
) {
    if ids.is_empty() {
        return;
    }
    let count = ids.len();
    let added = spi::caught(
        || enqueue::add_for_owner(owner, binding, workspace, fields, ids, progress),
        |caught| !is_postgres_own(caught),
    );
    failed.queued |= added.is_ok();
    if let Err(caught) = added {
        failed.lost = true;
        let uncounted = if way == Way::Later { count } else { 0 };
        failed.note(uncounted, format!("they could not be queued: {}", caught.message));
    }
}

/// What the triggers of one statement may spend of its time in all.
struct Budget {
    statement: i64,
    started: Instant,
    left: Duration,
}

thread_local! {
    /// A statement, and what its triggers have spent.
    static SPENT: Cell<(i64, Duration)> = const { Cell::new((i64::MIN, Duration::ZERO)) };
}

impl Budget {
    fn of_this_statement() -> Budget {
        let statement = statement();
        let spent = match SPENT.get() {
            (known, spent) if known == statement => spent,
            _ => Duration::ZERO,
        };
        let left = settings::trigger_timeout().saturating_sub(spent);
        Budget { statement, started: Instant::now(), left }
    }

    fn until(&self) -> Instant {
        self.started + self.left
    }

    /// Whether all is spent.
    fn spend(self) -> bool {
        let before = settings::trigger_timeout().saturating_sub(self.left);
        SPENT.set((self.statement, before + self.started.elapsed()));
        Instant::now() >= self.until()
    }
}
