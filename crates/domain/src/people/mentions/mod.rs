//! Addresses, their domains and profiles anywhere in a text, also where it is no value: a person on the suppression list
//! is not asked about although their address stands in a formula, a sentence or a link. Never for asking or identifying.
//!
//! Every text is read to its end, in time that grows with its length alone. What is found is whole: the address of which
//! another one is a part is not mentioned by it.

mod local;
mod plain;

use std::borrow::Cow;

use super::email::{self, Address, is_letter};
use super::{Rules, host, linkedin};
use plain::plain;

/// What stands in one text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Each `local@domain`.
    pub addresses: Vec<Address>,
    /// Each domain behind an @, whatever stands before it, in ASCII.
    pub domains: Vec<String>,
}

impl Mentions {
    /// The addresses and domains that the text mentions, in their order. Both are empty where it has no
    /// `@domain`.
    pub fn of(text: &str) -> Mentions {
        let mut found = Mentions::default();
        let text = plain(text, true);
        for (at, _) in text.match_indices('@') {
            let Some((domain, after)) = domain_behind(&text[at + 1..]) else { continue };
            if let Some(local) = local::before(&text, at, after) {
                found.addresses.extend(email::sound(&local, &domain, Rules { reserved_domains: true }));
            }
            found.domains.push(domain.into_owned());
        }
        found
    }
}

/// Each `local@domain` that stands in the text.
pub fn addresses(text: &str) -> Vec<Address> {
    Mentions::of(text).addresses
}

/// No host is longer, in any script.
const LONGEST_HOST: usize = 1_000;

/// The host at the beginning of what follows an @, and what follows it.
fn domain_behind(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.trim_start();
    let text = without_comment(text);
    let end = text.find(|c| !is_of_domain(c)).unwrap_or(text.len());
    let domain = text[..end].trim_matches(['.', '-']);
    if domain.is_empty() || domain.len() > LONGEST_HOST {
        return None;
    }
    Some((Cow::Owned(host::ascii_host(domain)?), &text[end..]))
}

/// `jane@(work)acme.example` is allowed, if nowhere used.
fn without_comment(text: &str) -> &str {
    let head = &text[..text.floor_char_boundary(LONGEST_HOST.min(text.len()))];
    match head.find([')', '@']).filter(|at| head.starts_with('(') && head[*at..].starts_with(')')) {
        Some(at) => &text[at + 1..],
        None => text,
    }
}

fn is_of_domain(c: char) -> bool {
    is_letter(c) || matches!(c, '.' | '-')
}

/// The handle of each LinkedIn profile whose URL stands in the text.
pub fn profiles(text: &str) -> Vec<String> {
    // The shortest path to a profile has two of them, encoded or not.
    if text.is_ascii() && !text.contains(['/', '\\', '%', '&']) {
        return Vec::new();
    }
    // What is encoded in a URL says more than what it comes to: `jane%2Fdoe` is not `jane`.
    let text = plain(text, false);
    let lower = text.to_ascii_lowercase();
    let hosts = || lower.match_indices("linkedin.c").map(|(at, start)| (at, at + start.len()));
    // Up to the next host, and with it, so that nothing is looked at twice.
    let ends = hosts().map(|(_, end)| end).skip(1).chain([text.len()]);
    let mut found = Vec::new();
    for ((at, start), end) in hosts().zip(ends) {
        let Some(host) = ["om", "n"].iter().find(|rest| lower[start..].starts_with(**rest)) else { continue };
        if begins_a_host(&lower[..at]) {
            found.extend(linkedin::mentioned(&text[start + host.len()..end]));
        }
    }
    found
}

/// Whether what follows is no part of a longer name.
fn begins_a_host(before: &str) -> bool {
    let is_encoded = before.ends_with("2f") && before[..before.len() - 2].ends_with(['%', '5']);
    is_encoded || !before.ends_with(|c: char| is_letter(c) || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests;
