-- The short story: one team, its own table, its own account with the vendor.
\echo
\echo :line
\echo  1. The short story: one team, one table, one provider
\echo :line
\echo
\echo 'A table as a CRM might have it, loaded from contacts.csv: some columns filled, most not.'
\echo
CREATE TABLE customer (
    id uuid PRIMARY KEY, name text, email text, title text, company text,
    linkedin_url text, phone text, city text, seniority text, owner text
);
\copy customer FROM 'contacts.csv' WITH (FORMAT csv, HEADER)

CREATE VIEW shown AS
SELECT row_number() OVER (ORDER BY id) AS "#", name, title, company, phone, city FROM customer;

\set ECHO queries
SELECT * FROM shown;

\set ECHO none
\echo
\echo 'Four statements from nothing to the first enriched row:'
\echo
-- Nothing to see in the results of functions that return nothing.
\o /dev/null
\set ECHO queries
CREATE EXTENSION leadlex_enrich;

SELECT leadlex.add_provider('pdl', preset => 'people_data_labs', secret => 'demo-secret',
         config => jsonb_build_object('request', jsonb_build_object('url', :'provider_url')));  -- not needed for the real vendor

SELECT leadlex.bind_contacts('customer',
         columns => '{"full_name": "name", "job_title": "title", "company_name": "company", "location": "city"}');

\o
\pset format unaligned
\pset tuples_only on
SELECT jsonb_pretty(enrich_contact('00000000-0000-4000-8000-000000000001')) AS enriched;

\set ECHO none
\pset format wrapped
\pset tuples_only off
\echo
\echo 'And now all of them. try_enrich_contact returns an error instead of raising it, so that one stranger does not stop the rest.'
\echo
\set ECHO queries
CREATE TEMP TABLE outcome AS
SELECT id, try_enrich_contact(id) AS result FROM customer;

SELECT c.name, coalesce(o.result->'error'->>'code', 'ok') AS outcome,
       (SELECT string_agg(f, ', ') FROM jsonb_array_elements_text(o.result->'fields_updated') f) AS filled_in,
       coalesce(o.result->>'confidence', o.result->'error'->>'reason') AS "confidence / reason"
FROM outcome o JOIN customer c USING (id) ORDER BY id;

\set ECHO none
\echo
\echo 'The same rows, after. What was filled in before is still what it was (see rows 2, 6, 8, 13, 17).'
\echo
\set ECHO queries
SELECT * FROM shown;

\set ECHO none
\echo
\echo 'Every change is on record, and can be taken back: see the next story.'
\echo
\set ECHO queries
SELECT count(*) AS calls_that_changed_something, round(avg(confidence)::numeric, 2) AS average_confidence
FROM leadlex.enrichment;
\set ECHO none
