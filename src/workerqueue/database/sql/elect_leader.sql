-- Take the lead, or keep it; only a client that counts as alive can.
--
-- It is free when nobody has had it, when its time is up, and when who has it is dead or has stopped. Every change of
-- hands is a new term.
--   $1 the client's number  $2 for how many seconds
-- Stands on: client's and leader's primary keys.
-- Called by: leader.
with taken as (
    insert into {schema}.leader as held (client, term, until)
    select number, 1, statement_timestamp() + make_interval(secs => $2::float8)
    from {schema}.client
    where number = $1 and ended_at is null
    on conflict (name) do update
    set client = excluded.client,
        term = held.term + case when held.client = excluded.client then 0 else 1 end,
        until = excluded.until
    where held.client = excluded.client
       or held.until <= statement_timestamp()
       or not exists (select from {schema}.client where client.number = held.client and client.ended_at is null)
    returning term
)
select (select term from taken) as term,
       (
           -- Whose it was when this began; nobody's at the very first.
           select extract(epoch from until - statement_timestamp())::float8 from {schema}.leader where name = 'leader'
       ) as free_in
