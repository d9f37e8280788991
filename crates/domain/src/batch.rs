//! Many contacts in one call: what becomes of each, and in which order that is told.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use super::call_error::{Code, Failure};
use super::contact::Contact;
use super::failed_provider::ProviderAttempt;
use super::fields::FieldSet;
use super::reply::Origin;
use super::waterfall::Pending;

/// Error code of a contact that nobody was asked about, since the time was over.
pub const NOT_STARTED: &str = "not_started";
/// In place of an error code: a credit was charged for the rest of another question, which the contact is not any more.
pub const NOT_PAID: &str = "not_paid";

/// The status of a contact's line, in the order in which a [`Summary`] tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// At least one field was written.
    Enriched,
    /// The call succeeded, and no field was written.
    Unchanged,
    /// The call ended with `no_match`, LX409.
    NoMatch,
    /// Nothing was written, and an answer comes later.
    Pending,
    /// The call ended with any other error, or was not begun.
    Failed,
}

impl Status {
    /// The stable name that users see in the result.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Enriched => "enriched",
            Status::Unchanged => "unchanged",
            Status::NoMatch => "no_match",
            Status::Pending => "pending",
            Status::Failed => "failed",
        }
    }
}

/// What became of one contact.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchResult {
    pub status: Status,
    pub fields_updated: FieldSet,
    pub origin: Option<Origin>,
    pub request_id: Uuid,
    /// Code (of the contract, or an SQLSTATE) and message.
    pub error: Option<(String, String)>,
    /// What a code of the contract does not say: why there was no match, or what kept providers from answering.
    pub why: Option<String>,
    /// `reason` and `providers`, as a single call has them in DETAIL.
    pub reason: Option<String>,
    pub providers: Option<Value>,
    /// See [`Failure::tells_reason`].
    pub tells_why: bool,
    /// To try again sooner is no use.
    pub retry_after_s: Option<u64>,
    /// See [`Failure::is_passed_over`].
    pub passed_over: bool,
    /// See [`Failure::waits_for_money`].
    pub waits_for_money: bool,
    /// See [`Failure::is_stopped`].
    pub stopped: bool,
    /// See [`Failure::is_given_up`].
    pub given_up: bool,
    /// What comes later, whatever was written by now.
    pub pending: Option<Pending>,
    /// Where more comes later: see [`crate::waterfall::Waterfall::failed`].
    pub failed: Vec<ProviderAttempt>,
    /// Where more comes later: of the position, see [`super::position::Post::to_keep`].
    pub position: Option<String>,
    /// Its contact stands before it in the input: this is the same line again.
    pub repeats: bool,
    pub contact: Option<Contact>,
}

impl BatchResult {
    /// The line of a contact whose call succeeded: `enriched` if fields were written, else `unchanged`.
    pub fn done(
        request_id: Uuid,
        contact: Contact,
        fields_updated: FieldSet,
        origin: Option<Origin>,
    ) -> BatchResult {
        let status = if fields_updated.is_empty() { Status::Unchanged } else { Status::Enriched };
        BatchResult {
            status,
            fields_updated,
            origin,
            request_id,
            error: None,
            why: None,
            reason: None,
            providers: None,
            tells_why: false,
            retry_after_s: None,
            passed_over: false,
            waits_for_money: false,
            stopped: false,
            given_up: false,
            pending: None,
            failed: Vec::new(),
            position: None,
            repeats: false,
            contact: Some(contact),
        }
    }

    /// The same, of which more comes later: `pending` where nothing was written, and no credit was lacking either. What is given up
    /// does not come.
    #[must_use]
    pub fn pending(self, pending: Option<Pending>) -> BatchResult {
        let is_open = self.error.is_none() && self.status == Status::Unchanged
            || matches!(&self.error, Some((code, _)) if code == Code::ProviderUnavailable.name());
        let is_open = is_open && (self.error.is_none() || pending.is_some_and(|p| !p.given_up));
        let status = if pending.is_some() && is_open { Status::Pending } else { self.status };
        BatchResult { status, pending, ..self }
    }

    /// The line of a contact whose call ended with an error of the contract: `no_match` for LX409, else
    /// `failed`. The message also has what a single call tells in DETAIL of scores and reasons.
    pub fn failed(request_id: Uuid, failure: &Failure, contact: Option<Contact>) -> BatchResult {
        let status = if failure.code == Code::NoMatch { Status::NoMatch } else { Status::Failed };
        // A single call's DETAIL and HINT have no place in a line.
        let below = failure.below_min_confidence();
        let below = below.map_or(String::new(), |names| format!(" (below leadlex.min_confidence: {names})"));
        let text = failure.text();
        // A message that begins with its reason has named it.
        let unnamed = failure.reason().filter(|reason| !text.contains(&format!(": {reason}: ")));
        let reason = unnamed.map_or(String::new(), |reason| format!(" ({reason})"));
        let error = Some((failure.code.name().to_owned(), text + &below + &reason));
        BatchResult {
            status,
            fields_updated: FieldSet::EMPTY,
            origin: None,
            request_id,
            error,
            why: failure.why(),
            reason: failure.reason().map(str::to_owned),
            providers: failure.providers().cloned(),
            tells_why: failure.tells_reason(),
            retry_after_s: failure.next_try_s(),
            passed_over: failure.is_passed_over(),
            waits_for_money: failure.waits_for_money(),
            stopped: failure.is_stopped(),
            given_up: failure.is_given_up(),
            pending: None,
            failed: Vec::new(),
            position: None,
            repeats: false,
            contact,
        }
    }

