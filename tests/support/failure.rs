//! An error as the client sees it, taken apart for assertions.

use postgres::Error;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    /// The text of DETAIL; [`Failure::json`] reads it.
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub constraint: Option<String>,
    pub table: Option<String>,
}

impl Failure {
    /// Panics when the error did not come from the server.
    pub fn of(error: &Error) -> Failure {
        let Some(db) = error.as_db_error() else { panic!("not an error of the server: {error:?}") };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Failure {
            sqlstate: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail: owned(db.detail()),
            hint: owned(db.hint()),
            constraint: owned(db.constraint()),
            table: owned(db.table()),
        }
    }

    /// DETAIL as JSON; panics when it is none.
    pub fn json(&self) -> Value {
        let detail = self.detail.as_deref().unwrap_or_else(|| panic!("no DETAIL in {self:?}"));
        serde_json::from_str(detail).unwrap_or_else(|error| panic!("DETAIL is no JSON ({error}): {detail}"))
    }

    /// All that was said, to search for what must not be said.
    pub fn everything(&self) -> String {
        format!("{self:?}")
    }
}

/// The failure of a statement that must fail.
pub fn fails<T>(result: Result<T, Error>) -> Failure {
    match result {
        Ok(_) => panic!("the statement succeeded, and should have failed"),
        Err(error) => Failure::of(&error),
    }
}
