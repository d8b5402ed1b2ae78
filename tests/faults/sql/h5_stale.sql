-- H5: writes that were accepted although their lease was not the row's any more.
select outcome.job, 'a stale write of ' || outcome.state || ' was accepted' as what
from faults.outcome
where outcome.accepted
  and not exists (
      select from faults.step
      where step.job = outcome.job and step.old_lease = outcome.lease and step.target = outcome.state
  )
