//! Words of a name, and the lists that say what they are.

use super::fold;
use crate::people::list::{self, List};

/// Forms of address, ranks and academic degrees in front of a name. Sources (DIN 5008, Duden, Wikipedia) are
/// in the file.
pub static TITLES: List = List::new(include_str!("../data/name_titles.txt"));
/// What follows an academic title and belongs to it: `med.` of `Dr. med.`
pub static AFTER_TITLES: List = List::new(include_str!("../data/name_titles_after_titles.txt"));
/// Titles that are also given names or surnames: where a name begins with one, nothing is certain.
pub static TITLES_OR_NAMES: List = List::new(include_str!("../data/name_titles_or_names.txt"));
/// Letters after a name: degrees, professional designations, honours, offices.
pub static LETTERS: List = List::new(include_str!("../data/name_letters.txt"));
/// Words after a name that tell generations apart, such as `junior`.
pub static GENERATIONS: List = List::new(include_str!("../data/name_generations.txt"));
/// Particles of surnames: they and what follows them are the surname. After Unicode CLDR "Person Names" and
/// Wikipedia.
pub static PARTICLES: List = List::new(include_str!("../data/name_particles.txt"));
/// Common surnames of Spain, Portugal and Latin America that are no given names, without accents.
pub static IBERIAN: List = List::new(include_str!("../data/name_iberian.txt"));
/// Surnames of peoples who write the surname first, without accents: at the front the order is not certain.
pub static FAMILY_FIRST: List = List::new(include_str!("../data/name_family_first.txt"));
/// Words that a person's name does not have: legal forms, departments, functions (RFC 2142 and others).
pub static NOT_PERSONS: List = List::new(include_str!("../data/name_not_persons.txt"));
/// What follows `María de`, `José del` and the like in a given name, without accents.
pub static DEVOTIONAL: List = List::new(include_str!("../data/name_devotional.txt"));
/// Texts in a field for a name that name no person, such as `LinkedIn Member`.
pub static STAND_INS: List = List::new(include_str!("../data/name_stand_ins.txt"));

/// How a word is written: which of its letters are capitals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// One letter, or several with dots between them.
    Initials,
    Capitals,
    /// Small and capital letters.
    Mixed,
    Small,
    /// A script without capitals.
    Without,
}

/// What the lists say of a word; `…_CAPITALS`: an entry in capitals, which is something else in small letters.
pub mod kind {
    /// In [`TITLES`](super::TITLES).
    pub const TITLE: u16 = 1;
    /// In [`TITLES`](super::TITLES) with a dot at its end, as the word has one.
    pub const TITLE_WITH_DOT: u16 = 1 << 1;
    /// In [`TITLES`](super::TITLES) in capitals.
    pub const TITLE_IN_CAPITALS: u16 = 1 << 2;
    /// In [`TITLES_OR_NAMES`](super::TITLES_OR_NAMES).
    pub const TITLE_OR_NAME: u16 = 1 << 3;
    /// In [`AFTER_TITLES`](super::AFTER_TITLES).
    pub const AFTER_TITLE: u16 = 1 << 4;
    /// In [`LETTERS`](super::LETTERS).
    pub const LETTERS: u16 = 1 << 5;
    /// In [`LETTERS`](super::LETTERS) in capitals.
    pub const LETTERS_IN_CAPITALS: u16 = 1 << 6;
    /// In [`GENERATIONS`](super::GENERATIONS).
    pub const GENERATION: u16 = 1 << 7;
    /// In [`PARTICLES`](super::PARTICLES).
    pub const PARTICLE: u16 = 1 << 8;
    /// In [`PARTICLES`](super::PARTICLES) in capitals: a particle only where the name has it in small
    /// letters.
    pub const SMALL_PARTICLE: u16 = 1 << 9;
    /// In [`NOT_PERSONS`](super::NOT_PERSONS).
    pub const NOT_PERSON: u16 = 1 << 10;
    /// In [`NOT_PERSONS`](super::NOT_PERSONS) in capitals.
    pub const NOT_PERSON_IN_CAPITALS: u16 = 1 << 11;
}

/// One word of a name, looked up in the lists.
#[derive(Debug)]
pub struct Word<'t> {
    /// Without commas, signs and pictures around it.
    pub text: &'t str,
    /// Folded, without dots.
    pub key: String,
    pub dotted: bool,
    pub case: Case,
    kinds: u16,
}

impl<'t> Word<'t> {
    /// `None` where nothing is left that a name has.
    pub fn new(text: &'t str) -> Option<Word<'t>> {
        let text = text.trim_matches(is_decoration);
        let text = if text.starts_with(['\'', '’']) && text.chars().count() > 2 {
            text.trim_start_matches(['\'', '’']).trim_start_matches(is_decoration)
        } else {
            text
        };
        if !text.chars().any(char::is_alphanumeric) {
            return None;
        }
        let mut key = fold(text);
        let dotted = text.contains('.');
        if dotted {
            key.retain(|c| c != '.');
        }
        let kinds = kinds(&mut key, dotted);
        Some(Word { text, dotted, case: case_of(text), key, kinds })
    }

    /// Whether the lists say at least one of these things of it: bits of [`kind`].
    pub fn is(&self, kinds: u16) -> bool {
        self.kinds & kinds != 0
    }

    /// One letter of a script with capitals; one sign is a whole word in others.
    pub fn is_one_letter(&self) -> bool {
        let mut letters = self.text.chars().filter(|c| c.is_alphabetic());
        letters.next().is_some_and(|c| c.is_lowercase() || c.is_uppercase()) && letters.next().is_none()
    }

    /// Whether it is a particle of a surname; one letter with a dot is an initial instead.
    pub fn is_particle(&self) -> bool {
        self.is(kind::PARTICLE) && !(self.dotted && self.is_one_letter())
    }

    /// Whether it is in capitals, or has a dot and no small letter (`B.A.`, not `Ph.`).
    pub fn shows_capitals(&self) -> bool {
        self.case == Case::Capitals
            || self.dotted && self.text.chars().filter(|c| c.is_alphabetic()).all(char::is_uppercase)
    }

    /// The key without accents, as lists of surnames have it.
    pub fn plain_key(&self) -> String {
        use unicode_normalization::UnicodeNormalization;
        if self.key.is_ascii() {
            return self.key.clone();
        }
        self.key.nfd().filter(|c| !super::text::is_mark(*c)).map(|c| if c == 'đ' { 'd' } else { c }).collect()
    }

    /// As it is sent: a dot stays only after an abbreviation.
    pub fn sent(&self, is_last: bool) -> &'t str {
        let bare = self.text.trim_end_matches('.');
        let short = bare.rsplit('-').next().is_some_and(|piece| piece.chars().count() <= 4);
        let abbreviated = !is_last && short || bare.contains('.') || self.is_one_letter();
        if abbreviated { self.text } else { bare }
    }
}

