//! What is said is short, and names what it is about.

use crate::support::{Behaviour, fails};
use crate::world::{Beginning, PATH, World, contact};

#[test]
fn a_long_id_is_not_repeated_whole() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE by_text (id text PRIMARY KEY, email text, phone text); GRANT SELECT, UPDATE ON by_text TO caller;
         SELECT leadlex.bind_contacts('by_text', workspace_id => '{}')",
        world.workspace
    ));
    let mut caller = world.caller();
    let long = "é9".repeat(500_000);
    for table in ["crm", "by_text"] {
        for sql in
            ["SELECT enrich_row($1::text::regclass, $2)", "SELECT leadlex.forget_row($1::text::regclass, $2)"]
        {
            if table == "by_text" && sql.contains("forget") {
                continue;
            }
            let failure = fails(caller.query(sql, &[&table, &long]));
            assert!(failure.sqlstate.starts_with("LX40"), "{}", failure.sqlstate);
            assert!(failure.everything().len() < 2_000, "{} bytes", failure.everything().len());
            assert!(failure.message.contains("é9é9"), "its beginning: {}", failure.message);
        }
        let sql = "SELECT error_message FROM enrich_rows($1::text::regclass, ARRAY[$2])";
        let message: String = caller.query_one(sql, &[&table, &long]).unwrap().get(0);
        assert!(message.len() < 500 && message.contains("é9é9"), "{} bytes", message.len());
    }
    let sql = "SELECT enrich_contact($1, ARRAY[$2])";
    let failure = fails(caller.query(sql, &[&contact(1), &long]));
    assert!(failure.sqlstate == "LX400" && failure.everything().len() < 2_000);
}

#[test]
fn a_workspace_has_a_name_that_can_be_read() {
    let world = World::new();
    let mut owner = world.owner();
    let mut made = |name: &str| owner.query_one("SELECT leadlex.create_workspace($1)", &[&name]).map(|_| ());
    for name in [
        "x".repeat(201),
        "x".repeat(100_000),
        "acme\u{200b}".to_owned(),
        "\u{feff}acme".to_owned(),
        "ac\u{202e}me".to_owned(),
        "ac\u{ad}me".to_owned(),
        "acme\n".to_owned(),
        "ac\tme".to_owned(),
        "acme\u{2028}".to_owned(),
        "acme\u{e0041}".to_owned(),
        "\u{3164}".to_owned(),
        "\u{a0}\u{2003}".to_owned(),
    ] {
        let failure = fails(made(&name));
        assert_eq!(
            failure.sqlstate,
            "22023",
            "{}: {failure:?}",
            name.escape_unicode().take(60).collect::<String>()
        );
        assert!(failure.message.len() < 300);
    }
    for name in [
        "x".repeat(200),
        "Müller & Söhne".to_owned(),
        "株式会社アクメ".to_owned(),
        "شركة أكمي".to_owned(),
        "team 🚀".to_owned(),
    ] {
        made(&name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[test]
fn a_batch_says_why_providers_could_not_answer() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        "person1@acme.example" => Behaviour::json(500, serde_json::json!({})),
        _ => Behaviour::json(402, serde_json::json!({})),
    });
    let (mut caller, told) = world.listening("caller");
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    let ids: Vec<String> = (1..=3).map(|n| contact(n).to_string()).collect();
    caller.execute("CALL leadlex.enrich_batch('crm', $1, chunk => 1)", &[&ids]).unwrap();
    let told = told.messages().join("\n");
    assert!(told.contains("1 provider_unavailable: server_error"), "{told}");
    assert!(told.contains("2 provider_unavailable: quota"), "{told}");
}

#[test]
fn a_secret_that_cannot_be_read_names_its_provider_and_what_is_wrong() {
    let world = World::new();
    world.run("SELECT leadlex.alter_provider('main', secret => 'file:/nowhere/secret')");
    let failure = fails(world.caller().query("SELECT enrich_contact($1)", &[&contact(1)]));
    assert_eq!(failure.sqlstate, "LX503");
    let told = failure.everything();
    assert!(!told.contains("entity not found") && !told.contains("/nowhere"), "{told}");
    assert!(
        failure.message.contains("the secret of provider main") && told.contains("No such file"),
        "{told}"
    );
}

/// Counts are for monitoring; texts and people are not.
#[test]
fn pg_monitor_sees_counts_without_texts() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.run("CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN");
    world.provider.on(PATH, |_| Behaviour::json(500, serde_json::json!({})));
    let _ = world.caller().query("SELECT enrich_contact($1)", &[&contact(1)]);
    world.run("SELECT leadlex.pause_queue()");
    world
        .caller()
        .execute("SELECT leadlex.enqueue(ARRAY[$1, $2]::uuid[])", &[&contact(1), &contact(2)])
        .unwrap();
    let queued = "SELECT queued::int8 FROM leadlex.queue";
    let of = |role: &str, sql: &str| {
        let mut client = world.cluster.connect_as("app", role);
        client.query(sql, &[]).unwrap().iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>()
    };
    assert_eq!(
        (of("watcher", queued), of("caller", queued), of("stranger", queued)),
        (vec![2], vec![2], vec![0])
    );
    let calls = "SELECT calls FROM leadlex.provider_stats WHERE name = 'main'";
    assert_eq!((of("watcher", calls), of("stranger", calls)), (vec![1], vec![]));
    let mut watcher = world.cluster.connect_as("app", "watcher");
    let row = watcher
        .query_one(
            "SELECT failures, last_error, last_error_at IS NOT NULL, cost FROM leadlex.provider_stats",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    assert_eq!((row.get::<_, Option<&str>>(1), row.get::<_, bool>(2)), (None, true));
    assert_eq!(row.get::<_, Option<f64>>(3), None, "the vendor says nothing of cost");
    let mut owner = world.owner();
    let row = owner.query_one("SELECT last_error, cost FROM leadlex.provider_stats", &[]).unwrap();
    assert!(row.get::<_, Option<&str>>(0).is_some() && row.get::<_, Option<f64>>(1).is_none());
    assert_eq!(of("watcher", "SELECT count(*) FROM leadlex.job"), [0], "no contacts");
}

/// What a vendor reports as nothing is nothing; what it does not report is not known.
#[test]
fn a_cost_of_zero_is_told_from_none() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    let mut config = world.provider.config("/free");
    config["response"]["cost"] = serde_json::json!({"pointer": "/spent"});
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("free", &config);
    let cost = || -> Option<f64> {
        let mut owner = world.owner();
        owner.query_one("SELECT cost FROM leadlex.provider_stats", &[]).unwrap().get(0)
    };
    assert_eq!(cost(), None);
    world.provider.on("/free", |_| {
        let mut body = crate::world::only_phone("+15550100100");
        body["spent"] = 0.into();
        Behaviour::json(200, body)
    });
    world.caller().query("SELECT enrich_contact($1)", &[&contact(1)]).unwrap();
    assert_eq!(cost(), Some(0.0));
    world.settle();
    crate::support::eventually("it is recorded", std::time::Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.provider_tally WHERE what = 'cost'") == 1
    });
    world.cluster.restart(crate::support::Stop::Fast);
    assert_eq!(cost(), Some(0.0), "after a restart, too");
}
