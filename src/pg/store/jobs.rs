//! The queue's rows. Each is a set of contacts that share everything; what happens to them is told by `domain::job`.

use std::collections::HashMap;
use std::time::Duration;

use pgrx::pg_sys;
use serde_json::json;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::events;
use crate::pg::store::job_marks::marks_at_once;
use crate::pg::store::queue_pause::home;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::row::{boolean, number, optional, pg, text, texts, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, name_arg, texts_arg};
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::fields::FieldSet;

/// Why a job's role may act for its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It was granted it.
    Role,
    /// It called with this API key (its hash).
    ApiKey([u8; 32]),
    /// It owns the table, whose trigger queued the job.
    TableOwner,
}

impl Authority {
    /// The name in the column `authority`.
    pub fn name(&self) -> &'static str {
        match self {
            Authority::Role => "role",
            Authority::ApiKey(_) => "api_key",
            Authority::TableOwner => "table_owner",
        }
    }

    /// Hash of the API key, if one was used.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Authority::ApiKey(hash) => Some(hash.as_slice()),
            _ => None,
        }
    }
}

/// What contacts that are queued together share.
pub struct Job<'a> {
    pub workspace: Uuid,
    pub role: &'a str,
    pub authority: Authority,
    pub schema: &'a str,
    pub table: &'a str,
    pub fields: FieldSet,
    pub overwrite: bool,
    pub progress: Progress,
    /// Where a credit was charged: by contact for whom, see [`leadlex_domain::paid::PaidFor`].
    pub paid_for: Option<&'a HashMap<String, String>>,
    /// The lower, the earlier begun.
    pub priority: i32,
    /// Of what goes on with a call: how that call asked, see [`settings::of_a_call`](crate::pg::sys::settings::of_a_call).
    /// `None`: as the settings of the role say.
    pub settings: Option<Vec<String>>,
    /// Providers that failed in the call that it goes on with.
    pub failed: Vec<FailedProvider>,
}

/// What was done for the contacts of a job before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// A call has used an admission of the rate limit for each, and goes on.
    pub admitted: bool,
    /// A credit was charged for each.
    pub charged: bool,
}

impl Job<'_> {
    /// For whom each of these contacts was charged.
    pub fn paid(&self, contact_ids: &[String]) -> Option<Vec<String>> {
        let paid_for = self.paid_for?;
        Some(contact_ids.iter().map(|id| paid_for.get(id).cloned().unwrap_or_default()).collect())
    }

    pub fn field_names(&self) -> Vec<String> {
        self.fields.names().into_iter().map(str::to_owned).collect()
    }
}

/// In a row: for each contact the row costs nothing, and an attempt does not take long.
const CONTACTS: usize = 500;

// What goes on with a call waits for its answers since that began: what is given up then is not handed in anew.
static ADD: Statement = Statement::new(
    "INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role,
         authority, key_hash, fields, overwrite, home, marks, admitted, charged, paid_for, priority, settings, created_at,
         failed_providers)
     VALUES ($1, $2, $2, pg_catalog.cardinality($3), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
             CASE WHEN $13 THEN pg_catalog.statement_timestamp() ELSE pg_catalog.clock_timestamp() END,
             $18::pg_catalog.jsonb)",
);

/// Queues contacts, each once. What would divide them in SQL takes longer than these statements do.
pub fn add(job: &Job, contact_ids: &[String]) {
    let fields = job.field_names();
    as_owner(|| {
        for ids in contact_ids.chunks(CONTACTS) {
            ADD.run(&[
                arg(pg(job.workspace)),
                arg(pg(first_job())),
                texts_arg(ids),
                name_arg(job.schema),
                name_arg(job.table),
                name_arg(job.role),
                arg(job.authority.name()),
                arg(job.authority.key()),
                arg(fields.clone()),
                arg(job.overwrite),
                arg(home()),
                arg(marks_at_once(ids)),
                arg(job.progress.admitted),
                arg(job.progress.charged),
                some_texts_arg(job.paid(ids).as_deref()),
                arg(job.priority),
                some_texts_arg(job.settings.as_deref()),
                failed_arg((!job.failed.is_empty()).then_some(&job.failed[..])),
            ]);
            pgrx::check_for_interrupts!();
        }
    });
}

/// As JSON, or NULL.
pub(super) fn failed_arg(some: Option<&[FailedProvider]>) -> Arg {
    arg(some.map(|some| json!(some).to_string()))
}

