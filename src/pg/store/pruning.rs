//! History that is over its time.

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, pg, text, uuid};
use crate::pg::sys::spi::{Statement, View, arg, texts_arg};

static WORKSPACE_AFTER: Statement = Statement::new(
    "SELECT e.workspace_id FROM leadlex.enrichment AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.>) $1
     ORDER BY e.workspace_id USING OPERATOR(pg_catalog.<), e.request_id USING OPERATOR(pg_catalog.<) LIMIT 1",
);

/// The next workspace with a history, in the order of ids; also one that was dropped.
pub fn workspace_after(workspace: Uuid) -> Option<Uuid> {
    as_owner(|| WORKSPACE_AFTER.row(View::Latest, &[arg(pg(workspace))])).map(|row| uuid(&row, 0))
}

// In the order of the primary key: ids are ordered by time. What a session has locked is left for another look.
static PRUNE: Statement = Statement::new(
    "DELETE FROM leadlex.enrichment AS e
     WHERE e.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.enrichment AS q
         WHERE q.workspace_id OPERATOR(pg_catalog.=) $1 AND q.request_id OPERATOR(pg_catalog.>) $2 AND q.request_id OPERATOR(pg_catalog.<) $3
           AND q.created_at OPERATOR(pg_catalog.<) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($4 OPERATOR(pg_catalog.*) interval '1 second'))
         ORDER BY q.workspace_id USING OPERATOR(pg_catalog.<), q.request_id USING OPERATOR(pg_catalog.<)
         LIMIT $5 FOR UPDATE SKIP LOCKED))
     RETURNING e.request_id, (pg_catalog.timezone('UTC', e.created_at))::pg_catalog.date, e.schema_name, e.table_name, e.contact_id,
         e.source, e.field_sources, e.reverted_at IS NOT NULL",
);

// leadlex.usage_daily is to say the same as before. So what these rows added to it is added to leadlex.usage_pruned: the fields, the
// charge with its source (the ledger's row stays, and has none from now on: one less there), and the contact, when no row of
// the same day and provider is left of it. OFFSET: one look into the index for each contact, never a join with all of the history;
// from the end of the day, as what has been removed stands before.
static KEEP_USAGE: Statement = Statement::new(
    "WITH pruned AS (
         SELECT n.request_id, n.schema_name, n.table_name, n.contact_id, n.source, n.field_sources::pg_catalog.jsonb AS field_sources, n.reverted,
                coalesce((pg_catalog.timezone('UTC', coalesce(s.created_at, p.created_at)))::pg_catalog.date, n.day::pg_catalog.date) AS day,
                s.id IS NOT NULL OR p.id IS NOT NULL AS charged
         FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),
             pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9))
             AS n(request_id, day, schema_name, table_name, contact_id, source, field_sources, reverted)
         LEFT JOIN leadlex.credit_settled AS s
                ON s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.id OPERATOR(pg_catalog.=) n.request_id
               AND s.amount OPERATOR(pg_catalog.=) -1 AND s.note IS NULL
         LEFT JOIN leadlex.credit_pending AS p
                ON p.workspace_id OPERATOR(pg_catalog.=) $1 AND p.id OPERATOR(pg_catalog.=) n.request_id
               AND p.amount OPERATOR(pg_catalog.=) -1 AND p.note IS NULL),
     filled AS (
         SELECT u.day, u.schema_name, u.table_name, u.contact_id, f.value OPERATOR(pg_catalog.->>) 'source' AS source
         FROM pruned AS u, pg_catalog.jsonb_each(u.field_sources) AS f),
     complete AS (
         SELECT c.day, c.source
         FROM (SELECT DISTINCT f.day, f.schema_name, f.table_name, f.contact_id, f.source FROM filled AS f) AS c
         WHERE NOT EXISTS (
             SELECT FROM leadlex.enrichment AS h, pg_catalog.jsonb_each(h.field_sources) AS v
             WHERE h.contact_id OPERATOR(pg_catalog.=) c.contact_id AND h.workspace_id OPERATOR(pg_catalog.=) $1
               AND h.schema_name OPERATOR(pg_catalog.=) c.schema_name::pg_catalog.name
               AND h.table_name OPERATOR(pg_catalog.=) c.table_name::pg_catalog.name
               AND h.created_at OPERATOR(pg_catalog.>=) pg_catalog.timezone('UTC', c.day::pg_catalog.timestamp)
               AND h.created_at OPERATOR(pg_catalog.<) pg_catalog.timezone('UTC', (c.day OPERATOR(pg_catalog.+) 1)::pg_catalog.timestamp)
               AND (v.value OPERATOR(pg_catalog.->>) 'source') OPERATOR(pg_catalog.=) c.source
             ORDER BY h.created_at USING OPERATOR(pg_catalog.>) OFFSET 0))
     INSERT INTO leadlex.usage_pruned AS o (workspace_id, day, source, contacts_enriched, fields_filled, credits_spent, credits_reverted)
     SELECT $1, t.day, coalesce(t.source, ''), pg_catalog.sum(t.contacts), pg_catalog.sum(t.fields), pg_catalog.sum(t.credits), pg_catalog.sum(t.reverted)
     FROM (SELECT u.day, u.source, 0 AS contacts, 0 AS fields, u.charged::pg_catalog.int4 AS credits,
                  (u.charged AND u.reverted)::pg_catalog.int4 AS reverted FROM pruned AS u
           UNION ALL SELECT u.day, NULL, 0, 0, -1, 0 FROM pruned AS u WHERE u.charged
           UNION ALL SELECT f.day, f.source, 0, 1, 0, 0 FROM filled AS f
           UNION ALL SELECT c.day, c.source, 1, 0, 0, 0 FROM complete AS c) AS t
     GROUP BY t.day, coalesce(t.source, '')
     ON CONFLICT (workspace_id, day, source) DO UPDATE
     SET contacts_enriched = o.contacts_enriched OPERATOR(pg_catalog.+) EXCLUDED.contacts_enriched,
         fields_filled = o.fields_filled OPERATOR(pg_catalog.+) EXCLUDED.fields_filled,
         credits_spent = o.credits_spent OPERATOR(pg_catalog.+) EXCLUDED.credits_spent,
         credits_reverted = o.credits_reverted OPERATOR(pg_catalog.+) EXCLUDED.credits_reverted",
);

