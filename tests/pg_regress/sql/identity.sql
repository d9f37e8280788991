-- Who is calling: keys, roles, workspaces.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS id_owner, id_app, id_team, id_member, id_noinherit, id_nobody, id_super, id_both, id_admin;
CREATE EXTENSION leadlex_enrich;
RESET client_min_messages;
CREATE TABLE crm (id uuid PRIMARY KEY, workspace_id uuid, full_name text, email text, job_title text, company_name text, linkedin_url text, phone text, location text, seniority text);
GRANT ALL ON crm TO PUBLIC;
-- Identity without what differs at every run.
CREATE FUNCTION t.me() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', w->>'workspace', w->>'via', w->>'permissions') FROM leadlex.whoami() w $$;
CREATE FUNCTION t.who() RETURNS text LANGUAGE plpgsql AS $$
DECLARE refused text := t.fails('SELECT t.me()'); BEGIN RETURN CASE refused WHEN 'NO ERROR' THEN t.me() ELSE split_part(refused, E'\n', 1) END; END $$;

-- Nothing is set up: every step tells the next.
SELECT t.fails('SELECT enrich_contact(t.id(1))');
SELECT t.fails('SELECT leadlex.create_api_key()');
SELECT t.fails('SELECT leadlex.bind_contacts($$crm$$, $${"workspace_id": null}$$)');

-- The first provider makes the workspace "default": no limits, open to the extension's owner.
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
SELECT leadlex.whoami() - '{workspace_id}'::text[];
SELECT name, plan, per_minute, per_day, has_credit_limit FROM leadlex.workspace;
SELECT leadlex.credits();
SELECT * FROM leadlex.rate_limit();
-- With a second provider it is still one.
SELECT leadlex.add_provider('other', 'people_data_labs', t.sample(), 'demo-secret');
SELECT count(*) FROM leadlex.workspace;
-- While there is one workspace, its id may be left out everywhere.
CREATE ROLE id_app;
SELECT leadlex.grant_access('id_app');
SET ROLE id_app; SELECT t.who(); RESET ROLE;
SELECT leadlex.revoke_access('id_app');
SET ROLE id_app; SELECT t.who(); RESET ROLE;
SELECT t.fails('SELECT leadlex.revoke_access($$id_app$$)');
SELECT length(leadlex.create_api_key()) > 40 AS made;
SELECT t.fails('SELECT leadlex.grant_credits(5)');

-- Several workspaces.
SELECT leadlex.create_workspace('red', 3) AS red, leadlex.create_workspace('blue', NULL, 'pro') AS blue \gset
SELECT name, plan, per_minute, per_day, has_credit_limit FROM leadlex.workspace ORDER BY name;
SELECT t.fails('SELECT leadlex.create_workspace($$red$$)');
SELECT t.fails('SELECT leadlex.create_workspace($$  $$)');
SELECT t.fails('SELECT leadlex.create_workspace(NULL)');
SELECT t.fails('SELECT leadlex.create_workspace($$green$$, -1)');
SELECT t.fails('SELECT leadlex.create_workspace($$green$$, 1, $$platinum$$)');
-- Then it may not be left out.
SELECT t.fails('SELECT leadlex.grant_access($$id_app$$)');
SELECT t.fails('SELECT leadlex.create_api_key()');
SELECT t.fails('SELECT leadlex.grant_credits(1)');
SELECT t.fails(format('SELECT leadlex.grant_access($$id_app$$, %L)', t.id(404)));
SELECT t.fails(format('SELECT leadlex.grant_access($$no such role$$, %L)', :'red'));
SELECT t.fails(format('SELECT leadlex.grant_access(NULL, %L)', :'red'));
SELECT t.fails(format('SELECT leadlex.grant_access($$id_app$$, %L, NULL)', :'red'));
SELECT t.fails(format('SELECT leadlex.grant_access($$id_app$$, %L, $${NULL}$$)', :'red'));

