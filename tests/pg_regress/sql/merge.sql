-- What an answer does to a contact.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS merge_clerk;
CREATE ROLE merge_clerk;
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('ours', 100, 'unmetered') AS ours \gset
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
CREATE TABLE crm (id uuid PRIMARY KEY, full_name text, email text, job_title text, company_name text, linkedin_url text, phone text, location text, seniority text, note text);
SELECT leadlex.bind_contacts('crm');
SELECT leadlex.grant_access(current_user), leadlex.grant_access('merge_clerk');
RESET client_min_messages;
-- Contact 1 is Ada, with everything empty but what is given.
CREATE FUNCTION t.ada(VARIADIC given text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM crm;
    INSERT INTO crm (id, full_name, email) VALUES (t.id(1), 'Ada Abbott', 'ada.abbott@acme.example');
    FOR i IN 1 .. coalesce(array_length(given, 1), 0) BY 2 LOOP EXECUTE format('UPDATE crm SET %I = %L', given[i], given[i + 1]); END LOOP;
END $$;
CREATE FUNCTION t.stored() RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(crm) - '{id,full_name,email}'::text[] FROM crm $$;
CREATE FUNCTION t.spent() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1 $$;

-- The whole result, once.
SELECT t.ada();
SELECT jsonb_pretty(t.told(enrich_contact(t.id(1))));
SELECT t.stored();
SELECT t.spent();
-- Its keys, exactly.
SELECT t.ada();
SELECT array_agg(key ORDER BY key) FROM jsonb_object_keys(enrich_contact(t.id(1))) key;
-- Nothing left to fill: no provider asked, nothing charged, whoever is or is not reachable.
SELECT leadlex.alter_provider('sample', t.dead());
SELECT t.told(enrich_contact(t.id(1)));
SELECT t.told(enrich_contact(t.id(1), '{phone}'));
SELECT leadlex.alter_provider('sample', t.sample());
SELECT t.spent();

-- Fill only: what is there stays, white space of any kind is nothing.
SELECT t.ada('job_title', 'Queen', 'company_name', '', 'phone', '   ', 'location', E' \t\n\u00a0\u2003', 'seniority', '-');
SELECT t.told(enrich_contact(t.id(1)));
SELECT t.stored();
-- Overwrite: replaces, never empties, and does not count what is the same.
SELECT t.ada('job_title', 'Queen', 'company_name', 'Acme Corp', 'phone', '+1 555 0100', 'note', 'untouched');
SELECT enrich_contact(t.id(1), overwrite => true)->'fields_updated';
SELECT t.stored();
SELECT t.told(enrich_contact(t.id(1), overwrite => true));
SELECT t.spent();
-- A provider that has nothing for a field leaves it: Greta's title, Hana's withheld phone and location.
UPDATE crm SET email = 'greta.garcia@oakridge.example';
SELECT enrich_contact(t.id(1), '{job_title,seniority,company_name}', true)->'fields_updated';
UPDATE crm SET email = 'hana.haddad@acme.example';
SELECT enrich_contact(t.id(1), '{phone,location,seniority}', true)->'fields_updated';
SELECT t.stored();
-- A match that changes nothing is free, and says who was asked.
UPDATE crm SET phone = NULL;
SELECT t.told(enrich_contact(t.id(1), '{phone,seniority}'));

-- NULL arguments: NULL fields is all, NULL overwrite is false, a NULL key is none.
SELECT t.ada('job_title', 'Queen');
SELECT enrich_contact(t.id(1), NULL, NULL, NULL)->'fields_updated';
SELECT t.ada();
SELECT t.fails('SELECT enrich_contact(NULL)');
SELECT t.fails('SELECT enrich_contact(t.id(1), $${}$$)');
SELECT t.fails('SELECT enrich_contact(t.id(1), $${phone,NULL}$$)');
SELECT t.fails('SELECT enrich_contact(t.id(1), $${phone,shoe_size}$$)');
SELECT t.fails('SELECT enrich_contact(t.id(1), $${Phone}$$)'), t.fails('SELECT enrich_contact(t.id(1), $${email}$$)');
SELECT t.fails('SELECT enrich_contact($$not a uuid$$)');
SELECT t.told(try_enrich_contact(NULL));
SELECT t.told(try_enrich_contact(t.id(1), '{}'));
SELECT t.stored();
-- The order of the six, whatever the order asked for; twice is once; more than one dimension is the same names.
SELECT enrich_contact(t.id(1), '{seniority,phone,job_title,phone}')->'fields_updated';
SELECT enrich_contact(t.id(1), '{{location,linkedin_url}}')->'fields_updated';
SELECT t.stored();
-- Errors that are not ours are not swallowed by try_.
SELECT t.fails('SELECT try_enrich_contact($$not a uuid$$)');
-- Before anything else: a transaction that cannot write.
SELECT t.ada();
BEGIN READ ONLY; SELECT t.fails('SELECT enrich_contact(t.id(1))'); ROLLBACK;
BEGIN READ ONLY; SELECT t.fails('SELECT try_enrich_contact(t.id(1))'); ROLLBACK;
-- … but bad arguments are told first.
BEGIN READ ONLY; SELECT t.fails('SELECT enrich_contact(NULL)'); ROLLBACK;
-- On its own row in an UPDATE: 27000 before a provider is paid.
SELECT leadlex.alter_provider('sample', t.dead());
UPDATE crm SET note = enrich_contact(id)->>'source';
DELETE FROM crm WHERE enrich_contact(id) IS NOT NULL;
WITH called AS (SELECT enrich_contact(t.id(1)) AS r) UPDATE crm SET note = r->>'source' FROM called;
WITH changed AS (UPDATE crm SET note = enrich_contact(id)->>'source' RETURNING 1) SELECT count(*) FROM changed;
MERGE INTO crm USING (SELECT t.id(1) AS id) AS new ON crm.id = new.id WHEN MATCHED THEN UPDATE SET note = enrich_contact(crm.id)->>'source';
CREATE FUNCTION t.wrapped(id uuid) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN enrich_contact(id)->>'source'; END $$;
UPDATE crm SET note = t.wrapped(id);
INSERT INTO crm (id) VALUES (t.id(1)) ON CONFLICT (id) DO UPDATE SET note = enrich_contact(crm.id)->>'source';
SELECT leadlex.alter_provider('sample', t.sample());
-- In an INSERT, in an UPDATE of another table, and in a statement of its own within a function: no harm.
CREATE TABLE log (id uuid, source text);
INSERT INTO log SELECT id, enrich_contact(id, '{phone}')->>'source' FROM crm;
UPDATE log SET source = enrich_contact(id, '{location}')->>'fields_updated';
SELECT source FROM log;
DO $$ BEGIN UPDATE crm SET note = 'x'; PERFORM enrich_contact(t.id(1), '{seniority}'); UPDATE crm SET note = 'y'; END $$;
SELECT note, seniority FROM crm;
DROP TABLE log;
-- From a trigger on its own row: refused before it asks, again and again; of another row it may.
CREATE FUNCTION t.enriches() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM enrich_contact(NEW.id, '{company_name}'); RETURN NEW; END $$;
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.enriches();
SELECT t.fails('SELECT enrich_contact(t.id(1), $${job_title}$$)');
DROP TRIGGER x ON crm;
CREATE TRIGGER x AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.enriches();
SELECT t.fails('SELECT enrich_contact(t.id(1), $${job_title}$$)');
DROP TRIGGER x ON crm;
INSERT INTO crm (id, email) VALUES (t.id(2), 'bruno.bergmann@harborline.example');
CREATE FUNCTION t.enriches_two() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id <> t.id(2) THEN PERFORM enrich_contact(t.id(2), '{phone}'); END IF; RETURN NEW; END $$;
CREATE TRIGGER x AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.enriches_two();
SELECT enrich_contact(t.id(1), '{job_title}')->'fields_updated';
SELECT phone FROM crm WHERE id = t.id(2);
DROP TRIGGER x ON crm;
DELETE FROM crm WHERE id = t.id(2);
-- Once refused, the contact is free again in the same transaction.
BEGIN;
DO $$ BEGIN PERFORM enrich_contact(t.id(1), '{company_name}'); RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT enrich_contact(t.id(1), '{company_name}')->'fields_updated', enrich_contact(t.id(1), '{linkedin_url}')->'fields_updated';
ROLLBACK;

-- A user's trigger has the last word, and only what it let through counts.
CREATE FUNCTION t.keeps_title() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.job_title := OLD.job_title; RETURN NEW; END $$;
CREATE FUNCTION t.shouts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.job_title := upper(NEW.job_title); NEW.note := 'seen'; RETURN NEW; END $$;
CREATE FUNCTION t.declines() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION t.restores() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE FUNCTION t.complains() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'not on a Sunday' USING ERRCODE = 'UX001', DETAIL = 'my detail', HINT = 'my hint', CONSTRAINT = 'sundays', TABLE = 'calendar'; END $$;
SELECT t.ada();
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.keeps_title();
SELECT t.told(enrich_contact(t.id(1), '{job_title,phone}'));
SELECT t.spent();
SELECT t.told(enrich_contact(t.id(1), '{job_title}'));
SELECT t.spent();
DROP TRIGGER x ON crm;
SELECT t.ada();
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.shouts();
SELECT t.told(enrich_contact(t.id(1), '{job_title,phone}'))->'contact';
SELECT t.stored();
SELECT new_values FROM leadlex.enrichment ORDER BY created_at DESC LIMIT 1;
DROP TRIGGER x ON crm;
SELECT t.ada();
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.declines();
SELECT t.told(enrich_contact(t.id(1), '{job_title}'));
DROP TRIGGER x ON crm;
CREATE TRIGGER x BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.restores();
SELECT t.told(enrich_contact(t.id(1), '{job_title}'))->'fields_updated';
DROP TRIGGER x ON crm;
SELECT t.spent();
-- Its errors reach the client as they are, and nothing is charged.
CREATE TRIGGER x AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION t.complains();
DO $$
DECLARE state text; m text; d text; h text; c text; tb text;
BEGIN PERFORM enrich_contact(t.id(1));
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, c = CONSTRAINT_NAME, tb = TABLE_NAME;
    RAISE WARNING '% % % % % %', state, m, d, h, c, tb; END $$;
SELECT t.fails('SELECT try_enrich_contact(t.id(1))');
DROP TRIGGER x ON crm;
ALTER TABLE crm ADD CONSTRAINT no_lawyers CHECK (job_title NOT LIKE '%Counsel%');
SELECT t.fails('SELECT enrich_contact(t.id(1))');
ALTER TABLE crm DROP CONSTRAINT no_lawyers;
ALTER TABLE crm ALTER COLUMN job_title TYPE varchar(5);
SELECT t.fails('SELECT enrich_contact(t.id(1), $${job_title}$$)');
ALTER TABLE crm ALTER COLUMN job_title TYPE text;
-- A column that pads its text: what is written is what is compared.
ALTER TABLE crm ALTER COLUMN job_title TYPE char(30);
BEGIN; SELECT enrich_contact(t.id(1), '{job_title}')->'fields_updated', enrich_contact(t.id(1), '{job_title}', true)->'fields_updated'; ROLLBACK;
ALTER TABLE crm ALTER COLUMN job_title TYPE text;
CREATE UNIQUE INDEX one_title ON crm (job_title);
INSERT INTO crm (id, job_title) VALUES (t.id(2), 'General Counsel');
SELECT t.fails('SELECT enrich_contact(t.id(1))');
DROP INDEX one_title;
DELETE FROM crm WHERE id = t.id(2);
CREATE DOMAIN phone_no AS text CHECK (value ~ '^[0-9]+$');
ALTER TABLE crm ALTER COLUMN phone TYPE phone_no;
SELECT t.fails('SELECT enrich_contact(t.id(1), $${phone}$$)');
ALTER TABLE crm ALTER COLUMN phone TYPE text;
SELECT t.spent();
SELECT t.stored();
-- A column computed from one of ours follows; one of ours that has become computed cannot be written.
ALTER TABLE crm ADD COLUMN both_of text GENERATED ALWAYS AS (coalesce(job_title, '?') || ', ' || coalesce(company_name, '?')) STORED;
SELECT enrich_contact(t.id(1), '{job_title}')->'fields_updated';
SELECT both_of FROM crm;
ALTER TABLE crm DROP COLUMN both_of;
ALTER TABLE crm DROP COLUMN seniority; ALTER TABLE crm ADD COLUMN seniority text GENERATED ALWAYS AS ('computed') STORED;
SELECT t.fails('SELECT enrich_contact(t.id(1), $${seniority}$$, true)');
ALTER TABLE crm DROP COLUMN seniority; ALTER TABLE crm ADD COLUMN seniority text;

-- Column privileges: refused before anybody is asked (here: an address where nobody listens).
SELECT t.ada();
SELECT leadlex.alter_provider('sample', t.dead());
GRANT SELECT (id, full_name, email, job_title, company_name, linkedin_url, phone, location, seniority), UPDATE (job_title) ON crm TO merge_clerk;
SET ROLE merge_clerk;
SELECT t.fails('SELECT enrich_contact(t.id(1), $${phone,job_title,location}$$)');
SELECT t.fails('SELECT try_enrich_contact(t.id(1), $${phone}$$)');
RESET ROLE;
SELECT leadlex.alter_provider('sample', t.sample());
SET ROLE merge_clerk;
SELECT enrich_contact(t.id(1), '{job_title}')->'fields_updated';
RESET ROLE;
-- Not even allowed to read what identifies it.
REVOKE SELECT (email) ON crm FROM merge_clerk;
SET ROLE merge_clerk; SELECT t.fails('SELECT enrich_contact(t.id(1), $${job_title}$$, true)'); RESET ROLE;
-- Fields that are filled need no privilege: there is nothing to write.
GRANT SELECT (email) ON crm TO merge_clerk;
UPDATE crm SET phone = '+12025550101';
SET ROLE merge_clerk; SELECT enrich_contact(t.id(1), '{phone}')->'fields_updated'; RESET ROLE;

-- Rolled back, it never happened: not for the contact, the balance, the ledger or the history.
SELECT t.ada();
SELECT leadlex.credits() AS before \gset
SELECT count(*) AS changes FROM leadlex.enrichment \gset
BEGIN; SELECT enrich_contact(t.id(1))->'credits_remaining' = to_jsonb(:before - 1); SELECT leadlex.credits() - :before; ROLLBACK;
SELECT leadlex.credits() - :before, t.stored();
BEGIN; SAVEPOINT s; SELECT enrich_contact(t.id(1))->'source'; ROLLBACK TO s; SELECT leadlex.credits() - :before; COMMIT;
DO $$ BEGIN PERFORM enrich_contact(t.id(1)); RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT leadlex.credits() - :before, (SELECT count(*) FROM leadlex.enrichment) - :changes;
-- Afterwards the row is free for another call at once.
SELECT enrich_contact(t.id(1), '{phone}')->'fields_updated';

-- Idempotency: the same key again is the same result, and no more than that.
SELECT t.ada();
SELECT enrich_contact(t.id(1), '{job_title}', false, t.id(55)) AS first \gset
SELECT enrich_contact(t.id(1), '{job_title}', false, t.id(55)) AS again \gset
SELECT :'first'::jsonb - '{request_id,rate_limit,replayed}'::text[] = :'again'::jsonb - '{request_id,rate_limit,replayed}'::text[] AS same,
       :'first'::jsonb->'replayed', :'again'::jsonb->'replayed', :'first'::jsonb->'request_id' <> :'again'::jsonb->'request_id' AS another_request;
-- NULL says what the default says; the order of names says nothing.
SELECT enrich_contact(t.id(1), '{job_title}', NULL, t.id(55))->'replayed';
SELECT t.fails('SELECT enrich_contact(t.id(1), $${phone}$$, false, t.id(55))');
SELECT t.fails('SELECT enrich_contact(t.id(1), $${job_title}$$, true, t.id(55))');
SELECT t.fails('SELECT enrich_contact(t.id(1), NULL, false, t.id(55))');
-- A replay is what was, not what is; nor does it need a provider.
UPDATE crm SET job_title = NULL;
SELECT leadlex.alter_provider('sample', t.dead());
SELECT enrich_contact(t.id(1), '{job_title}', false, t.id(55))->'contact'->'job_title';
-- Errors are not stored: the same key tries again.
SELECT left(t.fails('SELECT enrich_contact(t.id(1), $${phone}$$, false, t.id(56))'), 27);
SELECT leadlex.alter_provider('sample', t.sample());
SELECT enrich_contact(t.id(1), '{phone}', false, t.id(56)) @> '{"replayed": false, "fields_updated": ["phone"]}';
-- "Nothing to fill" is stored as well.
SELECT enrich_contact(t.id(1), '{phone}', false, t.id(57)) @> '{"replayed": false, "fields_updated": []}';
UPDATE crm SET phone = NULL;
SELECT enrich_contact(t.id(1), '{phone}', false, t.id(57)) @> '{"replayed": true, "fields_updated": []}';
-- The row's other ways in: the same key for the same row is the same request.
SELECT enrich_row('crm', t.id(1)::text, '{phone}', false, t.id(57))->'replayed';
-- A key older than 24 hours is forgotten.
UPDATE leadlex.idempotency SET created_at = created_at - interval '24 hours 1 second' WHERE key = t.id(57);
SELECT enrich_contact(t.id(1), '{phone}', false, t.id(57)) @> '{"replayed": false, "fields_updated": ["phone"]}';
-- Rolled back, the key is unused.
BEGIN; SELECT enrich_contact(t.id(1), '{location}', false, t.id(58))->'replayed'; ROLLBACK;
SELECT enrich_contact(t.id(1), '{seniority}', false, t.id(58))->'fields_updated';
-- A contact that is gone is not found, key or no key.
DELETE FROM crm;
SELECT left(t.fails('SELECT enrich_contact(t.id(1), $${seniority}$$, false, t.id(58))'), 5);

-- One statement over many rows.
INSERT INTO crm (id, email) VALUES (t.id(1), 'ada.abbott@acme.example'), (t.id(2), 'nobody@acme.example'), (t.id(3), NULL), (t.id(4), 'carla.castillo@northwind.example');
SELECT n, coalesce(r->>'fields_updated', r->'error'->>'code' || ' ' || (r->'error'->>'reason')) FROM (SELECT row_number() OVER (ORDER BY id) AS n, try_enrich_contact(id) AS r FROM crm) x ORDER BY n;
SELECT t.fails('SELECT enrich_contact(t.id(2))');
SELECT t.fails('SELECT enrich_contact(t.id(3))');
SELECT sum(amount) = leadlex.credits() AS ledger_is_balance FROM leadlex.credit_ledger;
DROP OWNED BY merge_clerk;
DROP ROLE merge_clerk;
