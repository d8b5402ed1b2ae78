-- H5: completed jobs whose checkpoint is not that of the run which completed them: a stale one has written over it.
select step.job, 'has the checkpoint ' || coalesce(row.checkpoint::text, 'null') || ' of another run' as what
from faults.step
join faults.row on row.id = step.job
where row.kind = 'stalling' and step.target = 'completed'
  and row.checkpoint is distinct from to_jsonb(step.old_lease)
