//! What is sent of a contact: names, company domains and role mailboxes, and what check_provider shows of it. Real requests.

use std::time::Duration;

use serde_json::{Value, json};

use crate::people_question::{not_identifiable, set, title, world};
use crate::support::eventually;
use crate::world::{PATH, World, enrich, try_enrich};

/// The only provider is sent these, and identified by the first.
fn sending(world: &World, names: &[&str]) {
    let query: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(format!("{{{name}}}")))).collect();
    let config = json!({
        "request": {"url": world.provider.url(PATH), "query": query}, "identify_by": [[names[0]]],
        "response": {"fields": {"job_title": "/data/job_title"}}
    });
    world.run("SELECT leadlex.drop_provider(name) FROM leadlex.provider");
    world.owner().execute("SELECT leadlex.add_provider('own', config => $1)", &[&config]).unwrap();
}

#[test]
fn first_and_last_names_are_sent_where_they_are_certain() {
    let names = [
        ("Jane Smith, CFA", Some(("Jane", "Smith"))),
        ("Dr. med. Anna Schmidt", Some(("Anna", "Schmidt"))),
        ("Vincent Van Gogh", Some(("Vincent", "Van Gogh"))),
        ("Karl Huber BA", Some(("Karl", "Huber"))),
        ("Doe, Jane", Some(("Jane", "Doe"))),
        ("Cher", None),
        ("田中 太郎", None),
        ("Acme Holding GmbH", None),
    ];
    let world = world(names.len() as i32);
    sending(&world, &["email", "first_name", "last_name"]);
    for (n, (name, _)) in (1..).zip(&names) {
        set(&world, n, &[("full_name", name), ("email", &format!("p{n}@acme.example"))]);
    }
    let mut caller = world.caller();
    for (n, (name, expected)) in (1..).zip(&names) {
        enrich(&mut caller, n).unwrap();
        let request = world.provider.requests().pop().unwrap();
        let sent = request.param("first_name").zip(request.param("last_name"));
        assert_eq!(sent, *expected, "{name}");
        assert!(expected.is_some() || request.param("last_name").is_none(), "{name}");
    }
    // A set that needs them is not complete.
    sending(&world, &["last_name", "email"]);
    assert!(not_identifiable(&try_enrich(&mut caller, 6)["error"]));
}

#[test]
fn a_company_domain_is_sent_as_the_companys() {
    let world = world(9);
    world.run("ALTER TABLE crm ADD company_domain text; SELECT leadlex.unbind_contacts('crm')");
    world
        .owner()
        .execute("SELECT leadlex.bind_contacts('crm', workspace_id => $1)", &[&world.workspace])
        .unwrap();
    sending(&world, &["company_domain", "full_name"]);
    let cases = [
        ("https://www.acme.example/about", "", Some("acme.example")),
        ("mail.acme.co.uk", "", Some("acme.co.uk")),
        ("jane@acme.example", "", Some("acme.example")),
        ("gmail.com", "", None),
        ("N/A", "", None),
        ("co.uk", "", None),
        ("", "jane@sub.acme.example", Some("acme.example")),
        ("", "jane@gmail.com", None),
        ("", "jane@privaterelay.appleid.com", None),
    ];
    let mut caller = world.caller();
    for (n, (domain, email, expected)) in (1..).zip(cases) {
        set(&world, n, &[("company_domain", domain), ("email", email), ("full_name", "Jane Doe")]);
        let before = world.provider.count();
        let result = try_enrich(&mut caller, n);
        match expected {
            None => assert!(not_identifiable(&result["error"]), "{domain} {email}: {result}"),
            Some(sent) => {
                // The same person at the same company was asked about before.
                if world.provider.count() > before {
                    let request = world.provider.requests().pop().unwrap();
                    assert_eq!(request.param("company_domain"), Some(sent), "{domain} {email}");
                }
                assert_eq!(
                    title(&world, n).as_deref(),
                    Some("Title of nobody"),
                    "{domain} {email}: {result}"
                );
            }
        }
    }
    assert_eq!(world.provider.count(), 2, "acme.example and acme.co.uk");
}

