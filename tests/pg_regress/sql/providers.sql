-- Describing providers, and asking several of them.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/helpers.psql
SET client_min_messages = warning;
-- Every call asks: nothing is remembered.
SET leadlex.receipt_ttl = 0;
SET leadlex.recheck_after = 0;
DROP ROLE IF EXISTS prov_admin, prov_user;
CREATE EXTENSION leadlex_enrich;
CREATE TABLE crm (id int PRIMARY KEY, full_name text, email text, job_title text, company_name text, linkedin_url text, phone text, location text, seniority text);
-- A complete description, from which each mistake below differs in one place.
CREATE FUNCTION t.full() RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object(
    'request', jsonb_build_object('method', 'GET', 'url', current_setting('test.provider_url'), 'headers', '{"X-Api-Key": "{secret}"}'::jsonb, 'query', '{"email": "{email}"}'::jsonb),
    'identify_by', '[["email"]]'::jsonb,
    'response', '{"no_match": {"status": [404]}, "fields": {"job_title": "/data/job_title"}, "confidence": {"pointer": "/likelihood", "divide_by": 10}}'::jsonb) $$;
CREATE FUNCTION t.with(place text, value jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_set(t.full(), string_to_array(place, '/'), value) $$;
RESET client_min_messages;

-- Mistakes are refused when the provider is added, and the place is named.
CREATE TABLE t.mistake (n int GENERATED ALWAYS AS IDENTITY, place text, value jsonb);
INSERT INTO t.mistake (place, value) VALUES
    ('colour', '"red"'), ('request', 'null'), ('request', '[]'), ('request/ulr', '"x"'), ('request/method', '"PUT"'), ('request/method', '"get"'), ('request/method', '7'),
    ('request/url', 'null'), ('request/url', '""'), ('request/url', '"ftp://api.example/"'), ('request/url', '"api.example/person"'), ('request/url', '"https://user:pw@api.example/"'), ('request/url', '"https://api.example/#x"'),
    ('request/url', '"https://{email}/"'), ('request/url', '"https://api.example:{phone}/"'), ('request/url', '"https://api.example:99999/"'), ('request/url', '"https://api.example/{nobody}"'), ('request/url', '"https://api.example/{email"'), ('request/url', '"https://api.example/a b"'), ('request/url', '"https:///x"'),
    ('request/query/email', '"{e_mail}"'), ('request/query/email', '{}'), ('request/query/{email}', '"x"'),
    ('request/headers/X', '"a\r\nHost: b"'), ('request/headers/Host', '"b"'), ('request/headers/content-length', '"7"'), ('request/headers/Bad Name', '"7"'), ('request/headers/x-api-key', '"twice"'),
    ('request/body', '{"a": 1}'),
    ('identify_by', '[]'), ('identify_by', 'null'), ('identify_by', '"email"'), ('identify_by/0', '"email"'), ('identify_by/0', '[]'), ('identify_by/0/0', '"e-mail"'), ('identify_by/0/0', '"secret"'),
    ('response', 'null'), ('response/no_match/status/0', '700'), ('response/no_match/status/0', '"404"'), ('response/no_match/absent', '"data"'),
    ('response/fields', '{}'), ('response/fields/shoe_size', '"/data/x"'), ('response/fields/job_title', '"data"'), ('response/fields/job_title', '"/data/~2"'), ('response/fields/job_title', '7'), ('response/fields/job_title', '[]'), ('response/fields/job_title', '["/a", "b"]'),
    ('response/fields/job_title', '{"pointer": "/a", "colour": 1}'), ('response/fields/job_title', '{"prefix": "x"}'), ('response/fields/job_title', '{"pointer": "/a", "map": {"a": 1}}'), ('response/fields/job_title', '{"join": []}'), ('response/fields/job_title', '{"join": ["/a"], "separator": 1}'), ('response/fields/a~1b~0', '"/x"'),
    ('response/confidence', '{"value": 2}'), ('response/confidence', '{"value": "high"}'), ('response/confidence', '{"pointer": "/a", "divide_by": 0}'), ('response/confidence', '{"divide_by": 10}'), ('response/confidence', '{"pointer": "/a", "value": 1}'), ('response/confidence', '0.5'),
    ('timeout_ms', '0'), ('timeout_ms', '60001'), ('timeout_ms', '"5s"'), ('timeout_ms', '1.5'), ('max_requests_per_minute', '0'), ('max_requests_per_day', '-1');
SELECT n || '. ' || split_part(t.fails(format('SELECT leadlex.add_provider($$p$$, config => %L)', t.with(place, value))), E'\n', 1) FROM t.mistake ORDER BY n;
SELECT t.fails(format('SELECT leadlex.add_provider($$p$$, config => %L)', c)) FROM unnest('{"[]","7","null","\"x\""}'::text[]) c;
-- Numbers below the top: arrays are counted, as in the pointer.
SELECT t.fails(format('SELECT leadlex.add_provider($$p$$, config => %L)', t.with('response/no_match/status', '[404, 410, 99]')));
SELECT count(*) FROM leadlex.provider;
-- Refused for a provider is refused for its change, too; nor is it changed by half.
SELECT leadlex.add_provider('p', config => t.full(), secret => 'demo-secret');
SELECT t.fails('SELECT leadlex.alter_provider($$p$$, $${"timeout_ms": 70, "request": {"method": "PUT"}}$$, $$other$$, 7)');
SELECT t.fails('SELECT leadlex.alter_provider($$p$$, $${"response": {"fields": null}}$$)');
SELECT name, priority, config = t.full() FROM leadlex.provider;
-- Names and other arguments.
SELECT t.fails(format('SELECT leadlex.add_provider(%L, config => t.full())', name)) FROM unnest(ARRAY['p', NULL, '', 'with space', 'ünïcode', repeat('x', 64), 'a;b', 'x''y']) name;
SELECT t.fails('SELECT leadlex.add_provider($$q$$)'), t.fails('SELECT leadlex.add_provider($$q$$, $$no such$$)');
SELECT t.fails('SELECT leadlex.add_provider($$q$$, $$generic$$)');
SELECT t.fails('SELECT leadlex.add_provider($$q$$, config => t.full(), secret => $$$$)');
SELECT t.fails('SELECT leadlex.add_provider($$q$$, config => t.full(), workspace_id => t.id(404))');
SELECT t.fails('SELECT leadlex.alter_provider($$q$$)'), t.fails('SELECT leadlex.drop_provider($$q$$)'), t.fails('SELECT leadlex.enable_provider($$q$$, false)'), t.fails('SELECT leadlex.check_provider($$q$$, $${}$$)');
SELECT t.fails('SELECT leadlex.enable_provider($$p$$, NULL)'), t.fails('SELECT leadlex.drop_provider(NULL)'), t.fails('SELECT leadlex.check_provider($$p$$, NULL)');
-- One that needs a secret says so.
SELECT leadlex.add_provider('without', config => t.full());
SELECT leadlex.drop_provider('without');
-- What is said to no effect is named once.
SELECT leadlex.add_provider('vain', config => t.with('identify_by', '[["email"], ["phone"]]'), secret => 'x');
SELECT leadlex.alter_provider('vain', '{"timeout_ms": 1000}');
SELECT leadlex.alter_provider('vain', '{"identify_by": [["email"], ["phone"], ["email", "location"]]}');
SELECT leadlex.drop_provider('vain');

-- Merging: objects member by member, lists whole, null takes out.
SELECT leadlex.add_provider('merged', 'people_data_labs', '{"request": {"url": "https://sandbox.example/", "query": {"titlecase": null, "pretty": "true"}}, "identify_by": [["email"]], "timeout_ms": 900, "max_requests_per_minute": null}', 'x', -5);
SELECT config->'request'->'url', (config->'request'->'query') - '{email,name,company,profile,phone,location}'::text[], config->'request'->'headers', config->'identify_by', config->'timeout_ms', config ? 'max_requests_per_minute', preset, priority, has_secret, enabled
FROM leadlex.provider WHERE name = 'merged';
SELECT leadlex.alter_provider('merged', '{"timeout_ms": null, "request": {"query": {"pretty": null}}}');
SELECT (config->'request'->'query') - '{email,name,company,profile,phone,location}'::text[], config ? 'timeout_ms', priority FROM leadlex.provider WHERE name = 'merged';
SELECT leadlex.alter_provider('merged', priority => 50);
SELECT name, priority, preset FROM leadlex.provider ORDER BY priority;
SELECT leadlex.drop_provider('merged');
-- An older secret goes with its provider.
SELECT count(*) FROM leadlex.provider_secret;

-- Secrets are in no view, and can be replaced.
SELECT count(*) FROM leadlex.provider p WHERE p::text LIKE '%demo-secret%';
SELECT has_secret FROM leadlex.provider WHERE name = 'p';
SELECT leadlex.bind_contacts('crm');
INSERT INTO crm (id, email) SELECT row_number() OVER (), e || '.example' FROM unnest('{ada.abbott@acme,bruno.bergmann@harborline,carla.castillo@northwind,elena.eriksen@cedarworks,hana.haddad@acme,fiona.fischer@brightfield,nobody@acme,farid.fontaine@bluepeak,greta.garcia@oakridge}'::text[]) e;
INSERT INTO crm (id, full_name) VALUES (10, 'Ada Abbott');
CREATE FUNCTION t.row(id int, fields text[] DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r jsonb := t.without_times(try_enrich_row('crm', id::text, fields));
BEGIN RETURN CASE WHEN r ? 'error' THEN concat_ws(' ', r->'error'->>'message', r->'error'->'reason', r->'error'->'providers') ELSE concat_ws(' ', r->'fields_updated', r->'source', r->'confidence', r->'field_sources') END; END $$;
CREATE FUNCTION t.empty() RETURNS void LANGUAGE sql AS $$ UPDATE crm SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL $$;
SELECT t.row(1);
SELECT leadlex.alter_provider('p', secret => 'a wrong one');
SELECT t.row(2);
SELECT t.fails('SELECT enrich_row($$crm$$, $$2$$)');
SELECT leadlex.alter_provider('p', secret => 'demo-secret');
SELECT t.row(2);
-- No match is what the description says it is; another status is a failure.
SELECT t.row(7);
SELECT leadlex.alter_provider('p', '{"response": {"no_match": null}}');
SELECT t.row(7);
SELECT leadlex.alter_provider('p', '{"response": {"no_match": {"status": [404], "absent": "/data/nothing_like_it"}}}');
SELECT t.row(3);
SELECT leadlex.alter_provider('p', '{"response": {"no_match": {"absent": null}}}');
-- Switched off: the statement to run is told.
SELECT leadlex.enable_provider('p', false);
SELECT t.fails('SELECT enrich_row($$crm$$, $$3$$)');
SELECT leadlex.enable_provider('p', true);
SELECT leadlex.drop_provider('p');
SELECT t.fails('SELECT enrich_row($$crm$$, $$3$$)');

-- Shapes of a mapping.
SELECT leadlex.add_provider('shapes', secret => 'demo-secret', config => jsonb_set(t.full(), '{response,fields}', '{
    "job_title": ["/data/no_such", "/data/job_title_levels", "/data/mobile_phone_type", "/data/job_title"],
    "company_name": {"join": ["/data/first_name", "/data/middle_name", "/data/last_name"], "separator": " + "},
    "linkedin_url": {"pointer": "/data/linkedin_username", "prefix": "https://www.linkedin.com/in/"},
    "phone": "/likelihood",
    "location": {"join": ["/data/location_country", {"pointer": "/data/job_title_levels/0", "map": {"CXO": "the top"}}]},
    "seniority": {"pointer": ["/data/none", "/data/job_title_levels/0"], "map": {"cxo": "c_suite", "vp": "vice"}}}'));
SELECT t.row(1);
SELECT job_title, company_name, linkedin_url, phone, location, seniority FROM crm WHERE id = 1;
SELECT t.empty();
SELECT t.row(1, '{job_title}'), t.row(3, '{seniority,location}'), t.row(2, '{seniority}');
SELECT id, location, seniority FROM crm WHERE id IN (2, 3) ORDER BY id;
-- A number is no job title; a list, an object or nothing is no text.
SELECT leadlex.alter_provider('shapes', '{"response": {"fields": {"job_title": "/likelihood", "company_name": "/data", "linkedin_url": "/data/phone_numbers", "location": "", "seniority": "/data/middle_name", "phone": "/data/phone_numbers/0"}}}');
SELECT t.empty();
SELECT t.row(1);
-- Withheld values are `true`: never written, whatever is asked.
SELECT leadlex.alter_provider('shapes', '{"response": {"fields": {"phone": ["/data/mobile_phone", "/data/phone_numbers", "/data/phone_numbers/0"], "location": "/data/location_name", "job_title": "/data/job_title", "seniority": {"pointer": "/data/mobile_phone", "map": {"true": "withheld"}}, "linkedin_url": {"pointer": "/data/mobile_phone", "prefix": "x:"}, "company_name": {"join": ["/data/mobile_phone", "/data/location_name"]}}}}');
SELECT t.row(id) FROM generate_series(4, 6) id;
SELECT * FROM crm WHERE id BETWEEN 4 AND 6 ORDER BY id;
SELECT count(*) FROM crm WHERE crm::text ~* '\mtrue\M';
-- A prefix is not doubled, and an absolute URL is left as it is.
SELECT leadlex.alter_provider('shapes', '{"response": {"fields": {"linkedin_url": {"pointer": "/data/linkedin_url", "prefix": "linkedin.com/"}}}}');
SELECT t.row(1, '{linkedin_url}'); SELECT linkedin_url FROM crm WHERE id = 1;

-- Confidence: divided, constant, none; and what is too weak is no match.
SELECT t.empty();
SELECT t.row(2, '{job_title}');
SELECT leadlex.alter_provider('shapes', '{"response": {"confidence": {"pointer": null, "divide_by": null, "value": 0.8}}}');
SELECT t.empty(); SELECT t.row(2, '{job_title}');
SET leadlex.min_confidence = 0.8; SELECT t.empty(); SELECT t.row(2, '{job_title}');
SET leadlex.min_confidence = 0.81; SELECT t.empty(); SELECT t.row(2, '{job_title}');
RESET leadlex.min_confidence;
SELECT leadlex.alter_provider('shapes', '{"response": {"confidence": null}}');
SELECT t.empty(); SELECT t.row(2, '{job_title}');
SELECT t.told(enrich_row('crm', '2', '{phone}'))->'confidence';
SET leadlex.min_confidence = 0.01; SELECT t.empty(); SELECT t.row(2, '{job_title}');
RESET leadlex.min_confidence;
SELECT leadlex.drop_provider('shapes');

-- The waterfall: three providers with different things to tell, in the order of their priority.
CREATE FUNCTION t.add(name text, fields jsonb, score numeric, priority int, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
    SELECT leadlex.add_provider(name, config => jsonb_set(jsonb_set(t.full() || more, '{response,fields}', fields), '{response,confidence}', jsonb_build_object('value', score)), secret => 'demo-secret', priority => priority) $$;
SELECT t.add('second', '{"phone": "/data/mobile_phone", "job_title": "/data/job_company_name"}', 0.6, 20), t.add('first', '{"job_title": "/data/job_title"}', 0.9, 10),
       t.add('third', '{"phone": "/data/full_name", "location": "/data/location_name", "seniority": "/data/job_title_levels/0"}', 0.3, 30);
SELECT t.empty(); SELECT t.row(1); SELECT to_jsonb(crm) - '{id,full_name,email}'::text[] FROM crm WHERE id = 1;
-- What the first has nothing of goes to the next.
SELECT t.row(1, '{phone}');
SELECT t.empty(); SELECT t.row(1, '{seniority,location}');
-- Greta has no title: the first has nothing, the second has.
SELECT t.row(9);
SELECT t.empty();
SET leadlex.waterfall = 'fill';
SELECT t.row(1); SELECT to_jsonb(crm) - '{id,full_name,email}'::text[] FROM crm WHERE id = 1;
SELECT source, confidence, fields_updated, field_sources FROM leadlex.enrichment ORDER BY created_at DESC LIMIT 1;
-- Overwriting, too, the earlier one has the say.
SELECT t.row(1, '{job_title,phone}'); UPDATE crm SET job_title = 'x', phone = 'y' WHERE id = 1;
SELECT enrich_row('crm', '1', '{job_title,phone}', true)->'field_sources';
-- The weak ones do not count.
SELECT t.empty(); SET leadlex.min_confidence = 0.5; SELECT t.row(1); RESET leadlex.min_confidence;
-- One that fails is passed over when another has data …
SELECT leadlex.alter_provider('first', t.dead());
SELECT t.empty(); SELECT t.row(1);
SET leadlex.waterfall = 'first_match';
SELECT t.empty(); SELECT t.row(1);
-- … and makes all the difference when none has.
SELECT t.row(7);
SELECT t.fails('SELECT enrich_row($$crm$$, $$7$$)');
SELECT leadlex.enable_provider('first', false);
SELECT t.row(7);
-- One that cannot identify the contact is skipped, and no failure.
SELECT t.row(10);
SELECT leadlex.enable_provider('first', true);
SELECT t.row(10);
SELECT leadlex.alter_provider('third', '{"identify_by": [["phone"], ["full_name", "company_name"]], "request": {"query": {"name": "{full_name}", "company": "{company_name}"}}}');
SELECT t.row(10, '{location}');
UPDATE crm SET company_name = 'Acme Corp' WHERE id = 10;
SELECT t.row(10, '{location}');
-- Equal priority: by name. A provider for which nothing is wanted is not asked.
SELECT leadlex.drop_provider('third'), leadlex.alter_provider('first', t.sample(), priority => 20);
SELECT t.empty(); SELECT t.row(1);
SELECT leadlex.alter_provider('first', t.dead());
SELECT t.empty(); SELECT t.row(1, '{phone}');
SELECT t.row(7, '{phone}');
SELECT leadlex.drop_provider('first'), leadlex.drop_provider('second');

-- A provider's own limit holds for all that ask it, and the next one takes over.
SELECT t.add('limited', '{"job_title": "/data/job_title"}', 0.9, 10, '{"max_requests_per_minute": 2}');
SELECT t.empty(); SELECT t.row(1), t.row(2);
SELECT t.without_times(try_enrich_row('crm', '3')->'error'->'providers');
SELECT t.without_times(leadlex.check_provider('limited', '{"email": "ada.abbott@acme.example"}'));
SELECT t.add('unlimited', '{"job_title": "/data/job_title"}', 0.1, 20);
SELECT t.row(3);
-- The day's limit, and its end when it is lifted.
SELECT leadlex.alter_provider('limited', '{"max_requests_per_minute": null, "max_requests_per_day": 3}');
SELECT t.empty(); SELECT t.row(1); SELECT t.row(2);
SELECT leadlex.alter_provider('limited', '{"max_requests_per_day": null}');
SELECT t.row(3);
SELECT leadlex.drop_provider('unlimited'), leadlex.drop_provider('limited');

-- Time: a provider's own, the setting's, all together.
SELECT leadlex.add_provider('slow', 'people_data_labs', jsonb_build_object('timeout_ms', 100, 'request', jsonb_build_object('url', current_setting('test.slow_provider_url'))), 'demo-secret');
SELECT t.row(1);
SELECT leadlex.alter_provider('slow', '{"timeout_ms": 60000}');
SET leadlex.provider_timeout = '110ms'; SELECT t.row(1); RESET leadlex.provider_timeout;
SET leadlex.total_timeout = '120ms'; SELECT t.row(1);
-- The one that comes too late is not asked.
SELECT leadlex.add_provider('later', 'people_data_labs', t.sample(), 'demo-secret', 200);
SELECT t.row(1); RESET leadlex.total_timeout;
SELECT leadlex.drop_provider('slow'), leadlex.drop_provider('later');
-- Private addresses are refused unless the superuser allows them, and where nobody listens is told.
SELECT leadlex.add_provider('near', 'people_data_labs', t.sample(), 'demo-secret');
-- (E-mail addresses at .example count only then, too: the profile identifies.)
UPDATE crm SET linkedin_url = 'linkedin.com/in/ada-abbott' WHERE id = 1;
SET leadlex.allow_private_addresses = off; SELECT t.row(1); RESET leadlex.allow_private_addresses;
UPDATE crm SET linkedin_url = NULL WHERE id = 1;
SELECT leadlex.alter_provider('near', t.dead()); SELECT t.row(1);
-- What is no service of theirs, and what is refused.
SELECT leadlex.alter_provider('near', jsonb_build_object('request', jsonb_build_object('url', replace(current_setting('test.provider_url'), 'enrich', 'elsewhere')), 'response', '{"no_match": {"body": []}}'::jsonb)); SELECT t.row(1);
SELECT leadlex.alter_provider('near', t.sample()), leadlex.alter_provider('near', '{"request": {"method": "POST", "body": {"email": "{email}"}}}'); SELECT t.row(1);
SELECT leadlex.drop_provider('near');

-- check_provider: one real request, nothing changed, nothing shown that must not be.
CREATE FUNCTION t.check(name text, contact jsonb) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(leadlex.check_provider(name, contact)::text, '127.0.0.1:[0-9]{2,}', 'HOST', 'g') $$;
SELECT leadlex.add_provider('checked', 'people_data_labs', t.sample(), 'demo-secret');
SELECT t.empty();
SELECT count(*) AS before FROM leadlex.enrichment \gset
SELECT jsonb_pretty(t.check('checked', '{"email": "ada.abbott@acme.example", "full_name": "Ada Ä", "phone": null}')::jsonb);
SELECT t.check('checked', '{"email": "nobody@acme.example"}');
SELECT t.check('checked', '{}'), t.check('checked', '{"full_name": "Ada Abbott"}');
SELECT t.check('checked', '{"full_name": "Ada Abbott", "company_name": "Acme Corp"}')::jsonb - 'request';
SELECT t.fails('SELECT leadlex.check_provider($$checked$$, $${"shoe_size": "42"}$$)'), t.fails('SELECT leadlex.check_provider($$checked$$, $${"email": 7}$$)'), t.fails('SELECT leadlex.check_provider($$checked$$, $$[]$$)');
SELECT leadlex.alter_provider('checked', t.dead());
SELECT t.check('checked', '{"email": "ada.abbott@acme.example"}');
-- A secret in the query, with everything that could be written in another way; in the path, too.
SELECT leadlex.alter_provider('checked', t.sample());
SELECT leadlex.alter_provider('checked', '{"request": {"headers": {"X-Api-Key": null, "X-Other": "Bearer {secret}"}, "query": {"api_key": "{secret}"}}}', E'p@ss wörd/%2B+&=?"\\');
SELECT leadlex.check_provider('checked', '{"email": "ada.abbott@acme.example"}') AS shown \gset
SELECT regexp_replace(:'shown', '127.0.0.1:[0-9]{2,}', 'HOST');
SELECT t.row(1);
SELECT leadlex.alter_provider('checked', jsonb_build_object('request', jsonb_build_object('url', current_setting('test.provider_url') || '/{secret}/x')));
SELECT t.check('checked', '{"email": "ada.abbott@acme.example"}')::jsonb->'request'->'url';
SELECT leadlex.alter_provider('checked', t.sample(), 'demo-secret');
SELECT t.check('checked', '{"email": "ada.abbott@acme.example"}')::jsonb - 'request';
-- Its description by hand, broken: told, not believed.
UPDATE leadlex.provider_config SET config = jsonb_set(config, '{request,method}', '"PUT"');
SELECT t.row(1);
SELECT t.fails('SELECT leadlex.check_provider($$checked$$, $${"email": "x@y.example"}$$)');
SELECT (SELECT count(*) FROM leadlex.enrichment) - :before AS changes, (SELECT count(*) FROM crm WHERE job_title IS NOT NULL) AS filled;
SELECT leadlex.drop_provider('checked');

-- A secret in a file: for superusers to name; read at every request, so that it can be renewed.
SELECT current_setting('data_directory') || '/provider_secret' AS path \gset
COPY (SELECT 'demo-secret') TO :'path';
SELECT leadlex.add_provider('filed', 'people_data_labs', t.sample(), 'file:' || :'path');
SELECT t.row(1);
COPY (SELECT 'not it any more') TO :'path';
SELECT t.row(2);
COPY (SELECT '  ') TO :'path';
SELECT t.row(2);
SELECT leadlex.alter_provider('filed', secret => 'file:/no/such/file');
SELECT t.row(2);
SELECT leadlex.alter_provider('filed', secret => 'file:' || current_setting('data_directory'));
SELECT t.row(2);
CREATE ROLE prov_admin; CREATE ROLE prov_user;
GRANT EXECUTE ON FUNCTION leadlex.add_provider, leadlex.alter_provider, leadlex.check_provider TO prov_admin;
SET ROLE prov_admin;
SELECT t.fails('SELECT leadlex.add_provider($$mine$$, $$people_data_labs$$, secret => $$file:/etc/hostname$$)');
SELECT t.fails('SELECT leadlex.alter_provider($$filed$$, secret => $$file:/etc/hostname$$)');
SELECT t.fails('SELECT leadlex.alter_provider($$filed$$, secret => $$text$$)');
SELECT t.fails('SELECT secret FROM leadlex.provider_secret');
RESET ROLE;
SELECT leadlex.grant_access('prov_user');
SET ROLE prov_user;
SELECT name, has_secret FROM leadlex.provider;
SELECT t.fails('SELECT leadlex.check_provider($$filed$$, $${}$$)');
RESET ROLE;
DROP OWNED BY prov_admin, prov_user;
DROP ROLE prov_admin, prov_user;
-- What comes with the extension, and that each is a description that users could have written.
SELECT name, fields, identify_by FROM leadlex.presets ORDER BY name COLLATE "C";
SELECT name, vendor IS NOT NULL AND billing IS NOT NULL AND limits IS NOT NULL AND notes IS NOT NULL AS described, documentation, checked_on FROM leadlex.presets WHERE name <> 'generic' ORDER BY name COLLATE "C";
-- Of two the client's id goes into a login that the user writes.
SELECT leadlex.add_provider('as_' || name, config => config, secret => 'k', priority => 900) FROM leadlex.presets WHERE name NOT IN ('generic', 'snov', 'zoominfo');
SELECT count(*) FROM leadlex.provider WHERE name LIKE 'as\_%' AND has_secret;
SELECT leadlex.drop_provider(name) FROM leadlex.provider WHERE name LIKE 'as\_%';
SELECT t.fails(format('SELECT leadlex.add_provider(%L, %L)', 'as_' || name, name)) FROM leadlex.presets WHERE name IN ('snov', 'zoominfo') ORDER BY name COLLATE "C";
SELECT t.fails(format('SELECT leadlex.add_provider($$q$$, $$hunter$$, %L)', part)) FROM unnest(ARRAY['{"poll_every_s": 0}', '{"poll_for_s": 5}', '{"when_pending": "later"}', '{"min_confidence": 2}']) AS part;
-- Of steps the notice says which; they are given anew as a whole.
SELECT leadlex.add_provider('stepped', config => '{"identify_by": [["email"]], "steps": [
    {"request": {"url": "https://api.example.com/a?email={email}"}, "response": {}, "take": {"id": "/id"}},
    {"request": {"url": "https://api.example.com/b/{id}"}, "response": {"fields": {"phone": "/phone"}, "confidence": "/score"}}]}');
SELECT leadlex.drop_provider('stepped');
-- Mistakes in what answers can say are named, too.
SELECT t.fails(format('SELECT leadlex.add_provider($$q$$, $$hunter$$, %L)', wrong)) FROM unnest(ARRAY[
    '{"response": {"quota": {"status": [404]}, "no_match": {"status": [404]}}}',
    '{"response": {"suppressed": {"absent": "/x"}}}',
    '{"response": {"failed": {"body": [{"pointer": "/error"}]}}}',
    '{"response": {"retry_after": [{"header": "X", "as": "minutes"}]}}',
    '{"response": {"cost": {}}}',
    '{"response": {"fields": {"phone": {"list": "/phones", "where": {"type": "x"}, "pointer": "/number"}}}}',
    '{"response": {"fields": {"job_title": {"pointer": "/x", "format": "e164"}}}}',
    '{"fills": ["shoe_size"]}',
    '{"about": {"price": "1"}}'
]::jsonb[]) AS wrong;
