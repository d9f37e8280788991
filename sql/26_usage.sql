-- leadlex.usage_daily: the sums of days that are over, and what is not summed.

CREATE FUNCTION leadlex.usage_waits() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'usage_waits_wrapper';
COMMENT ON FUNCTION leadlex.usage_waits() IS 'Trigger on leadlex.usage_change: once the transaction commits, the worker looks for days to sum.';
REVOKE ALL ON FUNCTION leadlex.usage_waits() FROM PUBLIC;
-- A day that is not over is not summed yet: settling today's charges gives the worker nothing more to do.
CREATE TRIGGER usage_waits AFTER INSERT ON leadlex.usage_change
    FOR EACH ROW WHEN (NEW.day OPERATOR(pg_catalog.<) (pg_catalog.timezone('UTC', pg_catalog.clock_timestamp()))::pg_catalog.date)
    EXECUTE FUNCTION leadlex.usage_waits();

-- A charge has the id of its call. It is looked up by that, which is the primary key: no other condition lets a plan without
-- statistics, as after a load or a restore, read all of a workspace's ledger for each row.

-- Statement triggers with the rows that a statement has changed. Days are noted also where they are not over: the transaction may
-- commit when they are. A change of the history changes the day of its charge, too.
-- A session keeps its plans. On a table that is empty when they are made the planner would choose to read all of it, for each
-- row of the set that fills it then.
CREATE FUNCTION leadlex.usage_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $changed$
BEGIN
    -- Where the notes are replicated, too, the publisher has made them.
    IF pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
       AND EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS r
                   WHERE r.srrelid OPERATOR(pg_catalog.=) 'leadlex.usage_change'::pg_catalog.regclass) THEN
        RETURN NULL;
    END IF;
    IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
        INSERT INTO leadlex.usage_change (day, workspace_id) SELECT DISTINCT s.day, s.workspace_id FROM leadlex.usage_day AS s;
    ELSIF TG_TABLE_NAME OPERATOR(pg_catalog.=) 'usage_pruned' AND TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
        INSERT INTO leadlex.usage_change (day, workspace_id) SELECT DISTINCT o.day, o.workspace_id FROM were AS o;
    ELSIF TG_TABLE_NAME OPERATOR(pg_catalog.=) 'usage_pruned' THEN
        INSERT INTO leadlex.usage_change (day, workspace_id) SELECT DISTINCT n.day, n.workspace_id FROM are AS n;
    ELSIF TG_TABLE_NAME OPERATOR(pg_catalog.=) 'enrichment' AND TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        -- Where a charge is pending, that is enough. OFFSET: looked up one by one, whatever else is pending.
        INSERT INTO leadlex.usage_change (day, workspace_id)
        SELECT d.day, n.workspace_id FROM are AS n, LATERAL (
            SELECT n.created_at UNION ALL
            SELECT s.created_at FROM leadlex.credit_settled AS s
            WHERE s.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND s.id OPERATOR(pg_catalog.=) n.request_id OFFSET 0) AS t(at),
            LATERAL (SELECT (pg_catalog.timezone('UTC', t.at))::pg_catalog.date) AS d(day)
        WHERE NOT EXISTS (
            SELECT FROM leadlex.credit_pending AS q
            WHERE q.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND q.id OPERATOR(pg_catalog.=) n.request_id OFFSET 0)
        GROUP BY d.day, n.workspace_id;
    ELSIF TG_TABLE_NAME OPERATOR(pg_catalog.=) 'enrichment' THEN
        INSERT INTO leadlex.usage_change (day, workspace_id)
        SELECT d.day, o.workspace_id FROM were AS o, LATERAL (
            SELECT o.created_at UNION ALL
            SELECT s.created_at FROM leadlex.credit_settled AS s
            WHERE s.workspace_id OPERATOR(pg_catalog.=) o.workspace_id AND s.id OPERATOR(pg_catalog.=) o.request_id OFFSET 0) AS t(at),
            LATERAL (SELECT (pg_catalog.timezone('UTC', t.at))::pg_catalog.date) AS d(day)
        GROUP BY d.day, o.workspace_id;
        IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
            INSERT INTO leadlex.usage_change (day, workspace_id)
            SELECT d.day, n.workspace_id FROM are AS n, LATERAL (
            SELECT n.created_at UNION ALL
            SELECT s.created_at FROM leadlex.credit_settled AS s
            WHERE s.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND s.id OPERATOR(pg_catalog.=) n.request_id OFFSET 0) AS t(at),
            LATERAL (SELECT (pg_catalog.timezone('UTC', t.at))::pg_catalog.date) AS d(day)
            GROUP BY d.day, n.workspace_id;
        END IF;
    ELSE
        IF TG_OP OPERATOR(pg_catalog.<>) 'DELETE' THEN
            INSERT INTO leadlex.usage_change (day, workspace_id)
            SELECT DISTINCT (pg_catalog.timezone('UTC', n.created_at))::pg_catalog.date, n.workspace_id FROM are AS n;
        END IF;
        IF TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN
            INSERT INTO leadlex.usage_change (day, workspace_id)
            SELECT DISTINCT (pg_catalog.timezone('UTC', o.created_at))::pg_catalog.date, o.workspace_id FROM were AS o;
        END IF;
    END IF;
    RETURN NULL;
