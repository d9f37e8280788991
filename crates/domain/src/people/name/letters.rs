//! A name's parts between commas, without titles before it and letters after it.

use super::words::{AFTER_TITLES, Case, IBERIAN, LETTERS, TITLES, Word, kind};

/// The words of a name in their order, titles and letters left out.
pub struct Parts<'t> {
    /// The whole name; before a comma the surname.
    pub main: Vec<Word<'t>>,
    /// What follows the comma in `Surname, Given`.
    pub given: Option<Vec<Word<'t>>>,
    /// No small letter stands beside the capitals, so that capitals say nothing.
    pub only_capitals: bool,
}

/// `None` where the text names an organisation, several people, or more than a name.
pub fn parts(text: &str) -> Option<Parts<'_>> {
    let mut parts: Vec<Vec<Word>> = Vec::with_capacity(2);
    for part in text.split([',', '،']) {
        let words = words(part);
        let former = !parts.is_empty() && !words.is_empty() && is_former_name(&words, 0);
        if parts.is_empty() || !words.is_empty() && !former {
            parts.push(without_former_name(words)?);
        }
    }
    if parts.iter().flatten().count() > 16 {
        return None;
    }
    let mixed = |word: &Word| {
        let small = matches!(word.case, Case::Mixed | Case::Small);
        small && !word.is_particle() && !is_letters(word, true) && !is_title(word, true)
    };
    let only_capitals = !parts.iter().flatten().any(mixed);
    if parts.iter().any(|part| is_no_person(part)) {
        return None;
    }
    let mut rest = parts.into_iter();
    let mut main = rest.next()?;
    without_titles(&mut main, only_capitals);
    without_letters(&mut main, only_capitals)?;
    let (mut given, mut lettered) = (None, false);
    for mut part in rest {
        match meaning(&part, &main, only_capitals)? {
            Meaning::Letters => {
                lettered = true;
                continue;
            }
            Meaning::Given if given.is_some() || lettered && main.len() > 1 => return None,
            Meaning::Given => {}
        }
        without_titles(&mut part, only_capitals);
        // Only its first word is sent, so that it may stay in doubt what the others are.
        let _ = without_letters(&mut part, only_capitals);
        given = Some(part);
    }
    let doubtful = |word: &Word| {
        let numbered = word.text.chars().any(char::is_numeric);
        let left_over = is_letters(word, only_capitals) || is_title(word, only_capitals);
        numbered || word.text.contains('/') || word.key == "the" || word.case != Case::Initials && left_over
    };
    let given_words = || given.iter().flatten();
    let shortened = given_words().next().or(main.first()).is_some_and(is_unknown_abbreviation);
    let all_letters = given.is_none() && main.iter().all(is_weak_letters);
    let known = !shortened && !all_letters && !main.iter().chain(given_words()).any(doubtful);
    (known && !main.is_empty()).then_some(Parts { main, given, only_capitals })
}

/// `Xyz.` in front is a title that no list has, unless it is short for a given name.
fn is_unknown_abbreviation(word: &Word) -> bool {
    const GIVEN: [&str; 24] = [
        "alex", "ant", "ch", "chas", "chr", "fco", "fr", "geo", "gpe", "hnos", "jas", "jo", "jos", "ma",
        "md", "mohd", "muhd", "robt", "st", "th", "thos", "wm", "yu", "benj",
    ];
    // `StB`, `RAin`: so are letters in this order.
    let mut letters = word.text.chars().filter(|c| c.is_alphabetic());
    let two_capitals = letters.clone().take(2).filter(|c| c.is_uppercase()).count() == 2;
    let capital = word.text.starts_with(char::is_uppercase) && !word.text.contains('-');
    if word.case == Case::Mixed
        && capital
        && (two_capitals || letters.next_back().is_some_and(char::is_uppercase))
    {
        return true;
    }
    let end = word.text.strip_suffix('.').filter(|bare| !bare.contains(['.', '-']));
    end.is_some() && !word.is_one_letter() && !GIVEN.contains(&word.key.as_str())
}

