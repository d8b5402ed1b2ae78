-- Tell what decides when a live job is tried again: its attempt that ends now, how many there are, and its retry policy.
--
--   $1 its id
-- Stands on: job's primary key.
-- Called by: client.jobs, when a job is failed by hand.
select case when state = 'running' then attempt else least(attempt, 32766) + 1 end::integer as attempt,
       max_attempts::integer, retry::text
from {schema}.job
where id = $1::bigint
