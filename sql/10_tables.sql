-- Private tables. Only the extension's owner reads and writes them directly; everybody else goes through the
-- functions, or through the views and row-level policies of 30_views.sql. Column meanings are in COMMENT ON.
--
-- From the first released version on, every change here needs a delta, which brings released schemas here
-- (docs/internals/releasing.md; functions, views, triggers, policies, comments and privileges need none):
-- * A new column is the last of its table, and a new table's pg_extension_config_dump the last of them: an update can
--   only append, and the order is part of what is compared with a fresh install. A new column is nullable or has a default:
--   dumps of older versions are restored into this schema.
-- * A function with other arguments gets a new C symbol, and the old one stays while a released schema names it. One with
--   other result columns begins with cache::refresh, which raises 55000 in a schema of another version.

-- Providers answer in Unicode: elsewhere a name could be paid for and then not be stored.
DO LANGUAGE plpgsql $check$
BEGIN
    IF pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = 'leadlex_enrich needs a database with the encoding UTF8',
            DETAIL = pg_catalog.format('The encoding of this one is %s.', pg_catalog.current_setting('server_encoding')),
            HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0';
    END IF;
END
$check$;

CREATE SCHEMA leadlex;
COMMENT ON SCHEMA leadlex IS 'leadlex_enrich: workspaces, credits, providers, history. The calls themselves (enrich_contact, enrich_row) stand in the extension''s own schema.';

-- No foreign keys between tables that a dump brings: they would be there before the rows, and a parallel restore brings
-- those in any order. See leadlex.workspace_gone and leadlex.provider_gone.
CREATE TABLE leadlex.workspace (
    id               uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE CHECK (pg_catalog.btrim(name) OPERATOR(pg_catalog.<>) ''),
    plan             text NOT NULL CHECK (plan OPERATOR(pg_catalog.=) ANY (ARRAY['starter', 'pro', 'org', 'unmetered'])),
    per_minute       integer CHECK (per_minute OPERATOR(pg_catalog.>=) 0),
    per_day          integer CHECK (per_day OPERATOR(pg_catalog.>=) 0),
    has_credit_limit boolean NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadlex.workspace IS 'One row per team. Made by leadlex.create_workspace, or by the first leadlex.add_provider (the workspace "default").';
COMMENT ON COLUMN leadlex.workspace.id IS 'what workspace_id means everywhere';
COMMENT ON COLUMN leadlex.workspace.name IS 'its name, unique';
COMMENT ON COLUMN leadlex.workspace.plan IS 'starter, pro, org or unmetered: where its limits came from';
COMMENT ON COLUMN leadlex.workspace.per_minute IS 'calls admitted in any 60 seconds; NULL = unlimited';
COMMENT ON COLUMN leadlex.workspace.per_day IS 'calls admitted per UTC day; NULL = unlimited';
COMMENT ON COLUMN leadlex.workspace.has_credit_limit IS 'false: charges are recorded, but no balance is kept';
COMMENT ON COLUMN leadlex.workspace.created_at IS 'when it was made';

-- The settled part of each balance. A call never touches this row: it appends to credit_pending, and the
-- background worker folds that in. Balance = settled + sum(credit_pending), read in one snapshot.
CREATE TABLE leadlex.credit_balance (
    workspace_id uuid PRIMARY KEY,
    settled      bigint NOT NULL DEFAULT 0,
    base         bigint
);
COMMENT ON COLUMN leadlex.credit_balance.base IS 'the balance after the last grant, limit or allotment that is settled';
COMMENT ON TABLE leadlex.credit_balance IS 'Per workspace: the sum of its settled ledger rows. Use leadlex.credits() to read a balance.';

-- No foreign key on either ledger table: it would stamp a row lock on the workspace at every charge.
CREATE TABLE leadlex.credit_pending (
    workspace_id uuid NOT NULL,
    id           uuid NOT NULL,
    amount       bigint NOT NULL CHECK (amount OPERATOR(pg_catalog.<>) 0),
    request_id   uuid NOT NULL,
    note         text,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (workspace_id, id)
);
COMMENT ON TABLE leadlex.credit_pending IS 'Ledger rows not folded into credit_balance yet. Read leadlex.credit_ledger instead.';
COMMENT ON COLUMN leadlex.credit_pending.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_pending.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_pending.amount IS 'credits: positive granted, -1 charged, other negatives corrections';
COMMENT ON COLUMN leadlex.credit_pending.request_id IS 'the call that was charged';
COMMENT ON COLUMN leadlex.credit_pending.note IS 'what leadlex.grant_credits was given as note';
COMMENT ON COLUMN leadlex.credit_pending.created_at IS 'when';
CREATE TABLE leadlex.credit_settled (
    workspace_id uuid NOT NULL,
    id           uuid NOT NULL,
    amount       bigint NOT NULL,
    request_id   uuid NOT NULL,
    note         text,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, id)
);
-- Only the worker writes here: an index costs no call anything.
CREATE INDEX credit_settled_time ON leadlex.credit_settled (created_at);
CREATE INDEX credit_settled_request ON leadlex.credit_settled (request_id);
COMMENT ON TABLE leadlex.credit_settled IS 'Ledger rows folded into credit_balance. Read leadlex.credit_ledger instead.';
COMMENT ON COLUMN leadlex.credit_settled.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.credit_settled.id IS 'the movement (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.credit_settled.amount IS 'credits: positive granted, -1 charged, other negatives corrections';
COMMENT ON COLUMN leadlex.credit_settled.request_id IS 'the call that was charged';
COMMENT ON COLUMN leadlex.credit_settled.note IS 'what leadlex.grant_credits was given as note';
COMMENT ON COLUMN leadlex.credit_settled.created_at IS 'when';

