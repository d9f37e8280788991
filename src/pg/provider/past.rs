//! What a call could ask, and what was answered to that before.

use crate::pg::installation;
use crate::pg::sys::clock;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::provider::shared_values;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::shared::receipts;
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::Before;
use crate::pg::store;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::settings;
use leadlex_domain::contact::Contact;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::person::Person;
use leadlex_domain::provider::Config;
use leadlex_domain::question::{Parties, Questions};
use leadlex_domain::receipt;
use leadlex_domain::receipt::{Content, Filed, Receipt, Terms};
use leadlex_domain::suppression;
use leadlex_domain::ticket::Ticket;
use leadlex_domain::undone::Undone;

/// By provider, and by question.
#[derive(Clone, Default)]
pub struct Past {
    pub person: Person,
    /// What the contacts of one set have in common.
    pub crowd: Crowd,
    /// What this person may be listed under, once it was needed.
    listed: OnceCell<Vec<Hash>>,
    /// Whether there could be answers in the former form when the questions were made.
    former: bool,
    pub questions: HashMap<Uuid, Questions>,
    /// With what the contact's table refused of the answers.
    pub receipts: HashMap<Hash, Receipt>,
    /// What of the contact's values was taken back.
    pub undone: Vec<Undone>,
    /// Of providers that take several requests: what is handed in.
    handed_in: HashMap<Uuid, Questions>,
    /// What is under way.
    tickets: HashMap<Hash, Ticket>,
    /// The same, where there was no room to keep it.
    unkept: HashMap<Hash, Ticket>,
    /// Providers that took the login's values for no longer good: they were asked for anew.
    denied: HashSet<Uuid>,
    /// Questions that were settled just now, which the tables need not say.
    settled: HashSet<Hash>,
    /// A provider has just refused to tell anything about this person, and the tables do not say so yet.
    pub refused: bool,
    /// [`single_flight::sequence`] before the receipts were read.
    pub read_at: u64,
    /// The question that somebody else was asking.
    waited: Option<Waited>,
    /// What each provider was asked when it was its turn. What others supply later can make it another question.
    put: HashMap<Uuid, Put>,
}

/// See [`Questions`].
#[derive(Clone)]
pub struct Put {
    pub hashes: Vec<Hash>,
    pub known: Hash,
}

#[derive(Clone, Copy)]
struct Waited {
    question: Hash,
    /// Epoch microseconds.
    since: i64,
    before: Before,
}

/// A contact that is asked about: with the hash of its row, and the fields that are to be filled.
pub type Sought<'a> = (&'a Contact, Hash, FieldSet);

/// What this provider would be asked about a contact; `None` where it cannot be identified. `missing`: the fields still to be
/// filled. `former`: see [`Parties`].
fn questions(
    workspace: Uuid,
    former: bool,
    provider: &LoadedProvider,
    config: &Config,
    person: &Person,
    (contact, missing): (&Contact, FieldSet),
) -> Option<Questions> {
    let wanted = config.fills().intersect(missing);
    let parties = Parties { workspace, provider: provider.id, description: &provider.fingerprint, former };
    Questions::about(parties, config, person, contact, wanted)
}

/// What would be handed in to it for that; `None` where it takes one request, too.
fn handed_in(
    workspace: Uuid,
    provider: &LoadedProvider,
    config: &Config,
    person: &Person,
    (contact, missing): (&Contact, FieldSet),
) -> Option<Questions> {
    let description = provider.ticket_fingerprint.as_ref()?;
    let parties = Parties { workspace, provider: provider.id, description, former: false };
    Questions::about(parties, config, person, contact, config.fills().intersect(missing))
}

/// Under what anything may be kept that this provider was ever asked about a contact, or that is under way.
pub fn kept_under(
    workspace: Uuid,
    provider: &LoadedProvider,
    person: &Person,
    contact: &Contact,
    row: Hash,
) -> Vec<Hash> {
    let Ok(config) = &provider.config else { return Vec::new() };
    // Of no field: with what is asked for more fields, all there can be.
    let nothing = (contact, FieldSet::EMPTY);
    let former = store::receipts::has_former();
    let asked = questions(workspace, former, provider, config, person, nothing);
    let under_way = handed_in(workspace, provider, config, person, nothing);
    let everywhere = |questions: &Questions| questions.everywhere().collect::<Vec<_>>();
    let mut hashes: Vec<Hash> = asked.iter().chain(&under_way).flat_map(everywhere).collect();
    let rejections: Vec<Hash> = hashes.iter().map(|question| receipt::rejection(*question, row)).collect();
    hashes.extend(rejections);
    hashes
}

