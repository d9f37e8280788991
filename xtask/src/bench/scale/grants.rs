//! Access of many roles.

use crate::error::Result;

use super::super::session::Session;
use super::{Pair, RUNS, least_ms};

const DATABASE: &str = "scale_grants";
/// In each run.
const GRANTS: u32 = 50;

/// Of a role beside few that have access and beside many; milliseconds.
pub fn grant_access(session: &Session) -> Result<Pair> {
    let roles = session.amounts.scale.roles;
    let begin = "SELECT leadlex.create_workspace('scale'), leadlex.create_contact_table()";
    session.run("postgres", &[&format!("CREATE DATABASE {DATABASE}")])?;
    session.run(DATABASE, &["CREATE EXTENSION leadlex_enrich", begin])?;
    let make = format!(
        "DO $$ BEGIN FOR n IN 1..{} LOOP EXECUTE 'CREATE ROLE scale_' || n; END LOOP; END $$",
        roles + runs_grants()
    );
    session.run(DATABASE, &[&make])?;
    let small = after(session, 0)?;
    let first = runs_grants() + 1;
    let grant =
        format!("SELECT leadlex.grant_access('scale_' || n) FROM generate_series({first}, {roles}) AS n");
    session.run(DATABASE, &[&grant])?;
    let large = after(session, roles)?;
    session.run("postgres", &[&format!("DROP DATABASE {DATABASE}")])?;
    Ok(Pair { small, large })
}

fn runs_grants() -> u32 {
    RUNS * GRANTS
}

/// Of the roles that follow so many.
fn after(session: &Session, roles: u32) -> Result<f64> {
    session.run(DATABASE, &[&format!("CREATE SEQUENCE after_{roles} START {}", roles + 1)])?;
    let grant = format!(
        "SELECT leadlex.grant_access('scale_' || nextval('after_{roles}')) FROM generate_series(1, {GRANTS})"
    );
    Ok(least_ms(session, DATABASE, "postgres", &grant)? / f64::from(GRANTS))
}
