-- Two workspaces in one database: nobody sees, changes or pays for the other's.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS rls_red, rls_blue, rls_both, rls_key, rls_bi;
CREATE ROLE rls_bi; CREATE ROLE rls_red; CREATE ROLE rls_blue; CREATE ROLE rls_both; CREATE ROLE rls_key;
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('red', 10) AS red, leadlex.create_workspace('blue', 20) AS blue \gset
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
CREATE FUNCTION t.grants(granted name, workspace uuid, permissions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE privilege text; has text; BEGIN
    PERFORM leadlex.grant_access(granted, workspace, permissions);
    EXECUTE format('SET LOCAL ROLE %I', granted);
    FOREACH privilege IN ARRAY '{DELETE,INSERT,SELECT,UPDATE}'::text[] LOOP
        BEGIN
            IF leadlex.has_access('leadlex.contact', privilege) THEN has := concat_ws(' ', has, privilege); END IF;
        EXCEPTION WHEN insufficient_privilege THEN NULL; END;
    END LOOP;
    RESET ROLE;
    RETURN has;
END $$;
-- A provider of each one's own, and a role granted before there is a contact table, one after.
SELECT leadlex.add_provider('red_only', 'people_data_labs', t.sample(), 'red-secret', 200, :'red');
SELECT leadlex.add_provider('blue_only', 'people_data_labs', t.sample(), 'blue-secret', 200, :'blue');
SELECT leadlex.grant_access('rls_red', :'red');
SELECT leadlex.create_contact_table();
SELECT leadlex.grant_access('rls_blue', :'blue');
SELECT leadlex.grant_access('rls_both', :'red'), leadlex.grant_access('rls_both', :'blue');
SELECT leadlex.create_api_key(:'red') AS red_key, leadlex.create_api_key(:'blue') AS blue_key \gset
RESET client_min_messages;

-- The contact table as promised.
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = 'leadlex.contact'::regclass AND attnum > 0 ORDER BY attnum;
SELECT relrowsecurity FROM pg_class WHERE oid = 'leadlex.contact'::regclass;
-- It belongs to no extension, so that it is dumped with what the user adds to it.
SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = 'leadlex.contact'::regclass AND deptype = 'e';
SELECT t.fails('SELECT leadlex.create_contact_table()');
SELECT columns, workspace_id FROM leadlex.binding;
-- Grants: rows, never triggers nor the power to lock everybody out.
SELECT grantee::regrole, string_agg(privilege_type, ' ' ORDER BY privilege_type)
FROM pg_class c, aclexplode(c.relacl) WHERE c.oid = 'leadlex.contact'::regclass AND grantee <> c.relowner GROUP BY 1 ORDER BY 1;
-- PUBLIC's privileges are held back from all but granted roles, whatever other policies say.
SELECT polname, polpermissive, polcmd FROM pg_policy WHERE polrelid = 'leadlex.contact'::regclass ORDER BY 1;
-- Who may not enrich may not write: also when that comes later.
SELECT t.grants('rls_bi', :'red', '{}');
SELECT t.grants('rls_bi', :'blue', '{write:enrich}');
SELECT t.grants('rls_bi', :'blue', '{write:enrch}');
SELECT leadlex.revoke_access('rls_bi', :'red'), leadlex.revoke_access('rls_bi', :'blue');

-- Each writes into its own workspace without naming it.
SET ROLE rls_red;
INSERT INTO leadlex.contact (id, full_name, email) VALUES (t.id(1), 'Ada Abbott', 'ada.abbott@acme.example'), (t.id(2), 'Bruno Bergmann', 'bruno.bergmann@harborline.example');
SET ROLE rls_blue;
INSERT INTO leadlex.contact (id, full_name, email) VALUES (t.id(3), 'Carla Castillo', 'carla.castillo@northwind.example');
SELECT t.fails(format('INSERT INTO leadlex.contact (id, workspace_id) VALUES (t.id(9), %L)', :'red'));
SELECT t.fails(format('UPDATE leadlex.contact SET workspace_id = %L', :'red'));
UPDATE leadlex.contact SET full_name = 'stolen' WHERE id = t.id(1);
DELETE FROM leadlex.contact WHERE id = t.id(1);
SELECT full_name FROM leadlex.contact;
SELECT t.fails('TRUNCATE leadlex.contact');
SELECT t.fails('CREATE TRIGGER mine BEFORE INSERT ON leadlex.contact FOR EACH ROW EXECUTE FUNCTION leadlex.set_updated_at()');
-- Who has several must say which: a row for nobody in particular is refused, one for each is not.
SET ROLE rls_both;
SELECT t.fails('INSERT INTO leadlex.contact (id) VALUES (t.id(9))');
INSERT INTO leadlex.contact (id, workspace_id) VALUES (t.id(4), :'red'), (t.id(5), :'blue');
SELECT full_name FROM leadlex.contact ORDER BY id;
DELETE FROM leadlex.contact WHERE full_name IS NULL;
RESET ROLE;
SELECT full_name, workspace_id = :'red' AS red FROM leadlex.contact ORDER BY id;

-- One call each.
SET ROLE rls_red;
SELECT t.told(enrich_contact(t.id(1), '{job_title,phone}'));
SELECT t.fails('SELECT enrich_contact(t.id(3))');
SELECT t.told(try_enrich_contact(t.id(3), idempotency_key => t.id(77)));
SELECT t.fails('SELECT enrich_row($$leadlex.contact$$, t.id(3)::text)');
SET ROLE rls_blue;
SELECT t.told(enrich_contact(t.id(3), '{phone}'));
SELECT t.fails('SELECT enrich_contact(t.id(1))');
-- The same key in two workspaces is two keys.
SELECT enrich_contact(t.id(3), '{seniority}', idempotency_key => t.id(88))->'replayed';
SET ROLE rls_red;
SELECT enrich_contact(t.id(2), '{seniority}', idempotency_key => t.id(88))->'replayed';
SELECT enrich_contact(t.id(2), '{seniority}', idempotency_key => t.id(88))->'replayed';
RESET ROLE;

-- Everything that a granted role may read, and whose rows it finds there. A new table that is not watched shows up here.
CREATE FUNCTION t.sees() RETURNS SETOF text LANGUAGE plpgsql AS $f$
DECLARE name text; found text; refused text[] := '{}';
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') ORDER BY 1 LOOP
        BEGIN
            EXECUTE format($q$SELECT count(*) || ' rows of ' || coalesce(string_agg(DISTINCT coalesce(w.name, CASE WHEN j->>'id' IS NULL AND j->>'workspace_id' IS NULL THEN 'all' ELSE 'STRANGERS' END), ', '), 'nobody')
                FROM (SELECT to_jsonb(r) AS j FROM leadlex.%I r) x
                LEFT JOIN t.workspaces w ON w.id = coalesce(j->>'workspace_id', CASE WHEN %1$L = 'workspace' THEN j->>'id' END)::uuid$q$, name) INTO found;
            -- Rows move from the one to the other at any time; together they are the ledger.
            IF name IN ('credit_pending', 'credit_settled') THEN
                EXECUTE format('SELECT CASE WHEN count(*) = 0 THEN $$of the ledger$$ ELSE $$MORE THAN THE LEDGER$$ END FROM leadlex.%I WHERE id NOT IN (SELECT id FROM leadlex.credit_ledger)', name) INTO found;
            END IF;
            -- The worker's row comes with its first work.
            IF name = 'worker_status' THEN
                EXECUTE 'SELECT CASE WHEN count(*) = 0 THEN $$nothing$$ WHEN bool_and(coalesce(database, current_database()) = current_database() AND last_error IS NULL) THEN $$of this database$$ ELSE $$OF OTHERS$$ END FROM leadlex.worker_status' INTO found;
            END IF;
            RETURN NEXT name || ': ' || found;
        EXCEPTION WHEN insufficient_privilege THEN refused := refused || name;
        END;
    END LOOP;
    RETURN NEXT 'refused: ' || array_to_string(refused, ' ');
END $f$;
CREATE TABLE t.workspaces AS SELECT id, name FROM leadlex.workspace;
GRANT SELECT ON t.workspaces TO PUBLIC;
DO $f$ BEGIN FOR i IN 1..200 LOOP EXIT WHEN (SELECT count(*) FROM leadlex.spend) = 2 AND (SELECT count(*) FROM leadlex.provider_quality) = 5 AND NOT EXISTS (SELECT FROM leadlex.usage_change); PERFORM pg_sleep(0.05); END LOOP; END $f$;
SET ROLE rls_red; SELECT t.sees();
SET ROLE rls_blue; SELECT t.sees();
SET ROLE rls_both; SELECT t.sees();
-- The workspace that one has chosen to act for hides nothing of one's own; that of a key does.
SET leadlex.workspace = 'red'; SELECT t.sees(); RESET leadlex.workspace;
SELECT set_config('leadlex.api_key', :'blue_key', false);
SELECT t.sees();
SELECT leadlex.credits();
SET ROLE rls_red;
SELECT t.sees();
SELECT full_name FROM leadlex.contact;
SELECT t.fails('SELECT enrich_contact(t.id(1))');
SELECT set_config('leadlex.api_key', 'wbk_wrong', false);
SELECT t.sees();
RESET leadlex.api_key;
-- A key alone opens no table: that takes privileges. It does call.
SET ROLE rls_key;
SELECT t.sees();
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT count(*) FROM leadlex.contact;
SELECT t.fails('SELECT enrich_contact(t.id(1))');
SELECT leadlex.credits();
RESET leadlex.api_key;
RESET ROLE;
GRANT SELECT, UPDATE ON leadlex.contact TO rls_key;
SET ROLE rls_key;
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT full_name FROM leadlex.contact ORDER BY id;
SELECT enrich_contact(t.id(1), '{location}')->'fields_updated';
SELECT t.fails('SELECT enrich_contact(t.id(3))');
RESET leadlex.api_key;
RESET ROLE;
-- With no identity: nothing, not an error.
SET ROLE rls_key; SELECT count(*) FROM leadlex.contact; RESET ROLE;

-- Nor can anything of ours be written by hand.
SET ROLE rls_red;
SELECT t.fails('INSERT INTO leadlex.credit_pending VALUES (t.id(1), t.id(1), 1000, t.id(1))');
SELECT t.fails('UPDATE leadlex.workspace SET per_minute = NULL');
SELECT t.fails('DELETE FROM leadlex.credit_ledger');
SELECT t.fails('DELETE FROM leadlex.enrichment');
SELECT t.fails('UPDATE leadlex.provider SET priority = 1');
-- A predicate of the reader's own does not run on rows that it may not see.
CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN PERFORM set_config('t.seen', concat_ws(E'\n', nullif(current_setting('t.seen', true), ''), $1), false); RETURN true; END $$;
SELECT count(*) FROM leadlex.workspace WHERE pg_temp.peek(name);
SELECT count(*) FROM leadlex.provider WHERE pg_temp.peek(name);
SELECT count(*) FROM leadlex.contact WHERE pg_temp.peek(full_name);
SELECT count(*) FROM leadlex.credit_ledger WHERE pg_temp.peek(note) AND note = 'opening balance';
SELECT seen FROM regexp_split_to_table(current_setting('t.seen'), E'\n') AS seen ORDER BY 1;
RESET ROLE;

-- The extension's owner sees all, and still acts for nobody; a workspace's own provider is asked for it alone.
SELECT name, workspace_id IS NULL AS for_all FROM leadlex.provider ORDER BY name;
SELECT leadlex.enable_provider('sample', false);
SELECT leadlex.alter_provider('red_only', secret => 'demo-secret'), leadlex.alter_provider('blue_only', t.dead());
SET ROLE rls_red; SELECT enrich_contact(t.id(2), '{phone}')->>'source'; RESET ROLE;
SELECT leadlex.enable_provider('blue_only', false);
SET ROLE rls_blue; SELECT t.fails('SELECT enrich_contact(t.id(3), $${location}$$)'); RESET ROLE;
SELECT leadlex.drop_provider('blue_only'), leadlex.enable_provider('sample', true);

-- A user's own table: its row-level security and privileges are the caller's.
CREATE TABLE crm (id int PRIMARY KEY, owner text, email text, job_title text, phone text);
INSERT INTO crm VALUES (1, 'rls_red', 'ada.abbott@acme.example'), (2, 'someone', 'bruno.bergmann@harborline.example'), (3, 'shown', 'carla.castillo@northwind.example');
ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON crm FOR SELECT USING (owner IN (current_user, 'shown'));
CREATE POLICY written ON crm FOR UPDATE USING (owner = current_user);
SET client_min_messages = warning;
SELECT leadlex.bind_contacts('crm', workspace_id => :'red');
RESET client_min_messages;
SET ROLE rls_red;
SELECT t.fails('SELECT enrich_row($$crm$$, $$1$$)');
RESET ROLE;
GRANT SELECT, UPDATE ON crm TO rls_red, rls_blue;
SET ROLE rls_red;
SELECT enrich_row('crm', '1')->'fields_updated';
SELECT t.fails('SELECT enrich_row($$crm$$, $$2$$)');
-- May be seen, may not be written: that is said, and no credit is gone.
SELECT leadlex.credits();
SELECT t.fails('SELECT enrich_row($$crm$$, $$3$$)');
SELECT leadlex.credits();
-- A table whose rows all belong to the other workspace.
SET ROLE rls_blue;
SELECT t.fails('SELECT enrich_row($$crm$$, $$1$$)');
RESET ROLE;

-- To a superuser row-level security does not apply, and still a key's workspace is all that a call reaches.
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT t.fails('SELECT enrich_contact(t.id(3), $${company_name}$$)');
SELECT enrich_contact(t.id(1), '{company_name}')->'fields_updated';
RESET leadlex.api_key;
-- The table keeps the time of its rows' last change; dropped by its owner, it can be made again.
SELECT full_name, updated_at > created_at AS changed FROM leadlex.contact ORDER BY id;
BEGIN;
DROP TABLE leadlex.contact;
SELECT leadlex.create_contact_table();
SET ROLE rls_red;
INSERT INTO leadlex.contact (id, email) VALUES (t.id(1), 'ada.abbott@acme.example');
SELECT enrich_contact(t.id(1), '{seniority}')->'fields_updated';
ROLLBACK;

-- Access taken back takes the sight as well.
SELECT leadlex.revoke_access('rls_red', :'red'), leadlex.revoke_access('rls_both', :'red');
SET ROLE rls_red; SELECT t.sees();
SET ROLE rls_both; SELECT t.sees();
RESET ROLE;
SELECT workspace_id = :'red' AS red, sum(amount) FROM leadlex.credit_ledger GROUP BY 1 ORDER BY 1;
DROP OWNED BY rls_red, rls_blue, rls_both, rls_key;
DROP ROLE rls_red, rls_blue, rls_both, rls_key;
