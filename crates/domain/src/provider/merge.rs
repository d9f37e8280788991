//! A user's `config` over a preset or over what a provider has.

use serde_json::{Map, Value};

use super::node::{Checked, Node};
use super::shape;

/// Objects are merged, null takes away, anything else replaces (RFC 7386).
///
/// A field or confidence rule of another form (`join` over `pointer`, say) replaces the preset's as a whole, since
/// no rule has two forms. A null that means something where it stands cannot survive this, and is refused. `steps` replace
/// those of the preset as a whole, and its `request` and `response`, in whose place they stand; in `bulk` likewise. A `bulk` goes with the request
/// in whose place it stands: who changes that one and says nothing of `bulk` asks about one contact at a time, at the address and
/// with the parameters that were given.
pub fn merge_preset(preset: &Value, config: &Value) -> Checked<Value> {
    if let Some(response) = config.get("response") {
        keeps_its_nulls(&Node::root(config).child("response", response))?;
    }
    let mut merged = merge(preset, config, false);
    let has_steps = config.get("steps").is_some_and(|steps| !steps.is_null());
    if let Some(members) = merged.as_object_mut().filter(|_| has_steps) {
        for key in ["request", "response"].into_iter().filter(|key| config.get(key).is_none()) {
            members.remove(key);
        }
    }
    let given =
        |key: &str| config.get("bulk").and_then(|bulk| bulk.get(key)).is_some_and(|part| !part.is_null());
    for (over, under) in [("steps", "request"), ("request", "steps")] {
        if let Some(bulk) =
            merged.get_mut("bulk").and_then(Value::as_object_mut).filter(|_| given(over) && !given(under))
        {
            bulk.remove(under);
        }
    }
    let asks_otherwise = ["request", "steps"].into_iter().any(|key| config.get(key).is_some());
    if let Some(members) = merged.as_object_mut().filter(|_| asks_otherwise && config.get("bulk").is_none()) {
        members.remove("bulk");
    }
    Ok(merged)
}

/// A `map` never has a null, and a `where` has it in a list.
fn keeps_its_nulls(node: &Node<'_>) -> Checked<()> {
    let Ok(members) = node.all_members() else { return Ok(()) };
    for (name, member) in members {
        let why = match name {
            "map" => shape::NO_NULL,
            "where" => {
                "must not be null here, where null takes away; write [null] for a place that is missing"
            }
            _ => {
                keeps_its_nulls(&member)?;
                continue;
            }
        };
        let entries = member.all_members().unwrap_or_default();
        if let Some((_, entry)) = entries.iter().find(|(_, entry)| entry.value.is_null()) {
            return Err(entry.error(why));
        }
    }
    Ok(())
}

fn merge(under: &Value, over: &Value, in_response: bool) -> Value {
    // The first that is there tells: a pick from a list has a pointer, too.
    const FORMS: [&str; 5] = ["list", "pointer", "join", "value", "header"];
    let Value::Object(over_members) = over else {
        return over.clone();
    };
    let form = |value: &Value| FORMS.iter().position(|key| value.get(key).is_some());
    let other_form =
        in_response && form(over).is_some() && form(under).is_some() && form(over) != form(under);
    let mut merged = match under {
        Value::Object(members) if !other_form => members.clone(),
        _ => Map::new(),
    };
    for (key, member) in over_members {
        if member.is_null() {
            merged.remove(key);
            continue;
        }
        let below = merged.get(key).unwrap_or(&Value::Null);
        let value = merge(below, member, in_response || key == "response");
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
