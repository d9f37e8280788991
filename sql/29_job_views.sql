-- The views leadlex.job and leadlex.queue. Their tables are in 16_job_tables.sql.

-- Run with the owner's rights, as the rows are private; whose they are is looked at here.
CREATE VIEW leadlex.job WITH (security_barrier = true) AS
    SELECT pg_catalog.overlay(s.first_job::text, pg_catalog.lpad(pg_catalog.to_hex(coalesce(s.places[c.n::integer]::integer, c.n::integer OPERATOR(pg_catalog.-) 1)), 4, '0'), 33)::uuid AS id,
           c.contact_id, pg_catalog.format('%I.%I', s.schema_name, s.table_name) AS relation, s.workspace_id, s.role, s.fields, s.overwrite,
           s.state, s.outcome, s.attempts, s.next_attempt_at, s.last_error, s.created_at, s.started_at, s.finished_at, s.priority, s.settings
    FROM leadlex.job_set AS s, pg_catalog.unnest(s.contact_ids) WITH ORDINALITY AS c(contact_id, n)
    WHERE (SELECT leadlex.is_administrator())
       OR s.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]);
COMMENT ON VIEW leadlex.job IS 'The queue: one row for each contact that leadlex.enqueue, leadlex.enqueue_rows or a trigger has queued, of one''s own workspaces. Done ones go after leadlex.job_retention, dead ones stay.';
COMMENT ON COLUMN leadlex.job.id IS 'the job';
COMMENT ON COLUMN leadlex.job.contact_id IS 'the contact''s key, as text';
COMMENT ON COLUMN leadlex.job.relation IS 'the contact''s table';
COMMENT ON COLUMN leadlex.job.workspace_id IS 'the workspace that is charged';
COMMENT ON COLUMN leadlex.job.role IS 'the database role that it runs as';
COMMENT ON COLUMN leadlex.job.fields IS 'the fields asked for';
COMMENT ON COLUMN leadlex.job.overwrite IS 'whether non-empty fields may be replaced';
COMMENT ON COLUMN leadlex.job.state IS 'queued, running, done or dead (given up: see last_error, and leadlex.retry_jobs)';
COMMENT ON COLUMN leadlex.job.outcome IS 'of done ones: enriched, unchanged, no_match, or gone (there is no such contact any more); of one that waits for more or was given up: enriched, where something is written by now';
COMMENT ON COLUMN leadlex.job.attempts IS 'attempts; a wait for a rate limit, for credits, for an answer that comes later or for a provider that could not be asked does not count';
COMMENT ON COLUMN leadlex.job.next_attempt_at IS 'it is not begun before; of a running one, when it counts as interrupted';
COMMENT ON COLUMN leadlex.job.last_error IS 'why the last attempt failed, or why there was no match, with the reason in brackets at its end, unless that is no_data';
COMMENT ON COLUMN leadlex.job.created_at IS 'when it was queued, or given back to the queue by leadlex.retry_jobs after it was dead';
COMMENT ON COLUMN leadlex.job.started_at IS 'begin of the last attempt';
COMMENT ON COLUMN leadlex.job.finished_at IS 'when it was done or given up';
COMMENT ON COLUMN leadlex.job.priority IS 'the lower, the earlier begun';
COMMENT ON COLUMN leadlex.job.settings IS 'of what goes on with a call: how that call asked, as name=value; NULL: as the settings of the role say';

CREATE VIEW leadlex.queue WITH (security_barrier = true) AS
    SELECT p.reason IS NOT NULL AS paused, p.reason AS paused_because, n.queued, n.running, n.done, n.dead, n.next_attempt_at, n.oldest
    FROM (SELECT leadlex.queue_paused() AS reason) AS p,
         (SELECT coalesce(pg_catalog.sum(s.contacts) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'queued'), 0) AS queued,
                 coalesce(pg_catalog.sum(s.contacts) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'running'), 0) AS running,
                 coalesce(pg_catalog.sum(s.contacts) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'done'), 0) AS done,
                 coalesce(pg_catalog.sum(s.contacts) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'dead'), 0) AS dead,
                 pg_catalog.min(s.next_attempt_at) FILTER (WHERE s.state OPERATOR(pg_catalog.=) 'queued') AS next_attempt_at,
                 pg_catalog.min(s.created_at) FILTER (WHERE s.next_attempt_at IS NOT NULL) AS oldest
          FROM leadlex.job_set AS s
          WHERE (SELECT leadlex.is_administrator())
             OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
             OR s.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[])) AS n;
COMMENT ON VIEW leadlex.queue IS 'The queue in one row: whether it is paused, and how many jobs of one''s own workspaces (to administrators and pg_monitor: of all) are in which state.';
COMMENT ON COLUMN leadlex.queue.paused IS 'whether no job is begun';
COMMENT ON COLUMN leadlex.queue.paused_because IS 'stopped: leadlex.stop() is in force; clone: the database is a copy, or was restored (leadlex.resume_queue() lets it work); pause_queue: it was called; read_only: default_transaction_read_only is on for the database, the server or one''s own role';
COMMENT ON COLUMN leadlex.queue.queued IS 'jobs that wait, for their turn or for their next attempt';
COMMENT ON COLUMN leadlex.queue.running IS 'jobs that a worker has begun';
COMMENT ON COLUMN leadlex.queue.done IS 'jobs done, as long as they are kept';
COMMENT ON COLUMN leadlex.queue.dead IS 'jobs given up';
COMMENT ON COLUMN leadlex.queue.next_attempt_at IS 'when the next job that waits may begin';
COMMENT ON COLUMN leadlex.queue.oldest IS 'when the oldest unfinished job was queued';