/// Whether a headline after a dash is but letters after the name.
pub fn are_only_letters(text: &str) -> bool {
    let words = text.split([' ', ',']).filter_map(Word::new);
    words.into_iter().all(|word| is_letters(&word, false) || is_weak_letters(&word))
}

fn words(part: &str) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(4);
    for text in part.split(' ') {
        for piece in unglued(text) {
            words.extend(Word::new(piece));
        }
    }
    words
}

/// `Dr.Jane` as `Dr.` and `Jane`, `J.Smith` as `J.` and `Smith`; else the word as it is.
fn unglued(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((head, tail)) =
            text.split_once('.').filter(|(_, tail)| tail.starts_with(char::is_alphabetic))
        else {
            return Some(text);
        };
        let long = |piece: &str| piece.chars().nth(1).is_some();
        let whole = Word::new(text).is_some_and(|word| is_title(&word, false) || is_letters(&word, false));
        let title = || Word::new(&text[..=head.len()]).is_some_and(|word| is_title(&word, false));
        let initial =
            || !long(head) && long(tail.trim_end_matches('.')) && !tail.trim_end_matches('.').contains('.');
        if !whole && (long(head) && title() || initial()) {
            rest = Some(tail);
            return Some(&text[..=head.len()]);
        }
        Some(text)
    })
}

fn is_former_name(words: &[Word], at: usize) -> bool {
    let (key, case) = (words[at].key.as_str(), words[at].case);
    matches!(key, "née" | "né" | "geborene" | "geb")
        || case == Case::Small && matches!(key, "nee" | "born" | "formerly" | "rozená")
        || key == "z" && words.get(at + 1).is_some_and(|next| next.key == "domu")
}

/// `Jane Doe née Sample` without the name of former times. `None` where nothing stands before or behind it.
fn without_former_name(mut words: Vec<Word>) -> Option<Vec<Word>> {
    match (0..words.len()).find(|at| is_former_name(&words, *at)) {
        Some(at) if at < 2 || at + 1 == words.len() => return None,
        Some(at) => words.truncate(at),
        None => {}
    }
    Some(words)
}

fn is_no_person(words: &[Word]) -> bool {
    let particle = |at: usize| words.get(at).is_some_and(Word::is_particle);
    words.iter().enumerate().any(|(at, word)| {
        let key = word.key.as_str();
        let joins = match key {
            "and" | "et" | "aka" | "alias" | "oder" | "en" | "och" | "og" | "oraz" | "и" | "и/или" => {
                true
            }
            "or" | "at" => word.case == Case::Small,
            "und" => !(at > 0 && particle(at - 1) && words.get(at + 1).is_some_and(|next| next.key == "zu")),
            _ => false,
        };
        let last = at + 1 == words.len();
        let legal_form = last
            && at > 0
            && !particle(at - 1)
            && word.shows_capitals()
            && word.is(kind::NOT_PERSON_IN_CAPITALS);
        let owner = (key.ends_with("'s") || key.ends_with("’s")) && key.chars().nth(2).is_some();
        let host = word.dotted && is_host(word.text);
        joins || legal_form || owner || host || word.is(kind::NOT_PERSON)
    })
}

/// `acme.example`, `jane.doe`: words of two letters or more around a dot.
fn is_host(text: &str) -> bool {
    let whole = Word::new(text).is_some_and(|word| is_title(&word, false) || is_letters(&word, false));
    let pieces: Vec<&str> = text.trim_end_matches('.').split('.').collect();
    let long = pieces.iter().filter(|piece| piece.chars().nth(1).is_some()).count();
    !whole
        && pieces.len() > 1
        && long > 1
        && !pieces.iter().all(|piece| AFTER_TITLES.contains(&piece.to_lowercase()))
}

fn is_title(word: &Word, only_capitals: bool) -> bool {
    let key = word.key.as_str();
    let composite = || {
        key.contains('-') && {
            let mut pieces = key.split('-');
            key.starts_with("dipl-")
                || pieces.all(|piece| TITLES.contains(piece) || AFTER_TITLES.contains(piece))
        }
    };
    let abbreviated = word.text.ends_with('.') && word.case != Case::Initials;
    word.is(kind::TITLE | kind::TITLE_WITH_DOT)
        || abbreviated && word.is(kind::TITLE_OR_NAME)
        || word.case == Case::Capitals && !only_capitals && word.is(kind::TITLE_IN_CAPITALS)
        || composite()
}