/// An array, or NULL.
pub(super) fn some_texts_arg(some: Option<&[String]>) -> Arg {
    match some {
        Some(some) => texts_arg(some),
        None => Arg { kind: pg_sys::TEXTARRAYOID, value: None },
    }
}

/// The jobs of a set are counted on from here, in the last two bytes. In the order of time: what is queued one after the other, and
/// worked off so, stands side by side in the indexes.
fn first_job() -> Uuid {
    let mut id = Uuid::now_v7().into_bytes();
    id[14..].fill(0);
    Uuid::from_bytes(id)
}

// What a worker does with them.

/// A set that a worker has begun. Those that are run together are of one workspace, and begun equally often.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub workspace: Uuid,
    pub id: Uuid,
    /// This one included.
    pub attempts: u32,
    pub contacts: u64,
}

// Those that failed as a whole (last_error is an SQLSTATE then) are tried by themselves, or one of them would take the
// others with it again.
// By an index, in its order: those of other workspaces are not walked over, nor is what stands before the first.
static COMPANIONS: Statement = Statement::new(
    "SELECT c.id, c.contacts
     FROM (SELECT w.* FROM leadlex.job_set AS w
           WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.id OPERATOR(pg_catalog.=) $2
             AND (w.last_error IS NULL OR w.last_error OPERATOR(pg_catalog.~) '^[a-z]') OFFSET 0) AS f,
         LATERAL (
           SELECT j.id, j.contacts FROM leadlex.job_set AS j
           WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.role OPERATOR(pg_catalog.=) $4 AND j.priority OPERATOR(pg_catalog.=) $5
             AND j.next_attempt_at OPERATOR(pg_catalog.>=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 microsecond'))
             AND j.next_attempt_at OPERATOR(pg_catalog.<=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($7 OPERATOR(pg_catalog.*) interval '1 microsecond'))
             AND j.schema_name OPERATOR(pg_catalog.=) f.schema_name AND j.table_name OPERATOR(pg_catalog.=) f.table_name
             AND j.authority OPERATOR(pg_catalog.=) f.authority
             AND (j.key_hash OPERATOR(pg_catalog.=) f.key_hash OR j.key_hash IS NULL AND f.key_hash IS NULL)
             AND j.fields OPERATOR(pg_catalog.=) f.fields AND j.overwrite OPERATOR(pg_catalog.=) f.overwrite
             AND (j.settings OPERATOR(pg_catalog.=) f.settings OR j.settings IS NULL AND f.settings IS NULL)
             AND j.admitted OPERATOR(pg_catalog.=) f.admitted AND j.charged OPERATOR(pg_catalog.=) f.charged
             AND j.attempts OPERATOR(pg_catalog.=) f.attempts AND j.home OPERATOR(pg_catalog.=) f.home
             AND j.id OPERATOR(pg_catalog.<>) $2 AND j.state OPERATOR(pg_catalog.=) 'queued'
             AND (j.last_error IS NULL OR j.last_error OPERATOR(pg_catalog.~) '^[a-z]')
           ORDER BY j.next_attempt_at USING OPERATOR(pg_catalog.<) LIMIT $3 FOR UPDATE SKIP LOCKED) AS c",
);

/// The set, and those after it that can be run together with it: what rows queue one by one is asked about in parallel, too.
/// `priority` and `at` (when it was due, in epoch microseconds) are the place of the first in the queue of the role.
pub fn with_companions(first: Ticket, role: &str, (priority, at): (i32, i64)) -> Vec<Ticket> {
    let mut room = (CONTACTS as u64).saturating_sub(first.contacts);
    let mut tickets = vec![first];
    if room == 0 {
        return tickets;
    }
    let args = [
        arg(pg(first.workspace)),
        arg(pg(first.id)),
        arg(room as i64),
        name_arg(role),
        arg(priority),
        arg(at as f64),
        // What was queued since the look began goes along.
        arg(now_us() as f64),
    ];
    for row in as_owner(|| COMPANIONS.query(View::Caller, &args)) {
        let contacts = number(&row, 1) as u64;
        if contacts > room {
            break;
        }
        room -= contacts;
        tickets.push(Ticket { id: uuid(&row, 0), contacts, ..first });
    }
    tickets
}

static BEGIN: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET state = 'running', attempts = $3, started_at = pg_catalog.clock_timestamp(),
         next_attempt_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) ($4 OPERATOR(pg_catalog.*) interval '1 second'),
         last_error = coalesce($5, j.last_error)
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)",
);

