-- From 0.1.0 to 0.2.0. What this makes must equal what a fresh install of 0.2.0 makes: tests/cluster/upgrade.rs compares
-- the catalogs. Never IF NOT EXISTS, never CREATE OR REPLACE of what is not known to be a member of the extension.

-- The server may still run an older library, or none: nothing would work with this schema.
DO LANGUAGE plpgsql $check$
DECLARE
    schema_version CONSTANT text := '0.2.0';
    library_version CONSTANT text := pg_catalog.current_setting('leadlex.library_version', true);
BEGIN
    IF (pg_catalog.string_to_array(library_version, '.')::pg_catalog.int4[]
        OPERATOR(pg_catalog.>=) pg_catalog.string_to_array(schema_version, '.')::pg_catalog.int4[]) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('the server has not loaded the library of leadlex_enrich %s', schema_version),
            DETAIL = pg_catalog.format('The schema would be of version %s, the loaded library is %s.', schema_version,
                coalesce(library_version, 'none, or 0.1.0')),
            HINT = 'Install the new library and restart the server, then run ALTER EXTENSION leadlex_enrich UPDATE.';
    END IF;
END
$check$;

-- Last: calls its trigger, so that every session looks again, and the worker, too.
UPDATE leadlex.workspace SET name = name WHERE false;
