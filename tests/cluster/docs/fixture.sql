CREATE EXTENSION leadlex_enrich;
SELECT leadlex.add_provider('people_data_labs', preset => 'people_data_labs', secret => 'YOUR_KEY',
         config => jsonb_build_object('request', jsonb_build_object('url', :'provider_url')));
CREATE TABLE customer (id uuid PRIMARY KEY, name text, email text, title text, company text, linkedin_url text, phone text, city text,
                       tried_at timestamptz);
INSERT INTO customer (id, name, email)
SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, 'Person ' || n, 'person' || n || '@acme.example'
FROM generate_series(1, 5) AS n;
CREATE TABLE lead (id bigint PRIMARY KEY, name text, email text, job_title text, phone text);
INSERT INTO lead (id, name, email) SELECT n, 'Lead ' || n, 'lead' || n || '@northwind.example' FROM generate_series(17, 20) AS n;
SELECT leadlex.bind_contacts('customer',
         columns => '{"full_name": "name", "job_title": "title", "company_name": "company", "location": "city"}');
SELECT leadlex.bind_contacts('lead', columns => '{"full_name": "name"}');
