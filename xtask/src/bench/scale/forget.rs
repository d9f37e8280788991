//! Forgetting a person.

use crate::error::Result;

use super::super::session::Session;
use super::{Pair, least_ms, with_contacts};

/// In a workspace with few receipts, keys and jobs, and with many; milliseconds.
pub fn forget_row(session: &Session) -> Result<Pair> {
    let rows = session.amounts.scale.history / 5;
    let measure = |database: &str, rows: u32| -> Result<f64> {
        with_contacts(session, database, 10)?;
        session.script(database, "scale_forget.sql", &[("rows", &rows.to_string())])?;
        let forget = "SELECT leadlex.forget_row('contact', id::text) FROM contact LIMIT 1";
        let took = least_ms(session, database, "bench", forget)?;
        session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])?;
        Ok(took)
    };
    let small = measure("scale_forget_small", rows / 100)?;
    Ok(Pair { small, large: measure("scale_forget_large", rows)? })
}

/// By somebody who may forget in every workspace, beside few workspaces and beside many; milliseconds.
pub fn of_all(session: &Session) -> Result<Pair> {
    let workspaces = session.amounts.scale.workspaces;
    let database = "scale_workspaces";
    with_contacts(session, database, 100)?;
    let measure = |from: u32, to: u32| -> Result<f64> {
        let make = format!(
            "SELECT count(leadlex.create_workspace('w' || n)) FROM generate_series({from}, {to}) AS n"
        );
        session.run(database, &[&make, "VACUUM ANALYZE"])?;
        least_ms(session, database, "postgres", "SELECT leadlex.forget_contact(id) FROM contact LIMIT 1")
    };
    let small = measure(1, workspaces / 100)?;
    let pair = Pair { small, large: measure(workspaces / 100 + 1, workspaces)? };
    session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])?;
    Ok(pair)
}
