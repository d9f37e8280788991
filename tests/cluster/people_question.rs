//! One question, one person: what is sent of a contact, who is asked about, and whose answer is used. Real requests, in
//! single calls and in sets.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{Behaviour, Request, eventually};
use crate::world::{Beginning, PATH, SECRET, World, contact, enrich, number, try_enrich};

/// Spellings of https://www.linkedin.com/in/jane-doe.
pub const PROFILES: &str = include_str!("people_data/profiles.txt");
/// Spellings of jane@acme.example.
pub const ADDRESSES: &str = include_str!("people_data/addresses.txt");

pub fn lines(text: &'static str) -> Vec<String> {
    let kept = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.map(|line| line.replace("\\t", "\t").replace("\\u00a0", "\u{a0}")).collect()
}

/// Contacts without any value, and People Data Labs as the only provider: it says of everybody whom it was asked about.
pub fn world(contacts: i32) -> World {
    let world = World::with(&Beginning { contacts, credits: Some(10_000), ..Beginning::default() });
    world.run("SELECT leadlex.drop_provider('main'); UPDATE crm SET full_name = NULL, email = NULL");
    let config = json!({"request": {"url": world.provider.url(PATH)}});
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('vendor', 'people_data_labs', config => $1, secret => $2)",
            &[&config, &SECRET],
        )
        .unwrap();
    world.provider.on(PATH, |request| Behaviour::json(200, titled(request)));
    world
}

/// A person whose title tells the name that was asked with.
fn titled(request: &Request) -> Value {
    json!({"likelihood": 9, "data": {"job_title": format!("Title of {}", request.param("name").unwrap_or("nobody"))}})
}

pub fn set(world: &World, n: i32, values: &[(&str, &str)]) {
    for (column, value) in values {
        let sql = format!("UPDATE crm SET {column} = $1 WHERE id = $2");
        world.owner().execute(&sql, &[value, &contact(n)]).unwrap();
    }
}

pub fn title(world: &World, n: i32) -> Option<String> {
    world.owner().query_one("SELECT job_title FROM crm WHERE id = $1", &[&contact(n)]).unwrap().get(0)
}

fn forget_titles(world: &World) {
    world.run("UPDATE crm SET job_title = NULL");
}

