-- Write down what a client works from now on.
--
--   $1 its number  $2 its pools
-- Stands on: client's primary key.
-- Called by: the producer, when a queue was added or removed at run time.
update {schema}.client
set pools = $2::text[]
where number = $1
