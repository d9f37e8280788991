//! Whether row-level security lets the caller update a row, told before a provider is paid.
//!
//! A policy's condition cannot be asked for its verdict without an update, or the lock of one, which would keep others
//! from the row while the provider is waited for. But a statement that is about to lock tests a row against the policies
//! for updates first, and against what the statement itself asks of it only then. So it is asked for rows of which
//! [`note`] says yes, which says no to all, and remembers whom it was asked about.

use crate::pg::sys::row;
use crate::pg::table::many;
use leadlex_domain::sqlstate;
use std::cell::RefCell;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::spi::{Arg, Caught};
use crate::pg::sys::spi::{Statement, View, arg, texts_arg};
use crate::pg::sys::syscache;
use crate::pg::table::partitions::Partitions;
use crate::pg::table::{Binding, key};
use leadlex_domain::fields::FieldSet;

thread_local! {
    static NOTED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// More rows than one statement of ours asks about.
const MOST: usize = 65_536;

/// Remembers `position`, counted from 1.
pub fn note(position: i64) {
    NOTED.with_borrow_mut(|noted| {
        // A user who calls it directly must not fill the memory with that.
        if noted.len() < MOST {
            noted.push((position - 1).max(0) as usize);
        }
    });
}

/// `CASE` keeps the rows of other keys out whatever the plan.
pub fn statement(table: &str, key_type: &str, condition_of_many: &str) -> Statement {
    let set = many::set_of_keys(key_type, &[]);
    Statement::owned(format!(
        "SELECT FROM {set} JOIN {table} AS t ON {condition_of_many}
         WHERE CASE WHEN {condition_of_many} THEN leadlex.row_may_be_updated(n.position) END FOR KEY SHARE OF t"
    ))
}

impl Binding {
    /// Whether policies can hide rows of the table from the caller.
    pub fn hides_rows(&self) -> bool {
        // SAFETY: a catalog look-up for an existing relation; InvalidOid stands for the current role.
        self.relation.is_some_and(|relation| unsafe {
            pg_sys::check_enable_rls(relation, pg_sys::InvalidOid, true)
                == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
        })
    }

    /// Whether a row that the caller does not see may be there all the same: policies hide it, or the condition of a view.
    pub fn may_hide_rows(&self) -> bool {
        // SAFETY: a catalog look-up for a relation, which may be gone.
        let kind = self.relation.map(|relation| unsafe { pg_sys::get_rel_relkind(relation) } as u8);
        let is_table = |kind| [pg_sys::RELKIND_RELATION, pg_sys::RELKIND_PARTITIONED_TABLE].contains(&kind);
        !kind.is_some_and(is_table) || self.hides_rows()
    }

    /// Whether a policy of this table for what is written raised it: Postgres names the table in the message alone, without its
    /// schema. A trigger's own statement stands before ours in the context.
    pub fn is_refused_by_policy(&self, caught: &Caught) -> bool {
        /// "SQL statement" and a quotation mark, in the languages of Postgres.
        const INTRODUCTION: usize = 60;
        let ours = format!("UPDATE {} AS t SET", self.name());
        let at = caught.about.context.as_ref().and_then(|context| context.find(&ours));
        caught.sqlstate == sqlstate::INSUFFICIENT_PRIVILEGE
            && caught.about.file.as_deref() == Some("execMain.c")
            && caught.message.contains(&*self.table)
            && at.is_some_and(|at| at < INTRODUCTION)
    }

    /// Whether its rows change by transactions of this server alone: not those of a view or foreign table.
    pub fn is_ordinary_table(&self) -> bool {
        // SAFETY: catalog look-ups for a relation, which may be gone.
        self.relation.is_some_and(|relation| unsafe {
            pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_RELATION
                && !pg_sys::has_subclass(relation)
        })
    }

    /// Whether writing the table may run triggers.
    pub fn has_triggers(&self) -> bool {
        let cache = pg_sys::SysCacheIdentifier::RELOID;
        // Partitions may have some of their own.
        let has = |class: &pg_sys::FormData_pg_class| class.relhastriggers || class.relhassubclass;
        // SAFETY: the rows of this cache.
        self.relation.and_then(|relation| unsafe { syscache::row(cache, relation, has) }).unwrap_or(false)
    }

    /// Whether the caller may read all bound columns.
    pub fn is_readable(&self) -> bool {
        self.without(pg_sys::ACL_SELECT, self.read_columns()).is_empty()
    }

    /// The fields whose columns the caller may write.
    pub fn updatable(&self) -> FieldSet {
        let names = self.fields().names();
        let refused = self.without(pg_sys::ACL_UPDATE, names.iter().copied());
        self.fields().iter().filter(|field| !refused.contains(&field.name())).collect()
    }

    /// Which of these rows, in their order, policies do not let the caller update. All are rows that it sees.
    pub fn update_denied(&self, workspace: Uuid, ids: &[&str]) -> Vec<bool> {
        let Some(relation) = self.relation else { self.gone() };
        // Who may update no column at all is told of that.
        // SAFETY: catalog look-ups for an existing relation; InvalidOid stands for the current role.
        let applies =
            unsafe { self.may_update_some() && self.hides_rows() && updates_are_stricter(relation) };
        let mut update_denied = vec![applies; ids.len()];
        if applies && !ids.is_empty() {
            NOTED.with_borrow_mut(Vec::clear);
            self.ask_policies(workspace, ids);
            NOTED.take().into_iter().filter(|at| *at < ids.len()).for_each(|at| update_denied[at] = false);
        }
        update_denied
    }

    fn ask_policies(&self, workspace: Uuid, ids: &[&str]) {
        let plans = self.plans();
        let all = || plans.locks.query(View::Caller, &[texts_arg(ids), arg(row::pg(workspace))]);
        let (Some(at), [id]) = (&plans.partitioned, ids) else {
            all();
            return;
        };
        // It finds no row whatever the policies say: what it remembers tells.
        let near = |partitions: &Partitions, place: &[String]| {
            let args: Vec<Arg> = key(workspace, id).into_iter().chain(partitions.args(place)).collect();
            at.locks.query(View::Caller, &args);
            match NOTED.with_borrow(Vec::is_empty) {
                true => Vec::new(),
                false => vec![Vec::new()],
            }
        };
        self.in_partition(&at.partitions, (workspace, id), near, all);
    }

    /// Raises 42501: the caller sees the row, and no policy lets it update the row. Asked before a provider
    /// is.
    pub fn refuse_if_update_denied(&self, workspace: Uuid, id: &str) {
        // Gone meanwhile is something else.
        if self.update_denied(workspace, &[id])[0] && self.read(workspace, id).is_some() {
            self.row_update_denied(id, "No provider was asked.");
        }
    }

    /// Raises 42501 about the contact `id`, with this detail.
    pub fn row_update_denied(&self, id: &str, detail: &str) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
            message: barred_message(id),
            detail: Some(detail.into()),
            hint: Some(format!("Give the role an UPDATE policy on {} that lets it.", self.name())),
        })
    }
}

