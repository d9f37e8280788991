//! Providers that take more than one request: nothing is handed in twice.

mod beside;
mod breaker;
mod budgets;
mod cut_off;
mod estimate;
mod forgotten;
mod later_visits;
mod limits;
mod login;
mod login_failures;
mod namesakes;
mod one_id;
mod owed;
mod pending;
mod queue;
mod queue_disabled;
mod queue_once;
mod queue_paid;
mod queue_position;
mod queue_settings;
mod refused;
mod seeded;
mod sent;
mod stopped;
mod tickets;
mod vendor;

use std::time::Duration;

use crate::support::eventually;
use crate::world::World;

const SOON: Duration = Duration::from_secs(10);

fn tickets(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.ticket WHERE expires_at > now()")
}

fn wait_for_tickets(world: &World, count: i64) {
    eventually("the worker has written the tickets", SOON, || tickets(world) == count);
}
