//! What must hold at a place of an answer.

use serde_json::Value;

use super::node::{Checked, Node};
use super::pointer::Pointer;

/// A place, and what is to be found there.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pointer: Pointer,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// One of these; null stands for a place that is missing.
    In(Vec<Value>),
    NotIn(Vec<Value>),
    /// Text with this in it, in lower case.
    Contains(String),
    /// Something (not null, not empty), or nothing.
    Present(bool),
    /// It is there, and is null or empty; or it is not so.
    Empty(bool),
}

impl Condition {
    /// `{"pointer": "/status", "in": ["none"]}`, with `in`, `not_in`, `contains`, `present` or `empty`. `besides` are keys
    /// that the caller reads.
    pub fn parse(node: &Node<'_>, besides: &[&str]) -> Checked<Condition> {
        let mut allowed = vec!["pointer", "in", "not_in", "contains", "present", "empty"];
        allowed.extend(besides);
        let object = node.object(&allowed)?;
        let pointer = Pointer::parse(&object.required("pointer")?)?;
        let mut tests = Vec::new();
        if let Some(list) = object.optional("in") {
            tests.push(Test::In(scalars(&list)?));
        }
        if let Some(list) = object.optional("not_in") {
            tests.push(Test::NotIn(scalars(&list)?));
        }
        if let Some(part) = object.optional("contains") {
            let text = part.text()?.to_lowercase();
            if text.trim().is_empty() {
                return Err(part.error("must not be empty"));
            }
            tests.push(Test::Contains(text));
        }
        if let Some(flag) = object.optional("present") {
            tests.push(Test::Present(flag.boolean()?));
        }
        if let Some(flag) = object.optional("empty") {
            tests.push(Test::Empty(flag.boolean()?));
        }
        match (tests.pop(), tests.is_empty()) {
            (Some(test), true) => Ok(Condition { pointer, test }),
            _ => Err(node.error("must have one of in, not_in, contains, present, empty")),
        }
    }

    /// A member of `where`: the place, and the value or values of which it must have one.
    pub fn equal(place: &str, node: &Node<'_>) -> Checked<Condition> {
        let pointer = Pointer::from_text(place).map_err(|message| node.error(message))?;
        let values = match node.value {
            Value::Array(_) => scalars(node)?,
            _ => vec![scalar(node)?],
        };
        Ok(Condition { pointer, test: Test::In(values) })
    }

    /// Whether the body of an answer meets the condition. A place that is missing counts as null.
    pub fn holds(&self, body: &Value) -> bool {
        let found = self.pointer.find(body);
        match &self.test {
            Test::In(values) => values.iter().any(|value| same(found, value)),
            Test::NotIn(values) => !values.iter().any(|value| same(found, value)),
            Test::Contains(part) => {
                found.and_then(Value::as_str).is_some_and(|text| text.to_lowercase().contains(part))
            }
            Test::Present(wanted) => *wanted != is_nothing(found),
            Test::Empty(wanted) => *wanted == (found.is_some() && is_nothing(found)),
        }
    }
}

fn scalars(node: &Node<'_>) -> Checked<Vec<Value>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error("must not be an empty list"));
    }
    items.iter().map(scalar).collect()
}

fn scalar(node: &Node<'_>) -> Checked<Value> {
    match node.value {
        Value::Array(_) | Value::Object(_) => {
            Err(node.error("must be a text, a number, true, false or null"))
        }
        value => Ok(value.clone()),
    }
}

/// Texts are compared without regard to case and outer white space, numbers by value, also where one is given as text.
fn same(found: Option<&Value>, wanted: &Value) -> bool {
    let Some(found) = found.filter(|value| !value.is_null()) else { return wanted.is_null() };
    match (found, wanted) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(_) | Value::String(_), Value::Number(_) | Value::String(_)) => {
            let number = |value: &Value| match value {
                Value::String(text) => text.trim().parse::<f64>().ok(),
                other => other.as_f64(),
            };
            let text = |value: &Value| value.as_str().map(|text| text.trim().to_lowercase());
            match (text(found), text(wanted)) {
                (Some(a), Some(b)) => a == b,
                _ => number(found).is_some() && number(found) == number(wanted),
            }
        }
        _ => false,
    }
}

