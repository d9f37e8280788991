//! What an answer is billed for.

use crate::fields::FieldSet;

/// What an answer supplied beside what earlier ones about the same question did, be it used or not: of another person, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supplied {
    pub fields: FieldSet,
    /// Earlier ones had nothing.
    pub is_first: bool,
}

impl Supplied {
    /// Whether a match is billed with it: once a question.
    pub fn is_match(self) -> bool {
        self.is_first && !self.fields.is_empty()
    }
}
