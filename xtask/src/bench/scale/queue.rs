//! The queue, the ledger's settling and row triggers. Jobs here are of contacts that do not exist: each is soon done, so that what
//! the queue itself costs is measured.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};

use super::super::session::{Session, psql};
use super::{Pair, with_contacts};

/// Jobs of which the time is measured.
const DONE: u32 = 5_000;
/// Jobs that are done before these.
const WARM: u32 = 1_000;

/// A database with a workspace whose queue is paused, and one job in it, like which others are made.
fn begin(session: &Session, database: &str) -> Result<()> {
    with_contacts(session, database, 10)?;
    session.run(database, &["SELECT leadlex.pause_queue()"])?;
    session.run(
        database,
        &["SET SESSION AUTHORIZATION bench; SELECT leadlex.enqueue(ARRAY(SELECT id FROM contact LIMIT 1))"],
    )?;
    session.run(database, &["CREATE TABLE sample AS SELECT * FROM leadlex.job_set"])
}

fn end(session: &Session, database: &str) -> Result<()> {
    session.run("postgres", &[&format!("DROP DATABASE {database} WITH (FORCE)")])
}

/// So many jobs, each queued by itself so many seconds ago. Their ids are in the order of time, as those that the extension gives.
fn queue(session: &Session, database: &str, jobs: u32, home: &str, seconds: u32) -> Result<()> {
    let sql = format!(
        "INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role, authority,
             fields, overwrite, home, marks, next_attempt_at)
         SELECT workspace_id, own.id, own.id, 1, ARRAY[gen_random_uuid()::text], schema_name, table_name, role,
                authority, fields, overwrite, {home}, ARRAY[n]::bigint[], now() - interval '{seconds} s' + n * interval '1 us'
         FROM sample, generate_series(1, {jobs}) AS n,
              LATERAL (SELECT lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - {jobs} + n), 12, '0') || '7000'
                           || right(gen_random_uuid()::text, 17) AS hex) AS written,
              LATERAL (SELECT hex::uuid AS id) AS own"
    );
    session.run(database, &[&sql, "VACUUM ANALYZE leadlex.job_set", "CHECKPOINT"])
}

/// Lets so many more be done.
fn drain(session: &Session, database: &str, jobs: u32) -> Result<()> {
    session.run(database, &["SELECT leadlex.resume_queue()"])?;
    let done = format!(
        "(SELECT count(*) FROM (SELECT FROM leadlex.job_set WHERE finished_at IS NOT NULL LIMIT {jobs}) AS t) = {jobs}"
    );
    session.until(database, &done, Duration::from_millis(100))
}

/// Milliseconds from the first to the last of those that were done from this place on.
fn took(session: &Session, database: &str, from: u32, jobs: u32) -> Result<f64> {
    let sql = format!(
        "SELECT extract(epoch FROM max(at) - min(at)) * 1000
         FROM (SELECT finished_at AS at FROM leadlex.job_set WHERE finished_at IS NOT NULL ORDER BY 1 OFFSET {from} LIMIT {jobs}) AS t"
    );
    let answer = session.ask(database, &sql)?;
    answer.parse().context(format!("{database}: {answer:?}"))
}

/// Jobs that were queued one by one, of few that wait and of many; milliseconds for 5,000.
pub fn one_by_one(session: &Session) -> Result<Pair> {
    let measure = |database: &str, waiting: u32| -> Result<f64> {
        begin(session, database)?;
        queue(session, database, waiting, "home", 3_600)?;
        drain(session, database, DONE + WARM)?;
        let took = took(session, database, WARM, DONE)?;
        end(session, database)?;
        Ok(took)
    };
    let waiting = session.amounts.scale.jobs;
    let small = measure("scale_queue_small", DONE + (waiting / 100).max(WARM + 500))?;
    Ok(Pair { small, large: measure("scale_queue_large", DONE + waiting)? })
}

/// Jobs behind few and behind many of which none can be taken here; milliseconds for 5,000.
pub fn behind_stuck(session: &Session) -> Result<Pair> {
    let measure = |database: &str, stuck: u32| -> Result<f64> {
        begin(session, database)?;
        queue(session, database, stuck, "'elsewhere'", 7_200)?;
        queue(session, database, DONE, "home", 3_600)?;
        drain(session, database, DONE)?;
        let took = took(session, database, 0, DONE)?;
        end(session, database)?;
        Ok(took)
    };
    let stuck = session.amounts.scale.jobs / 5;
    let small = measure("scale_stuck_small", stuck / 100)?;
    Ok(Pair { small, large: measure("scale_stuck_large", stuck)? })
}

