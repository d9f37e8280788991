-- Making a user's own table enrichable.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
CREATE EXTENSION leadlex_enrich;
CREATE EXTENSION citext;
RESET client_min_messages;
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
SELECT t.fails('SELECT enrich_contact(t.id(1))');

-- Names that are ours are found by themselves; the NOTICE shows what was understood.
CREATE TABLE plain (id uuid PRIMARY KEY, full_name text, first_name text, email text, job_title text, phone text, shoe_size int);
SELECT leadlex.bind_contacts('plain');
SELECT t.fails('SELECT enrich_contact(t.id(1))');
INSERT INTO plain (id, email) VALUES (t.id(1), 'ada.abbott@acme.example');
-- Fields that the table does not have are not enriched, asked for or not.
SELECT t.told(enrich_contact(t.id(1)));
SELECT t.told(enrich_contact(t.id(1), '{location,seniority}'));

-- A mapping, with names that need quotes; null takes a column out.
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."Contacts; ""x""" ("Contact No" bigint PRIMARY KEY, "Name" text, "e""mail" text, "Job Title" varchar(40), phone text, "order" text, location text, "select" text);
SELECT leadlex.bind_contacts('"Odd schema"."Contacts; ""x"""', '{"id": "Contact No", "full_name": "Name", "email": "e\"mail", "job_title": "Job Title", "company_name": "order", "seniority": "select", "location": null}');
INSERT INTO "Odd schema"."Contacts; ""x""" VALUES (9007199254740993, 'Ada Abbott', 'ada.abbott@acme.example');
SELECT t.told(enrich_row('"Odd schema"."Contacts; ""x"""', '9007199254740993'));
SELECT * FROM "Odd schema"."Contacts; ""x""";
-- enrich_contact looks in the table that was bound first; a uuid is no key of a table with numbers.
SELECT enrich_contact(t.id(1))->'fields_updated';
BEGIN; SELECT leadlex.unbind_contacts('plain'); SELECT t.fails('SELECT enrich_contact(t.id(1))'); ROLLBACK;
SELECT enrich_contact(t.id(1))->'fields_updated';

-- What cannot be bound, and why.
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id uuid, phone text);
CREATE TEMP TABLE a_temporary (id uuid PRIMARY KEY, phone text);
CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE a_foreign (id uuid, phone text) SERVER nowhere;
CREATE INDEX an_index ON plain (phone);
SELECT t.fails(format('SELECT leadlex.bind_contacts(%L)', name))
FROM unnest('{a_view,a_matview,a_sequence,a_type,a_temporary,a_foreign,an_index,leadlex.enrichment,leadlex.workspace,leadlex.credit_ledger,pg_catalog.pg_class,no_such_table,NULL}'::text[]) name;
CREATE DOMAIN a_name AS text CHECK (value <> 'forbidden');
CREATE TYPE mood AS ENUM ('happy');
CREATE TABLE strange (id point, key int PRIMARY KEY, anything json, job_title int, company_name mood, linkedin_url text GENERATED ALWAYS AS ('x') STORED, phone text[], location bytea, seniority a_name, workspace_id int, full_name int, email bigint, good citext, short char(3), doc xml);
SELECT t.fails(format('SELECT leadlex.bind_contacts($$strange$$, %L)', mapping)) FROM unnest(ARRAY[
    NULL,
    '{"id": "key"}',
    '{"id": "key", "job_title": null}',
    '{"id": "key", "job_title": null, "company_name": null}',
    '{"id": "key", "job_title": null, "company_name": null, "linkedin_url": null}',
    '{"id": "key", "job_title": null, "company_name": null, "linkedin_url": null, "phone": null}',
    '{"id": "anything", "job_title": null, "company_name": null, "linkedin_url": null, "phone": null, "location": null}',
    '{"id": null, "job_title": "good"}',
    '{"id": "key", "job_title": null, "company_name": null, "linkedin_url": null, "phone": null, "location": null, "seniority": null}',
    '{"id": "key", "job_title": "good", "company_name": "good", "linkedin_url": null, "phone": null, "location": null}',
    '{"id": "key", "job_title": "good", "workspace_id": "key", "company_name": null, "linkedin_url": null, "phone": null, "location": null}',
    '{"id": "key", "job_title": "nowhere"}',
    '{"id": "key", "job_title": "GOOD"}',
    '{"id": "key", "job_title": "ctid"}',
    '{"id": "key", "shoe_size": "good"}',
    '{"id": "key", "job_title": 7}',
    '{"id": "key", "job_title": {"column": "good"}}',
    '["id"]', '"id"', 'null']) mapping;
