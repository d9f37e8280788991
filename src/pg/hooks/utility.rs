//! Statements that need a database without sessions (DROP, RENAME, SET TABLESPACE, and the source of CREATE DATABASE):
//! the worker leaves it first. Otherwise they would wait for it for up to five seconds, and DROP … WITH (FORCE) by an
//! owner who is no superuser would be refused, because the worker is one. The same for DROP EXTENSION, which needs the
//! locks that the worker holds.
//!
//! Only for those who may run the statement: nobody else can send a worker away.
//!
//! And CREATE TRIGGER with a function of ours, which is for the table's owner. What may give a bound table a trigger or
//! take it away is looked at afterwards, so that one that was lost can be told of.
//!
//! And LOCK TABLE of leadlex.contact, which is for granted roles. What may take away the policies that keep all others from its
//! rows is looked at afterwards, so that PUBLIC never has it without them.

use crate::pg::api;
use crate::pg::installation;
use crate::pg::sys::relation;
use crate::pg::table;
use leadlex_domain::sqlstate;
use std::ffi::{CStr, c_char};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::api::triggers::kept;
use crate::pg::hooks::{explain, stored_caps};
use crate::pg::shared::lockouts;
use crate::pg::shared::transaction::LockoutOutcome;
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::syscache;

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hook for utility statements, while the server preloads; the one before is kept and called.
pub fn register() {
    // SAFETY: runs once in the postmaster while it preloads; the previous hook is kept and called.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(hook);
    }
}

