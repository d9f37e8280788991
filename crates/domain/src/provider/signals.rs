//! How a provider says what is not a match: by statuses, and by what its body holds.

use serde_json::Value;

use super::condition::{Condition, is_nothing};
use super::document::Document;
use super::failure_kind::FaultKind;
use super::node::{Checked, Node, Object};
use super::pointer::Pointer;

/// What an answer can say other than a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It must not tell anything about this person.
    Suppressed,
    Fault(FaultKind),
    /// It knows the id no longer that it gave.
    TicketUnknown,
    NoMatch,
}

/// The keys of a description, in the order in which they are looked at: that something failed is often told by a mark
/// that every error has, so it comes last, and the errors that mean something else before it.
const KEYS: [(&str, Signal); 8] = [
    ("suppressed", Signal::Suppressed),
    ("bad_credentials", Signal::Fault(FaultKind::BadCredentials)),
    ("quota", Signal::Fault(FaultKind::Quota)),
    ("rate_limited", Signal::Fault(FaultKind::RateLimited)),
    ("pending", Signal::Fault(FaultKind::Pending)),
    (TICKET_UNKNOWN, Signal::TicketUnknown),
    ("no_match", Signal::NoMatch),
    ("failed", Signal::Fault(FaultKind::ProviderError)),
];

/// The key of such a rule that only a step can have whose request names what an earlier one took.
pub const TICKET_UNKNOWN: &str = "ticket_unknown";

/// The keys of `response` that hold such rules, in the order in which they are looked at.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// A provider's own rules. What they do not cover is told by the status alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    statuses: Vec<(u16, Signal)>,
    bodies: Vec<(BodyRule, Signal)>,
    /// A success in which each of these places is missing, null or empty is no match.
    absent: Vec<Pointer>,
    /// The description lists the statuses of refusals, so none has that meaning by itself.
    knows_refusals: bool,
    /// The same about the statuses of answers that are not ready.
    knows_pending: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct BodyRule {
    /// Empty: whatever the status.
    statuses: Vec<u16>,
    condition: Condition,
    /// What has to hold besides.
    others: Vec<Condition>,
}

impl Signals {
    /// Reads those of [`keys`] that `response` has. An error where one status stands in two rules.
    pub fn parse(response: &Object<'_>) -> Checked<Signals> {
        let mut signals = Signals::default();
        for (key, signal) in KEYS {
            let Some(node) = response.optional(key) else { continue };
            let object = match signal {
                Signal::NoMatch => node.object(&["status", "body", "absent"])?,
                _ => node.object(&["status", "body"])?,
            };
            if let Some(list) = object.optional("status") {
                signals.knows_refusals |= signal == Signal::Suppressed;
                signals.knows_pending |= signal == Signal::Fault(FaultKind::Pending);
                signals.add_statuses(&list, signal)?;
            }
            if let Some(list) = object.optional("body") {
                for rule in list.items()? {
                    signals.bodies.push((BodyRule::parse(&rule)?, signal));
                }
            }
            if let Some(pointer) = object.optional("absent") {
                signals.absent = Pointer::parse_some(&pointer)?;
            }
        }
        Ok(signals)
    }

    fn add_statuses(&mut self, list: &Node<'_>, signal: Signal) -> Checked<()> {
        for item in list.items()? {
            // Within u16 by the bounds.
            let status = item.integer(100, 599)? as u16;
            match self.statuses.iter().find(|(known, _)| *known == status) {
                Some((_, other)) if *other != signal => {
                    return Err(item.error("is a status that another rule has, too"));
                }
                Some(_) => {}
                None => self.statuses.push((status, signal)),
            }
        }
        Ok(())
    }

    /// What a rule says, else what the status says by itself. `None`: neither says anything.
    pub fn of(&self, status: u16, body: &Document) -> Option<Signal> {
        self.by_rule(status, body).or_else(|| self.by_itself(status, body, false))
    }

