//! Who is on the suppression list in whatever spelling, who is not although they share a value, and how long.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::people_question::{ADDRESSES, PROFILES, hash, in_a_set, lines, set, world};
use crate::support::{Behaviour, eventually, fails};
use crate::world::{PATH, World, contact, enrich, try_enrich};

fn suppressed(error: &Value) -> bool {
    error["code"] == "no_match" && error["reason"] == "suppressed"
}

/// Whoever has this name is refused; others are known.
fn refuse(world: &World, name: &'static str) {
    world.provider.on(PATH, move |request| match request.param("name").unwrap_or_default() {
        asked if asked == name => {
            Behaviour::json(451, json!({"status": 451, "error": {"type": "opt_out", "message": "GDPR"}}))
        }
        asked => {
            Behaviour::json(200, json!({"likelihood": 9, "data": {"job_title": format!("Title of {asked}")}}))
        }
    });
}

fn entries(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.suppression")
}

fn listed(world: &World) {
    eventually("the refusal is in the tables", Duration::from_secs(20), || entries(world) > 0);
}

fn one<T: for<'a> postgres::types::FromSql<'a>>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[test]
fn a_refusal_is_kept_for_the_same_contact_and_meets_nobody_who_shares_a_value() {
    let world = world(4);
    refuse(&world, "Jane Doe");
    let mut caller = world.caller();
    let asked_by: [&[(&str, &str)]; 9] = [
        &[("email", "N/A")],
        &[("email", "unknown")],
        &[("email", "info@acme.example")],
        &[("phone", "000-000-0000")],
        &[("phone", "+1 202 555 0123")],
        &[("linkedin_url", "TBD")],
        &[("linkedin_url", "https://www.linkedin.com/company/acme")],
        &[("phone", "12345")],
        &[("location", "Oslo")],
    ];
    for values in asked_by {
        world.provider.forget();
        for (n, name) in [(1, "Jane Doe"), (2, "John Roe"), (3, "Ada Poe")] {
            world.run(&format!(
                "UPDATE crm SET email = NULL, phone = NULL, linkedin_url = NULL, location = NULL, job_title = NULL WHERE id = '{}'",
                contact(n)
            ));
            set(&world, n, &[("full_name", name), ("company_name", "Acme")]);
            set(&world, n, values);
        }
        assert!(suppressed(&try_enrich(&mut caller, 1)["error"]), "{values:?}");
        for again in 1..=2 {
            if again == 2 {
                listed(&world);
            }
            assert!(suppressed(&try_enrich(&mut world.caller(), 1)["error"]), "{values:?}");
            assert!(in_a_set(&mut caller, [1])[0].contains("no_match"), "{values:?}");
            assert_eq!(world.provider.count(), 1, "{values:?}: three calls, one request");
        }
        enrich(&mut caller, 2).unwrap();
        assert_eq!(in_a_set(&mut caller, [3]), ["enriched"], "{values:?}");
        assert_eq!(world.provider.count(), 3, "{values:?}: others are asked about");
        // However it was listed, it can be taken off.
        let lifted: i64 =
            one(&mut world.owner(), &format!("SELECT leadlex.unsuppress_contact('{}')", contact(1)));
        assert_eq!((lifted, entries(&world)), (1, 0), "{values:?}");
        let _ = try_enrich(&mut caller, 1);
        assert_eq!(world.provider.count(), 4, "{values:?}: it is asked about again");
        listed(&world);
        world.run("DELETE FROM leadlex.suppression; DELETE FROM leadlex.receipt");
    }
}

#[test]
fn a_telephone_number_alone_is_refused_for_its_row_alone() {
    let world = world(2);
    world.provider.on(PATH, |_| Behaviour::json(451, json!({"error": {"type": "opt_out"}})));
    for n in [1, 2] {
        set(&world, n, &[("phone", "+1 202 555 0123")]);
    }
    let mut caller = world.caller();
    for _ in 0..3 {
        assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    }
    assert_eq!(world.provider.count(), 1);
    listed(&world);
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    world.provider.on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"job_title": "CTO"}})));
    enrich(&mut caller, 2).unwrap();
    let lifted: i64 =
        one(&mut world.owner(), &format!("SELECT leadlex.unsuppress_row('crm', '{}')", contact(1)));
    assert_eq!(lifted, 1);
}

