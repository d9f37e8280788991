
-- All that is ours belongs to the extension's owner, and what users granted or revoked is so again. The latter is no part of
-- what the extension came with: in pg_init_privs it would be missing from dumps.
DO LANGUAGE plpgsql $restore$
DECLARE
    saved CONSTANT pg_catalog.jsonb := pg_catalog.current_setting('leadlex_update.grants');
    acting CONSTANT pg_catalog.text := pg_catalog.current_setting('role');
    owner CONSTANT pg_catalog.oid := (SELECT e.extowner FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich');
    updater CONSTANT pg_catalog.oid := (SELECT a.oid FROM pg_catalog.pg_authid AS a WHERE a.rolname OPERATOR(pg_catalog.=) current_user);
    member record;
    change record;
BEGIN
    FOR member IN
        @MEMBERS@
    LOOP
        IF member.owner OPERATOR(pg_catalog.<>) owner AND member.owner OPERATOR(pg_catalog.=) updater THEN
            EXECUTE pg_catalog.format('ALTER %s %s OWNER TO %s', member.kind, member.name, owner::pg_catalog.regrole);
        END IF;
    END LOOP;
    -- Schemas last: whoever granted something on a thing in one may have lost its USAGE since.
    FOR member IN
        SELECT m.* FROM (
        @MEMBERS@
        ) AS m WHERE m.part OPERATOR(pg_catalog.=) 0 ORDER BY m.kind OPERATOR(pg_catalog.=) 'SCHEMA' USING OPERATOR(pg_catalog.<)
    LOOP
        FOR change IN
            SELECT s.granted, s.grantor, s.privilege, s.grantable, CASE WHEN a.attname IS NULL THEN '' ELSE pg_catalog.format(' (%I)', a.attname) END AS of_column,
                   CASE WHEN s.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC' ELSE s.grantee::pg_catalog.regrole::pg_catalog.text END AS grantee
            FROM pg_catalog.jsonb_to_recordset(saved) AS s(class pg_catalog.oid, object pg_catalog.oid, part pg_catalog.int4, new_name pg_catalog.text,
                granted pg_catalog.bool, grantor pg_catalog.oid, grantee pg_catalog.oid, privilege pg_catalog.text, grantable pg_catalog.bool, n pg_catalog.int8)
            LEFT JOIN pg_catalog.pg_attribute AS a
                   ON a.attrelid OPERATOR(pg_catalog.=) s.object AND a.attnum OPERATOR(pg_catalog.=) s.part
                  AND s.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND s.part OPERATOR(pg_catalog.>) 0
            WHERE s.class OPERATOR(pg_catalog.=) member.classid
              AND coalesce(s.new_name::pg_catalog.regprocedure::pg_catalog.oid, s.object) OPERATOR(pg_catalog.=) member.objid
              AND (s.part OPERATOR(pg_catalog.=) 0 OR NOT a.attisdropped)
            ORDER BY s.granted USING OPERATOR(pg_catalog.<), s.grantor IS NOT NULL USING OPERATOR(pg_catalog.<), s.n USING OPERATOR(pg_catalog.<)
        LOOP
            IF NOT change.granted THEN
                EXECUTE pg_catalog.format('REVOKE %s%s ON %s %s FROM %s', change.privilege, change.of_column, member.kind, member.name, change.grantee);
            ELSE
                -- Who had a grant option has passed it on.
                PERFORM pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(change.grantor)::pg_catalog.text, true) WHERE change.grantor IS NOT NULL;
                EXECUTE pg_catalog.format('GRANT %s%s ON %s %s TO %s%s', change.privilege, change.of_column, member.kind, member.name, change.grantee,
                    CASE WHEN change.grantable THEN ' WITH GRANT OPTION' END);
                PERFORM pg_catalog.set_config('role', acting, true) WHERE change.grantor IS NOT NULL;
            END IF;
        END LOOP;
        UPDATE pg_catalog.pg_init_privs AS i SET initprivs = member.acl
        WHERE i.classoid OPERATOR(pg_catalog.=) member.classid AND i.objoid OPERATOR(pg_catalog.=) member.objid AND i.objsubid OPERATOR(pg_catalog.=) 0;
        DELETE FROM pg_catalog.pg_init_privs AS i
        WHERE i.classoid OPERATOR(pg_catalog.=) member.classid AND i.objoid OPERATOR(pg_catalog.=) member.objid AND i.objsubid OPERATOR(pg_catalog.<>) 0;
        -- From 17 on roles that are named there are held by it.
        DELETE FROM pg_catalog.pg_shdepend AS s
        WHERE s.deptype OPERATOR(pg_catalog.=) 'i' AND s.classid OPERATOR(pg_catalog.=) member.classid AND s.objid OPERATOR(pg_catalog.=) member.objid
          AND s.dbid OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
          AND (s.objsubid OPERATOR(pg_catalog.<>) 0
               OR NOT EXISTS (SELECT FROM pg_catalog.aclexplode(member.acl) AS a(grantor, grantee, privilege_type, is_grantable)
                              WHERE a.grantee OPERATOR(pg_catalog.=) s.refobjid));
        INSERT INTO pg_catalog.pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
        SELECT d.oid, member.classid, member.objid, 0, 'pg_catalog.pg_authid'::pg_catalog.regclass, r.oid, 'i'
        FROM pg_catalog.pg_database AS d, pg_catalog.pg_authid AS r
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
          AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 170000
          -- Roles of Postgres's own are held by nothing.
          AND r.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
          AND EXISTS (SELECT FROM pg_catalog.pg_init_privs AS i, pg_catalog.aclexplode(i.initprivs) AS a(grantor, grantee, privilege_type, is_grantable)
                      WHERE i.classoid OPERATOR(pg_catalog.=) member.classid AND i.objoid OPERATOR(pg_catalog.=) member.objid
                        AND i.objsubid OPERATOR(pg_catalog.=) 0
                        AND (a.grantee OPERATOR(pg_catalog.=) r.oid OR a.grantor OPERATOR(pg_catalog.=) r.oid))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend AS s
                          WHERE s.dbid OPERATOR(pg_catalog.=) d.oid AND s.classid OPERATOR(pg_catalog.=) member.classid
                            AND s.objid OPERATOR(pg_catalog.=) member.objid AND s.objsubid OPERATOR(pg_catalog.=) 0
                            AND s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid
                            AND s.refobjid OPERATOR(pg_catalog.=) r.oid AND s.deptype OPERATOR(pg_catalog.=) 'i'::pg_catalog."char");
    END LOOP;
END
$restore$;