/// A session that sees for the rest of the measurement what there is now.
fn hold_snapshot(session: &Session, database: &str) -> Result<Child> {
    let mut psql = psql(session.cluster(), database);
    psql.env("PGAPPNAME", "scale snapshot").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    psql.args(["-c", "BEGIN ISOLATION LEVEL REPEATABLE READ", "-c", "SELECT count(*) FROM leadlex.home"]);
    let child = psql.args(["-c", "SELECT pg_sleep(3600)"]).spawn().context("psql")?;
    let held = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'scale snapshot' AND query LIKE '%pg_sleep%'
                        AND backend_xmin IS NOT NULL)";
    session.until("postgres", held, Duration::from_millis(100))?;
    Ok(child)
}

fn release(session: &Session, mut holder: Child) -> Result<()> {
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scale snapshot'";
    session.run("postgres", &[end])?;
    holder.wait().context("psql").map(drop)
}

/// The first 5,000 of many jobs and the last, an old snapshot being held; milliseconds.
pub fn beside_snapshot(session: &Session) -> Result<Pair> {
    let (database, jobs) = ("scale_snapshot", session.amounts.scale.jobs / 5);
    begin(session, database)?;
    queue(session, database, jobs, "home", 3_600)?;
    let holder = hold_snapshot(session, database)?;
    drain(session, database, jobs)?;
    release(session, holder)?;
    let pair = Pair {
        small: took(session, database, 1_000, DONE)?,
        large: took(session, database, jobs - DONE - 1_000, DONE)?,
    };
    end(session, database)?;
    Ok(pair)
}

/// The first tenth of many rows of the ledger that settle and the last, an old snapshot being held; milliseconds.
pub fn settle_beside_snapshot(session: &Session) -> Result<Pair> {
    let (database, rows) = ("scale_settle", session.amounts.scale.history / 5);
    begin(session, database)?;
    let insert = format!(
        "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id)
         SELECT workspace_id, gen_random_uuid(), -1, gen_random_uuid() FROM sample, generate_series(1, {rows})"
    );
    session.run(database, &[&insert])?;
    let holder = hold_snapshot(session, database)?;
    // Calls for the worker.
    let grant = "SELECT leadlex.grant_credits((SELECT workspace_id FROM sample), 1)";
    session.run(database, &[grant])?;
    let settled = "(SELECT ledger_rows_settled FROM leadlex.worker_status WHERE process = 'worker' AND database = current_database())";
    let before = session.number(database, &format!("SELECT {settled}"))?;
    let mut at = |tenth: u64| -> Result<Instant> {
        let wanted = before + u64::from(rows) / 10 * tenth;
        session.until(database, &format!("{settled} >= {wanted}"), Duration::from_millis(20))?;
        Ok(Instant::now())
    };
    let times = [0, 1, 9, 10].map(&mut at);
    release(session, holder)?;
    let [begun, first, nine, all] = times;
    let pair = Pair {
        small: (first? - begun?).as_secs_f64() * 1_000.0,
        large: (all? - nine?).as_secs_f64() * 1_000.0,
    };
    end(session, database)?;
    Ok(pair)
}

/// COPY of 100,000 rows without a trigger and with a row trigger that queues them; milliseconds.
pub fn copy_with_row_trigger(session: &Session) -> Result<Pair> {
    let database = "scale_copy";
    begin(session, database)?;
    let rows = "COPY (SELECT 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, 100000) AS g) TO '/tmp/scale_copy.csv'";
    let rows = rows.replace("/tmp", &session.cluster().dir.display().to_string());
    session.run(database, &[&rows])?;
    let file = session.cluster().dir.join("scale_copy.csv");
    let copy = format!("COPY contact (full_name, email) FROM '{}'", file.display());
    let trigger =
        "CREATE TRIGGER q AFTER INSERT ON contact FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()";
    let mut pair = Pair { small: f64::INFINITY, large: f64::INFINITY };
    for _ in 0..super::RUNS {
        for (with, least) in [(false, &mut pair.small), (true, &mut pair.large)] {
            session.run(
                database,
                &[
                    "DROP TRIGGER IF EXISTS q ON contact",
                    "TRUNCATE contact",
                    "DELETE FROM leadlex.job_set",
                    "CHECKPOINT",
                ],
            )?;
            if with {
                session.run(database, &[trigger])?;
            }
            let timed = format!(
                "CREATE FUNCTION pg_temp.ms() RETURNS float8 LANGUAGE plpgsql AS $$
                 DECLARE begun timestamptz := clock_timestamp();
                 BEGIN {copy}; RETURN extract(epoch FROM clock_timestamp() - begun) * 1000; END $$;
                 SELECT pg_temp.ms()"
            );
            let answer = session.ask(database, &timed)?;
            *least = least.min(answer.parse().context(answer.clone())?);
        }
    }
    if session.number(database, "SELECT sum(contacts) FROM leadlex.job_set")? != 100_000 {
        return Err("the trigger queued something else".to_owned());
    }
    end(session, database)?;
    Ok(pair)
}
