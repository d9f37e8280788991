//! SQLSTATEs and reasons: the tables of the docs against the names in the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use leadlex_domain::provider::FaultKind;

use super::markdown::{code, rows_under};
use super::{assert_same, page, root};

/// Every file of the code: it may stand in several crates.
fn sources() -> Vec<String> {
    let mut folders: Vec<PathBuf> = ["src", "crates"].map(|name| root().join(name)).into();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) && !is_test(&path) {
                texts.push(fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(texts.len() > 100, "only {} files", texts.len());
    texts
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"))
}

/// The words of the arms `Of::Variant => "word"`, wherever they stand. A word has no blanks unless `phrases`.
fn words(sources: &[String], of: &str, phrases: bool) -> BTreeSet<String> {
    let arm = |line: &str| {
        let (variants, value) =
            line.trim().trim_start_matches("| ").strip_prefix(&format!("{of}::"))?.split_once(" => ")?;
        let word = value.strip_prefix('"')?.split('"').next()?;
        let plain = variants.chars().all(|c| c.is_alphanumeric() || "_: |()".contains(c));
        (plain && word.len() < 40 && (phrases || !word.contains(' '))).then(|| word.to_owned())
    };
    sources.iter().flat_map(|text| text.lines().filter_map(arm).collect::<Vec<_>>()).collect()
}

/// What stands in `backticks` in a column, of the table under a heading.
fn column(path: &str, heading: &str, at: usize) -> BTreeSet<String> {
    rows_under(&page(path).text, heading).iter().flat_map(|row| code(&row[at])).collect()
}

/// Statuses of the contract, as SQLSTATEs.
fn sqlstates(sources: &[String]) -> BTreeSet<String> {
    let arm = |line: &str| {
        let (_, status) = line.trim().strip_prefix("Code::")?.split_once(" => ")?;
        let status: u16 = status.trim_end_matches(',').parse().ok()?;
        Some(format!("LX{status}"))
    };
    sources.iter().flat_map(|text| text.lines().filter_map(arm).collect::<Vec<_>>()).collect()
}

#[test]
fn every_sqlstate_and_code_is_in_the_docs() {
    let sources = sources();
    let of_server = sqlstates(&sources);
    assert_eq!(of_server.len(), 9, "{of_server:?}");
    let first = |path: &str, heading: &str| -> BTreeSet<String> {
        let rows = rows_under(&page(path).text, heading);
        rows.iter().map(|row| row[0].clone()).filter(|state| state.starts_with("LX")).collect()
    };
    assert_same("SQLSTATEs", &of_server, &first("docs/errors.md", "LX errors"));
    assert_same("SQLSTATEs of the README", &of_server, &first("README.md", "Errors"));
    let codes = words(&sources, "Code", false);
    assert_same("codes", &codes, &column("docs/errors.md", "LX errors", 1));
    assert_same("codes of the README", &codes, &column("README.md", "Errors", 1));
}

#[test]
fn every_reason_is_in_the_docs_with_what_to_do() {
    let sources = sources();
    let no_match = words(&sources, "NoMatchReason", false);
    assert_eq!(no_match.len(), 8, "{no_match:?}");
    assert_same("reasons of LX409", &no_match, &column("docs/errors.md", "Reasons of LX409", 0));
    let mut failures: BTreeSet<String> = FaultKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    // Of a provider that did not fail, beside one that did.
    failures.insert("no_match".to_owned());
    assert_same("reasons of LX503", &failures, &column("docs/errors.md", "Reasons of LX503", 0));
    for heading in ["Reasons of LX409", "Reasons of LX503", "LX errors"] {
        for row in rows_under(&page("docs/errors.md").text, heading) {
            assert!(row.len() >= 3 && row.last().is_some_and(|what| what.len() > 5), "{heading}: {row:?}");
        }
    }
}

#[test]
fn every_word_of_estimates_states_and_outcomes_is_in_the_docs() {
    let sources = sources();
    let estimate: BTreeSet<String> =
        words(&sources, "EstimateOutcome", true).union(&words(&sources, "Why", true)).cloned().collect();
    let found: BTreeSet<String> = column("docs/batches.md", "Before you spend", 0)
        .union(&column("docs/batches.md", "Before you spend", 1))
        .cloned()
        .collect();
    assert_same("estimate", &estimate, &found);
    let mut states = words(&sources, "Cause", false);
    states.extend(["ok".to_owned(), "half_open".to_owned()]);
    assert_same("states of a provider", &states, &states_of_a_provider());
    let mut outcomes = words(&sources, "Status", false);
    // A job that failed is tried again or dead, and one whose answer comes later is queued.
    assert!(outcomes.remove("failed") && outcomes.remove("pending"), "{outcomes:?}");
    outcomes.insert("gone".to_owned());
    let jobs = rows_under(&page("docs/queue.md").text, "The states of a job");
    let is_outcome = |row: &&Vec<String>| code(&row[0]).iter().any(|word| outcomes.contains(word));
    let of_docs = jobs.iter().filter(is_outcome).flat_map(|row| code(&row[0])).collect();
    assert_same("outcomes of a job", &outcomes, &of_docs);
}

/// The table whose first row is `ok`.
fn states_of_a_provider() -> BTreeSet<String> {
    let rows = rows_under(&page("docs/providers/pauses-and-suppression.md").text, "Pauses");
    let from = rows.iter().position(|row| row[0] == "`ok`").expect("a table of states");
    rows[from..].iter().flat_map(|row| code(&row[0])).collect()
}

#[test]
fn arms_are_found() {
    let text = "    FaultKind::Dns => \"dns\",\n    FaultKind::Tls => f(\"x\"),\n    (FaultKind::A, _) => \"not a name\",\n";
    assert_eq!(words(&[text.to_owned()], "FaultKind", false).into_iter().collect::<Vec<_>>(), ["dns"]);
}
