-- Events, and who is told of them.

ALTER TABLE leadlex.event ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.event FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[])
           OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
           OR (SELECT leadlex.is_administrator()));
REVOKE ALL ON leadlex.event FROM PUBLIC;
GRANT SELECT ON leadlex.event TO PUBLIC;

REVOKE ALL ON leadlex.stopped FROM PUBLIC;
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.stopped
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();

CREATE FUNCTION leadlex.stop(reason text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'stop_requests_wrapper';
COMMENT ON FUNCTION leadlex.stop(text) IS 'Stops everything: from the commit on, within 1 s, no session of this database sends a request to a provider, until leadlex.resume(). What is under way ends. Calls that would have to ask are LX503 with the reason stopped and this text; receipts and stored results still answer; running sets end, and the queue waits. It outlasts restart and crash. Stopped again, it takes the new reason. Errors: 22023 the reason is NULL, blank or longer than 200 characters; 55P03 another transaction has stopped or resumed, and is open; 25006.';
REVOKE ALL ON FUNCTION leadlex.stop(text) FROM PUBLIC;

CREATE FUNCTION leadlex.resume() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'resume_requests_wrapper';
COMMENT ON FUNCTION leadlex.resume() IS 'Ends leadlex.stop(): from the commit on requests are sent again, and the queue goes on. The time in between does not count toward poll_for_s. Does nothing where requests are sent. Errors: 55P03 another transaction has stopped or resumed, and is open; 25006.';
REVOKE ALL ON FUNCTION leadlex.resume() FROM PUBLIC;

ALTER TABLE leadlex.allotment ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.allotment FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[])
           OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
           OR (SELECT leadlex.is_administrator()));
REVOKE ALL ON leadlex.allotment FROM PUBLIC;
GRANT SELECT ON leadlex.allotment TO PUBLIC;

CREATE FUNCTION leadlex.limit_credits(workspace_id uuid, credits bigint) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'limit_credits_wrapper';
COMMENT ON FUNCTION leadlex.limit_credits(uuid, bigint) IS 'Gives a workspace a credit limit, or changes it: the balance becomes so much, by one ledger row with the note limit. NULL takes the limit away, and an allotment with it. Waits for calls under way in that workspace, and calls that begin meanwhile wait for this transaction. Errors: 22023 no such workspace, or credits below 0; 22003 above 10^15; 55000 this very transaction has reserved more than that; 55P03 lock_timeout; 25006.';
REVOKE ALL ON FUNCTION leadlex.limit_credits(uuid, bigint) FROM PUBLIC;

CREATE FUNCTION leadlex.allot_credits(workspace_id uuid, credits bigint, period text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'allot_credits_wrapper';
COMMENT ON FUNCTION leadlex.allot_credits(uuid, bigint, text) IS 'From the next UTC day or month on, the balance of a workspace becomes so much at the start of each, exactly once, also after an outage: what is left over lapses. The present balance stays; see leadlex.limit_credits. A NULL period ends it. Errors: 22023 no such workspace, credits NULL or below 0, another period than day or month; 22003 above 10^15; 55000 the workspace has no credit limit; 25006.';
REVOKE ALL ON FUNCTION leadlex.allot_credits(uuid, bigint, text) FROM PUBLIC;

REVOKE ALL ON leadlex.provider_balance FROM PUBLIC;
CREATE VIEW leadlex.vendor_balance WITH (security_barrier = true) AS
    SELECT p.name AS provider, b.balance, b.at
    FROM leadlex.provider_balance AS b JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) b.provider_id
    WHERE (SELECT leadlex.is_administrator())
       OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
       OR p.workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[]);
COMMENT ON VIEW leadlex.vendor_balance IS 'What is left with vendors, where response.balance of the provider says where an answer tells it. Administrators and pg_monitor see all, granted roles those of the providers of their own workspaces.';
COMMENT ON COLUMN leadlex.vendor_balance.provider IS 'the provider';
COMMENT ON COLUMN leadlex.vendor_balance.balance IS 'in the vendor''s own unit';
COMMENT ON COLUMN leadlex.vendor_balance.at IS 'when an answer last said so';
REVOKE ALL ON leadlex.vendor_balance FROM PUBLIC;
GRANT SELECT ON leadlex.vendor_balance TO PUBLIC;
