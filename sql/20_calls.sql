-- The calls. They check who is calling themselves, so everybody may execute them.

CREATE FUNCTION @extschema@.enrich_contact(
    contact_id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_contact_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_contact(uuid, text[], boolean, uuid) IS 'Fills in a contact of the first bound table from the paid providers, in this transaction. fields: which of job_title, company_name, linkedin_url, phone, location, seniority (NULL = all). overwrite: also replace non-empty fields. idempotency_key: the same key within 24 hours returns the stored result. Costs 1 credit when a field changed. Errors: LX400 arguments, LX401 no identity, LX402 no credit, LX403 permission, LX404 no such contact, LX409 no match, LX422 key reused, LX429 rate limit, LX503 provider unavailable, 25006 read-only, 55000 not set up.';
REVOKE ALL ON FUNCTION @extschema@.enrich_contact(uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_contact(uuid, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_contact(
    contact_id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_contact_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_contact(uuid, text[], boolean, uuid) IS 'enrich_contact, but an LX error is returned as {"error": {code, status, message, retryable, ...}} instead of raised.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_contact(uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_contact(uuid, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_row(
    relation regclass,
    id text,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_row_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_row(regclass, text, text[], boolean, uuid) IS 'enrich_contact for any bound table and any key type: id is the key as text. Errors: LX400 arguments, LX401 no identity, LX402 no credit, LX403 permission, LX404 no such contact, LX409 no match, LX422 key reused, LX429 rate limit, LX503 provider unavailable, 25006 read-only, 55000 not set up.';
REVOKE ALL ON FUNCTION @extschema@.enrich_row(regclass, text, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_row(regclass, text, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_row(
    relation regclass,
    id text,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_row_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_row(regclass, text, text[], boolean, uuid) IS 'enrich_row, but an LX error is returned as {"error": {code, status, message, retryable, ...}} instead of raised.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_row(regclass, text, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_row(regclass, text, text[], boolean, uuid) TO PUBLIC;

-- The key as drivers bind it. What has no type (a literal, an untyped parameter) stays text.

CREATE FUNCTION @extschema@.enrich_row(
    relation regclass,
    id bigint,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_row_bigint_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) IS 'enrich_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_row(regclass, bigint, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.enrich_row(
    relation regclass,
    id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'enrich_row_uuid_wrapper';
COMMENT ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) IS 'enrich_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.enrich_row(regclass, uuid, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_row(
    relation regclass,
    id bigint,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_row_bigint_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) IS 'try_enrich_row with the key as an integer, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_row(regclass, bigint, text[], boolean, uuid) TO PUBLIC;

CREATE FUNCTION @extschema@.try_enrich_row(
    relation regclass,
    id uuid,
    fields text[] DEFAULT NULL,
    overwrite boolean DEFAULT false,
    idempotency_key uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'try_enrich_row_uuid_wrapper';
COMMENT ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) IS 'try_enrich_row with the key as a uuid, as drivers bind it.';
REVOKE ALL ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.try_enrich_row(regclass, uuid, text[], boolean, uuid) TO PUBLIC;
