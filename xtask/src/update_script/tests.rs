//! What the maker of update scripts makes, and what it refuses.

use super::{SqlFile, read_files, update_script};

fn file(name: &str, text: &str) -> SqlFile {
    SqlFile { name: name.to_owned(), text: text.to_owned() }
}

fn made(old: &str, new: &str, delta: &str) -> Result<String, String> {
    update_script(
        "1.0",
        "1.1",
        &[file("20_old.sql", old)],
        &[file("20_new.sql", new)],
        &file("delta.sql", delta),
    )
}

const F: &str =
    "CREATE FUNCTION leadlex.f(a text, b integer DEFAULT NULL) RETURNS text LANGUAGE c AS 'x', 'f';";
const V: &str = "CREATE VIEW leadlex.v WITH (security_barrier = true) AS SELECT DISTINCT ON (t.a) t.a, (SELECT 1, 2)::text AS b FROM leadlex.t AS t;";

#[test]
fn what_postgres_can_replace_is_replaced() {
    for new in [
        F.to_owned(),
        F.replace("'x', 'f'", "'x', 'g'"),
        F.replace("DEFAULT NULL", "DEFAULT 3"),
        F.replace("a text", "a text DEFAULT 'a, b'"),
        F.replace("(a text, b ", "(\n    a text, -- , c text\n    b "),
    ] {
        let script = made(F, &new, "").unwrap();
        assert!(script.contains("\nCREATE OR REPLACE FUNCTION leadlex.f("), "{script}");
        assert!(
            !script.contains("DROP FUNCTION") && script.contains("moved CONSTANT pg_catalog.jsonb := '[]'"),
            "{script}"
        );
    }
    let script = made(V, &V.replace(" AS b FROM", " AS b, t.c FROM"), "").unwrap();
    assert!(
        script.contains("\nCREATE OR REPLACE VIEW leadlex.v ") && script.contains("ARRAY['leadlex.v']"),
        "{script}"
    );
}

#[test]
fn what_postgres_cannot_replace_is_dropped_and_made_anew() {
    for (new, identity) in [
        (F.replace("integer", "bigint"), "leadlex.f(text, bigint)"),
        (F.replace("(a text", "(z text"), "leadlex.f(text, integer)"),
        (F.replace(" DEFAULT NULL", ""), "leadlex.f(text, integer)"),
        (F.replace("RETURNS text", "RETURNS TABLE (a text)"), "leadlex.f(text, integer)"),
        (F.replace("FUNCTION", "PROCEDURE").replace("RETURNS text ", ""), "leadlex.f(text, integer)"),
    ] {
        let script = made(F, &new, "").unwrap();
        assert!(script.contains("\nDROP FUNCTION leadlex.f(text, integer);\n"), "{script}");
        assert!(script.contains(&new), "{script}");
        let moved = format!("{{\"old_name\": \"leadlex.f(text, integer)\", \"new_name\": \"{identity}\"}}");
        assert!(script.contains(&moved), "{moved}\n{script}");
    }
    let script = made(&format!("{F}{V}"), "", "").unwrap();
    assert!(script.contains("DROP FUNCTION leadlex.f(text, integer);"), "{script}");
    assert!(script.contains("DROP VIEW leadlex.v;") && !script.contains("ARRAY['leadlex.v']"), "{script}");
}

#[test]
fn a_view_gains_columns_at_its_end_only() {
    for (new, what) in [
        (V.replace("t.a, (", "t.z, ("), "its column 1 was a and is z now"),
        (V.replace("t.a, (", "t.c, t.a, ("), "its column 1 was a and is c now"),
        (V.replace(", (SELECT 1, 2)::text AS b", ""), "its column 2 was b and is gone now"),
    ] {
        let why = made(V, &format!("\n{new}"), "").unwrap_err();
        assert!(why.starts_with("20_new.sql:2: view leadlex.v: ") && why.contains(what), "{why}");
    }
    let why = made("", &V.replace(" AS b FROM", " FROM"), "").unwrap_err();
    assert!(why.contains("column 2 has no name"), "{why}");
}

