-- Changes that reach the tables without the usual triggers: in sessions with session_replication_role = replica, and on a logical
-- subscriber, where no statement triggers fire at all. What other sessions remember is out of date then, too.

-- A subscriber takes rows one by one, and fires row triggers alone. These fire there and in such sessions, and nowhere else.
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.workspace
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.api_key
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.access
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.bound_table
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.provider_config
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.provider_secret
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.provider_rate
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.budget_limit
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.home
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.queue_pause
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.stopped
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE ON leadlex.undone
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE ON leadlex.suppression
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE ON leadlex.outcome
    FOR EACH ROW EXECUTE FUNCTION leadlex.config_changed();

-- And those for statements in such sessions, too.
ALTER TABLE leadlex.workspace ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.api_key ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.access ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.bound_table ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.provider_config ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.provider_secret ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.provider_rate ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.budget_limit ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.home ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.queue_pause ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.stopped ENABLE ALWAYS TRIGGER config_changed, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.undone ENABLE ALWAYS TRIGGER rows_added, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.suppression ENABLE ALWAYS TRIGGER rows_added, ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.outcome ENABLE ALWAYS TRIGGER rows_added, ENABLE REPLICA TRIGGER replicated;
-- These are row triggers as they are.
ALTER TABLE leadlex.shared_value ENABLE ALWAYS TRIGGER rows_added;
ALTER TABLE leadlex.receipt ENABLE ALWAYS TRIGGER rows_added;

-- The days that such a row belongs to, as leadlex.usage_changed notes them for a statement; each day once a transaction. Where the
-- notes are replicated, too, the publisher has made them. Planned as there.
CREATE FUNCTION leadlex.usage_replicated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $replicated$
DECLARE
    changed jsonb;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS r
               WHERE r.srrelid OPERATOR(pg_catalog.=) 'leadlex.usage_change'::pg_catalog.regclass) THEN
        RETURN NULL;
    END IF;
    FOR changed IN
        SELECT pg_catalog.to_jsonb(OLD) WHERE TG_OP OPERATOR(pg_catalog.<>) 'INSERT'
        UNION ALL SELECT pg_catalog.to_jsonb(NEW) WHERE TG_OP OPERATOR(pg_catalog.<>) 'DELETE'
    LOOP
        INSERT INTO leadlex.usage_change (day, workspace_id, id)
        SELECT d.day, (changed OPERATOR(pg_catalog.->>) 'workspace_id')::pg_catalog.uuid,
               (pg_catalog.md5(pg_catalog.pg_current_xact_id()::pg_catalog.text))::pg_catalog.uuid
        FROM (SELECT (changed OPERATOR(pg_catalog.->>) 'day')::pg_catalog.date
              UNION
              SELECT (pg_catalog.timezone('UTC', (changed OPERATOR(pg_catalog.->>) 'created_at')::pg_catalog.timestamptz))::pg_catalog.date
              UNION
              -- A change of the history changes the day of its charge, too.
              SELECT (pg_catalog.timezone('UTC', s.created_at))::pg_catalog.date FROM leadlex.credit_settled AS s
              WHERE TG_TABLE_NAME OPERATOR(pg_catalog.=) 'enrichment'
                AND s.workspace_id OPERATOR(pg_catalog.=) (changed OPERATOR(pg_catalog.->>) 'workspace_id')::pg_catalog.uuid
                AND s.id OPERATOR(pg_catalog.=) (changed OPERATOR(pg_catalog.->>) 'request_id')::pg_catalog.uuid) AS d(day)
        WHERE d.day IS NOT NULL
        ON CONFLICT (day, workspace_id, id) DO NOTHING;
    END LOOP;
    RETURN NULL;
END
$replicated$;
COMMENT ON FUNCTION leadlex.usage_replicated() IS 'Trigger on history, settled ledger and what is left of pruned history, on a logical subscriber: notes the days of rows that have changed.';
REVOKE ALL ON FUNCTION leadlex.usage_replicated() FROM PUBLIC;

CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.enrichment
    FOR EACH ROW EXECUTE FUNCTION leadlex.usage_replicated();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.credit_settled
    FOR EACH ROW EXECUTE FUNCTION leadlex.usage_replicated();
CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.usage_pruned
    FOR EACH ROW EXECUTE FUNCTION leadlex.usage_replicated();
ALTER TABLE leadlex.enrichment ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.credit_settled ENABLE REPLICA TRIGGER replicated;
ALTER TABLE leadlex.usage_pruned ENABLE REPLICA TRIGGER replicated;
