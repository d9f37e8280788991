//! Sessions whose search_path begins with a schema in which everything of pg_catalog has a double that raises.

use postgres::{Client, NoTls};
use std::time::Duration;

use crate::support::{Behaviour, eventually, person};
use crate::world::{Beginning, PATH, World, contact, only_phone};

/// Functions, operators and types under the names of pg_catalog's, and tables under the names of ours.
const TRAPS: &str = r"
    CREATE SCHEMA trap;
    SET search_path = pg_catalog;
    CREATE FUNCTION trap.spring() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'TRAP'; END $$;
    DO $make$
    DECLARE it record;
    BEGIN
        FOR it IN
            SELECT proname, oidvectortypes(proargtypes) AS takes, format_type(prorettype, NULL) AS gives, proretset
            FROM pg_proc AS p
            WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provariadic = 0
              AND NOT EXISTS (SELECT FROM pg_type AS t WHERE (t.oid = ANY (p.proargtypes) OR t.oid = p.prorettype)
                              AND t.typtype = 'p' AND t.typname NOT LIKE 'any%' AND t.typname <> 'void')
              AND NOT EXISTS (SELECT FROM pg_type AS t WHERE t.oid = ANY (p.proargtypes) AND t.typname IN ('any', 'void'))
        LOOP
            BEGIN
                EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L', it.proname, it.takes,
                    CASE WHEN it.proretset THEN 'SETOF' ELSE '' END, it.gives,
                    format('BEGIN RAISE EXCEPTION $t$TRAP: function %s$t$; END', it.proname));
            EXCEPTION WHEN invalid_function_definition THEN NULL;
            END;
        END LOOP;
        FOR it IN
            SELECT oprname, format_type(nullif(oprleft, 0), NULL) AS l, format_type(oprright, NULL) AS r, p.oid::regproc::text AS f
            FROM pg_operator AS o
            JOIN pg_proc AS p ON p.pronamespace = 'trap'::regnamespace AND p.proname = (SELECT proname FROM pg_proc WHERE oid = oprcode)
                 AND p.proargtypes = (SELECT proargtypes FROM pg_proc WHERE oid = oprcode)
            WHERE oprnamespace = 'pg_catalog'::regnamespace
        LOOP
            EXECUTE format('CREATE OPERATOR trap.%s (%s RIGHTARG = %s, FUNCTION = %s)', it.oprname,
                coalesce('LEFTARG = ' || it.l || ',', ''), it.r, it.f);
        END LOOP;
        FOR it IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname !~ '^_' LOOP
            EXECUTE format('CREATE DOMAIN trap.%I AS text CHECK (false)', it.typname);
        END LOOP;
        FOR it IN SELECT relname FROM pg_class WHERE relnamespace = 'leadlex'::regnamespace AND relkind IN ('r', 'v') LOOP
            EXECUTE format('CREATE TABLE trap.%I (wrong int)', it.relname);
        END LOOP;
    END $make$;
    RESET search_path;
    GRANT USAGE ON SCHEMA trap TO PUBLIC;
    ALTER DATABASE app SET search_path = trap, pg_catalog, public;";

