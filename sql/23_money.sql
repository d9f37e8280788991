-- What was spent, what may be spent, and what it was worth.

CREATE FUNCTION leadlex.set_budget(
    provider text,
    period text,
    amount numeric,
    workspace_id uuid DEFAULT NULL,
    currency text DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_budget_wrapper';
COMMENT ON FUNCTION leadlex.set_budget(text, text, numeric, uuid, text) IS 'Sets what may be spent: amount in a day, month (both UTC) or total; amount NULL takes the budget away. provider NULL: all together; workspace_id NULL: all workspaces together, leadlex.check_provider included; currency NULL: the one currency of the prices of the providers concerned. Before a request the most that it can cost is kept free in every budget that concerns it, else the provider is passed over (reason budget; no_price where it has no price in the currency, of which a WARNING tells). Errors: 22023, 40001.';
REVOKE ALL ON FUNCTION leadlex.set_budget(text, text, numeric, uuid, text) FROM PUBLIC;

CREATE FUNCTION leadlex.budget_report() RETURNS TABLE (provider text, period text, workspace_id uuid, currency text, amount text, used text, remaining text, resets_at timestamptz, state text, kept_for_polls text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'budget_report_wrapper';
COMMENT ON FUNCTION leadlex.budget_report() IS 'Behind leadlex.budget.';
REVOKE ALL ON FUNCTION leadlex.budget_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.budget_report() TO PUBLIC;

CREATE FUNCTION leadlex.estimate_cost(
    relation regclass,
    ids text[],
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false
) RETURNS TABLE (provider text, requests_least bigint, requests_most bigint, requests_expected numeric, cost_least numeric, cost_most numeric, cost_expected numeric, currency text, budget_remaining numeric)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 5
AS 'MODULE_PATHNAME', 'estimate_cost_wrapper';
COMMENT ON FUNCTION leadlex.estimate_cost(regclass, text[], text[], boolean) IS 'What a batch over these contacts would cost if it began now, asking no provider and writing nothing: one row for each enabled provider, in the order of the waterfall. requests_*: requests, polls and logins left out. least: where each answer ends the waterfall for the least; most: where each costs the most; expected: by the provider''s own hit rate since it was added (a half before its first answer). Costs and currency are NULL without a price; budget_remaining is the least that is left for new requests of a budget that concerns it, NULL without one. Errors: LX400, LX401, LX403, 42501, 55000.';
REVOKE ALL ON FUNCTION leadlex.estimate_cost(regclass, text[], text[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.estimate_cost(regclass, text[], text[], boolean) TO PUBLIC;

CREATE VIEW leadlex.budget WITH (security_barrier = true) AS
    SELECT b.provider, b.period, b.workspace_id, b.currency, b.amount::pg_catalog.numeric AS amount,
           b.used::pg_catalog.numeric AS used, b.remaining::pg_catalog.numeric AS remaining, b.resets_at,
           b.kept_for_polls::pg_catalog.numeric AS kept_for_polls
    FROM leadlex.budget_report() AS b;
COMMENT ON VIEW leadlex.budget IS 'Budgets, and what is left of them now. Administrators and pg_monitor see all, others those of their own workspaces.';
COMMENT ON COLUMN leadlex.budget.provider IS 'whose requests count; NULL: all together';
COMMENT ON COLUMN leadlex.budget.period IS 'day, month (both UTC) or total';
COMMENT ON COLUMN leadlex.budget.workspace_id IS 'whose requests count; NULL: all workspaces together, and leadlex.check_provider';
COMMENT ON COLUMN leadlex.budget.currency IS 'of the amounts';
COMMENT ON COLUMN leadlex.budget.amount IS 'as leadlex.set_budget has it';
COMMENT ON COLUMN leadlex.budget.used IS 'what was spent in this period, what may have been (requests whose answer never came, a crash), and what requests under way, and questions that were handed in and are not answered yet, can cost at most';
COMMENT ON COLUMN leadlex.budget.remaining IS 'what is left of the amount less used: a request that asks something new may cost that less kept_for_polls';
COMMENT ON COLUMN leadlex.budget.resets_at IS 'when the period is over; NULL for total';
COMMENT ON COLUMN leadlex.budget.kept_for_polls IS 'of remaining, what only requests may use that ask for answers which are owed: per_request for up to 60 polls of each question that was handed in';

-- Run with the owner's rights, as the rows are private; whose they are is looked at here.
CREATE VIEW leadlex.spend_by_role WITH (security_barrier = true) AS
    SELECT s.day, s.workspace_id, s.provider, s.currency, s.role, s.requests, s.matches, s.fields_supplied, s.fields_used,
           s.vendor_credits, s.cost
    FROM (
        SELECT d.day, d.workspace_id, d.provider, CASE WHEN d.currency OPERATOR(pg_catalog.<>) '' THEN d.currency END AS currency, d.role, d.requests, d.matches,
               d.fields_supplied, d.fields_used, pg_catalog.trim_scale(d.vendor_credits) AS vendor_credits,
               CASE WHEN d.currency OPERATOR(pg_catalog.<>) '' THEN pg_catalog.trim_scale(d.cost) END AS cost
        FROM leadlex.spend_day AS d
        WHERE d.role OPERATOR(pg_catalog.<>) ''
        UNION ALL
        SELECT d.day, d.workspace_id, d.provider, d.currency, CASE WHEN d.role OPERATOR(pg_catalog.<>) '' THEN d.role END, NULL, NULL, NULL, NULL, NULL,
               pg_catalog.trim_scale(d.unknown)
        FROM leadlex.spend_day AS d
        WHERE d.unknown OPERATOR(pg_catalog.>) 0) AS s
    WHERE (SELECT leadlex.is_administrator())
       OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
       OR s.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]);
COMMENT ON VIEW leadlex.spend_by_role IS 'leadlex.spend for each database role.';
COMMENT ON COLUMN leadlex.spend_by_role.day IS 'the UTC day on which the requests were sent';
COMMENT ON COLUMN leadlex.spend_by_role.workspace_id IS 'for whom; zeros: leadlex.check_provider';
COMMENT ON COLUMN leadlex.spend_by_role.provider IS 'the provider';
COMMENT ON COLUMN leadlex.spend_by_role.currency IS 'of cost; NULL where the provider has no price';
COMMENT ON COLUMN leadlex.spend_by_role.role IS 'the role that called; of a queued job the one that queued it; NULL where a crash has left no more than an amount';
COMMENT ON COLUMN leadlex.spend_by_role.requests IS 'as in leadlex.spend';
COMMENT ON COLUMN leadlex.spend_by_role.matches IS 'as in leadlex.spend';
COMMENT ON COLUMN leadlex.spend_by_role.fields_supplied IS 'as in leadlex.spend';
COMMENT ON COLUMN leadlex.spend_by_role.fields_used IS 'as in leadlex.spend';
COMMENT ON COLUMN leadlex.spend_by_role.vendor_credits IS 'as in leadlex.spend';
COMMENT ON COLUMN leadlex.spend_by_role.cost IS 'as in leadlex.spend';

CREATE VIEW leadlex.spend WITH (security_barrier = true) AS
    SELECT s.day, s.workspace_id, s.provider, s.currency, pg_catalog.sum(s.requests)::pg_catalog.int8 AS requests,
           pg_catalog.sum(s.matches)::pg_catalog.int8 AS matches,
           pg_catalog.sum(s.fields_supplied)::pg_catalog.int8 AS fields_supplied,
           pg_catalog.sum(s.fields_used)::pg_catalog.int8 AS fields_used,
           pg_catalog.sum(s.vendor_credits) AS vendor_credits, pg_catalog.sum(s.cost) AS cost
    FROM leadlex.spend_by_role AS s
    GROUP BY s.day, s.workspace_id, s.provider, s.currency, s.requests IS NULL;
COMMENT ON VIEW leadlex.spend IS 'What was spent, per UTC day, workspace and provider: all that a vendor can bill, rolled back or not. A request shows within a second. A row without requests is what may have been spent besides: a crash came before it was written down, or no answer came. Administrators and pg_monitor see all, others their own workspaces.';
COMMENT ON COLUMN leadlex.spend.day IS 'the UTC day on which the requests were sent';
COMMENT ON COLUMN leadlex.spend.workspace_id IS 'for whom; zeros: leadlex.check_provider';
COMMENT ON COLUMN leadlex.spend.provider IS 'the provider';
COMMENT ON COLUMN leadlex.spend.currency IS 'of cost; NULL where the provider has no price';
COMMENT ON COLUMN leadlex.spend.requests IS 'requests sent, answered or not; steps, polls and logins included; NULL: not known how many';
COMMENT ON COLUMN leadlex.spend.matches IS 'answers with data that the vendor bills, also those about another person';
COMMENT ON COLUMN leadlex.spend.fields_supplied IS 'fields in these';
COMMENT ON COLUMN leadlex.spend.fields_used IS 'fields that were written, on the day on which they were';
COMMENT ON COLUMN leadlex.spend.vendor_credits IS 'what answers have reported (response.cost), in the vendor''s unit';
COMMENT ON COLUMN leadlex.spend.cost IS 'by the provider''s price; NULL without one';

CREATE VIEW leadlex.provider_quality WITH (security_barrier = true) AS
    SELECT q.workspace_id, p.name AS provider, q.field, CASE WHEN q.currency OPERATOR(pg_catalog.<>) '' THEN q.currency END AS currency, q.asked, q.supplied, q.used,
           greatest(q.used OPERATOR(pg_catalog.-) q.lost, 0) AS kept, q.reverted,
           CASE WHEN q.asked OPERATOR(pg_catalog.>) 0
                THEN pg_catalog.round(q.supplied::pg_catalog.numeric OPERATOR(pg_catalog./) q.asked::pg_catalog.numeric, 4) END AS hit_rate,
           CASE WHEN q.currency OPERATOR(pg_catalog.<>) '' AND q.used OPERATOR(pg_catalog.>) 0
                THEN pg_catalog.trim_scale(pg_catalog.round(q.cost OPERATOR(pg_catalog./) q.used::pg_catalog.numeric, 6)) END AS cost_per_used
    FROM leadlex.provider_field_tally AS q
    JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) q.provider_id
    WHERE q.field OPERATOR(pg_catalog.<>) '' AND q.workspace_id OPERATOR(pg_catalog.<>) 'ffffffff-ffff-ffff-ffff-ffffffffffff'
      AND ((SELECT leadlex.is_administrator())
           OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
           OR q.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]));
