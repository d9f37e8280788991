//! What a call could ask, and what was answered to that before.

use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::domain::contact::Contact;
use crate::domain::provider::Config;
use crate::domain::receipt::{Content, Filed, Hash, Parties, Questions, Receipt};
use crate::pg::store::config::LoadedProvider;
use crate::pg::{cache, receipts, settings, store};

/// By provider, and by question.
#[derive(Default)]
pub struct Past {
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
    contact: &Contact,
) -> Option<Questions> {
    let parties = Parties { workspace, provider: provider.id, description: &provider.fingerprint };
    Questions::of(parties, config, contact)
}

/// What these providers could be asked, and what was answered before. What waits for the worker is looked at first: what
/// is gone from there is in the books by then.
pub fn past(workspace: Uuid, providers: &[(String, Rc<LoadedProvider>)], contact: &Contact) -> Past {
    let asked = |(_, provider): &(String, Rc<LoadedProvider>)| {
        Some((provider.id, questions(workspace, provider, provider.config.as_ref().ok()?, contact)?))
    };
    let mut past = Past { questions: providers.iter().filter_map(asked).collect(), ..Past::default() };
    let hashes: Vec<Hash> = past.questions.values().flat_map(|q| q.hashes.iter().copied()).collect();
    for hash in &hashes {
        let waiting = receipts::with(|arena| arena.find(&receipt_key(*hash)));
        match waiting.and_then(|bytes| Filed::from_bytes(&bytes)).map(|filed| filed.content) {
            Some(Content::Receipt(receipt)) => {
                past.receipts.insert(*hash, receipt);
            }
            Some(Content::Refusal(_)) => past.refused = true,
            None => {}
        }
    }
    if hashes.is_empty() || settings::receipt_terms().off() {
        return past;
    }
    for (hash, receipt) in store::receipts::recall(workspace, &hashes) {
        past.receipts.entry(hash).or_insert(receipt);
    }
    past
}

pub fn receipt_key(question: Hash) -> receipts::Key {
    // SAFETY: a global set when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    receipts::Key { database, catalog: cache::installation().catalog, question }
}
