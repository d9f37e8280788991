-- For `make bench SCALE=1`: a workspace with so many receipts and stored results, of people who are not forgotten, and jobs.
INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, former)
SELECT w.id, gen_random_uuid(), now(), p.id, gen_random_uuid(), true, '{}', '{"values": {"phone": "+15550100100"}}', gen_random_uuid(), false
FROM leadlex.workspace AS w, leadlex.provider_config AS p, generate_series(1, :rows);
INSERT INTO leadlex.idempotency (workspace_id, key, request_hash, result, person)
SELECT id, gen_random_uuid(), '\x00', '{"contact": {"id": "somebody"}}', gen_random_uuid() FROM leadlex.workspace, generate_series(1, :rows);
INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role, authority, fields,
    overwrite, home, state, next_attempt_at, finished_at)
SELECT id, gen_random_uuid(), gen_random_uuid(), 1, ARRAY[gen_random_uuid()::text], 'public', 'contact', 'bench', 'role', '{phone}',
    false, 'elsewhere', 'done', NULL, now() FROM leadlex.workspace, generate_series(1, :rows / 2);
VACUUM ANALYZE;
