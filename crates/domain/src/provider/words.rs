//! What is said about an answer that is of no use.

use serde_json::Value;

use super::document::Document;
use super::failure_kind::FaultKind;
use super::taken::MAX_VALUE_BYTES;

/// The sentence that a fault of this kind has, with the HTTP status. It repeats nothing of the body but the
/// name of its encoding.
pub fn message(kind: FaultKind, status: u16, body: &Document) -> String {
    let meaning = match (kind, body) {
        (FaultKind::Redirect, _) => "a redirect, which is not followed",
        (FaultKind::BadCredentials, _) => "it does not accept the secret",
        (FaultKind::Quota, _) => "the account with it has nothing left",
        (FaultKind::RateLimited, _) => "too many requests",
        (FaultKind::ServerError, _) => "an error on its side",
        (FaultKind::Pending, _) => "it is still looking, and would have to be asked again later",
        (FaultKind::ProviderError, _) => "its answer reports an error",
        (FaultKind::BadJson, _) => "its answer is not valid JSON",
        (FaultKind::BadEncoding, Document::Encoded(name)) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return format!(
                "the provider answered with status {status}: its answer is encoded as {name}, which was not asked for (only gzip is)"
            );
        }
        (FaultKind::Unrecognised, Document::Page) => {
            "a page, as what stands in front of a vendor writes it, and not the vendor's answer"
        }
        (FaultKind::Unrecognised, Document::Empty) => {
            "nothing else, and its configuration does not say what that means"
        }
        (FaultKind::Unrecognised, _) => "its answer is not of the kind that its configuration describes",
        _ => "not a status that was expected",
    };
    format!("the provider answered with status {status}: {meaning}")
}

/// The same where the vendor knows the id no longer that it gave.
pub fn ticket_unknown(status: u16) -> String {
    format!(
        "the provider answered with status {status}: it does not know the request any more that was handed in; the next call hands it in anew"
    )
}

/// What would make the answer of a step understood that lacks what the step takes.
pub fn remedy_of_take(name: &str, is_too_long: bool) -> String {
    if is_too_long {
        return format!(
            "The text where \"take\" looks for {{{name}}} is longer than {} kB, which no id is. Name the place of the id itself, or of something shorter by which the vendor knows the request.",
            MAX_VALUE_BYTES / 1_024
        );
    }
    format!(
        "The answer has no text and no whole number where \"take\" looks for {{{name}}}. If the vendor says so that there is nothing, add to that step's response what marks it: \"no_match\" with \"status\", \"body\" or \"absent\". If it says that something failed, use \"failed\"."
    )
}

/// What is said where a header has a place for something that was taken and that no header can carry.
pub fn unfit_for_a_header(name: &str) -> String {
    format!(
        "what its answer gives to be taken as {{{name}}} has a control character in it, so it cannot be sent in a header"
    )
}

/// Whether a person wants to see the answer: it was not understood, or it is not the vendor's word. What a vendor says of
/// an error whose meaning is known could hold anything, and is not repeated.
pub fn is_puzzling(kind: FaultKind, body: &Document) -> bool {
    match kind {
        FaultKind::Unrecognised
        | FaultKind::BadJson
        | FaultKind::BadEncoding
        | FaultKind::Redirect
        | FaultKind::BadStatus => true,
        FaultKind::BadCredentials | FaultKind::ServerError => *body == Document::Page,
        _ => false,
    }
}

