//! examples/quality runs to its end, and its README shows what it prints.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docs::markdown::{Part, parts, prose};
use crate::docs::page;
use crate::support::Cluster;

/// As the fixtures of the docs, with the limit that an installation has. On a machine that is busy with other tests a contact can be
/// out of time before it was its turn, and is tried again after all the others; and of two workers one can be much later. So there
/// is time enough, and one worker.
const SETTINGS: [&str; 5] = [
    "leadlex.max_people_per_value = 3",
    "leadlex.worker_naptime = 1",
    "leadlex.max_job_workers = 1",
    "leadlex.total_timeout = '2min'",
    "leadlex.provider_timeout = '1min'",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quality")
}

/// What ./run prints.
fn told(cluster: &Cluster) -> String {
    let mut run = Command::new(folder().join("run"));
    let psql = PathBuf::from(cluster.command("psql", "postgres").get_program());
    cluster.files().address(&mut run);
    let path = std::env::var("PATH").unwrap_or_default();
    if let Some(bin) = psql.parent().filter(|bin| bin.is_absolute()) {
        run.env("PATH", format!("{}:{path}", bin.display()));
    }
    let output = run.output().expect("the example can be started");
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(errors, "", "{text}");
    text
}

/// Lines without what psql puts behind their end.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The figures of a text, with their commas.
fn figures(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_digit() || c == ',';
    let figures = text.split(move |c| !is_part(c)).map(|part| part.trim_matches(',').to_owned());
    figures.filter(|figure| !figure.is_empty())
}

/// What became of the jobs, and the log's warnings: why a run was otherwise.
fn why(cluster: &Cluster) -> String {
    let sql = "SELECT format('priority %s: %s %s after %s attempts, begun %s to %s: %s', priority, count(*), outcome, attempts,
                             min(started_at)::time, max(started_at)::time, coalesce(last_error, 'no error'))
               FROM leadlex.job GROUP BY priority, outcome, attempts, last_error ORDER BY min(started_at)";
    let jobs = cluster.connect("quality").query(sql, &[]).unwrap();
    let jobs = jobs.iter().map(|row| row.get::<_, String>(0));
    let log = cluster.log();
    let is_bad = |line: &&str| line.contains("WARNING") || line.contains("ERROR");
    jobs.chain(log.lines().filter(is_bad).map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_shows_what_its_readme_says() {
    let cluster = Cluster::start_with(&SETTINGS);
    let told = trimmed(&told(&cluster));
    let readme = page("examples/quality/README.md").text;
    let script = std::fs::read_to_string(folder().join("quality.sql")).unwrap();
    let mut shown = 0;
    for (line, part) in parts(&readme) {
        let Part::Fence { language, text } = part else { continue };
        let (place, source) = match language.as_str() {
            "text" => (&told, "the run prints"),
            "sql" => (&script, "quality.sql has"),
            _ => continue,
        };
        shown += usize::from(language == "text");
        let shown = trimmed(&text);
        // CI shows the end of what is printed.
        assert!(place.contains(&shown), "{told}\n\n{}\n\nline {line}: {source} not:\n{text}", why(&cluster));
    }
    assert!(shown >= 10, "only {shown} results are shown");
    let known: Vec<String> = figures(&told).chain(figures(&script)).collect();
    for (line, text) in prose(&readme) {
        let text = text
            .split("](")
            .map(|part| part.split_once(')').map_or(part, |(_, rest)| rest))
            .collect::<String>();
        for figure in figures(&text) {
            let plain = figure.replace(',', "");
            assert!(known.contains(&plain), "line {line}: {figure} is not in the run:\n{told}");
        }
    }
}
