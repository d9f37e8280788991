//! A position is one thing: the title, the seniority and the company of one call are of one company.

use super::contact::Contact;
use super::fields::{Field, FieldMap, FieldSet};
use super::hash::{Hash, short};
use super::people::company;

/// The setting `leadlex.position`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// What a call fills in is of one company; what the contact had may be of another.
    #[default]
    Any,
    /// It is also of the company that the contact keeps.
    Together,
}

/// The position that the answers of a call come to.
#[derive(Clone, Debug, Default)]
pub struct Post {
    position: Position,
    /// With [`Position::Together`]: the company that the contact has.
    stored: Option<String>,
    /// What the first provider that supplied a part named as the company; `Some(None)`: it named none.
    named: Option<Option<Company>>,
}

/// The company that a position is at.
#[derive(Clone, Debug)]
enum Company {
    Named(String),
    /// By the part of the call that came before.
    Kept(Hash, String),
}

impl Company {
    fn is(&self, other: &str) -> bool {
        match self {
            Company::Named(name) => company::same(name, other),
            Company::Kept(row, kept) => kept_form(row, other).is_some_and(|form| form == *kept),
        }
    }

    fn kept(&self, row: &Hash) -> Option<String> {
        match self {
            Company::Named(name) => kept_form(row, name),
            Company::Kept(_, kept) => Some(kept.clone()),
        }
    }
}

/// A company's name as the queue keeps it: a hash, with that of the contact's row in it. `None`: it has no word of its own.
fn kept_form(row: &Hash, name: &str) -> Option<String> {
    let core = company::core(name);
    (!core.is_empty()).then(|| short(&[b"position", row, core.as_bytes()]))
}

impl Post {
    /// No answer has supplied a part yet. With [`Position::Together`] the contact's own company counts.
    pub fn new(position: Position, contact: &Contact) -> Post {
        let stored = contact.value(Field::COMPANY_NAME).filter(|_| position == Position::Together);
        let stored = stored.filter(|_| !contact.empty_fields().contains(Field::COMPANY_NAME));
        Post { position, stored: stored.map(str::to_owned), named: None }
    }

    /// Whether the parts of an answer that names this company belong to what there is. `replaces`: the company that the
    /// contact has is to be replaced by this one.
    pub fn takes(&self, named: Option<&str>, replaces: bool) -> bool {
        let is = |other: &str| named.is_some_and(|named| company::same(named, other));
        let is_at = |company: &Company| named.is_some_and(|named| company.is(named));
        let of_the_call = self.named.as_ref().is_none_or(|known| known.as_ref().is_some_and(is_at));
        of_the_call && (replaces || self.stored.as_deref().is_none_or(is))
    }

    /// A provider that named this company has supplied a part.
    pub fn hold(&mut self, named: Option<&str>) {
        self.named.get_or_insert_with(|| named.map(|name| Company::Named(name.to_owned())));
    }

    /// What is to be kept of it for the part of the call that comes later; `None`: no provider has supplied a part. Empty: one has,
    /// and named no company. `row`: the hash of the contact's row.
    pub fn to_keep(&self, row: &Hash) -> Option<String> {
        let named = self.named.as_ref()?;
        Some(named.as_ref().and_then(|company| company.kept(row)).unwrap_or_default())
    }

    /// The position goes on where an earlier part of the call kept that; `None`: nothing was kept.
    #[must_use]
    pub fn going_on(self, row: &Hash, kept: Option<&str>) -> Post {
        let company = |kept: &str| (!kept.is_empty()).then(|| Company::Kept(*row, kept.to_owned()));
        Post { named: kept.map(company), ..self }
    }

    /// Parts that nobody else can supply any more: no company was named that others could name, too.
    pub fn closed(&self) -> FieldSet {
        if matches!(self.named, Some(None)) { FieldSet::of_position() } else { FieldSet::EMPTY }
    }

    /// What of `changes` goes with the company that the contact has after them, and whether something did not.
    pub fn fitting(&self, now: &Contact, mut changes: FieldMap<String>) -> (FieldMap<String>, bool) {
        if self.position == Position::Any || changes.get(Field::COMPANY_NAME).is_some() {
            return (changes, false);
        }
        let stays = now.value(Field::COMPANY_NAME);
        let stays = stays.filter(|_| !now.empty_fields().contains(Field::COMPANY_NAME));
        let named = self.named.as_ref().and_then(Option::as_ref);
        if stays.is_none_or(|stays| named.is_some_and(|company| company.is(stays))) {
            return (changes, false);
        }
        let apart = changes.fields().intersect(FieldSet::of_position());
        apart.iter().for_each(|field| changes.unset(field));
        (changes, !apart.is_empty())
    }

