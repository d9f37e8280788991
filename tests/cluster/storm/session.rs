//! One session of a storm: does what its plan says, and remembers what the server acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postgres::{Client, Error, NoTls};
use serde_json::Value;
use uuid::Uuid;

use super::Storm;
use super::plan::{Call, Side, Step, Transaction};
use crate::world::contact;

/// Something that a transaction did, if it commits.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Charge {
        side: Side,
        contact: i32,
        request_id: Uuid,
        fields: Vec<String>,
    },
    Grant {
        side: Side,
        note: String,
        amount: i64,
    },
    Edit {
        tag: String,
    },
    /// A result under an idempotency key.
    Stored {
        key: Uuid,
        request_id: Uuid,
    },
}

/// A call and when it ran, as its client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub side: Side,
    pub contact: i32,
    pub overwrite: bool,
    pub started: Instant,
    pub finished: Instant,
    /// The server answered, with a result or an error that is no cancel.
    pub complete: bool,
    /// It certainly used its workspace's rate limit.
    pub admitted: bool,
}

#[derive(Default)]
pub struct Record {
    pub committed: Vec<Effect>,
    /// Transactions whose connection was lost during COMMIT.
    pub unknown: Vec<Vec<Effect>>,
    pub calls: Vec<Timed>,
    /// Contacts whose call was cancelled or lost, once for each time.
    pub interrupted: Vec<(Side, i32)>,
    /// Contacts about which an answer may have come to a backend that was gone.
    pub lost: Vec<(Side, i32)>,
    /// Keys that were replayed from another transaction.
    pub replayed: Vec<Uuid>,
    pub transactions: usize,
    /// The connection, open to the end.
    pub clients: Vec<Client>,
    pub outcomes: BTreeMap<String, usize>,
}

/// Why a statement failed.
enum Trouble {
    /// The connection is gone.
    Lost,
    /// SQLSTATE.
    Refused(String),
}

/// What can happen here. 22023: a correction of more credits than there are.
const EXPECTED: [&str; 10] =
    ["LX402", "LX409", "LX422", "LX429", "LX503", "57014", "40001", "40P01", "22023", "25P02"];
const ENDING: [&str; 3] = ["57P01", "57P02", "57P03"];

pub struct Session<'a> {
    storm: &'a Storm,
    index: usize,
    side: Side,
    client: Option<Client>,
    /// Contacts of calls cancelled on this connection: their answers may still be on the way.
    cancelled: Vec<i32>,
    /// For names that are like no other.
    tags: usize,
    record: Record,
}

impl<'a> Session<'a> {
    pub fn run(storm: &'a Storm, index: usize, transactions: &[Transaction]) -> Record {
        let side = Side::of(index);
        let record = Record::default();
        let mut session =
            Session { storm, index, side, client: None, cancelled: Vec::new(), tags: 0, record };
        for transaction in transactions {
            if session.storm.given_up() {
                break;
            }
            storm.begin();
            session.transaction(transaction);
            session.record.transactions += 1;
        }
        // The connection stays open: answers to calls that were cancelled may still be on the way.
        session.record.clients.extend(session.client);
        session.record
    }

