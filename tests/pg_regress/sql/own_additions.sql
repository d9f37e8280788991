-- What an administrator has added to the ledger and the history is obeyed, as in any table.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
CREATE EXTENSION leadlex_enrich;
SELECT leadlex.create_workspace('only', 100, 'unmetered') AS ws \gset
SELECT leadlex.grant_access(current_user, :'ws');
SELECT leadlex.add_provider('sample', 'people_data_labs', t.sample(), 'demo-secret');
CREATE TABLE crm (id int PRIMARY KEY, email text, phone text);
INSERT INTO crm SELECT g, 'ada.abbott@acme.example' FROM generate_series(1, 9) AS g;
SELECT leadlex.bind_contacts('crm', workspace_id => :'ws');
RESET client_min_messages;

-- As installed: one ledger row, one of history, seen by the next statement and by the index.
SELECT enrich_row('crm', '1')->'fields_updated';
SET enable_seqscan = off;
SELECT e.contact_id, e.requested_by = current_user AS me, e.source, e.new_values, e.created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS recent, l.amount, l.note
FROM leadlex.enrichment AS e JOIN leadlex.credit_ledger AS l USING (workspace_id, request_id);
RESET enable_seqscan;

-- A column with a default.
ALTER TABLE leadlex.enrichment ADD COLUMN reviewed text DEFAULT 'no';
SELECT enrich_row('crm', '2')->'fields_updated';
SELECT contact_id, reviewed FROM leadlex.enrichment ORDER BY contact_id;
ALTER TABLE leadlex.enrichment DROP COLUMN reviewed;
SELECT enrich_row('crm', '3')->'fields_updated';

-- Indexes on an expression and on a part.
CREATE INDEX by_mail ON leadlex.enrichment (upper(source));
CREATE INDEX of_four ON leadlex.enrichment (contact_id) WHERE contact_id = '4';
SELECT enrich_row('crm', '4')->'fields_updated', enrich_row('crm', '5')->'fields_updated';
SET enable_seqscan = off;
SELECT count(*) FROM leadlex.enrichment WHERE upper(source) = 'SAMPLE';
SELECT contact_id FROM leadlex.enrichment WHERE contact_id = '4';
RESET enable_seqscan;
DROP INDEX leadlex.by_mail, leadlex.of_four;

-- A constraint: nothing is charged when it is violated.
ALTER TABLE leadlex.enrichment ADD CONSTRAINT not_six CHECK (contact_id <> '6');
SELECT left(t.fails('SELECT enrich_row(''crm'', ''6'')'), 70);
SELECT leadlex.credits(), (SELECT phone FROM crm WHERE id = 6);
ALTER TABLE leadlex.enrichment DROP CONSTRAINT not_six;

-- A trigger.
CREATE TABLE told (contact_id text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO told VALUES (new.contact_id); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON leadlex.enrichment FOR EACH ROW EXECUTE FUNCTION tell();
SELECT enrich_row('crm', '7')->'fields_updated';
TABLE told;
SELECT count(*) AS history, (SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1) AS charges, leadlex.credits() FROM leadlex.enrichment;
