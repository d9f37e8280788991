-- From 0.1.0 to 0.2.0. What this makes must equal what a fresh install of 0.2.0 makes: tests/cluster/upgrade.rs compares
-- the catalogs. Never IF NOT EXISTS, never CREATE OR REPLACE of what is not known to be a member of the extension.

-- The server may still run an older library, or none: nothing would work with this schema.
DO LANGUAGE plpgsql $check$
DECLARE
    schema_version CONSTANT text := '0.2.0';
    library_version CONSTANT text := pg_catalog.current_setting('leadlex.library_version', true);
BEGIN
    IF (pg_catalog.string_to_array(library_version, '.')::pg_catalog.int4[]
        OPERATOR(pg_catalog.>=) pg_catalog.string_to_array(schema_version, '.')::pg_catalog.int4[]) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('the server has not loaded the library of leadlex_enrich %s', schema_version),
            DETAIL = pg_catalog.format('The schema would be of version %s, the loaded library is %s.', schema_version,
                coalesce(library_version, 'none, or 0.1.0')),
            HINT = 'Install the new library and restart the server, then run ALTER EXTENSION leadlex_enrich UPDATE.';
    END IF;
END
$check$;

ALTER TABLE leadlex.idempotency ADD COLUMN person uuid;
COMMENT ON COLUMN leadlex.idempotency.person IS 'hash of the contact''s table and key, for leadlex.forget_contact';

-- What providers answered, one row for each question. Written by the background worker, so that no rollback takes away
-- what was paid for.
CREATE TABLE leadlex.receipt (
    workspace_id uuid NOT NULL,
    question     uuid NOT NULL,
    answered_at  timestamptz NOT NULL,
    provider_id  uuid NOT NULL,
    known        uuid NOT NULL,
    matched      boolean NOT NULL,
    lacking      text[] NOT NULL,
    answer       jsonb,
    person       uuid,
    PRIMARY KEY (workspace_id, question)
);
-- For the worker: which hold personal data and are over their time; which can go.
CREATE INDEX receipt_personal ON leadlex.receipt (answered_at) WHERE person IS NOT NULL;
CREATE INDEX receipt_age ON leadlex.receipt USING brin (answered_at);
COMMENT ON TABLE leadlex.receipt IS 'Providers'' answers, kept for leadlex.receipt_ttl; after that only, for leadlex.recheck_after, what they did not have. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.receipt.question IS 'hash of workspace, provider, its description and the identifying values';
COMMENT ON COLUMN leadlex.receipt.answered_at IS 'when the answer arrived';
COMMENT ON COLUMN leadlex.receipt.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.receipt.known IS 'hash of all identifying values that were known';
COMMENT ON COLUMN leadlex.receipt.matched IS 'false: no match';
COMMENT ON COLUMN leadlex.receipt.lacking IS 'fields that the provider can supply, and did not';
COMMENT ON COLUMN leadlex.receipt.answer IS 'values and confidence; NULL when there was no match, or after leadlex.receipt_ttl';
COMMENT ON COLUMN leadlex.receipt.person IS 'hash of the contact''s table and key, as long as there is an answer';

REVOKE ALL ON leadlex.receipt FROM PUBLIC;
-- Nobody looks for rows by these, and to take samples of them costs more than of all others together.
ALTER TABLE leadlex.idempotency ALTER COLUMN result SET STATISTICS 0, ALTER COLUMN request_hash SET STATISTICS 0;
ALTER TABLE leadlex.receipt ALTER COLUMN answer SET STATISTICS 0, ALTER COLUMN lacking SET STATISTICS 0;
ALTER TABLE leadlex.enrichment ALTER COLUMN field_sources SET STATISTICS 0, ALTER COLUMN old_values SET STATISTICS 0,
    ALTER COLUMN new_values SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('leadlex.receipt', '');

-- No foreign key on the list: who is on it stays on it, whatever becomes of providers.
CREATE TABLE leadlex.suppression (
    workspace_id uuid NOT NULL,
    person       uuid NOT NULL,
    reason       text NOT NULL,
    source       text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (workspace_id, person)
);
COMMENT ON TABLE leadlex.suppression IS 'People whom no provider is to be asked about, as hashes: leadlex.suppress, and providers'' privacy refusals.';
COMMENT ON COLUMN leadlex.suppression.workspace_id IS 'where; 00000000-0000-0000-0000-000000000000 = in every workspace';
COMMENT ON COLUMN leadlex.suppression.person IS 'hash of an e-mail address, LinkedIn profile, phone number, or name and company';
COMMENT ON COLUMN leadlex.suppression.reason IS 'as given to leadlex.suppress';
COMMENT ON COLUMN leadlex.suppression.source IS 'the role that called leadlex.suppress, or the provider that refused';
COMMENT ON COLUMN leadlex.suppression.created_at IS 'since when';

CREATE TABLE leadlex.provider_tally (
    provider_id uuid NOT NULL REFERENCES leadlex.provider_config (id) ON DELETE CASCADE,
    what        text NOT NULL,
    number      double precision NOT NULL,
    PRIMARY KEY (provider_id, what)
);
COMMENT ON TABLE leadlex.provider_tally IS 'What the background worker last recorded of each provider''s requests. Read leadlex.provider_stats instead.';
COMMENT ON COLUMN leadlex.provider_tally.what IS 'calls, matches, no_matches, refusals, skipped, cost, or a kind of failure';

