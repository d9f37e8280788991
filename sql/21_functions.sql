-- What everybody may ask about oneself.

CREATE FUNCTION leadlex.whoami() RETURNS jsonb
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'whoami_wrapper';
COMMENT ON FUNCTION leadlex.whoami() IS 'Who a call made now would act for: workspace, how it was found (api_key or role), permissions, plan. Error: LX401 where it would act for no workspace.';
REVOKE ALL ON FUNCTION leadlex.whoami() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.whoami() TO PUBLIC;

CREATE FUNCTION leadlex.credits() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'credits_wrapper';
COMMENT ON FUNCTION leadlex.credits() IS 'Credit balance of one''s workspace as this transaction sees it; NULL without a credit limit. Error: LX401.';
REVOKE ALL ON FUNCTION leadlex.credits() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.credits() TO PUBLIC;

CREATE FUNCTION leadlex.rate_limit() RETURNS TABLE ("window" text, "limit" bigint, remaining bigint, reset timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 2
AS 'MODULE_PATHNAME', 'rate_limit_wrapper';
COMMENT ON FUNCTION leadlex.rate_limit() IS 'The rate limits of one''s workspace, per window (minute, day): limit, what remains, and when more is available. NULL limit = unlimited. Uses nothing. Error: LX401.';
REVOKE ALL ON FUNCTION leadlex.rate_limit() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.rate_limit() TO PUBLIC;

CREATE FUNCTION leadlex.my_workspaces() RETURNS uuid[]
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'my_workspaces_wrapper';
COMMENT ON FUNCTION leadlex.my_workspaces() IS 'The workspaces whose rows one may read: of the API key where set, else all that are granted to one''s roles. For row-level policies.';
REVOKE ALL ON FUNCTION leadlex.my_workspaces() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.my_workspaces() TO PUBLIC;

CREATE FUNCTION leadlex.is_administrator() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'is_administrator_wrapper';
COMMENT ON FUNCTION leadlex.is_administrator() IS 'Whether the current role is the extension''s owner, a member of it, or a superuser.';
REVOKE ALL ON FUNCTION leadlex.is_administrator() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.is_administrator() TO PUBLIC;

CREATE FUNCTION leadlex.has_access(relation regclass, privilege text) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'has_access_wrapper';
COMMENT ON FUNCTION leadlex.has_access(regclass, text) IS 'Part of row-level policies on tables that PUBLIC may reach, so that no privilege has to be stored for each role: whether the current role has SELECT, INSERT, UPDATE or DELETE there by leadlex.grant_access, or by a GRANT to a role. Without it false, and 42501 for who may read and not write.';
REVOKE ALL ON FUNCTION leadlex.has_access(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.has_access(regclass, text) TO PUBLIC;

CREATE FUNCTION leadlex.revert_enrichment(request_id uuid) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'revert_enrichment_wrapper';
COMMENT ON FUNCTION leadlex.revert_enrichment(uuid) IS 'Puts back the values that an enrichment replaced, where they were not changed since. The credit stays spent. An administrator reverts in all workspaces, unless leadlex.workspace or leadlex.api_key names one; others in their own. The row is read and written with the caller''s privileges. Returns {request_id, contact_id, fields_reverted, fields_kept}. Errors: LX401, LX403, LX404 no such enrichment in one''s workspace or its contact is gone, 25006.';
REVOKE ALL ON FUNCTION leadlex.revert_enrichment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.revert_enrichment(uuid) TO PUBLIC;

CREATE FUNCTION leadlex.estimate(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (outcome text, reason text, contacts bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000 ROWS 10
AS 'MODULE_PATHNAME', 'estimate_wrapper';
COMMENT ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) IS 'What a batch over these contacts would do if it began now. Asks no provider and writes nothing. outcome: asked (at least one provider may be asked), answered (from a receipt), skipped; reason says why. contacts: positions of ids; they add up to all of them. Each answered or asked contact may cost a credit. Works in read-only transactions and on a standby. Errors: LX400, LX401, LX403, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.estimate(regclass, text[], text[], boolean) TO PUBLIC;

-- The queue.

CREATE FUNCTION leadlex.enqueue(
    contact_ids uuid[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    priority integer DEFAULT 0
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'enqueue_wrapper';
COMMENT ON FUNCTION leadlex.enqueue(uuid[], text[], boolean, integer) IS 'Queues contacts of the first bound table (of lower priority first, 0 by default), to be enriched by a background worker after this transaction has committed: as the calling role, whose permissions are checked again then. fields and overwrite as for enrich_contact. Returns how many were queued: each id once, none of a row that the caller does not see, and none that waits already for the same caller with the same or more fields; NULL gives 0. See leadlex.job. Errors: LX400, LX401, LX403, 25006, 42501, 53400, 55000.';
REVOKE ALL ON FUNCTION leadlex.enqueue(uuid[], text[], boolean, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enqueue(uuid[], text[], boolean, integer) TO PUBLIC;

CREATE FUNCTION leadlex.enqueue_rows(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    priority integer DEFAULT 0
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'enqueue_rows_wrapper';
COMMENT ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean, integer) IS 'leadlex.enqueue for any bound table and any key type: ids are the keys as text. Errors: LX400, LX401, LX403, 25006, 42501, 53400, 55000.';
REVOKE ALL ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.enqueue_rows(regclass, text[], text[], boolean, integer) TO PUBLIC;

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
COMMENT ON FUNCTION leadlex.queue_paused() IS 'Why the queue is paused: clone (the database is a copy or was restored), pause_queue, or read_only (default_transaction_read_only is on), or stopped (leadlex.stop() is in force); NULL when it is not.';
REVOKE ALL ON FUNCTION leadlex.queue_paused() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.queue_paused() TO PUBLIC;

CREATE FUNCTION leadlex.pause_queue() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pause_queue_wrapper';
COMMENT ON FUNCTION leadlex.pause_queue() IS 'From its commit on no job of this database is begun; requests that are under way are finished, and the rest of a running job stays queued. Jobs can still be queued. Error: 25006.';
REVOKE ALL ON FUNCTION leadlex.pause_queue() FROM PUBLIC;

CREATE FUNCTION leadlex.resume_queue() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'resume_queue_wrapper';
COMMENT ON FUNCTION leadlex.resume_queue() IS 'Takes leadlex.pause_queue() back, and says that this database, which may be a copy or restored, is to work and spend: queue and triggers go on. Error: 25006.';
REVOKE ALL ON FUNCTION leadlex.resume_queue() FROM PUBLIC;

-- Administration: for the extension's owner, and for whom it grants EXECUTE to.

CREATE FUNCTION leadlex.create_workspace(
    name text,
    credits bigint DEFAULT 0,
    plan text DEFAULT 'starter'
) RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'create_workspace_wrapper';
COMMENT ON FUNCTION leadlex.create_workspace(text, bigint, text) IS 'Makes a workspace. credits: opening balance (NULL = no credit limit). plan: starter (10/min, 100/day), pro (50, 1,000), org (200, 10,000), unmetered. Errors: 22023, 23505 name taken.';
REVOKE ALL ON FUNCTION leadlex.create_workspace(text, bigint, text) FROM PUBLIC;

CREATE FUNCTION leadlex.grant_credits(
    workspace_id uuid,
    amount bigint,
    note text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'grant_credits_wrapper';
COMMENT ON FUNCTION leadlex.grant_credits(uuid, bigint, text) IS 'Adds credits to a workspace (negative corrects, never below 0) and returns the new balance. Errors: 22023, 55000 for a workspace without a credit limit.';
REVOKE ALL ON FUNCTION leadlex.grant_credits(uuid, bigint, text) FROM PUBLIC;

CREATE FUNCTION leadlex.grant_credits(amount bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'grant_credits_here_wrapper';
COMMENT ON FUNCTION leadlex.grant_credits(bigint) IS 'grant_credits for the only workspace there is.';
REVOKE ALL ON FUNCTION leadlex.grant_credits(bigint) FROM PUBLIC;

CREATE FUNCTION leadlex.set_rate_limit(
    workspace_id uuid,
    per_minute integer,
    per_day integer
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_rate_limit_wrapper';
COMMENT ON FUNCTION leadlex.set_rate_limit(uuid, integer, integer) IS 'Overrides a workspace''s plan: calls admitted in any 60 seconds and per UTC day (NULL = unlimited). Error: 22023.';
REVOKE ALL ON FUNCTION leadlex.set_rate_limit(uuid, integer, integer) FROM PUBLIC;

CREATE FUNCTION leadlex.set_rate_limit(
    per_minute integer,
    per_day integer
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_rate_limit_here_wrapper';
COMMENT ON FUNCTION leadlex.set_rate_limit(integer, integer) IS 'set_rate_limit for the only workspace there is.';
REVOKE ALL ON FUNCTION leadlex.set_rate_limit(integer, integer) FROM PUBLIC;

CREATE FUNCTION leadlex.create_api_key(
    workspace_id uuid DEFAULT NULL,
    permissions text[] DEFAULT '{write:enrich}',
    expires_at timestamptz DEFAULT NULL,
    name text DEFAULT NULL
) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'create_api_key_wrapper';
COMMENT ON FUNCTION leadlex.create_api_key(uuid, text[], timestamptz, text) IS 'Makes an API key (wbk_...) and shows it this once; only its SHA-256 hash is stored. workspace_id may be left out while there is only one workspace. Error: 22023.';
REVOKE ALL ON FUNCTION leadlex.create_api_key(uuid, text[], timestamptz, text) FROM PUBLIC;

CREATE FUNCTION leadlex.revoke_api_key(key_prefix text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'revoke_api_key_wrapper';
COMMENT ON FUNCTION leadlex.revoke_api_key(text) IS 'Revokes the API key that begins with key_prefix (at least 8 characters). Errors: 22023 when none or several do.';
REVOKE ALL ON FUNCTION leadlex.revoke_api_key(text) FROM PUBLIC;

CREATE FUNCTION leadlex.grant_access(
    role name,
    workspace_id uuid DEFAULT NULL,
    permissions text[] DEFAULT '{write:enrich}'
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'grant_access_wrapper';
COMMENT ON FUNCTION leadlex.grant_access(name, uuid, text[]) IS 'Lets a role, and roles that are members of it, act for a workspace without a key, and gives it the privileges on our views and on leadlex.contact. Errors: 42704 no such role, 22023.';
REVOKE ALL ON FUNCTION leadlex.grant_access(name, uuid, text[]) FROM PUBLIC;

CREATE FUNCTION leadlex.revoke_access(
    role name,
    workspace_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'revoke_access_wrapper';
COMMENT ON FUNCTION leadlex.revoke_access(name, uuid) IS 'Takes grant_access back. Errors: 42704, 22023.';
REVOKE ALL ON FUNCTION leadlex.revoke_access(name, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.bind_contacts(
    relation regclass,
    columns jsonb DEFAULT NULL,
    workspace_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'bind_contacts_wrapper';
COMMENT ON FUNCTION leadlex.bind_contacts(regclass, jsonb, uuid) IS 'Makes a table enrichable. columns: our names (id, workspace_id, full_name, first_name, last_name, email, company_domain, the six fields, enriched_at and enrichment_status) to the table''s columns; the same names are found by themselves. workspace_id: whose rows they are, for a table without a workspace column. Errors: 42809 not a table, 42703 no such column, 42804 wrong type, 22023.';
REVOKE ALL ON FUNCTION leadlex.bind_contacts(regclass, jsonb, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.unbind_contacts(relation regclass) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unbind_contacts_wrapper';
COMMENT ON FUNCTION leadlex.unbind_contacts(regclass) IS 'Takes bind_contacts back. The table itself is not touched. Error: 22023 when it is not bound.';
REVOKE ALL ON FUNCTION leadlex.unbind_contacts(regclass) FROM PUBLIC;

CREATE FUNCTION leadlex.create_contact_table() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'create_contact_table_wrapper';
COMMENT ON FUNCTION leadlex.create_contact_table() IS 'Makes and binds leadlex.contact, with row-level security by workspace. It is yours, not the extension''s: it is dumped and restored like any table. Error: 42P07 when it is there.';
REVOKE ALL ON FUNCTION leadlex.create_contact_table() FROM PUBLIC;

CREATE FUNCTION leadlex.add_provider(
    name text,
    preset text DEFAULT NULL,
    config jsonb DEFAULT NULL,
    secret text DEFAULT NULL,
    priority integer DEFAULT 100,
    workspace_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'add_provider_wrapper';
COMMENT ON FUNCTION leadlex.add_provider(text, text, jsonb, text, integer, uuid) IS 'Adds a data provider. config is complete, or merged over the preset''s. secret: the vendor''s key, or file:/path read by the server (superuser only). priority: the lower, the earlier asked. workspace_id: NULL = for every workspace. In a database without workspaces it makes the workspace default. Errors: 22023 with the place of the mistake, 23505 name taken, 40001 a waiting job has changed since the transaction''s one snapshot, 42501.';
REVOKE ALL ON FUNCTION leadlex.add_provider(text, text, jsonb, text, integer, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.alter_provider(
    name text,
    config jsonb DEFAULT NULL,
    secret text DEFAULT NULL,
    priority integer DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'alter_provider_wrapper';
COMMENT ON FUNCTION leadlex.alter_provider(text, jsonb, text, integer) IS 'Changes what is given: config is merged over the present one (null removes a key). A new scheme, host or port in a URL of it needs secret in the same call, unless a superuser makes the change (42501). Errors as leadlex.add_provider; 22023 no such provider.';
REVOKE ALL ON FUNCTION leadlex.alter_provider(text, jsonb, text, integer) FROM PUBLIC;

CREATE FUNCTION leadlex.secret_given() RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'secret_given_wrapper';
COMMENT ON FUNCTION leadlex.secret_given() IS 'Of no use by itself: part of the statement that stores a provider''s secret, so that no log of statements and parameters shows it. NULL at any other time.';
REVOKE ALL ON FUNCTION leadlex.secret_given() FROM PUBLIC;

CREATE FUNCTION leadlex.drop_provider(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'drop_provider_wrapper';
COMMENT ON FUNCTION leadlex.drop_provider(text) IS 'Removes a provider, its secret and its budgets. A NOTICE says how many answers it still owes: these can be had no more. Errors: 22023 no such provider, 55000 the worker did not write waiting answers in time.';
REVOKE ALL ON FUNCTION leadlex.drop_provider(text) FROM PUBLIC;

CREATE FUNCTION leadlex.enable_provider(
    name text,
    enabled boolean
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'enable_provider_wrapper';
COMMENT ON FUNCTION leadlex.enable_provider(text, boolean) IS 'Switches a provider off or on. One that is off is not asked, also not for answers that it owes. Error: 22023 no such provider.';
REVOKE ALL ON FUNCTION leadlex.enable_provider(text, boolean) FROM PUBLIC;

CREATE FUNCTION leadlex.check_provider(
    name text,
    contact jsonb
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'check_provider_wrapper';
COMMENT ON FUNCTION leadlex.check_provider(text, jsonb) IS 'Sends the real requests of one question about a contact given as {"email": ...} and shows the request (secret masked), the status, and the mapped answer or why there is none. Changes no contact, keeps no answer and charges nothing here; the vendor may bill it, and a failure can pause the provider. Errors: 22023.';
REVOKE ALL ON FUNCTION leadlex.check_provider(text, jsonb) FROM PUBLIC;

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
COMMENT ON FUNCTION leadlex.suppress(text, text, uuid, timestamptz) IS 'From now on no provider is asked about a person: calls are LX409 with reason suppressed. value is an e-mail address or a LinkedIn profile (its URL), in any spelling, or @acme.example for all people with an address at that domain or below it, or whose company has it. workspace_id: only there (NULL = in every workspace). until: the entry ends then (NULL = never); an entry that is there already stays for the longer of both. The list holds a hash, not the value; reason is kept as given. What is held already is erased by leadlex.forget_contact. Returns whether the value was not on the list yet. Errors: 22023 no such value, two in one text, a time that is over; 25006.';
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

CREATE FUNCTION leadlex.unsuppress_row(
    relation regclass,
    id bigint
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_row_bigint_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress_row(regclass, bigint) IS 'leadlex.unsuppress_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.unsuppress_row(regclass, bigint) FROM PUBLIC;

CREATE FUNCTION leadlex.unsuppress_row(
    relation regclass,
    id uuid
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_row_uuid_wrapper';
COMMENT ON FUNCTION leadlex.unsuppress_row(regclass, uuid) IS 'leadlex.unsuppress_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION leadlex.unsuppress_row(regclass, uuid) FROM PUBLIC;

CREATE FUNCTION leadlex.preset_report() RETURNS TABLE (name text, vendor text, fields text[], identify_by jsonb, identifiers text, score text, limits text, billing text, notes text, documentation text, checked_on text, config jsonb)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'preset_report_wrapper';
COMMENT ON FUNCTION leadlex.preset_report() IS 'What leadlex.presets shows.';
REVOKE ALL ON FUNCTION leadlex.preset_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.preset_report() TO PUBLIC;

CREATE FUNCTION leadlex.provider_report() RETURNS TABLE (provider_id uuid, calls bigint, matches bigint, no_matches bigint, refusals bigint, failures bigint, failures_by_kind jsonb, skipped bigint, p50_ms double precision, p95_ms double precision, p99_ms double precision, cost double precision, costs_unread bigint, state text, paused_until timestamptz, failures_in_a_row bigint, last_error text, last_error_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'provider_report_wrapper';
COMMENT ON FUNCTION leadlex.provider_report() IS 'What leadlex.provider_stats shows: to each role only of its own providers.';
REVOKE ALL ON FUNCTION leadlex.provider_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.provider_report() TO PUBLIC;

CREATE FUNCTION leadlex.worker_report() RETURNS TABLE (process text, pid integer, database text, state text, runs bigint, ledger_rows_settled bigint, rate_records bigint, keys_purged bigint, last_run timestamptz, last_error text, receipts_written bigint, receipts_waiting bigint, receipts_dropped bigint, receipts_expired bigint, role text, contacts bigint, outcomes_dropped bigint, questions_unshared bigint, put_off bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'worker_report_wrapper';
COMMENT ON FUNCTION leadlex.worker_report() IS 'What leadlex.worker_status shows.';
REVOKE ALL ON FUNCTION leadlex.worker_report() FROM PUBLIC;

-- Tells every backend that what it remembers of these tables is out of date, when the change commits.
CREATE FUNCTION leadlex.config_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'config_changed_wrapper';
COMMENT ON FUNCTION leadlex.config_changed() IS 'Trigger on tables that every backend remembers something of: sends an invalidation when a change commits.';
REVOKE ALL ON FUNCTION leadlex.config_changed() FROM PUBLIC;

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.workspace
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.api_key
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.access
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.bound_table
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.provider_config
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.provider_secret
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.home
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.queue_pause
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();

-- These most workspaces have none of, which every backend remembers. Rows of removed ones are looked for in vain.
CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.shared_value
    FOR EACH ROW WHEN (NEW.kind OPERATOR(pg_catalog.<>) 'supplied phone' AND NEW.kind OPERATOR(pg_catalog.<>) 'phone')
    EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.undone
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.suppression
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.outcome
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
-- What contacts' tables refused.
CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.receipt
    FOR EACH ROW WHEN (NEW.contact IS NOT NULL) EXECUTE FUNCTION leadlex.config_changed();

CREATE FUNCTION leadlex.allow_shared_value(
    value text,
    workspace_id uuid DEFAULT NULL,
    allowed boolean DEFAULT true
) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'allow_shared_value_wrapper';
COMMENT ON FUNCTION leadlex.allow_shared_value(text, uuid, boolean) IS 'Makes an e-mail address, a LinkedIn profile (its URL) or a telephone number count in a workspace, in any spelling, however many names it comes up with: it identifies, and a provider that supplies the profile is believed. Of a number leadlex.check() tells no longer. allowed => false takes that back, and its names are counted from the beginning. workspace_id may be left out while there is only one. Returns whether that changes anything. Errors: 22023 no such value, two in one text, no such workspace; 25006.';
REVOKE ALL ON FUNCTION leadlex.allow_shared_value(text, uuid, boolean) FROM PUBLIC;

-- In place of foreign keys, see leadlex.workspace. Planned by index, as leadlex.usage_changed() is: many may go at once.
CREATE FUNCTION leadlex.workspace_gone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $gone$
BEGIN
    IF EXISTS (SELECT FROM leadlex.bound_table AS b WHERE b.workspace_id OPERATOR(pg_catalog.=) OLD.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = pg_catalog.format('tables are bound for the workspace %s', OLD.name),
            HINT = 'Unbind them first with leadlex.unbind_contacts, see leadlex.binding.';
    END IF;
    DELETE FROM leadlex.ticket AS t WHERE t.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.api_key AS k WHERE k.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.access AS a WHERE a.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.provider_config AS p WHERE p.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.shared_value AS v WHERE v.workspace_id OPERATOR(pg_catalog.=) OLD.id;
    RETURN NULL;
END
$gone$;
COMMENT ON FUNCTION leadlex.workspace_gone() IS 'Trigger on leadlex.workspace: keys, access, providers, tickets and shared values go with their workspace, which cannot go while tables are bound for it (23503).';
REVOKE ALL ON FUNCTION leadlex.workspace_gone() FROM PUBLIC;
CREATE TRIGGER workspace_gone AFTER DELETE ON leadlex.workspace
    FOR EACH ROW EXECUTE FUNCTION leadlex.workspace_gone();

CREATE FUNCTION leadlex.provider_gone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $gone$
BEGIN
    DELETE FROM leadlex.ticket AS k WHERE k.provider_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.provider_tally AS t WHERE t.provider_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.provider_field_tally AS q WHERE q.provider_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.provider_rate AS r WHERE r.provider_id OPERATOR(pg_catalog.=) OLD.id;
    DELETE FROM leadlex.shared_value AS v WHERE v.provider_id OPERATOR(pg_catalog.=) OLD.id;
    RETURN NULL;
END
$gone$;
COMMENT ON FUNCTION leadlex.provider_gone() IS 'Trigger on leadlex.provider_config: what is recorded of a provider goes with it.';
REVOKE ALL ON FUNCTION leadlex.provider_gone() FROM PUBLIC;
CREATE TRIGGER provider_gone AFTER DELETE ON leadlex.provider_config
    FOR EACH ROW EXECUTE FUNCTION leadlex.provider_gone();

CREATE FUNCTION leadlex.row_may_be_updated(place bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'row_may_be_updated_wrapper';
COMMENT ON FUNCTION leadlex.row_may_be_updated(bigint) IS 'Of no use by itself: part of the statement by which a call finds out, before a provider is asked, whether row-level security lets it update a contact. Always false.';
REVOKE ALL ON FUNCTION leadlex.row_may_be_updated(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.row_may_be_updated(bigint) TO PUBLIC;

-- leadlex.contact.updated_at, for the table that leadlex.create_contact_table() makes.
CREATE FUNCTION leadlex.set_updated_at() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'set_updated_at_wrapper';
COMMENT ON FUNCTION leadlex.set_updated_at() IS 'Trigger on leadlex.contact: sets updated_at.';
REVOKE ALL ON FUNCTION leadlex.set_updated_at() FROM PUBLIC;
