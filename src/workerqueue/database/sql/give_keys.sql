-- Give held keys to new jobs.
--
-- They are there; so written, each is found by the index whatever the planner thinks of their number.
--   $1 keys  $2 jobs  $3 for how many seconds after its end each job keeps its key, null for none
-- Stands on: job_key's primary key.
-- Called by: whatever inserts a job that has a key.
insert into {schema}.job_key (key, job, ttl_seconds)
select key, job, ttl
from unnest($1::text[], $2::bigint[], $3::float8[]) as given (key, job, ttl)
order by key
on conflict (key) do update
set job = excluded.job, ttl_seconds = excluded.ttl_seconds, until = null