    /// What the body says is looked at first: it tells more than a status. `None`: no rule says anything.
    pub fn by_rule(&self, status: u16, body: &Document) -> Option<Signal> {
        let by_body =
            |body| self.bodies.iter().find(|(rule, _)| rule.speaks(status, body)).map(|(_, signal)| *signal);
        if let Some(signal) = body.json().and_then(by_body) {
            return Some(signal);
        }
        let told = self.statuses.iter().find(|(known, _)| *known == status).map(|(_, signal)| *signal);
        told.map(|signal| believed(signal, body))
    }

    /// What a status says where the description does not speak of it. `has_ticket`: the request named what an earlier step
    /// took.
    pub fn by_itself(&self, status: u16, body: &Document, has_ticket: bool) -> Option<Signal> {
        let said = match status {
            202 if !self.knows_pending && !self.speaks_of(status) => Signal::Fault(FaultKind::Pending),
            204 if !self.speaks_of(status) => Signal::NoMatch,
            // "Gone".
            410 if has_ticket && !self.speaks_of(status) => Signal::TicketUnknown,
            // "Unavailable for legal reasons".
            451 if !self.knows_refusals && !self.speaks_of(status) => Signal::Suppressed,
            // It says what such an answer looks like, and this one does not.
            400..=499 if self.speaks_of(status) && self.is_about_a_person(status) => {
                Signal::Fault(FaultKind::Unrecognised)
            }
            _ => return None,
        };
        Some(believed(said, body))
    }

    /// Whether it is the 202 of which the description says nothing.
    pub fn is_accepted(&self, status: u16) -> bool {
        status == 202 && !self.knows_pending && !self.speaks_of(status) && !self.has_status(status)
    }

    /// Whether some answer can mean that it is not ready: by a rule, or by its status 202.
    pub fn can_be_pending(&self) -> bool {
        self.has_pending() || self.is_accepted(202)
    }

    /// Whether there is a rule for answers that are not ready.
    pub fn has_pending(&self) -> bool {
        let pending = Signal::Fault(FaultKind::Pending);
        self.statuses.iter().any(|(_, signal)| *signal == pending)
            || self.bodies.iter().any(|(_, signal)| *signal == pending)
    }

    fn has_status(&self, status: u16) -> bool {
        self.statuses.iter().any(|(known, _)| *known == status)
    }

    fn speaks_of(&self, status: u16) -> bool {
        self.bodies.iter().any(|(rule, _)| rule.statuses.contains(&status))
    }

    /// Whether there is a rule by which such a status is no match or a refusal, and nothing else.
    fn is_about_a_person(&self, status: u16) -> bool {
        let rules = || self.bodies.iter().filter(|(rule, _)| rule.statuses.contains(&status));
        rules().all(|(_, signal)| matches!(signal, Signal::NoMatch | Signal::Suppressed))
    }

    /// A success that holds nothing about the person. Without a body there is none of it.
    pub fn is_absent(&self, body: Option<&Value>) -> bool {
        let nothing = |pointer: &Pointer| is_nothing(body.and_then(|body| pointer.find(body)));
        !self.absent.is_empty() && self.absent.iter().all(nothing)
    }
}

/// A status says nothing about a person, and nothing about a ticket, where a page came with it.
fn believed(signal: Signal, body: &Document) -> Signal {
    match signal {
        Signal::NoMatch | Signal::TicketUnknown if !matches!(body, Document::Json(_) | Document::Empty) => {
            not_its_word(body)
        }
        Signal::Suppressed if body.json().is_none() => not_its_word(body),
        signal => signal,
    }
}

/// A page, or what cannot be read: a gateway's word, which says nothing about a person.
fn not_its_word(body: &Document) -> Signal {
    Signal::Fault(match body {
        Document::Encoded(_) => FaultKind::BadEncoding,
        _ => FaultKind::Unrecognised,
    })
}