/// `med.` after `Dr.`: in small letters, or with a dot and long enough to be no initial.
fn follows_title(word: &Word) -> bool {
    let long = word.text.chars().filter(|c| c.is_alphabetic()).nth(2).is_some();
    let marked = word.case == Case::Small
        || word.dotted && long
        || word.text.chars().all(|c| c.is_lowercase() || c == '.');
    marked
        && (word.is(kind::AFTER_TITLE) || {
            let mut pieces = word.text.split('.').filter(|piece| !piece.is_empty());
            pieces.all(|piece| AFTER_TITLES.contains(&super::fold(piece)))
        })
}

/// Takes the titles away from the front, with what belongs to them (`med.` after `Dr.`, an article before).
/// `only_capitals`: the whole name is in capitals, so an entry in capitals is no title.
pub fn without_titles(words: &mut Vec<Word>, only_capitals: bool) {
    let mut titles = 0;
    while let Some(word) = words.get(titles) {
        let leads_in = || {
            let next = words.get(titles + 1).is_some_and(|next| is_title(next, only_capitals));
            matches!(word.key.as_str(), "the" | "his" | "her" | "de" | "il" | "la" | "o") && next
        };
        if !(is_title(word, only_capitals) || titles > 0 && follows_title(word) || leads_in()) {
            break;
        }
        titles += 1;
    }
    words.drain(..titles);
}

/// In any spelling letters after a name, or a title that stands there.
fn is_letters(word: &Word, only_capitals: bool) -> bool {
    let title = || {
        matches!(word.key.as_str(), "dr" | "prof" | "mr" | "mrs" | "dipl-ing")
            || word.dotted && word.case != Case::Initials && is_title(word, only_capitals)
    };
    let composite = || {
        let known = |piece: &str| {
            LETTERS.contains(&super::fold(piece))
                || !piece.contains(char::is_lowercase) && LETTERS.contains(piece)
        };
        word.text.contains(['-', '/']) && word.text.replace('.', "").split(['-', '/']).all(known)
    };
    let dotted = || {
        let letters = word.text.chars().filter(|c| c.is_alphabetic()).count();
        word.dotted
            && letters > 1
            && word.text.trim_end_matches('.').contains('.')
            && word.is(kind::LETTERS_IN_CAPITALS)
    };
    word.is(kind::LETTERS) || dotted() || composite() || title()
}

/// Letters after a name in capitals only (`BA`, `MA`, `PE`).
fn is_weak_letters(word: &Word) -> bool {
    word.is(kind::LETTERS_IN_CAPITALS) && (word.shows_capitals() || word.text.len() == 1)
}

/// Capitals that no list has, without a vowel or too short to be surely a surname.
enum Unknown {
    Letters,
    Doubtful,
    Surname,
}

fn unknown_capitals(word: &Word, before: Option<&Word>) -> Unknown {
    let mut letters = word.text.chars().filter(|c| c.is_alphabetic());
    let count = letters.clone().count();
    let ends = letters.clone().next_back().is_some_and(char::is_uppercase);
    let starts = letters.clone().take(2).filter(|c| c.is_uppercase()).count() == 2;
    if word.case == Case::Mixed {
        let prefixed = word.text.contains(['\'', '’', '-']);
        return if (ends || starts) && !prefixed { Unknown::Doubtful } else { Unknown::Surname };
    }
    if word.case != Case::Capitals || word.is_particle() || before.is_some_and(Word::is_particle) {
        return Unknown::Surname;
    }
    let vowel = letters.any(|c| !c.is_ascii() || "AEIOUY".contains(c));
    match (vowel, count) {
        _ if word.key == "ng" => Unknown::Doubtful,
        (false, _) => Unknown::Letters,
        (true, ..=4) => Unknown::Doubtful,
        (true, _) => Unknown::Surname,
    }
}

