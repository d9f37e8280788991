//! Behind PgBouncer in transaction mode: many clients take turns on few server connections, and each is only itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use serde_json::Value;

use crate::support::{Cluster, eventually, server};
use crate::world::{Beginning, World, number, sqlstate};

const CLIENTS: usize = 200;
const SERVER_CONNECTIONS: i64 = 10;
const WORKSPACES: usize = 4;
/// Transactions of each client.
const TURNS: usize = 3;
const PROGRAM: &str = "/usr/sbin/pgbouncer";

struct Pooler {
    process: Child,
    dir: PathBuf,
}

const PORT: u16 = 6432;

impl Pooler {
    /// On a socket of its own, in front of a cluster, for these users.
    fn start(cluster: &Cluster, users: &[String]) -> Pooler {
        let dir = cluster.socket_dir().join("pool");
        server().make_dir(&dir).unwrap();
        fs::write(dir.join("users"), users.iter().map(|u| format!("\"{u}\" \"\"\n")).collect::<String>())
            .unwrap();
        let ini = format!(
            "[databases]
             * = host={} port={}
             [pgbouncer]
             listen_addr =
             listen_port = {PORT}
             unix_socket_dir = {dir}
             auth_type = trust
             auth_file = {dir}/users
             pool_mode = transaction
             default_pool_size = {SERVER_CONNECTIONS}
             max_db_connections = {SERVER_CONNECTIONS}
             max_client_conn = {}
             ",
            cluster.socket_dir().display(),
            cluster.port(),
            CLIENTS + 50,
            dir = dir.display(),
        );
        let ini: String = ini.lines().map(|line| format!("{}\n", line.trim())).collect();
        fs::write(dir.join("ini"), ini).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = server()
            .command(PROGRAM)
            .arg(dir.join("ini"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; run `make prerequisites`"));
        let pooler = Pooler { process, dir };
        eventually("PgBouncer listens", Duration::from_secs(20), || {
            pooler.config(&users[0]).connect(NoTls).is_ok()
        });
        pooler
    }

    fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.dir).port(PORT).user(user).dbname("app");
        config
    }

    fn connect(&self, user: &str) -> Client {
        self.config(user).connect(NoTls).unwrap_or_else(|error| panic!("as {user}: {error:?}"))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
    }
}

/// One row, one column, in a simple query: PgBouncer before 1.21 knows no named statements.
fn one(client: &mut Client, sql: &str) -> Result<String, Error> {
    let messages = client.simple_query(sql)?;
    let row = messages
        .into_iter()
        .find_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
    Ok(row.expect("one row").get(0).unwrap_or_default().to_owned())
}

fn whoami(client: &mut Client) -> Result<String, Error> {
    one(client, "SELECT leadlex.whoami()->>'workspace'")
}

/// Workspaces w0, w1 …, each with an API key, a role, and a contact for every client and turn.
fn teams() -> (World, Vec<String>) {
    let world = World::with(&Beginning { conf: &["max_connections = 100"], ..Beginning::default() });
    world.run(&format!(
        "CREATE ROLE pooled LOGIN;
         CREATE TABLE shared (LIKE crm INCLUDING ALL, workspace_id uuid NOT NULL, owner text NOT NULL);
         GRANT SELECT, UPDATE ON shared TO PUBLIC;
         SELECT leadlex.bind_contacts('shared');
         DO $$ BEGIN FOR w IN 0..{last} LOOP
             EXECUTE format('CREATE ROLE role%s LOGIN', w);
             PERFORM leadlex.grant_access(('role' || w)::name, leadlex.create_workspace('w' || w, 100000, 'unmetered'));
         END LOOP; END $$;
         INSERT INTO shared (id, email, workspace_id, owner)
             SELECT gen_random_uuid(), format('c%s.%s@acme.example', client, turn), w.id, format('%s.%s', client, turn)
             FROM generate_series(0, {clients} - 1) AS client, generate_series(0, {TURNS} - 1) AS turn,
                  leadlex.workspace AS w WHERE w.name = 'w' || client % {WORKSPACES};",
        last = WORKSPACES - 1,
        clients = CLIENTS,
    ));
    let mut owner = world.owner();
    let key = |w| {
        let sql = "SELECT leadlex.create_api_key(id, name => name) FROM leadlex.workspace WHERE name = $1";
        owner.query_one(sql, &[&format!("w{w}")]).unwrap().get(0)
    };
    let keys = (0..WORKSPACES).map(key).collect();
    (world, keys)
}

/// All clients at once, each connected before the first begins.
fn clients(pooler: &Pooler, user: impl Fn(usize) -> String, work: impl Fn(usize, &mut Client) + Sync) {
    // One after the other: together they would overrun the queue of the socket.
    let sessions: Vec<Client> = (0..CLIENTS).map(|n| pooler.connect(&user(n))).collect();
    thread::scope(|scope| {
        for (n, mut session) in sessions.into_iter().enumerate() {
            let work = &work;
            scope.spawn(move || work(n, &mut session));
        }
    });
}

/// This contact is filled, and a contact of the next workspace is none of this one's.
fn call(client: &mut Client, n: usize, turn: usize) {
    let enriched = one(
        client,
        &format!("SELECT enrich_row('shared', (SELECT id::text FROM shared WHERE owner = '{n}.{turn}'))"),
    );
    let enriched: Value = serde_json::from_str(&enriched.unwrap()).unwrap();
    assert_eq!(enriched["contact"]["email"], format!("c{n}.{turn}@acme.example"));
    let foreign = (n + 1) % CLIENTS;
    let refused = one(
        client,
        &format!(
            "SELECT try_enrich_row('shared', (SELECT id::text FROM shared WHERE owner = '{foreign}.{turn}'))->'error'->>'sqlstate'"
        ),
    );
    assert_eq!(refused.unwrap(), "LX404", "client {n}");
}

