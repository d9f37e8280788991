//! The order of the steps of a contact's enrichment (contract, section 1), written once: a state machine without I/O.
//!
//! A driver does what [`Steps::step`] says and hands what came of it to [`Steps::next`]: the single call step by step, a set
//! with one statement for equal steps; the estimate stops at [`Step::Ask`]. Who calls, the permission and the table come before.
//!
//! [`Event::End`] ends the call at any step, and gives back what is reserved by then. Money is reserved at [`Step::Ask`].

mod outcome;
mod request;
mod turns;

use std::borrow::Cow;
use std::rc::Rc;

use crate::answered::Answered;
use crate::call_error::{Failure, NoMatchReason};
use crate::checks::Checks;
use crate::contact::Contact;
use crate::failed_provider::ProviderAttempt;
use crate::fields::FieldSet;
use crate::hash::Hash;
use crate::merge;
use crate::position::Post;
use crate::rate::Window;
use crate::waterfall::{Gathered, Mode, Pending, ProviderOutcome, Waterfall};

pub use outcome::{CallOutcome, Raised, Stored, Written};
pub use request::{Enrichment, Request, Source};

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Only with an idempotency key: see whether the contact is there, holding nothing. Ends in [`Event::Seen`].
    Peek,
    /// Hold the idempotency key, and look up what is kept under it. Ends in [`Event::Kept`].
    ClaimKey,
    /// Hold the contact until the transaction ends. Ends in [`Event::Claimed`].
    Claim,
    /// Read the contact as the caller sees it. Ends in [`Event::Found`].
    Read,
    /// Find out whether the caller may write [`Steps::fields`] of this row. Ends in [`Event::Allowed`].
    Access,
    /// Find the enabled providers. Ends in [`Event::Providers`].
    Providers,
    /// Find out whether [`Steps::whom`] is on the suppression list. Ends in [`Event::Listed`].
    LookUp(Whom),
    /// Use one admission of the workspace's rate limit. Ends in [`Event::Admitted`] or [`Event::RateLimited`].
    UseRate,
    /// Reserve one credit. Ends in [`Event::Reserved`].
    Reserve,
    /// Find out what this provider is known to have, without a request. Ends in [`Event::Recalled`].
    Recall(usize),
    /// Send a request to this provider. Ends in [`Event::Answered`], [`Event::NotAsked`], [`Event::Pending`],
    /// [`Event::Again`] or [`Event::Deferred`].
    Ask(usize),
    /// Wait until the answer of this provider can be recalled. Ends in [`Event::Over`] or [`Event::NotAsked`].
    Await(usize),
    /// The contact's turn comes again later; nothing is reserved for it meanwhile. Ends in [`Event::Resumed`].
    PutOff,
    /// Write what was [`gathered`](Steps::gathered). Ends in [`Event::Written`].
    Write,
    /// Spend the credit: ledger and history, see [`Steps::enrichment`]. Ends in [`Event::Charged`].
    Charge,
    /// Give the reserved credit back. Ends in [`Event::Released`].
    Release,
    /// See [`Steps::into_outcome`].
    Done,
}

/// Who may be on the suppression list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The contact as it is stored.
    Stored,
    /// With all that providers have supplied, before the next of them is asked.
    Found,
    /// The same after the last of them: the profile is another than the stored one.
    Profile,
}

/// What came of a step.
pub enum Event {
    Seen(bool),
    /// What is kept under the idempotency key.
    Kept(Option<Stored>),
    Claimed,
    Found(Row),
    Allowed(bool),
    /// The enabled providers, in the order of their priority.
    Providers(Rc<[Source]>),
    Listed(bool),
    Admitted,
    /// This window is closed; the time of the look, in epoch seconds.
    RateLimited(Window, i64),
    /// `false`: no credit is left.
    Reserved(bool),
    /// `None`: only a request can tell.
    Recalled(Option<ProviderOutcome>),
    Answered(ProviderOutcome),
    /// No request was sent. The outcome has the reason, and the time until which this holds.
    NotAsked(ProviderOutcome),
    /// There is something to wait for: another session that is asking the same, the provider's turn, or an answer that comes
    /// later.
    Pending,
    /// The same has been answered meanwhile.
    Again,
    /// The provider can be asked later, after other contacts.
    Deferred,
    Over,
    Resumed,
    /// `None`: the contact is gone.
    Written(Option<Box<Written>>),
    Charged,
    Released,
    /// The call ends here, at any step.
    End(CallOutcome),
}

/// What a key stands for.
pub enum Row {
    Missing,
    One(Box<Contact>),
    /// The column bound as id is not unique: so many rows have the key.
    Several(usize),
}

