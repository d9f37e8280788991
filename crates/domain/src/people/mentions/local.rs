//! What stands before an @ somewhere in a text.

use std::borrow::Cow;

use crate::people::email::is_letter;

/// A local part has 64 characters; this is more than any of them takes, with what stands around it.
const LONGEST: usize = 1_000;

/// The local part that ends at the @ at this place of the text; `after`: what follows the domain behind it.
/// `None`: no local part ends there.
pub fn before<'t>(text: &'t str, at: usize, after: &str) -> Option<Cow<'t, str>> {
    let doubled = |c: char| c == '@' || c.is_whitespace();
    let before = without_comment(text[..at].trim_end_matches(doubled));
    if let Some(quoted) = before.strip_suffix('"') {
        return in_quotes(quoted);
    }
    let bare = before.trim_end_matches(CLOSING);
    let start = bare.rfind(|c| !is_of_local(c)).map_or(0, |last| last + char_len(bare, last));
    let (opened, run) = bare.split_at(start);
    // What is closed here begins somewhere else: a part of it is another address.
    if bare.len() < before.len() && !opened.ends_with(OPENING) || run.len() > LONGEST {
        return None;
    }
    // Up to the first other sign it is the domain of the address before it.
    let run = match opened.ends_with('@') {
        true => run.split_once(|c| !super::is_of_domain(c))?.1,
        false => run,
    };
    let local = bare_local(without_labels(run), after);
    (!local.is_empty()).then_some(Cow::Borrowed(local))
}

const OPENING: &[char] =
    &['{', '`', '[', '(', '<', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{ab}', '\u{bb}'];
const CLOSING: &[char] = &['}', '`', ']', ')', '>', '\u{201c}', '\u{201d}', '\u{2019}', '\u{ab}', '\u{bb}'];

fn is_of_local(c: char) -> bool {
    is_letter(c) || "._%+-'&/=?*~!#$^".contains(c)
}

fn char_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// `jane(work)@acme.example`: a comment of RFC 5322 at the end.
fn without_comment(before: &str) -> &str {
    let Some(inside) = before.strip_suffix(')') else { return before };
    let tail = &inside[inside.floor_char_boundary(inside.len().saturating_sub(LONGEST))..];
    match tail.rfind(['(', ')', '@']).filter(|at| tail[*at..].starts_with('(')) {
        // With nothing before it, it is no comment but a local part in brackets.
        Some(at) if inside[..inside.len() - tail.len() + at].ends_with(is_of_local) => {
            &inside[..inside.len() - tail.len() + at]
        }
        _ => before,
    }
}

/// `"jane"@acme.example`. An address with blanks or the like between the quotes is another one than that without.
fn in_quotes(text: &str) -> Option<Cow<'_, str>> {
    let start = text.rfind(|c| !is_of_local(c))?;
    let local = &text[start + char_len(text, start)..];
    (text[start..].starts_with('"') && local.len() <= LONGEST).then_some(Cow::Borrowed(local))
}

/// Without what a form, a link or a person writes before an address: `email=jane`, `?to=jane`, `Jane/jane`. One or two
/// letters are part of it (`r/d`).
fn without_labels(run: &str) -> &str {
    let Some((first, _)) = run.split_once(['/', '=', '?']) else { return run };
    let letters = first.chars().filter(|c| is_letter(*c)).count();
    let is_label =
        letters == 0 || letters > 2 || ["to", "cc"].iter().any(|known| first.eq_ignore_ascii_case(known));
    match is_label {
        true => run.rsplit(['/', '=', '?', '&']).next().unwrap_or(run),
        false => run,
    }
}

/// Without what emphasises it or begins a line; underscores only where one follows the domain as well.
fn bare_local<'t>(run: &'t str, after: &str) -> &'t str {
    let mut local = run;
    while let Some(sign) = local.chars().next().filter(|c| matches!(c, '.' | '-' | '*' | '~' | '\'' | '_')) {
        if sign == '_' && !after.starts_with('_') {
            break;
        }
        let rest = &local[1..];
        local = rest.strip_suffix(sign).unwrap_or(rest);
    }
    local
}
