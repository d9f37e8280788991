-- Sums of usage of the UTC days that are over, so that leadlex.usage_daily adds up today alone. They are exact in every snapshot,
-- whatever the clock says, and however late a transaction commits:
--   1. What changes history, settled ledger or what is left of pruned history notes the days, in the same transaction, in
--      leadlex.usage_change. Who reads adds up a noted day by himself, until the worker has summed it anew.
--   2. A call that is charged notes nothing: its row of leadlex.credit_pending does. Who reads adds up a day with such a row by
--      himself, and the worker notes the day in the transaction that settles the row.
-- The worker takes the notes of a day before it sums the day, with a later snapshot: what it does not see has a note of its own.

CREATE TABLE leadlex.usage_day (
    workspace_id uuid NOT NULL,
    day          date NOT NULL,
    source       text NOT NULL,
    contacts     bigint NOT NULL,
    fields       bigint NOT NULL,
    credits      bigint NOT NULL,
    reverted     bigint NOT NULL,
    PRIMARY KEY (workspace_id, day, source)
);
-- For the worker, which does one day anew.
CREATE INDEX usage_day_day ON leadlex.usage_day (day);
COMMENT ON TABLE leadlex.usage_day IS 'Usage of the days that are over, summed by the worker. Read leadlex.usage_daily instead.';
COMMENT ON COLUMN leadlex.usage_day.workspace_id IS 'who spent';
COMMENT ON COLUMN leadlex.usage_day.day IS 'the day, from midnight to midnight UTC';
COMMENT ON COLUMN leadlex.usage_day.source IS 'the provider; empty: the contact was forgotten, and with it who supplied what';
COMMENT ON COLUMN leadlex.usage_day.contacts IS 'different contacts of which it filled a field';
COMMENT ON COLUMN leadlex.usage_day.fields IS 'fields that it filled or replaced';
COMMENT ON COLUMN leadlex.usage_day.credits IS 'credits charged for calls of which it is the source';
COMMENT ON COLUMN leadlex.usage_day.reverted IS 'of these, for calls that were taken back';

CREATE TABLE leadlex.usage_change (
    day          date NOT NULL,
    workspace_id uuid NOT NULL,
    id           uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    PRIMARY KEY (day, workspace_id, id)
);
COMMENT ON TABLE leadlex.usage_change IS 'Days whose history or ledger has changed, perhaps since they were summed.';
COMMENT ON COLUMN leadlex.usage_change.day IS 'the UTC day';
COMMENT ON COLUMN leadlex.usage_change.workspace_id IS 'whose history or ledger';
COMMENT ON COLUMN leadlex.usage_change.id IS 'of the row: who changes the same day has not to wait';

CREATE TABLE leadlex.usage_mark (
    mark   text PRIMARY KEY CHECK (mark OPERATOR(pg_catalog.=) 'summed'),
    before date NOT NULL
);
COMMENT ON TABLE leadlex.usage_mark IS 'Which days are summed in leadlex.usage_day.';
COMMENT ON COLUMN leadlex.usage_mark.mark IS 'summed: the worker has summed the days before';
COMMENT ON COLUMN leadlex.usage_mark.before IS 'the first UTC day that is not';
INSERT INTO leadlex.usage_mark (mark, before) VALUES ('summed', '-infinity');

-- None of these is in dumps: the worker sums the days again.

REVOKE ALL ON leadlex.usage_day, leadlex.usage_change, leadlex.usage_mark FROM PUBLIC;
