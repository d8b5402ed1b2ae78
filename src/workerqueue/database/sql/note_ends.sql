-- Note until when jobs that have ended keep their keys, before their history is deleted.
--
-- A key that somebody holds is left for the next time.
-- Stands on: job_key_ttl, job_finalized's primary key.
-- Called by: the cleaner, before it deletes.
with ending as materialized (
    select key
    from {schema}.job_key
    where ttl_seconds is not null and until is null and job is not null
    order by key
    for update skip locked
)
update {schema}.job_key
set until = (
    select finalized_at from {schema}.job_finalized where id = job_key.job limit 1
) + make_interval(secs => ttl_seconds)
where key = any (array(select key from ending))
  and exists (select from {schema}.job_finalized where id = job_key.job)
