//! What is written: a vendor's word for nothing, a number that it masks and what is no profile never are, a stored word for
//! nothing counts as empty, and an unchanged value costs nothing (contract section 17).

use serde_json::{Value, json};

use crate::support::Behaviour;
use crate::world::{Beginning, PATH, World, contact, credits};

fn world() -> World {
    let conf = ["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"];
    World::with(&Beginning { contacts: 5, credits: Some(1_000), conf: &conf, ..Beginning::default() })
}

/// The provider says this of everybody.
fn says(world: &World, data: &Value) {
    let body = json!({"likelihood": 9, "data": data});
    world.provider.on(PATH, move |_| Behaviour::json(200, body.clone()));
}

/// The first contact has this in one column, and nothing in the others.
fn holds(world: &World, column: &str, stored: &str) {
    let sql = format!(
        "UPDATE crm SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL
         WHERE id = '{}'",
        contact(1)
    );
    world.run(&sql);
    let sql = format!("UPDATE crm SET {column} = NULLIF($1, '') WHERE id = $2");
    world.owner().execute(&sql, &[&stored, &contact(1)]).unwrap();
}

fn stored(world: &World, column: &str) -> Option<String> {
    world
        .owner()
        .query_one(&format!("SELECT {column} FROM crm WHERE id = $1"), &[&contact(1)])
        .unwrap()
        .get(0)
}

/// Asks for one field of the first contact: whether it was written, and what that cost.
fn ask(world: &World, column: &str, overwrite: bool) -> (bool, i64) {
    let mut caller = world.caller();
    let before = credits(&mut caller).unwrap();
    let sql = "SELECT try_enrich_contact($1, ARRAY[$2::text], $3)";
    let told: Value = caller.query_one(sql, &[&contact(1), &column, &overwrite]).unwrap().get(0);
    let written = told["fields_updated"].as_array().is_some_and(|fields| !fields.is_empty());
    (written, before - credits(&mut caller).unwrap())
}

fn maps(world: &World, fields: &Value) {
    let config = json!({"response": {"fields": fields}});
    let sql = "SELECT leadlex.alter_provider('main', config => $1)";
    world.owner().execute(sql, &[&config]).unwrap();
}

#[test]
fn an_unchanged_value_is_neither_written_nor_charged_also_with_overwrite() {
    let world = world();
    let profile = "https://www.linkedin.com/in/j%C3%BCrgen-example";
    for (column, stored_as, vendor) in [
        ("linkedin_url", "linkedin.com/in/jane-example", "linkedin.com/in/jane-example"),
        (
            "linkedin_url",
            "https://www.linkedin.com/in/jürgen-example",
            "https://www.linkedin.com/in/jürgen-example",
        ),
        ("linkedin_url", "https://de.linkedin.com/in/Jürgen-Example/details/experience/", profile),
        ("linkedin_url", "https://www.linkedin.com/comm/in/j%c3%bcrgen-example?trk=x", profile),
        ("linkedin_url", "https://www.linkedin.com:443/in/jürgen-example/overlay/contact-info/", profile),
        ("linkedin_url", "in/ju\u{308}rgen-example", profile),
        ("phone", "+1 (202) 555-0123", "+12025550123"),
        ("phone", "001 202 555 0123", "+1-202-555-0123"),
        ("phone", "tel:+1-202-555-0123", "+12025550123"),
        ("phone", "030 / 1234567", "0301234567"),
        ("seniority", "Vice President", "VP"),
        ("seniority", "Vice President", "Vice President"),
        ("seniority", "vp", "Senior Vice President"),
        ("job_title", "  Head of Law ", "Head of Law"),
        ("job_title", "Pre\u{301}sident", "Pre\u{301}sident"),
        ("location", "Zu\u{308}rich", "Zürich"),
    ] {
        holds(&world, column, stored_as);
        says(&world, &json!({ column: vendor }));
        assert_eq!(
            ask(&world, column, true),
            (false, 0),
            "{column}: {stored_as:?}, and the vendor says {vendor:?}"
        );
        assert_eq!(stored(&world, column).as_deref(), Some(stored_as));
    }
    // Another value is written, and costs one credit.
    for (column, stored_as, vendor, written) in [
        (
            "linkedin_url",
            "linkedin.com/in/jane-example",
            "linkedin.com/in/joe-example/",
            "https://www.linkedin.com/in/joe-example",
        ),
        ("phone", "+12025550123", "+1 202 555 0199", "+1 202 555 0199"),
        ("phone", "+12025550123", "+1 202 555 0123 ext. 7", "+1 202 555 0123 ext. 7"),
        ("seniority", "Director", "SVP", "vp"),
        ("job_title", "Ceo", "CEO", "CEO"),
    ] {
        holds(&world, column, stored_as);
        says(&world, &json!({ column: vendor }));
        assert_eq!(
            ask(&world, column, true),
            (true, 1),
            "{column}: {stored_as:?}, and the vendor says {vendor:?}"
        );
        assert_eq!(stored(&world, column).as_deref(), Some(written));
    }
    world.check_credits_add_up();
}

