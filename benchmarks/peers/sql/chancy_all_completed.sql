-- Tells whether every job of chancy can be read as completed.
-- Finished jobs stay where they are, marked.
-- Takes no parameters. Reads whole tables, of a size that one drain leaves.
-- Called by: benchmarks.peers.database.
select not exists (select from chancy_jobs where state <> 'succeeded')
