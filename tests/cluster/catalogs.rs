//! Everything that the catalogs know about the extension's objects, as lines of text, to compare two databases. What is
//! read is not picked by hand: all catalogs, and all of their columns, so that a new kind of object is seen, too.

use std::collections::BTreeMap;

use postgres::Client;

/// Members of the extension, and what belongs to them: indexes, constraints, defaults, triggers, policies, rules, types.
/// Tables for oversized values have names that no two databases share, as have triggers of foreign keys.
const OURS: &str = "
DROP TABLE IF EXISTS pg_temp.ours;
CREATE TEMP TABLE ours AS
WITH RECURSIVE found(classid, objid) AS (
    SELECT 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = 'leadlex_enrich'
    UNION
    SELECT d.classid, d.objid FROM pg_depend AS d JOIN found AS f ON d.refclassid = f.classid AND d.refobjid = f.objid
    WHERE d.deptype IN ('e', 'i', 'a')
      AND pg_describe_object(d.classid, d.objid, 0) NOT LIKE '%pg_toast.%'
)
SELECT * FROM found;
ALTER TABLE pg_temp.ours ADD PRIMARY KEY (classid, objid);
ANALYZE pg_temp.ours;
CREATE OR REPLACE FUNCTION pg_temp.is_ours(class regclass, object oid) RETURNS boolean LANGUAGE sql STABLE
    AS $$ SELECT EXISTS (SELECT FROM pg_temp.ours WHERE classid = class AND objid = object) $$;
CREATE OR REPLACE FUNCTION pg_temp.plain(words text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT regexp_replace(words, '(RI_ConstraintTrigger_[ac])_[0-9]+', '\\1', 'g') $$;
CREATE OR REPLACE FUNCTION pg_temp.named(class regclass, object oid, part int DEFAULT 0) RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT CASE WHEN object <> 0 THEN coalesce(pg_temp.plain(pg_describe_object(class, object, part)), 'lost') END $$;
";

/// The columns of all catalogs, and to which catalog's oid they refer, if they do.
const COLUMNS: &str = "
SELECT c.relname::text AS catalog, a.attname::text AS name, k.target, k.is_array, a.atttypid = 'pg_node_tree'::regtype AS is_tree
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN (SELECT fktable, fkcols[1] AS fkcol, min(pktable::text) AS target, bool_or(is_array) AS is_array
           FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1 AND pkcols = '{oid}' GROUP BY 1, 2) AS k
       ON k.fktable = c.oid AND k.fkcol = a.attname
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
  AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject',
                        'pg_depend', 'pg_description', 'pg_init_privs', 'pg_seclabel')
ORDER BY c.relname, a.attnum";

/// Columns that say where and how much and since when, not what.
const NOT_COMPARED: [&str; 13] = [
    "oid",
    "relfilenode",
    "relpages",
    "reltuples",
    "relallvisible",
    "relallfrozen",
    "relfrozenxid",
    "relminmxid",
    "reltoastrelid",
    "atthasmissing",
    "attmissingval",
    "indcheckxmin",
    "tgname",
];

/// Catalogs with expressions, which are kept with oids in them: how Postgres writes them down.
const DEFINITIONS: [(&str, &str); 9] = [
    ("pg_attrdef", "pg_get_expr(t.adbin, t.adrelid)"),
    (
        "pg_class",
        "CASE WHEN t.relkind IN ('v', 'm') THEN pg_get_viewdef(t.oid) ELSE pg_get_expr(t.relpartbound, t.oid) END",
    ),
    ("pg_constraint", "pg_get_constraintdef(t.oid)"),
    ("pg_index", "pg_get_indexdef(t.indexrelid)"),
    ("pg_policy", "ARRAY[pg_get_expr(t.polqual, t.polrelid), pg_get_expr(t.polwithcheck, t.polrelid)]"),
    ("pg_proc", "CASE WHEN t.prokind IN ('f', 'p') THEN pg_get_functiondef(t.oid) END"),
    ("pg_rewrite", "pg_get_ruledef(t.oid)"),
    ("pg_trigger", "pg_temp.plain(pg_get_triggerdef(t.oid))"),
    ("pg_type", "t.typdefault"),
];

