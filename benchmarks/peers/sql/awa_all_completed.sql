-- Tells whether every job of awa can be read as completed.
-- Jobs are never updated: batches of receipts say what was completed. Its own view of jobs takes seconds.
-- Takes no parameters. Reads whole tables, of a size that one drain leaves.
-- Called by: benchmarks.peers.database.
select (select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches) >= (select count(*) from awa.ready_entries)
