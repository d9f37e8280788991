//! Contacts of a batch: which ones there are, and steps 5 to 7 for a portion of them.

use leadlex_domain::sqlstate;
use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

use uuid::Uuid;

use crate::pg::call::batch::lookup::{Eligibility, Keys};
use crate::pg::call::batch::{Batch, PORTION};
use crate::pg::call::{preconditions, single};
use crate::pg::provider;
use crate::pg::provider::{Flight, Past};
use crate::pg::provider::{health, shared_values};
use crate::pg::shared::claims;
use crate::pg::shared::claims::Claimed;
use crate::pg::shared::layout::ClaimKey;
use crate::pg::sys::raise::{Refusal, refuse};
use crate::pg::sys::spi;
use crate::pg::table;
use crate::pg::table::Found;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::contact::Contact;
use leadlex_domain::failure::{Failure, NoMatchReason, short};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::position::Post;
use leadlex_domain::receipt;
use leadlex_domain::waterfall::{Gathered, Mode, Waterfall};

/// What the providers had for one contact, or why the contact fails.
pub type Gathering = Result<Gathered, Failure>;

/// A contact that providers are asked about.
pub struct Member {
    pub position: usize,
    pub request_id: Uuid,
    pub claim: ClaimKey,
    /// This transaction had it before: it is not given up with this call.
    pub claimed_before: bool,
    pub contact: Contact,
    /// The fields that may be filled.
    pub fields: FieldSet,
    pub table: String,
    pub person: Hash,
    pub past: Past,
    /// Questions that nobody else of the set is asked about meanwhile.
    pub asking: Vec<Hash>,
    pub waterfall: Waterfall,
    pub next_provider: usize,
    /// By the rate limit.
    pub admitted: bool,
    /// It failed before, and all others have had their turn.
    pub goes_last: bool,
    pub deadline: Option<Instant>,
}

/// A contact about which a request is on its way.
pub struct Flying {
    pub flight: Box<Flight>,
    pub member: Member,
}

/// A contact that no provider is asked about any more, with what came of it.
pub struct Finished {
    pub member: Member,
    pub result: Gathering,
    pub credited: bool,
}

/// An empty waterfall, for a contact that no provider is asked about.
pub fn no_waterfall() -> Waterfall {
    Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::EMPTY)
}

