//! Which words of a name are the first name, and which the last.

use super::letters::Parts;
use super::words::{Case, DEVOTIONAL, FAMILY_FIRST, IBERIAN, Word, kind};

/// First and last name. `None` where the order or the split is not certain.
pub fn split(parts: Parts) -> Option<(String, String)> {
    let Parts { main, given, only_capitals } = parts;
    let name = Name { words: &main, only_capitals };
    let (first, last) = match &given {
        Some(given) => name.turned(given)?,
        None => name.in_order()?,
    };
    let surname = match last.as_slice() {
        [alone] => !is_particle(alone) || is_surname_too(alone),
        words => !words.iter().all(|word| is_particle(word)),
    };
    surname.then(|| (joined(first.into_iter(), false), joined(last.into_iter(), true)))
}

fn is_surname_too(word: &Word) -> bool {
    matches!(word.key.as_str(), "le" | "san" | "mac" | "saint" | "das" | "lo" | "la" | "du" | "di")
}

type Split<'w, 't> = (Vec<&'w Word<'t>>, Vec<&'w Word<'t>>);

fn joined<'w, 't: 'w>(words: impl ExactSizeIterator<Item = &'w Word<'t>>, is_last_name: bool) -> String {
    let count = words.len();
    let sent: Vec<&str> =
        words.enumerate().map(|(at, word)| word.sent(is_last_name && at + 1 == count)).collect();
    sent.join(" ")
}

struct Name<'w, 't> {
    words: &'w [Word<'t>],
    only_capitals: bool,
}