unsafe extern "C-unwind" {
    // As it is, without pgrx's wrapper: see `hook`.
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Stands between Postgres and every utility statement. An error of the statement passes through this frame as it is
/// (there is nothing in it to be dropped), so that no part of it is lost; only what we do ourselves is guarded.
unsafe extern "C-unwind" fn hook(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: all arguments are handed on as Postgres gave them; the statement's node is looked at by its tag.
    unsafe {
        let node = (*statement).utilityStmt;
        if (*node).type_ == pg_sys::NodeTag::T_CreateTrigStmt {
            require_own_table(node.cast());
        }
        if (*node).type_ == pg_sys::NodeTag::T_LockStmt {
            require_access_to_lock(node.cast());
        }
        if stored_caps::concerns(node) {
            stored_caps::require_superuser(node);
        }
        let ours = concerns_databases((*node).type_);
        let triggers = concerns_triggers(node);
        let policies = concerns_policies(node);
        let locked_out = if ours { before(node, context) } else { pg_sys::InvalidOid };
        let explains = (*node).type_ == pg_sys::NodeTag::T_ExplainStmt && analyzes(node.cast());
        let explained = if explains { explain::begin() } else { None };
        // COPY fires the triggers of its rows itself.
        let copies = (*node).type_ == pg_sys::NodeTag::T_CopyStmt;
        let depth = if copies { kept::enter() } else { 0 };
        match PREVIOUS {
            Some(previous) => previous(
                statement,
                text,
                read_only_tree,
                context,
                parameters,
                environment,
                receiver,
                completion,
            ),
            None => standard_ProcessUtility(
                statement,
                text,
                read_only_tree,
                context,
                parameters,
                environment,
                receiver,
                completion,
            ),
        }
        if copies {
            kept::leave(depth);
        }
        if explains {
            explain::end(explained);
        }
        if ours {
            after(node, locked_out);
        }
        if triggers {
            remember_triggers();
        }
        if policies {
            close_contact_table();
        }
    }
}

/// Whether EXPLAIN runs its query.
#[pg_guard]
unsafe extern "C-unwind" fn analyzes(explain: *mut pg_sys::ExplainStmt) -> bool {
    // SAFETY: options of the statement; a value that is no boolean is refused here as Postgres itself would.
    unsafe { option((*explain).options, c"analyze").is_some_and(|option| pg_sys::defGetBoolean(option)) }
}

/// ALTER TABLE … DISABLE ROW LEVEL SECURITY, ALTER and DROP POLICY.
unsafe fn concerns_policies(node: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: each node is looked at as what its tag says; the commands of ALTER TABLE are AlterTableCmd nodes.
    unsafe {
        match (*node).type_ {
            T_AlterTableStmt => {
                let commands = (*node.cast::<pg_sys::AlterTableStmt>()).cmds;
                pgrx::PgList::<pg_sys::AlterTableCmd>::from_pg(commands)
                    .iter_ptr()
                    .any(|command| (*command).subtype == pg_sys::AlterTableType::AT_DisableRowSecurity)
            }
            T_DropStmt => (*node.cast::<pg_sys::DropStmt>()).removeType == pg_sys::ObjectType::OBJECT_POLICY,
            T_RenameStmt => {
                (*node.cast::<pg_sys::RenameStmt>()).renameType == pg_sys::ObjectType::OBJECT_POLICY
            }
            T_AlterPolicyStmt => true,
            _ => false,
        }
    }
}

/// The statement has succeeded.
#[pg_guard]
unsafe extern "C-unwind" fn close_contact_table() {
    where_installed(api::close_contact_table);
}

/// Does it after the statement, where the extension is installed for good.
fn where_installed(act: fn()) {
    // SAFETY: globals of a backend; what the statement did is made visible to the next one of its transaction.
    unsafe {
        if pg_sys::IsBinaryUpgrade || pg_sys::creating_extension {
            return;
        }
        pg_sys::CommandCounterIncrement();
    }
    cache::forget_changed();
    if let installation::Installed::This(_) = installation::find() {
        act();
    }
}

/// CREATE and DROP TRIGGER, and tables that change names.
unsafe fn concerns_triggers(node: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    use pg_sys::ObjectType::{OBJECT_SCHEMA, OBJECT_TABLE, OBJECT_TRIGGER};
    // SAFETY: each node is looked at as what its tag says.
    unsafe {
        match (*node).type_ {
            T_CreateTrigStmt => true,
            T_DropStmt => (*node.cast::<pg_sys::DropStmt>()).removeType == OBJECT_TRIGGER,
            T_RenameStmt => {
                [OBJECT_TABLE, OBJECT_SCHEMA].contains(&(*node.cast::<pg_sys::RenameStmt>()).renameType)
            }
            T_AlterObjectSchemaStmt => {
                (*node.cast::<pg_sys::AlterObjectSchemaStmt>()).objectType == OBJECT_TABLE
            }
            _ => false,
        }
    }
}

/// The statement has succeeded.
#[pg_guard]
unsafe extern "C-unwind" fn remember_triggers() {
    where_installed(config::remember_triggers);
}

/// Our triggers act for the table's owner, and spend his workspace's credits: the TRIGGER privilege is not enough.
#[pg_guard]
unsafe extern "C-unwind" fn require_own_table(create: *mut pg_sys::CreateTrigStmt) {
    // SAFETY: look-ups in catalogs for names as the grammar makes them. What does not exist is Postgres's to refuse.
    unsafe {
        let function = pg_sys::LookupFuncName((*create).funcname, 0, std::ptr::null(), true);
        if function == pg_sys::InvalidOid || !is_ours(function) {
            return;
        }
        let flags = pg_sys::RVROption::RVR_MISSING_OK;
        let lock = pg_sys::NoLock as i32;
        let relation =
            pg_sys::RangeVarGetRelidExtended((*create).relation, lock, flags, None, std::ptr::null_mut());
        if relation == pg_sys::InvalidOid || relation::owns_table(relation) {
            return;
        }
        let table = table::name_of(relation);
        refuse(PgError {
            sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
            message: format!("must be owner of table {table} for a trigger that enriches its rows"),
            detail: Some(
                "It acts with the owner's rights and spends the credits of the owner's workspace.".into(),
            ),
            hint: None,
        });
    }
}

/// PUBLIC has privileges on leadlex.contact, and policies keep strangers from its rows; locks know no policies.
#[pg_guard]
unsafe extern "C-unwind" fn require_access_to_lock(lock: *mut pg_sys::LockStmt) {
    // SAFETY: look-ups in catalogs for the names that the statement lists.
    unsafe {
        if (*lock).mode <= pg_sys::AccessShareLock as i32 {
            return;
        }
        let schema = pg_sys::get_namespace_oid(c"leadlex".as_ptr(), true);
        let contact = match schema {
            pg_sys::InvalidOid => pg_sys::InvalidOid,
            schema => pg_sys::get_relname_relid(c"contact".as_ptr(), schema),
        };
        if contact == pg_sys::InvalidOid || relation::owns_table(contact) {
            return;
        }
        let named = pgrx::PgList::<pg_sys::RangeVar>::from_pg((*lock).relations).iter_ptr().any(|name| {
            let flags = pg_sys::RVROption::RVR_MISSING_OK;
            let none = pg_sys::NoLock as i32;
            pg_sys::RangeVarGetRelidExtended(name, none, flags, None, std::ptr::null_mut()) == contact
        });
        if named && matches!(installation::find(), installation::Installed::This(_)) {
            cache::forget_changed();
            api::require_access(contact);
        }
    }
}

unsafe fn is_ours(function: pg_sys::Oid) -> bool {
    // SAFETY: look-ups of an existing function; the names are palloc'd.
    unsafe {
        let (schema, name) = (
            pg_sys::get_namespace_name(pg_sys::get_func_namespace(function)),
            pg_sys::get_func_name(function),
        );
        !schema.is_null()
            && !name.is_null()
            && CStr::from_ptr(schema) == c"leadlex"
            && [c"enrich_on_insert", c"enqueue_on_insert"].contains(&CStr::from_ptr(name))
    }
}

fn concerns_databases(tag: pg_sys::NodeTag) -> bool {
    use pg_sys::NodeTag::*;
    matches!(tag, T_DropdbStmt | T_CreatedbStmt | T_AlterDatabaseStmt | T_RenameStmt | T_DropStmt)
}

/// The database that has been cleared of workers, if any.
#[pg_guard]
unsafe extern "C-unwind" fn before(
    node: *mut pg_sys::Node,
    context: pg_sys::ProcessUtilityContext::Type,
) -> pg_sys::Oid {
    use pg_sys::NodeTag::*;
    // SAFETY: each node is looked at as what its tag says. Look-ups in shared catalogs, inside a transaction.
    unsafe {
        if (*node).type_ == T_DropStmt {
            if drops_extension(node.cast()) && owns_extension() && !pg_sys::RecoveryInProgress() {
                lockouts::clear_briefly(pg_sys::MyDatabaseId.to_u32());
                return pg_sys::MyDatabaseId;
            }
            return pg_sys::InvalidOid;
        }
        let (name, copies) = match (*node).type_ {
            T_DropdbStmt => ((*node.cast::<pg_sys::DropdbStmt>()).dbname, false),
            T_CreatedbStmt => (source((*node.cast::<pg_sys::CreatedbStmt>()).options), true),
            T_AlterDatabaseStmt => {
                let alter = node.cast::<pg_sys::AlterDatabaseStmt>();
                let moves = option((*alter).options, c"tablespace").is_some();
                (if moves { (*alter).dbname } else { std::ptr::null_mut() }, false)
            }
            T_RenameStmt => {
                let rename = node.cast::<pg_sys::RenameStmt>();
                let database = (*rename).renameType == pg_sys::ObjectType::OBJECT_DATABASE;
                (if database { (*rename).subname } else { std::ptr::null_mut() }, false)
            }
            _ => (std::ptr::null_mut(), false),
        };
        // All but RENAME are refused inside a transaction block or a function.
        let alone = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL
            && !pg_sys::IsTransactionBlock();
        if name.is_null() || !(alone || (*node).type_ == T_RenameStmt) || pg_sys::RecoveryInProgress() {
            return pg_sys::InvalidOid;
        }
        let database = pg_sys::get_database_oid(name, true);
        let allowed =
            database != pg_sys::InvalidOid && if copies { may_copy(database) } else { owns(database) };
        if !allowed {
            return pg_sys::InvalidOid;
        }
        lockouts::clear(database.to_u32());
        database
    }
}

/// The statement has succeeded.
#[pg_guard]
unsafe extern "C-unwind" fn after(node: *mut pg_sys::Node, locked_out: pg_sys::Oid) {
    use pg_sys::NodeTag::*;
    // SAFETY: as in `before`.
    unsafe {
        match (*node).type_ {
            _ if locked_out == pg_sys::InvalidOid => {}
            T_DropStmt => lockouts::note(locked_out.to_u32(), LockoutOutcome::Emptied),
            T_DropdbStmt => lockouts::note(locked_out.to_u32(), LockoutOutcome::Dropped),
            T_CreatedbStmt => {
                // Its own row is seen only by the next command.
                pg_sys::CommandCounterIncrement();
                let copy = pg_sys::get_database_oid((*node.cast::<pg_sys::CreatedbStmt>()).dbname, true);
                lockouts::note(locked_out.to_u32(), LockoutOutcome::Copied(copy.to_u32()));
            }
            _ => {}
        }
    }
}

/// The database that CREATE DATABASE copies.
unsafe fn source(options: *mut pg_sys::List) -> *mut c_char {
    // SAFETY: options of the statement; a value that is no name is refused here as Postgres itself would.
    unsafe {
        match option(options, c"template") {
            Some(template) if !(*template).arg.is_null() => pg_sys::defGetString(template),
            _ => c"template1".as_ptr().cast_mut(),
        }
    }
}

unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: a list of DefElem nodes, as the grammar makes it.
    unsafe {
        let options = pgrx::PgList::<pg_sys::DefElem>::from_pg(options);
        options.iter_ptr().find(|&option| CStr::from_ptr((*option).defname) == name)
    }
}

