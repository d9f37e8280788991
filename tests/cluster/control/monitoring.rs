//! docs/monitoring: the exporter's configuration against a real exporter and server, and what the dashboard and the alerts say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Response, eventually};
use crate::world::{Beginning, PATH, World, contact};

pub const SOON: Duration = Duration::from_secs(30);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join("docs/monitoring").join(name)).unwrap()
}

/// `None`: there is no package.
pub fn exporter() -> Option<PathBuf> {
    // Once for all tests: the one would start what the other is still unpacking.
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| find(&["prometheus-sql-exporter"], "prometheus-sql-exporter", "sql-exporter"))
        .clone()
}

/// A program of the first of these packages that has it: the system's, or one unpacked under target/tools.
pub fn find(packages: &[&str], program: &str, folder: &str) -> Option<PathBuf> {
    let installed = PathBuf::from(format!("/usr/bin/{program}"));
    let dir = root().join("target/tools").join(folder);
    let unpacked = dir.join(format!("usr/bin/{program}"));
    let found = || [&installed, &unpacked].into_iter().find(|path| path.exists()).cloned();
    if found().is_some() {
        return found();
    }
    std::fs::create_dir_all(&dir).unwrap();
    for package in packages {
        let script = format!("apt-get download -q {package} && dpkg-deb -x {package}_*.deb .");
        let got = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().unwrap();
        if found().is_some() {
            return found();
        }
        let why = String::from_utf8_lossy(&got.stderr);
        let _ = writeln!(std::io::stderr(), "no {program} in a package {package} of this Debian: {why}");
    }
    let _ = writeln!(std::io::stderr(), "skipped: this Debian gives no {program}");
    None
}

/// Ends with the test.
pub struct Exporter {
    process: Child,
    port: u16,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Exporter {
    /// With the configuration of the docs; only where and how often to look is another.
    pub fn start(program: &Path, world: &World) -> Exporter {
        let (dir, port) = (world.cluster.socket_dir().display(), world.cluster.port());
        let there = format!("postgres://leadlex_monitor@/app?host={dir}&port={port}&sslmode=disable");
        let shown = "postgres://leadlex_monitor@localhost:5432/app?sslmode=disable";
        let text = file("sql-exporter.yml");
        assert!(text.contains(shown) && text.contains("interval: 15s"));
        let config = world.cluster.dir().join("sql-exporter.yml");
        std::fs::write(&config, text.replace(shown, &there).replace("interval: 15s", "interval: 1s"))
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .arg(format!("-config.file={}", config.display()))
            .arg(format!("-web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Exporter { process, port }
    }

    /// What Prometheus would read; empty as long as nobody answers.
    pub fn scrape(&self) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return String::new() };
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

/// One number of a scrape: its name, the labels as they stand, and the value.
pub fn samples(scrape: &str) -> Vec<(String, String, f64)> {
    let sample = |line: &str| {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = head.split_once('{')?;
        let ours = name.starts_with("sql_leadlex_");
        ours.then(|| Some((name.to_owned(), labels.trim_end_matches('}').to_owned(), value.parse().ok()?)))?
    };
    scrape.lines().filter_map(sample).collect()
}

/// The number of this metric and column, with a further label where there are several.
pub fn value(scrape: &str, name: &str, col: &str, label: &str) -> Option<f64> {
    let is = |labels: &str| labels.contains(&format!("col=\"{col}\"")) && labels.contains(label);
    samples(scrape).into_iter().find(|(n, labels, _)| n == name && is(labels)).map(|(.., value)| value)
}

/// Name and column of each metric that a text asks for.
fn asked(text: &str) -> BTreeSet<(String, String)> {
    text.split("sql_leadlex_")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once('{').expect("a metric with its column");
            let col =
                rest.split_once("col=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a column").0;
            (format!("sql_leadlex_{name}"), col.to_owned())
        })
        .collect()
}

fn exprs(dashboard: &Value) -> String {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

fn begin() -> World {
    let conf = &["leadlex.breaker_failures = 0", "leadlex.max_parallel_requests = 2"];
    let world = World::with(&Beginning { contacts: 400, credits: Some(300), conf, ..Beginning::default() });
    let mut config = world.provider.config(PATH);
    config["response"]["balance"] = json!({"header": "X-Credits-Left"});
    config["price"] = json!({"currency": "USD", "per_match": 0.10});
    world.run("SELECT leadlex.drop_provider('main'); CREATE ROLE leadlex_monitor LOGIN IN ROLE pg_monitor");
    world.add_provider("main", &config);
    world.run("SELECT leadlex.set_budget(NULL, 'day', 40.00)");
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default().to_owned();
        let digits: usize =
            email.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        let body = match digits % 10 {
            0 => return Behaviour::json(404, json!({})).after(Duration::from_millis(60)),
            1 => return Behaviour::json(500, json!({})).after(Duration::from_millis(90)),
            _ => json!({"likelihood": 9, "data": {"phone": format!("+1202555 {email}")}}),
        };
        let answer = Response::json(200, &body).with_header("X-Credits-Left", &(5_000 - digits).to_string());
        Behaviour::Answer(answer).after(Duration::from_millis(100 + 5 * (digits as u64 % 30)))
    });
    world
}