impl<'w, 't> Name<'w, 't> {
    /// `Surname, Given`: what follows the comma begins with the first name; particles at its end are the surname's.
    fn turned(&self, given: &'w [Word<'t>]) -> Option<Split<'w, 't>> {
        let only_small = given.iter().chain(self.words).all(|word| word.case == Case::Small);
        let portuguese = self.only_capitals && IBERIAN.contains(&self.words[0].plain_key());
        let particle = |word: &Word| {
            is_particle(word) && (word.case != Case::Mixed || only_small)
                || portuguese && word.is(kind::SMALL_PARTICLE)
        };
        let end = given.iter().rposition(|word| !particle(word))? + 1;
        let two_people = self.words.len() > 1
            && given[..end].iter().filter(|word| word.case != Case::Initials).count() > 1
            && !self.words.iter().any(|word| is_particle(word) || word.key == "y")
            && !self.words.iter().all(|word| IBERIAN.contains(&word.plain_key()));
        let cut = two_people || self.words.len() > 5 || self.words.iter().all(|word| word.is_one_letter());
        let ranked =
            self.words.len() > 1 && self.words[0].is(kind::TITLE_OR_NAME) && !is_particle(&self.words[0]);
        if cut || ranked || given[0].is(kind::TITLE_OR_NAME) && end > 1 || is_particle(&given[0]) && end > 1 {
            return None;
        }
        let first = given[..first_name_length(&given[..end], 0)].iter().collect();
        let last = given[end..].iter().chain(self.words).collect();
        Some((first, last))
    }

    fn in_order(&self) -> Option<Split<'w, 't>> {
        let words = self.words;
        if words.len() < 2 || self.begins_with_doubt() {
            return None;
        }
        if let Some(split) = self.by_capitals() {
            return split;
        }
        if words.last()?.case == Case::Initials || self.may_be_surname_first() {
            return None;
        }
        if let Some(split) = self.by_patronymic() {
            return split;
        }
        let given = first_name_length(words, 1);
        let start = self.surname(given)?;
        Some((words[..given].iter().collect(), words[start..].iter().collect()))
    }

    /// A title that may be a name, or a particle: then the first name may be missing.
    fn begins_with_doubt(&self) -> bool {
        let first = &self.words[0];
        let alone = matches!(first.key.as_str(), "dean" | "earl" | "don") && self.words.len() == 2;
        let title = first.is(kind::TITLE_OR_NAME) && !alone;
        let french =
            matches!(first.text, "M." | "M") || matches!(first.text, "D." | "D") && self.words.len() > 2;
        title || french && self.words[1].case != Case::Initials
    }

    /// A surname in capitals beside a given name that is not. `None`: capitals say nothing here.
    fn by_capitals(&self) -> Option<Option<Split<'w, 't>>> {
        let words = self.words;
        let small = |word: &Word| matches!(word.case, Case::Mixed) && !is_particle(word);
        if self.only_capitals || !words.iter().any(small) {
            return None;
        }
        let capitals = |word: &Word| word.case == Case::Capitals;
        let of_surname = |word: &&Word| capitals(word) || is_particle(word) || word.key == "y";
        let leading = words.iter().take_while(of_surname).count();
        if words[..leading].iter().any(capitals) && leading < words.len() {
            let rest = &words[leading..];
            if rest.iter().any(capitals)
                || !rest.iter().all(|word| small(word) || word.case == Case::Initials)
            {
                return Some(None);
            }
            let counted = words[..leading].iter().filter(|word| capitals(word)).count();
            return match (leading, shape(&words[0])) {
                (1, Shape::Doubtful) => Some(None),
                (1, Shape::Initials) => None,
                _ if counted == 0 || rest[0].is_one_letter() => Some(None),
                _ => {
                    let first = rest[..first_name_length(rest, 0)].iter().collect();
                    Some(Some((first, words[..leading].iter().collect())))
                }
            };
        }
        let trailing = words.iter().rev().take_while(of_surname).count();
        let start = words.len() - trailing;
        let enough = words[start..].iter().filter(|word| capitals(word)).count() > 1;
        (enough && start > 0).then(|| {
            let given = first_name_length(&words[..start], 0);
            Some((words[..given].iter().collect(), words[start..].iter().collect()))
        })
    }

    /// Peoples who put the surname first: Chinese, Korean, Japanese, Vietnamese, Hungarian.
    fn may_be_surname_first(&self) -> bool {
        let words = self.words;
        let first = words[0].plain_key();
        let hyphenated = words.len() == 2
            && words[1].text.split_once('-').is_some_and(|(head, tail)| {
                head.chars().next().is_some_and(char::is_uppercase) && tail.chars().all(char::is_lowercase)
            });
        let vietnamese = words.len() > 2 && matches!(words[1].plain_key().as_str(), "thi")
            || words.len() > 2 && first == "le" && words[1].plain_key() == "van";
        FAMILY_FIRST.contains(&first) && !words[0].dotted
            || hyphenated
            || vietnamese
            || self.may_be_slavic_surname_first()
    }

    fn may_be_slavic_surname_first(&self) -> bool {
        let [first, second] = self.words else { return false };
        is_cyrillic(first.text) && is_slavic_surname(&first.key) && !is_slavic_surname(&second.key)
    }

    /// `Petrov Ivan Ivanovich`. `None`: there is no patronymic at the end.
    fn by_patronymic(&self) -> Option<Option<Split<'w, 't>>> {
        let [first, second, third] = self.words else { return self.turkic_patronymic() };
        if !is_patronymic(&third.key) || is_patronymic(&second.key) {
            return self.turkic_patronymic();
        }
        if is_cyrillic(third.text) || is_slavic_surname(&first.key) {
            return Some(Some((vec![second], vec![first])));
        }
        None
    }

    fn turkic_patronymic(&self) -> Option<Option<Split<'w, 't>>> {
        let last = self.words.last()?.key.as_str();
        matches!(
            last,
            "oglu" | "oğlu" | "ogly" | "kyzy" | "kizi" | "qizi" | "qızı" | "uly" | "оглы" | "кызы" | "улы"
        )
        .then_some(None)
    }

    /// Where the surname begins, behind `given` words of a first name. `None` where that is not certain.
    fn surname(&self, given: usize) -> Option<usize> {
        let words = self.words;
        let end = words.len() - 1;
        if end < given || self.has_doubtful_word(given) {
            return None;
        }
        if self.is_particle_at(0) && words[0].case != Case::Initials && !self.is_given_name_too(&words[0]) {
            return None;
        }
        let vietnamese = FAMILY_FIRST.contains(&words[end].plain_key());
        let particle = (given..end)
            .find(|at| self.is_particle_at(*at) && !(vietnamese && words[*at].case == Case::Mixed));
        let mut start = particle.unwrap_or(end);
        if let Some(joint) = (given..end).find(|at| self.is_joint(*at)) {
            start = start.min(joint.checked_sub(1).filter(|at| *at >= given)?);
        }
        let iberian = |at: usize| IBERIAN.contains(&words[at].plain_key());
        let doubled = start > given && iberian(start - 1);
        if doubled {
            if !(iberian(start) || start < end) {
                return None;
            }
            while start > given && iberian(start - 1) {
                start -= 1;
            }
        } else if start == end
            && end > 2
            && given == 1
            && iberian(end)
            && words[end - 1].case != Case::Initials
        {
            // Three given names before one Spanish surname are as likely two, and two surnames.
            return None;
        }
        Some(start)
    }

    /// A capital `Ben` may be a middle name or a particle, an `O` an initial or O'.
    fn has_doubtful_word(&self, given: usize) -> bool {
        let before_last = &self.words[given.min(self.words.len() - 1)..self.words.len() - 1];
        before_last.iter().any(|word| matches!(word.text, "Ben" | "Den" | "O" | "Abu"))
    }

    fn is_particle_at(&self, at: usize) -> bool {
        let word = &self.words[at];
        let no_contrast =
            self.only_capitals || word.case == Case::Small || word.text.starts_with(['\'', '’']);
        let follows = at > 0 && is_particle(&self.words[at - 1]);
        word.is_particle()
            || at > 0 && self.is_short_particle(word)
            || word.is(kind::SMALL_PARTICLE) && (no_contrast && !word.is_one_letter() || follows)
    }

    /// `v.`, `v. d.`: among capitals a small letter is no initial.
    fn is_short_particle(&self, word: &Word) -> bool {
        let short = matches!(word.text, "v." | "d." | "z." | "u.");
        short && self.words.iter().any(|word| word.case == Case::Mixed)
    }

    /// `y`, `e` and `i` between two surnames, `und` between two particles.
    fn is_joint(&self, at: usize) -> bool {
        let word = &self.words[at];
        let small = word.text == "y" || word.text == "e" || word.text == "i" || word.text == "und";
        small || self.only_capitals && word.text == "Y"
    }

    fn is_given_name_too(&self, word: &Word) -> bool {
        let capital = word.text.chars().next().is_some_and(char::is_uppercase);
        let given = matches!(
            word.key.as_str(),
            "al" | "ben" | "mac" | "della" | "san" | "santo" | "santa" | "den" | "ty"
        );
        given && (capital || self.words.iter().all(|word| word.case != Case::Mixed))
    }
}

