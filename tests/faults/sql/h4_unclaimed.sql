-- H4: effects of runs that were never claimed.
select effect.job, 'an effect under a lease that was never given' as what
from faults.effect
where not exists (select from faults.step where step.job = effect.job and step.new_lease = effect.lease)
