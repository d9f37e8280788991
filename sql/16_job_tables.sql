-- The tables behind leadlex.job and leadlex.queue. The rules at the head of 10_tables.sql hold here, too.

-- The queue. A row holds up to 500 contacts that share everything, so that a job costs a fraction of a row; after an
-- attempt it is split by what became of them. Rows that wait have next_attempt_at, those that do not have finished_at.
-- The role is kept by name: a dump brings it to clusters in which roles have other numbers.
-- A new column is also copied by COPY_TO_PART of src/pg/store/job_state.rs, and shown by the view leadlex.job (29_job_views.sql).
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
    admitted        boolean NOT NULL DEFAULT false,
    charged         boolean NOT NULL DEFAULT false,
    paid_for        text[],
    priority        integer NOT NULL DEFAULT 0,
    settings        text[],
    failed_providers jsonb,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX job_set_waiting ON leadlex.job_set (role, priority, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
-- Those that can be run together: a worker that has the first does not walk over what waits for other workspaces.
CREATE INDEX job_set_companions ON leadlex.job_set (workspace_id, role, priority, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
-- Whether a contact waits already. To enter many marks takes longer than to write the row: whoever queues has not to wait.
CREATE INDEX job_set_marks ON leadlex.job_set USING gin (marks) WITH (fastupdate = off)
    WHERE state OPERATOR(pg_catalog.=) 'queued' AND marks IS NOT NULL;
CREATE INDEX job_set_unmarked ON leadlex.job_set (role) WHERE state OPERATOR(pg_catalog.=) 'queued' AND marks IS NULL;
CREATE INDEX job_set_open ON leadlex.job_set (role, id) WHERE finished_at IS NULL;
CREATE INDEX job_set_finished ON leadlex.job_set (finished_at) WHERE finished_at IS NOT NULL;
-- For leadlex.forget_contact: which rows name a contact. A worker enters what is finished in portions; a search reads at most so
-- many kilobytes that are not entered yet.
CREATE INDEX job_set_running ON leadlex.job_set (workspace_id) WHERE state OPERATOR(pg_catalog.=) 'running';
CREATE INDEX job_set_contacts ON leadlex.job_set USING gin (contact_ids) WITH (gin_pending_list_limit = 256)
    WHERE state OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'dead']);
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
COMMENT ON COLUMN leadlex.job_set.outcome IS 'of done ones: enriched, unchanged, no_match, or gone (there is no such contact any more); of one that waits for more or was given up: enriched, where something is written by now';
COMMENT ON COLUMN leadlex.job_set.attempts IS 'attempts; a wait for a rate limit, for credits, for an answer that comes later or for a provider that could not be asked does not count';
COMMENT ON COLUMN leadlex.job_set.next_attempt_at IS 'not before; of a running one, when it counts as interrupted';
COMMENT ON COLUMN leadlex.job_set.last_error IS 'why the last attempt failed, or why there was no match, with the reason in brackets at its end, unless that is no_data';
COMMENT ON COLUMN leadlex.job_set.created_at IS 'when it was queued, or given back to the queue by leadlex.retry_jobs after it was dead';
COMMENT ON COLUMN leadlex.job_set.started_at IS 'begin of the last attempt';
COMMENT ON COLUMN leadlex.job_set.finished_at IS 'when it was done or given up';
COMMENT ON COLUMN leadlex.job_set.marks IS 'hashes of the keys, by which a contact that waits is found; NULL: not entered yet';
COMMENT ON COLUMN leadlex.job_set.admitted IS 'it goes on with what a call began, which used an admission of the rate limit: an answer comes later';
COMMENT ON COLUMN leadlex.job_set.charged IS 'a credit was charged for each of its contacts: the rest costs none while it is the same question';
COMMENT ON COLUMN leadlex.job_set.paid_for IS 'for each contact, if charged: hashes of the values that it was asked with';
COMMENT ON COLUMN leadlex.job_set.priority IS 'the lower, the earlier begun';
COMMENT ON COLUMN leadlex.job_set.settings IS 'of what goes on with a call: how that call asked, as name=value; NULL: as the settings of the role say';
COMMENT ON COLUMN leadlex.job_set.failed_providers IS 'while an answer is owed: providers that failed beside it or answer later themselves, why, how often, as what revision of the provider, and the epoch microsecond from which on each may be asked again';
COMMENT ON COLUMN leadlex.job_set.home IS 'system identifier, database oid and extension oid of where it may run: a restore may bring it before leadlex.home';

CREATE TABLE leadlex.queue_pause (
    id        uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    since     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    paused_by name NOT NULL
);
COMMENT ON TABLE leadlex.queue_pause IS 'A row while leadlex.pause_queue() is in force.';
COMMENT ON COLUMN leadlex.queue_pause.id IS 'of the row';
COMMENT ON COLUMN leadlex.queue_pause.since IS 'when it was called';
COMMENT ON COLUMN leadlex.queue_pause.paused_by IS 'the role that called it';

-- To compress them takes longer than to write them, and whoever queues has to wait for it.
ALTER TABLE leadlex.job_set ALTER COLUMN contact_ids SET STATISTICS 0, ALTER COLUMN contact_ids SET STORAGE EXTERNAL,
    ALTER COLUMN places SET STATISTICS 0, ALTER COLUMN marks SET STATISTICS 0;

SELECT pg_catalog.pg_extension_config_dump('leadlex.job_set', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.queue_pause', '');
