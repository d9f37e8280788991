-- The HTTP client that Debian's packages offer inside the database: plpython3u with urllib3, connections kept alive.
CREATE SCHEMA :rival AUTHORIZATION bench;
SET search_path = :rival, public;
CREATE EXTENSION IF NOT EXISTS plpython3u;
CREATE FUNCTION http_body(url text, email text) RETURNS text LANGUAGE plpython3u AS $$
if 'pool' not in GD:
    import urllib3
    GD['pool'] = urllib3.PoolManager(retries=False, timeout=5.0)
return GD['pool'].request('GET', url, fields={'email': email}).data.decode()
$$;
