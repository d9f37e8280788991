-- How psql shows things, in each story. A table that is wider than the terminal goes on below, whole.
\set QUIET on
\pset linestyle unicode
\pset border 1
\pset footer off
\pset null '·'
\pset format wrapped
\pset columns :columns
\encoding UTF8
\set line '────────────────────────────────────────────────────────────────────────────────────────────'
