//! What of a request depends on the fields that are wanted: `{"wanted": {"phone": "phones"}}`.

use super::node::{Checked, Node};
use crate::fields::{Field, FieldSet};

/// The only key of such an object.
pub const KEY: &str = "wanted";

/// What the vendor calls each field; several can have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<(Field, String)>);

impl Wanted {
    /// Whether an object is meant so.
    pub fn is_meant(node: &Node<'_>) -> bool {
        node.value.get(KEY).is_some_and(serde_json::Value::is_object)
    }

    /// Reads an object of which [`Wanted::is_meant`] is true.
    pub fn parse(node: &Node<'_>) -> Checked<Wanted> {
        let words = node.object(&[KEY])?.required(KEY)?;
        let word = |(name, text): (&str, Node<'_>)| {
            let field = Field::parse(name).ok_or_else(|| {
                text.error(format!("is not one of the fields {}", FieldSet::ALL.names().join(", ")))
            })?;
            let word = text.text()?;
            if word.is_empty() || word.contains(['{', '}']) || word.chars().any(char::is_control) {
                return Err(text.error("must be the vendor's word for the field, without { and }"));
            }
            Ok((field, word.to_owned()))
        };
        let words_of: Vec<_> = words.members()?.into_iter().map(word).collect::<Checked<_>>()?;
        if words_of.is_empty() {
            return Err(words.error("must name at least one field, such as {\"phone\": \"phones\"}"));
        }
        Ok(Wanted(words_of))
    }

    /// The words for the fields that are wanted, each once, in the order in which they are described.
    pub fn words(&self, wanted: FieldSet) -> Vec<&str> {
        let mut words: Vec<&str> = Vec::new();
        for (_, word) in self.0.iter().filter(|(field, _)| wanted.contains(*field)) {
            if !words.contains(&word.as_str()) {
                words.push(word);
            }
        }
        words
    }

    /// Whether a field is asked for where these are wanted: also one that the vendor gives under the word of another.
    pub fn asks_for(&self, field: Field, wanted: FieldSet) -> bool {
        let word = self.0.iter().find(|(known, _)| *known == field).map(|(_, word)| word.as_str());
        word.is_none_or(|word| self.words(wanted).contains(&word))
    }

    /// The fields that it has a word for.
    pub fn fields(&self) -> FieldSet {
        self.0.iter().map(|(field, _)| *field).collect()
    }
}
