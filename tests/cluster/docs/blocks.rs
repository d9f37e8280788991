//! Every ```sql block of README and docs/ runs: in the order of its page, in one psql session and a database of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::markdown::{Part, parts};
use super::played::{self, ADDRESS};
use super::{Page, manual, page};
use crate::support::{Cluster, Provider};

/// The page that makes the tables and roles of all pages, and where it has made them.
const EXAMPLE: (&str, &str) = ("docs/getting-started.md", "<!-- sql: example-ends -->");
/// How the other pages say so.
const LINK_TO_EXAMPLE: &str = "getting-started.md#the-example)";
/// The next page makes its own: they are the cluster's, not the database's.
const DROP_ROLES: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT rolname FROM pg_roles WHERE oid >= 16384 LOOP
        EXECUTE format('DROP OWNED BY %1$I; DROP ROLE %1$I', name);
    END LOOP;
END $$";
/// Blocks that are shown and not run: a few, each with its reason.
const MOST_SKIPPED: usize = 4;

/// Whether the page goes on where `make demo` has ended: see `demo.rs`.
pub fn is_after_demo(page: &Page) -> bool {
    parts(&page.text).into_iter().any(|(_, part)| part == Part::Comment("sql: demo".to_owned()))
}

/// Statements of a page, and what must come of them.
#[derive(Debug, PartialEq)]
pub struct Piece {
    line: usize,
    sql: String,
    /// SQLSTATE of the one error that must be raised.
    error: Option<String>,
    /// The page shows that this is returned.
    gives: Option<String>,
}

impl Piece {
    /// Its first line, and its statements.
    pub fn shown(&self) -> (usize, &str) {
        (self.line, &self.sql)
    }
}

/// What `<!-- sql: fixture -->` prepares: what readers type on the page of the example.
fn fixture() -> String {
    let (path, end) = EXAMPLE;
    let text = page(path).text;
    let (text, _) = text.split_once(end).expect("the example has an end");
    let (pieces, _) = pieces(&Page { path: path.into(), text: text.to_owned() });
    pieces.into_iter().map(|piece| piece.sql).collect::<Vec<_>>().join("\n;\n")
}

/// The pieces of a page, and the lines of blocks that are not run.
pub fn pieces(page: &Page) -> (Vec<Piece>, Vec<usize>) {
    let (mut pieces, mut skipped) = (Vec::new(), Vec::new());
    let (mut error, mut skip, mut gives) = (None, false, false);
    for (line, part) in parts(&page.text) {
        let at = format!("{}:{line}", page.path.display());
        match part {
            Part::Comment(comment) => {
                let Some(directive) = comment.strip_prefix("sql:").map(str::trim) else { continue };
                let (word, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
                match word {
                    "fixture" => pieces.push(Piece { line, sql: fixture(), error: None, gives: None }),
                    "demo" | "example-ends" => {}
                    "setup" => pieces.push(Piece { line, sql: rest.to_owned(), error: None, gives: None }),
                    "gives" => gives = true,
                    "error" => error = Some(rest.to_owned()),
                    "skip:" if !rest.is_empty() => skip = true,
                    _ => panic!("{at}: what is {directive:?}?"),
                }
            }
            Part::Fence { text, .. } if std::mem::take(&mut gives) => {
                pieces.last_mut().unwrap_or_else(|| panic!("{at}: no block gives it")).gives = Some(text);
            }
            Part::Fence { language, text } if language == "sql" => match std::mem::take(&mut skip) {
                true => skipped.push(line),
                false => pieces.push(Piece { line, sql: text, error: error.take(), gives: None }),
            },
            Part::Fence { .. } | Part::Heading(_) => {
                assert!(error.is_none() && !skip && !gives, "{at}: a comment without its block");
            }
            Part::Row(_) | Part::Line(_) => {}
        }
    }
    (pieces, skipped)
}

/// What came of a piece.
#[derive(Debug, Default)]
struct Came {
    /// What it returned, without heads and frames.
    returned: String,
    /// What psql wrote to its standard error.
    told: String,
}

/// Runs them in a psql session, which it is given connected. The vendor of the pages is played at `played`.
fn run(mut psql: Command, pieces: &[Piece], played: &str) -> BTreeMap<usize, Came> {
    psql.args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"]);
    let mut child = psql
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql can be executed");
    let mut script = String::new();
    for piece in pieces {
        let sql = piece.sql.replace(ADDRESS, played);
        script.push_str(&format!("\\warn @@ {0}\n\\echo @@ {0}\n{sql}\n;\n", piece.line));
    }
    let mut stdin = child.stdin.take().expect("a pipe");
    // psql may write more than a pipe holds before it has read all.
    let writing = std::thread::spawn(move || stdin.write_all(script.as_bytes()).expect("psql reads it"));
    let output = child.wait_with_output().expect("psql ends");
    writing.join().expect("psql read it");
    let [returned, told] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).replace(played, ADDRESS));
    assert!(output.status.success(), "{told}");
    let mut by_line: BTreeMap<usize, Came> = BTreeMap::new();
    for (line, text) in by_piece(&told) {
        by_line.entry(line).or_default().told = text;
    }
    for (line, text) in by_piece(&returned) {
        by_line.entry(line).or_default().returned = text;
    }
    by_line
}

/// What stands behind each `@@ line`.
fn by_piece(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.split("@@ ").skip(1).map(|part| {
        let (line, rest) = part.split_once('\n').expect("a line of its own");
        (line.trim().parse().expect("a number"), rest.trim().to_owned())
    })
}

