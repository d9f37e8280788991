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

COMMENT ON COLUMN leadlex.api_key.key_hash IS 'SHA-256 of the key';
COMMENT ON COLUMN leadlex.api_key.key_prefix IS 'its first characters, by which leadlex.revoke_api_key takes it';
COMMENT ON COLUMN leadlex.api_key.workspace_id IS 'for which it calls';
COMMENT ON COLUMN leadlex.api_key.permissions IS 'write:enrich, or none';
COMMENT ON COLUMN leadlex.api_key.name IS 'as given to leadlex.create_api_key';
COMMENT ON COLUMN leadlex.api_key.created_at IS 'when it was made';
COMMENT ON COLUMN leadlex.api_key.expires_at IS 'not good from then on; NULL = it does not expire';
COMMENT ON COLUMN leadlex.api_key.revoked_at IS 'when leadlex.revoke_api_key took it back';
COMMENT ON COLUMN leadlex.access.workspace_id IS 'for which it acts';
COMMENT ON COLUMN leadlex.access.role IS 'and every role that is a member of it';
COMMENT ON COLUMN leadlex.access.permissions IS 'write:enrich, or none: such a role may read';
COMMENT ON COLUMN leadlex.access.created_at IS 'since when';
-- leadlex.binding becomes a view, which shows triggers, too.
ALTER TABLE leadlex.binding RENAME TO bound_table;
ALTER TABLE leadlex.bound_table ADD COLUMN triggers_on oid;
COMMENT ON TABLE leadlex.bound_table IS 'Bound tables. Read leadlex.binding instead.';
COMMENT ON COLUMN leadlex.bound_table.triggers_on IS 'the table of this name that last had an enabled trigger of ours; NULL = none, or it was dropped';
COMMENT ON COLUMN leadlex.bound_table.schema_name IS 'the table''s schema';
COMMENT ON COLUMN leadlex.bound_table.table_name IS 'its name: a table replaced under it stays bound';
COMMENT ON COLUMN leadlex.bound_table.bound_at IS 'the oldest is the table of enrich_contact';

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
    contact      uuid,
    PRIMARY KEY (workspace_id, question)
);
-- For the worker: which hold personal data and are over their time; which can go.
CREATE INDEX receipt_personal ON leadlex.receipt (answered_at) WHERE person IS NOT NULL;
CREATE INDEX receipt_age ON leadlex.receipt (answered_at);
COMMENT ON TABLE leadlex.receipt IS 'Providers'' answers, kept for leadlex.receipt_ttl; after that only, for leadlex.recheck_after, what they did not have, and what contacts'' tables refused of it. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.receipt.question IS 'hash of workspace, provider, its description and the identifying values';
COMMENT ON COLUMN leadlex.receipt.answered_at IS 'when the answer arrived';
COMMENT ON COLUMN leadlex.receipt.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.receipt.known IS 'hash of all identifying values that were known';
COMMENT ON COLUMN leadlex.receipt.matched IS 'false: no match';
COMMENT ON COLUMN leadlex.receipt.lacking IS 'fields that the provider can supply, and did not';
COMMENT ON COLUMN leadlex.receipt.answer IS 'values and confidence; NULL when there was no match, or after leadlex.receipt_ttl';
COMMENT ON COLUMN leadlex.receipt.person IS 'hash of the contact''s table and key, as long as there is an answer';
COMMENT ON COLUMN leadlex.receipt.contact IS 'hash of the contact''s table and key, where that table refused the values of the fields in lacking; question is then a hash of the question and of this';

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
    until        timestamptz,
    PRIMARY KEY (workspace_id, person)
);
-- For the worker: which have ended.
CREATE INDEX suppression_until ON leadlex.suppression (until) WHERE until IS NOT NULL;
COMMENT ON TABLE leadlex.suppression IS 'People whom no provider is to be asked about, as hashes: leadlex.suppress, and providers'' privacy refusals.';
COMMENT ON COLUMN leadlex.suppression.workspace_id IS 'where; 00000000-0000-0000-0000-000000000000 = in every workspace';
COMMENT ON COLUMN leadlex.suppression.person IS 'hash of an e-mail address, a LinkedIn profile, a domain of addresses, or, of whom a provider refused and who has neither address nor profile, of all that was sent';
COMMENT ON COLUMN leadlex.suppression.reason IS 'as given to leadlex.suppress';
COMMENT ON COLUMN leadlex.suppression.source IS 'the role that called leadlex.suppress, or the provider that refused';
COMMENT ON COLUMN leadlex.suppression.created_at IS 'since when';
COMMENT ON COLUMN leadlex.suppression.until IS 'it ends then; NULL = never';

