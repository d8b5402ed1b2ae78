-- Tell whether any job is left that a client can work: ready, running, parked, or due soon.
--
--   $1 its pools  $2 its kinds  $3 how soon, in seconds
-- Reads the live table, once whenever a draining client has nothing to do.
-- Called by: Client.run(drain=True).
select exists (
    select from {schema}.job
    where pool = any ($1::text[]) and kind = any ($2::text[])
      and (state in ('available', 'running', 'pending', 'waiting')
           or scheduled_at <= statement_timestamp() + make_interval(secs => $3::float8))
) as has_work
