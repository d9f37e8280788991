-- A database with as many contacts and past enrichments as asked for; each past one has its ledger row and its history.
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('bench', credits => 100000000, plan => 'unmetered') AS workspace \gset
SELECT leadlex.add_provider('fake', preset => 'people_data_labs', secret => 'none',
    config => jsonb_build_object('request', jsonb_build_object('url', :'url')));
SELECT leadlex.grant_access('bench', :'workspace');

SET SESSION AUTHORIZATION bench;
CREATE TABLE contact (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), full_name text, email text, job_title text, company_name text,
    linkedin_url text, phone text, location text, seniority text
);
INSERT INTO contact (full_name, email) SELECT 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, :contacts) AS g;
CREATE TABLE turns AS SELECT row_number() OVER () AS n, id FROM contact LIMIT 100000;
CREATE UNIQUE INDEX ON turns (n);
CREATE SEQUENCE turn CACHE 1;
RESET SESSION AUTHORIZATION;

INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
SELECT :'workspace', gen_random_uuid(), -1, gen_random_uuid(), now() FROM generate_series(1, :ledger_rows) AS g;
UPDATE leadlex.credit_balance SET settled = settled - :ledger_rows;
INSERT INTO leadlex.enrichment (workspace_id, request_id, requested_by, schema_name, table_name, contact_id, overwrite,
    source, confidence, fields_updated, field_sources, old_values, new_values)
SELECT s.workspace_id, s.request_id, 'bench', 'public', 'contact', s.id::text, false, 'fake', 0.9, '{job_title}',
    '{"job_title": {"source": "fake", "confidence": 0.9}}', '{"job_title": null}', '{"job_title": "general counsel"}'
FROM leadlex.credit_settled AS s WHERE s.amount = -1;
SELECT leadlex.bind_contacts('contact', workspace_id => :'workspace');
VACUUM ANALYZE;
