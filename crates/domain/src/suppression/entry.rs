//! What somebody asks to be put on the list, or to be taken off it.

use super::{by_address, by_domain, by_profile, former};
use crate::hash::Hash;
use crate::people::email::{Address, addresses};
use crate::people::{Rules, company, linkedin, mentions};

/// An address, a profile or a domain of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub hash: Hash,
    /// What the same was listed under in the form before.
    pub former: Option<Hash>,
    /// What the role that lists it may not have meant.
    pub caution: Option<Caution>,
}

/// What the person who lists the value should know; the entry counts all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// The domain of a mail provider, a relay or throw-away addresses: everybody's who has an address there.
    OpenToAll,
    /// An address with `*` or `%` in it, which stand for themselves.
    NoWildcard,
}

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Nothing,
    Several,
    Wildcard,
    PublicSuffix,
}

impl Mistake {
    /// The mistake as a clause for messages, behind the place of the text.
    pub const fn words(self) -> &'static str {
        match self {
            Mistake::Nothing => "is no e-mail address, no LinkedIn profile and no @domain",
            Mistake::Several => "has more than one address in it",
            Mistake::Wildcard => "has a wildcard in it",
            Mistake::PublicSuffix => "is a suffix under which domains are registered",
        }
    }
}

impl Entry {
    /// One value. An address may have a name or `mailto:` around it, but nothing else beside it.
    /// The error tells what the text is instead.
    pub fn parse(text: &str) -> Result<Entry, Mistake> {
        let text = text.trim();
        if let Some(handle) = linkedin::handle_from_url(text) {
            return Ok(Entry { hash: by_profile(&handle), former: former::by_profile(text), caution: None });
        }
        let found = text.strip_prefix('@').map_or_else(|| of_address(text), of_domain);
        // Such signs are letters of an address: a person who is asked about by such an address can be listed by it.
        let is_pattern = text.contains('*') || text.contains('%') && text.contains('@');
        found.map_err(|mistake| match mistake {
            Mistake::Nothing if is_pattern => Mistake::Wildcard,
            other => other,
        })
    }

    /// The hash in the present form, and the one in the former form where that differs.
    pub fn hashes(&self) -> impl Iterator<Item = Hash> {
        [Some(self.hash), self.former.filter(|former| *former != self.hash)].into_iter().flatten()
    }
}

fn of_domain(domain: &str) -> Result<Entry, Mistake> {
    if domain.contains(|c: char| c == '@' || c == ',' || c == ';' || c.is_whitespace()) {
        return Err(Mistake::Several);
    }
    let found = addresses(&format!("x@{domain}"), Rules { reserved_domains: true });
    let [address] = found.as_slice() else { return Err(Mistake::Nothing) };
    let domain = address.domain();
    if psl::domain_str(domain).is_none() {
        return Err(Mistake::PublicSuffix);
    }
    let caution = company::is_open_to_all(domain).then_some(Caution::OpenToAll);
    Ok(Entry { hash: by_domain(domain), former: None, caution })
}

/// Whether words follow the address, other than the subject of a link.
fn has_more(text: &str, address: &str) -> bool {
    let (text, address) = (text.to_lowercase(), address.to_lowercase());
    let after = text.rsplit_once(&address).map_or("", |(_, after)| after);
    !after.starts_with('?') && after.contains(char::is_alphanumeric)
}

/// Whether a word stands right before the address: it may be the first half of another one, as in `jane roe@acme.example`.
fn follows_a_word(text: &str, address: &str) -> bool {
    let (text, address) = (text.to_lowercase(), address.to_lowercase());
    let before = text.split_once(&address).map_or("", |(before, _)| before);
    before.ends_with(char::is_whitespace) && before.trim_end().ends_with(char::is_alphanumeric)
}

fn of_address(text: &str) -> Result<Entry, Mistake> {
    let mut found = addresses(text, Rules { reserved_domains: true });
    found.dedup_by(|one, other| one.normal == other.normal);
    let address = match found.as_slice() {
        [] => return Err(Mistake::Nothing),
        [address] => address,
        _ => return Err(Mistake::Several),
    };
    // Whatever else has an @ in it would be left out without a word.
    let at_signs = |text: &str| text.matches(['@', '\u{ff20}']).count() + text.matches("%40").count();
    let written = text.to_lowercase().matches(&address.sent.to_lowercase()).count().max(1);
    if at_signs(text) != written * at_signs(&address.sent) {
        return Err(Mistake::Several);
    }
    // And so would another one in disguise, a profile, or words beside it.
    let beside = text.to_lowercase().replace(&address.sent.to_lowercase(), " ");
    let is_other = |other: &Address| other.person() != address.person();
    if mentions::addresses(&beside).iter().any(is_other) || !mentions::profiles(text).is_empty() {
        return Err(Mistake::Several);
    }
    if has_more(text, &address.sent) || follows_a_word(text, &address.sent) {
        return Err(Mistake::Nothing);
    }
    let caution = address.local().contains(['*', '%']).then_some(Caution::NoWildcard);
    Ok(Entry { hash: by_address(address), former: former::by_email(text), caution })
}
