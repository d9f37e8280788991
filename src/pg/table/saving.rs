//! Writing what a table takes of an offer: what a constraint refuses is left out, and the rest is written.

use crate::pg::sys::raise;
use crate::pg::sys::spi::{About, Caught};
use crate::pg::table::value_fit::{Fitted, Rejection};
use crate::pg::table::{Binding, StatusWrite, quoted};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::position::Post;
use leadlex_domain::row_status::RowStatus;
use uuid::Uuid;

/// What became of a write.
pub struct Saved {
    /// As it is afterwards; `None` where nothing was written.
    pub row: Option<Contact>,
    /// Something was to be written, but the row has changed since it was read, or a trigger declined.
    pub missed: bool,
    pub rejections: Vec<Rejection>,
    /// What a trigger of the table took back without an error, if nothing has changed meanwhile.
    pub declined: FieldSet,
    /// See [`leadlex_domain::steps::Written::apart`].
    pub apart: bool,
}

/// What a table refused of a write.
enum Refused {
    Fields(Rejection),
    /// What the row was to say of it, maybe together with fields.
    Status(Caught),
}

/// Fields that were to be changed, and are as they were: a BEFORE trigger kept the old value, or left the row out (`after` is
/// `None`). `changes`: what was to be written.
pub fn declined(before: &Contact, changes: FieldSet, after: Option<&Contact>) -> FieldSet {
    changes
        .iter()
        .filter(|field| after.is_none_or(|after| after.value(*field) == before.value(*field)))
        .collect()
}

/// The fields of all of them.
pub fn rejected(rejections: &[Rejection]) -> FieldSet {
    rejections.iter().fold(FieldSet::EMPTY, |all, rejection| all.union(rejection.fields))
}

impl Binding {
    /// Writes of `wanted` what the table takes, and what `post` lets stand beside the company that the row has then, if the
    /// row still holds what `before` says of what is written, of `others`, and of who it is. Errors that are not about
    /// these fields are raised as they are.
    pub fn save(
        &self,
        workspace: Uuid,
        before: &Contact,
        wanted: FieldMap<String>,
        post: &Post,
        others: FieldSet,
    ) -> Saved {
        let Fitted { changes, mut rejections } = self.fit(before, wanted);
        let (mut changes, mut apart) = post.fitting(before, changes);
        let mut status = self.status_write(RowStatus::Enriched);
        let mut without_status = None;
        // Each round leaves out at least one field, or the status.
        while !changes.is_empty() {
            let beside = post.goes_with(changes.fields()).intersect(self.fields());
            match self.try_write(workspace, before, (&changes, status), others.union(beside)) {
                Ok(row) => {
                    without_status.iter().for_each(|caught| self.warn_status_refused(caught));
                    let (row, more) = match row {
                        Some(row) => {
                            let (row, more) = self.without_apart(workspace, (before, row), &changes, post);
                            (Some(row), more)
                        }
                        None => (None, false),
                    };
                    let declined = declined(before, changes.fields(), row.as_ref());
                    return Saved { missed: row.is_none(), row, rejections, declined, apart: apart || more };
                }
                Err(Refused::Status(caught)) => {
                    status = StatusWrite::default();
                    without_status = Some(caught);
                }
                Err(Refused::Fields(rejection)) => {
                    rejection.fields.iter().for_each(|field| changes.unset(field));
                    rejections.push(rejection);
                    // With a company goes what belongs to it.
                    let (left, more) = post.fitting(before, changes);
                    (changes, apart) = (left, apart || more);
                }
            }
        }
        Saved { row: None, missed: false, rejections, declined: FieldSet::EMPTY, apart }
    }

    /// Where a trigger kept the company that was there: puts back what belongs to the one that was offered. The row as it is
    /// then, and whether something was left out. `changes`: what was to be written.
    pub fn without_apart(
        &self,
        workspace: Uuid,
        (before, after): (&Contact, Contact),
        changes: &FieldMap<String>,
        post: &Post,
    ) -> (Contact, bool) {
        let kept = declined(before, changes.fields(), Some(&after));
        if !kept.contains(Field::COMPANY_NAME) {
            return (after, false);
        }
        let mut rest = changes.clone();
        rest.unset(Field::COMPANY_NAME);
        let (fitting, apart) = post.fitting(&after, rest.clone());
        let written = rest.fields().minus(fitting.fields()).minus(kept);
        let old: FieldMap<Option<&str>> = written.iter().map(|field| (field, before.value(field))).collect();
        if old.is_empty() {
            return (after, apart);
        }
        let row = self.write(workspace, &after, &old, FieldSet::EMPTY, StatusWrite::default());
        (row.unwrap_or(after), apart)
    }

    /// In a subtransaction where the table can refuse something: an error takes back all that was done in it, and its locks.
    fn try_write(
        &self,
        workspace: Uuid,
        before: &Contact,
        (changes, status): (&FieldMap<String>, StatusWrite),
        others: FieldSet,
    ) -> Result<Option<Contact>, Refused> {
        let write = || self.write(workspace, before, &as_values(changes), others, status);
        if !self.plans().may_refuse(self, changes, status) {
            return Ok(write());
        }
        let of_status = |caught: &Caught| !status.is_nothing() && self.is_about_status(caught);
        let is_ours = |caught: &Caught| of_status(caught) || !self.concerned(caught, changes).is_empty();
        let caught = self.caught_ahead(write, is_ours, is_ours);
        caught.map_err(|caught| match of_status(&caught) {
            true => Refused::Status(caught),
            false => Refused::Fields(Rejection { fields: self.concerned(&caught, changes), caught }),
        })
    }

    /// Tells of values that were left out, without them: they may be in a log for years. `whose`: "contact 7".
    pub fn warn_rejected(&self, whose: &str, rejection: &Rejection) {
        let Rejection { fields, caught } = rejection;
        let names = fields.names();
        let columns: Vec<&str> = names.iter().map(|name| self.columns[*name].as_str()).collect();
        let quoted: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let (few, verb) = if names.len() == 1 { ("column", "was") } else { ("columns", "were") };
        let own = caught.about.table.is_none();
        let about = About {
            schema: if own { Some(self.schema.clone()) } else { caught.about.schema.clone() },
            table: if own { Some(self.table.clone()) } else { caught.about.table.clone() },
            column: match columns.as_slice() {
                [column] => Some((*column).to_owned()),
                _ => None,
            },
            ..(*caught.about).clone()
        };
        let message = format!("{} of {whose} {verb} left out: {}", names.join(" and "), caught.message);
        let detail = format!(
            "{}: {} does not take what the provider has for {few} {}. Other fields are written, if there are any. That provider is not asked for it again within leadlex.recheck_after.",
            caught.sqlstate,
            self.name(),
            quoted.join(", ")
        );
        let hint = format!(
            "Change the column or its constraint, or leave {} out of fields. After a change, what is still kept is tried again; leadlex.recheck(provider, since) has it asked for anew.",
            names.join(" and ")
        );
        raise::warning(&message, &detail, &hint, &about);
    }
}

/// An enrichment never writes NULL, but the table's statement can.
fn as_values(changes: &FieldMap<String>) -> FieldMap<Option<&str>> {
    changes.iter().map(|(field, value)| (field, Some(value.as_str()))).collect()
}