CREATE TABLE leadlex.api_key (
    key_hash     bytea PRIMARY KEY,
    key_prefix   text NOT NULL,
    workspace_id uuid NOT NULL,
    permissions  text[] NOT NULL,
    name         text,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz
);
COMMENT ON TABLE leadlex.api_key IS 'API keys as SHA-256 hashes; the key itself was shown once, by leadlex.create_api_key.';
COMMENT ON COLUMN leadlex.api_key.key_hash IS 'SHA-256 of the key';
COMMENT ON COLUMN leadlex.api_key.key_prefix IS 'its first characters, by which leadlex.revoke_api_key takes it';
COMMENT ON COLUMN leadlex.api_key.workspace_id IS 'for which it calls';
COMMENT ON COLUMN leadlex.api_key.permissions IS 'write:enrich, or none';
COMMENT ON COLUMN leadlex.api_key.name IS 'as given to leadlex.create_api_key';
COMMENT ON COLUMN leadlex.api_key.created_at IS 'when it was made';
COMMENT ON COLUMN leadlex.api_key.expires_at IS 'not good from then on; NULL = it does not expire';
COMMENT ON COLUMN leadlex.api_key.revoked_at IS 'when leadlex.revoke_api_key took it back';

CREATE TABLE leadlex.access (
    workspace_id uuid NOT NULL,
    role         regrole NOT NULL,
    permissions  text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (workspace_id, role)
);
-- What a role was granted is looked up without reading that of all others.
CREATE INDEX access_role ON leadlex.access (role);
COMMENT ON TABLE leadlex.access IS 'Which roles act for which workspace without a key: leadlex.grant_access, leadlex.revoke_access.';
COMMENT ON COLUMN leadlex.access.workspace_id IS 'for which it acts';
COMMENT ON COLUMN leadlex.access.role IS 'and every role that is a member of it';
COMMENT ON COLUMN leadlex.access.permissions IS 'write:enrich, or none: such a role may read';
COMMENT ON COLUMN leadlex.access.created_at IS 'since when';

CREATE TABLE leadlex.bound_table (
    schema_name  name NOT NULL,
    table_name   name NOT NULL,
    columns      jsonb NOT NULL,
    workspace_id uuid,
    bound_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    triggers_on  oid,
    PRIMARY KEY (schema_name, table_name)
);
COMMENT ON TABLE leadlex.bound_table IS 'Bound tables. Read leadlex.binding instead.';
COMMENT ON COLUMN leadlex.bound_table.triggers_on IS 'the table of this name that last had an enabled trigger of ours; NULL = none, or it was dropped';
COMMENT ON COLUMN leadlex.bound_table.columns IS 'our names to the table''s column names';
COMMENT ON COLUMN leadlex.bound_table.workspace_id IS 'the workspace of every row, for a table without a workspace column';
COMMENT ON COLUMN leadlex.bound_table.schema_name IS 'the table''s schema';
COMMENT ON COLUMN leadlex.bound_table.table_name IS 'its name: a table replaced under it stays bound';
COMMENT ON COLUMN leadlex.bound_table.bound_at IS 'the oldest is the table of enrich_contact';

