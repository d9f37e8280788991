//! Every preset over real HTTP: the plays that unit tests read (`presets.json` of the domain), each as a call about somebody
//! of their own. What a vendor documents is there once: who is asked what, what is answered, and what it comes to. So are
//! vendors without a preset, each of them one configuration (`vendors.json`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{told, with, world};
use crate::support::{Behaviour, Provider, Request, Response};
use crate::world::{SECRET, World, credits};

const PLAYS: &str = include_str!("../../../crates/domain/src/provider/testdata/presets.json");
const VENDORS: &str = include_str!("../../../crates/domain/src/provider/testdata/vendors.json");

macro_rules! presets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let vendors: Vec<Value> = serde_json::from_str(PLAYS).unwrap();
                let vendor = vendors.iter().find(|vendor| vendor["preset"] == stringify!($name));
                Stage::of(vendor.expect("plays of the preset")).play_all();
            }
        )*

        #[test]
        fn every_preset_is_played() {
            let vendors: Vec<Value> = serde_json::from_str(PLAYS).unwrap();
            let mut named: Vec<&str> = vendors.iter().map(|vendor| vendor["preset"].as_str().unwrap()).collect();
            let mut played = [$(stringify!($name)),*];
            named.sort_unstable();
            played.sort_unstable();
            assert_eq!(named, played);
        }
    };
}

presets! {
    apollo bettercontact cognism crustdata dropcontact fullenrich hunter lusha people_data_labs prospeo rocketreach snov
    surfe zoominfo
}

#[test]
fn vendors_without_a_preset_are_one_configuration_each() {
    let vendors: Vec<Value> = serde_json::from_str(VENDORS).unwrap();
    assert!(vendors.len() > 10);
    thread::scope(|scope| {
        for some in vendors.chunks(vendors.len().div_ceil(4)) {
            scope.spawn(|| some.iter().for_each(|vendor| Stage::of(vendor).play_all()));
        }
    });
}

/// A provider whose vendor is played by the world's server.
struct Stage {
    // Dropped first: a session ends before its server does.
    caller: Client,
    world: World,
    name: String,
    description: Value,
    /// What it is used for; null: for all that it has.
    fills: Value,
    plays: Vec<Value>,
}

/// The address of every request is the server's, under the vendor's own path.
pub fn moved(description: &mut Value, provider: &Provider) {
    match description {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member.as_str().filter(|_| name == "url").and_then(|url| url.strip_prefix("https://")) {
                    Some(address) => {
                        let path = address.find('/').map_or("", |at| &address[at..]);
                        *member = json!(provider.url(path));
                    }
                    None => moved(member, provider),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, provider)),
        _ => {}
    }
}

/// Nothing is waited for but a second between two polls.
fn hurried(description: &mut Value) {
    let members = description.as_object_mut().unwrap();
    members.retain(|name, _| !name.starts_with("max_"));
    if members.contains_key("steps") {
        members.extend([("poll_every_s".to_owned(), json!(1)), ("poll_for_s".to_owned(), json!(60))]);
    }
    for step in members.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten().skip(1) {
        step["response"].as_object_mut().unwrap().remove("retry_after");
    }
}

