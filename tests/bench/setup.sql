-- What enrich_contact is measured on: a table of the role bench, one workspace with credits and without rate limit.
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('bench', credits => 100000000, plan => 'unmetered') AS workspace \gset
SELECT leadlex.add_provider('fake', preset => 'people_data_labs', secret => 'none',
    config => jsonb_build_object('request', jsonb_build_object('url', :'url')));
SELECT leadlex.grant_access('bench', :'workspace');
GRANT CREATE ON SCHEMA public TO bench;

SET SESSION AUTHORIZATION bench;
CREATE TABLE contact (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), full_name text, email text, job_title text, company_name text,
    linkedin_url text, phone text, location text, seniority text
);
INSERT INTO contact (full_name, email) SELECT 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, :contacts) AS g;
-- Every call takes the next contact, so that there is always something to fill in.
CREATE TABLE turns AS SELECT row_number() OVER () AS n, id FROM contact;
CREATE UNIQUE INDEX ON turns (n);
CREATE SEQUENCE turn CACHE 1;
CREATE TABLE bare (x int);
RESET SESSION AUTHORIZATION;

SELECT leadlex.bind_contacts('contact', workspace_id => :'workspace');
VACUUM ANALYZE;
