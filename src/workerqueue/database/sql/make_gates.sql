-- Make gates that are not there yet.
--
--   $1 names
-- Stands on: gate's primary key.
-- Called by: the producer, when it first claims under a rule that counts.
insert into {schema}.gate (name)
select name from unnest($1::text[]) as given (name)
order by name
on conflict (name) do nothing
