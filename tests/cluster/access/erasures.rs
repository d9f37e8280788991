//! What forgetting says, what it leaves behind, and suppression with it.

use serde_json::{Value, json};

use super::{rival, rows, told};
use crate::support::Behaviour;
use crate::world::{PATH, World, contact, enrich, number, only_phone, try_enrich};

const LEFT: &str = "SELECT by, workspace_id, relation, counts, at > now() - interval '1 minute' AS lately FROM leadlex.erasure ORDER BY id";

#[test]
fn an_erasure_leaves_a_row_for_each_workspace_that_names_no_person() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    let (mut rivals, rival) = rival(&world);
    // The table is another's by now; the first one's history has stayed.
    world.run(&format!("SELECT leadlex.bind_contacts('crm', workspace_id => '{rival}')"));
    world.run("UPDATE crm SET phone = NULL");
    enrich(&mut rivals, 1).unwrap();
    enrich(&mut rivals, 2).unwrap();
    let erased = told(&mut rivals, "forget_contact($1)", 2);
    assert_eq!((&erased["history"], &erased["suppressed"]), (&json!(1), &json!(false)));
    // Nothing is held on this one.
    told(&mut rivals, "forget_contact($1)", 3);
    let mut owner = world.owner();
    let both = told(&mut owner, "forget_contact($1)", 1);
    assert_eq!((&both["history"], &both["receipts"]), (&json!(2), &json!(2)), "{both}");
    let left = rows(&mut owner, LEFT);
    let by = |left: &Value| (left["by"].clone(), left["workspace_id"].clone(), left["relation"].clone());
    let mut expected = vec![
        (json!("rival"), json!(rival), json!("public.crm")),
        (json!("postgres"), json!(world.workspace), json!("public.crm")),
        (json!("postgres"), json!(rival), json!("public.crm")),
    ];
    let mut found: Vec<_> = left.iter().map(by).collect();
    found[1..].sort_by_key(|(_, workspace, _)| *workspace != json!(world.workspace));
    assert_eq!(found, expected);
    for row in &left {
        assert_eq!((&row["counts"]["history"], &row["lately"]), (&json!(1), &json!(true)), "{row}");
        let keys: Vec<&String> = row["counts"].as_object().unwrap().keys().collect();
        let of_result = both.as_object().unwrap().keys();
        assert_eq!(
            keys,
            of_result.filter(|key| !["contact_id", "suppressed"].contains(&key.as_str())).collect::<Vec<_>>()
        );
        assert!(!row.to_string().contains(&contact(1).to_string()));
    }
    // To each their own.
    expected.remove(1);
    let of_rival: Vec<_> = rows(&mut rivals, LEFT).iter().map(by).collect();
    assert_eq!(of_rival, expected);
    let count = "SELECT count(*) FROM leadlex.erasure";
    assert_eq!(number(&mut world.caller(), count), 1);
    world.run("CREATE ROLE stranger LOGIN");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(number(&mut stranger, count), 0);
    assert!(rivals.batch_execute("DELETE FROM leadlex.erasure").is_err());
    // What is rolled back has not been.
    enrich(&mut rivals, 4).unwrap();
    let mut open = rivals.transaction().unwrap();
    open.query_one("SELECT leadlex.forget_contact($1)", &[&contact(4)]).unwrap();
    open.rollback().unwrap();
    assert_eq!(number(&mut owner, count), 3);
}

#[test]
fn a_person_is_forgotten_and_suppressed_in_one_call() {
    let world = World::new();
    // What one person's profile is, is nobody else's.
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+12025550123")));
    let (mut rivals, _) = rival(&world);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let listed = "SELECT DISTINCT reason, source, workspace_id, until FROM leadlex.suppression";
    let erased = told(&mut caller, "forget_contact($1, suppress => true)", 1);
    assert_eq!((&erased["suppressed"], &erased["history"]), (&json!(true), &json!(1)));
    let mut owner = world.owner();
    let entry = json!({"reason": "erased on request", "source": "caller", "workspace_id": world.workspace, "until": null});
    assert_eq!(rows(&mut owner, listed), [entry], "in the caller's workspace");
    world.run("UPDATE crm SET phone = NULL");
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "suppressed");
    assert_eq!(told(&mut caller, "forget_contact($1)", 1)["suppressed"], true, "it stays on the list");
    assert_eq!(told(&mut caller, "forget_contact($1, NULL)", 2)["suppressed"], false);
    // The owner, who acts in all, lists for all; by whatever is known, where there is neither address nor profile.
    world.run(&format!("UPDATE crm SET email = NULL, company_name = 'Acme' WHERE id = '{}'", contact(3)));
    for call in ["forget_row('crm', $1::uuid, true)", "forget_contact($1, true)"] {
        assert_eq!(told(&mut owner, call, 3)["suppressed"], true, "{call}");
    }
    let everywhere = "SELECT count(*) FROM leadlex.suppression WHERE workspace_id = '00000000-0000-0000-0000-000000000000'";
    assert_eq!(number(&mut owner, everywhere), 1);
    assert_eq!(try_enrich(&mut caller, 3)["error"]["reason"], "suppressed");
    // Of whom nothing is known any more that cannot be said.
    let (mut listening, notices) = world.listening("caller");
    enrich(&mut listening, 4).unwrap();
    world.run(&format!("DELETE FROM crm WHERE id = '{}'", contact(4)));
    let erased = told(&mut listening, "forget_contact($1, true)", 4);
    assert_eq!((&erased["suppressed"], &erased["history"]), (&Value::Null, &json!(1)));
    let warnings = notices.warnings();
    assert!(warnings.iter().any(|w| w.contains("was not put on the suppression list")), "{warnings:?}");
    // Another workspace that does not have the row lists nobody.
    let lists = number(&mut owner, "SELECT count(*) FROM leadlex.suppression");
    assert_eq!(told(&mut rivals, "forget_contact($1, true)", 5)["suppressed"], Value::Null);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.suppression"), lists);
}
