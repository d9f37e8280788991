//! Whether an UPDATE of a table may be made with its owner's rights because somebody else has inserted a row.
//!
//! A role that has the TRIGGER privilege can let its own functions run whenever the owner writes. That the owner writes is
//! then not for it to bring about. The owner's own functions must find what the owner meant, and run as the owner.

use pgrx::pg_sys;

use crate::pg::sys::role::ACTS_AS;
use crate::pg::sys::spi::{Statement, View, arg};

/// The triggers that the UPDATE may fire, as `t`. One that moves a row to another partition is a DELETE and an INSERT there.
macro_rules! fired {
    ($select:literal, $further:literal, $condition:literal) => {
        concat!(
            "WITH RECURSIVE part AS (
                 SELECT $1 AS relation
                 UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) part.relation)
             SELECT ", $select, "
             FROM part
             JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) part.relation
             JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) part.relation ", $further, "
             WHERE t.tgenabled OPERATOR(pg_catalog.<>) 'D'
               AND ((t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 16) OPERATOR(pg_catalog.<>) 0
                    OR c.relispartition OR c.relkind OPERATOR(pg_catalog.=) 'p')
               AND ", $condition, "
             LIMIT 1"
        )
    };
}

// A function of a role that can act as the owner anyway gains nothing. One that is SECURITY DEFINER does not either, but may
// cease to be that while a provider is waited for. What a trigger's WHEN uses (a domain has checks) runs as the role that writes,
// too.
static FOREIGN: Statement = Statement::new(fired!(
    "t.tgname, f.what, pg_catalog.pg_get_userbyid(f.owner)",
    "CROSS JOIN LATERAL (
         SELECT t.tgfoid AS function, NULL::pg_catalog.oid AS type
         UNION ALL
         SELECT CASE WHEN d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid
                     WHEN d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
                     THEN (SELECT o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator AS o
                           WHERE o.oid OPERATOR(pg_catalog.=) d.refobjid) END,
                CASE WHEN d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass THEN d.refobjid END
         FROM pg_catalog.pg_depend AS d
         WHERE t.tgqual IS NOT NULL AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
           AND d.objid OPERATOR(pg_catalog.=) t.oid) AS run
     CROSS JOIN LATERAL (
         SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text AS what, p.proowner AS owner
         FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.=) run.function
         UNION ALL
         SELECT pg_catalog.format_type(y.oid, NULL), y.typowner
         FROM pg_catalog.pg_type AS y WHERE y.oid OPERATOR(pg_catalog.=) run.type) AS f",
    "NOT t.tgisinternal AND NOT pg_catalog.pg_has_role(f.owner, $2, $3)"
));

// Foreign keys and unique constraints run nothing of a user's. An exclusion constraint has expressions of the owner's.
static DEFERRABLE: Statement = Statement::new(fired!(
    "CASE WHEN t.tgisinternal THEN pg_catalog.format('constraint %I', k.conname) ELSE pg_catalog.format('trigger %I', t.tgname) END,
     t.tgrelid::pg_catalog.int8",
    "LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid OPERATOR(pg_catalog.=) t.tgconstraint",
    "t.tgdeferrable AND (NOT t.tgisinternal OR k.contype OPERATOR(pg_catalog.=) 'x')"
));

/// Until the transaction ends no trigger can be added: the table is locked as for an UPDATE.
fn keep_triggers(relation: pg_sys::Oid) {
    // SAFETY: the relation exists, or an error says that it does not; it is closed, and the locks stay.
    unsafe {
        let lock = pg_sys::RowExclusiveLock as i32;
        pg_sys::relation_close(pg_sys::relation_open(relation, lock), pg_sys::NoLock as i32);
        pg_sys::find_all_inheritors(relation, lock, std::ptr::null_mut());
    }
}

/// The trigger that may fire at the commit: as the role that is current then (before PostgreSQL 18), and with the
/// session's search_path.
pub fn deferrable_trigger(relation: pg_sys::Oid) -> Option<String> {
    keep_triggers(relation);
    let row = DEFERRABLE.row(View::Latest, &[arg(relation)])?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let table = text(1).parse::<u32>().map_or(relation, pg_sys::Oid::from);
    Some(format!("{} of {}", text(0), super::name_of(table)))
}

/// Whether the session has objects that an unqualified name finds before those of any other schema.
pub fn has_temporary_schema() -> bool {
    let (mut schema, mut toast) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: writes two globals of the backend to these.
    unsafe { pg_sys::GetTempNamespaceState(&mut schema, &mut toast) };
    schema != pg_sys::InvalidOid
}

/// Why not, and what helps.
pub fn foreign_trigger(relation: pg_sys::Oid, owner: pg_sys::Oid) -> Option<(String, String)> {
    keep_triggers(relation);
    let row = FOREIGN.row(View::Latest, &[arg(relation), arg(owner), arg(ACTS_AS)])?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let (trigger, function, author) = (text(0), text(1), text(2));
    let table = super::name_of(relation);
    Some((
        format!(
            "trigger {trigger} of {table} uses {function}, which belongs to {author} and would act as the table's owner"
        ),
        format!("Make {function} the table owner's (ALTER … OWNER TO), or drop the trigger."),
    ))
}