    /// Whether the contact is neither `enriched` nor `unchanged`.
    pub fn is_trouble(&self) -> bool {
        !matches!(self.status, Status::Enriched | Status::Unchanged)
    }

    /// The contact of which more comes later, and whether it was charged by now; `None`: nothing comes, or its line was told
    /// before.
    pub fn rest(&self) -> Option<(&Contact, bool)> {
        let charged = self.status == Status::Enriched;
        let later = self.pending.is_some_and(|pending| !pending.given_up);
        let comes = later && !self.repeats && (charged || self.status == Status::Pending);
        self.contact.as_ref().filter(|_| comes).map(|contact| (contact, charged))
    }

    /// What was charged for was another question: this one costs a credit, like any call.
    pub fn not_paid(request_id: Uuid, contact: Contact) -> BatchResult {
        let message = "the contact is another question than the one that was charged for";
        BatchResult::raised(request_id, NOT_PAID, message, Some(contact))
    }

    /// Not begun, since the time for the batch was over.
    pub fn left(request_id: Uuid, contact: Option<Contact>) -> BatchResult {
        BatchResult::raised(request_id, NOT_STARTED, "the time for this batch was over", contact)
    }

    /// An error that is not of the contract: of the user's own table, say.
    pub fn raised(request_id: Uuid, sqlstate: &str, message: &str, contact: Option<Contact>) -> BatchResult {
        let error = Some((sqlstate.to_owned(), message.to_owned()));
        BatchResult {
            status: Status::Failed,
            fields_updated: FieldSet::EMPTY,
            origin: None,
            request_id,
            error,
            why: None,
            reason: None,
            providers: None,
            tells_why: false,
            retry_after_s: None,
            passed_over: false,
            waits_for_money: false,
            stopped: false,
            given_up: false,
            pending: None,
            failed: Vec::new(),
            position: None,
            repeats: false,
            contact,
        }
    }
}

/// What became of many, for people. Counts contacts, however often each stands in the input.
#[derive(Debug, Default)]
pub struct Summary {
    counts: BTreeMap<Status, u64>,
    failures: BTreeMap<String, u64>,
    /// Of those without a match: by reason, but for `no_data`.
    no_matches: BTreeMap<String, u64>,
}

impl Summary {
    /// Counts a line. A line that repeats an earlier contact is not counted.
    pub fn add(&mut self, line: &BatchResult) {
        if line.repeats {
            return;
        }
        *self.counts.entry(line.status).or_default() += 1;
        if let Some(why) = line.why.as_ref().filter(|_| line.tells_why) {
            *self.no_matches.entry(why.clone()).or_default() += 1;
        }
        if let (Status::Failed, Some((code, _))) = (line.status, &line.error) {
            let what = line.why.as_ref().map_or_else(|| code.clone(), |why| format!("{code}: {why}"));
            *self.failures.entry(what).or_default() += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.counts.values().sum();
        let of = |status: Status| self.counts.get(&status).copied().unwrap_or_default();
        write!(
            f,
            "{total} contacts done: {} enriched, {} unchanged, {} without a match{}, {} failed{}",
            of(Status::Enriched),
            of(Status::Unchanged),
            of(Status::NoMatch),
            listed(&self.no_matches),
            of(Status::Failed),
            listed(&self.failures)
        )?;
        match of(Status::Pending) {
            0 => Ok(()),
            pending => write!(f, ", {pending} pending"),
        }
    }
}

/// ` (2 timeout, 1 quota)`
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
    if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) }
}

/// Tells lines in the order of the input, each as soon as all before it are told. A contact that stands there several
/// times is asked about once.
#[derive(Debug, Default)]
pub struct Order {
    /// Further positions of a contact, by its first.
    again: HashMap<usize, Vec<usize>>,
    /// Finished, but not told yet.
    waiting: BTreeMap<usize, BatchResult>,
    /// Of contacts that may come again.
    next: usize,
}

impl Order {
    /// At this position stands the contact of an earlier one again, which is not finished yet: it gets the line of that.
    pub fn repeat(&mut self, first: usize, position: usize) {
        self.again.entry(first).or_default().push(position);
    }

    /// The contact first met at this position is finished; how many positions have their line by that.
    pub fn finish(&mut self, position: usize, line: BatchResult) -> usize {
        let others = self.again.remove(&position).unwrap_or_default();
        let count = others.len() + 1;
        for other in others {
            self.waiting.insert(other, BatchResult { repeats: true, ..line.clone() });
        }
        self.waiting.insert(position, line);
        count
    }

