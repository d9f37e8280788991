//! What a call could ask, and what was answered to that before.

use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::domain::contact::Contact;
use crate::domain::fields::FieldSet;
use crate::domain::provider::Config;
use crate::domain::receipt::{self, Content, Filed, Hash, Parties, Questions, Receipt, Terms};
use crate::pg::store::config::LoadedProvider;
use crate::pg::{cache, receipts, settings, store};

/// By provider, and by question.
#[derive(Default)]
pub struct Past {
    pub questions: HashMap<Uuid, Questions>,
    pub receipts: HashMap<Hash, Receipt>,
    /// Whose contact's table may have refused what was answered before: those receipts are here, too.
    person: Hash,
    /// A provider has just refused to tell anything about this person, and the books do not say so yet.
    pub refused: bool,
}

/// What this provider would be asked about a contact; `None` where it cannot be identified.
pub fn questions(
    workspace: Uuid,
    provider: &LoadedProvider,
    config: &Config,
    contact: &Contact,
) -> Option<Questions> {
    Questions::of(parties(workspace, provider), config, contact)
}

pub fn parties(workspace: Uuid, provider: &LoadedProvider) -> Parties<'_> {
    Parties { workspace, provider: provider.id, description: &provider.fingerprint }
}

/// What these providers could be asked about each contact (with [`receipt::person`]), what was answered before, and what
/// of it the contact's table refused. What waits for the worker is
/// looked at first: what is gone from there is in the books by then.
pub fn pasts(
    workspace: Uuid,
    providers: &[(String, Rc<LoadedProvider>)],
    contacts: &[(&Contact, Hash)],
) -> Vec<Past> {
    let asked = |contact: &Contact| -> HashMap<Uuid, Questions> {
        let by_provider = providers.iter().filter_map(|(_, provider)| {
            let config = provider.config.as_ref().ok()?;
            Some((provider.id, questions(workspace, provider, config, contact)?))
        });
        by_provider.collect()
    };
    let begin = |(contact, person): &(&Contact, Hash)| Past {
        questions: asked(contact),
        person: *person,
        ..Past::default()
    };
    let mut pasts: Vec<Past> = contacts.iter().map(begin).collect();
    pasts.iter_mut().for_each(Past::recall_waiting);
    if settings::receipt_terms().off() {
        return pasts;
    }
    let hashes: Vec<Hash> = pasts.iter().flat_map(Past::kept_under).collect();
    if hashes.is_empty() {
        return pasts;
    }
    let recalled: HashMap<Hash, Receipt> = store::receipts::recall(workspace, &hashes).into_iter().collect();
    for past in pasts.iter_mut().filter(|_| !recalled.is_empty()) {
        for hash in past.kept_under() {
            if let Some(receipt) = recalled.get(&hash) {
                past.receipts.entry(hash).or_insert_with(|| receipt.clone());
            }
        }
    }
    pasts
}

impl Past {
    /// Under which something can be remembered: each question that could be asked, and what came of it in this contact's
    /// table.
    fn kept_under(&self) -> Vec<Hash> {
        let questions = self.questions.values().flat_map(|questions| &questions.hashes);
        questions.flat_map(|question| [*question, receipt::rejection(*question, self.person)]).collect()
    }

    pub fn person(&self) -> Hash {
        self.person
    }

    /// What the contact's table refused of the answer to this question.
    pub fn rejection(&self, question: Hash) -> Option<&Receipt> {
        self.receipts.get(&receipt::rejection(question, self.person))
    }

    /// The fields for which this provider need not be asked again, since the contact's table refused what it has.
    pub fn rejected(&self, questions: &Questions, terms: Terms, now: i64) -> FieldSet {
        let known = questions.hashes.iter().filter_map(|question| self.rejection(*question));
        known.fold(FieldSet::EMPTY, |fields, rejection| fields.union(rejection.rejected(terms, now)))
    }

    /// What a provider is asked now: whoever has that in common is the same to it.
    pub fn asked_of(&self, provider: Uuid) -> Option<Hash> {
        self.questions.get(&provider)?.hashes.first().copied()
    }

    /// The same of all providers.
    pub fn asked(&self) -> impl Iterator<Item = Hash> + '_ {
        self.questions.keys().filter_map(|provider| self.asked_of(*provider))
    }

    fn recall_waiting(&mut self) {
        for hash in self.kept_under() {
            let waiting = receipts::with(|arena| arena.find(&receipt_key(hash)));
            match waiting.and_then(|bytes| Filed::from_bytes(&bytes)).map(|filed| filed.content) {
                Some(Content::Receipt(receipt) | Content::Rejection(receipt)) => {
                    self.receipts.insert(hash, receipt);
                }
                Some(Content::Refusal(_)) => self.refused = true,
                None => {}
            }
        }
    }
}

pub fn receipt_key(question: Hash) -> receipts::Key {
    // SAFETY: a global set when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    receipts::Key { database, catalog: cache::installation().catalog, question }
}
