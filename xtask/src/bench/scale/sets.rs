//! A large set, and a table with many partitions.

use crate::error::{Context, Result};

use super::super::session::Session;
use super::{Pair, least_ms, with_contacts};

/// Private memory that a backend keeps after a set, MB: small and large are the set's contacts. An error where one of them was not
/// enriched.
pub fn kept_by_a_set(session: &Session) -> Result<Pair> {
    let database = "scale_set";
    let contacts = session.amounts.scale.contacts;
    with_contacts(session, database, contacts)?;
    let kept = |contacts: u32| -> Result<f64> {
        session.run(database, &["UPDATE contact SET job_title = NULL", "VACUUM contact", "CHECKPOINT"])?;
        session.script(database, "scale_set.sql", &[("contacts", &contacts.to_string())])?;
        let wrong = session.ask(database, "SELECT coalesce(string_agg(format('%s %s: %s', n, status, message), ', '), '') FROM answered WHERE status <> 'enriched' OR n <> asked")?;
        if !wrong.is_empty() {
            return Err(format!("a set of {contacts}: {wrong}"));
        }
        let answer = session.ask(database, "SELECT (max(kb) - min(kb)) / 1024.0 FROM memory")?;
        answer.parse().context(format!("a set of {contacts}: {answer:?}"))
    };
    let small = kept(contacts / 100)?;
    let pair = Pair { small, large: kept(contacts)? };
    session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])?;
    Ok(pair)
}

/// A call about a contact of an ordinary table and of one with many partitions, whose key is not the partition key; milliseconds,
/// once a session knows where it is.
pub fn partitioned(session: &Session) -> Result<Pair> {
    let database = "scale_partitions";
    with_contacts(session, database, 10)?;
    let partitions = session.amounts.scale.roles;
    let spread =
        "CREATE TABLE spread (LIKE contact, region int NOT NULL, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         ALTER TABLE spread OWNER TO bench";
    session.run(database, &[spread])?;
    // Each in a transaction of its own, as one could not hold so many locks.
    let make = format!(
        "DO $$ BEGIN FOR n IN 1..{partitions} LOOP EXECUTE format('CREATE TABLE spread_%s PARTITION OF spread FOR VALUES IN (%s)', n, n); COMMIT; END LOOP; END $$"
    );
    let fill = format!("INSERT INTO spread SELECT *, {partitions} / 2 FROM contact");
    let bind = "SELECT leadlex.bind_contacts('spread', workspace_id => (SELECT id FROM leadlex.workspace WHERE name = 'bench'))";
    session.run(database, &[&make, &fill, "ANALYZE spread", bind])?;
    let call = |table: &str| {
        format!("SELECT enrich_row('{table}', (SELECT min(id::text) FROM contact), overwrite => true)")
    };
    let small = least_ms(session, database, "bench", &call("contact"))?;
    let pair = Pair { small, large: least_ms(session, database, "bench", &call("spread"))? };
    session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])?;
    Ok(pair)
}
