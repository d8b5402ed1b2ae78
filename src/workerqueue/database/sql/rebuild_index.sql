-- Build an index of the live table anew, beside the old one, while jobs come and go.
--
-- Its name is filled in before it is sent. Cut off, it leaves an index that is not valid, named `…_ccnew` or `…_ccold`.
-- Called by: the reindexer.
reindex index concurrently {schema}.{index}
