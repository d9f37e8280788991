//! Why a contact was not enriched, on its way into the tables.

use serde_json::{Value, json};

use crate::batch::BatchResult;

/// What became of a contact at last.
#[derive(Clone, Debug, PartialEq)]
pub struct LastOutcome {
    /// Epoch microseconds.
    pub at: i64,
    /// `None`: it is as it should be, so there is nothing to tell.
    pub trouble: Option<Trouble>,
}

/// What a call about a contact came to that was neither `enriched` nor `unchanged`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub schema: String,
    pub table: String,
    pub contact: String,
    /// See [`crate::batch::Status::name`].
    pub status: String,
    /// Of the contract, or an SQLSTATE.
    pub error_code: Option<String>,
    pub reason: Option<String>,
    /// As in DETAIL.
    pub providers: Option<Value>,
}

impl Trouble {
    /// `None`: the line tells of success.
    pub fn of((schema, table): (&str, &str), contact: &str, line: &BatchResult) -> Option<Trouble> {
        line.is_trouble().then(|| Trouble {
            schema: schema.to_owned(),
            table: table.to_owned(),
            contact: contact.to_owned(),
            status: line.status.name().to_owned(),
            error_code: line.error.as_ref().map(|(code, _)| code.clone()),
            reason: line.reason.clone(),
            providers: line.providers.clone(),
        })
    }
}

impl LastOutcome {
    pub fn to_json(&self) -> Value {
        let trouble = self
            .trouble
            .as_ref()
            .map(|t| json!([t.schema, t.table, t.contact, t.status, t.error_code, t.reason, t.providers]));
        json!({"at": self.at, "trouble": trouble})
    }

    /// Reads what [`LastOutcome::to_json`] wrote; `None`: it has another form.
    pub fn read(json: &Value) -> Option<LastOutcome> {
        let at = json.get("at")?.as_i64()?;
        let Some(parts) = json.get("trouble")?.as_array() else {
            return Some(LastOutcome { at, trouble: None });
        };
        let [schema, table, contact, status, error_code, reason, providers] = parts.as_slice() else {
            return None;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let trouble = Trouble {
            schema: text(schema)?,
            table: text(table)?,
            contact: text(contact)?,
            status: text(status)?,
            error_code: text(error_code),
            reason: text(reason),
            providers: (!providers.is_null()).then(|| providers.clone()),
        };
        Some(LastOutcome { at, trouble: Some(trouble) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_error::{Failure, NoMatchReason};
    use uuid::Uuid;

    #[test]
    fn what_is_written_is_read_again() {
        let failure = Failure::no_match(NoMatchReason::NoData);
        let line = BatchResult::failed(Uuid::nil(), &failure, None);
        let trouble = Trouble::of(("public", "crm"), "7", &line);
        assert_eq!(trouble.as_ref().and_then(|t| t.reason.as_deref()), Some("no_data"));
        for trouble in [trouble, None] {
            let outcome = LastOutcome { at: 5, trouble };
            assert_eq!(LastOutcome::read(&outcome.to_json()), Some(outcome));
        }
        assert_eq!(LastOutcome::read(&json!([])), None);
    }
}
