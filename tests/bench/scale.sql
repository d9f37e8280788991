-- History for `make bench SCALE=1`: so many rows over the last year, each with its row in the ledger. Six of ten are of one
-- workspace, the others of a thousand; each contact was enriched twice.
CREATE EXTENSION leadlex_enrich;
SELECT count(leadlex.create_workspace('w' || n, plan => 'unmetered')) FROM generate_series(1, 1000) AS n;
CREATE TABLE numbered AS SELECT row_number() OVER (ORDER BY id)::int AS n, id FROM leadlex.workspace;
DO $$
DECLARE
    reader text;
BEGIN
    FOREACH reader IN ARRAY '{scale_reader,scale_small_reader}'::text[] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader) THEN
            EXECUTE format('CREATE ROLE %I', reader);
        END IF;
    END LOOP;
END
$$;
SELECT leadlex.grant_access('scale_reader', id) FROM numbered WHERE n = 1;
SELECT leadlex.grant_access('scale_small_reader', id) FROM numbered WHERE n = 900;
INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id, overwrite,
    source, confidence, fields_updated, field_sources, old_values, new_values)
SELECT w.id, gen_random_uuid(), now() - (:rows - g.n) * (interval '365 days' / :rows), 'scale', 'public', 'contact',
    (g.n::bigint * 7919 % (:rows / 2))::text, false, 'fake', 0.9, '{phone,job_title}',
    '{"phone": {"source": "fake", "confidence": 0.9}, "job_title": {"source": "fake", "confidence": 0.9}}',
    '{"phone": null, "job_title": null}', jsonb_build_object('phone', '+1555' || g.n, 'job_title', 'general counsel')
FROM generate_series(1, :rows) AS g(n)
JOIN numbered AS w ON w.n = CASE WHEN g.n % 10 < 6 THEN 1 ELSE 2 + g.n % 999 END
ORDER BY g.n;
INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
SELECT workspace_id, gen_random_uuid(), -1, request_id, created_at FROM leadlex.enrichment;
VACUUM ANALYZE;
