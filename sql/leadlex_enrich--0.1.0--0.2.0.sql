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
