-- Who erased what is held on a person, and what is left of history that was pruned. The rules at the head of 10_tables.sql hold here, too.

CREATE TABLE leadlex.erasure (
    id           uuid PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    by           name NOT NULL,
    workspace_id uuid NOT NULL,
    relation     text NOT NULL,
    counts       jsonb NOT NULL
);
COMMENT ON TABLE leadlex.erasure IS 'That something was erased by leadlex.forget_contact or leadlex.forget_row: one row for each workspace in which something was, without a word on whom. Granted roles see those of their workspaces.';
COMMENT ON COLUMN leadlex.erasure.id IS 'the erasure (uuid v7, so ordered by time)';
COMMENT ON COLUMN leadlex.erasure.at IS 'when';
COMMENT ON COLUMN leadlex.erasure.by IS 'the database role that called';
COMMENT ON COLUMN leadlex.erasure.workspace_id IS 'in which workspace';
COMMENT ON COLUMN leadlex.erasure.relation IS 'the contact''s table';
COMMENT ON COLUMN leadlex.erasure.counts IS 'how many rows of each kind, as the function returned them';

CREATE TABLE leadlex.usage_pruned (
    workspace_id      uuid NOT NULL,
    day               date NOT NULL,
    source            text NOT NULL,
    contacts_enriched bigint NOT NULL,
    fields_filled     bigint NOT NULL,
    credits_spent     bigint NOT NULL,
    credits_reverted  bigint NOT NULL,
    PRIMARY KEY (workspace_id, day, source)
);
-- For sums of one day, see 14_usage.sql.
CREATE INDEX usage_pruned_day ON leadlex.usage_pruned (day);
COMMENT ON TABLE leadlex.usage_pruned IS 'What history that was pruned adds to leadlex.usage_daily. Written by the background worker. Read that instead.';
COMMENT ON COLUMN leadlex.usage_pruned.workspace_id IS 'who spent';
COMMENT ON COLUMN leadlex.usage_pruned.day IS 'the day, from midnight to midnight UTC';
COMMENT ON COLUMN leadlex.usage_pruned.contacts_enriched IS 'as in leadlex.usage_daily, of what was pruned';
COMMENT ON COLUMN leadlex.usage_pruned.fields_filled IS 'the same';
COMMENT ON COLUMN leadlex.usage_pruned.credits_spent IS 'the same';
COMMENT ON COLUMN leadlex.usage_pruned.credits_reverted IS 'the same';
COMMENT ON COLUMN leadlex.usage_pruned.source IS 'the provider; empty: less credits without a source, as their charges have one here';

SELECT pg_catalog.pg_extension_config_dump('leadlex.erasure', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.usage_pruned', '');
