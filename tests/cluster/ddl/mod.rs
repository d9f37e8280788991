//! Statements about whole databases and the extension itself, while the worker runs: Postgres alone decides whether
//! they succeed, and none waits for the worker.

mod databases;
mod extension;

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error};

use crate::support::{Behaviour, Failure, eventually, fails, person};
use crate::world::{Beginning, PATH, World, credits, enrich, number, pid, sqlstate};

/// What the issue promises.
const PROMPT: Duration = Duration::from_secs(1);

/// A second database with the extension, a metered workspace and a few contacts, owned by `chief`, who may create
/// databases and is no superuser.
struct Second<'a> {
    world: &'a World,
    name: &'static str,
}

fn world() -> World {
    let world = World::with(&Beginning::default());
    world.run("CREATE ROLE chief LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB");
    world
}

fn install(world: &World, name: &str) {
    let mut owner = world.cluster.connect(name);
    owner.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
    furnish(world, &mut owner);
}

fn furnish(world: &World, owner: &mut Client) {
    owner
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS crm (id uuid PRIMARY KEY, email text, phone text);
             INSERT INTO crm SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'p' || n || '@acme.example'
             FROM generate_series(1, 50) AS n ON CONFLICT DO NOTHING;
             SELECT leadlex.grant_access(current_user, leadlex.create_workspace('w', 40, 'org'));
             SELECT leadlex.bind_contacts('crm', workspace_id => (SELECT id FROM leadlex.workspace));",
        )
        .unwrap();
    let config = world.provider.config(PATH);
    owner.execute("SELECT leadlex.add_provider('main', config => $1, secret => 'x')", &[&config]).unwrap();
}

impl Second<'_> {
    fn new<'a>(world: &'a World, name: &'static str) -> Second<'a> {
        let mut admin = world.cluster.connect("postgres");
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER chief")).unwrap();
        install(world, name);
        Second { world, name }
    }

    fn connect(&self) -> Client {
        self.world.cluster.connect(self.name)
    }

    /// Makes a metered call, writes a ledger that takes the worker seconds to settle, and leaves: a worker is there.
    fn keep_busy(&self, rows: i32) {
        let mut client = self.connect();
        client
            .execute(
                "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id)
                 SELECT w.id, gen_random_uuid(), 2 * (n % 2) - 1, gen_random_uuid()
                 FROM leadlex.workspace AS w, generate_series(1, $1) AS n",
                &[&rows],
            )
            .unwrap();
        let n = free_contact(&mut client);
        enrich(&mut client, n).unwrap();
        let own = pid(&mut client);
        drop(client);
        eventually("the client is gone and the worker is there", Duration::from_secs(10), || {
            sessions(self.world, self.name, &format!("pid = {own}")) == 0
                && worker(self.world, self.name).is_some()
        });
    }
}

/// The worker has done what waited for it.
fn check_settled(world: &World, database: &str) {
    let mut client = world.cluster.connect(database);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while number(&mut client, "SELECT count(*) FROM leadlex.credit_pending") > 0 {
        if std::time::Instant::now() > until {
            let sql =
                "SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(s)))::text FROM leadlex.worker_status AS s";
            let status: Option<String> = client.query_one(sql, &[]).unwrap().get(0);
            panic!("the ledger of {database} is not settled: {status:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let difference = "SELECT (SELECT sum(settled) FROM leadlex.credit_balance)::int8 - leadlex.credits()";
    assert_eq!(number(&mut client, difference), 0, "{database}");
}

fn rate_used(client: &mut Client) -> Vec<i64> {
    let rows = client.query("SELECT \"limit\" - remaining FROM leadlex.rate_limit()", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn free_contact(client: &mut Client) -> i32 {
    number(client, "SELECT right(min(id::text), 12)::int8 FROM crm WHERE phone IS NULL") as i32
}

fn sessions(world: &World, database: &str, which: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND {which}");
    number(&mut world.cluster.connect("postgres"), &sql)
}

/// The pid of the worker in a database.
fn worker(world: &World, database: &str) -> Option<i32> {
    worker_seen_by(&mut world.cluster.connect("postgres"), database)
}

fn worker_seen_by(client: &mut Client, database: &str) -> Option<i32> {
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'leadlex_enrich worker'";
    client.query_opt(sql, &[&database]).unwrap().map(|row| row.get(0))
}

/// Runs a statement as somebody, and checks that the worker was not what it waited for: how long Postgres itself
/// takes to copy a database is another matter.
fn promptly(world: &World, database: &str, role: &str, sql: &str) -> Result<(), Error> {
    let mut client = world.cluster.connect_as("postgres", role);
    let mut watcher = world.cluster.connect("postgres");
    let begun = Instant::now();
    thread::scope(|scope| {
        let statement = scope.spawn(|| client.batch_execute(sql));
        while !statement.is_finished() && worker_seen_by(&mut watcher, database).is_some() {
            assert!(begun.elapsed() < PROMPT, "{sql}: the worker is there after {:?}", begun.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        statement.join().unwrap()
    })
}

fn exists(world: &World, database: &str) -> bool {
    let sql = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    number(&mut world.cluster.connect("postgres"), &sql) == 1
}

/// Databases that shared memory knows of, those that are gone included.
fn known(world: &World) -> Vec<Option<String>> {
    let sql = "SELECT database FROM leadlex.worker_status WHERE process = 'worker' ORDER BY 1";
    world.owner().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn check_forgotten(world: &World, name: &str) {
    let known = known(world);
    assert!(known.iter().all(|d| d.as_deref().is_some_and(|d| d != name)), "{known:?}");
}

/// Nothing about the worker in the log, and nothing that only a worker can have failed with.
fn check_log_is_quiet(world: &World) {
    let log = world.cluster.log();
    let noise: Vec<&str> = log
        .lines()
        .filter(|line| {
            line.contains("leadlex_enrich worker") || line.contains("FATAL") || line.contains("PANIC")
        })
        .filter(|line| !line.contains("terminating connection due to administrator command"))
        .filter(|line| !line.contains("the database system is starting up"))
        .collect();
    assert!(noise.is_empty(), "{noise:#?}");
}
