-- What CREATE EXTENSION brings, and who may use it.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql

-- It cannot go half-way: another version or a second copy is refused.
CREATE EXTENSION leadlex_enrich;
CREATE EXTENSION leadlex_enrich;

-- The whole interface, as promised: a signature that changes breaks other people's scripts.
CREATE VIEW t.functions AS
SELECT p.oid, p.pronamespace::regnamespace::text AS schema, p.proname AS name,
       pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
       p.provolatile, p.proparallel, p.prosecdef, p.procost, p.proconfig, l.lanname AS language,
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') AS for_public,
       obj_description(p.oid, 'pg_proc') AS comment
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'leadlex_enrich');

SELECT name || '(' || arguments || ') -> ' || result AS calls FROM t.functions WHERE schema = 'public' ORDER BY 1;
SELECT name || '(' || arguments || ') -> ' || result AS others FROM t.functions WHERE schema <> 'public' ORDER BY 1;

-- The calls: volatile, parallel unsafe, the invoker's rights, dear to the planner.
SELECT name, provolatile, proparallel, prosecdef, procost >= 10000 AS dear FROM t.functions WHERE schema = 'public' ORDER BY name;

-- Nobody administers without having been given the right to.
SELECT schema, name FROM t.functions WHERE for_public ORDER BY 1, 2;
-- What others may read says nothing of anybody: no table, view or sequence is PUBLIC's.
SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'leadlex'::regnamespace AND a.grantee = 0 ORDER BY c.relname COLLATE "C", 2;
SELECT a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'leadlex' AND a.grantee = 0;

-- Nothing runs with others' rights by way of SQL: SECURITY DEFINER without a search_path is a hole.
SELECT name FROM t.functions WHERE prosecdef AND NOT coalesce(array_to_string(proconfig, ','), '') LIKE '%search_path=%';
SELECT DISTINCT language FROM t.functions ORDER BY 1;

-- Every function says what it does.
SELECT schema, name FROM t.functions WHERE coalesce(comment, '') = '' ORDER BY 1, 2;
-- And every relation, and every column of those that a user may be given.
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'S')
  AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1;
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind = 'v' AND col_description(c.oid, a.attnum) IS NULL ORDER BY 1, a.attnum;
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = 'leadlex.enrichment'::regclass AND a.attnum > 0
  AND col_description(a.attrelid, a.attnum) IS NULL ORDER BY a.attnum;
-- Beside the primary key no whole index has workspace_id: where a table was empty at its last ANALYZE, the planner may take either.
-- The one there is serves leadlex.enriched and leadlex.forget_contact.
SELECT i.indrelid::regclass AS relation, i.indexrelid::regclass AS index
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE c.relnamespace = 'leadlex'::regnamespace AND i.indpred IS NULL AND NOT i.indisprimary AND a.attname = 'workspace_id' ORDER BY 1, 2;

-- Rows of ours go into a dump, a secret never does; a user's contacts are no part of us.
SELECT c.relname, EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'leadlex_enrich' AND c.oid = ANY (e.extconfig)) AS dumped
FROM pg_class c WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind = 'r' ORDER BY 1;

-- Which settings there are.
SELECT name FROM pg_settings WHERE name LIKE 'leadlex.%' ORDER BY 1;
-- A setting of ours that is misspelt is refused.
SET leadlex.provider_timout = '1s';