ALTER TABLE leadlex.suppression ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.suppression FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
REVOKE ALL ON leadlex.suppression, leadlex.provider_tally FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('leadlex.suppression', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.provider_tally', '');

CREATE FUNCTION leadlex.forget_contact(contact_id uuid) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_contact_wrapper';
COMMENT ON FUNCTION leadlex.forget_contact(uuid) IS 'Erases what leadlex holds on a contact of the first bound table: history, receipts of providers'' answers, results stored under idempotency keys. The contact''s own row is not touched, the ledger keeps the charges (without personal data). An administrator erases in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. Returns how many rows of each. Errors: LX400, LX401, LX403, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.forget_contact(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_contact(uuid) TO PUBLIC;

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id text
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, text) IS 'leadlex.forget_contact for any bound table and any key type: id is the key as text.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, text) TO PUBLIC;

CREATE FUNCTION leadlex.suppress(
    email text,
    reason text DEFAULT NULL,
    workspace_id uuid DEFAULT NULL
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'suppress_wrapper';
COMMENT ON FUNCTION leadlex.suppress(text, text, uuid) IS 'From now on no provider is asked about the person with this e-mail address: calls are LX409 with reason suppressed. workspace_id: only there (NULL = in every workspace). The list holds a hash, not the address; reason is kept as given. What is held already is erased by leadlex.forget_contact. Returns whether the person was not on the list yet. Errors: 22023, 25006.';
REVOKE ALL ON FUNCTION leadlex.suppress(text, text, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.unsuppress(
    email text,
    workspace_id uuid DEFAULT NULL
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress(text, uuid) IS 'Takes back leadlex.suppress, or a provider''s refusal about a person with this e-mail address (what it noted under a LinkedIn profile stays: delete that row of leadlex.suppression). Returns whether there was something to take back. Errors: 22023, 25006.';
REVOKE ALL ON FUNCTION leadlex.unsuppress(text, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.preset_report() RETURNS TABLE (name text, vendor text, fields text[], identify_by jsonb, identifiers text, score text, limits text, billing text, notes text, documentation text, checked_on text, config jsonb)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'preset_report_wrapper';
COMMENT ON FUNCTION leadlex.preset_report() IS 'What leadlex.presets shows.';
REVOKE ALL ON FUNCTION leadlex.preset_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.preset_report() TO PUBLIC;

CREATE FUNCTION leadlex.provider_report() RETURNS TABLE (provider_id uuid, calls bigint, matches bigint, no_matches bigint, refusals bigint, failures bigint, failures_by_kind jsonb, skipped bigint, p50_ms double precision, p95_ms double precision, p99_ms double precision, cost double precision, state text, paused_until timestamptz, failures_in_a_row bigint, last_error text, last_error_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'provider_report_wrapper';
COMMENT ON FUNCTION leadlex.provider_report() IS 'What leadlex.provider_stats shows: to everybody only of providers that are theirs.';
REVOKE ALL ON FUNCTION leadlex.provider_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.provider_report() TO PUBLIC;

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

REVOKE ALL ON leadlex.presets, leadlex.provider_stats FROM PUBLIC;
GRANT SELECT ON leadlex.presets, leadlex.provider_stats TO PUBLIC;

-- The view stays, with whatever was granted on it and built on it: new columns come last.
CREATE FUNCTION leadlex.worker_report() RETURNS TABLE (process text, pid integer, database text, state text, runs bigint, ledger_rows_settled bigint, rate_records bigint, keys_purged bigint, last_run timestamptz, last_error text, receipts_written bigint, receipts_waiting bigint, receipts_dropped bigint, receipts_expired bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'worker_report_wrapper';
COMMENT ON FUNCTION leadlex.worker_report() IS 'What leadlex.worker_status shows.';
REVOKE ALL ON FUNCTION leadlex.worker_report() FROM PUBLIC;

CREATE OR REPLACE VIEW leadlex.worker_status WITH (security_barrier = true) AS
    SELECT w.process, w.pid, w.database, w.state, w.runs, w.ledger_rows_settled, w.rate_records, w.keys_purged, w.last_run, w.last_error,
           w.receipts_written, w.receipts_waiting, w.receipts_dropped, w.receipts_expired
    FROM leadlex.worker_report() AS w;
COMMENT ON COLUMN leadlex.worker_status.receipts_written IS 'providers'' answers written down';
COMMENT ON COLUMN leadlex.worker_status.receipts_waiting IS 'answers in shared memory that are not written yet';
COMMENT ON COLUMN leadlex.worker_status.receipts_dropped IS 'answers that could not be kept, since leadlex.receipt_buffer was full or they did not fit in';
COMMENT ON COLUMN leadlex.worker_status.receipts_expired IS 'receipts whose time was over: personal data taken out, or removed';
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO pg_monitor;
DROP FUNCTION leadlex.worker_status_rows();

-- Last: calls its trigger, so that every session looks again, and the worker, too.
UPDATE leadlex.workspace SET name = name WHERE false;