/// Status or reason of each contact of a set.
pub fn in_a_set(client: &mut Client, numbers: impl IntoIterator<Item = i32>) -> Vec<String> {
    let ids: Vec<Uuid> = numbers.into_iter().map(contact).collect();
    let sql = "SELECT CASE WHEN error_code IS NULL THEN status ELSE error_code || ': ' || error_message END
               FROM enrich_contacts($1, '{job_title}')";
    client.query(sql, &[&ids]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn drop_receipts(world: &World, count: i64) {
    eventually("the receipts are in the tables", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM leadlex.receipt") >= count
    });
    world.run("DELETE FROM leadlex.receipt");
}

pub fn not_identifiable(error: &Value) -> bool {
    error["code"] == "no_match" && error["reason"] == "not_identifiable"
}

#[test]
fn people_who_share_a_value_and_differ_in_name_never_share_an_answer() {
    let world = world(2);
    let mut caller = world.caller();
    let shared = [
        ("email", "info@acme.example"),
        ("email", "office@acme.example"),
        ("email", "team-inbox@acme.example"),
        ("email", "N/A"),
        ("email", "-"),
        ("phone", "+1 202 555 0123"),
        ("phone", "0"),
        ("phone", "000-000-0000"),
        ("linkedin_url", "https://www.linkedin.com/in/null"),
        ("linkedin_url", "https://www.linkedin.com/company/acme"),
        ("linkedin_url", "https://www.linkedin.com/in/shared"),
    ];
    for (column, value) in shared {
        for (n, name) in [(1, "Jane Doe"), (2, "John Roe")] {
            world.run(&format!(
                "UPDATE crm SET email = NULL, phone = NULL, linkedin_url = NULL WHERE id = '{}'",
                contact(n)
            ));
            set(&world, n, &[("full_name", name), ("company_name", "Acme"), (column, value)]);
        }
        for single in [true, false] {
            world.provider.forget();
            forget_titles(&world);
            let sql = "SELECT sum(contacts)::int8 FROM leadlex.estimate('crm', $1::uuid[]::text[], '{job_title}') WHERE outcome = 'asked'";
            let expected: Option<i64> =
                caller.query_one(sql, &[&vec![contact(1), contact(2)]]).unwrap().get(0);
            if single {
                for n in [1, 2] {
                    let sql = "SELECT enrich_contact($1, '{job_title}')";
                    caller.query_one(sql, &[&contact(n)]).unwrap();
                }
            } else {
                assert_eq!(in_a_set(&mut caller, [1, 2]), ["enriched", "enriched"]);
            }
            let titles = [title(&world, 1), title(&world, 2)];
            let right = ["Title of Jane Doe", "Title of John Roe"].map(|title| Some(title.to_owned()));
            assert_eq!(titles, right, "{column} {value}");
            assert_eq!(world.provider.count(), 2, "{column} {value}");
            assert_eq!(expected, Some(2), "{column} {value}: what was foretold");
            drop_receipts(&world, 2);
        }
    }
}

#[test]
fn colleagues_to_whom_the_vendor_gives_the_switchboard_stay_themselves() {
    let world = world(6);
    world.provider.on(PATH, |request| {
        let mut body = titled(request);
        body["data"]["mobile_phone"] = json!("+12025550123");
        Behaviour::json(200, body)
    });
    for n in 1..=6 {
        let name = ["Jane Doe", "John Roe", "Ada Poe", "Eve Moe", "Max Loe", "Zoe Noe"][n as usize - 1];
        set(&world, n, &[("full_name", name), ("company_name", "Acme")]);
    }
    let mut caller = world.caller();
    let phones = "SELECT count(*) FROM enrich_contacts($1, '{phone}') WHERE status = 'enriched'";
    let ids: Vec<Uuid> = (1..=6).map(contact).collect();
    let filled: i64 = caller.query_one(phones, &[&ids]).unwrap().get(0);
    assert_eq!((filled, world.provider.count()), (6, 6));
    assert_eq!(world.number("SELECT count(DISTINCT phone) FROM crm"), 1);
    // While the answers are kept they are theirs, although the number comes first now.
    for n in [1, 2] {
        caller.query_one("SELECT enrich_contact($1, '{job_title}')", &[&contact(n)]).unwrap();
    }
    assert_eq!((world.provider.count(), title(&world, 2)), (6, Some("Title of John Roe".to_owned())));
    forget_titles(&world);
    drop_receipts(&world, 6);
    for n in 1..=3 {
        caller.query_one("SELECT enrich_contact($1, '{job_title}')", &[&contact(n)]).unwrap();
    }
    assert_eq!(in_a_set(&mut caller, 4..=6), ["enriched"; 3]);
    assert_eq!(world.provider.count(), 12);
    let wrong = "SELECT count(*) FROM crm WHERE job_title IS DISTINCT FROM 'Title of ' || full_name";
    assert_eq!(world.number(wrong), 0);
}

#[test]
fn spellings_of_one_profile_are_one_question() {
    let profiles = lines(PROFILES);
    let count = profiles.len() as i32;
    assert!(count >= 73, "{count}");
    let world = world(count);
    for (at, profile) in profiles.iter().enumerate() {
        set(&world, at as i32 + 1, &[("linkedin_url", profile)]);
    }
    let mut caller = world.caller();
    assert_eq!(in_a_set(&mut caller, 1..=count), vec!["enriched"; count as usize]);
    assert_eq!(world.provider.count(), 1);
    forget_titles(&world);
    drop_receipts(&world, 1);
    for n in 1..=count {
        let result = caller.query_one("SELECT enrich_contact($1, '{job_title}')", &[&contact(n)]);
        assert!(result.is_ok(), "{}: {result:?}", profiles[n as usize - 1]);
    }
    assert_eq!(world.provider.count(), 2);
    let of_all = world.number("SELECT count(*) FROM crm WHERE job_title = 'Title of nobody'");
    assert_eq!(of_all, i64::from(count));
}

#[test]
fn spellings_of_one_address_are_one_question_and_go_out_bare() {
    let addresses = lines(ADDRESSES);
    let count = addresses.len() as i32;
    let world = world(count);
    for (at, address) in addresses.iter().enumerate() {
        set(&world, at as i32 + 1, &[("email", address)]);
    }
    let mut caller = world.caller();
    assert_eq!(in_a_set(&mut caller, 1..=count), vec!["enriched"; count as usize]);
    assert_eq!(world.provider.count(), 1);
    forget_titles(&world);
    for n in 1..=count {
        caller.query_one("SELECT enrich_contact($1, '{job_title}')", &[&contact(n)]).unwrap();
    }
    assert_eq!(world.provider.count(), 1);
    // Each by itself: none goes out with what stood around it.
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    world.provider.forget();
    forget_titles(&world);
    for n in 1..=count {
        caller.query_one("SELECT enrich_contact($1, '{job_title}')", &[&contact(n)]).unwrap();
    }
    for (request, stored) in world.provider.requests().iter().zip(&addresses) {
        let sent = request.param("email").unwrap_or_default();
        assert_eq!(sent.to_lowercase(), "jane@acme.example", "{stored:?}");
    }
}

#[test]
fn stand_ins_and_impossible_values_identify_nobody_and_are_not_sent() {
    let stand_ins = ["N/A", "-", "?", "0", "@", "\u{200b}", "null", "unknown", " ", "tbd"];
    let addresses = [
        "jane",
        "#N/A",
        "#REF!",
        "=A1&\"@acme.example\"",
        "deleted-4711@deleted.invalid",
        "jane@acme,example",
        "jane@@acme.example",
        "@acme.example",
        "jane@",
        "jane@localhost",
    ];
    let names =
        ["? ?", "Unknown Unknown", "[not provided]", "test test", "First Last", "jane@acme.example", "12345"];
    let companies = ["Freelance", "self-employed", "N/A", "Private", "student"];
    let mut rows: Vec<Vec<(&str, &str)>> = Vec::new();
    for text in stand_ins {
        for column in ["email", "linkedin_url", "phone"] {
            rows.push(vec![(column, text), ("full_name", "Jane Doe")]);
        }
    }
    rows.extend(addresses.map(|email| vec![("email", email), ("full_name", "Jane Doe")]));
    rows.extend(names.map(|name| vec![("full_name", name), ("company_name", "Acme")]));
    rows.extend(companies.map(|company| vec![("full_name", "Jane Doe"), ("company_name", company)]));
    rows.push(vec![("phone", "+1 (555) XXX-XXXX"), ("full_name", "Jane Doe")]);
    let world = world(rows.len() as i32);
    for (at, row) in rows.iter().enumerate() {
        set(&world, at as i32 + 1, row);
    }
    let mut caller = world.caller();
    for (n, row) in (1..).zip(&rows) {
        let result = try_enrich(&mut caller, n);
        assert!(not_identifiable(&result["error"]), "{row:?}: {result}");
    }
    let told = in_a_set(&mut caller, 1..=rows.len() as i32);
    assert!(told.iter().all(|line| line.starts_with("no_match")), "{told:?}");
    let sql = "SELECT jsonb_object_agg(reason, contacts) FROM leadlex.estimate('crm', (SELECT array_agg(id::text) FROM crm))";
    let foretold: Value = caller.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(foretold, json!({"not identifiable": rows.len()}));
    assert_eq!(world.provider.count(), 0);
    // Beside something better they do not go out.
    let good = [
        ("email", "jane@acme.example"),
        ("linkedin_url", "N/A"),
        ("phone", "0"),
        ("company_name", "Freelance"),
    ];
    set(&world, 1, &good);
    set(&world, 1, &[("full_name", "Unknown Unknown"), ("location", "n/a")]);
    enrich(&mut caller, 1).unwrap();
    let query = world.provider.requests().pop().unwrap().query;
    let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["email", "company", "titlecase", "min_likelihood"]);
}

