//! ALTER ROLE and ALTER DATABASE … SET and RESET of what one statement may ask and cost at most: stored, a value is in force in
//! later sessions, and may take the place of a lower one. So that is for superusers. For a session see `settings`.

use std::ffi::{CStr, c_char};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::sys::{row, settings};
use leadlex_domain::sqlstate;

/// Whether the statement is one of these.
///
/// # Safety
/// A node of a utility statement.
pub unsafe fn concerns(node: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::{T_AlterDatabaseSetStmt, T_AlterRoleSetStmt};
    // SAFETY: as promised by the caller.
    unsafe { matches!((*node).type_, T_AlterRoleSetStmt | T_AlterDatabaseSetStmt) }
}

/// Refuses it to all but superusers, where one of our limits is set or reset by it.
///
/// Raises 42501.
#[pg_guard]
pub unsafe extern "C-unwind" fn require_superuser(node: *mut pg_sys::Node) {
    use pg_sys::NodeTag::T_AlterRoleSetStmt;
    use pg_sys::VariableSetKind::VAR_RESET_ALL;
    // SAFETY: the node is looked at as what its tag says; its strings are NUL-terminated.
    unsafe {
        if pg_sys::superuser() {
            return;
        }
        let (variable, role, database) = match (*node).type_ {
            T_AlterRoleSetStmt => {
                let alter = node.cast::<pg_sys::AlterRoleSetStmt>();
                ((*alter).setstmt, (*alter).role, (*alter).database)
            }
            _ => {
                let alter = node.cast::<pg_sys::AlterDatabaseSetStmt>();
                ((*alter).setstmt, std::ptr::null_mut(), (*alter).dbname)
            }
        };
        let touched = match (*variable).kind {
            VAR_RESET_ALL => stored(role, database),
            _ => (!(*variable).name.is_null())
                .then(|| CStr::from_ptr((*variable).name).to_string_lossy().to_lowercase())
                .filter(|name| settings::CAPS.iter().any(|cap| cap.to_string_lossy() == *name)),
        };
        let Some(name) = touched else { return };
        refuse(PgError {
            sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
            message: format!("permission denied to store {name}, or to take it away"),
            detail: Some(
                "What is stored for a role or database takes the place of a limit that a superuser has set."
                    .into(),
            ),
            hint: Some("Lower it for a session with SET, or ask a superuser.".into()),
        });
    }
}

static STORED: Statement = Statement::new(
    "SELECT o.name
     FROM pg_catalog.pg_db_role_setting AS s, LATERAL pg_catalog.unnest(s.setconfig) AS c(setting),
          LATERAL pg_catalog.split_part(c.setting, '=', 1) AS o(name)
     WHERE s.setrole::pg_catalog.int8 OPERATOR(pg_catalog.=) $2 AND s.setdatabase::pg_catalog.int8 OPERATOR(pg_catalog.=) $3
       AND pg_catalog.lower(o.name) OPERATOR(pg_catalog.=) ANY ($1) LIMIT 1",
);

/// One of them that is stored for this role and database; null for all of them.
///
/// # Safety
/// Of the statement, or null.
unsafe fn stored(role: *mut pg_sys::RoleSpec, database: *const c_char) -> Option<String> {
    let names: Vec<String> = settings::CAPS.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    // SAFETY: look-ups in shared catalogs. What does not exist is Postgres's to refuse.
    let (role, database) = unsafe {
        let role = match role.is_null() {
            true => pg_sys::InvalidOid,
            false => pg_sys::get_rolespec_oid(role, true),
        };
        let database = match database.is_null() {
            true => pg_sys::InvalidOid,
            false => pg_sys::get_database_oid(database, true),
        };
        (role, database)
    };
    let row = STORED
        .row(View::Latest, &[arg(names), arg(i64::from(role.to_u32())), arg(i64::from(database.to_u32()))])?;
    Some(row::text(&row, 0))
}