fn is_particle(word: &Word) -> bool {
    word.is_particle() || word.case == Case::Small && word.is(kind::SMALL_PARTICLE)
}

enum Shape {
    Initials,
    Doubtful,
    Surname,
}

/// What one short word in capitals in front is: `DJ`, or perhaps the surname `LI`.
fn shape(word: &Word) -> Shape {
    let vowel = |c: char| !c.is_ascii() || "aeiouy".contains(c);
    let letters: Vec<char> = word.key.chars().collect();
    match letters.as_slice() {
        ['n', 'g'] => Shape::Doubtful,
        [a, b] if vowel(*b) && !vowel(*a) => Shape::Doubtful,
        [_, _] => Shape::Initials,
        [_, _, _] if !letters.iter().any(|c| vowel(*c)) => Shape::Initials,
        _ => Shape::Surname,
    }
}

/// How many words the first name has, of which `spare` at least remain for the last name: `Abdul Rahman`,
/// `María del Carmen` are one.
fn first_name_length(words: &[Word], spare: usize) -> usize {
    let limit = words.len().saturating_sub(spare);
    let bound = matches!(
        words[0].key.as_str(),
        "abdul" | "abdel" | "abd" | "abu" | "umm" | "أم" | "عبد" | "أبو" | "ابو"
    );
    let article = words.get(1).is_some_and(|word| matches!(word.key.as_str(), "al" | "el" | "ul"));
    let particle = words.get(1).is_some_and(|word| is_particle(word) && !article);
    let length = match words[0].plain_key().as_str() {
        _ if bound && !particle => 2 + usize::from(article),
        "maria" | "ma" | "jose" | "juan" | "ana" | "luz" | "rosa" => {
            let de = words
                .get(1)
                .is_some_and(|word| matches!(word.key.as_str(), "de" | "del" | "da" | "do" | "das"));
            let article =
                words.get(2).is_some_and(|word| matches!(word.key.as_str(), "la" | "las" | "los" | "el"));
            let at = 2 + usize::from(article);
            let devotional = words.get(at).is_some_and(|word| DEVOTIONAL.contains(&word.plain_key()));
            if de && devotional { at + 1 } else { 1 }
        }
        _ => 1,
    };
    if length <= limit { length } else { 1 }
}

fn is_cyrillic(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{400}'..='\u{52f}'))
}

fn is_patronymic(key: &str) -> bool {
    const ENDS: [&str; 14] = [
        "ович",
        "евич",
        "ьич",
        "ойович",
        "овна",
        "евна",
        "ична",
        "івна",
        "ovich",
        "evich",
        "ovych",
        "ovna",
        "evna",
        "ivna",
    ];
    ENDS.iter().any(|end| key.ends_with(end))
}

fn is_slavic_surname(key: &str) -> bool {
    const ENDS: [&str; 25] = [
        "ов", "ев", "ёв", "ин", "ын", "ова", "ева", "ёва", "ина", "ына", "ский", "ская", "енко", "чук", "ov",
        "ev", "in", "ova", "eva", "ina", "sky", "skaya", "enko", "chuk", "skyi",
    ];
    ENDS.iter().any(|end| key.ends_with(end))
}
