//! What became of contacts, told to the worker: outside of the transaction, since an error takes that back.

use uuid::Uuid;

use crate::pg::installation;
use crate::pg::provider;
use crate::pg::shared::receipts;
use crate::pg::store::outcomes;
use crate::pg::sys::clock;
use crate::pg::table::Binding;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::call_error::{Failure, NoMatchReason};
use leadlex_domain::contact::Contact;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::hash::{Hash, hash};
use leadlex_domain::last_outcome::{LastOutcome, Trouble};
use leadlex_domain::receipt::{Content, Filed};

/// A failure with what the contact has that does not identify it, where that is why nobody could be asked.
pub fn explained(failure: Failure, contact: &Contact) -> Failure {
    match failure.no_match_reason() {
        Some((NoMatchReason::NotIdentifiable, _)) => {
            let person = provider::person(contact);
            failure.explained(&person.without_value(contact), &person.not_alone())
        }
        _ => failure,
    }
}

/// What became of a contact: its row (see [`leadlex_domain::receipt::person`]), and why it is not enriched.
pub struct Told {
    row: Hash,
    trouble: Option<Trouble>,
}

impl Told {
    /// It is as it should be.
    pub fn well(row: Hash) -> Told {
        Told { row, trouble: None }
    }

    pub fn of(binding: &Binding, row: Hash, contact: &str, line: &BatchResult) -> Told {
        let trouble = Trouble::of((&binding.schema, &binding.table), contact, line);
        Told { row, trouble }
    }
}

fn key(row: ContactRow) -> receipts::ReceiptKey {
    installation::receipt_key(hash(&[b"outcome", &row.key()]))
}

/// Notes all of these. What there is no room for is lost, and counted. Of success there is mostly nothing to say: it takes back
/// what was said before.
pub fn note(workspace: Uuid, all: Vec<Told>) {
    if all.is_empty() {
        return;
    }
    let of_workspace = |row| ContactRow { workspace, hash: row };
    let well: Vec<Hash> = all.iter().filter(|told| told.trouble.is_none()).map(|told| told.row).collect();
    // In this order: what is gone from there is in the tables by then.
    let waiting: Vec<Hash> = receipts::with(|arena| {
        well.iter().filter(|row| arena.find(&key(of_workspace(**row))).is_some()).copied().collect()
    });
    let in_books = !well.is_empty() && outcomes::any(workspace, &well);
    let at = clock::now_us();
    for Told { row, trouble } in all {
        if trouble.is_none() && !in_books && !waiting.contains(&row) {
            continue;
        }
        let filed = Filed {
            workspace,
            provider: Uuid::nil(),
            person: row,
            content: Content::Outcome(LastOutcome { at, trouble }),
            sighting: None,
        };
        let row = of_workspace(row);
        receipts::note(key(row), row, at, &filed.to_bytes());
    }
}
