//! Several contacts in one request.

mod going_on;
mod halves;
mod interrupted;
mod presets;
mod seeded;
mod sets;
mod sizes;
mod slow_presets;
pub mod steps;
mod steps_login;

use std::collections::BTreeMap;

use postgres::{GenericClient, Row};
use serde_json::{Value, json};

use crate::support::Behaviour;
use crate::support::http::Request;
use crate::world::{Beginning, World, contact, only_phone};

/// Where the provider is asked about several at once.
const ALL: &str = "/people";

/// A provider that is asked about so many at once, with changes to `bulk`.
fn world_of(contacts: i32, credits: Option<i64>, most: usize) -> World {
    let world = World::with(&Beginning { contacts, credits, ..Beginning::default() });
    alter(&world, &json!({"bulk": bulk(&world, most)}));
    world.provider.on(ALL, |request| Behaviour::json(200, json!(answers(request))));
    world
}

fn bulk(world: &World, most: usize) -> Value {
    json!({
        "request": {
            "method": "POST", "url": world.provider.url(ALL), "headers": {"X-Api-Key": "{secret}"},
            "body": {"requests": {"each": {"params": {"email": "{email}"}}}}
        },
        "most": most, "answers": "", "match": "position", "status": "/status", "timeout_ms": 10000
    })
}

fn alter(world: &World, config: &Value) {
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[config]).unwrap();
}

/// The numbers of the contacts that a request is about.
fn asked(request: &Request) -> Vec<usize> {
    let body = request.json();
    let all = body["requests"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| number_in(one["params"]["email"].as_str().unwrap())).collect()
}

fn number_in(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// A phone number that tells whom it is of.
fn phone_of(number: usize) -> String {
    format!("+1201555{number:04}")
}

fn hit(number: usize) -> Value {
    let mut answer = only_phone(&phone_of(number));
    answer["status"] = json!(200);
    answer
}

fn answers(request: &Request) -> Vec<Value> {
    asked(request).into_iter().map(hit).collect()
}

/// The same, with other elements for some.
fn answers_but(request: &Request, other: impl Fn(usize) -> Option<Value>) -> Value {
    json!(
        asked(request)
            .into_iter()
            .map(|number| other(number).unwrap_or_else(|| hit(number)))
            .collect::<Vec<_>>()
    )
}

fn enrich_all(client: &mut impl GenericClient, numbers: impl IntoIterator<Item = i32>) -> Vec<Row> {
    let ids: Vec<_> = numbers.into_iter().map(contact).collect();
    client.query("SELECT * FROM enrich_contacts($1, '{phone}')", &[&ids]).unwrap()
}

/// How many lines there are of each status, or error with its message's reason.
fn outcomes(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let error: Option<String> = row.get("error_code");
        let what = match error {
            Some(code) => code,
            None => row.get("status"),
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

/// The numbers of the contacts of each request, the largest first.
fn requests(world: &World) -> Vec<usize> {
    let all = world.provider.requests();
    let mut sizes: Vec<usize> =
        all.iter().filter(|request| request.path == ALL).map(|request| asked(request).len()).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

/// Whoever has a phone number has their own.
fn check_whose(world: &World) -> usize {
    let rows = world.owner().query("SELECT email, phone FROM crm WHERE phone IS NOT NULL", &[]).unwrap();
    for row in &rows {
        let (email, phone): (String, String) = (row.get(0), row.get(1));
        assert_eq!(phone, phone_of(number_in(&email)), "{email}");
    }
    rows.len()
}
