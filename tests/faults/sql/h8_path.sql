-- H8: changes of state that are not in the table of transitions, or do not begin where the last one ended.
select step.job, coalesce(step.source, 'nothing') || ' → ' || coalesce(step.target, 'nothing')
                 || ' after ' || coalesce(step.before, 'nothing') as what
from (
    select step.*, lag(step.target) over (partition by step.job order by step.seq) as before
    from faults.step
) as step
where step.source is distinct from step.before
   or not exists (
       select from faults.transition
       where transition.source is not distinct from step.source and transition.target = step.target
   )