-- Roles: granted, a member of one that is, a member that does not inherit, nobody, superuser.
CREATE ROLE id_team; CREATE ROLE id_nobody; CREATE ROLE id_super SUPERUSER;
CREATE ROLE id_member IN ROLE id_team; CREATE ROLE id_noinherit NOINHERIT IN ROLE id_team;
SELECT leadlex.grant_access('id_app', :'red'), leadlex.grant_access('id_team', :'blue');
SET ROLE id_app; SELECT t.who();
SET ROLE id_team; SELECT t.who();
SET ROLE id_member; SELECT t.who();
SET ROLE id_noinherit; SELECT t.who();
SET ROLE id_nobody; SELECT t.who();
-- Superuser: may do everything, and acts for nobody.
SET ROLE id_super; SELECT t.who();
SELECT t.fails('SELECT enrich_contact(t.id(1))'), t.fails('SELECT leadlex.credits()'), t.fails('SELECT * FROM leadlex.rate_limit()');
SELECT leadlex.my_workspaces(), leadlex.is_administrator();
RESET ROLE;
-- Real membership holds for a superuser, too.
GRANT id_team TO id_super;
SET ROLE id_super; SELECT t.who(); RESET ROLE;
REVOKE id_team FROM id_super;
-- Membership ends, and with it the access.
REVOKE id_team FROM id_member;
SET ROLE id_member; SELECT t.who(); RESET ROLE;
-- A function of another's rights calls as that other.
CREATE FUNCTION t.as_team() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT t.who()';
ALTER FUNCTION t.as_team() OWNER TO id_team;
SET ROLE id_nobody; SELECT t.as_team(); RESET ROLE;

-- One role, two workspaces: one of them must be named, by name or id.
CREATE ROLE id_both;
SELECT leadlex.grant_access('id_both', :'red'), leadlex.grant_access('id_both', :'blue', '{}');
SET ROLE id_both;
SELECT t.who();
SET leadlex.workspace = 'red'; SELECT t.who();
SELECT set_config('leadlex.workspace', :'blue', false) = :'blue' AS set; SELECT t.who();
SELECT t.fails('SELECT enrich_contact(t.id(1))');
SET leadlex.workspace = 'default'; SELECT t.who();
SET leadlex.workspace = 'no such'; SELECT t.who();
SET leadlex.workspace = ''; SELECT t.who();
RESET leadlex.workspace;
RESET ROLE;
-- It chooses among what is granted; it grants nothing.
SET ROLE id_app; SET leadlex.workspace = 'blue'; SELECT t.who(); RESET leadlex.workspace; RESET ROLE;
-- Permissions of several ways to one workspace come together.
GRANT id_app TO id_both;
SELECT leadlex.revoke_access('id_both', :'blue'), leadlex.grant_access('id_both', :'red', '{read:something}');
SET ROLE id_both; SELECT t.who(); RESET ROLE;
REVOKE id_app FROM id_both;
SET ROLE id_both; SELECT t.who(); SELECT t.fails('SELECT enrich_contact(t.id(1))'); RESET ROLE;

-- Keys. A key goes before the role.
SELECT leadlex.create_api_key(:'red', name => 'red app') AS red_key, leadlex.create_api_key(:'blue') AS blue_key,
       leadlex.create_api_key(:'red', '{}') AS weak_key, leadlex.create_api_key(:'red', expires_at => now() - interval '1 s') AS old_key,
       leadlex.create_api_key(:'red', expires_at => 'infinity') AS lasting_key \gset