impl BodyRule {
    fn parse(node: &Node<'_>) -> Checked<BodyRule> {
        let condition = Condition::parse(node, &["status", "if"])?;
        let others = match node.value.get("if").filter(|list| !list.is_null()) {
            Some(list) => {
                node.child("if", list).items()?.iter().map(|item| Condition::parse(item, &[])).collect()
            }
            None => Ok(Vec::new()),
        };
        let mut statuses = Vec::new();
        if let Some(list) = node.value.get("status").filter(|list| !list.is_null()) {
            for item in node.child("status", list).items()? {
                statuses.push(item.integer(100, 599)? as u16);
            }
        }
        Ok(BodyRule { statuses, condition, others: others? })
    }

    fn speaks(&self, status: u16, body: &Value) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&status))
            && self.condition.holds(body)
            && self.others.iter().all(|other| other.holds(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(response: &Value) -> Checked<Signals> {
        Signals::parse(&Node::root(response).object(&keys().collect::<Vec<_>>())?)
    }

    #[test]
    fn the_body_speaks_before_the_status() {
        let signals = parse(&json!({
            "suppressed": {"status": [451], "body": [{"pointer": "/error/name", "in": ["gdpr"]}]},
            "quota": {"status": [429], "body": [{"pointer": "/error/code", "in": [7], "status": [400, 422]}]},
            "rate_limited": {"status": [403]},
            "no_match": {"status": [404], "absent": "/data"}
        }))
        .unwrap();
        let of = |status, body: Value| signals.of(status, &Document::Json(body));
        assert_eq!(of(200, json!({"data": {}})), None);
        assert_eq!(of(200, json!({"error": {"name": "GDPR"}})), Some(Signal::Suppressed));
        assert_eq!(of(404, json!({"error": {"name": "gdpr"}})), Some(Signal::Suppressed));
        assert_eq!(of(404, json!({})), Some(Signal::NoMatch));
        assert_eq!(of(400, json!({"error": {"code": 7}})), Some(Signal::Fault(FaultKind::Quota)));
        assert_eq!(of(500, json!({"error": {"code": 7}})), None, "that rule is for other statuses");
        assert_eq!(signals.of(403, &Document::Page), Some(Signal::Fault(FaultKind::RateLimited)));
        assert_eq!(signals.of(429, &Document::Empty), Some(Signal::Fault(FaultKind::Quota)));
        assert!(signals.is_absent(None) && signals.is_absent(Some(&json!({"data": []}))));
        assert!(!signals.is_absent(Some(&json!({"data": {"x": 1}}))));
        assert!(!Signals::default().is_absent(None));
    }

    #[test]
    fn a_condition_can_ask_for_others_besides() {
        let rule = |others: Value| json!({"no_match": {"body": [{"pointer": "/error", "present": true, "status": [404], "if": others}]}});
        let signals =
            parse(&rule(json!([{"pointer": "/id", "present": true}, {"pointer": "/n", "in": [1]}]))).unwrap();
        let of = |status, body: Value| signals.by_rule(status, &Document::Json(body));
        assert_eq!(of(404, json!({"error": "x", "id": "r", "n": 1})), Some(Signal::NoMatch));
        assert_eq!(of(404, json!({"error": "x", "id": "r"})), None);
        assert_eq!(of(404, json!({"error": "x", "n": 1})), None);
        assert_eq!(of(404, json!({"id": "r", "n": 1})), None);
        assert_eq!(of(400, json!({"error": "x", "id": "r", "n": 1})), None);
        for (wrong, place) in [
            (json!({}), "/no_match/body/0/if"),
            (json!([{"pointer": "/id"}]), "/no_match/body/0/if/0"),
            (json!([{"pointer": "/id", "present": true, "status": [404]}]), "/no_match/body/0/if/0/status"),
        ] {
            assert_eq!(parse(&rule(wrong)).unwrap_err().place, place);
        }
    }

    #[test]
    fn a_page_says_nothing_about_a_person() {
        let signals =
            parse(&json!({"suppressed": {"status": [451]}, "no_match": {"status": [404]}})).unwrap();
        let unrecognised = Some(Signal::Fault(FaultKind::Unrecognised));
        let encoded = || Document::Encoded("br".into());
        for (status, body, expected) in [
            (404, Document::Json(json!({})), Some(Signal::NoMatch)),
            (404, Document::Empty, Some(Signal::NoMatch)),
            (404, Document::Page, unrecognised),
            (404, Document::Broken, unrecognised),
            (404, encoded(), Some(Signal::Fault(FaultKind::BadEncoding))),
            (451, Document::Json(json!({})), Some(Signal::Suppressed)),
            (451, Document::Empty, unrecognised),
            (451, Document::Page, unrecognised),
        ] {
            assert_eq!(signals.of(status, &body), expected, "{status} {body:?}");
        }
        // The same without a word of the description.
        let plain = Signals::default();
        assert_eq!(plain.of(451, &Document::Json(json!({}))), Some(Signal::Suppressed));
        assert_eq!(plain.of(451, &Document::Page), unrecognised);
        // It says what a refusal looks like, and this is none.
        let rule = json!({"body": [{"pointer": "/error", "present": true, "status": [404, 451]}]});
        let strict = parse(&json!({ "suppressed": rule })).unwrap();
        let router = Document::Json(json!({"message": "no Route matched with those values"}));
        assert_eq!(strict.of(451, &router), unrecognised);
        assert_eq!(strict.of(404, &router), unrecognised);
        assert_eq!(strict.of(451, &Document::Json(json!({"error": "x"}))), Some(Signal::Suppressed));
    }

    #[test]
    fn some_statuses_mean_something_by_themselves() {
        let pending = Some(Signal::Fault(FaultKind::Pending));
        let body = || Document::Json(json!({"id": 1}));
        assert_eq!(Signals::default().of(202, &body()), pending);
        assert_eq!(Signals::default().of(204, &Document::Empty), Some(Signal::NoMatch));
        assert_eq!(Signals::default().of(205, &Document::Empty), None);
        for says_otherwise in [
            json!({"pending": {"status": []}}),
            json!({"pending": {"body": [{"pointer": "/status", "in": ["busy"], "status": [202]}]}}),
        ] {
            assert_eq!(parse(&says_otherwise).unwrap().of(202, &body()), None, "{says_otherwise}");
        }
        let own = parse(&json!({"failed": {"status": [204]}, "no_match": {"status": [202]}})).unwrap();
        assert_eq!(own.of(204, &Document::Empty), Some(Signal::Fault(FaultKind::ProviderError)));
        assert_eq!(own.of(202, &Document::Empty), Some(Signal::NoMatch));
    }

    #[test]
    fn an_error_that_means_no_match_is_no_failure() {
        let signals = parse(&json!({
            "failed": {"body": [{"pointer": "/error", "present": true}]},
            "no_match": {"body": [{"pointer": "/error/name", "in": ["EMPTY_DATA"]}]}
        }))
        .unwrap();
        let of = |name: &str| signals.of(200, &Document::Json(json!({"error": {"name": name}})));
        assert_eq!(of("EMPTY_DATA"), Some(Signal::NoMatch));
        assert_eq!(of("BROKEN"), Some(Signal::Fault(FaultKind::ProviderError)));
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        for (wrong, place) in [
            (json!({"no_match": {"status": [404]}, "quota": {"status": [402, 404]}}), "/no_match/status/0"),
            (json!({"quota": {"status": [99]}}), "/quota/status/0"),
            (json!({"quota": {"status": 402}}), "/quota/status"),
            (json!({"quota": {"absent": "/x"}}), "/quota/absent"),
            (json!({"failed": {"body": [{"pointer": "/x"}]}}), "/failed/body/0"),
            (
                json!({"failed": {"body": [{"pointer": "/x", "present": true, "status": ["x"]}]}}),
                "/failed/body/0/status/0",
            ),
            (json!({"failed": {"body": {"pointer": "/x"}}}), "/failed/body"),
            (json!({"refused": {"status": [451]}}), "/refused"),
        ] {
            let error = parse(&wrong).unwrap_err();
            assert_eq!(error.place, place, "{wrong}: {}", error.message);
        }
    }
}