#[test]
fn what_does_not_identify_a_contact_is_named_without_its_value() {
    let world = world(3);
    sending(&world, &["email"]);
    set(&world, 1, &[("email", "info@acme.example")]);
    set(&world, 2, &[("email", "N/A"), ("phone", "12345")]);
    let mut caller = world.caller();
    let (role, none) = (try_enrich(&mut caller, 1), try_enrich(&mut caller, 2));
    let (role, none) = (&role["error"], &none["error"]);
    assert!(not_identifiable(role) && not_identifiable(none));
    assert_eq!((&role["not_alone"], &role["no_value"]), (&json!(["email"]), &json!(null)));
    assert_eq!((&none["not_alone"], &none["no_value"]), (&json!(["phone"]), &json!(["email"])));
    for (told, word) in [(role, "role mailbox"), (none, "no value, such as N/A")] {
        assert!(told["message"].as_str().unwrap().contains(word), "{told}");
        assert!(!told.to_string().contains("acme") && !told.to_string().contains("12345"), "{told}");
    }
    let sql = "SELECT pg_catalog.string_agg(s.error_message, ' ') FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id LIMIT 2)) AS s";
    let told: String = caller.query_one(sql, &[]).unwrap().get(0);
    assert!(told.contains("role mailbox") && told.contains("such as N/A"), "{told}");

    let check = |email: &str| -> Value {
        let sql = "SELECT leadlex.check_provider('own', $1)";
        world.owner().query_one(sql, &[&json!({"email": email, "phone": "12345"})]).unwrap().get(0)
    };
    let shown = check("info@acme.example");
    assert_eq!(
        (&shown["reason"], &shown["not_alone"]),
        (&json!("not_identifiable"), &json!(["email", "phone"]))
    );
    assert!(shown["message"].as_str().unwrap().contains("only together with a name"), "{shown}");
    assert_eq!((&check("jane@acme.example")["outcome"], world.provider.count()), (&json!("match"), 1));
}

#[test]
fn a_role_mailbox_identifies_only_together_with_a_name() {
    let world = world(3);
    let mut caller = world.caller();
    set(&world, 1, &[("email", "Info@acme.example")]);
    assert!(not_identifiable(&try_enrich(&mut caller, 1)["error"]));
    set(&world, 1, &[("full_name", "Jane Doe")]);
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 1);
    // The list is a setting.
    set(&world, 2, &[("email", "pressebuero@acme.example")]);
    world.cluster.set("leadlex.role_mailboxes", "pressebuero, info");
    eventually("the setting holds", Duration::from_secs(10), || {
        let shown: String = caller.query_one("SHOW leadlex.role_mailboxes", &[]).unwrap().get(0);
        shown.starts_with("pressebuero")
    });
    assert!(not_identifiable(&try_enrich(&mut caller, 2)["error"]));
    set(&world, 3, &[("email", "sales@acme.example")]);
    enrich(&mut caller, 3).unwrap();
    for wrong in ["info@acme.example", "info sales", "info,,sales"] {
        let refused = world.owner().batch_execute(&format!("SET leadlex.role_mailboxes = '{wrong}'"));
        assert_eq!(crate::world::sqlstate(&refused), "22023", "{wrong}");
    }
    let refused = caller.batch_execute("SET leadlex.role_mailboxes = ''");
    assert_eq!(crate::world::sqlstate(&refused), "42501");
}

#[test]
fn check_provider_shows_what_is_sent_and_what_is_no_value() {
    let world = world(1);
    let mut owner = world.owner();
    let mut check = |contact: Value| -> Value {
        owner.query_one("SELECT leadlex.check_provider('vendor', $1)", &[&contact]).unwrap().get(0)
    };
    let shown = check(json!({
        "email": "\"Jane\" <Jane@acme.example>", "full_name": "Unknown Unknown", "company_name": "Freelance",
        "linkedin_url": "https://www.linkedin.com/company/acme", "phone": " +1 202 555 0123 ", "location": "Oslo"
    }));
    let url = shown["request"]["url"].as_str().unwrap();
    assert!(url.contains("email=Jane%40acme.example"), "{shown}");
    assert!(url.contains("phone=%2B1%20202%20555%200123") && url.contains("location=Oslo"), "{shown}");
    assert!(!url.contains("name=") && !url.contains("Freelance") && !url.contains("profile="), "{shown}");
    // The domain of the address stands for a company whose name is none.
    assert!(url.contains("company=acme.example"), "{shown}");
    assert_eq!(shown["no_value"], json!(["full_name", "company_name", "linkedin_url"]), "{shown}");
    let shown = check(json!({"email": "N/A", "full_name": "Jane Doe"}));
    assert_eq!(
        (&shown["outcome"], &shown["reason"], &shown["no_value"]),
        (&json!("not_asked"), &json!("not_identifiable"), &json!(["email"]))
    );
    let shown = check(json!({"email": "jane@acme.example"}));
    assert_eq!(shown.get("no_value"), None, "{shown}");
}