#[test]
fn whose_grants_are_kept_on_which_function_has_to_be_clear() {
    let f =
        |types: &str| format!("CREATE FUNCTION leadlex.f(a {types}) RETURNS text LANGUAGE c AS 'x', 'f';");
    let moves = |old: &[&str], new: &[&str]| {
        let all = |types: &[&str]| types.iter().map(|types| f(types)).collect::<String>();
        made(&all(old), &all(new), "").map(|script| script.matches("\"old_name\"").count())
    };
    assert_eq!(moves(&["text"], &["text", "uuid"]), Ok(0), "a new one beside it");
    assert_eq!(moves(&["text"], &["uuid", "bigint"]), Ok(2), "one becomes two");
    assert_eq!(moves(&["text", "uuid"], &["text, b text", "uuid, b text"]), Ok(2), "one by one");
    assert_eq!(moves(&["text", "uuid"], &["text"]), Ok(0), "one goes");
    let why = moves(&["text", "uuid"], &["bigint"]).unwrap_err();
    assert!(why.contains("leadlex.f(text) and leadlex.f(uuid) become leadlex.f(bigint)"), "{why}");
}

#[test]
fn what_has_no_place_in_an_update_is_refused() {
    for (new, delta, what) in [
        ("CREATE TABLE leadlex.t ();", "", "20_new.sql:1: an update cannot bring this again"),
        ("INSERT INTO leadlex.t VALUES (1);", "", "20_new.sql:1: an update cannot bring this again"),
        ("REVOKE ALL ON ALL TABLES IN SCHEMA leadlex FROM PUBLIC;", "", "would reach tables of users"),
        ("", "\nCREATE OR REPLACE VIEW leadlex.v AS SELECT 1 AS a;", "delta.sql:2: a delta is about tables"),
        ("", "DROP FUNCTION leadlex.f();", "delta.sql:1: a delta is about tables"),
        ("", "GRANT SELECT ON leadlex.t TO PUBLIC;", "delta.sql:1: a delta is about tables"),
        ("", "ALTER TABLE leadlex.t ADD a text DEFAULT 'b;", "delta.sql: what begins in line 1 does not end"),
        ("", "ALTER TABLE leadlex.t ADD a text", "delta.sql: the last statement has no semicolon"),
    ] {
        let why = made("", new, delta).unwrap_err();
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn triggers_policies_and_comments_come_from_the_current_files() {
    let old = "CREATE TRIGGER t AFTER INSERT ON leadlex.a EXECUTE FUNCTION leadlex.f();
               CREATE TRIGGER gone AFTER INSERT ON leadlex.a EXECUTE FUNCTION leadlex.f();
               CREATE POLICY p ON leadlex.a USING (true); CREATE POLICY gone ON leadlex.a USING (true);
               COMMENT ON VIEW leadlex.v IS 'a;'; CREATE VIEW leadlex.v AS SELECT 1 AS a;";
    let new = "CREATE TRIGGER t AFTER DELETE ON leadlex.a EXECUTE FUNCTION leadlex.f();
               CREATE POLICY p ON leadlex.a USING (false); CREATE VIEW leadlex.v AS SELECT 2 AS a;";
    let script = made(old, new, "").unwrap();
    for line in [
        "DROP POLICY p ON leadlex.a;",
        "DROP POLICY gone ON leadlex.a;",
        "CREATE POLICY p ON leadlex.a USING (false);",
        "CREATE OR REPLACE TRIGGER t AFTER DELETE",
        "DROP TRIGGER gone ON leadlex.a;",
        "COMMENT ON VIEW leadlex.v IS NULL;",
    ] {
        assert!(script.contains(&format!("\n{line}")), "{line}\n{script}");
    }
    assert!(!script.contains("DROP TRIGGER t "), "{script}");
    // Of tables only the comments.
    let tables = [file("10_tables.sql", "CREATE TABLE leadlex.a (); COMMENT ON TABLE leadlex.a IS 'b';")];
    let script = update_script("1.0", "1.1", &[], &tables, &file("d", "")).unwrap();
    assert!(
        !script.contains("CREATE TABLE") && script.contains("COMMENT ON TABLE leadlex.a IS 'b';"),
        "{script}"
    );
}

#[test]
fn the_current_files_can_be_carried_over() {
    let files = read_files(&crate::project::root().join("sql")).unwrap();
    let script = update_script("1.0", "1.1", &files, &files, &file("d", "")).unwrap();
    assert!(!script.contains("DROP FUNCTION") && !script.contains("DROP VIEW"), "{script}");
    assert!(script.matches("\nCREATE OR REPLACE FUNCTION").count() > 50);
}