END
$changed$;
COMMENT ON FUNCTION leadlex.usage_changed() IS 'Trigger on history, settled ledger and what is left of pruned history: notes the days in which rows have changed.';
REVOKE ALL ON FUNCTION leadlex.usage_changed() FROM PUBLIC;

-- The name of the first is known to heap_insert.rs: the rows that it inserts have charges that are pending.
CREATE TRIGGER usage_inserted AFTER INSERT ON leadlex.enrichment REFERENCING NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_updated AFTER UPDATE ON leadlex.enrichment REFERENCING OLD TABLE AS were NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_deleted AFTER DELETE ON leadlex.enrichment REFERENCING OLD TABLE AS were
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_truncated AFTER TRUNCATE ON leadlex.enrichment
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_inserted AFTER INSERT ON leadlex.credit_settled REFERENCING NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_updated AFTER UPDATE ON leadlex.credit_settled REFERENCING OLD TABLE AS were NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_deleted AFTER DELETE ON leadlex.credit_settled REFERENCING OLD TABLE AS were
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_truncated AFTER TRUNCATE ON leadlex.credit_settled
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_inserted AFTER INSERT ON leadlex.usage_pruned REFERENCING NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_updated AFTER UPDATE ON leadlex.usage_pruned REFERENCING OLD TABLE AS were NEW TABLE AS are
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_deleted AFTER DELETE ON leadlex.usage_pruned REFERENCING OLD TABLE AS were
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();
CREATE TRIGGER usage_truncated AFTER TRUNCATE ON leadlex.usage_pruned
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_changed();

-- Also in sessions that replicate, or that a superuser has told to fire no triggers: what they take back or erase counts.
ALTER TABLE leadlex.usage_change ENABLE ALWAYS TRIGGER usage_waits;
ALTER TABLE leadlex.enrichment ENABLE ALWAYS TRIGGER usage_inserted, ENABLE ALWAYS TRIGGER usage_updated,
    ENABLE ALWAYS TRIGGER usage_deleted, ENABLE ALWAYS TRIGGER usage_truncated;
ALTER TABLE leadlex.credit_settled ENABLE ALWAYS TRIGGER usage_inserted, ENABLE ALWAYS TRIGGER usage_updated,
    ENABLE ALWAYS TRIGGER usage_deleted, ENABLE ALWAYS TRIGGER usage_truncated;
ALTER TABLE leadlex.usage_pruned ENABLE ALWAYS TRIGGER usage_inserted, ENABLE ALWAYS TRIGGER usage_updated,
    ENABLE ALWAYS TRIGGER usage_deleted, ENABLE ALWAYS TRIGGER usage_truncated;

