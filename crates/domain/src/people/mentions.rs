//! Addresses and profiles anywhere in a text, also where it is no value: whoever is on the suppression list must not be
//! asked about because their address stands in a formula, a sentence or a link. Never for asking or identifying.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::Rules;
use super::email::{self, Address};
use super::profile;

/// What is longer is not looked through.
const MOST_CHARS: usize = 10_000;

/// Each `local@domain` that stands in the text.
pub fn addresses(text: &str) -> Vec<Address> {
    let text = plain(text);
    let mut found = Vec::new();
    for (at, _) in text.bytes().enumerate().filter(|(_, b)| *b == b'@') {
        let (before, after) = (text[..at].trim_end(), text[at + 1..].trim_start());
        let local = before.rsplit(|c| !is_of_local(c)).next().unwrap_or_default();
        let domain = after.split(|c| !is_of_domain(c)).next().unwrap_or_default();
        let local = local.trim_matches(|c| matches!(c, '.' | '-' | '_' | '\''));
        let one = format!("{local}@{}", domain.trim_matches(['.', '-']));
        found.extend(email::first(&one, Rules { reserved_domains: true }));
    }
    found.dedup();
    found
}

/// The handle of each LinkedIn profile whose URL stands in the text.
pub fn profiles(text: &str) -> Vec<String> {
    // The shortest path to a profile has two of them, encoded or not.
    if text.is_ascii() && !text.contains(['/', '\\', '%']) {
        return Vec::new();
    }
    let text = plain(text).replace('\\', "/");
    let lower = text.to_ascii_lowercase();
    if !lower.contains("linkedin.") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, sign) in lower.match_indices("/in/") {
        let rest = text[at + sign.len()..].trim_start_matches(['@', '/']);
        let handle = rest.split(|c| !is_of_handle(c)).next().unwrap_or_default();
        found.extend(profile::handle(&format!("in/{handle}")));
    }
    found.dedup();
    found
}

/// Full-width letters folded, and what stands for a sign undone.
fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().nth(MOST_CHARS).is_some() {
        return Cow::Borrowed("");
    }
    if text.is_ascii() && !text.contains(['%', '&', '(', '[']) {
        return Cow::Borrowed(text);
    }
    let mut text: String = text.nfkc().collect();
    // A link inside of a link is encoded twice.
    for _ in 0..2 {
        if let Ok(decoded) = percent_decode_str(&text).decode_utf8() {
            text = decoded.into_owned();
        }
    }
    for (written, sign) in
        [("&#64;", "@"), ("&commat;", "@"), ("(at)", "@"), ("[at]", "@"), ("(dot)", "."), ("[dot]", ".")]
    {
        text = text.replace(written, sign);
    }
    Cow::Owned(text)
}

fn is_of_local(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'')
}

fn is_of_domain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-')
}

fn is_of_handle(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_wherever_it_stands() {
        for text in [
            "jane.doe@acme.example",
            r#"="jane.doe@acme.example""#,
            r#"=HYPERLINK("mailto:jane.doe@acme.example";"Jane")"#,
            "x@y.example、jane.doe@acme.example",
            "x@y.example•jane.doe@acme.example",
            r"x@y.example\jane.doe@acme.example",
            r#"{"email":"jane.doe@acme.example"}"#,
            "E-Mail-Adresse:jane.doe@acme.example",
            "jane.doe@acme.example:25",
            "jane.doe@acme.example#frag",
            "http://jane.doe@acme.example",
            "jane.doe @acme.example",
            "*jane.doe@acme.example*",
            "~jane.doe@acme.example",
            ".jane.doe@acme.example",
            "jane.doe&#64;acme.example",
            "jane.doe@acme.example_old",
            "Jane/jane.doe@acme.example",
            "jane.doe(at)acme.example",
            "mailto:?to=jane.doe@acme.example",
            "mailto:x@y.example?cc=jane.doe%40acme.example",
            "email=jane.doe@acme.example",
        ] {
            assert!(addresses(text).iter().any(|found| found.normal == "jane.doe@acme.example"), "{text}");
        }
        for text in ["", "@", "jane.doe", "jane@", "@acme.example", "jane @ home"] {
            assert_eq!(addresses(text), [], "{text}");
        }
    }

    #[test]
    fn a_profile_is_found_wherever_it_stands() {
        for text in [
            "LinkedIn: https://www.linkedin.com/in/jane-doe-77",
            "https://www.linkedin.com/in/jane-doe-77 https://x.example/jane",
            "https://www.linkedin.com/in/other-one, https://www.linkedin.com/in/jane-doe-77",
            "www.linkedin.com/in/jane-doe-77 | LinkedIn",
            r#"<a href="https://linkedin.com/in/jane-doe-77">"#,
            "https://www.linkedin.com/en-us/in/jane-doe-77",
            "https://www.linkedin.com/in/jane-doe-77;x",
            r"see linkedin.com\in\jane-doe-77 x@one.example",
            "https://www.linkedin.com/in/jane-doe-77&x=1",
            "https://www.linkedin.com/in/@jane-doe-77",
            "https://www.linkedin.com/mwlite/profile/in/Jane-Doe-77",
            "https://google.com/url?q=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane-doe-77",
            "https://www.linkedin.com/in/ｊａｎｅ-ｄｏｅ-７７",
        ] {
            assert!(profiles(text).iter().any(|found| found == "jane-doe-77"), "{text}");
        }
        for text in ["", "linkedin.com/company/acme", "/in/jane-doe-77", "linkedin.com/in/"] {
            assert_eq!(profiles(text), Vec::<String>::new(), "{text}");
        }
    }
}
