//! E-mail addresses.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use unicode_normalization::char::is_combining_mark;

use super::stand_in;
use super::text::{clean, folded_width, is_variation_selector};
use super::{Rules, host};

/// One address out of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it is stored, without what wraps it.
    pub sent: String,
    /// In lower case, the domain in ASCII.
    pub normal: String,
}

/// All addresses of one field, in their order and each once. None for stand-ins, for a spreadsheet's errors and formulas,
/// and for what is no address: without one @, a local part and a domain with a dot, or with a domain that is reserved.
pub fn addresses(text: &str, rules: Rules) -> Vec<Address> {
    if is_plain(text) {
        return address(text, rules).into_iter().collect();
    }
    let text = folded_width(clean(text));
    if !text.contains(['@', '%']) || stand_in::is_spreadsheet_error(&text) {
        return Vec::new();
    }
    let mut found: Vec<Address> =
        candidates(&text).iter().filter_map(|candidate| address(candidate, rules)).collect();
    let mut known = BTreeSet::new();
    found.retain(|address| known.insert(address.normal.clone()));
    found
}

/// Whether the text is one word with one @, of letters that no address is wrapped in. Most are so.
fn is_plain(text: &str) -> bool {
    const LONGEST: usize = 254;
    let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'@');
    text.len() <= LONGEST
        && is_end(text.bytes().next())
        && is_end(text.bytes().next_back())
        && text.bytes().all(is_inner)
        && text.bytes().filter(|b| *b == b'@').count() == 1
}

/// The first of them, which identifies and is sent.
/// `None`: the text has no address that counts.
pub fn first(text: &str, rules: Rules) -> Option<Address> {
    addresses(text, rules).into_iter().next()
}

impl Address {
    /// The form for suppression, which one person's mailbox has in all its spellings: without `+tag`, and for Gmail
    /// without dots and under one domain.
    pub fn person(&self) -> String {
        let local = untagged(self.local());
        match self.domain() {
            "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
            domain => format!("{local}@{domain}"),
        }
    }

    /// What stands before the @ of the normal form.
    pub fn local(&self) -> &str {
        self.normal.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// What stands behind it.
    pub fn domain(&self) -> &str {
        self.normal.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

fn untagged(local: &str) -> &str {
    local.split_once('+').map(|(before, _)| before).filter(|before| !before.is_empty()).unwrap_or(local)
}

/// The default of `leadlex.role_mailboxes`: those of RFC 2142, and what organisations call the mailboxes that several
/// people read.
pub const ROLE_MAILBOXES: &str = "abuse, accounting, accounts, admin, administration, anfrage, billing, booking, bookings, \
buchhaltung, career, careers, commercial, compta, contact, contacto, contato, contatti, customerservice, datenschutz, dpo, \
einkauf, empfang, enquiries, enquiry, feedback, finance, frontdesk, ftp, hello, help, helpdesk, hola, hostmaster, hr, \
info, information, inquiries, invoices, it, jobs, kontakt, legal, mail, mailbox, marketing, media, news, newsletter, \
no-reply, noc, noreply, office, office365, orders, personal, post, postmaster, presse, press, privacy, purchasing, \
rechnung, recruiting, recruitment, reception, reservations, sales, secretary, security, sekretariat, service, services, \
support, team, usenet, uucp, ventas, verkauf, vertrieb, webmaster, welcome, www, zentrale";

/// Mailboxes of a role, not of a person: they identify only together with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleMailboxes(Vec<String>);

impl RoleMailboxes {
    /// From local parts with commas, semicolons or white space between them; `info@` is `info`.
    pub fn parse(setting: &str) -> RoleMailboxes {
        let words = setting.split(|c: char| c.is_whitespace() || c == ',' || c == ';');
        let mut all: Vec<String> = words
            .map(|word| word.trim_end_matches('@').to_lowercase())
            .filter(|word| !word.is_empty())
            .collect();
        all.sort_unstable();
        all.dedup();
        RoleMailboxes(all)
    }

    /// Whether the address is one of them, with a `+tag` or without.
    pub fn contains(&self, address: &Address) -> bool {
        let local = untagged(address.local());
        self.0.binary_search_by(|role| role.as_str().cmp(local)).is_ok()
    }
}

/// What may be an address: the parts of a field that has several, each without its display name.
fn candidates(text: &str) -> Vec<Cow<'_, str>> {
    let mut candidates = Vec::new();
    let last_closing = text.rfind('>').unwrap_or(0);
    let mut start = 0;
    for (at, c) in text.char_indices().chain([(text.len(), ';')]) {
        // A comma inside of a word is a dot that somebody mistyped, not the end of an address.
        if !is_separator(c) || c == ',' && is_mistyped_dot(text, at) {
            continue;
        }
        let part = &text[start..at];
        start = at + c.len_utf8();
        if !part.contains(['@', '%']) {
            continue;
        }
        // In front of an address in brackets stands a name, which may look like an address.
        let is_name = c == '<' || at < last_closing && text[at..].trim_start().starts_with('<');
        if !is_name {
            candidates.extend(separated(part));
        }
    }
    candidates
}

/// What stands between two addresses, in text of any language.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '|' | '<' | '>' | '\u{3001}' | '\u{2022}')
}

/// `jane@acme,example`: what follows at once has no @ of its own.
fn is_mistyped_dot(text: &str, at: usize) -> bool {
    let next = text[at + 1..].split(is_separator).next();
    let begins_soundly = |next: &str| next.starts_with(|c: char| c.is_alphanumeric());
    next.is_some_and(|next| begins_soundly(next) && !next.contains('@'))
}

/// One address, or two with a slash between them (`a@x.example/b@y.example`).
fn separated(part: &str) -> Vec<Cow<'_, str>> {
    let several = part.matches('@').count() > 1 && !part.contains("://") && !part.contains('?');
    let pieces: Vec<&str> = if several { part.split('/').collect() } else { vec![part] };
    pieces.into_iter().map(unwrapped).collect()
}

