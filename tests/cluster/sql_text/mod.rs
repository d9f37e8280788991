//! All SQL of ours means the same under every search_path: nothing in it is looked up there.

mod lexer;
mod rules;
mod rust;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{Kind, findings};

/// Parts of `UPDATE … SET`, put in by format!.
const ASSIGNMENTS: [&str; 2] = ["{column} = ${new}", "{column} = n.{new}"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry, ending));
        } else if entry.extension().is_some_and(|own| own == ending) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// SQL, or a part of it: neither a message to people nor a name.
fn is_sql(text: &str) -> bool {
    const WORDS: [&str; 27] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "WITH",
        "FROM",
        "WHERE",
        "CREATE",
        "ALTER",
        "DROP",
        "GRANT",
        "REVOKE",
        "JOIN",
        "AND",
        "OR",
        "CASE",
        "WHEN",
        "SET",
        "ORDER",
        "OPERATOR",
        "VALUES",
        "RETURNING",
        "LIMIT",
        "COLLATE",
        "CAST",
        "NOT",
        "LOCK",
    ];
    let has_word =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| WORDS.contains(&word));
    let is_sentence = text.trim_end().ends_with('.')
        || text.contains('…')
        || text.contains(": SELECT leadlex.")
        || text.contains(": run SELECT leadlex.");
    (has_word || text.contains("pg_catalog.") || text.contains("::")) && !is_sentence
}

