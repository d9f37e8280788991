//! Names of people: their normal form, what is none, and how a full name splits.
//!
//! No crate does it: human_name 2.0.4 gets 356 of the 569 shapes of `name/shapes.tsv` right and makes wrong names of
//! 191; it changes letters (`McDONALD`) and decomposes accents. So the rules stand here, and the words that they go by
//! are data (`data/name_*.txt`).

mod letters;
mod order;
mod text;
mod words;

use words::{AFTER_TITLES, GENERATIONS, LETTERS, STAND_INS, TITLES};

/// What is longer names nobody.
const MAX_BYTES: usize = 400;

/// The form by which two names are the same: NFC, white space collapsed, case folded. `None` for stand-ins.
pub fn normal(text: &str) -> Option<String> {
    let text = text::tidy(text);
    is_tidy_name(&text).then(|| fold(&text))
}

/// Whether the text can name somebody: it has a letter and is no address, stand-in or placeholder. An organisation
/// counts as a name here; `split` alone tells it from a person.
#[cfg(test)]
pub fn is_name(text: &str) -> bool {
    is_tidy_name(&text::tidy(text))
}

/// First and last name of a full name, in the letters of the text and in NFC.
///
/// Left out: titles before the name and letters after it, middle names, nicknames in quotes or parentheses. Kept with
/// the last name: particles, and a second surname where it certainly is one. `Surname, Given` and `SURNAME Given` are
/// turned round. `None` where the order or the split is not certain: one word, Chinese, Japanese and Korean letters,
/// surnames of peoples who put them first, a cut surname (`Jane D.`), several people, and what is no person.
pub fn split(full: &str) -> Option<(String, String)> {
    let text = text::tidy(full);
    if text.len() > MAX_BYTES || !is_tidy_name(&text) || text::is_foreign_to_names(&text) {
        return None;
    }
    let text = text::without_asides(&text)?;
    let (text, headline) = text::before_headline(&text);
    if headline.is_some_and(|rest| !letters::are_only_letters(rest)) {
        return None;
    }
    let (first, last) = order::split(letters::parts(text)?)?;
    let both = [&first, &last];
    both.iter().all(|part| !words::is_stand_in_part(part)).then_some((first, last))
}

/// Whether a word in small letters, without its points, is a title or letters after a name, so that it tells no two persons
/// apart. Two letters that are a surname, too, are not (`DO`, `MA`).
pub fn is_title_or_letters(word: &str) -> bool {
    is_only_title(word)
        || AFTER_TITLES.contains(word)
        || word.len() > 2 && LETTERS.contains(&word.to_uppercase())
}

/// Whether it is one and no name besides, as `phil` and `mia` are.
pub fn is_only_title(word: &str) -> bool {
    [&TITLES, &LETTERS, &GENERATIONS].into_iter().any(|list| list.contains(word))
}

/// Whether it stands behind a name and is no title, which a surname can be.
pub fn are_only_letters_after(word: &str) -> bool {
    [&LETTERS, &GENERATIONS].into_iter().any(|list| list.contains(word)) && !TITLES.contains(word)
}

fn is_tidy_name(text: &str) -> bool {
    if !text.chars().any(char::is_alphabetic) || text.contains(['@', '\u{ff20}']) || text.contains("://") {
        return false;
    }
    if text::is_placeholder(text) {
        return false;
    }
    let plain = plain_words(text);
    let deleted = ["deleted", "deactivated"]
        .into_iter()
        .any(|word| plain.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    let all_stand_ins = || {
        let words: Vec<String> = text.split(' ').map(plain_words).filter(|word| !word.is_empty()).collect();
        let is_stand_in = |word: &String| STAND_INS.contains(word);
        let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| !is_only_title(word)).collect();
        let titled = named.len() < words.len() && STAND_INS.contains(&named.join(" "));
        titled
            || words.iter().any(is_stand_in)
                && words.iter().all(|word| is_stand_in(word) || TITLES.contains(word))
    };
    !deleted && !STAND_INS.contains(&plain) && !all_stand_ins()
}

/// Folded words with one blank between them, without punctuation.
fn plain_words(text: &str) -> String {
    let folded = fold(text);
    let words =
        folded.split(|c: char| !c.is_alphanumeric() && !text::is_mark(c)).filter(|word| !word.is_empty());
    let mut plain = String::with_capacity(folded.len());
    for word in words {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

/// Unicode's full case folding, by way of capitals (`ß` and `SS`, both forms of sigma), in NFC. The dotless i has
/// capitals that are another letter's, and stays.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let capitals = text.chars().flat_map(|c| {
        let (kept, raised) = if c == 'ı' { (Some(c), None) } else { (None, Some(c.to_uppercase())) };
        kept.into_iter().chain(raised.into_iter().flatten())
    });
    text::composed(capitals.flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
