//! What one change costs the others: of a configuration, beside many roles, tables and providers; a crash, beside many databases.

use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::terminal::say;

use super::super::session::Session;
use super::{Pair, RUNS, with_contacts};

/// The next call of a session after a configuration has changed, with few and with many roles, tables and providers; milliseconds.
pub fn after_a_change(session: &Session) -> Result<Pair> {
    let large = session.amounts.scale.roles;
    let measure = |database: &str, roles: u32| -> Result<f64> {
        with_contacts(session, database, 10)?;
        let (tables, providers) = ((roles / 4).to_string(), (roles / 20).to_string());
        let roles = roles.to_string();
        let variables = [
            ("roles", &*roles),
            ("tables", &tables),
            ("providers", &providers),
            ("url", &session.nginx.url(0)),
        ];
        session.script(database, "scale_change.sql", &variables)?;
        let answer = session.ask(database, &format!("CALL next_call({RUNS}, NULL)"))?;
        let took = answer.trim().parse().context(format!("{database}: {answer:?}"))?;
        session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])?;
        Ok(took)
    };
    let small = measure("scale_change_small", large / 100)?;
    Ok(Pair { small, large: measure("scale_change_large", large)? })
}

/// From the first session after a crash to the first rate-limited call that is answered, with few databases and with many;
/// milliseconds. Postgres' own recovery comes before that.
pub fn after_a_crash(session: &Session) -> Result<Pair> {
    let many = session.amounts.scale.databases;
    let template = "scale_database";
    with_contacts(session, template, 10)?;
    let limit = "SELECT leadlex.set_rate_limit(id, 1000, 100000) FROM leadlex.workspace WHERE name = 'bench'";
    session.run(template, &[limit])?;
    let name = |n: u32| format!("scale_database_{n}");
    let make = |from: u32, to: u32| -> Result<()> {
        for n in from..to {
            let copy = format!("CREATE DATABASE {} TEMPLATE {template}", name(n));
            let idle = format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{template}'"
            );
            // The worker may look at the template again meanwhile.
            if session.run("postgres", &[&idle, &copy]).is_err() {
                session.run("postgres", &[&idle, &copy])?;
            }
        }
        Ok(())
    };
    let few = many / 100 + 1;
    make(0, few)?;
    let small = first_call(session, &name(few - 1))?;
    make(few, many)?;
    let large = first_call(session, &name(many - 1))?;
    for n in 0..many {
        session.run("postgres", &[&format!("DROP DATABASE {} WITH (FORCE)", name(n))])?;
    }
    session.run("postgres", &[&format!("DROP DATABASE {template} WITH (FORCE)")])?;
    Ok(Pair { small, large })
}

/// In this database, after a backend was killed.
fn first_call(session: &Session, database: &str) -> Result<f64> {
    const PATIENCE: Duration = Duration::from_secs(300);
    // What was made before is written down by then.
    session.run("postgres", &["CHECKPOINT"])?;
    let kill = "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'";
    if session.run("postgres", &[kill]).is_ok() {
        return Err("a backend outlived kill -9".to_owned());
    }
    let succeeds = |statements: &[&str]| {
        let begun = Instant::now();
        while let Err(error) = session.run(database, statements) {
            if begun.elapsed() > PATIENCE {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    };
    let recovery = succeeds(&["SELECT 1"])?;
    let call = succeeds(&["SET ROLE bench", "SELECT enrich_contact(id) FROM contact LIMIT 1"])?;
    say(&format!("{database}: recovery {recovery:.0} ms, then the call {call:.0} ms"));
    Ok(call)
}