-- A stranger can call, and learns only that nobody knows him.
SET client_min_messages = warning;
DROP ROLE IF EXISTS install_stranger, install_reader;
RESET client_min_messages;
CREATE ROLE install_stranger;
GRANT USAGE ON SCHEMA t TO install_stranger;
SET ROLE install_stranger;
SELECT t.fails('SELECT enrich_contact(t.id(1))');
SELECT t.fails('SELECT leadlex.whoami()');
SELECT leadlex.is_administrator(), leadlex.my_workspaces();
SELECT t.fails(format('SELECT count(*) FROM leadlex.%I', relname)) FROM pg_class
WHERE relnamespace = 'leadlex'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname;
SELECT t.fails('SELECT leadlex.create_workspace($$mine$$)');
SELECT t.fails('SELECT leadlex.grant_credits(1)');
SELECT t.fails('SELECT leadlex.add_provider($$p$$, $$generic$$)');
SELECT t.fails('CREATE TABLE leadlex.mine ()');
SELECT t.fails('CREATE TRIGGER mine AFTER INSERT ON leadlex.enrichment FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed()');
RESET ROLE;
DROP OWNED BY install_stranger;
DROP ROLE install_stranger;
-- CREATE EXTENSION is for superusers: the library reaches out of the database.
SELECT DISTINCT superuser, trusted, relocatable FROM pg_available_extension_versions WHERE name = 'leadlex_enrich';

