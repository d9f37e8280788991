-- The settings: what they are by default, their bounds, and who may set which.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS set_user;
CREATE ROLE set_user;
CREATE EXTENSION leadlex_enrich;
RESET client_min_messages;

SELECT name, boot_val, unit, vartype, context, min_val, max_val, enumvals FROM pg_settings WHERE name LIKE 'leadlex.%' ORDER BY name;
-- Every one says what it is for.
SELECT name FROM pg_settings WHERE name LIKE 'leadlex.%' AND coalesce(short_desc, '') = '';
-- Whatever spends resources or opens the network is the superuser's: a plain user sets only what chooses among his own.
SELECT name FROM pg_settings WHERE name LIKE 'leadlex.%' AND context = 'user' ORDER BY name;

-- Bounds and units.
-- Since 18 the range has the units, too.
CREATE FUNCTION t.out_of_range(statement text) RETURNS text LANGUAGE sql AS $$
SELECT regexp_replace(t.fails(statement), '([0-9]) (ms|kB)( [.][.]|[)])', '\1\3', 'g') $$;
SET leadlex.provider_timeout = '250ms'; SHOW leadlex.provider_timeout;
SET leadlex.provider_timeout = '3s'; SHOW leadlex.provider_timeout;
SELECT t.out_of_range('SET leadlex.provider_timeout = $$2min$$');
SELECT t.out_of_range('SET leadlex.provider_timeout = 0');
SET leadlex.provider_timeout = 'soon';
SET leadlex.total_timeout = '5min'; SHOW leadlex.total_timeout;
SELECT t.out_of_range('SET leadlex.total_timeout = $$6min$$');
SELECT t.out_of_range('SET leadlex.total_timeout = 0');
SET leadlex.credit_wait = 0; SHOW leadlex.credit_wait;
SELECT t.out_of_range('SET leadlex.credit_wait = $$61s$$');
SET leadlex.max_response_size = '2MB'; SHOW leadlex.max_response_size;
SELECT t.out_of_range('SET leadlex.max_response_size = $$1GB$$');
SELECT t.out_of_range('SET leadlex.max_response_size = 0');
SET leadlex.min_confidence = 1; SHOW leadlex.min_confidence;
SET leadlex.min_confidence = 1.01;
SET leadlex.min_confidence = -0.1;
SET leadlex.min_confidence = 'NaN';
SET leadlex.waterfall = 'FILL'; SHOW leadlex.waterfall;
SET leadlex.waterfall = 'all';
SET leadlex.max_workers = 3;
SET leadlex.worker_naptime = 3;
SET leadlex.max_workspaces = 30;
SET leadlex.max_contacts_in_flight = 3000;
SET leadlex.no_such_setting = 1;
ALTER DATABASE :DBNAME SET leadlex.waterfall = 'fill';
ALTER ROLE set_user SET leadlex.workspace = 'red';
ALTER ROLE set_user SET leadlex.min_confidence = 2;

-- Who may set which.
SET ROLE set_user;
SELECT name, left(t.fails(format('SET %s = %L', name, coalesce(boot_val, ''))), 60) FROM pg_settings WHERE name LIKE 'leadlex.%' ORDER BY name;
SELECT t.fails('SELECT set_config($$leadlex.provider_timeout$$, $$60000$$, true)');
SELECT t.fails('CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET leadlex.allow_private_addresses = on AS $$SELECT 1$$');
RESET ROLE;
-- A superuser's grant hands on one.
GRANT SET ON PARAMETER leadlex.total_timeout TO set_user;
SET ROLE set_user; SET leadlex.total_timeout = '2s'; RESET ROLE;
REVOKE SET ON PARAMETER leadlex.total_timeout FROM set_user;
-- They go with the transaction, and with the function that sets them.
RESET ALL;
BEGIN; SET LOCAL leadlex.waterfall = 'fill'; SHOW leadlex.waterfall; ROLLBACK; SHOW leadlex.waterfall;
SELECT leadlex.add_provider('weak', config => jsonb_build_object('request', jsonb_build_object('url', current_setting('test.provider_url'), 'headers', '{"X-Api-Key": "demo-secret"}'::jsonb, 'query', '{"email": "{email}"}'::jsonb),
    'identify_by', '[["email"]]'::jsonb, 'response', '{"fields": {"job_title": "/data/job_title"}, "confidence": {"value": 0.4}}'::jsonb));
