//! Values out of the rows that statements give, and into them.

use uuid::Uuid;

use super::spi::Row;

/// Column `index` of a row, where the query guarantees a value.
pub fn text(row: &Row, index: usize) -> String {
    row.get(index).cloned().flatten().unwrap_or_default()
}

/// Column `index`; `None`: NULL, or no such column.
pub fn optional(row: &Row, index: usize) -> Option<String> {
    row.get(index).cloned().flatten()
}

/// Column `index` as an integer; 0 where it is NULL or no number.
pub fn number(row: &Row, index: usize) -> i64 {
    text(row, index).parse().unwrap_or_default()
}

/// Column `index` as a UUID; the nil UUID where it is NULL or none.
pub fn uuid(row: &Row, index: usize) -> Uuid {
    text(row, index).parse().unwrap_or_default()
}

/// Column `index` as a boolean; `false` where it is NULL.
pub fn boolean(row: &Row, index: usize) -> bool {
    text(row, index) == "t"
}

/// A column fetched as a JSON array of texts.
///
/// Empty where it is NULL.
pub fn texts(row: &Row, index: usize) -> Vec<String> {
    serde_json::from_str(&text(row, index)).unwrap_or_default()
}

/// The UUID as Postgres writes it.
pub fn written(id: Uuid) -> String {
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The UUID in the type that pgrx passes to Postgres.
pub fn pg(id: Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*id.as_bytes())
}