#[test]
fn a_stored_word_for_nothing_is_filled_and_an_offered_one_replaces_nothing() {
    let world = world();
    let good = json!({"job_title": "CTO", "phone": "+1 202 555 0199", "linkedin_url": "in/jane-example", "location": "Oslo",
        "company_name": "Acme", "seniority": "vp"});
    for word in [
        "N/A",
        "n/a",
        "-",
        "--",
        ".",
        "0",
        "null",
        "Unknown",
        "not available",
        "TBD",
        "#N/A",
        "\u{200b}",
        "?",
        "[not provided]",
    ] {
        for column in ["job_title", "company_name", "linkedin_url", "phone", "location", "seniority"] {
            if ["location", "company_name"].contains(&column) && word != "N/A" {
                continue;
            }
            holds(&world, column, word);
            says(&world, &good);
            assert_eq!(ask(&world, column, false), (true, 1), "{column} held {word:?}");
            let filled = stored(&world, column);
            says(&world, &json!({ column: word }));
            assert_eq!(ask(&world, column, true), (false, 0), "{column} was offered {word:?}");
            assert_eq!(stored(&world, column), filled);
        }
    }
    world.check_credits_add_up();
}

#[test]
fn masked_numbers_are_passed_over_and_counted_as_empty() {
    let world = world();
    let masks = [
        "+1 (555) XXX-XXXX",
        "+61 415...",
        "+61 415\u{2026}",
        "**********",
        "Request access",
        "000-000-0000",
        "4711",
        "+49 30 ******12",
    ];
    for mask in masks {
        holds(&world, "phone", "");
        says(&world, &json!({"phone": mask}));
        assert_eq!(ask(&world, "phone", false), (false, 0), "{mask}");
        holds(&world, "phone", mask);
        says(&world, &json!({"phone": "+1 202 555 0123"}));
        assert_eq!(ask(&world, "phone", false), (true, 1), "{mask}");
    }
    maps(&world, &json!({"phone": {"list": "/data/phones", "pointer": "", "format": "e164"}}));
    holds(&world, "phone", "");
    says(&world, &json!({"phones": masks.iter().copied().chain(["+1 (202) 555-0123"]).collect::<Vec<_>>()}));
    assert_eq!(ask(&world, "phone", false), (true, 1));
    assert_eq!(stored(&world, "phone").as_deref(), Some("+12025550123"), "the first that is a number");
}

#[test]
fn words_for_nothing_are_none_before_a_prefix_and_in_a_join() {
    let world = world();
    maps(
        &world,
        &json!({
            "linkedin_url": {"pointer": "/data/handle", "decode": "percent", "prefix": "https://www.linkedin.com/in/"},
            "location": {"join": ["/data/city", "/data/state", "/data/country"]}
        }),
    );
    for handle in ["null", "N/A", "none", "-", "0", "undefined", "jane doe", "%20"] {
        holds(&world, "linkedin_url", "");
        says(&world, &json!({"handle": handle}));
        assert_eq!(ask(&world, "linkedin_url", false), (false, 0), "{handle}");
    }
    for (handle, written) in [
        ("jane-example", "https://www.linkedin.com/in/jane-example"),
        ("jane%2Fdoe", "https://www.linkedin.com/in/jane%2Fdoe"),
        ("in%2Fj%C3%BCrgen", "https://www.linkedin.com/in/j%C3%BCrgen"),
    ] {
        holds(&world, "linkedin_url", "");
        says(&world, &json!({"handle": handle}));
        assert_eq!(ask(&world, "linkedin_url", false), (true, 1), "{handle}");
        assert_eq!(stored(&world, "linkedin_url").as_deref(), Some(written));
    }
    for (parts, written) in [
        (["N/A", "N/A", "Germany"], Some("Germany")),
        (["Singapore", "Singapore", "Singapore"], Some("Singapore")),
        ([",", ",", ","], None),
        (["Bern", "-", "Switzerland"], Some("Bern, Switzerland")),
    ] {
        holds(&world, "location", "");
        says(&world, &json!({"city": parts[0], "state": parts[1], "country": parts[2]}));
        let expected = if written.is_some() { (true, 1) } else { (false, 0) };
        assert_eq!(ask(&world, "location", false), expected, "{parts:?}");
        assert_eq!(stored(&world, "location").as_deref(), written, "{parts:?}");
    }
}

