//! Hashes as the list had them when it knew people by the text of their columns: one e-mail address a field, whatever stood
//! in it, telephone numbers, and name with company. Nothing is listed so any more, but who was stays so. That includes
//! stand-ins and switchboards, which stop everybody who has them: leadlex.unsuppress_contact takes them off.

use percent_encoding::percent_decode_str;

use super::of;
use crate::contact::Contact;
use crate::fields::Field;
use crate::hash::Hash;
use crate::people::text::clean;

/// By an address as it was typed.
/// `None`: the text is empty.
pub fn by_email(email: &str) -> Option<Hash> {
    let email = clean(email).to_lowercase();
    let bracketed = email.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let email = bracketed.map_or(email.as_str(), |(address, _)| address).trim();
    let email = email.strip_prefix("mailto:").unwrap_or(email).trim_end_matches('.').trim();
    (!email.is_empty()).then(|| of("email", &[email]))
}

/// By a profile as it was typed.
/// `None`: the text is no profile.
pub fn by_profile(text: &str) -> Option<Hash> {
    handle_of(text).map(|handle| of("linkedin", &[&handle.to_lowercase()]))
}

/// By everything that a contact may have been listed under.
pub fn of_contact(contact: &Contact) -> Vec<Hash> {
    let email = contact.email.as_deref().and_then(by_email);
    let profile = contact.value(Field::LINKEDIN_URL).and_then(by_profile);
    let mut all: Vec<Hash> = email.into_iter().chain(profile).collect();
    all.extend(by_phone(contact));
    all.extend(by_name(contact));
    all
}

fn by_phone(contact: &Contact) -> Option<Hash> {
    let digits: String = contact.value(Field::PHONE)?.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 6).then(|| of("phone", &[&digits]))
}

fn by_name(contact: &Contact) -> Vec<Hash> {
    let Some(name) = contact.known_full_name() else { return Vec::new() };
    let name = clean(&name).to_lowercase();
    let company = contact.value(Field::COMPANY_NAME).map(|text| clean(text).to_lowercase());
    let column = contact.company_domain.as_deref().map(str::trim).filter(|text| !text.is_empty());
    // A person who was listed by a domain had none but this column's.
    let of_email = || contact.email.as_deref()?.trim().rsplit_once('@').map(|(_, domain)| domain);
    let domain = column.or_else(of_email).map(|text| text.trim_end_matches('.').to_lowercase());
    let as_stored = column.map(str::to_lowercase);
    let known =
        |kind, text: Option<String>| text.filter(|t| !t.is_empty()).map(|text| of(kind, &[&name, &text]));
    let mut all: Vec<Hash> = [known("company", company), known("domain", domain), known("domain", as_stored)]
        .into_iter()
        .flatten()
        .collect();
    all.dedup();
    all
}

fn handle_of(text: &str) -> Option<String> {
    let decoded = decoded(text.trim());
    let path = rest_on_linkedin(&decoded).unwrap_or_else(|| decoded.trim_start_matches('/'));
    let of_path = strip(path, "in/").and_then(handle);
    of_path.or_else(|| handle(&decoded).filter(|_| !text.contains(['/', '.'])))
}

fn handle(path: &str) -> Option<String> {
    const NONE: [&str; 7] = ["null", "none", "undefined", "unknown", "true", "false", "na"];
    let handle = path.split(['?', '#']).next()?.trim_matches('/');
    let (handle, language) = handle.split_once('/').unwrap_or((handle, ""));
    let sound = |c: char| c.is_alphanumeric() || "-_".contains(c) || !c.is_ascii() && !c.is_whitespace();
    let ok = (2..=200).contains(&handle.chars().count())
        && handle.chars().all(sound)
        && handle.chars().any(char::is_alphanumeric)
        && language.len() <= 5
        && language.chars().all(sound)
        && !NONE.contains(&handle.to_lowercase().as_str());
    ok.then(|| clean(handle).into_owned())
}

fn rest_on_linkedin(text: &str) -> Option<&str> {
    let text = strip(text, "https://").or_else(|| strip(text, "http://")).unwrap_or(text);
    let (host, path) = text.trim_start_matches('/').split_once('/')?;
    let host = host.to_ascii_lowercase();
    (host == "linkedin.com" || host.ends_with(".linkedin.com")).then_some(path)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |text| text.into_owned())
}

fn strip<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    if head.eq_ignore_ascii_case(prefix) { text.get(prefix.len()..) } else { None }
}
