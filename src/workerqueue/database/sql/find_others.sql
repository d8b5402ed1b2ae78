-- Give those of some jobs that are not a tenant's.
--
--   $1 ids  $2 tenant
-- Whose a job is never changes, so that what follows may be another statement.
-- Stands on: the primary keys of job and job_finalized.
-- Called by: client.jobs, where the current context has a tenant.
select asked.id
from unnest($1::bigint[]) as asked (id)
join lateral (
    select context from {schema}.job_all where id = asked.id limit 1
) as stored on true
where stored.context ->> 'tenant' is distinct from $2