#[test]
fn no_statement_of_ours_looks_anything_up_in_the_search_path() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut assignments = HashSet::new();
    // What tests say among themselves is no SQL of ours.
    let is_test = |file: &Path| file.to_string_lossy().ends_with("_tests.rs");
    for file in files(&root().join("src/pg"), "rs").into_iter().filter(|file| !is_test(file)) {
        let literals = rust::literals(&fs::read_to_string(&file).unwrap());
        let sql: Vec<_> = literals.iter().filter(|literal| is_sql(&literal.text)).collect();
        let known = sql.iter().flat_map(|l| rules::names_of_ctes(&lexer::tokens(&l.text, true))).collect();
        for literal in literals.iter().filter(|literal| literal.is_statement && !is_sql(&literal.text)) {
            wrong.push(format!("{}:{}: passes for no SQL", file.display(), literal.line));
        }
        for literal in literals.iter().filter(|literal| ASSIGNMENTS.contains(&literal.text.as_str())) {
            assignments.insert(literal.text.clone());
        }
        for literal in sql {
            seen += 1;
            for finding in findings(&literal.text, Kind::Statement, true, &known) {
                let file = file.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{file}:{}: {finding}", literal.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} statements were found");
    assert_eq!(assignments.len(), ASSIGNMENTS.len(), "{assignments:?}");
}

/// What they make is parsed when they run, and names of types are found in pg_catalog first then. The bodies of functions
/// are parsed by every session anew.
#[test]
fn no_script_of_ours_looks_anything_up_in_the_search_path() {
    let mut wrong = Vec::new();
    let mut scripts: Vec<(String, String)> = files(&root().join("sql"), "sql")
        .into_iter()
        .map(|file| {
            (file.strip_prefix(root()).unwrap().display().to_string(), fs::read_to_string(&file).unwrap())
        })
        .collect();
    scripts.push(("an update script".to_owned(), crate::upgrade::made_script()));
    for (name, script) in scripts {
        wrong.extend(
            findings(&script, Kind::Script, false, &HashSet::new())
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
        for statement in lexer::tokens(&script, false).split(|token| token.is_sign(";")) {
            let words: Vec<String> = statement.iter().map(|token| format!("{token:?}")).collect();
            let has_body = statement.iter().any(|token| matches!(token, lexer::Token::Body(_)));
            let is_function = statement.iter().any(|token| token.is("FUNCTION") || token.is("PROCEDURE"));
            let sets = statement.iter().any(|token| token.is("SEARCH_PATH"));
            if has_body && is_function && !sets {
                wrong.push(format!("{name}: a function without SET search_path: {}", words[..4].join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_find_what_they_are_for() {
    let found = |sql: &str| findings(sql, Kind::Statement, true, &HashSet::new());
    for bad in [
        "SELECT 1 WHERE a = b",
        "SELECT a || b",
        "SELECT a.x -> 'b'",
        "SELECT - x",
        "SELECT x - 1",
        "SELECT CASE x WHEN 1 THEN 2 END",
        "SELECT 1 WHERE x IN (1, 2)",
        "SELECT 1 WHERE x NOT IN (SELECT 1)",
        "SELECT 1 WHERE x BETWEEN 1 AND 2",
        "SELECT 1 WHERE x IS DISTINCT FROM y",
        "SELECT 1 WHERE x IS NOT DISTINCT FROM y",
        "SELECT NULLIF(a, b)",
        "SELECT 1 WHERE a LIKE 'b'",
        "SELECT 1 WHERE (a, b) = (c, d)",
        "SELECT 1 WHERE (a, b) < (SELECT 1, 2)",
        "SELECT 1 WHERE a = ANY ($1)",
        "SELECT count(*)",
        "SELECT lower(x)",
        "SELECT \"lower\"(x)",
        "SELECT substring(x, 1)",
        "SELECT x::text",
        "SELECT x::uuid[]",
        "SELECT CAST(x AS jsonb)",
        "SELECT date '2020-01-01'",
        "CREATE TABLE leadlex.t (a text)",
        "ALTER TABLE leadlex.t ADD COLUMN a jsonb",
        "SELECT x COLLATE \"C\"",
        "SELECT 1 FROM pg_class",
        "INSERT INTO job VALUES (1)",
        "UPDATE job SET a = 1",
        "UPDATE leadlex.job SET a = 1 WHERE b = 2",
        "UPDATE leadlex.job SET a = b = c",
        "SELECT 1 FROM pg_catalog.a JOIN pg_catalog.b USING (c)",
        "SELECT 1 FROM pg_catalog.a NATURAL JOIN pg_catalog.b",
        "SELECT a FROM pg_catalog.b ORDER BY a USING <",
        " AND t.{column} = {old}",
        "SELECT a OPERATOR(public.=) b",
    ] {
        assert_ne!(found(bad), Vec::<String>::new(), "{bad}");
    }
    for good in [
        "SELECT a OPERATOR(pg_catalog.=) ANY ($1), pg_catalog.count(*), t.* FROM {} AS t",
        "SELECT a OPERATOR({}.{}) -1, coalesce(a, -2), CASE WHEN a THEN 1 END FROM leadlex.job AS j(a, b)",
        "WITH n AS (SELECT 1), m (a) AS MATERIALIZED (SELECT 2) SELECT * FROM n JOIN m ON n.a OPERATOR(pg_catalog.=) m.a",
        "UPDATE leadlex.job AS j SET a = $1, b = coalesce($2, j.b) FROM {set} WHERE j.a IS NULL RETURNING j.a",
        "INSERT INTO leadlex.job AS j (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b, c = EXCLUDED.c",
        "SELECT (EXTRACT(epoch FROM a.x) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8, x::integer, interval '1 second'",
        "SELECT CAST(u.key AS {key_type}) AS key{names}, (a.b).c FROM ROWS FROM (pg_catalog.unnest($1)) WITH ORDINALITY AS u(key, n)",
        "CREATE TABLE leadlex.t (a pg_catalog.text, name pg_catalog.int4 DEFAULT (leadlex.f()))",
        "SELECT leadlex.f(a => 1) FROM pg_catalog.a ORDER BY b USING OPERATOR(pg_catalog.<) FOR NO KEY UPDATE OF t",
        "t.{column}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {text}",
    ] {
        assert_eq!(found(good), Vec::<String>::new(), "{good}");
    }
}
