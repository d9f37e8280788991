//! What a BEFORE trigger takes back without an error is not bought again, either.

use super::*;
use crate::world::PHONE;

/// The one keeps the title, the other lets no contact of a colleague's be written.
const TRIGGERS: &str = "
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.job_title := OLD.job_title; RETURN NEW; END $$;
    CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER keep BEFORE UPDATE ON crm FOR EACH ROW WHEN (OLD.note IS NULL) EXECUTE FUNCTION keep();
    CREATE TRIGGER leave_out BEFORE UPDATE ON crm FOR EACH ROW WHEN (OLD.note = 'left out') EXECUTE FUNCTION leave_out();";

/// In each way one row of either kind, and one that is written.
#[test]
fn four_nights_buy_what_a_trigger_takes_back_once() {
    let world = world(12, &[]);
    world.run(&format!(
        "{TRIGGERS} ALTER TABLE crm DISABLE TRIGGER USER;
         UPDATE crm SET note = CASE right(id::text, 2)::int % 3 WHEN 1 THEN 'left out' WHEN 2 THEN 'written' END;
         UPDATE crm SET company_name = 'b', linkedin_url = 'in/x-y', phone = '+12025550100', location = 'c', seniority = 'd';
         ALTER TABLE crm ENABLE TRIGGER USER"
    ));
    let mut caller = Session::new(&world, "caller");
    for night in 0..4 {
        for n in [1, 3] {
            match caller.call(n, &[]) {
                Ok(result) => assert_eq!((night, &result["fields_updated"]), (0, &json!([])), "{result}"),
                Err(error) => {
                    let failure = Failure::of(&error);
                    assert!(night > 0 && failure.json()["refused"] == json!(["job_title"]), "{failure:?}");
                }
            }
        }
        let _ = caller.call(2, &[]);
        caller.client.query("SELECT FROM enrich_contacts($1)", &[&ids(4..=6)]).unwrap();
        let batch = ids(7..=9).iter().map(ToString::to_string).collect::<Vec<_>>();
        caller.client.execute("CALL leadlex.enrich_batch('crm', $1)", &[&batch]).unwrap();
        caller.client.query("SELECT leadlex.enqueue($1)", &[&ids(10..=12)]).unwrap();
        wait_for_queue(&world);
        assert_eq!(caller.warnings().len(), 0, "a trigger of yours is no fault");
    }
    assert_eq!(world.provider.count(), 12, "one request a row");
    assert_eq!(world.number("SELECT count(job_title) FROM crm WHERE note = 'written'"), 4);
    assert_eq!(world.number("SELECT count(job_title) FROM crm"), 4);
    assert_eq!(credits(&mut caller.client), Some(10_000 - 4));
    world.run("DROP TRIGGER keep ON crm; DROP TRIGGER leave_out ON crm");
    assert!(world.number("SELECT leadlex.recheck('main', now() - interval '1 hour')") >= 8);
    assert_eq!(caller.call(1, &[]).unwrap()["fields_updated"], json!(["job_title"]));
    world.check_credits_add_up();
}

/// The row must not end as a chief of the company that it does not name.
#[test]
fn beside_a_company_that_a_trigger_keeps_nothing_of_another_is_written() {
    let world = world(4, &["leadlex.position = 'together'"]);
    world.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.company_name := OLD.company_name; RETURN NEW; END $$;
         CREATE TRIGGER keep BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION keep(); ALTER TABLE crm DISABLE TRIGGER keep;
         UPDATE crm SET job_title = 'Clerk', company_name = 'Initech', seniority = 'entry';
         UPDATE crm SET company_name = 'Acme' WHERE id = '00000000-0000-4000-8000-000000000004'; ALTER TABLE crm ENABLE TRIGGER keep",
    );
    let answer = json!({"likelihood": 9, "data": {"job_title": "CTO", "company_name": "Globex",
        "seniority": "c_suite", "phone": PHONE}});
    world.provider.on(PATH, move |request| {
        let mut answer = answer.clone();
        if request.param("email").is_some_and(|email| email.starts_with("person4@")) {
            answer["data"]["company_name"] = json!("ACME Ltd.");
        }
        Behaviour::json(200, answer)
    });
    let mut caller = Session::new(&world, "caller");
    let call = "SELECT enrich_contact($1, overwrite => true)->'fields_updated'";
    let updated: Value = caller.client.query_one(call, &[&contact(1)]).unwrap().get(0);
    assert_eq!(updated, json!(["phone"]));
    caller.client.query("SELECT FROM enrich_contacts($1, overwrite => true)", &[&ids(2..=2)]).unwrap();
    caller.client.query("SELECT leadlex.enqueue($1, overwrite => true)", &[&ids(3..=3)]).unwrap();
    wait_for_queue(&world);
    let rows = "SELECT count(*) FROM crm WHERE (job_title, company_name, seniority) = ('Clerk', 'Initech', 'entry') AND phone IS NOT NULL";
    assert_eq!(world.number(rows), 3);
    // Of the same company under another name the rest is written.
    let updated: Value = caller.client.query_one(call, &[&contact(4)]).unwrap().get(0);
    assert_eq!(updated, json!(["job_title", "phone", "seniority"]));
    world.check_credits_add_up();
}