fn kinds(key: &mut String, dotted: bool) -> u16 {
    const PLAIN: [(&List, u16); 7] = [
        (&TITLES, kind::TITLE),
        (&TITLES_OR_NAMES, kind::TITLE_OR_NAME),
        (&AFTER_TITLES, kind::AFTER_TITLE),
        (&LETTERS, kind::LETTERS),
        (&GENERATIONS, kind::GENERATION),
        (&PARTICLES, kind::PARTICLE),
        (&NOT_PERSONS, kind::NOT_PERSON),
    ];
    const IN_CAPITALS: [(&List, u16); 4] = [
        (&TITLES, kind::TITLE_IN_CAPITALS),
        (&LETTERS, kind::LETTERS_IN_CAPITALS),
        (&PARTICLES, kind::SMALL_PARTICLE),
        (&NOT_PERSONS, kind::NOT_PERSON_IN_CAPITALS),
    ];
    let of = |lists: &[(&List, u16)], word: &str| {
        let hash = list::hash(word);
        let has = lists.iter().filter(|(list, _)| list.contains_hashed(word, hash));
        has.fold(0, |kinds, (_, kind)| kinds | kind)
    };
    let mut kinds = of(&PLAIN, key);
    if dotted {
        key.push('.');
        kinds |= of(&[(&TITLES, kind::TITLE_WITH_DOT)], key);
        key.pop();
    }
    if key.len() <= MAX_CAPITALS {
        kinds |= of(&IN_CAPITALS, &key.to_uppercase());
    }
    kinds
}

/// No entry in capitals is longer, in bytes.
pub const MAX_CAPITALS: usize = 6;

fn is_decoration(c: char) -> bool {
    let kept = matches!(c, '.' | '\'' | '’');
    let sign = c.is_ascii_punctuation()
        || matches!(c,
        '\u{a1}'..='\u{a9}' | '\u{ab}'..='\u{b4}' | '\u{b6}'..='\u{b9}' | '\u{bb}'..='\u{bf}' | '\u{d7}' | '\u{f7}'
        | '\u{2010}'..='\u{205e}' | '\u{20a0}'..='\u{20cf}' | '\u{2100}'..='\u{2bff}' | '\u{e000}'..='\u{f8ff}'
        | '\u{1f000}'..='\u{1faff}' | '\u{200c}' | '\u{200d}' | '\u{fffd}' | '\u{20e3}' | '\u{66d}' | '\u{60c}');
    sign && !kept
}

fn case_of(text: &str) -> Case {
    let letters = || text.chars().filter(|c| c.is_alphabetic());
    let upper = letters().filter(|c| c.is_uppercase()).count();
    let lower = letters().filter(|c| c.is_lowercase()).count();
    let single = text.split(['.', '-']).all(|piece| piece.chars().nth(1).is_none());
    match (upper, lower) {
        (0, 0) => Case::Without,
        (1, 0) | (0, 1) => Case::Initials,
        _ if single && text.contains('.') => Case::Initials,
        (_, 0) => Case::Capitals,
        (0, _) => Case::Small,
        _ if after_prefix(text).is_some_and(is_in_capitals) => Case::Capitals,
        _ => Case::Mixed,
    }
}

/// What follows a prefix that keeps its small letters among capitals (`McDONALD`).
fn after_prefix(text: &str) -> Option<&str> {
    ["Mac", "Mc", "Fitz", "De", "Di", "La", "Le", "Van", "d'", "d’", "O'", "O’"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
}

fn is_in_capitals(text: &str) -> bool {
    text.chars().filter(|c| c.is_uppercase()).count() > 1 && !text.chars().any(char::is_lowercase)
}

/// A first or last name that says that there is none.
pub fn is_stand_in_part(part: &str) -> bool {
    if part.len() > 12 {
        return false;
    }
    let plain = super::plain_words(part);
    // Na is a surname, and a given name.
    let name = plain == "na" && part == "Na";
    !name && plain.chars().nth(1).is_some() && SAYS_NOTHING.contains(&plain.as_str())
}

const SAYS_NOTHING: [&str; 24] = [
    "n a",
    "na",
    "none",
    "null",
    "nil",
    "unknown",
    "undefined",
    "tbd",
    "tba",
    "nan",
    "test",
    "tester",
    "deleted",
    "anonymous",
    "anonym",
    "unbekannt",
    "desconocido",
    "inconnu",
    "firstname",
    "lastname",
    "surname",
    "vorname",
    "nachname",
    "user",
];
