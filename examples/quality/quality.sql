-- Data that can be trusted, and undone: the example of README.md. Started by ./run.
\pset footer off
\encoding UTF8
\set ECHO none
SET client_min_messages = warning;

-- 1. A table, two vendors, a trigger that notes who wrote what.

CREATE EXTENSION leadlex_enrich;
CREATE TABLE lead (id bigint PRIMARY KEY, name text, email text, score int, title text, phone text,
                   enriched_at timestamptz, enrichment_status text);
SELECT leadlex.create_workspace('sales', credits => 5000, plan => 'unmetered') AS workspace \gset
SELECT leadlex.grant_access(current_user, :'workspace') \g /dev/null
SELECT leadlex.bind_contacts('lead', '{"full_name": "name", "job_title": "title"}') \g /dev/null
SELECT leadlex.add_provider(vendor, priority => priority, config => jsonb_build_object(
           'request', jsonb_build_object('url', :'vendors' || '/' || vendor, 'query', '{"email": "{email}", "name": "{full_name}"}'::jsonb),
           'identify_by', '[["email"]]'::jsonb,
           'response', '{"no_match": {"status": [404]}, "same_person": {"full_name": "/name"},
                         "fields": {"job_title": "/title", "phone": "/phone"}}'::jsonb))
FROM (VALUES ('atlas', 100), ('beacon', 200)) AS v(vendor, priority) \g /dev/null
SELECT leadlex.suppress('@optout.example', 'objected') \g /dev/null

CREATE TABLE audit (lead_id bigint, field text, source text, request_id uuid, requested_by name, while_writing text);
CREATE FUNCTION note_enrichment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit
    SELECT NEW.id, w.field, w.source, w.request_id, w.requested_by, nullif(current_setting('leadlex.source', true), '')
    FROM leadlex.written(TG_RELID::regclass, NEW.id::text) AS w;
    RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION note_enrichment();

-- In which of four ways each is enriched, and what was asked and paid so far.
CREATE FUNCTION way(id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN id <= 1400 THEN 'queue' WHEN id <= 1700 THEN 'set' WHEN id <= 1800 THEN 'alone' ELSE 'trigger' END $$;
CREATE TABLE mark (asked_atlas bigint, asked_beacon bigint, credits bigint);
CREATE VIEW now AS
    SELECT (SELECT calls FROM leadlex.provider_stats WHERE name = 'atlas') AS asked_atlas,
           (SELECT calls FROM leadlex.provider_stats WHERE name = 'beacon') AS asked_beacon, leadlex.credits() AS credits;
CREATE VIEW since AS
    SELECT n.asked_atlas - m.asked_atlas AS asked_atlas, n.asked_beacon - m.asked_beacon AS asked_beacon, m.credits - n.credits AS credits_spent
    FROM now AS n, mark AS m;
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    holds boolean;
BEGIN
    FOR i IN 1..3000 LOOP
        EXECUTE 'SELECT ' || condition INTO holds;
        EXIT WHEN holds;
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
    IF NOT holds THEN RAISE 'in vain: %', condition; END IF;
END $$;

-- 2. 2,000 people, enriched in four ways.

\echo 'The best first:'
INSERT INTO mark SELECT * FROM now;
\copy lead (id, name, email, score) FROM PROGRAM 'python3 people.py 1 1800' WITH (FORMAT csv)
SELECT leadlex.pause_queue() \g /dev/null
SELECT leadlex.enqueue_rows('lead', ARRAY(SELECT id::text FROM lead WHERE id <= 900)) AS queued;
SELECT leadlex.enqueue_rows('lead', ARRAY(SELECT id::text FROM lead WHERE id BETWEEN 901 AND 1400), priority => -10) AS best_queued;
SELECT leadlex.resume_queue() \g /dev/null
CALL wait_until('NOT EXISTS (SELECT FROM leadlex.job WHERE state IN (''queued'', ''running''))');
-- Two workers begin at the same moment, each with what is first then: so the first of the others may be begun beside the last of the best.
SELECT count(*) FILTER (WHERE priority = -10) AS best, count(*) FILTER (WHERE priority = 0) AS others,
       count(*) FILTER (WHERE priority = 0 AND finished_at < last_of_best) AS others_done_before_the_best_began
FROM leadlex.job, (SELECT max(started_at) AS last_of_best FROM leadlex.job WHERE priority = -10) AS b;

\echo 'In a set:'
SELECT status, count(*) FROM enrich_rows('lead', ARRAY(SELECT id::text FROM lead WHERE way(id) = 'set')) GROUP BY 1 ORDER BY 1;

\echo 'One by one:'
SELECT coalesce(result -> 'error' ->> 'reason', 'enriched') AS result, count(*)
FROM (SELECT try_enrich_row('lead', id) AS result FROM lead WHERE way(id) = 'alone' OFFSET 0) AS r GROUP BY 1 ORDER BY 1;

CREATE TRIGGER enriched AFTER INSERT ON lead REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert();
\copy lead (id, name, email, score) FROM PROGRAM 'python3 people.py 1801 2000' WITH (FORMAT csv)
DROP TRIGGER enriched ON lead;

\echo 'All of them, and what it cost:'
SELECT count(*) AS people, count(title) AS enriched, count(*) - count(title) AS not_enriched, asked_atlas, asked_beacon, credits_spent
FROM lead, since GROUP BY asked_atlas, asked_beacon, credits_spent;

-- 3. Why not.

CALL wait_until('(SELECT count(*) FROM leadlex.last_outcome) = (SELECT count(*) FROM lead WHERE title IS NULL)');
\echo 'Why not:'
SELECT reason, count(*) FILTER (WHERE way = 'alone') AS alone, count(*) FILTER (WHERE way = 'set') AS in_a_set,
       count(*) FILTER (WHERE way = 'trigger') AS by_trigger, count(*) FILTER (WHERE way = 'queue') AS by_queue, count(*) AS together
FROM (SELECT reason, way(contact_id::bigint) FROM leadlex.last_outcome WHERE relation = 'public.lead') AS o GROUP BY 1 ORDER BY 1;

\echo 'The rows themselves say so, but for those that were asked about alone, where an error takes all back:'
SELECT coalesce(enrichment_status, 'nothing') AS enrichment_status, count(*), count(enriched_at) AS with_a_time FROM lead GROUP BY 1 ORDER BY 1;

-- 4. Who wrote this.

\echo 'The audit trigger:'
SELECT way(lead_id) AS way, count(DISTINCT lead_id) AS people, count(DISTINCT a.request_id) AS requests,
       count(DISTINCT lead_id) FILTER (WHERE a.source = 'atlas') AS by_atlas, count(DISTINCT lead_id) FILTER (WHERE a.requested_by = current_user) AS by_this_role,
       count(DISTINCT lead_id) FILTER (WHERE a.source = a.while_writing) AS told_by_the_setting,
       count(*) FILTER (WHERE e.request_id IS NULL) AS unknown_requests
FROM audit AS a LEFT JOIN leadlex.enrichment AS e ON e.request_id = a.request_id AND e.contact_id = a.lead_id::text
GROUP BY 1 ORDER BY 1;

-- 5. One vendor's week.

-- What was bought of the first thousand is three weeks old. People have typed some telephone numbers since.
UPDATE leadlex.enrichment SET created_at = created_at - interval '21 days' WHERE contact_id::bigint <= 1000;
UPDATE lead SET phone = '+441632960' || lpad((id % 1000)::text, 3, '0') WHERE id % 40 = 31;
CREATE TABLE typed AS SELECT id, phone FROM lead WHERE id % 40 = 31;
TRUNCATE mark;
INSERT INTO mark SELECT * FROM now;

\echo 'What would be thrown out:'
SELECT field, status, count(*) FROM leadlex.revert_provider('atlas', now() - interval '7 days', dry_run => true) GROUP BY 1, 2 ORDER BY 1, 2;
\echo 'What was:'
SELECT field, status, count(*) FROM leadlex.revert_provider('atlas', now() - interval '7 days') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FILTER (WHERE title = 'Chief Everything Officer') AS junk_titles, count(*) FILTER (WHERE l.phone LIKE '+4420794%') AS junk_phones,
       (SELECT count(*) FROM typed) AS typed, count(*) FILTER (WHERE t.phone IS DISTINCT FROM l.phone AND t.id IS NOT NULL) AS typed_and_lost
FROM lead AS l LEFT JOIN typed AS t USING (id);

\echo 'Bought elsewhere:'
SELECT status, source, count(*) FROM enrich_rows('lead', ARRAY(SELECT leadlex.missing('lead'))) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM since;

\echo 'The same again, of all rows:'
TRUNCATE mark;
INSERT INTO mark SELECT * FROM now;
SELECT count(*) AS missing FROM leadlex.missing('lead');
SELECT status, coalesce(reason, '') AS reason, count(*) FROM enrich_rows('lead', ARRAY(SELECT id::text FROM lead)) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT s.*, (SELECT count(*) FROM lead WHERE title = 'Chief Everything Officer' OR phone LIKE '+4420794%') AS junk FROM since AS s;

-- 6. Half a year later: is it still true?

SELECT leadlex.enable_provider('atlas', false) \g /dev/null
SELECT leadlex.alter_provider('beacon', jsonb_build_object('request', jsonb_build_object('url', :'vendors' || '/beacon/later'))) \g /dev/null
UPDATE leadlex.enrichment SET created_at = created_at - interval '200 days', answered_at = NULL;
UPDATE leadlex.checked SET checked_at = checked_at - interval '200 days', verified_at = verified_at - interval '200 days';
DELETE FROM leadlex.receipt;
CREATE TABLE before AS SELECT id, title, phone FROM lead;
TRUNCATE mark;
INSERT INTO mark SELECT * FROM now;
CREATE VIEW due AS SELECT count(*) AS due FROM leadlex.due('lead', '6 months');

\echo 'Older than six months:'
SELECT * FROM due;
SET leadlex.overwrite_scope = 'own';
SELECT coalesce(array_agg(key), '{}') AS keys FROM leadlex.due('lead', '6 months') AS key \gset
CALL leadlex.enrich_batch('lead', :'keys', overwrite => true);
\echo 'After the night:'
SELECT d.due, s.*, count(*) FILTER (WHERE l.title <> b.title) AS another_title,
       count(*) FILTER (WHERE t.id IS NOT NULL AND t.phone IS DISTINCT FROM l.phone) AS typed_and_lost
FROM due AS d, since AS s, lead AS l JOIN before AS b USING (id) LEFT JOIN typed AS t USING (id) GROUP BY d.due, s.asked_atlas, s.asked_beacon, s.credits_spent;

\echo 'A second run the same night:'
TRUNCATE mark;
INSERT INTO mark SELECT * FROM now;
SELECT coalesce(array_agg(key), '{}') AS keys FROM leadlex.due('lead', '6 months') AS key \gset
CALL leadlex.enrich_batch('lead', :'keys', overwrite => true);
SELECT * FROM since;
RESET leadlex.overwrite_scope;

-- 7. After a reload.

\echo 'Reloaded by truncate-and-insert, as dlt does:'
CREATE TABLE held AS SELECT id, title, phone FROM lead WHERE id NOT IN (SELECT id FROM typed);
CREATE TABLE lead_staging (LIKE lead);
\copy lead_staging (id, name, email, score) FROM PROGRAM 'python3 people.py 1 2000' WITH (FORMAT csv)
BEGIN;
TRUNCATE lead;
INSERT INTO lead (id, name, email, score) SELECT id, name, email, score FROM lead_staging;
COMMIT;
SELECT leadlex.refill('lead') AS refilled;
CREATE VIEW came_back AS
    SELECT count(*) AS people, count(*) FILTER (WHERE l.title IS NOT DISTINCT FROM h.title AND l.phone IS NOT DISTINCT FROM h.phone) AS as_before
    FROM lead AS l JOIN held AS h USING (id);
SELECT * FROM came_back, since;

\echo 'Reloaded by a table that takes its name:'
DROP VIEW came_back;
BEGIN;
CREATE TABLE lead_new (LIKE lead INCLUDING ALL);
INSERT INTO lead_new (id, name, email, score) SELECT id, name, email, score FROM lead_staging;
ALTER TABLE lead RENAME TO lead_old;
ALTER TABLE lead_new RENAME TO lead;
COMMIT;
SELECT leadlex.refill('lead') AS refilled;
SELECT count(*) AS people, count(*) FILTER (WHERE l.title IS NOT DISTINCT FROM h.title AND l.phone IS NOT DISTINCT FROM h.phone) AS as_before,
       s.* FROM lead AS l JOIN held AS h USING (id), since AS s GROUP BY s.asked_atlas, s.asked_beacon, s.credits_spent;
