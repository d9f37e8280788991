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

/// The contact as it was before a write that has put `after` in the place of `before` in these fields, where it still holds that, however
/// it is spelled. Of other fields than those by which it is known nothing is changed.
pub fn before_write<'v>(
    workspace: Uuid,
    contact: Contact,
    before: impl Fn(Field) -> Option<&'v str>,
    after: impl Fn(Field) -> Option<&'v str>,
    fields: FieldSet,
) -> Contact {
    let mut contact = contact;
    for field in FILLED_IN.into_iter().filter(|field| fields.contains(*field)) {
        let Some(written) = after(field) else { continue };
        let mut values = FieldMap::default();
        values.set(field, written.to_owned());
        let as_written = of_field(workspace, &contact.with(values), field);
        if as_written == of_field(workspace, &contact, field) {
            match before(field) {
                Some(value) => contact.values.set(field, value.to_owned()),
                None => contact.values.unset(field),
            }
        }
    }
    contact
}

/// Whom a row is about: eight bytes of a hash of what it says of name, address and domain, and three times 21 bits of hashes
/// of company, profile and number, 0 for none; all in normal form.
pub fn identity(workspace: Uuid, contact: &Contact) -> Hash {
    let fields = FILLED_IN
        .into_iter()
        .fold(0, |all, field| (all << FIELD_BITS) | u64::from(of_field(workspace, contact, field)));
    let mut identity = who(workspace, contact);
    identity[8..].copy_from_slice(&fields.to_be_bytes());
    identity
}

/// Whether the row is still about whom it was when its [`identity`] was `known`. Where a field was empty then, an enrichment may
/// have filled it in; where it is empty now, a reload may have taken it away. One of them is the same at least, if there is no
/// name, address or domain.
pub fn may_be(workspace: Uuid, contact: &Contact, known: Hash) -> bool {
    let now = identity(workspace, contact);
    if now[..8] != known[..8] {
        return false;
    }
    let [now, then] = [now, known].map(fields_of);
    let pairs = || now.into_iter().zip(then);
    let alike = pairs().all(|(now, then)| now == 0 || then == 0 || now == then);
    let same = pairs().any(|(now, then)| now != 0 && now == then);
    alike && (same || then == [0; 3] || !is_nameless(contact))
}

const FIELD_BITS: u32 = 21;

fn fields_of(identity: Hash) -> [u64; 3] {
    let all = identity[8..].iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    let mask = (1 << FIELD_BITS) - 1;
    [all >> (2 * FIELD_BITS), (all >> FIELD_BITS) & mask, all & mask]
}

fn is_nameless(contact: &Contact) -> bool {
    contact.identifying().into_iter().all(|value| value.is_none_or(|text| text::clean(text).is_empty()))
}

fn who(workspace: Uuid, contact: &Contact) -> Hash {
    let named = |text: &str| name::normal(text).unwrap_or_else(|| text::clean(text).to_lowercase());
    let full = contact.known_full_name().map(|text| named(&text)).unwrap_or_default();
    let address = |text: &str| {
        let first = email::first(text, Rules { reserved_domains: true });
        first.map_or_else(|| text::clean(text).to_lowercase(), |address| address.normal)
    };
    let email = contact.email.as_deref().map(address).unwrap_or_default();
    let domain = contact.company_domain.as_deref();
    let domain = domain.map(|text| text::clean(text).to_lowercase()).unwrap_or_default();
    hash(&[b"identity", workspace.as_bytes(), full.as_bytes(), email.as_bytes(), domain.as_bytes()])
}

/// 21 bits; 0: it is empty.
fn of_field(workspace: Uuid, contact: &Contact, field: Field) -> u32 {
    let Some(text) = contact.value(field).filter(|text| !is_empty(field, Some(text))) else { return 0 };
    let normal = match field.kind() {
        Kind::Profile => linkedin::handle(text),
        Kind::Phone => phone::normal(text),
        Kind::Text | Kind::Seniority => None,
    };
    let normal = normal.unwrap_or_else(|| text::clean(text).to_lowercase());
    let parts: [&[u8]; 4] = [b"identity", workspace.as_bytes(), field.name().as_bytes(), normal.as_bytes()];
    let hash = hash(&parts);
    let bits = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> (u32::BITS - FIELD_BITS);
    bits.max(1)
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
    }

    /// A later call was made with what an earlier one had filled in, and that is gone, too.
    #[test]
    fn what_a_reload_took_away_makes_nobody_else_of_a_contact() {
        let filled = with(ada(), Field::LINKEDIN_URL, "linkedin.com/in/ada-example");
        let filled = with(with(filled, Field::PHONE, "+12025550123"), Field::COMPANY_NAME, "Acme");
        let known = identity(WORKSPACE, &filled);
        assert!(may_be(WORKSPACE, &filled, known) && may_be(WORKSPACE, &ada(), known));
        assert!(may_be(WORKSPACE, &with(ada(), Field::PHONE, "+1 202 555 0123"), known));
        assert!(!may_be(WORKSPACE, &with(ada(), Field::PHONE, "+12025550124"), known));
        assert!(!may_be(WORKSPACE, &Contact { email: None, ..ada() }, known));
        // Where nothing else says who it is, something has to be the same.
        let profile = with(Contact::default(), Field::LINKEDIN_URL, "linkedin.com/in/ada-example");
        let known = identity(WORKSPACE, &with(profile.clone(), Field::PHONE, "+12025550123"));
        assert!(may_be(WORKSPACE, &profile, known));
        assert!(!may_be(WORKSPACE, &Contact::default(), known));
        assert!(!may_be(WORKSPACE, &with(Contact::default(), Field::COMPANY_NAME, "Acme"), known));
        assert!(may_be(WORKSPACE, &profile, identity(WORKSPACE, &Contact::default())));
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
