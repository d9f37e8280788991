//! The score that an answer gives.

use serde_json::Value;

use super::node::{Checked, Node};
use super::pointer::Pointer;

/// How sure the provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum Confidence {
    Unknown,
    Constant(f64),
    At { pointers: Vec<Pointer>, divide_by: f64 },
}

impl Confidence {
    pub fn parse(node: &Node<'_>) -> Checked<Confidence> {
        let object = node.object(&["pointer", "divide_by", "value"])?;
        if let Some(value) = object.optional("value") {
            if object.optional("pointer").is_some() || object.optional("divide_by").is_some() {
                return Err(node.error("must have either value or pointer, not both"));
            }
            let number = value.number()?;
            if !(0.0..=1.0).contains(&number) {
                return Err(value.error("must be a number from 0 to 1"));
            }
            return Ok(Confidence::Constant(number));
        }
        let pointer = object.required("pointer")?;
        let pointers = Pointer::parse_some(&pointer)?;
        let divide_by = match object.optional("divide_by") {
            None => 1.0,
            Some(divisor) => {
                let number = divisor.number()?;
                if !(number.is_finite() && number > 0.0) {
                    return Err(divisor.error("must be a number above 0"));
                }
                number
            }
        };
        Ok(Confidence::At { pointers, divide_by })
    }

    /// Always within 0.0–1.0.
    pub fn of(&self, body: &Value) -> Option<f64> {
        let (pointers, divide_by) = match self {
            Confidence::Unknown => return None,
            Confidence::Constant(value) => return Some(*value),
            Confidence::At { pointers, divide_by } => (pointers, divide_by),
        };
        let score = pointers.iter().find_map(|pointer| match pointer.find(body)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok(),
            _ => None,
        })?;
        let share = score / divide_by;
        // NaN and infinities say nothing; a tiny divisor can make one.
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn confidence_is_a_share_or_unknown() {
        let rule = |value: Value| Confidence::parse(&Node::root(&value)).unwrap();
        let tenths = rule(json!({"pointer": "/likelihood", "divide_by": 10}));
        for (value, expected) in [
            (json!(9), Some(0.9)),
            (json!("7"), Some(0.7)),
            (json!(12), Some(1.0)),
            (json!(-3), Some(0.0)),
            (json!(0), Some(0.0)),
            (json!("high"), None),
            (json!("NaN"), None),
            (json!("inf"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(tenths.of(&json!({ "likelihood": value })), expected, "{value}");
        }
        assert_eq!(tenths.of(&json!({})), None);
        assert_eq!(rule(json!({"value": 0.8})).of(&json!({})), Some(0.8));
        assert_eq!(rule(json!({"pointer": ["/a", "/b"]})).of(&json!({"b": 0.5})), Some(0.5));
        for (wrong, place) in [
            (json!({}), "/pointer"),
            (json!({"pointer": "/a", "divide_by": 0}), "/divide_by"),
            (json!({"pointer": "/a", "divide_by": -1}), "/divide_by"),
            (json!({"pointer": "/a", "divide_by": "10"}), "/divide_by"),
            (json!({"pointer": "/a", "value": 1}), ""),
            (json!({"pointer": []}), "/pointer"),
            (json!({"value": 1.1}), "/value"),
            (json!({"value": true}), "/value"),
            (json!({"divide": 10}), "/divide"),
            (json!(0.8), ""),
        ] {
            let error = Confidence::parse(&Node::root(&wrong)).unwrap_err();
            assert_eq!(error.place, place, "{wrong}");
        }
    }
}