CREATE TABLE leadlex.provider_config (
    name         text PRIMARY KEY CHECK (name OPERATOR(pg_catalog.~) '^[A-Za-z0-9_.-]{1,63}$'),
    id           uuid NOT NULL UNIQUE,
    workspace_id uuid,
    preset       text,
    config       jsonb NOT NULL,
    priority     integer NOT NULL,
    enabled      boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadlex.provider_config IS 'Providers with their complete configuration. Read leadlex.provider instead.';
COMMENT ON COLUMN leadlex.provider_config.workspace_id IS 'NULL: for every workspace';

-- Deliberately not registered with pg_extension_config_dump: a dump must not carry a provider secret.
CREATE TABLE leadlex.provider_secret (
    name   text PRIMARY KEY REFERENCES leadlex.provider_config ON UPDATE CASCADE ON DELETE CASCADE,
    secret text NOT NULL
);
COMMENT ON TABLE leadlex.provider_secret IS 'Provider secrets, or file:/path. Readable by the extension''s owner only; never dumped.';

CREATE TABLE leadlex.idempotency (
    workspace_id uuid NOT NULL,
    key          uuid NOT NULL,
    request_hash bytea NOT NULL,
    result       jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    person       uuid,
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_created_at ON leadlex.idempotency (created_at);
-- For leadlex.forget_contact. Not partial: calls insert without the executor, which alone knows conditions of an index. So it has no
-- workspace_id: where a table was empty at its last ANALYZE, all indexes with a column of a look-up cost the planner the same, and
-- it may take this one for the primary key's, and read all of it. Below, the condition keeps such an index out of other look-ups.
CREATE INDEX idempotency_person ON leadlex.idempotency (person);
COMMENT ON TABLE leadlex.idempotency IS 'Results stored under an idempotency key for 24 hours; the background worker removes older ones.';

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
    contact      uuid,
    former       boolean NOT NULL DEFAULT true,
    PRIMARY KEY (workspace_id, question)
);
-- Empty where no receipt is of the former form: calls do not look for such then.
CREATE INDEX receipt_former ON leadlex.receipt (answered_at) WHERE former;
-- For calls: whether a workspace has any of what contacts' tables refused.
CREATE INDEX receipt_rejection ON leadlex.receipt (workspace_id) WHERE contact IS NOT NULL;
-- For the worker: which hold personal data and are over their time; which can go.
CREATE INDEX receipt_personal ON leadlex.receipt (answered_at) WHERE person IS NOT NULL;
CREATE INDEX receipt_age ON leadlex.receipt (answered_at);
-- For leadlex.forget_contact.
CREATE INDEX receipt_person ON leadlex.receipt (person, workspace_id) WHERE person IS NOT NULL;
CREATE INDEX receipt_contact ON leadlex.receipt (contact, workspace_id) WHERE contact IS NOT NULL;
COMMENT ON TABLE leadlex.receipt IS 'Providers'' answers, kept for leadlex.receipt_ttl; after that only, for leadlex.recheck_after, what they did not have, and what contacts'' tables refused of it. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.receipt.question IS 'hash of workspace, provider, its description and the identifying values';
COMMENT ON COLUMN leadlex.receipt.answered_at IS 'when the answer arrived';
COMMENT ON COLUMN leadlex.receipt.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.receipt.known IS 'hash of all identifying values that were known';
COMMENT ON COLUMN leadlex.receipt.matched IS 'false: no match';
COMMENT ON COLUMN leadlex.receipt.lacking IS 'fields that the provider can supply, and did not';
COMMENT ON COLUMN leadlex.receipt.answer IS 'values and confidence; NULL when there was no match, or after leadlex.receipt_ttl';
COMMENT ON COLUMN leadlex.receipt.person IS 'hash of the contact''s table and key, as long as there is an answer';
COMMENT ON COLUMN leadlex.receipt.former IS 'whether question is a hash of one identifying value alone, as in receipts restored from a dump of 0.2';
COMMENT ON COLUMN leadlex.receipt.contact IS 'hash of the contact''s table and key, where that table refused the values of the fields in lacking; question is then a hash of the question and of this';

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
COMMENT ON COLUMN leadlex.provider_tally.what IS 'calls, matches, no_matches, other_persons (of these, with data of another person than the contact), refusals, skipped, costs_unread, cost, or a kind of failure';

CREATE TABLE leadlex.rate_use (
    id           uuid PRIMARY KEY,
    newest       bigint NOT NULL,
    seconds      integer[] NOT NULL,
    day          bigint NOT NULL,
    day_used     bigint NOT NULL,
    lease        bigint NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadlex.rate_use IS 'What the background worker last recorded of each rate limit''s use. Read leadlex.rate_limit() instead.';
COMMENT ON COLUMN leadlex.rate_use.id IS 'workspace id, or provider id';
COMMENT ON COLUMN leadlex.rate_use.newest IS 'epoch second of the newest counter in seconds[]';
COMMENT ON COLUMN leadlex.rate_use.seconds IS 'uses per second, newest last';
COMMENT ON COLUMN leadlex.rate_use.day IS 'days since 1970-01-01 UTC';
COMMENT ON COLUMN leadlex.rate_use.lease IS 'uses allowed beyond those counted here; after a crash they count as used';

CREATE TABLE leadlex.enrichment (
    workspace_id   uuid NOT NULL,
    request_id     uuid NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    requested_by   name NOT NULL,
    key_prefix     text,
    schema_name    name NOT NULL,
    table_name     name NOT NULL,
    contact_id     text NOT NULL,
    overwrite      boolean NOT NULL,
    source         text NOT NULL,
    confidence     double precision,
    fields_updated text[] NOT NULL,
    field_sources  jsonb NOT NULL,
    old_values     jsonb NOT NULL,
    new_values     jsonb NOT NULL,
    reverted_at    timestamptz,
    reverted_fields text[],
    reverted_times bigint[],
    identity       uuid,
    offered        jsonb,
    answered_at    jsonb,
    PRIMARY KEY (workspace_id, request_id)
);
-- What is known of a contact: for leadlex.enriched and leadlex.forget_contact.
CREATE INDEX enrichment_contact ON leadlex.enrichment (contact_id, workspace_id, created_at);
-- What was written last, or in a time: for whoever reads the history, and for leadlex.usage_daily.
CREATE INDEX enrichment_time ON leadlex.enrichment (created_at);
COMMENT ON TABLE leadlex.enrichment IS 'History: one row for every call that changed a contact. leadlex.revert_enrichment(request_id) takes one back.';
COMMENT ON COLUMN leadlex.enrichment.workspace_id IS 'the workspace that was charged';
COMMENT ON COLUMN leadlex.enrichment.request_id IS 'the call (uuid v7), also in leadlex.credit_ledger';
COMMENT ON COLUMN leadlex.enrichment.created_at IS 'when the contact was written';
COMMENT ON COLUMN leadlex.enrichment.requested_by IS 'the database role that called';
COMMENT ON COLUMN leadlex.enrichment.key_prefix IS 'the API key that it called with, if any';
COMMENT ON COLUMN leadlex.enrichment.schema_name IS 'schema of the contact''s table';
COMMENT ON COLUMN leadlex.enrichment.table_name IS 'the contact''s table';
COMMENT ON COLUMN leadlex.enrichment.contact_id IS 'the contact''s key, as text';
COMMENT ON COLUMN leadlex.enrichment.overwrite IS 'whether the call could replace non-empty fields';
COMMENT ON COLUMN leadlex.enrichment.source IS 'the first provider that supplied a field';
COMMENT ON COLUMN leadlex.enrichment.confidence IS 'its score, 0.0 to 1.0; NULL where it gives none';
COMMENT ON COLUMN leadlex.enrichment.fields_updated IS 'the fields whose stored value changed';
COMMENT ON COLUMN leadlex.enrichment.field_sources IS 'per updated field: provider and score';
COMMENT ON COLUMN leadlex.enrichment.old_values IS 'the updated fields before the call';
COMMENT ON COLUMN leadlex.enrichment.new_values IS 'the updated fields after the call';
COMMENT ON COLUMN leadlex.enrichment.reverted_at IS 'when leadlex.revert_enrichment or leadlex.revert_provider last took something of it back';
COMMENT ON COLUMN leadlex.enrichment.reverted_fields IS 'the fields that were taken back; NULL beside a time in reverted_at: all of them';
COMMENT ON COLUMN leadlex.enrichment.reverted_times IS 'when each of these was, in microseconds since 1970';
COMMENT ON COLUMN leadlex.enrichment.identity IS 'hash of whom the row was about: name, address and company in normal form, and what else identified it before the call';
COMMENT ON COLUMN leadlex.enrichment.answered_at IS 'per updated field when the provider had answered, in microseconds since 1970, where that was before the call; else it was in the call';
COMMENT ON COLUMN leadlex.enrichment.offered IS 'what the provider answered for the updated fields, where the table has stored something else; NULL: it is in new_values';

-- Which database this is. Of what it was copied or restored from, the row comes along.
CREATE TABLE leadlex.home (
    system_identifier bigint NOT NULL,
    database_oid      oid NOT NULL,
    extension_oid     oid NOT NULL,
    since             timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (system_identifier, database_oid, extension_oid)
);
COMMENT ON TABLE leadlex.home IS 'The identity of the database. With a row that is not of this one it is a clone: queue, triggers and ledger are at rest until leadlex.resume_queue().';
COMMENT ON COLUMN leadlex.home.system_identifier IS 'of the cluster, as pg_control_system() tells it';
COMMENT ON COLUMN leadlex.home.database_oid IS 'pg_database.oid';
COMMENT ON COLUMN leadlex.home.extension_oid IS 'pg_extension.oid: another after a restore into the same database';
COMMENT ON COLUMN leadlex.home.since IS 'when it was recorded';
INSERT INTO leadlex.home (system_identifier, database_oid, extension_oid)
    SELECT s.system_identifier, d.oid, e.oid
    FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d, pg_catalog.pg_extension AS e
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich';

-- Which names each e-mail address, profile or telephone number came up with, as hashes. Written by the background worker,
-- of each value one more than leadlex.max_people_per_value allows: then it is shared, and no more is to be known.
CREATE TABLE leadlex.value_name (
    workspace_id uuid NOT NULL,
    value        uuid NOT NULL,
    name         uuid NOT NULL,
    person       uuid NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (value, name)
);
-- For the worker: which can go.
CREATE INDEX value_name_age ON leadlex.value_name (seen_at);
-- For leadlex.forget_contact.
CREATE INDEX value_name_person ON leadlex.value_name (person, workspace_id) WHERE person IS NOT NULL;
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
-- For calls: whether a workspace has any that they look for.
CREATE INDEX shared_value_looked_for ON leadlex.shared_value (workspace_id) WHERE kind OPERATOR(pg_catalog.<>) 'supplied phone'
    AND kind OPERATOR(pg_catalog.<>) 'phone';
COMMENT ON TABLE leadlex.shared_value IS 'Values that more than leadlex.max_people_per_value different names came up with, as hashes. An e-mail address or profile that providers were asked with identifies no longer; an answer with a profile that its provider supplied so often is not written; of a telephone number only leadlex.check() tells. leadlex.allow_shared_value makes one count again.';
COMMENT ON COLUMN leadlex.shared_value.workspace_id IS 'in which workspace';
COMMENT ON COLUMN leadlex.shared_value.value IS 'hash of workspace, kind, provider and value in normal form';
COMMENT ON COLUMN leadlex.shared_value.kind IS 'email, profile or phone: providers were asked with it; supplied profile or supplied phone: one of them answered it';
COMMENT ON COLUMN leadlex.shared_value.provider_id IS 'leadlex.provider_config.id of the provider that supplied it';
COMMENT ON COLUMN leadlex.shared_value.names IS 'different names that it came up with; counted up to one more than is allowed';
COMMENT ON COLUMN leadlex.shared_value.found_at IS 'when the worker found it';
COMMENT ON COLUMN leadlex.shared_value.allowed IS 'true: it counts all the same, by leadlex.allow_shared_value';

-- Nobody looks for rows by these, and to take samples of them costs more than of all others together.
ALTER TABLE leadlex.idempotency ALTER COLUMN result SET STATISTICS 0, ALTER COLUMN request_hash SET STATISTICS 0;
ALTER TABLE leadlex.receipt ALTER COLUMN answer SET STATISTICS 0, ALTER COLUMN lacking SET STATISTICS 0;
ALTER TABLE leadlex.enrichment ALTER COLUMN field_sources SET STATISTICS 0, ALTER COLUMN old_values SET STATISTICS 0,
    ALTER COLUMN new_values SET STATISTICS 0, ALTER COLUMN offered SET STATISTICS 0, ALTER COLUMN answered_at SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('leadlex.workspace', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.credit_balance', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.credit_pending', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.credit_settled', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.api_key', '');
-- Of a role that is gone only its number is left, which may be another role's elsewhere.
SELECT pg_catalog.pg_extension_config_dump('leadlex.access', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) role::pg_catalog.oid)');
SELECT pg_catalog.pg_extension_config_dump('leadlex.bound_table', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.provider_config', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.idempotency', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.rate_use', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.enrichment', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.receipt', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.suppression', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.provider_tally', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.home', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.value_name', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.shared_value', '');
