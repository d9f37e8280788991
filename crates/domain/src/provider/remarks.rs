//! What a description says to no effect: no mistake, but hardly meant.

use super::placeholder::Placeholder;
use super::{Config, IdentifyingSet};
use crate::fields::FieldSet;

/// Each stands for those beside it: a name for its parts, a profile for its handle.
const ALIKE: [&[Placeholder]; 2] =
    [&Placeholder::NAMES, &[Placeholder::LinkedinUrl, Placeholder::LinkedinHandle]];

impl Config {
    /// A sentence for each of them, with its place: identifying values that no request tells the vendor, and words for fields
    /// that no response has.
    pub fn remarks(&self) -> Vec<String> {
        let sets = self.sets.iter().enumerate().filter_map(|(at, set)| self.untold(at, set));
        sets.chain(self.never_read()).collect()
    }

    fn untold(&self, at: usize, set: &IdentifyingSet) -> Option<String> {
        let untold: Vec<String> = set
            .placeholders()
            .iter()
            .filter(|placeholder| !self.tells(**placeholder))
            .map(|placeholder| format!("{{{}}}", placeholder.name()))
            .collect();
        let names = untold.join(" and ");
        match untold.len() {
            0 => None,
            n if n == set.placeholders().len() => Some(format!(
                "/identify_by/{at}: no request has a place for {names}, so of whom no more is known it is not asked"
            )),
            _ => Some(format!(
                "/identify_by/{at}: no request has a place for {names}, so the vendor looks for a person by the rest alone"
            )),
        }
    }

    /// Whether the vendor gets to know it, as it is or as what stands for it.
    fn tells(&self, placeholder: Placeholder) -> bool {
        let alike = ALIKE.into_iter().find(|alike| alike.contains(&placeholder));
        let one = [placeholder];
        alike.unwrap_or(&one).iter().any(|same| self.sends.contains(same))
    }

    fn never_read(&self) -> Option<String> {
        let asked: FieldSet = self.wanted.iter().flat_map(|wanted| wanted.fields().iter()).collect();
        let unread: Vec<&str> =
            asked.iter().filter(|field| !self.maps.contains(*field)).map(|field| field.name()).collect();
        let names = unread.join(", ");
        (!unread.is_empty()).then(|| {
            format!("\"wanted\" has a word for {names}, which no response has: it is never asked for")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(config: &Value) -> Vec<String> {
        Config::parse(config).unwrap().remarks()
    }

    fn with(sets: Value, query: Value) -> Vec<String> {
        of(&json!({
            "request": {"url": "https://api.example.com/person", "query": query},
            "identify_by": sets,
            "response": {"fields": {"phone": "/phone"}}
        }))
    }

    #[test]
    fn what_identifies_and_is_told_to_no_vendor_is_named() {
        let all = [
            (json!([["email"]]), json!({"email": "{email}"}), vec![]),
            (json!([["full_name"]]), json!({"first": "{first_name}", "last": "{last_name}"}), vec![]),
            (json!([["linkedin_url"]]), json!({"profile": "{linkedin_handle}"}), vec![]),
            (
                json!([["email"], ["phone"]]),
                json!({"email": "{email}"}),
                vec!["/identify_by/1", "{phone}, so of whom"],
            ),
            (
                json!([["full_name", "company_domain"]]),
                json!({"name": "{full_name}"}),
                vec!["/identify_by/0", "{company_domain}, so the vendor looks"],
            ),
        ];
        for (sets, query, words) in all {
            let remarks = with(sets, query);
            assert_eq!(remarks.len(), usize::from(!words.is_empty()), "{remarks:?}");
            assert!(words.iter().all(|word| remarks[0].contains(word)), "{remarks:?}");
        }
    }

    #[test]
    fn a_word_for_what_no_response_has_is_named() {
        let query =
            json!({"email": "{email}", "want": {"wanted": {"phone": "phones", "job_title": "profile"}}});
        let remarks = with(json!([["email"]]), query);
        assert!(remarks.len() == 1 && remarks[0].contains("a word for job_title,"), "{remarks:?}");
    }
}
