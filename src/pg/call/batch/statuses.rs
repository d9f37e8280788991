//! What the rows of a set say of contacts of which nothing was written: by one statement for a portion of them. Where the
//! table has no column for it, nothing is done.

use crate::pg::call::batch::Batch;
use crate::pg::call::batch::member::MemberClaim;
use crate::pg::shared::layout::ClaimKey;
use crate::pg::sys::spi;
use crate::pg::sys::spi::Caught;
use crate::pg::table::StatusWrite;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::row_status;

/// A contact whose row is to say this. It is held until that is written: otherwise another call could enrich it in between.
pub struct Unwritten {
    key: ClaimKey,
    before: bool,
    contact: String,
    word: String,
}

/// So often a set finds out which row it is whose table does not take its status. After that the status of those that are
/// written together is left out with it.
const MOST_REFUSED: u32 = 8;

impl Batch<'_> {
    /// What the row of a contact is to say, if nothing was written into it.
    pub fn row_word<'l>(&self, line: &'l BatchResult) -> Option<&'l str> {
        // What was charged for was written before: that there is no more does not take it back.
        let enriched_before = self.visit.as_ref().is_some_and(|visit| visit.charged);
        if enriched_before || !self.tells_status {
            return None;
        }
        row_status::word(line)
    }

    /// Has its row say so, with others together.
    pub fn say(&mut self, claim: &MemberClaim, contact: &str, word: &str) {
        self.unwritten.push(Unwritten {
            key: claim.key,
            before: claim.before,
            contact: contact.to_owned(),
            word: word.to_owned(),
        });
    }

    /// Has the rows say what is left to say, and lets their contacts go.
    pub fn write_statuses(&mut self) {
        let all = std::mem::take(&mut self.unwritten);
        self.write_statuses_of(&all);
        // The lock on the row is enough from here on: what another call writes comes after it.
        all.into_iter().for_each(|Unwritten { key, before, .. }| self.let_go(key, before));
    }

    /// By one statement, or else in halves.
    fn write_statuses_of(&self, some: &[Unwritten]) {
        if some.is_empty() {
            return;
        }
        pgrx::check_for_interrupts!();
        let rows: Vec<(&str, &str)> =
            some.iter().map(|row| (row.contact.as_str(), row.word.as_str())).collect();
        let write = || self.binding.write_statuses(self.workspace(), &rows);
        match spi::caught(write, Caught::is_of_a_row) {
            Ok(()) => {}
            Err(caught) if some.len() == 1 || self.refused_statuses.get() >= MOST_REFUSED => {
                self.refused_statuses.set(self.refused_statuses.get() + 1);
                self.binding.warn_status_refused(&caught);
            }
            Err(_) => {
                let (first, second) = some.split_at(some.len() / 2);
                self.write_statuses_of(first);
                self.write_statuses_of(second);
            }
        }
    }

    /// Whether it is what rows were to say that their table refused, and that of so many rows is left out for it.
    pub fn leaves_out_status(&self, caught: &Caught, status: StatusWrite, rows: usize) -> bool {
        let refused = self.refused_statuses.get();
        let leaves = !status.is_nothing()
            && self.binding.is_about_status(caught)
            && (rows == 1 || refused >= MOST_REFUSED);
        if leaves {
            self.refused_statuses.set(refused + 1);
            self.binding.warn_status_refused(caught);
        }
        leaves
    }
}
