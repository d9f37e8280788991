//! The harness itself: were it to lie, every other test would.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xtask::postgres::{Server, cluster};

use crate::support::{After, Behaviour, Cluster, Provider, Response, Stop, person, server};

#[test]
fn a_cluster_preloads_the_extension() {
    let cluster = Cluster::start();
    let mut client = cluster.database("app");
    let loaded: String = client.query_one("SHOW shared_preload_libraries", &[]).unwrap().get(0);
    assert_eq!(loaded, "leadlex_enrich");
    let version: String = client
        .query_one("SELECT extversion FROM pg_extension WHERE extname = 'leadlex_enrich'", &[])
        .unwrap()
        .get(0);
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_cluster_keeps_what_was_committed_across_every_kind_of_stop() {
    let cluster = Cluster::start();
    cluster.connect("postgres").batch_execute("CREATE TABLE kept (how text)").unwrap();
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        cluster.connect("postgres").execute("INSERT INTO kept VALUES ($1)", &[&format!("{how:?}")]).unwrap();
        cluster.restart(how);
    }
    let mut client = cluster.connect("postgres");
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    cluster.kill9(pid);
    super::support::eventually("the killed session is gone", Duration::from_secs(10), || {
        client.is_valid(Duration::from_secs(1)).is_err()
    });
    cluster.wait_until_ready();
    let rows: i64 = cluster.connect("postgres").query_one("SELECT count(*) FROM kept", &[]).unwrap().get(0);
    assert_eq!(rows, 3);
    assert!(cluster.log().contains("terminated by signal 9"), "the crash is in the log");
}

#[test]
fn settings_can_be_changed_while_it_runs() {
    let cluster = Cluster::start_with(&["work_mem = '5MB'"]);
    cluster.set("work_mem", "7MB");
    let work_mem: String = cluster.connect("postgres").query_one("SHOW work_mem", &[]).unwrap().get(0);
    assert_eq!(work_mem, "7MB");
}

#[test]
fn a_standby_follows() {
    let primary = Cluster::start();
    let standby = primary.standby(&[]);
    primary.connect("postgres").batch_execute("CREATE TABLE t AS SELECT 1 AS x").unwrap();
    super::support::eventually("the table arrives", Duration::from_secs(20), || {
        standby.connect("postgres").query("SELECT x FROM t", &[]).is_ok_and(|rows| rows.len() == 1)
    });
}

/// The installation under test with a run directory of its own, which is gone when this is dropped.
struct Apart(Server);

impl Apart {
    fn new(name: &str) -> Apart {
        let run_dir = server().run_dir.join(format!("apart-{}-{name}", std::process::id()));
        server().make_dir(&run_dir).unwrap();
        Apart(Server { run_dir, ..server().clone() })
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0.run_dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.run_dir);
    }
}

#[test]
fn one_template_is_made_for_all_who_need_it_at_once() {
    let apart = Apart::new("template");
    let dir = &apart.0.run_dir;
    // Of another installation, and what a killed process left.
    for old in [format!("template-{}-0", apart.0.major), format!("template-{}-1.new", apart.0.major)] {
        fs::create_dir_all(dir.join(old).join("data")).unwrap();
    }
    let copies: Vec<PathBuf> = (0..6).map(|number| dir.join(format!("copy-{number}"))).collect();
    std::thread::scope(|scope| {
        for copy in &copies {
            scope.spawn(|| apart.0.copy_template(copy).unwrap());
        }
    });
    // Each initdb gives another system identifier, which stands at the beginning.
    let identifier = |copy: &PathBuf| fs::read(copy.join("global/pg_control")).unwrap()[..8].to_vec();
    assert!(copies.iter().all(|copy| identifier(copy) == identifier(&copies[0])));
    let templates = apart.names().into_iter().filter(|name| name.starts_with("template-"));
    assert_eq!(templates.filter(|name| !name.ends_with(".lock")).count(), 1, "{:?}", apart.names());
}

#[test]
fn a_server_that_another_process_left_is_stopped_and_no_other_process_is() {
    let apart = Apart::new("left");
    let none: [&str; 0] = [];
    let left = xtask::postgres::Cluster::create(&apart.0, "left", &none).unwrap();
    left.append_conf(&left.place()).unwrap();
    let mut child = left.start(apart.0.command("postgres")).unwrap();
    let pid = child.id();
    // It is this process's child here, so its end must be waited for.
    let waiting = std::thread::spawn(move || child.wait().unwrap());
    assert_eq!(cluster::stop(&left.dir), Ok(true));
    assert!(waiting.join().unwrap().success() && !xtask::process::is_running(pid));
    assert_eq!(cluster::stop(&left.dir), Ok(false));
    // A number that is this process's by now.
    fs::write(left.data().join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    assert_eq!(cluster::stop(&left.dir), Ok(false));
    cluster::remove(&left.dir).unwrap();
    assert!(!left.dir.exists());
}

/// What arrives for one GET; the connection is left open for another.
fn get(stream: &mut TcpStream, path: &str) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut bytes = vec![0; 64 * 1024];
    let length = stream.read(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn connect(provider: &Provider) -> TcpStream {
    TcpStream::connect(("127.0.0.1", provider.port())).unwrap()
}

#[test]
fn a_provider_answers_counts_and_keeps_connections_alive() {
    let provider = Provider::start();
    provider.on("/none", |_| Behaviour::json(404, serde_json::json!({"error": "none"})));
    let mut stream = connect(&provider);
    let answer =
        String::from_utf8(get(&mut stream, "/some?email=jane%40acme.example&name=Jane+Doe").unwrap())
            .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&person().to_string()), "{answer}");
    let answer = String::from_utf8(get(&mut stream, "/none").unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");

    assert_eq!((provider.count(), provider.count_of("/none"), provider.connections()), (2, 1, 1));
    let first = provider.requests().remove(0);
    assert_eq!((first.param("email"), first.param("name")), (Some("jane@acme.example"), Some("Jane Doe")));
    assert_eq!((first.method.as_str(), first.header("HOST")), ("GET", Some("x")));
}

#[test]
fn a_provider_misbehaves_as_told() {
    let provider = Provider::start();
    let response = Response::json(200, &person());
    let whole = response.to_bytes().len();
    provider.on("/close", |_| Behaviour::Close);
    provider.on("/reset", |_| Behaviour::Reset);
    provider.on("/late", |_| Behaviour::json(200, person()).after(Duration::from_millis(200)));
    provider.on("/half", move |_| Behaviour::HalfBody(response.clone(), After::Close));

    assert_eq!(get(&mut connect(&provider), "/close").unwrap().len(), 0);
    let reset = get(&mut connect(&provider), "/reset").unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    let started = Instant::now();
    get(&mut connect(&provider), "/late").unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200));
    let mut half = connect(&provider);
    let mut bytes = get(&mut half, "/half").unwrap();
    half.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() < whole && bytes.len() > whole / 2, "{} of {whole}", bytes.len());
}

#[test]
fn a_provider_that_never_answers_lets_go_when_dropped() {
    let provider = Provider::start();
    provider.always(|_| Behaviour::Never);
    let mut stream = connect(&provider);
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    provider.wait_for(1, Duration::from_secs(5));
    assert_eq!(provider.in_flight(), 1);
    drop(provider);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed, not answered");
}
