-- Drop what a rebuilding that was cut off has left; waits for one that is still under way.
--
-- Its name is filled in before it is sent.
-- Called by: the reindexer.
drop index concurrently if exists {schema}.{index}
