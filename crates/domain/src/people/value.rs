//! Values of the fields as they are written, whichever vendor they came from.

use unicode_normalization::UnicodeNormalization;

use super::{phone, profile, seniority, stand_in};
use crate::fields::{Field, Kind};

/// A vendor's text as a value of this field, as it is written; `None` where it is none. `settled`: a word that the
/// provider's description itself gives, and means.
pub fn value(field: Field, text: &str, settled: bool) -> Option<String> {
    let text = clean(text);
    if text.is_empty() || !settled && stand_in::is_stand_in(&text) {
        return None;
    }
    let text = match field.kind() {
        Kind::Seniority if !settled => seniority::word(&text).map_or(text, str::to_owned),
        Kind::Profile => profile::url(&text)?,
        Kind::Phone if !phone::is_number(&text) => return None,
        Kind::Phone | Kind::Seniority | Kind::Text => text,
    };
    // Rather nothing than a part, which the provider did not supply.
    text.chars().nth(field.max_chars()).is_none().then_some(text)
}

/// Whether a stored value is none: NULL, nothing visible, or what only stands in for a value.
pub fn is_empty(field: Field, stored: Option<&str>) -> bool {
    let Some(stored) = stored else { return true };
    let text = clean(stored);
    match field.kind() {
        _ if text.is_empty() => true,
        Kind::Profile => profile::handle(&text).is_none(),
        Kind::Phone => !phone::is_number(&text),
        Kind::Text | Kind::Seniority => stand_in::is_stand_in(&text),
    }
}

/// Whether writing `offered` over `stored` would change nothing that counts: they are equal byte for byte, or in the
/// field's normal form.
pub fn same(field: Field, stored: &str, offered: &str) -> bool {
    if stored == offered {
        return true;
    }
    let equal = |normal: fn(&str) -> Option<String>| {
        let stored = normal(stored);
        stored.is_some() && stored == normal(offered)
    };
    clean(stored) == clean(offered)
        || match field.kind() {
            Kind::Profile => equal(profile::handle),
            Kind::Phone => equal(|text| phone::normal(text).map(|normal| normal.replace('+', ""))),
            Kind::Seniority => equal(|text| seniority::word(text).map(str::to_owned)),
            Kind::Text => false,
        }
}

/// In Unicode's normal form C, without outer white space, control characters (NUL above all, which no Postgres text
/// can hold) and marks that are invisible or turn the direction of writing round.
pub fn clean(text: &str) -> String {
    // Most texts have nothing to be composed or taken out.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text.trim().to_owned();
    }
    let kept = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
        control if control.is_control() => None,
        invisible if is_invisible(invisible) => None,
        other => Some(other),
    });
    // Composed after the removal: what is taken out may have stood between a letter and its accent.
    let text = kept.nfc().collect::<String>();
    // Joiners belong into the words of some scripts; alone they are nothing.
    if text.chars().all(|c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{2800}') || c.is_whitespace()) {
        return String::new();
    }
    text.trim().to_owned()
}

/// Marks without a shape of their own, fillers, and those that turn the direction of writing round.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Full-width letters, digits and signs (as Japanese keyboards give them) as their ASCII ones.
pub fn folded_width(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let fold = |c| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        '\u{3002}' | '\u{ff61}' => '.',
        '\u{2024}' => '.',
        _ => c,
    };
    text.chars().map(fold).collect()
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
