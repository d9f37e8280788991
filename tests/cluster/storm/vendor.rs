//! Both providers of a storm: their answers are unlike each other, and they keep a record of all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::plan::{Dice, Side};
use crate::support::{After, Behaviour, Provider, Request, Response, http};
use crate::world::PATH;

/// Where the second provider is asked.
pub const SECOND: &str = "/second";

/// A question is the provider's path and the e-mail address; that names the workspace, too.
pub type Question = (String, String);

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Arrived, and not answered yet.
    Open,
    /// Was to be no answer.
    Fault,
    /// The client was gone when it was to be answered.
    Unwritten,
    Nothing,
    Match(Map<String, Value>),
}

/// A request, and what became of it. Its place in the record is part of every value that it was answered with.
#[derive(Clone, Debug)]
pub struct Asked {
    pub question: Question,
    pub side: Side,
    pub contact: i32,
    pub arrived: Instant,
    pub finished: Instant,
    pub outcome: Outcome,
}

impl Asked {
    pub fn answered(&self) -> bool {
        matches!(self.outcome, Outcome::Nothing | Outcome::Match(_))
    }
}

pub struct Vendor {
    seed: u64,
    calm: AtomicBool,
    asked: Mutex<Vec<Asked>>,
}

impl Vendor {
    pub fn start(seed: u64, provider: &Provider) -> Arc<Vendor> {
        let vendor = Arc::new(Vendor { seed, calm: AtomicBool::new(false), asked: Mutex::default() });
        for path in [PATH, SECOND] {
            let vendor = Arc::clone(&vendor);
            provider.on(path, move |request| vendor.behave(request));
        }
        vendor
    }

    /// From now on every question has an answer, at once.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub fn record(&self) -> Vec<Asked> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a question gets depends on the seed, the question, and how often it was put.
    fn behave(self: &Arc<Vendor>, request: &Request) -> Behaviour {
        let (serial, mut dice) = self.note(request);
        let (main, calm) = (request.path == PATH, self.calm.load(Ordering::SeqCst));
        let fault = match dice.roll(100) {
            _ if calm => None,
            0..=3 => Some(Behaviour::Reset),
            4 | 5 => Some(Behaviour::Close),
            6..=11 => Some(Behaviour::json(500, json!({}))),
            12 | 13 => {
                Some(Behaviour::HalfBody(Response::json(200, &body(serial, &["phone"])), After::Close))
            }
            // Until the provider's time is over.
            14 if dice.one_in(3) => Some(Behaviour::Never),
            _ => None,
        };
        if let Some(behaviour) = fault {
            self.finish(serial, Outcome::Fault);
            return behaviour;
        }
        let fields: &[&str] = match (main, dice.one_in(2)) {
            (true, true) => &["job_title", "phone", "location"],
            (true, false) => &["job_title", "phone"],
            (false, true) => &["linkedin_url", "location"],
            (false, false) => &["linkedin_url"],
        };
        let nothing = dice.one_in(if main { 8 } else { 4 }) && !calm;
        let delay = if dice.one_in(8) { 30 + dice.roll(90) } else { dice.roll(12) };
        let (status, body) = if nothing { (404, json!({})) } else { (200, body(serial, fields)) };
        let vendor = Arc::clone(self);
        let answer = Behaviour::Custom(Box::new(move |stream| {
            let written = http::answer(stream, &Response::json(status, &body));
            vendor.finish(
                serial,
                match (&written, body["data"].as_object()) {
                    (Err(_), _) => Outcome::Unwritten,
                    (Ok(_), Some(data)) => Outcome::Match(data.clone()),
                    (Ok(_), None) => Outcome::Nothing,
                },
            );
            written
        }));
        if calm { answer } else { answer.after(Duration::from_millis(delay)) }
    }

    fn note(&self, request: &Request) -> (usize, Dice) {
        let email = request.param("email").expect("contacts here have one").to_owned();
        let side = Side::BOTH.into_iter().find(|side| email.ends_with(side.domain()));
        let number = email["person".len()..].split(['.', '@']).next().and_then(|n| n.parse().ok());
        let mut asked = self.lock();
        let now = Instant::now();
        let asked_now = Asked {
            question: (request.path.clone(), email),
            side: side.expect("a domain of ours"),
            contact: number.expect("personN"),
            arrived: now,
            finished: now,
            outcome: Outcome::Open,
        };
        let before = asked.iter().filter(|a| a.question == asked_now.question).count();
        let text = format!("{:?} {before}", asked_now.question);
        let stream =
            text.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
        asked.push(asked_now);
        (asked.len() - 1, Dice::new(self.seed, stream))
    }

    fn finish(&self, serial: usize, outcome: Outcome) {
        let mut asked = self.lock();
        asked[serial].outcome = outcome;
        asked[serial].finished = Instant::now();
    }
}

const PROFILES: &str = "https://www.linkedin.com/in/";

/// No two answers have a value in common.
fn body(serial: usize, fields: &[&str]) -> Value {
    let text = |field: &str| match field {
        "phone" => format!("{serial}-5550100"),
        "linkedin_url" => format!("{PROFILES}{serial}-example"),
        _ => format!("{serial}-{field}"),
    };
    let value = |field: &&str| ((*field).to_owned(), json!(text(field)));
    json!({"likelihood": 9, "data": fields.iter().map(value).collect::<Map<_, _>>()})
}

/// Which request a value came from.
pub fn serial(value: &Value) -> Option<usize> {
    let text = value.as_str()?;
    text.strip_prefix(PROFILES).unwrap_or(text).split_once('-')?.0.parse().ok()
}
