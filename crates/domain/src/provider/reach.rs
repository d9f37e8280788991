//! How far a question comes that wants some fields: its requests, and the fields that their answers can supply.

use super::{Config, Step, mapped};
use crate::fields::FieldSet;

/// What a question leads to, as far as a step that can supply what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The fields that its answers can supply.
    pub fields: FieldSet,
    pub alone: LaterRequests,
    /// Of what is handed in together, each about all of its contacts; `None`: contacts that share a request are asked about one by
    /// one afterwards.
    pub together: Option<LaterRequests>,
}

/// The requests after the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaterRequests {
    /// Steps that are asked where the ones before them have the person.
    pub steps: u64,
    /// Steps that ask for what was handed in, each at least once.
    pub polls: u64,
}

impl LaterRequests {
    fn of<'s>(steps: impl Iterator<Item = &'s Step>) -> LaterRequests {
        let (polls, steps): (Vec<&Step>, Vec<&Step>) = steps.partition(|step| step.polls());
        LaterRequests { steps: steps.len() as u64, polls: polls.len() as u64 }
    }
}

impl Reach {
    /// The requests that a question is expected to take after its first. `hit_rate`: how many of its answers have the person.
    /// `share`: its part of the requests that it shares with others; `None`: it is asked about alone.
    pub fn expected_later(&self, hit_rate: f64, share: Option<f64>) -> f64 {
        match (share, self.together) {
            (Some(share), Some(LaterRequests { steps, polls })) => (steps + polls) as f64 * share,
            _ => self.alone.steps as f64 * hit_rate + self.alone.polls as f64,
        }
    }
}

impl Config {
    /// Of a question that wants these fields.
    pub fn reach(&self, wanted: FieldSet) -> Reach {
        let wanted = self.fills.intersect(wanted);
        let supplies = |step: &Step| mapped(std::slice::from_ref(step));
        let last = self.steps.iter().rposition(|step| !supplies(step).intersect(wanted).is_empty());
        let (first, later) = self.steps[..=last.unwrap_or(0)].split_at(1);
        Reach {
            fields: mapped(first).union(mapped(later)).intersect(self.maps_of(wanted)),
            alone: LaterRequests::of(later.iter()),
            together: self.submission().map(|submission| LaterRequests::of(submission.later())),
        }
    }

    /// With how many others a contact can be asked about in one request, itself included.
    pub fn most_together(&self) -> u64 {
        self.bulk.as_ref().map_or(1, |bulk| bulk.most() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;
    use serde_json::{Value, json};

    fn config(more: Value) -> Config {
        let step = |path: &str, fields: Value| {
            json!({
                "request": {"url": format!("https://api.vendor.example/{path}"), "query": {"email": "{email}"}},
                "response": {"fields": fields}
            })
        };
        let mut submit = step("submit", json!({"job_title": "/title"}));
        submit["take"] = json!({"id": "/id"});
        let mut poll = step("result", json!({"phone": "/phone"}));
        poll["request"]["query"] = json!({"id": "{id}"});
        poll["response"]["pending"] = json!({"status": [202]});
        poll["take"] = json!({"profile": "/profile"});
        let mut last = step("profile", json!({"linkedin_url": "/linkedin"}));
        last["request"]["query"] = json!({"id": "{profile}"});
        let mut config = json!({"identify_by": [["email"]], "steps": [submit, poll, last]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Config::parse(&config).unwrap()
    }

    fn set(fields: &[Field]) -> FieldSet {
        fields.iter().copied().collect()
    }

    #[test]
    fn a_question_comes_as_far_as_what_it_wants() {
        let config = config(json!({}));
        let reach = |fields: &[Field]| {
            let Reach { fields, alone, together } = config.reach(set(fields));
            assert_eq!(together, None);
            (fields, alone.steps, alone.polls)
        };
        let (title, phone, profile) = (Field::JOB_TITLE, Field::PHONE, Field::LINKEDIN_URL);
        assert_eq!(reach(&[title]), (set(&[title]), 0, 0));
        assert_eq!(reach(&[phone]), (set(&[title, phone]), 0, 1));
        assert_eq!(reach(&[title, profile]), (set(&[title, phone, profile]), 1, 1));
        assert_eq!(reach(&[]), (set(&[title]), 0, 0));
    }

    #[test]
    fn what_follows_the_first_request_is_a_poll_for_all_and_the_rest_for_those_that_are_known() {
        let reach = config(json!({})).reach(FieldSet::ALL);
        assert_eq!(reach.expected_later(0.25, None), 1.25);
        assert_eq!(reach.expected_later(0.25, Some(0.1)), 1.25, "they share the first request alone");
        let together = Reach { together: Some(LaterRequests { steps: 0, polls: 1 }), ..reach };
        assert_eq!(together.expected_later(0.25, Some(0.1)), 0.1);
        assert_eq!(together.expected_later(0.25, None), 1.25);
    }
}
