-- For `make bench SCALE=1`: so many roles with access, bound tables and providers, and the next call after a change. A role
-- outlives the database, and may be there.
SELECT format('CREATE ROLE change_%s', n) FROM generate_series(1, :roles) AS n
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'change_' || n) \gexec
SELECT count(leadlex.grant_access('change_' || n, (SELECT id FROM leadlex.workspace WHERE name = 'bench')))
FROM generate_series(1, :roles) AS n;
SELECT format('CREATE TABLE bound_%s (LIKE contact INCLUDING ALL)', n) FROM generate_series(1, :tables) AS n \gexec
SELECT count(leadlex.bind_contacts('bound_' || n, workspace_id => (SELECT id FROM leadlex.workspace WHERE name = 'bench')))
FROM generate_series(1, :tables) AS n;
SELECT count(leadlex.add_provider('other_' || n, preset => 'people_data_labs', secret => 'none', config => jsonb_build_object('request',
    jsonb_build_object('url', :'url')))) FROM generate_series(1, :providers) AS n;
VACUUM ANALYZE;
CREATE PROCEDURE next_call(runs int, INOUT ms float8) LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    took float8;
    whom uuid := (SELECT id FROM contact LIMIT 1);
BEGIN
    FOR n IN 0..runs LOOP
        PERFORM leadlex.alter_provider('fake', config => jsonb_build_object('timeout_ms', 5000 + n));
        COMMIT;
        SET LOCAL ROLE bench;
        begun := clock_timestamp();
        PERFORM enrich_contact(whom);
        took := extract(epoch FROM clock_timestamp() - begun) * 1000;
        RESET ROLE;
        COMMIT;
        -- The first of a session reads all.
        ms := CASE WHEN n > 0 THEN least(ms, took) END;
    END LOOP;
END $$;