/// What would make an answer understood.
pub fn remedy(status: u16, body: &Document) -> String {
    let success = (200..=299).contains(&status);
    let rule = match body {
        Document::Page => {
            return "A page is the word of what stands in front of the vendor: check the URL, firewalls and proxies.".into();
        }
        Document::Empty if status == 200 => r#"{"response": {"no_match": {"absent": ""}}}"#.to_owned(),
        // A match can have such a word, too: of the record, not of the request.
        Document::Json(json) if success && let Some(place) = part_with_data(json) => {
            let pending =
                still_to_come(json).map(|told| format!(" {}", pending_rule(told))).unwrap_or_default();
            return format!(
                r#"No place in response.fields leads to what the answer has at "/{place}": name its data there. If it says that there is nothing, add to its configuration what tells such an answer from a match, for example {{"response": {{"no_match": {{"absent": "/PLACE"}}}}}} with a place that only a match has.{pending}"#
            );
        }
        Document::Json(json) if let Some(told) = still_to_come(json) => {
            return format!("It seems to say that the answer is still to come. {}", pending_rule(told));
        }
        // A word that stands beside it can stand in a match, too.
        Document::Json(json) if success && let Some(place) = empty_part(json) => format!(
            r#"{{"response": {{"no_match": {{"body": [{{"pointer": "/{place}", "empty": true, "status": [{status}]}}]}}}}}}"#
        ),
        Document::Json(json) if success => {
            let place = first_name(json).unwrap_or("error");
            format!(
                r#"{{"response": {{"no_match": {{"body": [{{"pointer": "/{place}", "present": true}}]}}}}}}"#
            )
        }
        Document::Json(_) | Document::Empty if status == 451 => {
            return r#"If the vendor refuses so to tell anything about a person, add to its configuration what marks it: {"response": {"suppressed": {"body": [{"pointer": "/error", "present": true, "status": [451]}]}}}."#.into();
        }
        // A router answers in JSON, too, so the status alone would not tell it from the vendor.
        Document::Json(json) if let Some(place) = first_name(json) => format!(
            r#"{{"response": {{"no_match": {{"body": [{{"pointer": "/{place}", "present": true, "status": [{status}]}}]}}}}}}"#
        ),
        _ => format!(r#"{{"response": {{"no_match": {{"status": [{status}]}}}}}}"#),
    };
    format!(
        "Is this the vendor's own answer, or that of a router before it? If it is the vendor's, and says that there is nothing, add to its configuration (to that step, where it has steps): {rule}. If it says that something failed, use \"failed\" in place of \"no_match\", and \"pending\" where the answer is still to come. If it has data, name their places in response.fields."
    )
}

/// The member of an answer that tells what it is about, as vendors call it, else the first; where its name can stand in a
/// pointer as it is.
const TELLING: [&str; 6] = ["error", "errors", "message", "detail", "reason", "code"];

fn first_name(json: &Value) -> Option<&str> {
    let members = json.as_object()?;
    let telling = TELLING.into_iter().find(|name| members.contains_key(*name));
    telling.or_else(|| members.keys().map(String::as_str).next().filter(is_plain))
}

/// Where a match would have its data, and this answer has nothing; not where it says in words that there is none.
fn empty_part(json: &Value) -> Option<&str> {
    let members = json.as_object()?;
    if TELLING.iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let mut empty = members.iter().filter(|(_, value)| is_empty(value)).map(|(name, _)| name.as_str());
    empty.find(is_plain)
}

/// The rule for an answer that says by this member and word that it is still to come.
fn pending_rule((place, word): (&str, &str)) -> String {
    format!(
        r#"If the answer is still to come, add to its configuration, in a step that asks for it: {{"response": {{"pending": {{"body": [{{"pointer": "/{place}", "in": ["{word}"]}}]}}}}}}, with all words by which the vendor says so. As "no_match" it would be remembered as nothing."#
    )
}

/// A member by which vendors say that they are not done, and its word.
fn still_to_come(json: &Value) -> Option<(&str, &str)> {
    const WORDS: [&str; 19] = [
        "accepted",
        "created",
        "enriching",
        "in_progress",
        "in progress",
        "in-progress",
        "inprogress",
        "in_queue",
        "not_ready",
        "ongoing",
        "pending",
        "processing",
        "queued",
        "running",
        "searching",
        "started",
        "submitted",
        "waiting",
        "working",
    ];
    let members = json.as_object()?.iter().filter(|(name, _)| is_plain(&name.as_str()));
    let mut texts = members.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    texts.find(|(_, text)| WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// The first member that holds more than a text or number: so an answer with data has, and a rule of its other members would
/// take matches for none.
fn part_with_data(json: &Value) -> Option<&str> {
    let holds = |value: &Value| match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    let error = |name: &str| name.starts_with("error");
    let parts = json.as_object()?.iter().filter(|(name, value)| holds(value) && !error(name));
    parts.map(|(name, _)| name.as_str()).next().filter(is_plain)
}

fn is_plain(name: &&str) -> bool {
    name.len() <= 30 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is not done yet is not to be remembered as nothing.
    #[test]
    fn an_answer_that_is_still_to_come_is_to_be_pending() {
        for (status, body) in [
            (200, json!({"id": 7, "status": "RUNNING"})),
            (404, json!({"state": "in progress"})),
            (200, json!({"status": "working"})),
            (200, json!({"state": "In_Queue"})),
        ] {
            let remedy = remedy(status, &Document::Json(body));
            assert!(
                remedy.contains("\"pending\": {\"body\"") && !remedy.contains("\"no_match\": {"),
                "{remedy}"
            );
        }
        let with_data =
            remedy(200, &Document::Json(json!({"status": "created", "person": {"title": "CTO"}})));
        assert!(
            with_data.starts_with("No place in response.fields leads to what the answer has at \"/person\"")
                && with_data.contains("\"pending\": {\"body\": [{\"pointer\": \"/status\""),
            "{with_data}"
        );
        let remedy = remedy(200, &Document::Json(json!({"status": "not found"})));
        assert!(remedy.contains("\"no_match\": {") && remedy.contains("\"pending\" where"), "{remedy}");
    }

    /// What is proposed must not make matches count as none.
    #[test]
    fn a_rule_is_proposed_only_where_the_answer_has_no_data() {
        let with = |json: Value| remedy(200, &Document::Json(json));
        let match_elsewhere = with(json!({"status": 200, "likelihood": 7, "data": {"title": "CTO"}}));
        assert!(
            match_elsewhere.contains("\"/data\"") && !match_elsewhere.contains("/status"),
            "{match_elsewhere}"
        );
        assert!(with(json!({"status": 1, "results": [{"x": 1}]})).contains("\"/results\""));
        let nothing = with(json!({"status": "none", "message": "no such person", "data": {}}));
        assert!(nothing.contains(r#"{"pointer": "/message", "present": true}"#), "{nothing}");
        let empty = with(json!({"state": "ready", "person": null}));
        assert!(empty.contains(r#"{"pointer": "/person", "empty": true, "status": [200]}"#), "{empty}");
        let error = with(json!({"errors": [{"id": "x"}], "meta": ""}));
        assert!(error.contains(r#"{"pointer": "/errors", "present": true}"#), "{error}");
    }
}
