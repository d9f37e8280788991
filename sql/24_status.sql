-- What is wrong, and how things stand: for a person on call.

CREATE FUNCTION leadlex.memory_report() RETURNS TABLE (part text, setting text, used bigint, places bigint, lost bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'memory_report_wrapper';
COMMENT ON FUNCTION leadlex.memory_report() IS 'How full the tables in shared memory are, one row for each: the setting that bounds it, places in use, all places, and what found none since the server started (NULL: not counted here). Rows only for administrators and pg_monitor.';
REVOKE ALL ON FUNCTION leadlex.memory_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.memory_report() TO pg_monitor;

CREATE FUNCTION leadlex.check() RETURNS TABLE (severity text, subject text, problem text, remedy text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $check$
BEGIN
    -- 55000 in a schema of another version than the library's.
    PERFORM leadlex.is_administrator();
    RETURN QUERY
    -- Requests and queue.
    SELECT 'error', 'requests', pg_catalog.format('leadlex.stop() is in force since %s, by %s: %s', s.since, s.stopped_by, s.reason),
           'SELECT leadlex.resume();'
    FROM leadlex.stopped AS s
    UNION ALL
    SELECT 'warning', 'queue', pg_catalog.format('leadlex.pause_queue() is in force since %s, by %s', p.since, p.paused_by),
           'SELECT leadlex.resume_queue();'
    FROM leadlex.queue_pause AS p
    UNION ALL
    SELECT 'warning', 'database', 'this database is a copy, or was restored: queue, triggers and ledger are at rest',
           'If it is to work and spend: SELECT leadlex.resume_queue();'
    WHERE leadlex.queue_paused() OPERATOR(pg_catalog.=) 'clone'
    UNION ALL
    SELECT 'warning', 'queue', 'default_transaction_read_only is on: no job is begun', 'Switch it off for the database or the server.'
    WHERE leadlex.queue_paused() OPERATOR(pg_catalog.=) 'read_only'
    UNION ALL
    SELECT 'warning', pg_catalog.format('workspace %s', coalesce(w.name, j.workspace_id::pg_catalog.text)),
           pg_catalog.format('%s queued jobs were given up', pg_catalog.sum(j.contacts)),
           'Mend what last_error in leadlex.job says; then SELECT leadlex.retry_jobs();'
    FROM leadlex.job_set AS j LEFT JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) j.workspace_id
    WHERE j.state OPERATOR(pg_catalog.=) 'dead'
    GROUP BY w.name, j.workspace_id
    UNION ALL
    -- Providers.
    SELECT 'error', pg_catalog.format('provider %s', p.name), 'it has no secret, and its request names one: it is not asked',
           pg_catalog.format('SELECT leadlex.alter_provider(%L, secret => ''YOUR_KEY'');', p.name)
    FROM leadlex.provider_config AS p
    WHERE p.enabled AND pg_catalog.strpos(p.config::pg_catalog.text, '{secret}') OPERATOR(pg_catalog.>) 0
      AND NOT EXISTS (SELECT FROM leadlex.provider_secret AS s WHERE s.name OPERATOR(pg_catalog.=) p.name)
    UNION ALL
    SELECT DISTINCT 'error', pg_catalog.format('provider %s', p.name),
           pg_catalog.format('a budget in %s concerns it, and it has no price in that currency: it is not asked%s', l.currency,
                             CASE WHEN l.workspace_id OPERATOR(pg_catalog.<>) 'ffffffff-ffff-ffff-ffff-ffffffffffff'::pg_catalog.uuid
                                  THEN pg_catalog.format(' for workspace %s', coalesce(w.name, l.workspace_id::pg_catalog.text)) END),
           pg_catalog.format('%s or take the budget away: SELECT leadlex.set_budget(%L, %L, NULL, workspace_id => %L, currency => %L);',
                             CASE WHEN p.config OPERATOR(pg_catalog.->) 'price' OPERATOR(pg_catalog.->>) 'currency' IS NULL
                                  THEN pg_catalog.format('Give its price: SELECT leadlex.alter_provider(%L, ''{"price": {"currency": "%s", "per_match": 0.28}}'');', p.name, l.currency)
                                  ELSE pg_catalog.format('Its price is in %s: set a budget in that currency,', p.config OPERATOR(pg_catalog.->) 'price' OPERATOR(pg_catalog.->>) 'currency') END,
                             CASE WHEN l.provider OPERATOR(pg_catalog.<>) '' THEN l.provider END, l.period,
                             CASE WHEN l.workspace_id OPERATOR(pg_catalog.<>) 'ffffffff-ffff-ffff-ffff-ffffffffffff'::pg_catalog.uuid THEN l.workspace_id END,
                             l.currency)
    FROM leadlex.budget_limit AS l LEFT JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) l.workspace_id
    JOIN leadlex.provider_config AS p
         ON (l.provider OPERATOR(pg_catalog.=) p.name OR l.provider OPERATOR(pg_catalog.=) '')
        AND (p.workspace_id IS NULL OR l.workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY[p.workspace_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::pg_catalog.uuid]))
    WHERE p.enabled AND coalesce(p.config OPERATOR(pg_catalog.->) 'price' OPERATOR(pg_catalog.->>) 'currency', '') OPERATOR(pg_catalog.<>) l.currency
    UNION ALL
    SELECT CASE WHEN b.state OPERATOR(pg_catalog.=) 'out' THEN 'error' ELSE 'warning' END,
           pg_catalog.format('budget of %s%s', CASE WHEN b.provider IS NULL THEN 'all providers' ELSE pg_catalog.format('provider %s', b.provider) END,
                             CASE WHEN b.workspace_id IS NOT NULL THEN pg_catalog.format(' for workspace %s', coalesce(w.name, b.workspace_id::pg_catalog.text)) END),
           pg_catalog.format('%s of %s %s %s used%s: %s', b.used, b.amount, b.currency,
                             CASE WHEN b.period OPERATOR(pg_catalog.=) 'total' THEN 'are' ELSE pg_catalog.format('of this %s are', b.period) END,
                             CASE WHEN b.kept_for_polls OPERATOR(pg_catalog.<>) '0' THEN pg_catalog.format(', and %s are kept for polls of answers that are owed', b.kept_for_polls) ELSE '' END,
                             CASE WHEN b.state OPERATOR(pg_catalog.=) 'out' THEN 'no request that it concerns is sent'
                                  WHEN b.state OPERATOR(pg_catalog.=) 'kept' THEN 'no request that it concerns and that asks something new is sent until requests under way, and answers that come later, are there'
                                  ELSE 'soon no request that it concerns is sent' END),
           pg_catalog.format('%sSELECT leadlex.set_budget(%L, %L, NEW_AMOUNT, workspace_id => %L, currency => %L);',
                             CASE WHEN b.state OPERATOR(pg_catalog.=) 'kept' THEN 'Wait for them, or raise it: '
                                  WHEN b.resets_at IS NULL THEN 'Raise it: ' ELSE pg_catalog.format('Wait until %s, or raise it: ', b.resets_at) END,
                             b.provider, b.period, b.workspace_id, b.currency)
    FROM leadlex.budget_report() AS b LEFT JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) b.workspace_id
    WHERE b.state OPERATOR(pg_catalog.<>) 'ok'
    UNION ALL
    SELECT DISTINCT 'error', pg_catalog.format('provider %s', p.name),
           pg_catalog.format('an answer of it has reported %s credits, more than most_credits of its price, and a budget concerns it: it is not asked', pg_catalog.trim_scale(r.credits)),
           pg_catalog.format('Raise most_credits: SELECT leadlex.alter_provider(%L, ''{"price": {"most_credits": %s}}'');', p.name, pg_catalog.ceil(r.credits))
    FROM leadlex.spend_reported AS r
    JOIN leadlex.provider_config AS p ON p.name OPERATOR(pg_catalog.=) r.provider
    JOIN leadlex.budget_limit AS l
         ON (l.provider OPERATOR(pg_catalog.=) p.name OR l.provider OPERATOR(pg_catalog.=) '') AND l.currency OPERATOR(pg_catalog.=) r.currency
        AND (p.workspace_id IS NULL OR l.workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY[p.workspace_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::pg_catalog.uuid]))
    WHERE p.enabled AND (p.config OPERATOR(pg_catalog.->) 'price' OPERATOR(pg_catalog.->>) 'currency') OPERATOR(pg_catalog.=) r.currency
      AND r.credits OPERATOR(pg_catalog.>) (p.config OPERATOR(pg_catalog.->) 'price' OPERATOR(pg_catalog.->>) 'most_credits')::pg_catalog.numeric
    UNION ALL
    SELECT 'error', 'providers', 'none is enabled: calls that have something to ask for are 55000',
           'SELECT leadlex.enable_provider(NAME, true);'
    WHERE EXISTS (SELECT FROM leadlex.provider_config AS p) AND NOT EXISTS (SELECT FROM leadlex.provider_config AS p WHERE p.enabled)
    UNION ALL
    SELECT 'error', 'providers', 'there is none: calls that have something to ask for are 55000',
           'SELECT leadlex.add_provider(NAME, preset => NAME, secret => YOUR_KEY); leadlex.presets lists the presets.'
    WHERE NOT EXISTS (SELECT FROM leadlex.provider_config AS p)
    UNION ALL
    SELECT 'error', pg_catalog.format('workspace %s', w.name), 'no provider is enabled for it: its calls that have something to ask for are 55000',
           pg_catalog.format('SELECT leadlex.enable_provider(NAME, true); or SELECT leadlex.add_provider(NAME, preset => NAME, secret => YOUR_KEY, workspace_id => %L);', w.id)
    FROM leadlex.workspace AS w
    WHERE EXISTS (SELECT FROM leadlex.provider_config AS p WHERE p.enabled)
      AND NOT EXISTS (SELECT FROM leadlex.provider_config AS p
                      WHERE p.enabled AND (p.workspace_id IS NULL OR p.workspace_id OPERATOR(pg_catalog.=) w.id))
    UNION ALL
    SELECT CASE WHEN s.state OPERATOR(pg_catalog.=) ANY (ARRAY['quota', 'bad_credentials']) THEN 'error' ELSE 'warning' END,
           pg_catalog.format('provider %s', p.name),
           CASE WHEN s.state OPERATOR(pg_catalog.=) 'half_open' THEN 'it was paused, and the next request tries it'
                ELSE pg_catalog.format('it is paused: %s', s.state) END,
           CASE WHEN s.state OPERATOR(pg_catalog.=) 'bad_credentials'
                THEN pg_catalog.format('Give the vendor''s key anew: SELECT leadlex.alter_provider(%L, secret => ''YOUR_KEY'');', p.name)
                WHEN s.state OPERATOR(pg_catalog.=) 'quota'
                THEN pg_catalog.format('Buy more from the vendor, then: SELECT leadlex.enable_provider(%L, true);', p.name)
                ELSE pg_catalog.format('See last_error in leadlex.provider_stats. Once it is well: SELECT leadlex.enable_provider(%L, true);', p.name) END
    FROM leadlex.provider_report() AS s JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) s.provider_id
    WHERE p.enabled AND s.state OPERATOR(pg_catalog.=) ANY (ARRAY['breaker', 'quota', 'bad_credentials', 'half_open'])
    UNION ALL
    SELECT 'warning', pg_catalog.format('provider %s', p.name),
           pg_catalog.format('the balance with its vendor is low: %s', b.balance), 'Buy more from the vendor.'
    FROM leadlex.provider_balance AS b JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) b.provider_id
    WHERE p.enabled AND b.balance OPERATOR(pg_catalog.<) (p.config OPERATOR(pg_catalog.->>) 'low_balance')::pg_catalog.float8
    UNION ALL
    -- Credits and values.
    SELECT 'error', pg_catalog.format('workspace %s', w.name), 'no credit is left: calls are LX402',
           pg_catalog.format('SELECT leadlex.grant_credits(%L, 100);', w.id)
    FROM leadlex.workspace AS w LEFT JOIN leadlex.credit_balance AS b ON b.workspace_id OPERATOR(pg_catalog.=) w.id
    WHERE w.has_credit_limit
      AND coalesce(b.settled, 0) OPERATOR(pg_catalog.+)
          coalesce((SELECT pg_catalog.sum(q.amount) FROM leadlex.credit_pending AS q WHERE q.workspace_id OPERATOR(pg_catalog.=) w.id), 0)
          OPERATOR(pg_catalog.<=) 0
    UNION ALL
    SELECT 'warning', pg_catalog.format('workspace %s', coalesce(w.name, v.workspace_id::pg_catalog.text)),
           pg_catalog.format('%s values of the kind %s came up with more names than leadlex.max_people_per_value', pg_catalog.count(*), v.kind),
           CASE WHEN v.kind OPERATOR(pg_catalog.=) 'phone'
                THEN 'Of a switchboard, let it identify only together with a name: identify_by of leadlex.add_provider. Where it is right: SELECT leadlex.allow_shared_value(''NUMBER'');'
                WHEN v.kind OPERATOR(pg_catalog.=) 'supplied phone'
                THEN 'It is written all the same, as a switchboard is right for many. SELECT leadlex.allow_shared_value(''NUMBER''); takes it off this list.'
                ELSE 'See leadlex.shared_value. Where one is right: SELECT leadlex.allow_shared_value(''VALUE'');' END
    FROM leadlex.shared_value AS v LEFT JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) v.workspace_id
    WHERE NOT v.allowed
    GROUP BY w.name, v.workspace_id, v.kind
    UNION ALL
    -- Bound tables.
    SELECT 'warning', pg_catalog.format('table %I.%I', b.schema_name, b.table_name),
           'it was replaced by a table without its trigger: new rows are not enriched by themselves',
           'Create the trigger again, by what replaces the table. If it is to have none, bind the table again with leadlex.bind_contacts.'
    FROM leadlex.bound_table AS b
    JOIN pg_catalog.pg_namespace AS n ON n.nspname OPERATOR(pg_catalog.=) b.schema_name
    JOIN pg_catalog.pg_class AS c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relname OPERATOR(pg_catalog.=) b.table_name
    WHERE b.triggers_on OPERATOR(pg_catalog.<>) c.oid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                      WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
                        AND t.tgfoid OPERATOR(pg_catalog.=) ANY (ARRAY['leadlex.enrich_on_insert()'::pg_catalog.regprocedure,
                                                                       'leadlex.enqueue_on_insert()'::pg_catalog.regprocedure]::pg_catalog.oid[]))
    UNION ALL
    SELECT 'error', pg_catalog.format('table leadlex.%s', c.relname),
           'its triggers were switched (ALTER TABLE ... ENABLE TRIGGER ALL, pg_restore --data-only --disable-triggers): open sessions may not learn of changes that are replicated',
           pg_catalog.string_agg(pg_catalog.format('ALTER TABLE leadlex.%I ENABLE %s TRIGGER %I;', c.relname,
                                                   CASE WHEN t.tgname OPERATOR(pg_catalog.=) 'replicated' THEN 'REPLICA' ELSE 'ALWAYS' END, t.tgname), ' '
                                 ORDER BY t.tgname USING OPERATOR(pg_catalog.<))
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) 'leadlex' AND NOT t.tgisinternal
      AND (t.tgname OPERATOR(pg_catalog.=) 'replicated' AND t.tgenabled OPERATOR(pg_catalog.<>) 'R'
           OR t.tgname OPERATOR(pg_catalog.=) ANY (ARRAY['config_changed', 'rows_added', 'usage_waits', 'usage_inserted', 'usage_updated', 'usage_deleted',
                                                         'usage_truncated']::pg_catalog.name[])
              AND t.tgenabled OPERATOR(pg_catalog.<>) 'A')
    GROUP BY c.relname
    UNION ALL
    -- Workers and memory.
    SELECT 'error', 'launcher', 'no background worker runs: nothing is written down, and no job is run',
           'See the server''s log, and max_worker_processes.'
    FROM leadlex.worker_report() AS r
    WHERE r.process OPERATOR(pg_catalog.=) 'launcher' AND r.pid IS NULL AND NOT pg_catalog.pg_is_in_recovery()
    UNION ALL
    SELECT 'error', r.process, pg_catalog.format('its last round failed: %s', r.last_error), 'Mend that; it is tried again by itself.'
    FROM leadlex.worker_report() AS r
    WHERE r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text AND r.last_error IS NOT NULL
    UNION ALL
    SELECT 'warning', 'leadlex.receipt_buffer', pg_catalog.format('%s answers could not be kept since the server started', r.receipts_dropped),
           'Find why the worker does not write (leadlex.worker_status), or raise leadlex.receipt_buffer.'
    FROM leadlex.worker_report() AS r
    WHERE r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text AND r.receipts_dropped OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT 'warning', r.process,
           pg_catalog.format('%s answers, outcomes or refusals are not written yet, as an open transaction holds the rows that they change', r.put_off),
           'End that transaction: it has called leadlex.revert_..., forget_..., recheck, suppress... or drop_workspace. SELECT pid, usename, xact_start, query FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;'
    FROM leadlex.worker_report() AS r
    WHERE r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text AND r.put_off OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT 'warning', 'leadlex.max_job_workers', 'it is 0, and jobs wait', 'Raise it.'
    WHERE pg_catalog.current_setting('leadlex.max_job_workers') OPERATOR(pg_catalog.=) '0'
      AND EXISTS (SELECT FROM leadlex.job_set AS j WHERE j.next_attempt_at IS NOT NULL)
    UNION ALL
    SELECT 'warning', coalesce(m.setting, m.part), pg_catalog.format('%s of %s places in shared memory are in use: %s', m.used, m.places, m.part),
           CASE WHEN m.setting IS NULL THEN 'See leadlex.worker_status for why the worker does not write.'
                ELSE pg_catalog.format('Raise %s and restart.', m.setting) END
    FROM leadlex.memory_report() AS m
    WHERE (m.used OPERATOR(pg_catalog.*) 5) OPERATOR(pg_catalog.>=) (m.places OPERATOR(pg_catalog.*) 4)
    UNION ALL
    -- Before they are asked: each needs a place then.
    SELECT 'warning', 'leadlex.max_providers',
           pg_catalog.format('%s providers are enabled in this database, and shared memory has %s places for those of all databases', p.enabled, s.places),
           'Raise leadlex.max_providers and restart.'
    FROM (SELECT pg_catalog.count(*) AS enabled FROM leadlex.provider_config AS c WHERE c.enabled) AS p,
         (SELECT pg_catalog.current_setting('leadlex.max_providers')::pg_catalog.int8 AS places) AS s
    WHERE (p.enabled OPERATOR(pg_catalog.*) 5) OPERATOR(pg_catalog.>=) (s.places OPERATOR(pg_catalog.*) 4)
    UNION ALL
    SELECT 'warning', coalesce(m.setting, m.part), pg_catalog.format('%s found no place, or lost it, since the server started: %s', m.lost, m.part),
           CASE WHEN m.setting IS NULL THEN 'See leadlex.worker_status for why the worker does not write.'
                ELSE pg_catalog.format('Raise %s and restart.', m.setting) END
    FROM leadlex.memory_report() AS m WHERE m.lost OPERATOR(pg_catalog.>) 0
    UNION ALL
    -- Roles that hold what they should not.
    SELECT 'error', pg_catalog.format('role %s', CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END),
           pg_catalog.format('it has %s on leadlex.%s', pg_catalog.string_agg(a.privilege_type, ', '), c.relname),
           pg_catalog.format('REVOKE ALL ON leadlex.%I FROM %s;', c.relname, CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) c.oid
         AND d.deptype OPERATOR(pg_catalog.=) 'e'
    JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich'
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
    WHERE c.relkind OPERATOR(pg_catalog.=) 'r' AND a.grantee OPERATOR(pg_catalog.<>) c.relowner
      AND (a.privilege_type OPERATOR(pg_catalog.<>) 'SELECT'
           OR c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['provider_secret', 'api_key', 'receipt', 'ticket', 'idempotency', 'job_set', 'value_name']::pg_catalog.name[]))
    GROUP BY a.grantee, c.relname
    UNION ALL
    SELECT 'error', pg_catalog.format('role %s', CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END),
           'it may create objects in the schema leadlex',
           pg_catalog.format('REVOKE CREATE ON SCHEMA leadlex FROM %s;', CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
    FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    WHERE n.nspname OPERATOR(pg_catalog.=) 'leadlex' AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
    UNION ALL
    SELECT 'error', 'role PUBLIC',
           pg_catalog.format('PUBLIC may call what is for administrators: %s',
                             pg_catalog.string_agg('leadlex.' OPERATOR(pg_catalog.||) p.proname, ', ' ORDER BY p.proname USING OPERATOR(pg_catalog.<))),
           pg_catalog.string_agg(pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC;', p.oid::pg_catalog.regprocedure), ' '
                                 ORDER BY p.proname USING OPERATOR(pg_catalog.<))
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid
         AND d.deptype OPERATOR(pg_catalog.=) 'e'
    JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich'
    -- As the extension was made.
    JOIN pg_catalog.pg_init_privs AS i ON i.classoid OPERATOR(pg_catalog.=) d.classid AND i.objoid OPERATOR(pg_catalog.=) p.oid
    WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS a WHERE a.grantee OPERATOR(pg_catalog.=) 0)
      AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) AS a WHERE a.grantee OPERATOR(pg_catalog.=) 0)
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT 'warning', pg_catalog.format('role %s', r.rolname), 'it reads every table, so also providers'' secrets (pg_read_all_data)',
           pg_catalog.format('REVOKE pg_read_all_data FROM %I; or keep secrets in files (file:/path).', r.rolname)
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolcanlogin AND NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, 'pg_read_all_data'::pg_catalog.name, 'USAGE')
      AND EXISTS (SELECT FROM leadlex.provider_secret AS s WHERE NOT pg_catalog.starts_with(s.secret, 'file:'));
