//! What an operator is told of, and can do: events, stop and resume, credit limits, what is wrong.

mod alerts;
mod check;
mod credits;
mod events;
mod monitoring;
mod stop;

use std::time::{Duration, Instant};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use serde_json::Value;

use crate::world::World;

/// A session that listens, and what it is told.
pub struct Listener(Client);

impl Listener {
    pub fn new(world: &World) -> Listener {
        let mut client = world.owner();
        client.batch_execute("LISTEN leadlex").unwrap();
        Listener(client)
    }

    /// The payloads that come within this time.
    pub fn within(&mut self, time: Duration) -> Vec<Value> {
        let mut notifications = self.0.notifications();
        let mut told = Vec::new();
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(notification) = notifications.timeout_iter(left).next().unwrap() {
                assert_eq!(notification.channel(), "leadlex");
                told.push(serde_json::from_str(notification.payload()).unwrap());
            }
        }
        told
    }

    /// The next payload of this kind; panics where none comes in time.
    pub fn next(&mut self, event: &str, time: Duration) -> Value {
        let until = Instant::now() + time;
        let mut notifications = self.0.notifications();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(notification) = notifications.timeout_iter(left).next().unwrap() {
                let payload: Value = serde_json::from_str(notification.payload()).unwrap();
                if payload["event"] == event {
                    return payload;
                }
            }
        }
        panic!("no event {event} within {time:?}");
    }
}

/// How soon an event is to be told of.
pub const PROMPT: Duration = Duration::from_secs(2);

/// The detail of the latest event of this kind.
pub fn detail(world: &World, event: &str) -> Value {
    let sql = "SELECT detail FROM leadlex.event WHERE event = $1 ORDER BY id DESC LIMIT 1";
    world.owner().query_one(sql, &[&event]).unwrap().get(0)
}

pub fn count(world: &World, event: &str) -> i64 {
    let sql = "SELECT count(*) FROM leadlex.event WHERE event = $1";
    world.owner().query_one(sql, &[&event]).unwrap().get(0)
}
