-- Access and erasure.

CREATE FUNCTION leadlex.forget_contact(
    contact_id uuid,
    suppress boolean DEFAULT false
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_contact_wrapper';
COMMENT ON FUNCTION leadlex.forget_contact(uuid, boolean) IS 'Erases what leadlex holds on a contact of the first bound table: history, receipts of providers'' answers, tickets of what they owe, results stored under idempotency keys, jobs, outcomes, what was taken back. The contact''s own row is not touched, the ledger keeps the charges (without personal data). suppress: also puts the person on the suppression list, of one''s workspace, or of all for an administrator who erases in all. An administrator erases in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. Returns how many rows of each, and whether the person is on the list (suppressed; null where no row says who it is). Leaves a row in leadlex.erasure. Errors: LX400, LX401, LX403, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.forget_contact(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_contact(uuid, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id text,
    suppress boolean DEFAULT false
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, text, boolean) IS 'leadlex.forget_contact for any bound table and any key type: id is the key as text.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, text, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id bigint,
    suppress boolean DEFAULT false
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_bigint_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, bigint, boolean) IS 'leadlex.forget_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, bigint, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id uuid,
    suppress boolean DEFAULT false
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_uuid_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, uuid, boolean) IS 'leadlex.forget_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, uuid, boolean) TO PUBLIC;

CREATE FUNCTION leadlex.export_contact(contact_id uuid) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'export_contact_wrapper';
COMMENT ON FUNCTION leadlex.export_contact(uuid) IS 'All that leadlex holds on a contact of the first bound table: a list of rows of each kind that leadlex.forget_contact erases, by the same names, and besides what is on the suppression list about the person, and which values of the person are shared. Rights and workspaces as with leadlex.forget_contact. Changes nothing; works in read-only transactions. The contact''s own row is not among it. Errors: LX400, LX401, LX403, 55000.';
REVOKE ALL ON FUNCTION leadlex.export_contact(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.export_contact(uuid) TO PUBLIC;

CREATE FUNCTION leadlex.export_row(
    relation regclass,
    id text
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'export_row_wrapper';
COMMENT ON FUNCTION leadlex.export_row(regclass, text) IS 'leadlex.export_contact for any bound table and any key type: id is the key as text.';
REVOKE ALL ON FUNCTION leadlex.export_row(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.export_row(regclass, text) TO PUBLIC;

CREATE FUNCTION leadlex.export_row(
    relation regclass,
    id bigint
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'export_row_bigint_wrapper';
COMMENT ON FUNCTION leadlex.export_row(regclass, bigint) IS 'leadlex.export_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.export_row(regclass, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.export_row(regclass, bigint) TO PUBLIC;

CREATE FUNCTION leadlex.export_row(
    relation regclass,
    id uuid
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'export_row_uuid_wrapper';
COMMENT ON FUNCTION leadlex.export_row(regclass, uuid) IS 'leadlex.export_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.export_row(regclass, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.export_row(regclass, uuid) TO PUBLIC;

ALTER TABLE leadlex.erasure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.erasure FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY granted ON leadlex.erasure AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.erasure'::regclass, 'SELECT')));

ALTER TABLE leadlex.usage_pruned ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.usage_pruned FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY granted ON leadlex.usage_pruned AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.usage_pruned'::regclass, 'SELECT')));

CREATE FUNCTION leadlex.drop_workspace(workspace_id uuid) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'drop_workspace_wrapper';
COMMENT ON FUNCTION leadlex.drop_workspace(uuid) IS 'Takes a workspace away: its providers with their secrets, keys, grants, budgets, rate limits and allotment, receipts, results stored under idempotency keys, jobs that are over, and its suppression list. Its ledger, its history and what it has spent stay, for the extension''s owner to read. Refused while tables are bound to it, or jobs wait. Waits for calls under way in that workspace, and calls that begin meanwhile wait for this transaction. Errors: 22023 no such workspace, 2BP01 tables are bound to it or jobs wait, 55P03 lock_timeout, 25006, 55000 the worker did not write waiting answers in time.';
REVOKE ALL ON FUNCTION leadlex.drop_workspace(uuid) FROM PUBLIC;

-- By name: in the schema stand tables of users, too, and an update runs this again.
REVOKE ALL ON leadlex.erasure, leadlex.usage_pruned FROM PUBLIC;
GRANT SELECT ON leadlex.erasure, leadlex.usage_pruned TO PUBLIC;
