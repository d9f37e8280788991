//! Companies: their domains, and which names are names of one.

use super::email::Address;
use super::host;
use super::list::{self, List};
use super::stand_in;
use super::text::{clean, folded_width};

static MAIL_PROVIDERS: List<1_024> = List::new(include_str!("data/mail_providers.txt"));
// A million bytes are read at compile time.
#[allow(long_running_const_eval)]
static THROW_AWAY: List<16_384> = List::new(include_str!("data/throw_away.txt"));
static STAND_INS: List = List::new(include_str!("data/company_stand_ins.txt"));
static LEGAL_FORMS: List = List::new(include_str!("data/legal_forms.txt"));

/// The registrable domain of a company, in ASCII, out of a domain, a host, a URL or an e-mail address. `None` for
/// stand-ins and what is no domain, public suffixes, mail providers, relays and throw-away addresses, and for pages on
/// somebody else's site.
pub fn domain(text: &str) -> Option<String> {
    let text = folded_width(clean(text));
    let text = text.trim_matches(|c: char| c.is_whitespace() || "\"'`<>()[]{},;".contains(c));
    let text = text.split_once("://").map_or(text, |(_, rest)| rest).trim_start_matches('/');
    let end = text.find(['/', '?', '#', '\\']).unwrap_or(text.len());
    let (authority, path) = text.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = match host.split_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => host,
    };
    let host = host::ascii_host(host)?;
    let registrable = registrable(&host)?;
    let is_page = path.len() > 1 && HOSTS_OF_PAGES.contains(&registrable);
    (!is_page && !is_open_to_anyone(&host, registrable)).then(|| registrable.to_owned())
}

/// Whether anybody can have an address at this host, in ASCII: that of a mail provider, a relay or throw-away addresses.
pub fn is_open_to_all(host: &str) -> bool {
    registrable(host).is_some_and(|registrable| is_open_to_anyone(host, registrable))
}

/// The domain of the company whose address it is.
/// `None` where [`domain`] gives none: such as for mail providers, relays and throw-away addresses.
pub fn domain_of(address: &Address) -> Option<String> {
    domain(address.domain())
}

/// Sites where other companies have pages.
const HOSTS_OF_PAGES: [&str; 10] = [
    "linkedin.com",
    "facebook.com",
    "instagram.com",
    "twitter.com",
    "x.com",
    "xing.com",
    "youtube.com",
    "crunchbase.com",
    "google.com",
    "tiktok.com",
];

fn registrable(host: &str) -> Option<&str> {
    let unreal = ["invalid", "localhost", "local", "localdomain", "internal", "onion", "alt", "arpa"];
    if unreal.contains(&host.rsplit('.').next()?) {
        return None;
    }
    psl::domain_str(host)
}

fn is_open_to_anyone(host: &str, registrable: &str) -> bool {
    let mut part = host;
    loop {
        if MAIL_PROVIDERS.contains(part) || THROW_AWAY.contains(part) {
            return true;
        }
        match part.split_once('.') {
            Some((_, parent)) if part != registrable => part = parent,
            _ => break,
        }
    }
    // Services with a domain in each country.
    let name = registrable.split('.').next().unwrap_or_default();
    let families = ["yahoo", "hotmail", "gmx", "ymail", "rocketmail", "outlook", "onmicrosoft"];
    families.contains(&name)
}

/// Whether a company's name says which company it is: no stand-in, not `self-employed` and the like, and no domain at which
/// anybody can have an address.
pub fn identifies(name: &str) -> bool {
    let name = clean(name);
    if !name.contains(char::is_whitespace) && is_at_open_host(&name) {
        return false;
    }
    let said = list::words(&name);
    !stand_in::is_stand_in(&name) && !said.is_empty() && !STAND_INS.contains(&said)
}

/// Whether the word is a host, a URL or an address where anybody can have one.
fn is_at_open_host(word: &str) -> bool {
    let rest = word.split_once("://").map_or(word, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().filter(|host| host.contains('.'));
    host.and_then(host::ascii_host).is_some_and(|host| is_open_to_all(&host))
}

/// Whether two names are one company's: case, punctuation and legal form aside.
pub fn same(a: &str, b: &str) -> bool {
    let (a, b) = (core(a), core(b));
    !a.is_empty() && a == b
}

/// The words of a name that make it this company's, in one spelling: names with the same words are [`same`]. Empty: it has none.
pub fn core(name: &str) -> String {
    let name = folded_width(clean(name)).replace(['.', '\'', '\u{2019}', '`'], "").replace('&', " and ");
    let said = list::words(&name.to_uppercase());
    let words: Vec<&str> = said.split(' ').filter(|word| !word.is_empty()).collect();
    let words = match words.as_slice() {
        ["the", rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let kept = without_forms(words);
    kept.iter()
        .map(|word| if matches!(*word, "und" | "et" | "y" | "e" | "og" | "och") { "and" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Without legal forms at the end or at the beginning, as long as something is left.
fn without_forms<'w, 't>(mut words: &'w [&'t str]) -> &'w [&'t str] {
    const LONGEST_FORM: usize = 5;
    let is_form = |part: &[&str]| LEGAL_FORMS.contains(&part.join(" "));
    loop {
        let most = LONGEST_FORM.min(words.len().saturating_sub(1));
        let at_end = (1..=most).rev().find(|n| is_form(&words[words.len() - n..]));
        if let Some(n) = at_end {
            words = &words[..words.len() - n];
            if let [rest @ .., "and"] = words
                && !rest.is_empty()
            {
                words = rest;
            }
            continue;
        }
        match (1..=most).rev().find(|n| is_form(&words[..*n])) {
            Some(n) => words = &words[n..],
            None => return words,
        }
    }
}

#[cfg(test)]
#[path = "company_tests.rs"]
mod tests;
