-- Make a client's row, and give its number: a new one for every start, whatever the client calls itself.
--
--   $1 its id  $2 its host  $3 its process  $4 its pools  $5 the kinds it works
-- Durable, though the claims on the same connection need not be: a number that a crash took back would be given again,
-- and the beats of its first owner, who goes on, would keep the jobs of both alive.
-- Called by: the producer, when it has connected for the first time or its client was declared dead.
insert into {schema}.client (id, host, pid, pools, kinds)
values ($1, $2, $3, $4::text[], $5::text[])
returning number, set_config('synchronous_commit', 'on', true)
