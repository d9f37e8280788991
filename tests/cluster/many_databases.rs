//! Many databases at once: few workers serve all of them, those with a waiting call first.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::support::{Failure, eventually};
use crate::world::{Beginning, World, enrich, number};

/// A workspace with a rate limit: each call needs the worker of its database.
fn world(conf: &[&str]) -> World {
    let mut all = vec!["max_connections = 260", "autovacuum = off", "shared_buffers = '64MB'"];
    all.extend(conf);
    World::with(&Beginning { plan: "org", credits: None, contacts: 4, conf: &all, ..Beginning::default() })
}

/// Copies of the database that has everything. Each is a clone, in which calls by hand work.
fn copies(world: &World, count: usize) -> Vec<String> {
    let names: Vec<String> = (1..=count).map(|n| format!("copy{n}")).collect();
    thread::scope(|scope| {
        for part in names.chunks(count.div_ceil(4)) {
            scope.spawn(move || {
                let mut admin = world.cluster.connect("postgres");
                for name in part {
                    let sql = format!("CREATE DATABASE {name} TEMPLATE app STRATEGY file_copy");
                    admin.batch_execute(&sql).unwrap();
                }
            });
        }
    });
    names
}

fn callers(world: &World, names: &[String]) -> Vec<Client> {
    names.iter().map(|name| world.cluster.connect_as(name, "caller")).collect()
}

/// One call of each, at the same moment. The failures.
fn all_at_once(clients: &mut [Client], n: i32) -> Vec<Failure> {
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        let call = |client| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                enrich(client, n).err().map(|error| Failure::of(&error))
            })
        };
        let calls: Vec<_> = clients.iter_mut().map(call).collect();
        calls.into_iter().filter_map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn two_hundred_databases_with_one_limited_call_each_are_served_by_two_workers() {
    let world = world(&[]);
    let names = copies(&world, 200);
    let mut clients = callers(&world, &names);
    let failures = all_at_once(&mut clients, 1);
    assert!(failures.is_empty(), "{} of {} failed: {:?}", failures.len(), names.len(), failures[0]);
}

#[test]
fn more_databases_than_places_are_served_at_once_and_one_after_another() {
    let world = world(&["leadlex.max_databases = 4"]);
    let names = copies(&world, 24);
    let mut clients = callers(&world, &names);
    let failures = all_at_once(&mut clients, 1);
    assert!(failures.is_empty(), "{} of {} failed: {:?}", failures.len(), names.len(), failures[0]);
    for client in &mut clients {
        enrich(client, 2).unwrap();
    }
    // What was noted where there was no place is found all the same.
    for name in &names {
        world.cluster.connect(name).batch_execute("SELECT leadlex.resume_queue()").unwrap();
    }
    for name in &names {
        let mut owner = world.cluster.connect(name);
        eventually(&format!("the ledger of {name} is settled"), Duration::from_secs(60), || {
            number(&mut owner, "SELECT count(*) FROM leadlex.credit_pending") == 0
        });
    }
}

#[test]
fn too_few_places_are_named_by_the_error() {
    // Room for the launcher (and Postgres's own for logical replication), for no worker.
    let world = world(&["leadlex.max_databases = 4", "max_worker_processes = 2"]);
    let mut clients = callers(&world, &copies(&world, 6));
    let failures = all_at_once(&mut clients, 1);
    assert_eq!(failures.len(), 6);
    let (places, workers): (Vec<_>, Vec<_>) = failures.iter().partition(|f| f.sqlstate == "53400");
    assert!(!places.is_empty() && !workers.is_empty(), "{failures:?}");
    for failure in places {
        assert!(failure.detail.as_ref().unwrap().contains("leadlex.max_databases (4)"), "{failure:?}");
        assert!(failure.hint.as_ref().unwrap().contains("Raise leadlex.max_databases"), "{failure:?}");
    }
    for failure in workers {
        assert_eq!(failure.sqlstate, "55000");
        assert!(failure.hint.as_ref().unwrap().contains("max_worker_processes"), "{failure:?}");
    }
    assert_eq!(world.provider.count(), 0);
}
