//! Lists that are kept as data: files with one entry a line, sorted by their bytes, comments first.

use std::cmp::Ordering;

/// Whether one of the lines is the entry. Searched in the text itself, so that nothing is built or kept.
pub fn contains(list: &str, entry: &str) -> bool {
    // Comments are no entries, and sort before all of them.
    if entry.is_empty() || entry.starts_with('#') || entry.contains('\n') {
        return false;
    }
    let bytes = list.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = bytes[low..middle].iter().rposition(|b| *b == b'\n').map_or(low, |at| low + at + 1);
        let end = bytes[middle..high].iter().position(|b| *b == b'\n').map_or(high, |at| middle + at);
        match bytes[start..end].cmp(entry.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    false
}

/// The words of a text in lower case, one space between them: what lists of words are searched by.
pub fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&word.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [&str; 6] = [
        include_str!("data/stand_ins.txt"),
        include_str!("data/name_stand_ins.txt"),
        include_str!("data/company_stand_ins.txt"),
        include_str!("data/legal_forms.txt"),
        include_str!("data/mail_providers.txt"),
        include_str!("data/throw_away.txt"),
    ];

    #[test]
    fn every_list_names_its_sources_is_sorted_and_each_of_its_entries_is_found() {
        for list in LISTS {
            assert!(list.starts_with("# ") && list.contains("Sources: "), "{}", &list[..60]);
            let entries: Vec<&str> = list.lines().skip_while(|line| line.starts_with('#')).collect();
            assert!(entries.is_sorted_by(|a, b| a < b), "{}", &list[..60]);
            assert!(entries.iter().all(|entry| contains(list, entry) && !entry.trim().is_empty()));
            assert!(entries.iter().all(|entry| !contains(list, &format!("{entry}\u{1}"))));
        }
    }

    #[test]
    fn what_is_no_line_is_not_found() {
        let list = "# one\n# two\nb\nbb\nc\n";
        for there in ["b", "bb", "c"] {
            assert!(contains(list, there), "{there}");
        }
        for not_there in ["", "a", "ba", "bbb", "d", "# one", "b\nbb", "\n"] {
            assert!(!contains(list, not_there), "{not_there:?}");
        }
        assert!(!contains("", "b") && contains("b", "b") && !contains("# b", "b"));
    }
}