/// What no column of an object's own row says.
const ABOUT: [(&str, &str); 5] = [
    ("comment", "SELECT concat_ws('|', pg_temp.named(classoid, objoid, objsubid), description) FROM pg_description WHERE pg_temp.is_ours(classoid, objoid)"),
    ("initial privileges", "SELECT concat_ws('|', pg_temp.named(classoid, objoid, objsubid), privtype, initprivs) FROM pg_init_privs WHERE pg_temp.is_ours(classoid, objoid)"),
    ("label", "SELECT concat_ws('|', pg_temp.named(classoid, objoid, objsubid), provider, label) FROM pg_seclabel WHERE pg_temp.is_ours(classoid, objoid)"),
    ("dependency", "SELECT concat_ws('|', pg_temp.named(classid, objid, objsubid), deptype, pg_temp.named(refclassid, refobjid, refobjsubid))
                    FROM pg_depend WHERE (pg_temp.is_ours(classid, objid) OR pg_temp.is_ours(refclassid, refobjid))
                      AND pg_describe_object(classid, objid, 0) NOT LIKE '%pg_toast.%'"),
    ("role", "SELECT concat_ws('|', pg_temp.named(classid, objid, objsubid), deptype, pg_temp.named(refclassid, refobjid)) FROM pg_shdepend
              WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pg_temp.is_ours(classid, objid)"),
];

/// A statement that tells all about those rows of one catalog that are of ours, or that refer to something of ours.
fn statement(catalog: &str, columns: &[postgres::Row]) -> String {
    let mut ours = Vec::new();
    let mut shown = Vec::new();
    let definition = DEFINITIONS.iter().find(|(of, _)| *of == catalog).map(|(_, sql)| *sql);
    for column in columns {
        let (name, target): (&str, Option<&str>) = (column.get("name"), column.get("target"));
        let is_array = column.get::<_, Option<bool>>("is_array") == Some(true);
        if name == "oid" {
            ours.push(format!("pg_temp.is_ours('{catalog}', t.oid)"));
        }
        if let (Some(target), false) = (target, is_array) {
            ours.push(format!("pg_temp.is_ours('{target}', t.{name})"));
        }
        if NOT_COMPARED.contains(&name) {
            continue;
        }
        let value = match target {
            Some(target) if is_array => format!(
                "ARRAY(SELECT pg_temp.named('{target}', o.oid) FROM unnest(t.{name}::oid[]) WITH ORDINALITY AS o(oid, n) ORDER BY n)"
            ),
            Some(target) => format!("pg_temp.named('{target}', t.{name})"),
            // Written down by its definition.
            None if column.get("is_tree") => {
                let known = format!("CASE WHEN t.{name} IS NOT NULL THEN 'expression' END");
                if definition.is_some() { known } else { format!("t.{name}::text") }
            }
            // Some builds of Postgres stamp every column with the WAL position of its definition.
            None if name == "attoptions" => {
                format!("ARRAY(SELECT o FROM unnest(t.{name}) AS o WHERE o NOT LIKE 'pg_attver=%')")
            }
            None => format!("t.{name}"),
        };
        shown.push(format!("'{name}', {value}"));
    }
    if ours.is_empty() {
        return format!("SELECT NULL FROM pg_catalog.{catalog} WHERE false");
    }
    let (shown, ours) = (shown.join(", "), ours.join(" OR "));
    let definition = definition.unwrap_or("NULL::text");
    format!(
        "SELECT jsonb_build_object({shown}, 'definition', {definition})::text FROM pg_catalog.{catalog} AS t WHERE {ours}"
    )
}

/// All lines, in an order of their own.
pub fn snapshot(client: &mut Client) -> Vec<String> {
    client.batch_execute(OURS).unwrap();
    let mut catalogs: BTreeMap<String, Vec<postgres::Row>> = BTreeMap::new();
    for column in client.query(COLUMNS, &[]).unwrap() {
        catalogs.entry(column.get("catalog")).or_default().push(column);
    }
    let mut statements: Vec<(String, String)> =
        ABOUT.iter().map(|(what, sql)| ((*what).to_owned(), (*sql).to_owned())).collect();
    statements.extend(catalogs.iter().map(|(name, columns)| (name.clone(), statement(name, columns))));
    let mut lines = Vec::new();
    for (what, sql) in statements {
        let rows = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        lines.extend(rows.iter().map(|row| format!("{what}: {}", row.get::<_, &str>(0))));
    }
    lines.sort();
    lines
}

/// Panics with what only one of the two has.
pub fn assert_equal(one: &[String], other: &[String]) {
    let only = |here: &[String], there: &[String]| {
        here.iter().filter(|line| !there.contains(line)).cloned().collect::<Vec<_>>().join("\n")
    };
    assert!(one == other, "only here:\n{}\n\nonly there:\n{}", only(one, other), only(other, one));
}
