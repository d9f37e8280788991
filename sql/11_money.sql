-- What was spent, and what may be. Written by the background worker, but for the budgets, which leadlex.set_budget writes.

CREATE TABLE leadlex.spend_day (
    day             date NOT NULL,
    workspace_id    uuid NOT NULL,
    provider        text NOT NULL,
    currency        text NOT NULL,
    role            text NOT NULL,
    requests        bigint NOT NULL DEFAULT 0,
    matches         bigint NOT NULL DEFAULT 0,
    fields_supplied bigint NOT NULL DEFAULT 0,
    fields_used     bigint NOT NULL DEFAULT 0,
    vendor_credits  numeric NOT NULL DEFAULT 0,
    cost            numeric NOT NULL DEFAULT 0,
    unknown         numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (day, workspace_id, provider, currency, role)
);
COMMENT ON TABLE leadlex.spend_day IS 'What each role caused to be spent, per UTC day, workspace and provider. Read leadlex.spend instead.';
COMMENT ON COLUMN leadlex.spend_day.day IS 'the UTC day on which the requests were sent';
COMMENT ON COLUMN leadlex.spend_day.workspace_id IS 'for whom; zeros: leadlex.check_provider';
COMMENT ON COLUMN leadlex.spend_day.currency IS 'of cost; empty where the provider has no price';
COMMENT ON COLUMN leadlex.spend_day.role IS 'who called; empty where a crash has left no more than an amount';
COMMENT ON COLUMN leadlex.spend_day.unknown IS 'what may have been spent besides cost: requests that were sent, and of which no answer is known';

CREATE TABLE leadlex.spend_sum (
    currency     text NOT NULL,
    provider     text NOT NULL,
    workspace_id uuid NOT NULL,
    period       text NOT NULL,
    starts       date NOT NULL,
    used         numeric NOT NULL,
    PRIMARY KEY (currency, provider, workspace_id, period, starts)
);
COMMENT ON TABLE leadlex.spend_sum IS 'Sums of leadlex.spend_day, for budgets: no call adds up days. Read leadlex.budget instead.';
COMMENT ON COLUMN leadlex.spend_sum.provider IS 'empty: all together';
COMMENT ON COLUMN leadlex.spend_sum.workspace_id IS 'ffffffff-ffff-ffff-ffff-ffffffffffff: all together';
COMMENT ON COLUMN leadlex.spend_sum.period IS 'day, month or total';
COMMENT ON COLUMN leadlex.spend_sum.starts IS 'its first day; 1970-01-01 for total';
COMMENT ON COLUMN leadlex.spend_sum.used IS 'what was spent, and what may have been';

CREATE TABLE leadlex.spend_lease (
    currency     text NOT NULL,
    provider     text NOT NULL,
    workspace_id uuid NOT NULL,
    day          date NOT NULL,
    amount       numeric NOT NULL,
    life         bigint NOT NULL,
    opened_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (currency, provider, workspace_id)
);
COMMENT ON TABLE leadlex.spend_lease IS 'What may be spent before the worker writes again. What a crash leaves of it counts as spent. Read leadlex.budget instead.';
COMMENT ON COLUMN leadlex.spend_lease.day IS 'the day on which it counts after a crash';
COMMENT ON COLUMN leadlex.spend_lease.amount IS 'so much, besides what leadlex.spend_day has';
COMMENT ON COLUMN leadlex.spend_lease.opened_at IS 'since when there is one without a break';
COMMENT ON COLUMN leadlex.spend_lease.life IS 'tells one life of the server''s shared memory from the next';

CREATE TABLE leadlex.spend_hold (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    provider     text NOT NULL,
    currency     text NOT NULL,
    amount       numeric NOT NULL,
    day          date NOT NULL,
    over_at      timestamptz,
    polls        numeric NOT NULL DEFAULT 0
);
COMMENT ON TABLE leadlex.spend_hold IS 'What vendors may still bill for questions that were handed in and are not answered yet: it counts against budgets. Read leadlex.budget instead.';
COMMENT ON COLUMN leadlex.spend_hold.id IS 'the question''s row of leadlex.ticket has it, too';
COMMENT ON COLUMN leadlex.spend_hold.amount IS 'the most that the answer can cost';
COMMENT ON COLUMN leadlex.spend_hold.day IS 'the UTC day on which it was handed in: it counts there where it is given up';
COMMENT ON COLUMN leadlex.spend_hold.polls IS 'the most that asking for it can cost: what other requests leave of a budget';
COMMENT ON COLUMN leadlex.spend_hold.over_at IS 'since when there is nothing left to ask for; soon it counts as spent';

