//! Who a contact is: what of it may be sent to a provider, and what of that identifies it. Stand-ins ("N/A"), impossible
//! addresses and the like are nobody's, so they are neither. Made once for a call; the forms are those of [`super::people`].

use std::cell::OnceCell;

use super::contact::Contact;
use super::contact_row::ContactRow;
use super::fields::Field;
use super::people::email::{self, Address, RoleMailboxes, addresses};
use super::people::{Rules, company, linkedin, name, phone, value};
use super::shared::Shared;

/// No identifying value is longer; what is longer counts as empty rather than travel to a vendor. An address has a limit of
/// its own, however long the text that it stands in.
const MAX_VALUE_CHARS: usize = 1_000;

/// Suppression knows every address, whatever the settings say about it.
const ANY_DOMAIN: Rules = Rules { reserved_domains: true };

/// One value of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As it is sent.
    pub sent: String,
    /// The same for all spellings of one value; `None` where it does not identify (a telephone number of five digits).
    pub normal: Option<String>,
}

impl Given {
    fn new(sent: &str, normal: Option<String>) -> Given {
        Given { sent: sent.to_owned(), normal }
    }

    /// For values that go out in their normal form.
    fn as_sent(sent: String) -> Given {
        Given { normal: Some(sent.clone()), sent }
    }

    /// What tells it from other values, whether it identifies or not.
    pub fn form(&self) -> &str {
        self.normal.as_deref().unwrap_or(&self.sent)
    }
}

/// First and last name.
type Split = (Option<Given>, Option<Given>);

/// What a contact says of who it is. A value is `None` where the contact has none, or only one that
/// identifies no person, such as a stand-in.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The contact's row; `None` for a contact that is in no table.
    pub row: Option<ContactRow>,
    pub email: Option<Given>,
    /// That address is nobody's own: `info@`.
    pub role_mailbox: bool,
    pub full_name: Option<Given>,
    pub company_name: Option<Given>,
    pub company_domain: Option<Given>,
    pub linkedin_url: Option<Given>,
    pub linkedin_handle: Option<Given>,
    pub phone: Option<Given>,
    pub location: Option<Given>,
    /// What of it many people have in common: that is neither sent, nor does it identify.
    pub shared: Shared,
    /// The company's domain was taken from the address.
    pub domain_of_address: bool,
    /// All addresses in the field for e-mail, with whether each is a role mailbox.
    pub addresses: Vec<(Address, bool)>,
    /// The names that have columns of their own.
    stored: Split,
    /// Looked at where a request has a place for it.
    names: OnceCell<Split>,
}

impl Person {
    /// Reads the contact. `rules`: which addresses count as real. `roles`: addresses of several people, such
    /// as `info@`.
    pub fn of(contact: &Contact, rules: Rules, roles: &RoleMailboxes) -> Person {
        let all = addresses(contact.email.as_deref().unwrap_or_default(), ANY_DOMAIN);
        // The first of however many there are.
        let address = contact.email.as_deref().and_then(|text| first(&all, text, rules));
        let role_mailbox = address.as_ref().is_some_and(|address| roles.contains(address));
        let roles: Vec<bool> = all.iter().map(|address| roles.contains(address)).collect();
        let domain = kept(contact.company_domain.as_deref()).and_then(company::domain);
        let domain_of_address = domain.is_none();
        let domain = domain.or_else(|| company::domain_of(address.as_ref()?));
        let parts = (named(contact.first_name.as_deref()), named(contact.last_name.as_deref()));
        let whole = both(&parts);
        // "First" and "Last" are words that a name can have; together they are none.
        let stored =
            if whole.is_none() && parts.0.is_some() && parts.1.is_some() { (None, None) } else { parts };
        let url = kept(contact.value(Field::LINKEDIN_URL));
        let handle = url.and_then(linkedin::stored);
        let number = kept(contact.value(Field::PHONE)).filter(|text| phone::is_number(text));
        Person {
            row: None,
            role_mailbox,
            shared: Shared::default(),
            domain_of_address,
            email: address.map(|address| Given { sent: address.sent, normal: Some(address.normal) }),
            full_name: named(contact.full_name.as_deref()).or(whole),
            company_name: filled(contact, Field::COMPANY_NAME).filter(|g| company::identifies(&g.sent)),
            company_domain: domain.map(Given::as_sent),
            linkedin_url: handle.as_ref().and_then(|handle| Some(Given::new(url?, Some(handle.clone())))),
            linkedin_handle: handle.map(Given::as_sent),
            phone: number.map(|text| Given::new(text, phone::normal(text))),
            location: filled(contact, Field::LOCATION),
            addresses: all.into_iter().zip(roles).collect(),
            stored,
            names: OnceCell::new(),
        }
    }

    /// The contact's row with it.
    pub fn in_row(self, row: ContactRow) -> Person {
        Person { row: Some(row), ..self }
    }

    /// From its own column, else out of the full name where that is certain.
    pub fn first_name(&self) -> Option<&Given> {
        self.names().0.as_ref()
    }

    /// As [`Person::first_name`], the last name.
    pub fn last_name(&self) -> Option<&Given> {
        self.names().1.as_ref()
    }

