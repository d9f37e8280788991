//! Whether an UPDATE of a table may be made with its owner's rights because somebody else has inserted a row.
//!
//! Whoever has the TRIGGER privilege can let functions of his own run whenever the owner writes. That the owner writes is
//! then not for him to bring about.

use pgrx::pg_sys;

use crate::pg::spi::{Statement, View, arg};

// A function of a role that can act as the owner anyway gains nothing. One that is SECURITY DEFINER does not either, but may
// cease to be that while a provider is waited for.
static FOREIGN: Statement = Statement::new(
    "WITH RECURSIVE part AS (
         SELECT $1 AS relation
         UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) part.relation)
     SELECT t.tgname, p.oid::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(p.proowner)
     FROM part
     JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) part.relation
     JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
     JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
     WHERE NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
       AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 16) OPERATOR(pg_catalog.<>) 0
       AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['internal', 'c']::pg_catalog.name[])
       AND NOT pg_catalog.pg_has_role(p.proowner, $2, 'MEMBER')
     LIMIT 1",
);

/// Why not, and what helps. Until the transaction ends, no trigger can be added: the table is locked as for an UPDATE.
pub fn foreign_trigger(relation: pg_sys::Oid, owner: pg_sys::Oid) -> Option<(String, String)> {
    // SAFETY: the relation exists, or an error says that it does not; it is closed, and the locks stay.
    unsafe {
        let lock = pg_sys::RowExclusiveLock as i32;
        pg_sys::relation_close(pg_sys::relation_open(relation, lock), pg_sys::NoLock as i32);
        pg_sys::find_all_inheritors(relation, lock, std::ptr::null_mut());
    }
    let row = FOREIGN.row(View::Latest, &[arg(relation), arg(owner)])?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let (trigger, function, author) = (text(0), text(1), text(2));
    let table = super::name_of(relation);
    Some((
        format!(
            "trigger {trigger} of {table} runs {function}, which belongs to {author} and would act as the table's owner"
        ),
        format!("ALTER FUNCTION {function} OWNER TO the owner of {table}, or drop the trigger."),
    ))
}
