use super::*;
use serde_json::{Value, json};

const URL: &str = "https://api.acme.example/x";

fn steps(polled: bool) -> Value {
    let pending =
        if polled { json!({"body": [{"pointer": "/state", "in": ["running"]}]}) } else { Value::Null };
    json!([
        {"request": {"method": "POST", "url": URL, "query": {"email": "{email}"}}, "response": {}, "take": {"ticket": "/id"}},
        {"request": {"url": format!("{URL}/{{ticket}}")}, "response": {"pending": pending, "fields": {"phone": "/phone"}}},
    ])
}

fn config(more: Value) -> Config {
    let mut whole = json!({"identify_by": [["email"]], "poll_every_s": 1, "poll_for_s": 30});
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Config::parse(&whole).unwrap_or_else(|error| panic!("{error}"))
}

/// Of a question that is new, and where it has a second step, of that: alone, and together with four others.
fn purposes(more: Value) -> (Purpose, Purpose, Option<Purpose>) {
    let config = config(more);
    let new = Inquiry::new(FieldSet::ALL);
    let ticket = json!({"step": 1, "taken": {"ticket": "t"}, "submitted_at": 0, "due_at": 0, "values": {}});
    let later = Inquiry::resumed(&config, &ticket, FieldSet::ALL);
    let of = |inquiry: &Inquiry, together| Purpose::of(&config, inquiry, together);
    (of(&new, None), of(&new, Some(5)), later.map(|later| of(&later, None)))
}

#[test]
fn room_is_kept_for_as_many_polls_as_requests_will_ask() {
    use Purpose::{Ask, Fetch, HandIn};
    assert_eq!(purposes(json!({"steps": steps(true)})), (HandIn(32), HandIn(160), Some(Fetch)));
    // What is not asked for again takes nothing of what is kept for polls, in no step.
    assert_eq!(purposes(json!({"steps": steps(false)})), (Ask, Ask, Some(Ask)));
    let login = json!({"request": {"method": "POST", "url": URL, "body": {"key": "{secret}"}}, "take": {"token": "/token"}});
    let mut named = steps(true);
    named[0]["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    assert_eq!(purposes(json!({"steps": named, "login": login})).0, HandIn(64));
    // One request alone, and steps of their own for several.
    let mut together = steps(true);
    together[0]["request"] =
        json!({"method": "POST", "url": URL, "body": {"people": {"each": {"email": "{email}"}}}});
    together[1]["response"]["fields"] = Value::Null;
    let both = json!({
        "request": {"url": URL, "query": {"email": "{email}"}}, "response": {"fields": {"phone": "/phone"}},
        "bulk": {"steps": together, "most": 5}
    });
    assert_eq!(purposes(both), (Ask, HandIn(32), None));
}
