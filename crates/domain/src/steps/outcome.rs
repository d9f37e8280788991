//! What a step leaves behind, and what became of a contact.

use serde_json::Value;

use crate::call_error::Failure;
use crate::contact::Contact;
use crate::fields::{FieldMap, FieldSet};
use crate::reply::Origin;
use crate::waterfall::Gathered;

/// A result kept under an idempotency key.
pub struct Stored {
    pub fingerprint: Vec<u8>,
    pub result: Value,
}

/// The contact before and after the write, both as the table had it.
pub struct Written {
    pub before: Contact,
    pub after: Contact,
    /// Fields whose offered values the table refused.
    pub rejected: FieldSet,
    /// Something was left out, since it belongs to another company than the one that the contact has by now.
    pub apart: bool,
}

impl Written {
    /// Of an offer that changed nothing: `None`, it equals what stood there. Else why nothing of it was written.
    /// The failure is `no_match`, LX409, with the reason `table_refuses` or `other_company`.
    pub fn unused(&self, gathered: &Gathered) -> Option<Failure> {
        let left = gathered.values.fields().minus(self.rejected);
        // With a company that is refused goes what belongs to it.
        let left = if self.apart { left.minus(FieldSet::of_position()) } else { left };
        if !self.rejected.is_empty() && left.is_empty() {
            return Some(Failure::table_refuses(self.rejected));
        }
        self.apart.then(|| gathered.of_other_company())
    }
}

/// An error that is not of the contract, as a set tells it of one contact.
#[derive(Debug)]
pub struct Raised {
    pub sqlstate: String,
    pub message: String,
}

/// What became of a contact.
#[derive(Debug)]
pub enum CallOutcome {
    /// These fields were written.
    Enriched {
        updated: FieldSet,
        /// The first provider that supplied a field.
        origin: Origin,
        /// Who supplied each.
        origins: Box<FieldMap<Origin>>,
    },
    /// Nothing was to be filled, or what was supplied changes nothing: then with the provider.
    Unchanged(Option<Origin>),
    /// What is kept under the idempotency key.
    Replayed(Value),
    /// So many rows have this key.
    Several(String, usize),
    /// Row-level security does not let the caller update the row.
    UpdateDenied,
    /// An error of the contract: LX402, LX404, LX409, LX422, LX429 or LX503.
    Failed(Failure),
    Raised(Raised),
}
