-- Tables about the quality of what was written. The rules at the head of 10_tables.sql hold here, too.

-- What leadlex.revert_enrichment and leadlex.revert_provider took back. A call looks for rows of its contact alone.
CREATE TABLE leadlex.undone (
    workspace_id uuid NOT NULL,
    contact      uuid NOT NULL,
    provider_id  uuid NOT NULL,
    field        text NOT NULL,
    value        uuid NOT NULL,
    identity     uuid,
    undone_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (workspace_id, contact, provider_id, field, value)
);
-- For the worker: which are over their time.
CREATE INDEX undone_age ON leadlex.undone (undone_at);
-- For leadlex.forget_contact: in which workspaces. The condition keeps it out of other look-ups, see leadlex.idempotency.
CREATE INDEX undone_contact ON leadlex.undone (contact, workspace_id) WHERE contact IS NOT NULL;
COMMENT ON TABLE leadlex.undone IS 'Values that were taken back, as hashes, for leadlex.recheck_after: the provider is not asked for them again, and the same value is not written again. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.undone.workspace_id IS 'in which workspace';
COMMENT ON COLUMN leadlex.undone.contact IS 'hash of the contact''s table and key';
COMMENT ON COLUMN leadlex.undone.provider_id IS 'leadlex.provider_config.id of the provider that supplied the value';
COMMENT ON COLUMN leadlex.undone.field IS 'the field';
COMMENT ON COLUMN leadlex.undone.value IS 'hash of workspace, provider, field and value in normal form';
COMMENT ON COLUMN leadlex.undone.identity IS 'leadlex.enrichment.identity: of a contact that has become another person the provider is asked; NULL: not known';
COMMENT ON COLUMN leadlex.undone.undone_at IS 'when it was taken back';

-- Of what calls did not write: what they wrote has its times in the history.
CREATE TABLE leadlex.checked (
    workspace_id uuid NOT NULL,
    contact_id   text NOT NULL,
    schema_name  name NOT NULL,
    table_name   name NOT NULL,
    field        text NOT NULL,
    verified_at  timestamptz,
    checked_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, contact_id, schema_name, table_name, field)
);
COMMENT ON TABLE leadlex.checked IS 'When values that an enrichment wrote were asked about again. Read leadlex.enriched instead.';
COMMENT ON COLUMN leadlex.checked.workspace_id IS 'the workspace that asked';
COMMENT ON COLUMN leadlex.checked.contact_id IS 'the contact''s key, as text';
COMMENT ON COLUMN leadlex.checked.schema_name IS 'schema of the contact''s table';
COMMENT ON COLUMN leadlex.checked.table_name IS 'the contact''s table';
COMMENT ON COLUMN leadlex.checked.field IS 'the field';
COMMENT ON COLUMN leadlex.checked.verified_at IS 'when a provider last answered with the value that stood there; NULL: none has';
COMMENT ON COLUMN leadlex.checked.checked_at IS 'when a provider was last asked';

-- Written by the background worker, so that an error of the call takes nothing away.
CREATE TABLE leadlex.outcome (
    workspace_id uuid NOT NULL,
    contact      uuid NOT NULL,
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    contact_id   text NOT NULL,
    at           timestamptz NOT NULL,
    status       text NOT NULL,
    error_code   text,
    reason       text,
    providers    jsonb,
    PRIMARY KEY (workspace_id, contact)
);
-- For the worker: which are over their time.
CREATE INDEX outcome_age ON leadlex.outcome (at);
-- For leadlex.forget_contact: in which workspaces. The condition keeps it out of other look-ups, see leadlex.idempotency.
CREATE INDEX outcome_contact ON leadlex.outcome (contact, workspace_id) WHERE contact IS NOT NULL;
COMMENT ON TABLE leadlex.outcome IS 'Why contacts were not enriched. Read leadlex.last_outcome instead.';
COMMENT ON COLUMN leadlex.outcome.workspace_id IS 'for whom it was asked';
COMMENT ON COLUMN leadlex.outcome.contact IS 'hash of the contact''s table and key';
COMMENT ON COLUMN leadlex.outcome.schema_name IS 'schema of the contact''s table';
COMMENT ON COLUMN leadlex.outcome.table_name IS 'the contact''s table';
COMMENT ON COLUMN leadlex.outcome.contact_id IS 'the contact''s key, as text';
COMMENT ON COLUMN leadlex.outcome.at IS 'when';
COMMENT ON COLUMN leadlex.outcome.status IS 'no_match, pending or failed';
COMMENT ON COLUMN leadlex.outcome.error_code IS 'as in the result of a call, or an SQLSTATE';
COMMENT ON COLUMN leadlex.outcome.reason IS 'as in DETAIL of a single call';
COMMENT ON COLUMN leadlex.outcome.providers IS 'as in DETAIL: each provider with why it had nothing';

SELECT pg_catalog.pg_extension_config_dump('leadlex.undone', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.checked', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.outcome', '');
