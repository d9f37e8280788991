//! Providers' tallies in the tables, one row for each number that is not zero.

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::provider_slots::Unrecorded;
use crate::pg::sys::row::{pg, text};
use crate::pg::sys::spi::{Statement, View, arg};
use leadlex_domain::tally::Tally;

static LOAD: Statement = Statement::seldom(
    "SELECT t.what, t.number FROM leadlex.provider_tally AS t WHERE t.provider_id OPERATOR(pg_catalog.=) $1",
);

/// The tally in the tables; zeros where there is none.
pub fn load(provider: Uuid) -> Tally {
    let rows = as_owner(|| LOAD.query(View::Latest, &[arg(pg(provider))]));
    let entries: Vec<(String, f64)> =
        rows.iter().map(|row| (text(row, 0), text(row, 1).parse().unwrap_or_default())).collect();
    Tally::from_entries(entries.iter().map(|(name, number)| (name.as_str(), *number)))
}

// A provider that has been dropped has no tally any more. The numbers are complete, so that to write them again changes
// nothing.
static RECORD: Statement = Statement::new(
    "INSERT INTO leadlex.provider_tally AS t (provider_id, what, number)
     SELECT p.id, n.what, n.number
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(provider_id, what, number)
     JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) n.provider_id
     ON CONFLICT (provider_id, what) DO UPDATE SET number = EXCLUDED.number
     WHERE t.number OPERATOR(pg_catalog.<>) EXCLUDED.number",
);

/// Writes tallies of providers that still exist. Returns the number of rows that changed.
pub fn record(tallies: &[Unrecorded]) -> u64 {
    let (mut providers, mut names, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for entry in tallies {
        for (name, number) in entry.tally.entries() {
            providers.push(pg(entry.provider));
            names.push(name.to_owned());
            numbers.push(number);
        }
    }
    as_owner(|| RECORD.run(&[arg(providers), arg(names), arg(numbers)]))
}
