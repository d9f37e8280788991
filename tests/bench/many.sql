-- What batches are measured on: contacts with uuid keys, and a table of a user's own with bigint keys and row-level security.
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('bench', credits => 100000000, plan => 'unmetered') AS workspace \gset
SELECT leadlex.add_provider('fake', preset => 'people_data_labs', secret => 'none',
    config => jsonb_build_object('request', jsonb_build_object('url', :'url')));
SELECT leadlex.grant_access('bench', :'workspace');
CREATE ROLE keeper LOGIN;
SELECT leadlex.grant_access('keeper', :'workspace');

CREATE TABLE contact (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int, full_name text, email text, job_title text, company_name text,
    linkedin_url text, phone text, location text, seniority text
);
CREATE TABLE lead (
    id bigint PRIMARY KEY, n int, tenant text NOT NULL DEFAULT 'bench', full_name text, email text, job_title text,
    company_name text, linkedin_url text, phone text, location text, seniority text
);
ALTER TABLE lead ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON lead USING (tenant = current_user);
INSERT INTO contact (n, full_name, email) SELECT g, 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, :contacts) AS g;
INSERT INTO lead (id, n, full_name, email) SELECT g, g, 'P ' || g, 'l' || g || '@acme.example' FROM generate_series(1, :contacts) AS g;
CREATE TABLE arriving (LIKE lead INCLUDING ALL);
CREATE INDEX ON contact (n);
CREATE INDEX ON lead (n);
ALTER TABLE contact OWNER TO bench;
ALTER TABLE arriving OWNER TO keeper;
GRANT ALL ON lead, arriving TO bench;
SELECT leadlex.bind_contacts('contact', workspace_id => :'workspace');
SELECT leadlex.bind_contacts('lead', workspace_id => :'workspace');
SELECT leadlex.bind_contacts('arriving', workspace_id => :'workspace');

-- By hand, as pg_net is used: requests in a table, a worker of its own that takes 200 at a time, answers in another table.
CREATE TABLE net_queue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, contact uuid, email text);
CREATE TABLE net_response (contact uuid, body jsonb);
VACUUM ANALYZE;
