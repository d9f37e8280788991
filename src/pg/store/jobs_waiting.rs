//! Which contacts wait in the queue already: those are not queued again.
//!
//! A row holds many contacts, so they are found by marks, small hashes of their keys, in an index. To enter those of a
//! large row takes longer than to write the row, so the queueing statement leaves that to the worker; until
//! then the few rows without marks are read.

use std::cell::LazyCell;
use std::collections::HashSet;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::job_marks;
use crate::pg::store::job_state::remove;
use crate::pg::store::jobs::{Job, places, some_texts_arg};
use crate::pg::store::queue_pause::home;
use crate::pg::sys::row::{optional, pg, texts, uuid};
use crate::pg::sys::settings;
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, name_arg, texts_arg};
use leadlex_domain::paid::PaidFor;

/// For more contacts than this all that waits is read, in portions of so many rows.
const LOOKED_UP: usize = 500;
const PORTION: usize = 100;

// Of the same caller. The tests of a boolean keep other indexes from being chosen.
macro_rules! of_the_same {
    ($of_fields:literal, $of_overwrite:literal) => {
        concat!(
            "j.state OPERATOR(pg_catalog.=) 'queued'
         AND (j.workspace_id OPERATOR(pg_catalog.=) $2 AND j.schema_name OPERATOR(pg_catalog.=) $4
              AND j.table_name OPERATOR(pg_catalog.=) $5 AND j.authority OPERATOR(pg_catalog.=) $6
              AND (j.key_hash OPERATOR(pg_catalog.=) $7 OR j.key_hash IS NULL AND $7 IS NULL)
              AND j.home OPERATOR(pg_catalog.=) $10 AND j.fields ",
            $of_fields,
            " $8 AND ",
            $of_overwrite,
            ") IS TRUE"
        )
    };
}

// For no less than is asked now; what was charged for costs nothing more, so it is waited for also where it asks otherwise.
macro_rules! for_no_less {
    () => {
        of_the_same!(
            "OPERATOR(pg_catalog.@>)",
            "(j.overwrite OR NOT $9) AND (j.charged OR NOT $11) AND (j.charged OR j.priority OPERATOR(pg_catalog.<=) $12)
              AND (j.charged OR j.settings OPERATOR(pg_catalog.=) $13 OR j.settings IS NULL AND $14)"
        )
    };
}

// For no more, and not begun yet. What a later call leaves takes the place of what an earlier one left.
macro_rules! for_no_more {
    () => {
        concat!(
            "j.attempts OPERATOR(pg_catalog.=) 0 AND ",
            of_the_same!("OPERATOR(pg_catalog.<@)", "($9 OR NOT j.overwrite) AND ($11 OR NOT j.charged) AND j.priority OPERATOR(pg_catalog.>=) $12
              AND ($15 AND j.settings IS NOT NULL OR j.settings OPERATOR(pg_catalog.=) $13 OR j.settings IS NULL AND $14)")
        )
    };
}

macro_rules! found_by_marks {
    ($which:expr) => {
        concat!(
            "SELECT j.id, pg_catalog.to_json(j.contact_ids), pg_catalog.to_json(j.paid_for) FROM leadlex.job_set AS j
     WHERE j.marks OPERATOR(pg_catalog.&&) $1 AND j.marks IS NOT NULL
       AND (j.role OPERATOR(pg_catalog.=) $3) IS TRUE AND ",
            $which,
            " UNION ALL
     SELECT j.id, pg_catalog.to_json(j.contact_ids), pg_catalog.to_json(j.paid_for) FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $3 AND j.marks IS NULL AND ",
            $which
        )
    };
}

static FIND: Statement = Statement::new(found_by_marks!(for_no_less!()));
// By job_set_open, in its order: its condition is that of no other index.
static READ: Statement = Statement::new(concat!(
    "SELECT j.id, pg_catalog.to_json(j.contact_ids), pg_catalog.to_json(j.paid_for) FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $3 AND j.id OPERATOR(pg_catalog.>) $16 AND j.finished_at IS NULL AND ",
    for_no_less!(),
    " ORDER BY j.id USING OPERATOR(pg_catalog.<) LIMIT $17"
));
// A worker locks the row that it begins FOR UPDATE: it may be run with the contact as it was before this transaction. What
// changes the row but begins and removes nothing is in nobody's way.
static HOLD: Statement = Statement::new(
    "SELECT j.id FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)
       AND j.state OPERATOR(pg_catalog.=) 'queued'
     FOR KEY SHARE SKIP LOCKED",
);

/// Whether to look at what others queue would make their transactions fail.
fn is_serializable() -> bool {
    // SAFETY: reads a global.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Contacts that wait already, for the same caller and no less, and where they were charged, as the same question. Their jobs are not begun before this transaction ends: they
/// are to see what it has written.
pub fn waiting(job: &Job<'_>, contacts: &[String]) -> HashSet<String> {
    if is_serializable() {
        return HashSet::new();
    }
    // Mostly nothing waits, and then it is not needed.
    let asked = LazyCell::new(|| contacts.iter().map(String::as_str).collect::<HashSet<&str>>());
    let mut found: Vec<(Uuid, Vec<String>)> = Vec::new();
    let mut note = |row: &Row| {
        let paid_for = texts(row, 2);
        let same = |at: usize, id: &str| match job.paid_for {
            Some(paid) => match (paid_for.get(at), paid.get(id)) {
                (Some(waits), Some(asked)) => PaidFor::parse(waits).includes(&PaidFor::parse(asked)),
                (waits, asked) => waits == asked,
            },
            None => true,
        };
        let ids = texts(row, 1).into_iter().enumerate();
        let known = ids.filter(|(at, id)| asked.contains(id.as_str()) && same(*at, id));
        let known: Vec<String> = known.map(|(_, id)| id).collect();
        if !known.is_empty() {
            found.push((uuid(row, 0), known));
        }
    };
    as_owner(|| {
        if contacts.len() <= LOOKED_UP {
            FIND.query(View::Latest, &args(job, job_marks::marks(contacts))).iter().for_each(&mut note);
            return;
        }
        let mut after = Uuid::nil();
        loop {
            let mut args = args(job, Vec::new());
            args.extend([arg(pg(after)), arg(PORTION as i64)]);
            let rows = READ.query(View::Latest, &args);
            rows.iter().for_each(&mut note);
            match rows.last() {
                Some(last) if rows.len() == PORTION => after = uuid(last, 0),
                _ => return,
            }
            pgrx::check_for_interrupts!();
        }
    });
    if found.is_empty() {
        return HashSet::new();
    }
    let ids: Vec<pgrx::Uuid> = found.iter().map(|(id, _)| pg(*id)).collect();
    let held = as_owner(|| HOLD.query(View::Current, &[arg(pg(job.workspace)), arg(ids)]));
    let held: HashSet<Uuid> = held.iter().map(|row| uuid(row, 0)).collect();
    found.into_iter().filter(|(id, _)| held.contains(id)).flat_map(|(_, known)| known).collect()
}

// Few rows: as many as there are workers, and a worker has few.
static RUNNING: Statement = Statement::new(
    "SELECT j.id, pg_catalog.to_json(j.contact_ids) FROM leadlex.job_set AS j
     WHERE j.state OPERATOR(pg_catalog.=) 'running' AND j.workspace_id OPERATOR(pg_catalog.=) $1
       AND (j.role OPERATOR(pg_catalog.=) $2 AND j.schema_name OPERATOR(pg_catalog.=) $3 AND j.table_name OPERATOR(pg_catalog.=) $4
            AND j.fields OPERATOR(pg_catalog.@>) $5 AND j.charged) IS TRUE",
);

/// Which jobs of that role and table run now in which a credit was charged, for no fewer fields, as far as their beginning is
/// committed; with their contacts.
pub fn charged_running(job: &Job<'_>) -> Vec<(Uuid, HashSet<String>)> {
    if is_serializable() {
        return Vec::new();
    }
    let args = [
        arg(pg(job.workspace)),
        name_arg(job.role),
        name_arg(job.schema),
        name_arg(job.table),
        arg(job.field_names()),
    ];
    let rows = as_owner(|| RUNNING.query(View::Latest, &args));
    rows.iter().map(|row| (uuid(row, 0), texts(row, 1).into_iter().collect())).collect()
}

fn args(job: &Job<'_>, marks: Vec<i64>) -> Vec<Arg> {
    let of_role = settings::of_the_role(job.role);
    vec![
        arg(marks),
        arg(pg(job.workspace)),
        name_arg(job.role),
        name_arg(job.schema),
        name_arg(job.table),
        arg(job.authority.name()),
        arg(job.authority.key()),
        arg(job.field_names()),
        arg(job.overwrite),
        arg(home()),
        arg(job.progress.charged),
        arg(job.priority),
        some_texts_arg(job.settings.as_deref().or(of_role.as_deref())),
        arg(job.settings.is_none() || job.settings == of_role),
        arg(job.paid_for.is_some()),
    ]
}

static FIND_LESS: Statement = Statement::new(found_by_marks!(for_no_more!()));
static TAKE: Statement = Statement::new(
    "SELECT j.id, pg_catalog.to_json(j.contact_ids), pg_catalog.to_json(j.places), pg_catalog.to_json(j.paid_for) FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)
       AND j.state OPERATOR(pg_catalog.=) 'queued' AND j.attempts OPERATOR(pg_catalog.=) 0
     FOR UPDATE SKIP LOCKED",
);
static LEAVE: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET contacts = pg_catalog.cardinality($3), contact_ids = $3, places = $4, marks = $5,
         paid_for = CASE WHEN j.paid_for IS NOT NULL THEN $6 END
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) $2",
);

/// Contacts of a job that has run go back to the queue, or the rest of a call that was charged goes there. What else waits
/// there of them, for no more, is done by that: once is enough, so the other jobs go.
pub fn fold(job: &Job<'_>, contacts: &[&String]) {
    let again: HashSet<&str> = contacts.iter().map(|id| id.as_str()).collect();
    as_owner(|| {
        let of_any = |row: &&Row| texts(row, 1).iter().any(|id| again.contains(id.as_str()));
        let found = FIND_LESS.query(View::Latest, &args(job, job_marks::marks(contacts)));
        let ids: Vec<pgrx::Uuid> = found.iter().filter(of_any).map(|row| pg(uuid(row, 0))).collect();
        if ids.is_empty() {
            return;
        }
        for row in TAKE.query(View::Current, &[arg(pg(job.workspace)), arg(ids)]) {
            let (id, contacts) = (uuid(&row, 0), texts(&row, 1));
            let (places, paid_for) = (places(optional(&row, 2), contacts.len()), texts(&row, 3));
            let left: Vec<usize> =
                (0..contacts.len()).filter(|at| !again.contains(contacts[*at].as_str())).collect();
            if left.is_empty() {
                remove(job.workspace, id);
                continue;
            }
            let ids: Vec<&String> = left.iter().map(|at| &contacts[*at]).collect();
            let args = [
                arg(pg(job.workspace)),
                arg(pg(id)),
                texts_arg(&ids),
                arg(left.iter().map(|at| places[*at]).collect::<Vec<i16>>()),
                arg(job_marks::marks_at_once(&ids)),
                texts_arg(&left.iter().filter_map(|at| paid_for.get(*at)).collect::<Vec<_>>()),
            ];
            LEAVE.run_in(View::Current, &args);
        }
    });
}

// In small portions: calls do not wait for it.
static UNMARKED: Statement = Statement::new(
    "SELECT j.workspace_id, j.id, pg_catalog.to_json(j.contact_ids) FROM leadlex.job_set AS j
     WHERE j.marks IS NULL AND j.state OPERATOR(pg_catalog.=) 'queued' LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED",
);
static MARK: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j SET marks = $3
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) $2",
);

/// Rows that get their marks by one transaction.
pub const MARKED_AT_ONCE: u64 = 20;

/// Gives some rows their marks; how many.
pub fn mark_some() -> u64 {
    as_owner(|| {
        let rows = UNMARKED.query(View::Caller, &[arg(MARKED_AT_ONCE as i64)]);
        for row in &rows {
            MARK.run(&[arg(pg(uuid(row, 0))), arg(pg(uuid(row, 1))), arg(job_marks::marks(&texts(row, 2)))]);
        }
        rows.len() as u64
    })
}