pub(super) fn ids(tickets: &[Ticket]) -> Arg {
    arg(tickets.iter().map(|ticket| pg(ticket.id)).collect::<Vec<pgrx::Uuid>>())
}

/// The attempt begins. Should nobody tell of its end, it counts as interrupted after `patience`.
pub fn begin(tickets: &[Ticket], patience: Duration, error: Option<&str>) {
    as_owner(|| {
        BEGIN.run(&[
            arg(pg(tickets[0].workspace)),
            ids(tickets),
            arg(tickets[0].attempts as i32),
            arg(patience.as_secs_f64()),
            arg(error),
        ])
    });
}

/// A set as it stands in its row.
pub struct Set {
    pub ticket: Ticket,
    pub places: Vec<i16>,
    pub contact_ids: Vec<String>,
    pub schema: String,
    pub table: String,
    pub authority: Authority,
    pub fields: Vec<String>,
    pub overwrite: bool,
    pub progress: Progress,
    /// For each contact for whom a credit was charged; empty where none is known.
    pub paid_for: Vec<String>,
    /// Some of them by the present visit: the row does not say so yet.
    pub newly_paid: bool,
    pub priority: i32,
    /// How the call asked that it goes on with; `None`: as the settings of the role say.
    pub settings: Option<Vec<String>>,
    /// In epoch microseconds.
    pub queued_at: i64,
    /// While an answer is owed: providers that failed beside it.
    pub failed: Vec<FailedProvider>,
    /// A visit before has written something to each contact.
    pub enriched: bool,
}

// The test of a boolean keeps the index of what runs from being chosen: while an old snapshot is held, all that ever ran stands there.
static LOCK: Statement = Statement::new(
    "SELECT pg_catalog.to_json(j.places), pg_catalog.to_json(j.contact_ids), j.schema_name, j.table_name, j.authority,
            pg_catalog.encode(j.key_hash, 'hex'), pg_catalog.to_json(j.fields), j.overwrite, j.id, j.admitted, j.charged,
            (EXTRACT(epoch FROM j.created_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, pg_catalog.to_json(j.paid_for),
            j.priority, pg_catalog.to_json(j.settings),
            j.failed_providers::pg_catalog.text, j.outcome IS NOT NULL
     FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)
       AND (j.state OPERATOR(pg_catalog.=) 'running' AND j.attempts OPERATOR(pg_catalog.=) $3) IS TRUE
     FOR UPDATE",
);

/// The sets, locked until this transaction ends, but for those whose attempt is no longer this worker's.
pub fn lock(tickets: &[Ticket]) -> Vec<Set> {
    let first = tickets[0];
    let args = [arg(pg(first.workspace)), ids(tickets), arg(first.attempts as i32)];
    as_owner(|| LOCK.query(View::Caller, &args)).iter().map(|row| set(first, row)).collect()
}

fn set(first: Ticket, row: &Row) -> Set {
    let contact_ids = texts(row, 1);
    Set {
        ticket: Ticket { id: uuid(row, 8), contacts: contact_ids.len() as u64, ..first },
        places: places(optional(row, 0), contact_ids.len()),
        contact_ids,
        schema: text(row, 2),
        table: text(row, 3),
        authority: authority(row),
        fields: texts(row, 6),
        overwrite: boolean(row, 7),
        progress: Progress { admitted: boolean(row, 9), charged: boolean(row, 10) },
        paid_for: texts(row, 12),
        newly_paid: false,
        queued_at: number(row, 11),
        priority: number(row, 13) as i32,
        settings: optional(row, 14).and_then(|json| serde_json::from_str(&json).ok()),
        failed: optional(row, 15).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        enriched: boolean(row, 16),
    }
}

impl Set {
    /// For whom the contacts at these positions were charged; `None`: not for all of them.
    pub(super) fn paid(&self, positions: &[usize]) -> Option<Vec<String>> {
        let paid_for = |at: &usize| self.paid_for.get(*at).filter(|paid| !paid.is_empty()).cloned();
        positions.iter().map(paid_for).collect()
    }
}

/// As the column has them.
pub fn places(json: Option<String>, contacts: usize) -> Vec<i16> {
    let known = json.and_then(|json| serde_json::from_str(&json).ok());
    known.unwrap_or_else(|| (0..contacts as i16).collect())
}

fn authority(row: &Row) -> Authority {
    match text(row, 4).as_str() {
        "api_key" => Authority::ApiKey(key_hash(&text(row, 5))),
        "table_owner" => Authority::TableOwner,
        _ => Authority::Role,
    }
}

/// Of no key, should the row hold something else.
fn key_hash(hex: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *to = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    hash
}

// What the maintenance worker does with them.

/// Jobs of one role that wait.
pub struct Waiting {
    pub role: pg_sys::Oid,
    /// Epoch microseconds.
    pub due: i64,
}

static WAITING: Statement = Statement::new(
    "SELECT r.oid::pg_catalog.int8,
            (EXTRACT(epoch FROM pg_catalog.min(j.next_attempt_at)) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.job_set AS j JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) j.role
     WHERE j.next_attempt_at IS NOT NULL AND j.home OPERATOR(pg_catalog.=) $1 GROUP BY r.oid",
);
static BURY: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET state = 'dead', next_attempt_at = NULL, finished_at = pg_catalog.clock_timestamp(),
         last_error = pg_catalog.format('the role %I does not exist: queue its contacts again as another', j.role)
     WHERE j.next_attempt_at IS NOT NULL AND j.home OPERATOR(pg_catalog.=) $1
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) j.role)",
);

