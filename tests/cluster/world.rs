//! A cluster with a workspace, a provider, a bound contact table and a role that may enrich: what most tests begin with.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error, GenericClient};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Cluster, Failure, Notices, Provider, Server, eventually, person, prepared};

/// Where the provider is asked.
pub const PATH: &str = "/person";
/// The vendor's key: nothing that anybody can see may hold it.
pub const SECRET: &str = "vendor-secret-4711";
/// What [`crate::support::person`] puts into the field that most tests look at.
pub const PHONE: &str = "+15550100100";

/// The setting that makes every plan that may be so a parallel one.
pub const FORCE_PARALLEL: &str =
    if cfg!(feature = "pg15") { "force_parallel_mode" } else { "debug_parallel_query" };

pub struct World {
    // Dropped first: connections of calls in flight end before their server does.
    pub provider: Provider,
    pub cluster: Cluster,
    pub workspace: Uuid,
}

/// How the workspace of a [`World`] begins.
pub struct Beginning<'a> {
    pub credits: Option<i64>,
    pub plan: &'a str,
    pub contacts: i32,
    pub conf: &'a [&'a str],
    /// In a data directory as initdb of this server makes it, in place of a prepared one.
    pub by_initdb: Option<&'static Server>,
}

impl Default for Beginning<'_> {
    fn default() -> Self {
        Beginning { credits: Some(10), plan: "unmetered", contacts: 10, conf: &[], by_initdb: None }
    }
}

/// Everything that an error must leave as it was. Rate use is `limit - remaining` per window.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    pub contacts: Value,
    pub credits: Option<i64>,
    pub charges: i64,
    pub ledger_sum: i64,
    pub history: i64,
    pub stored_results: i64,
    pub rate_used: Vec<i64>,
}

impl World {
    pub fn new() -> World {
        World::with(&Beginning::default())
    }

    pub fn with(beginning: &Beginning) -> World {
        let provider = Provider::start();
        let mut conf = vec!["leadlex.worker_naptime = 1"];
        conf.extend(beginning.conf);
        let cluster = match beginning.by_initdb {
            None => Cluster::create_prepared(&conf),
            Some(server) => Cluster::create_of(server, &conf),
        };
        cluster.start_again();
        let mut owner = match beginning.by_initdb {
            None => cluster.connect(prepared::DATABASE),
            Some(_) => prepared::fill(&cluster),
        };
        owner
            .execute("INSERT INTO crm (id, full_name, email) SELECT pg_catalog.uuid_in(pg_catalog.textout('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))), 'Person ' || n, 'person' || n || '@acme.example' FROM generate_series(1, $1::int) AS n", &[&beginning.contacts])
            .unwrap();
        let workspace: Uuid = owner
            .query_one(
                "SELECT leadlex.create_workspace('acme', $1, $2)",
                &[&beginning.credits, &beginning.plan],
            )
            .unwrap()
            .get(0);
        owner.execute("SELECT leadlex.grant_access('caller', $1)", &[&workspace]).unwrap();
        owner.execute("SELECT leadlex.bind_contacts('crm', workspace_id => $1)", &[&workspace]).unwrap();
        let world = World { provider, cluster, workspace };
        world.add_provider("main", &world.provider.config(PATH));
        world
    }

    pub fn add_provider(&self, name: &str, config: &Value) {
        self.owner()
            .execute("SELECT leadlex.add_provider($1, config => $2, secret => $3)", &[&name, config, &SECRET])
            .unwrap();
    }

    /// As the superuser, who owns the extension and the table.
    pub fn owner(&self) -> Client {
        self.cluster.connect("app")
    }

    /// As the role that may enrich.
    pub fn caller(&self) -> Client {
        self.cluster.connect_as("app", "caller")
    }

    /// As this role, with what the session is told beside its results.
    pub fn listening(&self, role: &str) -> (Client, Notices) {
        Notices::connect(self.cluster.config("app").user(role))
    }

