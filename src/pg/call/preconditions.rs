//! What a call refuses before anything costs money because of where it is called from.

use crate::pg::sys::database;
use leadlex_domain::sqlstate;
use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::ClaimKey;
use crate::pg::shared::transaction;
use crate::pg::shared::transaction::OwnClaim;
use crate::pg::sys::raise::{PgError, refuse};

/// Whether this transaction can write nothing.
pub fn read_only() -> bool {
    // SAFETY: reads the transaction's state. On a standby it is always so.
    unsafe { pg_sys::XactReadOnly }
}

/// Raises where nothing that this call writes could ever be committed.
///
/// Raises 55000: the library was not preloaded. 25006: a standby, or a read-only transaction. 25000: a
/// parallel operation.
pub fn require_writable() {
    layout::require();
    if database::in_recovery() {
        refuse(PgError {
            sqlstate: sqlstate::READ_ONLY_SQL_TRANSACTION,
            message: "cannot write on a standby server".into(),
            detail: None,
            hint: Some("Connect to the primary.".into()),
        });
    }
    // SAFETY: reads of the transaction's state.
    unsafe {
        if pg_sys::XactReadOnly {
            refuse(PgError {
                sqlstate: sqlstate::READ_ONLY_SQL_TRANSACTION,
                message: "cannot write in a read-only transaction".into(),
                detail: None,
                hint: Some("Begin another transaction with BEGIN READ WRITE, or SET default_transaction_read_only = off.".into()),
            });
        }
        if pg_sys::IsInParallelMode() {
            refuse(PgError {
                sqlstate: sqlstate::INVALID_TRANSACTION_STATE,
                message: "cannot enrich contacts during a parallel operation".into(),
                detail: None,
                hint: Some(
                    "The functions are PARALLEL UNSAFE; functions of yours that call them must be, too."
                        .into(),
                ),
            });
        }
    }
}

/// A call about `what` begins. A trigger of the contact's table that begins another about the same contact would ask
/// the providers again and again; one with the same idempotency key would make two results of one key.
///
/// Raises 27000: an outer call of this session has the same key under way.
pub fn begin(key: ClaimKey, what: impl FnOnce() -> String) {
    let subtransaction = transaction::subtransaction();
    let nested = transaction::with(|t| {
        let nested = t.under_way.iter().any(|c| c.key == key);
        if !nested {
            t.under_way.push(OwnClaim { key, subtransaction });
        }
        nested
    });
    if nested {
        refuse(PgError {
            sqlstate: sqlstate::TRIGGERED_DATA_CHANGE_VIOLATION,
            message: format!("{} is in use by an outer call", what()),
            detail: Some("A trigger fired by an enrichment began another one; no provider was asked.".into()),
            hint: Some(
                "Do not enrich a row from its own UPDATE trigger, nor with the outer call's key.".into(),
            ),
        });
    }
}

/// The call that [`begin`] noted is over.
pub fn end(key: ClaimKey) {
    transaction::with(|t| t.under_way.retain(|c| c.key != key));
}

/// `UPDATE t SET x = enrich_contact(id)` on the contact's own table: Postgres would refuse the outer update of the
/// row (27000) after the provider has been paid. Not so below a trigger, where the outer update is over.
///
/// Raises 27000: such a statement is running. `relation` None: nothing is checked.
pub fn refuse_row_in_update(relation: Option<pg_sys::Oid>) {
    let Some(relation) = relation else { return };
    // SAFETY: ActivePortal is null or the portal being run, whose statements live as long as it does; nodes are
    // looked at only after their tag.
    unsafe {
        let portal = pg_sys::ActivePortal;
        if portal.is_null() || pgrx::direct_function_call::<i32>(pg_sys::pg_trigger_depth, &[]) != Some(0) {
            return;
        }
        let statements = pgrx::PgList::<pg_sys::PlannedStmt>::from_pg((*portal).stmts);
        let refused = |statement: *mut pg_sys::PlannedStmt| {
            (*statement).type_ == pg_sys::NodeTag::T_PlannedStmt && rewrites(&*statement, relation)
        };
        if statements.iter_ptr().any(refused) {
            refuse(PgError {
                sqlstate: sqlstate::TRIGGERED_DATA_CHANGE_VIOLATION,
                message: "cannot enrich contacts from a statement that updates or deletes them".into(),
                detail: Some(
                    "The row would be written twice by one statement; no provider was asked.".into(),
                ),
                hint: Some("Enrich in a statement of its own: SELECT enrich_contact(id) FROM ….".into()),
            });
        }
    }
}

/// Whether a statement changes or removes rows of `relation` that may have been there before. What writes stands at
/// the top of the plan, or of the plan of a WITH query, which is one of the sub-plans.
unsafe fn rewrites(statement: &pg_sys::PlannedStmt, relation: pg_sys::Oid) -> bool {
    // SAFETY: the plan of a running statement; a node is looked at as ModifyTable only if it is one, and its result
    // relations are numbers of entries of the statement's range table.
    unsafe {
        let range = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg(statement.rtable);
        let subplans = pgrx::PgList::<pg_sys::Plan>::from_pg(statement.subplans);
        std::iter::once(statement.planTree).chain(subplans.iter_ptr()).any(|plan| {
            if plan.is_null() || (*plan).type_ != pg_sys::NodeTag::T_ModifyTable {
                return false;
            }
            let modify = &*plan.cast::<pg_sys::ModifyTable>();
            let targets = modify.resultRelations;
            changes_old_rows(modify)
                && (0..pg_sys::list_length(targets))
                    .filter_map(|i| range.get_ptr(pg_sys::list_nth_int(targets, i) as usize - 1))
                    .any(|entry| is_part_of((*entry).relid, relation))
        })
    }
}

/// An INSERT only adds rows, also one that does nothing or (since 19) returns the row on a conflict. So does a MERGE
/// without an action that updates or deletes.
unsafe fn changes_old_rows(modify: &pg_sys::ModifyTable) -> bool {
    use pg_sys::CmdType::{CMD_DELETE, CMD_INSERT, CMD_MERGE, CMD_UPDATE};
    if modify.operation == CMD_INSERT {
        return modify.onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_UPDATE;
    }
    if modify.operation != CMD_MERGE {
        return true;
    }
    // SAFETY: of a MERGE this is a list of lists of actions.
    unsafe {
        let lists = pgrx::PgList::<pg_sys::List>::from_pg(modify.mergeActionLists);
        lists.iter_ptr().any(|list| {
            let actions = pgrx::PgList::<pg_sys::MergeAction>::from_pg(list);
            actions.iter_ptr().any(|action| matches!((*action).commandType, CMD_UPDATE | CMD_DELETE))
        })
    }
}

/// Whether `relation` is `whole`, or one of its partitions or of the tables that inherit from it, at any depth.
pub unsafe fn is_part_of(relation: pg_sys::Oid, whole: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups for a relation that the running statement has locked.
    unsafe {
        if relation == whole {
            return true;
        }
        if pg_sys::get_rel_relispartition(relation) {
            return pg_sys::list_member_oid(pg_sys::get_partition_ancestors(relation), whole);
        }
        pg_sys::has_subclass(whole) && {
            let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
            pg_sys::list_member_oid(pg_sys::find_all_inheritors(whole, lock, std::ptr::null_mut()), relation)
        }
    }
}