SELECT :'red_key' ~ '^wbk_[0-9A-Za-z]{32,}$' AS looks_right, :'red_key' <> :'lasting_key' AS unique;
-- Only a hash is kept.
SELECT count(*) AS stored FROM leadlex.api_key k WHERE k.key_hash = sha256(:'red_key'::bytea);
SELECT count(*) AS shown FROM leadlex.api_key k WHERE strpos(k::text, substr(:'red_key', 20)) > 0;
SET ROLE id_team;
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT t.who();
SELECT leadlex.whoami()->>'key_prefix' = left(:'red_key', length(leadlex.whoami()->>'key_prefix')) AS prefix, length(leadlex.whoami()->>'key_prefix') BETWEEN 8 AND 20 AS short;
SELECT set_config('leadlex.api_key', :'blue_key', false);
SELECT t.who();
SELECT set_config('leadlex.api_key', :'lasting_key', false);
SELECT t.who();
SELECT set_config('leadlex.api_key', :'weak_key', false);
SELECT t.who(); SELECT t.fails('SELECT enrich_contact(t.id(1))');
SELECT set_config('leadlex.api_key', :'old_key', false);
SELECT t.who();
SELECT set_config('leadlex.api_key', 'wbk_unknown', false);
SELECT t.who();
SELECT set_config('leadlex.api_key', E'strange \'"\n key', false);
SELECT t.who();
-- A bad key is refused, it does not fall back to the role. An empty one is none.
SELECT leadlex.my_workspaces();
SELECT set_config('leadlex.api_key', '', false);
SELECT t.who();
RESET leadlex.api_key;
SELECT t.who();
RESET ROLE;
-- A key that expires while it is in use, in a session that has seen it.
SELECT leadlex.create_api_key(:'red', expires_at => clock_timestamp() + interval '2 s') AS short_key \gset
SELECT set_config('leadlex.api_key', :'short_key', false);
SELECT t.who();
SELECT pg_sleep(2.05);
SELECT t.who();
-- A key that is revoked, seen at once by a session that has used it.
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT t.who();
SELECT leadlex.revoke_api_key(left(:'red_key', 16));
SELECT t.who();
SELECT t.fails(format('SELECT leadlex.revoke_api_key(%L)', left(:'red_key', 16)));
SELECT t.fails('SELECT leadlex.revoke_api_key($$wbk_$$)');
SELECT t.fails('SELECT leadlex.revoke_api_key(NULL)');
-- A prefix is no pattern.
SELECT t.fails('SELECT leadlex.revoke_api_key($$wbk_%%%%%%%%$$)'), t.fails('SELECT leadlex.revoke_api_key($$________$$)');
-- The whole key does as well, and what is refused never repeats it.
SELECT leadlex.revoke_api_key(:'lasting_key');
SELECT strpos(t.fails(format('SELECT leadlex.revoke_api_key(%L)', :'lasting_key')), substr(:'lasting_key', 20)) AS told;
SELECT leadlex.create_api_key(:'red', name => 'red app') AS red_key \gset
-- Revocation undone by a rollback.
SELECT set_config('leadlex.api_key', :'red_key', false);
BEGIN; SELECT leadlex.revoke_api_key(left(:'red_key', 16)); SELECT t.who(); ROLLBACK;
SELECT t.who();
-- A key made and used in one transaction, and gone with it.
BEGIN;
SELECT leadlex.create_api_key(:'blue') AS brief_key \gset
SELECT set_config('leadlex.api_key', :'brief_key', false);
SELECT t.who();
ROLLBACK;
SELECT t.who();
SELECT set_config('leadlex.api_key', :'brief_key', false);
SELECT t.who();

-- A key is never shown, by whatever way Postgres shows settings.
SELECT set_config('leadlex.api_key', :'red_key', false) AS set_config;
SHOW leadlex.api_key;
SELECT current_setting('leadlex.api_key');
SELECT count(*) FROM pg_settings WHERE name = 'leadlex.api_key' OR strpos(setting, 'wbk_') > 0 OR strpos(reset_val, 'wbk_') > 0;
CREATE FUNCTION t.shown() RETURNS SETOF text LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'SHOW ALL' LOOP IF r.name = 'leadlex.api_key' OR r.setting LIKE '%wbk_%' THEN RETURN NEXT r.name; END IF; END LOOP; END $$;
SELECT t.shown();
SELECT strpos(leadlex.whoami()::text, substr(:'red_key', 20)) AS told;
-- Nor stored, where others could read it.
\set QUIET off
ALTER ROLE id_app SET leadlex.api_key = 'wbk_in_the_catalog';
ALTER ROLE id_app SET leadlex.api_key FROM CURRENT;
ALTER ROLE ALL SET leadlex.api_key = 'wbk_in_the_catalog';
ALTER ROLE id_app IN DATABASE :DBNAME SET leadlex.api_key = 'wbk_in_the_catalog';
ALTER DATABASE :DBNAME SET leadlex.api_key = 'wbk_in_the_catalog';
ALTER SYSTEM SET leadlex.api_key = 'wbk_in_the_file';
CREATE FUNCTION t.with_key() RETURNS text LANGUAGE sql SET leadlex.api_key = 'wbk_in_the_function' AS 'SELECT 1';
CREATE FUNCTION t.with_key() RETURNS text LANGUAGE sql SET leadlex.api_key FROM CURRENT AS 'SELECT 1';
ALTER FUNCTION t.me() SET leadlex.api_key = 'wbk_in_the_function';
\set QUIET on
SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%api_key%';
SELECT count(*) FROM pg_proc WHERE proconfig::text LIKE '%api_key%';
RESET leadlex.api_key;

