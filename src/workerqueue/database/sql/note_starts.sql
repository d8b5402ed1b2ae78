-- Note what was started under rates.
--
-- Starts that come close together are one entry, dated up to a two-hundredth of the rate's time too late: so that there are
-- few, and a rate is kept whatever moment one looks from.
--   $1 pools and their rules (JSON)  $2 kinds that have rules (JSON), as choose_jobs.sql reads them  $3 the ids started
-- Stands on: job's primary key, gate's primary key.
-- Called by: the producer, where there are rates, in the transaction that claims.
with {part read_rules},
started as (
    select job.pool, job.kind, split_part(job.lane, chr(31), 3) as part, count(*)::integer as jobs
    from {schema}.job
    where job.id = any ($3::bigint[])
    group by 1, 2, 3
),
noted as (
    select pool.gate, pool.rate_starts, pool.rate_seconds, sum(started.jobs)::integer as jobs
    from started
    join pool on pool.pool = started.pool
    where pool.rate_starts is not null
    group by 1, 2, 3
    union all
    select case when kind.is_partitioned then 'partition:' || kind.kind || ':' || coalesce(started.part, '')
                else kind.gate end as gate,
           kind.rate_starts, kind.rate_seconds, sum(started.jobs)::integer
    from started
    join kind on kind.kind = started.kind
    where kind.rate_starts is not null
    group by 1, 2, 3
)
insert into {schema}.gate as held (name, started, starts, spread_to, until)
select noted.gate, array[dated.at], array[noted.jobs],
       statement_timestamp() + make_interval(secs => noted.jobs * noted.rate_seconds / noted.rate_starts),
       dated.at + make_interval(secs => noted.rate_seconds)
from noted
cross join lateral (
    select statement_timestamp() + make_interval(secs => noted.rate_seconds / 200) as at
) as dated
order by noted.gate
on conflict (name) do update
set started = case when held.started[cardinality(held.started)] >= statement_timestamp() then held.started
                   else array(
                       select entry.at from unnest(held.started) with ordinality as entry (at, place)
                       where entry.at > statement_timestamp() - (excluded.until - excluded.started[1])
                       order by entry.place
                   ) || excluded.started end,
    starts = case when held.started[cardinality(held.started)] >= statement_timestamp()
                  then held.starts[:cardinality(held.starts) - 1]
                       || (held.starts[cardinality(held.starts)] + excluded.starts[1])
                  else array(
                      select entry.jobs
                      from unnest(held.started, held.starts) with ordinality as entry (at, jobs, place)
                      where entry.at > statement_timestamp() - (excluded.until - excluded.started[1])
                      order by entry.place
                  ) || excluded.starts end,
    spread_to = greatest(held.spread_to, statement_timestamp()) + (excluded.spread_to - statement_timestamp()),
    until = excluded.until
