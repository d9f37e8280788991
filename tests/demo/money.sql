-- What it costs: two vendors, an estimate, a set and its progress, the queue, undo.
\echo
\echo :line
\echo  2. Money: two vendors in a waterfall, what they cost, and undo
\echo :line
\echo
CREATE TABLE customer (
    id uuid PRIMARY KEY, name text, email text, title text, company text,
    linkedin_url text, phone text, city text, seniority text, owner text
);
CREATE TEMP TABLE csv (LIKE customer);
\copy csv FROM 'contacts.csv' WITH (FORMAT csv, HEADER)
INSERT INTO customer SELECT * FROM csv ORDER BY id LIMIT 20;
\set diego '\'00000000-0000-4000-8000-000000000004\''
\set elena '\'00000000-0000-4000-8000-000000000005\''
\set tilda '\'00000000-0000-4000-8000-000000000022\''
\set vera '\'00000000-0000-4000-8000-000000000024\''

\echo 'A workspace pays with credits: one for each call that changes a contact. It begins with 12, for 20 contacts.'
\echo
\o /dev/null
\set ECHO queries
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('sales', credits => 12, plan => 'unmetered');
SELECT leadlex.grant_access('postgres');
SELECT leadlex.bind_contacts('customer',
         columns => '{"full_name": "name", "job_title": "title", "company_name": "company", "location": "city"}');

\set ECHO none
\o
\echo
\echo 'Two vendors. The first is asked first, and bills a credit of its own for each match. The second knows phones alone, and bills'
\echo '0.25 EUR for each; it is asked only where the first had no phone.'
\echo
\o /dev/null
\set ECHO queries
SELECT leadlex.add_provider('pdl', preset => 'people_data_labs', secret => 'demo-secret', priority => 100,
         config => jsonb_build_object('request', jsonb_build_object('url', :'slow_provider_url')));
SELECT leadlex.add_provider('phonebook', preset => 'generic', secret => 'demo-secret', priority => 200,
         config => jsonb_build_object('request', jsonb_build_object('url', :'slow_phone_url'), 'fills', '["phone"]'::jsonb,
                                      'response', '{"cost": {"header": "X-Cost-Eur"}}'::jsonb));
SET leadlex.waterfall = 'fill';
\o

\set ECHO none
\echo
\echo 'Before anything is spent: what would all of them cost? The estimate asks no vendor.'
\echo
\set ECHO queries
SELECT * FROM leadlex.estimate('customer', ARRAY(SELECT id::text FROM customer));

\set ECHO none
\echo
\echo 'Credits would run out. So more are bought:'
\echo
\set ECHO queries
SELECT leadlex.grant_credits(20) AS credits;
SELECT * FROM leadlex.estimate('customer', ARRAY(SELECT id::text FROM customer));

\set ECHO none
\echo
\echo 'One contact. Both vendors are asked, and it is one credit.'
\echo
\set ECHO queries
SELECT r->>'source' AS source, f.key AS field, f.value->>'source' AS supplied_by, r->>'credits_remaining' AS credits_remaining
FROM enrich_contact(:diego) AS r, jsonb_each(r->'field_sources') AS f;

\set ECHO none
\echo
\echo 'A transaction that is rolled back costs no credit. The answer was paid for, so it is kept: the next call sends no request.'
\echo
\set ECHO queries
BEGIN;
SELECT r->'fields_updated' AS fields_updated, r->>'credits_remaining' AS credits_remaining
FROM enrich_contact(:elena) AS r;
ROLLBACK;
SELECT leadlex.credits();
SELECT * FROM leadlex.estimate('customer', ARRAY[:elena]);

\set ECHO none
\echo
\echo 'All of them, in chunks that commit. This is run in another session:'
\echo
\! cat batch.sql | tail -n +2
\! "$PSQL" -X -q -f batch.sql >/dev/null 2>&1 &
DO $$
BEGIN
    FOR i IN 1 .. 500 LOOP
        EXIT WHEN EXISTS (SELECT FROM leadlex.progress WHERE done > 0);
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;
\echo
\echo 'and watched from this one:'
\echo
\set ECHO queries
SELECT relation, done, total, failed, rate, eta FROM leadlex.progress;
\set ECHO none
SELECT pg_sleep(0.8) \gset ignored_
\set ECHO queries
SELECT relation, done, total, failed, rate, eta FROM leadlex.progress;
\set ECHO none
DO $$
BEGIN
    FOR i IN 1 .. 1500 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM leadlex.progress);
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

\echo
\echo 'Who supplied what, and what each vendor bills in its own unit:'
\echo
\set ECHO queries
SELECT source, contacts_enriched, fields_filled, credits_spent FROM leadlex.usage_daily ORDER BY source;
SELECT name, calls, matches, no_matches, cost FROM leadlex.provider_stats ORDER BY name;
SELECT leadlex.credits();

\set ECHO none
\echo
\echo 'Once more the same contacts: nothing is asked. What vendors did not know is remembered.'
\echo
\set ECHO queries
SELECT * FROM leadlex.estimate('customer', ARRAY(SELECT id::text FROM customer));

\set ECHO none
\echo
\echo 'New rows enrich themselves: a trigger queues them, and background workers take them after the commit.'
\echo
\set ECHO queries
CREATE TRIGGER enrich AFTER INSERT ON customer REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert();
INSERT INTO customer (id, name, email) VALUES
    (:tilda, 'Tilda Thompson', 'tilda.thompson@bluepeak.example'),
    (:vera, 'Vera Varga', 'vera.varga@acme.example');
SELECT contact_id, state, outcome FROM leadlex.job;
\set ECHO none
DO $$
BEGIN
    FOR i IN 1 .. 500 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM leadlex.job WHERE state IN ('queued', 'running'));
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;
\echo 'A moment later:'
\echo
\set ECHO queries
SELECT contact_id, state, outcome FROM leadlex.job;
SELECT name, title, company, phone FROM customer WHERE id IN (:tilda, :vera) ORDER BY name;

\set ECHO none
\echo
\echo 'Undo: what a call changed is put back where no other change was made since. The credit stays spent.'
\echo
\set ECHO queries
SELECT created_at, source, new_values->>'job_title' AS new_title, old_values->>'job_title' AS old_title
FROM leadlex.enrichment WHERE contact_id = :vera;
SELECT r->'fields_reverted' AS fields_reverted, r->'fields_kept' AS fields_kept
FROM leadlex.enrichment AS e, leadlex.revert_enrichment(e.request_id) AS r WHERE e.contact_id = :vera;
SELECT name, title, company, phone FROM customer WHERE id = :vera;
SELECT sum(credits_spent) AS credits_spent, sum(credits_reverted) AS of_these_reverted FROM leadlex.usage_daily;

\set ECHO none
\echo
\echo 'Every movement of credits is in the ledger. Its sum is the balance.'
\echo
\set ECHO queries
SELECT CASE WHEN amount > 0 THEN 'granted' ELSE 'charged' END AS movement, count(*), sum(amount) AS credits
FROM leadlex.credit_ledger GROUP BY 1 ORDER BY 1 DESC;
SELECT leadlex.credits();
\set ECHO none
