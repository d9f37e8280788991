-- Many contacts at once. Like the single calls these check themselves who is calling.

CREATE FUNCTION @extschema@.enrich_contacts(
    contact_ids uuid[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (contact_id uuid, status text, fields_updated text[], source text, confidence double precision, request_id uuid, error_code text, error_message text, contact jsonb, reason text)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'enrich_contacts_set';
COMMENT ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) IS 'enrich_contact for many, in this transaction: one row for each position of contact_ids, in its order. status: enriched, unchanged, no_match, failed or pending (then error_code is that of a single call, or the SQLSTATE of an error of the table). One contact''s failure fails no other; one that stands there twice is asked about once. At most leadlex.max_parallel_requests providers'' calls are in flight at once. Costs 1 credit for each contact of which a field changed. Errors of the call as a whole: LX400 arguments, LX401 no identity, LX403 permission, 25006 read-only, 53400 more than one statement may ask or cost, 55000 not set up.';
REVOKE ALL ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_rows(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (id text, status text, fields_updated text[], source text, confidence double precision, request_id uuid, error_code text, error_message text, contact jsonb, reason text)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'enrich_rows_set';
COMMENT ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) IS 'enrich_contacts for any bound table and any key type: ids are the keys as text.';
REVOKE ALL ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) TO PUBLIC;

CREATE PROCEDURE leadlex.enrich_batch(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    chunk integer DEFAULT 500,
    overwrite boolean DEFAULT false
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'enrich_batch_call';
COMMENT ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer, boolean) IS 'enrich_rows that commits after each chunk of ids (1 to 100000, 500 by default). What one run has filled in, the next finds done: it can be run again at any time. Ends with a NOTICE of how many there were and how many failed. Errors: as enrich_rows; 2D000 inside a transaction block or a function.';
REVOKE ALL ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.enrich_on_insert() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'leadlex_enrich_on_insert';
COMMENT ON FUNCTION leadlex.enrich_on_insert() IS 'AFTER INSERT, or AFTER UPDATE OF the identifying columns, of a bound table: enriches the new rows in the same transaction, as the table''s owner. FOR EACH STATEMENT with REFERENCING NEW TABLE (many at once) or FOR EACH ROW. Arguments: names of fields (none = all). Never fails the statement: what goes wrong is one WARNING for each statement, and what was not done within leadlex.trigger_timeout or failed is queued. Does nothing while leadlex.enable_triggers is off, and in a copy of a database. Error: 39P01 for another kind of trigger.';
REVOKE ALL ON FUNCTION leadlex.enrich_on_insert() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enrich_on_insert() TO PUBLIC;

CREATE FUNCTION leadlex.enqueue_on_insert() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'leadlex_enqueue_on_insert';
COMMENT ON FUNCTION leadlex.enqueue_on_insert() IS 'AFTER INSERT, or AFTER UPDATE OF the identifying columns, of a bound table: queues the new rows, so that a background worker enriches them after the commit, as the table''s owner. FOR EACH STATEMENT with REFERENCING NEW TABLE or FOR EACH ROW. Arguments: names of fields (none = all). Does nothing while leadlex.enable_triggers is off, and in a copy of a database. Error: 39P01 for another kind of trigger.';
REVOKE ALL ON FUNCTION leadlex.enqueue_on_insert() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enqueue_on_insert() TO PUBLIC;

CREATE FUNCTION leadlex.progress_report() RETURNS TABLE (pid integer, workspace_id uuid, relation text, total bigint, done bigint, failed bigint, started_at timestamptz, rate double precision, eta timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'progress_report_wrapper';
COMMENT ON FUNCTION leadlex.progress_report() IS 'What leadlex.progress shows: to administrators and pg_monitor all batches of this database, to others those of their workspaces.';
REVOKE ALL ON FUNCTION leadlex.progress_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.progress_report() TO PUBLIC;

CREATE VIEW leadlex.progress WITH (security_barrier = true) AS
    SELECT p.pid, p.workspace_id, p.relation, p.total, p.done, p.failed, p.started_at, p.rate, p.eta
    FROM leadlex.progress_report() AS p;
COMMENT ON VIEW leadlex.progress IS 'The batches that run now, as they are now, whether committed or not.';
COMMENT ON COLUMN leadlex.progress.pid IS 'the backend that works on it (pg_stat_activity.pid)';
COMMENT ON COLUMN leadlex.progress.workspace_id IS 'for whom';
COMMENT ON COLUMN leadlex.progress.relation IS 'the table of the contacts';
COMMENT ON COLUMN leadlex.progress.total IS 'contacts given';
COMMENT ON COLUMN leadlex.progress.done IS 'contacts finished, those that failed included';
COMMENT ON COLUMN leadlex.progress.failed IS 'contacts with the status failed: with an error; a contact without a match is not among them';
COMMENT ON COLUMN leadlex.progress.started_at IS 'when it began';
COMMENT ON COLUMN leadlex.progress.rate IS 'contacts per second since then';
COMMENT ON COLUMN leadlex.progress.eta IS 'when it will be done at this rate; NULL as long as none is finished';
