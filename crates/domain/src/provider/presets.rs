//! Provider descriptions that come with the extension, in the format that users write.

use serde_json::Value;

macro_rules! presets {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("../../../../sql/presets/", $name, ".json")))),+]
    };
}

const PRESETS: [(&str, &str); 15] = presets![
    "apollo",
    "bettercontact",
    "cognism",
    "crustdata",
    "dropcontact",
    "fullenrich",
    "generic",
    "hunter",
    "lusha",
    "people_data_labs",
    "prospeo",
    "rocketreach",
    "snov",
    "surfe",
    "zoominfo"
];

/// The description of this name, as JSON text; `None`: there is no such preset.
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all presets, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

/// Every preset's name and description.
pub fn all() -> impl Iterator<Item = (&'static str, Value)> {
    PRESETS.iter().map(|(name, text)| (*name, serde_json::from_str(text).unwrap_or(Value::Null)))
}

#[cfg(test)]
#[path = "presets_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plays_tests.rs"]
mod plays_tests;

#[cfg(test)]
#[path = "gateways_tests.rs"]
mod gateways_tests;
