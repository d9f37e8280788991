-- Each of these views with the same columns and without rows, until it is made anew below: no table and no function is held
-- by it meanwhile, and what users granted and built on it stays.
DO LANGUAGE plpgsql $views$
DECLARE
    view pg_catalog.regclass;
    columns pg_catalog.text;
BEGIN
    FOREACH view IN ARRAY ARRAY[@VIEWS@]::pg_catalog.regclass[] LOOP
        columns := (
            SELECT pg_catalog.string_agg(
                pg_catalog.format('NULL::%s%s AS %I', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) t.typcollation
                         THEN pg_catalog.format(' COLLATE %s', a.attcollation::pg_catalog.regcollation) END, a.attname),
                ', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<))
            FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
            WHERE a.attrelid OPERATOR(pg_catalog.=) view AND a.attnum OPERATOR(pg_catalog.>) 0);
        EXECUTE pg_catalog.format('CREATE OR REPLACE VIEW %s AS SELECT %s', view, columns);
    END LOOP;
END
$views$;
