//! Values of the fields as they are written, whichever vendor they came from.

use super::text::clean;
use super::{linkedin, mentions, phone, seniority, stand_in};
use crate::fields::{Field, Kind};

/// A vendor's text as a value of this field, as it is written; `None` where it is none. `settled`: a word that the
/// provider's description itself gives, and means.
pub fn value(field: Field, text: &str, settled: bool) -> Option<String> {
    let text = clean(text);
    if text.is_empty() || !settled && stand_in::is_stand_in(&text) {
        return None;
    }
    let text = match field.kind() {
        Kind::Seniority if !settled => {
            seniority::word(&text).map_or_else(|| text.into_owned(), str::to_owned)
        }
        Kind::Profile => linkedin::normal_url(&text)?,
        Kind::Phone if !phone::is_number(&text) => return None,
        Kind::Phone | Kind::Seniority | Kind::Text => text.into_owned(),
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
        Kind::Profile => !linkedin::is_stored(&text) && !is_profile_in_text(&text),
        Kind::Phone => !phone::is_number(&text),
        Kind::Text | Kind::Seniority => stand_in::is_stand_in(&text),
    }
}

/// Whether a profile stands within other text, or beside something else: it identifies nobody, but it is somebody's work. A
/// URL that is only broken is not meant.
fn is_profile_in_text(text: &str) -> bool {
    let begins = ["http", "www.", "linkedin.", "in/", "/"];
    let is_url = begins
        .iter()
        .any(|begin| text.get(..begin.len()).is_some_and(|head| head.eq_ignore_ascii_case(begin)));
    (!is_url || text.contains([',', ';', '|'])) && !mentions::profiles(text).is_empty()
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
            Kind::Profile => equal(linkedin::handle),
            Kind::Phone => equal(|text| phone::normal(text).map(|normal| normal.replace('+', ""))),
            Kind::Seniority => equal(|text| seniority::word(text).map(str::to_owned)),
            Kind::Text => false,
        }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
