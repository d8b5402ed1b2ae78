-- Tell how many jobs some pools may be given, of which only the queue itself has a limit or a rate.
--
-- The caller holds the queues' gates (hold_gates.sql), and claims what comes first, within this room.
--   $1 the pools, how much room they have, and their rules (JSON)  $2 kinds that have rules (JSON): none
-- Answers a row for each pool that is not paused: its room, in how many seconds a rate leaves some, and whether
-- anything waits for that.
-- Stands on: job_counted, job_ready, job_lane, gate's primary key.
-- Called by: the producer, where queues have limits or rates.
with {part read_rules},
{part pool_room}
select pool, room, free_in, room = 0 and {part is_waited_for} as is_waited_for
from pool_room