    /// The next line, if it is finished.
    pub fn take_next(&mut self) -> Option<(usize, BatchResult)> {
        let line = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, line))
    }

    /// Lines that wait for one before them.
    pub fn held_back(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_keys::BatchKeys;
    use crate::call_error::NoMatchReason;
    use crate::provider::{Fault, FaultKind};
    use proptest::prelude::*;

    fn line(id: &str) -> BatchResult {
        let contact = Contact { id: id.to_owned(), ..Contact::default() };
        BatchResult::done(Uuid::nil(), contact, FieldSet::ALL, None)
    }

    #[test]
    fn a_status_says_what_became_of_a_contact() {
        let nobody = Failure::no_match(NoMatchReason::NoData);
        assert_eq!(BatchResult::failed(Uuid::nil(), &nobody, None).status, Status::NoMatch);
        let broke = BatchResult::failed(Uuid::nil(), &Failure::insufficient_credits(), None);
        assert_eq!((broke.status, broke.error.unwrap().0.as_str()), (Status::Failed, "insufficient_credits"));
        assert_eq!(line("7").status, Status::Enriched);
        assert_eq!(
            BatchResult::done(Uuid::nil(), Contact::default(), FieldSet::EMPTY, None).status,
            Status::Unchanged
        );
    }

    #[test]
    fn a_summary_tells_failures_by_their_code() {
        let mut summary = Summary::default();
        let nobody = BatchResult::failed(Uuid::nil(), &Failure::no_match(NoMatchReason::NoData), None);
        let fault = |kind| Some(Fault::new(kind, "no"));
        let failed = [
            ("a".to_owned(), fault(FaultKind::Timeout)),
            ("b".to_owned(), None),
            ("c".to_owned(), fault(FaultKind::Quota)),
            ("d".to_owned(), fault(FaultKind::Quota)),
        ];
        let busy = BatchResult::failed(Uuid::nil(), &Failure::provider_unavailable(&failed), None);
        let checked = BatchResult::raised(Uuid::nil(), "23514", "a check", None);
        [&line("1"), &line("2"), &nobody, &busy, &checked, &busy].into_iter().for_each(|l| summary.add(l));
        assert_eq!(
            summary.to_string(),
            "6 contacts done: 2 enriched, 0 unchanged, 1 without a match, 3 failed (1 23514, 2 provider_unavailable: quota and timeout)"
        );
    }

    #[test]
    fn what_was_not_used_has_its_reason() {
        let names =
            [("a".to_owned(), NoMatchReason::OtherPerson), ("b".to_owned(), NoMatchReason::OtherCompany)];
        let line = BatchResult::failed(Uuid::nil(), &Failure::set_aside(&names), None);
        assert_eq!((line.status, line.why.as_deref()), (Status::NoMatch, Some("other_person")));
        assert!(line.error.as_ref().unwrap().1.ends_with("(other_person)"), "{line:?}");
        let nobody = BatchResult::failed(Uuid::nil(), &Failure::no_match(NoMatchReason::NoData), None);
        let mut summary = Summary::default();
        [&line, &nobody].into_iter().for_each(|line| summary.add(line));
        assert_eq!(
            summary.to_string(),
            "2 contacts done: 0 enriched, 0 unchanged, 2 without a match (1 other_person), 0 failed"
        );
    }

    #[test]
    fn a_summary_counts_a_contact_once() {
        let mut order = Order::default();
        order.repeat(0, 1);
        order.repeat(0, 2);
        assert_eq!(order.finish(0, line("7")), 3);
        let mut summary = Summary::default();
        while let Some((_, line)) = order.take_next() {
            summary.add(&line);
        }
        assert_eq!(
            summary.to_string(),
            "1 contacts done: 1 enriched, 0 unchanged, 0 without a match, 0 failed"
        );
    }

    proptest! {
        #[test]
        fn every_position_is_told_once_in_order_and_with_its_own_contact(
            ids in proptest::collection::vec(0..20_u8, 0..60), shuffle: u64
        ) {
            let mut order = Order::default();
            let mut open: Vec<(usize, String)> = Vec::new();
            let mut told = Vec::new();
            let mut jitter = shuffle;
            let mut keys = BatchKeys::default();
            for (position, id) in ids.iter().map(u8::to_string).enumerate() {
                match keys.add(&id, position) {
                    None => open.push((position, id)),
                    Some(first) => order.repeat(first, position),
                }
            }
            while !open.is_empty() {
                jitter = jitter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (position, id) = open.swap_remove((jitter >> 33) as usize % open.len());
                order.finish(position, line(&id));
                while let Some((position, line)) = order.take_next() {
                    told.push((position, line.contact.unwrap().id));
                }
            }
            let expected: Vec<_> = ids.iter().map(u8::to_string).enumerate().collect();
            prop_assert_eq!(told, expected);
            prop_assert_eq!(order.held_back(), 0);
        }
    }
}
