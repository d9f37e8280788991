-- What a granted role may read: rows of its own workspaces. leadlex.grant_access gives the SELECT privileges.

ALTER TABLE leadlex.workspace ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.credit_pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.credit_settled ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.enrichment ENABLE ROW LEVEL SECURITY;
ALTER TABLE leadlex.suppression ENABLE ROW LEVEL SECURITY;
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

CREATE VIEW leadlex.credit_ledger WITH (security_invoker = true, security_barrier = true) AS
    SELECT p.id, p.workspace_id, p.amount, p.request_id, p.note, p.created_at FROM leadlex.credit_pending AS p
    UNION ALL
    SELECT s.id, s.workspace_id, s.amount, s.request_id, s.note, s.created_at FROM leadlex.credit_settled AS s;
COMMENT ON VIEW leadlex.credit_ledger IS 'Every movement of credits: grants positive, charges -1. Balance = sum(amount), in a workspace with a credit limit.';
COMMENT ON COLUMN leadlex.credit_ledger.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_ledger.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_ledger.amount IS 'credits: positive granted, -1 charged, other negatives corrections';
COMMENT ON COLUMN leadlex.credit_ledger.request_id IS 'the call that was charged: request_id of its result and of leadlex.enrichment';
COMMENT ON COLUMN leadlex.credit_ledger.note IS 'what leadlex.grant_credits was given as note';
COMMENT ON COLUMN leadlex.credit_ledger.created_at IS 'when';

-- Runs with the owner's rights, to say whether a secret is there without letting anybody read one.
CREATE VIEW leadlex.provider WITH (security_barrier = true) AS
    SELECT p.name, p.priority, p.enabled, p.preset, p.workspace_id, p.config,
           EXISTS (SELECT FROM leadlex.provider_secret AS s WHERE s.name OPERATOR(pg_catalog.=) p.name) AS has_secret,
           p.created_at, p.updated_at
    FROM leadlex.provider_config AS p
    WHERE (SELECT leadlex.is_administrator())
       OR p.workspace_id IS NULL
       OR p.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]);
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

CREATE VIEW leadlex.presets AS
    SELECT p.name, p.vendor, p.fields, p.identify_by, p.identifiers, p.score, p.limits, p.billing, p.notes, p.documentation, p.checked_on, p.config
    FROM leadlex.preset_report() AS p;
COMMENT ON VIEW leadlex.presets IS 'Provider descriptions that come with the extension, for the preset argument of leadlex.add_provider.';
COMMENT ON COLUMN leadlex.presets.name IS 'name of the preset';
COMMENT ON COLUMN leadlex.presets.vendor IS 'whose service it is for';
COMMENT ON COLUMN leadlex.presets.fields IS 'the fields that it can fill';
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
           s.p50_ms, s.p95_ms, s.p99_ms, s.cost, s.state, s.paused_until, s.failures_in_a_row, s.last_error, s.last_error_at
    FROM leadlex.provider_config AS p
    JOIN leadlex.provider_report() AS s ON s.provider_id OPERATOR(pg_catalog.=) p.id;