/// The person that a contact is, by the settings of this session.
pub fn person(contact: &Contact) -> Person {
    Person::of(contact, settings::rules(), &settings::role_mailboxes())
}

/// The same person in their row, with what identifies them no longer, as many share it: by how a refusal was kept then. To
/// be asked for where anybody is on the list.
pub fn person_in_row(workspace: Uuid, contact: &Contact, row: Hash, crowd: &Crowd) -> Person {
    let mut people = [person(contact).in_row(ContactRow { workspace, hash: row })];
    shared_values::mark(workspace, &mut people, crowd);
    let [person] = people;
    person
}

/// What a contact may be listed under, see [`suppression`].
pub fn listed(workspace: Uuid, contact: &Contact, row: Hash, crowd: &Crowd) -> Vec<Hash> {
    suppression::of_person(&person_in_row(workspace, contact, row, crowd), contact)
}

/// What these providers could be asked about each contact, what was answered before, what is under way, and what of the
/// answers the contact's table refused. What waits for the worker is looked at first: what is gone from there is in the tables
/// by then. `crowd`: what those of one set have in common.
pub fn pasts(
    workspace: Uuid,
    providers: &[(String, Rc<LoadedProvider>)],
    contacts: &[Sought<'_>],
    crowd: &Crowd,
) -> Vec<Past> {
    let (read_at, former) = (single_flight::sequence(), store::receipts::has_former());
    type Ask<'a> = &'a dyn Fn(&LoadedProvider, &Config) -> Option<Questions>;
    let by_provider = |ask: Ask| -> HashMap<Uuid, Questions> {
        let by_provider = providers.iter().filter_map(|(_, provider)| {
            let config = provider.config.as_ref().ok()?;
            Some((provider.id, ask(provider, config)?))
        });
        by_provider.collect()
    };
    let in_row =
        |(contact, row, _): &Sought<'_>| person(contact).in_row(ContactRow { workspace, hash: *row });
    let mut people: Vec<Person> = contacts.iter().map(in_row).collect();
    if people.len() > 1 {
        shared_values::meet(workspace, &people, crowd);
    }
    shared_values::mark(workspace, &mut people, crowd);
    let past = |(person, (contact, _, missing)): (Person, &Sought<'_>)| Past {
        questions: by_provider(&|provider, config| {
            questions(workspace, former, provider, config, &person, (contact, *missing))
        }),
        handed_in: by_provider(&|provider, config| {
            handed_in(workspace, provider, config, &person, (contact, *missing))
        }),
        former,
        person,
        crowd: Crowd::clone(crowd),
        read_at,
        ..Past::default()
    };
    let mut pasts: Vec<Past> = people.into_iter().zip(contacts).map(past).collect();
    let rejections: Vec<Vec<Hash>> = pasts.iter().map(|past| past.rejections().collect()).collect();
    let each = || rejections.iter().map(|rejections| rejections.iter().copied());
    pasts.iter_mut().zip(each()).for_each(|(past, rejections)| past.recall_waiting(rejections));
    recall_tickets(workspace, &mut pasts);
    if settings::receipt_terms().off() {
        return pasts;
    }
    recall_undone(workspace, &mut pasts, contacts);
    let any_rejection = store::receipts::any_rejection(workspace);
    let everywhere = pasts.iter().zip(each());
    let hashes: Vec<Hash> = everywhere
        .flat_map(|(past, rejections)| past.everywhere().chain(rejections.filter(|_| any_rejection)))
        .collect();
    if hashes.is_empty() {
        return pasts;
    }
    let recalled: HashMap<Hash, Receipt> = store::receipts::recall(workspace, &hashes).into_iter().collect();
    for (past, rejections) in pasts.iter_mut().zip(each()).filter(|_| !recalled.is_empty()) {
        for hash in past.everywhere().chain(rejections).collect::<Vec<_>>() {
            if let Some(receipt) = recalled.get(&hash) {
                past.receipts.entry(hash).or_insert_with(|| receipt.clone());
            }
        }
    }
    pasts
}

/// What was taken back of these contacts.
fn recall_undone(workspace: Uuid, pasts: &mut [Past], contacts: &[Sought<'_>]) {
    let rows: Vec<Hash> = contacts.iter().map(|(_, row, _)| *row).collect();
    let now = clock::now_us();
    let since = now.saturating_sub(settings::receipt_terms().recheck_us);
    for (row, undone) in store::undone::recall(workspace, &rows, since) {
        let same = contacts.iter().zip(pasts.iter_mut()).filter(|((_, of, _), _)| *of == row);
        same.for_each(|(_, past)| past.undone.push(undone.clone()));
    }
}

/// What is under way, by the tables.
fn recall_tickets(workspace: Uuid, pasts: &mut [Past]) {
    let hashes: Vec<Hash> = pasts.iter().flat_map(Past::handed_in).collect();
    let recalled: HashMap<Hash, Ticket> = store::tickets::recall(workspace, &hashes).into_iter().collect();
    for past in pasts.iter_mut().filter(|_| !recalled.is_empty()) {
        for hash in past.handed_in().collect::<Vec<_>>() {
            if let Some(ticket) = recalled.get(&hash).filter(|_| !past.settled.contains(&hash)) {
                past.tickets.entry(hash).or_insert_with(|| ticket.clone());
            }
        }
    }
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

    /// Under which tickets may be found.
    fn handed_in(&self) -> impl Iterator<Item = Hash> + '_ {
        self.handed_in.values().flat_map(Questions::everywhere)
    }

    /// What is handed in to this provider; `None`: it takes one request, or the person cannot be identified.
    pub fn to_hand_in(&self, provider: Uuid) -> Option<&Questions> {
        self.handed_in.get(&provider)
    }

    /// What is under way with this provider about the contact, and under which hash.
    pub fn ticket<'a>(&'a self, provider: Uuid, contact: &'a Contact) -> Option<(Hash, &'a Ticket)> {
        let find = |hash: &Hash| self.tickets.get(hash).or_else(|| self.unkept.get(hash));
        self.handed_in.get(&provider)?.found(contact, find).next()
    }

    /// The provider has to be logged in to anew: that happens once in a call.
    pub fn note_denied(&mut self, provider: Uuid) {
        self.denied.insert(provider);
    }

    /// Whether that has happened.
    pub fn was_denied(&self, provider: Uuid) -> bool {
        self.denied.contains(&provider)
    }

    /// It could not be kept: this call knows of it all the same.
    pub fn remember(&mut self, question: Hash, ticket: Ticket) {
        self.unkept.insert(question, ticket);
    }

    /// What was taken back of what this provider supplied.
    pub fn undone_of(&self, provider: Uuid) -> impl Iterator<Item = &Undone> {
        self.undone.iter().filter(move |undone| undone.provider == provider)
    }

    /// Of all questions that could be asked.
    pub fn hashes(&self) -> impl Iterator<Item = Hash> + '_ {
        self.questions.values().flat_map(|questions| questions.hashes.iter().copied())
    }

    /// Under which it may be found what the contact's table refused of the answers.
    fn rejections(&self) -> impl Iterator<Item = Hash> + '_ {
        let row = self.person.row;
        self.hashes().filter_map(move |question| Some(receipt::rejection(question, row?.hash)))
    }

    /// What the contact's table refused of the answer to this question.
    pub fn rejection(&self, question: Hash) -> Option<&Receipt> {
        // Mostly there is nothing to be found.
        let kept = Some(&self.receipts).filter(|kept| !kept.is_empty())?;
        kept.get(&receipt::rejection(question, self.person.row?.hash))
    }

    /// The fields for which this provider need not be asked again, since the contact's table refused what it has.
    pub fn rejected(&self, questions: &Questions, terms: Terms, now: i64) -> FieldSet {
        self.rejected_since(i64::MIN, questions, terms, now)
    }

    /// The same, as far as it was refused after this time in epoch microseconds.
    pub fn rejected_since(&self, since: i64, questions: &Questions, terms: Terms, now: i64) -> FieldSet {
        let known = questions.hashes.iter().filter_map(|question| self.rejection(*question));
        known
            .filter(|rejection| rejection.answered_at >= since)
            .fold(FieldSet::EMPTY, |fields, rejection| fields.union(rejection.rejected(terms, now)))
    }

    /// It is this provider's turn.
    pub fn put_to(&mut self, provider: Uuid) {
        if let Some(questions) = self.questions.get(&provider) {
            let put = Put { hashes: questions.hashes.clone(), known: questions.known };
            self.put.insert(provider, put);
        }
    }

    /// What it was asked when it was its turn.
    pub fn was_put_to(&self, provider: Uuid) -> Option<&Put> {
        self.put.get(&provider)
    }

    /// What was read later, of the contact as it stands. What providers were asked by then stays known.
    pub fn replace(&mut self, latest: Past) {
        let old = std::mem::replace(self, latest);
        for question in old.put.values().flat_map(|put| &put.hashes) {
            if let (Some(row), Some(rejection)) = (self.person.row, old.rejection(*question)) {
                let kept_under = receipt::rejection(*question, row.hash);
                self.receipts.entry(kept_under).or_insert_with(|| rejection.clone());
            }
        }
        self.put = old.put;
        self.unkept.extend(old.unkept);
        self.denied.extend(old.denied);
    }

    /// What a provider is asked now: two contacts with the same question are one person to it.
    pub fn asked_of(&self, provider: Uuid) -> Option<Hash> {
        self.questions.get(&provider)?.hashes.first().copied()
    }

    /// The same of all providers.
    pub fn asked(&self) -> impl Iterator<Item = Hash> + '_ {
        self.questions.keys().filter_map(|provider| self.asked_of(*provider))
    }

    /// Whether this is what there is to know about asking the provider for the `missing` fields of `contact`.
    pub fn is_of(
        &self,
        workspace: Uuid,
        provider: &LoadedProvider,
        (contact, missing): (&Contact, FieldSet),
    ) -> bool {
        let Ok(config) = &provider.config else { return true };
        let mut people = [person(contact)];
        shared_values::mark(workspace, &mut people, &self.crowd);
        let [person] = &people;
        let latest = questions(workspace, self.former, provider, config, person, (contact, missing));
        self.questions.get(&provider.id) == latest.as_ref()
    }

    /// What has come in since, or was not looked up since the contact was not known so well.
    pub fn look_again(
        &mut self,
        workspace: Uuid,
        provider: &(String, Rc<LoadedProvider>),
        (contact, missing): (&Contact, FieldSet),
    ) {
        let row = self.person.row.expect("a contact of a table").hash;
        let latest =
            pasts(workspace, std::slice::from_ref(provider), &[(contact, row, missing)], &self.crowd);
        latest.into_iter().for_each(|latest| self.renew(workspace, latest, contact));
    }

    /// Takes over what was read later.
    pub fn renew(&mut self, workspace: Uuid, latest: Past, contact: &Contact) {
        (self.person, self.listed) = (latest.person, OnceCell::new());
        for questions in latest.handed_in.values() {
            questions.everywhere().for_each(|question| {
                self.tickets.remove(&question);
            });
        }
        self.questions.extend(latest.questions);
        self.handed_in.extend(latest.handed_in);
        self.tickets.extend(latest.tickets);
        self.settled = latest.settled;
        self.former = latest.former;
        self.receipts.extend(latest.receipts);
        self.undone = latest.undone;
        self.refused |= latest.refused;
        self.read_at = latest.read_at;
        if self.waited.is_some() {
            // A refusal leaves no receipt.
            self.refused |= suppressions::any(Some(workspace), || self.listed(contact));
        }
    }

    /// Somebody else is asking it. Only the first time counts.
    pub fn wait_for(&mut self, question: Hash, before: Before) {
        if self.waited.is_none_or(|waited| waited.question != question) {
            self.waited = Some(Waited { question, since: clock::now_us(), before });
        }
    }

    /// What had come of the question when it was first waited for.
    pub fn before(&self, question: Hash) -> Option<Before> {
        self.waited.filter(|waited| waited.question == question).map(|waited| waited.before)
    }

    /// Whether that answer came while the question was waited for.
    pub fn waited_for(&self, question: Hash, answered_at: i64) -> bool {
        self.waited.is_some_and(|waited| waited.question == question && waited.since <= answered_at)
    }

    /// `rejections`: see [`Past::rejections`].
    fn recall_waiting(&mut self, rejections: impl Iterator<Item = Hash>) {
        let hashes: Vec<Hash> = self.hashes().chain(rejections).collect();
        let keys: Vec<receipts::ReceiptKey> =
            hashes.iter().map(|hash| installation::receipt_key(*hash)).collect();
        let found: Vec<_> = receipts::with(|arena| {
            keys.iter().map(|key| (arena.find(key), !arena.refusals(key).is_empty())).collect()
        });
        for (hash, (waiting, refused)) in hashes.into_iter().zip(found) {
            self.refused |= refused;
            let content = waiting.and_then(|bytes| Filed::from_bytes(&bytes)).map(|filed| filed.content);
            if let Some(Content::Receipt(receipt) | Content::Rejection(receipt)) = content {
                self.receipts.insert(hash, receipt);
            }
        }
        for hash in self.handed_in().collect::<Vec<_>>() {
            let waiting = receipts::with(|arena| arena.find(&installation::receipt_key(hash)));
            match waiting.and_then(|bytes| Filed::from_bytes(&bytes)).map(|filed| filed.content) {
                Some(Content::Ticket(ticket)) => {
                    self.tickets.insert(hash, ticket);
                }
                Some(Content::NoTicket(..)) => {
                    self.settled.insert(hash);
                }
                _ => {}
            }
        }
    }
}
