//! Values that were taken back (`leadlex.revert_enrichment`, `leadlex.revert_provider`): they are not written again, and
//! nobody is asked for them.

use uuid::Uuid;

use crate::contact::Contact;
use crate::fields::{Field, FieldMap, FieldSet, Kind};
use crate::hash::{Hash, hash};
use crate::people::value::is_empty;
use crate::people::{Rules, email, linkedin, name, phone, seniority, text};

/// A value of one provider for one contact, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    pub provider: Uuid,
    pub field: Field,
    /// See [`value`].
    pub value: Hash,
    /// Whom it was about, see [`identity`]; `None`: not known.
    pub identity: Option<Hash>,
    /// When it was taken back, epoch microseconds.
    pub at: i64,
}

impl Undone {
    /// Whether the contact is still who it was about. Another is to be asked about.
    pub fn is_about(&self, workspace: Uuid, contact: &Contact) -> bool {
        self.identity.is_none_or(|known| may_be(workspace, contact, known))
    }
}

/// The fields of these.
pub fn fields<'u>(all: impl Iterator<Item = &'u Undone>) -> FieldSet {
    all.map(|undone| undone.field).collect()
}

/// Hash of a provider's value for a field, the same for all spellings of its normal form.
pub fn value(workspace: Uuid, provider: Uuid, field: Field, value: &str) -> Hash {
    let clean = text::clean(value);
    let normal = match field.kind() {
        Kind::Profile => linkedin::handle(value),
        Kind::Phone => phone::normal(value).map(|normal| normal.replace('+', "")),
        Kind::Seniority => seniority::word(value).map(str::to_owned),
        Kind::Text => None,
    };
    let normal = normal.as_deref().unwrap_or(&clean);
    let parts: [&[u8]; 5] =
        [b"undone", workspace.as_bytes(), provider.as_bytes(), field.name().as_bytes(), normal.as_bytes()];
    hash(&parts)
}

/// The fields of an answer whose values are among those that were taken back.
pub fn among(workspace: Uuid, undone: &[Undone], provider: Uuid, values: &FieldMap<String>) -> FieldSet {
    let is_one = |(field, text): &(Field, &String)| {
        let of_field = || undone.iter().filter(|u| u.provider == provider && u.field == *field);
        of_field().next().is_some() && {
            let hash = value(workspace, provider, *field, text);
            of_field().any(|u| u.value == hash)
        }
    };
    values.iter().filter(is_one).map(|(field, _)| field).collect()
}

/// Fields that identify, and that an enrichment may have filled in.
const FILLED_IN: [Field; 3] = [Field::COMPANY_NAME, Field::LINKEDIN_URL, Field::PHONE];

/// Hash of whom a row is about: what it says of name, address and company, in normal form.
pub fn identity(workspace: Uuid, contact: &Contact) -> Hash {
    let all = FILLED_IN.into_iter().collect();
    identity_with(workspace, contact, all)
}

/// Whether the row is still about whom it was when its [`identity`] was `known`: where a field was empty then, an enrichment may
/// have filled it in.
pub fn may_be(workspace: Uuid, contact: &Contact, known: Hash) -> bool {
    let filled: Vec<Field> =
        FILLED_IN.into_iter().filter(|field| !is_empty(*field, contact.value(*field))).collect();
    (0..1_u32 << filled.len()).rev().any(|which| {
        let some = filled.iter().enumerate().filter(|(at, _)| which & (1 << at) != 0);
        identity_with(workspace, contact, some.map(|(_, field)| *field).collect()) == known
    })
}

