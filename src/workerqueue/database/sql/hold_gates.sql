-- Hold gates until the transaction ends: whoever claims under the same rules waits, and sees what this one claimed.
--
-- Answers the names that are there. A statement of its own, since what follows must see what was committed while it waited.
--   $1 names
-- Stands on: gate's primary key.
-- Called by: the producer, where rules count.
select name
from {schema}.gate
where name = any ($1::text[])
order by name
for update