/// As the extension's owner.
const OWNER: &str = "SELECT leadlex.create_workspace('other', 5, 'pro');
    SELECT leadlex.grant_credits(id, 5, 'more'), leadlex.set_rate_limit(id, 100, 1000),
           leadlex.create_api_key(id, expires_at => pg_catalog.now()) FROM leadlex.workspace;
    SELECT leadlex.revoke_api_key(pg_catalog.left(key_prefix, 12)) FROM leadlex.api_key;
    SELECT leadlex.grant_access('pg_monitor', id), leadlex.revoke_access('pg_monitor', id) FROM leadlex.workspace;
    SELECT leadlex.bind_contacts('public.crm', workspace_id => id) FROM leadlex.workspace WHERE name OPERATOR(pg_catalog.=) 'acme';
    SELECT leadlex.alter_provider('main', priority => 3);
    SELECT leadlex.enable_provider('main', false); SELECT leadlex.enable_provider('main', true);
    SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}');
    SELECT leadlex.add_provider('spare', 'people_data_labs', secret => 'x'); SELECT leadlex.drop_provider('spare');
    SELECT leadlex.recheck('main', pg_catalog.now());
    SELECT leadlex.suppress('gone@acme.example', until => pg_catalog.now() OPERATOR(pg_catalog.+) '1 day'::interval);
    SELECT leadlex.suppress('gone@acme.example'); SELECT leadlex.unsuppress('gone@acme.example');
    SELECT leadlex.suppress_many('{gone@acme.example,@gone.example,linkedin.com/in/gone}'), leadlex.suppress('@acme.example');
    SELECT leadlex.unsuppress('@acme.example'), leadlex.unsuppress_contact('{15}'), leadlex.unsuppress_row('public.crm', '{16}');
    SELECT leadlex.allow_shared_value('gone@acme.example', w.id), leadlex.allow_shared_value('gone@acme.example', w.id, false) FROM leadlex.workspace AS w;
    SELECT leadlex.set_budget('main', 'day', 1000, currency => 'USD'), leadlex.set_budget('main', 'day', NULL, currency => 'USD');
    SELECT * FROM leadlex.revert_provider('main', pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::interval, dry_run => true);
    SELECT * FROM leadlex.revert_provider('main', pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::interval, fields => '{location}');
    TABLE leadlex.budget; SELECT leadlex.budget_report(); TABLE leadlex.spend; TABLE leadlex.spend_by_role; TABLE leadlex.last_outcome;
    SELECT leadlex.create_contact_table(); SELECT leadlex.unbind_contacts('leadlex.contact');
    SELECT leadlex.pause_queue(); SELECT leadlex.resume_queue(); SELECT leadlex.queue_paused();
    SELECT leadlex.stop('why'); SELECT leadlex.resume(); SELECT leadlex.check(); SELECT leadlex.memory_report();
    SELECT leadlex.limit_credits(id, 50), leadlex.allot_credits(id, 50, 'day') FROM leadlex.workspace WHERE name OPERATOR(pg_catalog.=) 'other';
    TABLE leadlex.status; TABLE leadlex.event; TABLE leadlex.vendor_balance; TABLE leadlex.allotment;
    DELETE FROM leadlex.workspace WHERE name OPERATOR(pg_catalog.=) 'other';
    SELECT leadlex.drop_workspace(leadlex.create_workspace('short', 5)); TABLE leadlex.erasure; TABLE leadlex.provider_quality;
    TABLE leadlex.presets; TABLE leadlex.provider_stats; TABLE leadlex.worker_status; TABLE leadlex.job; TABLE leadlex.queue;";

/// As the role that may enrich. `{1}` and the like are contacts.
const CALLER: &str = "SELECT leadlex.whoami(), leadlex.credits(), leadlex.my_workspaces(), leadlex.is_administrator(), leadlex.has_access('leadlex.enrichment', 'SELECT');
    SELECT * FROM leadlex.rate_limit();
    SELECT public.enrich_contact('{1}'), public.enrich_contact('{2}', '{phone}', true, '{2}'), public.enrich_contact('{2}', '{phone}', true, '{2}');
    SELECT public.try_enrich_contact('{3}'), public.enrich_row('public.crm', '{4}'), public.try_enrich_row('public.crm', '{99}');
    SELECT * FROM leadlex.estimate('public.crm', ARRAY['{5}', '{6}']);
    SELECT * FROM public.enrich_contacts(ARRAY['{5}', '{6}']::pg_catalog.uuid[]);
    SELECT * FROM public.enrich_rows('public.crm', ARRAY['{7}']);
    CALL leadlex.enrich_batch('public.crm', ARRAY['{8}', '{9}']);
    SELECT leadlex.enqueue(ARRAY['{10}']::pg_catalog.uuid[]), leadlex.enqueue_rows('public.crm', ARRAY['{11}']);
    SELECT leadlex.retry_jobs(), leadlex.retry_jobs('queued', 'public.crm');
    SELECT * FROM leadlex.estimate_cost('public.crm', ARRAY['{5}', '{6}']);
    SELECT leadlex.missing('public.crm'), leadlex.due('public.crm', '1 day'), leadlex.refill('public.crm');
    SELECT * FROM leadlex.written('public.crm', '{1}');
    SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment LIMIT 1;
    SELECT leadlex.export_contact('{1}'), leadlex.export_row('public.crm', '{4}');
    SELECT leadlex.forget_contact('{1}'), leadlex.forget_row('public.crm', '{12}', suppress => true);
    TABLE leadlex.enriched; TABLE leadlex.usage_daily; TABLE leadlex.job; TABLE leadlex.queue; TABLE leadlex.progress; TABLE leadlex.credit_ledger;
    SELECT leadlex.usage_open(), leadlex.usage_unsummed(), leadlex.usage_between('-infinity', 'infinity');
    TABLE leadlex.provider; TABLE leadlex.provider_stats; TABLE leadlex.presets;";

/// What views, policies, triggers of ours and the tests below call.
const CALLED_BY_OTHERS: [&str; 16] = [
    "binding_restored",
    "config_changed",
    "enqueue_on_insert",
    "enrich_on_insert",
    "preset_report",
    "progress_report",
    "provider_gone",
    "provider_report",
    "row_may_be_updated",
    "secret_given",
    "set_updated_at",
    "usage_changed",
    "usage_replicated",
    "usage_waits",
    "worker_report",
    "workspace_gone",
];

fn hostile(beginning: &Beginning) -> World {
    let world = World::with(beginning);
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    world.run(TRAPS);
    world
}

