SELECT d.classid, d.objid, 0 AS part, 'ROUTINE' AS kind, '' AS of_columns, p.proowner AS owner,
               pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS name,
               pg_catalog.acldefault('f', p.proowner) AS plain, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich')
        UNION ALL
        SELECT d.classid, d.objid, a.attnum, 'TABLE', CASE WHEN a.attnum OPERATOR(pg_catalog.=) 0 THEN '' ELSE pg_catalog.format('(%I)', a.attname) END, c.relowner,
               pg_catalog.format('%I.%I', n.nspname, c.relname),
               CASE WHEN a.attnum OPERATOR(pg_catalog.=) 0 THEN pg_catalog.acldefault('r', c.relowner) ELSE pg_catalog.acldefault('c', c.relowner) END,
               CASE WHEN a.attnum OPERATOR(pg_catalog.=) 0 THEN coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner)) ELSE a.attacl END
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.objid
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        CROSS JOIN LATERAL (
            SELECT 0 AS attnum, NULL::pg_catalog.name AS attname, NULL::pg_catalog.aclitem[] AS attacl
            UNION ALL
            SELECT w.attnum, w.attname, w.attacl FROM pg_catalog.pg_attribute AS w
            WHERE w.attrelid OPERATOR(pg_catalog.=) c.oid AND w.attacl IS NOT NULL AND NOT w.attisdropped) AS a
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'v']::pg_catalog."char"[])
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich')
        UNION ALL
        SELECT d.classid, d.objid, 0, 'SCHEMA', '', n.nspowner, pg_catalog.format('%I', n.nspname),
               pg_catalog.acldefault('n', n.nspowner), coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) d.objid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich')