#[test]
fn many_names_with_one_address_or_number_are_many_questions() {
    let world = world(40);
    for n in 1..=40 {
        set(
            &world,
            n,
            &[(
                "full_name",
                &format!("Jane Doe{}", "abcdefghijklmnopqrst".chars().nth(n as usize % 20).unwrap()),
            )],
        );
        let shared = if n <= 20 { ("email", "shared@globex.example") } else { ("phone", "+1 202 555 0123") };
        set(&world, n, &[shared]);
    }
    let mut caller = world.caller();
    assert_eq!(in_a_set(&mut caller, 1..=40), ["enriched"; 40]);
    assert_eq!(world.provider.count(), 40);
    let wrong = "SELECT count(*) FROM crm WHERE job_title IS DISTINCT FROM 'Title of ' || full_name";
    assert_eq!(world.number(wrong), 0);
}

/// Sixteen bytes of SHA-256 over parts with their lengths, as hashes are in the tables.
pub fn hash(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Uuid::from_slice(&hash.finalize()[..16]).unwrap()
}

#[test]
fn receipts_of_the_former_form_are_used_for_nobody_else() {
    let world = world(2);
    // No description of that time compared persons, or was identified by a company's domain.
    world.run(
        r#"SELECT leadlex.alter_provider('vendor', secret => 's', config => '{
            "request": {"query": {"company": "{company_name}"}},
            "identify_by": [["email"], ["linkedin_url"], ["phone"], ["full_name", "company_name"], ["full_name", "location"]],
            "response": {"same_person": null}}')"#,
    );
    let mut owner = world.owner();
    let row = owner
        .query_one("SELECT p.id, p.config FROM leadlex.provider_config AS p WHERE p.name = 'vendor'", &[])
        .unwrap();
    let (provider, config): (Uuid, Value) = (row.get(0), row.get(1));
    let described = ["request", "identify_by", "response"].map(|key| config[key].to_string());
    let described = hash(&[described[0].as_bytes(), described[1].as_bytes(), described[2].as_bytes()]);
    let parties: [&[u8]; 3] = [world.workspace.as_bytes(), provider.as_bytes(), described.as_bytes()];
    let of = |values: &[&str]| {
        hash(&parties.into_iter().chain(values.iter().map(|text| text.as_bytes())).collect::<Vec<_>>())
    };
    let question = of(&["email", "team@acme.example"]);
    let known = of(&["email", "team@acme.example", "full_name", "Jane Doe"]);
    owner
        .execute(
            "INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer)
             VALUES ($1, $2, now(), $3, $4, true, '{}', '{\"values\": {\"job_title\": \"Kept\"}, \"confidence\": 1}')",
            &[&world.workspace, &question, &provider, &known],
        )
        .unwrap();
    world.run("SET leadlex.role_mailboxes = ''");
    for (n, name) in [(1, "Jane Doe"), (2, "John Roe")] {
        set(&world, n, &[("full_name", name), ("email", "team@acme.example")]);
    }
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    assert_eq!(title(&world, 1).as_deref(), Some("Kept"), "it was paid for, and is about this person alone");
    assert_eq!(title(&world, 2).as_deref(), Some("Title of John Roe"));
    assert_eq!(world.provider.count(), 1);
    // And it is found when the person is forgotten.
    let erased: Value =
        number_of(&mut owner, "SELECT leadlex.forget_contact('00000000-0000-4000-8000-000000000001')");
    assert_eq!(erased["receipts"], 1, "{erased}");
    assert_eq!(
        number(&mut owner, &format!("SELECT count(*) FROM leadlex.receipt WHERE question = '{question}'")),
        0
    );
}

