
-- What users have granted on our objects, and revoked of what we grant, is noted, and all privileges are taken back: the
-- statements below give what a fresh install gives, and at the end the users' part comes on top. A grant to a role that is
-- neither PUBLIC nor the owner nor one of Postgres's own (those have oids below 16384) is never ours.
DO LANGUAGE plpgsql $save$
DECLARE
    -- The functions that come in another's place get its grants.
    moved CONSTANT pg_catalog.jsonb := '@MOVED@';
    saved pg_catalog.jsonb;
    one record;
BEGIN
    saved := (
    WITH member AS (
        @MEMBERS@
    ), privileges AS (
        SELECT m.*, x.new_name, coalesce((SELECT i.initprivs FROM pg_catalog.pg_init_privs AS i
                              WHERE i.classoid OPERATOR(pg_catalog.=) m.classid AND i.objoid OPERATOR(pg_catalog.=) m.objid
                                AND i.objsubid OPERATOR(pg_catalog.=) m.part), m.plain) AS ours
        FROM member AS m
        LEFT JOIN pg_catalog.jsonb_to_recordset(moved) AS x(old_name pg_catalog.text, new_name pg_catalog.text)
               ON m.kind OPERATOR(pg_catalog.=) 'ROUTINE' AND x.old_name::pg_catalog.regprocedure::pg_catalog.oid OPERATOR(pg_catalog.=) m.objid
    ), change AS (
        SELECT p.*, true AS granted, a.grantor, a.grantee, a.privilege_type, a.is_grantable, a.n
        FROM privileges AS p, pg_catalog.aclexplode(p.acl) WITH ORDINALITY AS a(grantor, grantee, privilege_type, is_grantable, n)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.ours) AS o(grantor, grantee, privilege_type, is_grantable)
                          WHERE o.grantee OPERATOR(pg_catalog.=) a.grantee AND o.privilege_type OPERATOR(pg_catalog.=) a.privilege_type
                            AND o.is_grantable OPERATOR(pg_catalog.>=) a.is_grantable
                            AND (o.grantee OPERATOR(pg_catalog.<) 16384::pg_catalog.oid OR o.grantee OPERATOR(pg_catalog.=) p.owner))
        UNION ALL
        SELECT p.*, false, o.grantor, o.grantee, o.privilege_type, false, 0
        FROM privileges AS p, pg_catalog.aclexplode(p.ours) AS o(grantor, grantee, privilege_type, is_grantable)
        WHERE (o.grantee OPERATOR(pg_catalog.<) 16384::pg_catalog.oid OR o.grantee OPERATOR(pg_catalog.=) p.owner)
          AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.acl) AS a(grantor, grantee, privilege_type, is_grantable)
                          WHERE a.grantee OPERATOR(pg_catalog.=) o.grantee AND a.privilege_type OPERATOR(pg_catalog.=) o.privilege_type)
    )
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('class', c.classid, 'object', c.objid, 'part', c.part, 'new_name', c.new_name,
               'granted', c.granted, 'grantor', CASE WHEN c.grantor OPERATOR(pg_catalog.<>) c.owner THEN c.grantor END, 'grantee', c.grantee,
               'privilege', c.privilege_type, 'grantable', c.is_grantable, 'n', c.n)), '[]')
    FROM change AS c);
    PERFORM pg_catalog.set_config('leadlex_update.grants', saved::pg_catalog.text, true);

    FOR one IN
        SELECT DISTINCT m.kind, m.name, m.of_columns, m.owner, a.grantee
        FROM (
        @MEMBERS@
        ) AS m LEFT JOIN LATERAL pg_catalog.aclexplode(m.acl) AS a(grantor, grantee, privilege_type, is_grantable)
            ON a.grantee OPERATOR(pg_catalog.<>) m.owner
    LOOP
        IF one.of_columns OPERATOR(pg_catalog.=) '' THEN
            EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %s', one.kind, one.name, one.owner::pg_catalog.regrole);
        END IF;
        IF one.grantee IS NOT NULL THEN
            EXECUTE pg_catalog.format('REVOKE ALL %s ON %s %s FROM %s CASCADE', one.of_columns, one.kind, one.name,
                CASE WHEN one.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC' ELSE one.grantee::pg_catalog.regrole::pg_catalog.text END);
        END IF;
    END LOOP;
END
$save$;

