-- A workspace that works (role busy), one that is out of credits (broke) and one that is over its rate limit (limited),
-- each with a table of its own.
SELECT leadlex.alter_provider('fake', config => jsonb_build_object('request', jsonb_build_object('url', :'slow_url')));
SELECT format($make$
    CREATE ROLE %1$I LOGIN;
    GRANT CREATE ON DATABASE bench TO %1$I;
    SET SESSION AUTHORIZATION %1$I;
    CREATE SCHEMA %1$I;
    CREATE TABLE %1$I.contact (
        id int PRIMARY KEY, full_name text, email text, job_title text, company_name text, linkedin_url text,
        phone text, location text, seniority text
    );
    INSERT INTO %1$I.contact (id, full_name, email)
    SELECT g, 'P ' || g, 'p' || g || '@acme.example' FROM generate_series(1, 20000) AS g;
    CREATE SEQUENCE %1$I.turn CACHE 1 MAXVALUE 20000 CYCLE;
    RESET SESSION AUTHORIZATION;
    SELECT leadlex.grant_access(%1$L, leadlex.create_workspace(%1$L, credits => %2$L, plan => %3$L));
    SELECT leadlex.bind_contacts('%1$I.contact', workspace_id => (SELECT id FROM leadlex.workspace WHERE name = %1$L));
$make$, role, credits, plan)
FROM (VALUES ('busy', 1000000, 'unmetered'), ('broke', 0, 'unmetered'), ('limited', 1000000, 'starter')) AS v (role, credits, plan)
\gexec
VACUUM ANALYZE;
