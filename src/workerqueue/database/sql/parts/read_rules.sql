-- The rules of pools ($1) and kinds ($2), with what was said of pools at run time in place of what is configured.
pool as materialized (
    select rule.pool, 'queue:' || rule.pool as gate, rule.free, rule.most, coalesce(rule.after, '') as after,
           rule.is_fair, rule.ageing_seconds, coalesce(changed.global_limit, rule.global_limit) as global_limit,
           coalesce(changed.rate_starts, rule.rate_starts) as rate_starts,
           coalesce(changed.rate_seconds, rule.rate_seconds) as rate_seconds,
           case when changed.rate_starts is null then rule.burst else changed.burst end as burst
    from jsonb_to_recordset($1::text::jsonb) as rule (
        pool text, free integer, most integer, after text, is_fair boolean, ageing_seconds float8,
        global_limit integer, rate_starts integer, rate_seconds float8, burst integer
    )
    left join {schema}.queue as changed on changed.name = rule.pool
    where not exists (
        select from {schema}.queue as paused
        where (paused.paused_at is not null or paused.is_ruled) and paused.paused_at is not null
          and paused.name in (rule.pool, '*')
    )
),
kind as materialized (
    select rule.*, 'kind:' || rule.kind as gate
    from jsonb_to_recordset($2::text::jsonb) as rule (
        kind text, local_limit integer, global_limit integer, partition_limit integer, is_partitioned boolean,
        rate_starts integer, rate_seconds float8, burst integer
    )
)
