-- What a granted role may read: rows of its own workspaces. PUBLIC has the SELECT privilege, since one entry for each role
-- would not fit into pg_class; who has been granted nothing has no rows.

ALTER TABLE leadlex.workspace ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.credit_pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.credit_settled ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.enrichment ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.suppression ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.shared_value ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.usage_day ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.usage_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.usage_mark ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.workspace FOR SELECT
    USING (id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.credit_pending FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.credit_settled FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.enrichment FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.suppression FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.shared_value FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.usage_day FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY own_workspace ON leadlex.usage_change FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
-- To whom no workspace is granted there is nothing to sum.
CREATE POLICY any_workspace ON leadlex.usage_mark FOR SELECT
    USING ((SELECT pg_catalog.cardinality(leadlex.my_workspaces()::uuid[])) OPERATOR(pg_catalog.>) 0);

CREATE POLICY granted ON leadlex.workspace AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.workspace'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.credit_pending AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.credit_pending'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.credit_settled AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.credit_settled'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.enrichment AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.enrichment'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.usage_day AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.usage_day'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.usage_change AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.usage_change'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.usage_mark AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.usage_mark'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.shared_value AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.shared_value'::regclass, 'SELECT')));

-- The policies of its tables are barrier enough. One of its own would keep conditions, order and limit of a query from the
-- indexes.
CREATE VIEW leadlex.credit_ledger WITH (security_invoker = true) AS
    SELECT l.id, l.workspace_id, l.amount, l.request_id, l.note, l.created_at
    FROM (SELECT p.id, p.workspace_id, p.amount, p.request_id, p.note, p.created_at FROM leadlex.credit_pending AS p
          UNION ALL
          SELECT s.id, s.workspace_id, s.amount, s.request_id, s.note, s.created_at FROM leadlex.credit_settled AS s) AS l
    -- A policy is asked row by row: for whom there is nothing, nothing is read.
    WHERE (SELECT NOT pg_catalog.row_security_active('leadlex.credit_settled'::pg_catalog.regclass)
                  OR leadlex.has_access('leadlex.credit_settled'::pg_catalog.regclass, 'SELECT'));
COMMENT ON VIEW leadlex.credit_ledger IS 'Every movement of credits: grants positive, charges -1. Balance = sum(amount), in a workspace with a credit limit.';
COMMENT ON COLUMN leadlex.credit_ledger.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_ledger.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_ledger.amount IS 'credits: positive granted, -1 charged, other negatives corrections; of a limit what it changes';
COMMENT ON COLUMN leadlex.credit_ledger.request_id IS 'the call that was charged: request_id of its result and of leadlex.enrichment';
COMMENT ON COLUMN leadlex.credit_ledger.note IS 'what leadlex.grant_credits was given as note; opening balance, limit or allotment where another function or the worker has changed the credits';
COMMENT ON COLUMN leadlex.credit_ledger.created_at IS 'when';