    fn names(&self) -> &Split {
        self.names.get_or_init(|| {
            let (first, last) = self.stored.clone();
            if first.is_some() && last.is_some() {
                return (first, last);
            }
            let split =
                self.full_name.as_ref().and_then(|full| name::split(self.without_company(&full.sent)));
            let (of_first, of_last) = split.unzip();
            // A part may be a word that alone is no name ("Jane Example").
            let part =
                |text: String| Given::new(&text, Some(name::normal(&text).unwrap_or_else(|| folded(&text))));
            let given = |text: Option<String>| text.map(part);
            (first.or_else(|| given(of_first)), last.or_else(|| given(of_last)))
        })
    }

    /// "Jane Doe, Acme" and "Acme, Jane Doe" are no "Surname, Given" where the contact's company is Acme.
    fn without_company<'t>(&self, full: &'t str) -> &'t str {
        let is_company =
            |part: &str| self.company_name.as_ref().is_some_and(|name| company::same(&name.sent, part));
        let (before, after) = (full.rsplit_once(','), full.split_once(','));
        match (before, after) {
            (Some((name, part)), _) if is_company(part) => name,
            // A surname can be a company's name ("Ford, Jane"): two words are a whole name.
            (_, Some((part, name))) if is_company(part) && name.trim().contains(' ') => name,
            _ => full,
        }
    }

    /// Names of columns that have a text, and one that is no value: it is neither sent, nor does it identify.
    pub fn without_value(&self, contact: &Contact) -> Vec<&'static str> {
        let own_domain = kept(contact.company_domain.as_deref()).and_then(company::domain).is_some();
        let column = |field| contact.value(field);
        let columns = [
            ("full_name", contact.full_name.as_deref(), self.full_name.is_some()),
            ("first_name", contact.first_name.as_deref(), self.stored.0.is_some()),
            ("last_name", contact.last_name.as_deref(), self.stored.1.is_some()),
            ("email", contact.email.as_deref(), self.email.is_some()),
            ("company_domain", contact.company_domain.as_deref(), own_domain),
            ("company_name", column(Field::COMPANY_NAME), self.company_name.is_some()),
            ("linkedin_url", column(Field::LINKEDIN_URL), self.linkedin_url.is_some()),
            ("phone", column(Field::PHONE), self.phone.is_some()),
            ("location", column(Field::LOCATION), self.location.is_some()),
        ];
        let without = |(_, text, has): &(_, Option<&str>, bool)| {
            !has && text.is_some_and(|text| !text.trim().is_empty())
        };
        columns.into_iter().filter(without).map(|(name, ..)| name).collect()
    }

    /// Names of columns whose value is sent where something else identifies the contact, and does not identify it alone: a role
    /// mailbox, a telephone number that is too short, and a full name beside a company that does not split into first and last
    /// name.
    pub fn not_alone(&self) -> Vec<&'static str> {
        let short = self.phone.as_ref().is_some_and(|phone| phone.normal.is_none());
        let domain = self.company_domain.is_some() && !self.domain_of_address;
        let company = self.company_name.is_some() || domain;
        let whole =
            || self.full_name.is_some() && (self.first_name().is_none() || self.last_name().is_none());
        let mailbox = self.email.is_some() && self.role_mailbox;
        let columns = [("full_name", company && whole()), ("email", mailbox), ("phone", short)];
        columns.into_iter().filter(|(_, so)| *so).map(|(name, _)| name).collect()
    }

    /// What the person is called, in normal form: the whole name, else what is known of it.
    /// `None`: no name is known.
    pub fn called(&self) -> Option<&str> {
        let parts = [&self.full_name, &self.stored.0, &self.stored.1];
        parts.into_iter().flatten().map(Given::form).next()
    }
}

/// The first address of a text of which `all` are known. Reading it again is needed only where a reserved domain stands in it.
fn first(all: &[Address], text: &str, rules: Rules) -> Option<Address> {
    let reserved =
        |address: &Address| matches!(address.domain().rsplit('.').next(), Some("test" | "example"));
    if rules == ANY_DOMAIN || !all.iter().any(reserved) {
        return all.first().cloned();
    }
    email::first(text, rules)
}

/// A column's text, if there is any.
fn kept(text: Option<&str>) -> Option<&str> {
    let text = text?.trim();
    (!text.is_empty() && text.chars().nth(MAX_VALUE_CHARS).is_none()).then_some(text)
}

fn named(text: Option<&str>) -> Option<Given> {
    let text = kept(text)?;
    Some(Given::new(text, Some(name::normal(text)?)))
}

/// The full name of a contact that has it in two columns.
fn both(stored: &Split) -> Option<Given> {
    let (Some(first), Some(last)) = stored else { return None };
    named(Some(&format!("{} {}", first.sent, last.sent)))
}

/// A text without a form of its own: it is the same in any case and with any white space.
fn filled(contact: &Contact, field: Field) -> Option<Given> {
    let text = kept(contact.value(field)).filter(|text| !value::is_empty(field, Some(text)))?;
    Some(Given::new(text, Some(folded(text))))
}

fn folded(text: &str) -> String {
    crate::people::text::clean(text).split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
impl Person {
    /// Of a contact that a test made up, so with a reserved domain; with the role mailboxes of the setting's default.
    pub fn made_up(contact: &Contact) -> Person {
        Person::of(contact, ANY_DOMAIN, &RoleMailboxes::parse(super::people::email::ROLE_MAILBOXES))
    }
}

#[cfg(test)]
#[path = "person_tests.rs"]
mod tests;
