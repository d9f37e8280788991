-- What was done, by whom, what it cost, and taking it back.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS hist_red, hist_blue, hist_none;
CREATE ROLE hist_red; CREATE ROLE hist_blue; CREATE ROLE hist_none;
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('red', 10, 'unmetered') AS red, leadlex.create_workspace('blue', 10, 'unmetered') AS blue, leadlex.create_workspace('free', NULL, 'unmetered') AS free \gset
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
SELECT leadlex.grant_access('hist_red', :'red'), leadlex.grant_access('hist_blue', :'blue'), leadlex.grant_access('hist_none', :'red', '{}');
CREATE TABLE crm (id int PRIMARY KEY, workspace_id uuid, email text, job_title text, phone text, location text, seniority text);
GRANT SELECT, UPDATE ON crm TO hist_red, hist_blue, hist_none;
SELECT leadlex.bind_contacts('crm');
INSERT INTO crm VALUES (1, :'red', 'ada.abbott@acme.example', NULL, ' ', NULL);
INSERT INTO crm (id, workspace_id, email) VALUES (2, :'red', 'bruno.bergmann@harborline.example'), (3, :'blue', 'carla.castillo@northwind.example'), (4, :'red', 'nobody@acme.example'), (5, :'free', 'diego.dvorak@brightfield.example');
SELECT leadlex.create_api_key(:'red') AS red_key, leadlex.create_api_key(:'free') AS free_key \gset
RESET client_min_messages;

-- Credits: granted, corrected, never below zero, each movement with a row.
SELECT leadlex.grant_credits(:'red', 5, 'invoice 7'), leadlex.grant_credits(:'red', -12, 'a mistake');
SELECT t.fails(format('SELECT leadlex.grant_credits(%L, -4)', :'red'));
SELECT t.fails(format('SELECT leadlex.grant_credits(%L, 0)', :'red')), t.fails(format('SELECT leadlex.grant_credits(%L, NULL)', :'red')), t.fails(format('SELECT leadlex.grant_credits(%L, 1)', :'free'));
SELECT t.fails(format('SELECT leadlex.grant_credits(%L, 9223372036854775807)', :'red')), t.fails(format('SELECT leadlex.grant_credits(%L, -9223372036854775808)', :'red'));
SELECT leadlex.grant_credits(:'red', -3);
SELECT leadlex.grant_credits(:'red', 10, 'again');
BEGIN; SELECT leadlex.grant_credits(:'red', 1000); ROLLBACK;
BEGIN; SAVEPOINT s; SELECT leadlex.grant_credits(:'red', -10); ROLLBACK TO s; SELECT leadlex.grant_credits(:'red', 1); ROLLBACK;
SELECT amount, note, request_id IS NOT NULL AS request FROM leadlex.credit_ledger WHERE workspace_id = :'red' ORDER BY id;
-- Granted and spent in one transaction.
BEGIN;
SELECT leadlex.grant_credits(:'blue', -10);
SET ROLE hist_blue;
SELECT leadlex.credits();
SELECT t.fails('SELECT enrich_row($$crm$$, $$3$$)');
RESET ROLE;
SELECT leadlex.grant_credits(:'blue', 1);
SET ROLE hist_blue;
SELECT enrich_row('crm', '3', '{phone}')->'credits_remaining';
SELECT left(t.fails('SELECT enrich_row($$crm$$, $$3$$)'), 5);
ROLLBACK;
SET ROLE hist_blue; SELECT leadlex.credits(); RESET ROLE;

-- A workspace made, keyed, used, and used in vain, in one transaction: all of it or nothing.
BEGIN;
SELECT leadlex.create_workspace('brief', 2) AS brief \gset
SELECT leadlex.create_api_key(:'brief') AS brief_key \gset
SELECT set_config('leadlex.api_key', :'brief_key', false);
INSERT INTO crm (id, workspace_id, email) VALUES (6, :'brief', 'farid.fontaine@bluepeak.example');
SELECT enrich_row('crm', '6', '{job_title}')->'credits_remaining';
SAVEPOINT s;
SELECT enrich_row('crm', '6', '{phone}')->'credits_remaining';
SELECT left(t.fails('SELECT enrich_row($$crm$$, $$6$$, $${location}$$)'), 5);
ROLLBACK TO s;
SELECT leadlex.credits();
COMMIT;
SELECT leadlex.credits(), sum(amount) FROM leadlex.credit_ledger WHERE workspace_id = :'brief';
SELECT enrich_row('crm', '6', '{location}')->'credits_remaining';
RESET leadlex.api_key;
DELETE FROM crm WHERE id = 6;

