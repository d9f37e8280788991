//! Steps 5 to 7, which only look: shared by the batch and by what tells beforehand what a batch would do.

use std::borrow::Cow;
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::call::batch::FieldRequest;
use crate::pg::call::target;
use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::settings;
use crate::pg::table::{Binding, FoundRow};
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt;
use leadlex_domain::steps::{Event, Request, Row, Source, Step, Steps};
use leadlex_domain::waterfall::Mode;

/// Whose contacts, of which table, and what is asked of them.
#[derive(Clone, Copy)]
pub struct BatchScope<'a> {
    pub workspace: Uuid,
    pub binding: &'a Binding,
    pub request: Request,
}

/// The enabled providers, once the first contact needs one.
#[derive(Default)]
pub struct Providers {
    /// In the order of their priority.
    pub all: Vec<(String, Rc<LoadedProvider>)>,
    sources: Rc<[Source]>,
    /// So many contacts does the call ask about.
    contacts: usize,
}

/// The positions of an input.
#[derive(Default)]
pub struct Keys {
    /// In the one spelling that everybody who means this key uses.
    pub known: Vec<(usize, String)>,
    pub bad: Vec<(usize, Failure)>,
}

/// What is asked of each contact of a batch on this table.
pub fn request(binding: &Binding, asked: FieldRequest) -> Request {
    let (mode, min_confidence) = settings::waterfall();
    Request {
        fields: asked.fields,
        overwrite: asked.overwrite,
        mapped: binding.fields(),
        mode,
        min_confidence,
        position: settings::position(),
    }
}

impl Providers {
    /// For a call about so many contacts.
    pub fn of(contacts: usize) -> Providers {
        Providers { contacts, ..Providers::default() }
    }

    /// Raises 55000 where there is none. As in a single call, a contact that needs none has its line without.
    fn load(&mut self, workspace: Uuid, mode: Mode) -> Rc<[Source]> {
        if self.all.is_empty() {
            self.all = provider::for_workspace(workspace);
            self.sources = provider::sources(&self.all, mode, self.contacts);
        }
        Rc::clone(&self.sources)
    }
}

impl BatchScope<'_> {
    /// The table holds another workspace's rows.
    pub fn is_elsewhere(&self) -> bool {
        !self.binding.may_have_rows_of(self.workspace)
    }

    /// Sorts the ids into keys in their one spelling and failures (LX400), each with its position in the
    /// input from 0.
    pub fn keys(&self, ids: Vec<Option<String>>) -> Keys {
        let mut keys = Keys { known: Vec::with_capacity(ids.len()), bad: Vec::new() };
        for (position, id) in ids.into_iter().enumerate() {
            let missing = || Failure::validation("the id is NULL", "Pass the contact to enrich.");
            let key = id.ok_or_else(missing).and_then(|id| {
                self.binding.canonical_key(&id).ok_or_else(|| target::no_key(self.binding, &id))
            });
            match key {
                Ok(key) => keys.known.push((position, key)),
                Err(failure) => keys.bad.push((position, failure)),
            }
        }
        self.binding.spell(self.workspace, keys.known.iter_mut().map(|(_, id)| id).collect());
        keys
    }

    /// The hash of the contact's row, see [`receipt::person`].
    pub fn row(&self, contact: &Contact) -> Hash {
        receipt::person(self.binding.name(), &contact.id)
    }

    /// Takes a contact that was read up to the rate limit, or to its end. `update_denied`: row-level security does not let
    /// the caller update the row.
    ///
    /// Raises 42501 where the caller may not write the columns that are to be filled. 55000: no provider is enabled.
    pub fn qualify(
        &self,
        steps: &mut Steps,
        found: FoundRow,
        update_denied: bool,
        providers: &mut Providers,
    ) {
        steps.next(Event::Found(match found {
            FoundRow::Nothing => Row::Missing,
            FoundRow::One(contact) => Row::One(contact),
            FoundRow::Several(count) => Row::Several(count),
        }));
        loop {
            let event = match steps.step() {
                Step::Access => {
                    self.binding.require_updatable(steps.fields());
                    Event::Allowed(!update_denied)
                }
                Step::Providers => Event::Providers(providers.load(self.workspace, self.request.mode)),
                Step::LookUp(_) => Event::Listed(self.is_suppressed(
                    || steps.whom(),
                    self.row(steps.contact()),
                    &Crowd::default(),
                )),
                _ => return,
            };
            steps.next(event);
        }
    }

    /// Whether the person is on the suppression list. `contact`: asked for where anybody is. `row`: see [`BatchScope::row`].
    pub fn is_suppressed<'c>(
        &self,
        contact: impl FnOnce() -> Cow<'c, Contact>,
        row: Hash,
        crowd: &Crowd,
    ) -> bool {
        let listed = || provider::listed(self.workspace, &contact(), row, crowd);
        suppressions::any(Some(self.workspace), listed)
    }
}
