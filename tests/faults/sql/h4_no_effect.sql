-- H4: completions that were accepted and whose run had left no effect before.
select step.job, 'completed at ' || step.at || ' without an effect' as what
from faults.step
where step.target = 'completed'
  and not exists (
      select from faults.effect
      where effect.job = step.job and effect.lease = step.old_lease and effect.at <= step.at
  )
  and not exists (
      select from faults.external
      where external.job = step.job and external.lease = step.old_lease and external.at <= step.at
  )
