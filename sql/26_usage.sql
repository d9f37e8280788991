-- leadlex.usage_daily: the sums of days that are over, and what is not summed.

CREATE FUNCTION leadlex.usage_waits() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'usage_waits_wrapper';
COMMENT ON FUNCTION leadlex.usage_waits() IS 'Trigger on leadlex.usage_change: once the transaction commits, the worker looks for days to sum.';
REVOKE ALL ON FUNCTION leadlex.usage_waits() FROM PUBLIC;
CREATE TRIGGER usage_waits AFTER INSERT ON leadlex.usage_change
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_waits();

-- Statement triggers with the rows that a statement has changed. A call writes rows of today, of which nothing is noted.
CREATE FUNCTION leadlex.usage_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $changed$
DECLARE
    today CONSTANT timestamptz := pg_catalog.timezone('UTC', pg_catalog.date_trunc('day', pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())));
    days date[];
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
        days := ARRAY(SELECT DISTINCT s.day FROM leadlex.usage_day AS s);
    ELSIF TG_TABLE_NAME OPERATOR(pg_catalog.=) 'usage_pruned' THEN
        -- One expression each: both are read as a whole, and a statement has no more rows than its trigger names.
        IF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
            days := ARRAY(SELECT DISTINCT o.day FROM were AS o);
        ELSE
            days := ARRAY(SELECT DISTINCT n.day FROM are AS n);
        END IF;
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
        days := ARRAY(SELECT DISTINCT (pg_catalog.timezone('UTC', o.created_at))::pg_catalog.date FROM were AS o WHERE o.created_at OPERATOR(pg_catalog.<) today);
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        days := ARRAY(SELECT (pg_catalog.timezone('UTC', o.created_at))::pg_catalog.date FROM were AS o WHERE o.created_at OPERATOR(pg_catalog.<) today
                      UNION
                      SELECT (pg_catalog.timezone('UTC', n.created_at))::pg_catalog.date FROM are AS n WHERE n.created_at OPERATOR(pg_catalog.<) today);
    ELSE
        days := ARRAY(SELECT DISTINCT (pg_catalog.timezone('UTC', n.created_at))::pg_catalog.date FROM are AS n WHERE n.created_at OPERATOR(pg_catalog.<) today);
    END IF;
    -- The worker is called for each statement that notes something, also one without rows.
    IF pg_catalog.cardinality(days) OPERATOR(pg_catalog.>) 0 THEN
        INSERT INTO leadlex.usage_change (day) SELECT d.day FROM pg_catalog.unnest(days) AS d(day);
    END IF;
    RETURN NULL;
END
$changed$;
COMMENT ON FUNCTION leadlex.usage_changed() IS 'Trigger on history, ledger and what is left of pruned history: notes the days that are over in which rows have changed.';
REVOKE ALL ON FUNCTION leadlex.usage_changed() FROM PUBLIC;

-- The name of the first is known to heap_insert.rs: the rows that it inserts are of today.
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

-- As the owner: whose rows they are that have changed a day does not matter, and of them no more than the day is told.
CREATE FUNCTION leadlex.usage_open(OUT since date, OUT days date[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $open$
    SELECT b.since,
           ARRAY(SELECT c.day FROM leadlex.usage_change AS c
                 WHERE c.day OPERATOR(pg_catalog.<) b.since
                 UNION
                 SELECT (pg_catalog.timezone('UTC', p.created_at))::pg_catalog.date FROM leadlex.credit_pending AS p
                 WHERE p.created_at OPERATOR(pg_catalog.<) pg_catalog.timezone('UTC', b.since::pg_catalog.timestamp))
    FROM (SELECT coalesce(pg_catalog.max(m.before), '-infinity') AS since FROM leadlex.usage_mark AS m) AS b
    -- 55000 in a schema of another version than the library's.
    WHERE leadlex.is_administrator() IS NOT NULL
$open$;
COMMENT ON FUNCTION leadlex.usage_open() IS 'Which days are not summed in leadlex.usage_day: those from since on, and days before.';
REVOKE ALL ON FUNCTION leadlex.usage_open() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.usage_open() TO PUBLIC;

-- Credits come from the ledger, which nothing takes away, and what they were spent on from the history, from which a
-- contact can be erased: what is left of that is a charge without a source. What the queue filled in later, of a call that
-- had been charged, is a history without a charge. What was pruned has left its sums, so that nothing changes: they count as of the
-- begin of their day.
-- Planned for the times that are given: their rows are few, and found by the index, or they are most of the table.
CREATE FUNCTION leadlex.usage_between(since timestamptz, before timestamptz)
RETURNS TABLE (day date, workspace_id uuid, source text, contacts bigint, fields bigint, credits bigint, reverted bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $between$
BEGIN
    -- 55000 in a schema of another version than the library's.
    PERFORM leadlex.is_administrator();
    RETURN QUERY EXECUTE $query$
        SELECT a.day, a.workspace_id, a.source, pg_catalog.sum(a.contacts)::pg_catalog.int8, pg_catalog.sum(a.fields)::pg_catalog.int8,
               pg_catalog.sum(a.credits)::pg_catalog.int8, pg_catalog.sum(a.reverted)::pg_catalog.int8
        FROM (
        SELECT (pg_catalog.timezone('UTC', c.created_at))::pg_catalog.date AS day, c.workspace_id, p.source,
               pg_catalog.count(DISTINCT ROW(e.schema_name, e.table_name, e.contact_id)) FILTER (WHERE p.fields OPERATOR(pg_catalog.>) 0) AS contacts,
               pg_catalog.sum(p.fields) AS fields, pg_catalog.sum(p.credits) AS credits,
               pg_catalog.count(*) FILTER (WHERE p.credits OPERATOR(pg_catalog.>) 0 AND e.reverted_at IS NOT NULL) AS reverted
        FROM (
            SELECT l.workspace_id, l.request_id, l.created_at, 1 AS credits
            FROM leadlex.credit_ledger AS l
            WHERE l.amount OPERATOR(pg_catalog.=) -1 AND l.note IS NULL
              AND l.created_at OPERATOR(pg_catalog.>=) $1 AND l.created_at OPERATOR(pg_catalog.<) $2
            UNION ALL
            SELECT r.workspace_id, r.request_id, r.created_at, 0
            FROM leadlex.enrichment AS r
            WHERE r.created_at OPERATOR(pg_catalog.>=) $1 AND r.created_at OPERATOR(pg_catalog.<) $2
              AND NOT EXISTS (
                SELECT FROM leadlex.credit_settled AS s
                WHERE s.request_id OPERATOR(pg_catalog.=) r.request_id AND s.workspace_id OPERATOR(pg_catalog.=) r.workspace_id
                  AND s.amount OPERATOR(pg_catalog.=) -1)
              AND NOT EXISTS (
                SELECT FROM leadlex.credit_pending AS q
                WHERE q.request_id OPERATOR(pg_catalog.=) r.request_id AND q.workspace_id OPERATOR(pg_catalog.=) r.workspace_id
                  AND q.amount OPERATOR(pg_catalog.=) -1)) AS c
        LEFT JOIN leadlex.enrichment AS e
               ON e.workspace_id OPERATOR(pg_catalog.=) c.workspace_id AND e.request_id OPERATOR(pg_catalog.=) c.request_id
        CROSS JOIN LATERAL (
            SELECT e.source, c.credits, 0 AS fields
            UNION ALL
            SELECT f.value OPERATOR(pg_catalog.->>) 'source', 0, 1 FROM pg_catalog.jsonb_each(e.field_sources) AS f) AS p
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
