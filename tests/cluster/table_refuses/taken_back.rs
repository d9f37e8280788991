//! What a BEFORE trigger takes back without an error is not bought again, either.

use super::*;

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