/// What an address, or the part of it before the @, is put into.
const WRAPPERS: [(char, char); 15] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('<', '>'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201d}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{2019}', '\u{2019}'),
    ('\u{201a}', '\u{2018}'),
    ('\u{ab}', '\u{bb}'),
    ('\u{bb}', '\u{ab}'),
];

/// Without quotes, brackets, `mailto:` and the end of a sentence.
fn unwrapped(part: &str) -> Cow<'_, str> {
    let opens = |c: char| c == ':' || WRAPPERS.iter().any(|(open, _)| *open == c) || is_sign(c);
    let closes = |c: char| {
        matches!(c, ',' | ';' | '.' | ':' | '!' | '?' | '/' | '\\')
            || WRAPPERS.iter().any(|(_, close)| *close == c)
            || is_sign(c)
    };
    let mut rest = part.trim_start_matches(opens);
    let mut is_link = false;
    while let Some(after) = without_scheme(rest) {
        let after = after.trim_start_matches('/');
        rest = after.strip_prefix('?').map_or(after, recipient).trim_start_matches(opens);
        is_link = true;
    }
    // What follows in a link are its subject and the like.
    if let Some((address, _)) = rest.split_once('?').filter(|(address, _)| address.contains(['@', '%'])) {
        rest = address;
    }
    let rest = rest.trim_end_matches(closes);
    let opened = &part[..part.find(rest).unwrap_or(0)];
    let bare = match rest.split_once('@').map(|(local, domain)| (local, closed(local, opened), domain)) {
        Some((local, bare, domain)) if bare != local => Cow::Owned(format!("{bare}@{domain}")),
        _ => Cow::Borrowed(rest),
    };
    if !is_link && bare.contains('@') {
        return bare;
    }
    match percent_decode_str(&bare).decode_utf8() {
        Ok(decoded) => Cow::Owned(decoded.into_owned()),
        Err(_) => bare,
    }
}

/// `{jane}@acme.example`: without what closes what was opened before it.
fn closed<'t>(mut local: &'t str, opened: &str) -> &'t str {
    for open in opened.chars() {
        let closing = WRAPPERS.iter().filter(|(known, _)| *known == open).map(|(_, close)| *close);
        local = closing.filter_map(|close| local.strip_suffix(close)).next().unwrap_or(local);
    }
    local
}

/// A sign of no alphabet that is no ASCII: a bullet, an arrow, a picture. In no address that anybody has.
fn is_sign(c: char) -> bool {
    !c.is_ascii() && !is_letter(c) && !c.is_whitespace()
}

