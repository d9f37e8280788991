//! LinkedIn profiles.

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::company;
use super::stand_in;
use super::text::clean;

const PROFILES: &str = "https://www.linkedin.com/in/";

/// Longer texts are no addresses of a profile.
const MOST_CHARS: usize = 4_000;

/// The handle of a profile, from its URL in any spelling, from `in/…`, or bare: decoded, in Unicode's form C and lower
/// case. A member's id (`ACoAA…`), which is one as well, keeps its case, because it says who it is. `None` for what is no
/// profile: other pages and hosts, no handle, or a word that stands for none.
pub fn handle(text: &str) -> Option<String> {
    handle_from_url(text).or_else(|| {
        let text = unwrapped(text);
        let bare = !text.contains(['/', '.', '\\']) && !text.to_ascii_lowercase().contains("%2f");
        bare.then(|| sound_handle(&text)).flatten()
    })
}

/// The same of a column, where a bare word may be anything that somebody typed (a first name, `yes`, a number): it is a
/// handle only where parts are joined by hyphens, as LinkedIn makes them up (`jane-doe-7b2`), and some of it is letters.
pub fn stored(text: &str) -> Option<String> {
    handle_from_url(text).or_else(|| {
        let handle = handle(text.trim_start().trim_start_matches('@'))?;
        let joined = handle.trim_matches('-').contains('-');
        let letters = handle.chars().filter(|c| c.is_alphabetic()).nth(2).is_some();
        let says_who = joined && letters && company::identifies(&handle);
        (is_member_id(&handle) || says_who).then_some(handle)
    })
}

/// Whether [`stored`] finds one.
pub fn is_stored(text: &str) -> bool {
    plain_handle(text).is_some_and(is_handle) || stored(text).is_some()
}

/// The same as [`handle`], but not from a bare word, which may be anything.
/// `None` for any other text.
pub fn handle_from_url(text: &str) -> Option<String> {
    from_url_within(text, 3)
}

/// The normal form of a profile's URL: `https://www.linkedin.com/in/<handle>`. Bare words are none.
pub fn normal_url(text: &str) -> Option<String> {
    if let Some(handle) = plain_handle(text).filter(|handle| is_handle(handle)) {
        return Some([PROFILES, handle].concat());
    }
    handle_from_url(text).map(|handle| format!("{PROFILES}{}", encoded(&handle)))
}

/// `depth`: how many URLs inside of URLs are looked into.
fn from_url_within(text: &str, depth: usize) -> Option<String> {
    if text.len() > MOST_CHARS || depth == 0 {
        return None;
    }
    if let Some(handle) = plain_handle(text) {
        return is_handle(handle).then(|| handle.to_owned());
    }
    let text = unwrapped(text);
    // Encoded as a whole, so that no slash is left: once more what it was.
    let text = if !text.contains('/') && text.to_ascii_lowercase().contains("%2f") {
        Cow::Owned(clean(&percent_decode_str(&text).decode_utf8().ok()?).into_owned())
    } else {
        Cow::Borrowed(text.as_str())
    };
    let on_linkedin = on_linkedin(&text);
    let path = on_linkedin.unwrap_or_else(|| without_slashes(&text));
    // `/#/in/jane`: as an application in the browser writes its pages.
    let path = path.strip_prefix("/#").filter(|path| path.starts_with('/')).unwrap_or(path);
    let (path, query) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let segments: Vec<&str> =
        path.split(['/', '\\']).filter(|segment| !matches!(*segment, "" | ".")).collect();
    let segments = without_apps(&segments);
    let (kind, rest) = segments.split_first()?;
    let first = rest.first().copied();
    match kind.to_ascii_lowercase().as_str() {
        "in" => match nested(rest, path) {
            Some(inner) => from_url_within(inner, depth - 1),
            None => sound_handle(first?),
        },
        _ if on_linkedin.is_none() => None,
        "pub" => public(rest),
        "sales" | "talent" | "recruiter" => of_member(rest),
        "profile" => parameter(query, &["id"]).and_then(|id| member_id(&id)),
        "authwall" | "login" | "uas" | "signup" | "checkpoint" | "redir" => {
            let target = parameter(query, &["sessionredirect", "session_redirect", "url"])?;
            from_url_within(&target, depth - 1)
        }
        _ => None,
    }
}

/// What stands in the handle's place of a URL as LinkedIn writes them, in letters that have no other spelling. Most are so.
fn plain_handle(text: &str) -> Option<&str> {
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let path = text.strip_prefix("www.").unwrap_or(text).strip_prefix("linkedin.com/in/")?;
    let handle = path.strip_suffix('/').unwrap_or(path);
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (!handle.is_empty() && handle.bytes().all(is_plain)).then_some(handle)
}