-- As far as the caller sees workspaces: the sums of the others' do not matter to him, and when something of theirs has changed neither.
CREATE FUNCTION leadlex.usage_open(OUT since date, OUT days date[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $open$
    SELECT b.since,
           ARRAY(SELECT c.day FROM leadlex.usage_change AS c
                 WHERE c.day OPERATOR(pg_catalog.<) b.since
                 UNION
                 SELECT (pg_catalog.timezone('UTC', p.created_at))::pg_catalog.date FROM leadlex.credit_pending AS p
                 WHERE p.created_at OPERATOR(pg_catalog.<) pg_catalog.timezone('UTC', b.since::pg_catalog.timestamp))
    -- Who may read no workspace has nothing to add up, and is not to read all rows for that.
    FROM (SELECT coalesce(pg_catalog.max(m.before), (SELECT (CASE WHEN pg_catalog.cardinality(leadlex.my_workspaces()) OPERATOR(pg_catalog.>) 0
                                                                  THEN '-infinity' ELSE 'infinity' END)::pg_catalog.date)) AS since
          FROM leadlex.usage_mark AS m) AS b
    -- 55000 in a schema of another version than the library's.
    WHERE leadlex.is_administrator() IS NOT NULL
$open$;
COMMENT ON FUNCTION leadlex.usage_open() IS 'Which days of the caller''s workspaces are not summed in leadlex.usage_day: those from since on, and days before.';
REVOKE ALL ON FUNCTION leadlex.usage_open() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.usage_open() TO PUBLIC;

-- Credits come from the ledger, which nothing takes away, and what they were spent on from the history, from which a
-- contact can be erased: what is left of that is a charge without a source. What the queue filled in later, of a call that
-- had been charged, is a history without a charge. What was pruned has left its sums, so that nothing changes: they count as of the
-- begin of their day.
-- Planned for the times that are given: their rows are few, and found by the index, or they are most of the table.
CREATE FUNCTION leadlex.usage_between(since timestamptz, before timestamptz)
RETURNS TABLE (day date, workspace_id uuid, source text, contacts bigint, fields bigint, credits bigint, reverted bigint)
-- Compiling takes longer than what it saves: the rows of a day are few.
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $between$
BEGIN
    -- 55000 in a schema of another version than the library's.
    PERFORM leadlex.is_administrator();
    RETURN QUERY EXECUTE $query$
        SELECT a.day, a.workspace_id, a.source, pg_catalog.sum(a.contacts)::pg_catalog.int8, pg_catalog.sum(a.fields)::pg_catalog.int8,
               pg_catalog.sum(a.credits)::pg_catalog.int8, pg_catalog.sum(a.reverted)::pg_catalog.int8
        FROM (
        SELECT (pg_catalog.timezone('UTC', c.counted_at))::pg_catalog.date AS day, c.workspace_id, p.source,
               pg_catalog.count(DISTINCT ROW(c.schema_name, c.table_name, c.contact_id)) FILTER (WHERE p.fields OPERATOR(pg_catalog.>) 0) AS contacts,
               pg_catalog.sum(p.fields) AS fields, pg_catalog.sum(p.credits) AS credits,
               pg_catalog.count(*) FILTER (WHERE p.credits OPERATOR(pg_catalog.>) 0 AND c.reverted_at IS NOT NULL) AS reverted
        FROM (
            -- Charges and history of that time, side by side: a full join is never a loop over one of them. Few have the other half in
            -- another time or none at all, and these alone are looked up: a key that is NULL finds nothing without a look.
            SELECT coalesce(l.created_at, h.created_at) AS counted_at, coalesce(l.workspace_id, h.workspace_id) AS workspace_id,
                   CASE WHEN l.id IS NULL THEN 0 ELSE 1 END AS credits,
                   coalesce(h.schema_name, e.schema_name) AS schema_name, coalesce(h.table_name, e.table_name) AS table_name,
                   coalesce(h.contact_id, e.contact_id) AS contact_id, coalesce(h.source, e.source) AS source,
                   coalesce(h.field_sources, e.field_sources) AS field_sources, coalesce(h.reverted_at, e.reverted_at) AS reverted_at,
                   l.id IS NULL AND EXISTS (
                       SELECT FROM leadlex.credit_settled AS s
                       WHERE s.workspace_id OPERATOR(pg_catalog.=) h.workspace_id
                         AND s.id OPERATOR(pg_catalog.=) (CASE WHEN l.id IS NULL THEN h.request_id END) AND s.amount OPERATOR(pg_catalog.=) -1 OFFSET 0)
                   OR l.id IS NULL AND EXISTS (
                       SELECT FROM leadlex.credit_pending AS q
                       WHERE q.workspace_id OPERATOR(pg_catalog.=) h.workspace_id AND q.id OPERATOR(pg_catalog.=) (CASE WHEN l.id IS NULL THEN h.request_id END) AND q.amount OPERATOR(pg_catalog.=) -1 OFFSET 0) AS is_charged_elsewhere
            FROM (SELECT g.id, g.workspace_id, g.request_id, g.created_at FROM leadlex.credit_ledger AS g
                  WHERE g.amount OPERATOR(pg_catalog.=) -1 AND g.note IS NULL
                    AND g.created_at OPERATOR(pg_catalog.>=) $1 AND g.created_at OPERATOR(pg_catalog.<) $2) AS l
            FULL JOIN (SELECT r.workspace_id, r.request_id, r.created_at, r.schema_name, r.table_name, r.contact_id, r.source, r.field_sources, r.reverted_at
                       FROM leadlex.enrichment AS r
                       WHERE r.created_at OPERATOR(pg_catalog.>=) $1 AND r.created_at OPERATOR(pg_catalog.<) $2) AS h
                   ON h.request_id OPERATOR(pg_catalog.=) l.request_id AND h.workspace_id OPERATOR(pg_catalog.=) l.workspace_id
            LEFT JOIN LATERAL (
                   SELECT o.schema_name, o.table_name, o.contact_id, o.source, o.field_sources, o.reverted_at
                   FROM leadlex.enrichment AS o
                   WHERE o.workspace_id OPERATOR(pg_catalog.=) l.workspace_id
                     AND o.request_id OPERATOR(pg_catalog.=) (CASE WHEN h.request_id IS NULL THEN l.request_id END) OFFSET 0) AS e ON true) AS c
        CROSS JOIN LATERAL (
            SELECT c.source, c.credits, 0 AS fields
            UNION ALL
            SELECT f.value OPERATOR(pg_catalog.->>) 'source', 0, 1 FROM pg_catalog.jsonb_each(c.field_sources) AS f) AS p
        WHERE NOT c.is_charged_elsewhere
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT o.day, o.workspace_id, CASE WHEN o.source OPERATOR(pg_catalog.<>) '' THEN o.source END,
               o.contacts_enriched, o.fields_filled, o.credits_spent, o.credits_reverted
        FROM leadlex.usage_pruned AS o
        WHERE o.day OPERATOR(pg_catalog.>=) (pg_catalog.timezone('UTC', $1))::pg_catalog.date
          AND pg_catalog.timezone('UTC', o.day::pg_catalog.timestamp) OPERATOR(pg_catalog.>=) $1
          AND o.day OPERATOR(pg_catalog.<=) (pg_catalog.timezone('UTC', $2))::pg_catalog.date
          AND pg_catalog.timezone('UTC', o.day::pg_catalog.timestamp) OPERATOR(pg_catalog.<) $2) AS a
        GROUP BY a.day, a.workspace_id, a.source
        HAVING a.source IS NOT NULL OR pg_catalog.sum(a.credits) OPERATOR(pg_catalog.<>) 0
            OR pg_catalog.sum(a.fields) OPERATOR(pg_catalog.<>) 0
    $query$ USING since, before;
END
$between$;
COMMENT ON FUNCTION leadlex.usage_between(timestamptz, timestamptz) IS 'Usage by UTC day, workspace and provider, of what was charged or written from since to before (exclusive), as far as the caller reads history and ledger.';
REVOKE ALL ON FUNCTION leadlex.usage_between(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.usage_between(timestamptz, timestamptz) TO PUBLIC;

CREATE FUNCTION leadlex.usage_unsummed()
RETURNS TABLE (day date, workspace_id uuid, source text, contacts bigint, fields bigint, credits bigint, reverted bigint)
LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp AS $unsummed$
DECLARE
    todo CONSTANT record := leadlex.usage_open();
    one date;
BEGIN
    FOREACH one IN ARRAY todo.days LOOP
        RETURN QUERY SELECT u.* FROM leadlex.usage_between(
            pg_catalog.timezone('UTC', one::pg_catalog.timestamp), pg_catalog.timezone('UTC', (one OPERATOR(pg_catalog.+) 1)::pg_catalog.timestamp)) AS u;
    END LOOP;
    RETURN QUERY SELECT u.* FROM leadlex.usage_between(pg_catalog.timezone('UTC', todo.since::pg_catalog.timestamp), 'infinity') AS u;
END
$unsummed$;
COMMENT ON FUNCTION leadlex.usage_unsummed() IS 'What leadlex.usage_daily shows of days that are not summed: today, and days before that have changed.';
REVOKE ALL ON FUNCTION leadlex.usage_unsummed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.usage_unsummed() TO PUBLIC;