impl Batch<'_> {
    /// Looks at the whole input once: what can be no key has its line, the others stand in `ahead`, each once.
    pub fn meet(&mut self, ids: Vec<Option<String>>) {
        let Keys { known, bad } = self.scope().keys(ids);
        for (position, id) in known {
            if self.order.meet(&id, position) {
                self.ahead.push_back((position, id));
            }
        }
        for (position, failure) in bad {
            self.tell(position, BatchResult::failed(Uuid::now_v7(), &failure, None));
        }
    }

    /// Claims and reads the next portion. What needs no provider has its line.
    pub fn prepare(&mut self) {
        let count = self.ahead.len().min(PORTION);
        let portion: Vec<(usize, String)> = self.ahead.drain(..count).collect();
        let elsewhere = self.scope().is_elsewhere();
        let hidden = if elsewhere { HashSet::new() } else { self.hidden(&portion) };
        let mut claimed: Vec<(usize, String, ClaimKey, bool)> = Vec::with_capacity(count);
        for (position, id) in portion {
            if elsewhere || hidden.contains(&position) {
                self.tell(position, not_found(&id));
                continue;
            }
            let key = single::contact_claim(&self.binding, self.workspace(), &id);
            preconditions::begin(key, &format!("contact {}", short(&id)));
            match claims::try_claim(key, self.waits) {
                Ok(Claimed::ByOthers) => {
                    preconditions::end(key);
                    let message = "somebody else is enriching the contact just now";
                    self.tell(
                        position,
                        BatchResult::raised(Uuid::now_v7(), sqlstate::LOCK_NOT_AVAILABLE, message, None),
                    );
                }
                Ok(claim) => claimed.push((position, id, key, claim == Claimed::Before)),
                Err(claims::TooMany) => {
                    preconditions::end(key);
                    let message = claims::TooMany::MESSAGE;
                    self.tell(
                        position,
                        BatchResult::raised(Uuid::now_v7(), sqlstate::OUT_OF_MEMORY, message, None),
                    );
                }
            }
        }
        let keys: Vec<&str> = claimed.iter().map(|(_, id, ..)| id.as_str()).collect();
        let found = self.binding.read_many(self.workspace(), &keys);
        let barred = self.binding.barred(self.workspace(), &keys);
        let mut members = Vec::with_capacity(claimed.len());
        for (((position, id, claim, claimed_before), found), barred) in
            claimed.into_iter().zip(found).zip(barred)
        {
            match self.look_at(&id, found, barred) {
                Ok((contact, fields)) => {
                    members.push(self.member(position, claim, claimed_before, contact, fields))
                }
                Err(line) => {
                    self.let_go(&[(claim, claimed_before)]);
                    self.tell(position, *line);
                }
            }
        }
        self.recall(&mut members);
        // The first that is asked about may be the one that tries a provider: not always the same.
        if !members.is_empty() && self.providers.iter().any(|(_, provider)| health::is_paused(provider.id)) {
            let jitter = Uuid::new_v4().as_fields().0 as usize;
            let count = members.len();
            members.rotate_left(jitter % count);
        }
        self.queue.extend(members);
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

    /// Raises 55000 where there is none. As in a single call, a contact that needs none has its line without.
    fn require_providers(&mut self) {
        if self.providers.is_empty() {
            self.providers = provider::for_workspace(self.workspace());
        }
    }

    /// Steps 5 to 7 for one contact: the fields to be filled, or its line.
    fn look_at(
        &mut self,
        id: &str,
        found: Found,
        barred: bool,
    ) -> Result<(Contact, FieldSet), Box<BatchResult>> {
        if spi::lasting_snapshot()
            && matches!(found, Found::One(_))
            && !self.binding.is_current(self.workspace(), id)
        {
            refuse(Refusal {
                sqlstate: sqlstate::SERIALIZATION_FAILURE,
                message: "could not serialize access due to concurrent update".into(),
                detail: Some(format!("Contact {id} has changed since this transaction began.")),
                hint: Some("The transaction might succeed if retried.".into()),
            });
        }
        let seen = self.scope().look(found);
        if seen.needs_providers() && !barred {
            self.require_providers();
        }
        match seen {
            Eligibility::Missing => Err(Box::new(not_found(id))),
            Eligibility::Several(count) => {
                let message = format!("{count} rows of {} have the key {id}", self.binding.name());
                Err(Box::new(BatchResult::raised(
                    Uuid::now_v7(),
                    sqlstate::CARDINALITY_VIOLATION,
                    &message,
                    None,
                )))
            }
            Eligibility::Full(contact) => {
                Err(Box::new(BatchResult::done(Uuid::now_v7(), contact, FieldSet::EMPTY, None)))
            }
            Eligibility::Suppressed(contact) => {
                let failure = Failure::no_match(NoMatchReason::Suppressed);
                Err(Box::new(BatchResult::failed(Uuid::now_v7(), &failure, Some(contact))))
            }
            Eligibility::Fillable(contact, _) if barred => {
                let message = table::barred_message(id);
                Err(Box::new(BatchResult::raised(
                    Uuid::now_v7(),
                    sqlstate::INSUFFICIENT_PRIVILEGE,
                    &message,
                    Some(contact),
                )))
            }
            Eligibility::Fillable(contact, fields) => Ok((contact, fields)),
        }
    }

    fn member(
        &self,
        position: usize,
        claim: ClaimKey,
        claimed_before: bool,
        contact: Contact,
        fields: FieldSet,
    ) -> Member {
        let (mode, min_confidence) = self.waterfall;
        let name = self.binding.name();
        Member {
            position,
            request_id: Uuid::now_v7(),
            claim,
            claimed_before,
            table: format!("{name}\n{}", contact.id),
            person: receipt::person(self.workspace(), name, &contact.id),
            past: Past::default(),
            asking: Vec::new(),
            waterfall: Waterfall::new(mode, min_confidence, fields)
                .beside(Post::new(self.position, &contact)),
            next_provider: 0,
            admitted: false,
            goes_last: false,
            deadline: None,
            contact,
            fields,
        }
    }

    /// What was answered before, for all of them by one statement.
    fn recall(&self, members: &mut [Member]) {
        let contacts: Vec<(&Contact, Hash)> =
            members.iter().map(|member| (&member.contact, member.person)).collect();
        let pasts = provider::pasts(self.workspace(), &self.providers, &contacts, &self.crowd);
        shared_values::report(self.workspace(), &self.crowd);
        for (member, past) in members.iter_mut().zip(pasts) {
            member.past = past;
        }
    }

    /// What is known about asking the next provider, for all of them by one statement: what was supplied can make it another
    /// question.
    pub fn look_ahead(&self, members: &mut [Member]) {
        let overwrite = self.request.overwrite;
        let stale = members.iter_mut().filter_map(|member| {
            let (_, provider) = self.providers.get(member.next_provider)?;
            let known = member.waterfall.with_found(&member.contact, overwrite);
            let Cow::Owned(known) = known else { return None };
            let done = member.waterfall.finished() || member.past.is_of(self.workspace(), provider, &known);
            (!done).then_some((&mut member.past, known))
        });
        self.renew(stale.collect());
    }

    /// Each with the contact as it is known by now.
    pub fn renew(&self, mut stale: Vec<(&mut Past, Contact)>) {
        if stale.is_empty() {
            return;
        }
        let row = |past: &Past| past.person.row.expect("a contact of a table");
        let rows: Vec<(&Contact, Hash)> = stale.iter().map(|(past, contact)| (contact, row(past))).collect();
        let latest = provider::pasts(self.workspace(), &self.providers, &rows, &self.crowd);
        for ((past, contact), latest) in stale.iter_mut().zip(latest) {
            past.renew(self.workspace(), latest, contact);
        }
    }
}

fn not_found(id: &str) -> BatchResult {
    BatchResult::failed(Uuid::now_v7(), &Failure::not_found(&format!("contact {id}")), None)
}