/// Runs them, and returns what came otherwise than it must.
pub fn wrong(page: &Page, psql: Command, pieces: &[Piece], played: &str) -> Vec<String> {
    let mut came = run(psql, pieces, played);
    let mut wrong = Vec::new();
    for piece in pieces {
        let at = format!("{}:{}", page.path.display(), piece.line);
        let Some(Came { returned, told }) = came.remove(&piece.line) else {
            wrong.push(format!("{at}: it was not reached"));
            continue;
        };
        let (found, expected) = (errors(&told), Vec::from_iter(piece.error.clone()));
        if found != expected {
            wrong.push(format!("{at}: {found:?} instead of {expected:?}\n{told}"));
        }
        if piece.gives.as_ref().is_some_and(|shown| !is_shown(&returned, shown)) {
            wrong.push(format!("{at}: it returns otherwise than shown:\n{}", spread(&returned)));
        }
    }
    wrong
}

/// Whether a page shows what was returned. JSON may be spread over lines in any way.
fn is_shown(returned: &str, shown: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (json(returned), json(shown)) {
        (Some(returned), Some(shown)) => returned == shown,
        _ => returned.trim() == shown.trim(),
    }
}

/// JSON as a page could show it.
fn spread(returned: &str) -> String {
    let json = serde_json::from_str::<Value>(returned).ok();
    json.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or_else(|| returned.to_owned())
}

/// SQLSTATEs of the errors in what psql wrote.
fn errors(told: &str) -> Vec<String> {
    let of = |line: &str| {
        let at = line.find("ERROR:  ").or_else(|| line.find("FATAL:  "))?;
        Some(line[at + 8..].split(':').next().unwrap_or_default().to_owned())
    };
    let mut errors: Vec<String> = told.lines().filter_map(of).collect();
    // What psql itself does not understand.
    errors.extend(told.lines().filter(|line| line.contains("invalid command")).map(str::to_owned));
    errors
}

#[test]
fn every_sql_block_of_the_docs_runs() {
    let (provider, cluster) = (Provider::start(), Cluster::start());
    played::play(&provider);
    let mut postgres = cluster.connect("postgres");
    let (mut all_wrong, mut ran, mut not_run) = (Vec::new(), 0, 0);
    for page in manual().into_iter().filter(|page| !is_after_demo(page)) {
        let (pieces, skipped) = pieces(&page);
        not_run += skipped.len();
        if pieces.is_empty() {
            continue;
        }
        postgres.batch_execute("CREATE DATABASE app").unwrap();
        let mut psql = cluster.command("psql", "app");
        psql.arg("-v").arg(format!("provider_url={}", provider.url("/person")));
        all_wrong.extend(wrong(&page, psql, &pieces, &provider.url("")));
        postgres.batch_execute("DROP DATABASE app WITH (FORCE)").unwrap();
        postgres.batch_execute(DROP_ROLES).unwrap();
        ran += pieces.len();
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    assert!(ran > 50, "only {ran} pieces ran");
    assert!(not_run <= MOST_SKIPPED, "{not_run} blocks are not run");
}

/// Of a page, what its statements use and its readers cannot see made.
fn hidden(page: &Page) -> Vec<String> {
    let mut hidden = Vec::new();
    for (line, part) in parts(&page.text) {
        let Part::Comment(comment) = part else { continue };
        let at = format!("{}:{line}", page.path.display());
        if comment == "sql: fixture" && !page.text.contains(LINK_TO_EXAMPLE) {
            hidden.push(format!("{at}: no link to the page that makes the example"));
        }
        let setup = comment.strip_prefix("sql: setup").unwrap_or_default().to_uppercase();
        if setup.contains("CREATE ") {
            hidden.push(format!("{at}: a comment makes what the page uses"));
        }
    }
    hidden
}

#[test]
fn readers_see_made_what_the_statements_use() {
    let wrong: Vec<String> = manual().iter().flat_map(hidden).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let of = |text: &str| hidden(&Page { path: "page.md".into(), text: text.to_owned() }).len();
    assert_eq!(of("<!-- sql: setup\nUPDATE t SET a = 1;\n-->\n"), 0);
    assert_eq!(of("<!-- sql: setup\nCreate table t (a int);\n-->\n"), 1);
    assert_eq!(of("<!-- sql: fixture -->\n"), 1);
    assert_eq!(of("[It](getting-started.md#the-example).\n<!-- sql: fixture -->\n"), 0);
}

#[test]
fn a_block_has_what_its_comments_say() {
    let text = "<!-- sql: setup\nSELECT 1;\n-->\n<!-- sql: error LX404 -->\n```sql\nSELECT 2;\n```\n<!-- sql: skip: no reason -->\n```sql\nSELECT 3;\n```\n```text\nno SQL\n```\n<!-- sql: gives -->\n```json\n{}\n```\n";
    let (found, skipped) = pieces(&Page { path: "page.md".into(), text: text.to_owned() });
    let piece = |line, sql: &str, error: Option<&str>, gives: Option<&str>| Piece {
        line,
        sql: sql.to_owned(),
        error: error.map(str::to_owned),
        gives: gives.map(str::to_owned),
    };
    assert_eq!(found, [piece(1, "SELECT 1;", None, None), piece(5, "SELECT 2;", Some("LX404"), Some("{}"))]);
    assert_eq!(skipped, [9]);
    assert_eq!(errors("NOTICE:  00000: x\nERROR:  LX404: not_found: y\n"), ["LX404"]);
}

#[test]
fn what_is_shown_is_what_is_returned() {
    assert!(is_shown("{\"a\": 1, \"b\": [2]}", "{\n  \"b\": [2],\n  \"a\": 1\n}"));
    assert!(!is_shown("{\"a\": 1, \"b\": [2]}", "{\"a\": 1}"));
    assert!(is_shown("one|2\n", "one|2") && !is_shown("one|2", "one|3"));
}