unsafe fn drops_extension(drop: *mut pg_sys::DropStmt) -> bool {
    // SAFETY: the objects of DROP EXTENSION are String nodes.
    unsafe {
        if (*drop).removeType != pg_sys::ObjectType::OBJECT_EXTENSION {
            return false;
        }
        let names = pgrx::PgList::<pg_sys::String>::from_pg((*drop).objects);
        names.iter_ptr().any(|name| CStr::from_ptr((*name).sval) == c"leadlex_enrich")
    }
}

unsafe fn owns(database: pg_sys::Oid) -> bool {
    // SAFETY: look-ups in shared catalogs.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
    }
}

unsafe fn owns_extension() -> bool {
    // SAFETY: look-ups in catalogs, inside a transaction.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"leadlex_enrich".as_ptr(), true);
        if extension == pg_sys::InvalidOid {
            return false;
        }
        #[cfg(feature = "pg15")]
        return pg_sys::pg_extension_ownercheck(extension, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::ExtensionRelationId, extension, pg_sys::GetUserId());
    }
}

/// As CREATE DATABASE decides it: CREATEDB, and a template or one's own.
unsafe fn may_copy(database: pg_sys::Oid) -> bool {
    use pg_sys::SysCacheIdentifier::{AUTHOID, DATABASEOID};
    let creates = |row: &pg_sys::FormData_pg_authid| row.rolcreatedb;
    let template = |row: &pg_sys::FormData_pg_database| row.datistemplate;
    // SAFETY: the rows of these caches.
    unsafe {
        let may_create =
            pg_sys::superuser() || syscache::row(AUTHOID, pg_sys::GetUserId(), creates).unwrap_or(false);
        let is_template = || syscache::row(DATABASEOID, database, template).unwrap_or(false);
        may_create && (is_template() || owns(database))
    }
}