/// Everything that the dashboard and the alerts ask for is scraped, and says what is the case.
#[test]
fn a_real_exporter_scrapes_all_that_is_asked_for() {
    let Some(program) = exporter() else { return };
    let world = begin();
    world.run("SELECT leadlex.pause_queue()");
    let (mut caller, ids) = (world.caller(), (1..=20).map(contact).collect::<Vec<Uuid>>());
    caller.execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    caller.execute("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).unwrap();
    let spent = "SELECT coalesce(sum(cost) * 10, 0)::int8 FROM leadlex.spend";
    eventually("spend is written", SOON, || world.number(spent) == 16);
    world.run("SELECT leadlex.stop('for the test')");
    let exporter = Exporter::start(&program, &world);
    let mut scrape = String::new();
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let wanted: BTreeSet<_> = asked(&exprs(&dashboard)).union(&asked(&file("alerts.yml"))).cloned().collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing = |scrape: &str| {
        let there = |(name, col): &&(String, String)| value(scrape, name, col, "").is_none();
        wanted.iter().filter(there).cloned().collect::<Vec<_>>()
    };
    eventually("all is scraped", SOON, || {
        scrape = exporter.scrape();
        // What was used is written after what was spent.
        missing(&scrape).is_empty()
            && value(&scrape, "sql_leadlex_requests", "stopped", "") == Some(1.0)
            && value(&scrape, "sql_leadlex_worth", "used", "provider=\"main\"") == Some(16.0)
    });
    let is = |name: &str, col: &str, label: &str| value(&scrape, name, col, label).unwrap_or(f64::NAN);
    assert_eq!(is("sql_leadlex_queue", "queued", ""), 20.0);
    assert_eq!(is("sql_leadlex_queue", "paused", ""), 1.0);
    assert_eq!(is("sql_leadlex_provider", "matches", "provider=\"main\""), 16.0);
    assert_eq!(is("sql_leadlex_provider", "failed", "provider=\"main\""), 2.0);
    assert_eq!(is("sql_leadlex_provider", "ended", "provider=\"main\""), 20.0);
    assert_eq!(is("sql_leadlex_credits", "left", "workspace=\"acme\""), 300.0 - 16.0);
    assert_eq!(is("sql_leadlex_problems", "problems", "severity=\"error\""), 1.0, "stopped");
    assert!((4_980.0..5_000.0).contains(&is("sql_leadlex_vendor_balance", "balance", "")));
    assert_eq!(is("sql_leadlex_events", "count", "event=\"stopped\""), 1.0);
    assert_eq!(is("sql_leadlex_budget", "used", "provider=\"all\""), 1.6);
    assert_eq!(is("sql_leadlex_budget", "part", "period=\"day\""), 0.04);
    assert_eq!(is("sql_leadlex_spend", "cost", "provider=\"main\""), 1.6);
    assert_eq!(is("sql_leadlex_worth", "used", "provider=\"main\""), 16.0);
    assert_eq!(is("sql_leadlex_quality", "hit_rate", "field=\"phone\""), 16.0 / 18.0);
    // What is gone is told no longer, also where nothing of its kind is left.
    world.run("SELECT leadlex.set_budget(b.provider, b.period, NULL, b.workspace_id, b.currency) FROM leadlex.budget AS b");
    eventually("the budget is not told any more", SOON, || {
        scrape = exporter.scrape();
        value(&scrape, "sql_leadlex_budget", "used", "provider=\"all\"").is_none()
            && value(&scrape, "sql_leadlex_budget", "used", "provider=\"none\"").is_some_and(f64::is_nan)
    });
}

/// Each panel of the dashboard, as it looks after a short run. LEADLEX_PICTURE names the file to write.
#[test]
fn the_panels_can_be_drawn_from_a_run() {
    let Some(program) = exporter() else { return };
    let world = begin();
    let exporter = Exporter::start(&program, &world);
    eventually("it answers", SOON, || !samples(&exporter.scrape()).is_empty());
    let long = std::env::var_os("LEADLEX_PICTURE").is_some();
    let work = thread::spawn({
        let (mut caller, mut owner) = (world.caller(), world.owner());
        let ids: Vec<Uuid> = (1..=if long { 400 } else { 60 }).map(contact).collect();
        move || {
            caller.execute("SELECT leadlex.enqueue($1)", &[&ids[..ids.len() / 2].to_vec()]).unwrap();
            for part in ids[ids.len() / 2..].chunks(30) {
                caller.execute("SELECT count(*) FROM enrich_contacts($1)", &[&part.to_vec()]).unwrap();
            }
            owner.batch_execute("SELECT leadlex.stop('enough')").unwrap();
        }
    });
    let mut scrapes = Vec::new();
    while scrapes.len() < 6 || !work.is_finished() {
        scrapes.push(samples(&exporter.scrape()));
        thread::sleep(Duration::from_secs(1));
    }
    work.join().unwrap();
    (0..3).for_each(|_| {
        thread::sleep(Duration::from_secs(1));
        scrapes.push(samples(&exporter.scrape()));
    });
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let picture = draw(&dashboard, &scrapes);
    let panels = dashboard["panels"].as_array().unwrap().len();
    assert_eq!(picture.matches("<g class=\"panel\">").count(), panels);
    assert!(picture.matches("<polyline").count() >= panels, "{picture}");
    if let Some(path) = std::env::var_os("LEADLEX_PICTURE") {
        std::fs::write(path, picture).unwrap();
    }
}

const COLOURS: [&str; 6] = ["#3b7dd8", "#2a9d55", "#d8743b", "#a05bc0", "#c0392b", "#7f8c8d"];

/// The lines of one expression over time: their labels and values. `rate(…[…])` is the change from scrape to scrape.
fn lines(expr: &str, scrapes: &[Vec<(String, String, f64)>]) -> Vec<(String, Vec<f64>)> {
    let (name, col) = asked(expr).pop_first().unwrap();
    let is = |n: &str, labels: &str| n == name && labels.contains(&format!("col=\"{col}\""));
    let all = scrapes.iter().flatten().filter(|(n, labels, _)| is(n, labels));
    let labels: BTreeSet<&String> = all.map(|(_, labels, _)| labels).collect();
    labels
        .into_iter()
        .map(|labels| {
            let at = |s: &Vec<(String, String, f64)>| {
                s.iter().find(|(n, l, _)| *n == name && l == labels).map_or(0.0, |(.., value)| *value)
            };
            let values: Vec<f64> = scrapes.iter().map(at).collect();
            let rates = || values.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0)).collect();
            let of = |key: &str| {
                let (_, rest) = labels.split_once(&format!("{key}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let keys = ["provider", "severity", "workspace", "part", "event"];
            let told = keys.iter().find_map(|key| Some((*key, of(key)?)));
            let told = match (told, of("field").or_else(|| of("period"))) {
                (Some(("part", told)), _) => told,
                (Some((_, told)), Some(more)) => format!("{told} {more}"),
                (Some((_, told)), None) => format!("{told} {col}"),
                (None, _) => col.clone(),
            };
            (told, if expr.starts_with("rate(") { rates() } else { values })
        })
        .collect()
}

fn draw(dashboard: &Value, scrapes: &[Vec<(String, String, f64)>]) -> String {
    const WIDTH: usize = 400;
    const HEIGHT: usize = 220;
    let panels = dashboard["panels"].as_array().unwrap();
    let rows = panels.len().div_ceil(3);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        3 * WIDTH,
        rows * HEIGHT
    );
    for (at, panel) in panels.iter().enumerate() {
        let (x, y) = ((at % 3) * WIDTH, (at / 3) * HEIGHT);
        let found: Vec<(String, Vec<f64>)> = panel["targets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|target| lines(target["expr"].as_str().unwrap(), scrapes))
            .collect();
        let most = found.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max).max(1e-9);
        let title = panel["title"].as_str().unwrap();
        let _ = writeln!(
            svg,
            "<g class=\"panel\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#f7f8fa\" stroke=\"#d0d4da\"/><text x=\"{}\" y=\"{}\" font-weight=\"bold\">{title}</text><text x=\"{}\" y=\"{}\" fill=\"#666666\">{most:.1}</text>",
            x + 4,
            y + 4,
            WIDTH - 8,
            HEIGHT - 8,
            x + 12,
            y + 20,
            x + 12,
            y + 36
        );
        for (n, (label, values)) in found.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let step = (WIDTH - 40) as f64 / (values.len().max(2) - 1) as f64;
            let points: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(i, v)| {
                    format!(
                        "{:.0},{:.0}",
                        x as f64 + 20.0 + i as f64 * step,
                        y as f64 + 150.0 - v / most * 108.0
                    )
                })
                .collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
                points.join(" ")
            );
            if n < 6 {
                let last = values.last().copied().unwrap_or_default();
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{label}: {last:.1}</text>",
                    x + 12 + (n % 2) * 190,
                    y + 170 + (n / 2) * 15
                );
            }
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}
