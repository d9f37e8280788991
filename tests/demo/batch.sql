-- The second session of money.sql: what it shows there, typed in a psql of its own.
SET leadlex.waterfall = 'fill';
SET leadlex.max_parallel_requests = 2;
SELECT array_agg(id::text ORDER BY id) AS ids FROM customer \gset
CALL leadlex.enrich_batch('customer', :'ids', chunk => 6);
