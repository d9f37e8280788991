//! Contacts of a batch: which ones there are, and steps 5 to 7 for a portion of them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

use uuid::Uuid;

use crate::pg::call::batch::lookup::Keys;
use crate::pg::call::batch::{Batch, PORTION};
use crate::pg::call::outcome;
use crate::pg::call::ownership;
use crate::pg::call::{preconditions, target};
use crate::pg::provider;
use crate::pg::provider::{Flight, Past, Sought};
use crate::pg::provider::{health, shared_values};
use crate::pg::shared::claims;
use crate::pg::shared::claims::Claimed;
use crate::pg::shared::layout::ClaimKey;
use crate::pg::store::checks;
use crate::pg::sys::spi;
use crate::pg::table;
use crate::pg::table::{Binding, FoundRow};
use leadlex_domain::batch::{BatchResult, Status};
use leadlex_domain::call_error::{Failure, short};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::paid::PaidFor;
use leadlex_domain::receipt;
use leadlex_domain::sqlstate;
use leadlex_domain::steps::{CallOutcome, Event, Raised, Step, Steps};

/// A contact that is claimed.
pub struct MemberClaim {
    pub position: usize,
    pub request_id: Uuid,
    pub key: ClaimKey,
    /// This transaction had it before: it is not given up with this call.
    pub before: bool,
}

/// A contact that providers are asked about.
pub struct Member {
    pub claim: MemberClaim,
    pub steps: Steps,
    /// Its table and key, as the request key and the receipt have them.
    pub table: String,
    pub row: Hash,
    pub past: Past,
    /// Questions that no other contact of the set is asked about meanwhile.
    pub asking: Vec<Hash>,
    /// A request about so many was refused: it is asked about with fewer.
    pub most_together: Option<usize>,
    /// It failed before, and all others have had their turn.
    pub goes_last: bool,
    /// When its row was read.
    pub read_at: Instant,
    pub deadline: Option<Instant>,
    /// When the call began, or was queued, in epoch microseconds.
    pub since: i64,
}

/// A contact about which a request is on its way.
pub struct Flying {
    pub flight: Box<Flight>,
    pub member: Box<Member>,
}