fn with_contacts(sql: &str) -> String {
    (1..=99).fold(sql.to_owned(), |sql, n| sql.replace(&format!("{{{n}}}"), &contact(n).to_string()))
}

fn run_each(client: &mut Client, sql: &str) {
    for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

#[test]
fn every_function_means_the_same() {
    let world = hostile(&Beginning { contacts: 20, credits: Some(1_000), ..Beginning::default() });
    // With row-level security and with a rewritten plan, as any session may have it.
    world.run("ALTER TABLE public.crm ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON public.crm FOR SELECT USING (true);
               CREATE POLICY own ON public.crm FOR UPDATE USING (note IS NULL)");
    run_each(&mut world.caller(), &with_contacts(CALLER));
    let mut owner = world.owner();
    owner.batch_execute("SET search_path = pg_catalog").unwrap();
    // Before the owner switches off, suppresses and stops what they wait for.
    eventually("queued contacts are enriched", Duration::from_secs(20), || {
        let sql = "SELECT count(*) FROM public.crm WHERE phone IS NOT NULL AND id = ANY ($1)";
        let count: i64 = owner.query_one(sql, &[&vec![contact(10), contact(11)]]).unwrap().get(0);
        count == 2
    });
    run_each(&mut world.owner(), &with_contacts(OWNER));
    let all = "SELECT DISTINCT p.proname::text FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
               WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
                 AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'leadlex_enrich')";
    for row in owner.query(all, &[]).unwrap() {
        let name: String = row.get(0);
        let called = [OWNER, CALLER].iter().any(|sql| sql.contains(&format!(".{name}(")));
        let by_others = CALLED_BY_OTHERS.contains(&name.as_str())
            || ["bind_contacts", "workspace_gone"].contains(&name.as_str());
        assert!(called || by_others, "{name} is not tried");
    }
    assert!(!world.cluster.log().contains("TRAP"), "{}", world.cluster.log());
}

/// The condition of a trigger is looked at before something is written as the table's owner.
#[test]
fn triggers_mean_the_same() {
    let world = World::with(&Beginning { credits: Some(1_000), ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100100")));
    world.run(&format!(
        "CREATE ROLE keeper LOGIN; CREATE ROLE loader LOGIN;
         CREATE TABLE lead (id bigint PRIMARY KEY, email text, phone text, note text);
         CREATE TABLE later (id bigint PRIMARY KEY, email text, phone text);
         GRANT SELECT, INSERT ON lead, later TO loader;
         SELECT leadlex.bind_contacts(t, workspace_id => '{0}') FROM unnest('{{lead,later}}'::regclass[]) AS t;
         ALTER TABLE lead OWNER TO keeper; ALTER TABLE later OWNER TO keeper;
         SELECT leadlex.grant_access('keeper', '{0}');
         CREATE TRIGGER e AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert();
         CREATE TRIGGER q AFTER INSERT ON later FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();
         CREATE TRIGGER note BEFORE UPDATE ON lead FOR EACH ROW WHEN (lower(NEW.note) = 'x' AND NEW.phone::varchar(5) IS NULL)
             EXECUTE FUNCTION suppress_redundant_updates_trigger();
         {TRAPS}",
        world.workspace
    ));
    let mut config = world.cluster.config("app");
    let mut loader = config.user("loader").connect(NoTls).unwrap();
    run_each(
        &mut loader,
        "INSERT INTO public.lead SELECT 1, 'lead1@acme.example'; INSERT INTO public.later SELECT 1, 'lead1@acme.example'",
    );
    let mut owner = world.owner();
    owner.batch_execute("SET search_path = pg_catalog").unwrap();
    let mut filled = |table: &str| -> i64 {
        owner.query_one(&format!("SELECT count(phone) FROM public.{table}"), &[]).unwrap().get(0)
    };
    assert_eq!(filled("lead"), 1, "{}", world.cluster.log());
    eventually("it is enriched by a job", Duration::from_secs(20), || filled("later") == 1);
    assert!(!world.cluster.log().contains("TRAP"), "{}", world.cluster.log());
}

/// The traps do spring.
#[test]
fn what_is_looked_up_is_found_in_the_trap() {
    let world = hostile(&Beginning::default());
    for sql in [
        "SELECT 1 = 1",
        "SELECT 1::pg_catalog.int8 < 2",
        "SELECT 'a' || 'b'::pg_catalog.text",
        "SELECT CASE 1::pg_catalog.oid WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 1 END",
        "SELECT pg_catalog.now() IS DISTINCT FROM pg_catalog.now()",
        "SELECT lower('A'::pg_catalog.text)",
        "SELECT '{}'::pg_catalog.jsonb ->> 'a'",
        "SELECT '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid = ANY ('{00000000-0000-0000-0000-000000000000}')",
    ] {
        let failure = crate::support::fails(world.owner().batch_execute(sql));
        assert!(failure.message.contains("TRAP"), "{sql}: {failure:?}");
    }
}
