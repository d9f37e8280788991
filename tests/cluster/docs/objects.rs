//! docs/functions.md and docs/views.md against the catalogs, and every name of ours in the docs.

use std::collections::{BTreeMap, BTreeSet};

use postgres::Client;

use super::markdown::{all_rows, code, rows_under};
use super::{assert_same, manual, page};
use crate::support::Cluster;

const FUNCTIONS: &str = "
SELECT CASE n.nspname WHEN 'leadlex' THEN 'leadlex.' ELSE '' END || p.proname, pg_get_function_arguments(p.oid),
       coalesce(pg_get_function_result(p.oid), 'procedure'),
       CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE') THEN 'all' ELSE 'administrators' END
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'leadlex_enrich'";

const RELATIONS: &str = "
SELECT c.relname::text, CASE c.relkind WHEN 'v' THEN 'View' ELSE 'Table' END, a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind IN ('v', 'r', 'p', 'm')";

/// Types and defaults, shorter than the catalogs write them.
fn short(text: &str) -> String {
    let text = text.replace("timestamp with time zone", "timestamptz").replace("double precision", "float8");
    let mut parts = text.split("::");
    let mut short = parts.next().unwrap_or_default().to_owned();
    // After a default, its type.
    for part in parts {
        let end = part.find([',', ')']).unwrap_or(part.len());
        short.push_str(&part[end..]);
    }
    short.split(", ").map(|part| part.strip_prefix("IN ").unwrap_or(part)).collect::<Vec<_>>().join(", ")
}

fn database(cluster: &Cluster) -> Client {
    let mut client = cluster.database("app");
    client.batch_execute("SELECT leadlex.create_workspace('one')").unwrap();
    client
}

#[test]
fn every_function_is_in_the_docs_as_it_is() {
    let cluster = Cluster::start();
    let mut of_server = BTreeSet::new();
    for row in database(&cluster).query(FUNCTIONS, &[]).unwrap() {
        let [name, arguments, result, who] = [0, 1, 2, 3].map(|at| row.get::<_, String>(at));
        let result = if result.starts_with("TABLE") { "TABLE".to_owned() } else { short(&result) };
        of_server.insert(format!("{name}({}) | {result} | {who}", short(&arguments)));
    }
    let mut of_docs = BTreeSet::new();
    for row in all_rows(&page("docs/functions.md").text) {
        assert!(row.len() == 4 && !row[3].is_empty(), "{row:?}");
        of_docs.insert(format!("{} | {} | {}", code(&row[0]).concat(), row[1], row[2]));
    }
    assert_same("functions", &of_server, &of_docs);
}

/// Columns of every view and table: name of the relation, its kind, columns with their types.
fn relations(client: &mut Client) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut relations: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for row in client.query(RELATIONS, &[]).unwrap() {
        let [name, kind, column, of] = [0, 1, 2, 3].map(|at| row.get::<_, String>(at));
        let entry = relations.entry(name).or_insert((kind, BTreeSet::new()));
        entry.1.insert(format!("{column} {}", short(&of)));
    }
    relations
}

/// Every view and its columns, every table that people read and its columns, and the names of all others.
#[test]
fn every_view_and_column_is_in_the_docs_as_it_is() {
    let cluster = Cluster::start();
    let of_server = relations(&mut database(&cluster));
    let text = page("docs/views.md").text;
    let mut shown = BTreeSet::new();
    for heading in text.lines().filter_map(|line| line.strip_prefix("## leadlex.")) {
        let (kind, columns) =
            of_server.get(heading).unwrap_or_else(|| panic!("docs/views.md: there is no leadlex.{heading}"));
        let rows = rows_under(&text, &format!("leadlex.{heading}"));
        assert!(rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()), "leadlex.{heading}: {rows:?}");
        let of_docs = rows.iter().map(|row| format!("{} {}", code(&row[0]).concat(), row[1])).collect();
        assert_same(&format!("columns of leadlex.{heading}"), columns, &of_docs);
        assert!(text.contains(&format!("## leadlex.{heading}\n\n{kind}.")), "leadlex.{heading} is a {kind}");
        shown.insert(heading.to_owned());
    }
    let is_shown = |name: &&String| shown.contains(*name);
    let is_view = |name: &&String| of_server[*name].0 == "View";
    let views = |names: &BTreeSet<String>| names.iter().filter(is_view).cloned().collect();
    assert_same("views", &views(&of_server.keys().cloned().collect()), &views(&shown));
    let others =
        of_server.keys().filter(|name| !is_shown(name)).map(|name| format!("leadlex.{name}")).collect();
    let private = rows_under(&page("docs/internals/architecture.md").text, "Private tables");
    let of_docs = private.iter().map(|row| code(&row[0]).concat()).collect();
    assert_same("private tables", &others, &of_docs);
}