/// Of any script, with the marks that some put on their letters, and what joins these.
pub(super) fn is_letter(c: char) -> bool {
    let only_for_looks = is_variation_selector(c);
    let joins = matches!(c, '\u{200c}' | '\u{200d}');
    c.is_alphanumeric() || !c.is_ascii() && !only_for_looks && (joins || is_combining_mark(c))
}

/// What stands behind a link's scheme, or behind the name of a form's field.
fn without_scheme(text: &str) -> Option<&str> {
    const SCHEMES: [&str; 5] = ["mailto", "smtp", "email", "e-mail", "mail"];
    let after = |scheme: &&str| {
        let head = text.get(..scheme.len()).filter(|head| head.eq_ignore_ascii_case(scheme));
        head.and_then(|_| text[scheme.len()..].strip_prefix([':', '=']))
    };
    SCHEMES.iter().find_map(after)
}

/// Whom a link without an address is to (`mailto:?subject=x&to=jane@acme.example`, RFC 6068); nothing where it does not say.
fn recipient(query: &str) -> &str {
    let to = |pair: &'_ str| pair.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("to="));
    query.split('&').find(|pair| to(pair)).map_or("", |pair| &pair[3..])
}

fn address(text: &str, rules: Rules) -> Option<Address> {
    let (local, domain) = text.trim().split_once('@')?;
    sound(local, domain, rules)
}

/// These two with an @ between them, if that is an address.
pub(super) fn sound(local: &str, domain: &str, rules: Rules) -> Option<Address> {
    let ascii = host::ascii_host(domain)?;
    let local = sound_local(local, &ascii)?;
    let local_normal = local.to_lowercase();
    if is_reserved(&ascii, rules) || is_nobodys(&local_normal, &ascii) {
        return None;
    }
    let sent = [local, "@", domain.trim_end_matches('.')].concat();
    Some(Address { sent, normal: [&*local_normal, "@", &*ascii].concat() })
}

/// The local part without quotes that it does not need.
fn sound_local<'t>(local: &'t str, domain: &str) -> Option<&'t str> {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let local = quoted.unwrap_or(local);
    // Braces and backticks could be, too, but stand around an address or a part of it, or in a pattern: `{first}.{last}`.
    let sound = |c: char| is_letter(c) || "!#$%&'*+-/=?^_|~.".contains(c);
    // Within quotes, too, that is the beginning of a formula.
    let is_formula = local.starts_with('=');
    // These carriers gave out addresses whose dots stand anywhere.
    let dots_anywhere = ["docomo.ne.jp", "ezweb.ne.jp", "au.com"].contains(&domain);
    let dots = dots_anywhere || !(local.starts_with('.') || local.ends_with('.') || local.contains(".."));
    let ok = dots
        && !is_formula
        && local.chars().all(sound)
        && local.chars().any(char::is_alphanumeric)
        && local.chars().count() <= 64;
    ok.then_some(local)
}

/// Domains at which nobody has a mailbox: IANA's special-use names, and what ICANN keeps for private networks.
fn is_reserved(domain: &str, rules: Rules) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    // RFC 2606.
    if ["example.com", "example.net", "example.org"].contains(&domain) {
        return !rules.reserved_domains;
    }
    match last {
        "invalid" | "localhost" | "local" | "localdomain" | "internal" | "onion" | "alt" => true,
        "test" | "example" => !rules.reserved_domains,
        _ => false,
    }
}

/// `null@null.com`, `n/a@na.com`, `test@test.com`: both sides only say that there is none. `noemail@…`: so does one.
fn is_nobodys(local: &str, domain: &str) -> bool {
    const NO_MAIL: [&str; 3] = ["noemail", "nomail", "noemailaddress"];
    const ONE_WORD: [&str; 14] = [
        "none", "noreply", "test", "testing", "asdf", "xxx", "fake", "dummy", "email", "example", "user",
        "name", "domain", "company",
    ];
    let host = domain.split('.').next().unwrap_or_default();
    let is_one_of = |text: &str, words: &[&str]| {
        let word: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        words.iter().any(|known| word.eq_ignore_ascii_case(known))
    };
    let says_nothing =
        |text: &str| stand_in::is_stand_in(text) || is_one_of(text, &ONE_WORD) || is_one_of(text, &NO_MAIL);
    is_one_of(local, &NO_MAIL) || says_nothing(local) && says_nothing(host)
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