COMMENT ON VIEW leadlex.provider_quality IS 'What each provider''s answers were worth in each workspace, by field, since the provider was added: kept within a second by the background worker, whatever becomes of the history. Administrators and pg_monitor see all, others their own workspaces.';
COMMENT ON COLUMN leadlex.provider_quality.workspace_id IS 'for whom it was asked';
COMMENT ON COLUMN leadlex.provider_quality.provider IS 'the provider';
COMMENT ON COLUMN leadlex.provider_quality.field IS 'the field';
COMMENT ON COLUMN leadlex.provider_quality.currency IS 'of its price at that time; NULL without one';
COMMENT ON COLUMN leadlex.provider_quality.asked IS 'answers, with data or without, of requests that were sent for the field; of one about several contacts, for a field that one of them lacks';
COMMENT ON COLUMN leadlex.provider_quality.supplied IS 'of these, answers with a value';
COMMENT ON COLUMN leadlex.provider_quality.used IS 'values that were written, from receipts too';
COMMENT ON COLUMN leadlex.provider_quality.kept IS 'of these, neither taken back nor replaced by a later enrichment';
COMMENT ON COLUMN leadlex.provider_quality.reverted IS 'of these, taken back by leadlex.revert_enrichment or leadlex.revert_provider';
COMMENT ON COLUMN leadlex.provider_quality.hit_rate IS 'supplied / asked; NULL where nothing was asked';
COMMENT ON COLUMN leadlex.provider_quality.cost_per_used IS 'what requests for the field have cost, by each value that was written; a request for several fields costs each an equal part. NULL without a price, and where nothing was used';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.provider_rate
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.budget_limit
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();

REVOKE ALL ON leadlex.budget, leadlex.spend_by_role, leadlex.spend, leadlex.provider_quality FROM PUBLIC;
GRANT SELECT ON leadlex.budget, leadlex.spend_by_role, leadlex.spend, leadlex.provider_quality TO PUBLIC;