/// Whether policies can show a row and not let it be updated: those for all commands say the same of both. For whom a policy
/// is does not matter here; one too many is looked at.
///
/// # Safety
/// Called in a transaction.
unsafe fn updates_are_stricter(relation: pg_sys::Oid) -> bool {
    // SAFETY: what is open and locked stays as it is; the list is of policies. The lock is kept, as a read of the table does.
    unsafe {
        let opened = pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as i32);
        if opened.is_null() {
            return true;
        }
        let known = (*opened).rd_rsdesc;
        let policies = if known.is_null() { std::ptr::null_mut() } else { (*known).policies };
        let stricter = (0..pg_sys::list_length(policies)).any(|i| {
            let policy = &*pg_sys::list_nth(policies, i).cast::<pg_sys::RowSecurityPolicy>();
            match policy.polcmd as u8 {
                FOR_SELECT => policy.permissive,
                FOR_UPDATE => !policy.permissive,
                _ => false,
            }
        });
        pg_sys::relation_close(opened, pg_sys::NoLock as i32);
        // Another extension's policies can be for anything.
        let hooks =
            [pg_sys::row_security_policy_hook_permissive, pg_sys::row_security_policy_hook_restrictive];
        stricter || hooks.iter().any(Option::is_some)
    }
}

/// As pg_policy.polcmd has them.
const FOR_SELECT: u8 = b'r';
const FOR_UPDATE: u8 = b'w';

/// The text that tells of a contact that policies keep from being updated.
pub fn barred_message(id: &str) -> String {
    format!("row-level security does not let you update contact {id}")
}