/// Those that wait, by role. Of roles that are gone nobody can run any more.
pub fn waiting() -> Vec<Waiting> {
    let read = |row: &Row| Waiting { role: (number(row, 0) as u32).into(), due: number(row, 1) };
    as_owner(|| {
        BURY.run(&[arg(home())]);
        WAITING.query(View::Caller, &[arg(home())]).iter().map(read).collect()
    })
}

// Why a worker may have been refused, in the order in which the server looks.
static REFUSED: Statement = Statement::new(
    "SELECT CASE
         WHEN NOT r.rolcanlogin AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 170000
             THEN pg_catalog.format('the role %I may not log in, as workers for its jobs have to before PostgreSQL 17: ALTER ROLE %1$I LOGIN', r.rolname)
         WHEN NOT pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT')
             THEN pg_catalog.format('the role %I may not connect to the database: GRANT CONNECT ON DATABASE %I TO %1$I', r.rolname, d.datname)
         ELSE pg_catalog.format('no worker could connect as role %I: the server log says why', r.rolname) END, r.rolname
     FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
     WHERE r.oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $1 AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
);
static PUT_OFF: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET attempts = j.attempts OPERATOR(pg_catalog.+) 1, last_error = $2,
         state = CASE WHEN j.attempts OPERATOR(pg_catalog.+) 1 OPERATOR(pg_catalog.>=) $3 THEN 'dead' ELSE 'queued' END,
         next_attempt_at = CASE WHEN j.attempts OPERATOR(pg_catalog.+) 1 OPERATOR(pg_catalog.<) $3 THEN pg_catalog.clock_timestamp()
             OPERATOR(pg_catalog.+) (($4)[least(j.attempts OPERATOR(pg_catalog.+) 1, pg_catalog.cardinality($4))] OPERATOR(pg_catalog.*) interval '1 second') END,
         finished_at = CASE WHEN j.attempts OPERATOR(pg_catalog.+) 1 OPERATOR(pg_catalog.>=) $3 THEN pg_catalog.clock_timestamp() END
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.next_attempt_at OPERATOR(pg_catalog.<=) pg_catalog.now()
       AND j.home OPERATOR(pg_catalog.=) $5
     RETURNING j.workspace_id, j.contacts, j.state",
);

/// No worker could be had for the role: its due jobs have failed once more. `waits`: seconds, by attempts.
pub fn put_off(role: pg_sys::Oid, max_attempts: u32, waits: Vec<f64>) {
    as_owner(|| {
        let Some(row) = REFUSED.row(View::Latest, &[arg(i64::from(role.to_u32()))]) else { return };
        let (why, name) = (text(&row, 0), text(&row, 1));
        let args = [name_arg(&name), arg(why.as_str()), arg(max_attempts as i32), arg(waits), arg(home())];
        for row in PUT_OFF.query(View::Caller, &args) {
            if text(&row, 2) == "dead" {
                events::jobs_dead(uuid(&row, 0), number(&row, 1) as u64);
            }
        }
    });
}
