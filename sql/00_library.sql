-- An older library may have been loaded when the server started, while these files are new: what it would do with this
-- schema is unknown. (CREATE FUNCTION loads it anyway; without preloading a call says what is missing.)
-- By its bare name, as shared_preload_libraries has it: LOAD looks for '$libdir/...' in one place only, also where the
-- extension was found by extension_control_path (PostgreSQL 18).
LOAD 'leadlex_enrich';
DO LANGUAGE plpgsql $check$
DECLARE
    schema_version CONSTANT text := '0.3.0';
    library_version CONSTANT text := pg_catalog.current_setting('leadlex.library_version', true);
BEGIN
    IF (pg_catalog.string_to_array(library_version, '.')::pg_catalog.int4[]
        OPERATOR(pg_catalog.>=) pg_catalog.string_to_array(schema_version, '.')::pg_catalog.int4[]) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'the server has loaded an older library of leadlex_enrich',
            DETAIL = pg_catalog.format('The schema is of version %s, the loaded library of version %s.',
                schema_version, coalesce(library_version, 'unknown')),
            HINT = 'Install the new library and restart the server, then run CREATE EXTENSION leadlex_enrich.';
    END IF;
END
$check$;
