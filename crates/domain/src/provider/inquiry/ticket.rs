//! A question under way as it is kept.

use serde_json::{Map, Value, json};

use super::{Inquiry, MAX_TAKEN_BYTES};
use crate::fields::{Field, FieldSet};
use crate::hash::{Hash, hash_each};
use crate::provider::Config;
use crate::provider::taken::Taken;

/// Of a ticket, as JSON: with six values of the longest kind, and of what was taken every character escaped.
pub const MAX_TICKET_BYTES: usize = 6 * MAX_TAKEN_BYTES + 64 * 1_024;

impl Inquiry {
    /// A question that goes on where a ticket says. `None`: the ticket is of another description.
    pub fn resumed(config: &Config, ticket: &Value, wanted: FieldSet) -> Option<Inquiry> {
        let step = usize::try_from(ticket["step"].as_u64()?).ok()?;
        let (place, steps) = match &ticket["together"] {
            Value::Null => (None, &config.steps[..]),
            together => {
                let submission = config.submission()?;
                (Some(submission.place_from_json(together)?), submission.steps())
            }
        };
        if step == 0 || step >= steps.len() {
            return None;
        }
        let mut taken = Taken::NOTHING;
        for (name, value) in ticket["taken"].as_object()? {
            taken.set(name, value.as_str()?.to_owned());
        }
        let needed = steps[..step].iter().flat_map(|step| step.take.names());
        if needed.into_iter().any(|name| taken.get(name).is_none()) {
            return None;
        }
        let value = |field: Field| Some((field, ticket["values"][field.name()].as_str()?.to_owned()));
        Some(Inquiry {
            step,
            taken,
            values: Field::all().filter_map(value).collect(),
            confidence: ticket["confidence"].as_f64(),
            submitted_at: Some(ticket["submitted_at"].as_i64()?),
            due_at: ticket["due_at"].as_i64()?,
            place,
            ..Inquiry::new(wanted)
        })
    }

    /// A hash of what the request that is next asks for, where that was handed in: its address and what was taken. By the values,
    /// not by their names here: a bulk may call the same id otherwise than a single request, and another address can have the
    /// same ids for others.
    pub fn vendor_id(&self, config: &Config) -> Option<Hash> {
        (self.step > 0 && self.is_poll(config)).then(|| {
            let asked = self.present(config).request.with_taken(&self.taken);
            hash_each(std::iter::once("taken").chain(asked.iter().map(String::as_str)).map(str::as_bytes))
        })
    }

    /// What is to be kept so that nothing is handed in twice, as JSON of at most [`MAX_TICKET_BYTES`]; `None`: no step has
    /// been answered yet. It names no person, but what earlier steps supplied stands in it.
    pub fn ticket(&self) -> Option<Value> {
        let submitted_at = self.submitted_at.filter(|_| self.step > 0)?;
        let taken: Map<String, Value> =
            self.taken.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let values: Map<String, Value> =
            self.values.iter().map(|(field, value)| (field.name().to_owned(), json!(value))).collect();
        let mut ticket = json!({
            "step": self.step,
            "taken": taken,
            "values": values,
            "confidence": self.confidence,
            "submitted_at": submitted_at,
            "due_at": self.due_at,
        });
        if let Some(place) = &self.place {
            ticket["together"] = place.to_json();
        }
        Some(ticket)
    }
}
