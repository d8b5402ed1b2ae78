-- List dynamic queues that stand still: a job waits there and none runs, or what was to run has ended unseen.
--
--   $1 at most how many
-- Reads dynamic_queue, which holds the queues that run a job now, and looks their jobs up.
-- Called by: the sweeper of turns.
select name
from {schema}.dynamic_queue
where cardinality(jobs) = 0
   or exists (
       select from unnest(jobs) as held (id)
       where not exists (select from {schema}.job where job.id = held.id and job.state = 'running')
   )
order by name
limit $1