-- One row for every call that changed something, and for no other.
SET ROLE hist_red;
SELECT enrich_row('crm', '1', '{job_title,phone,location}') AS r1 \gset
UPDATE crm SET location = 'Atlantis' WHERE id = 1;
SELECT enrich_row('crm', '1', '{location}', true) AS r2 \gset
SELECT enrich_row('crm', '1', '{location}')->'fields_updated', try_enrich_row('crm', '4')->'error'->'code', enrich_row('crm', '1', '{location}', true)->'fields_updated';
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT enrich_row('crm', '2', idempotency_key => t.id(1)) AS r3 \gset
SELECT enrich_row('crm', '2', idempotency_key => t.id(1))->'replayed';
RESET leadlex.api_key;
SET ROLE hist_blue;
SELECT enrich_row('crm', '3') AS r4 \gset
RESET ROLE;
SELECT requested_by, key_prefix = left(:'red_key', length(key_prefix)) AS key, length(key_prefix) < 20 AS short, schema_name, table_name, contact_id, overwrite, source, confidence, fields_updated, field_sources, old_values, new_values, reverted_at,
       created_at BETWEEN now() - interval '1 min' AND clock_timestamp() AS now
FROM leadlex.enrichment WHERE contact_id <> '6' ORDER BY request_id;
-- The id that the result gave; one ledger row of -1 for each.
SELECT request_id = (:'r1'::jsonb->>'request_id')::uuid FROM leadlex.enrichment WHERE contact_id <> '6' ORDER BY request_id LIMIT 1;
SELECT e.contact_id, l.amount, l.workspace_id = e.workspace_id AS same, l.note FROM leadlex.enrichment e JOIN leadlex.credit_ledger l USING (request_id) WHERE e.contact_id <> '6' ORDER BY e.request_id;
SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1 AND request_id NOT IN (SELECT request_id FROM leadlex.enrichment);
-- Balance is what the ledger says, in each workspace.
SELECT w.name, sum(l.amount), (SELECT leadlex.grant_credits(w.id, 1) - 1) AS balance FROM leadlex.workspace w JOIN leadlex.credit_ledger l ON l.workspace_id = w.id WHERE w.has_credit_limit GROUP BY w.id, w.name ORDER BY 1;
-- A workspace without a limit: history and ledger all the same.
SELECT set_config('leadlex.api_key', :'free_key', false);
SELECT enrich_row('crm', '5', '{job_title}')->'credits_remaining', leadlex.credits();
RESET leadlex.api_key;
SELECT count(*), sum(amount) FROM leadlex.credit_ledger WHERE workspace_id = :'free';

