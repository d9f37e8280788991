//! leadlex.provider_stats: what has come of each provider's requests.

use crate::pg::api::access;
use crate::pg::api::workspaces;
use crate::pg::shared::layout;
use crate::pg::sys::clock;
use crate::pg::sys::row;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};

use crate::pg::call::identity;
use crate::pg::provider;
use crate::pg::provider::health;
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::tallies;
use leadlex_domain::latency::Latencies;
use leadlex_domain::tally::{Count, Tally};

type Stats = (
    pgrx::Uuid,
    i64,
    i64,
    i64,
    i64,
    i64,
    JsonB,
    i64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    i64,
    &'static str,
    Option<TimestampWithTimeZone>,
    i64,
    Option<String>,
    Option<TimestampWithTimeZone>,
);

/// leadlex.provider_stats: one row for each provider that the caller may see. Counts are requests since the
/// provider was added, latencies are milliseconds, `cost` is in the provider's own unit; NULL where nothing
/// is known. Roles that only monitor get `last_error` as NULL.
///
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn provider_report() -> TableIterator<
    'static,
    (
        name!(provider_id, pgrx::Uuid),
        name!(calls, i64),
        name!(matches, i64),
        name!(no_matches, i64),
        name!(refusals, i64),
        name!(failures, i64),
        name!(failures_by_kind, JsonB),
        name!(skipped, i64),
        name!(p50_ms, Option<f64>),
        name!(p95_ms, Option<f64>),
        name!(p99_ms, Option<f64>),
        name!(cost, Option<f64>),
        name!(costs_unread, i64),
        name!(state, &'static str),
        name!(paused_until, Option<TimestampWithTimeZone>),
        name!(failures_in_a_row, i64),
        name!(last_error, Option<String>),
        name!(last_error_at, Option<TimestampWithTimeZone>),
    ),
> {
    // Not for what it reads alone, but for what it returns: an older schema declares other columns.
    cache::refresh();
    layout::require();
    let (sees, monitors) = (sees(), workspaces::watches());
    let seen = |p: &LoadedProvider| match sees(p) {
        true => Some(row(p, true)),
        // Monitoring is told how many, and not what was said.
        false => monitors.then(|| row(p, false)),
    };
    let rows: Vec<Stats> = cache::providers().iter().filter_map(|p| seen(p)).collect();
    TableIterator::new(rows)
}

/// Of which providers the caller is told. What one for every workspace came to would tell one team of the others.
fn sees() -> impl Fn(&LoadedProvider) -> bool {
    let all = access::administers();
    let own = identity::readable();
    let alone = own.len() == 1 && config::some_workspaces().len() == 1;
    move |provider| all || provider.workspace.map_or(alone, |workspace| own.contains(&workspace))
}

fn row(provider: &LoadedProvider, with_texts: bool) -> Stats {
    let present = health::find(provider.id).and_then(|slot| slot.state());
    let tally = match &present {
        Some(state) if state.loaded => state.base.plus(&state.since),
        Some(state) => tallies::load(provider.id).plus(&state.since),
        None => tallies::load(provider.id),
    };
    let latencies = present.as_ref().map_or(&Latencies::NONE, |state| &state.latencies);
    let identity = provider::present_identity(provider);
    let health = present.as_ref().map(|state| state.health);
    let health = health.filter(|health| identity.is_none_or(|identity| health.is_about(identity)));
    let pause = health.and_then(|health| health.pause());
    let now = clock::now_us();
    let timestamp = |us: i64| to_timestamp(us as f64 / 1e6);
    let count = |count| tally.get(count) as i64;
    (
        row::pg(provider.id),
        count(Count::Calls),
        count(Count::Matches),
        count(Count::NoMatches),
        count(Count::Refusals),
        tally.failures().map(|(_, n)| n as i64).sum(),
        JsonB(failures(&tally)),
        count(Count::Skipped),
        latencies.percentile(0.50),
        latencies.percentile(0.95),
        latencies.percentile(0.99),
        tally.cost,
        count(Count::CostsUnread),
        pause.map_or("ok", |pause| pause.state(now)),
        pause.filter(|pause| !pause.is_half_open(now)).map(|pause| timestamp(pause.until)),
        health.map_or(0, |health| i64::from(health.failures_in_a_row())),
        present.as_ref().and_then(|state| state.last_error()).filter(|_| with_texts),
        present.filter(|state| state.last_error_at > 0).map(|state| timestamp(state.last_error_at)),
    )
}

fn failures(tally: &Tally) -> Value {
    let by_kind = tally.failures().map(|(kind, n)| (kind.name().to_owned(), json!(n)));
    Value::Object(by_kind.collect::<Map<_, _>>())
}
