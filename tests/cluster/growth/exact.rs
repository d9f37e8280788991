//! Summaries say what the rows say, in whatever order transactions commit.

use postgres::Client;

use super::{is_exact, until_summed};
use crate::support::{Stop, check};
use crate::world::{Beginning, World, contact, enrich, number};

/// A world with a second workspace and its role, "little".
fn world() -> World {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.run(
        "SELECT leadlex.create_workspace('tiny', credits => NULL); CREATE ROLE little LOGIN;
         SELECT leadlex.grant_access('little', id) FROM leadlex.workspace WHERE name = 'tiny'",
    );
    enrich(&mut world.caller(), 1).unwrap();
    world.settle();
    world
}

/// Sums today as the worker sums a day that is over: as if midnight had come.
fn at_midnight(world: &World) {
    let mut owner = world.owner();
    let mut sums = owner.transaction().unwrap();
    sums.batch_execute(
        "LOCK leadlex.usage_mark IN EXCLUSIVE MODE;
         DELETE FROM leadlex.usage_change;
         DELETE FROM leadlex.usage_day WHERE day = (now() AT TIME ZONE 'UTC')::date;
         INSERT INTO leadlex.usage_day (workspace_id, day, source, contacts, fields, credits, reverted)
         SELECT workspace_id, day, coalesce(source, ''), contacts, fields, credits, reverted
         FROM leadlex.usage_between(date_trunc('day', now(), 'UTC'), date_trunc('day', now(), 'UTC') + interval '1 day');
         UPDATE leadlex.usage_mark SET before = (now() AT TIME ZONE 'UTC')::date + 1",
    )
    .unwrap();
    sums.commit().unwrap();
}

/// What the queue fills in later, of a call that was charged: its row has no charge.
const WITHOUT_CHARGE: &str = "INSERT INTO leadlex.enrichment (workspace_id, request_id, requested_by, schema_name, table_name, contact_id,
         overwrite, source, fields_updated, field_sources, old_values, new_values)
     SELECT workspace_id, gen_random_uuid(), requested_by, schema_name, table_name, 'later', overwrite, source, fields_updated,
         field_sources, old_values, new_values
     FROM leadlex.enrichment ORDER BY request_id LIMIT 1";

#[test]
fn a_transaction_that_commits_after_its_day_was_summed_counts_at_once() {
    let revert = "SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment WHERE contact_id = pg_temp.one()";
    let forget = "SELECT leadlex.forget_contact(pg_temp.one()::uuid)";
    let call = "SELECT enrich_contact('00000000-0000-4000-8000-000000000002')";
    for (what, sql) in [
        ("history without a charge", WITHOUT_CHARGE),
        ("a revert", revert),
        ("an erasure", forget),
        ("a call", call),
    ] {
        let world = world();
        let mut late = if sql == call { world.caller() } else { world.owner() };
        late.batch_execute(&format!(
            "CREATE FUNCTION pg_temp.one() RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$",
            contact(1)
        ))
        .unwrap();
        for ends in ["ROLLBACK", "COMMIT"] {
            late.batch_execute(&format!("BEGIN; {sql}")).unwrap();
            at_midnight(&world);
            is_exact(&world, &format!("{what}, under way"));
            late.batch_execute(ends).unwrap();
            is_exact(&world, &format!("{what}, {ends}"));
        }
        world.cluster.restart(Stop::Kill);
        is_exact(&world, &format!("{what}, after a crash"));
        // What a call leaves is settled, and then it is the note that says so.
        enrich(&mut world.caller(), 3).unwrap();
        world.settle();
        is_exact(&world, &format!("{what}, settled"));
    }
}

#[test]
fn a_restored_database_adds_up_what_it_has_got() {
    let world = world();
    world.run(&random_history(11));
    until_summed(&world);
    let dump = check(&mut world.cluster.command("pg_dump", "app"), "pg_dump").stdout;
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy").unwrap();
    let file = std::env::temp_dir().join(format!("usage_{}.sql", std::process::id()));
    std::fs::write(&file, dump).unwrap();
    let mut restore = world.cluster.command("psql", "copy");
    check(restore.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file), "psql");
    std::fs::remove_file(file).unwrap();
    let mut copy = world.cluster.connect("copy");
    let (told, by_rows) = super::usage(&mut copy);
    assert_eq!(told, by_rows);
    assert_eq!(told, super::usage(&mut world.owner()).0);
    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    crate::support::eventually("the days are summed", super::SOON, || {
        number(&mut copy, "SELECT count(*) FROM leadlex.usage_day") > 0
            && number(&mut copy, "SELECT count(*) FROM leadlex.usage_change") == 0
    });
    let (told, by_rows) = super::usage(&mut copy);
    assert_eq!(told, by_rows);
}

