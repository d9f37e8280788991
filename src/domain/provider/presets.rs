//! Provider descriptions that come with the extension, in the format that users write.

const PRESETS: [(&str, &str); 2] = [
    ("generic", include_str!("../../../sql/presets/generic.json")),
    ("people_data_labs", include_str!("../../../sql/presets/people_data_labs.json")),
];

pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

pub fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}