/// Missing, null or empty.
pub fn is_nothing(found: Option<&Value>) -> bool {
    match found {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(condition: Value, body: Value) -> bool {
        Condition::parse(&Node::root(&condition), &[]).expect("a sound condition").holds(&body)
    }

    #[test]
    fn values_are_compared_as_a_person_would() {
        let is = |wanted: Value, found: Value| {
            holds(json!({"pointer": "/v", "in": [wanted]}), json!({ "v": found }))
        };
        for (wanted, found) in [
            (json!("None"), json!(" none ")),
            (json!(404), json!(404)),
            (json!(404), json!("404")),
            (json!("404"), json!(404.0)),
            (json!(true), json!(true)),
            (json!(null), json!(null)),
        ] {
            assert!(is(wanted.clone(), found.clone()), "{wanted} {found}");
        }
        for (wanted, found) in [
            (json!("none"), json!("nones")),
            (json!(1), json!(true)),
            (json!("true"), json!(true)),
            (json!(""), json!(null)),
            (json!(null), json!(false)),
            (json!("x"), json!(["x"])),
        ] {
            assert!(!is(wanted.clone(), found.clone()), "{wanted} {found}");
        }
        assert!(holds(json!({"pointer": "/v/w", "in": [null]}), json!({})), "missing is null");
        assert!(holds(json!({"pointer": "/v", "not_in": ["complete"]}), json!({})));
        assert!(!holds(json!({"pointer": "/v", "not_in": ["complete"]}), json!({"v": "Complete"})));
        assert!(holds(json!({"pointer": "/v", "contains": "Credit"}), json!({"v": "no credits left"})));
        assert!(!holds(json!({"pointer": "/v", "contains": "credit"}), json!({"v": 1})));
        for (nothing, present) in [(json!({}), false), (json!({"v": []}), false), (json!({"v": false}), true)]
        {
            assert_eq!(
                holds(json!({"pointer": "/v", "present": true}), nothing.clone()),
                present,
                "{nothing}"
            );
            assert_eq!(holds(json!({"pointer": "/v", "present": false}), nothing), !present);
        }
        for (body, empty) in [
            (json!({"v": null}), true),
            (json!({"v": []}), true),
            (json!({"v": {}}), true),
            (json!({"v": " "}), true),
            (json!({}), false),
            (json!({"v": false}), false),
            (json!({"v": [1]}), false),
        ] {
            assert_eq!(holds(json!({"pointer": "/v", "empty": true}), body.clone()), empty, "{body}");
            assert_eq!(holds(json!({"pointer": "/v", "empty": false}), body), !empty);
        }
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        for (wrong, place) in [
            (json!({"in": ["x"]}), "/pointer"),
            (json!({"pointer": "x", "in": ["x"]}), "/pointer"),
            (json!({"pointer": "/x"}), ""),
            (json!({"pointer": "/x", "in": ["x"], "present": true}), ""),
            (json!({"pointer": "/x", "in": []}), "/in"),
            (json!({"pointer": "/x", "in": ["a", {}]}), "/in/1"),
            (json!({"pointer": "/x", "present": 1}), "/present"),
            (json!({"pointer": "/x", "empty": "yes"}), "/empty"),
            (json!({"pointer": "/x", "empty": true, "present": true}), ""),
            (json!({"pointer": "/x", "contains": " "}), "/contains"),
            (json!({"pointer": "/x", "equals": 1}), "/equals"),
        ] {
            let error = Condition::parse(&Node::root(&wrong), &[]).unwrap_err();
            assert_eq!(error.place, place, "{wrong}: {}", error.message);
        }
    }
}