    /// A statement of the superuser that answers with one number.
    pub fn number(&self, sql: &str) -> i64 {
        self.cluster.beside(sql, |owner| number(owner, sql))
    }

    pub fn run(&self, sql: &str) {
        self.cluster
            .beside(sql, |owner| owner.batch_execute(sql))
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Ends every pause of a provider, as an administrator would.
    pub fn end_pauses(&self) {
        self.run("SELECT leadlex.enable_provider(name, true) FROM leadlex.provider WHERE enabled");
    }

    pub fn ledger(&self) -> Ledger {
        let mut caller = self.caller();
        let used = caller.query("SELECT \"limit\" - remaining FROM leadlex.rate_limit()", &[]).unwrap();
        let contacts = "SELECT jsonb_agg(c ORDER BY id) FROM crm AS c";
        let of_workspace = |what: &str, table: &str, which: &str| {
            let workspace = self.workspace;
            self.number(&format!(
                "SELECT {what} FROM leadlex.{table} WHERE workspace_id = '{workspace}'{which}"
            ))
        };
        Ledger {
            contacts: self.cluster.beside(contacts, |owner| owner.query_one(contacts, &[])).unwrap().get(0),
            credits: credits(&mut caller),
            charges: of_workspace("count(*)", "credit_ledger", " AND amount = -1"),
            ledger_sum: of_workspace("coalesce(sum(amount), 0)::int8", "credit_ledger", ""),
            history: of_workspace("count(*)", "enrichment", ""),
            stored_results: of_workspace("count(*)", "idempotency", ""),
            rate_used: used.iter().filter_map(|row| row.get::<_, Option<i64>>(0)).collect(),
        }
    }

    /// The invariants of contract section 6, now and again after the worker has folded the ledger.
    pub fn check_credits_add_up(&self) {
        let check = |when: &str| {
            let ledger = self.ledger();
            assert!(ledger.ledger_sum >= 0, "{when}: the balance is negative: {ledger:?}");
            assert_eq!(ledger.credits, Some(ledger.ledger_sum), "{when}: granted = spent + balance");
            assert_eq!(ledger.charges, ledger.history, "{when}: every charge has its history");
            assert_eq!(
                self.number(
                    "SELECT count(*) FROM leadlex.credit_ledger AS l FULL JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
                     WHERE (l.amount = -1 AND e.request_id IS NULL) OR l.request_id IS NULL"
                ),
                0,
                "{when}: each charge names its request"
            );
            assert_eq!(
                self.number("SELECT count(*) - count(DISTINCT request_id) FROM leadlex.credit_ledger"),
                0,
                "{when}: one ledger row per request"
            );
        };
        check("before settling");
        self.settle();
        check("after settling");
        assert_eq!(
            self.number("SELECT coalesce(sum(settled), 0)::int8 FROM leadlex.credit_balance"),
            self.number("SELECT coalesce(sum(amount), 0)::int8 FROM leadlex.credit_ledger"),
            "the settled balance is the sum of the ledger"
        );
    }

    /// Waits until the worker has folded every ledger row into the balance.
    pub fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.number("SELECT count(*) FROM leadlex.credit_pending") > 0 {
            if Instant::now() > until {
                let sql = "SELECT jsonb_agg(s)::text FROM leadlex.worker_status AS s";
                let status: Option<String> = self.owner().query_one(sql, &[]).unwrap().get(0);
                panic!("the worker does not settle the ledger: {status:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a backend waits for a heavyweight lock, as pg_locks shows it.
    pub fn wait_until_blocked(&self, pid: i32) {
        eventually("the second call waits, visibly in pg_locks", Duration::from_secs(10), || {
            self.number(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted")) > 0
        });
    }

    /// Waits until a session has ended.
    pub fn wait_until_gone(&self, pid: i32) {
        eventually("the session ends", Duration::from_secs(10), || {
            self.number(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")) == 0
        });
    }

    /// Nothing is left reserved by anybody: every credit of the balance can be spent, and then there is none.
    /// Empties contacts and makes the provider answer again.
    pub fn check_all_credits_can_be_spent(&self) {
        self.provider.on(PATH, |_| Behaviour::json(200, person()));
        self.end_pauses();
        let mut caller = self.caller();
        // What was remembered of earlier calls does not count here.
        caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
        let balance = credits(&mut caller).expect("a credit limit");
        for spent in 1..=balance {
            self.run(&format!("UPDATE crm SET phone = NULL WHERE id = '{}'", contact(1)));
            let result = enrich(&mut caller, 1)
                .unwrap_or_else(|error| panic!("credit {spent} of {balance}: {error:?}"));
            assert_eq!(result["credits_remaining"], balance - spent);
        }
        self.run(&format!("UPDATE crm SET phone = NULL WHERE id = '{}'", contact(1)));
        assert_eq!(sqlstate(&enrich(&mut caller, 1)), "LX402");
        self.check_credits_add_up();
    }

    /// Cancels what a backend does. A cancel request of the protocol signals it twice, and the second signal can hit the
    /// statement after it.
    pub fn cancel(&self, backend: i32) {
        let sql = "SELECT pg_cancel_backend($1)";
        self.cluster.beside(sql, |owner| owner.execute(sql, &[&backend])).unwrap();
    }

    /// The caller gives up a call, which fails, as soon as the provider has been asked: sooner it would not be a late answer,
    /// which a timeout cannot know on a busy machine.
    pub fn abandon(&self, caller: &mut Client, n: i32) {
        let (asked, backend) = (self.provider.count(), pid(caller));
        let _held = self.provider.hold();
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| enrich(caller, n));
            self.provider.wait_for(asked + 1, Duration::from_secs(10));
            self.cancel(backend);
            call.join().unwrap()
        });
        assert_eq!(sqlstate(&result), "57014", "{result:?}");
    }

    pub fn phone(&self, n: i32) -> Option<String> {
        let sql = "SELECT phone FROM crm WHERE id = $1";
        self.cluster.beside(sql, |owner| owner.query_one(sql, &[&contact(n)])).unwrap().get(0)
    }
}

/// The id of the n-th contact, counted from 1.
pub fn contact(n: i32) -> Uuid {
    format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()
}

pub fn number(client: &mut impl GenericClient, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

pub fn pid(client: &mut impl GenericClient) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

pub fn credits(client: &mut impl GenericClient) -> Option<i64> {
    client.query_one("SELECT leadlex.credits()", &[]).unwrap().get(0)
}

pub fn enrich(client: &mut impl GenericClient, n: i32) -> Result<Value, Error> {
    client.query_one("SELECT enrich_contact($1)", &[&contact(n)]).map(|row| row.get(0))
}

pub fn enrich_with_key(client: &mut impl GenericClient, n: i32, key: Uuid) -> Result<Value, Error> {
    let row = client.query_one("SELECT enrich_contact($1, idempotency_key => $2)", &[&contact(n), &key]);
    row.map(|row| row.get(0))
}

pub fn try_enrich(client: &mut impl GenericClient, n: i32) -> Value {
    client.query_one("SELECT try_enrich_contact($1)", &[&contact(n)]).unwrap().get(0)
}

/// SQLSTATE of a statement that failed, or "00000".
pub fn sqlstate<T>(result: &Result<T, Error>) -> String {
    result.as_ref().err().map_or("00000".to_owned(), |error| Failure::of(error).sqlstate)
}

/// One field with a value that tells which contact was asked about, so that every provider answer is a change.
pub fn only_phone(phone: &str) -> Value {
    json!({"likelihood": 9, "data": {"phone": phone}})
}

/// What a process has allocated for itself alone, in kB.
pub fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a Linux process");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many of these a process has: "fd" or "task".
pub fn open(pid: i32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count()
}
