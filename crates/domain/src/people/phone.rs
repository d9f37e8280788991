//! Telephone numbers, read by phonelib: its tables are part of the library, so nothing is loaded when it is first used.

use std::borrow::Cow;

use phonelib::PhoneNumber;

use super::stand_in;
use super::text::{clean, folded_width};

/// Fewer digits are no number but a rest of one, or an extension.
const FEWEST_DIGITS: usize = 5;
/// Fewer digits are the numbers of too many people.
const FEWEST_IDENTIFYING_DIGITS: usize = 7;
/// No number with its country, area and extension is longer; reading stops being cheap where texts have no end.
const MOST_CHARS: usize = 200;

/// What identifies: E.164, with `;ext=` and the extension where there is one, if country and length are given; else the
/// digits as they stand, if there are 7 of them. `None` for what is no number.
pub fn normal(text: &str) -> Option<String> {
    let text = plain(text);
    if !is_plain_number(&text) {
        return None;
    }
    if let Some(number) = read(&text) {
        return Some(match number.extension() {
            Some(extension) => format!("{};ext={extension}", number.e164()),
            None => number.e164().to_owned(),
        });
    }
    let digits: String = digits(&text).collect();
    (digits.len() >= FEWEST_IDENTIFYING_DIGITS).then_some(digits)
}

/// The number in E.164, if it is valid and nothing of it is lost: it names its country, has a length that is used there,
/// and no extension, which E.164 has no place for.
pub fn e164(text: &str) -> Option<String> {
    let text = plain(text);
    if !is_plain_number(&text) {
        return None;
    }
    let number = read(&text)?;
    number.extension().is_none().then(|| number.e164().to_owned())
}

/// Whether it may be written: no stand-in, no mask (`+1 (555) XXX-XXXX`, `+61 415...`), at least 5 digits, and not one
/// digit only.
pub fn is_number(text: &str) -> bool {
    is_plain_number(&plain(text))
}

/// With the digits, dashes and spaces that the library knows.
fn plain(text: &str) -> Cow<'_, str> {
    let text = folded_width(clean(text));
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text;
    }
    let known = |c| match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
        space if space.is_whitespace() => ' ',
        other => ascii_digit(other).unwrap_or(other),
    };
    Cow::Owned(text.chars().map(known).collect())
}

/// The digits of other scripts in which numbers are written down.
fn ascii_digit(c: char) -> Option<char> {
    const ZEROS: [char; 5] = ['\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}'];
    let value =
        ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(u32::from(*zero)).filter(|at| *at < 10))?;
    char::from_digit(value, 10)
}

fn digits(text: &str) -> impl Iterator<Item = char> + Clone {
    text.chars().filter(char::is_ascii_digit)
}

fn is_plain_number(text: &str) -> bool {
    if stand_in::is_stand_in(text) || is_masked(text) {
        return false;
    }
    let mut all = digits(text);
    let Some(first) = all.next() else { return false };
    let count = digits(text).count();
    count >= FEWEST_DIGITS && !all.all(|digit| digit == first) && !is_made_up(text)
}

/// Digits that nobody was given: the keys of a telephone in their order, and North America's number of one digit only.
fn is_made_up(text: &str) -> bool {
    const KEYS: [&str; 3] = ["1234567890", "0123456789", "123456789"];
    let mut national = digits(text);
    let first = national.next();
    if KEYS.iter().any(|keys| first == keys.chars().next() && digits(text).eq(keys.chars())) {
        return true;
    }
    let is_national = first == Some('1') && national.clone().count() == 10;
    is_national && national.clone().all(|digit| national.clone().next() == Some(digit))
}

/// Whether something stands for digits that the vendor keeps back.
fn is_masked(text: &str) -> bool {
    const SINGLE: [char; 9] =
        ['*', '\u{2026}', '\u{2022}', '\u{2219}', '\u{25cf}', '\u{2588}', '\u{25a0}', '\u{25aa}', '\u{fffd}'];
    const DOUBLE: [char; 6] = ['x', '#', '_', '?', '\u{d7}', '\u{b7}'];
    if text.contains(SINGLE) || text.contains("...") {
        return true;
    }
    let same_twice = |(a, b): (char, char)| {
        let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
        a == b && DOUBLE.contains(&a)
    };
    text.chars().zip(text.chars().skip(1)).any(same_twice)
}

fn read(text: &str) -> Option<PhoneNumber> {
    if text.chars().nth(MOST_CHARS).is_some() || !has_only_words_of_numbers(text) {
        return None;
    }
    // A label in front of the number; the library knows the one that makes a link.
    let is_link = text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
    let label = |c: char| c.is_alphabetic() || matches!(c, '.' | ':' | ' ');
    PhoneNumber::parse(if is_link { text } else { text.trim_start_matches(label) })
}

/// The library reads letters as the keys of a telephone, which turns a remark ("work") into digits.
fn has_only_words_of_numbers(text: &str) -> bool {
    const WORDS: [&str; 9] = ["tel", "ext", "extension", "x", "phone", "mobile", "durchwahl", "extn", "fon"];
    let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.all(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
#[path = "phone_tests.rs"]
mod tests;
