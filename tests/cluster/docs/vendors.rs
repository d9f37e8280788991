//! docs/providers/vendors/ against the presets, and against what the unit tests play.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::blocks::pieces;
use super::markdown::{code, parts, rows_under};
use super::{Page, assert_same, page, root};

const FOLDER: &str = "docs/providers/vendors";
const PLAYS: &str = "crates/domain/src/provider/testdata";
const FIELDS: [&str; 6] = ["job_title", "company_name", "linkedin_url", "phone", "location", "seniority"];
/// The presets that are no vendor's.
const NO_VENDORS: [&str; 1] = ["generic"];
/// The presets whose vendor does not say what its refusal looks like: a 451 is `unrecognised` there.
const NO_REFUSALS: [&str; 5] = ["apollo", "bettercontact", "rocketreach", "snov", "surfe"];

fn json_at(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Each preset of a vendor, with its description.
fn presets() -> Vec<(String, Value)> {
    let mut names: Vec<String> = fs::read_dir(root().join("sql/presets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !NO_VENDORS.contains(&name.as_str()))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let preset = json_at(&format!("sql/presets/{name}.json"));
            (name, preset)
        })
        .collect()
}

fn page_of(preset: &str) -> Page {
    page(&format!("{FOLDER}/{preset}.md"))
}

/// The login, if there is one, and then each request with its answer.
fn exchanges(preset: &Value) -> Vec<(&Value, &Value)> {
    let login = preset.get("login").map(|login| (&login["request"], &Value::Null));
    let one = preset.get("request").map(|request| (request, &preset["response"]));
    let steps = preset["steps"].as_array().into_iter().flatten();
    login.into_iter().chain(one).chain(steps.map(|step| (&step["request"], &step["response"]))).collect()
}

/// What the page's first table must say of a preset: each key with what stands in backticks beside it.
fn at_a_glance(preset: &Value) -> Vec<(&'static str, Vec<String>)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mapped: BTreeSet<&String> = exchanges(preset)
        .into_iter()
        .flat_map(|(_, response)| response["fields"].as_object())
        .flat_map(|fields| fields.keys())
        .collect();
    let fields = match preset.get("fills") {
        Some(fills) => texts(fills),
        None => FIELDS
            .iter()
            .filter(|field| mapped.iter().any(|m| m == *field))
            .map(|f| (*f).to_owned())
            .collect(),
    };
    let requests = exchanges(preset)
        .into_iter()
        .map(|(request, _)| {
            let url = request["url"].as_str().unwrap().trim_start_matches("https://");
            format!("{} {url}", request["method"].as_str().unwrap_or("GET"))
        })
        .collect();
    let sets = preset["identify_by"].as_array().unwrap().iter().map(|set| texts(set).join(" + ")).collect();
    let limits =
        ["max_concurrent", "max_requests_per_second", "max_requests_per_minute", "max_requests_per_day"];
    let numbers = |keys: &[&str]| -> Vec<String> {
        keys.iter().filter_map(|key| preset.get(*key).map(|value| format!("{key}: {value}"))).collect()
    };
    vec![
        ("Asked by, one is enough", sets),
        ("Fields", fields),
        ("Requests", requests),
        ("Asked again", numbers(&["poll_every_s", "poll_for_s"])),
        ("Limits in the preset", numbers(&limits)),
        ("Checked", vec![preset["about"]["checked_on"].as_str().unwrap().to_owned()]),
    ]
}

#[test]
fn the_pages_say_of_a_preset_what_it_is() {
    let mut wrong = Vec::new();
    for (name, preset) in presets() {
        let rows = rows_under(&page_of(&name).text, "At a glance");
        for (key, expected) in at_a_glance(&preset) {
            let found = rows.iter().find(|row| row[0] == key).map(|row| code(&row[1]));
            if found.as_ref() != Some(&expected) {
                wrong.push(format!("{name}: {key}: {found:?} instead of {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a play comes to in one word, and the answer that ends it.
fn ends(play: &Value) -> (String, String) {
    let comes_to = match &play["comes_to"] {
        Value::Object(_) => "match".to_owned(),
        Value::Array(both) => both[0].as_str().unwrap().to_owned(),
        word => word.as_str().unwrap().to_owned(),
    };
    let answer = play["answers"].as_array().unwrap().last();
    let shown = answer.map(|answer| format!("{} {}", answer[0], answer[1]));
    (shown.unwrap_or_default(), comes_to)
}

/// The answers of a play by which its vendor says that it is not ready.
fn not_ready(preset: &Value, play: &Value) -> Vec<(String, String)> {
    if !play["what"].as_str().is_some_and(|what| what.starts_with("pending")) {
        return Vec::new();
    }
    // The last of the requests is the one that is sent again.
    let before = exchanges(preset).len() - 1;
    let answers = play["answers"].as_array().unwrap();
    let polls = &answers[before..answers.len() - 1];
    polls.iter().map(|answer| (format!("{} {}", answer[0], answer[1]), "pending".to_owned())).collect()
}

/// Of a row of "What it answers": the answer and what comes of it, as [`ends`] has them.
fn shown(row: &[String]) -> (String, String) {
    let answer = code(&row[1]).concat();
    let (status, body) = answer.split_once(' ').unwrap_or((&answer, "null"));
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
    (format!("{status} {body}"), code(&row[2]).first().cloned().unwrap_or_default())
}

#[test]
fn what_the_pages_say_of_answers_is_played() {
    let played = json_at(&format!("{PLAYS}/presets.json"));
    let mut wrong = Vec::new();
    for (name, preset) in presets() {
        let of_it = played.as_array().unwrap().iter().find(|vendor| vendor["preset"] == json!(name));
        let plays = of_it.unwrap()["plays"].as_array().unwrap().iter();
        let plays: Vec<_> =
            plays.flat_map(|play| not_ready(&preset, play).into_iter().chain([ends(play)])).collect();
        let rows = rows_under(&page_of(&name).text, "What it answers");
        for row in &rows {
            if !plays.contains(&shown(row)) {
                wrong.push(format!("{name}: {row:?} is not played"));
            }
        }
        for outcome in ["no_match", "suppressed", "quota", "rate_limited", "bad_credentials"] {
            let has_none = outcome == "suppressed" && NO_REFUSALS.contains(&name.as_str());
            if rows.iter().any(|row| shown(row).1 == outcome) == has_none {
                wrong.push(format!("{name}: a row says what is {outcome}: {}", has_none));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The configurations in a page, by the vendor that the heading above names.
fn configurations(page: &Page) -> BTreeSet<String> {
    let headings: Vec<(usize, String)> = parts(&page.text)
        .into_iter()
        .filter_map(|(line, part)| match part {
            super::markdown::Part::Heading(text) => Some((line, text)),
            _ => None,
        })
        .collect();
    let mut found = BTreeSet::new();
    for piece in pieces(page).0 {
        let (line, sql) = piece.shown();
        let Some((_, rest)) = sql.split_once("config => $$") else { continue };
        let (config, _) = rest.split_once("$$").expect("the configuration ends");
        let config: Value =
            serde_json::from_str(config).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let heading = headings.iter().rev().find(|(at, _)| *at < line).expect("a heading above it");
        found.insert(format!("{}: {config}", heading.1));
    }
    found
}

#[test]
fn vendors_without_a_preset_are_described_as_they_are_played() {
    let played = json_at(&format!("{PLAYS}/vendors.json"));
    let played = played.as_array().unwrap().iter();
    let played = played.map(|vendor| format!("{}: {}", vendor["vendor"].as_str().unwrap(), vendor["config"]));
    let shown = configurations(&page(&format!("{FOLDER}/further.md")));
    assert_same("vendors without a preset", &played.collect(), &shown);
}

/// The number of requests stands in the index as the descriptions have it.
#[test]
fn the_index_has_every_vendor() {
    let text = page(&format!("{FOLDER}/index.md")).text;
    let requests = |config: &Value| exchanges(config).len().to_string();
    let further = json_at(&format!("{PLAYS}/vendors.json"));
    let further = further.as_array().unwrap().iter();
    let further = further.map(|v| format!("{}: {}", v["vendor"].as_str().unwrap(), requests(&v["config"])));
    let presets = presets().into_iter().map(|(name, preset)| format!("{name}: {}", requests(&preset)));
    let row = |heading: &str, name: &dyn Fn(&str) -> String| -> Vec<String> {
        let rows = rows_under(&text, heading);
        rows.iter()
            .map(|row| {
                assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
                format!("{}: {}", name(&row[0]), row[2])
            })
            .collect()
    };
    let linked = |cell: &str| -> String {
        let end = cell.find("](").expect("a link");
        cell[1..end].to_owned()
    };
    let with_preset = row("Vendors with a preset", &|cell| code(cell).concat());
    assert_same("presets in the index", &presets.collect(), &with_preset.into_iter().collect());
    let without = row("Vendors without one", &linked);
    assert_same("vendors in the index", &further.collect(), &without.into_iter().collect());
}

/// A router's 404 passes for the vendor's where only the status is looked at.
#[test]
fn the_page_says_where_a_404_is_believed_whatever_is_in_it() {
    let text = fs::read_to_string(root().join(FOLDER).join("further.md")).unwrap();
    let mut believed = 0;
    for section in text.split("\n## ").skip(1) {
        let takes_any = section.contains("\"no_match\": {\"status\": [404]");
        let title = section.lines().next().unwrap();
        assert_eq!(takes_any, section.contains("any 404 in JSON is believed"), "{title}");
        believed += usize::from(takes_any);
    }
    assert_eq!(believed, 6);
}
