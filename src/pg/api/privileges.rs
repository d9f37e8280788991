//! Privileges on our tables, and on leadlex.contact. PUBLIC has them, and policies keep everybody but granted roles from the
//! rows: an entry for each role would not fit into pg_class. Earlier versions made such entries.

use crate::pg::sys::raise;
use crate::pg::sys::role;
use pgrx::pg_sys;

use crate::pg::store::cache;
use crate::pg::sys::row::{boolean, text};
use crate::pg::sys::spi;
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::table;
use leadlex_domain::identity::WRITE_ENRICH;

/// What PUBLIC may read of ours, and do with leadlex.contact.
const READABLE: &str = "leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, \
                        leadlex.enrichment, leadlex.provider";
const CONTACT: &str = "leadlex.contact";
const PRIVILEGES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// The policies come first: without them PUBLIC would see all that another policy of the table shows.
fn policies() -> impl Iterator<Item = (String, String)> {
    PRIVILEGES.into_iter().map(|privilege| {
        let name = format!("granted_{}", privilege.to_lowercase());
        let clause = if privilege == "INSERT" { "WITH CHECK" } else { "USING" };
        let sql = format!(
            "CREATE POLICY {name} ON {CONTACT} AS RESTRICTIVE FOR {privilege}
             {clause} ((SELECT leadlex.has_access('{CONTACT}'::pg_catalog.regclass, '{privilege}')))"
        );
        (name, sql)
    })
}

static CONTACT_TABLE: Statement = Statement::new(
    "SELECT c.relrowsecurity AND EXISTS (
                SELECT FROM pg_catalog.pg_policy AS p
                WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND p.polname OPERATOR(pg_catalog.=) 'own_workspace'),
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_policy AS p
             WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND NOT p.polpermissive
               AND p.polname OPERATOR(pg_catalog.=) ANY ('{granted_select, granted_insert, granted_update, granted_delete}'::pg_catalog.name[])
               AND pg_catalog.strpos(pg_catalog.concat(pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                                                       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)), 'has_access')
                   OPERATOR(pg_catalog.>) 0) OPERATOR(pg_catalog.=) 4,
            EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid)
     FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('leadlex.contact')::pg_catalog.oid",
);
static POLICY: Statement = Statement::new(
    "SELECT FROM pg_catalog.pg_policy AS p
     WHERE p.polrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('leadlex.contact')::pg_catalog.oid
       AND p.polname OPERATOR(pg_catalog.=) $1::pg_catalog.name",
);
/// With a grant of its own on the table, and access to a workspace.
static NAMED: Statement = Statement::new(
    "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ') FROM pg_catalog.pg_roles AS r
     WHERE EXISTS (SELECT FROM leadlex.access AS a WHERE a.role::pg_catalog.oid OPERATOR(pg_catalog.=) r.oid)
       AND EXISTS (SELECT FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                   WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('leadlex.contact')::pg_catalog.oid
                     AND a.grantee OPERATOR(pg_catalog.=) r.oid)
     HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0",
);

/// Lets granted roles at leadlex.contact, if it is there. As the extension's owner. Where its owner has done away with the
/// policy that keeps workspaces apart, only `role` is let in.
pub fn open_contact_table(role: Option<pg_sys::Oid>) {
    let Some(row) = CONTACT_TABLE.row(View::Latest, &[]) else { return };
    let (apart, open) = (boolean(&row, 0), boolean(&row, 2));
    if open {
        return;
    }
    if !apart {
        role.into_iter().for_each(let_in);
        return;
    }
    for (name, sql) in policies() {
        if POLICY.row(View::Latest, &[arg(name)]).is_none() {
            spi::run_once(sql);
        }
    }
    let all = PRIVILEGES.join(", ");
    if let Some(row) = NAMED.row(View::Latest, &[]) {
        spi::run_once(format!("REVOKE {all} ON {CONTACT} FROM {}", text(&row, 0)));
    }
    spi::run_once(format!("GRANT {all} ON {CONTACT} TO PUBLIC"));
}

/// A statement may have taken away what keeps strangers from the rows of leadlex.contact: then PUBLIC has no business there any
/// more. Runs as the role that ran the statement, which owns the table.
pub fn close_contact_table() {
    let Some(row) = CONTACT_TABLE.row(View::Latest, &[]) else { return };
    let (apart, granted, open) = (boolean(&row, 0), boolean(&row, 1), boolean(&row, 2));
    if !open || apart && granted {
        return;
    }
    spi::run_once(format!("REVOKE ALL ON {CONTACT} FROM PUBLIC"));
    raise::warning(
        "leadlex.contact is closed to PUBLIC",
        "All roles had privileges on it, and only the policies that are gone kept those without access from its rows.",
        "Run leadlex.grant_access again for each role that needs it, or GRANT it to a role of your own.",
        &spi::About::default(),
    );
}

fn let_in(role: pg_sys::Oid) {
    let own: Vec<_> =
        cache::access_of(role).iter().filter(|access| access.role == role.to_u32()).cloned().collect();
    let enriches = own.iter().any(|access| access.permissions.iter().any(|p| p == WRITE_ENRICH));
    let all = if enriches { PRIVILEGES.join(", ") } else { "SELECT".to_owned() };
    spi::run_once(format!("GRANT {all} ON {CONTACT} TO {}", table::quoted(&role::role_name(role))));
}

static OWN: Statement = Statement::new(
    "SELECT c.relname OPERATOR(pg_catalog.=) 'contact' FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
     WHERE c.relnamespace OPERATOR(pg_catalog.=) 'leadlex'::pg_catalog.regnamespace::pg_catalog.oid
       AND a.grantee OPERATOR(pg_catalog.=) $1::pg_catalog.oid",
);

/// What an earlier version gave to this role alone. As the extension's owner.
pub fn take_own(role: pg_sys::Oid) {
    let rows = OWN.query(View::Latest, &[arg(i64::from(role.to_u32()))]);
    let name = table::quoted(&role::role_name(role));
    if rows.iter().any(|row| !boolean(row, 0)) {
        spi::run_once(format!("REVOKE SELECT ON {READABLE} FROM {name}"));
    }
    if rows.iter().any(|row| boolean(row, 0)) {
        spi::run_once(format!("REVOKE {} ON {CONTACT} FROM {name}", PRIVILEGES.join(", ")));
    }
}
