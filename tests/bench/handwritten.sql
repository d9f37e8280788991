-- The hand-written alternative, in the schema of one HTTP client: the same steps (idempotency, credit check, contact,
-- request, update, charge, record) in PL/pgSQL. enrich_lock_first locks the balance before the request, so that no
-- credit is overspent and calls of a workspace queue up; enrich_lock_last takes it afterwards, and may pay the vendor in vain.
SET search_path = :rival, public;
SET SESSION AUTHORIZATION bench;

CREATE TABLE workspace (id uuid PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO workspace VALUES ('11111111-1111-1111-1111-111111111111', 100000000);
CREATE TABLE contact (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), workspace_id uuid, full_name text, email text, job_title text,
    company_name text, linkedin_url text, phone text, location text, seniority text
);
INSERT INTO contact (workspace_id, full_name, email)
SELECT '11111111-1111-1111-1111-111111111111', 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, :contacts) AS g;
CREATE TABLE ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workspace_id uuid, amount int, contact_id uuid,
    at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE idem (
    workspace_id uuid, key uuid, response jsonb, created_at timestamptz DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace_id, key)
);
CREATE TABLE turns AS SELECT row_number() OVER () AS n, id FROM contact;
CREATE UNIQUE INDEX ON turns (n);
CREATE SEQUENCE turn CACHE 1;

CREATE FUNCTION fill(p uuid, d jsonb) RETURNS contact LANGUAGE sql AS $$
    UPDATE contact SET
        job_title = coalesce(nullif(job_title, ''), d ->> 'job_title'),
        company_name = coalesce(nullif(company_name, ''), d ->> 'job_company_name'),
        linkedin_url = coalesce(nullif(linkedin_url, ''), d ->> 'linkedin_url'),
        phone = coalesce(nullif(phone, ''), d ->> 'mobile_phone'),
        location = coalesce(nullif(location, ''), d ->> 'location_name'),
        seniority = coalesce(nullif(seniority, ''), d #>> '{job_title_levels,0}')
    WHERE id = p RETURNING *
$$;

CREATE FUNCTION enrich_lock_first(p uuid, url text, k uuid DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    w uuid := '11111111-1111-1111-1111-111111111111';
    b bigint; d jsonb; c contact; resp jsonb;
BEGIN
    IF k IS NOT NULL THEN
        INSERT INTO idem (workspace_id, key) VALUES (w, k) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN SELECT response INTO resp FROM idem WHERE workspace_id = w AND key = k; RETURN resp; END IF;
    END IF;
    SELECT balance INTO b FROM workspace WHERE id = w FOR UPDATE;
    IF b <= 0 THEN RAISE EXCEPTION 'insufficient_credits'; END IF;
    SELECT * INTO c FROM contact WHERE id = p AND workspace_id = w FOR UPDATE;
    IF NOT FOUND THEN RAISE EXCEPTION 'not_found'; END IF;
    d := http_body(url, c.email)::jsonb -> 'data';
    c := fill(p, d);
    UPDATE workspace SET balance = balance - 1 WHERE id = w RETURNING balance INTO b;
    INSERT INTO ledger (workspace_id, amount, contact_id) VALUES (w, -1, p);
    resp := jsonb_build_object('contact', to_jsonb(c), 'source', 'vendor_a', 'confidence', 0.9, 'credits_remaining', b);
    IF k IS NOT NULL THEN UPDATE idem SET response = resp WHERE workspace_id = w AND key = k; END IF;
    RETURN resp;
END $$;

CREATE FUNCTION enrich_lock_last(p uuid, url text, k uuid DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    w uuid := '11111111-1111-1111-1111-111111111111';
    b bigint; d jsonb; c contact; resp jsonb;
BEGIN
    IF k IS NOT NULL THEN
        INSERT INTO idem (workspace_id, key) VALUES (w, k) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN SELECT response INTO resp FROM idem WHERE workspace_id = w AND key = k; RETURN resp; END IF;
    END IF;
    SELECT balance INTO b FROM workspace WHERE id = w;
    IF b <= 0 THEN RAISE EXCEPTION 'insufficient_credits'; END IF;
    SELECT * INTO c FROM contact WHERE id = p AND workspace_id = w FOR UPDATE;
    IF NOT FOUND THEN RAISE EXCEPTION 'not_found'; END IF;
    d := http_body(url, c.email)::jsonb -> 'data';
    c := fill(p, d);
    UPDATE workspace SET balance = balance - 1 WHERE id = w AND balance > 0 RETURNING balance INTO b;
    IF NOT FOUND THEN RAISE EXCEPTION 'insufficient_credits'; END IF;
    INSERT INTO ledger (workspace_id, amount, contact_id) VALUES (w, -1, p);
    resp := jsonb_build_object('contact', to_jsonb(c), 'source', 'vendor_a', 'confidence', 0.9, 'credits_remaining', b);
    IF k IS NOT NULL THEN UPDATE idem SET response = resp WHERE workspace_id = w AND key = k; END IF;
    RETURN resp;
END $$;

RESET SESSION AUTHORIZATION;
VACUUM ANALYZE;