// That a value was asked about again says nothing without the history of the value.
static UNCHECK: Statement = Statement::new(
    "DELETE FROM leadlex.checked AS k
     WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT w.ctid
         FROM (SELECT DISTINCT n.schema_name, n.table_name, n.contact_id
               FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS n(schema_name, table_name, contact_id)) AS c,
              leadlex.checked AS w
         WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.contact_id OPERATOR(pg_catalog.=) c.contact_id
           AND w.schema_name OPERATOR(pg_catalog.=) c.schema_name::pg_catalog.name
           AND w.table_name OPERATOR(pg_catalog.=) c.table_name::pg_catalog.name
           AND NOT EXISTS (
               SELECT FROM leadlex.enrichment AS h
               WHERE h.contact_id OPERATOR(pg_catalog.=) w.contact_id AND h.workspace_id OPERATOR(pg_catalog.=) $1
                 AND h.schema_name OPERATOR(pg_catalog.=) w.schema_name AND h.table_name OPERATOR(pg_catalog.=) w.table_name
                 AND w.field OPERATOR(pg_catalog.=) ANY (h.fields_updated)
               OFFSET 0)
         FOR UPDATE OF w SKIP LOCKED))",
);

/// Removes at most so many rows of a workspace, of requests after this one, that were written before `before`, in epoch seconds.
/// Each is looked up in the ledger, and its contact in the rest of the history. How many, and the last of them.
pub fn prune((workspace, after): (Uuid, Uuid), before: i64, most: u64) -> (u64, Option<Uuid>) {
    let which = [
        arg(pg(workspace)),
        arg(pg(after)),
        arg(pg(first_id(before + LATE_S))),
        arg(before as f64),
        arg(most as i64),
    ];
    let pruned = as_owner(|| PRUNE.query(View::Caller, &which));
    if pruned.is_empty() {
        return (0, None);
    }
    let texts = |column| texts_arg(&pruned.iter().map(|row| text(row, column)).collect::<Vec<_>>());
    let usage = [
        arg(pg(workspace)),
        arg(pruned.iter().map(|row| pg(uuid(row, 0))).collect::<Vec<_>>()),
        texts(1),
        texts(2),
        texts(3),
        texts(4),
        texts(5),
        texts(6),
        arg(pruned.iter().map(|row| boolean(row, 7)).collect::<Vec<_>>()),
    ];
    as_owner(|| {
        KEEP_USAGE.run(&usage);
        UNCHECK.run(&[arg(pg(workspace)), texts(2), texts(3), texts(4)]);
    });
    (pruned.len() as u64, pruned.iter().map(|row| uuid(row, 0)).max())
}

/// A row is written after its id was made. So much later may an id be than its row all the same, where the clock was set back.
const LATE_S: i64 = 3_600;

/// No request of this second or a later one has a smaller id.
fn first_id(second: i64) -> Uuid {
    let milliseconds = u64::try_from(second).unwrap_or_default().saturating_mul(1_000);
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}