/// Names behind `leadlex.` in a text, with the name of a column where there is one.
fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("leadlex.").skip(1) {
        let end = rest
            .find(|c: char| !(c.is_ascii_lowercase() || "_.0123456789".contains(c)))
            .unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('.');
        // A group of them, as forget_*.
        if !name.is_empty() && !rest[end..].starts_with('*') {
            found.insert(name.to_owned());
        }
    }
    found
}

/// Functions of the extension's schema that a text calls: enrich_…( and try_enrich_…(.
fn calls(text: &str) -> BTreeSet<String> {
    let of = |at: usize| {
        let begin = text[..at].rfind(|c: char| !(c.is_ascii_lowercase() || c == '_')).map_or(0, |b| b + 1);
        let name = &text[begin..at];
        let qualified = text[..begin].ends_with('.');
        let ours = name.starts_with("enrich_") || name.starts_with("try_enrich_");
        (ours && !qualified).then(|| name.to_owned())
    };
    text.match_indices('(').filter_map(|(at, _)| of(at)).collect()
}

#[test]
fn nothing_is_in_the_docs_that_does_not_exist() {
    let cluster = Cluster::start();
    let mut client = database(&cluster);
    client.batch_execute("SELECT leadlex.create_contact_table()").unwrap();
    let column_lists = relations(&mut client);
    let strings = |client: &mut Client, sql: &str| -> BTreeSet<String> {
        client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let functions = strings(&mut client, FUNCTIONS);
    let mut settings = strings(&mut client, "SELECT name FROM pg_settings WHERE name LIKE 'leadlex.%'");
    settings.insert("leadlex.api_key".to_owned());
    let exists = |name: &str| {
        let whole = format!("leadlex.{name}");
        let column = |relation: &str, column: &str| {
            let columns = column_lists.get(relation).map(|(_, columns)| columns);
            columns.is_some_and(|all| all.iter().any(|c| c.split(' ').next() == Some(column)))
        };
        functions.contains(&whole)
            || settings.contains(&whole)
            || column_lists.contains_key(name)
            || name.split_once('.').is_some_and(|(relation, of)| column(relation, of))
    };
    let mut wrong = Vec::new();
    for page in manual().into_iter().chain(["CONTRIBUTING.md", "SECURITY.md"].map(page)) {
        let unknown =
            names(&page.text).into_iter().filter(|name| !exists(name)).map(|name| format!("leadlex.{name}"));
        let not_ours = calls(&page.text).into_iter().filter(|name| !functions.contains(name));
        wrong.extend(unknown.chain(not_ours).map(|name| format!("{}: {name}", page.path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found() {
    assert_eq!(
        names("`leadlex.a_b(x)`, leadlex.forget_*, leadlex.view.column. leadlex.b.")
            .into_iter()
            .collect::<Vec<_>>(),
        ["a_b", "b", "view.column"]
    );
    assert_eq!(calls("enrich_row('x') api.enrich_one(1) leadlex.enrich_batch( try_enrich_row(").len(), 2);
    assert_eq!(
        short(
            "IN a text DEFAULT NULL::text, b timestamp with time zone DEFAULT NULL::timestamp with time zone"
        ),
        "a text DEFAULT NULL, b timestamptz DEFAULT NULL"
    );
}
