-- The server may still run an older library, or none: nothing would work with this schema.
DO LANGUAGE plpgsql $check$
DECLARE
    schema_version CONSTANT text := '@VERSION@';
    library_version CONSTANT text := pg_catalog.current_setting('leadlex.library_version', true);
BEGIN
    IF (pg_catalog.string_to_array(library_version, '.')::pg_catalog.int4[]
        OPERATOR(pg_catalog.>=) pg_catalog.string_to_array(schema_version, '.')::pg_catalog.int4[]) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('the server has not loaded the library of leadlex_enrich %s', schema_version),
            DETAIL = pg_catalog.format('The schema would be of version %s, the loaded library is %s.', schema_version,
                coalesce(library_version, 'none')),
            HINT = 'Install the new library and restart the server, then run ALTER EXTENSION leadlex_enrich UPDATE.';
    END IF;
END
$check$;
