//! The presets end to end: for each a server plays its vendor over a real socket. The bodies have the vendors' documented
//! shapes, and the people in them are nobody's.

mod further_vendors;
mod generic;
mod hunter;
mod people_data_labs;
pub mod plays;

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres::Client;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Request, Response, eventually};
use crate::world::{Beginning, SECRET, World, credits};

const SOON: Duration = Duration::from_secs(20);
/// More than any test spends.
const CREDITS: i64 = 1_000;

/// A vendor, played by the world's server, and the only provider there is.
struct Vendor {
    // Dropped first: a session ends before its server does.
    caller: Client,
    world: World,
    name: &'static str,
    people: u32,
}

/// An answer, and what must come of it.
struct Case {
    what: &'static str,
    answer: Response,
    expected: Expected,
}

enum Expected {
    NoData,
    /// It is about somebody else.
    OtherPerson,
    /// LX503 for this reason, and the next person is asked about all the same.
    Fails(&'static str),
    /// LX503 for this reason, and nothing is sent for a while.
    Pauses(&'static str, Wait),
}

/// The wait that the caller is told of.
enum Wait {
    Unknown,
    Seconds(u64),
    /// To this second since 1970.
    Until(u64),
}

fn case(what: &'static str, answer: Response, expected: Expected) -> Case {
    Case { what, answer, expected }
}

fn answer(status: u16, body: Value) -> Response {
    Response::json(status, &body)
}

fn text(status: u16, body: &str) -> Response {
    let headers = vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// What a gateway before any vendor answers: it is no word of the vendor's about the person.
fn gateways() -> Vec<Case> {
    vec![
        case(
            "a router that knows no such path",
            answer(404, json!({"message": "no Route matched with those values"})),
            Expected::Fails("unrecognised"),
        ),
        case(
            "a region block",
            answer(451, json!({"message": "not in your country"})),
            Expected::Fails("unrecognised"),
        ),
        case("a page of a gateway", text(404, "<html>"), Expected::Fails("unrecognised")),
    ]
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What travelled, without the header.
fn sent(request: &Request) -> Value {
    let query: Map<String, Value> = request.query.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    assert_eq!(query.len(), request.query.len(), "a parameter is there twice: {:?}", request.query);
    json!({"method": request.method, "path": request.path, "query": query, "body": request.json()})
}

/// `given` with the members of `more` put over it.
fn with(given: &Value, more: &Value) -> Value {
    let mut given = given.clone();
    for (key, value) in more.as_object().unwrap() {
        given[key] = value.clone();
    }
    given
}

impl Vendor {
    /// A preset that is asked here, under the vendor's own path.
    fn preset(name: &'static str, path: &str) -> Vendor {
        let world = world();
        let config = json!({"request": {"url": world.provider.url(path)}});
        let sql = "SELECT leadlex.add_provider($1, preset => $1, secret => $2, config => $3)";
        world.owner().execute(sql, &[&name, &SECRET, &config]).unwrap();
        Vendor { caller: world.caller(), world, name, people: 0 }
    }

    /// A vendor without a preset; `config` gets the address.
    fn described(name: &'static str, config: impl FnOnce(&World) -> Value) -> Vendor {
        let world = world();
        world.add_provider(name, &config(&world));
        Vendor { caller: world.caller(), world, name, people: 0 }
    }

    /// From now on every request is answered so.
    fn answers(&self, answer: &Response) {
        let answer = answer.clone();
        self.world.provider.always(move |_| Behaviour::Answer(answer.clone()));
    }

    /// Somebody of whom e-mail address and name are known, and whom nobody has asked about.
    fn someone(&mut self) -> Value {
        self.people += 1;
        let n = self.people;
        json!({"email": format!("jane{n}@acme.example"), "full_name": "Jane Example"})
    }

    /// A new contact of whom this is known.
    fn contact(&self, known: &Value) -> Uuid {
        let id = Uuid::new_v4();
        let row = with(known, &json!({"id": id}));
        let sql = "INSERT INTO crm SELECT (jsonb_populate_record(NULL::crm, $1)).*";
        self.world.owner().execute(sql, &[&row]).unwrap();
        id
    }

    /// The filled columns of a contact, without its id.
    fn row(&self, id: Uuid) -> Value {
        let sql = "SELECT jsonb_strip_nulls(to_jsonb(c)) - 'id' FROM crm AS c WHERE id = $1";
        self.world.owner().query_one(sql, &[&id]).unwrap().get(0)
    }

    fn credits(&mut self) -> i64 {
        credits(&mut self.caller).expect("a workspace with credits")
    }

    /// Asks about somebody of whom `known` is known: exactly the fields of `expected` (in the contract's order) are
    /// filled, for one credit. Returns the one request.
    #[track_caller]
    fn fills(&mut self, known: &Value, expected: &Value, confidence: Option<f64>) -> Request {
        let id = self.contact(known);
        let before = self.credits();
        self.world.provider.forget();
        let row = self.caller.query_one("SELECT enrich_contact($1)", &[&id]);
        let reply: Value = row.unwrap_or_else(|error| panic!("{known}: {error:?}")).get(0);
        let fields: Vec<&String> = expected.as_object().unwrap().keys().collect();
        assert_eq!(reply["fields_updated"], json!(fields), "{reply}");
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&reply["contact"][field], value, "{field}");
            assert_eq!(
                reply["field_sources"][field],
                json!({"source": self.name, "confidence": confidence}),
                "{field}"
            );
        }
        assert_eq!(
            (&reply["source"], &reply["confidence"], &reply["credits_remaining"]),
            (&json!(self.name), &json!(confidence), &json!(before - 1)),
            "{reply}"
        );
        assert_eq!(self.row(id), with(known, expected), "what was known stays as it was");
        self.only_request()
    }

    #[track_caller]
    fn only_request(&self) -> Request {
        let mut requests = self.world.provider.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    fn tries(&mut self, id: Uuid) -> Value {
        self.caller.query_one("SELECT try_enrich_contact($1)", &[&id]).unwrap().get(0)
    }

    /// The secret stands in this header as `value`, and nowhere else.
    #[track_caller]
    fn is_authorised_by(&self, request: &Request, header: &str, value: &str) {
        assert_eq!(request.header(header), Some(value));
        let body = String::from_utf8_lossy(&request.body);
        let places = format!("{} {:?} {:?} {body}", request.path, request.query, request.headers);
        assert_eq!(places.matches(SECRET).count(), 1, "{places}");
    }

    /// What this answer is worth to somebody of whom nothing but name and address is known: these values.
    #[track_caller]
    fn reads(&mut self, answer: &Response, expected: &Value, confidence: Option<f64>) {
        self.answers(answer);
        let known = self.someone();
        self.fills(&known, expected, confidence);
    }

    #[track_caller]
    fn meets(&mut self, cases: Vec<Case>) {
        for case in cases {
            self.meet(&case);
            // Lifts the pause, and lets the circuit breaker count anew.
            let name = self.name;
            self.world.run(&format!("SELECT leadlex.enable_provider('{name}', true)"));
        }
    }

    /// Two people are asked about, one right after the other.
    #[track_caller]
    fn meet(&mut self, case: &Case) {
        let what = case.what;
        let known = [self.someone(), self.someone()];
        let ids = known.each_ref().map(|known| self.contact(known));
        let credits = self.credits();
        self.answers(&case.answer);
        self.world.provider.forget();
        let begun = now();
        // In one statement: the shortest pause is a second, and a busy machine may be slow between two of them.
        let sql = "SELECT try_enrich_contact($1), try_enrich_contact($2)";
        let row = self.caller.query_one(sql, &[&ids[0], &ids[1]]).unwrap();
        let took = begun..=now();
        let errors: [Value; 2] = [0, 1].map(|n| row.get::<_, Value>(n)["error"].clone());
        let requests = self.world.provider.count();
        match &case.expected {
            Expected::NoData | Expected::OtherPerson => {
                let no_data = matches!(case.expected, Expected::NoData);
                let reason = if no_data { "no_data" } else { "other_person" };
                for error in &errors {
                    assert_eq!(told(error), json!([409, "no_match", reason]), "{what}: {error}");
                }
                assert_eq!(requests, 2, "{what}");
            }
            Expected::Fails(reason) => {
                for error in &errors {
                    let provider = self.only_failure(error, what);
                    assert_eq!(provider["reason"], *reason, "{what}: {error}");
                    assert_eq!(provider["paused"], Value::Null, "{what}: {error}");
                }
                assert_eq!(requests, 2, "{what}");
            }
            Expected::Pauses(reason, wait) => {
                let [first, second] = errors.each_ref().map(|error| self.only_failure(error, what));
                assert_eq!((&first["reason"], &first["paused"]), (&json!(reason), &Value::Null), "{what}");
                wait.check(&first["retry_after"], took, what);
                assert_eq!(
                    (&second["reason"], &second["paused"]),
                    (&json!(reason), &json!(true)),
                    "{what}: {second}"
                );
                assert!(second["retry_after"].as_u64() >= Some(1), "{what}: {second}");
                assert!(
                    second["retry_after"].as_u64() <= first["retry_after"].as_u64().or(Some(60)),
                    "{what}: {second} after {first}"
                );
                assert_eq!(requests, 1, "{what}: nothing is sent while it is paused");
            }
        }
        assert_eq!(self.credits(), credits, "{what}: nothing is charged");
        for (id, known) in ids.iter().zip(&known) {
            assert_eq!(&self.row(*id), known, "{what}: nothing is written");
        }
    }

    /// The one provider of an LX503.
    #[track_caller]
    fn only_failure(&self, error: &Value, what: &str) -> Value {
        let providers = error["providers"].as_array().unwrap();
        // Of an answer that comes later the call itself has the reason.
        let later = Some(&providers[0]["reason"]).filter(|reason| *reason == "pending");
        assert_eq!(told(error), json!([503, "provider_unavailable", later]), "{what}: {error}");
        assert_eq!((providers.len(), &providers[0]["provider"]), (1, &json!(self.name)), "{what}: {error}");
        assert!(!error.to_string().contains(SECRET), "{what}: {error}");
        providers[0].clone()
    }

    /// A refusal for privacy: that person is never asked about again, whatever row stands for them; others are.
    #[track_caller]
    fn suppresses(&mut self, what: &str, refusal: &Response) {
        let sql = "SELECT count(*) FROM leadlex.suppression";
        let (listed, credits) = (self.world.number(sql), self.credits());
        let known = self.someone();
        let again =
            json!({"email": known["email"].as_str().unwrap().to_uppercase(), "full_name": "J. Example"});
        self.answers(refusal);
        self.world.provider.forget();
        let refused = |vendor: &mut Vendor, known: &Value| {
            let id = vendor.contact(known);
            let error = vendor.tries(id)["error"].clone();
            assert_eq!(told(&error), json!([409, "no_match", "suppressed"]), "{what}: {error}");
            assert_eq!(&vendor.row(id), known, "{what}");
        };
        refused(self, &known);
        assert_eq!(self.world.provider.count(), 1, "{what}");
        eventually("the worker has written who is not to be asked about", SOON, || {
            self.world.number(sql) == listed + 1
        });
        let source = format!("SELECT count(*) FROM leadlex.suppression WHERE source = '{}'", self.name);
        assert_eq!(self.world.number(&source), listed + 1, "{what}: it says who refused");
        refused(self, &again);
        assert_eq!(self.world.provider.count(), 1, "{what}: that person is not asked about again");
        let other = self.someone();
        refused(self, &other);
        assert_eq!(self.world.provider.count(), 2, "{what}: somebody else is");
        eventually("the worker has written the other one, too", SOON, || {
            self.world.number(sql) == listed + 2
        });
        assert_eq!(self.credits(), credits, "{what}: nothing is charged");
    }

    /// What the answers have cost in the vendor's unit, as the vendor itself says.
    fn cost(&self) -> Option<f64> {
        let sql = "SELECT cost FROM leadlex.provider_stats WHERE name = $1";
        self.world.owner().query_one(sql, &[&self.name]).unwrap().get(0)
    }
}

fn world() -> World {
    let world = World::with(&Beginning { credits: Some(CREDITS), contacts: 0, ..Beginning::default() });
    world.run("SELECT leadlex.drop_provider('main')");
    world
}

fn told(error: &Value) -> Value {
    json!([error["status"], error["code"], error["reason"]])
}

impl Wait {
    /// `took`: the seconds since 1970 before and after the call.
    #[track_caller]
    fn check(&self, told: &Value, took: RangeInclusive<u64>, what: &str) {
        match self {
            Wait::Unknown => assert_eq!(told, &Value::Null, "{what}"),
            Wait::Seconds(seconds) => assert_eq!(told, seconds, "{what}"),
            Wait::Until(then) => {
                let told = told.as_u64().unwrap_or_else(|| panic!("{what}: no wait is told"));
                // A second of play, since every clock here counts in whole ones.
                let possible = then - took.end() - 1..=then - took.start() + 1;
                assert!(possible.contains(&told), "{what}: {told} is not in {possible:?}");
            }
        }
    }
}
