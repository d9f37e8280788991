//! Who must not be asked about: people, by hashes of what identifies them. Nobody can be read off the list.

use super::contact::Contact;
use super::fields::Field;
use super::people::{profile, value::clean};
use super::receipt::{Hash, hash};

/// A person by e-mail address, whatever its spelling: upper and lower case, `Jane <jane@…>`, `mailto:`.
pub fn by_email(email: &str) -> Option<Hash> {
    let email = clean(email).to_lowercase();
    let bracketed = email.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let email = bracketed.map_or(email.as_str(), |(address, _)| address).trim();
    let email = email.strip_prefix("mailto:").unwrap_or(email).trim_end_matches('.').trim();
    (!email.is_empty()).then(|| of("email", &[email]))
}

/// A contact by everything that may identify it: it is suppressed when one of these is.
pub fn of_contact(contact: &Contact) -> Vec<Hash> {
    let mut all = certain(contact);
    all.extend(by_phone(contact));
    all.extend(by_name(contact));
    all
}

/// What a provider's refusal is kept under: what can be no other person, else whatever else it was asked by.
pub fn of_refusal(contact: &Contact) -> Vec<Hash> {
    let certain = certain(contact);
    if !certain.is_empty() {
        return certain;
    }
    match by_phone(contact) {
        Some(phone) => vec![phone],
        None => by_name(contact),
    }
}

fn certain(contact: &Contact) -> Vec<Hash> {
    let email = contact.known_email().and_then(by_email);
    let profile = contact.value(Field::LinkedinUrl).and_then(profile::handle);
    let profile = profile.map(|handle| of("linkedin", &[&handle.to_lowercase()]));
    email.into_iter().chain(profile).collect()
}

fn by_phone(contact: &Contact) -> Option<Hash> {
    let digits: String = contact.value(Field::Phone)?.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 6).then(|| of("phone", &[&digits]))
}

fn by_name(contact: &Contact) -> Vec<Hash> {
    let Some(name) = contact.known_full_name() else { return Vec::new() };
    let name = clean(&name).to_lowercase();
    let company = contact.value(Field::CompanyName).map(|text| clean(text).to_lowercase());
    let domain = contact.known_company_domain().map(|text| text.trim().to_lowercase());
    let known =
        |kind, text: Option<String>| text.filter(|t| !t.is_empty()).map(|text| of(kind, &[&name, &text]));
    known("company", company).into_iter().chain(known("domain", domain)).collect()
}

fn of(kind: &str, parts: &[&str]) -> Hash {
    let parts: Vec<&[u8]> = ["suppression", kind].iter().chain(parts).map(|part| part.as_bytes()).collect();
    hash(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(email: Option<&str>, name: Option<&str>, fields: &[(Field, &str)]) -> Contact {
        let mut contact = Contact {
            email: email.map(str::to_owned),
            full_name: name.map(str::to_owned),
            ..Contact::default()
        };
        for (field, value) in fields {
            contact.values.set(*field, (*value).to_owned());
        }
        contact
    }

    fn meets(suppressed: &Contact, other: &Contact) -> bool {
        let list = of_refusal(suppressed);
        of_contact(other).iter().any(|hash| list.contains(hash))
    }

    #[test]
    fn a_person_is_known_again_by_address_or_profile_in_any_spelling() {
        let jane =
            contact(Some("Jane@Acme.example "), None, &[(Field::LinkedinUrl, "linkedin.com/in/Jane-Doe")]);
        assert!(meets(&jane, &contact(Some("jane@acme.EXAMPLE"), None, &[])));
        assert!(meets(
            &jane,
            &contact(
                Some("other@x.example"),
                None,
                &[(Field::LinkedinUrl, "https://de.linkedin.com/in/jane-doe/")]
            )
        ));
        assert!(!meets(&jane, &contact(Some("joe@acme.example"), None, &[])));
        assert_eq!(by_email("JANE@acme.example"), by_email("jane@acme.example"));
        assert_eq!(by_email("  "), None);
    }

    #[test]
    fn less_certain_marks_count_only_where_there_is_nothing_better() {
        let phone =
            contact(None, Some("Jane Doe"), &[(Field::Phone, "+1 (555) 0100"), (Field::CompanyName, "Acme")]);
        assert!(meets(&phone, &contact(None, None, &[(Field::Phone, "1-555-0100")])));
        assert!(!meets(&phone, &contact(None, Some("Jane Doe"), &[(Field::CompanyName, "Acme")])));
        let name = contact(None, Some("Jane Doe"), &[(Field::CompanyName, "Acme")]);
        assert!(meets(
            &name,
            &contact(Some("jd@x.example"), Some("jane doe"), &[(Field::CompanyName, " ACME")])
        ));
        assert!(!meets(&name, &contact(None, Some("Jane Doe"), &[(Field::CompanyName, "Other")])));
        // A colleague behind the same switchboard is somebody else.
        let refused = contact(Some("a@acme.example"), None, &[(Field::Phone, "+1 555 0100")]);
        assert!(!meets(&refused, &contact(Some("b@acme.example"), None, &[(Field::Phone, "+1 555 0100")])));
    }
}
