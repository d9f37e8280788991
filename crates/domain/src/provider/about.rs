//! What a description says about itself, for people: vendor, documentation, prices. Presets fill it in, anybody can.

use serde_json::Value;

use super::node::{Checked, Node};

/// The keys of `about`, all of them texts.
pub const KEYS: [&str; 8] =
    ["vendor", "documentation", "checked_on", "identifiers", "score", "limits", "billing", "notes"];

/// Refuses unknown keys of `about`, and values that are no texts.
pub fn check(node: &Node<'_>) -> Checked<()> {
    let object = node.object(&KEYS)?;
    KEYS.iter().filter_map(|key| object.optional(key)).try_for_each(|text| text.text().map(drop))
}

/// One of the texts, of a whole description.
/// `None`: the description has no such text.
pub fn text<'v>(description: &'v Value, key: &str) -> Option<&'v str> {
    description.get("about")?.get(key)?.as_str()
}