fn number_of(client: &mut Client, sql: &str) -> Value {
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Names that cannot be split are not sent in parts, and are names all the same.
#[test]
fn people_whose_names_are_not_split_share_no_answer() {
    let world = World::with(&Beginning { contacts: 4, credits: Some(100), ..Beginning::default() });
    world.run("SELECT leadlex.drop_provider('main'); UPDATE crm SET full_name = NULL, email = NULL");
    let config = json!({
        "request": {"url": world.provider.url(PATH), "query": {"first": "{first_name}", "last": "{last_name}", "phone": "{phone}"}},
        "identify_by": [["phone"]],
        "response": {"fields": {"job_title": "/t"}}
    });
    world.owner().execute("SELECT leadlex.add_provider('vendor', config => $1)", &[&config]).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(200, json!({"t": "CEO"})));
    for (n, name) in [(1, "张伟"), (2, "李娜"), (3, "Madonna"), (4, "Prince")] {
        set(&world, n, &[("full_name", name), ("phone", "+86 10 6552 9988")]);
    }
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    let rest = vec![contact(3), contact(4)];
    let done = "SELECT count(*) FROM enrich_contacts($1) WHERE status = 'enriched'";
    assert_eq!(caller.query_one(done, &[&rest]).unwrap().get::<_, i64>(0), 2);
    assert_eq!(world.provider.count(), 4, "each is asked about");
}