/// Takes letters off the end. `None` where the last word may be letters or a surname.
fn without_letters(words: &mut Vec<Word>, only_capitals: bool) -> Option<()> {
    loop {
        let [before @ .., last] = words.as_slice() else { return Some(()) };
        let named = before.iter().filter(|word| word.case != Case::Initials && !word.is_particle()).count();
        let spaced = before.last().filter(|word| is_spaced_degree(word, last)).is_some();
        let weak = is_weak_letters(last) || last.is(kind::GENERATION) && before.len() > 1;
        if spaced {
            words.truncate(words.len() - 2);
            continue;
        }
        if !is_letters(last, only_capitals) {
            if last.is(kind::LETTERS_IN_CAPITALS) && last.case == Case::Small && before.len() > 1 {
                return None;
            }
            if is_cut_or_abbreviated(last) && named > 1
                || last.dotted && matches!(last.key.as_str(), "kc" | "bk")
            {
                return None;
            }
            let sure = !only_capitals || last.is(kind::GENERATION) || last.text.len() == 1;
            match () {
                () if weak && before.len() > 1 && sure => {}
                () if weak && before.len() > 1 => return None,
                () if weak && !only_capitals && last.text.len() > 1 => return None,
                () if weak || only_capitals || named < 2 => return Some(()),
                () => match unknown_capitals(last, before.last()) {
                    Unknown::Letters => {}
                    Unknown::Doubtful => return None,
                    Unknown::Surname => return Some(()),
                },
            }
        }
        words.pop();
    }
}

/// `Xyz.` or `X.Y.Z.` at the end: a surname has no dots.
fn is_cut_or_abbreviated(word: &Word) -> bool {
    let letters = word.text.chars().filter(|c| c.is_alphabetic()).count();
    word.text.ends_with('.') && letters > 1 && (letters <= 4 || word.case == Case::Initials)
}

/// `Ph. D.`, `LL. M.`: a degree with a blank in it.
fn is_spaced_degree(first: &Word, second: &Word) -> bool {
    let short = |word: &Word| word.text.ends_with('.') && word.key.chars().count() <= 3;
    let joined = format!("{}{}", first.key, second.key);
    let initials = matches!(joined.as_str(), "jr" | "sr" | "ms" | "ma" | "am");
    short(first)
        && short(second)
        && !initials
        && (LETTERS.contains(&joined) || LETTERS.contains(&joined.to_uppercase()))
}

/// Capitals without a vowel, too many for initials.
fn is_unknown_degree(word: &Word) -> bool {
    matches!(unknown_capitals(word, None), Unknown::Letters) && word.key.chars().count() > 3
}

enum Meaning {
    Letters,
    Given,
}

/// What stands after a comma. `None` where it may be either.
fn meaning(part: &[Word], main: &[Word], only_capitals: bool) -> Option<Meaning> {
    let known =
        |word: &Word| is_letters(word, only_capitals) || is_title(word, only_capitals) || follows_title(word);
    let spaced = matches!(part, [first, second] if is_spaced_degree(first, second));
    if spaced || part.iter().all(|word| known(word) || word.is(kind::GENERATION)) {
        return Some(Meaning::Letters);
    }
    let weak = |word: &Word| known(word) || word.is(kind::LETTERS_IN_CAPITALS);
    let whole = main.len() > 1;
    if part.iter().all(weak) {
        let shown = part.iter().all(|word| known(word) || is_weak_letters(word));
        return match (shown, whole) {
            (true, true) if !only_capitals || main.len() > 1 => Some(Meaning::Letters),
            (false, false) => Some(Meaning::Given),
            _ => None,
        };
    }
    if whole
        && part.iter().take(1).all(|word| word.dotted && word.case == Case::Initials && !word.is_one_letter())
    {
        return None;
    }
    let certain =
        main.iter().any(Word::is_particle) || main.iter().all(|word| IBERIAN.contains(&word.plain_key()));
    if whole && certain {
        return Some(Meaning::Given);
    }
    if whole && !only_capitals && part.iter().all(|word| known(word) || word.case == Case::Capitals) {
        let letters = part.iter().all(|word| known(word) || is_unknown_degree(word));
        return letters.then_some(Meaning::Letters);
    }
    Some(Meaning::Given)
}