    fn connect(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.client.is_none() {
            let mut config = self.storm.world.cluster.config("app");
            match config.user(self.side.role()).connect(NoTls) {
                Ok(mut client) => {
                    let Ok(row) = client.query_one("SELECT pg_backend_pid()", &[]) else { continue };
                    self.storm.pids[self.index].store(row.get(0), Ordering::SeqCst);
                    self.client = Some(client);
                }
                Err(error) => {
                    assert!(self.storm.crashing && Instant::now() < until, "cannot connect: {error:?}");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }

    /// Whatever a cancelled call is still waiting for will not reach anybody.
    fn disconnect(&mut self) {
        self.storm.pids[self.index].store(0, Ordering::SeqCst);
        self.client = None;
        let side = self.side;
        self.record.lost.extend(self.cancelled.drain(..).map(|contact| (side, contact)));
    }

    fn statement<T>(&mut self, run: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Trouble> {
        let client = self.client.as_mut().expect("connected");
        let error = match run(client) {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let state = error.as_db_error().map(|db| db.code().code().to_owned());
        match state {
            Some(state) if !ENDING.contains(&state.as_str()) => {
                if !EXPECTED.contains(&state.as_str()) {
                    self.storm.problem(format!("session {}: {error:?}", self.index));
                }
                self.count(&state);
                Err(Trouble::Refused(state))
            }
            state => {
                self.count(state.as_deref().unwrap_or("lost"));
                self.disconnect();
                Err(Trouble::Lost)
            }
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        self.statement(|client| client.batch_execute(sql))
    }

    fn count(&mut self, outcome: &str) {
        *self.record.outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    fn transaction(&mut self, plan: &Transaction) {
        if plan.reconnect && !self.storm.crashing {
            self.disconnect();
        }
        self.connect();
        let begin = format!(
            "SET statement_timeout = {}; SET leadlex.waterfall = '{}'; BEGIN ISOLATION LEVEL {}",
            plan.timeout_ms,
            if plan.fill { "fill" } else { "first_match" },
            plan.isolation
        );
        let mut effects = Vec::new();
        let done = self.batch(&begin).and_then(|()| self.steps(&plan.steps, 0, &mut effects));
        match done {
            Ok(()) if plan.commit => self.commit(effects),
            Ok(()) | Err(Trouble::Refused(_)) => self.rollback(),
            Err(Trouble::Lost) => {}
        }
    }

    fn commit(&mut self, effects: Vec<Effect>) {
        match self.batch("COMMIT") {
            Ok(()) => {
                self.count("commit");
                self.record.committed.extend(effects);
            }
            Err(Trouble::Refused(_)) => self.rollback(),
            Err(Trouble::Lost) => {
                self.count("unknown");
                self.record.unknown.push(effects);
            }
        }
    }

    fn rollback(&mut self) {
        // A short statement_timeout can meet this one, too.
        while let Err(Trouble::Refused(_)) = self.batch("ROLLBACK") {}
        self.count("rollback");
    }

    fn steps(&mut self, steps: &[Step], depth: usize, effects: &mut Vec<Effect>) -> Result<(), Trouble> {
        for step in steps {
            match step {
                Step::Call(call) => self.call(call, None, effects)?,
                Step::Block { call, fail } => self.call(call, Some(*fail), effects)?,
                Step::Savepoint { steps, keep } => self.savepoint(steps, *keep, depth, effects)?,
                Step::Grant { amount } => {
                    let (workspace, note) = (self.storm.workspace(self.side), self.tag());
                    self.batch(&format!(
                        "SELECT leadlex.grant_credits('{workspace}'::uuid, {amount}, '{note}')"
                    ))?;
                    effects.push(Effect::Grant { side: self.side, note, amount: *amount });
                }
                Step::Edit { contact } => self.edit(*contact, effects)?,
            }
        }
        Ok(())
    }

    fn savepoint(
        &mut self,
        steps: &[Step],
        keep: bool,
        depth: usize,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Trouble> {
        self.batch(&format!("SAVEPOINT s{depth}"))?;
        let before = effects.len();
        match self.steps(steps, depth + 1, effects) {
            Ok(()) if keep => return self.batch(&format!("RELEASE s{depth}")),
            Ok(()) | Err(Trouble::Refused(_)) => {}
            Err(Trouble::Lost) => return Err(Trouble::Lost),
        }
        effects.truncate(before);
        self.batch(&format!("ROLLBACK TO s{depth}"))
    }

    fn edit(&mut self, n: i32, effects: &mut Vec<Effect>) -> Result<(), Trouble> {
        let (tag, table, id) = (self.tag(), self.side.table(), contact(n));
        let email = format!("person{n}.{tag}@{}", self.side.domain());
        // The row is locked when the time is taken: edits and charges of one contact are in the order of their times.
        self.batch(&format!(
            "WITH e AS (UPDATE {table} SET phone = NULL, job_title = NULL, email = '{email}' WHERE id = '{id}' RETURNING id)
             INSERT INTO edit SELECT '{tag}', '{table}', id::text, clock_timestamp(),
                 '{{\"phone\": null, \"job_title\": null, \"email\": \"{email}\"}}' FROM e"
        ))?;
        effects.push(Effect::Edit { tag });
        Ok(())
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("s{}n{}", self.index, self.tags)
    }

    /// `block`: in an exception block, which fails after the call if this is true.
    fn call(&mut self, call: &Call, block: Option<bool>, effects: &mut Vec<Effect>) -> Result<(), Trouble> {
        let sql = match block {
            None => format!("SELECT {}", expression(call, self.side)),
            Some(fail) => format!("SELECT attempt($c$SELECT {}$c$, {fail})", expression(call, self.side)),
        };
        let started = Instant::now();
        let result = self.statement(|client| client.query_one(&sql, &[]).map(|row| row.get::<_, Value>(0)));
        let finished = Instant::now();
        let place = (self.side, call.contact);
        let complete = match &result {
            Err(Trouble::Lost) => {
                self.record.lost.push(place);
                false
            }
            Err(Trouble::Refused(state)) if state == "57014" => {
                self.cancelled.push(call.contact);
                false
            }
            _ => true,
        };
        if !complete {
            self.record.interrupted.push(place);
        }
        let admitted = match &result {
            Ok(result) => uses_rate(result),
            Err(Trouble::Refused(state)) => ["LX402", "LX409", "LX503"].contains(&state.as_str()),
            Err(Trouble::Lost) => false,
        };
        let (side, contact) = place;
        let overwrite = call.overwrite;
        self.record.calls.push(Timed { side, contact, overwrite, started, finished, complete, admitted });
        self.take(call, &result?, effects);
        Ok(())
    }

    /// What a result says has happened.
    fn take(&mut self, call: &Call, result: &Value, effects: &mut Vec<Effect>) {
        if let Some(code) = result["error"]["code"].as_str() {
            self.count(code);
            return;
        }
        if result.get("undone").is_some() {
            self.count("undone");
            return;
        }
        let request_id = result["request_id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let Some(request_id) = request_id else {
            self.storm.problem(format!("a result without request_id: {result}"));
            return;
        };
        if result["replayed"] == true {
            self.count("replayed");
            let key = call.key.expect("only keys are replayed");
            if !effects.iter().any(|e| matches!(e, Effect::Stored { key: own, .. } if *own == key)) {
                self.record.replayed.push(key);
            }
            return;
        }
        let names = result["fields_updated"].as_array().map_or(&[][..], Vec::as_slice);
        let fields: Vec<String> = names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect();
        self.count(if fields.is_empty() { "unchanged" } else { "enriched" });
        if !fields.is_empty() {
            effects.push(Effect::Charge { side: self.side, contact: call.contact, request_id, fields });
        }
        if let Some(key) = call.key {
            effects.push(Effect::Stored { key, request_id });
        }
    }
}

/// Whether a result says that the call was admitted: it got as far as reserving a credit.
fn uses_rate(result: &Value) -> bool {
    let result = if result["undone"].is_object() { &result["undone"] } else { result };
    match result["error"]["code"].as_str() {
        Some(code) => ["LX402", "insufficient_credits", "LX409", "no_match", "LX503", "provider_unavailable"]
            .contains(&code),
        None => result["replayed"] == false && result["source"].is_string(),
    }
}

fn expression(call: &Call, side: Side) -> String {
    let function = if call.trying { "try_enrich" } else { "enrich" };
    let target = match side {
        Side::Short => format!("{function}_contact('{}'", contact(call.contact)),
        Side::Metered => format!("{function}_row('{}', '{}'", side.table(), contact(call.contact)),
    };
    let literal = |text: Option<String>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
    format!(
        "{target}, {}, {}, {})",
        literal(call.fields.map(str::to_owned)),
        call.overwrite,
        literal(call.key.map(|key| key.to_string()))
    )
}
