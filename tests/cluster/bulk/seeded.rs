//! Sets by a seed, over a vendor of which every answer may be wrong in some way, with ROLLBACK, cancel and kill -9: who is
//! written, who is charged and who is asked about again is known beforehand, set by set. `LEADLEX_BULK_SETS` (2,000 for the whole)
//! and `LEADLEX_BULK_SEED` change how many and which.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use postgres::{Client, Row};
use serde_json::{Value, json};

use super::{ALL, alter, asked, hit, phone_of, world_of};
use crate::support::dice::{Dice, number_of};
use crate::support::http::{Request, Response};
use crate::support::provider::After;
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, credits, pid, sqlstate};

const MOST: usize = 5;
const IN_A_SET: usize = 12;

/// What the vendor says about a contact, and what of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    element: Element,
    whole: Whole,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Hit,
    NotFound,
    Trouble,
    Text,
    /// Under an id that was not sent; by position: a record with nothing in it that is known.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Whole {
    Sound,
    /// Not more than so many.
    AtMost(usize),
    WrongNumber,
    Cut,
}

/// What is known of a contact by now.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unknown,
    /// It was answered, and nothing is written.
    Answered,
    Nothing,
    Written,
}

#[derive(Default)]
struct Vendor {
    plans: HashMap<usize, Plan>,
    /// How often each was asked about in a request that had a sound answer, and in any.
    answered: HashMap<usize, usize>,
    late: Duration,
}

impl Vendor {
    fn answer(&mut self, request: &Request, by_id: bool) -> Behaviour {
        let (numbers, body) = (asked(request), request.json());
        let plans: Vec<Plan> = numbers.iter().map(|number| self.plans[number]).collect();
        let fewest = plans.iter().filter_map(|plan| match plan.whole {
            Whole::AtMost(most) => Some(most),
            _ => None,
        });
        if fewest.min().is_some_and(|most| numbers.len() > most) {
            return Behaviour::json(413, json!({"error": "too many"})).after(self.late);
        }
        let element = |(at, (number, plan)): (usize, (&usize, &Plan))| {
            let mut element = match plan.element {
                Element::Hit => hit(*number),
                Element::NotFound => json!({"status": 404}),
                Element::Trouble => json!({"status": 500}),
                Element::Text if !by_id => json!("text"),
                Element::Text => json!({"status": 200, "other": 1}),
                Element::Stranger => json!({"status": 200, "other": 1}),
            };
            if by_id && let Some(members) = element.as_object_mut() {
                let id = match plan.element {
                    Element::Stranger => json!("ffffffffffffffffffffffffffffffff"),
                    _ => body["requests"][at]["id"].clone(),
                };
                members.insert("id".to_owned(), id);
            }
            element
        };
        let mut all: Vec<Value> = numbers.iter().zip(&plans).enumerate().map(element).collect();
        if by_id {
            all.reverse();
        }
        let behaviour = match plans[0].whole {
            Whole::WrongNumber => Behaviour::json(200, json!(all[1..])),
            Whole::Cut => Behaviour::HalfBody(Response::json(200, &json!(all)), After::Close),
            _ => {
                numbers.iter().for_each(|number| *self.answered.entry(*number).or_default() += 1);
                Behaviour::json(200, json!(all))
            }
        };
        behaviour.after(self.late)
    }
}

/// How a set ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Rollback,
    Cancel,
    Kill,
}

struct Run {
    world: World,
    caller: Client,
    vendor: Arc<Mutex<Vendor>>,
    dice: Dice,
    states: BTreeMap<usize, State>,
    answered: HashMap<usize, usize>,
    by_id: bool,
    fresh: usize,
}

impl Run {
    fn new(sets: u64, by_id: bool, seed: u64) -> Run {
        let contacts = sets as i32 * IN_A_SET as i32;
        let world = world_of(contacts, Some(i64::from(contacts)), MOST);
        let mut change = json!({"response": {"no_match": {"absent": null}}});
        if by_id {
            change["bulk"] = json!({"match": {"send": "/id", "answer": "/id"}});
        }
        alter(&world, &change);
        world.run("ALTER DATABASE app SET leadlex.breaker_failures = 0");
        let vendor = Arc::new(Mutex::new(Vendor::default()));
        let own = Arc::clone(&vendor);
        world.provider.on(ALL, move |request| own.lock().unwrap().answer(request, by_id));
        let caller = world.caller();
        let (states, answered) = (BTreeMap::new(), HashMap::new());
        Run { world, caller, vendor, dice: Dice(seed | 1), states, answered, by_id, fresh: 1 }
    }