/// Statements of this seed: charges and history of some days and both workspaces, with and without each other, apart by midnight,
/// reverted whole and in part, erased, moved.
fn random_history(seed: i32) -> String {
    format!(
        "SELECT setseed({seed}::float8 / 1000);
         CREATE TEMP TABLE made ON COMMIT DROP AS
         SELECT (SELECT id FROM leadlex.workspace WHERE name IN ('acme', 'tiny') AND r > 0 ORDER BY (name = 'tiny') = (random() < 0.3) DESC LIMIT 1) AS workspace_id,
                gen_random_uuid() AS request_id, random() AS kind,
                date_trunc('day', now(), 'UTC') - floor(random() * 5) * interval '1 day' + floor(random() * 8) * interval '3 hours' - interval '1 hour' AS at,
                (random() < 0.2)::int * interval '2 hours' AS apart, 'c' || floor(random() * 12) AS contact,
                CASE WHEN random() < 0.5 THEN 'main' ELSE 'other' END AS source, random() < 0.2 AS reverts, random() < 0.5 AS in_part,
                random() < 0.5 AS is_both, CASE WHEN random() < 0.9 THEN '+1202555' || floor(random() * 9999) END AS phone
         FROM generate_series(1, 150) AS r;
         INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
         SELECT workspace_id, request_id, -1, request_id, at - apart FROM made WHERE kind < 0.6;
         INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id, created_at)
         SELECT workspace_id, request_id, -1, request_id, at - apart FROM made WHERE kind >= 0.6 AND kind < 0.8;
         INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id, overwrite,
             source, fields_updated, field_sources, old_values, new_values, reverted_at, reverted_fields)
         SELECT workspace_id, request_id, at, 'caller', 'public', 'crm', contact, false, source,
                CASE WHEN is_both THEN '{{phone,job_title}}' ELSE '{{phone}}' END::text[],
                jsonb_build_object('phone', jsonb_build_object('source', source, 'confidence', 0.5))
                    || CASE WHEN is_both THEN jsonb_build_object('job_title', jsonb_build_object('source', 'other')) ELSE '{{}}' END,
                '{{}}', jsonb_build_object('phone', phone) || CASE WHEN is_both THEN jsonb_build_object('job_title', contact) ELSE '{{}}' END,
                CASE WHEN reverts THEN at END, CASE WHEN reverts AND in_part THEN '{{phone}}'::text[] END
         FROM made WHERE kind < 0.5 OR kind >= 0.65;
         DELETE FROM leadlex.enrichment WHERE random() < 0.05;
         UPDATE leadlex.enrichment SET reverted_at = now() WHERE reverted_at IS NULL AND random() < 0.05;
         UPDATE leadlex.enrichment SET contact_id = 'c3' WHERE random() < 0.02"
    )
}

/// What leadlex.enriched has to be: the newest of each contact and field.
const NEWEST: &str = "SELECT DISTINCT ON (e.contact_id, e.workspace_id, e.schema_name, e.table_name, f.field)
        e.workspace_id, e.schema_name, e.table_name, e.contact_id, f.field, e.new_values ->> f.field AS value,
        coalesce(e.field_sources -> f.field ->> 'source', e.source) AS source,
        (e.field_sources -> f.field ->> 'confidence')::float8 AS confidence, e.created_at AS enriched_at, e.request_id
    FROM leadlex.enrichment AS e, unnest(e.fields_updated) AS f(field)
    WHERE (e.reverted_at IS NULL OR f.field <> ALL (coalesce(e.reverted_fields, e.fields_updated))) AND e.new_values ->> f.field IS NOT NULL
    ORDER BY e.contact_id, e.workspace_id, e.schema_name, e.table_name, f.field, e.created_at DESC, e.request_id DESC";

fn rows(client: &mut Client, from: &str) -> Vec<String> {
    let sql = format!("SELECT u::text FROM ({from}) AS u ORDER BY 1");
    client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn views_of_random_histories_say_what_the_rows_say() {
    let world = world();
    for seed in 1..=12 {
        world.run(&format!("BEGIN; {}; COMMIT", random_history(seed)));
        is_exact(&world, &format!("seed {seed}"));
        if seed % 3 == 0 {
            world.settle();
            until_summed(&world);
            is_exact(&world, &format!("seed {seed}, summed"));
        }
        let mut all = 0;
        for role in ["caller", "little", "postgres"] {
            let mut client = world.cluster.connect_as("app", role);
            let (told, by_rows) = super::usage(&mut client);
            assert_eq!(told, by_rows, "seed {seed}, {role}");
            let columns = "workspace_id, schema_name, table_name, contact_id, field, value, source, confidence, enriched_at, request_id";
            let told = rows(&mut client, &format!("SELECT {columns} FROM leadlex.enriched"));
            assert_eq!(told, rows(&mut client, NEWEST), "seed {seed}, {role}");
            // Each sees its own, and the owner all.
            assert!(!told.is_empty(), "{role}");
            all = if role == "postgres" { told.len() - all } else { all + told.len() };
        }
        assert_eq!(all, 0, "seed {seed}: caller and little see all, and nothing twice");
    }
}

/// What another workspace does is not told: neither that, nor when.
#[test]
fn a_workspace_does_not_learn_of_anothers_changes() {
    let world = world();
    world.run(
        "UPDATE leadlex.usage_mark SET before = (now() AT TIME ZONE 'UTC')::date + 1;
         UPDATE leadlex.enrichment SET reverted_at = now()",
    );
    let open = "SELECT cardinality(days)::int8 FROM leadlex.usage_open()";
    let notes = "SELECT count(*) FROM leadlex.usage_change";
    let mut little = world.cluster.connect_as("app", "little");
    for (client, expected) in [(&mut little, 0), (&mut world.caller(), 1)] {
        assert_eq!((number(client, open), number(client, notes).min(1)), (expected, expected));
    }
}
