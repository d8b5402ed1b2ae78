-- H6: writes that were refused while their lease was good. (What was refused as the answer to a first try got lost is
-- not one: the lease had ended by that first try.)
select outcome.job, 'its ' || outcome.state || ' was refused under a good lease' as what
from faults.outcome
where not outcome.accepted
  and exists (select from faults.step where step.job = outcome.job and step.new_lease = outcome.lease)
  and not exists (
      select from faults.step
      where step.job = outcome.job and step.old_lease = outcome.lease and step.at <= outcome.at + interval '0.1 s'
  )
