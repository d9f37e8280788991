-- Data that can be trusted, and undone.

CREATE FUNCTION leadlex.revert_provider(
    provider text,
    since timestamptz,
    until timestamptz DEFAULT NULL,
    fields text[] DEFAULT NULL,
    relation regclass DEFAULT NULL,
    dry_run boolean DEFAULT false
) RETURNS TABLE (relation text, contact_id text, field text, value text, restored text, status text)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1000
AS 'MODULE_PATHNAME', 'revert_provider_wrapper';
COMMENT ON FUNCTION leadlex.revert_provider(text, timestamptz, timestamptz, text[], regclass, boolean) IS 'Takes back what a provider supplied from since on and before until, where it still stands as it stood after that write: one row for each contact and field, with what was written, what stands there in its place, and a status (reverted; changed_since: it holds something else; gone: there is no such row for the caller; not_allowed: the caller may not write it, or the table did not let it through). fields, relation: only these. dry_run: only says so. The provider is not asked for these fields again within leadlex.recheck_after, and the same value is not written again, unless with overwrite. Rows are read and written as the caller. An administrator takes back in all workspaces, unless leadlex.api_key or leadlex.workspace names one. Credits stay spent. Errors: LX400, LX401, LX403, 22023, 55000, 25006.';
REVOKE ALL ON FUNCTION leadlex.revert_provider(text, timestamptz, timestamptz, text[], regclass, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.revert_provider(text, timestamptz, timestamptz, text[], regclass, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.missing(
    relation regclass,
    fields text[] DEFAULT NULL,
    most bigint DEFAULT NULL
) RETURNS SETOF text
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'missing_wrapper';
COMMENT ON FUNCTION leadlex.missing(regclass, text[], bigint) IS 'Keys of the rows of one''s workspace with an empty field for which it is worth to ask: a provider may be asked now (the contact is identified and not suppressed, no provider is paused, and it is not remembered that there is nothing), or has answered already and the answer is kept. fields: only these. most: no more keys. Asks no provider and writes nothing. Errors: LX400, LX401, LX403, 22023, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.missing(regclass, text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.missing(regclass, text[], bigint) TO PUBLIC;

CREATE FUNCTION leadlex.written(
    relation regclass,
    id text
) RETURNS TABLE (request_id uuid, field text, source text, requested_by name)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000 ROWS 6
AS 'MODULE_PATHNAME', 'written_wrapper';
COMMENT ON FUNCTION leadlex.written(regclass, text) IS 'Which fields of a row of a bound table the enrichments of this transaction have written, also the one that is writing now: request, provider and the role that called. For triggers: alone, in a set, deferred. Of a field that was written several times the latest. No rows where nothing was. Errors: LX400, 22023, 55000.';
REVOKE ALL ON FUNCTION leadlex.written(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.written(regclass, text) TO PUBLIC;

CREATE FUNCTION leadlex.refill(
    relation regclass,
    ids text[] DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'refill_wrapper';
COMMENT ON FUNCTION leadlex.refill(regclass, text[]) IS 'After a reload: writes the latest value that an enrichment wrote, from the history, into fields that are empty now, as the caller, and returns the number of rows that were changed. Sends no request and charges no credit. Left out are values that were taken back or forgotten, contacts whose name, address or other identifying values have changed since, and what a constraint of the table refuses. ids: only these rows; else all of one''s workspace that one sees. Errors: LX400, LX401, LX403, 25006, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.refill(regclass, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.refill(regclass, text[]) TO PUBLIC;

CREATE FUNCTION leadlex.due(
    relation regclass,
    older_than interval,
    fields text[] DEFAULT NULL
) RETURNS SETOF text
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'due_wrapper';
COMMENT ON FUNCTION leadlex.due(regclass, interval, text[]) IS 'Keys of the rows of one''s workspace that hold a value which an enrichment wrote, and which no provider was asked about within older_than; the oldest first. What was changed since does not count. fields: only these. Errors: LX400, LX401, LX403, 22023, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.due(regclass, interval, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.due(regclass, interval, text[]) TO PUBLIC;

ALTER TABLE leadlex.checked ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.checked FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY granted ON leadlex.checked AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.checked'::regclass, 'SELECT')));

-- Run with the owner's rights, as the rows are private; whose they are is looked at here.
CREATE VIEW leadlex.last_outcome WITH (security_barrier = true) AS
    SELECT pg_catalog.format('%I.%I', o.schema_name, o.table_name) AS relation, o.contact_id, o.at, o.status, o.error_code, o.reason, o.providers
    FROM leadlex.outcome AS o
    WHERE (SELECT leadlex.is_administrator())
       OR o.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]);
COMMENT ON VIEW leadlex.last_outcome IS 'Why contacts of one''s own workspaces are not enriched: the latest outcome of a call, set, trigger or job that was neither enriched nor unchanged, one row for each contact. A success removes it. The background worker writes it within 2 s, whatever becomes of the transaction; a crash or a full buffer loses some. Kept for leadlex.outcome_retention.';
COMMENT ON COLUMN leadlex.last_outcome.relation IS 'the contact''s table';
COMMENT ON COLUMN leadlex.last_outcome.contact_id IS 'the contact''s key, as text';
COMMENT ON COLUMN leadlex.last_outcome.at IS 'when';
COMMENT ON COLUMN leadlex.last_outcome.status IS 'no_match, pending or failed';
COMMENT ON COLUMN leadlex.last_outcome.error_code IS 'such as no_match, or an SQLSTATE';
COMMENT ON COLUMN leadlex.last_outcome.reason IS 'as in DETAIL of a single call; NULL where that has none';
COMMENT ON COLUMN leadlex.last_outcome.providers IS 'as in DETAIL of LX503: each provider with why it had nothing; else NULL';

-- By name: in the schema stand tables of users, too, and an update runs this again.
REVOKE ALL ON leadlex.undone, leadlex.checked, leadlex.outcome, leadlex.last_outcome FROM PUBLIC;
GRANT SELECT ON leadlex.checked, leadlex.last_outcome TO PUBLIC;