#[test]
fn what_is_no_profile_is_not_written_and_counts_as_empty() {
    let world = world();
    for text in [
        "https://www.linkedin.com/in/",
        "https://www.linkedin.com/in/null",
        "https://www.linkedin.com/company/acme",
        "https://www.linkedin.com/school/example/",
        "https://lnkd.in/abc",
        "https://www.xing.com/profile/Jane",
        "jane@acme.example",
        "Jane Doe",
        "javascript:alert(1)",
        "https://linkedin.com.evil.example/in/jane",
        "https://www.linkedin.com/in/jane doe",
    ] {
        holds(&world, "linkedin_url", "");
        says(&world, &json!({"linkedin_url": text}));
        assert_eq!(ask(&world, "linkedin_url", true), (false, 0), "{text}");
        assert_eq!(stored(&world, "linkedin_url"), None, "{text}");
        holds(&world, "linkedin_url", text);
        says(&world, &json!({"linkedin_url": "https://www.linkedin.com/in/jane-example/?trk=x"}));
        assert_eq!(ask(&world, "linkedin_url", false), (true, 1), "{text}");
        assert_eq!(
            stored(&world, "linkedin_url").as_deref(),
            Some("https://www.linkedin.com/in/jane-example")
        );
    }
    // Never cut into somebody else.
    holds(&world, "linkedin_url", "");
    says(&world, &json!({"linkedin_url": "https://www.linkedin.com/in/jane%2Fdoe"}));
    assert_eq!(ask(&world, "linkedin_url", false), (true, 1));
    assert_eq!(stored(&world, "linkedin_url").as_deref(), Some("https://www.linkedin.com/in/jane%2Fdoe"));
}

#[test]
fn e164_is_written_where_a_number_is_valid_and_left_alone_where_it_is_not() {
    let world = world();
    maps(&world, &json!({"phone": {"pointer": "/data/phone", "format": "e164"}}));
    for (vendor, written) in [
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("0049 30 1234567", "+49301234567"),
        ("1 (202) 555-0123", "+12025550123"),
        ("12025550123.0", "12025550123.0"),
        ("(201) 555-0123", "(201) 555-0123"),
        ("+1 555 010 0100", "+1 555 010 0100"),
        ("+49 30 1234567 (work)", "+49 30 1234567 (work)"),
    ] {
        holds(&world, "phone", "");
        says(&world, &json!({"phone": vendor}));
        assert_eq!(ask(&world, "phone", false), (true, 1), "{vendor}");
        assert_eq!(stored(&world, "phone").as_deref(), Some(written), "{vendor}");
    }
    holds(&world, "phone", "");
    says(&world, &json!({"phone": "+1202555...."}));
    assert_eq!(ask(&world, "phone", false), (false, 0), "a part of a number");
}

#[test]
fn seniorities_of_all_vendors_are_of_one_vocabulary() {
    let world = world();
    for (vendor, written) in [
        ("Owner / Partner", "owner"),
        ("CXO", "c_suite"),
        ("Vice President", "vp"),
        ("Director", "director"),
        ("Experienced Manager", "manager"),
        ("Entry Level Manager", "manager"),
        ("Strategic", "senior"),
        ("Senior", "senior"),
        ("Entry Level", "entry"),
        ("In Training", "intern"),
        ("SVP", "vp"),
        ("Senior Vice President", "vp"),
        ("C Level Exec", "c_suite"),
        ("Grand Vizier", "Grand Vizier"),
    ] {
        holds(&world, "seniority", "");
        says(&world, &json!({"seniority": vendor}));
        assert_eq!(ask(&world, "seniority", false), (true, 1), "{vendor}");
        assert_eq!(stored(&world, "seniority").as_deref(), Some(written), "{vendor}");
    }
}

#[test]
fn a_set_goes_by_the_same_rules() {
    let world = world();
    world.run(
        "UPDATE crm SET job_title = 'N/A', phone = '+1 (202) 555-0123', linkedin_url = 'linkedin.com/in/jane-example',
                        seniority = 'Vice President', location = 'Oslo', company_name = 'Acme'",
    );
    says(
        &world,
        &json!({"job_title": "CTO", "phone": "+12025550123", "linkedin_url": "https://www.linkedin.com/in/jane-example", "seniority": "VP",
            "location": "N/A", "company_name": "Acme"}),
    );
    let mut caller = world.caller();
    let sql = "SELECT pg_catalog.array_to_string(fields_updated, ',') FROM enrich_contacts(ARRAY(SELECT id FROM crm), overwrite => true)";
    for row in caller.query(sql, &[]).unwrap() {
        assert_eq!(row.get::<_, String>(0), "job_title");
    }
    assert_eq!(credits(&mut caller), Some(995));
    let kept = "SELECT count(*) FROM crm WHERE job_title = 'CTO' AND phone = '+1 (202) 555-0123' AND linkedin_url = 'linkedin.com/in/jane-example'
                AND seniority = 'Vice President' AND location = 'Oslo'";
    assert_eq!(world.number(kept), 5);
    for row in caller.query(sql, &[]).unwrap() {
        assert_eq!(row.get::<_, String>(0), "");
    }
    assert_eq!(credits(&mut caller), Some(995));
    world.check_credits_add_up();
}