    /// Those of earlier sets that are not written, and new ones.
    fn choose(&mut self) -> Vec<usize> {
        let open: Vec<usize> = self
            .states
            .iter()
            .filter(|(_, state)| **state != State::Written)
            .map(|(number, _)| *number)
            .collect();
        let mut chosen: Vec<usize> =
            open.into_iter().filter(|_| self.dice.throw(2) == 0).take(IN_A_SET - 3).collect();
        if let Some(written) = self.states.iter().find(|(_, state)| **state == State::Written) {
            chosen.push(*written.0);
        }
        while chosen.len() < IN_A_SET {
            chosen.push(self.fresh);
            self.states.insert(self.fresh, State::Unknown);
            self.fresh += 1;
        }
        chosen
    }

    /// Who is put into which request, and what the vendor will say.
    fn plan(&mut self, chosen: &[usize], kills: bool) -> Vec<Vec<usize>> {
        let unknown: Vec<usize> =
            chosen.iter().copied().filter(|n| self.states[n] == State::Unknown).collect();
        let groups: Vec<Vec<usize>> = unknown.chunks(MOST).map(<[usize]>::to_vec).collect();
        let mut vendor = self.vendor.lock().unwrap();
        for group in &groups {
            let whole = match self.dice.throw(8) {
                0 => Whole::AtMost(1 + self.dice.throw(3) as usize),
                // By id a missing answer is the contact's alone.
                1 if !self.by_id && !kills => Whole::WrongNumber,
                2 if !kills => Whole::Cut,
                _ => Whole::Sound,
            };
            for number in group {
                let element = match self.dice.throw(10) {
                    0 => Element::NotFound,
                    1 => Element::Trouble,
                    2 => Element::Text,
                    3 => Element::Stranger,
                    _ => Element::Hit,
                };
                vendor.plans.insert(*number, Plan { element, whole });
            }
        }
        groups
    }

    /// What a line has to say, and what is known afterwards, were the set committed.
    fn expected(&self, number: usize) -> (&'static str, State) {
        let plan = || self.vendor.lock().unwrap().plans[&number];
        match self.states[&number] {
            State::Written => ("unchanged", State::Written),
            State::Answered => ("enriched", State::Written),
            State::Nothing => ("no_match", State::Nothing),
            State::Unknown => match plan() {
                Plan { whole: Whole::WrongNumber | Whole::Cut, .. } => ("failed", State::Unknown),
                Plan { element: Element::Hit, .. } => ("enriched", State::Written),
                Plan { element: Element::NotFound, .. } => ("no_match", State::Nothing),
                _ => ("failed", State::Unknown),
            },
        }
    }

    fn set(&mut self, end: End) {
        let chosen = self.choose();
        let groups = self.plan(&chosen, end == End::Kill);
        let expected: Vec<(&str, State)> = chosen.iter().map(|number| self.expected(*number)).collect();
        let ids: Vec<_> = chosen.iter().map(|number| contact(*number as i32)).collect();
        self.vendor.lock().unwrap().late = Duration::from_millis(if end == End::Cancel { 300 } else { 0 });
        let before = self.world.provider.count();
        const SQL: &str = "SELECT * FROM enrich_contacts($1, '{phone}')";
        match end {
            End::Cancel if groups.is_empty() => return,
            End::Cancel => {
                let backend = pid(&mut self.caller);
                let (world, caller) = (&self.world, &mut self.caller);
                let result = thread::scope(|scope| {
                    let call = scope.spawn(|| caller.query(SQL, &[&ids]));
                    world.provider.wait_for(before + groups.len(), Duration::from_secs(10));
                    world.cancel(backend);
                    call.join().unwrap()
                });
                assert_eq!(sqlstate(&result), "57014");
                eventually("the requests end", Duration::from_secs(10), || world.provider.in_flight() == 0);
                thread::sleep(Duration::from_millis(20));
            }
            End::Commit => {
                let rows = self.caller.query(SQL, &[&ids]).unwrap();
                check(&rows, &chosen, &expected);
            }
            End::Rollback | End::Kill => {
                let mut transaction = self.caller.transaction().unwrap();
                check(&transaction.query(SQL, &[&ids]).unwrap(), &chosen, &expected);
                if end == End::Rollback {
                    transaction.rollback().unwrap();
                }
            }
        }
        for (number, (_, after)) in chosen.iter().zip(&expected) {
            self.settle(*number, *after, end);
        }
        if end == End::Kill {
            self.kill();
        }
        assert_eq!(self.vendor.lock().unwrap().answered, self.answered, "{end:?} of {chosen:?}");
    }