CREATE TABLE leadlex.provider_tally (
    provider_id uuid NOT NULL,
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

ALTER TABLE leadlex.api_key DROP CONSTRAINT api_key_workspace_id_fkey;
ALTER TABLE leadlex.access DROP CONSTRAINT access_workspace_id_fkey;
ALTER TABLE leadlex.bound_table DROP CONSTRAINT binding_workspace_id_fkey;
ALTER TABLE leadlex.provider_config DROP CONSTRAINT provider_config_workspace_id_fkey;

-- In place of foreign keys, see leadlex.workspace.
CREATE FUNCTION leadlex.workspace_gone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $gone$
BEGIN
    IF EXISTS (SELECT FROM leadlex.bound_table AS b WHERE b.workspace_id OPERATOR(pg_catalog.=) OLD.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = pg_catalog.format('tables are bound for the workspace %s', OLD.name),
            HINT = 'Unbind them first with leadlex.unbind_contacts, see leadlex.binding.';
    END IF;
    DELETE FROM leadlex.api_key AS k WHERE k.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.access AS a WHERE a.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.provider_config AS p WHERE p.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.shared_value AS v WHERE v.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    RETURN NULL;
END
$gone$;
COMMENT ON FUNCTION leadlex.workspace_gone() IS 'Trigger on leadlex.workspace: keys, access, providers and shared values go with their workspace, which cannot go while tables are bound for it (23503).';
REVOKE ALL ON FUNCTION leadlex.workspace_gone() FROM PUBLIC;
CREATE TRIGGER workspace_gone AFTER DELETE ON leadlex.workspace
    FOR EACH ROW EXECUTE FUNCTION leadlex.workspace_gone();

CREATE FUNCTION leadlex.provider_gone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $gone$
BEGIN
    DELETE FROM leadlex.provider_tally AS t WHERE t.provider_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.shared_value AS v WHERE v.provider_id OPERATOR(pg_catalog.=) OLD.id;
    RETURN NULL;
END
$gone$;
COMMENT ON FUNCTION leadlex.provider_gone() IS 'Trigger on leadlex.provider_config: what is recorded of a provider goes with it.';
REVOKE ALL ON FUNCTION leadlex.provider_gone() FROM PUBLIC;
CREATE TRIGGER provider_gone AFTER DELETE ON leadlex.provider_config
    FOR EACH ROW EXECUTE FUNCTION leadlex.provider_gone();

COMMENT ON FUNCTION leadlex.alter_provider(text, jsonb, text, integer) IS 'Changes what is given: config is merged over the present one (null removes a key). A new scheme, host or port in a URL of it needs secret in the same call, unless a superuser makes the change (42501). Errors as leadlex.add_provider; 22023 no such provider.';
CREATE FUNCTION leadlex.secret_given() RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'secret_given_wrapper';
COMMENT ON FUNCTION leadlex.secret_given() IS 'Of no use by itself: part of the statement that stores a provider''s secret, so that no log of statements and parameters shows it. NULL at any other time.';
REVOKE ALL ON FUNCTION leadlex.secret_given() FROM PUBLIC;

CREATE FUNCTION leadlex.row_may_be_updated(place bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'row_may_be_updated_wrapper';
COMMENT ON FUNCTION leadlex.row_may_be_updated(bigint) IS 'Of no use by itself: part of the statement by which a call finds out, before anybody is asked, whether row-level security lets it update a contact. Always false.';
REVOKE ALL ON FUNCTION leadlex.row_may_be_updated(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.row_may_be_updated(bigint) TO PUBLIC;

COMMENT ON FUNCTION leadlex.revert_enrichment(uuid) IS 'Puts back the values that an enrichment replaced, where nobody changed them since. The credit stays spent. An administrator reverts in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. The row is read and written with the caller''s privileges. Returns {request_id, contact_id, fields_reverted, fields_kept}. Errors: LX401, LX403, LX404 no such enrichment in one''s workspace or its contact is gone, 25006.';

CREATE FUNCTION leadlex.forget_contact(contact_id uuid) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_contact_wrapper';
COMMENT ON FUNCTION leadlex.forget_contact(uuid) IS 'Erases what leadlex holds on a contact of the first bound table: history, receipts of providers'' answers, results stored under idempotency keys, jobs. The contact''s own row is not touched, the ledger keeps the charges (without personal data). An administrator erases in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. Returns how many rows of each. Errors: LX400, LX401, LX403, 25006, 55000.';
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

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id bigint
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_bigint_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, bigint) IS 'leadlex.forget_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, bigint) TO PUBLIC;

CREATE FUNCTION leadlex.forget_row(
    relation regclass,
    id uuid
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'forget_row_uuid_wrapper';
COMMENT ON FUNCTION leadlex.forget_row(regclass, uuid) IS 'leadlex.forget_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.forget_row(regclass, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.forget_row(regclass, uuid) TO PUBLIC;

-- The key as drivers bind it. What has no type (a literal, an untyped parameter) stays text.

CREATE FUNCTION @extschema@.enrich_row(
    relation regclass,
    id bigint,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_row_bigint_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) IS 'enrich_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_row(
    relation regclass,
    id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_row_uuid_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) IS 'enrich_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_row(
    relation regclass,
    id bigint,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_row_bigint_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) IS 'try_enrich_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_row(
    relation regclass,
    id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_row_uuid_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) IS 'try_enrich_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION leadlex.recheck(
    provider text,
    since timestamptz
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'recheck_wrapper';
COMMENT ON FUNCTION leadlex.recheck(text, timestamptz) IS 'Forgets that a provider had nothing, as far as it said so since then (in a bad night, say), and that a contact''s table refused what it had (after the table was changed, say), so that it is asked again about these contacts. Values that it supplied are kept. Returns how much is forgotten. Errors: 22023 no such provider, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.recheck(text, timestamptz) FROM PUBLIC;

CREATE FUNCTION leadlex.suppress(
    value text,
    reason text DEFAULT NULL,
    workspace_id uuid DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'suppress_wrapper';
COMMENT ON FUNCTION leadlex.suppress(text, text, uuid, timestamptz) IS 'From now on no provider is asked about a person: calls are LX409 with reason suppressed. value is an e-mail address or a LinkedIn profile (its URL), in any spelling, or @acme.example for everybody with an address at that domain or below it, or whose company has it. workspace_id: only there (NULL = in every workspace). until: the entry ends then (NULL = never); whoever is listed already stays for the longer of both. The list holds a hash, not the value; reason is kept as given. What is held already is erased by leadlex.forget_contact. Returns whether the value was not on the list yet. Errors: 22023 no such value, two in one text, a time that is over; 25006.';
REVOKE ALL ON FUNCTION leadlex.suppress(text, text, uuid, timestamptz) FROM PUBLIC;

CREATE FUNCTION leadlex.suppress_many(
    people text[],
    reason text DEFAULT NULL,
    workspace_id uuid DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'suppress_many_wrapper';
COMMENT ON FUNCTION leadlex.suppress_many(text[], text, uuid, timestamptz) IS 'leadlex.suppress for many values: all of them, or, where one cannot be, none. Returns how many were not on the list yet. Errors: 22023 naming the position, 25006.';
REVOKE ALL ON FUNCTION leadlex.suppress_many(text[], text, uuid, timestamptz) FROM PUBLIC;

CREATE FUNCTION leadlex.unsuppress(
    value text,
    workspace_id uuid DEFAULT NULL
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress(text, uuid) IS 'Takes back leadlex.suppress of the same value, or a provider''s refusal as far as it was noted under this address or profile (leadlex.unsuppress_contact takes back all of it). workspace_id: what is listed there (NULL = what is listed for every workspace). Returns whether there was something to take back. Errors: 22023, 25006.';
REVOKE ALL ON FUNCTION leadlex.unsuppress(text, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.unsuppress_contact(contact_id uuid) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_contact_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress_contact(uuid) IS 'Takes off the list what is listed about a contact of the first bound table, however it was listed: each of its addresses, its profile, and what a provider''s refusal or an older version noted; for every workspace, and for those that have the contact. A whole domain stays (a NOTICE says so). Returns how many entries were taken off. Errors: 22023 no such contact, LX400 no key of the table, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.unsuppress_contact(uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.unsuppress_row(
    relation regclass,
    id text
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_row_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress_row(regclass, text) IS 'leadlex.unsuppress_contact for any bound table and any key type: id is the key as text.';
REVOKE ALL ON FUNCTION leadlex.unsuppress_row(regclass, text) FROM PUBLIC;

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
COMMENT ON VIEW leadlex.provider_stats IS 'What has come of each provider''s requests. Counts survive a restart. A provider for every workspace is shown to administrators, and to others while there is only one workspace; pg_monitor sees all, without last_error.';
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
COMMENT ON COLUMN leadlex.provider_stats.cost IS 'what the answers have cost, in the vendor''s unit; NULL where it has not said';
COMMENT ON COLUMN leadlex.provider_stats.state IS 'ok; breaker, rate_limited, quota, bad_credentials or server_error: paused for that reason; half_open: the next call tries it';
COMMENT ON COLUMN leadlex.provider_stats.paused_until IS 'when it is tried again';
COMMENT ON COLUMN leadlex.provider_stats.failures_in_a_row IS 'what the circuit breaker counts';
COMMENT ON COLUMN leadlex.provider_stats.last_error IS 'the last failure since the server started';
COMMENT ON COLUMN leadlex.provider_stats.last_error_at IS 'when that was';

REVOKE ALL ON leadlex.presets, leadlex.provider_stats FROM PUBLIC;
GRANT SELECT ON leadlex.presets, leadlex.provider_stats TO PUBLIC;

CREATE FUNCTION leadlex.estimate(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (outcome text, reason text, contacts bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 10
AS 'MODULE_PATHNAME', 'estimate_wrapper';
COMMENT ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) IS 'What a batch over these contacts would do if it began now, asking nobody and writing nothing. outcome: asked (at least one provider may be asked), answered (from a receipt), skipped; reason says why. contacts: positions of ids; they add up to all of them. Each answered or asked contact may cost a credit. Works in read-only transactions and on a standby. Errors: LX400, LX401, LX403, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) TO PUBLIC;

COMMENT ON COLUMN leadlex.workspace.id IS 'what workspace_id means everywhere';
COMMENT ON COLUMN leadlex.workspace.name IS 'its name, unique';
COMMENT ON COLUMN leadlex.workspace.plan IS 'starter, pro, org or unmetered: where its limits came from';
COMMENT ON COLUMN leadlex.workspace.created_at IS 'when it was made';
COMMENT ON COLUMN leadlex.credit_pending.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_pending.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_pending.amount IS 'credits: positive granted, -1 charged, other negatives corrections';
COMMENT ON COLUMN leadlex.credit_pending.request_id IS 'the call that was charged';
COMMENT ON COLUMN leadlex.credit_pending.note IS 'what leadlex.grant_credits was given as note';
COMMENT ON COLUMN leadlex.credit_pending.created_at IS 'when';
COMMENT ON COLUMN leadlex.credit_settled.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_settled.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_settled.amount IS 'credits: positive granted, -1 charged, other negatives corrections';
COMMENT ON COLUMN leadlex.credit_settled.request_id IS 'the call that was charged';
COMMENT ON COLUMN leadlex.credit_settled.note IS 'what leadlex.grant_credits was given as note';
COMMENT ON COLUMN leadlex.credit_settled.created_at IS 'when';

-- What is known of a contact: for leadlex.enriched and leadlex.forget_contact.
CREATE INDEX enrichment_contact ON leadlex.enrichment (contact_id, workspace_id);

-- The latest known value per contact and field. Conditions on the columns of DISTINCT ON reach the history itself; one on
-- contact_id finds its rows by the index.
CREATE VIEW leadlex.enriched WITH (security_invoker = true, security_barrier = true) AS
    SELECT DISTINCT ON (e.contact_id, e.workspace_id, e.schema_name, e.table_name, f.field)
           e.workspace_id, e.schema_name, e.table_name, e.contact_id, f.field,
           e.new_values OPERATOR(pg_catalog.->>) f.field AS value,
           coalesce(e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'source', e.source) AS source,
           (e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'confidence')::pg_catalog.float8 AS confidence,
           e.created_at AS enriched_at, e.request_id
    FROM leadlex.enrichment AS e, LATERAL pg_catalog.unnest(e.fields_updated) AS f(field)
    WHERE e.reverted_at IS NULL AND (e.new_values OPERATOR(pg_catalog.->>) f.field) IS NOT NULL
    ORDER BY e.contact_id, e.workspace_id, e.schema_name, e.table_name, f.field, e.created_at DESC, e.request_id DESC;
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
COMMENT ON COLUMN leadlex.enriched.request_id IS 'the call, in leadlex.enrichment and leadlex.credit_ledger';

-- Credits come from the ledger, which nothing takes away, and what they were spent on from the history, from which a
-- contact can be erased: what is left of that is a charge without a source.
CREATE VIEW leadlex.usage_daily WITH (security_invoker = true, security_barrier = true) AS
    SELECT (pg_catalog.timezone('UTC', l.created_at))::pg_catalog.date AS day, l.workspace_id, p.source,
           pg_catalog.count(DISTINCT ROW(e.schema_name, e.table_name, e.contact_id))
               FILTER (WHERE p.fields OPERATOR(pg_catalog.>) 0) AS contacts_enriched,
           pg_catalog.sum(p.fields) AS fields_filled,
           pg_catalog.sum(p.credits) AS credits_spent,
           pg_catalog.count(*) FILTER (WHERE p.credits OPERATOR(pg_catalog.>) 0 AND e.reverted_at IS NOT NULL) AS credits_reverted
    FROM leadlex.credit_ledger AS l
    LEFT JOIN leadlex.enrichment AS e
           ON e.workspace_id OPERATOR(pg_catalog.=) l.workspace_id AND e.request_id OPERATOR(pg_catalog.=) l.request_id
    CROSS JOIN LATERAL (
        SELECT e.source, 1 AS credits, 0 AS fields
        UNION ALL
        SELECT f.value OPERATOR(pg_catalog.->>) 'source', 0, 1 FROM pg_catalog.jsonb_each(e.field_sources) AS f) AS p
    WHERE l.amount OPERATOR(pg_catalog.=) -1 AND l.note IS NULL
    GROUP BY 1, 2, 3;
COMMENT ON VIEW leadlex.usage_daily IS 'What was spent and what for, per UTC day, workspace and provider, since the workspace was made. credits_spent is the ledger''s, and neither leadlex.revert_enrichment nor leadlex.forget_contact changes it; contacts_enriched and fields_filled do not cover contacts that were forgotten: their charges stand in a row without source.';
COMMENT ON COLUMN leadlex.usage_daily.day IS 'the day, from midnight to midnight UTC';
COMMENT ON COLUMN leadlex.usage_daily.workspace_id IS 'who spent';
COMMENT ON COLUMN leadlex.usage_daily.source IS 'the provider; NULL: the contact was forgotten, and with it who supplied what';
COMMENT ON COLUMN leadlex.usage_daily.contacts_enriched IS 'different contacts of which it filled a field; one that two providers helped with counts with both';
COMMENT ON COLUMN leadlex.usage_daily.fields_filled IS 'fields that it filled or replaced, those that were reverted since included';
COMMENT ON COLUMN leadlex.usage_daily.credits_spent IS 'credits charged for calls of which it is the source (the first that supplied a field); in a workspace without a credit limit, too';
COMMENT ON COLUMN leadlex.usage_daily.credits_reverted IS 'of these, for calls that leadlex.revert_enrichment has taken back since';
REVOKE ALL ON leadlex.enriched, leadlex.usage_daily FROM PUBLIC;
GRANT SELECT ON leadlex.enriched, leadlex.usage_daily TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_contacts(
    contact_ids uuid[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (contact_id uuid, status text, fields_updated text[], source text, confidence double precision, request_id uuid, error_code text, error_message text, contact jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'enrich_contacts_set';
COMMENT ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) IS 'enrich_contact for many, in this transaction: one row for each position of contact_ids, in its order. status: enriched, unchanged, no_match or failed (then error_code is that of a single call, or the SQLSTATE of an error of the table). One contact''s failure fails no other; one that stands there twice is asked about once. At most leadlex.max_parallel_requests providers'' calls are in flight at once. Costs 1 credit for each contact of which a field changed. Errors of the call as a whole: LX400 arguments, LX401 no identity, LX403 permission, 25006 read-only, 55000 not set up.';
REVOKE ALL ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_contacts(uuid[], text[], boolean) TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_rows(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (id text, status text, fields_updated text[], source text, confidence double precision, request_id uuid, error_code text, error_message text, contact jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'enrich_rows_set';
COMMENT ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) IS 'enrich_contacts for any bound table and any key type: ids are the keys as text.';
REVOKE ALL ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_rows(regclass, text[], text[], boolean) TO PUBLIC;

CREATE PROCEDURE leadlex.enrich_batch(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    chunk integer DEFAULT 500
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'enrich_batch_call';
COMMENT ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer) IS 'enrich_rows that commits after each chunk of ids (1 to 100000, 500 by default). What one run has filled in, the next finds done: it can be run again at any time. Ends with a NOTICE of how many there were and how many failed. Errors: as enrich_rows; 2D000 inside a transaction block or a function.';
REVOKE ALL ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE leadlex.enrich_batch(regclass, text[], text[], integer) TO PUBLIC;

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
REVOKE ALL ON leadlex.binding FROM PUBLIC;

CREATE FUNCTION leadlex.progress_report() RETURNS TABLE (pid integer, workspace_id uuid, relation text, total bigint, done bigint, failed bigint, started_at timestamptz, rate double precision, eta timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'progress_report_wrapper';
COMMENT ON FUNCTION leadlex.progress_report() IS 'What leadlex.progress shows: to administrators all batches of this database, to others those of their workspaces.';
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
COMMENT ON COLUMN leadlex.progress.failed IS 'contacts with an error or without a match';
COMMENT ON COLUMN leadlex.progress.started_at IS 'when it began';
COMMENT ON COLUMN leadlex.progress.rate IS 'contacts per second since then';
COMMENT ON COLUMN leadlex.progress.eta IS 'when it will be done at this rate; NULL as long as none is finished';
REVOKE ALL ON leadlex.progress FROM PUBLIC;
GRANT SELECT ON leadlex.progress TO PUBLIC;

-- The queue. A row holds up to 500 contacts that share everything, so that a job costs a fraction of a row; after an
-- attempt it is split by what became of them. Rows that wait have next_attempt_at, those that do not have finished_at.
-- The role is kept by name: a dump brings it to clusters in which roles have other numbers.
CREATE TABLE leadlex.job_set (
    workspace_id    uuid NOT NULL,
    id              uuid NOT NULL,
    first_job       uuid NOT NULL,
    places          smallint[],
    contacts        integer NOT NULL,
    contact_ids     text[] NOT NULL,
    schema_name     name NOT NULL,
    table_name      name NOT NULL,
    role            name NOT NULL,
    authority       text NOT NULL CHECK (authority OPERATOR(pg_catalog.=) ANY (ARRAY['role', 'api_key', 'table_owner'])),
    key_hash        bytea,
    fields          text[] NOT NULL,
    overwrite       boolean NOT NULL,
    state           text NOT NULL DEFAULT 'queued' CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'running', 'done', 'dead'])),
    outcome         text,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT pg_catalog.clock_timestamp(),
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at      timestamptz,
    finished_at     timestamptz,
    home            text NOT NULL,
    marks           bigint[],
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX job_set_waiting ON leadlex.job_set (role, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
-- Whether a contact waits already. To enter many marks takes longer than to write the row: whoever queues has not to wait.
CREATE INDEX job_set_marks ON leadlex.job_set USING gin (marks) WITH (fastupdate = off)
    WHERE state OPERATOR(pg_catalog.=) 'queued' AND marks IS NOT NULL;
CREATE INDEX job_set_unmarked ON leadlex.job_set (role) WHERE state OPERATOR(pg_catalog.=) 'queued' AND marks IS NULL;
CREATE INDEX job_set_open ON leadlex.job_set (role, id) WHERE finished_at IS NULL;
CREATE INDEX job_set_finished ON leadlex.job_set (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE leadlex.job_set IS 'The queue, packed. Read leadlex.job instead.';
COMMENT ON COLUMN leadlex.job_set.workspace_id IS 'the workspace that is charged';
COMMENT ON COLUMN leadlex.job_set.id IS 'of this row; those that it is split into have their own';
COMMENT ON COLUMN leadlex.job_set.first_job IS 'leadlex.job.id of place 0; the others count from there';
COMMENT ON COLUMN leadlex.job_set.places IS 'place of each contact in the row that was queued; NULL: 0, 1, 2 and so on';
COMMENT ON COLUMN leadlex.job_set.contacts IS 'how many';
COMMENT ON COLUMN leadlex.job_set.contact_ids IS 'their keys, as text';
COMMENT ON COLUMN leadlex.job_set.schema_name IS 'schema of the contacts'' table';
COMMENT ON COLUMN leadlex.job_set.table_name IS 'the contacts'' table';
COMMENT ON COLUMN leadlex.job_set.role IS 'the database role that the jobs run as';
COMMENT ON COLUMN leadlex.job_set.authority IS 'why it may act for the workspace: role (granted), api_key, or table_owner (queued by a trigger)';
COMMENT ON COLUMN leadlex.job_set.key_hash IS 'SHA-256 of the API key, if one was used';
COMMENT ON COLUMN leadlex.job_set.fields IS 'the fields asked for';
COMMENT ON COLUMN leadlex.job_set.overwrite IS 'whether non-empty fields may be replaced';
COMMENT ON COLUMN leadlex.job_set.state IS 'queued, running, done or dead (given up)';
COMMENT ON COLUMN leadlex.job_set.outcome IS 'of done ones: enriched, unchanged, no_match, or gone (there is no such contact any more)';
COMMENT ON COLUMN leadlex.job_set.attempts IS 'attempts; that it had to wait for a rate limit, for credits or for a provider that could not be asked is none';
COMMENT ON COLUMN leadlex.job_set.next_attempt_at IS 'not before; of a running one, when it counts as interrupted';
COMMENT ON COLUMN leadlex.job_set.last_error IS 'why the last attempt failed, or why data were not used (other_person, other_company)';
COMMENT ON COLUMN leadlex.job_set.created_at IS 'when it was queued';
COMMENT ON COLUMN leadlex.job_set.started_at IS 'begin of the last attempt';
COMMENT ON COLUMN leadlex.job_set.finished_at IS 'when it was done or given up';
COMMENT ON COLUMN leadlex.job_set.marks IS 'hashes of the keys, by which a contact that waits is found; NULL: not entered yet';
COMMENT ON COLUMN leadlex.job_set.home IS 'system identifier, database oid and extension oid of where it may run: a restore may bring it before leadlex.home';

-- Which database this is. Of what it was copied or restored from, the row comes along.
CREATE TABLE leadlex.home (
    system_identifier bigint NOT NULL,
    database_oid      oid NOT NULL,
    extension_oid     oid NOT NULL,
    since             timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (system_identifier, database_oid, extension_oid)
);
COMMENT ON TABLE leadlex.home IS 'The identity of the database. With a row that is not of this one it is a clone: queue, triggers and the books are at rest until leadlex.resume_queue().';
COMMENT ON COLUMN leadlex.home.system_identifier IS 'of the cluster, as pg_control_system() tells it';
COMMENT ON COLUMN leadlex.home.database_oid IS 'pg_database.oid';
COMMENT ON COLUMN leadlex.home.extension_oid IS 'pg_extension.oid: another after a restore into the same database';
COMMENT ON COLUMN leadlex.home.since IS 'when it was recorded';
INSERT INTO leadlex.home (system_identifier, database_oid, extension_oid)
    SELECT s.system_identifier, d.oid, e.oid
    FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d, pg_catalog.pg_extension AS e
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich';

CREATE TABLE leadlex.queue_pause (
    id        uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    since     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    paused_by name NOT NULL
);
COMMENT ON TABLE leadlex.queue_pause IS 'A row while leadlex.pause_queue() is in force.';
COMMENT ON COLUMN leadlex.queue_pause.id IS 'of the row';
COMMENT ON COLUMN leadlex.queue_pause.since IS 'when it was called';
COMMENT ON COLUMN leadlex.queue_pause.paused_by IS 'the role that called it';

REVOKE ALL ON leadlex.job_set, leadlex.home, leadlex.queue_pause FROM PUBLIC;
-- To compress them takes longer than to write them, and whoever queues has to wait for it.
ALTER TABLE leadlex.job_set ALTER COLUMN contact_ids SET STATISTICS 0, ALTER COLUMN contact_ids SET STORAGE EXTERNAL,
    ALTER COLUMN places SET STATISTICS 0, ALTER COLUMN marks SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('leadlex.job_set', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.home', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.queue_pause', '');

-- The queue.

CREATE FUNCTION leadlex.enqueue(
    contact_ids uuid[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'enqueue_wrapper';
COMMENT ON FUNCTION leadlex.enqueue(uuid[], text[], boolean) IS 'Queues contacts of the first bound table, to be enriched by a background worker after this transaction has committed: as the calling role, whose permissions are checked again then. fields and overwrite as for enrich_contact. Returns how many were queued: each id once, none of a row that the caller does not see, and none that waits already for the same caller with the same or more fields; NULL gives 0. See leadlex.job. Errors: LX400, LX401, LX403, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.enqueue(uuid[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enqueue(uuid[], text[], boolean) TO PUBLIC;

CREATE FUNCTION leadlex.enqueue_rows(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'enqueue_rows_wrapper';
COMMENT ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean) IS 'leadlex.enqueue for any bound table and any key type: ids are the keys as text. Errors: LX400, LX401, LX403, 25006, 55000.';
REVOKE ALL ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean) TO PUBLIC;

CREATE FUNCTION leadlex.retry_jobs(
    state text DEFAULT 'dead',
    relation regclass DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'retry_jobs_wrapper';
COMMENT ON FUNCTION leadlex.retry_jobs(text, regclass) IS 'Lets jobs be tried again at once, as if for the first time: those given up (dead), or those that wait for their next attempt (queued). relation: only of this table. An administrator: in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. Returns how many. Errors: LX400, LX401, LX403, 25006.';
REVOKE ALL ON FUNCTION leadlex.retry_jobs(text, regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.retry_jobs(text, regclass) TO PUBLIC;

CREATE FUNCTION leadlex.queue_paused() RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'queue_paused_wrapper';
COMMENT ON FUNCTION leadlex.queue_paused() IS 'Why the queue is paused: clone (the database is a copy or was restored), pause_queue, or read_only (default_transaction_read_only is on); NULL when it is not.';
REVOKE ALL ON FUNCTION leadlex.queue_paused() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.queue_paused() TO PUBLIC;

CREATE FUNCTION leadlex.pause_queue() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pause_queue_wrapper';
COMMENT ON FUNCTION leadlex.pause_queue() IS 'From its commit on no job of this database is begun; up to 500 contacts that are under way are finished. Jobs can still be queued. Error: 25006.';
REVOKE ALL ON FUNCTION leadlex.pause_queue() FROM PUBLIC;

CREATE FUNCTION leadlex.resume_queue() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'resume_queue_wrapper';
COMMENT ON FUNCTION leadlex.resume_queue() IS 'Takes leadlex.pause_queue() back, and says that this database, which may be a copy or restored, is to work and spend: queue and triggers go on. Error: 25006.';
REVOKE ALL ON FUNCTION leadlex.resume_queue() FROM PUBLIC;

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.home
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.queue_pause
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();

-- Run with the owner's rights, as the rows are private; whose they are is looked at here.
CREATE VIEW leadlex.job WITH (security_barrier = true) AS
    SELECT pg_catalog.overlay(s.first_job::text, pg_catalog.lpad(pg_catalog.to_hex(coalesce(s.places[c.n::integer]::integer, c.n::integer OPERATOR(pg_catalog.-) 1)), 4, '0'), 33)::uuid AS id,
           c.contact_id, pg_catalog.format('%I.%I', s.schema_name, s.table_name) AS relation, s.workspace_id, s.role, s.fields, s.overwrite,
           s.state, s.outcome, s.attempts, s.next_attempt_at, s.last_error, s.created_at, s.started_at, s.finished_at
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
COMMENT ON COLUMN leadlex.job.outcome IS 'of done ones: enriched, unchanged, no_match, or gone (there is no such contact any more)';
COMMENT ON COLUMN leadlex.job.attempts IS 'attempts; that it had to wait for a rate limit, for credits or for a provider that could not be asked is none';
COMMENT ON COLUMN leadlex.job.next_attempt_at IS 'it is not begun before; of a running one, when it counts as interrupted';
COMMENT ON COLUMN leadlex.job.last_error IS 'why the last attempt failed, or why data were not used (other_person, other_company)';
COMMENT ON COLUMN leadlex.job.created_at IS 'when it was queued';
COMMENT ON COLUMN leadlex.job.started_at IS 'begin of the last attempt';
COMMENT ON COLUMN leadlex.job.finished_at IS 'when it was done or given up';

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
COMMENT ON COLUMN leadlex.queue.paused_because IS 'clone: the database is a copy, or was restored (leadlex.resume_queue() lets it work); pause_queue: it was called; read_only: default_transaction_read_only is on for the database, the server or one''s own role';
COMMENT ON COLUMN leadlex.queue.queued IS 'jobs that wait, for their turn or for their next attempt';
COMMENT ON COLUMN leadlex.queue.running IS 'jobs that a worker has begun';
COMMENT ON COLUMN leadlex.queue.done IS 'jobs done, as long as they are kept';
COMMENT ON COLUMN leadlex.queue.dead IS 'jobs given up';
COMMENT ON COLUMN leadlex.queue.next_attempt_at IS 'when the next job that waits may begin';
COMMENT ON COLUMN leadlex.queue.oldest IS 'when the oldest unfinished job was queued';

REVOKE ALL ON leadlex.job, leadlex.queue FROM PUBLIC;
GRANT SELECT ON leadlex.job, leadlex.queue TO PUBLIC;

-- The view stays, with whatever was granted on it and built on it: new columns come last.
CREATE FUNCTION leadlex.worker_report() RETURNS TABLE (process text, pid integer, database text, state text, runs bigint, ledger_rows_settled bigint, rate_records bigint, keys_purged bigint, last_run timestamptz, last_error text, receipts_written bigint, receipts_waiting bigint, receipts_dropped bigint, receipts_expired bigint, role text, contacts bigint, questions_unshared bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'worker_report_wrapper';
COMMENT ON FUNCTION leadlex.worker_report() IS 'What leadlex.worker_status shows.';
REVOKE ALL ON FUNCTION leadlex.worker_report() FROM PUBLIC;

CREATE OR REPLACE VIEW leadlex.worker_status WITH (security_barrier = true) AS
    SELECT w.process, w.pid, w.database, w.state, w.runs, w.ledger_rows_settled, w.rate_records, w.keys_purged, w.last_run, w.last_error,
           w.receipts_written, w.receipts_waiting, w.receipts_dropped, w.receipts_expired, w.role, w.contacts, w.questions_unshared
    FROM leadlex.worker_report() AS w;
COMMENT ON COLUMN leadlex.worker_status.receipts_written IS 'providers'' answers written down';
COMMENT ON COLUMN leadlex.worker_status.receipts_waiting IS 'answers in shared memory that are not written yet';
COMMENT ON COLUMN leadlex.worker_status.receipts_dropped IS 'answers that could not be kept, since leadlex.receipt_buffer was full or they did not fit in';
COMMENT ON COLUMN leadlex.worker_status.receipts_expired IS 'receipts whose time was over: personal data taken out, or removed';
COMMENT ON COLUMN leadlex.worker_status.role IS 'of a job worker: the role whose jobs it runs';
COMMENT ON COLUMN leadlex.worker_status.contacts IS 'of a job worker: contacts finished, since the server started';
COMMENT ON COLUMN leadlex.worker_status.questions_unshared IS 'of the launcher: requests since the server started that nobody else could wait for, as there was no room to note the question';
COMMENT ON VIEW leadlex.worker_status IS 'The background workers: their launcher; per database the one that keeps the books, and what it has done since the server started; per database and role the one that runs queued jobs. Administrators and pg_monitor see all of it, granted roles that of their own database and of their own jobs, without error texts.';
COMMENT ON COLUMN leadlex.worker_status.process IS 'launcher, worker or job worker';
COMMENT ON COLUMN leadlex.worker_status.database IS 'the database that it works in';
COMMENT ON COLUMN leadlex.worker_status.state IS 'running, waiting (its turn comes), paused (job workers), clone (not its own home: it only writes what calls cause) or idle';
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO pg_monitor;
GRANT SELECT ON leadlex.worker_status TO PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.worker_report() TO PUBLIC;
DROP FUNCTION leadlex.worker_status_rows();

-- PUBLIC has what leadlex.grant_access used to give to each role.
CREATE FUNCTION leadlex.has_access(relation regclass, privilege text) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'has_access_wrapper';
COMMENT ON FUNCTION leadlex.has_access(regclass, text) IS 'Part of row-level policies on tables that PUBLIC may reach, so that no privilege has to be stored for each role: whether the current role has SELECT, INSERT, UPDATE or DELETE there by leadlex.grant_access, or by a GRANT to a role. Without it false, and 42501 for who may read and not write.';
REVOKE ALL ON FUNCTION leadlex.has_access(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.has_access(regclass, text) TO PUBLIC;
CREATE INDEX access_role ON leadlex.access (role);
-- Of a role that is gone only its number is left, which may be another role's elsewhere.
SELECT pg_catalog.pg_extension_config_dump('leadlex.access', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) role::pg_catalog.oid)');
DO LANGUAGE plpgsql $roles$
DECLARE
    granted CONSTANT pg_catalog.text := (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ') FROM pg_catalog.pg_roles AS r
        WHERE EXISTS (SELECT FROM leadlex.access AS a WHERE a.role::pg_catalog.oid OPERATOR(pg_catalog.=) r.oid));
BEGIN
    -- First, as a full list of privileges has no room for one more.
    IF granted IS NOT NULL THEN
        EXECUTE 'REVOKE SELECT ON leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, leadlex.enrichment, leadlex.provider FROM '
            OPERATOR(pg_catalog.||) granted;
    END IF;
END
$roles$;
CREATE POLICY granted ON leadlex.workspace AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.workspace'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.credit_pending AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.credit_pending'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.credit_settled AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.credit_settled'::regclass, 'SELECT')));
CREATE POLICY granted ON leadlex.enrichment AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.enrichment'::regclass, 'SELECT')));
CREATE OR REPLACE VIEW leadlex.provider WITH (security_barrier = true) AS
    SELECT p.name, p.priority, p.enabled, p.preset, p.workspace_id, p.config,
           EXISTS (SELECT FROM leadlex.provider_secret AS s WHERE s.name OPERATOR(pg_catalog.=) p.name) AS has_secret,
           p.created_at, p.updated_at
    FROM leadlex.provider_config AS p
    WHERE (SELECT leadlex.is_administrator())
       OR (SELECT leadlex.has_access(pg_catalog.to_regclass('leadlex.provider'), 'SELECT'))
          AND (p.workspace_id IS NULL OR p.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
GRANT SELECT ON leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, leadlex.enrichment,
    leadlex.provider TO PUBLIC;

-- Which names each e-mail address, profile or telephone number came up with, as hashes. Written by the background worker,
-- of each value one more than leadlex.max_people_per_value allows: then it is shared, and no more is to be known.
CREATE TABLE leadlex.value_name (
    workspace_id uuid NOT NULL,
    value        uuid NOT NULL,
    name         uuid NOT NULL,
    person       uuid NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (workspace_id, value, name)
);
-- For the worker: which can go.
CREATE INDEX value_name_age ON leadlex.value_name (seen_at);
COMMENT ON TABLE leadlex.value_name IS 'Which names each value came up with, as hashes, for leadlex.recheck_after (at least a day), and as long as the value is shared. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.value_name.workspace_id IS 'in which workspace';
COMMENT ON COLUMN leadlex.value_name.value IS 'hash of workspace, kind, provider (of what one supplied) and value in normal form';
COMMENT ON COLUMN leadlex.value_name.name IS 'hash of workspace and name in normal form';
COMMENT ON COLUMN leadlex.value_name.person IS 'hash of the contact''s table and key, for leadlex.forget_contact';
COMMENT ON COLUMN leadlex.value_name.seen_at IS 'when it first did';

CREATE TABLE leadlex.shared_value (
    workspace_id uuid NOT NULL,
    value        uuid NOT NULL,
    kind         text NOT NULL,
    provider_id  uuid,
    names        integer NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    allowed      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_id, value)
);
COMMENT ON TABLE leadlex.shared_value IS 'Values that more than leadlex.max_people_per_value different names came up with, as hashes. An e-mail address or profile that providers were asked with identifies no longer; an answer with a profile that its provider supplied so often is not written; a telephone number is only told of. leadlex.allow_shared_value makes one count again.';
COMMENT ON COLUMN leadlex.shared_value.workspace_id IS 'in which workspace';
COMMENT ON COLUMN leadlex.shared_value.value IS 'hash of workspace, kind, provider and value in normal form';
COMMENT ON COLUMN leadlex.shared_value.kind IS 'email or profile: providers were asked with it; supplied profile or supplied phone: one of them answered it';
COMMENT ON COLUMN leadlex.shared_value.provider_id IS 'leadlex.provider_config.id of the provider that supplied it';
COMMENT ON COLUMN leadlex.shared_value.names IS 'different names that it came up with; counted up to one more than is allowed';
COMMENT ON COLUMN leadlex.shared_value.found_at IS 'when the worker found it';
COMMENT ON COLUMN leadlex.shared_value.allowed IS 'true: it counts all the same, by leadlex.allow_shared_value';
ALTER TABLE leadlex.shared_value ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.shared_value FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
CREATE POLICY granted ON leadlex.shared_value AS RESTRICTIVE FOR SELECT
    USING ((SELECT leadlex.has_access('leadlex.shared_value'::regclass, 'SELECT')));
REVOKE ALL ON leadlex.value_name, leadlex.shared_value FROM PUBLIC;
GRANT SELECT ON leadlex.shared_value TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('leadlex.value_name', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.shared_value', '');
CREATE FUNCTION leadlex.allow_shared_value(
    value text,
    workspace_id uuid DEFAULT NULL,
    allowed boolean DEFAULT true
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'allow_shared_value_wrapper';
COMMENT ON FUNCTION leadlex.allow_shared_value(text, uuid, boolean) IS 'Makes an e-mail address or a LinkedIn profile (its URL) count in a workspace, in any spelling, however many names it comes up with: it identifies, and a provider that supplies the profile is believed. allowed => false takes that back, and its names are counted from the beginning. workspace_id may be left out while there is only one. Returns whether that changes anything. Errors: 22023 no such value, two in one text, no such workspace; 25006.';
REVOKE ALL ON FUNCTION leadlex.allow_shared_value(text, uuid, boolean) FROM PUBLIC;

-- Last: calls its trigger, so that every session looks again, and the worker, too.
UPDATE leadlex.workspace SET name = name WHERE false;