COMMENT ON VIEW leadlex.provider_stats IS 'What has come of each provider''s requests. Counts survive a restart. A provider for every workspace is shown to administrators, and to others while there is only one workspace.';
COMMENT ON COLUMN leadlex.provider_stats.name IS 'the provider';
COMMENT ON COLUMN leadlex.provider_stats.workspace_id IS 'NULL: for every workspace';
COMMENT ON COLUMN leadlex.provider_stats.enabled IS 'leadlex.enable_provider';
COMMENT ON COLUMN leadlex.provider_stats.calls IS 'requests sent, leadlex.check_provider included';
COMMENT ON COLUMN leadlex.provider_stats.matches IS 'answers with data';
COMMENT ON COLUMN leadlex.provider_stats.no_matches IS 'answers without';
COMMENT ON COLUMN leadlex.provider_stats.refusals IS 'answers that nothing may be told about the person';
COMMENT ON COLUMN leadlex.provider_stats.failures IS 'everything else, and requests not sent because of the provider''s own limit';
COMMENT ON COLUMN leadlex.provider_stats.failures_by_kind IS 'these by reason, as in LX503';
COMMENT ON COLUMN leadlex.provider_stats.skipped IS 'times that it was passed over because it is paused';
COMMENT ON COLUMN leadlex.provider_stats.p50_ms IS 'half of the requests took at most so many milliseconds, since the server started';
COMMENT ON COLUMN leadlex.provider_stats.p95_ms IS 'the same for 95 of 100';
COMMENT ON COLUMN leadlex.provider_stats.p99_ms IS 'the same for 99 of 100';
COMMENT ON COLUMN leadlex.provider_stats.cost IS 'what the answers have cost, in the vendor''s unit, as far as it says';
COMMENT ON COLUMN leadlex.provider_stats.state IS 'ok; breaker, rate_limited, quota or bad_credentials: paused for that reason; half_open: the next call tries it';
COMMENT ON COLUMN leadlex.provider_stats.paused_until IS 'when it is tried again';
COMMENT ON COLUMN leadlex.provider_stats.failures_in_a_row IS 'what the circuit breaker counts';
COMMENT ON COLUMN leadlex.provider_stats.last_error IS 'the last failure since the server started';
COMMENT ON COLUMN leadlex.provider_stats.last_error_at IS 'when that was';

CREATE VIEW leadlex.worker_status WITH (security_barrier = true) AS
    SELECT w.process, w.pid, w.database, w.state, w.runs, w.ledger_rows_settled, w.rate_records, w.keys_purged, w.last_run, w.last_error,
           w.receipts_written, w.receipts_waiting, w.receipts_dropped, w.receipts_expired
    FROM leadlex.worker_report() AS w;
COMMENT ON VIEW leadlex.worker_status IS 'The background worker: its launcher, and per database what it has done since the server started.';
COMMENT ON COLUMN leadlex.worker_status.process IS 'launcher or worker';
COMMENT ON COLUMN leadlex.worker_status.pid IS 'process id, NULL while none runs';
COMMENT ON COLUMN leadlex.worker_status.database IS 'the database that it keeps the books of';
COMMENT ON COLUMN leadlex.worker_status.state IS 'running, waiting (its turn comes) or idle';
COMMENT ON COLUMN leadlex.worker_status.runs IS 'rounds of work finished';
COMMENT ON COLUMN leadlex.worker_status.ledger_rows_settled IS 'ledger rows folded into balances';
COMMENT ON COLUMN leadlex.worker_status.rate_records IS 'times that rate use was recorded';
COMMENT ON COLUMN leadlex.worker_status.keys_purged IS 'expired idempotency keys removed';
COMMENT ON COLUMN leadlex.worker_status.receipts_written IS 'providers'' answers written down';
COMMENT ON COLUMN leadlex.worker_status.receipts_waiting IS 'answers in shared memory that are not written yet';
COMMENT ON COLUMN leadlex.worker_status.receipts_dropped IS 'answers that could not be kept, since leadlex.receipt_buffer was full or they did not fit in';
COMMENT ON COLUMN leadlex.worker_status.receipts_expired IS 'receipts whose time was over: personal data taken out, or removed';
COMMENT ON COLUMN leadlex.worker_status.last_run IS 'end of the last round';
COMMENT ON COLUMN leadlex.worker_status.last_error IS 'what stopped the last round that failed';

REVOKE ALL ON ALL TABLES IN SCHEMA leadlex FROM PUBLIC;
GRANT USAGE ON SCHEMA leadlex TO PUBLIC;
GRANT SELECT ON leadlex.presets, leadlex.provider_stats TO PUBLIC;
GRANT SELECT ON leadlex.worker_status TO pg_monitor;
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO pg_monitor;