    /// What is known of a contact after the set.
    fn settle(&mut self, number: usize, after: State, end: End) {
        let before = self.states[&number];
        let Plan { element: _, whole } = match before {
            State::Unknown => self.vendor.lock().unwrap().plans[&number],
            _ => Plan { element: Element::Hit, whole: Whole::Sound },
        };
        // Nobody goes on with halves once the call is over.
        let split = end == End::Cancel && matches!(whole, Whole::AtMost(_)) && self.was_refused(number);
        let sound = !matches!(whole, Whole::WrongNumber | Whole::Cut) && !split;
        if before == State::Unknown && sound {
            *self.answered.entry(number).or_default() += 1;
        }
        let state = match (end, after) {
            _ if split => State::Unknown,
            (End::Commit, after) => after,
            (_, State::Written) if before != State::Written => State::Answered,
            (_, after) => after,
        };
        self.states.insert(number, state);
    }

    /// Whether the vendor refused the request about it as a whole.
    fn was_refused(&self, number: usize) -> bool {
        let vendor = self.vendor.lock().unwrap();
        vendor.answered.get(&number).copied().unwrap_or_default()
            == self.answered.get(&number).copied().unwrap_or_default()
    }

    /// Once all answers are written down.
    fn kill(&mut self) {
        let known = self.states.values().filter(|state| **state != State::Unknown).count();
        eventually("all answers are in the tables", Duration::from_secs(20), || {
            self.world.number("SELECT count(*) FROM leadlex.receipt") == known as i64
        });
        let backend =
            self.world.number("SELECT pid::int8 FROM pg_stat_activity WHERE usename = 'caller'") as i32;
        self.world.cluster.kill9(backend);
        eventually("the server has started again", Duration::from_secs(60), || {
            let session = self.world.cluster.config("app").connect(postgres::NoTls);
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
            session
                .and_then(|mut session| session.query_one(sql, &[&backend]))
                .is_ok_and(|row| row.get::<_, i64>(0) == 0)
        });
        self.caller = self.world.caller();
    }

    /// What is written is what is known to be, and each of it was charged once.
    fn check_ledger(&mut self, all: i64) {
        let rows =
            self.world.owner().query("SELECT email, phone FROM crm WHERE phone IS NOT NULL", &[]).unwrap();
        let written: BTreeMap<usize, String> =
            rows.iter().map(|row| (super::number_in(row.get(0)), row.get(1))).collect();
        let expected: BTreeMap<usize, String> = self
            .states
            .iter()
            .filter(|(_, state)| **state == State::Written)
            .map(|(number, _)| (*number, phone_of(*number)))
            .collect();
        assert_eq!(written, expected);
        assert_eq!(credits(&mut self.caller), Some(all - expected.len() as i64));
    }
}

fn check(rows: &[Row], chosen: &[usize], expected: &[(&str, State)]) {
    let told: Vec<(usize, String)> =
        chosen.iter().zip(rows).map(|(number, row)| (*number, row.get("status"))).collect();
    let wanted: Vec<(usize, String)> =
        chosen.iter().zip(expected).map(|(number, (status, _))| (*number, (*status).to_owned())).collect();
    assert_eq!(told, wanted);
}

fn run(by_id: bool) {
    let (sets, seed) = (number_of("LEADLEX_BULK_SETS", 80) / 2, number_of("LEADLEX_BULK_SEED", 4711));
    println!("LEADLEX_BULK_SEED={seed}");
    let mut run = Run::new(sets, by_id, seed);
    for number in 1..=sets {
        let end = match run.dice.throw(10) {
            0 | 1 => End::Rollback,
            2 => End::Cancel,
            _ if number % (sets / 2).clamp(1, 100) == 0 => End::Kill,
            _ => End::Commit,
        };
        run.set(end);
        if number % 20 == 0 {
            run.check_ledger(sets as i64 * IN_A_SET as i64);
        }
    }
    run.check_ledger(sets as i64 * IN_A_SET as i64);
    run.world.check_credits_add_up();
}

#[test]
fn who_is_written_charged_and_asked_again_is_exact_by_position() {
    run(false);
}

#[test]
fn who_is_written_charged_and_asked_again_is_exact_by_id() {
    run(true);
}