-- Runs with the owner's rights, to say whether a secret is there without letting anybody read one.
CREATE VIEW leadlex.provider WITH (security_barrier = true) AS
    SELECT p.name, p.priority, p.enabled, p.preset, p.workspace_id, p.config,
           EXISTS (SELECT FROM leadlex.provider_secret AS s WHERE s.name OPERATOR(pg_catalog.=) p.name) AS has_secret,
           p.created_at, p.updated_at
    FROM leadlex.provider_config AS p
    WHERE (SELECT leadlex.is_administrator())
       OR (SELECT leadlex.has_access(pg_catalog.to_regclass('leadlex.provider'), 'SELECT'))
          AND (p.workspace_id IS NULL OR p.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
COMMENT ON VIEW leadlex.provider IS 'The providers that one''s workspaces use, without their secrets.';
COMMENT ON COLUMN leadlex.provider.name IS 'name given to leadlex.add_provider; the source in results';
COMMENT ON COLUMN leadlex.provider.priority IS 'the lower, the earlier asked';
COMMENT ON COLUMN leadlex.provider.enabled IS 'leadlex.enable_provider';
COMMENT ON COLUMN leadlex.provider.preset IS 'the preset it was made from, if any';
COMMENT ON COLUMN leadlex.provider.workspace_id IS 'NULL: for every workspace';
COMMENT ON COLUMN leadlex.provider.config IS 'the complete configuration, with {secret} where the secret goes';
COMMENT ON COLUMN leadlex.provider.has_secret IS 'false after a restore: give it again with leadlex.alter_provider';

COMMENT ON COLUMN leadlex.provider.created_at IS 'when it was added';
COMMENT ON COLUMN leadlex.provider.updated_at IS 'when its configuration, priority or enabled last changed';

-- Simple enough that a row can be deleted or changed through it.
CREATE VIEW leadlex.binding WITH (security_barrier = true) AS
    SELECT b.schema_name, b.table_name, b.columns, b.workspace_id, b.bound_at,
           ARRAY(SELECT t.tgname::pg_catalog.text
                 FROM pg_catalog.pg_trigger AS t
                 JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
                 JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                 WHERE n.nspname OPERATOR(pg_catalog.=) b.schema_name AND c.relname OPERATOR(pg_catalog.=) b.table_name
                   AND t.tgfoid OPERATOR(pg_catalog.=) ANY (ARRAY['leadlex.enrich_on_insert()'::pg_catalog.regprocedure,
                                                                  'leadlex.enqueue_on_insert()'::pg_catalog.regprocedure]::pg_catalog.oid[])
                   AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
                 ORDER BY t.tgname USING OPERATOR(pg_catalog.<)) AS triggers
    FROM leadlex.bound_table AS b;
COMMENT ON VIEW leadlex.binding IS 'Contact tables made enrichable by leadlex.bind_contacts, by qualified name. The oldest is where enrich_contact looks.';
COMMENT ON COLUMN leadlex.binding.schema_name IS 'the table''s schema';
COMMENT ON COLUMN leadlex.binding.table_name IS 'its name: a table replaced under it stays bound';
COMMENT ON COLUMN leadlex.binding.columns IS 'our names to the table''s column names';
COMMENT ON COLUMN leadlex.binding.workspace_id IS 'the workspace of every row, for a table without a workspace column';
COMMENT ON COLUMN leadlex.binding.bound_at IS 'the oldest is the table of enrich_contact';
COMMENT ON COLUMN leadlex.binding.triggers IS 'enabled triggers of ours on the table that has the name now; empty: new rows are not enriched by themselves';

-- Dumps of versions in which it was a table are restored by COPY.
CREATE FUNCTION leadlex.binding_restored() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $restored$
BEGIN
    INSERT INTO leadlex.bound_table (schema_name, table_name, columns, workspace_id, bound_at)
    VALUES (NEW.schema_name, NEW.table_name, NEW.columns, NEW.workspace_id, coalesce(NEW.bound_at, pg_catalog.clock_timestamp()));
    RETURN NEW;
END
$restored$;
COMMENT ON FUNCTION leadlex.binding_restored() IS 'Trigger on leadlex.binding: takes rows of dumps in which it was a table.';
REVOKE ALL ON FUNCTION leadlex.binding_restored() FROM PUBLIC;
CREATE TRIGGER binding_restored INSTEAD OF INSERT ON leadlex.binding
    FOR EACH ROW EXECUTE FUNCTION leadlex.binding_restored();

CREATE VIEW leadlex.presets AS
    SELECT p.name, p.vendor, p.fields, p.identify_by, p.identifiers, p.score, p.limits, p.billing, p.notes, p.documentation, p.checked_on, p.config
    FROM leadlex.preset_report() AS p;
COMMENT ON VIEW leadlex.presets IS 'Provider descriptions that come with the extension, for the preset argument of leadlex.add_provider.';
COMMENT ON COLUMN leadlex.presets.name IS 'name of the preset';
COMMENT ON COLUMN leadlex.presets.vendor IS 'whose service it is for';
COMMENT ON COLUMN leadlex.presets.fields IS 'the fields that it is asked for: those of which one has to be wanted';
COMMENT ON COLUMN leadlex.presets.identify_by IS 'what must be known of a contact: one of these sets';
COMMENT ON COLUMN leadlex.presets.identifiers IS 'the same in words';
COMMENT ON COLUMN leadlex.presets.score IS 'what its confidence is';
COMMENT ON COLUMN leadlex.presets.limits IS 'the vendor''s rate limits, as documented';
COMMENT ON COLUMN leadlex.presets.billing IS 'what the vendor bills, as documented';
COMMENT ON COLUMN leadlex.presets.notes IS 'what to know, and what the vendor does not offer';
COMMENT ON COLUMN leadlex.presets.documentation IS 'where the vendor documents it';
COMMENT ON COLUMN leadlex.presets.checked_on IS 'when that was last compared';
COMMENT ON COLUMN leadlex.presets.config IS 'the description itself';

-- Runs with the owner's rights; whom it tells of which providers is up to the function.
CREATE VIEW leadlex.provider_stats WITH (security_barrier = true) AS
    SELECT p.name, p.workspace_id, p.enabled, s.calls, s.matches, s.no_matches, s.refusals, s.failures, s.failures_by_kind, s.skipped,
           s.p50_ms, s.p95_ms, s.p99_ms, s.cost, s.costs_unread, s.state, s.paused_until, s.failures_in_a_row, s.last_error, s.last_error_at
    FROM leadlex.provider_config AS p
    JOIN leadlex.provider_report() AS s ON s.provider_id OPERATOR(pg_catalog.=) p.id;
COMMENT ON VIEW leadlex.provider_stats IS 'What has come of each provider''s requests. Counts survive a restart. A provider for every workspace is shown to administrators, and to others while there is only one workspace; pg_monitor sees all, without last_error.';
COMMENT ON COLUMN leadlex.provider_stats.name IS 'the provider';
COMMENT ON COLUMN leadlex.provider_stats.workspace_id IS 'NULL: for every workspace';
COMMENT ON COLUMN leadlex.provider_stats.enabled IS 'leadlex.enable_provider';
COMMENT ON COLUMN leadlex.provider_stats.calls IS 'requests sent, leadlex.check_provider, logins and every step included; one that leads to a further step counts here alone';
COMMENT ON COLUMN leadlex.provider_stats.matches IS 'answers with data';
COMMENT ON COLUMN leadlex.provider_stats.no_matches IS 'answers without, or about another person';
COMMENT ON COLUMN leadlex.provider_stats.refusals IS 'answers that nothing may be told about the person';
COMMENT ON COLUMN leadlex.provider_stats.failures IS 'everything else (also that an answer comes later: pending), and requests not sent because of the provider''s own limit';
COMMENT ON COLUMN leadlex.provider_stats.failures_by_kind IS 'these by reason, as in LX503';
COMMENT ON COLUMN leadlex.provider_stats.skipped IS 'times that it was passed over because it is paused';
COMMENT ON COLUMN leadlex.provider_stats.p50_ms IS 'half of the requests took at most so many milliseconds, since the server started';
COMMENT ON COLUMN leadlex.provider_stats.p95_ms IS 'the same for 95 of 100';
COMMENT ON COLUMN leadlex.provider_stats.p99_ms IS 'the same for 99 of 100';
COMMENT ON COLUMN leadlex.provider_stats.cost IS 'what the answers have cost, in the vendor''s unit; NULL where it has not said';
COMMENT ON COLUMN leadlex.provider_stats.costs_unread IS 'answers that said what they cost, and not so that it could be read: where the provider is priced by credits, each counts as the most that it can cost';
COMMENT ON COLUMN leadlex.provider_stats.state IS 'ok; breaker, rate_limited, quota, bad_credentials or server_error: paused for that reason; half_open: the next call tries it';
COMMENT ON COLUMN leadlex.provider_stats.paused_until IS 'when it is tried again';
COMMENT ON COLUMN leadlex.provider_stats.failures_in_a_row IS 'what the circuit breaker counts';
COMMENT ON COLUMN leadlex.provider_stats.last_error IS 'the last failure since the server started';
COMMENT ON COLUMN leadlex.provider_stats.last_error_at IS 'when that was';

CREATE VIEW leadlex.worker_status WITH (security_barrier = true) AS
    SELECT w.process, w.pid, w.database, w.state, w.runs, w.ledger_rows_settled, w.rate_records, w.keys_purged, w.last_run, w.last_error,
           w.receipts_written, w.receipts_waiting, w.receipts_dropped, w.receipts_expired, w.role, w.contacts, w.outcomes_dropped, w.questions_unshared, w.put_off
    FROM leadlex.worker_report() AS w;
COMMENT ON VIEW leadlex.worker_status IS 'The background workers: their launcher; per database the one that settles the ledger and writes answers down, and what it has done since the server started; per database and role the one that runs queued jobs. Administrators and pg_monitor see all of it, granted roles that of their own database and of their own jobs, without error texts.';
COMMENT ON COLUMN leadlex.worker_status.process IS 'launcher, worker or job worker';
COMMENT ON COLUMN leadlex.worker_status.pid IS 'process id, NULL while none runs';
COMMENT ON COLUMN leadlex.worker_status.database IS 'the database that it works in';
COMMENT ON COLUMN leadlex.worker_status.state IS 'running, waiting (its turn comes), paused (job workers), clone (not its own home: it only writes what calls cause) or idle';
COMMENT ON COLUMN leadlex.worker_status.runs IS 'rounds of work finished';
COMMENT ON COLUMN leadlex.worker_status.ledger_rows_settled IS 'ledger rows folded into balances';
COMMENT ON COLUMN leadlex.worker_status.rate_records IS 'times that rate use was recorded';
COMMENT ON COLUMN leadlex.worker_status.keys_purged IS 'expired idempotency keys removed';
COMMENT ON COLUMN leadlex.worker_status.receipts_written IS 'providers'' answers written down';
COMMENT ON COLUMN leadlex.worker_status.receipts_waiting IS 'answers in shared memory that are not written yet';
COMMENT ON COLUMN leadlex.worker_status.receipts_dropped IS 'answers that could not be kept, since leadlex.receipt_buffer was full or they did not fit in';
COMMENT ON COLUMN leadlex.worker_status.receipts_expired IS 'receipts whose time was over: personal data taken out, or removed';
COMMENT ON COLUMN leadlex.worker_status.role IS 'of a job worker: the role whose jobs it runs';
COMMENT ON COLUMN leadlex.worker_status.contacts IS 'of a job worker: contacts finished, since the server started';
COMMENT ON COLUMN leadlex.worker_status.outcomes_dropped IS 'outcomes that leadlex.last_outcome lacks, since leadlex.receipt_buffer was full';
COMMENT ON COLUMN leadlex.worker_status.questions_unshared IS 'of the launcher: requests since the server started that no other session could wait for, as there was no room to note the question';
COMMENT ON COLUMN leadlex.worker_status.put_off IS 'of what waits to be written: what is tried again later, as an open transaction holds the rows that it changes';
COMMENT ON COLUMN leadlex.worker_status.last_run IS 'end of the last round';
COMMENT ON COLUMN leadlex.worker_status.last_error IS 'what stopped the last round that failed';

-- The latest known value per contact and field: what is not followed by a later one. So a condition on contact, workspace or
-- time, and an order by time, reach the indexes of the history, and what comes later is looked up for the rows that are left.
-- The policies of its tables are barrier enough.
CREATE VIEW leadlex.enriched WITH (security_invoker = true) AS
    SELECT e.workspace_id, e.schema_name, e.table_name, e.contact_id, f.field,
           e.new_values OPERATOR(pg_catalog.->>) f.field AS value,
           coalesce(e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'source', e.source) AS source,
           (e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'confidence')::pg_catalog.float8 AS confidence,
           e.created_at AS enriched_at, e.request_id,
           greatest(a.answered_at, k.verified_at) AS verified_at, greatest(a.answered_at, k.verified_at, k.checked_at) AS checked_at
    FROM leadlex.enrichment AS e
    CROSS JOIN LATERAL pg_catalog.unnest(e.fields_updated) AS f(field)
    CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.to_timestamp((e.answered_at OPERATOR(pg_catalog.->>) f.field)::pg_catalog.float8
                                            OPERATOR(pg_catalog./) 1000000), e.created_at)) AS a(answered_at)
    LEFT JOIN leadlex.checked AS k
           ON k.workspace_id OPERATOR(pg_catalog.=) e.workspace_id AND k.contact_id OPERATOR(pg_catalog.=) e.contact_id
          AND k.schema_name OPERATOR(pg_catalog.=) e.schema_name AND k.table_name OPERATOR(pg_catalog.=) e.table_name
          AND k.field OPERATOR(pg_catalog.=) f.field
    WHERE (e.reverted_at IS NULL OR NOT f.field OPERATOR(pg_catalog.=) ANY (coalesce(e.reverted_fields, e.fields_updated)))
      AND (e.new_values OPERATOR(pg_catalog.->>) f.field) IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM leadlex.enrichment AS n
          WHERE n.contact_id OPERATOR(pg_catalog.=) e.contact_id AND n.workspace_id OPERATOR(pg_catalog.=) e.workspace_id
            AND n.schema_name OPERATOR(pg_catalog.=) e.schema_name AND n.table_name OPERATOR(pg_catalog.=) e.table_name
            AND ROW(n.created_at, n.request_id) OPERATOR(pg_catalog.>) ROW(e.created_at, e.request_id)
            AND f.field OPERATOR(pg_catalog.=) ANY (n.fields_updated)
            AND (n.reverted_at IS NULL OR NOT f.field OPERATOR(pg_catalog.=) ANY (coalesce(n.reverted_fields, n.fields_updated)))
            AND (n.new_values OPERATOR(pg_catalog.->>) f.field) IS NOT NULL)
      -- A policy is asked row by row: for whom there is nothing, nothing is read.
      AND (SELECT NOT pg_catalog.row_security_active('leadlex.enrichment'::pg_catalog.regclass)
                  OR leadlex.has_access('leadlex.enrichment'::pg_catalog.regclass, 'SELECT'));
