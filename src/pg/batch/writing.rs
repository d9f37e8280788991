//! Step 11 for a set: contacts, ledger and history, each by one statement for many. Where a row of the set is refused,
//! each is written by itself, so that only that one fails.

use super::Batch;
use super::member::{Finished, Member};
use crate::domain::batch::Line;
use crate::domain::contact::Contact;
use crate::domain::failure::Failure;
use crate::domain::merge;
use crate::domain::waterfall::Gathered;
use crate::flow::Written;
use crate::pg::desk::{self, Book};
use crate::pg::spi::{self, Caught};
use crate::pg::store::books;
use crate::pg::table::{Change, Fitted};

/// A contact with what is offered for it.
struct Offer {
    member: Member,
    gathered: Gathered,
}

impl Batch<'_> {
    /// Writes what is finished and tells of it.
    pub fn write(&mut self) {
        let finished = std::mem::take(&mut self.finished);
        if finished.is_empty() {
            return;
        }
        self.progress.writing();
        let credited = finished.iter().filter(|f| f.credited).count() as i64;
        let mut offers = Vec::new();
        for Finished { member, result, .. } in finished {
            match result {
                Ok(gathered) => offers.push(Offer { member, gathered }),
                Err(failure) => {
                    self.let_go(&[(member.claim, member.claimed_before)]);
                    let line = Line::failed(member.request_id, &failure, Some(member.contact));
                    self.tell(member.position, line);
                }
            }
        }
        let written = self.write_all(&offers);
        let charged = self.charge(&offers, &written);
        if self.caller.workspace.has_credit_limit {
            self.pool.settle(credited, charged);
            self.short_of_credits = false;
        }
        for (offer, written) in offers.into_iter().zip(written) {
            let Offer { member, gathered } = offer;
            let (line, kept) = match written {
                Ok(Some(row)) => {
                    let updated = merge::updated(&row.before, &row.after, gathered.values.fields());
                    let line = Line::done(member.request_id, row.after, updated, Some(gathered.origin));
                    (line, !updated.is_empty())
                }
                Ok(None) => {
                    let failure = Failure::not_found(&format!("contact {}", member.contact.id));
                    (Line::failed(member.request_id, &failure, None), false)
                }
                Err(caught) => {
                    let Caught { sqlstate, message } = &caught;
                    (Line::raised(member.request_id, sqlstate, message, Some(member.contact)), false)
                }
            };
            self.let_go(&[(member.claim, kept || member.claimed_before)]);
            self.tell(member.position, line);
        }
    }

    /// `Ok(None)`: the contact is gone.
    fn write_all(&self, offers: &[Offer]) -> Vec<Result<Option<Written>, Caught>> {
        let (changes, hopeless): (Vec<Change>, Vec<bool>) =
            offers.iter().map(|offer| self.change(offer)).unzip();
        // What changes nothing is not written; what the table refuses is not to make it refuse the others.
        let together = |at: &usize| !changes[*at].changes.is_empty() && !hopeless[*at];
        let some: Vec<usize> = (0..changes.len()).filter(together).collect();
        let set: Vec<&Change> = some.iter().map(|at| &changes[*at]).collect();
        let together = match set.is_empty() {
            true => Ok(Vec::new()),
            false => spi::caught(|| self.binding.write_many(self.workspace(), &set), Caught::is_of_a_row),
        };
        let mut rows: Vec<Option<Contact>> = vec![None; offers.len()];
        for (at, row) in some.iter().zip(together.unwrap_or_default()) {
            rows[*at] = row;
        }
        let settle = |(at, offer): (usize, &Offer)| match rows[at].take() {
            Some(after) => Ok(Some(Written { before: offer.member.contact.clone(), after })),
            None if changes[at].changes.is_empty() => {
                let same = offer.member.contact.clone();
                Ok(Some(Written { before: same.clone(), after: same }))
            }
            // Changed meanwhile, declined by a trigger, or refused together with others.
            None => spi::caught(|| self.write_one(offer), Caught::is_of_a_row),
        };
        offers.iter().enumerate().map(settle).collect()
    }

    /// With it, whether the table is known to refuse it.
    fn change<'o>(&self, offer: &'o Offer) -> (Change<'o>, bool) {
        let (member, values) = (&offer.member, &offer.gathered.values);
        let wanted = merge::changes(&member.contact, values, member.fields, self.wish.overwrite);
        let Fitted { changes, left_out, hopeless } = self.binding.fit(&member.contact, wanted);
        for (field, why) in left_out {
            // Once a call is enough: it may be so for thousands.
            let told = self.left_out.get();
            if !told.contains(field) {
                self.binding.warn_left_out(&member.contact.id, field, &why);
                self.left_out.set(told.iter().chain([field]).collect());
            }
        }
        let identifying = member.contact.identifying_fields();
        let others = values.fields().iter().chain(identifying.iter()).collect();
        (Change { before: &member.contact, changes, others }, hopeless)
    }

    /// Raises 40001 where it is somebody else now; the lock on his row goes with that.
    fn write_one(&self, offer: &Offer) -> Option<Written> {
        let (member, values) = (&offer.member, &offer.gathered.values);
        let wanted = |now: &Contact| merge::changes(now, values, member.fields, self.wish.overwrite);
        let (workspace, before) = (self.workspace(), member.contact.clone());
        desk::write_changes(
            &self.binding,
            workspace,
            (&self.providers, &self.crowd),
            before,
            &offer.gathered,
            wanted,
        )
        .unwrap_or_else(|somebody_else| somebody_else.refuse(&member.contact.id))
    }

    /// A credit for each contact that was changed; how many.
    fn charge(&mut self, offers: &[Offer], written: &[Result<Option<Written>, Caught>]) -> i64 {
        let mut entries = Vec::new();
        for (offer, written) in offers.iter().zip(written) {
            let Ok(Some(row)) = written else { continue };
            let updated = merge::updated(&row.before, &row.after, offer.gathered.values.fields());
            if !updated.is_empty() {
                entries.push(Book {
                    request_id: offer.member.request_id,
                    updated,
                    origin: &offer.gathered.origin,
                    origins: &offer.gathered.origins,
                    before: &row.before,
                    after: &row.after,
                });
            }
        }
        if entries.is_empty() {
            return 0;
        }
        let entries: Vec<books::Entry> =
            entries.iter().map(|book| book.entry(&self.caller, &self.binding, self.wish.overwrite)).collect();
        books::charge_many(&entries);
        entries.len() as i64
    }
}
