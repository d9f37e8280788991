//! What contacts' tables refuse of what providers answer is remembered, so that it is not bought again: as a hash of the
//! question and the contact, without the value. It goes the way of the answers, outside the transaction: whether that fails
//! because of it, or commits without the value, it was paid for.

use crate::pg::installation;
use crate::pg::sys::clock;
use std::rc::Rc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::provider::past::Past;
use crate::pg::shared::receipts;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::settings;
use leadlex_domain::fields::{FieldMap, FieldSet};
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt;
use leadlex_domain::receipt::{Content, Filed, Receipt};
use leadlex_domain::reply::Origin;

/// How long those of one write may wait for room.
const PATIENCE: Duration = Duration::from_millis(150);

/// What became of an offer.
pub struct Rejected<'a> {
    pub workspace: Uuid,
    pub past: &'a Past,
    /// Who supplied what was offered.
    pub origins: &'a FieldMap<Origin>,
    /// What of it the table refused.
    pub fields: FieldSet,
}

/// Notes what was refused of these offers, and that what was refused before was not now.
pub fn note_rejections(providers: &[(String, Rc<LoadedProvider>)], offers: &[Rejected<'_>]) {
    let terms = settings::receipt_terms();
    if terms.recheck_us == 0 {
        return;
    }
    let (now, until) = (clock::now_us(), Instant::now() + PATIENCE);
    let mut dropped = None;
    for offer in offers {
        for (name, provider) in providers {
            let supplied = offer.origins.iter().filter(|(_, origin)| *origin.source == **name);
            let supplied: FieldSet = supplied.map(|(field, _)| field).collect();
            let Some(put) = offer.past.was_put_to(provider.id).filter(|_| !supplied.is_empty()) else {
                continue;
            };
            let refused = offer.fields.intersect(supplied);
            for (at, question) in put.hashes.iter().enumerate() {
                let before =
                    offer.past.rejection(*question).map_or(FieldSet::EMPTY, |r| r.rejected(terms, now));
                // What is asked now is what was answered.
                let fields = before.minus(supplied).union(if at == 0 { refused } else { FieldSet::EMPTY });
                if fields == before && (at > 0 || refused.is_empty()) {
                    continue;
                }
                let receipt = Receipt::of_rejection(fields, put.known, now);
                dropped = dropped.or(keep(offer, provider.id, *question, receipt, until));
            }
        }
    }
    if let Some(why) = dropped {
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_WARNING,
            format!("what the table refused could not all be remembered: {why}"),
            "It may be asked for, and paid, again."
        );
    }
}

/// Why it could not be kept.
fn keep(
    offer: &Rejected<'_>,
    provider: Uuid,
    question: Hash,
    receipt: Receipt,
    until: Instant,
) -> Option<&'static str> {
    let row = offer.past.person.row.expect("a contact of a table");
    let sent_at = receipt.answered_at;
    let filed = Filed {
        workspace: offer.workspace,
        provider,
        person: row.hash,
        content: Content::Rejection(receipt),
        sighting: None,
    };
    let key = installation::receipt_key(receipt::rejection(question, row.hash));
    receipts::keep(key, row, sent_at, &filed.to_bytes(), until)
}
