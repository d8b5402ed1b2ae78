-- Tells whether every job of workerqueue can be read as completed.
-- Its live table is empty: what is completed has moved to the finalized one.
-- Takes no parameters. Reads whole tables, of a size that one drain leaves.
-- Called by: benchmarks.peers.database.
select not exists (select from workerqueue.job)