impl Batch<'_> {
    /// Looks at the whole input once: what can be no key has its line, the others stand in `ahead`, each once.
    pub fn meet(&mut self, mut ids: impl ExactSizeIterator<Item = Option<String>>) {
        let (mut begin, mut all_bad) = (0, Vec::new());
        while ids.len() > 0 {
            let some: Vec<Option<String>> = ids.by_ref().take(PORTION).collect();
            let count = some.len();
            let Keys { known, bad } = self.scope().keys(some);
            for (at, id) in known {
                if let Some(first) = self.ahead.add(&id, begin + at) {
                    self.order.repeat(first, begin + at);
                }
            }
            all_bad.extend(bad.into_iter().map(|(at, failure)| (begin + at, failure)));
            begin += count;
        }
        self.ahead.complete();
        for (position, failure) in all_bad {
            self.tell(position, BatchResult::failed(Uuid::now_v7(), &failure, None));
        }
    }

    /// Claims and reads the next portion. What needs no provider has its line.
    pub fn prepare(&mut self) {
        let claimed = self.claim_portion();
        let keys: Vec<&str> = claimed.iter().map(|(_, id)| id.as_str()).collect();
        let found = self.binding.read_many(self.workspace(), &keys);
        let denied = self.binding.update_denied(self.workspace(), &keys);
        let kept = ownership::kept(self.workspace(), &self.binding, self.request.overwrite, &found);
        let mut members = Vec::with_capacity(claimed.len());
        let found = found.into_iter().zip(kept);
        for (((claim, id), (found, kept)), denied) in claimed.into_iter().zip(found).zip(denied) {
            if spi::lasting_snapshot()
                && matches!(found, FoundRow::One(_))
                && !self.binding.is_current(self.workspace(), &id)
            {
                target::refuse_stale(&format!("Contact {id} has changed since this transaction began."));
            }
            let mut steps = Steps::new(self.request, &id);
            if self.visit.as_ref().is_some_and(|visit| visit.admitted) {
                steps = steps.admitted();
            }
            steps.next(Event::Claimed);
            steps.keep(kept);
            if let (FoundRow::One(contact), Some(paid_for)) = (&found, self.paid_for(claim.position))
                && let Some(position) = paid_for.position()
            {
                steps.go_on_with(self.scope().row(contact), position);
            }
            let mut providers = std::mem::take(&mut self.providers);
            self.scope().qualify(&mut steps, found, denied, &mut providers);
            self.providers = providers;
            match steps.step() {
                Step::Done => self.conclude(claim, steps),
                _ if self.is_another(claim.position, &steps) => {
                    self.let_go(claim.key, claim.before);
                    let line = BatchResult::not_paid(claim.request_id, steps.contact().clone());
                    self.tell(claim.position, line);
                }
                _ => members.push(Box::new(self.member(claim, steps))),
            }
        }
        self.recall_portion(&mut members);
        // The first that is asked about may be the one that tries a provider: not always the same.
        if !members.is_empty()
            && self.providers.all.iter().any(|(_, provider)| health::is_paused(provider.id))
        {
            let jitter = Uuid::new_v4().as_fields().0 as usize;
            let count = members.len();
            members.rotate_left(jitter % count);
        }
        self.queue.extend(members);
    }

    /// The next contacts that this call holds now, with their keys. Others have their line.
    fn claim_portion(&mut self) -> Vec<(MemberClaim, String)> {
        let portion = self.ahead.take(PORTION);
        let elsewhere = self.scope().is_elsewhere();
        let hidden = if elsewhere { HashSet::new() } else { self.hidden(&portion) };
        let mut claimed = Vec::with_capacity(portion.len());
        for (position, id) in portion {
            let request_id = Uuid::now_v7();
            if elsewhere || hidden.contains(&position) {
                let failure = Failure::not_found(&format!("contact {id}"));
                self.tell(position, BatchResult::failed(request_id, &failure, None));
                continue;
            }
            let key = target::contact_claim(&self.binding, self.workspace(), &id);
            preconditions::begin(key, || format!("contact {}", short(&id)));
            let line = match claims::claim_one_of_many(key, self.waits) {
                // What the other comes to is its outcome.
                Ok(Claimed::ByOthers) => {
                    let message = "another session is enriching the contact just now";
                    BatchResult::raised(request_id, sqlstate::LOCK_NOT_AVAILABLE, message, None)
                }
                Err(claims::TooMany) => {
                    let message = claims::TooMany::with_setting();
                    let line = BatchResult::raised(request_id, sqlstate::OUT_OF_MEMORY, &message, None);
                    let row = receipt::person(self.binding.name(), &id);
                    self.outcomes_told.push(outcome::Told::of(&self.binding, row, &id, &line));
                    line
                }
                Ok(state) => {
                    let before = state == Claimed::Before;
                    claimed.push((MemberClaim { position, request_id, key, before }, id));
                    continue;
                }
            };
            preconditions::end(key);
            self.tell(position, line);
        }
        claimed
    }

    /// The positions of rows that policies do not show to the caller: those are not even waited for.
    fn hidden(&self, portion: &[(usize, String)]) -> HashSet<usize> {
        if !self.binding.hides_rows() {
            return HashSet::new();
        }
        let ids: Vec<&str> = portion.iter().map(|(_, id)| id.as_str()).collect();
        let seen = self.binding.seen(self.workspace(), &ids);
        let unseen = portion.iter().zip(seen).filter(|(_, seen)| seen.is_none());
        unseen.map(|((position, _), _)| *position).collect()
    }

    /// For whom a credit was charged, if one was and that is known.
    fn paid_for(&self, position: usize) -> Option<PaidFor> {
        let visit = self.visit.as_ref().filter(|visit| visit.charged)?;
        let text = visit.paid_for.get(position).filter(|text| !text.is_empty())?;
        Some(PaidFor::parse(text))
    }

    /// Whether a credit was charged for it, and it is another question by now to some provider.
    fn is_another(&self, position: usize, steps: &Steps) -> bool {
        let Some(paid_for) = self.paid_for(position) else { return false };
        let (contact, row) = (steps.contact(), self.scope().row(steps.contact()));
        let person = provider::person(contact);
        let mut configs = self.providers.all.iter().filter_map(|(_, provider)| provider.config.as_ref().ok());
        configs.any(|config| !paid_for.covers(config, &row, &person))
    }

    fn member(&self, claim: MemberClaim, steps: Steps) -> Member {
        let contact = steps.contact();
        let queued_at = self.visit.as_ref().and_then(|visit| visit.since.get(claim.position).copied());
        Member {
            claim,
            table: format!("{}\n{}", self.binding.name(), contact.id),
            row: self.scope().row(contact),
            past: Past::default(),
            asking: Vec::new(),
            most_together: None,
            goes_last: false,
            read_at: Instant::now(),
            deadline: None,
            since: queued_at.unwrap_or(self.began_at),
            steps,
        }
    }

    /// The contact has come to its end: tells its line, and lets it go.
    pub fn conclude(&mut self, claim: MemberClaim, steps: Steps) {
        if let Some(checks) = steps.checks() {
            self.checks.push((steps.contact().id.clone(), checks.clone()));
            if self.checks.len() >= PORTION {
                self.note_checks();
            }
        }
        let pending = steps.pending();
        let failed = if pending.is_some() { steps.failed().to_vec() } else { Vec::new() };
        let comes = pending.is_some() && matches!(steps.outcome(), Some(CallOutcome::Enriched { .. }));
        let row = comes.then(|| self.scope().row(steps.contact()));
        let position = row.and_then(|row| steps.position_to_keep(&row));
        let (outcome, contact) = steps.into_outcome();
        let written = matches!(outcome, CallOutcome::Enriched { .. });
        let line = line(&self.binding, claim.request_id, outcome, contact).pending(pending);
        let line = BatchResult { position, failed, ..line };
        if let Some(contact) = &line.contact {
            let row = self.scope().row(contact);
            // Of a contact that a visit before has enriched, no match for the rest is no trouble.
            let goes_on = self.visit.as_ref().is_some_and(|visit| visit.charged);
            let told = match goes_on && line.status == Status::NoMatch {
                true => outcome::Told::well(row),
                false => outcome::Told::of(&self.binding, row, &contact.id, &line),
            };
            self.outcomes_told.push(told);
            if self.outcomes_told.len() >= PORTION {
                self.note_outcomes();
            }
        }
        match line.contact.as_ref().zip(self.row_word(&line)) {
            Some((contact, word)) => self.say(&claim, &contact.id, word),
            None => self.let_go(claim.key, written || claim.before),
        }
        self.tell(claim.position, line);
        if self.unwritten.len() >= PORTION {
            self.write_statuses();
        }
    }

    /// Why contacts were not enriched, for leadlex.last_outcome.
    pub fn note_outcomes(&mut self) {
        let all = std::mem::take(&mut self.outcomes_told);
        outcome::note(self.workspace(), all);
    }

    /// What was found out about values that stay.
    pub fn note_checks(&mut self) {
        let all = std::mem::take(&mut self.checks);
        checks::note(self.workspace(), (&self.binding.schema, &self.binding.table), &all);
    }

    /// What was answered before, for all of them by one statement.
    fn recall_portion(&self, members: &mut [Box<Member>]) {
        let contacts: Vec<Sought<'_>> = members
            .iter()
            .map(|member| (member.steps.contact(), member.row, member.steps.missing()))
            .collect();
        let pasts = provider::pasts(self.workspace(), &self.providers.all, &contacts, &self.crowd);
        shared_values::report(self.workspace(), &self.crowd);
        for (member, past) in members.iter_mut().zip(pasts) {
            member.past = past;
        }
    }

    /// What is known about asking the next provider, for all of them by one statement: what was supplied can make it another
    /// question.
    pub fn look_ahead(&self, members: &mut [Box<Member>]) {
        let stale = members.iter_mut().filter_map(|member| {
            let (_, provider) = self.providers.all.get(member.steps.turn()?)?;
            let (known, missing) = (member.steps.known(), member.steps.missing());
            if matches!(known, Cow::Borrowed(_)) && !provider.asks_for_fields {
                return None;
            }
            let same = member.past.is_of(self.workspace(), provider, (&known, missing));
            let known = known.into_owned();
            (!same).then_some((&mut member.past, known, missing))
        });
        self.renew(stale.collect());
    }

    /// Each with the contact as it is known by now.
    pub fn renew(&self, mut stale: Vec<(&mut Past, Contact, FieldSet)>) {
        if stale.is_empty() {
            return;
        }
        let row = |past: &Past| past.person.row.expect("a contact of a table").hash;
        let rows: Vec<Sought<'_>> =
            stale.iter().map(|(past, contact, missing)| (contact, row(past), *missing)).collect();
        let latest = provider::pasts(self.workspace(), &self.providers.all, &rows, &self.crowd);
        for ((past, contact, _), latest) in stale.iter_mut().zip(latest) {
            past.renew(self.workspace(), latest, contact);
        }
    }
}