/// Where one contact stands.
pub struct Steps {
    request: Request,
    /// The contact's key, for messages.
    id: String,
    /// Of this call under its idempotency key; of the same call as earlier versions had it.
    fingerprints: Vec<[u8; 32]>,
    step: Step,
    /// The provider whose turn it is.
    turn: usize,
    /// Those that have had their turn, in [`Mode::Cheapest`].
    over: Vec<usize>,
    /// Those that have said something of the contact, or failed at it.
    heard: Vec<usize>,
    providers: Rc<[Source]>,
    contact: Option<Contact>,
    fields: FieldSet,
    /// Not to be replaced, whatever is asked.
    kept: FieldSet,
    waterfall: Waterfall,
    admitted: bool,
    reserved: bool,
    gathered: Option<Box<Gathered>>,
    pending: Option<Pending>,
    failed: Vec<ProviderAttempt>,
    written: Option<Box<Written>>,
    updated: FieldSet,
    /// When providers answered last.
    answered: Option<Answered>,
    checks: Option<Checks>,
    outcome: Option<CallOutcome>,
    /// The hash of the contact's row, and the position that an earlier part of the call kept.
    kept_position: Option<(Hash, String)>,
    /// The position of what was written.
    post: Option<Post>,
}

impl Steps {
    /// A contact that nothing has been done about. `id`: its key, for messages.
    pub fn new(request: Request, id: &str) -> Steps {
        Steps {
            request,
            id: id.to_owned(),
            fingerprints: Vec::new(),
            step: Step::Claim,
            turn: 0,
            over: Vec::new(),
            heard: Vec::new(),
            providers: Rc::default(),
            contact: None,
            fields: FieldSet::EMPTY,
            kept: FieldSet::EMPTY,
            waterfall: Waterfall::new(request.mode, request.min_confidence, FieldSet::EMPTY),
            admitted: false,
            reserved: false,
            gathered: None,
            pending: None,
            failed: Vec::new(),
            written: None,
            updated: FieldSet::EMPTY,
            answered: None,
            checks: None,
            outcome: None,
            kept_position: None,
            post: None,
        }
    }

    /// With an idempotency key. `fingerprints`: what makes two calls under one key the same, one of them.
    #[must_use]
    pub fn keyed(self, fingerprints: Vec<[u8; 32]>) -> Steps {
        Steps { step: Step::Peek, fingerprints, ..self }
    }

    /// What stands in these fields stays: to be said before the end of [`Step::Read`].
    pub fn keep(&mut self, fields: FieldSet) {
        self.kept = fields;
    }

    /// It goes on with what an earlier call began, which kept this of the position, see [`Post::to_keep`]: to be said before the end
    /// of [`Step::Read`]. `row`: the hash of the contact's row.
    pub fn go_on_with(&mut self, row: Hash, position: &str) {
        self.kept_position = Some((row, position.to_owned()));
    }

    /// What is to be kept of the position for what comes later, see [`Post::to_keep`]. `None`: nothing of one was written.
    pub fn position_to_keep(&self, row: &Hash) -> Option<String> {
        self.post.as_ref()?.to_keep(row)
    }

    /// It goes on with what an earlier call began, which used an admission of the rate limit.
    #[must_use]
    pub fn admitted(self) -> Steps {
        Steps { admitted: true, ..self }
    }

    pub fn step(&self) -> Step {
        self.step
    }

    /// The contact as it was read. Panics before [`Step::Read`] is over.
    pub fn contact(&self) -> &Contact {
        self.contact.as_ref().expect("the contact is read first")
    }

    /// The contact as the table has it by now. Panics before [`Step::Read`] is over.
    pub fn latest(&self) -> &Contact {
        self.written.as_ref().map_or_else(|| self.contact(), |written| &written.after)
    }

    /// The fields that may be filled.
    pub fn fields(&self) -> FieldSet {
        self.fields
    }

