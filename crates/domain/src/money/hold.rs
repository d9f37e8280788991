//! What a vendor may still bill for a question that was handed in: it counts against budgets until the question is answered, or
//! until it is given up, and then as spent.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Amount, Currency};

/// One question's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Says nothing of the question.
    pub id: Uuid,
    /// The provider's name, as budgets know it.
    pub provider: String,
    pub currency: Currency,
    /// The most that the answer can cost.
    pub amount: Amount,
    /// The UTC day on which it was handed in, in days since 1970-01-01.
    pub day: i64,
}

impl Hold {
    /// As a ticket has it; [`Hold::from_json`] reads it. The id comes first: the worker looks for it there.
    pub fn to_json(&self) -> Value {
        json!([self.id, self.provider, self.currency.name(), self.amount.0, self.day])
    }

    /// `None`: nothing is held, or the text has another form.
    pub fn from_json(json: &Value) -> Option<Hold> {
        let [id, provider, currency, amount, day] = json.as_array()?.as_slice() else { return None };
        Some(Hold {
            id: id.as_str()?.parse().ok()?,
            provider: provider.as_str()?.to_owned(),
            currency: Currency::parse(currency.as_str()?)?,
            amount: Amount(amount.as_i64()?),
            day: day.as_i64()?,
        })
    }
}

/// What becomes of holds with the answer of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldChange {
    /// Of questions that were handed in with it.
    pub new: Amount,
    /// What asking for these can cost.
    pub polls: Amount,
    /// Of questions that it answers or gives up.
    pub over: Amount,
    /// Of these, of questions that are given up: the vendor may have billed them, and that will never be known.
    pub lost: Amount,
}

impl HoldChange {
    /// Of two contacts of one request.
    #[must_use]
    pub fn plus(self, other: HoldChange) -> HoldChange {
        HoldChange {
            new: self.new.plus(other.new),
            polls: self.polls.plus(other.polls),
            over: self.over.plus(other.over),
            lost: self.lost.plus(other.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_written() {
        let hold = Hold {
            id: Uuid::from_u128(7),
            provider: "main".into(),
            currency: Currency::parse("USD").unwrap(),
            amount: Amount(280_000),
            day: 20_787,
        };
        assert_eq!(Hold::from_json(&hold.to_json()), Some(hold));
        for other in [json!(null), json!([]), json!(["x", "main", "USD", 1, 1]), json!({"id": 1})] {
            assert_eq!(Hold::from_json(&other), None, "{other}");
        }
    }
}