/// Each workspace paid for the calls of its own clients, and its history shows no others.
fn check_ledger(world: &World) {
    let calls = CLIENTS * TURNS / WORKSPACES;
    for w in 0..WORKSPACES {
        let own = format!("(SELECT id FROM leadlex.workspace WHERE name = 'w{w}')");
        let charges =
            format!("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1 AND workspace_id = {own}");
        assert_eq!(world.number(&charges), calls as i64, "w{w}");
        let history = format!(
            "SELECT count(*) FROM leadlex.enrichment AS e JOIN shared AS s ON s.id::text = e.contact_id
                               WHERE e.workspace_id = {own} AND s.workspace_id = {own}"
        );
        assert_eq!(world.number(&history), calls as i64, "w{w}");
    }
    let servers = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('pooled', 'role0', 'role1', 'role2', 'role3')";
    let servers = world.number(servers);
    assert!((1..=SERVER_CONNECTIONS).contains(&servers), "{servers} server connections");
}

#[test]
fn clients_with_keys_of_their_own_share_server_connections() {
    let (world, keys) = teams();
    let pooler = Pooler::start(&world.cluster, &["pooled".to_owned()]);
    clients(
        &pooler,
        |_| "pooled".to_owned(),
        |n, client| {
            for turn in 0..TURNS {
                client.batch_execute("BEGIN").unwrap();
                // Parsed, bound and executed at once, without a name, as drivers do for poolers.
                let key = &keys[n % WORKSPACES];
                client
                    .query_typed("SELECT set_config('leadlex.api_key', $1, true)", &[(key, Type::TEXT)])
                    .unwrap();
                assert_eq!(whoami(client).unwrap(), format!("w{}", n % WORKSPACES));
                call(client, n, turn);
                client.batch_execute("COMMIT").unwrap();
                // The key is gone with its transaction.
                assert_eq!(sqlstate(&whoami(client)), "LX401");
            }
        },
    );
    check_ledger(&world);
}

#[test]
fn clients_with_roles_of_their_own_share_server_connections() {
    let (world, _) = teams();
    let roles: Vec<String> = (0..WORKSPACES).map(|w| format!("role{w}")).collect();
    let pooler = Pooler::start(&world.cluster, &roles);
    clients(
        &pooler,
        |n| format!("role{}", n % WORKSPACES),
        |n, client| {
            for turn in 0..TURNS {
                assert_eq!(whoami(client).unwrap(), format!("w{}", n % WORKSPACES));
                call(client, n, turn);
            }
        },
    );
    check_ledger(&world);
}

/// A client that sets its key for the session leaves it to the next one on that server connection.
#[test]
fn a_key_set_for_the_session_is_nobodys_where_local_identity_is_required() {
    let (world, keys) = teams();
    let pooler = Pooler::start(&world.cluster, &["pooled".to_owned()]);
    let set = |client: &mut Client, n: usize| {
        client.batch_execute(&format!("SET leadlex.api_key = '{}'", keys[n % WORKSPACES])).unwrap();
    };
    // Without the setting it is so: otherwise what follows would show nothing.
    set(&mut pooler.connect("pooled"), 1);
    assert_eq!(whoami(&mut pooler.connect("pooled")).unwrap(), "w1");

    world.cluster.set("leadlex.require_local_identity", "on");
    // Reloaded in every session that the pooler holds.
    eventually("the pooled session has read it", Duration::from_secs(10), || {
        one(&mut pooler.connect("pooled"), "SHOW leadlex.require_local_identity").unwrap() == "on"
    });
    clients(
        &pooler,
        |_| "pooled".to_owned(),
        |n, client| {
            for turn in 0..TURNS {
                match (n + turn) % 3 {
                    0 => {
                        set(client, n);
                        assert_eq!(sqlstate(&whoami(client)), "LX401", "client {n}");
                    }
                    1 => {
                        client.batch_execute("BEGIN").unwrap();
                        assert_eq!(sqlstate(&whoami(client)), "LX401", "client {n}");
                        client.batch_execute("ROLLBACK").unwrap();
                    }
                    _ => {
                        client.batch_execute("BEGIN").unwrap();
                        let key = &keys[n % WORKSPACES];
                        client
                            .query_typed(
                                "SELECT set_config('leadlex.api_key', $1, true)",
                                &[(key, Type::TEXT)],
                            )
                            .unwrap();
                        assert_eq!(whoami(client).unwrap(), format!("w{}", n % WORKSPACES));
                        call(client, n, turn);
                        client.batch_execute("COMMIT").unwrap();
                    }
                }
            }
        },
    );
    let set_in = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'pooled'";
    assert!(number(&mut world.owner(), set_in) <= SERVER_CONNECTIONS);
    // Every charge is of a workspace's own contact.
    let wrong = "SELECT count(*) FROM leadlex.enrichment AS e JOIN shared AS s ON s.id::text = e.contact_id
                 WHERE e.workspace_id <> s.workspace_id";
    assert_eq!(world.number(wrong), 0);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment"), (CLIENTS * TURNS / 3) as i64);
}