-- Traps in the caller's search_path: what we run for a caller must never resolve to them.
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap1() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'TRAP: function'; END $$;
DO $do$
DECLARE name text; op text; fn text;
BEGIN
    FOREACH name IN ARRAY ARRAY['uuid', 'text', 'name', 'oid', 'int8', 'int4', 'timestamptz', 'bool', 'bytea', 'regrole', 'regclass', '"char"', 'int2'] LOOP
        EXECUTE format('CREATE FUNCTION evil.trap(pg_catalog.%s, pg_catalog.%1$s) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $$TRAP: operator$$; END''', name);
        FOREACH op IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>='] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s, FUNCTION = evil.trap)', op, name, name);
        END LOOP;
    END LOOP;
    EXECUTE 'CREATE FUNCTION evil.trap(jsonb, text) RETURNS text LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION $$TRAP: operator$$; END''';
    EXECUTE 'CREATE OPERATOR evil.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = evil.trap)';
    FOREACH fn IN ARRAY ARRAY['now', 'clock_timestamp', 'gen_random_uuid', 'statement_timestamp'] LOOP
        EXECUTE format('CREATE FUNCTION evil.%I() RETURNS timestamptz LANGUAGE sql AS ''SELECT evil.trap1()''', fn);
    END LOOP;
    FOREACH fn IN ARRAY ARRAY['to_json', 'to_jsonb', 'count', 'sum', 'btrim', 'format', 'to_regclass', 'array_to_json', 'encode', 'starts_with', 'my_workspaces', 'whoami'] LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(anyelement) RETURNS timestamptz LANGUAGE sql AS ''SELECT evil.trap1()''', fn);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['uuid', 'text', 'timestamptz', 'jsonb', 'name', 'oid', 'regclass', 'regrole', 'int8'] LOOP
        EXECUTE format('CREATE DOMAIN evil.%s AS pg_catalog.text CHECK (false)', name);
    END LOOP;
    -- and tables by the names of ours
    FOREACH name IN ARRAY ARRAY['workspace', 'provider', 'enrichment', 'contact', 'binding', 'pg_class', 'pg_attribute', 'pg_namespace', 'pg_roles'] LOOP
        EXECUTE format('CREATE TABLE evil.%I (id int)', name);
    END LOOP;
END $do$;
CREATE TABLE public.crm (id uuid PRIMARY KEY, full_name text, email text, job_title text, company_name text, linkedin_url text, phone text, location text, seniority text);
INSERT INTO crm (id, email) VALUES (t.id(1), 'ada.abbott@acme.example');
SELECT t.sample() AS sample \gset
CREATE ROLE install_reader;
SET client_min_messages = warning;
SET search_path = evil, pg_catalog, public;
SELECT true FROM leadlex.create_workspace('ours', 5);
SELECT leadlex.grant_credits(1);
SELECT leadlex.set_rate_limit(100, 1000);
SELECT leadlex.add_provider('sample', 'people_data_labs', :'sample', 'demo-secret');
SELECT leadlex.alter_provider('sample', priority => 5);
SELECT leadlex.bind_contacts('public.crm');
SELECT leadlex.create_contact_table();
SELECT leadlex.grant_access('postgres');
SELECT leadlex.grant_access('install_reader');
SELECT leadlex.revoke_access('install_reader');
SELECT leadlex.whoami() OPERATOR(pg_catalog.->) 'workspace';
SELECT public.enrich_contact('00000000-0000-4000-8000-000000000001', '{job_title,phone}', false, '00000000-0000-4000-8000-0000000000aa') OPERATOR(pg_catalog.->) 'fields_updated';
SELECT public.enrich_contact('00000000-0000-4000-8000-000000000001', '{job_title,phone}', false, '00000000-0000-4000-8000-0000000000aa') OPERATOR(pg_catalog.->) 'replayed';
SELECT public.enrich_row('public.crm', '00000000-0000-4000-8000-000000000001') OPERATOR(pg_catalog.->) 'fields_updated';
SELECT leadlex.credits();
SELECT "window", "limit" FROM leadlex.rate_limit();
SELECT leadlex.revert_enrichment(request_id) OPERATOR(pg_catalog.->) 'fields_reverted' FROM leadlex.enrichment ORDER BY request_id LIMIT 1;
SELECT pg_catalog.count(*) FROM leadlex.provider;
SELECT leadlex.check_provider('sample', '{"email": "ada.abbott@acme.example"}') OPERATOR(pg_catalog.->) 'outcome';
SELECT leadlex.unbind_contacts('public.crm');
SELECT leadlex.drop_provider('sample');
RESET search_path;
RESET client_min_messages;
-- What was made for the user is of Postgres's types, not of the trap's.
SELECT DISTINCT t.typnamespace::regnamespace FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass('leadlex.contact') AND a.attnum > 0;
-- The traps do spring.
SET search_path = evil, pg_catalog;
SELECT 1 WHERE pg_catalog.current_database() = 'b'::pg_catalog.name;
SELECT now();
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
RESET client_min_messages;

-- A user's contacts are not carried off by DROP EXTENSION without being asked for.
DROP EXTENSION leadlex_enrich;
DROP TABLE leadlex.contact;
-- Dropped and undone: everything still works, in this session too.
BEGIN;
DROP EXTENSION leadlex_enrich;
SELECT t.fails('SELECT leadlex.credits()');
ROLLBACK;
SELECT leadlex.credits();
DROP EXTENSION leadlex_enrich;
SELECT nspname FROM pg_namespace WHERE nspname = 'leadlex';
SELECT proname FROM pg_proc WHERE proname LIKE '%enrich_%';

-- Again, into a schema of one's choice. Nothing of the former one is left, in this session's memory either.
CREATE SCHEMA "Other one";
CREATE EXTENSION leadlex_enrich SCHEMA "Other one";
SELECT DISTINCT schema FROM t.functions ORDER BY 1;
SELECT name FROM t.functions WHERE schema = '"Other one"' ORDER BY 1;
SELECT t.fails('SELECT leadlex.credits()');
SELECT t.fails('SELECT "Other one".enrich_contact(t.id(1))');
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
SET client_min_messages = warning;
SELECT leadlex.bind_contacts('crm');
RESET client_min_messages;
SELECT "Other one".enrich_contact(t.id(1))->'fields_updated';
SELECT split_part(t.fails('SELECT public.enrich_contact(t.id(1))'), E'\n', 1);
ALTER EXTENSION leadlex_enrich SET SCHEMA public;
ALTER SCHEMA "Other one" RENAME TO "Another";
UPDATE crm SET phone = NULL;
SELECT "Another".enrich_contact(t.id(1))->'fields_updated';
DROP EXTENSION leadlex_enrich;
CREATE EXTENSION leadlex_enrich VERSION '0.0.0';
DROP ROLE install_reader;
