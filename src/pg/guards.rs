//! What a call refuses before anything costs money because of where it is called from.

use pgrx::pg_sys;

use super::raise::{self, Refusal, refuse};
use super::shmem::{self, ClaimKey};
use super::xact::{self, OwnClaim};

/// 55000 where the library was not preloaded.
pub fn require_shared_memory() {
    if !shmem::available() {
        raise::not_ready(
            "leadlex_enrich must be loaded when the server starts",
            "Add leadlex_enrich to shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'leadlex_enrich') and restart.",
        );
    }
}

pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether this transaction can write nothing.
pub fn read_only() -> bool {
    // SAFETY: reads the transaction's state. On a standby it is always so.
    unsafe { pg_sys::XactReadOnly }
}

/// Raises where nothing that this call writes could ever be committed.
pub fn require_writable() {
    require_shared_memory();
    if in_recovery() {
        refuse(Refusal {
            sqlstate: "25006",
            message: "cannot write on a standby server".into(),
            detail: None,
            hint: Some("Connect to the primary.".into()),
        });
    }
    // SAFETY: reads of the transaction's state.
    unsafe {
        if pg_sys::XactReadOnly {
            refuse(Refusal {
                sqlstate: "25006",
                message: "cannot write in a read-only transaction".into(),
                detail: None,
                hint: Some("Use SET TRANSACTION READ WRITE, or a read-write connection.".into()),
            });
        }
        if pg_sys::IsInParallelMode() {
            refuse(Refusal {
                sqlstate: "25000",
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
pub fn begin(key: ClaimKey, what: &str) {
    let subtransaction = xact::subtransaction();
    let nested = xact::with(|t| {
        let nested = t.under_way.iter().any(|c| c.key == key);
        if !nested {
            t.under_way.push(OwnClaim { key, subtransaction });
        }
        nested
    });
    if nested {
        refuse(Refusal {
            sqlstate: "27000",
            message: format!("{what} is in use by an outer call"),
            detail: Some("A trigger fired by an enrichment began another one; no provider was asked.".into()),
            hint: Some(
                "Do not enrich a row from its own UPDATE trigger, nor with the outer call's key.".into(),
            ),
        });
    }
}

pub fn end(key: ClaimKey) {
    xact::with(|t| t.under_way.retain(|c| c.key != key));
}

/// `UPDATE t SET x = enrich_contact(id)` on the contact's own table: Postgres would refuse the outer update of the
/// row (27000) after the provider has been paid. Not so below a trigger, where the outer update is over.
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
        for statement in statements.iter_ptr() {
            use pg_sys::CmdType::CMD_INSERT;
            // A plain INSERT writes rows that are not there yet; an UPDATE can also stand in a WITH clause.
            let inserts = (*statement).commandType == CMD_INSERT
                && !(*statement).hasModifyingCTE
                && !updates_on_conflict((*statement).planTree);
            if (*statement).type_ != pg_sys::NodeTag::T_PlannedStmt || inserts {
                continue;
            }
            let range = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg((*statement).rtable);
            let results = (*statement).resultRelations;
            let targets =
                (0..pg_sys::list_length(results)).map(|i| pg_sys::list_nth_int(results, i) as usize);
            if targets.filter_map(|t| range.get_ptr(t - 1)).any(|entry| is_part_of((*entry).relid, relation))
            {
                refuse(Refusal {
                    sqlstate: "27000",
                    message: "cannot enrich contacts from a statement that updates or deletes them".into(),
                    detail: Some(
                        "The row would be written twice by one statement; no provider was asked.".into(),
                    ),
                    hint: Some("Enrich in a statement of its own: SELECT enrich_contact(id) FROM ….".into()),
                });
            }
        }
    }
}

unsafe fn updates_on_conflict(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: the plan of a running INSERT; its node is looked at as ModifyTable only if it is one.
    unsafe {
        !plan.is_null()
            && (*plan).type_ == pg_sys::NodeTag::T_ModifyTable
            && (*plan.cast::<pg_sys::ModifyTable>()).onConflictAction
                == pg_sys::OnConflictAction::ONCONFLICT_UPDATE
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
