-- Tells whether every job of pgqueuer can be read as completed.
-- A job's row is deleted with the entry in its log that says it succeeded.
-- Takes no parameters. Reads whole tables, of a size that one drain leaves.
-- Called by: benchmarks.peers.database.
select not exists (select from pgqueuer)
