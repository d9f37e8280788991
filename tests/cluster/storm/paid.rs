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

const SOON: Duration = Duration::from_secs(10);

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
    let dropped = waiting.replace("receipts_waiting", "receipts_dropped");

    let calls = calls(record);
    let wiped = wiped(storm, record, asked);
    check_all_answered(storm, record, asked);
    let mut questions: BTreeMap<&Question, Vec<usize>> = BTreeMap::new();
    for (serial, one) in asked.iter().enumerate() {
        questions.entry(&one.question).or_default().push(serial);
    }
    // The last answers may just have been written out when the first look comes.
    let (before, until) = (storm.problems().len(), Instant::now() + SOON);
    loop {
        eventually("all receipts are written", SOON, || number(owner, waiting) == 0);
        let missing = check_receipts(storm, owner, asked, &questions, &calls, &wiped);
        let dropped = number(owner, &dropped) as usize;
        if missing.len() > dropped {
            storm.problem(format!(
                "{} answers without a receipt, {dropped} dropped: {missing:?}",
                missing.len()
            ));
        }
        if storm.problems().len() == before || Instant::now() > until {
            break;
        }
        lock(&storm.problems).truncate(before);
        std::thread::sleep(Duration::from_millis(20));
    }
    check_repetitions(storm, asked, &questions, &calls, &wiped);
}

/// Requests that had an answer and did not get it are those of calls that were interrupted.
fn check_all_answered(storm: &Storm, record: &Record, asked: &[Asked]) {
    let count = |outcome: Outcome| asked.iter().filter(|a| a.outcome == outcome).count();
    let (open, unwritten) = (count(Outcome::Open), count(Outcome::Unwritten));
    if open > 0 || unwritten > record.interrupted.len() {
        let interrupted = record.interrupted.len();
        storm.problem(format!(
            "{open} requests are open, {unwritten} not answered; {interrupted} calls were interrupted"
        ));
    }
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
    // Between the fault and its end requests still come, and go down with the others.
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

/// Questions with their latest receipt that holds an answer. What receipts say is what the provider said.
fn matched<'a>(storm: &Storm, asked: &'a [Asked], receipts: &[Receipt]) -> HashMap<&'a Question, usize> {
    let mut matched = HashMap::new();
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
    matched
}

/// What the receipts must say of one question.
enum Due {
    /// An answer, and it is not there.
    Answer,
    /// That there was nothing.
    Nothing,
    /// One or the other.
    Either,
    /// Perhaps that there was nothing, perhaps there is none.
    Unsure,
    NoMatter,
}

fn due(asked: &[Asked], answers: &[usize], of: &Calls, wiped: &HashSet<usize>, found: Option<usize>) -> Due {
    let last = *answers.last().expect("answered");
    let kept = |serial: &usize| !wiped.contains(serial);
    if !of.lost && of.interrupted == 0 && answers.iter().all(kept) {
        return match &asked[last].outcome {
            Outcome::Match(_) if found == Some(last) => Due::NoMatter,
            Outcome::Match(_) => Due::Answer,
            _ => Due::Nothing,
        };
    }
    // Which of its answers came last, if any came, only the receipt can tell. But if all came, one is there.
    let sure = !of.lost && answers.iter().any(kept);
    let maybe_nothing = answers.iter().any(|serial| asked[*serial].outcome == Outcome::Nothing);
    match (found, sure, maybe_nothing) {
        (Some(_), ..) | (None, false, false) => Due::NoMatter,
        (None, true, false) => Due::Answer,
        (None, true, true) => Due::Either,
        (None, false, true) => Due::Unsure,
    }
}

/// Each receipt says what its question was last answered; the result: which answers have none.
fn check_receipts(
    storm: &Storm,
    owner: &mut Client,
    asked: &[Asked],
    questions: &BTreeMap<&Question, Vec<usize>>,
    calls: &HashMap<Place, Calls>,
    wiped: &HashSet<usize>,
) -> Vec<Question> {
    let receipts = receipts(storm, owner);
    let matched = matched(storm, asked, &receipts);
    let mut missing = Vec::new();
    // Receipts for "nothing" hold no personal data, so they are counted: at least, and at most.
    let mut nothing: HashMap<(Side, &str), (usize, usize)> = HashMap::new();
    let none = Calls::default();
    for (question, serials) in questions {
        let answers: Vec<usize> = serials.iter().copied().filter(|&s| asked[s].answered()).collect();
        let found = matched.get(question).copied();
        let Some(last) = answers.last().map(|&last| &asked[last]) else {
            if found.is_some() {
                storm.problem(format!("a receipt for {question:?}, which was never answered"));
            }
            continue;
        };
        let (least, most) = nothing.entry((last.side, question.0.as_str())).or_default();
        let of = calls.get(&(last.side, last.contact)).unwrap_or(&none);
        match due(asked, &answers, of, wiped, found) {
            Due::Answer => missing.push((*question).clone()),
            Due::Nothing if found.is_some() => {
                storm.problem(format!("{question:?}: an older answer replaced a newer one"));
            }
            Due::Nothing | Due::Either => (*least, *most) = (*least + 1, *most + 1),
            Due::Unsure => *most += 1,
            Due::NoMatter => {}
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
        // Those without an answer had to be put again, and count when they are.
        entry.0 += serials[first + 1..].iter().filter(|&&s| asked[s].answered()).count();
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
