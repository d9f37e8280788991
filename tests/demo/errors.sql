-- Each error of the contract once. try_enrich_contact shows them as results; the last one is raised.
-- Read after teams.sql in the same session, with its variables.
\echo
\echo 'Each error once. The HTTP status is in the SQLSTATE: LX402 is 402.'
\echo
CREATE TEMP TABLE error_seen (n int GENERATED ALWAYS AS IDENTITY, what_was_done text, error jsonb);
GRANT ALL ON error_seen TO app, etl;
\set note 'INSERT INTO error_seen (what_was_done, error) SELECT'

SET SESSION AUTHORIZATION etl;
:note 'a field that does not exist', try_enrich_contact(:carla, fields => '{shoe_size}')->'error';
RESET SESSION AUTHORIZATION;

SET leadlex.api_key = 'wbk_0000000000000000000000000000000000000000000000000000';
:note 'a key that nobody has', try_enrich_contact(:carla)->'error';
RESET leadlex.api_key;

SELECT leadlex.grant_credits(:'blue', -1, 'for the demo') AS left_to_blue \gset
SET SESSION AUTHORIZATION etl;
:note 'a workspace without credits', try_enrich_contact(:mateo)->'error';
RESET SESSION AUTHORIZATION;

SELECT leadlex.create_api_key(:'red', permissions => '{}', name => 'may do nothing') AS weak_key \gset
SELECT set_config('leadlex.api_key', :'weak_key', false) IS NOT NULL AS key_is_set \gset
:note 'a key without write:enrich', try_enrich_contact(:carla)->'error';
RESET leadlex.api_key;

SET SESSION AUTHORIZATION app;
:note 'a contact of the other team', try_enrich_contact(:vera)->'error';
:note 'a person whom no provider knows', try_enrich_contact(:nobody)->'error';
:note 'an idempotency key with other arguments', try_enrich_contact(:carla, idempotency_key => :retry_key)->'error';
RESET SESSION AUTHORIZATION;

SELECT leadlex.set_rate_limit(:'blue', per_minute => 1, per_day => NULL) \gset ignored_
SELECT leadlex.grant_credits(:'blue', 10, 'for the demo') AS left_to_blue \gset
SET SESSION AUTHORIZATION etl;
:note 'more calls a minute than the plan allows', try_enrich_contact(:mateo)->'error';
RESET SESSION AUTHORIZATION;

SELECT leadlex.alter_provider('pdl', secret => 'a wrong one') \gset ignored_
SET SESSION AUTHORIZATION app;
:note 'the provider refuses our credentials', try_enrich_contact(:nadia)->'error';
RESET SESSION AUTHORIZATION;

\pset format unaligned
\pset tuples_only on
SELECT format(E'%s %-24s %s%s\n    %s', error->>'status', error->>'code', what_was_done,
              CASE error->>'retryable' WHEN 'true' THEN ' (may be tried again)' END, regexp_replace(error->>'message', '^[a-z_]+: ', ''))
FROM error_seen ORDER BY n;
\pset format wrapped
\pset tuples_only off

\echo
\echo 'And one as it is raised, with everything that it carries:'
\echo
\set VERBOSITY verbose
\set ON_ERROR_STOP off
\set ECHO queries
SET SESSION AUTHORIZATION app;
SELECT enrich_contact(:nadia);
RESET SESSION AUTHORIZATION;

\set ECHO none
\set VERBOSITY default
\set ON_ERROR_STOP on
\echo
\echo 'None of these errors cost a credit. Those that went are for fields that changed, or were taken away by hand; each has a row in the ledger.'
\echo
\set ECHO queries
SELECT w.name AS workspace, l.amount, coalesce(l.note, 'request ' || l.request_id) AS "for"
FROM leadlex.credit_ledger l JOIN leadlex.workspace w ON w.id = l.workspace_id ORDER BY l.created_at;
\set ECHO none
SELECT leadlex.alter_provider('pdl', secret => 'demo-secret') \gset ignored_
