//! The score that an answer gives.

use serde_json::Value;

use super::node::{Checked, Node};
use super::pointer::Pointer;

/// How sure the provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum Confidence {
    Unknown,
    Constant(f64),
    /// Without a divisor the number is a share already: one above 1 is on a scale that nobody has told.
    At {
        pointers: Vec<Pointer>,
        divide_by: Option<f64>,
    },
}

impl Confidence {
    /// `"/score"`, a list of such places, `{"pointer": …, "divide_by": 100}` or `{"value": 0.8}`. A value
    /// must be from 0 to 1, a divisor above 0.
    pub fn parse(node: &Node<'_>) -> Checked<Confidence> {
        if node.value.is_string() || node.value.is_array() {
            return Ok(Confidence::At { pointers: Pointer::parse_some(node)?, divide_by: None });
        }
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
            None => None,
            Some(divisor) => {
                let number = divisor.number()?;
                if !(number.is_finite() && number > 0.0) {
                    return Err(divisor.error("must be a number above 0"));
                }
                Some(number)
            }
        };
        Ok(Confidence::At { pointers, divide_by })
    }

    /// Always within 0.0–1.0.
    /// `None`: the answer has no score, or one above 1 without a scale.
    pub fn of(&self, body: &Value) -> Option<f64> {
        let (pointers, divide_by) = match self {
            Confidence::Unknown => return None,
            Confidence::Constant(value) => return Some(*value),
            Confidence::At { pointers, divide_by } => (pointers, divide_by),
        };
        let score = number_at(pointers, body)?;
        if divide_by.is_none() && score > 1.0 {
            return None;
        }
        let share = score / divide_by.unwrap_or(1.0);
        // NaN and infinities say nothing; a tiny divisor can make one.
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }

    /// The number that is no score, since it is above 1 and nothing says on which scale it is.
    /// `None`: there is no such number.
    pub fn without_scale(&self, body: &Value) -> Option<f64> {
        match self {
            Confidence::At { pointers, divide_by: None } => number_at(pointers, body).filter(|n| *n > 1.0),
            _ => None,
        }
    }

    /// Whether the description says nothing of a score.
    pub fn is_unknown(&self) -> bool {
        *self == Confidence::Unknown
    }

    /// Whether a score is read as it stands.
    pub fn has_no_scale(&self) -> bool {
        matches!(self, Confidence::At { divide_by: None, .. })
    }
}

fn number_at(pointers: &[Pointer], body: &Value) -> Option<f64> {
    pointers.iter().find_map(|pointer| match pointer.find(body)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    })
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
        for pointers in [json!({"pointer": ["/a", "/b"]}), json!(["/a", "/b"]), json!("/b")] {
            assert_eq!(rule(pointers).of(&json!({"b": 0.5})), Some(0.5));
        }
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
            (json!("score"), ""),
            (json!(["/a", 1]), "/1"),
        ] {
            let error = Confidence::parse(&Node::root(&wrong)).unwrap_err();
            assert_eq!(error.place, place, "{wrong}");
        }
    }

    #[test]
    fn a_number_above_1_is_no_score_without_its_scale() {
        let rule = |value: Value| Confidence::parse(&Node::root(&value)).unwrap();
        let plain = rule(json!({"pointer": "/score"}));
        for (value, share, on_a_scale) in [
            (json!(0.5), Some(0.5), None),
            (json!(1), Some(1.0), None),
            (json!(-2), Some(0.0), None),
            (json!(5), None, Some(5.0)),
            (json!("85"), None, Some(85.0)),
            (json!(1.01), None, Some(1.01)),
            (json!("inf"), None, Some(f64::INFINITY)),
            (json!(null), None, None),
        ] {
            let body = json!({ "score": value });
            assert_eq!((plain.of(&body), plain.without_scale(&body)), (share, on_a_scale), "{value}");
            assert_eq!(rule(json!("/score")).of(&body), share, "{value}");
        }
        let hundredths = rule(json!({"pointer": "/score", "divide_by": 100}));
        assert_eq!(hundredths.of(&json!({"score": 5})), Some(0.05));
        assert_eq!(hundredths.without_scale(&json!({"score": 5})), None);
        assert!(plain.has_no_scale() && !hundredths.has_no_scale());
        assert!(!rule(json!({"value": 0.8})).has_no_scale() && !Confidence::Unknown.has_no_scale());
    }
}