CREATE TABLE leadlex.spend_reported (
    currency text NOT NULL,
    provider text NOT NULL,
    credits  numeric NOT NULL,
    PRIMARY KEY (currency, provider)
);
COMMENT ON TABLE leadlex.spend_reported IS 'The most credits that one answer of a provider has reported: above most_credits of its price it is passed over where a budget concerns it.';
COMMENT ON COLUMN leadlex.spend_reported.credits IS 'the vendor''s own units';

CREATE TABLE leadlex.budget_limit (
    provider     text NOT NULL,
    period       text NOT NULL CHECK (period OPERATOR(pg_catalog.=) ANY (ARRAY['day', 'month', 'total']::text[])),
    workspace_id uuid NOT NULL,
    currency     text NOT NULL,
    amount       numeric NOT NULL CHECK (amount OPERATOR(pg_catalog.>=) 0),
    changed_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (provider, period, workspace_id, currency)
);
COMMENT ON TABLE leadlex.budget_limit IS 'Budgets as leadlex.set_budget has set them. Read leadlex.budget instead.';
COMMENT ON COLUMN leadlex.budget_limit.provider IS 'empty: all together';
COMMENT ON COLUMN leadlex.budget_limit.changed_at IS 'requests that were sent before could have been admitted by another amount';
COMMENT ON COLUMN leadlex.budget_limit.workspace_id IS 'ffffffff-ffff-ffff-ffff-ffffffffffff: all together';

CREATE TABLE leadlex.provider_field_tally (
    provider_id  uuid NOT NULL,
    workspace_id uuid NOT NULL,
    field        text NOT NULL,
    currency     text NOT NULL,
    asked        bigint NOT NULL,
    supplied     bigint NOT NULL,
    used         bigint NOT NULL,
    reverted     bigint NOT NULL,
    lost         bigint NOT NULL,
    cost         numeric NOT NULL,
    PRIMARY KEY (provider_id, workspace_id, field, currency)
);
COMMENT ON TABLE leadlex.provider_field_tally IS 'What each provider''s answers were worth, since it was added. Read leadlex.provider_quality instead.';
COMMENT ON COLUMN leadlex.provider_field_tally.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.provider_field_tally.workspace_id IS 'ffffffff-ffff-ffff-ffff-ffffffffffff: all together, without their currencies';
COMMENT ON COLUMN leadlex.provider_field_tally.field IS 'empty: asked are its answers, and supplied those with data';
COMMENT ON COLUMN leadlex.provider_field_tally.currency IS 'empty where it had no price';
COMMENT ON COLUMN leadlex.provider_field_tally.lost IS 'of used: taken back, or replaced by a later enrichment';
COMMENT ON COLUMN leadlex.provider_field_tally.cost IS 'what requests for the field have cost; of one for several fields, each has an equal part';

-- Not in dumps: it follows from the table above. A change makes every session read it anew.
CREATE TABLE leadlex.provider_rate (
    provider_id uuid PRIMARY KEY,
    answers     bigint NOT NULL,
    matches     bigint NOT NULL,
    others      bigint NOT NULL,
    fields      jsonb NOT NULL
);
COMMENT ON TABLE leadlex.provider_rate IS 'Hit rates by which leadlex.waterfall = cheapest goes, as sessions know them.';
COMMENT ON COLUMN leadlex.provider_rate.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.provider_rate.others IS 'answers with data of another person than the contact, which are billed like a match';
COMMENT ON COLUMN leadlex.provider_rate.fields IS 'by field how many answers it was asked of, and how many supplied it';

SELECT pg_catalog.pg_extension_config_dump('leadlex.provider_field_tally', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.spend_day', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.spend_sum', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.spend_lease', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.spend_hold', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.spend_reported', '');
SELECT pg_catalog.pg_extension_config_dump('leadlex.budget_limit', '');

REVOKE ALL ON leadlex.provider_field_tally, leadlex.provider_rate, leadlex.spend_day, leadlex.spend_sum, leadlex.spend_lease, leadlex.spend_hold, leadlex.spend_reported, leadlex.budget_limit FROM PUBLIC;