#[test]
fn one_entry_stops_every_spelling_of_a_profile_and_of_an_address() {
    for (text, column, values) in [
        (PROFILES, "linkedin_url", ["https://www.linkedin.com/in/jane-doe", "linkedin.com/in/Jane-Doe/"]),
        (ADDRESSES, "email", ["jane@acme.example", "Jane Doe <JANE@acme.example>"]),
    ] {
        let spellings = lines(text);
        let count = spellings.len() as i32;
        let world = world(count + 1);
        for (n, spelling) in (1..).zip(&spellings) {
            set(&world, n, &[(column, spelling)]);
        }
        set(&world, count + 1, &[("email", "other@acme.example")]);
        let mut owner = world.owner();
        let suppress = format!("SELECT leadlex.suppress('{}')", values[0]);
        assert!(one::<bool>(&mut owner, &suppress) && !one::<bool>(&mut owner, &suppress));
        let mut caller = world.caller();
        for (n, spelling) in (1..).zip(&spellings) {
            assert!(suppressed(&try_enrich(&mut caller, n)["error"]), "{spelling:?}");
        }
        let told = in_a_set(&mut caller, 1..=count);
        assert!(
            told.iter().all(|line| line.contains("no provider is to be asked about this person")),
            "{told:?}"
        );
        assert_eq!(world.provider.count(), 0);
        enrich(&mut caller, count + 1).unwrap();
        assert!(one::<bool>(&mut owner, &format!("SELECT leadlex.unsuppress('{}')", values[1])));
        enrich(&mut caller, 1).unwrap();
        // And one refusal is kept under all of them.
        eventually("the answers are in the tables", Duration::from_secs(20), || {
            world.number("SELECT count(*) FROM leadlex.receipt") == 2
        });
        world.run("DELETE FROM leadlex.receipt");
        world.provider.on(PATH, |_| Behaviour::json(451, json!({"error": {"type": "opt_out"}})));
        world.run("UPDATE crm SET job_title = NULL");
        world.provider.forget();
        let told = in_a_set(&mut caller, 2..=count);
        assert!(told.iter().all(|line| line.contains("no_match")), "{told:?}");
        caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
        for n in 2..=count {
            assert!(suppressed(&try_enrich(&mut caller, n)["error"]), "{:?}", spellings[n as usize - 1]);
        }
        assert_eq!(world.provider.count(), 1, "{column}");
    }
}

