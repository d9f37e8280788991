-- The order of checks: of several things that are wrong, the caller learns the first, and nothing is used up by it.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
DROP ROLE IF EXISTS order_user, order_weak, order_nobody;
CREATE ROLE order_user; CREATE ROLE order_weak; CREATE ROLE order_nobody;
CREATE EXTENSION leadlex_enrich;
-- No credit, no rate, a provider that nobody can reach.
SELECT leadlex.create_workspace('ours', 0) AS ours \gset
SELECT leadlex.set_rate_limit(0, NULL);
CREATE TABLE crm (id uuid PRIMARY KEY, email text, job_title text, phone text);
SELECT leadlex.grant_access('order_user'), leadlex.grant_access('order_weak', permissions => '{}');
RESET client_min_messages;
CREATE FUNCTION t.first(call text) RETURNS text LANGUAGE sql AS $$ SELECT split_part(t.fails('SELECT ' || call), E'\n', 1) $$;
CREATE FUNCTION t.used() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', 'rate', (SELECT remaining FROM leadlex.rate_limit() WHERE "window" = 'minute'), 'credits', leadlex.credits(), 'stored', (SELECT jsonb_agg(to_jsonb(crm) - '{id,email}'::text[] ORDER BY id) FROM crm)) $$;

-- 1 arguments, 2 a transaction that can write, 3 who, 4 permission, 5 the contact
SET ROLE order_nobody;
BEGIN READ ONLY;
SELECT t.first('enrich_contact(NULL)');
SELECT t.first('enrich_contact(t.id(9), $${x}$$)');
SELECT t.first('enrich_contact(t.id(9))');
ROLLBACK;
SELECT t.first('enrich_contact(NULL)'), t.first('enrich_contact(t.id(9))');
SET ROLE order_weak; SELECT t.first('enrich_contact(t.id(9))');
-- No table is bound yet.
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(9))');
RESET ROLE;
SET client_min_messages = warning; SELECT leadlex.bind_contacts('crm'); RESET client_min_messages;
INSERT INTO crm VALUES (t.id(1), 'ada.abbott@acme.example', NULL, NULL), (t.id(2), 'bruno.bergmann@harborline.example', 'full', '+12025550102'), (t.id(3), NULL, NULL, NULL), (t.id(4), 'nobody@acme.example', NULL, NULL);
SET ROLE order_weak; SELECT t.first('enrich_contact(t.id(9))');
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(9))');
RESET ROLE;
GRANT SELECT ON crm TO order_user, order_weak;
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(9), idempotency_key => t.id(70))');
-- 6 replay before 7 nothing to fill: both without rate, credit or provider.
SELECT enrich_contact(t.id(2), idempotency_key => t.id(71))->'replayed', enrich_contact(t.id(2), idempotency_key => t.id(71))->'replayed';
SELECT t.first('enrich_contact(t.id(1), idempotency_key => t.id(71))');
SELECT t.first('enrich_contact(t.id(2), $${phone}$$, idempotency_key => t.id(71))');
-- The privilege to write, before anything is used.
SELECT t.first('enrich_contact(t.id(1))');
RESET ROLE;
GRANT UPDATE ON crm TO order_user;
-- No provider at all: the statement to run.
SET ROLE order_user; SELECT t.fails('SELECT enrich_contact(t.id(1))'); SELECT t.fails('SELECT try_enrich_contact(t.id(1))');
RESET ROLE;
SELECT leadlex.add_provider('sample', 'people_data_labs', t.dead(), 'demo-secret');
-- 8 rate
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(1))'); SELECT t.used();
RESET ROLE; SELECT leadlex.set_rate_limit(5, NULL);
-- 9 credit
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(1))'); SELECT t.used();
RESET ROLE; SELECT leadlex.grant_credits(2);
-- 10 providers: a failure costs rate, and no credit
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(1))'); SELECT t.used();
SELECT t.first('enrich_contact(t.id(3))'); SELECT t.used();
RESET ROLE; SELECT leadlex.alter_provider('sample', t.sample());
SET ROLE order_user; SELECT t.first('enrich_contact(t.id(4))'); SELECT t.used();
-- 11 a credit
SELECT enrich_contact(t.id(1))->'credits_remaining'; SELECT t.used();
SELECT t.first('enrich_contact(t.id(4))');
RESET ROLE;
SELECT count(*) FROM leadlex.idempotency;
DROP OWNED BY order_user, order_weak, order_nobody;
DROP ROLE order_user, order_weak, order_nobody;
