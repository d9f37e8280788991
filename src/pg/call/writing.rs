//! Step 11 for one contact: what was offered, against the row as it is now.

use leadlex_domain::sqlstate;
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::provider;
use crate::pg::provider::shared_values;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::table;
use crate::pg::table::{Binding, Rejection};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{FieldMap, FieldSet};
use leadlex_domain::steps::Written;
use leadlex_domain::waterfall::Gathered;

/// A contact that was written, and what its table refused.
pub struct Saved {
    pub written: Written,
    pub rejections: Vec<Rejection>,
    /// What it did not take, with an error or without: not to be bought again.
    pub not_taken: FieldSet,
}

impl Saved {
    /// `before`: as it was, unless that has changed meanwhile.
    fn of(before: Contact, saved: table::Saved) -> Saved {
        let table::Saved { row, rejections, declined, apart, .. } = saved;
        Saved::with(before, row, rejections, (declined, apart))
    }

    /// `after`: as it is, where something was written. `declined`: what a trigger took back. `apart`: see [`Written::apart`].
    pub fn with(
        before: Contact,
        after: Option<Contact>,
        rejections: Vec<Rejection>,
        (declined, apart): (FieldSet, bool),
    ) -> Saved {
        let after = after.unwrap_or_else(|| before.clone());
        let rejected = table::rejected(&rejections);
        let not_taken = rejected.union(declined);
        Saved { written: Written { before, after, rejected, apart }, rejections, not_taken }
    }
}

/// Changes against the row as it is now, written. Tried against what was read before the providers were asked; if
/// somebody has changed the row since, against the row locked. The providers come with what the contacts of one set have
/// in common. `None`: the contact is gone.
pub fn write_changes(
    binding: &Binding,
    workspace: Uuid,
    (providers, crowd): (&[(String, Rc<LoadedProvider>)], &Crowd),
    before: Contact,
    gathered: &Gathered,
    wanted: impl Fn(&Contact) -> FieldMap<String>,
) -> Result<Option<Saved>, IdentityChanged> {
    // What is offered and need not be written must still be as it was, too, or it would pass for our change.
    let others: FieldSet = gathered.values.fields().union(before.identifying_fields().iter().collect());
    let changes = wanted(&before);
    // What would change nothing is said of the row as it is, and only of whom it was asked about.
    let moved = changes.is_empty() && binding.read(workspace, &before.id).as_ref() != Some(&before);
    if !moved {
        let saved = binding.save(workspace, &before, changes, &gathered.post, others);
        if !saved.missed {
            return Ok(Some(Saved::of(before, saved)));
        }
    }
    let id = &before.id;
    let Some(locked) = binding.read_locked(workspace, id) else {
        if binding.read(workspace, id).is_some() {
            binding.row_update_denied(id, "It has become so since the providers were asked.");
        }
        return Ok(None);
    };
    let asked = AskedProviders { workspace, providers, crowd };
    if !asked.means_the_same(gathered, &wanted, &before, &locked) {
        return Err(IdentityChanged);
    }
    let saved = binding.save(workspace, &locked, wanted(&locked), &gathered.post, FieldSet::EMPTY);
    // Nothing written although the row is locked: a BEFORE trigger of the table declined.
    Ok(Some(Saved::of(locked, saved)))
}

/// Who was asked.
pub struct AskedProviders<'a> {
    pub workspace: Uuid,
    pub providers: &'a [(String, Rc<LoadedProvider>)],
    pub crowd: &'a Crowd,
}

impl AskedProviders<'_> {
    /// Whether the row is still about whom these of the providers were asked about, by their numbers.
    pub fn is_still(&self, heard: &[usize], before: &Contact, now: &Contact) -> bool {
        let mut people = [before, now].map(provider::person);
        shared_values::mark(self.workspace, &mut people, self.crowd);
        let [was, is] = &people;
        let mut configs = heard.iter().filter_map(|at| self.providers.get(*at)?.1.config.as_ref().ok());
        configs.all(|config| !config.identifies(was) || config.means_the_same(was, is))
    }

    /// Whether what was supplied about `before` is about `now` as well, for each provider that supplied something: it was asked
    /// with what those before it had supplied, but for what the table had refused before.
    fn means_the_same(
        &self,
        gathered: &Gathered,
        wanted: impl Fn(&Contact) -> FieldMap<String>,
        before: &Contact,
        now: &Contact,
    ) -> bool {
        let [of_before, of_now] = [before, now].map(&wanted);
        let mut supplied = FieldSet::EMPTY;
        for (name, provider) in self.providers {
            let own = gathered.origins.iter().filter(|(_, origin)| *origin.source == **name);
            let own: FieldSet = own.map(|(field, _)| field).collect();
            // Of one that knew the contact and has nothing of what is wanted, that is said.
            let told = !own.is_empty() || *gathered.origin.source == **name;
            let Some(config) = provider.config.as_ref().ok().filter(|_| told) else { continue };
            let known = |values: &FieldMap<String>| -> FieldMap<String> {
                let earlier = values.iter().filter(|(field, _)| supplied.contains(*field));
                earlier.map(|(field, value)| (field, value.clone())).collect()
            };
            let known = [before.with(known(&of_before)), now.with(known(&of_now))];
            let mut people = known.map(|contact| provider::person(&contact));
            shared_values::mark(self.workspace, &mut people, self.crowd);
            let [was, is] = &people;
            if !config.means_the_same(was, is) {
                return false;
            }
            supplied = supplied.union(own.minus(gathered.refused_before));
        }
        true
    }
}

/// While providers were asked about a contact, somebody changed what they were asked with.
pub struct IdentityChanged;

impl IdentityChanged {
    pub const SQLSTATE: &str = sqlstate::SERIALIZATION_FAILURE;

    pub fn message(id: &str) -> String {
        format!("contact {id} became another person while providers were asked about it")
    }

    /// Raises 40001: nothing was written or charged, and the call can be tried again.
    pub fn refuse(self, id: &str) -> ! {
        refuse(PgError {
            sqlstate: IdentityChanged::SQLSTATE,
            message: IdentityChanged::message(id),
            detail: Some(
                "What they answered is not about the values that identify it now. Nothing was written or charged."
                    .into(),
            ),
            hint: Some("Try again: the present values are asked about then.".into()),
        })
    }
}