-- In the startup packet (PGOPTIONS): as good as SET, and hidden as well.
SELECT 'dbname=' || current_database() || ' options=''-c leadlex.api_key=' || :'blue_key' || '''' AS with_key \gset
\c :with_key
SELECT t.who();
SHOW leadlex.api_key;
SELECT count(*) FROM pg_settings WHERE strpos(setting || coalesce(reset_val, ''), 'wbk_') > 0;
SET leadlex.api_key = ''; SELECT t.fails('SELECT t.me()') LIKE 'NO%' AS still;
RESET leadlex.api_key; SELECT t.who();
-- It was set in no transaction.
SET leadlex.require_local_identity = on; SELECT t.who(); RESET leadlex.api_key; SELECT t.who();
SELECT 'dbname=' || current_database() AS without_key \gset
\c -reuse-previous=off :without_key
SELECT t.who();

-- leadlex.require_local_identity: a key counts in the transaction that set it, and nowhere else.
SET leadlex.require_local_identity = on;
SET ROLE id_nobody;
SELECT set_config('leadlex.api_key', :'red_key', true) IS NOT NULL AS set, t.who();
SELECT t.who();
SELECT set_config('leadlex.api_key', :'red_key', false) IS NOT NULL AS set, t.who();
SELECT t.who();
SELECT leadlex.my_workspaces();
BEGIN;
SELECT t.who();
SELECT set_config('leadlex.api_key', :'blue_key', true) IS NOT NULL AS set;
SELECT t.who();
-- A savepoint that is rolled back brings the older key back, which does not count here.
SAVEPOINT s;
SELECT set_config('leadlex.api_key', :'red_key', true) IS NOT NULL AS set;
SELECT t.who();
ROLLBACK TO s;
SELECT t.who();
COMMIT;
SELECT t.who();
BEGIN;
SAVEPOINT s;
SELECT set_config('leadlex.api_key', :'blue_key', true) IS NOT NULL AS set;
SELECT t.who();
ROLLBACK TO s;
SELECT t.who();
SAVEPOINT s2;
SELECT set_config('leadlex.api_key', :'blue_key', true) IS NOT NULL AS set;
RELEASE s2;
SELECT t.who();
COMMIT;
SELECT t.who();
-- The same in a transaction that fails.
BEGIN;
SELECT set_config('leadlex.api_key', :'blue_key', false) IS NOT NULL AS set;
SELECT 1/0;
ROLLBACK;
SELECT t.who();
-- A role still counts, beside a key that does not.
RESET ROLE; SET ROLE id_app; SELECT t.who();
-- Nobody switches it off for himself.
SET leadlex.require_local_identity = off;
RESET ROLE;
RESET leadlex.require_local_identity;
RESET leadlex.api_key;

-- Administration can be handed on, function by function.
CREATE ROLE id_admin;
SET ROLE id_admin;
SELECT t.fails(format('SELECT leadlex.grant_credits(%L, 1)', :'red'));
SELECT t.fails(format('SELECT leadlex.create_api_key(%L)', :'red'));
SELECT t.fails('SELECT leadlex.revoke_api_key($$wbk_12345678$$)');
SELECT t.fails(format('SELECT leadlex.grant_access($$id_admin$$, %L)', :'red'));
SELECT t.fails(format('SELECT leadlex.set_rate_limit(%L, 1, 1)', :'red'));
RESET ROLE;
GRANT EXECUTE ON FUNCTION leadlex.grant_credits(uuid, bigint, text) TO id_admin;
SET ROLE id_admin;
SELECT leadlex.grant_credits(:'red', 1);
RESET ROLE;

-- A role that is gone has no access, whoever gets its name.
SELECT leadlex.grant_access('id_nobody', :'red');
DROP OWNED BY id_nobody; DROP ROLE id_nobody; CREATE ROLE id_nobody;
SET ROLE id_nobody; SELECT t.who(); RESET ROLE;

ALTER FUNCTION t.as_team() OWNER TO CURRENT_USER;
DROP OWNED BY id_app, id_team, id_member, id_noinherit, id_nobody, id_super, id_both, id_admin;
DROP ROLE id_app, id_team, id_member, id_noinherit, id_nobody, id_super, id_both, id_admin;