-- Taking back. Another workspace's, an unknown one, without permission: nothing happens.
SELECT :'r1'::jsonb->>'request_id' AS id1, :'r2'::jsonb->>'request_id' AS id2, :'r3'::jsonb->>'request_id' AS id3, :'r4'::jsonb->>'request_id' AS id4 \gset
CREATE FUNCTION t.no_ids(message text) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(message, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g') $$;
SET ROLE hist_blue;
SELECT t.no_ids(t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id1')));
SET ROLE hist_red;
SELECT t.no_ids(t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id4'))), t.no_ids(t.fails('SELECT leadlex.revert_enrichment(t.id(1))')), t.fails('SELECT leadlex.revert_enrichment(NULL)');
SET ROLE hist_none;
SELECT t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id1'));
RESET ROLE;
-- The owner of the extension reverts in every workspace.
BEGIN; SELECT leadlex.revert_enrichment(:'id1')->'contact_id' AS by_the_owner; ROLLBACK;
SET ROLE hist_red;
BEGIN READ ONLY; SELECT t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id1')); ROLLBACK;
SELECT id, job_title, phone, location FROM crm WHERE id < 4 ORDER BY id;
-- An overwritten value comes back.
SELECT leadlex.credits() AS before \gset
SELECT leadlex.revert_enrichment(:'id2') - 'request_id';
SELECT location FROM crm WHERE id = 1;
-- Somebody has changed the title since, and the location is not what this one wrote: they stay. White space is white space again.
UPDATE crm SET job_title = 'Head of Law' WHERE id = 1;
SELECT leadlex.revert_enrichment(:'id1') - 'request_id';
SELECT job_title, '<' || phone || '>', location, leadlex.credits() - :before AS refunded FROM crm WHERE id = 1;
SELECT reverted_at IS NOT NULL AS reverted FROM leadlex.enrichment WHERE request_id = :'id1';
-- Twice is once, even if the value has come back by other hands.
UPDATE crm SET phone = '+15550100100' WHERE id = 1;
SET client_min_messages = warning;
SELECT leadlex.revert_enrichment(:'id1')->'fields_reverted';
RESET client_min_messages;
SELECT phone FROM crm WHERE id = 1;
-- With an API key as with a role; rolled back, it was not.
RESET ROLE;
SELECT set_config('leadlex.api_key', :'red_key', false);
BEGIN; SELECT leadlex.revert_enrichment(:'id3')->'fields_reverted'; ROLLBACK;
SELECT job_title, phone, location, seniority FROM crm WHERE id = 2;
SELECT leadlex.revert_enrichment(:'id3')->'fields_reverted';
SELECT job_title, phone, location, seniority FROM crm WHERE id = 2;
RESET leadlex.api_key;
-- Reverted, it is not bought again, but with overwrite; of two for one field, the later is taken back first.
SET ROLE hist_red;
SELECT left(t.fails('SELECT enrich_row($$crm$$, $$2$$, $${job_title}$$)'), 71);
SELECT enrich_row('crm', '2', '{job_title}', true)->>'request_id' AS older \gset
UPDATE crm SET job_title = 'something else' WHERE id = 2;
SELECT enrich_row('crm', '2', '{job_title}', true)->>'request_id' AS newer \gset
SELECT leadlex.revert_enrichment(:'newer')->'fields_reverted';
SELECT job_title FROM crm WHERE id = 2;
SELECT leadlex.revert_enrichment(:'older') - 'request_id';
SELECT job_title FROM crm WHERE id = 2;
-- The invoker's own privileges, triggers and constraints, as in a call.
SELECT enrich_row('crm', '2', '{phone}', true)->>'request_id' AS id5 \gset
RESET ROLE;
REVOKE UPDATE ON crm FROM hist_red;
SET ROLE hist_red; SELECT t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id5')); RESET ROLE;
GRANT UPDATE ON crm TO hist_red;
CREATE FUNCTION t.stubborn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.phone IS NULL THEN RAISE 'a phone is needed' USING ERRCODE = 'UX002'; END IF; RETURN NEW; END $$;
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.stubborn();
SET ROLE hist_red; SELECT t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id5'));
SELECT phone, (SELECT reverted_at FROM leadlex.enrichment WHERE request_id = :'id5') FROM crm WHERE id = 2;
RESET ROLE;
DROP TRIGGER x ON crm;
-- A trigger that keeps the value: then nothing was reverted, and that is what is told.
CREATE FUNCTION t.keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.phone := OLD.phone; RETURN NEW; END $$;
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.keeps();
SET ROLE hist_red;
BEGIN; SELECT leadlex.revert_enrichment(:'id5') - 'request_id'; SELECT phone FROM crm WHERE id = 2; ROLLBACK;
RESET ROLE;
DROP TRIGGER x ON crm;
-- The contact is gone, or has gone over to the other workspace, or the table is not bound any more.
BEGIN; UPDATE crm SET workspace_id = :'blue' WHERE id = 2; SET ROLE hist_red; SELECT t.no_ids(t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id5'))); ROLLBACK;
BEGIN; DELETE FROM crm WHERE id = 2; SET ROLE hist_red; SELECT t.no_ids(t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id5'))); ROLLBACK;
SELECT leadlex.unbind_contacts('crm');
SET ROLE hist_red; SELECT t.fails(format('SELECT leadlex.revert_enrichment(%L)', :'id5')); RESET ROLE;
-- After all this: balance = granted - spent, in every workspace with a limit.
SELECT count(*) FROM leadlex.credit_ledger l JOIN leadlex.enrichment e USING (request_id) WHERE l.amount <> -1;
DROP OWNED BY hist_red, hist_blue, hist_none;
DROP ROLE hist_red, hist_blue, hist_none;