END
$check$;
COMMENT ON FUNCTION leadlex.check() IS 'What is wrong, one row for each problem, with what to do; no row means that all is well. severity is error (something does not work, or a role has too many rights) or warning. Errors: 55000 not preloaded.';
REVOKE ALL ON FUNCTION leadlex.check() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION leadlex.check() TO pg_monitor;

-- Runs with the owner's rights; what it reads of functions is what they tell whoever asks.
CREATE VIEW leadlex.status WITH (security_barrier = true) AS
    SELECT t.area, t.subject, t.state, t.detail, t.since
    FROM (
        SELECT 1 AS place, 'requests' AS area, pg_catalog.current_database()::pg_catalog.text AS subject,
               CASE WHEN s.id IS NULL THEN 'sent' ELSE 'stopped' END AS state,
               CASE WHEN s.id IS NOT NULL THEN pg_catalog.format('by %s: %s', s.stopped_by, s.reason) END AS detail, s.since
        FROM (VALUES (1)) AS one LEFT JOIN leadlex.stopped AS s ON true
        UNION ALL
        SELECT 2, 'queue', pg_catalog.current_database()::pg_catalog.text, coalesce(leadlex.queue_paused(),
                   CASE WHEN pg_catalog.current_setting('leadlex.max_job_workers') OPERATOR(pg_catalog.=) '0' THEN 'no job workers (leadlex.max_job_workers)'
                        WHEN EXISTS (SELECT FROM leadlex.worker_report() AS r WHERE r.process OPERATOR(pg_catalog.=) 'launcher' AND r.pid IS NULL)
                             AND NOT pg_catalog.pg_is_in_recovery() THEN 'no background worker'
                        ELSE 'works' END),
               pg_catalog.format('%s queued, %s running, %s dead',
                   coalesce(pg_catalog.sum(q.contacts) FILTER (WHERE q.state OPERATOR(pg_catalog.=) 'queued'), 0),
                   coalesce(pg_catalog.sum(q.contacts) FILTER (WHERE q.state OPERATOR(pg_catalog.=) 'running'), 0),
                   coalesce(pg_catalog.sum(q.contacts) FILTER (WHERE q.state OPERATOR(pg_catalog.=) 'dead'), 0)),
               pg_catalog.min(q.created_at) FILTER (WHERE q.next_attempt_at IS NOT NULL)
        FROM leadlex.job_set AS q
        UNION ALL
        SELECT 3, 'waits', pg_catalog.format('%I.%I', j.schema_name, j.table_name),
               CASE WHEN pg_catalog.min(j.next_attempt_at) OPERATOR(pg_catalog.>) pg_catalog.now()
                    THEN pg_catalog.format('until %s', pg_catalog.to_char(pg_catalog.min(j.next_attempt_at), 'YYYY-MM-DD HH24:MI:SS TZ')) ELSE 'next' END,
               pg_catalog.format('%s %s: %s', pg_catalog.sum(j.contacts),
                   CASE WHEN pg_catalog.sum(j.contacts) OPERATOR(pg_catalog.=) 1 THEN 'contact' ELSE 'contacts' END, coalesce(
                   -- Of what every such failure says, only why.
                   pg_catalog.regexp_replace(j.last_error, '^provider_unavailable: no provider had data, and at least one failed \((.*?)\)( \(\w+\))*$', '\1'),
                   (SELECT pg_catalog.format('requests are stopped: %s', s.reason) FROM leadlex.stopped AS s LIMIT 1),
                   'their turn has not come')),
               pg_catalog.min(j.created_at)
        FROM leadlex.job_set AS j
        WHERE j.finished_at IS NULL AND j.state OPERATOR(pg_catalog.=) 'queued'
        GROUP BY j.schema_name, j.table_name, j.last_error
        UNION ALL
        SELECT 4, 'runs', p.relation::pg_catalog.text, pg_catalog.format('pid %s', p.pid),
               pg_catalog.format('%s of %s contacts done, %s failed', p.done, p.total, p.failed) OPERATOR(pg_catalog.||)
                   coalesce(', the rest at about ' OPERATOR(pg_catalog.||) pg_catalog.to_char(p.eta, 'HH24:MI:SS TZ'), ''), p.started_at
        FROM leadlex.progress AS p
        UNION ALL
        SELECT 5, 'provider', c.name, CASE WHEN NOT c.enabled THEN 'disabled'
                    WHEN pg_catalog.strpos(c.config::pg_catalog.text, '{secret}') OPERATOR(pg_catalog.>) 0
                         AND NOT EXISTS (SELECT FROM leadlex.provider_secret AS k WHERE k.name OPERATOR(pg_catalog.=) c.name) THEN 'no secret'
                    ELSE s.state END,
               CASE WHEN s.paused_until IS NOT NULL THEN pg_catalog.format('until %s; ', pg_catalog.to_char(s.paused_until, 'YYYY-MM-DD HH24:MI:SS TZ')) ELSE '' END
                   OPERATOR(pg_catalog.||) pg_catalog.format('%s requests, %s matches, %s without a match, %s pending, %s failed or not sent%s', s.calls, s.matches, s.no_matches,
                                 coalesce((s.failures_by_kind OPERATOR(pg_catalog.->>) 'pending')::pg_catalog.int8, 0),
                                 s.failures OPERATOR(pg_catalog.-) coalesce((s.failures_by_kind OPERATOR(pg_catalog.->>) 'pending')::pg_catalog.int8, 0),
                                 coalesce(', half within ' OPERATOR(pg_catalog.||) pg_catalog.round(s.p50_ms)::pg_catalog.text OPERATOR(pg_catalog.||) ' ms', ''))
                   OPERATOR(pg_catalog.||) CASE WHEN s.last_error OPERATOR(pg_catalog.<>) '' THEN '; last failure: ' OPERATOR(pg_catalog.||) s.last_error ELSE '' END, s.last_error_at
        FROM leadlex.provider_report() AS s JOIN leadlex.provider_config AS c ON c.id OPERATOR(pg_catalog.=) s.provider_id
        UNION ALL
        SELECT 6, 'credits', w.name, 'left',
               pg_catalog.format('%s', coalesce(b.settled, 0) OPERATOR(pg_catalog.+)
                   coalesce((SELECT pg_catalog.sum(q.amount) FROM leadlex.credit_pending AS q WHERE q.workspace_id OPERATOR(pg_catalog.=) w.id), 0)), NULL
        FROM leadlex.workspace AS w LEFT JOIN leadlex.credit_balance AS b ON b.workspace_id OPERATOR(pg_catalog.=) w.id
        WHERE w.has_credit_limit
        UNION ALL
        SELECT 7, 'budget', pg_catalog.format('%s, %s%s', coalesce(b.provider, 'all providers'), b.period,
                   CASE WHEN b.workspace_id IS NOT NULL THEN pg_catalog.format(', workspace %s', coalesce(w.name, b.workspace_id::pg_catalog.text)) END),
               b.state, pg_catalog.format('%s of %s %s used', b.used, b.amount, b.currency) OPERATOR(pg_catalog.||)
                   CASE WHEN b.kept_for_polls OPERATOR(pg_catalog.<>) '0' THEN pg_catalog.format(', %s kept for polls', b.kept_for_polls) ELSE '' END OPERATOR(pg_catalog.||)
                   coalesce(', begins anew at ' OPERATOR(pg_catalog.||) pg_catalog.to_char(b.resets_at, 'YYYY-MM-DD HH24:MI TZ'), ''), NULL
        FROM leadlex.budget_report() AS b LEFT JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) b.workspace_id
        UNION ALL
        SELECT 8, 'spend', d.provider, 'today',
               pg_catalog.format('%s requests, %s matches', pg_catalog.sum(d.requests), pg_catalog.sum(d.matches)) OPERATOR(pg_catalog.||)
                   CASE WHEN d.currency OPERATOR(pg_catalog.=) '' THEN ', no price'
                        ELSE pg_catalog.format(', %s %s', pg_catalog.trim_scale(pg_catalog.sum(d.cost)), d.currency) END OPERATOR(pg_catalog.||)
                   CASE WHEN pg_catalog.sum(d.unknown) OPERATOR(pg_catalog.>) 0
                        THEN pg_catalog.format(', and up to %s %s that are not known', pg_catalog.trim_scale(pg_catalog.sum(d.unknown)), d.currency) ELSE '' END, NULL
        FROM leadlex.spend_day AS d
        WHERE d.day OPERATOR(pg_catalog.=) (pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date
        GROUP BY d.provider, d.currency
        UNION ALL
        SELECT 9, r.process, coalesce(r.role, r.database, ''), r.state, coalesce(r.last_error, CASE WHEN r.runs IS NOT NULL THEN pg_catalog.format('%s rounds', r.runs) END), r.last_run
        FROM leadlex.worker_report() AS r
        WHERE r.database IS NULL OR r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text
    ) AS t
    WHERE (SELECT leadlex.is_administrator()) OR (SELECT pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE'))
    ORDER BY t.place USING OPERATOR(pg_catalog.<), t.subject USING OPERATOR(pg_catalog.<);
COMMENT ON VIEW leadlex.status IS 'How things stand, for a person on call: whether requests are sent, what waits and why, what runs, how providers are, what is used of budgets and was spent today (UTC), which credits are left, and the workers. Rows only for administrators and pg_monitor. What is wrong is in leadlex.check().';
COMMENT ON COLUMN leadlex.status.area IS 'requests, queue, waits, runs, provider, credits, budget, spend, launcher, worker or job worker';
COMMENT ON COLUMN leadlex.status.subject IS 'which one: the database, table, provider, workspace or role';
COMMENT ON COLUMN leadlex.status.state IS 'in short, such as sent, stopped, works, until when it waits, paused for a reason, ok, breaker; of a budget ok, low (80 % are used), kept (for requests under way and answers that come later) or out';
COMMENT ON COLUMN leadlex.status.detail IS 'more of it, for people';
COMMENT ON COLUMN leadlex.status.since IS 'since when, or when last';
REVOKE ALL ON leadlex.status FROM PUBLIC;
GRANT SELECT ON leadlex.status TO pg_monitor;