/// `in/https://www.linkedin.com/in/jane`: a prefix that was put before a whole URL.
fn nested<'t>(rest: &[&str], path: &'t str) -> Option<&'t str> {
    let first = rest.first()?.to_ascii_lowercase();
    let is_url = matches!(first.as_str(), "http:" | "https:") || first.ends_with("linkedin.com");
    let at = path.to_ascii_lowercase().find(&first)?;
    (is_url && path.is_char_boundary(at)).then(|| &path[at..])
}

/// Without quotes and brackets around it, and the end of a sentence.
fn unwrapped(text: &str) -> String {
    let around = |c: char| {
        c.is_whitespace() || "\"'`<>()[]{}\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}\u{ab}\u{bb}".contains(c)
    };
    let text = clean(text);
    text.trim_start_matches(around).trim_end_matches(|c| around(c) || ".,;!".contains(c)).to_owned()
}

fn without_slashes(text: &str) -> &str {
    text.trim_start_matches(['/', '\\'])
}

/// What follows the host, if that is one of LinkedIn's, in any country.
fn on_linkedin(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = strip(rest, "https:").or_else(|| strip(rest, "http:")) {
        rest = without_slashes(after);
    }
    let rest = without_slashes(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next()?;
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = host.strip_suffix("linkedin.com").or_else(|| host.strip_suffix("linkedin.cn"))?;
    let subdomain = name.strip_suffix('.').unwrap_or(name);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let sound = name.is_empty() || name.ends_with('.') && subdomain.split('.').all(label);
    (sound && port.bytes().all(|b| b.is_ascii_digit())).then_some(path)
}

/// Without the segments of LinkedIn's other apps, which lead to the same pages.
fn without_apps<'s, 't>(mut segments: &'s [&'t str]) -> &'s [&'t str] {
    while let [first, rest @ ..] = segments {
        if !["mwlite", "comm", "m", "mobile", "incareer"].iter().any(|app| first.eq_ignore_ascii_case(app)) {
            break;
        }
        segments = rest;
    }
    segments
}

/// How much of a URL is looked at that stands somewhere in a text.
const MOST_BYTES_MENTIONED: usize = 1_000;

/// The handle of the profile whose URL goes on so behind LinkedIn's host, somewhere in a text. What ends a URL there is no
/// part of a handle; what is none with all its letters is not cut down to one.
pub(super) fn mentioned(behind_host: &str) -> Option<String> {
    let rest = behind_host.strip_prefix('.').unwrap_or(behind_host);
    let rest =
        rest.strip_prefix(':').map_or(rest, |port| port.trim_start_matches(|c: char| c.is_ascii_digit()));
    let is_encoded = rest.starts_with('%');
    let ends = |c: char| c.is_whitespace() || "\"<>|`".contains(c) || is_encoded && c == '&';
    let most = rest.floor_char_boundary(MOST_BYTES_MENTIONED.min(rest.len()));
    let end = rest[..most].find(ends).unwrap_or(most);
    let mut url = Cow::Borrowed(&rest[..end]);
    // A link inside of a link is encoded, as often as there are links.
    for _ in 0..3 {
        if !url.starts_with('%') {
            break;
        }
        url = Cow::Owned(percent_decode_str(&url).decode_utf8_lossy().into_owned());
    }
    if !url.starts_with(['/', '\\']) {
        return None;
    }
    let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let segments: Vec<&str> =
        path.split(['/', '\\']).filter(|segment| !matches!(*segment, "" | ".")).take(8).collect();
    let segments = without_apps(&segments);
    let (kind, rest) = segments.split_first()?;
    let kind = kind.to_ascii_lowercase();
    if NOT_PEOPLES.contains(&kind.as_str()) {
        return None;
    }
    if let Some(at) = segments.iter().position(|segment| segment.eq_ignore_ascii_case("in")) {
        return sound_handle(whole(segments.get(at + 1)?.trim_start_matches('@'), is_of_handle)?)
            .filter(|handle| !["http", "https", "www"].contains(&handle.as_str()));
    }
    let is_of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match kind.as_str() {
        "pub" => {
            let rest: Vec<&str> = rest.iter().map_while(|part| whole(part, is_of_handle)).collect();
            public(&rest)
        }
        "sales" | "talent" | "recruiter" => {
            let [kind, id, ..] = rest else { return None };
            of_member(&[kind, whole(id.split('%').next()?, is_of_id)?])
        }
        "profile" => member_id(whole(&parameter(query, &["id"])?, is_of_id)?),
        _ => None,
    }
}

/// First segments of pages that are about no person, whatever follows.
const NOT_PEOPLES: [&str; 12] = [
    "company", "school", "showcase", "groups", "jobs", "posts", "pulse", "feed", "search", "learning",
    "events", "help",
];