/// The line of a contact.
fn line(binding: &Binding, request_id: Uuid, came: CallOutcome, contact: Option<Contact>) -> BatchResult {
    let read = |contact: Option<Contact>| contact.expect("a contact that was read");
    match came {
        CallOutcome::Enriched { updated, origin, .. } => {
            BatchResult::done(request_id, read(contact), updated, Some(origin))
        }
        CallOutcome::Unchanged(origin) => {
            BatchResult::done(request_id, read(contact), FieldSet::EMPTY, origin)
        }
        CallOutcome::Failed(failure) => {
            let failure = match &contact {
                Some(contact) => outcome::explained(failure, contact),
                None => failure,
            };
            BatchResult::failed(request_id, &failure, contact)
        }
        CallOutcome::Raised(Raised { sqlstate, message }) => {
            BatchResult::raised(request_id, &sqlstate, &message, contact)
        }
        CallOutcome::Several(key, count) => {
            let message = format!("{count} rows of {} have the key {key}", binding.name());
            BatchResult::raised(request_id, sqlstate::CARDINALITY_VIOLATION, &message, None)
        }
        CallOutcome::UpdateDenied => {
            let contact = read(contact);
            let message = table::barred_message(&contact.id);
            BatchResult::raised(request_id, sqlstate::INSUFFICIENT_PRIVILEGE, &message, Some(contact))
        }
        CallOutcome::Replayed(_) => unreachable!("a set has no idempotency key"),
    }
}
