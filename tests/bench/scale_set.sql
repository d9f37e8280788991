-- For `make bench SCALE=1`: a set of so many contacts in a session, and its private memory before and afterwards. A set of a
-- hundred goes before, so that what any set needs is there.
DROP TABLE IF EXISTS answered, memory;
CREATE TABLE memory (kb int);
CREATE TABLE answered (asked bigint, n bigint, status text, message text);
GRANT INSERT ON answered TO bench;
SET ROLE bench;
SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM contact ORDER BY id LIMIT 100));
RESET ROLE;
UPDATE contact SET job_title = NULL WHERE job_title IS NOT NULL;
INSERT INTO memory SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int;
SET ROLE bench;
INSERT INTO answered
SELECT sum(count(*)) OVER (), count(*), status, min(error_message)
FROM enrich_contacts(ARRAY(SELECT id FROM contact ORDER BY id DESC LIMIT :contacts), '{job_title}') GROUP BY status;
RESET ROLE;
INSERT INTO memory SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::int;