    /// What must still be as it was when these fields are written, besides them.
    pub fn goes_with(&self, changes: FieldSet) -> FieldSet {
        let matters =
            self.position == Position::Together && !changes.intersect(FieldSet::of_position()).is_empty();
        FieldSet::from_iter([Field::COMPANY_NAME].into_iter().filter(|_| matters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(company: Option<&str>) -> Contact {
        let mut contact = Contact::default();
        company.into_iter().for_each(|name| contact.values.set(Field::COMPANY_NAME, name.to_owned()));
        contact
    }

    fn offered(fields: &[Field]) -> FieldMap<String> {
        fields.iter().map(|field| (*field, format!("new {field}"))).collect()
    }

    #[test]
    fn the_first_company_is_that_of_all_parts() {
        for position in [Position::Any, Position::Together] {
            let mut post = Post::new(position, &contact(None));
            assert!(post.takes(None, false) && post.takes(Some("Acme"), false));
            post.hold(Some("Acme Ltd."));
            post.hold(Some("Other"));
            assert!(post.takes(Some("ACME"), false) && post.closed().is_empty());
            assert!(
                !post.takes(Some("Other"), false)
                    && !post.takes(None, false)
                    && !post.takes(Some("Other"), true)
            );
        }
    }

    #[test]
    fn what_names_no_company_goes_with_nothing_else() {
        let mut post = Post::new(Position::Any, &contact(None));
        post.hold(None);
        assert!(!post.takes(None, false) && !post.takes(Some("Acme"), false));
        assert_eq!(post.closed(), FieldSet::of_position());
    }

    #[test]
    fn a_stored_company_counts_only_where_it_is_asked_for_and_stays() {
        let any = Post::new(Position::Any, &contact(Some("Acme Ltd")));
        assert!(any.takes(None, false) && any.takes(Some("Other"), false));
        let together = Post::new(Position::Together, &contact(Some("Acme Ltd")));
        assert!(together.takes(Some("acme"), false) && together.takes(Some("Other"), true));
        assert!(!together.takes(None, false) && !together.takes(Some("Other"), false));
        assert!(Post::new(Position::Together, &contact(Some(" "))).takes(None, false));
    }

    #[test]
    fn a_later_part_of_a_call_goes_on_with_the_position() {
        let row = [7; 16];
        let goes_on = |post: &Post, position, stored| {
            Post::new(position, &contact(stored)).going_on(&row, post.to_keep(&row).as_deref())
        };
        let nothing = Post::new(Position::Any, &contact(None));
        assert!(goes_on(&nothing, Position::Any, None).takes(None, false));
        let mut acme = nothing.clone();
        acme.hold(Some("Acme Ltd."));
        let later = goes_on(&acme, Position::Any, Some("Acme"));
        assert!(later.takes(Some("ACME"), false) && later.closed().is_empty());
        assert!(!later.takes(Some("Other"), false) && !later.takes(None, false));
        assert_eq!(later.to_keep(&row), acme.to_keep(&row), "it can go on once more");
        assert_ne!(later.to_keep(&row), acme.to_keep(&[8; 16]), "of another contact");
        let mut unnamed = nothing.clone();
        unnamed.hold(None);
        assert_eq!(goes_on(&unnamed, Position::Any, None).closed(), FieldSet::of_position());
        // What was typed in meanwhile.
        let together = goes_on(&acme, Position::Together, Some("Acme"));
        let title = || offered(&[Field::JOB_TITLE]);
        assert!(!together.fitting(&contact(Some("acme")), title()).1);
        assert!(together.fitting(&contact(Some("Other")), title()).1);
    }

    #[test]
    fn what_stays_is_known_at_the_write() {
        let title = || offered(&[Field::JOB_TITLE, Field::SENIORITY, Field::PHONE]);
        let mut post = Post::new(Position::Together, &contact(None));
        post.hold(Some("Other Inc"));
        for (now, changes, left, apart) in [
            (None, title(), 3, false),
            (Some("  "), title(), 3, false),
            (Some("Other"), title(), 3, false),
            // Typed in meanwhile.
            (Some("Acme"), title(), 1, true),
            (Some("Acme"), offered(&[Field::PHONE]), 1, false),
            (Some("Acme"), offered(&[Field::JOB_TITLE, Field::COMPANY_NAME]), 2, false),
        ] {
            let (kept, set_aside) = post.fitting(&contact(now), changes);
            assert_eq!((kept.fields().iter().count(), set_aside), (left, apart), "{now:?}");
        }
        let mut unnamed = Post::new(Position::Together, &contact(None));
        unnamed.hold(None);
        assert!(unnamed.fitting(&contact(Some("Acme")), title()).1);
        let mut any = Post::new(Position::Any, &contact(None));
        any.hold(Some("Other"));
        assert!(!any.fitting(&contact(Some("Acme")), title()).1);
        let company = FieldSet::from_iter([Field::COMPANY_NAME]);
        assert_eq!(post.goes_with(title().fields()), company);
        assert_eq!(post.goes_with(offered(&[Field::PHONE]).fields()), FieldSet::EMPTY);
        assert_eq!(any.goes_with(title().fields()), FieldSet::EMPTY);
    }
}
