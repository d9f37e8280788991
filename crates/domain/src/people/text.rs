//! Texts as they are compared and stored, whatever they are.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// In Unicode's normal form C, without outer white space, control characters (NUL above all, which no Postgres text
/// can hold) and marks that are invisible or turn the direction of writing round.
pub fn clean(text: &str) -> Cow<'_, str> {
    // Most texts have nothing to be composed or taken out.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Cow::Borrowed(text.trim());
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
        return Cow::Borrowed("");
    }
    Cow::Owned(text.trim().to_owned())
}

/// Marks without a shape of their own, fillers, and those that turn the direction of writing round.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Chooses between two shapes of the character before it.
pub fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Full-width letters, digits and signs (as Japanese keyboards give them) as their ASCII ones.
pub fn folded_width(text: Cow<'_, str>) -> Cow<'_, str> {
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
    Cow::Owned(text.chars().map(fold).collect())
}
