-- Wait until no other process migrates this schema; held to the end of the transaction.
--
--   $1 the schema's name
-- Called by: Migrations.
select pg_advisory_xact_lock(hashtextextended('workerqueue ' || $1::text, 0))
