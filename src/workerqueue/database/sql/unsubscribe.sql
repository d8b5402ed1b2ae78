-- Have nothing told on a channel any more.
--
--   $1 the subscriber's channel
-- Stands on: subscriber's primary key.
-- Called by: Client.subscribe, at its end.
delete from {schema}.subscriber where channel = $1
