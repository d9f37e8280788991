//! Providers as sessions remember them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Config, ConfigError};
use leadlex_domain::receipt;
use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, optional, text, uuid};
use crate::pg::sys::spi::{Row, Statement, View, arg};

/// A provider as configured. `config` is an error only after a hand-made change of the table.
#[derive(Clone)]
pub struct LoadedProvider {
    pub id: Uuid,
    pub name: String,
    pub workspace: Option<Uuid>,
    pub enabled: bool,
    pub json: Value,
    pub config: Result<Arc<Config>, ConfigError>,
    /// Changes with every change of it.
    pub revision: String,
    /// Tells the questions put under one description from those under another.
    pub fingerprint: Hash,
    /// The same of what is handed in; `None`: nothing is, it takes one request.
    pub ticket_fingerprint: Option<Hash>,
    /// The same of its login; `None`: it has none.
    pub login_fingerprint: Option<Hash>,
    /// What it is asked depends on the fields that are wanted.
    pub asks_for_fields: bool,
    /// As given: the secret itself, or `file:/path`.
    pub secret: Option<String>,
    /// Which version of its row this is: a row is moved by VACUUM FULL, and two may have been written by one transaction.
    pub version: String,
}

// The description itself only of versions that are not known: there may be many, and one has changed.
// The time is told as an interval's: EXTRACT(epoch) of a timestamptz loads a time zone, 100 kB in each session.
static PROVIDERS: Statement = Statement::seldom(
    "SELECT p.id, p.name, p.workspace_id, p.enabled, CASE WHEN k.version IS NULL THEN p.config END, s.secret, pg_catalog.concat(p.id, ' ', EXTRACT(epoch FROM (
                p.updated_at OPERATOR(pg_catalog.-) pg_catalog.timestamptz '1970-01-01 00:00:00+00'))),
            v.version
     FROM leadlex.provider_config AS p
     CROSS JOIN LATERAL (SELECT pg_catalog.concat(p.id, p.xmin, p.ctid, p.updated_at) AS version) AS v
     LEFT JOIN pg_catalog.unnest($1) AS k(version) ON k.version OPERATOR(pg_catalog.=) v.version
     LEFT JOIN leadlex.provider_secret AS s ON s.name OPERATOR(pg_catalog.=) p.name
     ORDER BY p.priority USING OPERATOR(pg_catalog.<), p.name USING OPERATOR(pg_catalog.<)",
);

/// All providers, disabled ones included, by priority and then by name. `known`: of these, those whose rows are the same are not
/// read again.
pub fn providers(known: &[Rc<LoadedProvider>]) -> Vec<Rc<LoadedProvider>> {
    let versions: Vec<String> = known.iter().map(|provider| provider.version.clone()).collect();
    let known: HashMap<&str, &Rc<LoadedProvider>> =
        known.iter().map(|provider| (provider.version.as_str(), provider)).collect();
    let rows = as_owner(|| PROVIDERS.query(View::Latest, &[arg(versions)]));
    let load = |row: &Row| {
        let secret = optional(row, 5);
        match known.get(&*text(row, 7)) {
            Some(same) if same.secret == secret => Rc::clone(same),
            Some(same) => Rc::new(LoadedProvider { secret, ..LoadedProvider::clone(same) }),
            None => Rc::new(parsed(row, secret)),
        }
    };
    rows.iter().map(load).collect()
}

fn parsed(row: &Row, secret: Option<String>) -> LoadedProvider {
    let json: Value = serde_json::from_str(&text(row, 4)).unwrap_or_default();
    let config = Config::parse(&json).map(Arc::new);
    let logs_in = config.as_ref().is_ok_and(|config| config.login().is_some());
    let takes_steps = config.as_ref().is_ok_and(|config| config.has_tickets());
    LoadedProvider {
        id: uuid(row, 0),
        name: text(row, 1),
        workspace: optional(row, 2).and_then(|id| id.parse().ok()),
        enabled: boolean(row, 3),
        asks_for_fields: config.as_ref().is_ok_and(|config| config.asked(FieldSet::ALL).is_some()),
        config,
        fingerprint: receipt::fingerprint(&json),
        login_fingerprint: logs_in.then(|| receipt::login_fingerprint(&json)),
        ticket_fingerprint: takes_steps.then(|| receipt::ticket_fingerprint(&json)),
        json,
        secret,
        revision: text(row, 6),
        version: text(row, 7),
    }
}