CREATE TABLE crm (id int PRIMARY KEY, email text, job_title text);
INSERT INTO crm VALUES (1, 'ada.abbott@acme.example');
SET client_min_messages = warning; SELECT leadlex.bind_contacts('crm'); RESET client_min_messages;
CREATE FUNCTION t.picky() RETURNS jsonb LANGUAGE sql SET leadlex.min_confidence = 0.5 AS $$ SELECT try_enrich_row('crm', '1')->'error'->'code' $$;
SELECT t.picky();
SELECT try_enrich_row('crm', '1')->'fields_updated';
-- The worker shows itself to those who watch, to a team in its own database, and to nobody else.
SELECT process, state, database FROM leadlex.worker_status WHERE process = 'launcher';
SET ROLE set_user; SELECT count(*) FROM leadlex.worker_status; RESET ROLE;
GRANT pg_monitor TO set_user;
SET ROLE set_user; SELECT count(*) >= 1 AS shown FROM leadlex.worker_status; RESET ROLE;

-- Plans, and limits set by hand: admitted up to the limit, what is rolled back stays used, a refusal uses nothing.
SELECT leadlex.create_workspace('limited') AS limited \gset
SELECT leadlex.grant_access('set_user', :'limited');
SELECT leadlex.grant_credits(:'limited', 100);
ALTER TABLE crm ADD COLUMN workspace_id uuid, ADD COLUMN phone text;
UPDATE crm SET workspace_id = :'limited', job_title = NULL;
SELECT leadlex.bind_contacts('crm', '{"phone": null}');
GRANT SELECT, UPDATE ON crm TO set_user;
SET ROLE set_user;
SELECT "window", "limit", remaining, reset > now() - interval '1 s' AS later FROM leadlex.rate_limit();
SELECT enrich_row('crm', '1')->'rate_limit'->'remaining';
BEGIN; SELECT enrich_row('crm', '1', overwrite => true)->'rate_limit'->'remaining'; ROLLBACK;
SELECT "window", remaining FROM leadlex.rate_limit();
-- Nothing to fill, a replay, a validation error use none.
SELECT enrich_row('crm', '1')->'rate_limit'->'remaining', try_enrich_row('crm', '1', '{}')->'error'->'rate_limit', try_enrich_row('crm', 'x')->'error'->'rate_limit'->'remaining';
RESET ROLE;
SELECT leadlex.set_rate_limit(:'limited', 3, 100);
UPDATE crm SET job_title = NULL;
SET ROLE set_user;
SELECT enrich_row('crm', '1')->'rate_limit'->'remaining';
SELECT "window", "limit", remaining FROM leadlex.rate_limit();
RESET ROLE; UPDATE crm SET job_title = NULL; SET ROLE set_user;
SELECT t.fails('SELECT enrich_row($$crm$$, $$1$$)');
SELECT t.told(try_enrich_row('crm', '1'))->'error'->'retry_after', leadlex.credits();
-- The tightest window is the one that is shown.
RESET ROLE; SELECT leadlex.set_rate_limit(:'limited', NULL, 4); SET ROLE set_user;
SELECT (enrich_row('crm', '1')->'rate_limit') - '{reset}'::text[];
RESET ROLE; UPDATE crm SET job_title = NULL; SET ROLE set_user;
SELECT t.fails('SELECT enrich_row($$crm$$, $$1$$)');
SELECT reset = date_trunc('day', now() AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC' AS at_midnight_utc FROM leadlex.rate_limit() WHERE "window" = 'day';
SELECT * FROM leadlex.rate_limit() WHERE "window" = 'minute';
RESET ROLE;
SELECT leadlex.set_rate_limit(:'limited', 0, NULL);
SET ROLE set_user; SELECT left(t.fails('SELECT enrich_row($$crm$$, $$1$$)'), 27); RESET ROLE;
SELECT leadlex.set_rate_limit(:'limited', NULL, NULL);
SET ROLE set_user; SELECT enrich_row('crm', '1')->'rate_limit'; RESET ROLE;
SELECT t.fails(format('SELECT leadlex.set_rate_limit(%L, -1, 1)', :'limited')), t.fails('SELECT leadlex.set_rate_limit(t.id(404), 1, 1)'), t.fails('SELECT leadlex.set_rate_limit(1, 1)');
SELECT name, per_minute, per_day FROM leadlex.workspace WHERE name = 'limited';
SELECT count(leadlex.create_workspace(p, plan => p)) FROM unnest('{starter,pro,org,unmetered}'::text[]) p;
SELECT plan, per_minute, per_day FROM leadlex.workspace WHERE name = plan ORDER BY 2;
-- What cannot be prepared for two-phase commit says so, and takes nothing along.
UPDATE crm SET job_title = NULL;
\set VERBOSITY sqlstate
BEGIN; SELECT leadlex.grant_credits(:'limited', 1) > 0; PREPARE TRANSACTION 'x';
SET ROLE set_user; SELECT leadlex.credits() AS before \gset
BEGIN; SELECT enrich_row('crm', '1')->'fields_updated'; PREPARE TRANSACTION 'x';
SELECT leadlex.credits() - :before, (SELECT job_title FROM crm);
\set VERBOSITY terse
RESET ROLE;
ALTER DATABASE :DBNAME RESET leadlex.waterfall;
DROP OWNED BY set_user; DROP ROLE set_user;
