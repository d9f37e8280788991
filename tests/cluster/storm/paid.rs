//! What was paid for is kept: every answer that reached us is a receipt, and is not asked for again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Map, Value};

use super::plan::Side;
use super::session::Record;
use super::vendor::{self, Asked, Outcome, Question, SECOND};
use super::{Storm, lock};
use crate::support::eventually;
use crate::world::{PATH, number};

type Place = (Side, i32);

/// What is known of a contact's calls.
#[derive(Default)]
struct Calls {
    interrupted: usize,
    overwriting: usize,
    /// A backend was gone when an answer about it may have come.
    lost: bool,
}

pub fn check(storm: &Storm, owner: &mut Client, record: &Record, asked: &[Asked]) {
    let waiting =
        "SELECT coalesce(sum(receipts_waiting), 0)::int8 FROM leadlex.worker_status WHERE database = 'app'";
    eventually("all receipts are written", Duration::from_secs(30), || number(owner, waiting) == 0);
    let dropped = waiting.replace("receipts_waiting", "receipts_dropped");
    let dropped = number(owner, &dropped) as usize;

    let calls = calls(record);
    let wiped = wiped(storm, record, asked);
    let unanswered = asked.iter().filter(|a| a.outcome == Outcome::Open).count();
    if unanswered > 0 {
        storm.problem(format!("{unanswered} requests are still open"));
    }
    let mut questions: BTreeMap<&Question, Vec<usize>> = BTreeMap::new();
    for (serial, one) in asked.iter().enumerate() {
        questions.entry(&one.question).or_default().push(serial);
    }
    let missing = check_receipts(storm, owner, asked, &questions, &calls, &wiped);
    if missing.len() > dropped {
        storm.problem(format!("{} answers without a receipt, {dropped} dropped: {missing:?}", missing.len()));
    }
    check_repetitions(storm, asked, &questions, &calls, &wiped);
}

fn calls(record: &Record) -> HashMap<Place, Calls> {
    let mut calls: HashMap<Place, Calls> = HashMap::new();
    for place in &record.interrupted {
        calls.entry(*place).or_default().interrupted += 1;
    }
    for place in &record.lost {
        calls.entry(*place).or_default().lost = true;
    }
    for call in record.calls.iter().filter(|call| call.overwrite) {
        calls.entry((call.side, call.contact)).or_default().overwriting += 1;
    }
    calls
}

/// Answers that a crash may have wiped before they were written. Written they were if the call that got them was over
/// when, before the next crash, somebody saw that none was waiting.
fn wiped(storm: &Storm, record: &Record, asked: &[Asked]) -> HashSet<usize> {
    let (crashes, settled) = (storm.crashes(), lock(&storm.settled).clone());
    // Between the blow and its end requests still come, and go down with the others.
    let crash_after = |at: Instant| crashes.iter().filter(|(_, to)| *to >= at).map(|(from, _)| *from).min();
    let safe = |one: &Asked| {
        let Some(crash) = crash_after(one.arrived) else { return true };
        record
            .calls
            .iter()
            .filter(|c| c.complete && (c.side, c.contact) == (one.side, one.contact))
            .filter(|c| c.started <= one.arrived && one.finished <= c.finished)
            .any(|c| settled.iter().any(|(from, to)| c.finished <= *from && *to < crash))
    };
    (0..asked.len()).filter(|&serial| !safe(&asked[serial])).collect()
}

struct Receipt {
    side: Side,
    path: &'static str,
    matched: bool,
    values: Map<String, Value>,
}

fn receipts(storm: &Storm, owner: &mut Client) -> Vec<Receipt> {
    let sql = "SELECT r.workspace_id, p.name, r.matched, coalesce(r.answer->'values', '{}') FROM leadlex.receipt AS r
               JOIN leadlex.provider_config AS p ON p.id = r.provider_id";
    let read = |row: &postgres::Row| Receipt {
        side: *Side::BOTH
            .iter()
            .find(|s| storm.workspace(**s) == row.get::<_, uuid::Uuid>(0))
            .expect("one of ours"),
        path: if row.get::<_, &str>(1) == "main" { PATH } else { SECOND },
        matched: row.get(2),
        values: row.get::<_, Value>(3).as_object().cloned().unwrap_or_default(),
    };
    owner.query(sql, &[]).unwrap().iter().map(read).collect()
}

