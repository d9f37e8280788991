-- Events, and who is told of them.

ALTER TABLE leadlex.event ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_workspace ON leadlex.event FOR SELECT
    USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::uuid[])
           OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
           OR (SELECT leadlex.is_administrator()));
REVOKE ALL ON leadlex.event FROM PUBLIC;
GRANT SELECT ON leadlex.event TO PUBLIC;
