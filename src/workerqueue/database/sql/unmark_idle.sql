-- Say that a client need not be told of new jobs: it is busy and looks by itself, or it has stopped.
--
-- Marks of clients that are gone go with it.
--   $1 the client's id
-- Reads all of idle: as many rows as clients have pools.
-- Called by: the producer.
delete from {schema}.idle
where client = $1::text or until < statement_timestamp()
