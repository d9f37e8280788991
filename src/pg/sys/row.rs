//! Values out of the rows that statements give, and into them.

use uuid::Uuid;

use super::spi::Row;

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