#[test]
fn gmail_and_tags_are_one_person() {
    let world = world(3);
    for (n, email) in
        [(1, "jane.doe+news@gmail.com"), (2, "JaneDoe@googlemail.com"), (3, "jane+x@acme.example")]
    {
        set(&world, n, &[("email", email)]);
    }
    world.run("SELECT leadlex.suppress_many('{j.a.n.e.doe@gmail.com, jane@acme.example}')");
    for n in 1..=3 {
        assert!(suppressed(&try_enrich(&mut world.caller(), n)["error"]), "{n}");
    }
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn only_values_that_stop_somebody_are_accepted() {
    let world = world(1);
    let mut owner = world.owner();
    for wrong in [
        "NULL",
        "''",
        "'N/A'",
        "'no address'",
        "'@x'",
        "'@co.uk'",
        "'a@b.example; c@d.example'",
        "'a@b.example c@d.example'",
        "'*@acme.example'",
        "'+1 202 555 0123'",
        "'Jane Doe'",
        "'https://www.linkedin.com/company/acme'",
    ] {
        for function in ["suppress", "unsuppress"] {
            let failure = fails(owner.batch_execute(&format!("SELECT leadlex.{function}({wrong})")));
            assert_eq!(failure.sqlstate, "22023", "{function} {wrong}: {failure:?}");
            assert!(failure.hint.is_some(), "{function} {wrong}");
        }
    }
    // All or none, and the position is named.
    let many = "SELECT leadlex.suppress_many(ARRAY['a@acme.example', 'N/A', 'b@acme.example'])";
    let failure = fails(owner.batch_execute(many));
    assert!(failure.sqlstate == "22023" && failure.message.contains("people[2]"), "{failure:?}");
    for wrong in ["NULL", "ARRAY['a@acme.example', NULL]"] {
        let failure = fails(owner.batch_execute(&format!("SELECT leadlex.suppress_many({wrong})")));
        assert_eq!(failure.sqlstate, "22023", "{wrong}");
    }
    assert_eq!(entries(&world), 0);
    let many = "SELECT leadlex.suppress_many(ARRAY['a@acme.example', 'A@acme.example', 'linkedin.com/in/ada', '@globex.example'], 'list')";
    assert_eq!((one::<i64>(&mut owner, many), one::<i64>(&mut owner, many)), (3, 0));
    // Nobody else may, as ever.
    for call in ["suppress('c@acme.example')", "suppress_many('{}')", "unsuppress('c@acme.example')"] {
        let failure = fails(world.caller().batch_execute(&format!("SELECT leadlex.{call}")));
        assert_eq!(failure.sqlstate, "42501", "{call}");
    }
    for call in
        [format!("unsuppress_contact('{}')", contact(1)), format!("unsuppress_row('crm', '{}')", contact(1))]
    {
        let failure = fails(world.caller().batch_execute(&format!("SELECT leadlex.{call}")));
        assert_eq!(failure.sqlstate, "42501", "{call}");
    }
    let gone = fails(owner.batch_execute(&format!("SELECT leadlex.unsuppress_contact('{}')", Uuid::nil())));
    assert_eq!(gone.sqlstate, "22023", "{gone:?}");
}

/// Severity, message and hint of what the owner is told.
fn told_by(world: &World, sql: &str) -> Vec<(String, String, Option<String>)> {
    let (mut owner, told) = world.listening("postgres");
    owner.batch_execute(sql).unwrap();
    told.all().into_iter().map(|notice| (notice.severity, notice.message, notice.hint)).collect()
}

#[test]
fn listing_a_whole_mail_service_is_told() {
    let world = world(1);
    let told = told_by(&world, "SELECT leadlex.suppress('@gmail.com')");
    let [(severity, message, hint)] = &told[..] else { panic!("{told:?}") };
    assert!(severity == "WARNING" && message.contains("mail service") && hint.is_some(), "{told:?}");
    let many =
        "SELECT leadlex.suppress_many(ARRAY['@acme.example', '@web.de', 'r*d@acme.example', '@gmx.net'])";
    let told = told_by(&world, many);
    let [(_, services, _), (severity, literal, _)] = &told[..] else { panic!("{told:?}") };
    assert!(services.starts_with("people[2] (and 1 more)"), "{told:?}");
    assert!(
        severity == "NOTICE" && literal.starts_with("people[3] ") && !literal.contains("acme"),
        "{told:?}"
    );
    for quiet in ["suppress('@acme.example')", "suppress('jane@gmail.com')", "unsuppress('@gmail.com')"] {
        assert_eq!(told_by(&world, &format!("SELECT leadlex.{quiet}")), [], "{quiet}");
    }
}

#[test]
fn whoever_is_asked_about_can_be_listed_and_taken_off() {
    let emails = [
        "r&d@acme.example",
        "a=b@acme.example",
        "a/b@acme.example",
        "a*b@acme.example",
        "{jane}@acme.example",
    ];
    let world = world(emails.len() as i32);
    let mut owner = world.owner();
    for (n, email) in (1..).zip(emails) {
        set(&world, n, &[("email", email)]);
        assert!(one::<bool>(&mut owner, &format!("SELECT leadlex.suppress('{email}')")), "{email}");
        assert!(suppressed(&try_enrich(&mut world.caller(), n)["error"]), "{email}");
        assert!(one::<bool>(&mut owner, &format!("SELECT leadlex.unsuppress('{email}')")), "{email}");
        enrich(&mut world.caller(), n).unwrap();
    }
    let sent: Vec<String> = world
        .provider
        .requests()
        .iter()
        .map(|request| request.param("email").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(sent[..4], emails[..4]);
    assert_eq!(sent[4], "jane@acme.example");
}

#[test]
fn whoever_stands_in_a_note_is_not_asked_about_until_they_are_lifted() {
    let world = world(2);
    set(
        &world,
        1,
        &[("full_name", "Jane Doe"), ("company_name", "Acme"), ("email", "jane [at] acme [dot] example")],
    );
    set(&world, 2, &[("email", "joe@acme.example (assistant: jane [at] acme [dot] example)")]);
    let mut owner = world.owner();
    assert!(one::<bool>(&mut owner, "SELECT leadlex.suppress('jane@acme.example')"));
    for n in 1..=2 {
        assert!(suppressed(&try_enrich(&mut world.caller(), n)["error"]), "{n}");
    }
    let lift = |n| format!("SELECT leadlex.unsuppress_contact('{}')", contact(n));
    let told = told_by(&world, &lift(2));
    assert!(told.len() == 1 && told[0].1.contains("another person"), "{told:?}");
    assert!(suppressed(&try_enrich(&mut world.caller(), 2)["error"]));
    assert_eq!(one::<i64>(&mut owner, &lift(1)), 1);
    for n in 1..=2 {
        enrich(&mut world.caller(), n).unwrap();
    }
}

#[test]
fn a_whole_domain_is_stopped_and_taken_off_as_a_whole() {
    let world = world(4);
    let emails = [
        "jane@acme.example",
        "joe@mail.acme.example",
        "x@globex.example, y@ACME.example",
        "jane@globex.example",
    ];
    for (n, email) in (1..).zip(emails) {
        set(&world, n, &[("email", email)]);
    }
    let mut owner = world.owner();
    assert!(one::<bool>(&mut owner, "SELECT leadlex.suppress(' @Acme.example ')"));
    let mut caller = world.caller();
    for n in 1..=3 {
        assert!(suppressed(&try_enrich(&mut caller, n)["error"]), "{n}");
    }
    enrich(&mut caller, 4).unwrap();
    assert_eq!(world.provider.count(), 1);
    // It is about more than this contact.
    let lifted: i64 = one(&mut owner, &format!("SELECT leadlex.unsuppress_contact('{}')", contact(1)));
    assert_eq!(lifted, 0);
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    assert!(one::<bool>(&mut owner, "SELECT leadlex.unsuppress('@acme.example')"));
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn an_entry_ends_at_its_time() {
    let world = world(2);
    set(&world, 1, &[("email", "jane@acme.example")]);
    let mut owner = world.owner();
    let mut caller = world.caller();
    for past in ["now()", "'2020-01-01'", "'-infinity'"] {
        let sql = format!("SELECT leadlex.suppress('jane@acme.example', until => {past})");
        assert_eq!(fails(owner.batch_execute(&sql)).sqlstate, "22023", "{past}");
    }
    let until = |span: &str| {
        format!(
            "SELECT leadlex.suppress('jane@acme.example', 'a while', until => clock_timestamp() + '{span}')"
        )
    };
    assert!(one::<bool>(&mut owner, &until("1 hour")));
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    // Whoever is there stays for the longer of both.
    assert!(!one::<bool>(&mut owner, &until("1 second")));
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    world.run("SELECT leadlex.unsuppress('jane@acme.example')");
    assert!(one::<bool>(&mut owner, &until("1500 ms")));
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    std::thread::sleep(Duration::from_millis(1_700));
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 1);
    // Over, it is on the list no more; for ever is the longest.
    assert!(one::<bool>(&mut owner, &until("1 hour")));
    assert!(!one::<bool>(&mut owner, "SELECT leadlex.suppress('jane@acme.example')"));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression WHERE until IS NULL"), 1);
    for forever in ["'infinity'", "NULL"] {
        world.run(&format!("SELECT leadlex.suppress('jane@acme.example', until => {forever})"));
    }
    world.run("UPDATE crm SET job_title = NULL");
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
}

#[test]
fn who_was_refused_in_the_former_form_is_not_asked_about() {
    let world = world(6);
    let former = |kind: &str, parts: &[&str]| {
        let parts: Vec<&[u8]> =
            ["suppression", kind].iter().chain(parts).map(|part| part.as_bytes()).collect();
        hash(&parts)
    };
    let rows: [(&[(&str, &str)], Uuid); 6] = [
        (&[("email", "N/A"), ("full_name", "Jane Doe"), ("company_name", "Acme")], former("email", &["n/a"])),
        (
            &[("email", "info@acme.example"), ("full_name", "Ada Poe")],
            former("email", &["info@acme.example"]),
        ),
        (&[("phone", "+1 202 555 0123")], former("phone", &["12025550123"])),
        (&[("linkedin_url", "linkedin.com/in/J%C3%BCrgen")], former("linkedin", &["jürgen"])),
        (
            &[("full_name", "Eve Moe"), ("company_name", " GLOBEX ")],
            former("company", &["eve moe", "globex"]),
        ),
        (&[("email", "max@acme.example")], former("email", &["max@acme.example"])),
    ];
    let mut owner = world.owner();
    for (n, (values, hash)) in (1..).zip(&rows) {
        set(&world, n, values);
        owner
            .execute("INSERT INTO leadlex.suppression (workspace_id, person, reason, source) VALUES ($1, $2, 'old', 'main')", &[&Uuid::nil(), hash])
            .unwrap();
    }
    let mut caller = world.caller();
    for (n, (values, _)) in (1..).zip(&rows) {
        assert!(suppressed(&try_enrich(&mut caller, n)["error"]), "{values:?}");
    }
    assert_eq!(world.provider.count(), 0);
    assert!(one::<bool>(&mut owner, "SELECT leadlex.unsuppress('Max@acme.example')"));
    for n in 1..=5 {
        let lifted: i64 = one(&mut owner, &format!("SELECT leadlex.unsuppress_contact('{}')", contact(n)));
        assert_eq!(lifted, 1, "{n}");
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(entries(&world), 0);
}

#[test]
fn lifting_is_for_all_workspaces_that_have_the_contact() {
    let world = world(1);
    set(&world, 1, &[("email", "jane@acme.example"), ("linkedin_url", "linkedin.com/in/jane-doe")]);
    let workspace = world.workspace;
    world.run(&format!(
        "SELECT leadlex.suppress('jane@acme.example', workspace_id => '{workspace}'); SELECT leadlex.suppress('linkedin.com/in/Jane-Doe');
         SELECT leadlex.suppress('other@acme.example')"
    ));
    let mut caller = world.caller();
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    let lifted: i64 =
        one(&mut world.owner(), &format!("SELECT leadlex.unsuppress_contact('{}')", contact(1)));
    assert_eq!((lifted, entries(&world)), (2, 1));
    enrich(&mut caller, 1).unwrap();
}