    /// The contact as the provider whose turn it is would be asked about it.
    pub fn known(&self) -> Cow<'_, Contact> {
        self.waterfall.with_found(self.contact(), self.request.overwrite)
    }

    /// Whom [`Step::LookUp`] is about.
    pub fn whom(&self) -> Cow<'_, Contact> {
        self.waterfall.with_all_found(self.contact(), self.request.overwrite)
    }

    /// Fields that no provider has supplied yet, and that others can.
    pub fn missing(&self) -> FieldSet {
        self.waterfall.missing()
    }

    /// Whether no provider has been asked yet.
    pub fn is_new(&self) -> bool {
        self.waterfall.is_new()
    }

    /// The provider that is asked next, if one is.
    pub fn turn(&self) -> Option<usize> {
        match self.step {
            Step::LookUp(Whom::Found) | Step::Recall(_) | Step::Ask(_) | Step::Await(_) => Some(self.turn),
            _ => None,
        }
    }

    /// What the providers have supplied. Panics before [`Step::Write`].
    pub fn gathered(&self) -> &Gathered {
        self.gathered.as_deref().expect("gathered before it is written")
    }

    /// What was written. Panics before [`Step::Charge`].
    pub fn enrichment(&self) -> Enrichment<'_> {
        let (gathered, written) =
            (self.gathered(), self.written.as_ref().expect("written before it is charged"));
        Enrichment {
            updated: self.updated,
            origin: &gathered.origin,
            origins: &gathered.origins,
            offered: &gathered.values,
            before: &written.before,
            after: &written.after,
        }
    }

    /// What was found out about values that stay, at [`Step::Done`].
    pub fn checks(&self) -> Option<&Checks> {
        self.checks.as_ref()
    }

    /// What became of the contact, at [`Step::Done`].
    pub fn outcome(&self) -> Option<&CallOutcome> {
        self.outcome.as_ref()
    }

    /// The same, with the contact as the table has it by now, if it has. Panics before [`Step::Done`].
    pub fn into_outcome(self) -> (CallOutcome, Option<Contact>) {
        let contact = self.written.map(|written| written.after).or(self.contact);
        (self.outcome.expect("told at the last step"), contact)
    }

    /// Takes what came of the present step, and says what is next. Panics where an event does not belong to the step.
    pub fn next(&mut self, event: Event) -> Step {
        self.step = self.follow(event);
        self.step
    }

    fn follow(&mut self, event: Event) -> Step {
        match (self.step, event) {
            (Step::Done, _) => unreachable!("nothing comes after the end"),
            (_, Event::End(outcome)) => self.end(outcome),
            (Step::Peek, Event::Seen(true)) => Step::ClaimKey,
            (Step::Peek, Event::Seen(false)) => self.gone(),
            (Step::ClaimKey, Event::Kept(None)) => Step::Claim,
            (Step::ClaimKey, Event::Kept(Some(stored))) => self.replay(stored),
            (Step::Claim, Event::Claimed) => Step::Read,
            (Step::Read, Event::Found(row)) => self.read(row),
            (Step::Access, Event::Allowed(true)) => Step::Providers,
            (Step::Access, Event::Allowed(false)) => self.end(CallOutcome::UpdateDenied),
            (Step::Providers, Event::Providers(sources)) => {
                self.providers = sources;
                Step::LookUp(Whom::Stored)
            }
            // A set looks again when it is the contact's turn.
            (Step::LookUp(_) | Step::UseRate, Event::Listed(true)) => {
                self.fail(Failure::no_match(NoMatchReason::Suppressed))
            }
            (Step::LookUp(whom), Event::Listed(false)) => match whom {
                Whom::Stored if self.admitted => Step::Reserve,
                Whom::Stored => Step::UseRate,
                Whom::Found => Step::Recall(self.turn),
                Whom::Profile => self.gather(),
            },
            (Step::UseRate, Event::Admitted) => {
                self.admitted = true;
                Step::Reserve
            }
            (Step::UseRate, Event::RateLimited(window, now)) => self.fail(Failure::rate_limited(window, now)),
            (Step::Reserve, Event::Reserved(false)) => self.fail(Failure::insufficient_credits()),
            (Step::Reserve, Event::Reserved(true)) => {
                self.reserved = true;
                self.take_turn()
            }
            (step, event) => self.asked(step, event),
        }
    }

    /// From [`Step::Recall`] on.
    fn asked(&mut self, step: Step, event: Event) -> Step {
        match (step, event) {
            (Step::Recall(at), Event::Recalled(None)) => Step::Ask(at),
            (Step::Recall(_), Event::Recalled(Some(outcome)))
            | (Step::Ask(_), Event::Answered(outcome))
            | (Step::Ask(_) | Step::Await(_), Event::NotAsked(outcome)) => self.absorb(outcome),
            (Step::Ask(at), Event::Pending) => Step::Await(at),
            // Somebody may have been put on the list meanwhile.
            (Step::Ask(_), Event::Again) | (Step::Await(_), Event::Over) => self.take_turn(),
            (Step::Ask(_), Event::Deferred) => self.release(Step::PutOff),
            (Step::PutOff, Event::Resumed) => match self.admitted {
                true => Step::Reserve,
                false => Step::UseRate,
            },
            (Step::Write, Event::Written(None)) => self.gone(),
            (Step::Write, Event::Written(Some(written))) => self.written(written),
            (Step::Charge, Event::Charged) => {
                self.reserved = false;
                let Gathered { origin, origins, post, .. } =
                    *self.gathered.take().expect("gathered before it is charged");
                self.post = Some(post);
                self.outcome =
                    Some(CallOutcome::Enriched { updated: self.updated, origin, origins: Box::new(origins) });
                Step::Done
            }
            (Step::Release, Event::Released) => {
                self.reserved = false;
                if self.outcome.is_some() { Step::Done } else { Step::PutOff }
            }
            (step, _) => unreachable!("an event that does not belong to {step:?}"),
        }
    }

    /// Ends the call; what is reserved is given back first.
    fn end(&mut self, outcome: CallOutcome) -> Step {
        self.outcome = Some(outcome);
        self.release(Step::Done)
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.end(CallOutcome::Failed(failure))
    }

    fn release(&self, then: Step) -> Step {
        if self.reserved { Step::Release } else { then }
    }

    fn gone(&mut self) -> Step {
        self.contact = None;
        self.fail(Failure::not_found(&format!("contact {}", self.id)))
    }

    fn replay(&mut self, stored: Stored) -> Step {
        match self.fingerprints.iter().any(|fingerprint| stored.fingerprint == fingerprint) {
            true => self.end(CallOutcome::Replayed(stored.result)),
            false => self.fail(Failure::idempotency_mismatch()),
        }
    }

    fn read(&mut self, row: Row) -> Step {
        let contact = match row {
            Row::Missing => return self.gone(),
            Row::Several(count) => return self.end(CallOutcome::Several(self.id.clone(), count)),
            Row::One(contact) => *contact,
        };
        let Request { fields, mapped, overwrite, .. } = self.request;
        self.fields = merge::fillable(&contact, fields, mapped, overwrite).minus(self.kept);
        let mut post = Post::new(self.request.position, &contact);
        if let Some((row, kept)) = &self.kept_position {
            post = post.going_on(row, Some(kept));
        }
        self.contact = Some(contact);
        if self.fields.is_empty() {
            return self.end(CallOutcome::Unchanged(None));
        }
        let Request { mode, min_confidence, .. } = self.request;
        self.waterfall = Waterfall::new(mode, min_confidence, self.fields).beside(post);
        Step::Access
    }

    /// The next provider, if one is to be asked.
    fn take_turn(&mut self) -> Step {
        if !self.waterfall.finished() && self.find_turn() {
            return Step::LookUp(Whom::Found);
        }
        match self.waterfall.has_found_profile(self.contact(), self.request.overwrite) {
            true => Step::LookUp(Whom::Profile),
            false => self.gather(),
        }
    }

    fn absorb(&mut self, outcome: ProviderOutcome) -> Step {
        if outcome.is_of_contact() {
            self.heard.push(self.turn);
        }
        let Source { name, min_confidence, .. } = &self.providers[self.turn];
        self.waterfall.absorb_above(name, outcome, *min_confidence);
        match self.request.mode {
            Mode::Cheapest => self.over.push(self.turn),
            _ => self.turn += 1,
        }
        self.take_turn()
    }

    fn gather(&mut self) -> Step {
        let Request { mode, min_confidence, .. } = self.request;
        (self.pending, self.failed) = (self.waterfall.pending(), self.waterfall.failed());
        self.answered = self.waterfall.answered();
        let empty = Waterfall::new(mode, min_confidence, FieldSet::EMPTY);
        match std::mem::replace(&mut self.waterfall, empty).result() {
            Ok(gathered) => {
                self.gathered = Some(Box::new(gathered));
                Step::Write
            }
            Err(failure) => {
                // Of a person who is on the list, and where a provider has failed, nothing was found out.
                let nothing =
                    failure.no_match_reason().is_some_and(|(why, _)| why != NoMatchReason::Suppressed);
                if let (Some(answered), Some(contact), true) = (self.answered, &self.contact, nothing) {
                    self.checks = Checks::of(contact, self.fields, None, answered);
                }
                self.fail(failure)
            }
        }
    }

    fn written(&mut self, written: Box<Written>) -> Step {
        let gathered = self.gathered.as_ref().expect("gathered before it is written");
        self.updated = merge::updated(&written.before, &written.after, gathered.values.fields());
        if let Some(answered) = self.answered {
            let offered = Some((&gathered.values, &gathered.origins));
            let asked = self.fields.minus(self.updated);
            self.checks = Checks::of(&written.before, asked, offered, answered);
        }
        let unused = if self.updated.is_empty() { written.unused(gathered) } else { None };
        let origin = gathered.origin.clone();
        self.written = Some(written);
        match unused {
            Some(unused) => self.fail(unused),
            None if self.updated.is_empty() => self.end(CallOutcome::Unchanged(Some(origin))),
            None => Step::Charge,
        }
    }
}

#[cfg(test)]
mod tests;
