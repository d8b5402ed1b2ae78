-- Tells whether every job of procrastinate can be read as completed.
-- Finished jobs stay where they are, marked.
-- Takes no parameters. Reads whole tables, of a size that one drain leaves.
-- Called by: benchmarks.peers.database.
select not exists (select from procrastinate_jobs where status <> 'succeeded')