/// Each receipt says what its question was last answered; which answers have none.
fn check_receipts(
    storm: &Storm,
    owner: &mut Client,
    asked: &[Asked],
    questions: &BTreeMap<&Question, Vec<usize>>,
    calls: &HashMap<Place, Calls>,
    wiped: &HashSet<usize>,
) -> Vec<Question> {
    let receipts = receipts(storm, owner);
    let mut matched: HashMap<&Question, usize> = HashMap::new();
    for receipt in receipts.iter().filter(|r| r.matched) {
        let serial = receipt.values.values().next().and_then(vendor::serial).filter(|s| *s < asked.len());
        let Some(serial) = serial else {
            storm.problem(format!("a receipt with values that nobody gave: {:?}", receipt.values));
            continue;
        };
        let one = &asked[serial];
        let same = one.outcome == Outcome::Match(receipt.values.clone());
        if !same || (one.side, one.question.0.as_str()) != (receipt.side, receipt.path) {
            storm.problem(format!("a receipt says {:?}, the provider {one:?}", receipt.values));
        }
        if matched.insert(&one.question, serial).is_some() {
            storm.problem(format!("two receipts for {:?}", one.question));
        }
    }
    let mut missing = Vec::new();
    // Receipts for "nothing" hold no personal data, so they are counted: at least, and at most.
    let mut nothing: HashMap<(Side, &str), (usize, usize)> = HashMap::new();
    for (question, serials) in questions {
        let answers: Vec<usize> = serials.iter().copied().filter(|&s| asked[s].answered()).collect();
        let Some(&last) = answers.last() else {
            if matched.contains_key(question) {
                storm.problem(format!("a receipt for {question:?}, which was never answered"));
            }
            continue;
        };
        let place = (asked[last].side, asked[last].contact);
        let of = calls.get(&place);
        let exact =
            !of.is_some_and(|c| c.lost || c.interrupted > 0) && !answers.iter().any(|s| wiped.contains(s));
        let count = nothing.entry((place.0, question.0.as_str())).or_default();
        let found = matched.get(question).copied();
        match (exact, &asked[last].outcome) {
            (true, Outcome::Match(_)) if found == Some(last) => {}
            (true, Outcome::Match(_)) => missing.push((*question).clone()),
            (true, _) if found.is_some() => {
                storm.problem(format!("{question:?}: an older answer replaced a newer one"))
            }
            (true, _) => *count = (count.0 + 1, count.1 + 1),
            // Which of its answers came last, if any came, only the receipt can tell. But if all came, one is there.
            (false, _) => {
                let safe = !of.is_some_and(|c| c.lost) && answers.iter().any(|s| !wiped.contains(s));
                let can_be_nothing = answers.iter().any(|s| asked[*s].outcome == Outcome::Nothing);
                match found {
                    Some(_) => {}
                    None if can_be_nothing => *count = (count.0 + usize::from(safe), count.1 + 1),
                    None if safe => missing.push((*question).clone()),
                    None => {}
                }
            }
        }
    }
    for ((side, path), (least, most)) in nothing {
        let found = receipts.iter().filter(|r| !r.matched && (r.side, r.path) == (side, path)).count();
        if found < least || found > most {
            storm.problem(format!("{side:?} {path}: {found} receipts say nothing, not {least} to {most}"));
        }
    }
    missing
}

/// A question that was answered is put again only by a call that overwrites, or when the answer may not have come.
fn check_repetitions(
    storm: &Storm,
    asked: &[Asked],
    questions: &BTreeMap<&Question, Vec<usize>>,
    calls: &HashMap<Place, Calls>,
    wiped: &HashSet<usize>,
) {
    let mut repeated: HashMap<(Place, &str), (usize, usize)> = HashMap::new();
    for (question, serials) in questions {
        let first = serials.iter().position(|&s| asked[s].answered());
        let Some(first) = first else { continue };
        let place = (asked[serials[0]].side, asked[serials[0]].contact);
        let entry = repeated.entry((place, question.0.as_str())).or_default();
        // What came to nothing had to be put again. A fault after the first answer is one of the repetitions.
        entry.0 += serials[first + 1..].iter().filter(|&&s| asked[s].outcome != Outcome::Fault).count();
        entry.1 += serials.iter().filter(|s| wiped.contains(s)).count();
    }
    let mut repetitions = 0;
    for ((place, path), (count, wiped)) in repeated {
        let none = Calls::default();
        let of = calls.get(&place).unwrap_or(&none);
        repetitions += count;
        if count > of.interrupted + of.overwriting + wiped {
            storm.problem(format!(
                "{place:?} {path}: {count} repetitions, {} interruptions, {} calls that overwrite, {wiped} answers wiped",
                of.interrupted, of.overwriting
            ));
        }
    }
    println!("{repetitions} questions were put again");
}