COMMENT ON VIEW leadlex.enriched IS 'The latest known value per contact and field, from the history: to join when a reload wiped the table. What was reverted does not count, what was forgotten is gone.';
COMMENT ON COLUMN leadlex.enriched.workspace_id IS 'the workspace that was charged';
COMMENT ON COLUMN leadlex.enriched.schema_name IS 'schema of the contact''s table';
COMMENT ON COLUMN leadlex.enriched.table_name IS 'the contact''s table';
COMMENT ON COLUMN leadlex.enriched.contact_id IS 'the contact''s key, as text; compare it with id::text, so that the index is used';
COMMENT ON COLUMN leadlex.enriched.field IS 'job_title, company_name, linkedin_url, phone, location or seniority, whatever the column is called';
COMMENT ON COLUMN leadlex.enriched.value IS 'as it stood in the table after the call';
COMMENT ON COLUMN leadlex.enriched.source IS 'the provider that supplied it';
COMMENT ON COLUMN leadlex.enriched.confidence IS 'its score, 0.0 to 1.0; NULL where it gives none';
COMMENT ON COLUMN leadlex.enriched.enriched_at IS 'when it was written';
COMMENT ON COLUMN leadlex.enriched.verified_at IS 'when a provider last answered with this value';
COMMENT ON COLUMN leadlex.enriched.checked_at IS 'when a provider was last asked about it, whatever it answered';
COMMENT ON COLUMN leadlex.enriched.request_id IS 'the call, in leadlex.enrichment and leadlex.credit_ledger';

