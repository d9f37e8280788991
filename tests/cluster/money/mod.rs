//! Money: what is spent, and that budgets hold.

mod budgets;
mod caps;
mod crash;
mod estimate;
mod events;
mod quality;
mod spend;
mod views;

use std::thread;
use std::time::{Duration, SystemTime};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, only_phone};

/// Waits for midnight UTC where it is near: there a day's budget begins anew.
fn away_from_midnight() {
    const DAY_S: u64 = 86_400;
    const MARGIN_S: u64 = 90;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let left = DAY_S - now % DAY_S;
    if left <= MARGIN_S {
        thread::sleep(Duration::from_secs(left + 1));
    }
}

/// The provider knows everybody's telephone number, and has this price.
fn world(contacts: i32, price: Value) -> World {
    away_from_midnight();
    let world = World::with(&Beginning { contacts, credits: None, ..Beginning::default() });
    world.provider.on(PATH, |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
    configure(&world, "main", json!({"price": price}));
    world
}

fn a_match(amount: f64) -> Value {
    json!({"currency": "USD", "per_match": amount})
}

fn configure(world: &World, name: &str, config: Value) {
    world.owner().execute("SELECT leadlex.alter_provider($1, config => $2)", &[&name, &config]).unwrap();
}

fn text(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// All rows as `requests/matches/supplied/used cost`, with `-` for NULL.
const SPEND: &str = "SELECT coalesce(string_agg(format('%s %s/%s/%s/%s %s', provider, coalesce(requests::text, '-'),
        coalesce(matches::text, '-'), coalesce(fields_supplied::text, '-'), coalesce(fields_used::text, '-'), coalesce(cost::text, '-')), ', '
        ORDER BY provider, workspace_id, requests DESC NULLS LAST), '')
    FROM leadlex.spend";

fn spend_is(world: &World, within: Duration, expected: &str) {
    let mut owner = world.owner();
    let mut last = String::new();
    let is_so = || {
        last = text(&mut owner, SPEND);
        last == expected
    };
    let until = std::time::Instant::now() + within;
    let mut is_so = is_so;
    while !is_so() {
        assert!(
            std::time::Instant::now() < until,
            "spend is not {expected} but {}",
            text(&mut world.owner(), SPEND)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is reserved any more.
fn spend_adds_up(world: &World) {
    let mut owner = world.owner();
    eventually("budgets and spend agree", Duration::from_secs(10), || {
        text(
            &mut owner,
            "SELECT ((SELECT coalesce(sum(cost), 0) FROM leadlex.spend) = (SELECT max(used) FROM leadlex.budget))::text",
        ) == "true"
    });
}
