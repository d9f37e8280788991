-- The long story: several teams in one database, credits, keys, roles, and each error once.
\set ada   '\'00000000-0000-4000-8000-000000000001\''
\set carla '\'00000000-0000-4000-8000-000000000003\''
\set diego '\'00000000-0000-4000-8000-000000000004\''
\set nobody '\'00000000-0000-4000-8000-000000000009\''
\set mateo '\'00000000-0000-4000-8000-000000000014\''
\set vera  '\'00000000-0000-4000-8000-000000000024\''
\set nadia '\'00000000-0000-4000-8000-000000000015\''
\set retry_key '\'0a0a0a0a-0000-4000-8000-000000000001\''

\echo
\echo :line
\echo  3. The longer story: two teams in one database, with credits, keys and roles
\echo :line
\echo
\set ECHO queries
CREATE EXTENSION leadlex_enrich;

\set ECHO none
-- psql would show a statement without its \gset.
\echo 'SELECT leadlex.create_workspace(\'red team\', credits => 5, plan => \'org\') AS red \\gset'
SELECT leadlex.create_workspace('red team', credits => 5, plan => 'org') AS red \gset
\echo 'SELECT leadlex.create_workspace(\'blue team\', credits => 2, plan => \'org\') AS blue \\gset'
SELECT leadlex.create_workspace('blue team', credits => 2, plan => 'org') AS blue \gset
\o /dev/null
\set ECHO queries
SELECT leadlex.create_contact_table();
SELECT leadlex.add_provider('pdl', preset => 'people_data_labs', secret => 'demo-secret',
         config => jsonb_build_object('request', jsonb_build_object('url', :'provider_url')));
\o

\set ECHO none
-- The CSV of the short story: every other contact for each team.
CREATE TEMP TABLE csv (id uuid, name text, email text, title text, company text, linkedin_url text, phone text, city text, seniority text, owner text);
\copy csv FROM 'contacts.csv' WITH (FORMAT csv, HEADER)
INSERT INTO leadlex.contact (id, workspace_id, full_name, email, job_title, company_name, linkedin_url, phone, location, seniority)
SELECT id, CASE row_number() OVER (ORDER BY id) % 2 WHEN 1 THEN :'red'::uuid ELSE :'blue'::uuid END,
       name, email, title, company, linkedin_url, phone, city, seniority
FROM csv;

\echo
\echo 'The red team has an application with a key. The blue team has a login for its ETL, and no secret in SQL.'
\echo
\echo 'SELECT leadlex.create_api_key(:\'red\', name => \'red app\') AS red_key \\gset    -- shown once; only its hash is stored'
SELECT leadlex.create_api_key(:'red', name => 'red app') AS red_key \gset
\o /dev/null
\set ECHO queries
CREATE ROLE app LOGIN;
SELECT leadlex.grant_access('app', :'red');
CREATE ROLE etl LOGIN;
SELECT leadlex.grant_access('etl', :'blue');
\o

\set ECHO none
\echo
\echo 'As the application, which sets its key for the transaction. (A program calls set_config(\'leadlex.api_key\', $1, true) with a bind'
\echo 'parameter, so that no log shows the key.)'
\echo
\set ECHO queries
SET SESSION AUTHORIZATION app;
BEGIN;
SET LOCAL leadlex.api_key = :'red_key';
SELECT r->'fields_updated' AS fields_updated, r->>'source' AS source, r->>'credits_remaining' AS credits_remaining, r->>'replayed' AS replayed
FROM enrich_contact(:ada, idempotency_key => :retry_key) r;
COMMIT;

\set ECHO none
\echo
\echo 'The connection broke before the answer came? The same key again returns the same result: no credit, no request.'
\echo
\set ECHO queries
SELECT r->'fields_updated' AS fields_updated, r->>'credits_remaining' AS credits_remaining, r->>'replayed' AS replayed
FROM enrich_contact(:ada, idempotency_key => :retry_key) r;

RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION etl;
SELECT full_name, r->'fields_updated' AS fields_updated, r->>'credits_remaining' AS credits_remaining
FROM leadlex.contact, enrich_contact(id) r WHERE id = :diego;
RESET SESSION AUTHORIZATION;

\set ECHO none
-- errors.sql goes on in the same session.