-- None of that was remembered.
SELECT schema_name, table_name FROM leadlex.binding ORDER BY bound_at;
-- Text of a kind is text: a domain, citext, varchar. Identifying columns of other types are read as text.
SELECT leadlex.bind_contacts('strange', '{"id": "key", "job_title": "good", "company_name": null, "linkedin_url": null, "phone": null, "location": null}');
-- A key that is not unique by any index is bound with a warning.
CREATE TABLE loose (id text, email text, job_title text);
SELECT leadlex.bind_contacts('loose');
INSERT INTO loose VALUES ('twice', 'ada.abbott@acme.example'), ('twice', 'ada.abbott@acme.example'), ('once', 'ada.abbott@acme.example');
SELECT t.fails('SELECT enrich_row($$loose$$, $$twice$$)');
SELECT enrich_row('loose', 'once')->'fields_updated';
SELECT t.fails('SELECT enrich_row($$loose$$, $$Once$$)');
-- A key made of several columns is not a key of one.
CREATE TABLE composite (id int, part int, email text, job_title text, PRIMARY KEY (id, part));
SELECT leadlex.bind_contacts('composite');
SELECT leadlex.unbind_contacts('composite');

-- Keys of any type: as text in, of their own type inside.
CREATE TABLE by_bigint (id bigint PRIMARY KEY, email text, job_title text);
CREATE TABLE by_citext (id citext PRIMARY KEY, email text, job_title text);
CREATE TABLE by_domain (id a_name PRIMARY KEY, email text, job_title text);
CREATE TABLE by_date (id date PRIMARY KEY, email text, job_title text);
CREATE TABLE by_numeric (id numeric PRIMARY KEY, email text, job_title text);
CREATE TABLE by_char (id char(8) PRIMARY KEY, email text, job_title text);
\set columns '(id, email)'
INSERT INTO by_bigint :columns VALUES (7, 'ada.abbott@acme.example'), (-7, 'ada.abbott@acme.example');
INSERT INTO by_citext :columns VALUES ('Ada', 'ada.abbott@acme.example');
INSERT INTO by_domain :columns VALUES ('Ada', 'ada.abbott@acme.example');
INSERT INTO by_date :columns VALUES ('2026-01-02', 'ada.abbott@acme.example');
INSERT INTO by_numeric :columns VALUES (1.50, 'ada.abbott@acme.example');
INSERT INTO by_char :columns VALUES ('Ada', 'ada.abbott@acme.example');
SET client_min_messages = warning;
SELECT count(leadlex.bind_contacts(name::regclass)) FROM unnest('{by_bigint,by_citext,by_domain,by_date,by_numeric,by_char}'::text[]) name;
RESET client_min_messages;
CREATE FUNCTION t.row(relation regclass, id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r jsonb;
BEGIN r := try_enrich_row(relation, id, '{job_title}'); RETURN concat_ws(' ', r->'contact'->>'id', r->>'fields_updated', r->'error'->>'message'); END $$;
SELECT t.row('by_bigint', '7'), t.row('by_bigint', ' 7 '), t.row('by_bigint', '-7');
SELECT t.row('by_bigint', id) FROM unnest('{8,007,+7,7.0,7e0,abc,"",99999999999999999999,"7; DROP TABLE by_bigint"}'::text[]) id;
-- Hexadecimal is a number since 16.
SELECT t.row('by_bigint', '0x7') = CASE WHEN current_setting('server_version_num')::int >= 160000 THEN '7 []' ELSE 'validation_error: "0x7" cannot be a key of "public"."by_bigint"' END AS as_postgres_reads_it;
SELECT t.row('by_citext', 'ADA'), t.row('by_citext', 'ada'), t.row('by_citext', 'Adam');
SELECT t.row('by_domain', 'Ada'), t.row('by_domain', 'ada'), t.row('by_domain', 'forbidden');
SELECT t.row('by_date', '2026-1-2'), t.row('by_date', '01/02/2026'), t.row('by_date', 'someday');
SELECT t.row('by_numeric', '1.5'), t.row('by_numeric', '1.500'), t.row('by_numeric', 'NaN'), t.row('by_numeric', 'x');
SELECT t.row('by_char', 'Ada'), t.row('by_char', 'Ada     '), t.row('by_char', 'far too long');
SELECT t.row('plain', '00000000-0000-4000-8000-000000000001'), t.row('plain', '{00000000000040008000000000000001}'), t.row('plain', '00000000-0000-4000-8000-00000000000X');
SELECT t.fails('SELECT enrich_row($$plain$$, $$7$$)');
SELECT t.fails('SELECT enrich_row(NULL, $$7$$)'), t.fails('SELECT enrich_row($$plain$$, NULL)');
SELECT t.fails('SELECT enrich_row($$a_view$$, $$7$$)');
-- Nor is the way out to bind what is the extension's, or the session's alone.
SELECT t.fails('SELECT enrich_row($$leadlex.enrichment$$, $$1$$)'), t.fails('SELECT enrich_row($$pg_class$$, $$1$$)');
CREATE TEMP TABLE passing (id int);
SELECT regexp_replace(t.fails('SELECT enrich_row($$passing$$, $$1$$)'), 'pg_temp_[0-9]+', 'pg_temp');
DROP TABLE passing;
SELECT t.fails('SELECT enrich_row($$no_such_table$$, $$7$$)');

-- A partitioned table, rows in several partitions, and one row that moves between them.
CREATE TABLE parted (id int, region text, email text, job_title text, location text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us');
INSERT INTO parted VALUES (1, 'eu', 'bruno.bergmann@harborline.example'), (2, 'us', 'ada.abbott@acme.example');
SELECT leadlex.bind_contacts('parted');
SELECT enrich_row('parted', '1')->'fields_updated', enrich_row('parted', '2')->'fields_updated';
SELECT tableoid::regclass, * FROM parted ORDER BY id;
-- A partition is not bound by its parent.
SELECT t.fails('SELECT enrich_row($$parted_eu$$, $$1$$)');
-- A field that is the partition key: the row moves.
CREATE TABLE by_level (id int, email text, seniority text, phone text) PARTITION BY LIST (seniority);
CREATE TABLE by_level_none PARTITION OF by_level FOR VALUES IN (NULL);
CREATE TABLE by_level_chief PARTITION OF by_level FOR VALUES IN ('c_suite');
INSERT INTO by_level VALUES (1, 'ada.abbott@acme.example');
SELECT leadlex.bind_contacts('by_level');
SELECT enrich_row('by_level', '1')->'fields_updated';
SELECT tableoid::regclass, * FROM by_level;

-- What happens to a table afterwards.
CREATE TABLE later (id int PRIMARY KEY, email text, job_title text, phone text, location text);
INSERT INTO later (id, email) VALUES (1, 'ada.abbott@acme.example'), (2, 'bruno.bergmann@harborline.example'), (3, 'carla.castillo@northwind.example');
SELECT leadlex.bind_contacts('later', '{"location": null}');
SELECT t.row('later', '1');
-- A column dropped, one renamed: said, in words that help, before anything is asked.
SELECT leadlex.alter_provider('sample', t.dead());
ALTER TABLE later DROP COLUMN phone;
SELECT t.fails('SELECT enrich_row($$later$$, $$2$$)');
ALTER TABLE later ADD COLUMN phone text;
ALTER TABLE later RENAME COLUMN email TO mail;
SELECT t.fails('SELECT enrich_row($$later$$, $$2$$)');
SELECT leadlex.alter_provider('sample', t.sample());
SELECT leadlex.bind_contacts('later', '{"email": "mail"}');
SELECT t.row('later', '2');
-- A column whose type changes.
ALTER TABLE later ALTER COLUMN id TYPE text;
SELECT t.row('later', '3');
UPDATE later SET job_title = NULL;
SELECT t.row('later', '3');
-- Replaced under its name, as dbt does, in one transaction and in several: still bound.
CREATE TABLE later_new (id int PRIMARY KEY, mail text, job_title text, phone text, location text);
INSERT INTO later_new (id, mail) VALUES (1, 'ada.abbott@acme.example');
BEGIN; ALTER TABLE later RENAME TO later_old; ALTER TABLE later_new RENAME TO later; COMMIT;
SELECT t.row('later', '1');
SELECT t.fails('SELECT enrich_row($$later_old$$, $$3$$)');
DROP TABLE later;
SELECT t.fails('SELECT enrich_row($$later_old$$, $$3$$)');
CREATE TABLE later AS SELECT 1 AS id, 'ada.abbott@acme.example' AS mail, NULL::text AS job_title, NULL::text AS phone, NULL::text AS location;
SELECT t.row('later', '1');
-- So does a schema that is replaced under its name, in a session that has used the one before.
CREATE SCHEMA live; CREATE SCHEMA live_new;
CREATE TABLE live.person (id int PRIMARY KEY, email text, job_title text);
CREATE TABLE live_new.person (LIKE live.person INCLUDING ALL);
INSERT INTO live.person VALUES (1, 'ada.abbott@acme.example'), (2, 'bruno.bergmann@harborline.example');
INSERT INTO live_new.person VALUES (1, 'carla.castillo@northwind.example');
SELECT leadlex.bind_contacts('live.person');
SELECT t.row('live.person', '1');
BEGIN; ALTER SCHEMA live RENAME TO live_old; ALTER SCHEMA live_new RENAME TO live; COMMIT;
SELECT left(t.fails('SELECT enrich_row($$live.person$$, $$1$$)'), 8);
SELECT t.fails('SELECT enrich_row($$live_old.person$$, $$2$$)');
SELECT job_title FROM live.person UNION ALL SELECT job_title FROM live_old.person;
SELECT leadlex.unbind_contacts('live.person');
-- The first bound table is gone: said, not passed over.
DROP VIEW a_view; DROP MATERIALIZED VIEW a_matview;
DROP TABLE plain;
SELECT t.fails('SELECT enrich_contact(t.id(1))');

-- Unbinding: what is there, what is not, and what was dropped.
SELECT leadlex.unbind_contacts('later');
SELECT t.fails('SELECT enrich_row($$later$$, $$1$$)');
SELECT t.fails('SELECT leadlex.unbind_contacts($$later$$)'), t.fails('SELECT leadlex.unbind_contacts(NULL)');
-- Rolled back, it is bound again.
BEGIN; SELECT leadlex.unbind_contacts('by_date'); SELECT t.fails('SELECT enrich_row($$by_date$$, $$2026-01-02$$)'); ROLLBACK;
SELECT t.row('by_date', '2026-01-02');

-- Whose rows they are: a workspace column, or one workspace for all.
SELECT leadlex.create_workspace('red', 3) AS red, leadlex.create_workspace('blue', 3) AS blue \gset
CREATE TABLE own (id int PRIMARY KEY, email text, job_title text);
SELECT t.fails('SELECT leadlex.bind_contacts($$own$$)');
SELECT t.fails(format('SELECT leadlex.bind_contacts($$own$$, workspace_id => %L)', t.id(404)));
CREATE TABLE shared (id int PRIMARY KEY, workspace_id uuid, email text, job_title text);
CREATE TABLE shared_text (id int PRIMARY KEY, tenant varchar(50), email text, job_title text);
CREATE TABLE shared_int (id int PRIMARY KEY, workspace_id int, email text, job_title text);
SELECT leadlex.bind_contacts('own', workspace_id => :'red');
SELECT leadlex.bind_contacts('shared');
SELECT leadlex.bind_contacts('shared_text', '{"workspace_id": "tenant"}');
-- A column that only has the name is not taken for a workspace, unless one says so.
SELECT t.fails('SELECT leadlex.bind_contacts($$shared_int$$)');
SELECT t.fails('SELECT leadlex.bind_contacts($$shared_int$$, $${"workspace_id": "workspace_id"}$$)');
SELECT leadlex.bind_contacts('shared_int', workspace_id => :'red');
-- A fixed workspace and a column at once: given both, refused; found by name, the argument is what was said.
SELECT t.fails(format('SELECT leadlex.bind_contacts($$shared_text$$, $${"workspace_id": "tenant"}$$, %L)', :'red'));
INSERT INTO own VALUES (1, 'ada.abbott@acme.example');
INSERT INTO shared VALUES (1, :'red', 'ada.abbott@acme.example'), (2, :'blue', 'ada.abbott@acme.example'), (3, NULL, 'ada.abbott@acme.example');
INSERT INTO shared_text VALUES (1, :'red', 'ada.abbott@acme.example'), (2, :'blue', 'ada.abbott@acme.example'), (3, 'no uuid', 'ada.abbott@acme.example');
SELECT leadlex.create_api_key(:'red') AS red_key, leadlex.create_api_key(:'blue') AS blue_key \gset
SELECT set_config('leadlex.api_key', :'blue_key', false);
SELECT t.row('own', '1'), t.row('shared', '1'), t.row('shared_text', '1');
SELECT t.row('shared', '3'), t.row('shared_text', '3');
SELECT t.row('shared', '2');
SELECT set_config('leadlex.api_key', :'red_key', false);
SELECT t.row('own', '1'), t.row('shared', '1'), t.row('shared_text', '1');
SELECT t.row('shared', '2'), t.row('shared_text', '2');
SELECT leadlex.credits();
RESET leadlex.api_key;
-- Bound again, the mapping is the new one, and its place in the order stays.
SELECT leadlex.bind_contacts('own', '{"job_title": "job_title"}', :'blue');
SELECT count(*) FROM leadlex.binding WHERE table_name = 'own';
