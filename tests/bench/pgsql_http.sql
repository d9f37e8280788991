-- The extension pgsql-http, with keep-alive, which is off by default.
CREATE SCHEMA :rival AUTHORIZATION bench;
SET search_path = :rival, public;
CREATE EXTENSION IF NOT EXISTS http SCHEMA public;
ALTER ROLE bench SET http.keepalive = on;
CREATE FUNCTION http_body(url text, email text) RETURNS text LANGUAGE sql AS $$
    SELECT content FROM public.http_get(url || '?email=' || public.urlencode(email))
$$;
