-- Write how runs ended that wait in no dynamic queue, all outcomes alike, and answer which writes were accepted.
--
-- A write is accepted only while its lease is the run's current one; the ids that are missing from the answer
-- belong to runs that are stale. Final outcomes move the row to job_finalized; a discarded job's follow-up is
-- inserted here, in the same commit. Of the error history the newest 100 entries are kept.
--   $1 ids  $2 leases  $3 states  $4 delays until due, in seconds  $5 whether the start counts
--   $6 error entries (JSON without their time) or null  $7 outputs (JSON) or null; $3 to $7 may be null as a whole,
--   where all runs are completed and have no output  $8 the channel to notify
--   $9 whether to insert follow-ups: not where one was refused before
-- Stands on: job's primary key.
-- Called by: the completer.
with {part end_runs}
select array_agg(id) as accepted, (select count(*) from woken) as woken
from (select id from ended union all select id from returned) as accepted
