//! make demo: its stories are told to the end, and the statements of its page can be typed after it.

use std::io::{Read, Write, pipe};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use xtask::demo::{STORIES, Story, Vendors};

use super::blocks::{is_after_demo, pieces, wrong};
use super::people::{People, Phones};
use super::played::ADDRESS;
use super::vendor::Vendor;
use super::{manual, page, root};
use crate::support::{Cluster, eventually, http};

/// Tests have another one; `make demo` has none.
const SETTINGS: [&str; 1] = ["leadlex.max_people_per_value = 3"];
const COLUMNS: usize = 130;

/// Of the sample provider, with answers that take so long; it lasts as long as the tests. Returns its address.
fn vendors(delay: Duration) -> String {
    let read = |name: &str| std::fs::read_to_string(root().join("tests/sample_provider").join(name)).unwrap();
    let people = People::parse(&read("people.json")).unwrap();
    let phones = Phones::parse(&read("phones.json")).unwrap();
    let vendor = Arc::new(Vendor { people, phones, key: "demo-secret".to_owned(), delay });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || http::serve(&listener, &vendor));
    format!("http://{address}")
}

/// What psql writes, also to its standard error.
fn told(story: &Story, cluster: &Cluster, vendors: &Vendors) -> String {
    let (mut psql, script) = story.psql(cluster.files(), vendors, COLUMNS).unwrap();
    let (mut reader, writer) = pipe().unwrap();
    psql.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = psql.spawn().unwrap();
    // It holds the pipe's other end.
    drop(psql);
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    writing.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

/// Each, with the lines of tables that are cut, or go on below.
fn broken_cells(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains('│') && line.contains('…')).collect()
}

#[test]
fn the_stories_are_told_and_the_page_goes_on_from_there() {
    let cluster = Cluster::start_with(&SETTINGS);
    let vendors = Vendors { quick: vendors(Duration::ZERO), slow: vendors(Duration::from_millis(50)) };
    let texts = STORIES.map(|story| told(&story, &cluster, &vendors));
    let [crm, sales, saas] = &texts;
    for text in &texts {
        assert_eq!(broken_cells(text), Vec::<&str>::new());
        let errors = text.lines().filter(|line| line.starts_with("ERROR:")).count();
        assert_eq!(errors, usize::from(std::ptr::eq(text, saas)), "{text}");
    }
    assert!(crm.contains("Chief Financial Officer"), "{crm}");
    for words in [
        "skipped │ credits run out │        8",
        " pdl    │ phone        │ phonebook ",
        "FROM leadlex.progress;\n    relation     │ done",
        "revert_enrichment",
        " charged  │    20 │     -20",
    ] {
        assert!(sales.contains(words), "no {words:?} in\n{sales}");
    }
    for code in ["400 ", "401 ", "402 ", "403 ", "404 ", "409 ", "422 ", "429 ", "503 "] {
        assert!(saas.lines().any(|line| line.starts_with(code)), "no {code} in\n{saas}");
    }

    let pages: Vec<_> = manual().into_iter().filter(is_after_demo).collect();
    assert_eq!(pages.iter().map(|page| page.path.to_str().unwrap()).collect::<Vec<_>>(), ["docs/demo.md"]);
    let page = page("docs/demo.md");
    let (pieces, skipped) = pieces(&page);
    assert!(pieces.len() >= 7 && skipped.is_empty(), "{} pieces", pieces.len());
    let wrong = wrong(&page, cluster.command("psql", "crm"), &pieces, ADDRESS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    the_page_did_what_it_says(&cluster);
}

/// What the page promises beside that no statement fails.
fn the_page_did_what_it_says(cluster: &Cluster) {
    let mut sales = cluster.connect("sales");
    let mut one = |sql: &str| -> i64 { sales.query_one(sql, &[]).unwrap().get(0) };
    assert_eq!(one("SELECT count(*) FROM leadlex.enrichment WHERE source = 'phonebook'"), 3);
    assert_eq!(one("SELECT count(*) FROM leadlex.enrichment WHERE reverted_at IS NOT NULL"), 2);
    eventually("the queue is done", Duration::from_secs(30), || {
        one("SELECT count(*) FROM leadlex.job WHERE state <> 'done'") == 0
    });
    assert_eq!(
        one("SELECT ((SELECT sum(amount) FROM leadlex.credit_ledger) - leadlex.credits())::bigint"),
        0
    );
}
