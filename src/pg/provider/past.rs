//! What a call could ask, and what was answered to that before.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::domain::contact::Contact;
use crate::domain::person::Person;
use crate::domain::provider::Config;
use crate::domain::question::{Parties, Questions};
use crate::domain::receipt::{Content, Filed, Hash, Receipt};
use crate::domain::suppression;
use crate::pg::shared_values::{self, Crowd};
use crate::pg::store::config::LoadedProvider;
use crate::pg::{cache, receipts, settings, store};

/// By provider, and by question.
#[derive(Default)]
pub struct Past {
    pub person: Person,
    /// What this person may be listed under, once it was needed.
    listed: OnceCell<Vec<Hash>>,
    pub questions: HashMap<Uuid, Questions>,
    pub receipts: HashMap<Hash, Receipt>,
    /// A provider has just refused to tell anything about this person, and the books do not say so yet.
    pub refused: bool,
}

/// What this provider would be asked about a contact; `None` where it cannot be identified.
pub fn questions(
    workspace: Uuid,
    provider: &LoadedProvider,
    config: &Config,
    person: &Person,
    contact: &Contact,
) -> Option<Questions> {
    Questions::of(parties(workspace, provider), config, person, contact)
}

/// The person that a contact is, by the settings of this session.
pub fn person(contact: &Contact) -> Person {
    Person::of(contact, settings::rules(), &settings::role_mailboxes())
}

fn parties(workspace: Uuid, provider: &LoadedProvider) -> Parties<'_> {
    Parties { workspace, provider: provider.id, description: &provider.fingerprint }
}

/// What these providers could be asked about each contact, and what was answered before. What waits for the worker is
/// looked at first: what is gone from there is in the books by then. A contact comes with the hash of its row. `crowd`: what
/// those of one set have in common.
pub fn pasts(
    workspace: Uuid,
    providers: &[(String, Rc<LoadedProvider>)],
    contacts: &[(&Contact, Hash)],
    crowd: &Crowd,
) -> Vec<Past> {
    let asked = |person: &Person, contact: &Contact| -> HashMap<Uuid, Questions> {
        let by_provider = providers.iter().filter_map(|(_, provider)| {
            let config = provider.config.as_ref().ok()?;
            Some((provider.id, questions(workspace, provider, config, person, contact)?))
        });
        by_provider.collect()
    };
    let mut people: Vec<Person> =
        contacts.iter().map(|(contact, row)| person(contact).in_row(*row)).collect();
    if people.len() > 1 {
        shared_values::meet(workspace, &people, crowd);
    }
    shared_values::mark(workspace, &mut people, crowd);
    let past = |(person, (contact, _)): (Person, &(&Contact, Hash))| Past {
        questions: asked(&person, contact),
        person,
        ..Past::default()
    };
    let mut pasts: Vec<Past> = people.into_iter().zip(contacts).map(past).collect();
    pasts.iter_mut().for_each(Past::recall_waiting);
    if settings::receipt_terms().off() {
        return pasts;
    }
    let hashes: Vec<Hash> = pasts.iter().flat_map(Past::everywhere).collect();
    if hashes.is_empty() {
        return pasts;
    }
    let recalled: HashMap<Hash, Receipt> = store::receipts::recall(workspace, &hashes).into_iter().collect();
    for past in pasts.iter_mut().filter(|_| !recalled.is_empty()) {
        for hash in past.everywhere().collect::<Vec<_>>() {
            if let Some(receipt) = recalled.get(&hash) {
                past.receipts.entry(hash).or_insert_with(|| receipt.clone());
            }
        }
    }
    pasts
}

impl Past {
    /// What this person may be listed under, see [`suppression`].
    pub fn listed(&self, contact: &Contact) -> Vec<Hash> {
        self.listed.get_or_init(|| suppression::of_person(&self.person, contact)).clone()
    }

    /// Under which answers may be found.
    fn everywhere(&self) -> impl Iterator<Item = Hash> + '_ {
        self.questions.values().flat_map(Questions::everywhere)
    }

    /// Of all questions that could be asked.
    pub fn hashes(&self) -> impl Iterator<Item = Hash> + '_ {
        self.questions.values().flat_map(|questions| questions.hashes.iter().copied())
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
        for hash in self.hashes().collect::<Vec<_>>() {
            let waiting = receipts::with(|arena| arena.find(&receipt_key(hash)));
            match waiting.and_then(|bytes| Filed::from_bytes(&bytes)).map(|filed| filed.content) {
                Some(Content::Receipt(receipt)) => {
                    self.receipts.insert(hash, receipt);
                }
                Some(Content::Refusal(_)) => self.refused = true,
                Some(Content::Nothing) | None => {}
            }
        }
    }
}

pub fn receipt_key(question: Hash) -> receipts::Key {
    // SAFETY: a global set when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    receipts::Key { database, catalog: cache::installation().catalog, question }
}
