//! Data that can be trusted, and undone.

mod asking;
mod author;
mod example;
mod overtaken;
mod own;
mod priority;
mod reload;
mod status;
mod undo;
mod undone;
mod verified;
mod why;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::Behaviour;
use crate::world::{Beginning, World, contact};

/// Where a second vendor is asked.
const OTHER: &str = "/other";

/// `main` supplies a telephone number of each contact's own, `other`, which is asked after it, a title. Credits enough.
fn world(contacts: i32, conf: &[&str]) -> World {
    let mut all = vec!["leadlex.waterfall = 'fill'"];
    all.extend(conf);
    let world =
        World::with(&Beginning { credits: Some(1_000), contacts, conf: &all, ..Beginning::default() });
    main_supplies(&world, "555");
    let mut other = world.provider.config(OTHER);
    other["response"]["fields"] = json!({"job_title": "/data/job_title"});
    world.add_provider("other", &other);
    world.run("SELECT leadlex.alter_provider('other', priority => 200)");
    world
        .provider
        .on(OTHER, |_| Behaviour::json(200, json!({"likelihood": 8, "data": {"job_title": "Editor"}})));
    world
}

/// Numbers of this area.
fn main_supplies(world: &World, area: &'static str) {
    world.provider.on(crate::world::PATH, move |request| {
        let email = request.param("email").unwrap_or_default();
        let digits: String = email.chars().filter(char::is_ascii_digit).collect();
        Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": format!("+1{area}01{digits:0>5}")}}))
    });
}

/// What the provider of [`main_supplies`] has of a contact.
fn phone_of(area: &str, n: i32) -> String {
    format!("+1{area}01{n:05}")
}

/// As functions of ours take and give them.
fn keys(numbers: &[i32]) -> Vec<String> {
    numbers.iter().map(|n| contact(*n).to_string()).collect()
}

/// The first column.
fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Each row as JSON.
fn rows(client: &mut Client, sql: &str) -> Vec<Value> {
    let sql = format!("SELECT to_jsonb(r) FROM ({sql}) AS r");
    client
        .query(&sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .iter()
        .map(|row| row.get(0))
        .collect()
}