-- The days that are over and have not changed since were summed by the worker; the others are added up here.
CREATE VIEW leadlex.usage_daily WITH (security_invoker = true) AS
    SELECT s.day, s.workspace_id, CASE WHEN s.source OPERATOR(pg_catalog.<>) '' THEN s.source END AS source, s.contacts AS contacts_enriched, s.fields AS fields_filled,
           s.credits AS credits_spent, s.reverted AS credits_reverted
    FROM leadlex.usage_day AS s
    WHERE s.day OPERATOR(pg_catalog.<) (SELECT o.since FROM leadlex.usage_open() AS o)
      AND s.day OPERATOR(pg_catalog.<>) ALL ((SELECT o.days FROM leadlex.usage_open() AS o)::date[])
    UNION ALL
    SELECT u.day, u.workspace_id, u.source, u.contacts, u.fields, u.credits, u.reverted
    FROM leadlex.usage_unsummed() AS u;
COMMENT ON VIEW leadlex.usage_daily IS 'What was spent and what for, per UTC day, workspace and provider, since the workspace was made. credits_spent is the ledger''s, and neither leadlex.revert_enrichment nor leadlex.forget_contact changes it; contacts_enriched and fields_filled do not cover contacts that were forgotten: their charges stand in a row without source. Pruning the history changes nothing.';
COMMENT ON COLUMN leadlex.usage_daily.day IS 'the day, from midnight to midnight UTC';
COMMENT ON COLUMN leadlex.usage_daily.workspace_id IS 'who spent';
COMMENT ON COLUMN leadlex.usage_daily.source IS 'the provider; NULL: the contact was forgotten, and with it who supplied what';
COMMENT ON COLUMN leadlex.usage_daily.contacts_enriched IS 'different contacts of which it filled a field; one that two providers helped with counts with both';
COMMENT ON COLUMN leadlex.usage_daily.fields_filled IS 'fields that it filled or replaced, those that were reverted since included';
COMMENT ON COLUMN leadlex.usage_daily.credits_spent IS 'credits charged for calls of which it is the source (the first that supplied a field); in a workspace without a credit limit, too';
COMMENT ON COLUMN leadlex.usage_daily.credits_reverted IS 'of these, for calls that leadlex.revert_enrichment has taken back since';

