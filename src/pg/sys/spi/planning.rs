//! How statements of ours are planned: preferring indexes, as if every table were large and had no statistics. A session
//! keeps a plan, and all our statements look up a few rows by key. On a table that has a row or none at that moment the
//! planner would read all of it, or all of an index, which stays chosen when the table has grown; under SERIALIZABLE it makes
//! every call conflict with every other.
//!
//! Postgres plans a kept statement anew by itself, in the middle of its execution too. So the statement carries a mark among
//! its options, and the planner looks for that.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::submodules::ffi::pg_guard_ffi_boundary;

use super::with_settings;

/// The mark: a bit of the options of a cursor that Postgres does not use, and hands on to the planner.
pub const BY_INDEX: i32 = 1 << 30;

/// Indexes, where there are some. No hash of a table that counts as large: it is divided into files before its few rows are read, which
/// a server can forbid (temp_file_limit). Never compiled to machine code: where there is no index to prefer, the cost that the
/// planner adds would have that done at every execution, which takes half a second.
const SETTINGS: [(&CStr, &CStr); 3] =
    [(c"enable_seqscan", c"off"), (c"enable_hashjoin", c"off"), (c"jit", c"off")];

/// What a table has at least while a statement of ours is planned.
const PAGES: u32 = 50_000;
const ROWS: f64 = 2_000_000.0;

static mut PLANNER_BEFORE: pg_sys::planner_hook_type = None;
static mut RELATIONS_BEFORE: pg_sys::get_relation_info_hook_type = None;
static mut STATISTICS_BEFORE: pg_sys::get_relation_stats_hook_type = None;

thread_local! {
    /// Whether what is planned now is a statement of ours.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Installs the hooks, while the server preloads; those before are kept and called.
pub fn register() {
    // SAFETY: runs once in the postmaster while it preloads.
    unsafe {
        PLANNER_BEFORE = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(planner);
        RELATIONS_BEFORE = pg_sys::get_relation_info_hook;
        pg_sys::get_relation_info_hook = Some(relation);
        STATISTICS_BEFORE = pg_sys::get_relation_stats_hook;
        pg_sys::get_relation_stats_hook = Some(statistics);
    }
}

/// What is planned until it is dropped, also by an error, is of this kind.
struct Kind {
    before: bool,
}

impl Kind {
    fn new(ours: bool) -> Kind {
        Kind { before: OURS.replace(ours) }
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        OURS.set(self.before);
    }
}

unsafe extern "C-unwind" {
    // As it is, without pgrx's wrapper: for others' statements an error passes through the frame of `planner`.
    fn standard_planner(
        parse: *mut pg_sys::Query,
        text: *const std::ffi::c_char,
        options: std::ffi::c_int,
        values: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
}

/// What the planner is called with.
#[repr(C)]
struct Call {
    parse: *mut pg_sys::Query,
    text: *const std::ffi::c_char,
    options: std::ffi::c_int,
    values: pg_sys::ParamListInfo,
}

impl Call {
    /// # Safety
    /// As Postgres gave it.
    unsafe fn plan(&self) -> *mut pg_sys::PlannedStmt {
        // SAFETY: as promised by the caller.
        unsafe {
            let plan = PLANNER_BEFORE.unwrap_or(standard_planner);
            plan(self.parse, self.text, self.options, self.values)
        }
    }
}

unsafe extern "C-unwind" fn planner(
    parse: *mut pg_sys::Query,
    text: *const std::ffi::c_char,
    options: std::ffi::c_int,
    values: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    let is_marked = options & BY_INDEX != 0;
    let call = Call { parse, text, options: options & !BY_INDEX, values };
    // SAFETY: the arguments are handed on as Postgres gave them, but for the mark. Where a statement of ours is being planned, an
    // error must not pass by what is to be dropped.
    unsafe { if is_marked || OURS.get() { guarded(&call, is_marked) } else { call.plan() } }
}

/// A statement of ours, or one inside of a function that the planner evaluates for one of ours.
#[pg_guard]
unsafe extern "C-unwind" fn guarded(call: &Call, is_ours: bool) -> *mut pg_sys::PlannedStmt {
    let _kind = Kind::new(is_ours);
    // SAFETY: as above.
    let work = || unsafe { pg_guard_ffi_boundary(|| call.plan()) };
    match is_ours {
        true => with_settings(&SETTINGS, work),
        false => work(),
    }
}

unsafe extern "C-unwind" fn relation(
    root: *mut pg_sys::PlannerInfo,
    id: pg_sys::Oid,
    is_parent: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: what the planner has just filled in, and nobody else holds; the list has indexes alone.
    unsafe {
        if let Some(before) = RELATIONS_BEFORE {
            before(root, id, is_parent, rel);
        }
        if !OURS.get() {
            return;
        }
        let rel = &mut *rel;
        rel.statlist = std::ptr::null_mut();
        (rel.pages, rel.tuples) = (rel.pages.max(PAGES), rel.tuples.max(ROWS));
        for index in pgrx::PgList::<pg_sys::IndexOptInfo>::from_pg(rel.indexlist).iter_ptr() {
            let index = &mut *index;
            (index.pages, index.tuples) = (index.pages.max(PAGES / 5), index.tuples.max(rel.tuples));
            index.tree_height = index.tree_height.max(2);
        }
    }
}

unsafe extern "C-unwind" fn statistics(
    root: *mut pg_sys::PlannerInfo,
    entry: *mut pg_sys::RangeTblEntry,
    column: pg_sys::AttrNumber,
    found: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: as above; without a tuple there is none to be freed.
    unsafe {
        if OURS.get() && (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION {
            (*found).statsTuple = std::ptr::null_mut();
            return true;
        }
        STATISTICS_BEFORE.is_some_and(|before| before(root, entry, column, found))
    }
}
