//! docs/settings.md against pg_settings.

use std::collections::BTreeSet;

use super::markdown::{code, rows_under};
use super::{assert_same, page};
use crate::support::Cluster;

/// Of settings whose default is a long list, or the version itself.
const WITHOUT_DEFAULT: [&str; 2] = ["leadlex.role_mailboxes", "leadlex.library_version"];

/// A number with a unit, as `SET` takes it, in the setting's own unit. Else the text itself.
fn in_unit(value: &str, unit: &str) -> String {
    let digits = value.find(|c: char| c.is_ascii_alphabetic() && c != 'e').unwrap_or(value.len());
    let (number, own) = value.split_at(digits);
    let factor = |unit: &str| match unit {
        "ms" | "kB" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "MB" => 1_024.0,
        "GB" => 1_048_576.0,
        _ => panic!("{value}: what is {unit}?"),
    };
    match number.parse::<f64>() {
        Ok(number) if !own.is_empty() => (number * factor(own) / factor(unit)).to_string(),
        _ => value.to_owned(),
    }
}

#[test]
fn every_setting_is_in_the_docs_as_it_is() {
    let cluster = Cluster::start();
    let sql = "SELECT name, context, coalesce(unit, ''), coalesce(boot_val, ''), coalesce(min_val, ''), coalesce(max_val, ''),
                      CASE vartype WHEN 'bool' THEN '{off,on}' ELSE coalesce(enumvals, '{}') END
               FROM pg_settings WHERE name LIKE 'leadlex.%'";
    let mut client = cluster.connect("postgres");
    let mut of_server = BTreeSet::new();
    for row in client.query(sql, &[]).unwrap() {
        let [name, class, unit, default, least, most] = [0, 1, 2, 3, 4, 5].map(|at| row.get::<_, String>(at));
        let words = row.get::<_, Vec<String>>(6);
        let range = if words.is_empty() { [least, most].concat_pair() } else { words.join(", ") };
        let default = if WITHOUT_DEFAULT.contains(&name.as_str()) { String::new() } else { default };
        of_server.insert(format!("{name} | {class} | {default} | {range} | {unit}"));
    }
    let page = page("docs/settings.md");
    let mut of_docs = BTreeSet::new();
    for row in rows_under(&page.text, "Settings").iter().filter(|row| row.len() == 6) {
        let [name, class, default, range, unit, meaning] = row.as_slice() else { unreachable!() };
        assert!(!meaning.is_empty(), "{name}: no meaning");
        let name = code(name).concat();
        let default = in_unit(&code(default).concat(), unit);
        let limits: Vec<String> = code(range).iter().map(|value| in_unit(value, unit)).collect();
        let range = limits.join(if range.contains(" to ") { " to " } else { ", " });
        of_docs.insert(format!("{name} | {class} | {default} | {range} | {unit}"));
    }
    assert_same("settings", &of_server, &of_docs);
    // Hidden from pg_settings, with a section of its own.
    assert!(!rows_under(&page.text, "leadlex.api_key").iter().any(|row| row.len() == 6));
    client.simple_query("SHOW leadlex.api_key").expect("it is a setting");
}

trait Pair {
    /// `1 to 5`, or nothing.
    fn concat_pair(self) -> String;
}

impl Pair for [String; 2] {
    fn concat_pair(self) -> String {
        if self[0].is_empty() { String::new() } else { self.join(" to ") }
    }
}

#[test]
fn values_are_read_in_the_unit_of_their_setting() {
    for (value, unit, expected) in [
        ("5s", "ms", "5000"),
        ("30d", "s", "2592000"),
        ("4MB", "kB", "4096"),
        ("0", "ms", "0"),
        ("any", "", "any"),
    ] {
        assert_eq!(in_unit(value, unit), expected, "{value}");
    }
}