impl Stage {
    /// `preset` changed by `config`, where the vendor has one, else `config`.
    fn of(vendor: &Value) -> Stage {
        let world = world();
        let name = vendor["preset"].as_str().or(vendor["vendor"].as_str()).unwrap();
        let name = name.replace(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'), "-");
        world.run("ALTER TABLE crm ADD COLUMN company_domain text; SELECT leadlex.bind_contacts('crm')");
        let mut owner = world.owner();
        // What the user adds to it, such as the id of a client.
        let added = vendor.get("config").unwrap_or(&Value::Null);
        let add = "SELECT leadlex.add_provider('as_it_comes', preset => $1, config => nullif($2, 'null'::jsonb), secret => $3)";
        owner.execute(add, &[&vendor["preset"].as_str(), &added, &SECRET]).unwrap();
        let config = "SELECT config FROM leadlex.provider WHERE name = 'as_it_comes'";
        let mut description: Value = owner.query_one(config, &[]).unwrap().get(0);
        world.run("SELECT leadlex.drop_provider('as_it_comes')");
        // What a merge cannot reach: members of an object within the steps.
        for (place, members) in vendor["set"].as_object().into_iter().flatten() {
            let object = description.pointer_mut(place).and_then(Value::as_object_mut).unwrap();
            object.extend(members.as_object().unwrap().clone());
        }
        moved(&mut description, &world.provider);
        hurried(&mut description);
        world.add_provider(&name, &description);
        let plays = vendor["plays"].as_array().unwrap().clone();
        let fills = description["fills"].clone();
        Stage { caller: world.caller(), world, name, description, fills, plays }
    }

    fn play_all(mut self) {
        for (number, play) in std::mem::take(&mut self.plays).iter().enumerate() {
            // In some the vendor is not ready before the call is over: that is the same for all of them.
            let waits = play["comes_to"] == "waits" || play["comes_to"][0] == "waits";
            if !waits {
                self.play(number, play);
            }
        }
        self.world.check_credits_add_up();
    }

    fn play(&mut self, number: usize, play: &Value) {
        // Somebody else each time: nothing is known of an earlier play.
        let text = play.to_string();
        let text = text.replace("jane-example", &format!("jane-example-{number}"));
        let play: Value =
            serde_json::from_str(&text.replace("acme.example", &format!("acme{number}.example"))).unwrap();
        let what = format!("{}: {}", self.name, play["what"]);
        // Another provider each time: it is not paused, logs in anew, and may give ids that it gave before.
        let secret = format!("{SECRET}-{number}");
        let mut owner = self.world.owner();
        owner.execute("SELECT leadlex.drop_provider($1)", &[&self.name]).unwrap();
        let add = "SELECT leadlex.add_provider($1, config => $2, secret => $3)";
        owner.execute(add, &[&self.name, &self.description, &secret]).unwrap();
        self.world.provider.forget();
        let left = answers(&self.world.provider, &play);
        let id = self.contact(&play["contact"], number);
        let before = credits(&mut self.caller).unwrap();
        let fields: Option<Vec<String>> = play["wanted"]
            .as_array()
            .map(|names| names.iter().map(|name| name.as_str().unwrap().to_owned()).collect());
        let sql = "SELECT try_enrich_contact($1, $2, true)";
        let reply: Value = self.caller.query_one(sql, &[&id, &fields]).unwrap().get(0);
        assert!(!reply.to_string().contains(&secret), "{what}: {reply}");
        let spent = before - credits(&mut self.caller).unwrap();
        let expected = used(&play["comes_to"], &self.fills);
        assert_eq!(came(&reply, &expected), expected, "{what}: {reply}");
        let changed = reply["fields_updated"].as_array().is_some_and(|fields| !fields.is_empty());
        assert_eq!(spent, i64::from(changed), "{what}: {reply}");
        assert_eq!(left.lock().unwrap().len(), 0, "{what}: all answers are asked for");
        let requests = self.world.provider.requests();
        assert_eq!(requests.len(), play["answers"].as_array().unwrap().len(), "{what}");
        for (expected, request) in play["sent"].as_array().into_iter().flatten().zip(&requests) {
            check_sent(expected, request, &secret, &what);
        }
    }

    /// Jane, but for what the play says.
    fn contact(&self, over: &Value, number: usize) -> Uuid {
        let id = Uuid::new_v4();
        let jane = json!({
            "id": id, "full_name": "Jane Example", "email": format!("jane@acme{number}.example"), "company_name": "Acme",
            "linkedin_url": format!("https://www.linkedin.com/in/jane-example-{number}")
        });
        let over = if over.is_null() { json!({}) } else { over.clone() };
        let sql = "INSERT INTO crm SELECT (jsonb_populate_record(NULL::crm, $1)).*";
        self.world.owner().execute(sql, &[&with(&jane, &over)]).unwrap();
        id
    }
}

/// The server answers so, one request after the other.
fn answers(provider: &Provider, play: &Value) -> Arc<Mutex<VecDeque<Response>>> {
    let goes_on = play["comes_to"].is_object();
    let answer = |given: &Value| {
        let status = given[0].as_u64().unwrap() as u16;
        let mut answer = match &given[1] {
            Value::String(page) => super::text(status, page),
            Value::Null => Response { status, headers: Vec::new(), body: Vec::new() },
            json => Response::json(status, json),
        };
        for (name, value) in given[2].as_object().into_iter().flatten() {
            // To come again within a second is early enough for a test.
            if !(goes_on && name.eq_ignore_ascii_case("retry-after")) {
                answer = answer.with_header(name, value.as_str().unwrap());
            }
        }
        answer
    };
    let left: VecDeque<Response> = play["answers"].as_array().unwrap().iter().map(answer).collect();
    let left = Arc::new(Mutex::new(left));
    let next = Arc::clone(&left);
    provider.always(move |_| match next.lock().unwrap().pop_front() {
        Some(answer) => Behaviour::Answer(answer),
        None => Behaviour::json(418, json!({"error": "nothing more is asked for"})),
    });
    left
}

/// What is written of what it comes to.
fn used(comes_to: &Value, fills: &Value) -> Value {
    let mut used = comes_to.clone();
    let found = if used.is_array() { &mut used[1] } else { &mut used };
    if let (Some(found), Some(fills)) = (found.as_object_mut(), fills.as_array()) {
        found.retain(|name, _| name == "confidence" || fills.contains(&json!(name)));
    }
    used
}

/// The reply in the words of the play, as far as it says something of the contact.
fn came(reply: &Value, expected: &Value) -> Value {
    let error = &reply["error"];
    if !error.is_null() {
        let words = told(error);
        return match (words[1].as_str().unwrap(), words[2].as_str().unwrap_or_default()) {
            ("no_match", "no_data") => json!("no_match"),
            ("no_match", reason) => json!(reason),
            _ => failure(expected, &error["providers"][0]["reason"], &error["providers"][0]["message"]),
        };
    }
    let fields = if expected.is_array() { &expected[1] } else { expected };
    let value = |name: &String| match name.as_str() {
        "confidence" => reply["confidence"].clone(),
        name => reply["contact"][name].clone(),
    };
    let members = fields.as_object().into_iter().flatten();
    let known: Value =
        members.map(|(name, _)| (name.clone(), value(name))).collect::<serde_json::Map<_, _>>().into();
    if expected.is_array() { json!([expected[0], known]) } else { known }
}

/// That the vendor knows a ticket no longer has a reason that others have, too.
fn failure(expected: &Value, reason: &Value, message: &Value) -> Value {
    let unknown =
        message.as_str().is_some_and(|message| message.contains("does not know the request any more"));
    if *expected == "ticket_unknown" && *reason == "provider_error" && unknown {
        return expected.clone();
    }
    reason.clone()
}

fn check_sent(expected: &Value, request: &Request, secret: &str, what: &str) {
    if let Some(method) = expected["method"].as_str() {
        assert_eq!(request.method, method, "{what}");
    }
    if let Some(url) = expected["url"].as_str() {
        let address = url.strip_prefix("https://").expect("vendors have certificates");
        let address = &address[address.find('/').unwrap_or(address.len())..];
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        // A description is kept as jsonb, which has an order of its own.
        let sorted = |mut pairs: Vec<String>| {
            pairs.sort_unstable();
            pairs
        };
        let sent = request.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned);
        assert_eq!(
            (request.path.as_str(), sorted(sent.collect())),
            (path, sorted(query.collect())),
            "{what}"
        );
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap().replace("***", secret);
        // What a login gave is masked, too.
        if !value.contains("Bearer") {
            assert_eq!(request.header(name), Some(value.as_str()), "{what}: {name}");
        }
    }
    if let Some(body) = expected.get("body").filter(|body| body.is_object() || body.is_array()) {
        let sent = String::from_utf8_lossy(&request.body).replace(secret, "***");
        assert_eq!(ordered(&serde_json::from_str(&sent).unwrap()), ordered(body), "{what}");
    }
}

/// With the lists of `{"wanted": …}` in one order, too.
fn ordered(json: &Value) -> Value {
    match json {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(ordered).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), ordered(member))).collect()
        }
        other => other.clone(),
    }
}

/// As the extension encodes what it puts into a query.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
