//! Step 11 for one contact: what was offered, against the row as it is now.

use std::rc::Rc;

use uuid::Uuid;

use super::raise::{Refusal, refuse};
use super::store::config::LoadedProvider;
use super::table::{self, Binding, Rejection};
use crate::domain::contact::Contact;
use crate::domain::fields::{FieldMap, FieldSet};
use crate::domain::waterfall::Gathered;
use crate::flow::Written;

/// A contact that was written, and what its table refused.
pub struct Saved {
    pub written: Written,
    pub rejections: Vec<Rejection>,
}

impl Saved {
    /// `after`: as it is, where something was written.
    pub fn of(before: Contact, after: Option<Contact>, rejections: Vec<Rejection>) -> Saved {
        let after = after.unwrap_or_else(|| before.clone());
        Saved { written: Written { before, after, rejected: table::rejected(&rejections) }, rejections }
    }
}

/// Changes against the row as it is now, written. Tried against what was read before the providers were asked; if
/// somebody has changed the row since, against the row locked. `None`: the contact is gone.
pub fn write_changes(
    binding: &Binding,
    workspace: Uuid,
    providers: &[(String, Rc<LoadedProvider>)],
    before: Contact,
    gathered: &Gathered,
    wanted: impl Fn(&Contact) -> FieldMap<String>,
) -> Result<Option<Saved>, SomebodyElse> {
    // What is offered and need not be written must still be as it was, too, or it would pass for our change.
    let others: FieldSet = gathered.values.fields().union(before.identifying_fields().iter().collect());
    let saved = binding.save(workspace, &before, wanted(&before), others);
    if !saved.missed {
        return Ok(Some(Saved::of(before, saved.row, saved.rejections)));
    }
    let id = &before.id;
    let Some(locked) = binding.read_locked(workspace, id) else {
        if binding.read(workspace, id).is_some() {
            binding.row_barred(id, "It has become so since the providers were asked.");
        }
        return Ok(None);
    };
    let supplied = |name: &str| gathered.origins.iter().any(|(_, origin)| origin.source == name);
    let mut configs = providers
        .iter()
        .filter(|(name, _)| supplied(name))
        .filter_map(|(_, provider)| provider.config.as_ref().ok());
    if !configs.all(|config| config.means_the_same(&before, &locked)) {
        return Err(SomebodyElse);
    }
    let saved = binding.save(workspace, &locked, wanted(&locked), FieldSet::EMPTY);
    // Nothing written although the row is locked: a BEFORE trigger of the table declined.
    Ok(Some(Saved::of(locked, saved.row, saved.rejections)))
}

/// While providers were asked about a contact, somebody changed what they were asked with.
pub struct SomebodyElse;

impl SomebodyElse {
    pub fn refuse(self, id: &str) -> ! {
        refuse(Refusal {
            sqlstate: "40001",
            message: format!("contact {id} became somebody else while providers were asked about it"),
            detail: Some(
                "What they answered is not about the values that identify it now. Nothing was written or charged."
                    .into(),
            ),
            hint: Some("Try again: the present values are asked about then.".into()),
        })
    }
}