/// Of these of the fields alone.
fn identity_with(workspace: Uuid, contact: &Contact, fields: FieldSet) -> Hash {
    let named = |text: &str| name::normal(text).unwrap_or_else(|| text::clean(text).to_lowercase());
    let full = contact.known_full_name().map(|text| named(&text)).unwrap_or_default();
    let address = |text: &str| {
        let first = email::first(text, Rules { reserved_domains: true });
        first.map_or_else(|| text::clean(text).to_lowercase(), |address| address.normal)
    };
    let email = contact.email.as_deref().map(address).unwrap_or_default();
    let domain = contact.company_domain.as_deref();
    let domain = domain.map(|text| text::clean(text).to_lowercase()).unwrap_or_default();
    let of_field = |field: Field| -> String {
        let Some(text) = contact.value(field) else { return String::new() };
        if !fields.contains(field) || is_empty(field, Some(text)) {
            return String::new();
        }
        let normal = match field.kind() {
            Kind::Profile => linkedin::handle(text),
            Kind::Phone => phone::normal(text),
            Kind::Text | Kind::Seniority => None,
        };
        normal.unwrap_or_else(|| text::clean(text).to_lowercase())
    };
    let others = FILLED_IN.map(of_field);
    let mut parts: Vec<&[u8]> = vec![b"identity", workspace.as_bytes()];
    parts.extend([full.as_bytes(), email.as_bytes(), domain.as_bytes()]);
    parts.extend(others.iter().map(String::as_bytes));
    hash(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: Uuid = Uuid::from_u128(1);
    const PROVIDER: Uuid = Uuid::from_u128(2);

    fn ada() -> Contact {
        Contact {
            full_name: Some("Ada Abbott".to_owned()),
            email: Some("ada.abbott@acme.example".to_owned()),
            ..Contact::default()
        }
    }

    fn with(mut contact: Contact, field: Field, value: &str) -> Contact {
        contact.values.set(field, value.to_owned());
        contact
    }

    #[test]
    fn one_value_has_one_hash_in_every_spelling() {
        let of = |field, text| value(WORKSPACE, PROVIDER, field, text);
        assert_eq!(of(Field::PHONE, "+1 (202) 555-0123"), of(Field::PHONE, "+12025550123"));
        assert_eq!(of(Field::SENIORITY, "Vice President"), of(Field::SENIORITY, "vp"));
        assert_eq!(of(Field::JOB_TITLE, " CEO "), of(Field::JOB_TITLE, "CEO"));
        assert_ne!(of(Field::JOB_TITLE, "CEO"), of(Field::LOCATION, "CEO"));
        assert_ne!(of(Field::JOB_TITLE, "CEO"), value(WORKSPACE, WORKSPACE, Field::JOB_TITLE, "CEO"));
    }

    #[test]
    fn what_an_enrichment_filled_in_makes_nobody_else_of_a_contact() {
        let known = identity(WORKSPACE, &ada());
        let filled = with(ada(), Field::LINKEDIN_URL, "https://www.linkedin.com/in/ada-example");
        let filled = with(filled, Field::COMPANY_NAME, "Acme");
        assert!(may_be(WORKSPACE, &filled, known));
        let spelled = Contact { email: Some("ADA.Abbott@acme.example ".to_owned()), ..filled };
        assert!(may_be(WORKSPACE, &spelled, known));
        let other = Contact { email: Some("bea@acme.example".to_owned()), ..ada() };
        assert!(!may_be(WORKSPACE, &other, known));
    }

    #[test]
    fn a_profile_that_stood_there_before_tells_people_apart() {
        let of = |profile: &str| with(ada(), Field::LINKEDIN_URL, profile);
        let known = identity(WORKSPACE, &of("linkedin.com/in/ada-example"));
        assert!(may_be(WORKSPACE, &of("https://www.linkedin.com/in/Ada-Example/"), known));
        assert!(!may_be(WORKSPACE, &of("linkedin.com/in/another-ada"), known));
        assert!(!may_be(WORKSPACE, &ada(), known));
    }

    #[test]
    fn only_the_value_that_was_taken_back_is_refused() {
        let one = Undone {
            provider: PROVIDER,
            field: Field::PHONE,
            value: value(WORKSPACE, PROVIDER, Field::PHONE, "+12025550123"),
            identity: None,
            at: 0,
        };
        let answer = with(ada(), Field::PHONE, "+1 202 555 0123").values;
        let undone = std::slice::from_ref(&one);
        assert_eq!(among(WORKSPACE, undone, PROVIDER, &answer).names(), ["phone"]);
        assert!(among(WORKSPACE, undone, WORKSPACE, &answer).is_empty());
        let other = with(ada(), Field::PHONE, "+12025550124").values;
        assert!(among(WORKSPACE, undone, PROVIDER, &other).is_empty());
        assert_eq!(fields(undone.iter()).names(), ["phone"]);
    }
}
