-- What administrators are told of by itself. Written by the background worker, never on the path of a call. Not in dumps: what
-- happened here has not happened where a dump is restored.

CREATE TABLE leadlex.event (
    id           uuid PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    event        text NOT NULL,
    workspace_id uuid,
    provider     text,
    detail       jsonb NOT NULL
);
COMMENT ON TABLE leadlex.event IS 'The last 1,000 events: what happened that an administrator may have to act on. Each is also a line in the server log, and NOTIFY leadlex with {"event": …, "id": …}. At most one a minute for each kind and workspace or provider. Granted roles see those of their workspaces; administrators and pg_monitor see all.';
COMMENT ON COLUMN leadlex.event.id IS 'the event (uuid v7, so ordered by time), also in the notification';
COMMENT ON COLUMN leadlex.event.at IS 'when it was told: within 2 s of when it happened, or up to a minute later, as one of its kind was told shortly before';
COMMENT ON COLUMN leadlex.event.event IS 'credits_low, credits_out, budget_low, budget_out, provider_paused, provider_back, vendor_balance_low, jobs_dead, stopped, resumed, shared_value';
COMMENT ON COLUMN leadlex.event.workspace_id IS 'which workspace it is about; NULL = none, or all';
COMMENT ON COLUMN leadlex.event.provider IS 'which provider it is about, by name; NULL = none';
COMMENT ON COLUMN leadlex.event.detail IS 'more of it, such as credits, cause, jobs; names no person';

-- Not in dumps: a database that is restored spends nothing by itself, see leadlex.home.
CREATE TABLE leadlex.stopped (
    id         uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    since      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    stopped_by name NOT NULL,
    reason     text NOT NULL
);
COMMENT ON TABLE leadlex.stopped IS 'A row while leadlex.stop() is in force. Read leadlex.status or leadlex.queue instead.';
COMMENT ON COLUMN leadlex.stopped.id IS 'of the row';
COMMENT ON COLUMN leadlex.stopped.since IS 'when it was called';
COMMENT ON COLUMN leadlex.stopped.stopped_by IS 'the role that called it last';
COMMENT ON COLUMN leadlex.stopped.reason IS 'as given to leadlex.stop; callers are told';

CREATE TABLE leadlex.allotment (
    workspace_id uuid PRIMARY KEY,
    credits      bigint NOT NULL CHECK (credits OPERATOR(pg_catalog.>=) 0),
    period       text NOT NULL CHECK (period OPERATOR(pg_catalog.=) ANY (ARRAY['day', 'month'])),
    made_for     timestamptz NOT NULL,
    since        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadlex.allotment IS 'Workspaces whose balance becomes so much at the start of each UTC day or month: leadlex.allot_credits. Granted roles see those of their workspaces.';
COMMENT ON COLUMN leadlex.allotment.workspace_id IS 'whose credits';
COMMENT ON COLUMN leadlex.allotment.credits IS 'what the balance becomes';
COMMENT ON COLUMN leadlex.allotment.period IS 'day or month, from midnight UTC';
COMMENT ON COLUMN leadlex.allotment.made_for IS 'start of the last period for which it was made, or in which it was set';
COMMENT ON COLUMN leadlex.allotment.since IS 'when leadlex.allot_credits set it';
SELECT pg_catalog.pg_extension_config_dump('leadlex.allotment', '');

-- Not in dumps: the next answer says it again.
CREATE TABLE leadlex.provider_balance (
    provider_id uuid PRIMARY KEY REFERENCES leadlex.provider_config (id) ON UPDATE CASCADE ON DELETE CASCADE,
    balance     double precision NOT NULL,
    at          timestamptz NOT NULL
);
COMMENT ON TABLE leadlex.provider_balance IS 'What is left with vendors. Read leadlex.vendor_balance instead.';
COMMENT ON COLUMN leadlex.provider_balance.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.provider_balance.balance IS 'in the vendor''s own unit';
COMMENT ON COLUMN leadlex.provider_balance.at IS 'when an answer last said so';
