//! leadlex.presets: the provider descriptions that come with the extension.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use crate::pg::store::cache;
use leadlex_domain::fields::Field;
use leadlex_domain::provider::{about, presets};

type Preset = (
    &'static str,
    Option<String>,
    Vec<String>,
    JsonB,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    JsonB,
);

/// leadlex.presets: one row for each preset, with its whole description in `config`. A text that the preset
/// does not give is NULL.
///
/// Raises 55000: the extension is not installed, or has another version.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn preset_report() -> TableIterator<
    'static,
    (
        name!(name, &'static str),
        name!(vendor, Option<String>),
        name!(fields, Vec<String>),
        name!(identify_by, JsonB),
        name!(identifiers, Option<String>),
        name!(score, Option<String>),
        name!(limits, Option<String>),
        name!(billing, Option<String>),
        name!(notes, Option<String>),
        name!(documentation, Option<String>),
        name!(checked_on, Option<String>),
        name!(config, JsonB),
    ),
> {
    cache::refresh();
    TableIterator::new(presets::all().map(|(name, config)| row(name, config)))
}

fn row(name: &'static str, config: Value) -> Preset {
    let text = |key| about::text(&config, key).map(str::to_owned);
    // Every preset can be read, but for the generic one, which lacks an address.
    let steps = config["steps"].as_array().into_iter().flatten();
    let mapped =
        |part: &Value| part["response"]["fields"].as_object().map(|fields| fields.keys().cloned().collect());
    let named: Vec<String> =
        steps.chain([&config]).filter_map(mapped).flat_map(|names: Vec<String>| names).collect();
    let fills = config["fills"].as_array();
    let is_asked = |name: &String| {
        named.contains(name) && fills.is_none_or(|fills| fills.iter().any(|field| field == name))
    };
    let fields = Field::all().map(|field| field.name().to_owned()).filter(is_asked).collect();
    (
        name,
        text("vendor"),
        fields,
        JsonB(config["identify_by"].clone()),
        text("identifiers"),
        text("score"),
        text("limits"),
        text("billing"),
        text("notes"),
        text("documentation"),
        text("checked_on"),
        JsonB(config),
    )
}
