//! Access and erasure: what is held on a person, told and forgotten, and for how long it is held at all.

mod erasures;
mod retention;
mod same_key;
mod walk;
mod workspaces;

use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::world::{World, contact};

/// The result of a function that takes a contact.
fn told(client: &mut Client, call: &str, n: i32) -> Value {
    let sql = format!("SELECT leadlex.{call}");
    client.query_one(&sql, &[&contact(n)]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Rows of a query as JSON.
fn rows(client: &mut Client, sql: &str) -> Vec<Value> {
    let sql = format!("SELECT to_jsonb(r) FROM ({sql}) AS r");
    let rows = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Another workspace, with a role of its own.
fn rival(world: &World) -> (Client, Uuid) {
    let sql = "SELECT leadlex.create_workspace('rival', 50, 'unmetered')";
    let id: Uuid = world.owner().query_one(sql, &[]).unwrap().get(0);
    world.run(&format!(
        "CREATE ROLE rival LOGIN; SELECT leadlex.grant_access('rival', '{id}'); GRANT SELECT, UPDATE ON crm TO rival"
    ));
    (world.cluster.connect_as("app", "rival"), id)
}