fn is_of_handle(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '-' | '_' | '%')
        || !c.is_ascii() && !c.is_whitespace() && !stand_in::is_mark(c)
}

/// The letters at the beginning, if what follows ends a URL, and is not one more of its letters.
fn whole(segment: &str, is_letter: impl Fn(char) -> bool) -> Option<&str> {
    let (letters, rest) = segment.split_at(segment.find(|c| !is_letter(c)).unwrap_or(segment.len()));
    // The end of a sentence or of an emphasis.
    let after = rest.trim_start_matches(['.', '!', ':', '\'', '*', '~']);
    let ends = |c: char| {
        matches!(c, ',' | ';' | '&' | '"' | ')' | ']' | '}' | '<' | '>' | '|')
            || !is_letter(c) && !c.is_ascii()
    };
    let ends = after.chars().next().is_none_or(ends);
    ends.then_some(letters)
}

/// `pub/jane-doe/1/2a/345`, the form of before 2016, which leads to `in/jane-doe-34502a1`.
fn public(rest: &[&str]) -> Option<String> {
    let (name, numbers) = rest.split_first()?;
    let is_number =
        |text: &&str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match numbers {
        [a, b, c, ..] if [a, b, c].into_iter().all(is_number) => {
            sound_handle(&format!("{name}-{c:0>3}{b:0>3}{a}"))
        }
        [first, ..] if is_number(first) => None,
        // `pub/dir/…` lists people of a name.
        _ => sound_handle(name).filter(|handle| handle != "dir"),
    }
}

/// `sales/lead/ACwAA…,NAME_SEARCH,abcd`, `talent/profile/AEMAA…`: the member's id.
fn of_member(rest: &[&str]) -> Option<String> {
    let [kind, id, ..] = rest else { return None };
    let of_people = ["lead", "people", "profile"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    of_people.then(|| member_id(id.split([',', '%']).next().unwrap_or_default())).flatten()
}

fn member_id(text: &str) -> Option<String> {
    is_member_id(text).then(|| text.to_owned())
}

/// The form of LinkedIn's ids of members: two characters for the kind, `AA`, and base64.
fn is_member_id(text: &str) -> bool {
    (30..=60).contains(&text.len())
        && ["ACo", "ACw", "AEM", "ADE", "AAk", "AC4"].iter().any(|kind| text.starts_with(kind))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn parameter(query: &str, names: &[&str]) -> Option<String> {
    let query = query.trim_start_matches('?').split('#').next().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))?;
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

/// What stands in the handle's place, if it is one.
fn sound_handle(segment: &str) -> Option<String> {
    // Encoded twice, where a URL was handed on inside another one.
    let once = percent_decode_str(segment).decode_utf8().ok()?;
    let decoded = if once.contains('%') {
        percent_decode_str(&once).decode_utf8().ok()?
    } else {
        Cow::Borrowed(once.as_ref())
    };
    let cleaned = clean(&decoded);
    if is_member_id(&cleaned) {
        return Some(cleaned.into_owned());
    }
    // Word processors make such dashes of a hyphen, and no handle has one.
    let hyphen = |c: char| if matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}') { '-' } else { c };
    let handle: String = cleaned.to_lowercase().nfc().map(hyphen).collect();
    is_handle(&handle).then_some(handle)
}

/// In normal form.
fn is_handle(handle: &str) -> bool {
    let sound = |c: char| c.is_alphanumeric() || "-_/".contains(c) || !c.is_ascii() && !c.is_whitespace();
    (2..=200).contains(&handle.chars().count())
        && handle.chars().all(sound)
        && handle.chars().any(char::is_alphanumeric)
        && !stand_in::is_stand_in(handle)
        && !NOT_HANDLES.contains(&handle)
}

/// Pages of LinkedIn that are nobody's profile (`me` is the reader's own), and what vendors and forms write for none.
const NOT_HANDLES: [&str; 23] = [
    "true",
    "false",
    "in",
    "me",
    "edit",
    "feed",
    "company",
    "school",
    "showcase",
    "jobs",
    "groups",
    "posts",
    "pulse",
    "profile",
    "search",
    "username",
    "user-name",
    "your-name",
    "yourname",
    "your-profile",
    "yourprofile",
    "linkedin",
    "object-object",
];

/// Everything but what RFC 3986 calls unreserved.
fn encoded(handle: &str) -> String {
    let mut out = String::with_capacity(handle.len());
    for byte in handle.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

fn strip<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    text.get(..prefix.len())
        .filter(|head| head.eq_ignore_ascii_case(prefix))
        .and_then(|_| text.get(prefix.len()..))
}

#[cfg(test)]
#[path = "linkedin_tests.rs"]
mod tests;
