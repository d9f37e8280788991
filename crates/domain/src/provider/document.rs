//! What the body of an answer is: JSON, nothing, or somebody else's page.

use serde_json::Value;

use super::exchange::Answer;
use super::failure_kind::Seen;
use super::mending::mended;

/// The body of an answer, read. It is [`Document::Broken`] also where it has no content type and is no JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    Json(Value),
    /// Nothing but white space.
    Empty,
    /// HTML or other text: what stands in front of a vendor writes such, and the vendor does not.
    Page,
    /// It should be JSON, and is none.
    Broken,
    /// In an encoding that is not undone.
    Encoded(String),
}

impl Document {
    /// Reads the body, whatever the status. JSON may have a byte order mark (RFC 8259), be in Latin 1 where
    /// the content type says so, or have numbers and signs that JSON does not allow ([`super::mending`]).
    pub fn of(answer: &Answer) -> Document {
        if let Some(encoding) = answer.header("content-encoding").filter(|e| !is_plain(e)) {
            return Document::Encoded(encoding.trim().to_ascii_lowercase());
        }
        let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if answer.body.iter().all(u8::is_ascii_whitespace) {
            return Document::Empty;
        }
        if let Some(json) = json_of(&answer.body).or_else(|| json_at_second_sight(&kind, &answer.body)) {
            return Document::Json(json);
        }
        let says_json = kind.contains("json");
        let first = answer.body.iter().find(|byte| !byte.is_ascii_whitespace());
        match first {
            _ if says_json => Document::Broken,
            Some(b'<') => Document::Page,
            Some(b'{' | b'[') => Document::Broken,
            _ if kind.is_empty() => Document::Broken,
            _ => Document::Page,
        }
    }

    /// The JSON of an answer as text, mended where it had to be; `None`: it has none that is plain.
    pub fn text_of(answer: &Answer) -> Option<String> {
        let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
        if json_of(body).is_some() {
            return String::from_utf8(body.to_vec()).ok();
        }
        let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let recoded = recoded(&kind, body).filter(|_| std::str::from_utf8(body).is_err());
        Some(mended(recoded.as_deref().unwrap_or(body)))
    }

    /// The JSON; `None` for any other body.
    pub fn json(&self) -> Option<&Value> {
        match self {
            Document::Json(json) => Some(json),
            _ => None,
        }
    }
}

fn is_plain(encoding: &str) -> bool {
    ["", "identity"].contains(&encoding.trim().to_ascii_lowercase().as_str())
}

fn json_of(body: &[u8]) -> Option<Value> {
    // RFC 8259 lets a reader ignore a byte order mark, and some servers send one.
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()
}

/// A body that is JSON in its own encoding, or but for what JSON cannot say.
fn json_at_second_sight(content_type: &str, body: &[u8]) -> Option<Value> {
    let recoded = recoded(content_type, body).filter(|_| std::str::from_utf8(body).is_err());
    let body = recoded.as_deref().unwrap_or(body);
    let plain = recoded.as_ref().and_then(|_| json_of(body));
    plain.or_else(|| json_of(mended(body).as_bytes()))
}

/// A body that says that it is Latin 1 (or what browsers take for it, Windows-1252), as UTF-8.
fn recoded(content_type: &str, body: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [&str; 8] =
        ["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "l1", "windows-1252", "cp1252"];
    let (_, name) = content_type.split_once("charset=")?;
    let name = name.split(';').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    let text: String = NAMES.contains(&name).then(|| body.iter().map(|&byte| latin(byte)).collect())?;
    Some(text.into_bytes())
}

fn latin(byte: u8) -> char {
    /// 0x80 to 0x9f of Windows-1252; what has no meaning there stays a control character.
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

/// How much of an answer is shown.
const SHOWN_CHARS: usize = 100;
/// How much of it is looked at, so that a secret is found that begins within what is shown.
const LOOKED_AT_BYTES: usize = 32 * 1_024;

fn cut(masked: &str) -> String {
    let short: String = masked.chars().take(SHOWN_CHARS).collect();
    if short.len() < masked.len() { format!("{short}…") } else { short }
}

impl Seen {
    /// What is kept of an answer: at most the first 32 KiB of its body, nothing of a body in an encoding. A
    /// location is kept without query, fragment, user and password.
    pub fn of(answer: &Answer) -> Seen {
        let header = |name| answer.header(name).map(printable).filter(|text| !text.is_empty());
        let encoded = answer.header("content-encoding").is_some_and(|e| !is_plain(e));
        let head = &answer.body[..answer.body.len().min(LOOKED_AT_BYTES)];
        Seen {
            content_type: header("content-type"),
            // Where to, not what with: the query may repeat who was asked about.
            location: header("location").as_deref().map(place),
            text: if encoded { String::new() } else { printable(&String::from_utf8_lossy(head)) },
        }
    }

    /// The same of an answer that may hold a token: its media type and how many bytes it has, and nothing that it says.
    pub fn kind_and_size(answer: &Answer) -> Seen {
        let size = format!("{} bytes", answer.body.len());
        let about = answer.header("content-type").and_then(media_type).map(|kind| format!("{kind}, {size}"));
        Seen { content_type: Some(about.unwrap_or(size)), location: None, text: String::new() }
    }

    /// How the body begins, with everything masked before it is cut.
    pub fn beginning(&self, mask: impl Fn(&str) -> String) -> String {
        cut(&mask(&self.text))
    }

    /// `(text/html, Location: https://…): "<html>…"`, with everything masked before it is cut.
    pub fn words(&self, mask: impl Fn(&str) -> String) -> String {
        let cut = |text: &str| cut(&mask(text));
        let location = self.location.as_deref().map(|to| format!("Location: {}", cut(to)));
        let about: Vec<String> = self.content_type.as_deref().map(cut).into_iter().chain(location).collect();
        let mut words = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        if !self.text.is_empty() {
            words.push_str(&format!(": \"{}\"", cut(&self.text)));
        }
        words
    }
}

/// Without parameters; `None`: it is none that anybody would know.
fn media_type(header: &str) -> Option<&str> {
    const KINDS: [&str; 9] =
        ["application", "audio", "font", "image", "message", "model", "multipart", "text", "video"];
    const LONGEST: usize = 40;
    let kind = header.split(';').next().unwrap_or_default().trim();
    let (main, sub) = kind.split_once('/')?;
    let known = KINDS.iter().any(|known| known.eq_ignore_ascii_case(main));
    let plain = sub.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b));
    (known && plain && !sub.is_empty() && kind.len() <= LONGEST).then_some(kind)
}

/// On one line, without what cannot be seen.
fn printable(text: &str) -> String {
    let visible = |c: char| !c.is_control() && !is_invisible(c);
    let words = text.split_whitespace().map(|word| word.chars().filter(|c| visible(*c)).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Marks that change the order or the look of what stands beside them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;

/// Where a `Location` leads, without what may be secret in it: query, fragment, user and password.
fn place(to: &str) -> String {
    let to = to.split(['?', '#']).next().unwrap_or_default();
    let after_scheme = to.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = to.split_at(after_scheme);
    let host_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..host_ends].rfind('@').filter(|_| after_scheme > 0) {
        Some(at) => format!("{scheme}{}", &rest[at + 1..]),
        None => to.to_owned(),
    }
}
