//! All SQL on our own tables. Names and operators are qualified; every function here runs as the extension's owner.
//! `config` is what administrators set up, `books` what calls and the worker write, `receipts` what providers answered,
//! `suppressions` whom they must not be asked about, `shared_values` what many people have in common, `tallies` what they came to, `jobs` what is queued,
//! `pauses` and `frozen` whether that is worked on.

pub mod cache;
pub mod config;
pub mod frozen;
pub mod job_history;
pub mod jobs;
pub mod jobs_waiting;
pub mod ledger;
pub mod pauses;
pub mod receipts;
pub mod shared_values;
pub mod suppressions;
pub mod tallies;

use uuid::Uuid;

use crate::pg::sys::spi::Row;

/// Column `index` of a row, where the query guarantees a value.
pub fn text(row: &Row, index: usize) -> String {
    row.get(index).cloned().flatten().unwrap_or_default()
}

pub fn optional(row: &Row, index: usize) -> Option<String> {
    row.get(index).cloned().flatten()
}

pub fn number(row: &Row, index: usize) -> i64 {
    text(row, index).parse().unwrap_or_default()
}

pub fn uuid(row: &Row, index: usize) -> Uuid {
    text(row, index).parse().unwrap_or_default()
}

pub fn boolean(row: &Row, index: usize) -> bool {
    text(row, index) == "t"
}

/// A column fetched as a JSON array of texts.
pub fn texts(row: &Row, index: usize) -> Vec<String> {
    serde_json::from_str(&text(row, index)).unwrap_or_default()
}

pub fn pg(id: Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*id.as_bytes())
}
