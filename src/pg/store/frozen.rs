//! Whether what runs by itself may write in this database: default_transaction_read_only, as a session of a role would
//! find it now. That of a worker that runs is of no use: it was told at its start.

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::sys::row::boolean;
use crate::pg::sys::spi::{Statement, View, arg};

// What is set for the role in the database comes before what is set for the role, for the database, for all.
static SET: Statement = Statement::new(
    "SELECT (pg_catalog.split_part(c.setting, '=', 2))::pg_catalog.bool
     FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS c(setting)
     WHERE s.setdatabase::pg_catalog.int8 OPERATOR(pg_catalog.=) ANY (ARRAY[$1, 0])
       AND s.setrole::pg_catalog.int8 OPERATOR(pg_catalog.=) ANY (ARRAY[$2, 0])
       AND pg_catalog.starts_with(c.setting, 'default_transaction_read_only=')
     ORDER BY (s.setrole::pg_catalog.int8 OPERATOR(pg_catalog.=) 0) USING OPERATOR(pg_catalog.<),
              (s.setdatabase::pg_catalog.int8 OPERATOR(pg_catalog.=) 0) USING OPERATOR(pg_catalog.<)
     LIMIT 1",
);

/// Whether default_transaction_read_only is on for this role in this database: as set for role and database,
/// else as in the server's configuration.
pub fn is_frozen(role: pg_sys::Oid) -> bool {
    // SAFETY: a global of a process that is connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let set = SET.row(View::Latest, &[arg(i64::from(database)), arg(i64::from(role.to_u32()))]);
    match set {
        Some(row) => boolean(&row, 0),
        // The launcher has no database, so this is what the server's configuration says.
        None => layout::available() && layout::with_header(|h| h.read_only),
    }
}
