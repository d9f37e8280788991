//! The events that were told: leadlex.event. To post one see [`post_on_commit`] here, or [`crate::pg::shared::events::post`].

use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::{self, as_owner};
pub use crate::pg::shared::events::About;
use crate::pg::shared::events::Event;
use crate::pg::shared::transaction::{self, OwnEvent};
use crate::pg::sys::database;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::row::{boolean, number, pg};
use crate::pg::sys::spi::{Statement, View, arg};
use leadlex_domain::event::{KEPT, Kind};

/// Something happens in this database when this transaction commits: the worker tells of it within 2 s, and at most once a
/// minute for each kind and `about`. Not at all if it (or its subtransaction) is rolled back. `detail` is a JSON object of at
/// most 1,000 bytes that names no person. What is true whatever becomes of the transaction: [`crate::pg::shared::events::post`].
///
/// Raises 55000: the extension is not installed, or has another version.
pub fn post_on_commit(kind: Kind, about: About, count: u64, detail: Value) {
    let catalog = installation::present().catalog;
    let event = Event { database: database::this_database(), catalog, kind, about, part: 0, count, detail };
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| t.events.push(OwnEvent { event, subtransaction }));
}

/// So many contacts of the queue are given up, once this transaction is committed.
///
/// Raises 55000: the extension is not installed, or has another version.
pub fn jobs_dead(workspace: Uuid, contacts: u64) {
    let about = About { workspace, ..About::default() };
    post_on_commit(Kind::JobsDead, about, contacts, serde_json::json!({}));
}

// NULL is one of nothing.
static LAST: Statement = Statement::new(
    "SELECT (EXTRACT(epoch FROM pg_catalog.max(e.at)) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.event AS e
     WHERE e.event OPERATOR(pg_catalog.=) $1
       AND coalesce(e.workspace_id, '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid) OPERATOR(pg_catalog.=) $2
       AND coalesce(e.provider, '') OPERATOR(pg_catalog.=) coalesce($3, '')",
);

/// When one of this kind was last told of this workspace (nil: none) and provider, in epoch microseconds.
pub fn last(kind: Kind, workspace: Uuid, provider: Option<&str>) -> Option<i64> {
    let args = [arg(kind.name()), arg(pg(workspace)), arg(provider)];
    let row = as_owner(|| LAST.row(View::Latest, &args))?;
    Some(number(&row, 0)).filter(|at| *at > 0)
}

// As LAST, of those that tell of the same.
static TOLD: Statement = Statement::new(
    "SELECT EXISTS (SELECT FROM leadlex.event AS e
                    WHERE e.event OPERATOR(pg_catalog.=) $1
                      AND coalesce(e.workspace_id, '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid) OPERATOR(pg_catalog.=) $2
                      AND coalesce(e.provider, '') OPERATOR(pg_catalog.=) coalesce($3, '')
                      AND (e.detail OPERATOR(pg_catalog.@>) $4
                           OR e.detail OPERATOR(pg_catalog.@>) pg_catalog.jsonb_build_object('also', pg_catalog.jsonb_build_array($4))))",
);

/// Whether one of this kind about this workspace (nil: none) and provider was told whose detail has all of this, alone or with others.
pub fn is_told(kind: Kind, workspace: Uuid, provider: Option<&str>, detail: &Value) -> bool {
    let args = [arg(kind.name()), arg(pg(workspace)), arg(provider), arg(Jsonb::of(detail))];
    as_owner(|| TOLD.row(View::Latest, &args)).is_some_and(|row| boolean(&row, 0))
}

static ADD: Statement = Statement::new(
    "INSERT INTO leadlex.event (id, event, workspace_id, provider, detail)
     VALUES ($1, $2, $3, $4, $5)",
);
static NOTIFY: Statement = Statement::new("SELECT pg_catalog.pg_notify('leadlex', $1)");

/// Writes it down, and notifies those who LISTEN once this transaction commits. `workspace` nil: about none.
pub fn add(kind: Kind, workspace: Uuid, provider: Option<&str>, detail: &Value) -> Uuid {
    let id = Uuid::now_v7();
    let about = (!workspace.is_nil()).then(|| pg(workspace));
    let args = [arg(pg(id)), arg(kind.name()), arg(about), arg(provider), arg(Jsonb::of(detail))];
    let notice = serde_json::json!({"event": kind.name(), "id": id}).to_string();
    as_owner(|| {
        ADD.run(&args);
        NOTIFY.query(View::Current, &[arg(notice.as_str())]);
    });
    id
}

static TRIM: Statement = Statement::new(
    "DELETE FROM leadlex.event AS e
     WHERE e.id OPERATOR(pg_catalog.<) (SELECT o.id FROM leadlex.event AS o
                                        ORDER BY o.id USING OPERATOR(pg_catalog.>) LIMIT 1 OFFSET $1)",
);

/// Removes all but the last 1,000.
pub fn trim() {
    as_owner(|| TRIM.run(&[arg(KEPT as i64 - 1)]));
}