-- By name: in the schema stand tables of users, too, and an update runs this again.
REVOKE ALL ON leadlex.workspace, leadlex.credit_balance, leadlex.credit_pending, leadlex.credit_settled, leadlex.api_key,
    leadlex.access, leadlex.bound_table, leadlex.provider_config, leadlex.provider_secret, leadlex.idempotency,
    leadlex.receipt, leadlex.ticket, leadlex.suppression, leadlex.provider_tally, leadlex.rate_use, leadlex.enrichment, leadlex.job_set,
    leadlex.home, leadlex.queue_pause, leadlex.value_name, leadlex.shared_value, leadlex.progress, leadlex.credit_ledger,
    leadlex.provider, leadlex.binding, leadlex.presets, leadlex.provider_stats, leadlex.job, leadlex.queue,
    leadlex.worker_status, leadlex.enriched, leadlex.usage_daily FROM PUBLIC;
GRANT USAGE ON SCHEMA leadlex TO PUBLIC;
GRANT SELECT ON leadlex.presets, leadlex.provider_stats, leadlex.progress, leadlex.job, leadlex.queue TO PUBLIC;
-- Rows of these have who was granted access, by their policies or, with the owner's rights, by their own condition.
GRANT SELECT ON leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, leadlex.enrichment,
    leadlex.provider, leadlex.enriched, leadlex.usage_day, leadlex.usage_change, leadlex.usage_mark,
    leadlex.usage_daily, leadlex.shared_value TO PUBLIC;
GRANT SELECT ON leadlex.worker_status TO pg_monitor;
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO pg_monitor;
-- Who is told of what is up to the function.
GRANT SELECT ON leadlex.worker_status TO PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO PUBLIC;
